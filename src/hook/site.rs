//! The one table of sites: every place in the forward pass whose value can be seen and changed.
//!
//! Names are TransformerLens's, because papers and notebooks use them. Everything that knows a site's name, axes or
//! meaning reads it here.

use crate::arch::spec::{Arrangement, Block, Position, Spec};

/// A kind of value that the forward pass makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // Each variant's meaning is in the table below, where users read it too.
pub enum Site {
    Embed,
    PosEmbed,
    ResidPre,
    Ln1Scale,
    Ln1Normalized,
    Q,
    K,
    V,
    RotQ,
    RotK,
    AttnScores,
    Pattern,
    Z,
    Result,
    AttnOut,
    ResidMid,
    Ln2Scale,
    Ln2Normalized,
    MlpPre,
    MlpPreLinear,
    MlpPost,
    MlpOut,
    ResidPost,
    FinalScale,
    FinalNormalized,
    Logits,
}

/// Where in the model a site stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Once, before the blocks.
    Start,
    /// In every block.
    Block,
    /// Once, after the blocks.
    End,
}

/// An axis of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
            Axis::V => "v",
            Axis::Q => "q",
            Axis::K => "k",
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct SiteInfo {
    /// The site.
    pub site: Site,
    /// Its name; inside a block, what follows `blocks.{l}.`.
    pub name: &'static str,
    /// Where it stands.
    pub scope: Scope,
    /// The axes of its value.
    pub axes: &'static [Axis],
    /// What the value is.
    pub meaning: &'static str,
}

use Axis::*;
use Scope::{Block as InBlock, End, Start};

const fn row(site: Site, name: &'static str, scope: Scope, axes: &'static [Axis], meaning: &'static str) -> SiteInfo {
    SiteInfo { site, name, scope, axes, meaning }
}

/// Every site, in the order in which the forward pass makes them.
#[rustfmt::skip]
pub static SITES: &[SiteInfo] = &[
    row(Site::Embed, "hook_embed", Start, &[T, D], "the token embeddings, as they are written to the stream"),
    row(Site::PosEmbed, "hook_pos_embed", Start, &[T, D], "the learned position vectors: added to them, or to what queries and keys read"),
    row(Site::ResidPre, "hook_resid_pre", InBlock, &[T, D], "the residual stream before the block"),
    row(Site::Ln1Scale, "ln1.hook_scale", InBlock, &[T, One], "what the norm before attention divides by"),
    row(Site::Ln1Normalized, "ln1.hook_normalized", InBlock, &[T, D], "what attention reads: the norm's output, gain and bias included"),
    row(Site::Q, "attn.hook_q", InBlock, &[T, H, E], "queries, before rotation"),
    row(Site::K, "attn.hook_k", InBlock, &[T, G, E], "keys, before rotation"),
    row(Site::V, "attn.hook_v", InBlock, &[T, G, E], "values"),
    row(Site::RotQ, "attn.hook_rot_q", InBlock, &[T, H, E], "queries after rotation by position"),
    row(Site::RotK, "attn.hook_rot_k", InBlock, &[T, G, E], "keys after rotation by position"),
    row(Site::AttnScores, "attn.hook_attn_scores", InBlock, &[H, Q, K], "query x key after scale, cap and mask (minus infinity where hidden)"),
    row(Site::Pattern, "attn.hook_pattern", InBlock, &[H, Q, K], "attention: the softmax of the scores, each row sums to 1"),
    row(Site::Z, "attn.hook_z", InBlock, &[T, H, E], "each head's values, weighted by its pattern"),
    row(Site::Result, "attn.hook_result", InBlock, &[T, H, D], "each head's own write: z times its part of the output map, bias excluded"),
    row(Site::AttnOut, "hook_attn_out", InBlock, &[T, D], "exactly what attention adds to the stream"),
    row(Site::ResidMid, "hook_resid_mid", InBlock, &[T, D], "the stream between attention and MLP"),
    row(Site::Ln2Scale, "ln2.hook_scale", InBlock, &[T, One], "what the norm before the MLP divides by"),
    row(Site::Ln2Normalized, "ln2.hook_normalized", InBlock, &[T, D], "what the MLP reads: the norm's output, gain and bias included"),
    row(Site::MlpPre, "mlp.hook_pre", InBlock, &[T, M], "neurons before the nonlinearity"),
    row(Site::MlpPreLinear, "mlp.hook_pre_linear", InBlock, &[T, M], "the gate's linear partner"),
    row(Site::MlpPost, "mlp.hook_post", InBlock, &[T, M], "neurons as the output map reads them (times the linear partner where there is one)"),
    row(Site::MlpOut, "hook_mlp_out", InBlock, &[T, D], "exactly what the MLP adds to the stream"),
    row(Site::ResidPost, "hook_resid_post", InBlock, &[T, D], "the residual stream after the block"),
    row(Site::FinalScale, "ln_final.hook_scale", End, &[T, One], "what the final norm divides by"),
    row(Site::FinalNormalized, "ln_final.hook_normalized", End, &[T, D], "what the unembedding reads"),
    row(Site::Logits, "logits", End, &[T, V], "one number for each possible next token, after scale and cap"),
];

impl Site {
    /// This site's row of the table.
    pub fn info(self) -> &'static SiteInfo {
        // The table is in the order of the enum; a test holds it so.
        &SITES[self as usize]
    }

    /// The name without `hook_`: `resid_pre`, `attn.z`, `mlp.post`, `ln1.scale`.
    pub fn short(self) -> String {
        self.info().name.replace("hook_", "")
    }

    /// Whether a value of this site is made once per sequence rather than once per pack.
    pub fn per_sequence(self) -> bool {
        matches!(self, Site::AttnScores | Site::Pattern)
    }

    /// Whether this model has the site, in block `layer` where it is one of a block.
    pub fn exists(self, spec: &Spec, layer: Option<usize>) -> bool {
        let Some(layer) = layer else {
            return match self {
                Site::PosEmbed => spec.embedding.positions.is_some(),
                Site::FinalScale | Site::FinalNormalized => spec.final_norm.is_some(),
                _ => self.info().scope != InBlock,
            };
        };
        spec.blocks.get(layer).is_some_and(|block| self.exists_in(block))
    }

    fn exists_in(self, block: &Block) -> bool {
        let mlp = block.mlp.as_ref();
        match self {
            Site::Ln1Scale | Site::Ln1Normalized => block.attention.pre_norm.is_some(),
            Site::RotQ | Site::RotK => matches!(block.attention.inner.position, Position::Rotary(_)),
            Site::ResidMid => mlp.is_some() && block.arrangement == Arrangement::Sequential,
            Site::Ln2Scale | Site::Ln2Normalized => {
                block.arrangement != Arrangement::ParallelSharedNorm && mlp.is_some_and(|m| m.pre_norm.is_some())
            }
            Site::MlpPreLinear => mlp.is_some_and(|m| m.inner.gated),
            Site::MlpPre | Site::MlpPost | Site::MlpOut => mlp.is_some(),
            _ => self.info().scope == InBlock,
        }
    }

    /// The size of an axis in this model; `None` for the axes that depend on the batch.
    pub fn axis_len(spec: &Spec, layer: Option<usize>, axis: Axis) -> Option<usize> {
        let block = &spec.blocks[layer.unwrap_or(0)];
        let a = &block.attention.inner;
        match axis {
            T | Q | K => None,
            One => Some(1),
            H => Some(a.n_heads),
            G => Some(a.n_kv_heads),
            E => Some(a.d_head),
            D => Some(spec.d_model),
            M => block.mlp.as_ref().map(|m| m.inner.d_mlp),
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
