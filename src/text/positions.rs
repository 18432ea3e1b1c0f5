//! Positions that have names, such as the indirect object's: what is asked for, and where they are in a prompt.

use std::ops::Range;

use super::prompt::Prompt;
use super::tokenizer::quoted;
use crate::error::{Error, Result, position};

/// A named position, as it is asked for: `io=io_pos`, `s2=10`, `s2=John@2`, `end`.
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
    /// Where this column of the file of pairs says; without a file, where these words of the clean prompt are.
    Column(String),
}

impl NamedPosition {
    /// `NAME=COLUMN`, `NAME=WORDS`, `NAME=NUMBER`, `end` for the last position, or `NAME` alone for the column of that name.
    ///
    /// # Errors
    /// When there is no name, or nothing behind it.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, at) = text.split_once('=').unwrap_or((text, text));
        let (name, at) = (name.trim(), at.trim());
        if name.is_empty() || at.is_empty() || name.parse::<isize>().is_ok() {
            return Err(Error::bad_input(format!("{} is no named position", quoted(text)))
                .hint("write NAME=WORDS, NAME=NUMBER or, of a file, NAME=COLUMN, such as io=Mary,s2=10,end"));
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
/// the last of their tokens. Of words that stand there more than once, `John@2` is the second time, and `John@-1` the last.
///
/// # Errors
/// When the number is no position of the prompt; when the words are not in it, or more than once and it is not said which, or not that
/// often.
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
    let (words, from) = place_of(words, &spelled)?;
    let end = from + words.len();
    let covers = |range: &Range<usize>| range.start < end && range.end > from;
    ranges.iter().rposition(covers).ok_or_else(|| Error::compute(format!("{} has no token", quoted(words))).fault())
}

/// Where in `text` the words are that `asked` means, in bytes: words as they stand there, which of them by `@2` if there are several.
fn place_of<'a>(asked: &'a str, text: &str) -> Result<(&'a str, usize)> {
    let of = |words: &str| -> Vec<usize> {
        if words.is_empty() { vec![] } else { text.match_indices(words).map(|(from, _)| from).collect() }
    };
    let numbered = asked.rsplit_once('@').and_then(|(words, n)| Some((words, n.parse::<isize>().ok()?)));
    let (words, which, found) = match (of(asked), numbered) {
        // Words may have an @ of their own.
        (found, Some((words, n))) if found.is_empty() => (words, Some(n), of(words)),
        (found, _) => (asked, None, found),
    };
    let quoted = quoted(words);
    match (which, &found[..]) {
        (_, []) => Err(Error::no_such(format!("{quoted} is not in the clean prompt"))
            .hint("give words as they stand there, or a position from 0")),
        (None, [only]) => Ok((words, *only)),
        (None, several) => {
            let (n, words) = (several.len(), words.trim());
            Err(Error::bad_input(format!("{quoted} is in the clean prompt more than once, {n} times")).hint(format!(
                "say which: {words}@1 is the first, {words}@{n} or {words}@-1 the last; or give the position"
            )))
        }
        (Some(n), found) => {
            let at = match n {
                1.. => Some(n as usize - 1),
                _ => found.len().checked_sub(n.unsigned_abs()).filter(|_| n < 0),
            };
            let from = at.and_then(|at| found.get(at)).ok_or_else(|| {
                let times = if found.len() == 1 { "once".to_owned() } else { format!("{} times", found.len()) };
                Error::no_such(format!("{quoted} is in the clean prompt {times}, and @{n} is not one of them"))
                    .hint("@1 is the first, and @-1 the last")
            })?;
            Ok((words, *from))
        }
    }
}
