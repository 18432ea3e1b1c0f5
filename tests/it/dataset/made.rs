//! Rows for tests: each value is a function of its document, position, column and place, so that a reader can tell whether it is
//! where it belongs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pellucid::Result;
use pellucid::dataset::{
    Dataset, DocumentRecord, Dtype, Form, HookColumn, Layout, Opening, Rows, ScalarColumn, Scalars, Shard, Values,
    Whole,
};
use pellucid::session::Claiming;
use pellucid::table::Provenance;
use serde_json::{Value, json};

/// Documents of a block.
pub const BLOCK: u64 = 3;
/// Of 32 tokens at most each sequence is.
pub const CONTEXT: u32 = 32;

/// Hooks of these widths, one of indices, and two scalars.
pub fn layout(widths: &[usize], dtype: Dtype, form: Form) -> Layout {
    let hook = |(i, width): (usize, &usize)| HookColumn {
        name: format!("blocks.{i}.hook_resid_post"),
        axes: "t d".into(),
        shape: vec![*width],
        index: false,
    };
    let mut hooks: Vec<HookColumn> = widths.iter().enumerate().map(hook).collect();
    hooks.push(HookColumn {
        name: "blocks.0.attn.hook_z".into(),
        axes: "t h e".into(),
        shape: vec![2, 3],
        index: false,
    });
    hooks.push(HookColumn {
        name: "blocks.0.mlp.hook_experts".into(),
        axes: "t k".into(),
        shape: vec![2],
        index: true,
    });
    let scalar = |name: &str, unit: &str, index| ScalarColumn {
        name: name.into(),
        unit: unit.into(),
        meaning: "of a test".into(),
        index,
    };
    Layout {
        hooks,
        scalars: vec![scalar("loss_nats", "nats", false), scalar("top1", "token", true)],
        dtype,
        form,
        clip: false,
        window: None,
    }
}

/// How many tokens a document has.
pub fn tokens_of(doc: u64) -> u32 {
    5 + (doc * 37 % 90) as u32
}

/// The number of a hook at a place: not round, of either sign, of very different sizes.
pub fn number(doc: u64, token: u32, hook: usize, at: usize) -> f32 {
    let x = (doc * 7919 + u64::from(token) * 104_729 + hook as u64 * 1_299_709 + at as u64 * 15_485_863) % 1_000_003;
    let sign = if x.is_multiple_of(2) { 1.0 } else { -1.0 };
    sign * (x as f32 / 1_000_003.0) * 10f32.powi((x % 7) as i32 - 4)
}

pub fn index(doc: u64, token: u32, at: usize) -> u32 {
    (doc as u32 * 31 + token * 7 + at as u32) % 64
}

/// The rows of a document, whose sequences are counted from `seq`.
pub fn document(layout: &Layout, doc: u64, seq: &mut u32) -> Rows {
    let mut rows = Rows::none(layout);
    let id: Arc<str> = format!("file.jsonl:{doc}").into();
    for token in 0..tokens_of(doc) {
        if token > 0 && token % CONTEXT == 0 {
            *seq += 1;
        }
        rows.doc.push(doc);
        rows.doc_id.push(id.clone());
        rows.seq.push(*seq);
        rows.pos.push(token % CONTEXT);
        rows.token_id.push(doc as u32 * 1000 + token);
        rows.token.push(format!(" w{}", token % 11));
        let there = token > 0;
        rows.byte_start.push(there.then_some(token * 3));
        rows.byte_end.push(there.then_some(token * 3 + 3));
        rows.special.push(!there);
        for (h, (values, hook)) in rows.hooks.iter_mut().zip(&layout.hooks).enumerate() {
            match values {
                Values::F32(values) => values.extend((0..hook.width()).map(|at| number(doc, token, h, at))),
                Values::U32(values) => values.extend((0..hook.width()).map(|at| index(doc, token, at))),
            }
        }
        for scalars in &mut rows.scalars {
            match scalars {
                Scalars::F32(values) => values.push(there.then_some(number(doc, token, 77, 0).abs())),
                Scalars::U32(values) => values.push(there.then_some(token + 1)),
            }
        }
    }
    *seq += 1;
    rows
}

/// These rows, all of `a` and then all of `b`.
pub fn joined(mut a: Rows, b: Rows) -> Rows {
    a.doc.extend(b.doc);
    a.doc_id.extend(b.doc_id);
    a.seq.extend(b.seq);
    a.pos.extend(b.pos);
    a.token_id.extend(b.token_id);
    a.token.extend(b.token);
    a.byte_start.extend(b.byte_start);
    a.byte_end.extend(b.byte_end);
    a.special.extend(b.special);
    for (a, b) in a.hooks.iter_mut().zip(b.hooks) {
        match (a, b) {
            (Values::F32(a), Values::F32(b)) => a.extend(b),
            (Values::U32(a), Values::U32(b)) => a.extend(b),
            _ => unreachable!("columns of one layout"),
        }
    }
    for (a, b) in a.scalars.iter_mut().zip(b.scalars) {
        match (a, b) {
            (Scalars::F32(a), Scalars::F32(b)) => a.extend(b),
            (Scalars::U32(a), Scalars::U32(b)) => a.extend(b),
            _ => unreachable!("columns of one layout"),
        }
    }
    a
}

pub fn provenance(instructions: &str) -> Provenance {
    Provenance {
        model: "a model".into(),
        weights_hash: "abc".into(),
        dtype: "f32".into(),
        device: "cpu".into(),
        instructions: instructions.into(),
        command: vec!["pellucid".into(), "export".into()],
        ..Provenance::default()
    }
}

pub fn claiming() -> Claiming<'static> {
    Claiming { command: &[], wait: Duration::ZERO, waiting: &|_| Ok(()) }
}

/// How a test opens a data set.
#[derive(Clone)]
pub struct How {
    pub layout: Layout,
    pub request: Value,
    pub shard: Shard,
    pub resume: bool,
    pub force: bool,
    pub instructions: &'static str,
    /// How many documents are pushed together.
    pub together: usize,
    pub documents: u64,
}

impl How {
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            request: json!({"hooks": "all", "context": CONTEXT}),
            shard: Shard::default(),
            resume: false,
            force: false,
            instructions: "avx2",
            together: 1,
            documents: 10,
        }
    }

    pub fn shard(&self, index: u64, of: u64) -> Self {
        Self { shard: Shard { index, of }, ..self.clone() }
    }

    pub fn resume(&self) -> Self {
        Self { resume: true, ..self.clone() }
    }

    pub fn blocks(&self) -> u64 {
        self.documents.div_ceil(BLOCK)
    }

    pub fn open(&self, folder: &Path) -> Result<Dataset> {
        let claiming = claiming();
        let opening = Opening {
            layout: self.layout.clone(),
            request: &self.request,
            provenance: provenance(self.instructions),
            shard: self.shard,
            resume: self.resume,
            force: self.force,
            claiming: &claiming,
        };
        Dataset::open(folder, opening)
    }

    /// Writes a block.
    pub fn block(&self, dataset: &mut Dataset, block: u64) -> Result<()> {
        let mut writer = dataset.block(block)?;
        let docs: Vec<u64> = (block * BLOCK..self.documents.min(block * BLOCK + BLOCK)).collect();
        let mut seq = 0;
        for some in docs.chunks(self.together) {
            let rows = some.iter().map(|doc| document(&self.layout, *doc, &mut seq));
            writer.push(rows.reduce(joined).unwrap())?;
        }
        let record = |doc: &u64| DocumentRecord {
            index: *doc,
            id: format!("file.jsonl:{doc}"),
            tokens: u64::from(tokens_of(*doc)),
            sequences: u64::from(tokens_of(*doc).div_ceil(CONTEXT)),
            rows: u64::from(tokens_of(*doc)),
        };
        writer.finish(docs.iter().map(record).collect(), json!({"first": number(block, 0, 0, 0)}))
    }

    /// Writes all that this shard wants, and says which blocks that was.
    pub fn blocks_of(&self, folder: &Path) -> Result<(Vec<u64>, Option<Whole>)> {
        let mut dataset = self.open(folder)?;
        let wanted: Vec<u64> = (0..self.blocks()).filter(|block| dataset.wants(*block)).collect();
        wanted.iter().try_for_each(|block| self.block(&mut dataset, *block))?;
        Ok((wanted, dataset.finish(self.blocks(), json!({"skipped": 0}))?))
    }

    /// All of it, with a page beside it.
    pub fn write(&self, folder: &Path) -> Result<Vec<u64>> {
        let (wanted, whole) = self.blocks_of(folder)?;
        whole.map(finish).transpose()?;
        Ok(wanted)
    }
}

/// Writes side tables, as an analysis does.
pub fn finish(mut whole: Whole) -> Result<()> {
    let sums: Vec<String> = whole.records().map(|r| r.map(|r| r.sums.to_string())).collect::<Result<_>>()?;
    whole.page("README.md", &sums.join("\n"))?;
    whole.finish().map(|_| ())
}

/// Every file of a folder, with its bytes.
pub fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let all = crate::house::tidy::files(folder, "").into_iter();
    let name = |p: &Path| p.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
    all.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

/// Their names.
pub fn names(folder: &Path) -> Vec<String> {
    files(folder).into_iter().map(|(name, _)| name).collect()
}
