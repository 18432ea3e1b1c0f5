//! Which keys of `config.json` are applied, in which families, and what is taken for those left out: as transformers does. What
//! transformers does is in `src/arch/keys.json` and `tests/fixtures/config/probes.json`, which `docs/config_tables.py` writes.

use std::collections::{BTreeMap, BTreeSet};

use pellucid::Result;
use pellucid::arch::Spec;
use pellucid::arch::config::ConfigOptions;
use pellucid::arch::family::{FAMILIES, read_config, read_config_with};
use pellucid::arch::keys::{FamilyKeys, TABLE};
use pellucid::arch::spec::{Mask, Position};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::bin::fixture;

/// What the script tried, and what it changed.
#[derive(Deserialize)]
struct Probes {
    /// For each key of any family, the values tried.
    values: BTreeMap<String, Vec<Value>>,
    families: BTreeMap<String, Vec<Setting>>,
}

/// A small model of a family that transformers built and ran.
#[derive(Deserialize)]
struct Setting {
    config: Map<String, Value>,
    /// The keys that gave other tensors or other logits, with the values that did.
    other: BTreeMap<String, Vec<Value>>,
}

fn probes() -> Probes {
    serde_json::from_str(&fs_err::read_to_string(fixture("config/probes.json")).unwrap()).unwrap()
}

/// `config` as a file of this family, with some keys changed.
fn with(family: &str, config: &Map<String, Value>, changes: &[(&str, &Value)]) -> String {
    let mut config = config.clone();
    config.insert("model_type".into(), family.into());
    for (key, value) in changes {
        config.insert((*key).to_owned(), (*value).clone());
    }
    Value::Object(config).to_string()
}

/// What the model is, without the longest context: that limits prompts and changes no number.
fn spec(text: &str) -> Result<Spec> {
    let (_, spec) = read_config(text)?;
    Ok(Spec { n_ctx: None, ..spec })
}

/// The settings of a family that pellucid computes: all but two of Falcon's.
fn computed<'a>(family: &str, settings: &'a [Setting]) -> Vec<&'a Setting> {
    let is_read = |s: &&Setting| spec(&with(family, &s.config, &[])).is_ok();
    let read: Vec<&Setting> = settings.iter().filter(is_read).collect();
    let refused = if family == "falcon" { 2 } else { 0 };
    assert_eq!(read.len() + refused, settings.len(), "{family}");
    read
}

#[test]
fn the_table_has_every_family_and_says_where_it_is_from() {
    let known: BTreeSet<&str> = TABLE.families.keys().map(String::as_str).collect();
    let ours: BTreeSet<&str> = FAMILIES.iter().map(|f| f.model_type).filter(|f| *f != "hooked_transformer").collect();
    assert_eq!(known, ours);
    assert_eq!(probes().families.keys().map(String::as_str).collect::<BTreeSet<_>>(), ours);
    assert!(
        TABLE.transformers.starts_with("5.") && TABLE.releases.len() >= 10,
        "{} {:?}",
        TABLE.transformers,
        TABLE.releases
    );
}

/// For every family and every key: left out, it is what it is where its default is written down. Defaults that a family works
/// out from other keys are null in the table, and read as null.
///
/// Invariant: A configuration key that is left out means what transformers takes for it, in every family.
#[test]
fn a_key_left_out_means_what_transformers_takes() {
    let mut compared = 0;
    for (family, settings) in &probes().families {
        let keys = FamilyKeys::of(family).unwrap();
        for Setting { config, .. } in computed(family, settings) {
            let mut whole = config.clone();
            for (key, default) in &keys.model {
                let said = keys.names(key).any(|name| whole.contains_key(name));
                if !said && !default.is_null() {
                    whole.insert(key.clone(), default.clone());
                }
            }
            let complete = spec(&with(family, &whole, &[])).unwrap_or_else(|e| panic!("{family}: {e}"));
            assert_eq!(spec(&with(family, config, &[])).unwrap(), complete, "{family}, everything left out at once");
            for (key, default) in &keys.model {
                let mut without = whole.clone();
                keys.names(key).for_each(|name| drop(without.remove(name)));
                let absent = spec(&with(family, &without, &[]));
                let written = spec(&with(family, &without, &[(key, default)]));
                match (absent, written) {
                    (Ok(absent), Ok(written)) => assert_eq!(absent, written, "{family} without {key}"),
                    // A size that does not go with the other sizes here.
                    (Err(absent), Err(written)) => assert_eq!(absent.message(), written.message(), "{family} {key}"),
                    (absent, written) => panic!("{family} {key}: {:?} {:?}", absent.err(), written.err()),
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 800, "{compared}");
}

/// Defaults as the papers and model cards have them, written down here by hand: the table is not its own judge.
///
/// Invariant: as `a_key_left_out_means_what_transformers_takes`.
#[test]
fn defaults_are_the_known_ones() -> Result<()> {
    let of = |family: &str, sizes: Value| spec(&with(family, sizes.as_object().unwrap(), &[]));
    let eps = |spec: &Spec| spec.final_norm.unwrap().eps;
    let theta = |spec: &Spec, layer: usize| match &spec.blocks[layer].attention.inner.position {
        Position::Rotary(rotary) => (rotary.theta, rotary.dims),
        other => panic!("{other:?}"),
    };
    let mixtral = of("mixtral", json!({"hidden_size": 256, "num_attention_heads": 8}))?;
    assert_eq!((theta(&mixtral, 0).0, eps(&mixtral)), (1e6, 1e-5));
    let experts = mixtral.blocks[0].mlp.as_ref().unwrap().inner.experts().unwrap();
    assert_eq!((experts.n_experts, experts.per_row, experts.expert.d_mlp), (8, 2, 14336));
    assert_eq!(mixtral.blocks[0].attention.inner.mask, Mask::Causal);
    let olmoe = of("olmoe", json!({}))?;
    assert_eq!((eps(&olmoe), theta(&olmoe, 0).0), (1e-5, 1e4));
    let mistral = of("mistral", json!({"hidden_size": 256, "num_attention_heads": 32}))?;
    let a = &mistral.blocks[0].attention.inner;
    assert_eq!((a.n_kv_heads, a.d_head, a.mask, eps(&mistral)), (8, 8, Mask::Window(4096), 1e-6));
    let gemma = of("gemma", json!({}))?;
    assert_eq!((gemma.blocks[0].attention.inner.d_head, gemma.unembedding.tied), (256, true));
    let gemma2 = of("gemma2", json!({}))?;
    let a = &gemma2.blocks[0].attention.inner;
    assert_eq!((a.cap, gemma2.unembedding.cap, a.mask, a.scale), (Some(50.0), Some(30.0), Mask::Window(4096), 0.0625));
    let gemma3 = of("gemma3_text", json!({}))?;
    assert_eq!((theta(&gemma3, 0).0, theta(&gemma3, 5).0), (1e4, 1e6));
    assert_eq!(
        (gemma3.blocks[4].attention.inner.mask, gemma3.blocks[5].attention.inner.mask),
        (Mask::Window(4096), Mask::Causal)
    );
    assert_eq!(theta(&of("cohere", json!({}))?, 0).0, 5e5);
    assert_eq!(theta(&of("smollm3", json!({}))?, 0).0, 2e6);
    // A quarter of 96, half of 64, a quarter of 80.
    assert_eq!(theta(&of("gpt_neox", json!({}))?, 0), (1e4, 24));
    assert_eq!(theta(&of("phi", json!({}))?, 0), (1e4, 32));
    assert_eq!(theta(&of("stablelm", json!({}))?, 0), (1e4, 20));
    assert_eq!(of("qwen3", json!({}))?.blocks[0].attention.inner.d_head, 128);
    assert_eq!(of("falcon", json!({}))?.blocks[0].attention.inner.n_kv_heads, 1);
    assert_eq!(eps(&of("phi3", json!({}))?), 1e-5);
    Ok(())
}

/// Every key of every family, put into the file of every other: what transformers does not read in a family changes nothing,
/// or is refused; what changed transformers' model changes ours, or is refused.
///
/// Invariant: A key that transformers does not read in a family is not applied; a key that it reads is read or refused.
#[test]
fn only_keys_that_transformers_reads_are_applied() {
    let Probes { values, families } = probes();
    let (mut applied, mut left_alone, mut refused) = (0, 0, 0);
    for (family, settings) in &families {
        let keys = FamilyKeys::of(family).unwrap();
        for Setting { config, other } in computed(family, settings) {
            let base = spec(&with(family, config, &[])).unwrap_or_else(|e| panic!("{family}: {e}"));
            for (key, value) in values.iter().flat_map(|(key, values)| values.iter().map(move |v| (key, v))) {
                if config.get(key) == Some(value) {
                    continue;
                }
                let changed = other.get(key).is_some_and(|values| values.contains(value));
                match spec(&with(family, config, &[(key, value)])) {
                    Err(e) => {
                        refused += 1;
                        assert!(!e.message().is_empty() && e.message().len() < 400, "{family} {key}: {e}");
                    }
                    Ok(spec) if changed => {
                        assert_ne!(spec, base, "{family}: transformers gives other numbers with {key} = {value}");
                        applied += 1;
                    }
                    Ok(spec) if !keys.reads(key) => {
                        assert_eq!(spec, base, "{family}: transformers does not read {key}, here {value}");
                        left_alone += 1;
                    }
                    // It is read, and changed nothing in this setting: a window longer than the prompt.
                    Ok(_) => {}
                }
            }
        }
    }
    println!("{applied} applied, {left_alone} left alone, {refused} refused");
    assert!(applied > 500 && left_alone > 1000 && refused > 1000, "{applied} {left_alone} {refused}");
}

/// The faults that were: applied where transformers does not read them.
#[test]
fn keys_of_other_families_are_not_applied() {
    let probes = probes();
    for (family, key, value) in [
        ("llama", "partial_rotary_factor", json!(0.5)),
        ("llama", "rotary_pct", json!(0.5)),
        ("qwen2", "partial_rotary_factor", json!(0.5)),
        ("llama", "n_embd", json!(32)),
        ("bloom", "hidden_act", json!("relu")),
        ("bloom", "intermediate_size", json!(20)),
        ("gpt_neox", "num_key_value_heads", json!(1)),
        ("gpt2", "attention_bias", json!(true)),
        ("mistral", "mlp_bias", json!(true)),
        ("olmoe", "head_dim", json!(8)),
    ] {
        let config = &probes.families[family][0].config;
        let error =
            spec(&with(family, config, &[(key, &value)])).err().unwrap_or_else(|| panic!("{family} takes {key}"));
        assert!(error.message().contains(key), "{family}: {error}");
        // With leave it is left unread, as transformers leaves it.
        let options = ConfigOptions::default().accepting([key]);
        let text = with(family, config, &[(key, &value)]);
        let let_through = read_config_with(&text, &options).unwrap_or_else(|e| panic!("{family} {key}: {e}")).spec;
        assert_eq!(let_through, read_config(&with(family, config, &[])).unwrap().1, "{family} {key}");
    }
    // The class declares it, and no line of the model reads it: at any value it is nothing.
    let config = &probes.families["gemma3_text"][0].config;
    let capped = spec(&with("gemma3_text", config, &[("attn_logit_softcapping", &json!(0.5))])).unwrap();
    assert_eq!(capped, spec(&with("gemma3_text", config, &[])).unwrap());
}

/// Scalings that extend a context are read in every rotary family; inside them as well, only what transformers reads.
#[test]
fn settings_inside_the_rotary_object_are_those_that_transformers_reads() {
    let probes = probes();
    let text =
        |family: &str, rope: Value| with(family, &probes.families[family][0].config, &[("rope_parameters", &rope)]);
    let error = spec(&text("llama", json!({"rope_type": "default", "partial_rotary_factor": 0.5}))).unwrap_err();
    assert!(error.message().contains("partial_rotary_factor"), "{error}");
    let same = spec(&text("llama", json!({"rope_type": "default", "partial_rotary_factor": 1.0}))).unwrap();
    assert_eq!(same, spec(&text("llama", json!({"rope_type": "default"}))).unwrap());
    let half = spec(&text("phi", json!({"rope_type": "default", "partial_rotary_factor": 0.25}))).unwrap();
    assert!(matches!(&half.blocks[0].attention.inner.position, Position::Rotary(r) if r.dims == 4), "{half:?}");
    // transformers takes it for another name of longrope, which depends on the length of the prompt.
    let error = spec(&text("phi3", json!({"rope_type": "yarn", "factor": 4.0}))).unwrap_err();
    assert!(error.message().contains("without rotary scaling only"), "{error}");
    // The key beside the object comes before the one in it.
    let scaled = json!({"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16});
    let config = &probes.families["llama"][0].config;
    let both = with("llama", config, &[("rope_parameters", &scaled), ("original_max_position_embeddings", &json!(8))]);
    let mut first = scaled.clone();
    first["original_max_position_embeddings"] = json!(8);
    assert_eq!(spec(&both).unwrap(), spec(&text("llama", first)).unwrap());
}

/// A family's reader asks for keys that transformers reads, and for all of them.
///
/// Invariant: as `only_keys_that_transformers_reads_are_applied`.
#[test]
fn a_reader_asks_for_the_keys_of_its_table_and_for_all_of_them() {
    let names: BTreeSet<&str> = (TABLE.families.values())
        .flat_map(|f| f.model.keys().chain(f.spelled.keys()).chain(f.inert.keys()))
        .map(String::as_str)
        .collect();
    for (family, settings) in &probes().families {
        let keys = FamilyKeys::of(family).unwrap();
        let mut asked = BTreeSet::new();
        for Setting { config, .. } in computed(family, settings) {
            let reading = read_config_with(&with(family, config, &[]), &ConfigOptions::default()).unwrap();
            // What says whose file it is, and whether its weights are packed.
            let first = ["model_type", "architectures", "quantization_config"];
            for key in reading.asked.iter().filter(|key| !first.contains(&key.as_str())) {
                assert!(names.contains(key.as_str()), "{family} asks for `{key}`, which no family of transformers has");
                asked.insert(keys.canonical(key).to_owned());
            }
            for key in reading.used.iter().filter(|key| !first.contains(&key.as_str())) {
                assert!(keys.reads(key), "{family} reads `{key}`, which is not in its table");
            }
        }
        let forgotten: Vec<&String> = keys.model.keys().filter(|key| !asked.contains(*key)).collect();
        assert!(
            forgotten.is_empty(),
            "{family} does not ask for {forgotten:?}, which change what transformers computes"
        );
    }
}

/// A key that is harmless at some values is refused at others, with those values.
///
/// Invariant: A harmless key is harmless only at its known values; `--accept-config` lets an unknown key through by name, on
/// record, and never one that changes the model.
#[test]
fn harmless_keys_are_harmless_at_their_values() {
    let config = &probes().families["llama"][0].config;
    let read = |key: &str, value: Value| spec(&with("llama", config, &[(key, &value)]));
    for (key, value) in [
        ("is_decoder", json!(true)),
        ("is_encoder_decoder", json!(false)),
        ("chunk_size_feed_forward", json!(0)),
        ("chunk_size_feed_forward", json!(0.0)),
        ("n_special", json!(0)),
        ("pruned_heads", json!({})),
        ("activation", json!("swiglu")),
        ("rope_interleaved", json!(false)),
        ("attention_dropout", json!(0.7)),
        ("temperature", json!(0.3)),
        ("sliding_window", Value::Null),
        ("attn_logit_softcapping", Value::Null),
    ] {
        assert!(read(key, value.clone()).is_ok(), "{key} = {value}: {:?}", read(key, value.clone()).err());
    }
    for (key, value, says, can_be_accepted) in [
        ("is_encoder_decoder", json!(true), "which means a model of an encoder and a decoder", false),
        ("add_cross_attention", json!(true), "harmless only where it is false", false),
        ("pruned_heads", json!({"0": [1]}), "attention heads that were taken out", false),
        ("rope_interleaved", json!(true), "rotation of adjacent dimensions", false),
        ("vision_config", json!({}), "a language model inside one that reads images", false),
        ("chunk_size_feed_forward", json!(3), "known to change nothing only where it is 0", true),
        ("n_special", json!(2), "known to change nothing only where it is 0", true),
        ("activation", json!("relu"), "known to change nothing only where it is \"swiglu\"", true),
        ("sliding_window", json!(4), "transformers reads this key in other families", true),
    ] {
        let text = with("llama", config, &[(key, &value)]);
        let error = spec(&text).unwrap_err();
        assert!(error.message().contains(says), "{key}: {error}");
        assert_eq!(
            error.hint_text().unwrap().contains(&format!("accept_config = {key}")),
            can_be_accepted,
            "{error:?}"
        );
        let accepted = read_config_with(&text, &ConfigOptions::default().accepting([key]));
        assert_eq!(accepted.is_ok(), can_be_accepted, "{key}: {:?}", accepted.err());
    }
    // What one key says in two words must be one thing.
    let neox = &probes().families["gpt_neox"][0].config;
    let read =
        |pct: Value| spec(&with("gpt_neox", neox, &[("rotary_pct", &json!(0.5)), ("partial_rotary_factor", &pct)]));
    assert!(read(json!(0.5)).is_ok());
    assert!(read(json!(0.25)).unwrap_err().message().contains("where it is what `rotary_pct` is"));
}

/// Keys that a program names for another reason must not be taken for settings of the model that it is.
#[test]
fn no_key_is_in_both_tables() {
    let harmless = &TABLE.harmless;
    for (family, keys) in &TABLE.families {
        for key in keys.model.keys().chain(keys.spelled.keys()) {
            assert!(!harmless.bookkeeping.contains(key) && !harmless.generation.contains(key), "{family} {key}");
            assert!(!keys.inert.contains_key(key) && !keys.harmless.contains_key(key), "{family} {key}");
        }
    }
}

/// Another family is named where it is meant or a relative, and nowhere else.
#[test]
fn a_family_is_named_only_where_it_is_meant_or_a_relative() {
    let error = |model_type: &str| read_config(&json!({"model_type": model_type}).to_string()).err().unwrap();
    for (given, meant) in [
        ("gtp2", "gpt2"),
        ("gpt-neox", "gpt_neox"),
        ("GPT2", "gpt2"),
        ("lama", "llama"),
        ("mistrall", "mistral"),
        ("olm", "olmo"),
        ("Qwen3-MoE", "qwen3_moe"),
        ("starcoder-2", "starcoder2"),
    ] {
        let hint = error(given).hint_text().unwrap().to_owned();
        assert!(hint.starts_with(&format!("did you mean `{meant}`? known are bloom, ")), "{given}: {hint}");
    }
    for (given, relative) in
        [("codegen", "gptj"), ("gpt_neox_japanese", "gpt_neox"), ("xglm", "opt"), ("cohere2", "cohere")]
    {
        let error = error(given);
        assert!(error.message().contains(&format!("its nearest relative is `{relative}`, but ")), "{error}");
    }
    for unrelated in ["glm", "glm4", "mpt", "ctrl", "gemma4", "qwen4", "llama5", "molmo2", "pixtral", "llava", "x", ""]
    {
        let error = error(unrelated);
        let said = format!("{error} {}", error.hint_text().unwrap());
        assert!(!said.contains("relative") && !said.contains("did you mean"), "{unrelated}: {said}");
    }
}

/// A file of 2019 names its class alone; one that names neither is nothing.
#[test]
fn a_file_without_model_type_is_what_its_class_says() {
    let named = read_config(r#"{"architectures": ["GPT2LMHeadModel"], "n_embd": 8, "n_head": 2}"#).unwrap();
    assert_eq!((named.0.model_type, named.1.d_model), ("gpt2", 8));
    for text in [r#"{"architectures": ["GPT2Model2"], "n_embd": 8}"#, r#"{"n_embd": 8}"#, r#"{"architectures": []}"#] {
        assert!(read_config(text).err().unwrap().message().contains("has no `model_type`"), "{text}");
    }
}
