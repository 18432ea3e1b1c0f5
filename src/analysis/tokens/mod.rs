//! Tokens: what does the model see of a text?
//!
//! A model reads the ids of tokens, which are pieces of text that were common in the text its tokenizer was made of. Here each token is
//! laid back onto the text, so that it is known which of them share a character, and which begins a word.

mod counts;
mod options;
pub mod rows;
mod view;

use std::collections::BTreeSet;
use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use crate::error::{Error, Result};
use crate::text::{Merge, Merged, Prompt, Token, Tokenizer};
pub use options::{Splitter, Splitting, Texts, Tokens};
pub use rows::{TokenCountRow, TokenLetterRow, TokenMergeRow, TokenRow};

/// The bytes of a prompt, and where its tokens are in them.
struct Laid {
    text: Vec<u8>,
    places: Vec<Option<Range<usize>>>,
}

impl Laid {
    /// The prompt's text; of one that was given as ids, what the ids spell together, without special tokens.
    fn of(prompt: &Prompt) -> Self {
        if let Some(text) = &prompt.text {
            let places = prompt.tokens.iter().map(|token| token.bytes.clone()).collect();
            return Self { text: text.clone().into_bytes(), places };
        }
        let mut text = vec![];
        let mut place = |bytes: &[u8]| {
            let start = text.len();
            text.extend_from_slice(bytes);
            start..text.len()
        };
        let tokens = prompt.tokens.iter();
        let places = tokens.map(|token| (!token.special).then(|| place(&token.spells))).collect();
        Self { text, places }
    }

    /// Where its graphemes begin. Bytes that are no character are one.
    fn graphemes(&self) -> BTreeSet<usize> {
        let (mut starts, mut at) = (BTreeSet::from([self.text.len()]), 0);
        for chunk in self.text.utf8_chunks() {
            starts.extend(chunk.valid().grapheme_indices(true).map(|(i, _)| at + i));
            at += chunk.valid().len();
            starts.insert(at);
            at += chunk.invalid().len();
        }
        starts
    }

    /// Which group each token is of.
    fn groups(&self) -> Vec<u32> {
        let (starts, mut group, mut before) = (self.graphemes(), 0, None);
        let place = |place: &Option<Range<usize>>| {
            let joined =
                before.is_some_and(|joins| joins) && place.as_ref().is_some_and(|p| !starts.contains(&p.start));
            group += u32::from(before.is_some() && !joined);
            before = Some(place.is_some());
            group
        };
        self.places.iter().map(place).collect()
    }

    /// Whether a word begins in the bytes of `place`, whose token comes after a special one or not.
    fn starts_word(&self, place: &Range<usize>, after_special: bool) -> bool {
        let own = self.text[place.clone()].utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let white = own.len() - own.trim_start().len();
        let at = place.start + white;
        let Some(first) = self.text.get(at).filter(|_| at < place.end) else { return false };
        // The character before, which is one to four bytes long.
        let before = (1..=at.min(4)).find_map(|n| std::str::from_utf8(&self.text[at - n..at]).ok());
        let free = at == 0 || white > 0 || after_special || before.is_some_and(|c| c.ends_with(char::is_whitespace));
        free && first & 0xc0 != 0x80
    }
}

/// One row for each token of a prompt.
pub fn tokens(prompt: &Prompt, model: &str) -> impl Iterator<Item = TokenRow> {
    let laid = Laid::of(prompt);
    let groups = laid.groups();
    prompt.tokens.iter().enumerate().map(move |(pos, token)| {
        let after_special = pos.checked_sub(1).is_some_and(|i| prompt.tokens[i].special || laid.places[i].is_none());
        let place = laid.places[pos].as_ref().filter(|_| !token.special);
        let mut row = TokenRow {
            prompt: prompt.index,
            prompt_id: prompt.id.clone(),
            model: model.to_owned(),
            pos: pos as u32,
            token_id: token.id,
            piece: token.piece.clone(),
            text: token.text.clone(),
            byte_start: token.bytes.as_ref().map(|b| b.start as u32),
            byte_end: token.bytes.as_ref().map(|b| b.end as u32),
            special: token.special,
            bytes: String::new(),
            group: Some(groups[pos]),
            chars: 0,
            is_partial: false,
            starts_word: Some(place.is_some_and(|place| laid.starts_word(place, after_special))),
            part: prompt.chat.as_ref().zip(token.bytes.as_ref()).and_then(|(chat, bytes)| chat.part(bytes)),
        };
        row.spell(&token.spells);
        row
    })
}

/// The rows of the merges of a prompt's `words`, which are those of its text.
pub(super) fn merges(
    prompt: &Prompt,
    (model, spell): (&str, &dyn Fn(u32) -> String),
    words: Vec<Merged>,
    emit: &mut dyn FnMut(TokenMergeRow) -> Result<()>,
) -> Result<()> {
    // What the tokenizer put around the text is no word.
    let places: Vec<usize> = (0..prompt.tokens.len()).filter(|&i| prompt.tokens[i].bytes.is_some()).collect();
    for (word, Merged { first, merges, .. }) in words.into_iter().enumerate() {
        for (step, Merge { at, pair, merged }) in merges.into_iter().enumerate() {
            emit(TokenMergeRow {
                prompt: prompt.index,
                prompt_id: prompt.id.clone(),
                model: model.to_owned(),
                word: word as u32,
                pos: places.get(first).copied().unwrap_or_default() as u32,
                step: step as u32 + 1,
                start: at.map(|(start, _)| start),
                split: at.map(|(_, split)| split),
                left: pair.map(|(left, ..)| spell(left)),
                left_id: pair.map(|(left, ..)| left),
                right: pair.map(|(_, right, _)| spell(right)),
                right_id: pair.map(|(_, right, _)| right),
                merged: spell(merged),
                merged_id: merged,
                rank: pair.map(|(.., rank)| rank),
            })?;
        }
    }
    Ok(())
}

/// Whether a token is of the text as it was given, and not of what was put around it.
fn is_own(prompt: &Prompt, token: &Token) -> bool {
    token.bytes.as_ref().is_some_and(|bytes| prompt.chat.as_ref().is_none_or(|chat| chat.is_of_user(bytes)))
}

/// The text as it was given; none of ids, or of a chat in which it cannot be found.
fn own_text(prompt: &Prompt) -> Option<&str> {
    match &prompt.chat {
        Some(chat) if chat.said.is_some() => Some(&chat.user),
        _ => prompt.text.as_deref(),
    }
}

/// How many tokens a prompt is.
pub(super) fn count(prompt: &Prompt, model: &str, tokenizer: &Tokenizer) -> TokenCountRow {
    let text = own_text(prompt);
    let added = text.map_or(0, |_| prompt.tokens.iter().filter(|token| !is_own(prompt, token)).count());
    let tokens = prompt.tokens.len() - added;
    let each = |n: Option<usize>| n.filter(|n| *n > 0).map(|n| tokens as f64 / n as f64);
    let (chars, bytes) = (text.map(|text| text.chars().count()), text.map(str::len));
    TokenCountRow {
        prompt: prompt.index,
        prompt_id: prompt.id.clone(),
        model: model.to_owned(),
        tokens: tokens as u32,
        added: added as u32,
        vocabulary: tokenizer.vocab_size() as u32,
        chars: chars.map(|n| n as u32),
        bytes: bytes.map(|n| n as u32),
        tokens_per_char: each(chars),
        tokens_per_byte: each(bytes),
    }
}

/// A letter as it is counted: one grapheme, in lower case.
///
/// # Errors
/// When it is not one letter.
fn letter(text: &str) -> Result<String> {
    match text.graphemes(true).count() {
        1 if text.chars().all(char::is_whitespace) => Err(Error::bad_input("white space is no letter")),
        1 => Ok(text.to_lowercase()),
        n => Err(Error::bad_input(format!("\"{}\" is {n} letters, and one is counted", text.escape_debug()))),
    }
    .map_err(|e| e.hint("give one letter, such as r"))
}

/// What of `wanted` is in a prompt; without one, each letter of a prompt that is one word.
pub(super) fn letters(prompt: &Prompt, model: &str, wanted: Option<&str>) -> Vec<TokenLetterRow> {
    let laid = Laid::of(prompt);
    let text = own_text(prompt).map_or_else(|| String::from_utf8_lossy(&laid.text).to_lowercase(), str::to_lowercase);
    let is_word = text.trim().chars().all(char::is_alphabetic);
    let mut seen: Vec<&str> = vec![];
    match wanted {
        Some(letter) => seen.push(letter),
        None if is_word => text.trim().graphemes(true).for_each(|c| {
            if !seen.contains(&c) {
                seen.push(c);
            }
        }),
        None => {}
    }
    if seen.is_empty() {
        return vec![];
    }
    // Those of the text, of which special tokens are no part.
    let own = |token: &Token| prompt.chat.is_none() || is_own(prompt, token);
    let placed = prompt.tokens.iter().zip(&laid.places).filter(|(token, place)| place.is_some() && own(token));
    let tokens: Vec<String> = placed.map(|(token, _)| String::from_utf8_lossy(&token.spells).to_lowercase()).collect();
    let count = |all: &str, letter: &str| all.graphemes(true).filter(|c| *c == letter).count() as u32;
    let row = |letter: &str| TokenLetterRow {
        prompt: prompt.index,
        prompt_id: prompt.id.clone(),
        model: model.to_owned(),
        letter: letter.to_owned(),
        in_text: count(&text, letter),
        tokens: tokens.len() as u32,
        tokens_with: tokens.iter().filter(|token| count(token, letter) > 0).count() as u32,
        tokens_that_are: tokens.iter().filter(|token| token.trim() == letter).count() as u32,
    };
    seen.into_iter().map(row).collect()
}
