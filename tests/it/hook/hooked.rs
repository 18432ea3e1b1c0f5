//! HookedTransformer checkpoints: what TransformerLens computes for the committed ones, and what four trained or compiled
//! ones are known to do.

use candle_core::{D, DType, Tensor};
use pellucid::Result;
use pellucid::arch::family::read_config;
use pellucid::hook::{Cache, HookPoint, Site};
use pellucid::model::{Batch, Model, Run};
use pellucid::ops;
use serde_json::{Value, json};

use crate::bin::fixture;
use crate::bound::{Drift, drift};
use crate::help::fixtures::HOOKED;
use crate::reference::{Reference, close};

/// Invariant: The hooks of HookedTransformer models agree with TransformerLens, up to rounding.
#[test]
fn every_hook_is_transformer_lenss() -> Result<()> {
    for name in HOOKED {
        let model = Model::load(&fixture(name))?;
        let want = Reference::open(&fixture(name).join("expected.safetensors"));
        let batch = want.batch("input_ids");
        // TransformerLens's runs are in f32 as ours are.
        let rounding = drift(name, &model, &batch);
        for path in [ops::Kernels::Fused, ops::Kernels::Plain] {
            let mut cache = Cache::new(model.spec(), "*")?;
            let run = Run { kernels: Some(path), ..Run::default() };
            let out = model.run(&batch, &run, &mut [&mut cache])?;
            close(&format!("{name} {path:?} logits"), out.logits()?, &want.packed("logits"), rounding.logits());
            let (mut compared, mut seen) = (0, want.names().filter(|n| n.contains("hook_")).count());
            for point in HookPoint::all(model.spec()) {
                let hook = point.to_string();
                let Some(value) = want.get(&hook) else {
                    // The parts of attn_out are made there only when asked for, and what comes out of a norm has no hook.
                    let named = matches!(point.site, Site::Result | Site::Logits) || hook.ends_with(".hook_out");
                    assert!(named, "{name}: TransformerLens has no {hook}");
                    continue;
                };
                compared += usize::from(point.site != Site::Logits);
                if point.site.per_sequence() {
                    for i in 0..batch.sequences.len() {
                        close(
                            &format!("{name} {hook} {i}"),
                            cache.sequence(&hook, i)?,
                            &value.get(i)?,
                            rounding.allowed(point),
                        );
                    }
                    continue;
                }
                // With a norm on the embedding, theirs comes after it: where ours is the stream itself.
                if point.site == Site::Embed && model.spec().embedding.norm.is_some() {
                    let stream = "blocks.0.hook_resid_pre";
                    close(&format!("{name} {hook}"), cache.get(stream)?, &want.packed(&hook), rounding.hook(stream));
                    continue;
                }
                let value = want.packed(&hook);
                close(&format!("{name} {path:?} {hook}"), cache.get(&hook)?, &value, rounding.allowed(point));
            }
            // Norms on queries and keys, and on the embedding, have more hooks there.
            let elsewhere = ["_norm.hook", "embed.ln.hook", "unembed.hook"];
            seen -= want.names().filter(|n| elsewhere.iter().any(|e| n.contains(e))).count();
            assert_eq!(compared, seen, "{name}: TransformerLens has other hooks");
        }
    }
    Ok(())
}

/// The numbers of a JSON list of lists; null where there is none.
fn rows(value: &Value) -> Vec<Vec<Value>> {
    value.as_array().unwrap().iter().map(|row| row.as_array().unwrap().clone()).collect()
}

fn ids(row: &[Value]) -> Vec<u32> {
    row.iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn json_of(path: &std::path::Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// Programs in RASP that were compiled to weights say what they compute, for every input.
///
/// Invariant: Compiled programs and trained toy models do what they are known to do.
#[test]
fn compiled_programs_give_their_outputs() -> Result<()> {
    for name in ["tracr_reverse", "tracr_hist"] {
        let dir = shared_or_skip!(&format!("models/hooked/{name}"));
        let model = Model::load(&dir)?;
        let (config, want) = (json_of(&dir.join("config.json")), json_of(&dir.join("expected.json")));
        let (inputs, outputs) = (rows(&want["inputs_token_ids"]), rows(&want["rasp_outputs"]));
        assert_eq!(inputs.len(), outputs.len());
        let batch = Batch::of(inputs.iter().map(|row| ids(row)));
        let said = model.forward(&batch, &mut [])?.argmax(D::Minus1)?.to_vec1::<u32>()?;
        let (mut compared, mut start) = (0, 0);
        for (i, output) in outputs.iter().enumerate() {
            // Position 0 is the beginning-of-sequence token, which has no output.
            for (p, want) in output.iter().enumerate().filter(|(_, want)| !want.is_null()) {
                let said = config["output_values"][said[start + 1 + p] as usize].as_str().unwrap();
                let want = want.as_str().map_or_else(|| want.to_string(), str::to_owned);
                assert_eq!(said, want, "{name}, input {i}, position {}", p + 1);
                compared += 1;
            }
            start += inputs[i].len();
        }
        assert!(compared > 400, "{name}: only {compared} outputs");
    }
    Ok(())
}

/// Cross entropy in nats of the rows of `logits` at `targets`.
fn losses(logits: &Tensor, targets: &[u32]) -> Result<Vec<f32>> {
    let top = logits.max_keepdim(D::Minus1)?;
    let log_sum = (logits.broadcast_sub(&top)?.exp()?.sum_keepdim(D::Minus1)?.log()? + top)?;
    let at = logits.gather(&Tensor::new(targets, logits.device())?.unsqueeze(1)?, 1)?;
    Ok((log_sum - at)?.squeeze(1)?.to_dtype(DType::F32)?.to_vec1()?)
}

/// Invariant: as `compiled_programs_give_their_outputs`.
#[test]
fn addition_of_five_digits_has_its_recorded_loss() -> Result<()> {
    let dir = shared_or_skip!("models/hooked/nanda_add5digit");
    let model = Model::load(&dir)?;
    let want = json_of(&dir.join("expected.json"));
    let prompts = Reference::open(&dir.join("dataset.safetensors")).ids("tokens");
    // The sum has six digits, each predicted from the position before it.
    let (mut rows, mut digits) = (vec![], vec![]);
    for (i, prompt) in prompts.iter().enumerate() {
        rows.extend((11..17).map(|p| (i * 18 + p) as u32));
        digits.extend(&prompt[12..18]);
    }
    let rows = Tensor::new(rows, model.device())?;
    let run = |model: &Model| -> Result<Tensor> {
        Ok(model.forward(&Batch::of(prompts.clone()), &mut [])?.index_select(&rows, 0)?)
    };
    let logits = run(&model)?;
    let exact = losses(&run(&model.to_dtype(DType::F64)?)?, &digits)?;
    let losses = losses(&logits, &digits)?;
    let loss = losses.iter().map(|x| f64::from(*x)).sum::<f64>() / losses.len() as f64;
    let known = want["my_ce_2000_random"].as_f64().unwrap();
    // As far as rounding takes one of 12,000 losses, whose errors are of either sign: their mean's is smaller by the root of
    // their number.
    let apart = losses.iter().zip(&exact).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
    let allowed = Drift { drift: apart, size: 0.0 }.allowed() / (losses.len() as f64).sqrt();
    assert!((loss - known).abs() <= allowed, "{loss} {known}, allowed {allowed:e}");
    let said = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
    let right = said.iter().zip(&digits).filter(|(a, b)| a == b).count();
    // The share of 12,000 digits: as f64, right to 1e-16, and one digit more or less would be 8e-5.
    let known = want["digit_accuracy"].as_f64().unwrap();
    assert!((right as f64 / digits.len() as f64 - known).abs() < 1e-9, "{right} of {}, {known}", digits.len());
    Ok(())
}

/// Three heads attend to the token after the last occurrence of the present one, and one to the previous token, as
/// recorded; the distribution of the prompts is known, not the prompts.
///
/// Invariant: as `compiled_programs_give_their_outputs`.
#[test]
fn induction_heads_are_where_they_were_found() -> Result<()> {
    let dir = shared_or_skip!("models/hooked/nanda_induction_head_infinite");
    let model = Model::load(&dir)?;
    let want = json_of(&dir.join("expected.json"));
    // Random tokens, twice over. A linear congruential generator: the same prompts everywhere.
    const HALF: usize = 42;
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 % 128
    };
    let prompts: Vec<Vec<u32>> = (0..64).map(|_| (0..HALF).map(|_| random()).collect::<Vec<_>>().repeat(2)).collect();
    let mut cache = Cache::new(model.spec(), "pattern")?;
    let logits = model.forward(&Batch::of(prompts.clone()), &mut [&mut cache])?;
    // The mean weight that each head gives to the key `back` positions before the query.
    let mean = |layer: usize, head: usize, back: usize| -> Result<f64> {
        let mut weights = vec![];
        for i in 0..prompts.len() {
            let pattern =
                cache.sequence(&format!("blocks.{layer}.attn.hook_pattern"), i)?.get(head)?.to_vec2::<f32>()?;
            weights.extend((back..2 * HALF).map(|q| f64::from(pattern[q][q - back])));
        }
        Ok(weights.iter().sum::<f64>() / weights.len() as f64)
    };
    for (layer, head) in [0, 1].into_iter().flat_map(|l| (0..4).map(move |h| (l, h))) {
        let known = &want["heads"][format!("{layer}.{head}")];
        for (what, back) in [("induction(offset seq-1)", HALF - 1), ("prev_token", 1)] {
            let (got, known) = (mean(layer, head, back)?, known[what].as_f64().unwrap());
            // Other random prompts, so another sample of the same distribution.
            assert!((got - known).abs() < 0.005, "{layer}.{head} {what}: {got}, recorded {known}");
        }
    }
    let targets: Vec<u32> = prompts.iter().flat_map(|p| p[1..].iter().copied().chain([0])).collect();
    let losses = losses(&logits, &targets)?;
    for (what, span) in [("loss_first_half", 0..HALF - 1), ("loss_second_half", HALF - 1..2 * HALF - 1)] {
        let of = losses.chunks(2 * HALF).flat_map(|l| &l[span.clone()]).map(|x| f64::from(*x)).sum::<f64>();
        let (got, known) = (of / (span.len() * prompts.len()) as f64, want[what].as_f64().unwrap());
        // The standard error of the mean over 64 prompts is a fifth of this.
        assert!((got - known).abs() < 0.15, "{what}: {got}, recorded {known}");
    }
    Ok(())
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let text = fs_err::read_to_string(fixture("hooked_ln").join("config.json")).unwrap();
    let read = |changes: &[(&str, Value)]| {
        let mut config: Value = serde_json::from_str(&text).unwrap();
        for (key, value) in changes {
            config[key] = value.clone();
        }
        read_config(&config.to_string())
    };
    assert!(read(&[]).is_ok());
    for (changes, says) in [
        (&[("act_fn", json!("swiglu"))][..], "swiglu"),
        (&[("act_fn", json!("solu_ln")), ("gated_mlp", json!(true))], "solu_ln"),
        (&[("act_fn", json!(null))], "act_fn"),
        (&[("normalization_type", json!("BN"))], "normalization_type"),
        (&[("positional_embedding_type", json!("alibi")), ("n_heads", json!(3))], "positional_embedding_type"),
        (
            &[("positional_embedding_type", json!("alibi")), ("attention_dir", json!("bidirectional"))],
            "positional_embedding_type",
        ),
        (&[("positional_embedding_type", json!("relative_positional_bias"))], "positional_embedding_type"),
        (&[("attention_dir", json!("sideways"))], "attention_dir"),
        (&[("post_embedding_ln", json!(true))], "post_embedding_ln"),
        (&[("tie_word_embeddings", json!(true))], "tie_word_embeddings"),
        (&[("load_in_4bit", json!(true))], "load_in_4bit"),
        (&[("num_experts", json!(4))], "num_experts"),
        (&[("use_normalization_before_and_after", json!(true))], "use_normalization_before_and_after"),
        (&[("attn_only", json!(true)), ("parallel_attn_mlp", json!(true))], "parallel_attn_mlp"),
        (&[("attn_scale", json!(0.0))], "attn_scale"),
        (&[("use_local_attn", json!(true))], "window_size"),
        (&[("use_local_attn", json!(true)), ("window_size", json!(3))], "attn_types"),
        (&[("use_local_attn", json!(true)), ("window_size", json!(3)), ("attn_types", json!(["local"]))], "attn_types"),
        (
            &[
                ("use_local_attn", json!(true)),
                ("window_size", json!(3)),
                ("attn_types", json!(["local", "global"])),
                ("attention_dir", json!("bidirectional")),
            ],
            "use_local_attn",
        ),
        (&[("n_key_value_heads", json!(3))], "key/value heads"),
        (&[("curvature", json!(1))], "`curvature` = 1"),
    ] {
        let error = read(changes).err().unwrap_or_else(|| panic!("{changes:?} is accepted"));
        assert!(error.message().contains(says), "{changes:?}: {error}");
    }
}

/// Fields that are not set are as TransformerLens sets them.
#[test]
fn fields_that_are_absent_have_transformer_lenss_defaults() {
    let least = json!({"n_layers": 1, "d_model": 12, "n_ctx": 5, "d_head": 4, "d_vocab": 7, "act_fn": "relu"});
    let mut same = least.clone();
    for (key, value) in [
        ("n_heads", json!(3)),
        ("d_mlp", json!(48)),
        ("d_vocab_out", json!(-1)),
        ("eps", json!(1e-5)),
        ("normalization_type", json!("LN")),
        ("attn_scale", json!(2.0)),
        ("attention_dir", json!("causal")),
        ("positional_embedding_type", json!("standard")),
        ("attn_only", json!(false)),
        ("gated_mlp", json!(false)),
        ("dtype", json!("torch.float32")),
        ("seed", json!(3)),
    ] {
        same[key] = value;
    }
    assert_eq!(read_config(&least.to_string()).unwrap().1, read_config(&same.to_string()).unwrap().1);
}
