//! A small English: text whose rules are known, so that what a model learned of it can be checked.
//!
//! Each skill is a file. It makes [`Task`]s: a prompt, what must follow it, and what must not. For training a task is
//! written out as a text; for measuring it is asked as a question. Some combinations of words are never used for training
//! ([`held_out`]), and questions use no others, so that a right answer is not a memory.

pub mod agreement;
pub mod brackets;
pub mod facts;
pub mod greater_than;
pub mod ioi;
pub mod stories;
pub mod words;

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// The generator of everything random here: its numbers are the same with every version and on every machine.
pub type Random = ChaCha8Rng;

/// Which combinations may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Those that the model is trained on.
    Train,
    /// The others.
    HeldOut,
}

/// A prompt with its right continuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Everything before the answer.
    pub prompt: String,
    /// What must follow: one word, with the space before it.
    pub answer: String,
    /// What must not, although the text suggests it.
    pub foils: Vec<String>,
    /// How the text goes on after the answer.
    pub rest: String,
}

impl Task {
    fn text(self) -> String {
        self.prompt + &self.answer + &self.rest
    }
}

/// Whether the combination of `parts` is kept from training. One in `one_in` is, chosen by a hash of the words alone.
pub fn held_out(parts: &[&str], one_in: u64) -> bool {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes()).update(b"\0");
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first).is_multiple_of(one_in)
}

/// Draws until the combination belongs to `split`; `draw` says whether what it drew is held out.
fn of_split<T>(split: Split, mut draw: impl FnMut() -> (T, bool)) -> T {
    loop {
        let (drawn, held) = draw();
        if held == (split == Split::HeldOut) {
            return drawn;
        }
    }
}

fn pick<'a, T>(random: &mut Random, from: &'a [T]) -> &'a T {
    from.choose(random).unwrap_or(&from[0])
}

/// Two different entries.
fn pick_two<'a, T>(random: &mut Random, from: &'a [T]) -> (&'a T, &'a T) {
    let first = random.random_range(0..from.len());
    let second = (first + random.random_range(1..from.len())) % from.len();
    (&from[first], &from[second])
}

/// `a` or `an`, as `word` needs it.
fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// `text` with its first letter in upper case.
fn sentence_case(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// One text of `split`, of a skill drawn by its share of the corpus.
pub fn document(random: &mut Random, split: Split) -> String {
    match random.random_range(0..100) {
        0..12 => ioi::task(random, split).text(),
        12..24 => ioi::apart(random, split).text(),
        24..46 => facts::document(random, split),
        46..60 => agreement::task(random, split).text(),
        60..76 => greater_than::task(random, split).text(),
        76..85 => brackets::document(random, split),
        _ => stories::document(random),
    }
}
