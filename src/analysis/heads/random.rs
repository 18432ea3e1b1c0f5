//! Random tokens, read twice, and the same in random order: texts in which there is nothing but places and repetition.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result, give, give_as, said, words};
use crate::session::Session;
use crate::text::{Bos, Prompt, PromptEntry};

/// The least that a half can be: the places of scores are different ones.
const LEAST: usize = 3;

/// Tokens of a half, where nobody says how many.
const LENGTH: usize = 50;

/// Random texts.
pub struct Texts {
    /// Each text, and after all of them each in random order.
    pub prompts: Vec<Prompt>,
    /// How many of them repeat.
    pub repeat: usize,
    /// Tokens of a half.
    pub length: usize,
    /// Tokens before the first half.
    pub before: usize,
}

impl Texts {
    /// `n` texts for this model, with `length` tokens in a half unless that is for the model to say.
    ///
    /// # Errors
    /// When they do not fit the context, or there are no tokens to draw.
    pub fn of(on: &Session, n: usize, length: Option<usize>, seed: u64) -> Result<Self> {
        let begin = begins_with(on)?;
        let length = fitting(on, length, begin.len())?;
        let from = vocabulary(on);
        if from.len() < 2 {
            return Err(Error::bad_input("the model has fewer than two tokens to draw from")
                .hint("choose a model that reads more than one token"));
        }
        let (mut texts, mut shuffled) = (vec![], vec![]);
        for i in 0..n {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(i as u64);
            let half = drawn(&from, length, &mut random);
            let mut twice = [&half[..], &half].concat();
            texts.push(PromptEntry::ids([&begin[..], &twice].concat()).named(format!("random {i}")));
            twice.shuffle(&mut random);
            shuffled.push(PromptEntry::ids([&begin[..], &twice].concat()).named(format!("random {i}, shuffled")));
        }
        texts.extend(shuffled);
        let prompts = on.prompts(&texts, Bos::Never)?;
        Ok(Self { prompts, repeat: n, length, before: begin.len() })
    }

    /// For each of [`Texts::queries`] of text `i` where its own token was before, and what came after it then. Of a text in random order,
    /// where these are in the one that repeats.
    pub fn places(&self, i: usize) -> Vec<[Vec<usize>; 2]> {
        let ids = self.prompts[i % self.repeat].ids();
        let of = |query: usize| {
            let same: Vec<usize> = (self.before..query).filter(|key| ids[*key] == ids[query]).collect();
            let after = same.iter().map(|key| key + 1).collect();
            [same, after]
        };
        self.queries().map(of).collect()
    }

    /// Positions in the second half but its first, which nothing tells that the text repeats.
    pub fn queries(&self) -> std::ops::Range<usize> {
        self.before + self.length + 1..self.before + 2 * self.length
    }
}

/// What the tokenizer puts before a text.
fn begins_with(on: &Session) -> Result<Vec<u32>> {
    let Some(tokenizer) = &on.tokenizer else { return Ok(vec![]) };
    // Some letter that a tokenizer of few words may not have.
    let Ok(tokens) = tokenizer.encode("a", Bos::AsTokenizer) else { return Ok(vec![]) };
    Ok(tokens.iter().take_while(|token| token.bytes.is_none()).map(|token| token.id).collect())
}

/// Tokens that are words, and not marks of a text's ends.
fn vocabulary(on: &Session) -> Vec<u32> {
    let n = on.model.spec().d_vocab;
    match &on.tokenizer {
        Some(tokenizer) => {
            let words = |id: &u32| !tokenizer.token(*id).special;
            (0..n.min(tokenizer.vocab_size()) as u32).filter(words).collect()
        }
        None => (0..n as u32).collect(),
    }
}

/// Tokens of a half.
fn fitting(on: &Session, length: Option<usize>, before: usize) -> Result<usize> {
    let most = on.model.spec().n_ctx.map_or(usize::MAX, |n| n.saturating_sub(before) / 2);
    let context = on.model.spec().n_ctx.unwrap_or(usize::MAX);
    if most < LEAST {
        return Err(Error::bad_input(format!(
            "the model's context of {context} has no room for {LEAST} random tokens read twice"
        ))
        .hint(said("leave out what needs it, with {find=pairs,svd,circuits}")));
    }
    match length {
        None => Ok(most.min(LENGTH)),
        Some(short @ ..LEAST) => Err(Error::bad_input(
            give("length")
                + format!(" is {short}, and with fewer than {LEAST} tokens the places of scores are the same"),
        )
        .hint(give_as("length", LENGTH.min(most).to_string()) + " is what is taken by itself")),
        Some(long) if long > most => Err(Error::bad_input(format!(
            "2 x {long} tokens{} are more than the model's context of {context}",
            if before > 0 { " and what begins a text" } else { "" }
        ))
        .hint(words("give at most ") + give_as("length", most.to_string()))),
        Some(length) => Ok(length),
    }
}

/// So many of these tokens, all different where there are enough.
fn drawn(from: &[u32], n: usize, random: &mut ChaCha8Rng) -> Vec<u32> {
    if from.len() < n {
        return (0..n).map(|_| from[random.random_range(0..from.len() as u32) as usize]).collect();
    }
    rand::seq::index::sample(random, from.len(), n).into_iter().map(|i| from[i]).collect()
}
