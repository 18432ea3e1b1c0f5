//! Two prompts that differ in what is asked about, position by position, and what they are measured by.

use super::prompt::Prompt;
use super::tokenizer::{id_label, quoted};
use crate::error::{Error, Result};

/// A clean and a corrupt prompt of one length, and the tokens that tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Its place among the pairs of the run, from 0.
    pub index: u32,
    /// Its name: the one it was given, else its index.
    pub id: String,
    /// The prompt whose answer is right.
    pub clean: Prompt,
    /// The prompt that lacks what makes it so; none where values are replaced by something else than a prompt's.
    pub corrupt: Option<Prompt>,
    /// Tokens that are right after the clean prompt.
    pub answers: Vec<u32>,
    /// Tokens that are right after the corrupt one, or merely wrong.
    pub foils: Vec<u32>,
    /// Where the answer is of several tokens, those after its first, which is then the only one of `answers`. They are read by teacher
    /// forcing: each after the prompt and the tokens of the answer before it.
    pub rest: Vec<u32>,
    /// Positions of both prompts that have names, in the order in which they are swept.
    pub positions: Vec<Named>,
}

/// A position with a name, such as that of the indirect object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it is called in every pair.
    pub name: String,
    /// Where it is in this one.
    pub at: usize,
}

impl Pair {
    /// A pair, checked.
    ///
    /// # Errors
    /// When the prompts have different lengths, with both shown and the place where they part; or are the same; or when a token
    /// is an answer and a foil.
    pub fn new(
        index: u32,
        id: String,
        clean: Prompt,
        corrupt: Option<Prompt>,
        answers: Vec<u32>,
        foils: Vec<u32>,
    ) -> Result<Self> {
        if let Some(corrupt) = &corrupt {
            align(&id, &clean, corrupt)?;
        }
        if let Some(both) = answers.iter().find(|answer| foils.contains(answer)) {
            return Err(same_answer_and_foil(&id_label(*both)));
        }
        Ok(Self { index, id, clean, corrupt, answers, foils, rest: vec![], positions: vec![] })
    }

    /// The tokens of a run of `prompt`, one of the pair's: its own, and of an answer of several tokens all but the last.
    pub fn text(&self, mut prompt: Vec<u32>) -> Vec<u32> {
        let answer = self.answers.iter().chain(&self.rest).take(self.rest.len());
        prompt.extend(answer);
        prompt
    }

    /// How many tokens such a run has.
    pub fn text_len(&self) -> usize {
        self.clean.tokens.len() + self.rest.len()
    }

    /// The same pair as the one with this index. One without a name is called by it.
    pub fn numbered(mut self, index: u32) -> Self {
        if self.id == self.index.to_string() {
            self.id = index.to_string();
        }
        self.index = index;
        self
    }
}

/// The error for a token, as it is shown, that is an answer and a foil.
pub fn same_answer_and_foil(token: &str) -> Error {
    Error::bad_input(format!("the answer and the foil are the same token, {token}: nothing tells them apart"))
        .hint("the foil is what is right after the corrupt prompt, or wrong after both")
}

fn align(id: &str, clean: &Prompt, corrupt: &Prompt) -> Result<()> {
    let (a, b) = (clean.ids(), corrupt.ids());
    let parts = a.iter().zip(&b).position(|(a, b)| a != b);
    if a.len() == b.len() {
        return match parts {
            Some(_) => Ok(()),
            None => Err(Error::bad_input(format!("the two prompts of pair {} are the same tokens", quoted(id)))
                .hint("change what the model is asked about in the corrupt prompt")),
        };
    }
    let at = parts.unwrap_or(a.len().min(b.len()));
    Err(Error::bad_input(format!(
        "the prompts of pair {} do not align: {} tokens against {}; they part at position {at}: clean {}, corrupt {}",
        quoted(id),
        a.len(),
        b.len(),
        shown(clean, at),
        shown(corrupt, at)
    ))
    .hint("choose words that are as many tokens in both; `pellucid tokens` shows how each is split"))
}

/// The tokens of a prompt with bars between them; the one at `at` in brackets, far ones left out.
fn shown(prompt: &Prompt, at: usize) -> String {
    let n = prompt.tokens.len();
    let (from, to) = (at.saturating_sub(4), (at + 5).min(n));
    let mark = |i: usize| {
        let text = prompt.label(i);
        if i == at { format!("[{text}]") } else { text.to_owned() }
    };
    let mut words: Vec<String> = (from..to).map(mark).collect();
    if from > 0 {
        words.insert(0, "...".into());
    }
    if to < n {
        words.push("...".into());
    }
    if at >= n {
        words.push("[end]".into());
    }
    words.join("|")
}
