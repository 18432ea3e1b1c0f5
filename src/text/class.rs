//! Which Python class reads a tokenizer's files in transformers, and what that class adds to what the files say.
//!
//! tokenizer.json says almost everything. A class still decides which special tokens there are where no file names them,
//! and whether a space is put before the text.

use serde_json::Value;

use crate::arch::family::{names_a_wrong_tokenizer, tokenizer_class};

/// A tokenizer that is what tokenizer.json says it is.
const AS_WRITTEN: &str = "TokenizersBackend";
pub(super) const GPT2: &str = "GPT2Tokenizer";
pub(super) const QWEN2: &str = "Qwen2Tokenizer";
const LLAMA: &str = "LlamaTokenizer";

/// The special tokens that have a name of their own, in the order in which transformers adds them.
pub(super) const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

const END_OF_TEXT: &str = "<|endoftext|>";

/// The class that transformers 5 takes, without the `Fast` that some names end in: the one that tokenizer_config.json or
/// config.json names, unless the model type has another. `json` is tokenizer.json, where there is one.
pub(super) fn class(tokenizer_config: &Value, config: &Value, json: Option<&[u8]>) -> String {
    let stated = tokenizer_config["tokenizer_class"].as_str().or_else(|| config["tokenizer_class"].as_str());
    let stated = stated.map(|name| name.strip_suffix("Fast").unwrap_or(name));
    let model_type = config["model_type"].as_str().unwrap_or_default();
    let usual = tokenizer_class(model_type);
    let wrong = names_a_wrong_tokenizer(model_type);
    // Llama 3 and DeepSeek name Llama 2's class beside a vocabulary of bytes, which that class cannot read.
    let of_bytes = || json.is_some_and(|json| contains(json, b"\"ByteLevel\""));
    let name = match (stated, usual) {
        (Some(LLAMA), _) if !wrong && of_bytes() => AS_WRITTEN,
        (Some(stated), Some(usual)) if stated != usual => match usual {
            AS_WRITTEN => AS_WRITTEN,
            usual if wrong => usual,
            _ => stated,
        },
        (Some(stated), _) => stated,
        (None, usual) => usual.unwrap_or(AS_WRITTEN),
    };
    match name {
        "PreTrainedTokenizer" | "PythonBackend" => AS_WRITTEN.to_owned(),
        name => name.to_owned(),
    }
}

/// The class of a vocabulary with merges, of which no file says how text is cut: the one that is named, else that of the model
/// type, else GPT-2's, whose files these are.
pub(super) fn class_of_pair(tokenizer_config: &Value, config: &Value) -> String {
    match class(tokenizer_config, config, None) {
        class if class != AS_WRITTEN => class,
        _ => {
            let stated = tokenizer_config["tokenizer_class"].as_str().unwrap_or(GPT2);
            stated.strip_suffix("Fast").unwrap_or(stated).to_owned()
        }
    }
}

/// The special tokens that `class` has where no file names them.
pub(super) fn default_tokens(class: &str) -> &'static [(&'static str, &'static str)] {
    match class {
        GPT2 | "CodeGenTokenizer" => {
            &[("bos_token", END_OF_TEXT), ("eos_token", END_OF_TEXT), ("unk_token", END_OF_TEXT)]
        }
        "GPTNeoXTokenizer" => &[
            ("bos_token", END_OF_TEXT),
            ("eos_token", END_OF_TEXT),
            ("unk_token", END_OF_TEXT),
            ("pad_token", "<|padding|>"),
        ],
        QWEN2 => &[("eos_token", END_OF_TEXT), ("unk_token", END_OF_TEXT), ("pad_token", END_OF_TEXT)],
        LLAMA => &[("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")],
        "GemmaTokenizer" => &[
            ("bos_token", "<bos>"),
            ("eos_token", "<eos>"),
            ("unk_token", "<unk>"),
            ("pad_token", "<pad>"),
            ("mask_token", "<mask>"),
        ],
        "CohereTokenizer" => &[
            ("bos_token", "<BOS_TOKEN>"),
            ("eos_token", "<|END_OF_TURN_TOKEN|>"),
            ("unk_token", "<UNK>"),
            ("sep_token", "<SEP>"),
            ("pad_token", "<PAD>"),
            ("cls_token", "<CLS>"),
            ("mask_token", "<MASK_TOKEN>"),
        ],
        _ => &[],
    }
}

/// Whether `class` puts a space before every text if `add_prefix_space` says so, and else none, whatever tokenizer.json says.
pub(super) fn heeds_prefix_space(class: &str) -> bool {
    [GPT2, "CodeGenTokenizer", "GPTNeoXTokenizer", QWEN2, "CohereTokenizer"].contains(&class)
}

/// Whether `class`, in transformers 4, puts BOS and EOS as tokenizer_config.json says and not as tokenizer.json does; and
/// whether it puts BOS where neither says.
pub(super) fn in_transformers_4(stated: &str) -> Option<bool> {
    match stated.strip_suffix("Fast").unwrap_or(stated) {
        LLAMA | "CodeLlamaTokenizer" | "GemmaTokenizer" | "CohereTokenizer" => Some(true),
        "GPTNeoXTokenizer" => Some(false),
        _ => None,
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
