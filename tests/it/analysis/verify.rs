//! `pellucid verify`: every model obeys the laws, a model that does not is found out, and references are judged by f64.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use pellucid::Result;
use pellucid::analysis::verify::{Dump, first_wrong, own_prompts, verify, verify_reference};
use pellucid::analysis::{ReferenceRow, VerifyRow};
use pellucid::arch::Spec;
use pellucid::arch::spec::{Activation, Mask, Position};
use pellucid::hook::{HookPoint, Site};
use pellucid::model::weights::FeedForwardWeights;
use pellucid::model::{Batch, Model, Run, Weights};
use pellucid::ops;
use pellucid::ops::rounding::{TIMES, unit};
use pellucid::text::ModelSource;

use crate::bin::{Place, fixture};
use crate::help::fixtures::{FIXTURES, every_model};
use crate::reference::Reference;

fn verified(model: &Model) -> Vec<VerifyRow> {
    verify(model, &own_prompts(model.spec()), &()).unwrap()
}

fn of<'a>(rows: &'a [VerifyRow], law: &str) -> &'a VerifyRow {
    rows.iter().find(|row| row.law.contains(law)).unwrap_or_else(|| panic!("there is no law \"{law}\""))
}

/// Laws that these rows break.
fn broken(rows: &[VerifyRow]) -> Vec<&str> {
    rows.iter().filter(|row| row.verdict == "failed").map(|row| row.law.as_str()).collect()
}

for_every_model! {
    /// Invariant: `verify` checks the laws on any model: all models at hand obey them, and a broken one is found out.
    fn every_model_obeys_the_laws = |name| obeys_the_laws(&fixture(name));
}

/// Invariant: as `every_model_obeys_the_laws`.
#[test]
fn trained_models_obey_the_laws() -> Result<()> {
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo")];
    if let Some(shared) = crate::shared::shared("models") {
        dirs.extend(["tinystories-656k", "stories260k", "nano-gpt-sort"].map(|name| shared.join(name)));
        for entry in std::fs::read_dir(shared.join("hooked"))? {
            dirs.push(entry?.path());
        }
    }
    dirs.iter().try_for_each(|dir| obeys_the_laws(dir))
}

fn obeys_the_laws(dir: &Path) -> Result<()> {
    let model = Model::load(dir)?;
    for model in [model.clone(), model.to_dtype(DType::F64)?] {
        let rows = verified(&model);
        for row in &rows {
            assert_ne!(row.verdict, "failed", "{} {:?}: {row:?}", dir.display(), model.dtype());
            assert_eq!(row.verdict == "not applicable", row.difference.is_none());
            assert_eq!(row.verdict == "ok", row.compared > 0, "{}: {row:?}", dir.display());
        }
        let n_a = |law| of(&rows, law).verdict == "not applicable";
        let causal = model.spec().is_causal();
        assert_eq!(n_a("before it"), !causal, "{}", dir.display());
        assert_eq!(n_a("one token at a time"), !causal, "{}", dir.display());
        assert_eq!(n_a("plain path"), model.dtype() == DType::F64, "{}", dir.display());
    }
    Ok(())
}

/// A mask other than the spec's: queries see the future, so everything that forbids it is broken, and nothing else.
///
/// Invariant: as `every_model_obeys_the_laws`.
#[test]
fn a_model_that_sees_the_future_is_found_out() -> Result<()> {
    let model = Model::load(&fixture("llama"))?;
    let mut weights = model.weights().clone();
    weights.blocks[1].scoring.mask = Mask::Bidirectional;
    let rows = verified(&Model::new(model.spec().clone(), weights)?);
    let laws = [
        "patterns are 0 where the mask hides the key",
        "a token changes nothing before it",
        "one token at a time is all at once",
    ];
    assert_eq!(broken(&rows), laws);
    assert_eq!(of(&rows, "patterns are 0").hook.as_deref(), Some("blocks.1.attn.hook_pattern"));
    assert_eq!(of(&rows, "before it").layer, Some(1));
    Ok(())
}

/// Invariant: as `every_model_obeys_the_laws`.
#[test]
fn a_weight_that_is_not_a_number_is_found_out() -> Result<()> {
    let model = Model::load(&fixture("gpt2"))?;
    let mut weights = model.weights().clone();
    let bias = weights.blocks[1].o.bias.as_mut().unwrap();
    let mut values = bias.to_vec1::<f32>()?;
    values[3] = f32::NAN;
    *bias = Tensor::new(values, &Device::Cpu)?;
    let rows = verified(&Model::new(model.spec().clone(), weights)?);
    let finite = of(&rows, "finite");
    assert_eq!((finite.verdict.as_str(), finite.layer), ("failed", Some(1)), "{finite:?}");
    assert!(finite.difference.unwrap() > 0.0);
    Ok(())
}

#[test]
fn own_prompts_fit_every_vocabulary_and_context() -> Result<()> {
    for (name, longest) in [("gpt2", 12), ("hooked_attn_only", 12)] {
        let mut spec = Model::load(&fixture(name))?.spec().clone();
        for (d_vocab, n_ctx) in
            [(spec.d_vocab, spec.n_ctx), (1, Some(1)), (2, Some(3)), (7, None), (300_000, Some(4096))]
        {
            (spec.d_vocab, spec.n_ctx) = (d_vocab, n_ctx);
            let prompts = own_prompts(&spec);
            assert_eq!(prompts, own_prompts(&spec));
            assert!(prompts.iter().all(|p| !p.is_empty() && p.iter().all(|id| (*id as usize) < d_vocab)));
            assert!(prompts.iter().all(|p| p.len() <= n_ctx.unwrap_or(usize::MAX).min(13)));
            assert_eq!(prompts[0].len(), longest.min(n_ctx.unwrap_or(longest)));
            if d_vocab > 100 && n_ctx.is_none_or(|n| n > 12) {
                let mut ids = prompts.concat();
                ids.sort_unstable();
                ids.dedup();
                assert!(ids.len() > 20, "{prompts:?}");
            }
        }
    }
    Ok(())
}

/// What Hugging Face's f32 gave for every fixture: rounding, at every site that the files have.
///
/// Invariant: Compared with another program's run, rounding is called rounding, and a real error is reported at the first site
/// where it matters.
#[test]
fn hugging_faces_runs_are_rounding_and_no_more() -> Result<()> {
    let Some(shared) = crate::shared::shared("fixtures") else { return Ok(()) };
    for name in FIXTURES {
        let dir = shared.join(name);
        let rows = compared(&dir, &Dump::open(&dir.join("expected.safetensors"))?)?;
        let blocks = rows.iter().filter_map(|r| r.layer).max().unwrap() as usize + 1;
        assert!(rows.len() >= 8 * blocks, "{name}: only {} sites", rows.len());
        for row in &rows {
            // These files were made by a hook that did not copy, and this model adds to that value in place.
            let in_place = name.starts_with("falcon") && row.hook.ends_with("hook_mlp_out");
            assert!(in_place || row.verdict != "wrong", "{name} {row:?}");
            assert!(in_place || row.reference_to_f64 < row.allowed / 2.0, "{name} {row:?}: there is little room left");
        }
    }
    Ok(())
}

fn compared(dir: &Path, dump: &Dump) -> Result<Vec<ReferenceRow>> {
    let source = ModelSource::folder(dir)?;
    let (family, _) = Model::read_spec(&source)?;
    verify_reference(&Model::load(dir)?, family, dump, &())
}

/// Hugging Face's f32 and ours may be apart by more than 1e-5 where values are large: in the fixtures that scale their
/// embeddings up, and in one whose neurons are as large. There f64 is the judge: at no site are we farther from it than rounding
/// takes one run from another, or else within 1e-5, which is less than 20 unit roundoffs of a value of ten.
///
/// Invariant: as `f64_is_f32_without_its_rounding`.
#[test]
fn where_large_values_round_f64_is_the_judge() -> Result<()> {
    let large = ["gemma", "gemma2", "gemma3_text", "olmo2"];
    let mut sites = 0;
    for dir in crate::model::parity::fixture_dirs() {
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        for row in compared(&dir, &Dump::open(&dir.join("expected.safetensors"))?)? {
            // Made by a hook that did not copy, where the model adds to what it made, or clamps it.
            let in_place = match name.as_str() {
                "olmoe_clipped" => row.hook.ends_with("_norm.hook_out") || row.hook.ends_with("hook_v"),
                name => name.starts_with("falcon") && row.hook.ends_with("hook_mlp_out"),
            };
            if in_place || row.difference <= 1e-5 {
                continue;
            }
            assert!(large.contains(&name.as_str()) && row.magnitude > 4.0, "{} {row:?}", dir.display());
            let allowed = f64::max(1e-5, TIMES * row.reference_to_f64);
            assert!(row.ours_to_f64 <= allowed, "{} {row:?}", dir.display());
            sites += 1;
        }
    }
    assert!(sites > 0, "no value is large enough to be judged");
    Ok(())
}

/// The dumps that docs/reference.py made of committed models in f32, and of one in bfloat16.
const DUMPS: [(&str, &str); 6] = [
    ("gpt2", "reference"),
    ("llama", "reference"),
    ("gemma2", "reference_bf16"),
    ("qwen3", "reference"),
    ("olmo2", "reference"),
    ("olmoe_clipped", "reference"),
];

fn dump(name: &str) -> Dump {
    let (_, file) = DUMPS.iter().find(|(model, _)| *model == name).unwrap();
    Dump::open(&fixture(name).join(format!("{file}.safetensors"))).unwrap()
}

/// Invariant: as `hugging_faces_runs_are_rounding_and_no_more`.
#[test]
fn dumps_of_the_script_are_rounding() -> Result<()> {
    for (name, sites) in
        [("gpt2", 29), ("llama", 30), ("gemma2", 30), ("qwen3", 34), ("olmo2", 29), ("olmoe_clipped", 26)]
    {
        let rows = compared(&fixture(name), &dump(name))?;
        assert!(rows.len() >= sites, "{name}: only {} sites", rows.len());
        assert!(rows.iter().all(|r| r.verdict != "wrong"), "{name} {rows:?}");
        assert!(first_wrong(&rows).is_ok());
        assert!(dump(name).made_by().starts_with("transformers 5"));
    }
    // Queries and keys before and after their norm, each head's or all heads' together, and before any clamp.
    for name in ["qwen3", "olmo2", "olmoe_clipped"] {
        let rows = compared(&fixture(name), &dump(name))?;
        for (hook, module) in [("hook_q", "q_proj"), ("q_norm.hook_out", "q_norm"), ("hook_v", "v_proj")] {
            let of_hook = |r: &&ReferenceRow| r.hook == format!("blocks.1.attn.{hook}");
            let row = rows.iter().find(of_hook).unwrap_or_else(|| panic!("{name} {hook}: {rows:?}"));
            assert_eq!(row.reference, format!("module.model.layers.1.self_attn.{module}.out"), "{name}");
        }
    }
    // Tokens are looked up, not computed.
    assert_eq!(compared(&fixture("gpt2"), &dump("gpt2"))?[0].verdict, "equal");
    // What bfloat16 rounds away would be wrong in f32: its unit roundoff is 2e-3, of values of ten and more.
    let coarse = compared(&fixture("gemma2"), &dump("gemma2"))?;
    assert!(coarse.iter().any(|r| r.difference > 1e-2), "{coarse:?}");
    Ok(())
}

/// The first site that is wrong when the model called `name` is changed in this way.
fn first(name: &str, change: impl Fn(&mut Spec, &mut Weights)) -> String {
    let model = Model::load(&fixture(name)).unwrap();
    let (mut spec, mut weights) = (model.spec().clone(), model.weights().clone());
    change(&mut spec, &mut weights);
    let (family, _) = Model::read_spec(&ModelSource::folder(&fixture(name)).unwrap()).unwrap();
    let rows = verify_reference(&Model::new(spec, weights).unwrap(), family, &dump(name), &()).unwrap();
    let error = first_wrong(&rows).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.hint_text().is_some_and(|hint| hint.starts_with("compare")), "{error:?}");
    let wrong = &rows.iter().find(|r| r.verdict == "wrong").unwrap().hook;
    assert!(error.message().contains(&format!("the first site that is wrong is {wrong}")), "{error}");
    wrong.clone()
}

/// Mistakes that loaders make, each found where it first matters.
///
/// Invariant: as `hugging_faces_runs_are_rounding_and_no_more`.
#[test]
fn a_real_error_is_wrong_at_the_first_site_where_it_matters() {
    // The epsilon of the norms before attention and MLP: 1e-5 in place of 1e-6, or the other way round.
    let epsilon = |weights: &mut Weights| {
        for block in &mut weights.blocks {
            for norm in [Some(&mut block.ln1), block.mlp.as_mut().map(|m| &mut m.ln2)].into_iter().flatten().flatten() {
                norm.eps = if norm.eps < 5e-6 { 1e-5 } else { 1e-6 };
            }
        }
    };
    assert_eq!(first("llama", |_, w| epsilon(w)), "blocks.0.ln1.hook_out");
    assert_eq!(first("gpt2", |_, w| epsilon(w)), "blocks.0.ln1.hook_out");
    let theta = first("llama", |spec, _| {
        for block in &mut spec.blocks {
            if let Position::Rotary(rotary) = &mut block.attention.inner.position {
                rotary.theta *= 1.01;
            }
        }
    });
    assert_eq!(theta, "blocks.0.attn.hook_pattern");
    assert_eq!(first("gpt2", |_, w| w.blocks[1].scoring.scale *= 1.001), "blocks.1.attn.hook_pattern");
    let activation = |_: &mut Spec, w: &mut Weights| {
        let FeedForwardWeights::Dense(neurons) = &mut w.blocks[0].mlp.as_mut().unwrap().inner else { panic!() };
        neurons.activation = Activation::GeluErf;
    };
    assert_eq!(first("gpt2", activation), "blocks.0.mlp.hook_post");
    // One number of one matrix, by 1 %.
    let one_weight = |_: &mut Spec, w: &mut Weights| {
        let FeedForwardWeights::Dense(neurons) = &mut w.blocks[1].mlp.as_mut().unwrap().inner else { panic!() };
        let map = neurons.linear.as_mut().unwrap();
        *map = map
            .map(&|weight| {
                let mut values = weight.to_vec2::<f32>()?;
                values[7][5] *= 1.01;
                Ok(Tensor::new(values, &Device::Cpu)?)
            })
            .unwrap();
    };
    assert_eq!(first("llama", one_weight), "blocks.1.mlp.hook_pre_linear");
    // The norm on keys has the gain of that on queries: found there, and not at the projection.
    let gain = |_: &mut Spec, w: &mut Weights| w.blocks[0].k_norm = w.blocks[0].q_norm.clone();
    assert_eq!(first("qwen3", gain), "blocks.0.attn.k_norm.hook_out");
}

/// Invariant: as `hugging_faces_runs_are_rounding_and_no_more`.
#[test]
fn a_dump_of_something_else_is_refused_by_what_is_else() -> Result<()> {
    let place = Place::new();
    let (gpt2, llama) = (crate::bin::model("gpt2"), crate::bin::model("llama"));
    let dump = fixture("gpt2").join("reference.safetensors").display().to_string();
    place.refused(["verify", &llama, "--reference", &dump], 2, "its model type is gpt2, and this one's is llama");
    let tokens = ["verify", &gpt2, "--reference", &dump, "--ids", "3,14,15,9,65", "--ids", "35,89,79,32,38"];
    place.refused(tokens, 2, "at position 3 of prompt 0 it has token 92, and here there is token 9");
    place.refused(["verify", &gpt2, "--reference", &dump, "--ids", "3"], 2, "is of 2 prompts, and 1 were given");
    place.refused(["verify", &gpt2, "--reference", &dump, "--process", "fold-ln"], 2, "were processed");
    place.refused(["verify", &gpt2, "--reference", "nowhere"], 2, "cannot read the reference nowhere");
    let later = fs_err::read(&dump)?;
    let (known, format) = (b"pellucid.reference.1", b"pellucid.reference.7");
    let at = later.windows(known.len()).position(|w| w == known).unwrap();
    place.write("later", [&later[..at], format, &later[at + known.len()..]].concat());
    place.refused(
        ["verify", &gpt2, "--reference", "later"],
        2,
        "later is a reference of the format pellucid.reference.7",
    );
    place.write("words", "not tensors at all, but long enough to have a header");
    place.refused(["verify", &gpt2, "--reference", "words"], 2, "words is not a safetensors file");
    let weights = fixture("gpt2").join("model.safetensors").display().to_string();
    place.refused(["verify", &gpt2, "--reference", &weights], 2, "it has no `input_ids`");
    // The same family, other sizes: the tensors say so.
    let tensors = |change: &dyn Fn(&mut HashMap<String, Tensor>)| -> Result<String> {
        let mut tensors = candle_core::safetensors::load(&dump, &Device::Cpu)?;
        change(&mut tensors);
        candle_core::safetensors::save(&tensors, place.path("other"))?;
        Ok("other".into())
    };
    for (says, change) in [
        ("its number of blocks is 1", &|t: &mut HashMap<String, Tensor>| drop(t.remove("hidden_states.2")) as _),
        ("its number of logits is 5", &|t: &mut HashMap<String, Tensor>| {
            t.insert("logits".into(), t["logits"].narrow(2, 0, 5).unwrap().contiguous().unwrap());
        }),
        ("its vocabulary is at least 501", &|t: &mut HashMap<String, Tensor>| {
            t.insert("input_ids".into(), (&t["input_ids"] * 0.0).unwrap().affine(1.0, 500.0).unwrap());
        }),
        ("its `attentions.0` has 100 values", &|t: &mut HashMap<String, Tensor>| {
            t.insert("attentions.0".into(), t["attentions.0"].narrow(1, 0, 2).unwrap().contiguous().unwrap());
        }),
    ] as [(&str, &dyn Fn(&mut HashMap<String, Tensor>)); 4]
    {
        let other = tensors(change)?;
        place.refused(["verify", &gpt2, "--reference", &other], 2, says);
    }
    Ok(())
}

#[test]
fn the_command_writes_a_table_and_ends_with_what_is_wrong() {
    let place = Place::new();
    let gpt2 = crate::bin::model("gpt2");
    let laws = |stdout: &str| serde_json::from_str::<Vec<VerifyRow>>(stdout).unwrap();
    let done = place.ok(["verify", &gpt2, "--format", "json", "--out", "a"]);
    let rows = laws(&done.stdout);
    assert_eq!(rows.len(), 16);
    assert_eq!(pellucid::table::read_rows::<VerifyRow>(&place.path("a/verify.parquet")).unwrap().0, rows);
    // By -m, and on other prompts: other rows are compared.
    let done = place.ok(["verify", "-m", &gpt2, "--ids", "1,2,3", "--format", "json", "--out", "b"]);
    let few = laws(&done.stdout);
    assert_eq!(of(&few, "packed").reason.as_deref(), Some("there is one prompt only"));
    assert!(of(&few, "sum to 1").compared < of(&rows, "sum to 1").compared);

    // Logits beyond f32: the model loads, and does not obey.
    let copy = |name: &str, file: &str| fs_err::read(fixture(name).join(file)).unwrap();
    place.write("large/config.json", copy("gpt2", "config.json"));
    let mut tensors = candle_core::safetensors::load(fixture("gpt2").join("model.safetensors"), &Device::Cpu).unwrap();
    for (end, factor) in [("ln_f.weight", 1e37), ("wte.weight", 1e4)] {
        let name = tensors.keys().find(|n| n.ends_with(end)).unwrap().clone();
        tensors.insert(name.clone(), (&tensors[&name] * factor).unwrap());
    }
    candle_core::safetensors::save(&tensors, place.path("large/model.safetensors")).unwrap();
    let done = place.pellucid(["verify", "large", "--format", "json"]);
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert_eq!(of(&laws(&done.stdout), "finite").verdict, "failed");
    assert!(done.stderr.contains("error: large does not obey \"all logits are finite\" at logits"), "{}", done.stderr);
    assert_eq!(done.stderr.matches("hint: ").count(), 1, "{}", done.stderr);
    assert!(place.only_run().join("verify.parquet").exists());

    // A reference that is right, and one that is not this model's.
    let dump = fixture("llama").join("reference.safetensors").display().to_string();
    let llama = crate::bin::model("llama");
    let done = place.ok(["verify", &llama, "--reference", &dump, "--format", "json", "--out", "c"]);
    let rows: Vec<ReferenceRow> = serde_json::from_str(&done.stdout).unwrap();
    let written = pellucid::table::read_rows::<ReferenceRow>(&place.path("c/verify_reference.parquet")).unwrap();
    assert_eq!(written.0, rows);
    assert!(done.stderr.contains("with transformers 5"), "{}", done.stderr);
    let config: serde_json::Value = serde_json::from_slice(&copy("llama", "config.json")).unwrap();
    let text = config.to_string();
    let wrong = text.replace("10000.0", "20000.0");
    assert_ne!(text, wrong);
    place.write("turned/config.json", wrong);
    place.write("turned/model.safetensors", copy("llama", "model.safetensors"));
    let done = place.pellucid(["verify", "turned", "--reference", &dump, "--out", "d"]);
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert!(done.stdout.contains("wrong"), "{}", done.stdout);
    let says = "error: the first site that is wrong is blocks.0.attn.hook_pattern in block 0: it differs from `attentions.0` by ";
    assert!(done.stderr.contains(says), "{}", done.stderr);
    assert!(done.stderr.contains("hint: compare what becomes of queries and keys: rotation (theta"), "{}", done.stderr);
}

/// In f64 everything that f32 blurs falls into place: both ways of computing agree to f64's own rounding, and f32 lies
/// about as far away as f32 rounds.
///
/// Invariant: A run in f64 rounds nothing to f32 except what is part of the model; where values are large, f64 judges between two
/// f32 runs.
#[test]
fn f64_is_f32_without_its_rounding() -> Result<()> {
    for name in every_model() {
        let model = Model::load(&fixture(name))?;
        let exact = model.to_dtype(DType::F64)?;
        assert_eq!(exact.dtype(), DType::F64);
        let batch = Batch::of([vec![3u32, 14, 15, 92, 65], vec![35, 89]]);
        let mut cache = pellucid::hook::Cache::new(exact.spec(), "*")?;
        let wide = exact.forward(&batch, &mut [&mut cache])?;
        for (point, values) in cache.iter().filter(|(point, _)| !point.site.is_index()) {
            assert!(values.iter().all(|x| x.dtype() == DType::F64), "{name} {point}");
        }
        let narrow = model.forward(&batch, &mut [])?;
        let drift = crate::reference::max_diff(&narrow, &wide);
        let rounding = crate::bound::drift(name, &model, &batch);
        let allowed = rounding.at(HookPoint::global(Site::Logits)).allowed();
        assert!(drift > 0.0 && drift <= allowed, "{name}: f32 is {drift:e} from f64, allowed {allowed:e}");
        // Alone or packed: what f32 may differ by, in roundoffs of f64. An f64 run whose parts were f32 would differ by 1e-8 or more.
        let alone = exact.run(
            &Batch::one([3u32, 14, 15, 92, 65]),
            &Run { kernels: Some(ops::Kernels::Plain), ..Run::default() },
            &mut [],
        )?;
        let packing = crate::reference::max_diff(alone.logits()?, &wide.narrow(0, 0, 5)?);
        let finer = unit(DType::F64) / unit(DType::F32);
        assert!(packing <= rounding.logits() * finer, "{name}: {packing:e}");
        // There and back: no bit of a weight is lost. They lie in another order, so sums may be made in another.
        let back = exact.to_dtype(DType::F32)?.forward(&batch, &mut [])?;
        crate::reference::close(name, &back, &narrow, rounding.logits());
    }
    // Trained models, and transformers' own run of them in f64. Of the last, all of that run is in f64; of the others, norms
    // and rotations are not.
    for name in ["tinystories-656k", "stories260k", "nano-gpt-sort"] {
        let Some(dir) = crate::shared::shared(&format!("models/{name}")) else { continue };
        let model = Model::load(&dir)?;
        let want = Reference::open(&dir.join("expected.safetensors"));
        let (batch, logits) = (want.batch("p0.input_ids"), want.need("p0.logits_f64"));
        let far =
            |model: &Model| -> Result<f64> { Ok(crate::reference::max_diff(&model.forward(&batch, &mut [])?, logits)) };
        let [narrow, wide] = [far(&model)?, far(&model.to_dtype(DType::F64)?)?];
        // Two runs in f64, as far apart as those in f32 may be, in roundoffs of f64; or nearer than f32 is.
        let finer = TIMES * unit(DType::F64) / unit(DType::F32);
        let allowed = if name == "nano-gpt-sort" { narrow * finer } else { narrow };
        assert!(wide < allowed, "{name}: f64 is {wide:e} from transformers' f64, f32 {narrow:e}");
    }
    Ok(())
}
