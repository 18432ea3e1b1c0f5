//! The tables of tokens.

use crate::table;
use crate::table::{Provenance, TOKEN};

table! {
    /// One token of a prompt.
    TokenRow = "tokens" version 3 upgraded by older:
    "How a tokenizer splits each prompt. One row is one token, in order; of several tokenizers, one after another for each prompt. \
     Characters are Unicode's, and what a reader takes for one (a flag, an emoji with a skin tone, a letter with its accent) is a grapheme, which can be several.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    model: String, "", "the model whose tokenizer it is", since 2;
    pos: u32, "index", "position in the prompt, counted from 0";
    token_id: u32, "vocabulary id", "the token's id";
    piece: String, TOKEN, "the token as the vocabulary writes it, e.g. `Ġthe`";
    text: String, TOKEN, "what it spells; bytes that are no whole character as `\\xF0`";
    byte_start: Option<u32>, "bytes", "where it starts in the prompt's UTF-8; null for a token that the tokenizer added";
    byte_end: Option<u32>, "bytes", "where it ends, exclusive; null for a token that the tokenizer added";
    special: bool, "", "whether it is a special token (beginning of text, padding, ...)";
    bytes: String, "hex", "the bytes that it spells, two digits each; in files of version 1 those that `text` says", since 2;
    group: Option<u32>, "index", "tokens with parts of the same grapheme are one group; counted from 0. Null in files of version 1", since 2;
    chars: u32, "characters", "how many characters begin in it", since 2;
    is_partial: bool, "", "whether its bytes are not whole characters", since 2;
    starts_word: Option<bool>, "", "whether it is the first of a word: of what stands between white space. Null in files of version 1", since 2;
    part: Option<String>, "", "of a chat (`--chat`) whose it is: `user`, `system` or `template`, joined by `+` where it has bytes of several; null where there is no \
        chat, where the template changed what was said so that it cannot be told, and in files before version 3", since 3;
}

/// What a row of version 1 says by its text.
fn older(row: &mut TokenRow, how: &Provenance) {
    if how.table_version >= 2 {
        return;
    }
    row.model.clone_from(&how.model);
    let mut bytes = vec![];
    let mut rest = &row.text[..];
    while let Some(c) = rest.chars().next() {
        let byte = rest.strip_prefix("\\x").and_then(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok());
        match byte.filter(|byte| *byte >= 0x80) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(c.to_string().bytes()),
        }
        rest = &rest[byte.filter(|byte| *byte >= 0x80).map_or(c.len_utf8(), |_| 4)..];
    }
    row.spell(&bytes);
}

impl TokenRow {
    /// Says what these bytes are, which it spells.
    pub(super) fn spell(&mut self, bytes: &[u8]) {
        self.bytes = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        // All bytes of a character but the first are 10xxxxxx.
        self.chars = bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u32;
        self.is_partial = std::str::from_utf8(bytes).is_err();
    }

    /// The bytes that it spells.
    pub fn spelled(&self) -> Vec<u8> {
        let digits = |at: usize| self.bytes.get(at..at + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        (0..self.bytes.len()).step_by(2).filter_map(digits).collect()
    }
}

table! {
    /// One merge of a word.
    TokenMergeRow = "token_merges" version 1:
    "How byte-pair encoding (BPE) came to the tokens of each word. A word begins as single symbols, and one row is two neighbours that became one: always those \
     of the lowest rank. The merges are the tokenizer's own. A word that is one token whatever the merges say (`ignore_merges`) is one row \
     without left and right; tokenizers of other kinds (Unigram, WordPiece) have no rows.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    model: String, "", "the model whose tokenizer it is";
    word: u32, "index", "which word of the prompt, counted from 0: what the tokenizer reads by itself";
    pos: u32, "index", "position of the word's first token in the prompt";
    step: u32, "index", "which merge of the word, counted from 1";
    start: Option<u32>, "index", "the first symbol of the left one, among those that the word begins as, counted from 0";
    split: Option<u32>, "index", "the first symbol of the right one";
    left: Option<String>, TOKEN, "what the left one spells";
    left_id: Option<u32>, "vocabulary id", "its id";
    right: Option<String>, TOKEN, "what the right one spells";
    right_id: Option<u32>, "vocabulary id", "its id";
    merged: String, TOKEN, "what both became";
    merged_id: u32, "vocabulary id", "its id";
    rank: Option<u32>, "index", "place of the merge in the tokenizer's list, counted from 0: the lower, the earlier training found it";
}

table! {
    /// How many tokens a prompt is to a tokenizer.
    TokenCountRow = "token_counts" version 1:
    "How many tokens each prompt is, to each tokenizer. Tokens that it put around the text are counted apart.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    model: String, "", "the model whose tokenizer it is";
    tokens: u32, "tokens", "how many tokens the text is";
    added: u32, "tokens", "how many the tokenizer put around it";
    vocabulary: u32, "tokens", "how many tokens the tokenizer knows";
    chars: Option<u32>, "characters", "how many characters the text has; null where token ids were given";
    bytes: Option<u32>, "bytes", "how many bytes of UTF-8";
    tokens_per_char: Option<f64>, "tokens", "tokens for each character";
    tokens_per_byte: Option<f64>, "tokens", "tokens for each byte";
}

table! {
    /// A letter of a prompt.
    TokenLetterRow = "token_letters" version 1:
    "How often a letter is in a text, and how many of its tokens are that letter. Upper and lower case count alike.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    model: String, "", "the model whose tokenizer it is";
    letter: String, "", "the letter, in lower case: one grapheme";
    in_text: u32, "letters", "how often it is in the text";
    tokens: u32, "tokens", "how many tokens the text is";
    tokens_with: u32, "tokens", "how many of them have it in what they spell";
    tokens_that_are: u32, "tokens", "how many of them spell it and nothing else, but white space";
}
