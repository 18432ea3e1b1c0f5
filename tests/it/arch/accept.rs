//! `--accept-config`: an unknown key is let through, loudly, on record, and never one that is known to change the model.

use pellucid::Result;
use pellucid::hook::Cache;
use pellucid::model::{Batch, Model};
use pellucid::text::ModelSource;
use serde_json::{Value, json};

use crate::bin::Place;
use crate::forge;

/// The committed llama with some keys added.
fn changed(place: &Place, keys: &[(&str, Value)]) -> String {
    let name = forge::copy(place, "llama", "m");
    forge::config(place, &name, |config| {
        for (key, value) in keys {
            config.insert((*key).to_owned(), value.clone());
        }
    });
    name
}

/// Invariant: as `harmless_keys_are_harmless_at_their_values`.
#[test]
fn one_unknown_key_is_let_through_loudly_and_on_record() -> Result<()> {
    let place = Place::new();
    let m = changed(&place, &[("sliding_mystery", json!(3))]);
    place.refused(["lens", "-m", &m, "--ids", "1,2"], 1, "let it through: --accept-config sliding_mystery");
    let lens = ["lens", "-m", &m, "--ids", "1,2", "--accept-config", "sliding_mystery"];
    let done = place.ok(lens);
    assert!(
        done.stderr.contains("warning: `sliding_mystery` of m's config.json is let through unread"),
        "{}",
        done.stderr
    );
    let quiet = place.ok(lens.iter().chain(&["-q"]));
    assert_eq!(quiet.stderr, "", "-q leaves errors alone");
    let run = place.only_run();
    let table = pellucid::table::read_provenance(run.join("logit_lens.parquet"))?;
    assert_eq!(table.accepted_config, ["sliding_mystery"]);
    assert!(table.command.join(" ").contains(" --accept-config sliding_mystery"), "{:?}", table.command);
    // The same numbers from a file without the key are another request's.
    let plain = forge::copy(&place, "llama", "m");
    place.ok(["lens", "-m", &plain, "--ids", "1,2"]);
    assert_eq!(fs_err::read_dir(place.path("runs"))?.count(), 2);
    Ok(())
}

#[test]
fn every_command_that_loads_a_model_takes_it() {
    let place = Place::new();
    let m = changed(&place, &[("mystery", json!("x")), ("riddle", json!([1]))]);
    let both = ["--accept-config", "mystery", "--accept-config", "riddle"];
    let pair = ["--clean", "#1,2,3", "--corrupt", "#1,4,3", "--answer", "#5", "--foil", "#6"];
    let commands: [Vec<&str>; 11] = [
        vec!["lens", "-m", &m, "--ids", "1,2"],
        vec!["attention", "-m", &m, "--ids", "1,2"],
        vec!["cache", "-m", &m, "--ids", "1,2", "--hooks", "z"],
        [&["patch", "-m", m.as_str()][..], &pair].concat(),
        [&["path", "-m", m.as_str()][..], &pair].concat(),
        [&["ablate", "-m", m.as_str()][..], &["--ids", "1,2"]].concat(),
        [&["attribute", "-m", m.as_str()][..], &pair].concat(),
        vec!["verify", &m],
        vec!["hooks", "-m", &m],
        vec!["model", "-m", &m],
        vec!["hooks", "-m", &m, "z"],
    ];
    for command in commands {
        let refused = place.pellucid(&command);
        assert_eq!(refused.code, Some(1), "{command:?}: {}", refused.stderr);
        assert!(
            refused.stderr.contains("keys that pellucid does not know: `mystery` = \"x\", `riddle` = [1]"),
            "{}",
            refused.stderr
        );
        let done = place.ok(command.iter().chain(&both));
        assert!(done.stderr.contains("`mystery`, `riddle` of m's config.json"), "{command:?}: {}", done.stderr);
    }
}

/// Invariant: as `harmless_keys_are_harmless_at_their_values`.
#[test]
fn what_changes_the_model_and_what_is_not_there_is_not_accepted() {
    let place = Place::new();
    let m = changed(&place, &[("is_encoder_decoder", json!(true))]);
    let accept = |key| ["model", "-m", &m, "--accept-config", key];
    place.refused(accept("is_encoder_decoder"), 1, "which means a model of an encoder and a decoder");
    place.refused(accept("rms_norm_eps"), 2, "`rms_norm_eps` is a key that this family reads");
    place.refused(accept("is_encoder_decodr"), 2, "did you mean `is_encoder_decoder`?");
    place.refused(accept("xyzzy"), 2, "config.json has no `xyzzy`, so there is nothing to accept");
    let m = changed(&place, &[("quantization_config", json!({"quant_method": "gptq"}))]);
    let refused = ["model", "-m", &m, "--accept-config", "quantization_config"];
    place.refused(refused, 1, "the weights are quantized (gptq)");
}

/// A key inside an object is written with a dot, and lets nothing else of the object through.
#[test]
fn a_key_inside_an_object_is_accepted_by_its_path() {
    let place = Place::new();
    let rope = json!({"rope_type": "default", "rope_theta": 10000.0, "note": 1});
    let m = changed(&place, &[("rope_parameters", rope)]);
    place.refused(["model", "-m", &m], 1, "--accept-config rope_parameters.note");
    place.ok(["model", "-m", &m, "--accept-config", "rope_parameters.note"]);
    place.refused(["model", "-m", &m, "--accept-config", "rope_parameters.nota"], 2, "has no `rope_parameters.nota`");
}

/// The library has it as an option, and the numbers are those of the file without the key.
#[test]
fn from_the_library() -> Result<()> {
    let place = Place::new();
    let m = changed(&place, &[("mystery", json!(null))]);
    let source = ModelSource::folder(&place.path(&m))?;
    assert!(Model::from_source(&source).err().unwrap().message().contains("`mystery` = null"));
    let model = Model::from_source(&source.accepting(["mystery"]))?;
    let plain = Model::load(&crate::bin::fixture("llama"))?;
    let run = |model: &Model| -> Result<_> {
        let mut cache = Cache::new(model.spec(), "logits")?;
        model.forward(&Batch::one(vec![1, 2, 3]), &mut [&mut cache])?;
        Ok(cache.get("logits")?.clone())
    };
    crate::reference::same_bits("logits", &run(&model)?, &run(&plain)?);
    Ok(())
}
