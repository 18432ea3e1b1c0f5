//! Every number against Hugging Face's: fixtures of random weights, and small models that were really trained.

use std::path::Path;

use candle_core::{DType, Tensor};
use pellucid::Result;
use pellucid::hook::{Cache, Edit};
use pellucid::model::{Batch, Model, Run};
use pellucid::ops;

use crate::bound::{Drift, Drifts, drift};
use crate::help::fixtures::{FIXTURES, VARIANTS};
use crate::model::modules;
use crate::reference::{Reference, close, same_bits};
use crate::shared;

/// The committed fixtures, and the larger ones where the reference data is there.
pub fn fixture_dirs() -> Vec<std::path::PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut dirs: Vec<_> = FIXTURES.iter().chain(VARIANTS).map(|f| own.join(f)).collect();
    if let Some(shared) = shared::shared("fixtures") {
        dirs.extend(FIXTURES.iter().map(|f| shared.join(f)));
    }
    dirs
}

/// Invariant: Logits, hidden states, attention patterns and module outputs are Hugging Face's, on the fused and on the plain
/// path, up to the rounding of f32 at each site.
#[test]
fn logits_hidden_states_and_patterns_are_hugging_faces() -> Result<()> {
    for dir in fixture_dirs() {
        let what = dir.display();
        let model = Model::load(&dir)?;
        let want = Reference::open(&dir.join("expected.safetensors"));
        let batch = want.batch("input_ids");
        // Theirs is a run in f32, as ours are.
        let rounding = drift(&what.to_string(), &model, &batch);
        for path in [ops::Kernels::Fused, ops::Kernels::Plain] {
            let mut cache = Cache::new(model.spec(), "*")?;
            let run = Run { kernels: Some(path), ..Run::default() };
            let out = model.run(&batch, &run, &mut [&mut cache])?;
            let of = |hook: &str, got: &Tensor, want: &Tensor| {
                close(&format!("{what} {path:?} {hook}"), got, want, rounding.hook(hook));
            };
            of("logits", out.logits()?, &want.packed("logits"));
            let n = model.spec().n_layers();
            for layer in 0..=n {
                let hook = match layer < n {
                    true => format!("blocks.{layer}.hook_resid_pre"),
                    false => "ln_final.hook_out".to_owned(),
                };
                of(&hook, cache.get(&hook)?, &want.packed(&format!("hidden_states.{layer}")));
            }
            for layer in 0..n {
                let (hook, tensor) = (format!("blocks.{layer}.attn.hook_pattern"), format!("attentions.{layer}"));
                for i in 0..batch.sequences.len() {
                    of(&hook, cache.sequence(&hook, i)?, &want.need(&tensor).get(i)?);
                }
            }
            modules::compare(&what.to_string(), model.spec(), &cache, &want, &rounding)?;
        }
    }
    Ok(())
}

/// Hugging Face pads the shorter prompt on the left; we pack. The real tokens' logits are the same.
#[test]
fn padded_rows_equal_our_packed_rows() -> Result<()> {
    for dir in fixture_dirs() {
        let model = Model::load(&dir)?;
        let want = Reference::open(&dir.join("expected.safetensors"));
        let (ids, mask) = (want.ids("padded.input_ids"), want.ids("padded.attention_mask"));
        let real: Vec<Vec<u32>> = (ids.iter().zip(&mask))
            .map(|(ids, mask)| ids.iter().zip(mask).filter(|(_, m)| **m == 1).map(|(id, _)| *id).collect())
            .collect();
        let logits = model.forward(&Batch::of(real.clone()), &mut [])?;
        let allowed = Drifts::of(&model, &Batch::of(real.clone()))?.logits();
        let mut row = 0;
        for (i, ids) in real.iter().enumerate() {
            let padded = want.need("padded.logits").get(i)?;
            let padded = padded.narrow(0, padded.dim(0)? - ids.len(), ids.len())?;
            close(&format!("{} row {i}", dir.display()), &logits.narrow(0, row, ids.len())?, &padded, allowed);
            row += ids.len();
        }
    }
    Ok(())
}

/// The same model in the older spelling of its config.
///
/// Invariant: Both spellings of `config.json` give the same model.
#[test]
fn both_config_spellings_mean_the_same() -> Result<()> {
    for dir in fixture_dirs() {
        let read = |file: &str| std::fs::read_to_string(dir.join(file));
        let (Ok(new), Ok(old)) = (read("config.json"), read("config.v4.json")) else { continue };
        let (_, new) = pellucid::arch::family::read_config(&new)?;
        let (_, old) = pellucid::arch::family::read_config(&old)?;
        assert_eq!(new, old, "{}", dir.display());
    }
    Ok(())
}

/// Settings that change what a model computes, and that no forward pass here implements.
#[test]
fn what_is_not_supported_is_refused_by_name() -> Result<()> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let read = |fixture: &str, key: &str, value: serde_json::Value| {
        let text = std::fs::read_to_string(own.join(fixture).join("config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config[key] = value;
        pellucid::arch::family::read_config(&config.to_string())
    };
    for (fixture, key, value) in [
        ("opt", "do_layer_norm_before", false.into()),
        ("opt", "word_embed_proj_dim", 8.into()),
        ("falcon_mqa", "alibi", true.into()),
        ("falcon_mqa", "parallel_attn", false.into()),
        ("bloom", "apply_residual_connection_post_layernorm", true.into()),
        ("gemma", "use_bidirectional_attention", true.into()),
        ("phi", "qk_layernorm", true.into()),
        ("stablelm", "qk_layernorm", true.into()),
        ("cohere", "use_qk_norm", true.into()),
        ("gpt_bigcode", "add_cross_attention", true.into()),
        ("smollm3", "no_rope_layers", vec![1, 0].into()),
        ("qwen2", "layer_types", vec!["linear_attention"; 2].into()),
        ("mistral", "sliding_window", 0.into()),
        ("qwen3_moe", "decoder_sparse_step", 0.into()),
        ("mixtral", "num_local_experts", 0.into()),
        ("olmoe", "num_local_experts", 5.into()),
    ] {
        let error = read(fixture, key, value).err().unwrap_or_else(|| panic!("{fixture} accepts {key}"));
        let named = error.message().contains(key) || error.message().contains("linear_attention");
        assert!(named, "{fixture} {key}: {error}");
    }
    for fixture in FIXTURES.iter().chain(VARIANTS) {
        let error = read(fixture, "curvature", 1.into()).err().unwrap_or_else(|| panic!("{fixture} is open"));
        assert!(error.message().contains("`curvature` = 1"), "{fixture}: {error}");
    }
    Ok(())
}

/// Sizes that a damaged file might name: they are refused before anything is made of them.
#[test]
fn impossible_mixtures_are_refused() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let text = std::fs::read_to_string(own.join("mixtral/config.json")).unwrap();
    for (key, value, says) in [
        ("num_experts_per_tok", 5, "through 5 of 4 experts"),
        ("num_local_experts", 1 << 20, "no model has 2097152 experts"),
    ] {
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config[key] = value.into();
        let error = pellucid::arch::family::read_config(&config.to_string()).err().unwrap();
        assert!(error.message().contains(says), "{error}");
    }
}

/// Experts whose maps are joined in one tensor, as some programs write them. No released model of these families has that.
#[test]
fn joined_experts_are_refused_by_name() -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qwen3_moe");
    let config = std::fs::read_to_string(dir.join("config.json"))?;
    let mut tensors = candle_core::safetensors::load(dir.join("model.safetensors"), &candle_core::Device::Cpu)?;
    for l in 0..2 {
        let experts = format!("model.layers.{l}.mlp.experts");
        let mut take = |map: &str| {
            let each = (0..4).map(|e| tensors.remove(&format!("{experts}.{e}.{map}_proj.weight")).unwrap());
            Tensor::stack(&each.collect::<Vec<_>>(), 0)
        };
        let (gate_up, down) = (Tensor::cat(&[take("gate")?, take("up")?], 1)?, take("down")?);
        tensors.insert(format!("{experts}.gate_up_proj"), gate_up);
        tensors.insert(format!("{experts}.down_proj"), down);
    }
    let error = Model::from_tensors(&config, &tensors).err().unwrap();
    assert!(error.message().contains("no tensor `model.layers.0.mlp.experts.0.gate_proj.weight`"), "{error}");
    assert!(error.hint_text().unwrap().contains("`model.layers.0.mlp.experts."), "{error:?}");
    Ok(())
}

/// d (logit of the answer - logit of the foil) / d resid_pre, through an edit, on both paths.
///
/// Invariant: Gradients through hooks are Hugging Face's, on both paths.
#[test]
fn gradients_through_hooks_are_hugging_faces() -> Result<()> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in VARIANTS.iter().chain(FIXTURES) {
        let dir = match VARIANTS.contains(name) {
            true => own.join(name),
            false => shared_or_skip!(&format!("fixtures/{name}")),
        };
        let model = Model::load(&dir)?;
        let want = Reference::open(&dir.join("expected.safetensors"));
        let batch = Batch::one(want.ids("input_ids")[0].clone());
        let answer_foil: Vec<u32> = want.need("grad.answer_foil").to_dtype(DType::U32)?.to_vec1()?;
        let gradient = |model: &Model, path, layer: usize| -> Result<Tensor> {
            let run = Run { kernels: Some(path), ..Run::default() };
            let site = format!("blocks.{layer}.hook_resid_pre");
            let mut cache = Cache::new(model.spec(), &site)?;
            model.run(&batch, &run, &mut [&mut cache])?;
            let resid = candle_core::Var::from_tensor(cache.get(&site)?)?;
            let mut put = Edit::set(model.spec(), &site, resid.as_tensor().clone())?;
            let out = model.run(&batch, &run, &mut [&mut put])?;
            let last = out.logits()?.get(out.rows.len() - 1)?;
            let metric = (last.get(answer_foil[0] as usize)? - last.get(answer_foil[1] as usize)?)?;
            Ok(metric.backward()?.get(&resid).expect("the gradient reaches the edited stream").clone())
        };
        let exact = model.to_dtype(DType::F64)?;
        for layer in 0..model.spec().n_layers() {
            let want = want.need(&format!("grad.hidden_states.{layer}")).get(0)?;
            let plain = gradient(&model, ops::Kernels::Plain, layer)?;
            // Theirs is of a run in f32, as ours are.
            let allowed = Drift::of(&plain, &gradient(&exact, ops::Kernels::Plain, layer)?)?.allowed();
            close(&format!("{name} plain gradient {layer}"), &plain, &want, allowed);
            let fused = gradient(&model, ops::Kernels::Fused, layer)?;
            close(&format!("{name} fused gradient {layer}"), &fused, &want, allowed);
        }
    }
    Ok(())
}

/// Invariant: On trained models they agree within the rounding of f32, the logit lens included.
#[test]
fn trained_models_give_the_published_numbers() -> Result<()> {
    for name in ["tinystories-656k", "stories260k", "nano-gpt-sort"] {
        let dir = shared_or_skip!(&format!("models/{name}"));
        let model = Model::load(&dir)?;
        let want = Reference::open(&dir.join("expected.safetensors"));
        for p in 0.. {
            let Some(logits) = want.get(&format!("p{p}.logits_f64")) else { break };
            let get = |what: &str| want.need(&format!("p{p}.{what}"));
            let mut cache = Cache::new(model.spec(), "resid_pre,resid_post,pattern,ln_final.out")?;
            let batch = want.batch(&format!("p{p}.input_ids"));
            let got = model.forward(&batch, &mut [&mut cache])?;
            // Theirs is in f64. How far a run in f32 may be from it, theirs in f32 beside it says of the logits, and ours of the rest.
            let theirs = Drift::of(get("logits_f32"), logits)?;
            let rounding = Drifts::of(&model, &batch)?;
            let allowed = theirs.allowed();
            close(&format!("{name} logits"), &got, logits, allowed);
            let hidden = get("hidden_states_f64");
            let patterns = get("attentions_f64");
            let n = model.spec().n_layers();
            let lens = get("logit_lens_last_pos_f64");
            let t = got.dim(0)?;
            for layer in 0..n {
                let hook = format!("blocks.{layer}.hook_resid_pre");
                let resid = cache.get(&hook)?;
                close(&format!("{name} hidden {layer}"), resid, &hidden.get(layer)?, rounding.hook(&hook));
                let hook = format!("blocks.{layer}.attn.hook_pattern");
                close(
                    &format!("{name} pattern {layer}"),
                    cache.get(&hook)?,
                    &patterns.get(layer)?,
                    rounding.hook(&hook),
                );
                let decoded = model.decode(&resid.narrow(0, t - 1, 1)?)?;
                // A lens on an earlier stream has the rounding of the norm and the unembedding, as the logits have.
                let of_lens = rounding.hook("logits").max(allowed);
                close(&format!("{name} lens {layer}"), &decoded, &lens.get(layer)?.unsqueeze(0)?, of_lens);
            }
            let hook = "ln_final.hook_out";
            close(&format!("{name} last"), cache.get(hook)?, &hidden.get(n)?, rounding.hook(hook));
            // Law 5: the lens at the last stream is the model.
            let decoded = model.decode(cache.get(&format!("blocks.{}.hook_resid_post", n - 1))?)?;
            same_bits(&format!("{name} last lens"), &decoded, &got);
        }
    }
    Ok(())
}

/// Every intermediate of block 0, as another implementation published them (llm-viz's reference run of nano-gpt).
#[test]
fn nano_gpt_sort_gives_the_published_activations() -> Result<()> {
    let dir = shared_or_skip!("models/nano-gpt-sort");
    let model = Model::load(&dir)?;
    let want = Reference::open(&dir.join("published_activations.safetensors"));
    let ids: Vec<Vec<u32>> = want.need("idx").to_dtype(DType::U32)?.to_vec2()?;
    let mut cache = Cache::new(model.spec(), "*")?;
    model.forward(&Batch::of(ids.clone()), &mut [&mut cache])?;
    let packed = |name: &str| want.packed(name);
    let published = |name: &str| want.need(name);
    let heads = |name: &str| -> Result<Tensor> {
        // Published [b, h, p, e]; ours t, h, e.
        Ok(want.need(name).transpose(1, 2)?.contiguous()?.flatten(0, 1)?)
    };
    // Theirs is a run in f32, as ours is.
    let rounding = Drifts::of(&model, &Batch::of(ids.clone()))?;
    for (site, want) in [
        ("hook_embed", packed("tok_emb")),
        ("blocks.0.hook_resid_pre", packed("x")),
        ("blocks.0.ln1.hook_out", packed("ln1")),
        ("blocks.0.attn.hook_q", heads("q")?),
        ("blocks.0.attn.hook_k", heads("k")?),
        ("blocks.0.attn.hook_v", heads("v")?),
        ("blocks.0.attn.hook_z", packed("y")),
        ("blocks.0.hook_attn_out", packed("yProj")),
        ("blocks.0.hook_resid_mid", packed("attnResid")),
        ("blocks.0.ln2.hook_out", packed("ln2")),
        ("blocks.0.mlp.hook_pre", packed("fc")),
        ("blocks.0.mlp.hook_post", packed("gelu")),
        ("blocks.0.hook_mlp_out", packed("mlp")),
        ("blocks.0.hook_resid_post", packed("mlpResid")),
        ("blocks.1.hook_resid_post", packed("block1")),
        ("blocks.2.hook_resid_post", packed("block2")),
        ("ln_final.hook_out", packed("ln_f")),
        ("logits", packed("lm_head")),
    ] {
        close(site, cache.get(site)?, &want, rounding.hook(site));
    }
    for i in 0..ids.len() {
        let of = |site: &str, want: &str| -> Result<()> {
            let hook = format!("blocks.0.attn.{site}");
            close(&hook, cache.sequence(&hook, i)?, &published(want).get(i)?, rounding.hook(&hook));
            Ok(())
        };
        of("hook_attn_scores", "att")?;
        of("hook_pattern", "attSm")?;
        let pos = want.need("pos_emb").get(0)?;
        same_bits("hook_pos_embed", &cache.get("hook_pos_embed")?.narrow(0, i * pos.dim(0)?, pos.dim(0)?)?, &pos);
    }
    Ok(())
}

#[test]
fn stories260k_tells_its_story() -> Result<()> {
    use pellucid::model::{Growing, Sequence};
    use pellucid::text::Tokenizer;
    let dir = shared_or_skip!("models/stories260k");
    let model = Model::load(&dir)?;
    let tokenizer = Tokenizer::load(&dir)?.expect("it has a tokenizer");
    let keep = Run { keep_prefixes: true, ..Run::default() };
    let begun = model.run(&Batch::one([1]), &keep, &mut [])?;
    let first = |out: &pellucid::model::Output| Ok::<_, pellucid::Error>(out.logits()?.argmax(1)?.to_vec1::<u32>()?[0]);
    let mut growing = Growing::after(model.spec(), &begun.prefixes[0], 200)?;
    let mut ids = vec![1, first(&begun)?];
    while ids.len() <= 200 {
        let next = Sequence::after(growing.prefix()?, [ids[ids.len() - 1]]);
        let out = model.run(&Batch { sequences: vec![next] }, &keep, &mut [])?;
        ids.push(first(&out)?);
        growing.push(&out.prefixes[0])?;
    }
    let text = tokenizer.decode(&ids[1..])?;
    let start = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she \
                 saw a big, red ball. She wanted to play with it, but it was too high.";
    assert!(text.trim_start().starts_with(start), "{text}");
    Ok(())
}
