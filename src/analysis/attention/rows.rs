//! The table of attention patterns.

use crate::table;
use crate::table::{Provenance, TOKEN};

table! {
    /// One entry of an attention pattern.
    #[derive(Default)]
    AttentionRow = "attention" version 3 upgraded by upgrade:
    "Attention patterns: where each head looks. One row is one (prompt, layer, head, query position, key position); \
     the probabilities over the keys of one query sum to 1. Keys after the query, or outside the head's window, \
     cannot be seen and have no row; every other key has one, though its probability be 0, unless --min-prob left it out. \
     Looking is not using: with --parts a row also says what the key's value vector carried to the query (Kobayashi et al. 2020), and with --target \
     how far that pushed the logit of a token at the query's own position. Pushes are those of a direct path to the logits, with the scales of norms held \
     (Elhage et al. 2021), before a factor or cap on logits. In files of version 1 keys whose probability is 0 have no row either, and `first_key` and `last_key` are the row's own key.";
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
    score: Option<f32>, "", "query x key after scale and cap, of which the probability is the softmax; null without --parts", since 3;
    score_uncapped: Option<f32>, "", "the score before the cap; null without --parts, and where the model does not cap", since 3;
    value_norm: Option<f32>, "", "the length of the key's value vector; null without --parts", since 3;
    out_norm: Option<f32>, "", "the length of what the key carried: prob x value x the head's output map; null without --parts", since 3;
    share: Option<f32>, "share", "its part of the head's output, along that output: they sum to 1 over the keys, and one may be negative or more \
        than 1; null without --parts, and where the head's output is 0", since 3;
    target: Option<String>, TOKEN, "the token of --target; null without", since 3;
    push: Option<f32>, "logits", "how far what the key carried pushes the target's logit away from the mean logit of the vocabulary, at `query_pos`; \
        null without --target", since 3;
    foil: Option<String>, TOKEN, "the token of --foil; null without", since 3;
    push_foil: Option<f32>, "logits", "the same push away from the foil's logit; null without --foil", since 3;
}

fn upgrade(row: &mut AttentionRow, how: &Provenance) {
    if how.table_version < 2 {
        // Nothing is known of the keys without a row: they may be hidden, or have a probability of 0.
        (row.first_key, row.last_key) = (row.key_pos, row.key_pos);
    }
}
