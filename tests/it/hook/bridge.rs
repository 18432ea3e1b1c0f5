//! What the hooks of TransformerLens's bridge see of Hugging Face models, hooks of ours under the same names see too
//! (`tests/fixtures/make_bridge.py`): norms before and after gain and bias, queries and keys before and after theirs.

use candle_core::DType;
use pellucid::Result;
use pellucid::arch::spec::Block;
use pellucid::hook::Cache;
use pellucid::model::Model;

use crate::bin::fixture;
use crate::bound::drift;
use crate::reference::{Reference, close};

const BRIDGED: &[&str] =
    &["gpt2", "gpt_neox", "gptj", "llama", "qwen3", "gemma", "gemma2", "gemma3_text", "olmo", "olmo2", "olmoe_clipped"];

/// What is called `theirs` there in a block like this; nothing where a mixture's own input and output bear the names of neurons.
fn ours(theirs: &str, block: Option<&Block>) -> Option<String> {
    let Some(block) = block else { return Some(theirs.to_owned()) };
    let mlp = block.mlp.as_ref().unwrap();
    if mlp.inner.experts().is_some() && theirs.contains("mlp.hook_p") {
        return None;
    }
    // A norm after a sublayer has no hook for what comes out of it, which is what is added to the stream. Where there is none
    // before the sublayer (OLMo 2), it is called as if it stood there.
    for (ln, write, sublayer) in [
        ("ln1", "hook_attn_out", [block.attention.pre_norm, block.attention.post_norm]),
        ("ln2", "hook_mlp_out", [mlp.pre_norm, mlp.post_norm]),
    ] {
        let [pre, post] = sublayer.map(|norm| norm.is_some());
        let after = |rest: &str| match rest {
            "hook_out" => write.to_owned(),
            rest => format!("{ln}_post.{rest}"),
        };
        if let Some(rest) = theirs.strip_prefix(&format!("{ln}_post.")) {
            assert!(post, "{theirs}");
            return Some(after(rest));
        }
        if let Some(rest) = theirs.strip_prefix(&format!("{ln}."))
            && !pre
        {
            assert!(post, "{theirs}");
            return Some(after(rest));
        }
    }
    Some(theirs.to_owned())
}

/// Invariant: The hooks of Hugging Face models agree with TransformerLens's bridge, up to rounding.
#[test]
fn every_hook_is_the_bridges() -> Result<()> {
    let mut parts_of_norms = 0;
    for name in BRIDGED {
        // In f64: what is between them is then the bridge's own rounding, the same on every machine. That our f32 is our f64 at
        // every site and on both paths, others hold (`laws`, `naive`).
        let narrow = Model::load(&fixture(name))?;
        let model = narrow.to_dtype(DType::F64)?;
        let want = Reference::open(&fixture(name).join("bridge.safetensors"));
        let mut cache = Cache::new(model.spec(), "*")?;
        let logits = model.forward(&want.batch("input_ids"), &mut [&mut cache])?;
        let rounding = drift(name, &narrow, &want.batch("input_ids"));
        close(&format!("{name} logits"), &logits, &want.packed("logits"), rounding.logits());
        for theirs in want.names().filter(|n| n.contains("hook_")) {
            let (layer, site) = match theirs.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
                Some((layer, site)) => (layer.parse::<usize>().ok(), site),
                None => (None, theirs),
            };
            let block = layer.map(|l| &model.spec().blocks[l]);
            let Some(site) = ours(site, block) else { continue };
            let hook = layer.map_or(site.clone(), |l| format!("blocks.{l}.{site}"));
            let value = want.need(theirs).get(0)?;
            let got = cache.get(&hook)?;
            let value = match value.dims() {
                // Queries or keys by head, and then by position.
                [heads, t, _] if *heads != got.dim(0)? && *t == got.dim(0)? && !site.ends_with("pattern") => {
                    value.transpose(0, 1)?.contiguous()?
                }
                _ => value,
            };
            close(&format!("{name} {hook}"), got, &value, rounding.hook(&hook));
            parts_of_norms += usize::from(["scale", "normalized", "hook_out"].iter().any(|n| site.ends_with(n)));
        }
    }
    // None may be passed over unseen.
    assert!(parts_of_norms > 200, "{parts_of_norms}");
    Ok(())
}
