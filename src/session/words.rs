//! The command that asks for the same as a request, rebuilt from it: results say how they were made, whoever asked for them.

use serde_json::Value;

use super::request::{Pairs, chosen};
use super::{Analysis, Input, Prompts, Session};
use crate::error::Result;
use crate::model::{Hardware, Processing};
use crate::sweep::Align;
use crate::text::ids::ids_of;
use crate::text::{Around, Bos, DEMO, Pair, Prompt, PromptEntry};

/// Options with several values that are given once for each: a token may have commas in it.
const REPEATED: [&str; 4] = ["answer", "foil", "analogy", "class"];

/// What stands for prompts that no command line holds.
const ELSEWHERE: &str = "-";

/// The command called `name`, with these options and what comes after them.
pub fn command(name: &str, options: Vec<String>, last: Vec<String>) -> Vec<String> {
    let mut words = vec!["pellucid".to_owned(), name.to_owned()];
    words.extend(options);
    if last.iter().any(|word| word.starts_with('-')) {
        words.push("--".into());
    }
    words.extend(last);
    words
}

/// The option of this name with this value, as words.
pub fn option(name: &str, value: impl Into<String>) -> Vec<String> {
    let (name, value) = (format!("--{}", name.replace('_', "-")), value.into());
    match value.starts_with('-') {
        true => vec![format!("{name}={value}")],
        false => vec![name, value],
    }
}

/// Words as a shell takes them.
pub fn shell(words: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./,:+@%".contains(c);
    let word = |word: &String| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The options of `analysis` that are not what they are by themselves, as words, in the order in which they are declared.
///
/// # Errors
/// When one cannot be written as JSON.
pub fn chosen_words<A: Analysis>(analysis: &A) -> Result<Vec<String>> {
    let mut words = vec![];
    for (name, value) in chosen(analysis)? {
        match value {
            Value::Bool(true) => words.push(format!("--{}", name.replace('_', "-"))),
            Value::Array(values) if REPEATED.contains(&&*name) => {
                words.extend(values.iter().flat_map(|value| option(&name, text(value))));
            }
            Value::Array(values) => words.extend(option(&name, values.iter().map(text).collect::<Vec<_>>().join(","))),
            Value::Null | Value::Bool(false) => {}
            value => words.extend(option(&name, text(&value))),
        }
    }
    Ok(words)
}

/// A value as it is written on a command line.
fn text(value: &Value) -> String {
    let Value::Number(number) = value else { return value.as_str().unwrap_or_default().to_owned() };
    match number.as_f64() {
        // JSON has no f32: of one it has more digits than were given.
        Some(x) if number.is_f64() && f64::from(x as f32) == x => (x as f32).to_string(),
        _ => number.to_string(),
    }
}

impl Session {
    /// The command called `name` that asks something of prompts, with options of its own.
    pub(crate) fn command_on(&self, name: &str, prompts: &Prompts, more: Vec<String>) -> Vec<String> {
        let [given, last] = prompts.words(self);
        command(name, self.words().into_iter().chain(given).chain(more).collect(), last)
    }

    /// The command that asks the same of this model.
    ///
    /// # Errors
    /// When an option cannot be written as JSON.
    pub(crate) fn command<A: Analysis<On = Self>>(&self, analysis: &A, input: &A::Input) -> Result<Vec<String>> {
        let [mut options, last] = input.words(self);
        options.splice(0..0, self.words());
        options.extend(chosen_words(analysis)?);
        Ok(command(A::NAME, options, last))
    }

    /// How it was loaded, where that is not how it is by itself.
    fn words(&self) -> Vec<String> {
        let mut words = vec![];
        let mut say =
            |name, value: Option<String>| words.extend(value.into_iter().flat_map(|value| option(name, value)));
        say("model", Some(self.name.clone()).filter(|name| name != DEMO));
        self.source.accepted.iter().for_each(|key| say("accept_config", Some(key.clone())));
        let processed: Vec<String> = self.model.spec().processed.iter().map(Processing::to_string).collect();
        say("process", Some(processed.join(",")).filter(|how| !how.is_empty()));
        say("dtype", self.placement.kept.map(|kept| kept.name().to_owned()));
        say(
            "device",
            match self.placement.place {
                Hardware::Cpu => None,
                Hardware::Cuda(n) => Some(format!("cuda:{n}")),
                Hardware::Metal => Some("metal".into()),
            },
        );
        let memory = self.memory_bytes;
        let memory = (memory != super::open::MEMORY).then(|| match memory % 1_000_000 {
            0 => format!("{}MB", memory / 1_000_000),
            _ => memory.to_string(),
        });
        say("memory", memory);
        words
    }

    /// The text of a prompt, where it alone means these tokens.
    fn text_of<'a>(&self, prompt: &'a Prompt) -> Option<&'a str> {
        let (text, around) = match &prompt.chat {
            Some(said) => (&*said.user, Around::Chat(said.chat.clone())),
            None => (prompt.text.as_deref()?, Bos::AsTokenizer.into()),
        };
        let again = self.prompts(&[PromptEntry::text(text)], around).ok()?.pop()?;
        (again.ids() == prompt.ids()).then_some(text)
    }

    /// A prompt of a pair.
    fn word_of(&self, prompt: &Prompt) -> String {
        match self.text_of(prompt) {
            // A second `#` says that it is text.
            Some(text) if ids_of(text).is_some() => format!("#{text}"),
            Some(text) => text.to_owned(),
            None => format!("#{}", ids(prompt)),
        }
    }

    /// A token as an answer or a foil.
    fn token_word(&self, id: u32) -> String {
        let text = self.spell(id);
        match self.target(&text) {
            Ok(same) if same == id => text,
            _ => format!("#{id}"),
        }
    }

    /// Several tokens as an answer.
    fn answer_word(&self, ids: &[u32]) -> String {
        // A tokenizer that puts a space first may leave it out where it decodes.
        let text = self.spelled(ids);
        let means = |text: &String| self.answer(text).is_ok_and(|same| same == ids);
        let all = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        [format!(" {text}"), text].into_iter().rev().find(means).unwrap_or_else(|| format!("#{all}"))
    }

    /// These prompts.
    pub(super) fn prompt_words(&self, prompts: &[Prompt]) -> [Vec<String>; 2] {
        let (mut by_ids, mut texts) = (chat_words(prompts.first()), vec![]);
        for prompt in prompts {
            if prompt.id != prompt.index.to_string() || chat_words(Some(prompt)) != chat_words(prompts.first()) {
                return [option("prompts", ELSEWHERE), vec![]];
            }
            match self.text_of(prompt) {
                Some(text) => texts.push(text.to_owned()),
                None => by_ids.extend(option("ids", ids(prompt))),
            }
        }
        [by_ids, texts]
    }

    /// These pairs.
    pub(super) fn pair_words(&self, Pairs { pairs, align }: &Pairs) -> Vec<String> {
        let mut words = match &pairs[..] {
            [only] if only.id == only.index.to_string() => self.words_of_pair(only),
            _ => option("pairs", ELSEWHERE),
        };
        if *align == Align::End {
            words.extend(option("align", "end"));
        }
        words
    }

    fn words_of_pair(&self, pair: &Pair) -> Vec<String> {
        let mut words = chat_words(Some(&pair.clean));
        words.extend(option("clean", self.word_of(&pair.clean)));
        words.extend(pair.corrupt.iter().flat_map(|corrupt| option("corrupt", self.word_of(corrupt))));
        match pair.rest.is_empty() {
            true => words.extend(pair.answers.iter().flat_map(|id| option("answer", self.token_word(*id)))),
            false => words.extend(option("answer", self.answer_word(&[&pair.answers[..], &pair.rest].concat()))),
        }
        words.extend(pair.foils.iter().flat_map(|id| option("foil", self.token_word(*id))));
        let positions: Vec<String> =
            pair.positions.iter().map(|named| format!("{}={}", named.name, named.at)).collect();
        if !positions.is_empty() {
            words.extend(option("positions", positions.join(",")));
        }
        words
    }

    /// What an option takes from a file.
    pub(super) fn elsewhere(name: &str) -> Vec<String> {
        option(name, ELSEWHERE)
    }

    /// What is put into runs, where it is not the other prompt's.
    pub(super) fn source_words(dataset: bool, vector: bool) -> Vec<String> {
        let said = [("dataset", dataset), ("vector", vector)].into_iter().filter(|(_, is_there)| *is_there);
        said.flat_map(|(name, _)| option(name, ELSEWHERE)).collect()
    }
}

/// The chat that a prompt is, where it is one.
fn chat_words(prompt: Option<&Prompt>) -> Vec<String> {
    let Some(said) = prompt.and_then(|prompt| prompt.chat.as_ref()) else { return vec![] };
    let system = said.chat.system.iter().flat_map(|text| option("system", text));
    let date = said.chat.date.iter().flat_map(|date| option("date", date.to_string()));
    ["chat"].map(|name| format!("--{name}")).into_iter().chain(system).chain(date).collect()
}

fn ids(prompt: &Prompt) -> String {
    prompt.ids().iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}
