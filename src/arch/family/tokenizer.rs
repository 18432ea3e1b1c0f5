//! Which Python class of tokenizer Hugging Face transformers takes for a model type, where the tokenizer's own files name
//! none. From `TOKENIZER_MAPPING_NAMES` of transformers 5.24.

/// The class of `model_type`'s tokenizer; `TokenizersBackend` where transformers uses tokenizer.json as it is, even if the
/// files name a class; `None` where it has no opinion.
pub fn tokenizer_class(model_type: &str) -> Option<&'static str> {
    Some(match model_type {
        "gpt2" | "gpt_neo" | "gptj" | "opt" | "phi" | "starcoder2" => "GPT2Tokenizer",
        "gpt_neox" | "olmo" | "olmoe" => "GPTNeoXTokenizer",
        "gemma" | "gemma2" | "gemma3_text" => "GemmaTokenizer",
        "qwen2" | "qwen3" | "qwen3_moe" => "Qwen2Tokenizer",
        "cohere" => "CohereTokenizer",
        "gpt_bigcode" | "granite" | "mistral" | "mixtral" | "olmo2" | "phi3" | "stablelm" => "TokenizersBackend",
        _ => return None,
    })
}

/// Whether released models of this type name a class that is not theirs, so that [`tokenizer_class`] counts instead.
pub fn names_a_wrong_tokenizer(model_type: &str) -> bool {
    matches!(model_type, "phi3" | "qwen2")
}
