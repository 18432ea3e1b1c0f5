//! Llama (Touvron et al. 2023) and its descendants that kept the name: RMS norm, rotary positions in all their
//! scalings, SwiGLU, grouped-query attention.

use super::{Family, activation, even_heads, rotary};
use crate::arch::config::Config;
use crate::arch::spec::*;
use crate::arch::weights::{BlockSlot, Slot, Source};
use crate::error::Result;

pub(super) const FAMILY: Family =
    Family { model_type: "llama", spec, source, prefixes: &["model.", ""], buffers: &[".rotary_emb.inv_freq"] };

fn spec(c: &Config) -> Result<Spec> {
    let d_model = c.size("hidden_size")?;
    let n_heads = c.size("num_attention_heads")?;
    let d_vocab = c.size("vocab_size")?;
    let n_ctx = c.size("max_position_embeddings")?;
    let d_head = match c.optional_size("head_dim")? {
        Some(d_head) => d_head,
        None => even_heads(d_model, n_heads)?,
    };
    let norm = Some(Norm {
        kind: NormKind::Rms,
        eps: c.positive("rms_norm_eps")?.unwrap_or(1e-6),
        gain: Gain::Weight,
        bias: false,
    });
    let bias = c.get("attention_bias")?.unwrap_or(false);
    let block = Block {
        arrangement: Arrangement::Sequential,
        attention: Sublayer {
            pre_norm: norm,
            inner: Attention {
                n_heads,
                n_kv_heads: c.optional_size("num_key_value_heads")?.unwrap_or(n_heads),
                d_head,
                qkv_bias: bias,
                out_bias: bias,
                qk_norm: None,
                clip_qkv: None,
                position: Position::Rotary(rotary(c, d_head, n_ctx)?),
                scale: (d_head as f64).powf(-0.5),
                cap: None,
                mask: Mask::Causal,
            },
            post_norm: None,
        },
        mlp: Some(Sublayer {
            pre_norm: norm,
            inner: Mlp {
                d_mlp: c.size("intermediate_size")?,
                activation: activation(&c.get::<String>("hidden_act")?.unwrap_or("silu".into()))?,
                gated: true,
                bias: c.get("mlp_bias")?.unwrap_or(false),
            },
            post_norm: None,
        }),
        residual_scale: None,
    };
    Ok(Spec {
        family: String::new(),
        d_model,
        d_vocab,
        n_ctx: Some(n_ctx),
        embedding: Embedding { scale: None, positions: None, norm: None },
        blocks: vec![block; c.layers("num_hidden_layers")?],
        final_norm: norm,
        unembedding: Unembedding {
            d_vocab_out: d_vocab,
            tied: c.get("tie_word_embeddings")?.unwrap_or(false),
            bias: false,
            scale: None,
            cap: None,
        },
    })
}

fn source(_: &Spec, slot: Slot) -> Option<Source> {
    Some(Source::out_in(match slot {
        Slot::Embed => return Some(Source::in_out("embed_tokens.weight")),
        Slot::FinalNorm(p) => p.of("norm"),
        Slot::Unembed(p) => p.of("lm_head"),
        Slot::Positions | Slot::EmbedNorm(_) => return None,
        Slot::Block(l, slot) => {
            let (stem, p) = match slot {
                BlockSlot::Ln1(p) => ("input_layernorm", p),
                BlockSlot::Ln2(p) => ("post_attention_layernorm", p),
                BlockSlot::Q(p) => ("self_attn.q_proj", p),
                BlockSlot::K(p) => ("self_attn.k_proj", p),
                BlockSlot::V(p) => ("self_attn.v_proj", p),
                BlockSlot::O(p) => ("self_attn.o_proj", p),
                BlockSlot::MlpIn(p) => ("mlp.gate_proj", p),
                BlockSlot::MlpLinear(p) => ("mlp.up_proj", p),
                BlockSlot::MlpOut(p) => ("mlp.down_proj", p),
                _ => return None,
            };
            p.of(&format!("layers.{l}.{stem}"))
        }
    }))
}
