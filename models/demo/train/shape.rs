//! What the built-in model is, as its config.json says it.

use serde_json::{Value, json};

/// Width of the stream.
pub const D_MODEL: usize = 128;
/// Blocks.
pub const N_LAYERS: usize = 4;
/// Heads of a block.
pub const N_HEADS: usize = 4;
/// Positions.
pub const N_CTX: usize = 128;
/// The token that begins every text.
pub const BOS: &str = "<|endoftext|>";

/// GPT-2's config.json with these sizes.
pub fn config(d_vocab: usize) -> Value {
    json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": d_vocab,
        "n_positions": N_CTX,
        "n_embd": D_MODEL,
        "n_layer": N_LAYERS,
        "n_head": N_HEADS,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": true,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "float16",
    })
}
