//! The table of tokens.

use crate::table;
use crate::table::TOKEN;

table! {
    /// One token of a prompt.
    TokenRow = "tokens" version 1:
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
