//! HookedTransformer: models made and saved by TransformerLens, whose `config.json` holds the fields of
//! `HookedTransformerConfig` and has no `model_type`. Most are toy models, and any part of a Transformer may be absent.

use super::{Family, activation, one_for_each_block};
use crate::arch::config::{Config, as_published};
use crate::arch::spec::*;
use crate::arch::weights::{BlockSlot, Layout, Part, Slot, Source};
use crate::error::{Error, Result};

pub(super) const FAMILY: Family = Family {
    model_type: "hooked_transformer",
    spec,
    source,
    prefixes: &[""],
    // The table of positions is made with ALiBi too, where nothing reads it.
    buffers: &[".attn.mask", ".attn.IGNORE", ".attn.rotary_sin", ".attn.rotary_cos", "pos_embed.W_pos"],
};

/// Whether a config without `model_type` is one of these.
pub(super) fn describes(c: &Config) -> bool {
    ["n_layers", "d_model", "n_ctx", "d_head"].iter().all(|key| c.has(key))
}

/// Fields that say how a model was made, where it lies, which hooks exist, or what its tokens and logits are called.
const HARMLESS: &[&str] = &[
    "attn_types",
    "categorical_output",
    "checkpoint_index",
    "checkpoint_label_type",
    "checkpoint_value",
    "default_prepend_bos",
    "device",
    "from_checkpoint",
    "init_mode",
    "init_weights",
    "input_vocab",
    "model_name",
    "n_devices",
    "n_params",
    "NTK_by_parts_factor",
    "NTK_by_parts_high_freq_factor",
    "NTK_by_parts_low_freq_factor",
    "NTK_original_ctx_len",
    "original_architecture",
    "output_labels",
    "output_values",
    "relative_attention_max_distance",
    "relative_attention_num_buckets",
    "residual_labels",
    "rotary_adjacent_pairs",
    "rotary_base",
    "rotary_dim",
    "seed",
    "tokenizer_name",
    "tokenizer_prepends_bos",
    "trust_remote_code",
    "ungroup_grouped_query_attention",
    "use_attn_in",
    "use_attn_result",
    "use_hook_mlp_in",
    "use_hook_tokens",
    "use_split_qkv_input",
    "window_size",
];

fn spec(c: &Config) -> Result<Spec> {
    c.ignore(HARMLESS);
    for key in ["load_in_4bit", "tie_word_embeddings"] {
        c.only(key, false)?;
    }
    for key in ["num_experts", "experts_per_token", "decoder_start_token_id"] {
        c.only(key, 0)?;
    }
    let (d_model, n_ctx, d_head) = (c.size("d_model")?, c.size("n_ctx")?, c.size("d_head")?);
    let d_vocab = sized(c, "d_vocab")?
        .ok_or_else(|| Error::bad_model("config.json has no `d_vocab`").hint(as_published("d_vocab")))?;
    let n_layers = c.layers("n_layers")?;
    let flag = |key: &str| -> Result<bool> { Ok(c.get(key)?.unwrap_or(false)) };
    let [norm, final_norm] = norms(c)?;
    let (position, positions) = positions(c, n_ctx, d_head)?;
    let attention = attention(c, d_model, d_head, position)?;
    let post_norm = match (flag("use_normalization_before_and_after")?, norm) {
        (true, Some(norm)) if norm.kind == NormKind::Rms => Some(Norm { gain: Gain::Weight, ..norm }),
        // TransformerLens itself has no norm to put there.
        (true, Some(_)) => return Err(refused("use_normalization_before_and_after", true, "with layer norm")),
        _ => None,
    };
    if attention.position == Position::Alibi
        && (!attention.n_heads.is_power_of_two() || attention.mask == Mask::Bidirectional)
    {
        // The slopes of TransformerLens are the paper's for powers of two only; and it penalises no key that comes later.
        let beside = "but for causal attention of 1, 2, 4, 8, ... heads";
        return Err(refused("positional_embedding_type", "alibi", beside));
    }
    let in_stream = positions.is_some_and(|p| p.added_to == AddedTo::Stream);
    let embedding_norm = match flag("post_embedding_ln")? {
        // Ours is a norm on the sum of both.
        true if in_stream => {
            return Err(refused("post_embedding_ln", true, "where learned positions are added after it"));
        }
        true => Some(layer_norm(c, true)?),
        false => None,
    };
    let mlp = mlp(c, d_model)?;
    let parallel = flag("parallel_attn_mlp")?;
    if parallel && mlp.is_none() {
        return Err(refused("parallel_attn_mlp", true, "where `attn_only` is true"));
    }
    let block = Block {
        arrangement: if parallel { Arrangement::Parallel } else { Arrangement::Sequential },
        attention: Sublayer { pre_norm: norm, inner: attention, post_norm },
        mlp: mlp.map(|inner| Sublayer { pre_norm: norm, inner: FeedForward::Dense(inner), post_norm }),
        residual_scale: None,
    };
    let mut blocks = vec![block; n_layers];
    if flag("scale_attn_by_inverse_layer_idx")? {
        for (l, block) in blocks.iter_mut().enumerate() {
            block.attention.inner.scale /= (l + 1) as f64;
        }
    }
    windows(c, &mut blocks)?;
    Ok(Spec {
        family: String::new(),
        d_model,
        d_vocab,
        n_ctx: Some(n_ctx),
        embedding: Embedding { scale: None, positions, norm: embedding_norm },
        blocks,
        final_norm,
        unembedding: Unembedding {
            d_vocab_out: sized(c, "d_vocab_out")?.unwrap_or(d_vocab),
            tied: false,
            bias: true,
            scale: None,
            cap: above_zero(c, "output_logits_soft_cap")?,
        },
        processed: vec![],
    })
}

/// The one sentence for a field that means something else beside another.
fn refused(key: &str, value: impl std::fmt::Display, beside: &str) -> Error {
    Error::bad_model(format!("config.json: `{key}` is {value}, which pellucid does not compute {beside}"))
        .hint("unless the file is wrong, pellucid cannot run this model")
}

fn unknown(key: &str, value: &str, known: &str) -> Error {
    Error::bad_model(format!("config.json: `{key}` is {value}, which pellucid does not compute"))
        .hint(format!("known are {known}"))
}

/// A size for which -1 means that it was not set.
fn sized(c: &Config, key: &str) -> Result<Option<usize>> {
    match c.get::<f64>(key)? {
        Some(-1.0) => Ok(None),
        _ => c.optional_size(key),
    }
}

/// A number that is off unless it is above 0.
fn above_zero(c: &Config, key: &str) -> Result<Option<f64>> {
    Ok(c.get::<f64>(key)?.filter(|x| *x > 0.0))
}

/// A layer norm, with gain and bias or with neither.
fn layer_norm(c: &Config, gained: bool) -> Result<Norm> {
    let eps = c.positive("eps")?.unwrap_or(1e-5);
    let gain = if gained { Gain::Weight } else { Gain::None };
    Ok(Norm { kind: NormKind::Layer, eps, gain, bias: gained })
}

fn normalization_type(c: &Config) -> Result<Option<String>> {
    c.stated("normalization_type", Some("LN".to_owned()))
}

/// The norm of the blocks, and that before the unembedding. The kinds ending in `Pre` have had gain and bias folded away.
fn norms(c: &Config) -> Result<[Option<Norm>; 2]> {
    let kind = normalization_type(c)?;
    let final_rms = c.get("final_rms")?.unwrap_or(false);
    let (gained, bare) = (layer_norm(c, true)?, layer_norm(c, false)?);
    let layer = |with_gain| if with_gain { gained } else { bare };
    let rms = |gained| Norm { kind: NormKind::Rms, bias: false, ..layer(gained) };
    let last = |gained| if final_rms { rms(gained) } else { layer(gained) };
    Ok(match kind.as_deref() {
        None => [None; 2],
        Some("LN") => [Some(layer(true)), Some(last(true))],
        Some("LNPre") => [Some(layer(false)), Some(last(false))],
        Some("RMS") => [Some(rms(true)); 2],
        Some("RMSPre") => [Some(rms(false)); 2],
        Some(other) => return Err(unknown("normalization_type", other, "null, LN, LNPre, RMS, RMSPre")),
    })
}

fn positions(c: &Config, n_ctx: usize, d_head: usize) -> Result<(Position, Option<LearnedPositions>)> {
    let learned = |added_to| (Position::None, Some(LearnedPositions { rows: n_ctx, offset: 0, added_to }));
    let kind: Option<String> = c.get("positional_embedding_type")?;
    Ok(match kind.as_deref().unwrap_or("standard") {
        "standard" => learned(AddedTo::Stream),
        "shortformer" => learned(AddedTo::QueriesAndKeys),
        "rotary" => (Position::Rotary(rotary(c, d_head)?), None),
        "alibi" => (Position::Alibi, None),
        other => return Err(unknown("positional_embedding_type", other, "standard, shortformer, rotary, alibi")),
    })
}

fn rotary(c: &Config, d_head: usize) -> Result<Rotary> {
    let adjacent = c.get("rotary_adjacent_pairs")?.unwrap_or(false);
    let number = |key: &str, usual: f64| -> Result<f64> { Ok(c.positive(key)?.unwrap_or(usual)) };
    let scaling = match c.get("use_NTK_by_parts_rope")?.unwrap_or(false) {
        false => RopeScaling::None,
        true => RopeScaling::Llama3 {
            factor: number("NTK_by_parts_factor", 8.0)?,
            low_freq: number("NTK_by_parts_low_freq_factor", 1.0)?,
            high_freq: number("NTK_by_parts_high_freq_factor", 4.0)?,
            original_ctx: number("NTK_original_ctx_len", 8192.0)?,
        },
    };
    Ok(Rotary {
        dims: c.optional_size("rotary_dim")?.unwrap_or(d_head),
        pairing: if adjacent { Pairing::Adjacent } else { Pairing::Halves },
        theta: number("rotary_base", 10_000.0)?,
        scaling,
    })
}

fn attention(c: &Config, d_model: usize, d_head: usize, position: Position) -> Result<Attention> {
    let n_heads = match sized(c, "n_heads")? {
        Some(n) => n,
        None if d_model >= d_head => d_model / d_head,
        None => {
            return Err(refused("d_head", d_head, &format!("where `d_model` is {d_model} and `n_heads` not given")));
        }
    };
    let divisor = match (c.get("use_attn_scale")?.unwrap_or(true), c.get::<f64>("attn_scale")?) {
        (false, _) => 1.0,
        (true, None | Some(-1.0)) => (d_head as f64).sqrt(),
        (true, Some(scale)) if scale > 0.0 => scale,
        (true, Some(scale)) => return Err(refused("attn_scale", scale, "where it is not above 0")),
    };
    let eps = c.positive("eps")?.unwrap_or(1e-5);
    let norm = Norm { kind: NormKind::Rms, eps, gain: Gain::Weight, bias: false };
    let direction: Option<String> = c.get("attention_dir")?;
    Ok(Attention {
        n_heads,
        n_kv_heads: c.optional_size("n_key_value_heads")?.unwrap_or(n_heads),
        d_head,
        qkv_bias: true,
        out_bias: true,
        qk_norm: c.get("use_qk_norm")?.unwrap_or(false).then_some(QkNorm { norm, per_head: true }),
        clip_qkv: None,
        position,
        scale: 1.0 / divisor,
        cap: above_zero(c, "attn_scores_soft_cap")?,
        mask: match direction.as_deref().unwrap_or("causal") {
            "causal" => Mask::Causal,
            "bidirectional" => Mask::Bidirectional,
            other => return Err(unknown("attention_dir", other, "causal, bidirectional")),
        },
    })
}

fn mlp(c: &Config, d_model: usize) -> Result<Option<Mlp>> {
    let (d_mlp, act_fn) = (c.optional_size("d_mlp")?, c.get::<String>("act_fn")?);
    let gated = c.get("gated_mlp")?.unwrap_or(false);
    if c.get("attn_only")?.unwrap_or(false) {
        return Ok(None);
    }
    let Some(act_fn) = act_fn else {
        return Err(Error::bad_model("config.json has no `act_fn`, and `attn_only` is not true")
            .hint("a model without MLPs says `attn_only`: true; any other says its `act_fn`"));
    };
    let d_mlp = d_mlp.unwrap_or(4 * d_model);
    let activation = match act_fn.as_str() {
        "solu" | "solu_ln" => Activation::Solu,
        other => activation(other)?,
    };
    let norm = match act_fn.as_str() {
        // TransformerLens leaves the gate out there.
        "solu_ln" if gated => return Err(refused("act_fn", act_fn, "where `gated_mlp` is true")),
        // A layer norm whatever the others are; its gain and bias are there or folded away as theirs.
        "solu_ln" => Some(layer_norm(c, normalization_type(c)?.as_deref() == Some("LN"))?),
        _ => None,
    };
    Ok(Some(Mlp { d_mlp, activation, gated, bias: !gated, post_bias: gated, norm }))
}

/// Which blocks see a window only.
fn windows(c: &Config, blocks: &mut [Block]) -> Result<()> {
    if !c.get("use_local_attn")?.unwrap_or(false) {
        return Ok(());
    }
    let (width, types) = (c.size("window_size")?, c.need::<Vec<String>>("attn_types")?);
    one_for_each_block("attn_types", types.len(), blocks.len())?;
    for (block, kind) in blocks.iter_mut().zip(&types) {
        let mask = &mut block.attention.inner.mask;
        match kind.as_str() {
            "global" => {}
            // TransformerLens masks nothing there, not even what is outside the window.
            "local" if *mask == Mask::Bidirectional => {
                return Err(refused("use_local_attn", true, "where `attention_dir` is bidirectional"));
            }
            "local" => *mask = Mask::Window(width),
            other => return Err(unknown("attn_types", other, "global, local")),
        }
    }
    Ok(())
}

fn source(spec: &Spec, slot: Slot) -> Option<Source> {
    let affine = |stem: &str, part: Part, letters: [&str; 2]| format!("{stem}.{}", letters[part as usize]);
    let norm = |stem: &str, part| Source::in_out(affine(stem, part, ["w", "b"]));
    let (l, slot) = match slot {
        Slot::Embed => return Some(Source::in_out("embed.W_E")),
        Slot::Positions => return Some(Source::in_out("pos_embed.W_pos")),
        Slot::EmbedNorm(part) => return Some(norm("embed.ln", part)),
        Slot::FinalNorm(part) => return Some(norm("ln_final", part)),
        Slot::Unembed(part) => return Some(Source::in_out(affine("unembed", part, ["W_U", "b_U"]))),
        Slot::Block(l, slot) => (l, slot),
    };
    let block = &spec.blocks[l];
    let (a, gated) = (&block.attention.inner, block.mlp.as_ref().is_some_and(|m| m.inner.neurons().gated));
    let norm = |stem: &str, part| norm(&format!("blocks.{l}.{stem}"), part);
    let heads = |letters: [&str; 2], part: Part, heads| {
        Source::laid(affine(&format!("blocks.{l}.attn"), part, letters), Layout::HeadsOut(heads))
    };
    let mlp = |letters, part| Source::in_out(affine(&format!("blocks.{l}.mlp"), part, letters));
    // Where `n_key_value_heads` is given they are stored under other names, even where it is as many as queries have.
    let keys_or_values = |letters: [&str; 2], part: Part| {
        let source = heads(letters, part, a.n_kv_heads);
        let other = format!("blocks.{l}.attn._{}", letters[part as usize]);
        source.or_named(other)
    };
    Some(match slot {
        BlockSlot::Ln1(part) => norm("ln1", part),
        BlockSlot::Ln1Post(part) => norm("ln1_post", part),
        BlockSlot::Ln2(part) => norm("ln2", part),
        BlockSlot::Ln2Post(part) => norm("ln2_post", part),
        BlockSlot::QNorm(part) => norm("attn.q_norm", part),
        BlockSlot::KNorm(part) => norm("attn.k_norm", part),
        BlockSlot::Q(part) => heads(["W_Q", "b_Q"], part, a.n_heads),
        BlockSlot::K(part) => keys_or_values(["W_K", "b_K"], part),
        BlockSlot::V(part) => keys_or_values(["W_V", "b_V"], part),
        BlockSlot::O(Part::Weight) => Source::laid(format!("blocks.{l}.attn.W_O"), Layout::HeadsIn(a.n_heads)),
        BlockSlot::O(Part::Bias) => Source::in_out(format!("blocks.{l}.attn.b_O")),
        BlockSlot::MlpIn(part) => mlp(if gated { ["W_gate", "b_gate"] } else { ["W_in", "b_in"] }, part),
        BlockSlot::MlpLinear(part) => mlp(["W_in", "b_in"], part),
        BlockSlot::MlpPost => mlp(["W_in", "b_in"], Part::Bias),
        BlockSlot::MlpNorm(part) => norm("mlp.ln", part),
        BlockSlot::MlpOut(part) => mlp(["W_out", "b_out"], part),
        BlockSlot::Router | BlockSlot::Expert(..) => return None,
    })
}
