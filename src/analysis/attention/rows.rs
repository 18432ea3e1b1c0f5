//! The table of attention patterns.

use crate::table;
use crate::table::{Provenance, TOKEN};

table! {
    /// One entry of an attention pattern.
    AttentionRow = "attention" version 2 upgraded by upgrade:
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

fn upgrade(row: &mut AttentionRow, _: &Provenance) {
    // Nothing is known of the keys without a row: they may be hidden, or have a probability of 0.
    (row.first_key, row.last_key) = (row.key_pos, row.key_pos);
}
