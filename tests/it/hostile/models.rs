//! Model files that are broken, or made to break: one sentence, exit code 1, nothing written.

use serde_json::{Value, json};

use crate::bin::Place;
use crate::forge::{self, Tensors};

/// Every command that reads weights says `says` of the model `name`, and no other.
#[track_caller]
fn refused(place: &Place, name: &str, says: &str) {
    for command in [&["lens"][..], &["attention"], &["cache", "--hooks", "logits"]] {
        place.refused(command.iter().chain(&["-m", name, "--ids", "1,2,3"]), 1, says);
    }
}

#[test]
fn a_safetensors_file_that_lies_is_refused() {
    let place = Place::new();
    let name = forge::copy(&place, "gpt2", "m");
    let good = place.read("m/model.safetensors");
    let offsets =
        |tensor: &'static str, range: [u64; 2]| forge::header(&good, |h| h[tensor]["data_offsets"] = json!(range));
    let field =
        |tensor: &'static str, field: &'static str, value: Value| forge::header(&good, |h| h[tensor][field] = value);
    const WTE: &str = "transformer.wte.weight";
    const C_FC: &str = "transformer.h.0.mlp.c_fc.weight";
    let bomb = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "is not a whole safetensors file: its header does not fit into its 0 bytes"),
        ("only a length", good[..8].to_vec(), "its header does not fit into its 8 bytes"),
        ("cut in the header", good[..100].to_vec(), "its header does not fit into its 100 bytes"),
        ("cut in the data", good[..good.len() - 1].to_vec(), "describes more or less data than its"),
        ("too long", [&good[..], b"x"].concat(), "describes more or less data than its"),
        ("no data at all", forge::header(&good, |_| {})[..8 + good_header(&good)].to_vec(), "more or less data"),
        ("header past the end", forge::file(good.len() as u64, b"{}", &[]), "its header does not fit"),
        ("header of 2^64 - 1 bytes", forge::file(u64::MAX, b"{}", &[]), "its header claims over 100 MB"),
        ("header of 2^63 bytes", forge::file(1 << 63, b"{}", &[]), "its header claims over 100 MB"),
        ("garbage", vec![0xA5; 4096], "its header claims over 100 MB"),
        ("garbage header", forge::file(16, &[0xFF; 16], &[]), "not a whole safetensors file"),
        ("header not JSON", forge::file(16, b"{\"a\": [1, 2, 3  ", &[]), "not a whole safetensors file"),
        ("header nested deeply", forge::file(bomb.len() as u64, bomb.as_bytes(), &[]), "not a whole safetensors file"),
        ("html", b"<!DOCTYPE html><html><body>404 Not Found</body></html>".to_vec(), "is a web page (HTML)"),
        ("git lfs pointer", b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "is a Git LFS pointer"),
        ("overlap", offsets(WTE, [0, 97 * 16 * 4]), "overlaps another or lies outside the file"),
        ("past the end", offsets(WTE, [1 << 40, (1 << 40) + 97 * 16 * 4]), "overlaps another or lies outside the file"),
        ("backwards", offsets(WTE, [97 * 16 * 4, 0]), "not a whole safetensors file"),
        ("offset of 2^64 - 1", offsets(WTE, [0, u64::MAX]), "not a whole safetensors file"),
        ("shape larger than bytes", field(C_FC, "shape", json!([16, 65])), "not a whole safetensors file"),
        ("shape overflows", field(C_FC, "shape", json!([u64::MAX, u64::MAX])), "not a whole safetensors file"),
        ("negative shape", field(C_FC, "shape", json!([-16, 64])), "not a whole safetensors file"),
        ("another dtype's size", field(C_FC, "dtype", json!("F64")), "not a whole safetensors file"),
        ("unknown dtype", field(C_FC, "dtype", json!("Q4_K")), "not a whole safetensors file"),
    ];
    for (what, bytes, says) in cases {
        place.write("m/model.safetensors", bytes);
        println!("{what}");
        refused(&place, &name, says);
    }
}

fn good_header(bytes: &[u8]) -> usize {
    u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

#[test]
fn weights_that_are_not_the_configs_are_refused() {
    type Change = fn(&mut Tensors);
    const WPE: &str = "transformer.wpe.weight";
    let cases: &[(Change, &str)] = &[
        (|t| t.get_mut(WPE).unwrap().1 = vec![16, 64], "the tensor `transformer.wpe.weight` has shape [16, 64], and"),
        (|t| t.get_mut(WPE).unwrap().1 = vec![1024], "the tensor `transformer.wpe.weight` has shape [1024], and"),
        (|t| t.get_mut(WPE).unwrap().1 = vec![64, 16, 1], "has shape [64, 16, 1], and config.json makes it [64, 16]"),
        (|t| drop(t.remove(WPE)), "the weights have no tensor `transformer.wpe.weight`"),
        (
            |t| {
                let wpe = t.remove(WPE).unwrap();
                t.insert("transformer.wpf.weight".into(), wpe);
            },
            "the nearest name there is `transformer.wpf.weight`",
        ),
        (|t| t.retain(|n, _| !n.contains(".h.1.")), "nor 11 others that the config promises"),
        (|t| t.clear(), "the weights have no tensor `transformer.wte.weight`, nor 27 others"),
        (
            |t| {
                let more = t[WPE].clone();
                t.insert("transformer.h.2.mystery".into(), more);
            },
            "have a tensor that this model does not use: `transformer.h.2.mystery`",
        ),
        (
            |t| {
                let twice = t[WPE].clone();
                t.insert("wpe.weight".into(), twice);
            },
            "have a tensor that this model does not use: `wpe.weight`",
        ),
        (|t| t.get_mut(WPE).unwrap().0 = safetensors::Dtype::I32, "is stored as I32, and pellucid reads F32"),
        (
            |t| {
                let head = (t["transformer.wte.weight"].0, vec![97, 16], vec![0; 97 * 16 * 4]);
                t.insert("lm_head.weight".into(), head);
            },
            "tied, but `transformer.wte.weight` and `lm_head.weight` differ",
        ),
        (
            |t| {
                let bias = t.get_mut("transformer.ln_f.bias").unwrap();
                bias.2[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            },
            "the tensor `transformer.ln_f.bias` has a number that is not finite: NaN at [0]",
        ),
    ];
    for (change, says) in cases {
        let place = Place::new();
        let name = forge::copy(&place, "gpt2", "m");
        forge::weights(&place, &name, change);
        place.refused(["lens", "-m", &name, "--ids", "1,2,3"], 1, says);
    }
}

#[test]
fn a_missing_unembedding_is_called_by_its_name() {
    let place = Place::new();
    let name = forge::copy(&place, "llama", "m");
    forge::weights(&place, &name, |t| drop(t.remove("lm_head.weight")));
    refused(&place, &name, "the weights have no tensor `lm_head.weight`\n");
}

#[test]
fn shards_that_do_not_fit_are_refused() {
    let place = Place::new();
    let name = forge::copy(&place, "gpt2", "m");
    let all = forge::tensors(&place, &name);
    fs_err::remove_file(place.path("m/model.safetensors")).unwrap();
    place.write("outside.safetensors", forge::serialized(&all));
    place.write("m/a.safetensors", forge::serialized(&all));
    let one = all.iter().take(1).map(|(n, t)| (n.clone(), t.clone())).collect();
    place.write("m/b.safetensors", forge::serialized(&one));
    let outside = place.path("outside.safetensors").display().to_string();
    for (shard, says) in [
        ("../outside.safetensors", "puts `x` into \"../outside.safetensors\", which is not a file name"),
        (&outside, "which is not a file name"),
        ("..", "which is not a file name"),
        ("c.safetensors", "names c.safetensors, which is missing"),
        ("b.safetensors", "is in two files"),
    ] {
        let index = json!({"weight_map": {"x": shard, "y": "a.safetensors"}});
        place.write("m/model.safetensors.index.json", index.to_string());
        refused(&place, &name, says);
    }
    for (index, says) in
        [("{", "is not valid JSON"), ("[]", "has no \"weight_map\""), (r#"{"weight_map": {}}"#, "no shards")]
    {
        place.write("m/model.safetensors.index.json", index);
        refused(&place, &name, says);
    }
}

/// One changed key of a config, and what is said about it.
type Case = (&'static str, &'static str, fn() -> Value, &'static str);

#[test]
fn a_config_that_cannot_be_right_is_refused() {
    let cases: &[Case] = &[
        ("gpt2", "model_type", || json!("gtp2"), "does not know the model type `gtp2`"),
        ("gpt2", "model_type", || json!("gtp2"), "hint: did you mean `gpt2`? known are "),
        ("gpt2", "model_type", || json!("mamba2"), "which is no Transformer"),
        ("gpt2", "model_type", || json!("mamba2"), "hint: known are "),
        (
            "llama",
            "quantization_config",
            || json!({"quant_method": "gptq", "bits": 4}),
            "the weights are quantized (gptq), and pellucid reads none such\nhint: take the model that it was made of",
        ),
        ("llama", "quantization_config", || json!({}), "the weights are quantized, and"),
        ("gpt2", "model_type", || json!(7), "`model_type` is 7"),
        (
            "gpt2",
            "sliding_mystery",
            || json!(3),
            "config.json has a key that pellucid does not know: `sliding_mystery` = 3",
        ),
        ("gpt2", "mystery", || json!("x".repeat(100_000)), "a key that pellucid does not know: `mystery` = \"xxx"),
        ("gpt2", "n_embd", || json!("x".repeat(100_000)), "`n_embd` is \"xxx"),
        ("gpt2", "\u{1b}[31m\u{202e}\n", || json!("\u{1b}[0m"), "\\u{202e}"),
        ("gpt2", "n_embd", || json!(0), "`n_embd` is 0"),
        ("gpt2", "n_head", || json!(0), "`n_head` is 0"),
        ("gpt2", "n_layer", || json!(0), "`n_layer` is 0"),
        ("gpt2", "n_positions", || json!(0), "`n_positions` is 0"),
        ("gpt2", "vocab_size", || json!(0), "`vocab_size` is 0"),
        ("gpt2", "n_inner", || json!(0), "`n_inner` is 0"),
        ("gpt2", "n_head", || json!(3), "3 heads do not divide a width of 16"),
        ("gpt2", "n_embd", || json!(-16), "`n_embd` is -16"),
        ("gpt2", "n_embd", || json!(16.5), "`n_embd` is 16.5"),
        ("gpt2", "n_embd", || json!("16"), "`n_embd` is \"16\""),
        ("gpt2", "n_embd", || Value::Null, "`n_embd` is null, and it must have a value"),
        ("gpt2", "activation_function", || json!("tanhshrink"), "does not know the activation `tanhshrink`"),
        ("gpt2", "add_cross_attention", || json!(true), "`add_cross_attention` is true"),
        ("gpt2", "layer_norm_epsilon", || json!(-1.0), "`layer_norm_epsilon` is -1"),
        ("llama", "rms_norm_eps", || json!(-1.0), "`rms_norm_eps` is -1"),
        ("llama", "head_dim", || json!(0), "`head_dim` is 0"),
        ("llama", "head_dim", || json!(3), "3 of 3 head dimensions cannot be rotated in pairs"),
        ("llama", "num_key_value_heads", || json!(0), "`num_key_value_heads` is 0"),
        ("llama", "num_key_value_heads", || json!(3), "4 query heads cannot share 3 key/value heads evenly"),
        ("llama", "num_key_value_heads", || json!(8), "4 query heads cannot share 8 key/value heads evenly"),
        ("llama", "rope_parameters", || json!({"rope_type": "spiral"}), "does not know the rotary scaling `spiral`"),
        ("llama", "rope_parameters", || json!({"rope_type": "linear"}), "`rope_parameters` has no `factor`"),
        ("llama", "rope_parameters", || json!({"rope_type": "linear", "factor": 0}), "`factor` is 0"),
        ("llama", "rope_parameters", || json!({"rope_theta": 0}), "`rope_theta` is 0"),
        ("llama", "rope_parameters", || json!({"rope_theta": -2.0}), "`rope_theta` is -2"),
        ("llama", "rope_parameters", || json!({"rope_type": "default", "rope_spin": 1}), "`rope_spin` = 1"),
        ("llama", "rope_parameters", || json!("default"), "`rope_parameters` is \"default\""),
        ("llama", "rope_scaling", || json!({"rope_type": "linear", "factor": 8}), "`rope_scaling`"),
        ("llama", "partial_rotary_factor", || json!(1e300), "transformers reads this key in other families"),
    ];
    for (fixture, key, value, says) in cases {
        let place = Place::new();
        let name = forge::copy(&place, fixture, "m");
        forge::config(&place, &name, |c| drop(c.insert((*key).to_owned(), value())));
        println!("{key}");
        place.refused(["lens", "-m", &name, "--ids", "1,2"], 1, says);
        place.refused(["hooks", "-m", &name], 1, says);
        place.refused(["model", "-m", &name], 1, says);
    }
}

/// Sizes that no model has must not be allocated, nor wrap around when they are multiplied.
#[test]
fn absurd_sizes_are_refused() {
    let keys = [
        ("gpt2", &["n_layer", "n_embd", "n_positions", "vocab_size", "n_inner"][..]),
        (
            "llama",
            &[
                "num_hidden_layers", "hidden_size", "vocab_size", "max_position_embeddings", "intermediate_size",
                "head_dim", "num_attention_heads",
            ],
        ),
    ];
    for (fixture, keys) in keys {
        for key in keys {
            for size in [1u64 << 32, 1_000_000_000_000, 1 << 61, 1 << 63, u64::MAX - 1] {
                let place = Place::new();
                let name = forge::copy(&place, fixture, "m");
                forge::config(&place, &name, |c| drop(c.insert((*key).to_owned(), json!(size))));
                place.refused(["model", "-m", &name], 1, &format!("`{key}` is {size}"));
                place.refused(["lens", "-m", &name, "--ids", "1,2"], 1, &format!("`{key}` is {size}"));
            }
        }
    }
    // Each is possible alone, and not together.
    let place = Place::new();
    let name = forge::copy(&place, "llama", "m");
    forge::config(&place, &name, |c| {
        for key in ["num_attention_heads", "head_dim"] {
            c.insert(key.to_owned(), json!(1 << 23));
        }
    });
    place.refused(["model", "-m", &name], 1, "8388608 heads of 8388608 dimensions");
}

#[test]
fn a_config_that_cannot_be_read_is_refused() {
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (config, says) in [
        (&b""[..], "config.json cannot be parsed"),
        (b"{", "config.json cannot be parsed"),
        (b"not json", "config.json cannot be parsed"),
        (b"[1]", "config.json is not a JSON object"),
        (b"{\"model_type\": \"gpt2\", \xFF}", "UTF-8"),
        (b"{\"model_type\": \"gpt2\", \"n_embd\": 1e999}", "config.json cannot be parsed"),
        (deep.as_bytes(), "config.json cannot be parsed"),
    ] {
        let place = Place::new();
        let name = forge::copy(&place, "gpt2", "m");
        place.write("m/config.json", config);
        for command in ["lens", "attention"] {
            place.refused([command, "-m", &name, "--ids", "1"], 1, says);
        }
        place.refused(["hooks", "-m", &name], 1, says);
    }
}

#[test]
fn a_tokenizer_that_cannot_be_used_is_refused() {
    let bpe =
        |vocab: &str, merges: &str| format!(r#"{{"model": {{"type": "BPE", "vocab": {vocab}, "merges": {merges}}}}}"#);
    for tokenizer in [
        String::new(),
        "{".into(),
        "[]".into(),
        "{}".into(),
        r#"{"model": {"type": "Telepathy"}}"#.into(),
        bpe(r#"{"a": 0}"#, r#"["a b"]"#),
        bpe(r#"{"a": -1}"#, "[]"),
        bpe(r#"{"a": 99999999999}"#, "[]"),
        r#"{"model": {"type": "Unigram", "unk_id": 9, "vocab": [["a", 0.0]]}}"#.into(),
        // The crate that reads these panics on this one.
        r#"{"decoder": {"type": "ByteFallback", "x": "\ud800"}, "model": {"type": "BPE"}}"#.into(),
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
    ] {
        let place = Place::new();
        let name = forge::copy(&place, "gpt2", "m");
        place.write("m/tokenizer.json", &tokenizer);
        place.refused(["lens", "-m", &name, "a b"], 1, "tokenizer");
        place.refused(["tokens", "-m", &name, "a b"], 1, "tokenizer");
    }
}
