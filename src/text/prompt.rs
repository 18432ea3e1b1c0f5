//! Prompts that a model can run: checked tokens with a name.

use std::collections::HashMap;

use super::chat::{Around, InChat};
use super::tokenizer::{Token, Tokenizer, Word, id_label, quoted};
use crate::error::{Error, Result, said};

/// A prompt as it was given: words, or token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PromptInput {
    /// Text for the model's tokenizer.
    Text(String),
    /// Token ids, taken as they are: no BOS is put before them.
    Ids(Vec<u32>),
}

/// One line of a prompt file, or one argument of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptEntry {
    /// The name it was given, if any; otherwise it is called by its index.
    pub id: Option<String>,
    /// The prompt itself.
    pub input: PromptInput,
}

impl PromptEntry {
    /// Text without a name.
    pub fn text(text: impl Into<String>) -> Self {
        Self { id: None, input: PromptInput::Text(text.into()) }
    }
    /// Token ids without a name.
    pub fn ids(ids: impl Into<Vec<u32>>) -> Self {
        Self { id: None, input: PromptInput::Ids(ids.into()) }
    }
    /// The same prompt with a name.
    pub fn named(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }
}

/// A prompt ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its place among the prompts of the run, from 0.
    pub index: u32,
    /// Its name, unique in the run: the one it was given, else its index.
    pub id: String,
    /// The text of its tokens, of a chat what the template wrote; none when it was given as ids.
    pub text: Option<String>,
    /// The chat that it is, where it is one.
    pub chat: Option<InChat>,
    /// Its tokens, at least one; the place in this list is the position in the model.
    pub tokens: Vec<Token>,
}

impl Prompt {
    /// The token ids, one for each position.
    pub fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|t| t.id).collect()
    }

    /// The same prompt as the one with this index. One without a name is called by it.
    pub fn numbered(mut self, index: u32) -> Self {
        if self.id == self.index.to_string() {
            self.id = index.to_string();
        }
        self.index = index;
        self
    }

    /// What stands at `position` (from 0), for tables and axes; empty past the end.
    pub fn label(&self, position: usize) -> &str {
        self.tokens.get(position).map_or("", |t| &t.text)
    }
}

/// Turns `entries` into prompts for a model of `vocab_size` tokens and a context of `n_ctx` positions, if it has a limit.
///
/// `around` is about text only: a [`Bos`](super::Bos) or a [`Chat`](super::Chat). Without a tokenizer ids still work, and their tokens are called `#17`.
///
/// # Errors
/// When there are no prompts; when two have the same id; when one is empty, longer than the context, or has a token that
/// the model does not have; when one is text and there is no tokenizer; when a chat has no template, or one that fails, or
/// prompts that are ids.
pub fn build_prompts(
    entries: &[PromptEntry],
    tokenizer: Option<&Tokenizer>,
    vocab_size: usize,
    n_ctx: Option<usize>,
    around: impl Into<Around>,
) -> Result<Vec<Prompt>> {
    let around = around.into();
    if entries.is_empty() {
        return Err(Error::bad_input("there are no prompts").hint("give at least one"));
    }
    let (mut seen, mut words) = (HashMap::new(), HashMap::new());
    let mut prompts = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let id = entry.id.clone().unwrap_or_else(|| index.to_string());
        if let Some(earlier) = seen.insert(id.clone(), index) {
            return Err(Error::bad_input(format!("prompts {earlier} and {index} have the same id {}", quoted(&id)))
                .hint("give each prompt an id of its own"));
        }
        // Before they become tokens, each of which takes a hundred times as much.
        if let PromptInput::Ids(ids) = &entry.input {
            check_length(ids.len(), &id, n_ctx)?;
        }
        let (text, chat) = written(&entry.input, &id, tokenizer, &around)?;
        if let (Some(text), Some(tokenizer), Some(limit)) = (&text, tokenizer, n_ctx) {
            check_text(text.len(), &id, tokenizer, limit)?;
        }
        let mut tokens = match (&entry.input, &text, tokenizer) {
            (PromptInput::Ids(ids), _, Some(tokenizer)) => ids.iter().map(|&t| tokenizer.token(t)).collect(),
            (PromptInput::Ids(ids), _, None) => ids.iter().map(|&t| nameless(t)).collect(),
            (PromptInput::Text(_), Some(text), Some(tokenizer)) => match &around {
                Around::Tokenizer(bos) => tokenizer.encode(text, *bos)?,
                Around::Chat(_) => tokenizer.encode_alone(text)?,
            },
            (PromptInput::Text(_), ..) => vec![],
        };
        tokens.iter_mut().for_each(|token| token.share(&mut words));
        tokens.shrink_to_fit();
        check(&tokens, &id, vocab_size, n_ctx)?;
        let index = u32::try_from(index)
            .map_err(|_| Error::bad_input("there are more than 2^32 prompts").hint("run them in several parts"))?;
        prompts.push(Prompt { index, id, text, chat, tokens });
    }
    Ok(prompts)
}

/// The text that a prompt is made of, and the chat that it is; none of ids.
fn written(
    input: &PromptInput,
    id: &str,
    tokenizer: Option<&Tokenizer>,
    around: &Around,
) -> Result<(Option<String>, Option<InChat>)> {
    match (input, tokenizer, around) {
        (PromptInput::Ids(_), _, Around::Tokenizer(_)) => Ok((None, None)),
        (PromptInput::Ids(_), _, Around::Chat(_)) => Err(Error::bad_input(format!(
            "prompt {} is token ids, and a chat template is put around texts",
            quoted(id)
        ))
        .hint(said("give its text, or leave out {!chat}"))),
        (PromptInput::Text(text), ..) if text.is_empty() => Err(empty(id)),
        (PromptInput::Text(text), Some(_), Around::Tokenizer(_)) => Ok((Some(text.clone()), None)),
        (PromptInput::Text(text), Some(tokenizer), Around::Chat(chat)) => {
            tokenizer.in_chat(text, chat).map(|(text, chat)| (Some(text), Some(chat)))
        }
        (PromptInput::Text(_), None, _) => Err(Error::bad_input(format!(
            "prompt {} is text, but this model's folder has no tokenizer.json, nor vocab.json with merges.txt",
            quoted(id)
        ))
        .hint(said("give token ids instead[, with {ids}|, such as '#1,2,3']"))),
    }
}

/// A token of a model without a tokenizer.
fn nameless(id: u32) -> Token {
    Word { id, piece: id_label(id), text: id_label(id), spells: vec![], special: false }.into()
}

fn empty(id: &str) -> Error {
    Error::bad_input(format!("prompt {} is empty", quoted(id))).hint("a prompt needs at least one token")
}

fn check(tokens: &[Token], id: &str, vocab_size: usize, n_ctx: Option<usize>) -> Result<()> {
    if tokens.is_empty() {
        return Err(empty(id));
    }
    if let Some((position, token)) = tokens.iter().enumerate().find(|(_, t)| t.id as usize >= vocab_size) {
        return Err(Error::bad_input(format!(
            "prompt {} has token id {} at position {position}, but this model's vocabulary has {vocab_size} tokens",
            quoted(id),
            token.id
        ))
        .hint(format!("ids go from 0 to {}", vocab_size.saturating_sub(1))));
    }
    check_length(tokens.len(), id, n_ctx)
}

/// Refuses a text of `n` bytes that is too long however it is cut into tokens.
fn check_text(n: usize, id: &str, tokenizer: &Tokenizer, limit: usize) -> Result<()> {
    // A byte is a token at most, but for what is put around a text: most texts need no more than this look.
    if n <= limit {
        return Ok(());
    }
    match tokenizer.least_tokens(n) {
        least if least > limit => Err(Error::bad_input(format!(
            "prompt {} is {n} bytes of text, which are {least} tokens or more, but this model's context is {limit}",
            quoted(id)
        ))
        .hint("split it into several prompts")),
        _ => Ok(()),
    }
}

fn check_length(n: usize, id: &str, n_ctx: Option<usize>) -> Result<()> {
    match n_ctx.filter(|&limit| n > limit) {
        None => Ok(()),
        Some(limit) => {
            Err(Error::bad_input(format!("prompt {} has {n} tokens, but this model's context is {limit}", quoted(id)))
                .hint(format!("leave out {} tokens, or split it into several prompts", n - limit)))
        }
    }
}
