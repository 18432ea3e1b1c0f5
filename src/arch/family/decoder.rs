//! What decoders share: blocks that are alike, one norm before each sublayer. A family starts from [`decoder`] and
//! changes what it does differently.

use super::{activation, even_heads, one_for_each_block, rope};
use crate::arch::config::{Config, as_published};
use crate::arch::spec::*;
use crate::error::{Error, Result};

/// What no key of a family's `config.json` says. What a key says where it is absent stands in `keys.json`.
pub(super) struct Usual {
    /// Whether linear layers have biases, where no key says so.
    pub bias: bool,
    /// Whether the nonlinearity gates a linear partner.
    pub gated: bool,
    /// What its files mean by "gelu".
    pub gelu: Activation,
    /// The nonlinearity, where no key names one.
    pub activation: Option<Activation>,
}

/// Llama's choices.
pub(super) const LLAMA: Usual = Usual { bias: false, gated: true, gelu: Activation::GeluErf, activation: None };
/// GPT-2's choices.
pub(super) const GPT2: Usual = Usual { bias: true, gated: false, gelu: Activation::GeluErf, activation: None };

/// Layer norm with gain and bias; its epsilon is under `key`.
pub(super) fn layer_norm(c: &Config, key: &str) -> Result<Norm> {
    Ok(Norm { kind: NormKind::Layer, eps: c.need_positive(key)?, gain: Gain::Weight, bias: true })
}

/// RMS norm with a gain; its epsilon is under `rms_norm_eps`.
pub(super) fn rms_norm(c: &Config) -> Result<Norm> {
    Ok(Norm { kind: NormKind::Rms, eps: c.need_positive("rms_norm_eps")?, gain: Gain::Weight, bias: false })
}

/// A decoder without positions. Where families have names of their own for one thing, each is given the key that it reads.
pub(super) fn decoder(c: &Config, usual: &Usual, norm: Norm) -> Result<Spec> {
    let d_model = c.size("hidden_size")?;
    let n_heads = c.size("num_attention_heads")?;
    let d_vocab = c.size("vocab_size")?;
    let d_head = match c.optional_size("head_dim")? {
        Some(d_head) => d_head,
        None => even_heads(d_model, n_heads)?,
    };
    let (attention_bias, mlp_bias) = (c.get("attention_bias")?, c.get("mlp_bias")?);
    let attention = Attention {
        n_heads,
        n_kv_heads: c.optional_size("num_key_value_heads")?.unwrap_or(n_heads),
        d_head,
        qkv_bias: attention_bias.unwrap_or(usual.bias),
        out_bias: attention_bias.unwrap_or(usual.bias),
        qk_norm: None,
        clip_qkv: None,
        position: Position::None,
        scale: (d_head as f64).powf(-0.5),
        cap: None,
        mask: Mask::Causal,
    };
    let mlp = Mlp {
        d_mlp: neurons(c)?.unwrap_or(4 * d_model),
        activation: nonlinearity(c, usual)?,
        gated: usual.gated,
        bias: mlp_bias.unwrap_or(usual.bias),
        post_bias: false,
        norm: None,
    };
    let block = Block {
        arrangement: Arrangement::Sequential,
        attention: Sublayer { pre_norm: Some(norm), inner: attention, post_norm: None },
        mlp: Some(Sublayer { pre_norm: Some(norm), inner: FeedForward::Dense(mlp), post_norm: None }),
        residual_scale: None,
    };
    Ok(Spec {
        family: String::new(),
        d_model,
        d_vocab,
        n_ctx: c.optional_size("max_position_embeddings")?,
        embedding: Embedding { scale: None, positions: None, norm: None },
        blocks: vec![block; c.layers("num_hidden_layers")?],
        final_norm: Some(norm),
        unembedding: Unembedding {
            d_vocab_out: d_vocab,
            tied: c.need("tie_word_embeddings")?,
            bias: false,
            scale: None,
            cap: None,
        },
        processed: vec![],
    })
}

/// Neurons of an MLP, under the family's own name for their number.
fn neurons(c: &Config) -> Result<Option<usize>> {
    let own = ["intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"].into_iter().find(|key| c.reads(key));
    own.map_or(Ok(None), |key| c.optional_size(key))
}

/// The nonlinearity, under the family's own name for it.
fn nonlinearity(c: &Config, usual: &Usual) -> Result<Activation> {
    let named: Option<String> = c.first(&["hidden_act", "hidden_activation", "activation_function", "activation"])?;
    match (named.as_deref(), usual.activation) {
        (Some("gelu"), _) => Ok(usual.gelu),
        (Some(name), _) => activation(name),
        (None, Some(fixed)) => Ok(fixed),
        (None, None) => Err(Error::bad_model("config.json: the activation is null, and it must have a value")
            .hint(as_published("hidden_act"))),
    }
}

/// The context length, which this family cannot do without.
pub(super) fn n_ctx(spec: &Spec) -> Result<usize> {
    spec.n_ctx.ok_or_else(|| {
        Error::bad_model("config.json: `max_position_embeddings` is null, and it must have a value")
            .hint(as_published("max_position_embeddings"))
    })
}

/// Attention of every block.
pub(super) fn attentions(spec: &mut Spec) -> impl Iterator<Item = &mut Attention> {
    spec.blocks.iter_mut().map(|b| &mut b.attention.inner)
}

/// Makes every block read both sublayers' inputs from the same norm of the same stream.
pub(super) fn parallel_shared(spec: &mut Spec) {
    for block in &mut spec.blocks {
        block.arrangement = Arrangement::ParallelSharedNorm;
        if let Some(mlp) = &mut block.mlp {
            mlp.pre_norm = None;
        }
    }
}

/// Gives every block the rotary positions that the config describes.
pub(super) fn rotate(c: &Config, spec: &mut Spec, pairing: Pairing) -> Result<()> {
    let (n_ctx, d_head) = (n_ctx(spec)?, spec.blocks[0].attention.inner.d_head);
    let rotary = rope::rotary(c, d_head, n_ctx, pairing)?;
    attentions(spec).for_each(|a| a.position = Position::Rotary(rotary.clone()));
    Ok(())
}

/// Learned positions, one row for each of the context.
pub(super) fn learn_positions(spec: &mut Spec, offset: usize) -> Result<()> {
    spec.embedding.positions =
        Some(LearnedPositions { rows: n_ctx(spec)? + offset, offset, added_to: AddedTo::Stream });
    Ok(())
}

/// A window of `sliding_window` keys in every block, where there is one.
pub(super) fn slide_everywhere(c: &Config, spec: &mut Spec) -> Result<()> {
    if let Some(width) = c.optional_size("sliding_window")? {
        attentions(spec).for_each(|a| a.mask = Mask::Window(width));
    }
    Ok(())
}

/// A window of `sliding_window` keys, if there is one, in the blocks that `layer_types` names; where that is absent, in those of
/// `older`. Where windows are not `on`, there is none.
pub(super) fn slide_some(c: &Config, spec: &mut Spec, on: bool, older: impl Fn(usize) -> bool) -> Result<()> {
    let types: Option<Vec<String>> = c.get("layer_types")?;
    let width = c.optional_size("sliding_window")?.filter(|_| on);
    let n = spec.n_layers();
    types.as_ref().map_or(Ok(()), |types| one_for_each_block("layer_types", types.len(), n))?;
    for (l, a) in attentions(spec).enumerate() {
        match (types.as_ref().map(|t| t[l].as_str()), width) {
            (None, Some(width)) if older(l) => a.mask = Mask::Window(width),
            (Some("sliding_attention"), Some(width)) => a.mask = Mask::Window(width),
            (Some("sliding_attention"), None) => {
                return Err(Error::bad_model(
                    "config.json has sliding layers, and `sliding_window` is null or turned off",
                )
                .hint(as_published("sliding_window")));
            }
            (None | Some("full_attention"), _) => {}
            (Some(other), _) => {
                return Err(Error::bad_model(format!("config.json: pellucid does not know the layer type `{other}`"))
                    .hint("known are full_attention, sliding_attention"));
            }
        }
    }
    Ok(())
}
