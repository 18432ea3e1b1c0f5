//! Without rounding: that our f64 is Hugging Face's, which makes it the judge of what rounding is.

use candle_core::DType;
use pellucid::Result;
use pellucid::arch::spec::{Pairing, RopeScaling, Rotary};
use pellucid::hook::Cache;
use pellucid::model::{Batch, Model};
use pellucid::ops::rotary::frequencies;
use serde_json::Value;

use crate::bin::fixture;
use crate::help::fixtures::{FIXTURES, VARIANTS};
use crate::reference::{Reference, close};

/// Without the rounding of f32 nothing is left of a difference: logits and every hidden state, at values of up to 17. A wrong
/// epsilon, a constant cut short, a sum in place of a mean are at least a thousand times as large as what is allowed.
///
/// Invariant: In f64 they agree with Hugging Face to thirteen digits, for every family.
#[test]
fn in_f64_every_family_is_hugging_faces_to_thirteen_digits() -> Result<()> {
    for name in FIXTURES.iter().chain(VARIANTS) {
        let dir = fixture(name);
        // The roundings of f64: as far as f32 lies from f64, 5e-5 at most, in roundoffs 2^29 times as fine. BLOOM's activation in
        // transformers has sqrt(2 / pi) as 0.79788456, which in f32 is the same number.
        let tolerance = if *name == "bloom" { 5e-9 } else { 1e-13 };
        let model = Model::load(&dir)?.to_dtype(DType::F64)?;
        let ids = Reference::open(&dir.join("expected.safetensors")).ids("input_ids").remove(0);
        let want = Reference::open(&dir.join("f64.safetensors"));
        let mut cache = Cache::new(model.spec(), "resid_pre,ln_final.hook_out,logits")?;
        model.forward(&Batch::one(ids), &mut [&mut cache])?;
        let n = model.spec().n_layers();
        close(&format!("{name} logits"), cache.get("logits")?, &want.packed("logits"), tolerance);
        for layer in 0..=n {
            let site = if layer < n { format!("blocks.{layer}.hook_resid_pre") } else { "ln_final.hook_out".into() };
            let want = want.packed(&format!("hidden_states.{layer}"));
            close(&format!("{name} {site}"), cache.get(&site)?, &want, tolerance);
        }
    }
    Ok(())
}

/// Of 49 released shapes, with every scaling. torch's power is not always the number nearest to the true one, so one in a
/// hundred is the one next to ours.
///
/// Invariant: Rotary frequencies are computed as torch computes them, step by step in f32, so that they are right at long
/// positions.
#[test]
fn rotary_frequencies_are_torchs() {
    let reference = Reference::open(&fixture("rotary.safetensors"));
    let (mut all, mut off) = (0, 0);
    for config in reference.names() {
        let want = reference.need(config).to_vec1::<f32>().unwrap();
        let got = frequencies(&rotary(&serde_json::from_str(config).unwrap()));
        assert_eq!(got.len(), want.len(), "{config}");
        for (i, (a, b)) in got.iter().zip(&want).enumerate() {
            // One unit in the last place, or two of what a divisor makes of it.
            let apart = a.to_bits().abs_diff(b.to_bits());
            assert!(apart <= 2, "{config}: frequency {i} is {a}, and torch has {b}");
            off += usize::from(apart > 0);
        }
        all += want.len();
    }
    assert!(all > 1500 && 50 * off <= all, "{off} of {all} are off");
}

fn rotary(config: &Value) -> Rotary {
    let how = &config["rope_parameters"];
    let number = |key: &str| how[key].as_f64().unwrap_or_else(|| panic!("{how}: no {key}"));
    let scaling = match how["rope_type"].as_str().unwrap() {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: number("factor") },
        "llama3" => RopeScaling::Llama3 {
            factor: number("factor"),
            low_freq: number("low_freq_factor"),
            high_freq: number("high_freq_factor"),
            original_ctx: number("original_max_position_embeddings"),
        },
        "yarn" => RopeScaling::Yarn {
            factor: number("factor"),
            beta_fast: 32.0,
            beta_slow: 1.0,
            original_ctx: number("original_max_position_embeddings"),
            attention_factor: 1.0,
            truncate: true,
        },
        other => panic!("{other}"),
    };
    let dims = config["head_dim"].as_u64().unwrap() as usize;
    Rotary { dims, pairing: Pairing::Halves, theta: number("rope_theta"), scaling }
}
