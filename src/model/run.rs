//! The one forward pass: what can be asked of it, and its outline.

use std::ops::Range;

use candle_core::Tensor;

use super::Model;
use super::batch::{Batch, Prefix};
use super::norm::{LN_FINAL, read};
use crate::arch::spec::{AddedTo, Position, Rotary};
use crate::error::{Error, Result};
use crate::hook::{Hook, Site, Tap};
use crate::ops::Kernels;
use crate::ops::attention::KeysValues;
use crate::ops::linear::{Linear, add};
use crate::ops::rotary::Table;
use crate::ops::rows::Rows;

/// What to compute. The default is everything: all layers, logits of every row, the fastest path.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Which implementation; the fastest that fits unless given.
    pub kernels: Option<Kernels>,
    /// Start at this block with this stream `[t, d]` instead of at the embedding.
    pub from: Option<(usize, Tensor)>,
    /// Stop before this block, without logits.
    pub until: Option<usize>,
    /// Which logits to compute.
    pub unembed: Unembed,
    /// Whether to keep keys and values as prefixes for later runs.
    pub keep_prefixes: bool,
}

/// Which logits to compute.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Unembed {
    /// Of every row, `[t, v]`.
    #[default]
    All,
    /// None.
    Nothing,
    /// Of these rows of the pack, `[rows, v]`.
    Rows(Vec<u32>),
    /// Of these rows and these tokens only, `[rows, tokens]`.
    Tokens(Vec<u32>, Vec<u32>),
}

/// What a run leaves.
#[derive(Clone, Debug)]
pub struct Output {
    /// The logits that were asked for.
    pub logits: Option<Tensor>,
    /// The stream where the run stopped, `[t, d]`, before the final norm.
    pub resid: Tensor,
    /// How its rows are packed.
    pub rows: Rows,
    /// For each sequence its new keys and values, where they were to be kept.
    pub prefixes: Vec<Prefix>,
}

impl Output {
    /// The logits.
    ///
    /// # Errors
    /// When the run was not asked for any.
    pub fn logits(&self) -> Result<&Tensor> {
        self.logits.as_ref().ok_or_else(|| {
            Error::bad_input("this run was not asked for logits").hint("choose in `Run::logits` what is unembedded")
        })
    }
}

/// A pack between two blocks.
pub(crate) struct Stream {
    /// The stream `[t, d]`.
    pub resid: Tensor,
    /// Position vectors `[t, d]` that queries and keys read beside it, where the model has such.
    pub positions: Option<Tensor>,
}

/// What every block needs to know of the pack.
pub(crate) struct Pack<'a> {
    pub kernels: Kernels,
    pub batch: &'a Batch,
    /// The angles of its rows.
    pub angles: Angles,
    /// The rows that ask and go on after attention; all unless given. The others only answer: with keys and values.
    pub asking: Option<Asking>,
}

/// Some rows of a pack.
pub(crate) struct Asking {
    /// How they are packed, for the same sequences.
    pub rows: Rows,
    /// Which rows of the whole pack they are.
    pub indices: Tensor,
}

impl Pack<'_> {
    /// Of `x [t, ..]` the rows that ask.
    pub fn asking(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match &self.asking {
            Some(asking) => x.index_select(&asking.indices, 0)?,
            None => x.clone(),
        })
    }

    /// How they are packed, when `all` is the layout of the whole pack.
    pub fn asking_rows(&self, all: &Rows) -> Rows {
        self.asking.as_ref().map_or(all, |asking| &asking.rows).clone()
    }
}

/// The angles of some rows, for each distinct rotation in the model.
pub(crate) struct Angles(Vec<(Rotary, Table)>);

impl Angles {
    /// Of the angles of positions `0..n`, those of `rows`.
    pub fn of(&self, rows: &Rows) -> Result<Self> {
        let at: Vec<u32> = rows.positions().map(|p| p as u32).collect();
        let of = |(rotary, table): &(Rotary, Table)| {
            let at = Tensor::new(at.as_slice(), table.cos.device())?;
            let table = Table { cos: table.cos.index_select(&at, 0)?, sin: table.sin.index_select(&at, 0)? };
            Ok((rotary.clone(), table))
        };
        Ok(Self(self.0.iter().map(of).collect::<Result<_>>()?))
    }

    /// Those of one rotation.
    pub fn table(&self, rotary: &Rotary) -> Result<&Table> {
        let table = self.0.iter().find(|(known, _)| known == rotary).map(|(_, table)| table);
        table.ok_or_else(|| Error::compute("a block's rotation has no table").fault())
    }
}

impl Model {
    /// That the model can say these tokens: some read more than they say.
    ///
    /// # Errors
    /// Otherwise.
    pub fn can_say(&self, ids: &[u32]) -> Result<()> {
        let n = self.spec.unembedding.d_vocab_out;
        match ids.iter().find(|id| **id as usize >= n) {
            Some(id) => Err(Error::no_such(format!("token {id} is outside the {n} that the model can say"))
                .hint(format!("choose a token below #{n}"))),
            None => Ok(()),
        }
    }

    /// Runs `batch` through the whole model: logits `[t, v]` of every row.
    ///
    /// Hooks see values in the order given: a later one sees what an earlier one changed.
    ///
    /// # Errors
    /// Ids outside the vocabulary, sequences that are empty or too long, and whatever a hook says.
    pub fn forward(&self, batch: &Batch, hooks: &mut [&mut dyn Hook]) -> Result<Tensor> {
        self.run(batch, &Run::default(), hooks)?.logits.ok_or_else(|| Error::compute("the run made no logits").fault())
    }

    /// Runs `batch` as `run` says.
    ///
    /// # Errors
    /// As [`Model::forward`], and when `run` does not fit the model or the batch.
    pub fn run(&self, batch: &Batch, run: &Run, hooks: &mut [&mut dyn Hook]) -> Result<Output> {
        let rows = self.check(batch, run)?;
        let kernels = run.kernels.unwrap_or_else(|| self.kernels());
        let pack = Pack { kernels, batch, angles: self.angles(&rows)?, asking: None };
        let mut tap = Tap::new(hooks, rows.clone());
        let n_layers = self.spec.n_layers();
        let (first, mut stream) = match &run.from {
            Some((layer, resid)) => {
                let positions = self.positions(&rows, AddedTo::QueriesAndKeys)?;
                (*layer, Stream { resid: resid.contiguous()?, positions })
            }
            None => (0, self.begin(kernels, batch, &mut tap)?),
        };
        let last = run.until.unwrap_or(n_layers);
        let mut kept: Vec<Option<KeysValues>> = vec![None; n_layers];
        for (layer, kept) in kept.iter_mut().enumerate().take(last).skip(first) {
            let (after, keys_values) = self.block(layer, &pack, &mut tap, stream)?;
            stream = after;
            if run.keep_prefixes {
                *kept = Some(keys_values);
            }
        }
        tap.enter(None);
        let resid = stream.resid;
        let logits = if last == n_layers { self.end(kernels, &mut tap, &resid, &run.unembed)? } else { None };
        tap.finish()?;
        let prefixes = if run.keep_prefixes { cut_prefixes(&rows, &kept)? } else { vec![] };
        Ok(Output { logits, resid, rows, prefixes })
    }

    /// The fastest implementation here.
    pub(crate) fn kernels(&self) -> Kernels {
        Kernels::best(&self.device, self.dtype)
    }

    /// How a pass begins: token embeddings and positions, the first writes to the stream.
    pub(crate) fn begin(&self, kernels: Kernels, batch: &Batch, tap: &mut Tap) -> Result<Stream> {
        let ids: Vec<u32> = batch.sequences.iter().flat_map(|s| s.ids.iter().copied()).collect();
        let mut x = self.weights.embed.rows(&ids)?;
        if let Some(scale) = self.spec.embedding.scale {
            x = (x * scale)?;
        }
        x = tap.at(Site::Embed, x)?;
        if let Some(p) = self.positions(tap.rows(), AddedTo::Stream)? {
            x = add(kernels, &x, &tap.at(Site::PosEmbed, p)?)?;
        }
        let resid = self.embedding_write(kernels, x)?;
        let beside = self.positions(tap.rows(), AddedTo::QueriesAndKeys)?;
        Ok(Stream { resid, positions: beside.map(|p| tap.at(Site::PosEmbed, p)).transpose()? })
    }

    /// The position vectors `[t, d]` of rows, where the model has learned ones that are added to `what`.
    fn positions(&self, rows: &Rows, what: AddedTo) -> Result<Option<Tensor>> {
        let learned = self.spec.embedding.positions.filter(|p| p.added_to == what);
        let (Some(table), Some(learned)) = (&self.weights.positions, learned) else { return Ok(None) };
        let positions: Vec<u32> = rows.positions().map(|p| (p + learned.offset) as u32).collect();
        Ok(Some(table.index_select(&Tensor::new(positions, &self.device)?, 0)?))
    }

    /// How a pass ends: the final norm and the unembedding of the rows and tokens that are wanted.
    fn end(&self, kernels: Kernels, tap: &mut Tap, resid: &Tensor, what: &Unembed) -> Result<Option<Tensor>> {
        let (rows, tokens) = match what {
            Unembed::Nothing => (Some(&[][..]), None),
            Unembed::All => (None, None),
            Unembed::Rows(rows) => (Some(rows.as_slice()), None),
            Unembed::Tokens(rows, tokens) => (Some(rows.as_slice()), Some(tokens.as_slice())),
        };
        let seen = LN_FINAL.into_iter().chain([Site::Logits]).any(|site| tap.wants(site));
        if !seen && rows.is_some_and(<[u32]>::is_empty) {
            return Ok(None);
        }
        let pick = |x: &Tensor| -> Result<Tensor> {
            Ok(match rows {
                Some(rows) => x.index_select(&Tensor::new(rows, &self.device)?, 0)?,
                None => x.clone(),
            })
        };
        // A hook sees every row; without one, only the rows that are wanted are computed.
        let early = if seen { resid.clone() } else { pick(resid)? };
        let normalized = read(kernels, tap, self.weights.final_norm.as_ref(), LN_FINAL, &early)?;
        let normalized = if seen && !tap.wants(Site::Logits) { pick(&normalized)? } else { normalized };
        if normalized.dim(0)? == 0 {
            return Ok(None);
        }
        let mut logits = self.decode_normalized(kernels, &normalized, tokens.filter(|_| !tap.wants(Site::Logits)))?;
        if tap.wants(Site::Logits) {
            logits = pick(&tap.at(Site::Logits, logits)?)?;
            if let Some(tokens) = tokens {
                logits = logits.index_select(&Tensor::new(tokens, &self.device)?, 1)?;
            }
        }
        Ok(Some(logits))
    }

    /// Logits `[t, v]` of streams `[t, d]`: the final norm and the unembedding alone, as the logit lens applies them.
    ///
    /// # Errors
    /// When `resid` has another width.
    pub fn decode(&self, resid: &Tensor) -> Result<Tensor> {
        self.decode_some(resid, None)
    }

    /// The same of these tokens alone, where some are given: `[t, tokens]`.
    pub(crate) fn decode_some(&self, resid: &Tensor, tokens: Option<&[u32]>) -> Result<Tensor> {
        self.decode_normalized(self.kernels(), &self.normalize(resid)?, tokens)
    }

    /// What the unembedding reads of streams `[t, d]`: the final norm alone.
    ///
    /// # Errors
    /// When `resid` has another width.
    pub fn normalize(&self, resid: &Tensor) -> Result<Tensor> {
        match &self.weights.final_norm {
            Some(norm) => norm.apply(self.kernels(), &resid.contiguous()?, None),
            None => Ok(resid.clone()),
        }
    }

    /// Logits of consecutive tokens for rows that were normalized: `[t, d]` to `[t, tokens]`.
    ///
    /// # Errors
    /// When the tokens are not all in the vocabulary.
    pub fn decode_tokens(&self, normalized: &Tensor, tokens: Range<usize>) -> Result<Tensor> {
        self.finish_logits(self.unembed_tokens(normalized, tokens)?)
    }

    /// The same before the factor and the cap.
    ///
    /// # Errors
    /// As [`Model::decode_tokens`].
    pub(crate) fn unembed_tokens(&self, normalized: &Tensor, tokens: Range<usize>) -> Result<Tensor> {
        let unembed = &self.weights.unembed;
        let weight = unembed.weight.narrow(1, tokens.start, tokens.len())?;
        let bias = unembed.bias.as_ref().map(|b| b.narrow(0, tokens.start, tokens.len())).transpose()?;
        Linear { weight, bias }.apply(self.kernels(), normalized)
    }

    fn decode_normalized(&self, kernels: Kernels, x: &Tensor, tokens: Option<&[u32]>) -> Result<Tensor> {
        let unembed = &self.weights.unembed;
        let logits = match tokens {
            None => unembed.apply(kernels, x)?,
            Some(tokens) => {
                let ids = Tensor::new(tokens, &self.device)?;
                let bias = unembed.bias.as_ref().map(|b| b.index_select(&ids, 0)).transpose()?;
                Linear::new(unembed.weight.columns(tokens)?, bias).apply(kernels, x)?
            }
        };
        self.finish_logits(logits)
    }

    /// The factor and the cap on logits.
    pub(crate) fn finish_logits(&self, logits: Tensor) -> Result<Tensor> {
        let logits = match self.spec.unembedding.scale {
            Some(scale) => (logits * scale)?,
            None => logits,
        };
        Ok(match self.spec.unembedding.cap {
            Some(cap) => ((logits / cap)?.tanh()? * cap)?,
            None => logits,
        })
    }

    /// The angles of `rows`.
    pub(crate) fn angles(&self, rows: &Rows) -> Result<Angles> {
        let mut tables: Vec<(Rotary, Table)> = vec![];
        for block in &self.spec.blocks {
            if let Position::Rotary(rotary) = &block.attention.inner.position
                && !tables.iter().any(|(known, _)| known == rotary)
            {
                let table = Table::new(rotary, rows.positions(), self.dtype, &self.device)?;
                tables.push((rotary.clone(), table));
            }
        }
        Ok(Angles(tables))
    }

    fn check(&self, batch: &Batch, run: &Run) -> Result<Rows> {
        if batch.sequences.is_empty() {
            return Err(Error::bad_input("the batch has no sequence").hint("give at least one"));
        }
        let n_layers = self.spec.n_layers();
        for (i, s) in batch.sequences.iter().enumerate() {
            if s.ids.is_empty() {
                return Err(Error::bad_input(format!("sequence {i} has no token"))
                    .hint("a model reads at least one token; a text may become BOS alone"));
            }
            if let Some(id) = s.ids.iter().find(|id| **id as usize >= self.spec.d_vocab) {
                return Err(Error::bad_input(format!(
                    "token id {id} in sequence {i} is outside the vocabulary of {}",
                    self.spec.d_vocab
                ))
                .hint(format!("ids are 0 to {}; these may be of another tokenizer", self.spec.d_vocab - 1)));
            }
            if let Some(n_ctx) = self.spec.n_ctx
                && s.start() + s.ids.len() > n_ctx
            {
                return Err(Error::bad_input(format!(
                    "sequence {i} has {} positions, and the model's context is {n_ctx}",
                    s.start() + s.ids.len()
                ))
                .hint(format!("give at most {n_ctx} tokens, those of the prefix included")));
            }
            if s.prefix.is_some() && !self.spec.is_causal() {
                return Err(Error::bad_input("a bidirectional model has no prefixes: every position sees all others")
                    .hint("run the whole sequence at once"));
            }
        }
        let rows = batch.rows();
        let last = run.until.unwrap_or(n_layers);
        if let Some((layer, resid)) = &run.from {
            if resid.dims() != [rows.len(), self.spec.d_model] {
                return Err(Error::bad_input(format!(
                    "the run starts with a stream of shape {:?}, and this batch needs [{}, {}]",
                    resid.dims(),
                    rows.len(),
                    self.spec.d_model
                ))
                .hint("give the stream of the same batch, a row for each of its tokens"));
            }
            if *layer > last {
                return Err(Error::bad_input(format!("the run starts at block {layer} and stops before block {last}"))
                    .hint("stop at a later block, or start at an earlier one"));
            }
        }
        if last > n_layers {
            return Err(Error::bad_input(format!("the run stops before block {last}, and there are {n_layers}"))
                .hint(format!("stop before a block from 0 to {n_layers}, which is the end")));
        }
        Ok(rows)
    }
}

/// Each sequence's own rows of the kept keys and values.
fn cut_prefixes(rows: &Rows, kept: &[Option<KeysValues>]) -> Result<Vec<Prefix>> {
    (rows.sequences.iter())
        .map(|s| {
            let cut = |x: &Tensor| Ok::<_, Error>(s.of(x)?.contiguous()?);
            let layers = (kept.iter())
                .map(|kv| {
                    kv.as_ref().map(|kv| Ok(KeysValues { keys: cut(&kv.keys)?, values: cut(&kv.values)? })).transpose()
                })
                .collect::<Result<_>>()?;
            Ok(Prefix::new(s.len(), layers))
        })
        .collect()
}
