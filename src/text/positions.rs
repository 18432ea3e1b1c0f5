//! Positions that have names, such as the indirect object's: what is asked for, and where they are in a prompt.

use std::ops::Range;

use super::prompt::Prompt;
use super::tokenizer::quoted;
use crate::error::{Error, Result, position};

/// A named position, as it is asked for: `io=io_pos`, `s2=10`, `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPosition {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub at: At,
}

/// Where a named position is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// At the same number in every prompt; negative ones count from the end.
    Number(isize),
    /// Where this column of the file of pairs says.
    Column(String),
}

impl NamedPosition {
    /// `NAME=COLUMN`, `NAME=NUMBER`, `end` for the last position, or `NAME` alone for the column of that name.
    ///
    /// # Errors
    /// When there is no name, or nothing behind it.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, at) = text.split_once('=').unwrap_or((text, text));
        let (name, at) = (name.trim(), at.trim());
        if name.is_empty() || at.is_empty() || name.parse::<isize>().is_ok() {
            return Err(Error::bad_input(format!("{} is no named position", quoted(text)))
                .hint("write NAME=COLUMN or NAME=NUMBER, such as io=io_pos,s2=10,end"));
        }
        let at = match at.parse() {
            Ok(number) => At::Number(number),
            Err(_) if text.trim() == "end" => At::Number(-1),
            Err(_) => At::Column(at.to_owned()),
        };
        Ok(Self { name: name.to_owned(), at })
    }
}

/// The position in `prompt` that a file's cell means: a whole number, negative from the end; or words of the prompt, which mean
/// the last of their tokens.
///
/// # Errors
/// When the number is no position of the prompt; when the words are not in it, or more than once.
pub fn position_in(cell: &str, prompt: &Prompt) -> Result<usize> {
    match cell.trim().parse() {
        Ok(number) => position_at(number, prompt),
        Err(_) => last_token_of(cell, prompt),
    }
}

/// Position `number` of `prompt`; a negative number counts from the end.
///
/// # Errors
/// When there is none.
pub fn position_at(number: isize, prompt: &Prompt) -> Result<usize> {
    position("the prompt", prompt.tokens.len(), number)
}

fn last_token_of(words: &str, prompt: &Prompt) -> Result<usize> {
    // The bytes that each token stands for; where ids were given, those that they spell.
    let (mut spelled, mut ranges): (String, Vec<Range<usize>>) = (String::new(), vec![]);
    match &prompt.text {
        Some(text) => {
            spelled.push_str(text);
            ranges.extend(prompt.tokens.iter().map(|t| t.bytes.clone().unwrap_or(0..0)));
        }
        None => {
            for token in &prompt.tokens {
                let from = spelled.len();
                spelled.push_str(&token.text);
                ranges.push(from..spelled.len());
            }
        }
    }
    let mut found = spelled.match_indices(words);
    let Some((from, _)) = found.next().filter(|_| !words.is_empty()) else {
        return Err(Error::no_such(format!("{} is not in the clean prompt", quoted(words)))
            .hint("give words as they stand there, or a position from 0"));
    };
    if found.next().is_some() {
        return Err(Error::bad_input(format!("{} is in the clean prompt more than once", quoted(words)))
            .hint("give the position, from 0 or, negative, from the end"));
    }
    let end = from + words.len();
    let covers = |range: &Range<usize>| range.start < end && range.end > from;
    ranges.iter().rposition(covers).ok_or_else(|| Error::compute(format!("{} has no token", quoted(words))).fault())
}
