//! Blocks of documents run: cut into sequences, packed into runs that fit, their values copied out as rows.
//!
//! Which sequences run together depends on the request alone, never on shards or memory: how rows are packed may change the last bits
//! of a sum, and a data set is the same bytes whoever makes it.

use std::sync::Arc;

use candle_core::Tensor;
use rayon::prelude::*;
use serde_json::Value;

use super::choose::median;
use super::cut::{Cutter, Sequence};
use super::options::{Asked, Column};
use super::predicted::{Predicted, predicted};
use super::stats::Sums;
use crate::arch::Spec;
use crate::dataset::{DocumentRecord, HookColumn, Rows, Scalars, Values};
use crate::error::{Error, Result};
use crate::hook::finite::finite;
use crate::hook::site::Scope;
use crate::hook::{Hook, HookPoint, NotFinite, Site};
use crate::model::{Batch, Run, Unembed};
use crate::ops::rows::Rows as Packed;
use crate::ops::{length, values};
use crate::session::Session;
use crate::sweep::{Need, not_finite, row_bytes};
use crate::text::corpus::Document;
use crate::text::{Bos, Tokenizer};

/// The most tokens that run together: enough for products at full speed.
const TOGETHER: usize = 2048;
/// Bytes of activations that run together, where one sequence does not take more.
const BYTES: usize = 192 << 20;

/// Bytes of a token while it runs: the run itself, and copies of what is exported.
fn token_bytes(spec: &Spec, asked: &Asked) -> usize {
    let copied: usize = asked.layout.hooks.iter().map(|hook| 4 * hook.width()).sum();
    // A value that is large, such as the logits, is there while it is copied.
    let widest = asked.layout.hooks.iter().map(|hook| 4 * hook.width()).max().unwrap_or(0);
    row_bytes(spec) + copied + widest
}

/// The most tokens that run together.
fn together(spec: &Spec, asked: &Asked) -> usize {
    (BYTES / token_bytes(spec, asked)).clamp(asked.cutting.context, TOGETHER.max(asked.cutting.context))
}

/// What that needs of memory.
pub(in crate::analysis) fn need(spec: &Spec, asked: &Asked, columns: &[Column]) -> Need {
    let tokens = together(spec, asked);
    let decoded = if columns.is_empty() { 0 } else { super::predicted::need(spec, tokens) };
    let bytes = tokens * token_bytes(spec, asked) + decoded;
    Need { activations: bytes, least: bytes, rows: 0 }
}

/// Makes rows of documents.
pub(in crate::analysis) struct Exporter<'a> {
    pub on: &'a Session,
    pub tokenizer: &'a Tokenizer,
    pub asked: &'a Asked,
    pub columns: &'a [Column],
    /// The largest norm of each hook that becomes a row.
    pub limits: Option<Vec<f64>>,
    /// Whether there are statistics of the rows.
    pub sums: bool,
}

/// Takes rows.
type Take<'t> = &'t mut dyn FnMut(Rows) -> Result<()>;

/// A block in the making.
pub(in crate::analysis) struct Block<'a> {
    by: &'a Exporter<'a>,
    cutter: Cutter<'a>,
    /// Sequences that wait for a run, and their tokens.
    waiting: Vec<Sequence>,
    tokens: usize,
    /// How many sequences have run.
    ran: u32,
    documents: Vec<DocumentRecord>,
    ids: Vec<Arc<str>>,
    sums: Vec<Sums>,
}

impl<'a> Exporter<'a> {
    /// A block without documents.
    pub fn block(&'a self) -> Block<'a> {
        Block {
            by: self,
            cutter: Cutter::new(&self.asked.cutting),
            waiting: vec![],
            tokens: 0,
            ran: 0,
            documents: vec![],
            ids: vec![],
            sums: vec![Sums::default(); self.asked.points.len()],
        }
    }

    /// `multiple` times the median norm of each hook's rows of these documents; of a hook without norms, no limit.
    pub fn limits(&self, documents: impl Iterator<Item = Result<Document>>, multiple: f64) -> Result<Vec<f64>> {
        let mut norms: Vec<Vec<f64>> = vec![vec![]; self.asked.points.len()];
        let mut take = |rows: Rows| {
            for ((norms, values), hook) in norms.iter_mut().zip(&rows.hooks).zip(&self.asked.layout.hooks) {
                if let Values::F32(values) = values {
                    norms.extend(values.chunks_exact(hook.width()).map(length));
                }
            }
            Ok(())
        };
        let mut block = self.block();
        for document in documents {
            block.push(&document?, &mut take)?;
        }
        block.finish(&mut take)?;
        Ok(norms.into_iter().map(|norms| median(norms).map_or(f64::INFINITY, |median| multiple * median)).collect())
    }
}

impl Block<'_> {
    /// Adds a document, and gives away the rows of what has run. Says how many tokens it has.
    pub fn push(&mut self, document: &Document, take: Take<'_>) -> Result<u64> {
        let (tokenizer, cutting) = (self.by.tokenizer, &self.by.asked.cutting);
        let tokens = match cutting.pack {
            None => tokenizer.encode(&document.text, Bos::AsTokenizer),
            Some(_) => tokenizer.encode_alone(&document.text),
        };
        let tokens = tokens.map_err(|e| e.at(&document.id))?;
        let number = self.documents.len();
        self.ids.push(document.id.as_str().into());
        self.documents.push(DocumentRecord {
            index: document.index,
            id: document.id.clone(),
            tokens: tokens.len() as u64,
            ..DocumentRecord::default()
        });
        let mut done = vec![];
        self.cutter.push(number, &tokens, &mut |sequence| done.push(sequence));
        self.run_all(done, take)?;
        Ok(tokens.len() as u64)
    }

    /// Runs what is left, and says what became of the documents, and the sums for statistics.
    pub fn finish(mut self, take: Take<'_>) -> Result<(Vec<DocumentRecord>, Value)> {
        let mut done = vec![];
        std::mem::replace(&mut self.cutter, Cutter::new(&self.by.asked.cutting)).finish(&mut |last| done.push(last));
        self.run_all(done, take)?;
        self.run(take)?;
        let sums = serde_json::to_value(&self.sums).map_err(|e| Error::compute(e.to_string()).fault())?;
        Ok((self.documents, sums))
    }

    fn run_all(&mut self, sequences: Vec<Sequence>, take: Take<'_>) -> Result<()> {
        let most = together(self.by.on.model.spec(), self.by.asked);
        for sequence in sequences {
            if self.tokens + sequence.tokens.len() > most {
                self.run(take)?;
            }
            self.tokens += sequence.tokens.len();
            self.waiting.push(sequence);
        }
        Ok(())
    }

    /// Runs the sequences that wait.
    fn run(&mut self, take: Take<'_>) -> Result<()> {
        let (sequences, first) = (std::mem::take(&mut self.waiting), self.ran);
        self.tokens = 0;
        self.ran += sequences.len() as u32;
        for (document, _) in sequences.iter().flat_map(|sequence| &sequence.documents) {
            self.documents[*document].sequences += 1;
        }
        let mut chosen = self.chosen(&sequences, first);
        if chosen.is_empty() {
            return Ok(());
        }
        let (model, asked) = (&self.by.on.model, self.by.asked);
        let batch = Batch::of(sequences.iter().map(|s| s.tokens.iter().map(|token| token.id).collect::<Vec<_>>()));
        let mut copy = Copied::new(&asked.points, &asked.layout.hooks, chosen.iter().map(|c| c.row).collect());
        let out = model.run(&batch, &self.by.what(), &mut [&mut copy])?;
        let mut hooks = copy.values;
        self.check(&chosen, &hooks)?;
        if let Some(limits) = &self.by.limits {
            keep_within(limits, &asked.layout.hooks, &mut hooks, &mut chosen);
        }
        let scalars = match self.by.columns {
            [] => vec![],
            columns => {
                let rows: Vec<usize> = chosen.iter().map(|c| c.row).collect();
                let found = predicted(model, &out, &sequences, &rows)?;
                columns.iter().map(|column| scalars(*column, &found)).collect()
            }
        };
        drop(out);
        let sums: Vec<Sums> = (hooks.par_iter().zip(&asked.layout.hooks))
            .filter(|_| self.by.sums)
            .map(|(values, hook)| match values {
                Values::F32(values) => Sums::of(values, hook.width()),
                Values::U32(_) => Sums::default(),
            })
            .collect();
        self.sums.iter_mut().zip(&sums).for_each(|(all, own)| all.add(own));
        for row in &chosen {
            self.documents[row.document].rows += 1;
        }
        take(self.rows(&sequences, first, &chosen, hooks, scalars))
    }

    /// The tokens that become rows, as far as that is known before they run.
    fn chosen(&self, sequences: &[Sequence], first: u32) -> Vec<Chosen> {
        let (mut chosen, mut row, choosing) = (vec![], 0, &self.by.asked.choosing);
        for (seq, sequence) in (first..).zip(sequences) {
            for (document, range) in &sequence.documents {
                let doc = self.documents[*document].index;
                chosen.extend(range.clone().filter_map(|pos| {
                    let special = sequence.tokens[pos].special;
                    let takes = pos >= sequence.again
                        && !choosing.skips(pos as u32, special)
                        && choosing.draws(doc, seq, pos as u32);
                    takes.then_some(Chosen { document: *document, seq, pos, row: row + pos })
                }));
            }
            row += sequence.tokens.len();
        }
        chosen
    }

    /// Refuses values that are not finite.
    fn check(&self, chosen: &[Chosen], hooks: &[Values]) -> Result<()> {
        for ((point, values), hook) in self.by.asked.points.iter().zip(hooks).zip(&self.by.asked.layout.hooks) {
            let Values::F32(values) = values else { continue };
            if finite(values) {
                continue;
            }
            if let Some(at) = values.iter().position(|x| !x.is_finite()) {
                let row = &chosen[at / hook.width()];
                let found = NotFinite { point: *point, sequence: 0, position: row.pos, value: values[at] };
                let what = format!("the run of document \"{}\"", self.ids[row.document]);
                return Err(not_finite(&what, Some(&found)));
            }
        }
        Ok(())
    }

    fn rows(
        &self,
        sequences: &[Sequence],
        first: u32,
        chosen: &[Chosen],
        hooks: Vec<Values>,
        scalars: Vec<Scalars>,
    ) -> Rows {
        let mut rows = Rows { hooks, scalars, ..Rows::default() };
        for row in chosen {
            let token = &sequences[(row.seq - first) as usize].tokens[row.pos];
            rows.doc.push(self.documents[row.document].index);
            rows.doc_id.push(self.ids[row.document].clone());
            rows.seq.push(row.seq);
            rows.pos.push(row.pos as u32);
            rows.token_id.push(token.id);
            rows.token.push(token.text.clone());
            rows.byte_start.push(token.bytes.as_ref().map(|bytes| bytes.start as u32));
            rows.byte_end.push(token.bytes.as_ref().map(|bytes| bytes.end as u32));
            rows.special.push(token.special);
        }
        rows
    }
}

impl Exporter<'_> {
    /// What is computed: no more than the hooks and columns need.
    fn what(&self) -> Run {
        let points = &self.asked.points;
        let to_the_end = !self.columns.is_empty() || points.iter().any(|p| p.site.info().scope == Scope::End);
        let last = points.iter().filter_map(|p| p.layer).max().map_or(0, |layer| layer + 1);
        let logits = points.iter().any(|p| p.site == Site::Logits);
        Run {
            until: (!to_the_end).then_some(last),
            unembed: if logits { Unembed::All } else { Unembed::Nothing },
            ..Run::default()
        }
    }
}

/// A token that becomes a row.
struct Chosen {
    document: usize,
    seq: u32,
    pos: usize,
    /// Its row in the run.
    row: usize,
}

/// Leaves out rows of which a hook's norm is over its limit.
fn keep_within(limits: &[f64], layout: &[HookColumn], hooks: &mut [Values], chosen: &mut Vec<Chosen>) {
    let mut keep = vec![true; chosen.len()];
    for ((values, hook), limit) in hooks.iter().zip(layout).zip(limits) {
        if let Values::F32(values) = values {
            let over = values.chunks_exact(hook.width()).map(|row| length(row) > *limit);
            keep.iter_mut().zip(over).for_each(|(keep, over)| *keep &= !over);
        }
    }
    fn kept<T: Copy>(values: &mut Vec<T>, width: usize, keep: &[bool]) {
        let rows = values.chunks_exact(width).zip(keep).filter(|(_, keep)| **keep);
        *values = rows.flat_map(|(row, _)| row.iter().copied()).collect();
    }
    for (values, hook) in hooks.iter_mut().zip(layout) {
        match values {
            Values::F32(values) => kept(values, hook.width(), &keep),
            Values::U32(values) => kept(values, hook.width(), &keep),
        }
    }
    let mut keep = keep.into_iter();
    chosen.retain(|_| keep.next().unwrap_or(true));
}

/// The column of what was predicted.
fn scalars(column: Column, found: &[Predicted]) -> Scalars {
    let each = |of: fn(&Predicted) -> Option<f32>| Scalars::F32(found.iter().map(of).collect());
    match column {
        Column::Loss => each(|p| p.loss_nats),
        Column::Logprob => each(|p| p.logprob_nats),
        Column::Entropy => each(|p| Some(p.entropy_bits)),
        Column::Top1 => Scalars::U32(found.iter().map(|p| Some(p.top)).collect()),
    }
}

/// Copies the rows that are wanted out of each value, and keeps nothing else of it.
pub(in crate::analysis) struct Copied<'a> {
    points: &'a [HookPoint],
    layout: &'a [HookColumn],
    rows: Vec<usize>,
    /// What was copied, of each point in their order.
    pub values: Vec<Values>,
}

impl<'a> Copied<'a> {
    /// Of each of these points, whose values are laid out so, these rows of the pack.
    pub fn new(points: &'a [HookPoint], layout: &'a [HookColumn], rows: Vec<usize>) -> Self {
        // An expert that no row goes through is never seen, and zero.
        let none = |hook: &HookColumn| match hook.index {
            true => Values::U32(vec![0; rows.len() * hook.width()]),
            false => Values::F32(vec![0.0; rows.len() * hook.width()]),
        };
        Self { points, layout, values: layout.iter().map(none).collect(), rows }
    }

    fn rows<T: Copy>(&self, x: &[T], width: usize) -> Vec<T> {
        match self.rows.len() * width == x.len() {
            true => x.to_vec(),
            false => self.rows.iter().flat_map(|row| &x[row * width..][..width]).copied().collect(),
        }
    }
}

impl Hook for Copied<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        self.points.contains(&at)
    }

    fn on(&mut self, at: HookPoint, _: &Packed, x: Tensor) -> Result<Tensor> {
        let Some(place) = self.points.iter().position(|point| *point == at) else { return Ok(x) };
        let width = self.layout[place].width();
        let copied = match self.layout[place].index {
            true => Values::U32(self.rows(&x.flatten_all()?.to_vec1::<u32>()?, width)),
            false => Values::F32(self.rows(&values(&x)?, width)),
        };
        self.values[place] = copied;
        Ok(x)
    }
}
