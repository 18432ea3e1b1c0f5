//! The families: for each, one short file that maps `config.json` to a [`Spec`] and tensor names to canonical
//! ones. There is no forward pass here, and no family's name anywhere else.

mod bloom;
mod cohere;
mod decoder;
mod experts;
mod falcon;
mod gemma;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_bigcode;
mod gpt_neo;
mod gpt_neox;
mod gptj;
mod granite;
mod hooked;
mod llama;
mod mistral;
mod mixtral;
mod names;
mod olmo;
mod olmo2;
mod olmoe;
mod opt;
mod phi;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_moe;
mod rope;
mod smollm3;
mod stablelm;
mod starcoder2;
mod tokenizer;
mod unknown;
mod wrapper;

use std::collections::BTreeSet;

use crate::arch::config::{Config, ConfigOptions, LARGEST_SIZE, MOST_EXPERTS, as_published};
use crate::arch::keys::FamilyKeys;
use crate::arch::spec::{Activation, Block, Experts, Position, Rotary, Spec};
use crate::arch::weights::{Slot, Source};
use crate::error::{Error, Result};
use crate::visible::shortened;

pub use tokenizer::{names_a_wrong_tokenizer, tokenizer_class};

/// What a family's file provides.
#[derive(Clone, Copy)]
pub struct Family {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// Reads the configuration.
    pub spec: fn(&Config) -> Result<Spec>,
    /// Where the family's files keep a tensor. Asked only for slots that the spec has.
    pub source: fn(&Spec, Slot) -> Option<Source>,
    /// Prefixes that all but the unembedding's names may carry, tried in this order.
    pub prefixes: &'static [&'static str],
    /// Ends of names that files carry and no model needs (mask buffers, precomputed frequencies).
    pub buffers: &'static [&'static str],
}

/// Every family that can be loaded.
pub static FAMILIES: &[Family] = &[
    bloom::FAMILY,
    cohere::FAMILY,
    falcon::FAMILY,
    gemma::FAMILY,
    gemma2::FAMILY,
    gemma3::FAMILY,
    gpt2::FAMILY,
    gpt_bigcode::FAMILY,
    gpt_neo::FAMILY,
    gpt_neox::FAMILY,
    gptj::FAMILY,
    granite::FAMILY,
    hooked::FAMILY,
    llama::FAMILY,
    mistral::FAMILY,
    mixtral::FAMILY,
    olmo::FAMILY,
    olmo2::FAMILY,
    olmoe::FAMILY,
    opt::FAMILY,
    phi::FAMILY,
    phi3::FAMILY,
    qwen2::FAMILY,
    qwen3::FAMILY,
    qwen3_moe::FAMILY,
    smollm3::FAMILY,
    stablelm::FAMILY,
    starcoder2::FAMILY,
];

/// Reads a `config.json`: which family, and what the model is.
///
/// # Errors
/// Unknown `model_type`, values that cannot be used, and keys that nobody handles.
pub fn read_config(text: &str) -> Result<(&'static Family, Spec)> {
    let Reading { family, spec, .. } = read_config_with(text, &ConfigOptions::default())?;
    Ok((family, spec))
}

/// What a `config.json` says.
pub struct Reading {
    /// Whose file it is.
    pub family: &'static Family,
    /// What the model is.
    pub spec: Spec,
    /// The keys that were read, as the file calls them.
    pub used: BTreeSet<String>,
    /// What the family's reader asked for, in the file or not.
    pub asked: BTreeSet<String>,
}

/// As [`read_config`], with these options.
///
/// # Errors
/// As there, and where a key that is to be accepted is not there or is known to change the model.
pub fn read_config_with(text: &str, options: &ConfigOptions) -> Result<Reading> {
    let config = Config::parse(text)?;
    let model_type = match config.get::<String>("model_type")? {
        Some(model_type) => model_type,
        None if hooked::describes(&config) => hooked::FAMILY.model_type.to_owned(),
        // Files of 2019 and before have none, and say it in other words.
        None => match config.get::<Vec<String>>("architectures")?.and_then(|a| FamilyKeys::named_by(a.first()?)) {
            Some(family) => family.to_owned(),
            None => {
                return Err(Error::bad_model("config.json has no `model_type`, so the model's family is unknown")
                    .hint("add `model_type`, such as \"gpt2\" or \"llama\"; docs/config.md lists the families"));
            }
        },
    };
    wrapper::refuse(&config, &model_type)?;
    let Some(family) = FAMILIES.iter().find(|f| f.model_type == model_type) else {
        return Err(unknown::refused(&model_type));
    };
    refuse_quantized(&config)?;
    let config = config.of_family(FamilyKeys::of(&model_type), options)?;
    config.ignore(&["model_type", "quantization_config"]);
    let mut spec = (family.spec)(&config)?;
    spec.family = model_type;
    config.finish()?;
    check(&spec)?;
    Ok(Reading { family, spec, used: config.used(), asked: config.asked() })
}

/// A model whose weights are packed into fewer bits, of which there are many on the Hub beside those they were made of.
fn refuse_quantized(config: &Config) -> Result<()> {
    let Some(how) = config.get::<serde_json::Value>("quantization_config")? else { return Ok(()) };
    let method = match how["quant_method"].as_str() {
        Some(method) => format!(" ({})", shortened(method, 40)),
        None => String::new(),
    };
    Err(Error::bad_model(format!(
        "config.json says that the weights are quantized{method}, and pellucid reads none such"
    ))
    .hint("take the model that it was made of, with weights in f32, f16 or bf16"))
}

/// Relations between sizes that every family needs and a hand-edited config can break.
fn check(spec: &Spec) -> Result<()> {
    for block in &spec.blocks {
        let a = &block.attention.inner;
        if a.n_kv_heads == 0 || !a.n_heads.is_multiple_of(a.n_kv_heads) {
            return Err(Error::bad_model(format!(
                "config.json: {} query heads cannot share {} key/value heads evenly",
                a.n_heads, a.n_kv_heads
            ))
            .hint(
                "the number of query heads is a multiple of that of key/value heads: compare with the published file",
            ));
        }
        if a.n_heads * a.d_head > LARGEST_SIZE {
            return Err(Error::bad_model(format!(
                "config.json: {} heads of {} dimensions are wider than any model's",
                a.n_heads, a.d_head
            ))
            .hint(as_published("head_dim")));
        }
        if let Position::Rotary(Rotary { dims, .. }) = a.position
            && (dims == 0 || dims % 2 != 0 || dims > a.d_head)
        {
            return Err(Error::bad_model(format!(
                "config.json: {dims} of {} head dimensions cannot be rotated in pairs",
                a.d_head
            ))
            .hint(
                "rotated are an even number of dimensions, at most all: compare head sizes with the published file",
            ));
        }
        let experts = block.mlp.as_ref().and_then(|mlp| mlp.inner.experts());
        if let Some(Experts { n_experts, per_row, .. }) = experts
            && per_row > n_experts
        {
            return Err(Error::bad_model(format!(
                "config.json: a token cannot go through {per_row} of {n_experts} experts"
            ))
            .hint("a token goes through some of the experts: compare their numbers with the published file"));
        }
    }
    let experts = |block: &Block| block.mlp.as_ref().and_then(|mlp| mlp.inner.experts()).map_or(0, |e| e.n_experts);
    // Each is at most 2^24, and there are at most 2^12 blocks.
    let experts: usize = spec.blocks.iter().map(experts).sum();
    if experts > MOST_EXPERTS {
        return Err(Error::bad_model(format!("config.json: no model has {experts} experts, all layers together"))
            .hint("was the file damaged? fetch it again"));
    }
    Ok(())
}

/// Hugging Face's names of nonlinearities.
fn activation(name: &str) -> Result<Activation> {
    Ok(match name {
        "relu" => Activation::Relu,
        "gelu" => Activation::GeluErf,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
        "silu" | "swish" => Activation::Silu,
        other => {
            return Err(Error::bad_model(format!("config.json: pellucid does not know the activation `{other}`"))
                .hint("known are relu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, silu"));
        }
    })
}

/// Refuses a list under `key` that does not have an entry for each block.
fn one_for_each_block(key: &str, entries: usize, blocks: usize) -> Result<()> {
    if entries == blocks {
        return Ok(());
    }
    let sentence = format!("config.json: `{key}` does not have {blocks} entries, one for each block");
    Err(Error::bad_model(sentence).hint(as_published(key)))
}

/// `d_model / n_heads`, when it is whole.
fn even_heads(d_model: usize, n_heads: usize) -> Result<usize> {
    if !d_model.is_multiple_of(n_heads) {
        return Err(Error::bad_model(format!("config.json: {n_heads} heads do not divide a width of {d_model}"))
            .hint("compare the number of heads and the width with the published file"));
    }
    Ok(d_model / n_heads)
}
