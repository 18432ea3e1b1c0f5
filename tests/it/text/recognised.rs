//! What people give for a model and is none: each is called what it is, with one thing to do.

use crate::bin::{Place, fixture};

const LFS: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 548105171\n";
const HTML: &str = "\n<!DOCTYPE html>\n<html class=\"\">\n<head><title>gpt2</title></head></html>\n";

/// A place with a whole model in the folder `m`.
fn with_model() -> Place {
    let place = Place::new();
    for file in ["config.json", "model.safetensors"] {
        place.write(&format!("m/{file}"), fs_err::read(fixture("gpt2").join(file)).unwrap());
    }
    place
}

#[track_caller]
fn refused(place: &Place, code: i32, says: &[&str]) {
    for says in says {
        place.refused(["lens", "-m", "m", "--ids", "1,2"], code, says);
    }
}

fn remove(place: &Place, name: &str) {
    fs_err::remove_file(place.path(name)).unwrap();
}

/// A safetensors file with this header, whose data follows.
fn file(header: &serde_json::Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// The fixture's tensors in two files, as `save_pretrained` cuts them.
fn shards() -> [Vec<u8>; 2] {
    let bytes = fs_err::read(fixture("gpt2").join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut parts = [(serde_json::json!({}), vec![]), (serde_json::json!({}), vec![])];
    for (i, (name, view)) in tensors.tensors().into_iter().enumerate() {
        let (header, data) = &mut parts[i % 2];
        let from = data.len();
        data.extend_from_slice(view.data());
        header[&name] = serde_json::json!({"dtype": "F32", "shape": view.shape(), "data_offsets": [from, data.len()]});
    }
    parts.map(|(header, data)| file(&header, &data))
}

/// Invariant: Shards without an index load as the whole model or are refused.
#[test]
fn shards_without_an_index_are_read_if_they_are_all_there() {
    let place = with_model();
    let whole = place.ok(["lens", "-q", "-m", "m", "--ids", "1,2", "--format", "csv", "--out", "a"]).stdout;
    remove(&place, "m/model.safetensors");
    let [one, two] = shards();
    place.write("m/model-00001-of-00002.safetensors", &one);
    refused(
        &place,
        1,
        &["m has not all of its 2 shards: model-00002-of-00002.safetensors is missing", "hint: fetch model-00002"],
    );
    place.write("m/model-00002-of-00002.safetensors", &two);
    let parts = place.ok(["lens", "-q", "-m", "m", "--ids", "1,2", "--format", "csv", "--out", "b"]).stdout;
    assert_eq!(parts, whole);
    // Shards of two sets may be of two models.
    place.write("m/model-00003-of-00003.safetensors", &one);
    refused(&place, 1, &["m has model-00001-of-00002.safetensors and model-00003-of-00003.safetensors, and only one"]);
    // A name that only looks like a shard's is none.
    remove(&place, "m/model-00003-of-00003.safetensors");
    place.write("m/model-1-of-2.safetensors", &one);
    place.ok(["lens", "-q", "-m", "m", "--ids", "1,2"]);
}

/// Invariant: as `weights_for_other_programs_are_called_so`.
#[test]
fn git_lfs_pointers_are_called_so() {
    for (file, says) in [
        ("config.json", "config.json is a Git LFS pointer to a file of 548105171 bytes, and not that file"),
        ("model.safetensors", "model.safetensors is a Git LFS pointer to a file of 548105171 bytes"),
        ("tokenizer.json", "tokenizer.json is a Git LFS pointer"),
        ("tokenizer_config.json", "tokenizer_config.json is a Git LFS pointer"),
    ] {
        let place = with_model();
        if file == "tokenizer_config.json" {
            place.write("m/tokenizer.json", fs_err::read(fixture("tokenizers/gpt2/tokenizer.json")).unwrap());
        }
        place.write(&format!("m/{file}"), LFS);
        refused(&place, 1, &[says, "git lfs pull"]);
    }
    let place = with_model();
    remove(&place, "m/model.safetensors");
    place.write("m/model.safetensors.index.json", LFS);
    refused(&place, 1, &["model.safetensors.index.json is a Git LFS pointer"]);
    remove(&place, "m/model.safetensors.index.json");
    place.write("m/pytorch_model.bin", LFS);
    refused(&place, 1, &["pytorch_model.bin is a Git LFS pointer"]);
}

#[test]
fn web_pages_and_servers_words_are_called_so() {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let place = with_model();
        place.write(&format!("m/{file}"), HTML);
        refused(
            &place,
            1,
            &[&format!("{file} is a web page (HTML), and not the file that its name promises"), "/resolve/"],
        );
    }
    for (file, bytes, says) in [
        (
            "config.json",
            r#"{"error": "Invalid username or password."}"#,
            "holds a server's refusal in place of what was asked for: `Invalid username",
        ),
        ("model.safetensors", "Entry not found", "holds text and no weights: it begins with `Entry not found`"),
        ("config.json", "Entry not found", "holds a server's refusal"),
        ("config.json", "<?xml version=\"1.0\"?><Error/>", "is XML, a server's answer"),
        ("model.safetensors", "# a list of layers\n", "holds text and no weights: it begins with `# a list of layers`"),
        ("model.safetensors", "GGUF\u{3}\0\0\0", "is a GGUF file under another name"),
        (
            "model.safetensors",
            "PK\u{3}\u{4}\0\0\0\0\0\0",
            "is a zip archive or a file of torch.save, and no safetensors file",
        ),
    ] {
        let place = with_model();
        place.write(&format!("m/{file}"), bytes);
        refused(&place, 1, &[says, "hint: "]);
    }
    let place = with_model();
    place.write("m/model.safetensors", b"\x1f\x8b\x08\0\0\0\0\0");
    refused(&place, 1, &["model.safetensors is compressed (gzip)", "unpack it first"]);
}

const ADAPTER: &str = r#"{"peft_type": "LORA", "base_model_name_or_path": "meta-llama/Llama-2-7b-hf", "r": 8}"#;

#[test]
fn an_adapter_alone_is_no_model_and_beside_one_is_not_used() {
    let place = Place::new();
    place.write("m/adapter_config.json", ADAPTER);
    place.write("m/adapter_model.safetensors", "x");
    refused(
        &place,
        2,
        &["m is an adapter (LORA) of `meta-llama/Llama-2-7b-hf`, and no model by itself", "merge_and_unload()"],
    );
    // A copy of its model's configuration makes it none.
    place.write("m/config.json", fs_err::read(fixture("gpt2").join("config.json")).unwrap());
    refused(&place, 1, &["m is an adapter (LORA) of `meta-llama/Llama-2-7b-hf`"]);

    let place = with_model();
    let without = place.ok(["lens", "-m", "m", "--ids", "1,2", "--format", "csv", "--out", "a"]);
    assert!(!without.stderr.contains("adapter"), "{}", without.stderr);
    place.write("m/adapter_config.json", ADAPTER);
    place.write("m/adapter_model.safetensors", "x");
    let with = place.ok(["lens", "-m", "m", "--ids", "1,2", "--format", "csv", "--out", "b"]);
    let note = "note: m has an adapter too (adapter_model.safetensors), which is not used: the model is run without it";
    assert!(with.stderr.contains(note), "{}", with.stderr);
    assert_eq!(with.stdout, without.stdout);
}

/// Invariant: A path that is not a model is called what it is.
#[test]
fn weights_for_other_programs_are_called_so() {
    for (file, says) in [
        ("model-q4.gguf", "m has its weights in GGUF (model-q4.gguf), which is not read"),
        ("tf_model.h5", "m has its weights for TensorFlow only (tf_model.h5), which are not read"),
        ("flax_model.msgpack", "m has its weights for Flax only"),
        ("model.onnx", "m has its weights for ONNX only"),
        ("weights.npz", "m has its weights for MLX or NumPy only"),
        ("rust_model.ot", "m has its weights for rust-bert only"),
        ("model.fp16.safetensors", "m has no model.safetensors, only model.fp16.safetensors"),
        ("model_weights.bin", "m has no pytorch_model.bin, only model_weights.bin"),
        ("training_args.bin", "m has no model.safetensors, pytorch_model.bin, .pt or .pth file"),
    ] {
        let place = with_model();
        remove(&place, "m/model.safetensors");
        place.write(&format!("m/{file}"), "x");
        refused(&place, 1, &[says, "hint: "]);
        // The same without a configuration, but for what might be anybody's.
        remove(&place, "m/config.json");
        refused(&place, 2, &[if says.contains("has no ") { "m has no config.json" } else { says }]);
    }
    let place = Place::new();
    place.write("m/params.json", "{}");
    place.write("m/consolidated.00.pth", "x");
    refused(&place, 1, &["m has weights as Meta gives them out"]);
    // Beside weights that are read, other formats are nobody's concern.
    let place = with_model();
    place.write("m/tf_model.h5", "x");
    place.write("m/model.gguf", "x");
    place.ok(["lens", "-q", "-m", "m", "--ids", "1,2"]);
}

#[test]
fn quantized_weights_are_called_so_by_their_own_files_too() {
    for mark in ["quantize_config.json", "quant_config.json", "hf_quant_config.json"] {
        let place = with_model();
        place.write(&format!("m/{mark}"), r#"{"bits": 4}"#);
        refused(&place, 1, &[&format!("m has quantized weights ({mark} says how)"), "weights in f32, f16 or bf16"]);
    }
}

/// Invariant: as `weights_for_other_programs_are_called_so`.
#[test]
fn folders_of_other_things_are_called_so() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("model_index.json", r#"{"_class_name": "StableDiffusionPipeline"}"#), ("unet/config.json", "{}")],
            "m is a diffusers pipeline (StableDiffusionPipeline)",
        ),
        (&[("dataset_info.json", "{}"), ("data-00000-of-00001.arrow", "x")], "m is a data set and no model"),
        (&[("train.parquet", "x"), ("README.md", "x")], "m is a data set and no model"),
        (&[("gpt2.zip", "PK")], "m has an archive (gpt2.zip) and no model"),
        (&[("README.md", "x")], "m has no config.json, so it is not a model folder"),
        (
            &[("snapshots/abc/config.json", "{}"), ("blobs/x", "x"), ("refs/main", "abc")],
            "m is a model's place in the Hub cache",
        ),
        (&[("gpt2/config.json", "{}")], "m has no config.json, so it is not a model folder"),
    ];
    for (files, says) in cases {
        let place = Place::new();
        for (name, bytes) in *files {
            place.write(&format!("m/{name}"), bytes);
        }
        refused(&place, 2, &[says, "hint: "]);
    }
    let place = Place::new();
    fs_err::create_dir(place.path("m")).unwrap();
    refused(&place, 2, &["m is empty", "hint: a model folder holds config.json and model.safetensors"]);
    // Weights whose configuration was forgotten.
    let place = with_model();
    remove(&place, "m/config.json");
    refused(&place, 1, &["m has no config.json", "fetch the config.json that belongs to these weights"]);
}

#[test]
fn a_file_in_place_of_a_folder_is_called_so() {
    let place = with_model();
    let file = |name: &str, says: &str, hint: &str| {
        place.write(name, "x");
        place.refused(["lens", "-m", &format!("./{name}"), "--ids", "1"], 2, says);
        place.refused(["lens", "-m", &format!("./{name}"), "--ids", "1"], 2, hint);
    };
    file("gpt2.zip", "./gpt2.zip is an archive, but a model is a folder", "hint: unpack it");
    file("gpt2.tar.gz", "./gpt2.tar.gz is an archive", "hint: unpack it");
    file("a.gguf", "./a.gguf is a GGUF file, which is not read", "config.json and safetensors");
    file("a.safetensors", "./a.safetensors is a file, but a model is a folder", "put the model's config.json");
    file(
        "m/extra.txt",
        "./m/extra.txt is a file, but a model is a folder",
        "hint: give the folder that it lies in: ./m",
    );
}

#[test]
fn a_tokenizer_in_another_format_is_called_so() {
    for (files, says) in [
        (
            &["tokenizer.model"][..],
            "has its tokenizer in SentencePiece's format only (tokenizer.model), and no tokenizer.json",
        ),
        (&["spiece.model"], "has its tokenizer in SentencePiece's format only (spiece.model)"),
        (&["tekken.json"], "has its tokenizer in Mistral's format only"),
        (&["vocab.txt"], "has a word list only (vocab.txt)"),
        (&["qwen.tiktoken"], "has its tokenizer in tiktoken's format only (qwen.tiktoken)"),
        (&["vocab.json"], "has vocab.json without merges.txt, so its tokenizer is incomplete"),
        (&["merges.txt"], "has merges.txt without vocab.json"),
        (&["vocab.bpe"], "has vocab.bpe without encoder.json"),
        (&[], "has no tokenizer.json, nor vocab.json with merges.txt"),
    ] {
        let place = with_model();
        for file in files {
            place.write(&format!("m/{file}"), "{}");
        }
        place.refused(["lens", "-m", "m", "some text"], 2, &format!("prompt \"0\" is text, but m {says}"));
        place.refused(["tokens", "-m", "m", "some text"], 2, &format!("m {says}"));
        // Ids need none.
        place.ok(["lens", "-q", "-m", "m", "--ids", "1,2"]);
    }
}

#[test]
fn a_model_of_pictures_and_words_says_which_model_of_words_is_in_it() {
    let place = Place::new();
    for (kind, inside) in
        [("gemma3", "gemma3_text"), ("llava", "llama"), ("mistral3", "mistral"), ("qwen2_vl", "qwen2_vl_text")]
    {
        let config =
            serde_json::json!({"model_type": kind, "vision_config": {}, "text_config": {"model_type": inside}});
        place.write("m/config.json", config.to_string());
        refused(&place, 1, &[&format!("`{kind}`"), &format!("a language model (`{inside}`) inside")]);
    }
}
