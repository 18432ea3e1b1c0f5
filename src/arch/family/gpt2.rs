//! GPT-2 (Radford et al. 2019): learned positions, layer norm, fused qkv in `Conv1D` layout.

use super::{Family, activation, even_heads};
use crate::arch::config::Config;
use crate::arch::spec::*;
use crate::arch::weights::{BlockSlot, Slot, Source};
use crate::error::Result;

pub(super) const FAMILY: Family = Family {
    model_type: "gpt2",
    spec,
    source,
    prefixes: &["transformer.", ""],
    buffers: &[".attn.bias", ".attn.masked_bias"],
};

fn spec(c: &Config) -> Result<Spec> {
    let d_model = c.size("n_embd")?;
    let n_heads = c.size("n_head")?;
    let d_head = even_heads(d_model, n_heads)?;
    let n_ctx = c.size("n_positions")?;
    let d_vocab = c.size("vocab_size")?;
    c.only("add_cross_attention", false)?;
    // An arithmetic order for half precision; the same numbers in f32.
    c.ignore(&["reorder_and_upcast_attn", "n_ctx"]);
    let by_layer = c.get("scale_attn_by_inverse_layer_idx")?.unwrap_or(false);
    let by_width = c.get("scale_attn_weights")?.unwrap_or(true);
    let norm = Some(Norm {
        kind: NormKind::Layer,
        eps: c.positive("layer_norm_epsilon")?.unwrap_or(1e-5),
        gain: Gain::Weight,
        bias: true,
    });
    let mlp = Mlp {
        d_mlp: c.optional_size("n_inner")?.unwrap_or(4 * d_model),
        activation: activation(&c.get::<String>("activation_function")?.unwrap_or("gelu_new".into()))?,
        gated: false,
        bias: true,
    };
    let block = |l: usize| Block {
        arrangement: Arrangement::Sequential,
        attention: Sublayer {
            pre_norm: norm,
            inner: Attention {
                n_heads,
                n_kv_heads: n_heads,
                d_head,
                qkv_bias: true,
                out_bias: true,
                qk_norm: None,
                clip_qkv: None,
                position: Position::None,
                scale: if by_width { (d_head as f64).powf(-0.5) } else { 1.0 }
                    / if by_layer { (l + 1) as f64 } else { 1.0 },
                cap: None,
                mask: Mask::Causal,
            },
            post_norm: None,
        },
        mlp: Some(Sublayer { pre_norm: norm, inner: mlp.clone(), post_norm: None }),
        residual_scale: None,
    };
    Ok(Spec {
        family: String::new(),
        d_model,
        d_vocab,
        n_ctx: Some(n_ctx),
        embedding: Embedding { scale: None, positions: Some(LearnedPositions { rows: n_ctx, offset: 0 }), norm: None },
        blocks: (0..c.layers("n_layer")?).map(block).collect(),
        final_norm: norm,
        unembedding: Unembedding {
            d_vocab_out: d_vocab,
            tied: c.get("tie_word_embeddings")?.unwrap_or(true),
            bias: false,
            scale: None,
            cap: None,
        },
    })
}

fn source(spec: &Spec, slot: Slot) -> Option<Source> {
    let d = spec.d_model;
    let (stem, part) = match slot {
        Slot::Embed => return Some(Source::in_out("wte.weight")),
        Slot::Positions => return Some(Source::in_out("wpe.weight")),
        Slot::FinalNorm(p) => ("ln_f".into(), p),
        Slot::Unembed(p) => return Some(Source::out_in(p.of("lm_head"))),
        Slot::EmbedNorm(_) => return None,
        Slot::Block(l, slot) => {
            let (stem, p) = match slot {
                BlockSlot::Ln1(p) => ("ln_1", p),
                BlockSlot::Ln2(p) => ("ln_2", p),
                BlockSlot::Q(p) | BlockSlot::K(p) | BlockSlot::V(p) => ("attn.c_attn", p),
                BlockSlot::O(p) => ("attn.c_proj", p),
                BlockSlot::MlpIn(p) => ("mlp.c_fc", p),
                BlockSlot::MlpOut(p) => ("mlp.c_proj", p),
                _ => return None,
            };
            (format!("h.{l}.{stem}"), p)
        }
    };
    let whole = Source::in_out(part.of(&stem));
    Some(match slot {
        Slot::Block(_, BlockSlot::Q(_)) => whole.range(0, d, 3 * d),
        Slot::Block(_, BlockSlot::K(_)) => whole.range(d, d, 3 * d),
        Slot::Block(_, BlockSlot::V(_)) => whole.range(2 * d, d, 3 * d),
        _ => whole,
    })
}
