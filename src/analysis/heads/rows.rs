//! The tables of heads.

use crate::table;
use crate::table::TOKEN;

table! {
    /// One head: where it looks on random tokens, and what its weights do.
    HeadRow = "heads" version 1 keyed by layer, head:
    "What each head looks at where nothing but places and repetition is to be seen, and what its weights do. One row is one query head. \
     Texts are random tokens, read twice (after BOS, where the tokenizer puts one). The first five scores are shares of attention: means over \
     queries and then over texts, each with its standard error over texts. `duplicate` and `induction` are of queries in the second half but its \
     first, which nothing tells that the text repeats, all else of all queries but the first. `_null` is the same places' share in as many \
     texts of the same tokens in random order, where nothing repeats: of `duplicate` and `induction` it is chance; a head that looks by place \
     has the same there. `copying` and `ov_rank_90` are of effective weights: gains of norms folded in, means removed under layer norm.";
    layer: u32, "index", "which block, counted from 0";
    head: u32, "index", "which query head of it";
    kv_head: u32, "index", "the key/value head that it reads";
    kind: Option<String>, "", "what it looks at most: `previous`, `duplicate`, `induction`, `current` or `first`, whichever is most above chance (of \
        `duplicate` and `induction` the null, of the others `uniform`), where that is 0.15 or more above it; else null";
    previous: f64, "probability", "on the token before the query";
    previous_se: f64, "probability", "its standard error";
    previous_null: f64, "probability", "the same where nothing repeats";
    duplicate: f64, "probability", "on the query's own token where it was read before";
    duplicate_se: f64, "probability", "its standard error";
    duplicate_null: f64, "probability", "the same where nothing repeats";
    induction: f64, "probability", "on the token after that: what followed last time (Olsson et al. 2022)";
    induction_se: f64, "probability", "its standard error";
    induction_null: f64, "probability", "the same where nothing repeats";
    current: f64, "probability", "on the query itself";
    current_se: f64, "probability", "its standard error";
    current_null: f64, "probability", "the same where nothing repeats";
    first: f64, "probability", "on the first position, BOS where there is one (an attention sink)";
    first_se: f64, "probability", "its standard error";
    first_null: f64, "probability", "the same where nothing repeats";
    uniform: f64, "probability", "what `previous`, `current` and `first` would be if the head looked at all keys that it may see alike";
    entropy_bits: f64, "bits", "mean entropy of patterns";
    entropy_bits_se: f64, "bits", "its standard error";
    entropy_bits_null: f64, "bits", "the same where nothing repeats";
    mean_distance: f64, "positions", "mean distance of query and key, weighted by the pattern";
    mean_distance_se: f64, "positions", "its standard error";
    mean_distance_null: f64, "positions", "the same where nothing repeats";
    texts: u32, "texts", "how many texts there were";
    length: u32, "tokens", "how many tokens of a text are read twice";
    copying: Option<f64>, "", "real part of the sum of the eigenvalues of W_E W_OV W_U over the sum of their sizes (Elhage et al. 2021): 1 where every \
        token that is looked at becomes more probable, -1 where less; null where all are 0, or the vocabularies that are read and said differ";
    ov_rank_90: u32, "", "how many singular values of W_OV make 90 % of the sum of their squares";
}

table! {
    /// How far one head's output is what another head reads.
    HeadPairRow = "head_pairs" version 1:
    "How far what one head writes is what a head of a later block reads: q, k and v composition (Elhage et al. 2021). One row is one pair. \
     With W_QK = W_Q W_K' and W_OV = W_V W_O of effective weights, and in the norm of Frobenius: \
     |W_OV A| / (|W_OV| |A|), where A is the later head's W_QK (q), its transpose (k), or its W_OV (v), less `baseline`. Of weights: whether \
     a head makes use of it, a run says.";
    from_layer: u32, "index", "block of the head that writes";
    from_head: u32, "index", "which query head of it";
    to_layer: u32, "index", "block of the head that reads";
    to_head: u32, "index", "which query head of it";
    q: f64, "", "composition of what it writes with the other's queries, less the baseline";
    k: f64, "", "the same with its keys";
    v: f64, "", "the same with its values";
    baseline: f64, "", "what independent maps have on average: 1 / root of d_model. It is no bound of chance: single pairs scatter around it";
}

table! {
    /// A token at an end of a singular direction of a head.
    HeadSvdRow = "head_svd" version 1 keyed by layer, head, matrix, component, end, sign, rank:
    "What a head's maps read and write most: the largest singular values of W_OV and W_QK (effective weights), with the tokens at both \
     ends of their directions. One row is one token. A direction may be turned around if the other end is too; here \
     the number furthest from 0 in what comes first (`source`, `query`) is positive. Of rotary models W_QK is that of distance 0.";
    layer: u32, "index", "which block, counted from 0";
    head: u32, "index", "which query head of it";
    kv_head: u32, "index", "the key/value head that it reads";
    matrix: String, "", "`OV`: from what is looked at to what is written; `QK`: from what asks to what is looked at";
    component: u32, "index", "which singular value, the largest 0";
    sigma: f64, "", "the singular value";
    share: f64, "share", "its square over the sum of the squares of all";
    near_equal: bool, "", "whether another is within 1 % of it: then any mixture of their directions would do as well";
    end: String, "", "of OV `source` (tokens that are looked at, by their embeddings) and `logits` (tokens that become more or less probable); of \
        QK `query` and `key` (both by embeddings)";
    sign: String, "", "`+` for the tokens furthest up this direction, `-` for those furthest down; what + does at one end, + does at the other";
    rank: u32, "rank", "1 = furthest";
    token: String, TOKEN, "the token";
    token_id: u32, "vocabulary id", "its id";
    value: f64, "", "its embedding along the direction; of `logits`, what the direction adds to its logit, less the mean over all tokens";
}

table! {
    /// What a head would do about two tokens.
    HeadCircuitRow = "head_circuit" version 1 keyed by layer, head, matrix, from_id, to_id:
    "The full circuits of heads on chosen tokens, by effective weights and embeddings alone, without positions, biases and the scales of \
     norms (Elhage et al. 2021): what attention from the embedding of one token to that of another would be made of, and what it would do. \
     One row is one pair of tokens. Exact for a first block without positions; later blocks read more than embeddings. Of rotary models \
     QK is that of distance 0.";
    layer: u32, "index", "which block, counted from 0";
    head: u32, "index", "which query head of it";
    kv_head: u32, "index", "the key/value head that it reads";
    matrix: String, "", "`OV`: W_E W_OV W_U; `QK`: W_E W_QK W_E'";
    from: String, TOKEN, "OV: the token that is looked at; QK: the one that asks";
    from_id: u32, "vocabulary id", "its id";
    to: String, TOKEN, "OV: the token whose logit is pushed; QK: the one that is looked at";
    to_id: u32, "vocabulary id", "its id";
    value: f64, "", "OV: what it adds to the logit; QK: what it adds to the score, before the factor on scores";
}
