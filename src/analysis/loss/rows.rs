//! The tables of surprise.

use crate::table;
use crate::table::TOKEN;

table! {
    /// One token, and how surprised the model was by it.
    LossRow = "loss" version 1:
    "How surprised the model is by each token of a text, given those before it. One row is one token; the first of a prompt has nothing \
     before it, and its numbers are null. Sums and logarithms are in f64.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    pos: u32, "index", "position in the prompt, counted from 0";
    token: String, TOKEN, "the token that came";
    token_id: u32, "vocabulary id", "its id";
    loss_nats: Option<f64>, "nats", "its surprise: minus the logarithm of its probability after the tokens before it";
    loss_bits: Option<f64>, "bits", "the same in bits";
    prob: Option<f64>, "probability", "its probability";
    rank: Option<u32>, "rank", "its place among all tokens, 1 = most probable";
    entropy_bits: Option<f64>, "bits", "entropy of the model's distribution: the surprise that it expected";
    expected: Option<String>, TOKEN, "the token that was most probable";
    expected_id: Option<u32>, "vocabulary id", "its id";
    expected_prob: Option<f64>, "probability", "its probability";
}

table! {
    /// One prompt, and how surprised the model was by it.
    LossPromptRow = "loss_prompt" version 1:
    "How surprised the model is by each prompt: means of `loss` over its tokens, the first excepted. One row is one prompt of two tokens or more.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    tokens: u32, "tokens", "how many were predicted: all but the first";
    loss_nats: f64, "nats", "their mean surprise";
    perplexity: f64, "tokens", "its exponential: among so many equally probable tokens it would be as surprised";
    bytes: Option<u32>, "bytes", "how many bytes of the text the predicted tokens are; null where the prompt was given as ids";
    bits_per_byte: Option<f64>, "bits per byte", "their surprise in bits, all together, for each of these bytes: comparable between tokenizers";
}

table! {
    /// All prompts, and how surprised the model was by them.
    LossMeanRow = "loss_mean" version 1:
    "How surprised the model is by several prompts. The one row has means of `loss_prompt` in which each prompt counts once, and their \
     standard errors (the deviation of the sample over the root of their number).";
    prompts: u32, "prompts", "how many there are";
    tokens: u64, "tokens", "how many tokens of them were predicted";
    loss_nats: f64, "nats", "mean of the prompts' mean surprises";
    loss_nats_se: f64, "nats", "its standard error";
    perplexity: f64, "tokens", "the exponential of that mean";
    bits_per_byte: Option<f64>, "bits per byte", "mean of the prompts' bits per byte; null where a prompt has none";
    bits_per_byte_se: Option<f64>, "bits per byte", "its standard error";
}
