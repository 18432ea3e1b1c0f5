//! Prompts from files of every kind that is read, with the words that are followed after each, and what of a file is not used.

use super::records::{Input, Unused, fields_of};
use super::{Session, Target};
use crate::error::{Result, Said, give_as, words};
use crate::text::PromptEntry;
use crate::text::prompt_file::{Columns, FIELDS, check_columns, missing_column, prompts};
use crate::text::records::{Record, Records, field, shortened};
use serde_json::Value;

/// What a file calls the token that is right after a prompt, and one that it is compared with: as text, and as a token id.
pub const WORDS: [[&str; 2]; 2] = [["target", "target_id"], ["foil", "foil_id"]];

/// What a file has of prompts.
#[derive(Clone, Debug, Default)]
pub struct PromptFile {
    /// The prompts.
    pub entries: Vec<PromptEntry>,
    /// The words after each, as they stand there, where they are wanted and the file has some.
    pub asked: Vec<AskedEntry>,
    /// Its fields that nothing is made of.
    unused: Unused,
    /// Which of them are words after the prompts, in the order of [`WORDS`].
    unread_words: [bool; 2],
    /// Fields of words that hold several tokens in one place, which are not followed.
    several: Vec<String>,
}

/// The words after one prompt as they stand in a file, and where.
#[derive(Clone, Debug, Default)]
pub struct AskedEntry {
    place: String,
    target: Option<Word>,
    foil: Option<Word>,
}

/// A token as it stands in a file.
#[derive(Clone, Debug)]
enum Word {
    Text(String),
    Id(u32),
}

impl PromptFile {
    /// What `input` has, whose fields are called as `columns` says: the prompts, and those of [`WORDS`] after them that are `followed`.
    ///
    /// # Errors
    /// As [`Input::records`] and [`prompts`], and for words that are neither text nor token ids; every error names the file and the line
    /// or row.
    pub fn read(input: &Input, columns: &Columns, followed: &[[&str; 2]]) -> Result<Self> {
        Self::read_as("prompts_format", input, columns, followed)
    }

    /// The same, where the option `format` says how the file is written.
    fn read_as(format: &str, input: &Input, columns: &Columns, followed: &[[&str; 2]]) -> Result<Self> {
        let of_words = || WORDS.iter().flatten().copied();
        let known: Vec<&str> = FIELDS.into_iter().chain(of_words()).collect();
        check_columns(columns, &known, "prompts")?;
        let said = |ours: &str| columns.iter().find(|(o, _)| o == ours).map(|(_, theirs)| theirs.clone());
        let theirs = |ours: &str| said(ours).unwrap_or_else(|| ours.to_owned());
        // Where it is said what prompts are in, they are in nothing else.
        let is_said = ["text", "ids"].iter().any(|ours| said(ours).is_some());
        let own = FIELDS.into_iter().filter(|ours| match *ours {
            "text" | "ids" if is_said => said(ours).is_some(),
            ours => ours != "subject" || said(ours).is_some(),
        });
        let mut wanted: Vec<String> = own.map(theirs).collect();
        wanted.extend(followed.iter().flatten().map(|ours| theirs(ours)));
        let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let records = input.records(&names, format, true)?;
        let is_word = |ours: &str| of_words().any(|word| word == ours);
        let (about_words, about_prompts): (Vec<_>, Vec<_>) =
            columns.iter().cloned().partition(|(ours, _)| is_word(ours));
        let entries = prompts(&records, &about_prompts, &input.bounds)?;
        let asked_for = about_words.iter().filter(|(_, theirs)| !theirs.is_empty());
        if let Some(error) = asked_for.into_iter().find_map(|(_, theirs)| missing_column(&records, theirs)) {
            return Err(error);
        }
        let asked = asked(&records, followed, theirs)?;
        let unused = Unused::of(&records.file, &records.names, names.into_iter());
        let is_unused =
            |name: &String| fields_of(name).iter().any(|field| unused.names.iter().any(|unused| unused == field));
        let unread_words = WORDS.map(|own| !followed.contains(&own) && own.map(theirs).iter().any(is_unused));
        let has_several = |name: &String| {
            records.all.iter().any(|record| field(&record.value, name).is_some_and(|value| is_several(&value)))
        };
        let several = followed.iter().map(|own| theirs(own[1])).filter(has_several).collect();
        Ok(Self { entries, asked, unused, unread_words, several })
    }

    /// What there is to say of fields that nothing is made of, and of those that are not followed.
    pub fn unused(&self) -> Vec<Said> {
        let several =
            |name: &String| words(format!("where `{name}` has several tokens, none of them is followed: one can be"));
        let more = match self.unread_words {
            [true, _] => {
                "; words after each prompt are followed by `pellucid lens`, `residual`, `neurons` and `attention`"
            }
            [_, true] => "; foils after each prompt are looked at by `pellucid lens`, `residual` and `attention`",
            _ => "",
        };
        let unused = self.unused.said().map(|what| words(what + more));
        unused.into_iter().chain(self.several.iter().map(several)).collect()
    }
}

/// The words after each prompt, of those that are `followed`; none where no record has any.
fn asked(records: &Records, followed: &[[&str; 2]], theirs: impl Fn(&str) -> String) -> Result<Vec<AskedEntry>> {
    let of = |record: &Record| -> Result<AskedEntry> {
        let [target, foil] = WORDS.map(|own| match followed.contains(&own) {
            true => word(records, record, &own.map(&theirs)),
            false => Ok(None),
        });
        Ok(AskedEntry { place: record.at.of(&records.file), target: target?, foil: foil? })
    };
    let all = records.all.iter().map(of).collect::<Result<Vec<_>>>()?;
    let none = all.iter().all(|asked| asked.target.is_none() && asked.foil.is_none());
    Ok(if none { vec![] } else { all })
}

/// What a record has in one of two fields; none where both are empty.
fn word(records: &Records, record: &Record, [text, id]: &[String; 2]) -> Result<Option<Word>> {
    let wrong = |what: String| records.wrong(record.at, what);
    let of = |name: &String| field(&record.value, name).filter(|value| **value != Value::String(String::new()));
    match (of(text).as_deref(), of(id).as_deref()) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(wrong(format!("both `{text}` and `{id}` are given")).hint("leave one of them out")),
        (Some(Value::String(text)), None) => Ok(Some(Word::Text(text.clone()))),
        (Some(other), None) => Err(wrong(format!("`{text}` is not text: {}", shortened(other))).hint(
            words("write one token as text, such as \" Mary\"; of token ids say ")
                + give_as("columns", format!("{id}=NAME")),
        )),
        (None, Some(value)) if is_several(value) => Ok(None),
        (None, Some(value)) => {
            let number = match value {
                Value::String(text) => text.trim().parse().ok(),
                Value::Array(list) if list.len() == 1 => list[0].as_u64(),
                other => other.as_u64(),
            };
            let found = number.and_then(|id| u32::try_from(id).ok());
            let one = found.ok_or_else(|| {
                wrong(format!("`{id}` is not one token id: {}", shortened(value))).hint("a token id is a whole number")
            })?;
            Ok(Some(Word::Id(one)))
        }
    }
}

/// Whether these are several tokens, such as all that are right in a file of pairs: none of them alone is the one that is followed.
fn is_several(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.len() > 1)
}

impl Session {
    /// The tokens of this model that words of a file are.
    ///
    /// # Errors
    /// For what is no token of this model; a foil without a target, or the same as it. Each names its place.
    pub fn targets(&self, asked: &[AskedEntry]) -> Result<Vec<Target>> {
        let token = |word: &Word| match word {
            Word::Text(text) => self.target(text),
            Word::Id(id) => {
                let hint = "is this the id of another tokenizer?";
                self.model.can_say(&[*id]).map(|()| *id).map_err(|e| e.hint(hint))
            }
        };
        let of = |asked: &AskedEntry| -> Result<Target> {
            let token = |word: &Option<Word>| word.as_ref().map(token).transpose();
            Ok(Target { target: token(&asked.target)?, foil: token(&asked.foil)? })
        };
        asked.iter().map(|asked| of(asked).map_err(|e| e.at(&asked.place))).collect()
    }
}

/// The prompts that come from `input`, whose fields are called as `columns` says.
///
/// # Errors
/// As [`PromptFile::read`].
pub fn from_input(input: &Input, columns: &Columns) -> Result<Vec<PromptEntry>> {
    Ok(PromptFile::read(input, columns, &[])?.entries)
}

/// The prompts that come from `input` beside those that are run.
///
/// # Errors
/// As [`PromptFile::read`].
pub fn dataset(input: &Input) -> Result<Vec<PromptEntry>> {
    Ok(PromptFile::read_as("dataset_format", input, &[], &[])?.entries)
}
