//! Brackets: what was opened last is closed first.

use rand::Rng;
use rand::seq::SliceRandom;

use super::words::{BRACKETS, NOUNS};
use super::{Random, Split, Task, held_out, pick};

/// How deep brackets are nested.
pub const DEEPEST: usize = 3;

/// A text of nested brackets, as its words and marks, and the places where one closes.
struct Nested {
    words: Vec<String>,
    /// Index of a closing mark in `words`, and how deep the bracket lies that it closes.
    closings: Vec<(usize, usize)>,
}

/// Whether this bracket directly after this word is kept from training.
pub fn opening_is_held_out(word: &str, bracket: &str) -> bool {
    held_out(&["bracket", word, bracket], 5)
}

fn nested(random: &mut Random, split: Split) -> Nested {
    let mut text = Nested { words: vec![], closings: vec![] };
    let mut open: Vec<usize> = vec![];
    let deepest = random.random_range(1..=DEEPEST);
    let mut reached = 0;
    text.words.push(pick(random, NOUNS).0.to_owned());
    loop {
        let word = text.words.last().cloned().unwrap_or_default();
        let mut allowed: Vec<usize> = (0..BRACKETS.len())
            .filter(|&b| opening_is_held_out(&word, BRACKETS[b].0) == (split == Split::HeldOut))
            .collect();
        allowed.shuffle(random);
        // A text ends when its first bracket closes, so it may be long only before that.
        let may_open = open.len() < deepest && !allowed.is_empty() && (reached == 0 || text.words.len() < 24);
        if may_open && (reached == 0 || random.random_bool(0.45)) {
            open.push(allowed[0]);
            text.words.push(BRACKETS[allowed[0]].0.to_owned());
            text.words.push(pick(random, NOUNS).0.to_owned());
            reached = reached.max(open.len());
        } else if let Some(bracket) = open.pop_if(|_| random.random_bool(0.6)) {
            text.closings.push((text.words.len(), open.len() + 1));
            text.words.push(BRACKETS[bracket].1.to_owned());
            if open.is_empty() {
                return text;
            }
        } else {
            text.words.push(pick(random, NOUNS).0.to_owned());
        }
    }
}

/// One text.
pub fn document(random: &mut Random, split: Split) -> String {
    nested(random, split).words.join(" ")
}

/// A text up to where a bracket must close, and how deep that bracket lies, 1 = outermost.
pub fn task(random: &mut Random, split: Split) -> (Task, usize) {
    let text = nested(random, split);
    let &(at, depth) = pick(random, &text.closings);
    let answer = &text.words[at];
    let foils = BRACKETS.iter().map(|b| b.1).filter(|b| b != answer).map(|b| format!(" {b}")).collect();
    let rest = text.words[at + 1..].iter().map(|w| format!(" {w}")).collect();
    (Task { prompt: text.words[..at].join(" "), answer: format!(" {answer}"), foils, rest }, depth)
}
