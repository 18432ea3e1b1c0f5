//! The tables of the logit lens.

use crate::table;
use crate::table::{Provenance, TOKEN};

table! {
    /// One row of the logit lens.
    LensRow = "logit_lens" version 2 upgraded by upgrade:
    "What the model would predict if it stopped here: the residual stream at one hook and position is put through the \
     final norm and the unembedding (nostalgebraist 2020, \"interpreting GPT: the logit lens\"). One row is one of the \
     most probable tokens at one (prompt, hook, position); the columns that describe the whole distribution, the \
     target or the foil repeat on each of them. Files of version 1 have no foil.";
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
    target: Option<String>, TOKEN, "the token that was asked about after this prompt; null if none was";
    target_id: Option<u32>, "vocabulary id", "its id";
    target_rank: Option<u32>, "rank", "its place under the lens, 1 = most probable";
    target_logit: Option<f32>, "logit", "its logit under the lens";
    target_prob: Option<f32>, "probability", "its probability under the lens";
    foil: Option<String>, TOKEN, "the token that the target is compared with; null if there is none", since 2;
    foil_id: Option<u32>, "vocabulary id", "its id", since 2;
    foil_logit: Option<f32>, "logit", "its logit under the lens", since 2;
    foil_prob: Option<f32>, "probability", "its probability under the lens", since 2;
    logit_diff: Option<f32>, "logits", "the target's logit less the foil's", since 2;
}

table! {
    /// The target at one hook, on the mean over prompts.
    LensMeanRow = "logit_lens_mean" version 1:
    "How the target comes about over many prompts: means of `logit_lens` over the prompts that have a target. One row is one (hook, position). \
     Standard errors are the sample's standard deviation over the root of the number of prompts, and null of a single prompt.";
    hook: String, "hook name", "where the residual stream was read, e.g. `blocks.3.hook_resid_post`";
    layer: Option<u32>, "index", "the block of the hook, counted from 0; null for a hook outside the blocks";
    pos: i64, "index", "position at which each prompt was read, as it was asked for: from 0, or where it is negative from the end; -1, the \
        last, where all positions were decoded";
    prompts: u32, "prompts", "how many prompts have a target; all means but that of `logit_diff` are over these";
    target_prob: f32, "probability", "mean probability of the target under the lens";
    target_prob_se: Option<f32>, "probability", "its standard error";
    target_rank: f32, "rank", "mean place of the target under the lens, 1 = most probable";
    target_rank_se: Option<f32>, "rank", "its standard error";
    target_rank_median: f32, "rank", "median of the target's places, of an even number the mean of the middle two; a few prompts with the \
        target far down do not move it";
    target_first: f32, "share", "share of the prompts whose target is the most probable token";
    target_first_se: Option<f32>, "share", "its standard error";
    foils: u32, "prompts", "how many of the prompts have a foil";
    logit_diff: Option<f32>, "logits", "mean of the target's logit less the foil's, over these; null where there is none";
    logit_diff_se: Option<f32>, "logits", "its standard error";
    entropy_bits: f32, "bits", "mean entropy of the whole lens distribution";
    entropy_bits_se: Option<f32>, "bits", "its standard error";
    kl_to_final_bits: f32, "bits", "mean of KL(final || lens)";
    kl_to_final_bits_se: Option<f32>, "bits", "its standard error";
}

/// The columns of the foil are null.
fn upgrade(_: &mut LensRow, _: &Provenance) {}
