//! What a file or a folder is that was given for a model's and is none, said in one sentence with what to do.

use std::io::Read;

use serde_json::Value;

use super::files::{File, Files};
use super::pick;
use crate::error::{Error, ErrorKind, Result, Said, said};

/// How much of a file is looked at to tell what it is. In bytes.
const HEAD: u64 = 512;

/// How long a server's refusal may be. In bytes.
const LONGEST_REFUSAL: usize = 1 << 14;

/// What something is, to follow its name; and what to do.
pub(super) struct Verdict {
    pub what: String,
    pub hint: Said,
}

impl Verdict {
    fn new(what: impl Into<String>, hint: impl Into<Said>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }

    /// As an error about `subject`.
    pub fn of(self, subject: impl std::fmt::Display) -> Error {
        self.of_kind(ErrorKind::BadModel, subject)
    }

    /// The same of this kind.
    pub fn of_kind(self, kind: ErrorKind, subject: impl std::fmt::Display) -> Error {
        Error::of_kind(kind, format!("{subject} {}", self.what)).hint(self.hint)
    }
}

/// Refuses what is no text of a model: `bytes` are those of `file`, which should hold JSON or the like.
///
/// # Errors
/// When it is something else that is known: a Git LFS pointer, a web page, a server's refusal, an archive.
pub(super) fn what_it_is(file: &File, bytes: &[u8]) -> Result<()> {
    stand_in(bytes).or_else(|| refusal(bytes)).map_or(Ok(()), |verdict| Err(verdict.of(file)))
}

/// Refuses what is no file of weights, by its beginning.
///
/// # Errors
/// As [`what_it_is`], and when it is text of any kind, or GGUF.
pub fn check_weights(file: &File) -> Result<()> {
    let mut head = vec![];
    file.open()?.take(HEAD).read_to_end(&mut head)?;
    let verdict = stand_in(&head).or_else(|| {
        if head.starts_with(b"GGUF") {
            return Some(Verdict::new("is a GGUF file under another name", UNQUANTIZED));
        }
        // The first eight bytes of a safetensors file are a length, whose high bytes are 0.
        let text = std::str::from_utf8(&head).ok().filter(|t| t.len() >= 8)?;
        let shown = text.lines().next().unwrap_or_default().chars().take(60).collect::<String>();
        let plain = text.chars().all(|c| !c.is_control() || c.is_whitespace());
        plain.then(|| Verdict::new(format!("holds text and no weights: it begins with `{shown}`"), AGAIN))
    });
    match verdict {
        Some(verdict) => Err(verdict.of(file)),
        // What torch.save writes is an archive itself.
        None if file.name().ends_with(".safetensors") && head.starts_with(b"PK\x03\x04") => Err(Verdict::new(
            "is a zip archive or a file of torch.save, and no safetensors file",
            "if torch.save wrote it, call it pytorch_model.bin",
        )
        .of(file)),
        None => Ok(()),
    }
}

const AGAIN: &str = "download the file again, and look at its size";
const UNQUANTIZED: &str =
    "take the model in Hugging Face's format that it was made of, with config.json and safetensors";

/// What stands in a file's place where its download went wrong.
fn stand_in(bytes: &[u8]) -> Option<Verdict> {
    if bytes.starts_with(b"version https://git-lfs") {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD as usize)]).into_owned();
        let size = text.lines().find_map(|line| line.strip_prefix("size "));
        let of = size.map(|size| format!(" to a file of {size} bytes")).unwrap_or_default();
        return Some(Verdict::new(
            format!("is a Git LFS pointer{of}, and not that file"),
            "run `git lfs install` and `git lfs pull` in its folder, or download the file itself",
        ));
    }
    let start = bytes.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(bytes.len());
    let start = start + usize::from(bytes[start..].starts_with("\u{feff}".as_bytes())) * 3;
    let head = bytes[start..].iter().take(15).map(u8::to_ascii_lowercase).collect::<Vec<u8>>();
    if head.starts_with(b"<!doctype") || head.starts_with(b"<html") || head.starts_with(b"<head") {
        return Some(Verdict::new(
            "is a web page (HTML), and not the file that its name promises",
            "download the file itself: its address on the Hub has /resolve/ where that of its page has /blob/",
        ));
    }
    if head.starts_with(b"<?xml") {
        return Some(Verdict::new("is XML, a server's answer and not the file that was asked for", AGAIN));
    }
    head.starts_with(&[0x1f, 0x8b]).then(|| Verdict::new("is compressed (gzip)", "unpack it first"))
}

/// A server's words that were saved under a file's name.
fn refusal(bytes: &[u8]) -> Option<Verdict> {
    const WORDS: [&str; 5] =
        ["Entry not found", "Not Found", "Repository not found", "Invalid username or password", "Access to model "];
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(HEAD as usize))?).ok()?;
    // A refusal is short. A model's own JSON may be long, and is not read for this.
    let short = if bytes.len() <= LONGEST_REFUSAL { bytes } else { b"" };
    let said = match serde_json::from_slice::<Value>(short) {
        Ok(Value::Object(all)) if all.len() == 1 => all.get("error")?.as_str()?.to_owned(),
        _ => WORDS.iter().any(|word| text.trim_start().starts_with(word)).then(|| text.trim().to_owned())?,
    };
    let shown: String = said.chars().take(80).collect();
    Some(Verdict::new(format!("holds a server's refusal in place of what was asked for: `{shown}`"), AGAIN))
}

/// What a folder or a repository is, by the `names` of the files in it, where it is none that can be run. `inside` has names
/// of folders; `read` gives the JSON in one of the files, where it can be had.
pub(super) fn no_model(names: &[String], inside: &[String], read: impl Fn(&str) -> Value) -> Option<Verdict> {
    let has = |name: &str| names.iter().any(|n| n == name);
    let ending = |ends: &[&str]| names.iter().find(|name| ends.iter().any(|end| name.ends_with(end)));
    if names.is_empty() && inside.is_empty() {
        return Some(Verdict::new("is empty", "a model folder holds config.json and model.safetensors"));
    }
    if has("model_index.json") {
        let kind = read("model_index.json");
        let kind = kind["_class_name"].as_str().map(|kind| format!(" ({kind})")).unwrap_or_default();
        return Some(Verdict::new(
            format!("is a diffusers pipeline{kind}, which makes images and has no language model that is run here"),
            "give a causal language model",
        ));
    }
    if has("adapter_config.json") {
        return Some(adapter(&read("adapter_config.json")));
    }
    if let Some(name) = ending(&[".gguf"]) {
        return Some(Verdict::new(format!("has its weights in GGUF ({name}), which is not read"), UNQUANTIZED));
    }
    if has("params.json") && ending(&[".pth"]).is_some_and(|name| name.starts_with("consolidated")) {
        return Some(Verdict::new(
            "has weights as Meta gives them out (consolidated.*.pth, params.json), which are not read",
            "take the same model in Hugging Face's format, or let transformers' convert_llama_weights_to_hf.py make it",
        ));
    }
    let other = [
        (".h5", "TensorFlow", "from_tf=True"),
        (".msgpack", "Flax", "from_flax=True"),
        (".pb", "TensorFlow", "from_tf=True"),
        (".onnx", "ONNX", ""),
        (".ot", "rust-bert", ""),
        (".npz", "MLX or NumPy", ""),
        (".mlmodel", "Core ML", ""),
        (".ckpt", "a training checkpoint", ""),
    ];
    if let Some((name, (_, format, flag))) =
        other.iter().find_map(|kind| Some((names.iter().find(|name| name.ends_with(kind.0))?, kind)))
    {
        let hint = match *flag {
            "" => "take the model that it was made of, with config.json and safetensors".to_owned(),
            flag => format!(
                "let transformers 4 make safetensors of it: AutoModelForCausalLM.from_pretrained(FOLDER, {flag}).save_pretrained(OUT)"
            ),
        };
        return Some(Verdict::new(format!("has its weights for {format} only ({name}), which are not read"), hint));
    }
    let is_data = |name: &String| {
        [".arrow", ".parquet", ".csv", ".jsonl", ".jsonl.gz", ".json.gz", ".tsv"].iter().any(|end| name.ends_with(end))
    };
    let of_datasets = ["dataset_info.json", "dataset_infos.json", "dataset_dict.json"].into_iter().any(has);
    if !has("config.json") && (of_datasets || names.iter().any(is_data)) {
        return Some(Verdict::new(
            "is a data set and no model",
            said("name the model with {model}[, and its texts with {prompts=FILE}|]"),
        ));
    }
    if let Some(name) = ending(&[".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".7z"]) {
        return Some(Verdict::new(
            format!("has an archive ({name}) and no model"),
            "unpack it, and give the folder in it",
        ));
    }
    if inside.iter().any(|name| name == "snapshots") && inside.iter().any(|name| name == "blobs") {
        return Some(Verdict::new(
            "is a model's place in the Hub cache, which holds its versions",
            "name the model as org/name, or give one of the folders in `snapshots`",
        ));
    }
    None
}

/// An adapter alone.
fn adapter(config: &Value) -> Verdict {
    let kind = config["peft_type"].as_str().unwrap_or("LoRA");
    let base = config["base_model_name_or_path"].as_str().filter(|base| !base.is_empty());
    let of = base.map(|base| format!(" of `{base}`")).unwrap_or_default();
    Verdict::new(
        format!("is an adapter ({kind}){of}, and no model by itself"),
        "add it to its model with peft: PeftModel.from_pretrained(MODEL, FOLDER).merge_and_unload().save_pretrained(OUT)",
    )
}

/// What lies beside a model and is not used, which somebody may believe is.
pub(super) fn beside(files: &Files) -> Option<String> {
    let names = files.names();
    let has = |name: &str| names.iter().any(|n| n == name);
    let weights = ["adapter_model.safetensors", "adapter_model.bin"].into_iter().find(|name| has(name));
    let adapter = weights.or_else(|| has("adapter_config.json").then_some("adapter_config.json"))?;
    Some(format!("{files} has an adapter too ({adapter}), which is not used: the model is run without it"))
}

/// A note of quantization that config.json does not have: AutoGPTQ, AutoAWQ and ModelOpt leave files of their own.
pub(super) fn quantized(names: &[String]) -> Option<Verdict> {
    let marks = ["quantize_config.json", "quant_config.json", "hf_quant_config.json"];
    let mark = marks.into_iter().find(|mark| names.iter().any(|name| name == mark))?;
    Some(Verdict::new(
        format!("has quantized weights ({mark} says how), which are not read"),
        "take the model that it was made of, with weights in f32, f16 or bf16",
    ))
}

/// The error for a model without a tokenizer that is read.
pub(super) fn no_tokenizer(files: &Files) -> Error {
    let names = files.names();
    let has = |name: &str| names.iter().any(|n| n == name);
    let made =
        "let transformers make tokenizer.json of it: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)";
    let only = |what: &str| Error::bad_input(format!("{files} has {what}, and no tokenizer.json")).hint(made);
    if let Some(name) = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model"].into_iter().find(|n| has(n)) {
        return only(&format!("its tokenizer in SentencePiece's format only ({name})"));
    }
    if has("tekken.json") {
        return only("its tokenizer in Mistral's format only (tekken.json)");
    }
    if has("vocab.txt") {
        return only("a word list only (vocab.txt)");
    }
    if let Some(name) = names.iter().find(|name| name.ends_with(".tiktoken")) {
        return only(&format!("its tokenizer in tiktoken's format only ({name})"));
    }
    for (one, other) in pick::VOCABULARIES.into_iter().zip(pick::MERGES).flat_map(|(a, b)| [(a, b), (b, a)]) {
        if has(one) {
            return Error::bad_input(format!("{files} has {one} without {other}, so its tokenizer is incomplete"))
                .hint(format!("fetch {other} from where the model came from"));
        }
    }
    Error::bad_input(format!("{files} has no tokenizer.json, nor vocab.json with merges.txt"))
        .hint("give token ids instead of text, or add the tokenizer.json that the model was trained with")
}
