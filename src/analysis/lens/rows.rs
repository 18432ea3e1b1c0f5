//! The table of the logit lens.

use crate::table;
use crate::table::TOKEN;

table! {
    /// One row of the logit lens.
    LensRow = "logit_lens" version 1:
    "What the model would predict if it stopped here: the residual stream at one hook and position is put through the \
     final norm and the unembedding (nostalgebraist 2020, \"interpreting GPT: the logit lens\"). One row is one of the \
     most probable tokens at one (prompt, hook, position); the columns that describe the whole distribution or the \
     target repeat on each of them.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    hook: String, "hook name", "where the residual stream was read, e.g. `blocks.3.hook_resid_post`";
    layer: Option<u32>, "index", "the block of the hook, counted from 0; null for a hook outside the blocks";
    pos: u32, "index", "position in the prompt, counted from 0";
    input_token: String, TOKEN, "the token read at this position";
    input_token_id: u32, "vocabulary id", "its id";
    next_token: Option<String>, TOKEN, "the token that actually follows in the prompt; null at the last position";
    next_token_id: Option<u32>, "vocabulary id", "its id";
    rank: u32, "rank", "place of the predicted token, 1 = most probable";
    token: String, TOKEN, "the predicted token";
    token_id: u32, "vocabulary id", "its id";
    logit: f32, "logit", "its logit under the lens";
    prob: f32, "probability", "its probability under the lens, over the whole vocabulary";
    entropy_bits: f32, "bits", "entropy of the whole lens distribution at this hook and position";
    kl_to_final_bits: f32, "bits",
        "KL(final || lens): the expected extra bits when the lens predicts in place of the model; 0 when they agree";
    target: Option<String>, TOKEN, "the token that was asked about; null if none was";
    target_id: Option<u32>, "vocabulary id", "its id";
    target_rank: Option<u32>, "rank", "its place under the lens, 1 = most probable";
    target_logit: Option<f32>, "logit", "its logit under the lens";
    target_prob: Option<f32>, "probability", "its probability under the lens";
}
