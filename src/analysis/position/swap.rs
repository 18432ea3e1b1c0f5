//! Two words of a prompt in each other's place.

use std::ops::Range;

use crate::error::{Error, Result, give_as};
use crate::session::Session;
use crate::text::ids::ids_of;
use crate::text::{Prompt, Token};
use crate::view::label::quoted;

/// Two words to swap: as text, or `#17` for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words([String; 2]);

/// A prompt with two words swapped.
pub struct Swapped {
    /// It.
    pub prompt: Prompt,
    /// What is not as one would expect: its number of tokens, or other tokens than those swapped.
    pub note: Option<String>,
}

/// A place in a prompt.
struct Found {
    /// Positions.
    tokens: Range<usize>,
    /// Bytes of its text; none where the prompt is ids, or the word is one.
    bytes: Option<Range<usize>>,
}

impl Words {
    /// These, which must be two.
    ///
    /// # Errors
    /// When they are not two different words.
    pub fn of(given: &[String]) -> Result<Option<Self>> {
        let trimmed: Vec<&str> = given.iter().map(|word| word.trim()).collect();
        let hint = || give_as("swap", "dog,man") + " swaps these two";
        match trimmed[..] {
            [] => Ok(None),
            [a, b] if a.is_empty() || b.is_empty() => {
                Err(Error::bad_input("one of the two words to swap is empty").hint(hint()))
            }
            [a, b] if a == b => {
                Err(Error::bad_input(format!("{} swapped with itself changes nothing", quoted(a))).hint(hint()))
            }
            [a, b] => Ok(Some(Self([a.to_owned(), b.to_owned()]))),
            _ => {
                let n = trimmed.len();
                Err(Error::bad_input(format!(
                    "a swap is of two words, and here {}",
                    if n == 1 { "is 1".to_owned() } else { format!("are {n}") }
                ))
                .hint(hint()))
            }
        }
    }

    /// `prompt` with the two in each other's place.
    ///
    /// # Errors
    /// When one of them is not in it, is there more than once, is part of a token, or of the other word.
    pub fn swap(&self, on: &Session, prompt: &Prompt) -> Result<Swapped> {
        let [a, b] = [found(prompt, &self.0[0])?, found(prompt, &self.0[1])?];
        let [a, b] = if a.tokens.start <= b.tokens.start { [a, b] } else { [b, a] };
        if a.tokens.end > b.tokens.start {
            let [one, other] = [&self.0[0], &self.0[1]].map(|word| quoted(word));
            return Err(Error::bad_input(format!("{one} and {other} share a token of prompt {}", quoted(&prompt.id)))
                .hint("give two words that stand apart"));
        }
        let exchanged = exchanged(&prompt.tokens, &a.tokens, &b.tokens);
        let mut made = Prompt { tokens: exchanged.clone(), ..prompt.clone() };
        // Of a text the words are swapped, and not the tokens: the first may have no space before it.
        if let (Some(x), Some(y), Some(text)) = (&a.bytes, &b.bytes, &prompt.text)
            && encoded(on, prompt, text)?.is_some_and(|same| ids(&same) == prompt.ids())
        {
            let (before, between, after) = (&text[..x.start], &text[x.end..y.start], &text[y.end..]);
            let text = [before, &text[y.clone()], between, &text[x.clone()], after].concat();
            if let Some(tokens) = encoded(on, prompt, &text)? {
                made = Prompt { text: Some(text), tokens, ..prompt.clone() };
            }
        }
        let note = note(prompt, &made, &ids(&exchanged), [&a, &b]);
        Ok(Swapped { prompt: made, note })
    }
}

/// Tokens with those of two ranges, the first before the second, in each other's place.
fn exchanged(tokens: &[Token], a: &Range<usize>, b: &Range<usize>) -> Vec<Token> {
    let parts = [&tokens[..a.start], &tokens[b.clone()], &tokens[a.end..b.start], &tokens[a.clone()], &tokens[b.end..]];
    parts.concat()
}

fn ids(tokens: &[Token]) -> Vec<u32> {
    tokens.iter().map(|token| token.id).collect()
}

/// `text` as tokens, with what is put around the prompt's own.
fn encoded(on: &Session, prompt: &Prompt, text: &str) -> Result<Option<Vec<Token>>> {
    let Some(tokenizer) = &on.tokenizer else { return Ok(None) };
    let put = |token: &&Token| token.bytes.is_none();
    let before = prompt.tokens.iter().take_while(put).count();
    let after = prompt.tokens[before..].iter().rev().take_while(put).count();
    let mut tokens = prompt.tokens[..before].to_vec();
    tokens.extend(tokenizer.encode_alone(text)?);
    tokens.extend_from_slice(&prompt.tokens[prompt.tokens.len() - after..]);
    Ok(Some(tokens))
}

/// Says where the swap is not of two tokens for each other, and where more than order changes.
fn note(prompt: &Prompt, made: &Prompt, exchanged: &[u32], words: [&Found; 2]) -> Option<String> {
    let (n, now) = (prompt.tokens.len(), made.tokens.len());
    let other: Vec<String> = (0..n.min(now))
        .filter(|at| exchanged[*at] != made.tokens[*at].id)
        .map(|at| format!("{} at position {at}", quoted(made.label(at))))
        .collect();
    let [a, b] = words.map(|word| word.tokens.len());
    let mut said = vec![];
    if n != now {
        said.push(format!("with the words swapped it is {now} tokens, and not {n}, so that others move too"));
    } else if !other.is_empty() {
        said.push(format!("with the words swapped other tokens stand for them: {}", other.join(", ")));
    } else if a != b {
        said.push(format!("the words are {a} and {b} tokens, so that what is between them moves too"));
    }
    let last = |prompt: &Prompt| prompt.tokens.last().map(|token| token.id);
    if last(prompt) != last(made) {
        said.push("the last token is another one, so that more than order changes what comes next".to_owned());
    }
    (!said.is_empty()).then(|| format!("prompt {}: {}", quoted(&prompt.id), said.join("; ")))
}

/// Where a word is in a prompt.
fn found(prompt: &Prompt, word: &str) -> Result<Found> {
    let of = quoted(&prompt.id);
    let once = |n: usize| match n {
        0 => Err(Error::no_such(format!("{} is not in prompt {of}", quoted(word)))
            .hint("give two words as they stand in the prompt, or tokens of it, such as #17")),
        1 => Ok(()),
        n => Err(Error::bad_input(format!(
            "{} is in prompt {of} {n} times, so that it is not clear which is meant",
            quoted(word)
        ))
        .hint("give words that are there once")),
    };
    if let Some(Ok(ids)) = ids_of(word)
        && let [id] = ids[..]
    {
        let places: Vec<usize> = (0..prompt.tokens.len()).filter(|at| prompt.tokens[*at].id == id).collect();
        return once(places.len()).map(|()| Found { tokens: places[0]..places[0] + 1, bytes: None });
    }
    let Some(text) = &prompt.text else {
        let places: Vec<usize> = (0..prompt.tokens.len()).filter(|at| prompt.label(*at).trim() == word).collect();
        return once(places.len()).map(|()| Found { tokens: places[0]..places[0] + 1, bytes: None });
    };
    let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let whole = |from: usize| {
        let (begins, ends) = (word.chars().next(), word.chars().next_back());
        let before = inside(text[..from].chars().next_back()) && inside(begins);
        let after = inside(text[from + word.len()..].chars().next()) && inside(ends);
        !before && !after
    };
    let places: Vec<usize> = text.match_indices(word).map(|(from, _)| from).filter(|from| whole(*from)).collect();
    once(places.len())?;
    let bytes = places[0]..places[0] + word.len();
    let covers = |token: &Token| token.bytes.as_ref().is_some_and(|own| own.start < bytes.end && own.end > bytes.start);
    let own: Vec<usize> = (0..prompt.tokens.len()).filter(|at| covers(&prompt.tokens[*at])).collect();
    let tokens = own.first().copied().unwrap_or(0)..own.last().map_or(0, |last| last + 1);
    let spelled: String = tokens.clone().map(|at| prompt.label(at)).collect();
    // The space before a word is mostly in its token.
    match spelled.trim() == word {
        true => Ok(Found { tokens, bytes: Some(bytes) }),
        false => {
            Err(Error::bad_input(format!("{} is only a part of {} in prompt {of}", quoted(word), quoted(&spelled)))
                .hint("give words that are whole tokens"))
        }
    }
}
