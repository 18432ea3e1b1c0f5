//! The model's tensors, each where the forward pass reads it.

use candle_core::Tensor;

use crate::arch::Spec;
use crate::arch::spec::{Activation, FeedForward, Mlp, Norm};
use crate::arch::weights::{BlockSlot, Map, Part, Slot};
use crate::error::{Error, Result};
use crate::ops::attention::Scoring;
use crate::ops::linear::Linear;
use crate::ops::matrix::Matrix;
use crate::ops::norm::NormWeights;

/// All weights of a model.
#[derive(Clone, Debug)]
pub struct Weights {
    /// `[d_vocab, d]`.
    pub embed: Matrix,
    /// `[rows, d]`.
    pub positions: Option<Tensor>,
    /// Norm on the embedding.
    pub embed_norm: Option<NormWeights>,
    /// The blocks.
    pub blocks: Vec<BlockWeights>,
    /// Norm before the unembedding.
    pub final_norm: Option<NormWeights>,
    /// `[d, d_vocab_out]`; a view of the embedding where tied.
    pub unembed: Linear,
}

/// Weights of one block. Linear maps are `[in, out]`.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // Named as the slots, which are documented.
pub struct BlockWeights {
    pub ln1: Option<NormWeights>,
    pub q: Linear,
    pub k: Linear,
    pub v: Linear,
    pub q_norm: Option<NormWeights>,
    pub k_norm: Option<NormWeights>,
    pub o: Linear,
    pub ln1_post: Option<NormWeights>,
    pub mlp: Option<MlpWeights>,
    /// What scoring needs of the spec, computed once.
    pub scoring: Scoring,
}

/// Weights of one feed-forward sublayer.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // Named as the slots, which are documented.
pub struct MlpWeights {
    pub ln2: Option<NormWeights>,
    pub inner: FeedForwardWeights,
    pub ln2_post: Option<NormWeights>,
}

/// What the sublayer is.
#[derive(Clone, Debug)]
pub enum FeedForwardWeights {
    /// One MLP.
    Dense(NeuronWeights),
    /// Experts, and the router that chooses among them.
    Experts(ExpertWeights),
}

impl FeedForwardWeights {
    /// The one MLP; nothing of experts.
    pub fn dense(&self) -> Option<&NeuronWeights> {
        match self {
            FeedForwardWeights::Dense(neurons) => Some(neurons),
            FeedForwardWeights::Experts(_) => None,
        }
    }
}

/// Weights of one MLP or expert.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // Named as the slots, which are documented.
pub struct NeuronWeights {
    pub input: Linear,
    pub linear: Option<Linear>,
    /// Of an MLP only: experts have none.
    pub post_bias: Option<Tensor>,
    /// Of an MLP only.
    pub norm: Option<NormWeights>,
    pub output: Linear,
    pub activation: Activation,
}

/// Weights of a mixture of experts.
#[derive(Clone, Debug)]
pub struct ExpertWeights {
    /// `[d, x]`: a logit for each expert.
    pub router: Linear,
    /// The experts.
    pub experts: Vec<NeuronWeights>,
    /// How many of them each row goes through.
    pub per_row: usize,
    /// Whether the weights of these are divided by their sum.
    pub renormalized: bool,
}

impl Weights {
    /// Puts the weights that `find` gives into place. What is not a linear map or the embedding becomes a tensor.
    ///
    /// # Errors
    /// When `find` does not give a tensor that `spec` needs.
    pub fn assemble(spec: &Spec, mut find: impl FnMut(Slot) -> Option<Matrix>) -> Result<Self> {
        let mut get = |slot| {
            find(slot).ok_or_else(|| {
                Error::bad_model(format!("the weights have no tensor for {slot:?}"))
                    .hint("give every tensor that `arch::weights` lists for this spec")
            })
        };
        let embed = get(Slot::Embed)?;
        let unembed = Linear {
            weight: if spec.unembedding.tied { embed.t()? } else { get(Slot::Unembed(Part::Weight))? },
            bias: spec.unembedding.bias.then(|| get(Slot::Unembed(Part::Bias))?.tensor()).transpose()?,
        };
        Ok(Self {
            positions: spec.embedding.positions.map(|_| get(Slot::Positions)?.tensor()).transpose()?,
            embed_norm: norm(spec.embedding.norm, Slot::EmbedNorm, &mut get)?,
            blocks: (0..spec.n_layers()).map(|l| block(spec, l, &mut get)).collect::<Result<_>>()?,
            final_norm: norm(spec.final_norm, Slot::FinalNorm, &mut get)?,
            unembed,
            embed,
        })
    }
}

fn block(spec: &Spec, l: usize, get: &mut impl FnMut(Slot) -> Result<Matrix>) -> Result<BlockWeights> {
    let block = &spec.blocks[l];
    let a = &block.attention.inner;
    let at = |slot: fn(Part) -> BlockSlot| move |part| Slot::Block(l, slot(part));
    let qk = a.qk_norm.map(|qk| qk.norm);
    Ok(BlockWeights {
        ln1: norm(block.attention.pre_norm, at(BlockSlot::Ln1), get)?,
        q: linear(a.qkv_bias, at(BlockSlot::Q), get)?,
        k: linear(a.qkv_bias, at(BlockSlot::K), get)?,
        v: linear(a.qkv_bias, at(BlockSlot::V), get)?,
        q_norm: norm(qk, at(BlockSlot::QNorm), get)?,
        k_norm: norm(qk, at(BlockSlot::KNorm), get)?,
        o: linear(a.out_bias, at(BlockSlot::O), get)?,
        ln1_post: norm(block.attention.post_norm, at(BlockSlot::Ln1Post), get)?,
        mlp: match &block.mlp {
            None => None,
            Some(mlp) => Some(MlpWeights {
                ln2: norm(mlp.pre_norm, at(BlockSlot::Ln2), get)?,
                inner: feed_forward(&mlp.inner, l, get)?,
                ln2_post: norm(mlp.post_norm, at(BlockSlot::Ln2Post), get)?,
            }),
        },
        scoring: Scoring::new(a),
    })
}

fn feed_forward(
    spec: &FeedForward,
    l: usize,
    get: &mut impl FnMut(Slot) -> Result<Matrix>,
) -> Result<FeedForwardWeights> {
    Ok(match spec {
        FeedForward::Dense(mlp) => FeedForwardWeights::Dense(neurons(mlp, l, None, get)?),
        FeedForward::Experts(experts) => FeedForwardWeights::Experts(ExpertWeights {
            router: Linear { weight: get(Slot::Block(l, BlockSlot::Router))?, bias: None },
            experts: (0..experts.n_experts)
                .map(|e| neurons(&experts.expert, l, Some(e), get))
                .collect::<Result<_>>()?,
            per_row: experts.per_row,
            renormalized: experts.renormalized,
        }),
    })
}

fn neurons(
    spec: &Mlp,
    l: usize,
    expert: Option<usize>,
    get: &mut impl FnMut(Slot) -> Result<Matrix>,
) -> Result<NeuronWeights> {
    let at = |map| move |part| Slot::Block(l, BlockSlot::neurons(expert, map, part));
    let post_bias = spec.post_bias && expert.is_none();
    Ok(NeuronWeights {
        input: linear(spec.bias, at(Map::In), get)?,
        linear: if spec.gated { Some(linear(spec.bias, at(Map::Linear), get)?) } else { None },
        post_bias: post_bias.then(|| get(Slot::Block(l, BlockSlot::MlpPost))?.tensor()).transpose()?,
        norm: norm(spec.norm.filter(|_| expert.is_none()), |part| Slot::Block(l, BlockSlot::MlpNorm(part)), get)?,
        output: linear(spec.bias || post_bias, at(Map::Out), get)?,
        activation: spec.activation,
    })
}

fn norm(
    spec: Option<Norm>,
    slot: impl Fn(Part) -> Slot,
    get: &mut impl FnMut(Slot) -> Result<Matrix>,
) -> Result<Option<NormWeights>> {
    let Some(spec) = spec else { return Ok(None) };
    let gained = spec.gain != crate::arch::spec::Gain::None;
    Ok(Some(NormWeights {
        kind: spec.kind,
        eps: spec.eps,
        gain: gained.then(|| get(slot(Part::Weight))?.tensor()).transpose()?,
        meaning: spec.gain,
        bias: spec.bias.then(|| get(slot(Part::Bias))?.tensor()).transpose()?,
    }))
}

fn linear(bias: bool, slot: impl Fn(Part) -> Slot, get: &mut impl FnMut(Slot) -> Result<Matrix>) -> Result<Linear> {
    Ok(Linear { weight: get(slot(Part::Weight))?, bias: bias.then(|| get(slot(Part::Bias))?.tensor()).transpose()? })
}
