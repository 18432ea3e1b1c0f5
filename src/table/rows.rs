//! The tables: every column of every file, with its unit and meaning.

use super::older;
use super::row::{Row, TOKEN, TableInfo};
use crate::table;

/// Meanings of columns that several tables have.
#[rustfmt::skip]
macro_rules! said {
    (kind) => {
        "what became of the value, as it was asked for: `replace`, `zero`, `mean`, `mean-by-position`, `resample`, \
         `noise=3`, `scale=0.5`, `add=2`, `knock-out`"
    };
    (direction) => {
        "which run was changed: `denoise` for the corrupt run, `noise` for the clean one; null where there is no \
         corrupt run"
    };
    (changed) => {
        "whether what was put there differs, bit for bit, from what was there; where it does not, nothing was run \
         and `patched` is the metric of the run as it was"
    };
    (reached) => {
        "whether a change could reach what is measured, so that a run was made; where it could not, `patched` is the \
         metric of the run as it was"
    };
    (not_finite) => {
        "where the patched run stopped being numbers: the hook and position of its first value that is NaN or \
         infinite, e.g. `blocks.2.hook_mlp_out at position 3`; null where all is finite"
    };
    (patched) => {
        "the metric of the patched run; null where that is not finite"
    };
    (recovered) => {
        "(patched - corrupt) / (clean - corrupt): 0 as corrupt, 1 as clean; null where these do not differ, or \
         `patched` is null"
    };
    (position_name) => {
        "what the position is called: by the name it was given, or `-1`, `-2`, ... where positions are counted from the end; null \
         where they are counted from the beginning"
    };
    (key_position_name) => {
        "the same for `key_pos`"
    };
    (pairs) => {
        "over how many pairs `patched`, `change` and `recovered` are means: those whose patched run is finite"
    };
    (not_finite_pairs) => {
        "how many more pairs there are, left out because their patched run is not finite"
    };
    (changed_pairs) => {
        "in how many pairs what was put there differs, bit for bit, from what was there"
    };
    (reached_pairs) => {
        "in how many pairs a change could reach what is measured"
    };
}

/// Every table that this version can write, in the order of the documentation.
pub fn tables() -> &'static [&'static TableInfo] {
    &[
        LogitLens::TABLE,
        Attention::TABLE,
        Tokens::TABLE,
        Hooks::TABLE,
        ModelFacts::TABLE,
        Patch::TABLE,
        PatchMean::TABLE,
        PathPatch::TABLE,
        PathMean::TABLE,
        Attribution::TABLE,
        Training::TABLE,
        Verify::TABLE,
        VerifyReference::TABLE,
        Columns::TABLE,
    ]
}

table! {
    /// One row of the logit lens.
    LogitLens = "logit_lens" version 1:
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

table! {
    /// One entry of an attention pattern.
    Attention = "attention" version 2 upgraded by older::attention:
    "Attention patterns: where each head looks. One row is one (prompt, layer, head, query position, key position); \
     the probabilities over the keys of one query sum to 1. Keys after the query, or outside the head's window, \
     cannot be seen and have no row; every other key has one, though its probability be 0, unless --min-prob left it out. In \
     files of version 1 keys whose probability is 0 have no row either, and `first_key` and `last_key` are the row's own key.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    layer: u32, "index", "block, counted from 0";
    head: u32, "index", "query head, counted from 0";
    kv_head: u32, "index", "the key/value head that it reads; equal to `head` unless heads share keys and values";
    query_pos: u32, "index", "position that attends, counted from 0";
    key_pos: u32, "index", "position attended to, counted from 0";
    query_token: String, TOKEN, "the token at `query_pos`";
    key_token: String, TOKEN, "the token at `key_pos`";
    prob: f32, "probability", "attention probability, after mask and softmax";
    first_key: u32, "index", "the first key that this query can see; one between it and `last_key` that has no row was left out", since 2;
    last_key: u32, "index", "the last key that this query can see", since 2;
}

table! {
    /// One patch, measured.
    Patch = "patch" version 2 upgraded by older::patch:
    "Activation patching: one run is changed in one place and measured. One row is one (pair, place, metric). A coordinate \
     that is null was not gone over: all of its values were patched at once. `clean` and `corrupt` are the metric of the \
     two prompts with nothing changed, and repeat on every row of the pair. Files of version 1 do not say what was done: their \
     `kind`, `direction`, `window` and `noise` are those of the command, and `changed` and `reached` whether the metric differs.";
    pair: u32, "index", "which pair of the request, counted from 0";
    pair_id: String, "", "the pair's id, as given; its index where none was";
    site: String, "site", "which value was patched, e.g. `resid_pre`, `attn.z`";
    layer: Option<u32>, "index", "in which block, counted from 0; the middle where several were patched around it";
    head: Option<u32>, "index", "in which query head";
    kv_head: Option<u32>, "index", "in which key/value head; for a query head, the one that it reads";
    neuron: Option<u32>, "index", "which neuron";
    pos: Option<u32>, "index", "at which position";
    query_pos: Option<u32>, "index", "of scores and patterns: for which query";
    key_pos: Option<u32>, "index", "of scores and patterns: for which key";
    position_name: Option<String>, "", said!(position_name), since 2;
    key_position_name: Option<String>, "", said!(key_position_name), since 2;
    token: Option<String>, TOKEN, "the clean prompt's token at `pos` or `query_pos`";
    key_token: Option<String>, TOKEN, "the clean prompt's token at `key_pos`";
    metric: String, "", "what was measured; its unit is the last part of its name, logits where there is none";
    clean: f32, "of the metric", "the metric of the clean run";
    corrupt: Option<f32>, "of the metric", "the metric of the corrupt run; null where there is no corrupt prompt";
    patched: Option<f32>, "of the metric", said!(patched);
    recovered: Option<f32>, "share", said!(recovered);
    kind: String, "", said!(kind), since 2;
    direction: Option<String>, "", said!(direction), since 2;
    window: u32, "layers", "how many neighbouring layers are patched at once, around `layer`", since 2;
    noise: Option<f32>, "deviations", "causal tracing: how strong the noise is that makes the clean prompt the corrupt one; null where \
        the corrupt one is another prompt", since 2;
    noise_at: Option<String>, "", "at which positions that noise is, e.g. `1,2`; null where there is none, and in files of version 1", since 2;
    noise_tokens: Option<String>, TOKEN, "the clean prompt's tokens there, joined; null where there is no noise, and in files of version 1", since 2;
    sample: Option<u32>, "index", "which sample of that noise, counted from 0; null where there is none", since 2;
    changed: bool, "", said!(changed), since 2;
    reached: bool, "", said!(reached), since 2;
    not_finite: Option<String>, "", said!(not_finite), since 2;
}

table! {
    /// One place, on the mean over pairs.
    PatchMean = "patch_mean" version 2 upgraded by older::patch_mean:
    "What a patch does on the whole: means of `patch` over the pairs. One row is one (place, metric). Positions are those of one name, or of \
     one number from the beginning of each prompt. Files of version 1 do not say what was done: their `kind`, `direction`, `window` and `noise` \
     are those of the command, and `changed` and `reached` are `pairs` where the metric differs, else 0.";
    site: String, "site", "which value was patched";
    layer: Option<u32>, "index", "in which block, counted from 0";
    head: Option<u32>, "index", "in which query head";
    kv_head: Option<u32>, "index", "in which key/value head; for a query head, the one that it reads";
    neuron: Option<u32>, "index", "which neuron";
    pos: Option<u32>, "index", "at which position; null where pairs have it at different ones";
    query_pos: Option<u32>, "index", "of scores and patterns: for which query; null where pairs have it at different positions";
    key_pos: Option<u32>, "index", "of scores and patterns: for which key; null where pairs have it at different positions";
    position_name: Option<String>, "", said!(position_name), since 2;
    key_position_name: Option<String>, "", said!(key_position_name), since 2;
    token: Option<String>, TOKEN, "the clean prompts' token at `pos` or `query_pos`, where all of them have the same";
    key_token: Option<String>, TOKEN, "the clean prompts' token at `key_pos`, where all of them have the same";
    metric: String, "", "what was measured; its unit is the last part of its name, logits where there is none";
    pairs: u32, "pairs", said!(pairs);
    clean: f32, "of the metric", "mean of the clean runs, of all pairs";
    corrupt: Option<f32>, "of the metric", "mean of the corrupt runs, of all pairs";
    patched: Option<f32>, "of the metric", "mean of the patched runs; null where none is finite";
    patched_se: Option<f32>, "of the metric", "its standard error; null for a single pair";
    change: Option<f32>, "of the metric", "mean of patched - clean; null where none is finite";
    change_se: Option<f32>, "of the metric", "its standard error; null for a single pair";
    recovered: Option<f32>, "share", "mean of what each pair recovered: 0 as corrupt, 1 as clean";
    recovered_se: Option<f32>, "share", "its standard error; null for a single pair";
    kind: String, "", said!(kind), since 2;
    direction: Option<String>, "", said!(direction), since 2;
    window: u32, "layers", "how many neighbouring layers are patched at once, around `layer`", since 2;
    noise: Option<f32>, "deviations", "causal tracing: how strong the noise is that makes the clean prompts the corrupt ones; null where \
        the corrupt ones are other prompts", since 2;
    noise_at: Option<String>, "", "at which positions that noise is, where all pairs have it at the same", since 2;
    noise_tokens: Option<String>, TOKEN, "the clean prompts' tokens there, joined, where all pairs have the same", since 2;
    samples: Option<u32>, "samples", "how many samples of that noise each pair has; their mean is what counts as the pair's, and \
        where there is one pair only, standard errors are over them; null where there is no noise", since 2;
    changed: u32, "pairs", said!(changed_pairs), since 2;
    reached: u32, "pairs", said!(reached_pairs), since 2;
    not_finite: u32, "pairs", said!(not_finite_pairs), since 2;
}

table! {
    /// One path, patched and measured.
    PathPatch = "path" version 2 upgraded by older::path:
    "Path patching: what one part of the model, the sender, does by way of the stream to another, the receiver, and by that to the \
     metric (Wang et al. 2022; Goldowsky-Dill et al. 2023). The receiver reads the stream with what the sender writes when it is \
     changed, everything between frozen, and from there the run goes on as ever. One row is one (pair, sender, receiver, metric). A \
     coordinate that is null was not gone over: all of its values were changed at once. `clean` and `corrupt` are the metric of \
     the two prompts with nothing changed. Files of version 1 do not say what was done: their `kind` and `direction` are those of the \
     command, and `changed` and `reached` whether the metric differs.";
    pair: u32, "index", "which pair of the request, counted from 0";
    pair_id: String, "", "the pair's id, as given; its index where none was";
    sender: String, "site", "what is changed: a part of what is written to the stream, e.g. `attn.z`, `mlp_out`, `embed`";
    sender_layer: Option<u32>, "index", "in which block, counted from 0; null for the embedding";
    sender_head: Option<u32>, "index", "in which query head";
    sender_neuron: Option<u32>, "index", "which neuron";
    pos: Option<u32>, "index", "at which position";
    position_name: Option<String>, "", said!(position_name), since 2;
    token: Option<String>, TOKEN, "the clean prompt's token there";
    receiver: String, "", "what reads it: `q`, `k` or `v` of a head, `mlp`, or `logits`; where several read it at once, all of them as \
        they were asked for, e.g. `2.1.q+3.0.v`";
    receiver_layer: Option<u32>, "index", "in which block, counted from 0; null for the logits, and for several at once";
    receiver_head: Option<u32>, "index", "which query head, of `q`";
    receiver_kv_head: Option<u32>, "index", "which key/value head, of `k` and `v`; of `q`, the one that it reads";
    through: Option<String>, "", "what between sender and receiver was computed anew: `mlps`; null where everything was frozen";
    metric: String, "", "what was measured; its unit is the last part of its name, logits where there is none";
    clean: f32, "of the metric", "the metric of the clean run";
    corrupt: Option<f32>, "of the metric", "the metric of the corrupt run; null where there is no corrupt prompt";
    patched: Option<f32>, "of the metric", "the metric of the run in which the receiver reads the change; null where that is not finite";
    recovered: Option<f32>, "share", said!(recovered);
    kind: String, "", said!(kind), since 2;
    direction: Option<String>, "", said!(direction), since 2;
    changed: bool, "", "whether what the sender writes differs, bit for bit, from what it wrote; where it does not, nothing was run and \
        `patched` is the metric of the run as it was", since 2;
    reached: bool, "", said!(reached), since 2;
    not_finite: Option<String>, "", said!(not_finite), since 2;
}

table! {
    /// One path, on the mean over pairs.
    PathMean = "path_mean" version 2 upgraded by older::path_mean:
    "What patching a path does on the whole: means of `path` over the pairs. One row is one (sender, receiver, metric). Positions are those of one name, or of \
     one number from the beginning of each prompt. Files of version 1 do not say what was done: their `kind` and `direction` are those \
     of the command, and `changed` and `reached` are `pairs` where the metric differs, else 0.";
    sender: String, "site", "what is changed";
    sender_layer: Option<u32>, "index", "in which block, counted from 0; null for the embedding";
    sender_head: Option<u32>, "index", "in which query head";
    sender_neuron: Option<u32>, "index", "which neuron";
    pos: Option<u32>, "index", "at which position; null where pairs have it at different ones";
    position_name: Option<String>, "", said!(position_name), since 2;
    token: Option<String>, TOKEN, "the clean prompts' token there, where all of them have the same";
    receiver: String, "", "what reads it";
    receiver_layer: Option<u32>, "index", "in which block, counted from 0; null for the logits, and for several at once";
    receiver_head: Option<u32>, "index", "which query head, of `q`";
    receiver_kv_head: Option<u32>, "index", "which key/value head, of `k` and `v`; of `q`, the one that it reads";
    through: Option<String>, "", "what between sender and receiver was computed anew: `mlps`; null where everything was frozen";
    metric: String, "", "what was measured; its unit is the last part of its name, logits where there is none";
    pairs: u32, "pairs", said!(pairs);
    clean: f32, "of the metric", "mean of the clean runs, of all pairs";
    corrupt: Option<f32>, "of the metric", "mean of the corrupt runs, of all pairs";
    patched: Option<f32>, "of the metric", "mean of the patched runs; null where none is finite";
    patched_se: Option<f32>, "of the metric", "its standard error; null for a single pair";
    change: Option<f32>, "of the metric", "mean of patched - clean; null where none is finite";
    change_se: Option<f32>, "of the metric", "its standard error; null for a single pair";
    recovered: Option<f32>, "share", "mean of what each pair recovered: 0 as corrupt, 1 as clean";
    recovered_se: Option<f32>, "share", "its standard error; null for a single pair";
    kind: String, "", said!(kind), since 2;
    direction: Option<String>, "", said!(direction), since 2;
    changed: u32, "pairs", said!(changed_pairs), since 2;
    reached: u32, "pairs", said!(reached_pairs), since 2;
    not_finite: u32, "pairs", said!(not_finite_pairs), since 2;
}

table! {
    /// One patch, estimated.
    Attribution = "attribution" version 2 upgraded by older::attribution:
    "Attribution patching: what patching a value would do to the metric, to first order, for every value at once. One row is \
     one (pair, place); of neurons there are the strongest of each layer and position, and those that are zero are left out. \
     Estimates of one site add up: the sum over positions estimates patching all of them. With --confirm, the strongest are \
     also measured as `patch` does. Files of version 1 do not say what was done: their `direction` is that of the command, and `changed` \
     is whether the estimate is not 0.";
    pair: u32, "index", "which pair of the request, counted from 0";
    pair_id: String, "", "the pair's id, as given; its index where none was";
    site: String, "site", "which value, e.g. `resid_pre`, `attn.z`";
    layer: Option<u32>, "index", "in which block, counted from 0; null outside the blocks";
    head: Option<u32>, "index", "in which query head";
    kv_head: Option<u32>, "index", "in which key/value head; for a query head, the one that it reads";
    neuron: Option<u32>, "index", "which neuron";
    pos: Option<u32>, "index", "at which position";
    query_pos: Option<u32>, "index", "of scores and patterns: for which query";
    key_pos: Option<u32>, "index", "of scores and patterns: for which key";
    position_name: Option<String>, "", said!(position_name), since 2;
    key_position_name: Option<String>, "", said!(key_position_name), since 2;
    token: Option<String>, TOKEN, "the clean prompt's token at `pos` or `query_pos`";
    key_token: Option<String>, TOKEN, "the clean prompt's token at `key_pos`";
    metric: String, "", "what is estimated; its unit is the last part of its name, logits where there is none";
    clean: f32, "of the metric", "the metric of the clean run";
    corrupt: f32, "of the metric", "the metric of the corrupt run";
    estimate: f32, "of the metric", "by how much the patch would change the metric of the run that is patched, to first order";
    estimated_recovered: Option<f32>, "share", "the metric so changed, with 0 as corrupt and 1 as clean; null where these do not differ";
    strength: f32, "of the metric", "what values are ranked by: the size of the estimate; with GradDrop the mean of such sizes, each with a layer dropped";
    exact: Option<f32>, "of the metric", "by how much the patch does change the metric; null where it was not measured";
    exact_recovered: Option<f32>, "share", "the metric so changed, with 0 as corrupt and 1 as clean; null where it was not measured";
    kind: String, "", "what would become of the value: always `replace`, by the other run's", since 2;
    direction: String, "", "which run would be changed: `denoise` for the corrupt run, `noise` for the clean one", since 2;
    changed: bool, "", "whether the two runs' values differ there, bit for bit", since 2;
    not_finite: Option<String>, "", "where the run that measures stopped being numbers: the hook and position of its first value that \
        is NaN or infinite; then `exact` is null", since 2;
}

table! {
    /// One token of a prompt.
    Tokens = "tokens" version 1:
    "How the model's tokenizer splits each prompt. One row is one token, in order.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    pos: u32, "index", "position in the prompt, counted from 0";
    token_id: u32, "vocabulary id", "the token's id";
    piece: String, TOKEN, "the token as the vocabulary writes it, e.g. `Ġthe`";
    text: String, TOKEN, "what it spells";
    byte_start: Option<u32>, "bytes", "where it starts in the prompt's UTF-8; null for a token that the tokenizer added";
    byte_end: Option<u32>, "bytes", "where it ends, exclusive; null for a token that the tokenizer added";
    special: bool, "", "whether it is a special token (beginning of text, padding, ...)";
}

table! {
    /// One hook of a model.
    Hooks = "hooks" version 1:
    "The places where a model's activations can be read and edited. One row is one hook name.";
    hook: String, "hook name", "full name, e.g. `blocks.0.attn.hook_z`";
    axes: String, "", "one letter for each axis: t row, q query, k key, h head, g key/value head, e d_head, d d_model, \
        m d_mlp, x expert, c chosen expert, v vocabulary";
    shape: String, "", "the same with this model's sizes, e.g. `t x 128`";
    writable: bool, "", "whether an edit may replace the value";
    meaning: String, "", "what the value is";
}

table! {
    /// One fact about a model.
    ModelFacts = "model" version 1:
    "What a model is: family, sizes and choices that distinguish it. One row is one property.";
    property: String, "", "name of the property";
    value: String, "", "its value, as text";
}

table! {
    /// One report of a training run.
    Training = "training" version 1:
    "How a model learned. One row is one report of a training run, in order.";
    step: u64, "steps", "optimizer steps done";
    tokens: u64, "tokens", "predictions trained on so far";
    loss_nats: f32, "nats", "mean cross-entropy of the batches since the last report, each before its own step";
    held_out_loss_nats: f32, "nats", "mean cross-entropy of a fixed batch that is never trained on, after this step";
    gradient_norm: f32, "", "length of the gradient of all weights in the last step, before clipping";
    learning_rate: f32, "", "learning rate of the last step";
}

table! {
    /// One law, checked on a model.
    Verify = "verify" version 1:
    "Whether a loaded model obeys the laws that everything else relies on, checked on its own weights. One row is one law, \
     with the comparison that came nearest to failing it, or failed it worst.";
    law: String, "", "what must hold";
    verdict: String, "", "`ok`, `failed`, or `not applicable`";
    difference: Option<f64>, "", "the worst difference found, in the unit of the hook's values; infinite where a value is not a \
        number; for an edit that must matter, the smallest change; for finiteness, how many values are not";
    allowed: Option<f64>, "", "the tolerance there; 0 where every bit must be the same, null where a change is demanded";
    hook: Option<String>, "hook name", "where that was; null where nothing differed";
    layer: Option<u32>, "index", "the block of the hook, counted from 0; null for a hook outside the blocks";
    compared: u64, "comparisons", "how many values, rows or edits were compared";
    reason: Option<String>, "", "where the tolerance comes from, or why the law is not applicable";
}

table! {
    /// One site of a run, beside a reference.
    VerifyReference = "verify_reference" version 1:
    "How a run differs from a reference run by another program, site by site in the order of the forward pass, with a run in \
     f64 as the judge of what is rounding. One row is one hook. Differences are the largest over all tokens and dimensions.";
    hook: String, "hook name", "the site";
    layer: Option<u32>, "index", "the block of the hook, counted from 0; null for a hook outside the blocks";
    reference: String, "", "what the reference calls this value";
    magnitude: f64, "", "the largest value there, in f64";
    difference: f64, "", "between this run and the reference";
    reference_to_f64: f64, "", "between the reference and this model's run in f64";
    ours_to_f64: f64, "", "between this run and the same in f64: how far rounding goes";
    allowed: f64, "", "how far the reference may lie from f64: 8 times as far as this run, in units of its precision, and 4 \
        epsilon of the magnitude";
    verdict: String, "", "`equal` where no value differs, `rounding` where that explains the difference, `wrong` otherwise";
}

table! {
    /// One column of a table.
    Columns = "tables" version 1:
    "The columns of the tables that pellucid writes. One row is one column.";
    table: String, "", "the table";
    column: String, "", "the column's name";
    kind: String, "", "the type of its values";
    nullable: bool, "", "whether a value may be missing";
    unit: String, "", "what its values are counted in; empty for plain names and flags";
    meaning: String, "", "what it says";
}
