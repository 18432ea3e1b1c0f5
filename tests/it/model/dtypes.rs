//! What weights are kept in: as stored, or rounded because somebody asked; and numbers that no weight may be.

use candle_core::{DType, Tensor};
use pellucid::Result;
use pellucid::hook::{HookPoint, Site};
use pellucid::model::{Batch, Model, Placement, Run, WeightBytes};
use pellucid::ops::Kernels;
use pellucid::ops::matrix::Kept;
use pellucid::text::ModelSource;
use safetensors::Dtype;

use crate::bin::{Place, model};
use crate::bound::{Drift, drift};
use crate::forge;
use crate::reference::{close, same_bits};

const IDS: [u32; 9] = [3, 14, 15, 92, 65, 35, 89, 79, 32];

/// Families with whole tensors, with thirds of one, with thirds of each head's, with heads apart, and with experts.
const LAYOUTS: [&str; 5] = ["llama", "gpt2", "gpt_neox", "hooked_ln", "mixtral"];

fn load(dir: &std::path::Path, kept: Option<Kept>) -> Result<Model> {
    let source = ModelSource::folder(dir)?;
    Model::place(&source, &WeightBytes::open(&source)?, &Placement { kept, ..Placement::default() })
}

fn logits(model: &Model, path: Kernels) -> Result<Tensor> {
    let run = Run { kernels: Some(path), ..Run::default() };
    // More rows than are multiplied without packing, and few.
    let long: Vec<u32> = IDS.iter().cycle().take(18).copied().collect();
    let many = model.run(&Batch::of([long.clone(), long]), &run, &mut [])?;
    let few = model.run(&Batch::one(IDS), &run, &mut [])?;
    Ok(Tensor::cat(&[many.logits()?, few.logits()?], 0)?)
}

/// Invariant: `--dtype` gives the bits of a file that was rounded; the output says what is kept in which dtype, and calls nothing
/// else rounded.
#[test]
fn rounding_at_load_is_loading_what_was_rounded() -> Result<()> {
    for fixture in LAYOUTS {
        for (kept, dtype) in [(Kept::F16, Dtype::F16), (Kept::Bf16, Dtype::BF16)] {
            let place = Place::new();
            forge::copy(&place, fixture, "wide");
            forge::copy(&place, fixture, "stored");
            forge::weights(&place, "stored", |tensors| forge::rounded(tensors, dtype));
            let asked = load(&place.path("wide"), Some(kept))?;
            let stored = load(&place.path("stored"), None)?;
            // Another file: those of a model that is loaded are mapped.
            forge::copy(&place, fixture, "widened");
            forge::weights(&place, "widened", |tensors| {
                forge::rounded(tensors, dtype);
                forge::widened(tensors);
            });
            let widened = load(&place.path("widened"), None)?;
            let what = format!("{fixture} {}", kept.name());
            let name = kept.name();
            assert_eq!(asked.numbers(), format!("{name} weights rounded from f32, f32 activations"), "{what}");
            assert_eq!(stored.numbers(), format!("{name} weights, f32 activations"), "{what}");
            assert_eq!(widened.numbers(), "f32", "{what}");
            for path in [Kernels::Fused, Kernels::Plain] {
                let [a, b, c] = [&asked, &stored, &widened].map(|model| logits(model, path).unwrap());
                same_bits(&what, &a, &b);
                // The same numbers, summed to depths at which no kernel cuts.
                same_bits(&what, &b, &c);
            }
            // Rounding of activations, as on f32 weights: the same numbers in f64 are the same weights.
            let plain = logits(&stored, Kernels::Plain)?;
            let allowed = Drift::of(&plain, &logits(&widened.to_dtype(DType::F64)?, Kernels::Plain)?)?.allowed();
            close(&what, &logits(&stored, Kernels::Fused)?, &plain, allowed);
            let unlike =
                (logits(&asked, Kernels::Fused)? - logits(&load(&place.path("wide"), None)?, Kernels::Fused)?)?;
            assert!(unlike.abs()?.max_all()?.to_scalar::<f32>()? > 0.0, "{what}: nothing was rounded");
        }
    }
    Ok(())
}

/// Invariant: as `rounding_at_load_is_loading_what_was_rounded`.
#[test]
fn what_is_widened_or_stays_is_not_called_rounded() -> Result<()> {
    let place = Place::new();
    forge::copy(&place, "llama", "m");
    assert_eq!(load(&place.path("m"), Some(Kept::F32))?.numbers(), "f32");
    forge::weights(&place, "m", |tensors| forge::rounded(tensors, Dtype::BF16));
    assert_eq!(load(&place.path("m"), Some(Kept::F32))?.numbers(), "f32");
    assert_eq!(load(&place.path("m"), Some(Kept::Bf16))?.numbers(), "bf16 weights, f32 activations");
    let other = load(&place.path("m"), Some(Kept::F16))?.numbers();
    assert_eq!(other, "f16 weights rounded from bf16, f32 activations");
    let processed = load(&place.path("m"), None)?.processed(&[pellucid::model::Processing::FoldLn])?.numbers();
    assert_eq!(processed, "f32 and bf16 weights, f32 activations");
    Ok(())
}

/// The plain path in another dtype: what a device computes, but for the device.
///
/// Invariant: The plain path computes in the dtype of its tensors.
#[test]
fn the_plain_path_computes_in_the_dtype_of_its_tensors() -> Result<()> {
    for fixture in LAYOUTS {
        let narrow = Model::load(&crate::bin::fixture(fixture))?;
        let weights = narrow.weights().clone().on(&candle_core::Device::Cpu, DType::F64)?;
        let wide = Model::new(narrow.spec().clone(), weights)?;
        assert_eq!((wide.dtype(), wide.numbers()), (DType::F64, "f64".to_owned()));
        let logits_f64 = wide.forward(&Batch::one(IDS), &mut [])?;
        assert_eq!(logits_f64.dtype(), DType::F64, "{fixture}");
        let allowed = drift(fixture, &narrow, &Batch::one(IDS)).at(HookPoint::global(Site::Logits)).allowed();
        close(fixture, &logits_f64, &narrow.forward(&Batch::one(IDS), &mut [])?, allowed);
    }
    Ok(())
}

/// Invariant: A weight that is NaN, infinite or too large for the dtype is refused by name.
#[test]
fn numbers_that_no_weight_may_be_are_named() {
    type Change = fn(&mut forge::Tensors);
    const WPE: &str = "transformer.wpe.weight";
    fn put(t: &mut forge::Tensors, at: usize, value: f32) {
        t.get_mut(WPE).unwrap().2[at * 4..][..4].copy_from_slice(&value.to_le_bytes());
    }
    let cases: &[(Change, &str)] = &[
        (|t| put(t, 0, f32::NAN), "`transformer.wpe.weight` has a number that is not finite: NaN at [0, 0]"),
        (
            |t| (put(t, 37, f32::NEG_INFINITY), put(t, 1023, f32::NAN)).0,
            "`transformer.wpe.weight` has 2 numbers that are not finite, the first of them -inf at [2, 5]",
        ),
        (
            |t| {
                put(t, 37, f32::INFINITY);
                forge::rounded(t, Dtype::F16);
            },
            "not finite: inf at [2, 5]",
        ),
        (
            |t| {
                put(t, 1023, f32::NAN);
                forge::rounded(t, Dtype::BF16);
            },
            "not finite: NaN at [63, 15]",
        ),
    ];
    for (change, says) in cases {
        let place = Place::new();
        let name = forge::copy(&place, "gpt2", "m");
        forge::weights(&place, &name, change);
        place.refused(["lens", "-m", &name, "--ids", "1,2,3"], 1, says);
    }
    // A buffer that nobody uses may hold what it likes: masks are minus infinity.
    let place = Place::new();
    let name = forge::copy(&place, "gpt2", "m");
    forge::weights(&place, &name, |t| {
        let mask = f32::NEG_INFINITY.to_le_bytes().to_vec();
        t.insert("transformer.h.0.attn.masked_bias".into(), (Dtype::F32, vec![], mask));
    });
    place.ok(["lens", "-m", &name, "--ids", "1,2,3"]);
    // What f16 cannot hold.
    forge::weights(&place, &name, |t| put(t, 37, 70_000.0));
    let lens = ["lens", "-m", &name, "--ids", "1,2,3", "--dtype"];
    let says = "`transformer.wpe.weight` has a number that is too large for f16: 70000 at [2, 5]";
    place.refused(lens.iter().chain(&["f16"]), 2, says);
    place.ok(lens.iter().chain(&["bf16"]));
}

/// Invariant: as `rounding_at_load_is_loading_what_was_rounded`.
#[test]
fn the_command_line_keeps_weights_as_asked_and_says_so() {
    let place = Place::new();
    let llama = model("llama");
    let lens = ["lens", "-m", &llama, "--ids", "1,2,3", "--quiet"];
    let dtype = |more: &[&str], out: &str| -> String {
        place.ok(lens.iter().chain(more).chain(&["--out", out]));
        let bytes = place.read(&format!("{out}/logit_lens.parquet"));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split("\"dtype\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    assert_eq!(dtype(&[], "a"), "f32");
    assert_eq!(dtype(&["--dtype", "auto"], "b"), "f32");
    assert_eq!(dtype(&["--dtype", "f16"], "c"), "f16 weights rounded from f32, f32 activations");
    // Rounding decides the numbers, so it has a folder of its own.
    place.ok(lens);
    place.ok(lens.iter().chain(&["--dtype", "bf16"]));
    assert_eq!(fs_err::read_dir(place.path("runs")).unwrap().count(), 2);
    assert_eq!(place.pellucid(lens.iter().chain(&["--dtype", "f8"])).code, Some(2));

    place.refused(lens.iter().chain(&["--device", "tpu"]), 2, "`tpu` is not a device");
    if !cfg!(feature = "cuda") {
        let done = place.refused(lens.iter().chain(&["--device", "cuda:1"]), 2, "has no code for CUDA");
        assert!(done.stderr.contains("--features cuda"), "{}", done.stderr);
    }
    if !cfg!(feature = "metal") {
        place.refused(lens.iter().chain(&["--device", "metal"]), 2, "has no code for Metal");
    }
}
