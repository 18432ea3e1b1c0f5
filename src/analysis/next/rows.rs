//! The tables of what may come next.

use crate::table;
use crate::table::TOKEN;

table! {
    /// One candidate for the next token.
    CandidateRow = "candidates" version 1:
    "What may come next: the most probable tokens, and one row for all others together. Penalties, temperature and samplers act in the \
     order that `samplers` says, each on the distribution that it is handed. Sums are in f64, over the whole vocabulary.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    pos: u32, "index", "the position after which it may come, counted from 0";
    rank: u32, "rank", "its place among all tokens, 1 = most probable, of equals the lower id first; of the row of all others, that of the first";
    token: Option<String>, TOKEN, "the candidate; null in the row of all others";
    token_id: Option<u32>, "vocabulary id", "its id; null there";
    logit: Option<f32>, "logits", "what the model says; null there";
    logit_after: Option<f64>, "logits", "the same after penalties and temperature; at temperature 0 after penalties; null there";
    prob: f64, "probability", "the probability that the model gives it";
    prob_tempered: f64, "probability", "its probability after penalties and temperature, before anything is cut";
    mass_above: f64, "probability", "the probability of all before it, in the order and distribution of the sampler in `cut_by`; of \
        what is kept, what the model says of all before it";
    kept: bool, "", "whether it can be drawn; of the row of all others, whether any can";
    cut_by: Option<String>, "", "the sampler that cut it; null where it is kept, and in the row of all others";
    cut_margin: Option<f64>, "of the sampler", "how far it is from being kept: tokens (top-k), mass (top-p, typical), probability (min-p), \
        logits (temperature 0)";
    prob_sampled: f64, "probability", "the probability that it is drawn";
    tied: bool, "", "whether another token has exactly the same logit";
    entropy_bits: f64, "bits", "entropy of what the model says at this position, of all tokens";
    samplers: String, "", "what was done to the logits, in order";
    others: Option<u32>, "tokens", "of the row of all others, how many they are; null for a candidate";
}

table! {
    /// What is said of all candidates together.
    NextRow = "next" version 1:
    "How undecided the model is after a prompt, and how many tokens can be drawn. One row is one position of a prompt.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    pos: u32, "index", "the position, counted from 0";
    token: String, TOKEN, "the token there";
    entropy_bits: f64, "bits", "entropy of what the model says comes next";
    undecided: f64, "tokens", "2 to the power of that: as undecided as a choice among so many equally probable tokens";
    samplers: String, "", "what was done to the logits, in order";
    kept: u32, "tokens", "how many can be drawn";
    kept_mass: f64, "probability", "what the model says of them together";
    sampled_entropy_bits: f64, "bits", "entropy of what is drawn from";
    nearest_sampler: Option<String>, "", "the sampler whose threshold some token is nearest to; null where none cuts";
    nearest_distance: Option<f64>, "of the sampler", "how near, in the unit of `cut_margin`: below 1e-6, another program may keep other tokens";
}

table! {
    /// One of the texts that were asked about.
    ChoiceRow = "choices" version 1:
    "How probable whole continuations are: their tokens are put after the prompt, and the logarithms of the probabilities of each are summed \
     (teacher forcing). A longer continuation is less probable in itself: compare those of as many tokens, or `log_prob_per_token`.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    choice: u32, "index", "which continuation, counted from 0";
    text: String, "", "the continuation, as given";
    tokens: String, TOKEN, "its tokens, with · between";
    n_tokens: u32, "tokens", "how many they are";
    log_prob: f64, "nats", "the logarithm of its probability after the prompt";
    log_prob_per_token: f64, "nats", "the same for each of its tokens";
    prob: f64, "probability", "its probability";
    share: f64, "share", "its probability among the choices alone";
    rank: u32, "rank", "its place among the choices, 1 = most probable, of equals the first given";
}
