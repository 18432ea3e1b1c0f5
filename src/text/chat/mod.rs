//! A text as what a user says in a chat: the tokenizer's own chat template is applied, as `apply_chat_template` of transformers applies it
//! with a system message, if there is one, the user's, and `add_generation_prompt`.
//!
//! What a template writes is tokenized as it is, special tokens in it included: no BOS beside its own. A template is a program of other
//! people, so its size, its depth, its work and its memory are bounded (`source.rs`, `jinja.rs`).

mod date;
mod jinja;
mod source;

use std::sync::{Arc, OnceLock};

use minijinja::Environment;
use serde_json::Value;

use self::jinja::{Stopped, compiled, rendered};
use super::files::Files;
use super::tokenizer::Bos;
use crate::error::{Error, Result, Said, said};
use crate::guard::guarded;

pub use date::Date;

/// The file that has a template alone; otherwise it stands in tokenizer_config.json.
pub(super) const TEMPLATE: &str = "chat_template.jinja";

/// What the deepest template takes of the stack is less, in bytes. No more of it is used than is needed.
const STACK: usize = 64 << 20;

/// A chat, of which a prompt is the last message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chat {
    /// The system message.
    pub system: Option<String>,
    /// The day that is told to a template that asks for it. Nobody looks at a clock: the same request must give the same results tomorrow.
    pub date: Option<Date>,
}

/// What is put around a text before it becomes tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Around {
    /// What the tokenizer puts there.
    Tokenizer(Bos),
    /// A chat, whose template says itself whether there is a BOS.
    Chat(Arc<Chat>),
}

impl From<Bos> for Around {
    fn from(bos: Bos) -> Self {
        Self::Tokenizer(bos)
    }
}

impl From<Chat> for Around {
    fn from(chat: Chat) -> Self {
        Self::Chat(chat.into())
    }
}

impl From<&Around> for Around {
    fn from(around: &Around) -> Self {
        around.clone()
    }
}

/// What a chat made of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InChat {
    /// The text as it was given.
    pub user: String,
    /// The chat around it.
    pub chat: Arc<Chat>,
}

/// A tokenizer's chat template, read when it is first asked for.
pub(super) struct Template {
    files: Files,
    /// What tokenizer_config.json has as `chat_template`.
    stated: Value,
    /// Special tokens, by their names: `bos_token`.
    tokens: Vec<(String, String)>,
    compiled: OnceLock<Compiled>,
}

struct Compiled {
    /// What messages call it.
    name: String,
    env: Environment<'static>,
}

impl Template {
    pub fn new(files: &Files, stated: Value, tokens: Vec<(String, String)>) -> Self {
        Self { files: files.clone(), stated, tokens, compiled: OnceLock::new() }
    }

    /// The text of a chat whose user says `user`.
    ///
    /// # Errors
    /// When there is no template, it is none that can be run, it fails, or it refuses this chat.
    pub fn apply(&self, chat: &Chat, user: &str) -> Result<String> {
        let template = match self.compiled.get() {
            Some(template) => template,
            None => {
                let (name, text) = self.read()?;
                let bad = |what: String| Error::bad_model(format!("{name} {what}")).hint(get_again());
                let text = source::prepared(&text).map_err(bad)?;
                let env = deep(&name, || compiled(text))?.map_err(|e| failed(&name, chat, &e))?;
                self.compiled.get_or_init(|| Compiled { name, env })
            }
        };
        let system = chat.system.as_deref().map(|text| ("system", text));
        let messages: Vec<(&str, &str)> = system.into_iter().chain([("user", user)]).collect();
        let made = deep(&template.name, || rendered(&template.env, &messages, &self.tokens, chat.date))?;
        made.map_err(|e| failed(&template.name, chat, &e))
    }

    /// What messages call the template, and its text.
    fn read(&self) -> Result<(String, String)> {
        if let Some(file) = self.files.file(TEMPLATE) {
            let name = format!("the chat template {file}");
            let text = String::from_utf8(file.read()?).map_err(|e| {
                let sentence = Error::bad_model(format!("{name} is not UTF-8: {e}"));
                sentence.because(e).hint("get the tokenizer's files from the model's source again")
            })?;
            return Ok((name, text));
        }
        let config = self.files.shown("tokenizer_config.json");
        let named: Vec<(&str, &str)> = match &self.stated {
            Value::String(text) => vec![("default", text)],
            Value::Array(all) => {
                all.iter().filter_map(|t| Some((t["name"].as_str()?, t["template"].as_str()?))).collect()
            }
            Value::Object(all) => all.iter().filter_map(|(name, text)| Some((&**name, text.as_str()?))).collect(),
            _ => vec![],
        };
        if let Some((_, text)) = named.iter().find(|(name, _)| *name == "default") {
            return Ok((format!("the chat template in {config}"), (*text).to_owned()));
        }
        let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
        Err(match &names[..] {
            [] => Error::no_such(format!(
                "this model has no chat template: there is no {}, nor `chat_template` in tokenizer_config.json",
                self.files.shown(TEMPLATE)
            ))
            .hint(said("leave out {!chat}; a model that was not trained on chats has none")),
            names => Error::no_such(format!("{config} has chat templates, but no `default`: {}", names.join(", ")))
                .hint(format!("write the one that is meant into {}", self.files.shown(TEMPLATE))),
        })
    }
}

/// What `call` gives, on a stack that is deep enough for every template that is run.
fn deep<T: Send>(name: &str, call: impl FnOnce() -> T + Send) -> Result<T> {
    let run = || {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, call);
            thread.map(|thread| thread.join().ok()).map_err(|_| Error::no_threads())
        })
    };
    let broken =
        || Error::bad_model(format!("{name} cannot be run: its contents contradict each other")).hint(get_again());
    guarded(run).transpose()?.flatten().ok_or_else(broken)
}

/// What to do about a template that cannot be run.
fn get_again() -> Said {
    said("get the tokenizer's files from the model's source again, or leave out {!chat}")
}

/// What went wrong in the template that is called `name`, in a sentence.
fn failed(name: &str, chat: &Chat, e: &minijinja::Error) -> Error {
    // The innermost error is the one that was met first.
    let causes = || std::iter::successors(Some(e as &(dyn std::error::Error + 'static)), |e| e.source());
    let of_template = || causes().filter_map(|e| e.downcast_ref::<minijinja::Error>());
    let innermost = of_template().last().unwrap_or(e);
    let line = of_template().filter_map(minijinja::Error::line).last();
    let line = line.map_or(String::new(), |line| format!(" in its line {line}"));
    match causes().find_map(|e| e.downcast_ref::<Stopped>()) {
        Some(Stopped::Refused(why)) => {
            Error::bad_input(format!("{name} refuses this chat{line}: {why}")).hint(match &chat.system {
                Some(_) => said("if it takes no system message, leave out {!system}, and say it in the prompt"),
                None => said("change the prompt as it says, or leave out {!chat}"),
            })
        }
        Some(Stopped::NoDate) => Error::bad_input(format!(
            "{name} writes which day it is{line}, so the same command would give other tokens tomorrow"
        ))
        .hint(said("say which day is meant: {date=YYYY-MM-DD}")),
        None if innermost.kind() == minijinja::ErrorKind::OutOfFuel => {
            Error::bad_model(format!("{name} works too long or takes too much memory{line} for one prompt"))
                .hint(get_again())
        }
        None => {
            let kind = innermost.kind();
            let reason = innermost.detail().map_or(kind.to_string(), |detail| format!("{kind}: {detail}"));
            Error::bad_model(format!("{name} fails{line}: {reason}"))
                .hint("get the tokenizer's files from the model's source again, or mend that line")
        }
    }
}
