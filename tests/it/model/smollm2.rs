//! A language model of 135 million parameters that people use: its numbers, its laws, and what patching finds in it.

use std::path::PathBuf;

use pellucid::Result;
use pellucid::analysis::{PatchRow, VerifyRow};
use pellucid::hook::Cache;
use pellucid::model::Model;
use pellucid::table::read_rows;
use serde_json::Value;

use crate::bin::{Place, fixture};
use crate::reference::{Reference, close, max_diff};

/// The folder of SmolLM2-135M-Instruct: `PELLUCID_SMOLLM2`, else where `.ci/smollm2` puts it.
///
/// None when it is not there, which skips the test; on a build server (`CI` is set) that is a failure.
pub fn smollm2() -> Option<PathBuf> {
    let folder = std::env::var_os("PELLUCID_SMOLLM2").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from)?;
        Some(home.join(".cache/pellucid/smollm2/smollm2"))
    })?;
    if folder.join("model.safetensors").exists() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing, and on CI that is a failure", folder.display());
    println!("skipped: this test needs SmolLM2; make it with .ci/smollm2, or set PELLUCID_SMOLLM2 to its folder");
    None
}

macro_rules! smollm2_or_skip {
    () => {
        match smollm2() {
            Some(folder) => folder,
            None => return Ok(()),
        }
    };
}

/// Every number may be as far from transformers' float64 as four times transformers' own float32 is: its streams reach 26,711, of which
/// float32 keeps 2e-3, and which of two programs rounds a number worse is chance.
#[test]
fn its_streams_patterns_and_logits_are_transformers() -> Result<()> {
    let folder = smollm2_or_skip!();
    let reference = shared_or_skip!("models/smollm2/expected.safetensors");
    let model = Model::load(&folder)?;
    let want = Reference::open(&reference);
    let n = model.spec().n_layers();
    assert_eq!(n, 30);
    for p in 0..4 {
        let get = |what: &str| want.need(&format!("p{p}.{what}"));
        let mut cache = Cache::new(model.spec(), "resid_pre,pattern")?;
        let logits = model.forward(&want.batch(&format!("p{p}.input_ids")), &mut [&mut cache])?;
        let last = logits.get(logits.dim(0)? - 1)?;
        let drift = max_diff(get("f32.logits_last"), get("f64.logits_last"));
        close(&format!("prompt {p}, logits"), &last, get("f64.logits_last"), 4.0 * drift);
        let (narrow, wide) = (get("f32.hidden_states"), get("f64.hidden_states"));
        for layer in 0..n {
            let what = format!("prompt {p}, layer {layer}");
            let drift = max_diff(&narrow.get(layer)?, &wide.get(layer)?);
            let stream = cache.get(&format!("blocks.{layer}.hook_resid_pre"))?;
            close(&format!("{what}, stream"), stream, &wide.get(layer)?, 4.0 * drift);
            // Scores of size s in float32 are off by about s x 1e-6 after the sums of a layer; scores here reach 40, and a
            // probability is off by as much as its score.
            let pattern = cache.sequence(&format!("blocks.{layer}.attn.hook_pattern"), 0)?;
            close(&format!("{what}, pattern"), pattern, &get("attentions").get(layer)?, 4e-5);
        }
    }
    Ok(())
}

/// Each of 270 heads and 420 streams against a forward pass of transformers in float64 with one value put over
/// (tests/fixtures/make_smollm2.py): the names circuit, as the README has it.
#[test]
fn what_patching_finds_is_what_hooks_on_transformers_find() -> Result<()> {
    let folder = smollm2_or_skip!().display().to_string();
    let want: Value = serde_json::from_slice(&fs_err::read(fixture("smollm2.json"))?).unwrap();
    let text = |key: &str| want[key].as_str().unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    let place = Place::new();
    let distance = number(&want["logit_diff"][0]) - number(&want["logit_diff"][1]);
    // Two logits of two runs, each off by no more than transformers' own float32 is (3.1e-5 in these prompts), as a share of their distance.
    let allowed = 4.0 * 3.1e-5 / distance.abs();
    for (site, over, heads) in [("z", "layer,head", true), ("resid_pre", "layer,pos", false)] {
        let pair = [
            "--clean",
            text("clean"),
            "--corrupt",
            text("corrupt"),
            "--answer",
            text("answer"),
            "--foil",
            text("foil"),
        ];
        let args = ["patch", "-q", "-m", &folder, "--at", site, "--over", over, "--out", site];
        place.ok(args.iter().chain(&pair));
        let (rows, _) = read_rows::<PatchRow>(place.path(&format!("{site}/patch.parquet")))?;
        let table = want[site].as_array().unwrap();
        assert_eq!(rows.len(), table.iter().map(|row| row.as_array().unwrap().len()).sum::<usize>());
        for row in &rows {
            let layer = row.place.layer.unwrap() as usize;
            let at = if heads { row.place.head.unwrap() } else { row.place.pos.unwrap() } as usize;
            let (got, want) = (f64::from(row.measured.recovered.unwrap()), number(&table[layer][at]));
            assert!((got - want).abs() <= allowed, "{site} {layer}.{at}: {got} recovered, {want} in float64");
        }
    }
    // As they were found, so that nobody has to look them up: 58.4 %, 26.5 %, -25.0 %, 21.6 %.
    for (layer, head, share) in [(23, 3, 0.584), (29, 1, 0.265), (24, 4, -0.250), (20, 0, 0.216)] {
        let found = number(&want["z"][layer][head]);
        assert!((found - share).abs() < 5e-4, "{layer}.{head}: {found}");
    }
    Ok(())
}

#[test]
fn it_obeys_the_laws() -> Result<()> {
    let folder = smollm2_or_skip!().display().to_string();
    let place = Place::new();
    place.ok(["verify", "-q", "-m", &folder, "--out", "laws"]);
    let (rows, _) = read_rows::<VerifyRow>(place.path("laws/verify.parquet"))?;
    assert!(rows.len() >= 16, "{} laws", rows.len());
    Ok(())
}
