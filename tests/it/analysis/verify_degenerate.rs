//! `pellucid verify` on models in which little can happen: weights of zeros, of subnormal numbers, or streams of one dimension. They
//! obey the laws too, and what cannot matter in them is not asked for.

use candle_core::DType;
use pellucid::Result;
use pellucid::analysis::VerifyRow;
use pellucid::analysis::verify::{own_prompts, verify};
use pellucid::arch::spec::{FeedForward, Mask};
use pellucid::model::Model;
use pellucid::table::read_rows;
use proptest::strategy::Strategy;

use crate::bin::Place;
use crate::forge;
use crate::help::fixtures::every_model;
use crate::specs::{Sample, for_random, samples};

const MATTERS: &str = "an edit that must matter does";

/// A copy of the committed model `of` at `name`, with every weight times `factor`.
fn scaled(place: &Place, of: &str, name: &str, factor: f32) {
    forge::copy(place, of, name);
    forge::weights(place, name, |tensors| {
        for (_, _, data) in tensors.values_mut().filter(|(dtype, ..)| *dtype == safetensors::Dtype::F32) {
            for bytes in data.chunks_exact_mut(4) {
                let value = f32::from_le_bytes(bytes.try_into().unwrap()) * factor;
                bytes.copy_from_slice(&value.to_le_bytes());
            }
        }
    });
}

/// A copy of the tiny GPT-2 at `name`, cut to a stream of one dimension with one head.
fn one_dimension(place: &Place, name: &str) {
    forge::copy(place, "gpt2", name);
    forge::config(place, name, |config| {
        config.insert("n_embd".into(), 1.into());
        config.insert("n_head".into(), 1.into());
        config.insert("n_positions".into(), 4.into());
    });
    let d = crate::forge::tensors(place, name)["transformer.ln_f.weight"].1[0];
    forge::weights(place, name, |tensors| {
        for (shape, data) in tensors.values_mut().map(|(_, shape, data)| (shape, data)) {
            // Every axis of a multiple of the width is cut to the same multiple of one.
            let to: Vec<usize> = shape.iter().map(|n| if n % d == 0 { n / d } else { *n }).collect();
            let [rows, columns] = [0, 1].map(|axis| to.get(to.len() - 2 + axis).copied());
            let columns = columns.unwrap_or(1);
            let wide = *shape.last().unwrap() * 4;
            let kept = data.chunks_exact(wide).take(rows.unwrap_or(1)).flat_map(|row| row[..4 * columns].to_vec());
            *data = kept.collect();
            *shape = to;
        }
    });
}

fn verified(model: &Model) -> Result<Vec<VerifyRow>> {
    verify(model, &own_prompts(model.spec()), &())
}

fn of<'a>(rows: &'a [VerifyRow], law: &str) -> &'a VerifyRow {
    rows.iter().find(|row| row.law.contains(law)).unwrap_or_else(|| panic!("there is no law \"{law}\""))
}

#[track_caller]
fn none_failed(what: &str, rows: &[VerifyRow]) {
    for row in rows {
        assert_ne!(row.verdict, "failed", "{what}: {row:?}");
        assert_eq!(row.verdict == "ok", row.compared > 0, "{what}: {row:?}");
        assert!(row.reason.is_some(), "{what}: {row:?}");
    }
}

/// From nothing by way of subnormal numbers (1e-38 and less) to writes that are lost in rounding beside the stream.
///
/// Invariant: Models in which little can happen (weights of zeros, subnormal numbers, a stream of one dimension) obey the laws
/// too, and faults in them are still found.
#[test]
fn models_of_zeros_and_of_tiny_numbers_obey_the_laws() -> Result<()> {
    let place = Place::new();
    let mut partly = 0;
    for name in every_model() {
        for factor in [0.0, 1e-44, 1e-34, 1e-20, 1e-8, 1e-2] {
            scaled(&place, name, "m", factor);
            let model = Model::load(&place.path("m"))?;
            let rows = verified(&model)?;
            none_failed(&format!("{name} times {factor}"), &rows);
            let matters = of(&rows, MATTERS);
            if factor == 0.0 {
                assert_eq!(matters.verdict, "not applicable", "{name}: {matters:?}");
                assert!(matters.reason.as_ref().unwrap().starts_with("no edit can matter"), "{name}: {matters:?}");
            }
            partly += usize::from((1..2 * model.spec().n_layers() as u64 + 1).contains(&matters.compared));
        }
    }
    // In many of them some edits can matter and others cannot.
    assert!(partly > 100, "{partly}");
    Ok(())
}

/// Any kind of model with a stream of one or two dimensions, and as few neurons.
fn narrow() -> impl Strategy<Value = Sample> {
    (samples(), 1..=3usize, 1..=2usize).prop_map(|(mut sample, d_model, d_mlp)| {
        sample.spec.d_model = d_model;
        for mlp in sample.spec.blocks.iter_mut().filter_map(|block| block.mlp.as_mut()) {
            match &mut mlp.inner {
                FeedForward::Dense(mlp) => mlp.d_mlp = d_mlp,
                FeedForward::Experts(experts) => experts.expert.d_mlp = d_mlp,
            }
        }
        sample
    })
}

/// Invariant: as `models_of_zeros_and_of_tiny_numbers_obey_the_laws`.
#[test]
fn random_models_of_few_dimensions_obey_the_laws() {
    for_random(150, narrow(), |sample| {
        let model = sample.model();
        for model in [model.clone(), model.to_dtype(DType::F64)?] {
            none_failed(&format!("{:?} {sample:?}", model.dtype()), &verified(&model)?);
        }
        Ok(())
    });
}

/// What is broken is found out all the same: queries that see the future, in models where hardly anything can happen.
///
/// Invariant: as `models_of_zeros_and_of_tiny_numbers_obey_the_laws`.
#[test]
fn what_is_broken_is_found_out_where_little_can_happen() -> Result<()> {
    let place = Place::new();
    scaled(&place, "gpt2", "zeros", 0.0);
    scaled(&place, "gpt2", "subnormal", 1e-40);
    one_dimension(&place, "one");
    for name in ["zeros", "subnormal", "one"] {
        let model = Model::load(&place.path(name))?;
        none_failed(name, &verified(&model)?);
        let mut weights = model.weights().clone();
        weights.blocks[1].scoring.mask = Mask::Bidirectional;
        let rows = verified(&Model::new(model.spec().clone(), weights)?)?;
        let hidden = of(&rows, "patterns are 0");
        assert_eq!((hidden.verdict.as_str(), hidden.layer), ("failed", Some(1)), "{name}: {hidden:?}");
    }
    Ok(())
}

#[test]
fn what_cannot_matter_is_said_to_be_not_applicable() {
    let place = Place::new();
    scaled(&place, "gpt2", "zeros", 0.0);
    scaled(&place, "gpt2", "subnormal", 1e-40);
    one_dimension(&place, "one");
    for name in ["zeros", "subnormal", "one"] {
        let done = place.ok(["verify", name, "--format", "json", "--out", &format!("out-{name}")]);
        let rows: Vec<serde_json::Value> = serde_json::from_str(&done.stdout).unwrap();
        let row = rows.iter().find(|row| row["law"] == MATTERS).unwrap();
        // A stream of one dimension can be taken away, only norms do not see it; and so can one of subnormal numbers.
        let verdict = if name == "zeros" { "not applicable" } else { "ok" };
        assert_eq!(row["verdict"], verdict, "{name}: {row}");
        let (rows, _) = read_rows::<VerifyRow>(place.path(&format!("out-{name}/verify.parquet"))).unwrap();
        assert_eq!(of(&rows, MATTERS).verdict, verdict);
        none_failed(name, &rows);
    }
    let said = place.ok(["verify", "zeros", "--out", "again"]).stdout;
    let line = said.lines().find(|line| line.contains(MATTERS)).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("not applicable") && said.contains("no edit can matter"), "{said}");
}
