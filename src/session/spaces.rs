//! Words that may have been meant with a space before them, or without: ` Mary` and `Mary` are two tokens, and only one of them is
//! what the model says there.

use super::Session;
use crate::error::Result;
use crate::model::{Batch, Run, Unembed};
use crate::number::Locale;
use crate::ops::softmax::probabilities;
use crate::table::visible;
use crate::text::Prompt;

/// Prompts that are run to see which word the model means; more are only counted.
const MOST_RUN: usize = 32;

/// Words that are measured after a prompt.
pub struct Words<'a> {
    /// The prompt.
    pub prompt: &'a Prompt,
    /// After which of its positions.
    pub at: usize,
    /// The words' tokens.
    pub tokens: Vec<u32>,
}

/// A token, and the same word with the space that it lacks or without the one that it has.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Two {
    given: u32,
    other: u32,
    /// Probabilities after the prompt, where it was run.
    probs: Option<(f64, f64)>,
}

impl Session {
    /// What there is to say of words that are tokens with and without a space, and are given in the form that does not fit to the
    /// prompt: without a space where the prompt does not end in one, with it where it does. `what` they are, such as `answer`, and
    /// what `several` prompts are called, such as `pairs`.
    ///
    /// # Errors
    /// Whatever the model says as it runs.
    pub fn doubtful_spaces(&self, [what, several]: [&str; 2], words: &[Words]) -> Result<Option<String>> {
        let mut doubtful: Vec<(&Words, Vec<Two>)> = vec![];
        for asked in words {
            let mut tokens = asked.tokens.clone();
            tokens.sort_unstable();
            tokens.dedup();
            let two: Vec<Two> = tokens.iter().filter_map(|given| self.in_two_forms(asked, *given)).collect();
            if !two.is_empty() {
                doubtful.push((asked, two));
            }
        }
        for (asked, two) in doubtful.iter_mut().take(MOST_RUN) {
            let probs = self.probs(asked)?;
            let of = |id: u32| probs.get(id as usize).copied().unwrap_or(0.0);
            two.iter_mut().for_each(|two| two.probs = Some((of(two.given), of(two.other))));
        }
        Ok(self.said([what, several], words.len(), &doubtful))
    }

    fn said(&self, [what, several]: [&str; 2], all: usize, doubtful: &[(&Words, Vec<Two>)]) -> Option<String> {
        let (_, first) = doubtful.first()?;
        let known: Vec<(f64, f64)> = doubtful.iter().flat_map(|(_, two)| two).filter_map(|two| two.probs).collect();
        let n = known.len() as f64;
        if known.iter().any(|(given, other)| !(given + other).is_finite()) {
            // The run itself says so.
            return None;
        }
        let (given, other) = known.iter().fold((0.0, 0.0), |(a, b), (given, other)| (a + given / n, b + other / n));
        let word = |id: u32| format!("\"{}\"", visible(&self.spell(id)));
        let with =
            if self.spell(first[0].other).starts_with(' ') { "with a space before it" } else { "without the space" };
        let meant = if other > given { format!(": was it meant {with}?") } else { String::new() };
        if all > 1 {
            let run =
                if doubtful.len() > MOST_RUN { format!(", in the first {MOST_RUN} of them") } else { String::new() };
            return Some(format!(
                "in {} of {all} {several} the {what} is a token {with} too, such as {} and {}; their mean probabilities are {} as it \
                 is given and {} {with}{run}{meant}",
                doubtful.len(),
                word(first[0].given),
                word(first[0].other),
                Locale::EN.long_probability(given),
                Locale::EN.long_probability(other),
            ));
        }
        let each = first.iter().map(|two| {
            let (given, other) = two.probs.unwrap_or_default();
            let (own, its) = (word(two.given), word(two.other));
            format!(
                "{own} has the probability {} after the prompt, and {its} {}",
                Locale::EN.long_probability(given),
                Locale::EN.long_probability(other)
            )
        });
        Some(format!("the {what} is a token {with} too: {}{meant}", each.collect::<Vec<_>>().join("; ")))
    }

    /// The other form of a word that does not fit to where it is measured; nothing where there is none.
    fn in_two_forms(&self, Words { prompt, at, .. }: &Words, given: u32) -> Option<Two> {
        let tokenizer = self.tokenizer.as_ref()?;
        let (text, before) = (tokenizer.token_text(given), prompt.label(*at));
        let is_word = |text: &str| text.chars().next().is_some_and(char::is_alphabetic);
        let other = match (before.ends_with(char::is_whitespace), text.strip_prefix(' ')) {
            (false, None) if is_word(&text) => format!(" {text}"),
            (true, Some(word)) if is_word(word) => word.to_owned(),
            _ => return None,
        };
        let other = self.target(&other).ok()?;
        // A tokenizer may put the space there by itself, or make something else of the word.
        (other != given && tokenizer.token_text(other).trim_start() == text.trim_start()).then_some(Two {
            given,
            other,
            probs: None,
        })
    }

    /// Probabilities of all tokens where words are measured.
    fn probs(&self, Words { prompt, at, .. }: &Words) -> Result<Vec<f64>> {
        let run = Run { unembed: Unembed::Rows(vec![*at as u32]), ..Run::default() };
        let out = self.model.run(&Batch::one(prompt.ids()), &run, &mut [])?;
        let logits = out.logits()?.to_device(&candle_core::Device::Cpu)?.to_dtype(candle_core::DType::F32)?;
        Ok(probabilities(&logits.flatten_all()?.to_vec1::<f32>()?))
    }
}
