//! What rounding may explain: how far Hugging Face's f32 lies from its own f64, and that our f64 is that f64.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::LazyLock;

use candle_core::DType;
use pellucid::Result;
use pellucid::arch::spec::{Pairing, RopeScaling, Rotary};
use pellucid::hook::Cache;
use pellucid::model::{Batch, Model};
use pellucid::ops::rotary::frequencies;
use serde_json::Value;

use crate::bin::fixture;
use crate::parity::{FIXTURES, VARIANTS};
use crate::reference::{Reference, close};

/// f32 against f32 in another order of summation, at activations of size one to ten.
pub const F32: f64 = 1e-5;

/// What the numbers of one fixture may differ by, each by itself.
///
/// It is `F32` but where transformers in f32 is itself far from transformers in f64, as tests/fixtures/make_f64.py measures it
/// and rounding.json keeps it. It is more than 1e-5 in some tensors of the three Gemmas and of OLMo 2, and nowhere else (the
/// next is an activation of Qwen 2 with 5.7e-6; of 21 fixtures no tensor reaches 3e-6). Gemmas scale their embeddings up:
/// streams reach 17 and scores 50, and the product of a gate of size 7 with its partner doubles the error of both; neurons
/// reach 30, and in OLMo 2 26. In these fixtures' tensors, Hugging Face's f32 may be where it was measured to be, up to 4.5e-5
/// from f64, and ours 1e-5 or twice that on the other side: the largest of some hundred roundings is not always as large. Most
/// of ours are nearer than theirs, of which `verify::where_large_values_round_f64_is_the_judge` keeps count; and in f64 nothing
/// of all this remains: `in_f64_every_family_is_hugging_faces_to_thirteen_digits`.
pub struct Rounding(Named<f64>);

/// By name: of tensors in a fixture, of fixtures, of the two places in which fixtures are.
type Named<T> = HashMap<String, T>;

static MEASURED: LazyLock<Named<Named<Named<f64>>>> = LazyLock::new(|| {
    let text = std::fs::read_to_string(fixture("rounding.json")).unwrap();
    serde_json::from_str(&text).unwrap()
});

impl Rounding {
    /// That of the fixture in `dir`, a committed one or one of the reference data.
    pub fn of(dir: &Path) -> Self {
        let name = dir.file_name().and_then(|n| n.to_str()).unwrap();
        let place = if dir == fixture(name) { "committed" } else { "reference data" };
        Self(MEASURED[place].get(name).cloned().unwrap_or_default())
    }

    /// What `tensor` of expected.safetensors may differ by.
    pub fn allowed(&self, tensor: &str) -> f64 {
        self.0.get(tensor).map_or(F32, |drift| drift + F32.max(2.0 * drift))
    }

    /// What two runs of ours may differ by, at any site: what transformers in f32 differs by from itself in f64 where that is
    /// most.
    pub fn between_runs(&self) -> f64 {
        self.0.values().copied().fold(F32, f64::max)
    }
}

/// Wider tolerances are for few fixtures, and none is wide.
#[test]
fn rounding_explains_little() {
    let fixtures: BTreeSet<_> = MEASURED.values().flat_map(|fixtures| fixtures.keys().map(String::as_str)).collect();
    assert_eq!(fixtures, BTreeSet::from(["gemma", "gemma2", "gemma3_text", "olmo2"]));
    let drifts = MEASURED.values().flat_map(|fixtures| fixtures.values().flat_map(HashMap::values));
    assert!(drifts.copied().fold(0.0, f64::max) < 4.6e-5);
    let elsewhere = Rounding::of(&fixture("llama"));
    assert_eq!((elsewhere.allowed("logits"), elsewhere.between_runs()), (F32, F32));
}

/// Without the rounding of f32 nothing is left of a difference: logits and every hidden state, at values of up to 17. A wrong
/// epsilon, a constant cut short, a sum in place of a mean are at least a thousand times as large as what is allowed.
#[test]
fn in_f64_every_family_is_hugging_faces_to_thirteen_digits() -> Result<()> {
    for name in FIXTURES.iter().chain(VARIANTS) {
        let dir = fixture(name);
        // BLOOM's activation in transformers has sqrt(2 / pi) as 0.79788456, which in f32 is the same number.
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
