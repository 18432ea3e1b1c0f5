//! A text as what a user says in a chat: the tokenizer's own chat template is applied, as `apply_chat_template` of transformers applies it
//! with a system message, if there is one, the user's, and `add_generation_prompt`.
//!
//! What a template writes is tokenized as it is, special tokens in it included: no BOS beside its own. A template is a program of other
//! people, so its size, its depth, its work and its memory are bounded (`source.rs`, `jinja.rs`).

mod date;
mod jinja;
mod source;

use std::ops::Range;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use minijinja::Environment;
use serde_json::Value;

use self::jinja::{Message, Stopped, compiled, rendered, strip};
use super::files::Files;
use super::tokenizer::Bos;
use crate::error::{Error, Result, Said, said};
use crate::guard::guarded;

pub use date::Date;

/// The file that has a template alone; otherwise it stands in tokenizer_config.json.
pub(super) const TEMPLATE: &str = "chat_template.jinja";

/// What the deepest template takes of the stack is less, in bytes. No more of it is used than is needed.
const STACK: usize = 64 << 20;

/// How long a template may work for one prompt. What is usual takes less than a millisecond.
const LONGEST: Duration = Duration::from_secs(5);

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
    /// Where in the prompt's text stands what the system message and the user say, in bytes. None where the template changed it in another way
    /// than to take white space from its ends: then it cannot be told.
    pub said: Option<Vec<(Role, Range<usize>)>>,
}

/// Who says something in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Role {
    /// The system message.
    System,
    /// The user.
    User,
}

impl InChat {
    /// Whose these bytes of the prompt's text are: `template`, `system` or `user`, joined by `+` where they are of several. None where
    /// that cannot be told.
    pub fn part(&self, bytes: &Range<usize>) -> Option<String> {
        let said = self.said.as_ref()?;
        let shared = |range: &Range<usize>| range.end.min(bytes.end).saturating_sub(range.start.max(bytes.start));
        let of = |role| said.iter().filter(|(of, _)| *of == role).map(|(_, range)| shared(range)).sum::<usize>();
        let (system, user) = (of(Role::System), of(Role::User));
        let parts = [("template", system + user < bytes.len().max(1)), ("system", system > 0), ("user", user > 0)];
        Some(parts.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect::<Vec<_>>().join("+"))
    }

    /// Whether the user has a part in these bytes, as far as that can be told.
    pub fn is_of_user(&self, bytes: &Range<usize>) -> bool {
        self.part(bytes).is_none_or(|part| part.ends_with("user"))
    }
}

/// A tokenizer's chat template, read when it is first asked for.
pub(super) struct Template {
    files: Files,
    /// What tokenizer_config.json has as `chat_template`.
    stated: Value,
    /// Special tokens, by their names: `bos_token`.
    tokens: Arc<[(String, String)]>,
    compiled: OnceLock<Compiled>,
}

struct Compiled {
    /// What messages call it.
    name: String,
    env: Environment<'static>,
}

impl Template {
    pub fn new(files: &Files, stated: Value, tokens: Vec<(String, String)>) -> Self {
        Self { files: files.clone(), stated, tokens: tokens.into(), compiled: OnceLock::new() }
    }

    /// A chat whose user says `user`, and its text.
    ///
    /// # Errors
    /// When there is no template, it is none that can be run, it fails, or it refuses this chat.
    pub fn apply(&self, chat: &Arc<Chat>, user: &str) -> Result<(String, InChat)> {
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
        let system = chat.system.iter().map(|text| ("system", text.clone()));
        let messages: Vec<Message> = system.chain([("user", user.to_owned())]).collect();
        let (env, tokens, date) = (template.env.clone(), self.tokens.clone(), chat.date);
        // In one thread: each has to be started.
        let made = deep(&template.name, move || {
            let render = |messages: &[Message]| rendered(&env, messages, &tokens, date);
            render(&messages).map(|text| (said_in(&text, &messages, &render), text))
        })?;
        let (said, text) = made.map_err(|e| failed(&template.name, chat, &e))?;
        Ok((text, InChat { user: user.to_owned(), chat: chat.clone(), said }))
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

/// Where in `text`, which `render` makes of `messages`, stands what is said, if all of it is found: rendered once more with marks around it, it
/// must be the same text but for the marks. Marks within white space stay where a template trims.
fn said_in(
    text: &str,
    messages: &[Message],
    render: &dyn Fn(&[Message]) -> Result<String, minijinja::Error>,
) -> Option<Vec<(Role, Range<usize>)>> {
    let unused = |c: &char| !text.contains(*c) && messages.iter().all(|(_, content)| !content.contains(*c));
    // Of the private use of Unicode: letters of no script.
    let mut marks = ('\u{f0000}'..='\u{ffffd}').filter(unused);
    let (open, close) = (marks.next()?, marks.next()?);
    let mut found = vec![];
    for (i, (name, content)) in messages.iter().enumerate() {
        let role = if *name == "user" { Role::User } else { Role::System };
        let trimmed = strip(content, None, true, true);
        let ranges = [&**content, trimmed].into_iter().find_map(|core| {
            let at = content.len() - content[content.find(core)?..].len();
            let marked = format!("{}{open}{core}{close}{}", &content[..at], &content[at + core.len()..]);
            let mut messages = messages.to_vec();
            messages[i].1 = marked;
            between(&render(&messages).ok()?, open, close).filter(|(plain, _)| plain == text).map(|(_, ranges)| ranges)
        });
        // A template may ask how long a text is.
        let only = || {
            Some(text.find(trimmed)?..text.find(trimmed)? + trimmed.len())
                .filter(|_| text.matches(trimmed).count() == 1)
        };
        let ranges = match ranges {
            Some(ranges) => ranges,
            None if trimmed.is_empty() => vec![],
            None => vec![only()?],
        };
        found.extend(ranges.into_iter().map(|range| (role, range)));
    }
    Some(found)
}

/// `marked` without its marks, and where what was between them is; nothing where they are not one after another.
fn between(marked: &str, open: char, close: char) -> Option<(String, Vec<Range<usize>>)> {
    let (mut plain, mut ranges, mut begun) = (String::with_capacity(marked.len()), vec![], None);
    for c in marked.chars() {
        match (c, begun) {
            (c, None) if c == open => begun = Some(plain.len()),
            (c, Some(start)) if c == close => {
                ranges.push(start..plain.len());
                begun = None;
            }
            (c, _) if c == open || c == close => return None,
            (c, _) => plain.push(c),
        }
    }
    begun.is_none().then_some((plain, ranges))
}

/// What `call` gives, on a stack that is deep enough for every template that is run. One that makes lists of lists of the same can be given work
/// that MiniJinja does not count, such as to write them: who works longer than [`LONGEST`] is left alone.
fn deep<T: Send + 'static>(name: &str, call: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let run = || {
        let (send, receive) = channel();
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || send.send(call()));
        thread.map(|_| receive.recv_timeout(LONGEST)).map_err(|_| Error::no_threads())
    };
    match guarded(run).transpose()? {
        Some(Ok(made)) => Ok(made),
        Some(Err(RecvTimeoutError::Timeout)) => {
            Err(Error::bad_model(format!("{name} works longer than {} seconds for one prompt", LONGEST.as_secs()))
                .hint(get_again()))
        }
        _ => {
            Err(Error::bad_model(format!("{name} cannot be run: its contents contradict each other")).hint(get_again()))
        }
    }
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
