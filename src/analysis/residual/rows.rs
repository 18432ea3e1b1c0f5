//! The tables of strokes.

use crate::table;
use crate::table::TOKEN;

table! {
    /// One stroke: what a sublayer adds to the stream, and what becomes of the stream by it.
    ResidualRow = "residual" version 1:
    "What each sublayer adds to the residual stream, and how far that pushes one token (direct logit attribution). One row is one stroke at \
     one (prompt, position): exactly what is added, after post-norms and factors. Logits are defined up to a constant, so a push is the \
     part of the token's logit less the mean logit, before any factor or cap on logits: u (g * c(stroke)) / s, where u is the token's \
     column of the unembedding less the mean column, g the gain of the final norm, c takes away the mean under layer norm, and s is the \
     final norm's scale of the last stream. The last row of a position, `bias`, is what the final norm's bias and the unembedding's push. \
     All pushes and that row come to the logit less the mean logit.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    pos: u32, "index", "position in the prompt, counted from 0; a target of several tokens follows it";
    input_token: String, TOKEN, "the token read at this position";
    step: u32, "index", "which stroke, in the order in which they are added, counted from 0";
    hook: Option<String>, "hook name", "the stream after this stroke; null where there is none: after attention in a parallel block, \
        between token embedding and positions, after `bias`";
    kind: String, "", "what makes the stroke: `embed`, `pos`, `attn`, `mlp` or `bias`";
    layer: Option<u32>, "index", "the block, counted from 0; null outside the blocks";
    write_norm: Option<f64>, "", "length of the stroke; null for `bias`, which the stream does not have";
    stream_norm: Option<f64>, "", "length of the stream after it";
    cos_previous: Option<f64>, "cosine", "cosine of that stream and the one of the row before that has one";
    cos_final: Option<f64>, "cosine", "cosine of that stream and the last stream";
    target: String, TOKEN, "the token that is pushed: as asked, else the most probable one at this position; of a target of several \
        tokens, the one that is said here";
    target_id: u32, "vocabulary id", "its id";
    push: f64, "logit", "how far this stroke pushes the target, compared with the mean of all tokens";
    push_cumulative: f64, "logit", "the pushes of all strokes up to this one, together";
    foil: Option<String>, TOKEN, "the token that the target is compared with; null if none was given";
    foil_id: Option<u32>, "vocabulary id", "its id";
    push_foil: Option<f64>, "logit", "how far this stroke pushes the target compared with the foil";
    lens_token: Option<String>, TOKEN, "the most probable token if the model stopped at this stream (logit lens)";
    lens_token_id: Option<u32>, "vocabulary id", "its id";
    lens_prob: Option<f64>, "probability", "its probability under the lens";
    lens_rank_of_target: Option<u32>, "rank", "the target's place under the lens, 1 = most probable";
    entropy_bits: Option<f64>, "bits", "entropy of the lens";
    kl_to_final_bits: Option<f64>, "bits", "KL(final || lens): 0 where both agree";
    gap: Option<f64>, "", "how far an identity is off, divided by the spread (largest less smallest logit of the model at this position). Of a \
        stream: the target's logit under the lens less the mean logit and the bias's part, which is the cumulative push times the final \
        norm's scale of the last stream over that of this one. Of `bias`: the model's logit less its mean logit, which is the sum of all \
        pushes";
}

table! {
    /// One head's part of a stroke.
    ResidualHeadRow = "residual_heads" version 1:
    "What each head adds to the residual stream, and how far that pushes the target of `residual`. One row is one head at one (prompt, \
     position), through the norm after attention with its scale held, where there is one; the last row of a layer is the bias of the \
     output projection and of that norm. All rows of a layer come to the stroke of its attention.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    pos: u32, "index", "position in the prompt, counted from 0";
    layer: u32, "index", "the block, counted from 0";
    kind: String, "", "`head` or `bias`";
    head: Option<u32>, "index", "the query head, counted from 0; null for `bias`";
    write_norm: f64, "", "length of what it adds";
    target: String, TOKEN, "the token that is pushed, as in `residual`";
    target_id: u32, "vocabulary id", "its id";
    push: f64, "logit", "how far it pushes the target, compared with the mean of all tokens";
    push_foil: Option<f64>, "logit", "how far it pushes the target compared with the foil";
    gap: Option<f64>, "", "of `bias`: how far the pushes of all rows of the layer are from the push of its attention, divided by the \
        spread of the model's logits at this position";
}

table! {
    /// One stroke over several prompts.
    ResidualMeanRow = "residual_mean" version 1:
    "What pushes the target over several prompts: means of `residual`, in which each prompt counts once (of its positions the mean comes \
     first), and their standard errors (the deviation of the sample over the root of their number). One row is one stroke.";
    step: u32, "index", "which stroke, as in `residual`";
    kind: String, "", "what makes the stroke";
    layer: Option<u32>, "index", "the block, counted from 0; null outside the blocks";
    prompts: u32, "prompts", "how many there are";
    push: f64, "logit", "mean push of the target";
    push_se: f64, "logit", "its standard error";
    push_cumulative: f64, "logit", "mean of the pushes up to this stroke, together";
    push_cumulative_se: f64, "logit", "its standard error";
    push_foil: Option<f64>, "logit", "mean push of the target compared with the foil; null where not every prompt has one";
    push_foil_se: Option<f64>, "logit", "its standard error";
}
