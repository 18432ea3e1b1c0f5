//! Model types that cannot be loaded: what would be needed where that is known, and which known family is a relative of theirs.

use super::FAMILIES;
use crate::error::Error;
use crate::visible::shortened;

/// The error for a model type that no family has. Another family is named only where it is meant or is a relative: names that
/// look alike are no kin.
pub(super) fn refused(model_type: &str) -> Error {
    let known = FAMILIES.iter().map(|f| f.model_type).collect::<Vec<_>>().join(", ");
    let sentence = format!("pellucid does not know the model type `{}`", shortened(model_type, 60));
    if let Some(obstacle) = obstacle(model_type) {
        return Error::bad_model(format!("{sentence}, which {obstacle}")).hint(format!("known are {known}"));
    }
    if let Some((_, relative, difference)) = RELATIVES.iter().find(|(name, ..)| *name == model_type) {
        return Error::bad_model(format!("{sentence}; its nearest relative is `{relative}`, but {difference}"))
            .hint(format!("known are {known}"));
    }
    let error = Error::bad_model(sentence);
    match misspelled(model_type) {
        Some(meant) => error.hint(format!("did you mean `{meant}`? known are {known}")),
        None => error.hint(format!("known are {known}")),
    }
}

/// The family that is meant, if it was misspelled: written with other separators or letter case, with two letters exchanged, or,
/// in a name of four letters or more, with one letter too many, too few or wrong. Digits are never slips: `gemma4` is not
/// `gemma2`; and `mpt` is not `opt`.
fn misspelled(model_type: &str) -> Option<&'static str> {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_', ' ', '.'], "");
    let digits = |name: &str| name.chars().filter(char::is_ascii_digit).collect::<String>();
    let sorted = |name: &str| {
        let mut letters: Vec<char> = name.chars().collect();
        letters.sort_unstable();
        letters
    };
    let given = plain(model_type);
    let mut names = FAMILIES.iter().map(|f| f.model_type);
    if let Some(same) = names.clone().find(|name| plain(name) == given) {
        return Some(same);
    }
    let is_slip = |name: &&'static str| {
        let name = plain(name);
        let letters = name.chars().filter(|c| !c.is_ascii_digit()).count();
        let slip = digits(&given) == digits(&name) && strsim::damerau_levenshtein(&given, &name) == 1;
        slip && (letters >= 4 || sorted(&given) == sorted(&name))
    };
    // Of two that could be meant, neither is named.
    names.find(is_slip).filter(|_| names.find(is_slip).is_none())
}

/// Model types that are not loaded and descend from one that is, or from the same paper: and what they do differently.
const RELATIVES: &[(&str, &str, &str)] = &[
    ("arcee", "llama", "its MLP has no gate, and the square of ReLU"),
    ("biogpt", "opt", "its embeddings are scaled by the root of their width"),
    ("codegen", "gptj", "its queries, keys and values are fused, in an order made for training on several devices"),
    ("cohere2", "cohere", "some of its layers have a window, and the others no rotation"),
    ("diffllama", "llama", "its attention is the difference of two patterns"),
    ("gpt_neox_japanese", "gpt_neox", "it has biases in other places"),
    ("granitemoe", "granite", "its MLPs are experts, stored in one tensor"),
    ("helium", "llama", "it rotates adjacent dimensions"),
    ("minicpm", "llama", "it scales embeddings, residuals and logits"),
    ("ministral", "mistral", "some of its layers have a window and others none"),
    ("olmo3", "olmo2", "some of its layers have a window, and a rotation of their own"),
    ("persimmon", "gpt_neox", "its queries and keys have norms, and its MLPs the square of ReLU"),
    ("phimoe", "phi3", "its MLPs are experts that are chosen in another way"),
    ("xglm", "opt", "its positions are sines, and its embeddings scaled"),
];

/// What keeps models of this type from being loaded, to follow "which"; `None` where nothing is known of them.
fn obstacle(model_type: &str) -> Option<&'static str> {
    let (_, obstacle) = OBSTACLES.iter().find(|(types, _)| types.contains(&model_type))?;
    Some(obstacle)
}

const OBSTACLES: &[(&[&str], &str)] = &[
    (
        &["mamba", "mamba2", "falcon_mamba", "rwkv", "rwkv5", "rwkv6", "rwkv7", "xlstm"],
        "is no Transformer: its layers carry a state from position to position, and there is no attention to look into",
    ),
    (
        &[
            "bamba", "falcon_h1", "granitemoehybrid", "jamba", "lfm2", "nemotron_h", "qwen3_next", "recurrent_gemma",
            "zamba", "zamba2",
        ],
        "is a Transformer in some layers only: the others carry a state from position to position",
    ),
    (
        &["deepseek_v2", "deepseek_v3", "kimi_k2"],
        "needs attention whose keys and values are made of one compressed vector, and experts that every token goes through \
         beside those that are chosen",
    ),
    (
        &["gpt_oss"],
        "needs attention whose softmax has a learned sink in each head, experts with clamped neurons, and weights of 4 bits",
    ),
    (
        &["llama4", "llama4_text"],
        "needs attention in chunks, experts whose weight multiplies what they read, and one that every token goes through",
    ),
    (
        &["ernie4_5_moe", "glm4_moe", "qwen2_moe"],
        "needs an expert that every token goes through beside those that are chosen",
    ),
    (
        &["gemma3", "gemma3n", "llava", "mllama", "molmo2", "pixtral", "qwen2_vl", "qwen2_5_vl"],
        "has a language model inside one for images",
    ),
    (&["gemma3n_text"], "needs several streams side by side, and embeddings for each layer"),
    (
        &["bart", "mbart", "mt5", "marian", "pegasus", "t5", "whisper"],
        "has an encoder and a decoder, and attention from one to the other",
    ),
    (
        &["albert", "bert", "deberta-v2", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta"],
        "is an encoder, with a head of other weights than an unembedding",
    ),
];
