//! The options, and what they come to for a model.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::choose::Choosing;
use super::cut::{Cutting, Packing};
use super::shuffle::Shuffle;
use crate::arch::Spec;
use crate::dataset::{Dtype, Form, HookColumn, Layout, ScalarColumn};
use crate::error::{Error, Result, give_as, said};
use crate::hook::{HookPoint, select};
use crate::range::{self, Interval};
use crate::session::Session;
use crate::text::Token;

/// Activations of a corpus as a data set: a row for each token, in parquet files that other programs read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes data-000000.parquet and so on, of a block of documents each, then export_stats.parquet, export_documents.parquet, README.md \
                        and manifest.json. What is finished stays when it is stopped, and --resume goes on; --shard splits the work between \
                        machines, whose folders `pellucid merge` joins and `pellucid status` describes. See docs/export.md."
    )
)]
pub struct Export {
    /// Which hooks, such as 'blocks.*.hook_resid_post,blocks.6.mlp.hook_post' (`pellucid hooks` lists them)
    #[cfg_attr(feature = "cli", arg(long, visible_alias = "at", value_name = "HOOKS"))]
    pub hooks: String,
    /// The most tokens of a sequence; longer documents are cut, shorter ones are not padded [default: 1024, or the model's context
    /// where that is shorter]
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..)))]
    pub context: Option<usize>,
    /// Pack documents into sequences of the whole context: `no`, each document begins a sequence; `bos`, BOS begins each sequence and
    /// stands between documents; `eos`, EOS stands before each document; `sep:TEXT`, that text stands between documents
    #[cfg_attr(feature = "cli", arg(long, value_name = "HOW", default_value_t, value_parser = Pack::from_str))]
    pub pack: Pack,
    /// Begin every sequence with the tokenizer's BOS token
    #[cfg_attr(feature = "cli", arg(long))]
    pub bos: bool,
    /// What to do with sequences that are shorter than the context
    #[cfg_attr(feature = "cli", arg(long, value_enum, default_value_t, value_name = "WHAT"))]
    pub tail: Tail,
    /// Begin a sequence every N tokens of a document, so that sequences overlap. Each token is a row once: in the later sequence,
    /// what an earlier one had is only read
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..)))]
    pub stride: Option<usize>,
    /// Also what the model predicts: `loss`, of the next token; `logprob`, of the token itself; `entropy`; `top1`, the most probable
    /// next token
    #[cfg_attr(feature = "cli", arg(long, value_enum, value_delimiter = ',', value_name = "COLUMNS"))]
    pub columns: Vec<Column>,
    /// Leave out control tokens, such as BOS
    #[cfg_attr(feature = "cli", arg(long))]
    pub skip_special: bool,
    /// Leave out these positions of each sequence, such as 0-3 for the first four, or 0,5
    #[serde(serialize_with = "range::half_open")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "POSITIONS", value_delimiter = ',', value_parser = Interval::from_zero))]
    pub skip_pos: Vec<Interval>,
    /// Leave out tokens of which a hook's norm is over K times its median: attention sinks. The median is that of the first 64
    /// documents of the corpus
    #[cfg_attr(feature = "cli", arg(long, value_name = "K"))]
    pub max_norm_multiple: Option<f64>,
    /// Draw this share of the tokens, such as 0.1: the same tokens on every machine
    #[cfg_attr(feature = "cli", arg(long, value_name = "P"))]
    pub sample: Option<f64>,
    /// In which order: `none`, that of the corpus; `documents`, documents shuffled; `tokens:N`, rows shuffled inside of windows of N
    /// rows, which end at blocks
    #[cfg_attr(feature = "cli", arg(long, value_name = "WHAT", default_value_t, value_parser = Shuffle::from_str))]
    pub shuffle: Shuffle,
    /// Seed for random draws and orders
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t))]
    pub seed: u64,
    /// Kind of file: `parquet`, rows; or `safetensors`, tensors
    #[serde(rename = "as")]
    #[cfg_attr(feature = "cli", arg(id = "as", long = "as", value_enum, default_value_t, value_name = "KIND"))]
    pub form: Form,
    /// Dtype of the hooks' numbers in the files, however they were computed. In f16 a number over 65,504 is an error
    #[cfg_attr(feature = "cli", arg(long, value_enum, default_value_t, value_name = "DTYPE"))]
    pub store: Dtype,
    /// Write the largest f16 in place of a number that is too large for one
    #[cfg_attr(feature = "cli", arg(long))]
    pub clip: bool,
    /// Documents that are cut together: a block is done as a whole, by one machine [default: about 256 MB for documents of 256 tokens]
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..)))]
    pub block: Option<u64>,
}

impl Default for Export {
    fn default() -> Self {
        Self {
            hooks: String::new(),
            context: None,
            pack: Pack::No,
            bos: false,
            tail: Tail::Keep,
            stride: None,
            columns: vec![],
            skip_special: false,
            skip_pos: vec![],
            max_norm_multiple: None,
            sample: None,
            shuffle: Shuffle::None,
            seed: 0,
            form: Form::default(),
            store: Dtype::default(),
            clip: false,
            block: None,
        }
    }
}

/// In JSON these are as the command line has them.
macro_rules! as_text {
    ($($option:ty),+) => {$(
        impl TryFrom<String> for $option {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$option> for String {
            fn from(option: $option) -> Self {
                option.to_string()
            }
        }
    )+};
}
as_text!(Pack, Shuffle);

/// How documents are packed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pack {
    /// They are not.
    #[default]
    No,
    /// BOS begins each sequence, and stands between documents.
    Bos,
    /// EOS stands before each document.
    Eos,
    /// This text stands between documents.
    Text(String),
}

impl FromStr for Pack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("sep:")) {
            ("no", _) => Ok(Self::No),
            ("bos", _) => Ok(Self::Bos),
            ("eos", _) => Ok(Self::Eos),
            (_, Some(text)) if !text.is_empty() => Ok(Self::Text(text.to_owned())),
            _ => Err("write no, bos, eos, or sep: and the text that stands between documents".to_owned()),
        }
    }
}

impl fmt::Display for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::Bos => f.write_str("bos"),
            Self::Eos => f.write_str("eos"),
            Self::Text(text) => write!(f, "sep:{text}"),
        }
    }
}

/// What becomes of sequences that are shorter than the context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Tail {
    /// They are run as they are.
    #[default]
    Keep,
    /// They are dropped.
    Drop,
}

/// What the model predicts, as columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Column {
    /// The surprise of the next token of the sequence.
    Loss,
    /// The log-probability of the token itself, after those before it.
    Logprob,
    /// The entropy of what may come next.
    Entropy,
    /// The most probable next token.
    Top1,
}

impl Column {
    fn described(self) -> ScalarColumn {
        let (name, unit, meaning) = match self {
            Self::Loss => {
                ("loss_nats", "nats", "how surprising the next token of the sequence is; null at the sequence's end")
            }
            Self::Logprob => {
                ("logprob_nats", "nats", "log-probability of this token after those before it; null of the first")
            }
            Self::Entropy => ("entropy_bits", "bits", "entropy of the model's distribution over the next token"),
            Self::Top1 => ("top1_id", "vocabulary id", "the most probable next token"),
        };
        ScalarColumn { name: name.into(), unit: unit.into(), meaning: meaning.into(), index: self == Self::Top1 }
    }
}

/// What an export comes to for a model.
pub(in crate::analysis) struct Asked {
    pub points: Vec<HookPoint>,
    pub layout: Layout,
    pub cutting: Cutting,
    pub choosing: Choosing,
    /// Documents of a block.
    pub block: u64,
}

/// Where nobody says how long sequences may be.
const CONTEXT: usize = 1024;
/// Bytes of a block, where nobody says how many documents, and tokens of a document.
const BLOCK: (usize, usize) = (256 << 20, 256);

impl Export {
    /// What it comes to for the model of `on`.
    ///
    /// # Errors
    /// Options that do not fit the model, its tokenizer or each other.
    pub(in crate::analysis) fn asked(&self, on: &Session) -> Result<Asked> {
        let spec = on.model.spec();
        let points = select(spec, &self.hooks)?;
        if let Some(point) = points.iter().find(|point| point.site.per_sequence()) {
            return Err(Error::bad_input(format!(
                "{point} is a number for each query and key, and a row here is a token"
            ))
            .hint("`pellucid attention` writes patterns as a table; `pellucid cache` as they are"));
        }
        let layout = Layout {
            hooks: points.iter().map(|point| column(spec, point)).collect(),
            scalars: self.columns.iter().map(|column| column.described()).collect(),
            dtype: self.store,
            form: self.form,
            clip: self.clip,
            window: match self.shuffle {
                Shuffle::Tokens(window) => Some(window),
                _ => None,
            },
        };
        let documents = BLOCK.0 / BLOCK.1 / layout.row_bytes();
        let block = self.block.unwrap_or((documents.max(1).next_power_of_two() as u64).min(4096));
        Ok(Asked { cutting: self.cutting(on)?, choosing: self.choosing()?, points, layout, block })
    }

    fn cutting(&self, on: &Session) -> Result<Cutting> {
        let n_ctx = on.model.spec().n_ctx;
        let context = self.context.unwrap_or_else(|| n_ctx.map_or(CONTEXT, |n_ctx| n_ctx.min(CONTEXT)));
        if let Some(n_ctx) = n_ctx.filter(|n_ctx| context > *n_ctx) {
            return Err(Error::bad_input(format!("a context of {context} tokens is longer than the model's, {n_ctx}"))
                .hint(give_as("context", n_ctx.to_string()) + " is the most"));
        }
        let tokenizer = on.tokenizer.as_ref().ok_or_else(|| on.source.no_tokenizer())?;
        let named = |id: Option<u32>, what: &str| {
            id.map(|id| tokenizer.token(id)).ok_or_else(|| {
                Error::bad_input(format!("this model's files do not say which token {what}"))
                    .hint(said("pack with {pack=sep:TEXT}, or leave that out"))
            })
        };
        let bos = || named(tokenizer.bos(), "begins a text (BOS)");
        let eos = || named(tokenizer.eos(), "ends a text (EOS)");
        let pack = match &self.pack {
            Pack::No => None,
            Pack::Bos => Some(Packing { separator: vec![bos()?], leading: false }),
            Pack::Eos => Some(Packing { separator: vec![eos()?], leading: true }),
            Pack::Text(text) => Some(Packing { separator: around(tokenizer.encode_alone(text)?), leading: false }),
        };
        let begins = self.bos || self.pack == Pack::Bos;
        if let Some(stride) = self.stride {
            let most = context - usize::from(begins);
            if pack.is_some() {
                return Err(Error::bad_input("packed documents have no stride: their sequences are one text")
                    .hint(said("leave out {!stride}, or {!pack}")));
            }
            if stride > most {
                return Err(Error::bad_input(format!(
                    "a stride of {stride} tokens would leave out some between sequences"
                ))
                .hint(format!("give {most} or less")));
            }
        }
        let bos = if begins { Some(bos()?) } else { None };
        Ok(Cutting { context, pack, bos, drop_tail: self.tail == Tail::Drop, stride: self.stride })
    }

    fn choosing(&self) -> Result<Choosing> {
        if let Some(share) = self.sample.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            return Err(
                Error::bad_input(format!("{share} is no share of the tokens")).hint("give a number over 0, up to 1")
            );
        }
        if let Some(k) = self.max_norm_multiple.filter(|k| !(*k > 0.0 && k.is_finite())) {
            return Err(
                Error::bad_input(format!("{k} times the median norm leaves nothing")).hint("give a number such as 10")
            );
        }
        let skip_pos = range::normal(&self.skip_pos);
        Ok(Choosing { skip_special: self.skip_special, skip_pos, sample: self.sample, seed: self.seed })
    }
}

/// How a token's value of a hook is laid out.
pub(in crate::analysis) fn column(spec: &Spec, point: &HookPoint) -> HookColumn {
    HookColumn {
        name: point.to_string(),
        axes: point.site.info().axes.iter().map(|axis| axis.letter()).collect::<Vec<_>>().join(" "),
        shape: point.shape(spec, 1)[1..].to_vec(),
        index: point.site.is_index(),
    }
}

/// Tokens that are put between documents, which are at no place of one.
fn around(tokens: Vec<Token>) -> Vec<Token> {
    tokens
        .into_iter()
        .map(|mut token| {
            token.bytes = None;
            token
        })
        .collect()
}
