//! Processed weights: TransformerLens's own, and a model that says what it said before.

use std::collections::HashMap;

use candle_core::{D, DType, Device, Tensor};
use pellucid::Result;
use pellucid::arch::spec::{AddedTo, Arrangement, Gain, NormKind, Spec};
use pellucid::arch::weights::slots;
use pellucid::hook::{Cache, HookPoint, Site};
use pellucid::model::weights::{BlockWeights, FeedForwardWeights, NeuronWeights};
use pellucid::model::{Batch, Model, Processing, Weights};
use pellucid::ops::linear::Linear;
use serde_json::{Value, json};

use crate::bin::{Place, fixture};
use crate::bound::{Drift, Drifts, drift};
use crate::help::fixtures::every_model;
use crate::reference::{close, max_diff};

const IDS: [u32; 9] = [3, 14, 15, 92, 65, 35, 89, 79, 32];

fn log_probabilities(logits: &Tensor) -> Result<Tensor> {
    let logits = logits.to_dtype(DType::F64)?;
    let centred = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)?;
    Ok(centred.broadcast_sub(&centred.exp()?.sum_keepdim(D::Minus1)?.log()?)?)
}

/// Why a way to process is not defined for a model, read from its spec alone and in other words than the code's.
fn undefined(spec: &Spec, how: Processing) -> bool {
    let apart = spec.embedding.positions.is_some_and(|p| p.added_to == AddedTo::QueriesAndKeys);
    let blocks = &spec.blocks;
    let pre = |b: &pellucid::arch::spec::Block| {
        let own = b.mlp.as_ref().filter(|_| b.arrangement != Arrangement::ParallelSharedNorm);
        let mut norms = vec![b.attention.pre_norm];
        norms.extend(own.map(|m| m.pre_norm));
        norms
    };
    match how {
        Processing::FoldLn => {
            apart || spec.final_norm.is_none() && blocks.iter().flat_map(pre).all(|norm| norm.is_none())
        }
        Processing::CenterWriting => {
            let layer = |norm: Option<pellucid::arch::spec::Norm>| norm.is_some_and(|n| n.kind == NormKind::Layer);
            let posts = blocks.iter().any(|b| b.attention.post_norm.is_some());
            let reads = blocks.iter().flat_map(pre).all(layer) && layer(spec.final_norm);
            apart || !reads || posts || spec.embedding.norm.is_some()
        }
        Processing::CenterUnembed => spec.unembedding.cap.is_some(),
        Processing::FoldValueBiases => {
            blocks.iter().all(|b| !b.attention.inner.qkv_bias) || blocks[0].attention.inner.clip_qkv.is_some()
        }
    }
}

/// Invariant: as `processed_weights_are_transformer_lenss`.
#[test]
fn probabilities_stay_the_same_or_it_is_refused() -> Result<()> {
    let mut defined = HashMap::new();
    for name in every_model() {
        let model = Model::load(&fixture(name))?;
        let batch = Batch::of([IDS.to_vec(), IDS[2..7].to_vec()]);
        let logits = model.forward(&batch, &mut [])?;
        let before = log_probabilities(&logits)?;
        let all: Vec<Processing> = Processing::ALL.into_iter().filter(|how| !undefined(model.spec(), *how)).collect();
        for how in Processing::ALL.map(|how| vec![how]).into_iter().chain([all]) {
            let what = format!("{name} {how:?}");
            if let [one] = how[..]
                && undefined(model.spec(), one)
            {
                let error = model.clone().processed(&how).unwrap_err();
                assert!(error.message().contains(&format!("{one} is not defined for this model")), "{what}: {error}");
                continue;
            }
            let processed = model.clone().processed(&how)?;
            how.iter().for_each(|h| *defined.entry(h.name()).or_insert(0) += 1);
            let got = processed.forward(&batch, &mut [])?;
            // Two runs, each with the rounding of its own weights; a log probability is a logit less a mean of logits.
            let allowed = drift(name, &model, &batch).metric() + Drifts::of(&processed, &batch)?.metric();
            close(&what, &log_probabilities(&got)?, &before, allowed);
            assert_eq!(processed.spec().processed, how, "{what}");
            assert!(how.is_empty() || serde_json::to_value(processed.spec()).unwrap()["processed"] == json!(how));
            check(&what, &processed, &batch)?;
            // Again, nothing is left to do.
            let again = processed.clone().processed(&how)?;
            assert_eq!(again.spec(), processed.spec(), "{what}");
            close(&what, &log_probabilities(&again.forward(&batch, &mut [])?)?, &before, allowed);
        }
    }
    // Each is defined somewhere, so that it was tried.
    assert!(Processing::ALL.iter().all(|how| defined[how.name()] >= 10), "{defined:?}");
    Ok(())
}

/// That the processed model is what each way promises, and that spec and weights still belong together.
fn check(what: &str, model: &Model, batch: &Batch) -> Result<()> {
    let (spec, w) = (model.spec(), model.weights());
    let count: usize = slots(spec).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    assert_eq!(count, spec.n_params(), "{what}");
    for (block, w) in spec.blocks.iter().zip(&w.blocks) {
        let a = &block.attention.inner;
        assert_eq!([&w.q, &w.k, &w.v].map(|m| m.bias.is_some()), [a.qkv_bias; 3], "{what}");
        assert_eq!(w.o.bias.is_some(), a.out_bias, "{what}");
        assert_eq!(w.ln1.as_ref().map(|n| n.meaning), block.attention.pre_norm.map(|n| n.gain), "{what}");
        assert_eq!(w.ln1.as_ref().map(|n| n.bias.is_some()), block.attention.pre_norm.map(|n| n.bias), "{what}");
        let (Some(mlp), Some(m)) = (&block.mlp, &w.mlp) else { continue };
        let neurons = mlp.inner.neurons();
        for w in sets(&m.inner) {
            assert_eq!(w.input.bias.is_some(), neurons.bias, "{what}");
            assert_eq!(w.output.bias.is_some(), neurons.bias || neurons.post_bias, "{what}");
        }
        assert_eq!(m.ln2.as_ref().map(|n| n.meaning), mlp.pre_norm.map(|n| n.gain), "{what}");
    }
    assert_eq!(w.unembed.bias.is_some(), spec.unembedding.bias, "{what}");
    let rounding = Drifts::of(model, batch)?;
    let zero = |x: &Tensor| max_diff(x, &x.zeros_like().unwrap());
    for how in &spec.processed {
        match how {
            Processing::FoldLn => {
                let pre = spec.blocks.iter().filter_map(|b| b.attention.pre_norm).chain(spec.final_norm);
                assert!(pre.into_iter().all(|n| n.gain == Gain::None && !n.bias), "{what}");
            }
            Processing::CenterWriting => {
                let mut cache = Cache::new(spec, "resid_post")?;
                model.forward(batch, &mut [&mut cache])?;
                for (point, values) in cache.iter() {
                    let mean = zero(&values[0].mean_keepdim(1)?);
                    // The mean of a row without rounding is that of what weights lost when they were rounded.
                    assert!(mean <= rounding.at(point).allowed(), "{what} {point}: {mean}");
                }
            }
            Processing::CenterUnembed => {
                let mean = zero(&model.forward(batch, &mut [])?.mean_keepdim(1)?);
                assert!(mean <= rounding.at(HookPoint::global(Site::Logits)).allowed(), "{what}: {mean}");
            }
            Processing::FoldValueBiases => {
                assert!(w.blocks.iter().filter_map(|b| b.v.bias.as_ref()).all(|b| zero(b) == 0.0), "{what}");
            }
        }
    }
    Ok(())
}

/// The MLP, or every expert.
fn sets(inner: &FeedForwardWeights) -> Vec<&NeuronWeights> {
    match inner {
        FeedForwardWeights::Dense(w) => vec![w],
        FeedForwardWeights::Experts(w) => w.experts.iter().collect(),
    }
}

/// A router has no bias, so what the bias of a norm gives it has nowhere to go.
#[test]
fn a_bias_before_experts_is_not_folded() -> Result<()> {
    let model = Model::load(&fixture("mixtral"))?;
    let (mut spec, mut weights) = (model.spec().clone(), model.weights().clone());
    let norm = weights.blocks[0].mlp.as_mut().unwrap().ln2.as_mut().unwrap();
    norm.bias = Some(Tensor::ones(spec.d_model, DType::F32, &Device::Cpu)?);
    spec.blocks[0].mlp.as_mut().unwrap().pre_norm.as_mut().unwrap().bias = true;
    let error = Model::new(spec, weights)?.processed(&[Processing::FoldLn]).unwrap_err();
    assert!(error.message().contains("fold-ln is not defined for this model: its routers have no bias"), "{error}");
    Ok(())
}

/// A gated MLP whose biases HookedTransformer has elsewhere keeps those beside the ones that a norm gives it.
#[test]
fn a_bias_before_gates_is_folded_beside_theirs() -> Result<()> {
    let model = Model::load(&fixture("hooked_rms"))?;
    let (mut spec, mut weights) = (model.spec().clone(), model.weights().clone());
    let bias = Tensor::arange(0f32, spec.d_model as f32, &Device::Cpu)?.affine(0.02, -0.3)?;
    for (spec, w) in spec.blocks.iter_mut().zip(&mut weights.blocks) {
        spec.mlp.as_mut().unwrap().pre_norm.as_mut().unwrap().bias = true;
        w.mlp.as_mut().unwrap().ln2.as_mut().unwrap().bias = Some(bias.clone());
    }
    let (model, batch) = (Model::new(spec, weights)?, Batch::one(IDS));
    let processed = model.clone().processed(&[Processing::FoldLn])?;
    check("gates", &processed, &batch)?;
    let [before, after] =
        [&model, &processed].map(|m| log_probabilities(&m.forward(&batch, &mut []).unwrap()).unwrap());
    // As above.
    let allowed = Drifts::of(&model, &batch)?.metric() + Drifts::of(&processed, &batch)?.metric();
    close("gates", &after, &before, allowed);
    Ok(())
}

/// Every tensor of `a` beside that of `b`.
fn pairs(a: &Weights, b: &Weights) -> Result<Vec<(String, Tensor, Tensor)>> {
    let mut all = vec![("embed".to_owned(), a.embed.tensor()?, b.embed.tensor()?)];
    let both = |(a, b): (&Tensor, &Tensor)| (a.clone(), b.clone());
    let positions = a.positions.as_ref().zip(b.positions.as_ref()).map(both);
    all.extend(positions.map(|(a, b)| ("positions".into(), a, b)));
    let mut maps = vec![("unembed".to_owned(), &a.unembed, &b.unembed)];
    for (l, (a, b)) in a.blocks.iter().zip(&b.blocks).enumerate() {
        fn own(x: &BlockWeights) -> Vec<&Linear> {
            let mut maps = vec![&x.q, &x.k, &x.v, &x.o];
            let sets = x.mlp.iter().flat_map(|m| sets(&m.inner));
            maps.extend(sets.flat_map(|m| [Some(&m.input), m.linear.as_ref(), Some(&m.output)]).flatten());
            maps
        }
        maps.extend(own(a).into_iter().zip(own(b)).enumerate().map(|(i, (a, b))| (format!("block {l} map {i}"), a, b)));
    }
    for (name, a, b) in maps {
        all.push((name.clone(), a.weight.tensor()?, b.weight.tensor()?));
        assert_eq!(a.bias.is_some(), b.bias.is_some(), "{name}");
        let biases = a.bias.as_ref().zip(b.bias.as_ref()).map(both);
        all.extend(biases.map(|(a, b)| (format!("{name} bias"), a, b)));
    }
    Ok(all)
}

/// `processed.safetensors` is what TransformerLens made of these models, in all ways that it knows for each.
///
/// Invariant: Processed weights are TransformerLens's, and leave the probabilities unchanged.
#[test]
fn processed_weights_are_transformer_lenss() -> Result<()> {
    use Processing::*;
    for (name, how, norm) in [
        ("hooked_attn_only", vec![CenterUnembed, FoldValueBiases], None),
        ("hooked_ln", Processing::ALL.to_vec(), Some("LNPre")),
        ("hooked_lnpre", vec![CenterWriting, CenterUnembed, FoldValueBiases], Some("LNPre")),
        ("hooked_rms", vec![FoldLn, CenterUnembed, FoldValueBiases], Some("RMSPre")),
    ] {
        let ours = Model::load(&fixture(name))?.processed(&how)?;
        let mut config: Value = serde_json::from_slice(&fs_err::read(fixture(name).join("config.json"))?).unwrap();
        config["normalization_type"] = json!(norm);
        let tensors = candle_core::safetensors::load(fixture(name).join("processed.safetensors"), &Device::Cpu)?;
        let theirs = Model::from_tensors(&config.to_string(), &tensors)?;
        let unprocessed = Model::load(&fixture(name))?;
        let mut changed = 0;
        // Theirs are f32 sums as ours are, and how far those round is what they are beside the same in f64.
        let exact = Model::load(&fixture(name))?.to_dtype(DType::F64)?.processed(&how)?;
        let exact = pairs(ours.weights(), exact.weights())?;
        for ((what, a, b), (_, _, exact)) in pairs(ours.weights(), theirs.weights())?.into_iter().zip(exact) {
            close(&format!("{name} {what}"), &a, &b, Drift::of(&a, &exact)?.allowed());
        }
        for (_, a, b) in pairs(unprocessed.weights(), theirs.weights())? {
            // A hundred times what rounding makes of weights of size one.
            changed += usize::from(max_diff(&a, &b) > 1e-3);
        }
        assert!(changed > 4, "{name}: only {changed} tensors were to change");
    }
    Ok(())
}

#[test]
fn the_command_line_processes_and_provenance_says_so() {
    let place = Place::new();
    let model = crate::bin::model("gpt2");
    let lens = ["lens", "-m", &model, "--ids", "1,2,3", "--at", "blocks.1.hook_resid_post", "--format", "json"];
    let probabilities = |done: &crate::bin::Done| -> Vec<f64> {
        let rows: Value = serde_json::from_str(&done.stdout).unwrap();
        rows.as_array().unwrap().iter().map(|row| row["prob"].as_f64().unwrap()).collect()
    };
    let plain = place.ok(lens.iter().chain(&["--out", "a"]));
    let all = "fold-value-biases,center-writing,fold-ln,center-unembed";
    let processed = place.ok(lens.iter().chain(&["--process", all, "--out", "b"]));
    let (a, b) = (probabilities(&plain), probabilities(&processed));
    assert!(!a.is_empty() && a.len() == b.len());
    // A probability moves by at most half as far as the logits do.
    let rounding = drift("gpt2", &Model::load(&fixture("gpt2")).unwrap(), &Batch::one([1, 2, 3])).logits();
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= rounding), "{a:?} {b:?}");
    let bytes = place.read("b/logit_lens.parquet");
    let text = String::from_utf8_lossy(&bytes);
    let ways = r#""processed":["fold-ln","center-writing","center-unembed","fold-value-biases"]"#;
    assert!(text.contains(ways), "provenance must say how the weights were processed");
    assert!(!String::from_utf8_lossy(&place.read("a/logit_lens.parquet")).contains("\"processed\""));
    // Each request has a folder of its own.
    place.ok(lens);
    place.ok(lens.iter().chain(&["--process", "fold-ln"]));
    assert_eq!(fs_err::read_dir(place.path("runs")).unwrap().count(), 2);
    place.refused(lens.iter().chain(&["--process", "fold-nl"]), 2, "did you mean `fold-ln`?");
    let llama = crate::bin::model("llama");
    let refused = ["lens", "-m", &llama, "--ids", "1", "--process", "center-writing"];
    place.refused(refused, 2, "center-writing is not defined for this model: its RMS norms do not take away the mean");
}
