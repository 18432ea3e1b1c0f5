//! A corpus is read: its tokens are counted, then it runs through the model once, part by part, as an export does it.

use std::collections::HashMap;
use std::ops::Range;

use super::piece;
use super::summary::{Batch, Kept, Summary, column_bytes};
use super::words::Frequent;
use crate::analysis::export::options::Asked;
use crate::analysis::export::run::{Exporter, need as run_need};
use crate::arch::Spec;
use crate::dataset::{Rows, Values};
use crate::error::{Error, Result, bytes, give_as, said};
use crate::hook::HookPoint;
use crate::session::{Corpora, Pieces, Session, Shard};
use crate::sweep::{Need, Watch};
use crate::text::corpus::{Corpus, Document};
use crate::text::{Bos, Tokenizer};

/// One column of a hook: a neuron, a dimension of a head's output or of the stream, an expert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Feature {
    pub point: HookPoint,
    /// The head, where the hook has heads.
    pub head: Option<u32>,
    /// Which of the last axis.
    pub index: u32,
}

/// Which columns of which hooks are read.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// Of each hook, by its number.
    pub ranges: Vec<(usize, Range<usize>)>,
    /// Of each column, what it is.
    pub features: Vec<Feature>,
}

impl Columns {
    /// All columns of these hooks for which `wanted` says so.
    pub fn of(spec: &Spec, points: &[HookPoint], wanted: &dyn Fn(&Feature) -> bool) -> Self {
        let (mut ranges, mut features): (Vec<(usize, Range<usize>)>, Vec<Feature>) = (vec![], vec![]);
        for (hook, point) in points.iter().enumerate() {
            let shape = &point.shape(spec, 1)[1..];
            let last = shape.last().copied().unwrap_or(1);
            for column in 0..shape.iter().product::<usize>() {
                let head = (shape.len() > 1).then_some((column / last) as u32);
                let feature = Feature { point: *point, head, index: (column % last) as u32 };
                if !wanted(&feature) {
                    continue;
                }
                features.push(feature);
                match ranges.last_mut() {
                    Some((of, range)) if *of == hook && range.end == column => range.end += 1,
                    _ => ranges.push((hook, column..column + 1)),
                }
            }
        }
        Self { ranges, features }
    }
}

/// A corpus that was read.
pub(super) struct Read {
    pub name: String,
    pub documents: u64,
    pub tokens: u64,
    pub summary: Summary,
}

/// What reading corpora one after another needs of memory: of `kept` corpora what is known of them stays.
pub(super) fn need(on: &Session, asked: &Asked, columns: usize, kept: &Kept, corpora: usize) -> Result<Need> {
    let run = run_need(on.model.spec(), asked, &[]);
    let known = columns * column_bytes(kept) * corpora;
    if run.least + known > on.memory_bytes {
        let short = format!(
            "what is kept of {columns} columns of {corpora} {} takes {}, and {} of memory are not enough for that and a run",
            if corpora == 1 { "corpus" } else { "corpora" },
            bytes(known),
            bytes(on.memory_bytes)
        );
        let wanted = (run.least + known).div_ceil(1_000_000);
        return Err(Error::bad_input(short).hint(
            give_as("memory", format!("{wanted}MB"))
                + said(" would do, or fewer {layers}, {examples}, {draws} or {frequent}"),
        ));
    }
    Ok(Need { activations: run.activations + known, least: run.least + known, rows: 0 })
}

/// How often tokens come, of those that become rows; and how many documents there are.
fn counted(
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    asked: &Asked,
    watch: &dyn Watch,
) -> Result<(HashMap<u32, u64>, u64, u64)> {
    let (mut counts, mut documents, mut all) = (HashMap::new(), 0, 0);
    for document in corpus.documents() {
        watch.at(0, 1)?;
        let document = document?;
        let tokens = tokenizer.encode(&document.text, Bos::AsTokenizer).map_err(|e| e.at(&document.id))?;
        for (i, token) in tokens.iter().enumerate() {
            if !asked.choosing.skips((i % asked.cutting.context) as u32, token.special) {
                *counts.entry(token.id).or_insert(0u64) += 1;
            }
        }
        (documents, all) = (documents + 1, all + tokens.len() as u64);
    }
    Ok((counts, documents, all))
}

/// Tokens of a part, at least: one runs longer than it takes to write what is known of it.
const PART: u64 = 1 << 14;
/// The most parts of a corpus.
const MOST_PARTS: u64 = 16;

/// How a corpus is cut into parts, of so many documents each. It depends on the corpus alone: so sums are the same however many processes
/// share the parts.
fn parts(documents: u64, tokens: u64) -> (u64, u64) {
    let each = documents.div_ceil((tokens / PART).clamp(1, MOST_PARTS)).max(1);
    (documents.div_ceil(each).max(1), each)
}

/// A corpus that is to be read.
pub(super) struct Reading<'a> {
    pub on: &'a Session,
    pub asked: &'a Asked,
    pub columns: &'a Columns,
    pub kept: &'a Kept,
    /// Which parts are read: all, or those of a shard.
    pub shard: Option<Shard>,
    pub watch: &'a dyn Watch,
}

impl Reading<'_> {
    /// Reads the corpus called `name`, the one of this number among several; of a shard only its parts, and then there is nothing to tell.
    ///
    /// # Errors
    /// A document that cannot be read, a run that is not finite; what `watch` says.
    pub fn read(&self, corpora: &Corpora, name: String, number: usize, pieces: &mut Pieces) -> Result<Option<Read>> {
        let Self { on, asked, columns, kept, shard, watch } = self;
        let tokenizer = on.tokenizer.as_ref().ok_or_else(|| on.source.no_tokenizer())?;
        let (counts, documents, all) = counted(&corpora.corpus, tokenizer, asked, *watch)?;
        if documents > u64::from(u32::MAX) {
            return Err(Error::bad_input(format!("{documents} documents are more than can be told apart here"))
                .hint(format!("give at most {}", u32::MAX)));
        }
        let tokens = counts.values().sum();
        let frequent = Frequent::of(counts, kept.words);
        let none = || Summary::none(&columns.ranges, kept, frequent.clone());
        let (parts, each) = parts(documents, all);
        let (mut left, mut done, mut paths) = (corpora.corpus.documents(), 0, vec![]);
        for part in 0..parts {
            let piece = format!("corpus-{number}-part-{part}-of-{parts}.safetensors");
            let mut own = left.by_ref().take(each as usize);
            let is_own = shard.is_none_or(|shard| shard.has(part));
            if let Some(there) = pieces.find(&piece).filter(|_| is_own) {
                paths.push(there);
                own.try_for_each(|document| document.map(drop))?;
            } else if is_own {
                let mut summary = none();
                self.part(tokenizer, &mut own, (done, documents), &mut summary)?;
                if parts == 1 && shard.is_none() {
                    return Ok(Some(Read { name, documents, tokens, summary }));
                }
                paths.push(pieces.keep(&piece, &mut |path| piece::write(&summary, path))?);
            } else {
                own.try_for_each(|document| document.map(drop))?;
            }
            done = (done + each).min(documents);
            watch.at(done as usize, documents as usize)?;
        }
        if shard.is_some() {
            return Ok(None);
        }
        let mut summary = none();
        paths.iter().try_for_each(|path| piece::add(&mut summary, path))?;
        Ok(Some(Read { name, documents, tokens, summary }))
    }

    /// Runs the documents of a part. So many of all are `done` before.
    fn part(
        &self,
        tokenizer: &Tokenizer,
        documents: &mut dyn Iterator<Item = Result<Document>>,
        (done, all): (u64, u64),
        summary: &mut Summary,
    ) -> Result<()> {
        let exporter = Exporter { on: self.on, tokenizer, asked: self.asked, columns: &[], limits: None, sums: false };
        let (context, mut first) = (self.asked.cutting.context as u32, None);
        let mut take = |rows: Rows| taken(&rows, context, &mut first, summary);
        let mut block = exporter.block();
        for (i, document) in documents.enumerate() {
            let document = document?;
            if i > 0 && (i as u64).is_multiple_of(self.asked.block) {
                std::mem::replace(&mut block, exporter.block()).finish(&mut take)?;
            }
            self.watch.at(done as usize + i, all as usize)?;
            block.push(&document, &mut take)?;
        }
        block.finish(&mut take).map(drop)
    }
}

/// Rows of a run become a batch. Positions are those in the document: a sequence after its first begins a context later.
fn taken(rows: &Rows, context: u32, first: &mut Option<(u64, u32)>, summary: &mut Summary) -> Result<()> {
    let (mut doc, mut pos) = (Vec::with_capacity(rows.doc.len()), Vec::with_capacity(rows.doc.len()));
    for ((own, seq), at) in rows.doc.iter().zip(&rows.seq).zip(&rows.pos) {
        let (_, begins) = match *first {
            Some(known) if known.0 == *own => known,
            _ => *first.insert((*own, *seq)),
        };
        doc.push(*own as u32);
        pos.push((seq - begins) * context + at);
    }
    let word: Vec<Option<u32>> = rows.token_id.iter().map(|id| summary.frequent.number(*id)).collect();
    let hooks = rows.hooks.iter().map(|values| match values {
        Values::F32(values) => Ok(values.as_slice()),
        Values::U32(_) => Err(Error::compute("numbers of experts are no activations").fault()),
    });
    summary.take(&Batch { hooks: hooks.collect::<Result<_>>()?, doc: &doc, pos: &pos, word: &word });
    Ok(())
}
