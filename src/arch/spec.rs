//! What a model is, as data: sum types, no sentinels, no tensors. Everything the forward pass does differently
//! between families is a value here; it never asks for a family's name.

use serde::Serialize;

use crate::arch::process::Processing;

/// A whole model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spec {
    /// The family, as `config.json` calls it (`model_type`). For people and provenance; nothing computes with it.
    pub family: String,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of token ids that can be read.
    pub d_vocab: usize,
    /// The longest sequence the model can position, where there is a limit.
    pub n_ctx: Option<usize>,
    /// How token ids become the first write to the stream.
    pub embedding: Embedding,
    /// One entry for each block, first to last.
    pub blocks: Vec<Block>,
    /// The norm before the unembedding.
    pub final_norm: Option<Norm>,
    /// How the last stream becomes logits.
    pub unembedding: Unembedding,
    /// In which ways the weights were processed after they were read; none unless that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processed: Vec<Processing>,
}

/// Token embedding, and the learned positions that are added to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Embedding {
    /// Factor on the token embedding (Gemma: sqrt(d_model), Granite: a constant).
    pub scale: Option<f64>,
    /// Learned absolute positions.
    pub positions: Option<LearnedPositions>,
    /// A norm on the sum (BLOOM).
    pub norm: Option<Norm>,
}

/// A table of position vectors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LearnedPositions {
    /// Rows of the table.
    pub rows: usize,
    /// Row that position 0 uses (OPT: 2).
    pub offset: usize,
    /// What they are added to.
    pub added_to: AddedTo,
}

/// What learned positions are added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AddedTo {
    /// The stream, once.
    Stream,
    /// What queries and keys are made of, in every block, after its norm; values and the stream know no positions
    /// (Press et al. 2021, "shortformer").
    QueriesAndKeys,
}

/// One block: two sublayers, and how they read from and write to the stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Block {
    /// What reads what.
    pub arrangement: Arrangement,
    /// The attention sublayer.
    pub attention: Sublayer<Attention>,
    /// The feed-forward sublayer; attention-only models have none.
    pub mlp: Option<Sublayer<FeedForward>>,
    /// Factor on what each sublayer adds to the stream (Granite).
    pub residual_scale: Option<f64>,
}

/// A sublayer between its norms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sublayer<T> {
    /// The norm on what it reads (`ln1`, `ln2`). Absent in purely post-norm models (OLMo 2).
    pub pre_norm: Option<Norm>,
    /// The sublayer itself.
    pub inner: T,
    /// The norm on what it writes, before it is added (OLMo 2, Gemma 2).
    pub post_norm: Option<Norm>,
}

/// What the MLP reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrangement {
    /// The stream after attention has been added: `resid_mid` exists.
    Sequential,
    /// The same stream as attention, through a norm of its own (GPT-NeoX).
    Parallel,
    /// The same stream through the same norm: `ln1` serves both, `ln2` does not exist (GPT-J, Phi).
    ParallelSharedNorm,
}

/// Layer norm or RMS norm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Norm {
    /// Whether the mean is removed first.
    pub kind: NormKind,
    /// Added to the variance before the root.
    pub eps: f64,
    /// What multiplies the normalised value.
    pub gain: Gain,
    /// Whether a bias is added.
    pub bias: bool,
}

/// The statistic a norm divides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// Remove the mean, divide by the standard deviation (Ba et al. 2016).
    Layer,
    /// Divide by the root mean square (Zhang and Sennrich 2019).
    Rms,
}

/// What a norm multiplies by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gain {
    /// Nothing (OLMo, HookedTransformer's LNPre).
    None,
    /// The stored weight.
    Weight,
    /// One plus the stored weight (Gemma).
    OnePlusWeight,
}

/// Attention: heads, positions, scores, mask.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attention {
    /// Query heads.
    pub n_heads: usize,
    /// Key/value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head.
    pub d_head: usize,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Whether the output projection has a bias.
    pub out_bias: bool,
    /// A norm on queries and keys before rotation.
    pub qk_norm: Option<QkNorm>,
    /// Queries, keys and values are clamped to plus or minus this (OLMo).
    pub clip_qkv: Option<f64>,
    /// How attention itself knows positions.
    pub position: Position,
    /// Factor on query x key.
    pub scale: f64,
    /// Scores s become cap * tanh(s / cap) (Gemma 2).
    pub cap: Option<f64>,
    /// Which keys a query may see.
    pub mask: Mask,
}

impl Attention {
    /// Query heads that share a key/value head.
    pub fn shared_by(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }
}

/// A norm on queries and keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct QkNorm {
    /// The norm.
    pub norm: Norm,
    /// Over each head (Qwen 3), or over all heads together (OLMo 2).
    pub per_head: bool,
}

/// How attention knows positions.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Not at all (learned positions in the stream, or none).
    None,
    /// Queries and keys are rotated (Su et al. 2021).
    Rotary(Rotary),
    /// A penalty linear in the distance is added to the scores (Press et al. 2021).
    Alibi,
}

/// Rotary position embedding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rotary {
    /// How many of a head's dimensions are rotated, from the first.
    pub dims: usize,
    /// Which dimensions turn together.
    pub pairing: Pairing,
    /// Base of the geometric series of wavelengths.
    pub theta: f64,
    /// Context-length extension.
    pub scaling: RopeScaling,
}

/// Which two dimensions of a head form a rotated pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// `i` and `i + dims/2` (Llama, NeoX).
    Halves,
    /// `2i` and `2i + 1` (GPT-J, Cohere).
    Adjacent,
}

/// How rotary frequencies are changed for contexts longer than those first trained on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeScaling {
    /// They are not.
    None,
    /// All divided by `factor` (Chen et al. 2023).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, a ramp between.
    Llama3 {
        /// The divisor.
        factor: f64,
        /// Wavelengths above `original_ctx / low_freq` are divided.
        low_freq: f64,
        /// Wavelengths below `original_ctx / high_freq` are kept.
        high_freq: f64,
        /// Context length before extension.
        original_ctx: f64,
    },
    /// YaRN (Peng et al. 2023).
    Yarn {
        /// The divisor.
        factor: f64,
        /// Rotations within `original_ctx` above which a dimension is kept.
        beta_fast: f64,
        /// Rotations below which it is divided.
        beta_slow: f64,
        /// Context length before extension.
        original_ctx: f64,
        /// Factor on the cosine and sine.
        attention_factor: f64,
        /// Whether the ends of the ramp are rounded outwards to whole dimensions.
        truncate: bool,
    },
}

/// Which keys a query may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// Itself and everything before.
    Causal,
    /// Itself and what is before, `n` keys in all.
    Window(usize),
    /// Everything.
    Bidirectional,
}

/// The feed-forward sublayer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum FeedForward {
    /// One MLP, which every row goes through.
    Dense(Mlp),
    /// Many, of which each row goes through a few (Shazeer et al. 2017).
    Experts(Experts),
}

impl FeedForward {
    /// The MLP, or what each of the experts is.
    pub fn neurons(&self) -> &Mlp {
        match self {
            FeedForward::Dense(mlp) => mlp,
            FeedForward::Experts(experts) => &experts.expert,
        }
    }

    /// The experts, where there are any.
    pub fn experts(&self) -> Option<&Experts> {
        match self {
            FeedForward::Dense(_) => None,
            FeedForward::Experts(experts) => Some(experts),
        }
    }
}

/// A mixture of experts: a linear map, the router, gives every expert a logit; the softmax of these says which experts a
/// row goes through and how much each counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Experts {
    /// Number of experts.
    pub n_experts: usize,
    /// How many of them each row goes through: those of the largest weights.
    pub per_row: usize,
    /// Whether the weights of a row's experts are divided by their sum.
    pub renormalized: bool,
    /// What each expert is.
    pub expert: Mlp,
}

/// Neurons between two linear maps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mlp {
    /// Number of neurons.
    pub d_mlp: usize,
    /// The nonlinearity.
    pub activation: Activation,
    /// Whether a linear gate partner multiplies the activation: `act(x W_gate) * (x W_in)`, as in SwiGLU.
    pub gated: bool,
    /// Whether its linear maps have biases.
    pub bias: bool,
    /// Whether a bias is added to the neurons after the gate's multiplication, and one to the output, in place of those of
    /// every map (HookedTransformer).
    pub post_bias: bool,
    /// A norm on the neurons after all that, before the map out of them (SoLU's). Experts have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
}

/// Nonlinearities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// x Phi(x), with the error function.
    GeluErf,
    /// The tanh approximation of it ("gelu_new", "gelu_pytorch_tanh").
    GeluTanh,
    /// x sigmoid(x)
    Silu,
    /// x softmax(x), over all neurons of the row (Elhage et al. 2022).
    Solu,
}

/// How the stream becomes logits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unembedding {
    /// Number of logits.
    pub d_vocab_out: usize,
    /// Whether its matrix is the token embedding.
    pub tied: bool,
    /// Whether a bias is added.
    pub bias: bool,
    /// Factor on the logits (Cohere; Granite divides).
    pub scale: Option<f64>,
    /// Logits z become cap * tanh(z / cap) (Gemma 2).
    pub cap: Option<f64>,
}

impl Spec {
    /// Number of blocks.
    pub fn n_layers(&self) -> usize {
        self.blocks.len()
    }

    /// Whether no block lets a query see a later key, so that prefixes of keys and values can be reused.
    pub fn is_causal(&self) -> bool {
        self.blocks.iter().all(|b| b.attention.inner.mask != Mask::Bidirectional)
    }

    /// Number of parameters, each tensor of a tied pair counted once.
    pub fn n_params(&self) -> usize {
        let d = self.d_model;
        let norm = |n: &Option<Norm>, width: usize| {
            n.map_or(0, |n| width * ((n.gain != Gain::None) as usize + n.bias as usize))
        };
        let blocks: usize = self
            .blocks
            .iter()
            .map(|b| {
                let a = &b.attention.inner;
                let (q, kv) = (a.n_heads * a.d_head, a.n_kv_heads * a.d_head);
                let mut n = norm(&b.attention.pre_norm, d) + norm(&b.attention.post_norm, d);
                n += d * (q + 2 * kv) + q * d;
                n += if a.qkv_bias { q + 2 * kv } else { 0 } + if a.out_bias { d } else { 0 };
                n += a.qk_norm.map_or(0, |qk| {
                    let widths = if qk.per_head { [a.d_head, a.d_head] } else { [q, kv] };
                    widths.map(|w| norm(&Some(qk.norm), w)).iter().sum()
                });
                if let Some(m) = &b.mlp {
                    n += norm(&m.pre_norm, d) + norm(&m.post_norm, d);
                    let neurons = m.inner.neurons();
                    let ins = if neurons.gated { 2 } else { 1 };
                    let maps = neurons.d_mlp * d * (ins + 1);
                    let biases = if neurons.bias { neurons.d_mlp * ins } else { 0 }
                        + if neurons.post_bias { neurons.d_mlp } else { 0 }
                        + if neurons.bias || neurons.post_bias { d } else { 0 };
                    n += match m.inner.experts() {
                        Some(experts) => (maps + biases + d) * experts.n_experts,
                        None => maps + biases + norm(&neurons.norm, neurons.d_mlp),
                    };
                }
                n
            })
            .sum();
        let e = &self.embedding;
        let u = &self.unembedding;
        self.d_vocab * d
            + e.positions.map_or(0, |p| p.rows * d)
            + norm(&e.norm, d)
            + blocks
            + norm(&self.final_norm, d)
            + if u.tied { 0 } else { u.d_vocab_out * d }
            + if u.bias { u.d_vocab_out } else { 0 }
    }
}
