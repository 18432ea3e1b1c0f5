//! The one table of sites: every place in the forward pass whose value can be seen and changed.
//!
//! Names are TransformerLens's, because papers and notebooks use them. Everything that knows a site's name, axes or
//! meaning reads it here. A new site is a variant, a row of the table, one expression in the forward pass, and, where not every
//! model has it, a line of [`Site::exists`].

use crate::arch::spec::{Arrangement, Block, Position, Spec};

/// A kind of value that the forward pass makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // Each variant's meaning is in the table below, where users read it too.
#[non_exhaustive]
pub enum Site {
    Embed,
    PosEmbed,
    ResidPre,
    Ln1Scale,
    Ln1Normalized,
    Ln1Out,
    Q,
    K,
    V,
    QNormed,
    KNormed,
    RotQ,
    RotK,
    AttnScores,
    Pattern,
    Z,
    Result,
    Ln1PostScale,
    Ln1PostNormalized,
    AttnOut,
    ResidMid,
    Ln2Scale,
    Ln2Normalized,
    Ln2Out,
    MlpPre,
    MlpPreLinear,
    MlpMid,
    MlpLnScale,
    MlpLnNormalized,
    MlpLnOut,
    MlpPost,
    RouterLogits,
    ExpertWeights,
    ExpertIndices,
    ChosenWeights,
    ExpertGate,
    ExpertPre,
    ExpertPost,
    Ln2PostScale,
    Ln2PostNormalized,
    MlpOut,
    ResidPost,
    FinalScale,
    FinalNormalized,
    FinalOut,
    Logits,
}

/// Where in the model a site stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// Once, before the blocks.
    Start,
    /// In every block.
    Block,
    /// In every expert of every block that has experts.
    Expert,
    /// Once, after the blocks.
    End,
}

/// An axis of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Axis {
    /// Packed rows: the positions of all sequences, one after the other.
    T,
    /// One number for each row.
    One,
    /// Query heads.
    H,
    /// Key/value heads.
    G,
    /// Dimensions of a head.
    E,
    /// Dimensions of the residual stream.
    D,
    /// Neurons.
    M,
    /// Experts.
    X,
    /// A row's chosen experts, the one of the largest weight first.
    C,
    /// Vocabulary.
    V,
    /// Queries of one sequence.
    Q,
    /// Keys of one sequence.
    K,
}

impl Axis {
    /// The letter that tensors carry as a suffix.
    pub fn letter(self) -> &'static str {
        match self {
            Axis::T => "t",
            Axis::One => "1",
            Axis::H => "h",
            Axis::G => "g",
            Axis::E => "e",
            Axis::D => "d",
            Axis::M => "m",
            Axis::X => "x",
            Axis::C => "c",
            Axis::V => "v",
            Axis::Q => "q",
            Axis::K => "k",
        }
    }
}

/// What writes to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Writer {
    /// Token embeddings and positions.
    Embedding,
    /// A block's attention.
    Attention,
    /// A block's MLP.
    Mlp,
}

/// What a value is to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// The stream itself, which every layer only adds to.
    Stream,
    /// All that is added to it at once.
    Write(Writer),
    /// What the output projection of a write reads: heads or neurons, of which each adds a part.
    Part(Writer),
    /// The stream, or a write, divided by a norm's scale.
    Normalized,
    /// What asks in attention.
    Queries,
    /// What is asked.
    Keys,
    /// Anything else between what a sublayer reads and what it writes.
    Inner,
}

/// How far a change of a value reaches within its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// Its own row alone: the value is made after the mixing of rows, or only asks.
    OwnRow,
    /// Every row that sees it: keys and values are made of it.
    AllRows,
}

/// A row of the table.
#[derive(Debug)]
pub struct SiteInfo {
    /// The site.
    pub site: Site,
    /// Its name; inside a block, what follows `blocks.{l}.`; inside an expert, with `{e}` for its number.
    pub name: &'static str,
    /// Where it stands.
    pub scope: Scope,
    /// The axes of its value.
    pub axes: &'static [Axis],
    /// What it is to the stream.
    pub role: Role,
    /// How far a change of it reaches within its block.
    pub reach: Reach,
    /// What the value is.
    pub meaning: &'static str,
}

use Axis::*;
use Reach::{AllRows, OwnRow};
use Role::{Inner, Keys, Normalized, Part, Queries, Stream, Write};
use Scope::{Block as InBlock, End, Expert as InExpert, Start};
use Writer::{Attention, Embedding, Mlp};

const fn row(
    site: Site,
    name: &'static str,
    scope: Scope,
    axes: &'static [Axis],
    role: Role,
    reach: Reach,
    meaning: &'static str,
) -> SiteInfo {
    SiteInfo { site, name, scope, axes, role, reach, meaning }
}

/// Every site, in the order in which the forward pass makes them.
#[rustfmt::skip]
pub static SITES: &[SiteInfo] = &[
    row(Site::Embed, "hook_embed", Start, &[T, D], Write(Embedding), AllRows, "the token embeddings, as they are written to the stream"),
    row(Site::PosEmbed, "hook_pos_embed", Start, &[T, D], Write(Embedding), AllRows, "the learned position vectors: added to them, or to what queries and keys read"),
    row(Site::ResidPre, "hook_resid_pre", InBlock, &[T, D], Stream, AllRows, "the residual stream before the block"),
    row(Site::Ln1Scale, "ln1.hook_scale", InBlock, &[T, One], Inner, AllRows, "what the norm before attention divides by"),
    row(Site::Ln1Normalized, "ln1.hook_normalized", InBlock, &[T, D], Normalized, AllRows, "the stream (minus its mean under layer norm) divided by the norm's scale, before gain and bias"),
    row(Site::Ln1Out, "ln1.hook_out", InBlock, &[T, D], Normalized, AllRows, "what attention reads: the norm's output, gain and bias included"),
    row(Site::Q, "attn.hook_q", InBlock, &[T, H, E], Queries, OwnRow, "queries as projected: before any norm, clamp and rotation"),
    row(Site::K, "attn.hook_k", InBlock, &[T, G, E], Keys, AllRows, "keys as projected: before any norm, clamp and rotation"),
    row(Site::V, "attn.hook_v", InBlock, &[T, G, E], Inner, AllRows, "values as projected: before any clamp"),
    row(Site::QNormed, "attn.q_norm.hook_out", InBlock, &[T, H, E], Queries, OwnRow, "queries after the norm on queries, before clamp and rotation"),
    row(Site::KNormed, "attn.k_norm.hook_out", InBlock, &[T, G, E], Keys, AllRows, "keys after the norm on keys, before clamp and rotation"),
    row(Site::RotQ, "attn.hook_rot_q", InBlock, &[T, H, E], Queries, OwnRow, "queries after rotation by position"),
    row(Site::RotK, "attn.hook_rot_k", InBlock, &[T, G, E], Keys, AllRows, "keys after rotation by position"),
    row(Site::AttnScores, "attn.hook_attn_scores", InBlock, &[H, Q, K], Inner, OwnRow, "query x key after scale, cap and mask (minus infinity where hidden)"),
    row(Site::Pattern, "attn.hook_pattern", InBlock, &[H, Q, K], Inner, OwnRow, "attention: the softmax of the scores, each row sums to 1"),
    row(Site::Z, "attn.hook_z", InBlock, &[T, H, E], Part(Attention), OwnRow, "each head's values, weighted by its pattern"),
    row(Site::Result, "attn.hook_result", InBlock, &[T, H, D], Inner, OwnRow, "each head's own write: z times its part of the output map, bias excluded"),
    row(Site::Ln1PostScale, "ln1_post.hook_scale", InBlock, &[T, One], Inner, OwnRow, "what the norm after attention divides by"),
    row(Site::Ln1PostNormalized, "ln1_post.hook_normalized", InBlock, &[T, D], Normalized, OwnRow, "attention's output (minus its mean under layer norm) divided by the norm's scale, before gain and bias"),
    row(Site::AttnOut, "hook_attn_out", InBlock, &[T, D], Write(Attention), OwnRow, "exactly what attention adds to the stream"),
    row(Site::ResidMid, "hook_resid_mid", InBlock, &[T, D], Stream, OwnRow, "the stream between attention and MLP"),
    row(Site::Ln2Scale, "ln2.hook_scale", InBlock, &[T, One], Inner, OwnRow, "what the norm before the MLP divides by"),
    row(Site::Ln2Normalized, "ln2.hook_normalized", InBlock, &[T, D], Normalized, OwnRow, "the stream (minus its mean under layer norm) divided by the norm's scale, before gain and bias"),
    row(Site::Ln2Out, "ln2.hook_out", InBlock, &[T, D], Normalized, OwnRow, "what the MLP reads: the norm's output, gain and bias included"),
    row(Site::MlpPre, "mlp.hook_pre", InBlock, &[T, M], Inner, OwnRow, "neurons before the nonlinearity"),
    row(Site::MlpPreLinear, "mlp.hook_pre_linear", InBlock, &[T, M], Inner, OwnRow, "the gate's linear partner"),
    row(Site::MlpMid, "mlp.hook_mid", InBlock, &[T, M], Inner, OwnRow, "neurons after the nonlinearity, where a norm follows"),
    row(Site::MlpLnScale, "mlp.ln.hook_scale", InBlock, &[T, One], Inner, OwnRow, "what the norm on the neurons divides by"),
    row(Site::MlpLnNormalized, "mlp.ln.hook_normalized", InBlock, &[T, M], Inner, OwnRow, "the neurons (minus their mean under layer norm) divided by the norm's scale, before gain and bias"),
    row(Site::MlpLnOut, "mlp.ln.hook_out", InBlock, &[T, M], Inner, OwnRow, "that norm's output, gain and bias included"),
    row(Site::MlpPost, "mlp.hook_post", InBlock, &[T, M], Part(Mlp), OwnRow, "neurons as the output map reads them (times the linear partner where there is one)"),
    row(Site::RouterLogits, "mlp.hook_router_logits", InBlock, &[T, X], Inner, OwnRow, "what the router says of each expert"),
    row(Site::ExpertWeights, "mlp.hook_expert_weights", InBlock, &[T, X], Inner, OwnRow, "the softmax of that, over all experts: the largest choose, and a change may choose others"),
    row(Site::ExpertIndices, "mlp.hook_expert_indices", InBlock, &[T, C], Inner, OwnRow, "the experts that each row goes through, largest weight first (u32)"),
    row(Site::ChosenWeights, "mlp.hook_chosen_weights", InBlock, &[T, C], Inner, OwnRow, "what multiplies the outputs of these experts: their weights, divided by their sum where the model does that"),
    row(Site::ExpertGate, "mlp.experts.{e}.hook_gate", InExpert, &[T, M], Inner, OwnRow, "an expert's neurons before the nonlinearity, zero in the rows that do not go through it"),
    row(Site::ExpertPre, "mlp.experts.{e}.hook_pre", InExpert, &[T, M], Inner, OwnRow, "the gate's linear partner (without one, the neurons before the nonlinearity), zero in the other rows"),
    row(Site::ExpertPost, "mlp.experts.{e}.hook_post", InExpert, &[T, M], Inner, OwnRow, "an expert's neurons as its output map reads them, zero in the other rows"),
    row(Site::Ln2PostScale, "ln2_post.hook_scale", InBlock, &[T, One], Inner, OwnRow, "what the norm after the MLP divides by"),
    row(Site::Ln2PostNormalized, "ln2_post.hook_normalized", InBlock, &[T, D], Normalized, OwnRow, "the MLP's output (minus its mean under layer norm) divided by the norm's scale, before gain and bias"),
    row(Site::MlpOut, "hook_mlp_out", InBlock, &[T, D], Write(Mlp), OwnRow, "exactly what the MLP adds to the stream"),
    row(Site::ResidPost, "hook_resid_post", InBlock, &[T, D], Stream, OwnRow, "the residual stream after the block"),
    row(Site::FinalScale, "ln_final.hook_scale", End, &[T, One], Inner, OwnRow, "what the final norm divides by"),
    row(Site::FinalNormalized, "ln_final.hook_normalized", End, &[T, D], Normalized, OwnRow, "the stream (minus its mean under layer norm) divided by the norm's scale, before gain and bias"),
    row(Site::FinalOut, "ln_final.hook_out", End, &[T, D], Normalized, OwnRow, "what the unembedding reads: the norm's output, gain and bias included"),
    row(Site::Logits, "logits", End, &[T, V], Inner, OwnRow, "one number for each possible next token, after scale and cap"),
];

impl Site {
    /// This site's row of the table.
    pub fn info(self) -> &'static SiteInfo {
        // The table is in the order of the enum; a test holds it so.
        &SITES[self as usize]
    }

    /// Whether its value has this axis.
    pub fn has(self, axis: Axis) -> bool {
        self.info().axes.contains(&axis)
    }

    /// The name without `hook_`: `resid_pre`, `attn.z`, `mlp.post`, `ln1.scale`; with `*` for the number of an expert.
    pub fn short(self) -> String {
        self.info().name.replace("hook_", "").replace("{e}", "*")
    }

    /// Whether its values are numbers of experts, u32, and not in the model's dtype.
    pub fn is_index(self) -> bool {
        self == Site::ExpertIndices
    }

    /// Whether a value of this site is made once per sequence rather than once per pack.
    pub fn per_sequence(self) -> bool {
        self.has(Axis::K)
    }

    /// Whether this model has the site, in block `layer` where it is one of a block.
    pub fn exists(self, spec: &Spec, layer: Option<usize>) -> bool {
        let Some(layer) = layer else {
            return match self {
                Site::PosEmbed => spec.embedding.positions.is_some(),
                Site::FinalScale | Site::FinalNormalized | Site::FinalOut => spec.final_norm.is_some(),
                _ => matches!(self.info().scope, Start | End),
            };
        };
        spec.blocks.get(layer).is_some_and(|block| self.exists_in(block))
    }

    fn exists_in(self, block: &Block) -> bool {
        let mlp = block.mlp.as_ref();
        let dense = mlp.is_some_and(|m| m.inner.experts().is_none());
        let gated = mlp.is_some_and(|m| m.inner.neurons().gated);
        match self {
            Site::Ln1Scale | Site::Ln1Normalized | Site::Ln1Out => block.attention.pre_norm.is_some(),
            Site::Ln1PostScale | Site::Ln1PostNormalized => block.attention.post_norm.is_some(),
            Site::QNormed | Site::KNormed => block.attention.inner.qk_norm.is_some(),
            Site::RotQ | Site::RotK => matches!(block.attention.inner.position, Position::Rotary(_)),
            Site::ResidMid => mlp.is_some() && block.arrangement == Arrangement::Sequential,
            Site::Ln2Scale | Site::Ln2Normalized | Site::Ln2Out => {
                block.arrangement != Arrangement::ParallelSharedNorm && mlp.is_some_and(|m| m.pre_norm.is_some())
            }
            Site::Ln2PostScale | Site::Ln2PostNormalized => mlp.is_some_and(|m| m.post_norm.is_some()),
            Site::MlpPreLinear => dense && gated,
            Site::MlpMid | Site::MlpLnScale | Site::MlpLnNormalized | Site::MlpLnOut => {
                dense && mlp.is_some_and(|m| m.inner.neurons().norm.is_some())
            }
            Site::MlpPre | Site::MlpPost => dense,
            Site::RouterLogits | Site::ExpertWeights | Site::ExpertIndices | Site::ChosenWeights => {
                mlp.is_some() && !dense
            }
            Site::ExpertGate => mlp.is_some() && !dense && gated,
            Site::ExpertPre | Site::ExpertPost => mlp.is_some() && !dense,
            Site::MlpOut => mlp.is_some(),
            _ => self.info().scope == InBlock,
        }
    }

    /// The size of an axis in this model; `None` for the axes that depend on the batch.
    pub fn axis_len(spec: &Spec, layer: Option<usize>, axis: Axis) -> Option<usize> {
        let block = &spec.blocks[layer.unwrap_or(0)];
        let a = &block.attention.inner;
        let mlp = block.mlp.as_ref();
        let experts = mlp.and_then(|m| m.inner.experts());
        match axis {
            T | Q | K => None,
            One => Some(1),
            H => Some(a.n_heads),
            G => Some(a.n_kv_heads),
            E => Some(a.d_head),
            D => Some(spec.d_model),
            M => mlp.map(|m| m.inner.neurons().d_mlp),
            X => experts.map(|e| e.n_experts),
            C => experts.map(|e| e.per_row),
            V => Some(spec.unembedding.d_vocab_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum_and_names_are_unique() {
        for (i, info) in SITES.iter().enumerate() {
            assert_eq!(info.site as usize, i, "{}", info.name);
            assert_eq!(SITES.iter().filter(|other| other.name == info.name).count(), 1, "{}", info.name);
        }
    }
}
