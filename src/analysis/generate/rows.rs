//! The tables of generated texts.

use crate::table;
use crate::table::TOKEN;

table! {
    /// One token of a trace.
    TraceRow = "traces" version 1:
    "Texts as they were generated. One row is one token of one trace: what was drawn, from what, and how. A trace draws by numbers made of seed, \
     trace and step alone, so that it is the same whatever runs beside it, unless a row says `close`.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    trace: u32, "index", "which continuation of the prompt, counted from 0";
    step: u32, "index", "which token of the continuation, counted from 0";
    pos: u32, "index", "its position in the whole text, counted from 0";
    token: String, TOKEN, "the token";
    token_id: u32, "vocabulary id", "its id";
    prob_raw: f64, "probability", "the probability that the model gave it";
    prob_sampled: f64, "probability", "the probability with which it was drawn, after penalties, temperature and samplers";
    rank: u32, "rank", "its place among all tokens by what the model says, 1 = most probable, of equals the lower id first";
    pool_size: u32, "tokens", "how many tokens could have been drawn";
    entropy_bits: f64, "bits", "entropy of what the model said";
    draw: f64, "0 to 1", "the number by which it was drawn: in whose share of the pool it lies";
    close: bool, "", "whether that lies within 1e-6 of the end of a share, or a token within 1e-6 of a sampler's threshold: then the order of \
        a sum may decide";
    greedy_token: String, TOKEN, "the most probable token by what the model says";
    greedy_id: u32, "vocabulary id", "its id";
    decided_layer: Option<u32>, "layers", "after how many layers, and in all later ones, the lens says `greedy_token`; null where that was \
        not asked for";
}

table! {
    /// One trace.
    GeneratedRow = "generated" version 1 keyed by prompt, prompt_id, trace:
    "Whole texts that were generated. One row is one trace.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    trace: u32, "index", "which continuation of the prompt, counted from 0";
    text: String, "", "what was generated, without the token that ends a text";
    tokens: u32, "tokens", "how many tokens were drawn";
    ended: String, "", "why it ended: `end of text`, `stop`, `tokens` (as many as were asked for) or `context` (the model sees no more)";
    log_prob: f64, "nats", "the logarithm of the probability that the model gives the whole";
    samplers: String, "", "what was done to the logits before each draw, in order";
}
