//! What a data set's columns are, and rows on their way to it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, said};

/// The columns of a data set beside those that every one has, and how they are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Activations, one column for each hook.
    pub hooks: Vec<HookColumn>,
    /// Numbers, one for each token.
    pub scalars: Vec<ScalarColumn>,
    /// How numbers of hooks are stored.
    pub dtype: Dtype,
    /// In which kind of file.
    pub form: Form,
    /// Whether a number too large for f16 becomes the largest that there is, rather than an error.
    pub clip: bool,
    /// Rows come shuffled inside of windows of so many: row groups end where these do, as there are no sequences to keep together. A
    /// window that is longer than a row group is several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
}

/// The column of a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookColumn {
    /// The hook's full name, such as `blocks.6.hook_resid_post`.
    pub name: String,
    /// Its axes, one letter each: `t h e`.
    pub axes: String,
    /// What one token has of it, such as `[12, 64]`. The column holds it flat.
    pub shape: Vec<usize>,
    /// Whether its values are indices (u32), such as numbers of experts, rather than numbers.
    pub index: bool,
}

/// A column with one value for each token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalarColumn {
    /// Its name, such as `loss_nats`.
    pub name: String,
    /// What it is measured in.
    pub unit: String,
    /// What it means.
    pub meaning: String,
    /// Whether it holds indices (u32), such as token ids, rather than numbers (f32).
    pub index: bool,
}

/// How numbers of hooks are stored. The computation is another's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Dtype {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, rounded to the nearest, ties to even; at most 65,504.
    F16,
    /// The upper 16 bits of an f32, rounded to the nearest, ties to even.
    Bf16,
}

/// Kinds of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Form {
    /// A row for each token.
    #[default]
    Parquet,
    /// A tensor for each hook.
    Safetensors,
}

impl Dtype {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        if self == Dtype::F32 { 4 } else { 2 }
    }
}

impl HookColumn {
    /// Numbers of one token.
    pub fn width(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Columns of which each row has a value whatever is asked for.
pub(super) const KEYS: [&str; 9] =
    ["doc", "doc_id", "seq", "pos", "token_id", "token", "byte_start", "byte_end", "special"];

impl Layout {
    /// Bytes of a row before compression, without texts.
    pub fn row_bytes(&self) -> usize {
        let hook = |h: &HookColumn| h.width() * if h.index { 4 } else { self.dtype.size() };
        // Keys: a document's number and seven of four bytes or fewer.
        self.hooks.iter().map(hook).sum::<usize>() + 4 * self.scalars.len() + 40
    }

    /// Refuses what cannot be written.
    pub(super) fn check(&self) -> Result<()> {
        if (self.dtype, self.form) == (Dtype::Bf16, Form::Parquet) {
            return Err(Error::bad_input("parquet has no bf16")
                .hint(said("write tensors with {as=safetensors}, or numbers with {store=f16} or {store=f32}")));
        }
        let own = self.hooks.iter().map(|h| &h.name).chain(self.scalars.iter().map(|s| &s.name));
        let mut names: Vec<&str> = KEYS.iter().copied().chain(own.map(String::as_str)).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|two| two[0] == two[1]) {
            return Err(Error::bad_input(format!("there would be two columns `{}`", twice[0])).hint("name it once"));
        }
        match self.hooks.iter().find(|h| h.width() == 0 || i32::try_from(h.width()).is_err()) {
            Some(h) => Err(Error::compute(format!("`{}` has {} numbers for a token", h.name, h.width())).fault()),
            None => Ok(()),
        }
    }
}

/// Values of a hook, `[rows * width]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Numbers.
    F32(Vec<f32>),
    /// Indices.
    U32(Vec<u32>),
}

/// One value for each row; null where a row has none, as the first token of a text has no loss.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalars {
    /// Numbers.
    F32(Vec<Option<f32>>),
    /// Indices.
    U32(Vec<Option<u32>>),
}

/// Rows, each of one token, by columns. Each column has the same number of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The document's number in the corpus.
    pub doc: Vec<u64>,
    /// Its name.
    pub doc_id: Vec<Arc<str>>,
    /// The sequence's number in its block, from 0: tokens of one sequence ran together.
    pub seq: Vec<u32>,
    /// The position in the sequence. It increases within one.
    pub pos: Vec<u32>,
    /// The token.
    pub token_id: Vec<u32>,
    /// Its text.
    pub token: Vec<String>,
    /// Where it begins in the document, in bytes; null for a token that is not of the document's text.
    pub byte_start: Vec<Option<u32>>,
    /// Where it ends.
    pub byte_end: Vec<Option<u32>>,
    /// Whether it is a special token.
    pub special: Vec<bool>,
    /// Values of each hook of the layout, in its order.
    pub hooks: Vec<Values>,
    /// Values of each other column of the layout, in its order.
    pub scalars: Vec<Scalars>,
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::F32(v) => v.len(),
            Values::U32(v) => v.len(),
        }
    }
}

impl Rows {
    /// No rows, with the columns of `layout`.
    pub fn none(layout: &Layout) -> Self {
        let hook = |h: &HookColumn| if h.index { Values::U32(vec![]) } else { Values::F32(vec![]) };
        let scalar = |s: &ScalarColumn| if s.index { Scalars::U32(vec![]) } else { Scalars::F32(vec![]) };
        Self {
            hooks: layout.hooks.iter().map(hook).collect(),
            scalars: layout.scalars.iter().map(scalar).collect(),
            ..Self::default()
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.doc.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.doc.is_empty()
    }

    /// Adds the rows `range` of `other`, which has the columns of `layout` as these have.
    pub fn take(&mut self, layout: &Layout, other: &mut Rows, range: std::ops::Range<usize>) {
        self.doc.extend_from_slice(&other.doc[range.clone()]);
        self.doc_id.extend_from_slice(&other.doc_id[range.clone()]);
        self.seq.extend_from_slice(&other.seq[range.clone()]);
        self.pos.extend_from_slice(&other.pos[range.clone()]);
        self.token_id.extend_from_slice(&other.token_id[range.clone()]);
        self.token.extend(other.token[range.clone()].iter_mut().map(std::mem::take));
        self.byte_start.extend_from_slice(&other.byte_start[range.clone()]);
        self.byte_end.extend_from_slice(&other.byte_end[range.clone()]);
        self.special.extend_from_slice(&other.special[range.clone()]);
        for ((to, from), hook) in self.hooks.iter_mut().zip(&other.hooks).zip(&layout.hooks) {
            let wide = range.start * hook.width()..range.end * hook.width();
            match (to, from) {
                (Values::F32(to), Values::F32(from)) => to.extend_from_slice(&from[wide]),
                (Values::U32(to), Values::U32(from)) => to.extend_from_slice(&from[wide]),
                _ => {} // `fits` has said so.
            }
        }
        for (to, from) in self.scalars.iter_mut().zip(&other.scalars) {
            match (to, from) {
                (Scalars::F32(to), Scalars::F32(from)) => to.extend_from_slice(&from[range.clone()]),
                (Scalars::U32(to), Scalars::U32(from)) => to.extend_from_slice(&from[range.clone()]),
                _ => {}
            }
        }
    }

    /// Refuses rows that do not have the columns of `layout`, each as long.
    pub(super) fn fits(&self, layout: &Layout) -> Result<()> {
        let n = self.len();
        let keys = [
            self.doc_id.len(),
            self.seq.len(),
            self.pos.len(),
            self.token_id.len(),
            self.token.len(),
            self.byte_start.len(),
            self.byte_end.len(),
            self.special.len(),
        ];
        let hook = |(v, h): (&Values, &HookColumn)| v.len() == n * h.width() && matches!(v, Values::U32(_)) == h.index;
        let scalar = |(v, s): (&Scalars, &ScalarColumn)| match v {
            Scalars::F32(v) => v.len() == n && !s.index,
            Scalars::U32(v) => v.len() == n && s.index,
        };
        let fits = keys.iter().all(|len| *len == n)
            && (self.hooks.len(), self.scalars.len()) == (layout.hooks.len(), layout.scalars.len())
            && self.hooks.iter().zip(&layout.hooks).all(hook)
            && self.scalars.iter().zip(&layout.scalars).all(scalar);
        if fits { Ok(()) } else { Err(Error::compute("rows do not have the columns of their data set").fault()) }
    }
}
