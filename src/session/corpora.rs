//! A corpus as what an analysis is run on: as JSON it is the hash of its files, and how they are read.

use std::path::PathBuf;

use serde::Serialize;
use tempfile::TempDir;

use super::words::option;
use super::{Input, Session, Targeted};
use crate::error::Result;
use crate::text::Prompt;
use crate::text::corpus::{Corpus, OnError, Reading, Txt};

/// Files with documents, which are read as a stream.
#[derive(Serialize)]
pub struct Corpora {
    /// The documents.
    #[serde(skip)]
    pub corpus: Corpus,
    /// Hash over the files' names and contents.
    hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    txt: Txt,
    #[serde(skip_serializing_if = "is_default")]
    on_error: OnError,
}

/// The most files that are all named.
const NAMED: usize = 4;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Corpora {
    /// The documents of files and folders. Every byte is read once, for the hash.
    ///
    /// # Errors
    /// As [`Corpus::open`] and [`Corpus::hash`].
    pub fn open(paths: &[PathBuf], reading: &Reading) -> Result<Self> {
        let corpus = Corpus::open(paths, reading)?;
        let Reading { text, id, txt, on_error, .. } = reading.clone();
        Ok(Self { hash: corpus.hash()?, corpus, text, id, txt, on_error })
    }

    /// The same, of which the files in `folder` came from standard input, and are there as long as it is.
    #[must_use]
    pub fn piped(self, folder: TempDir) -> Self {
        Self { corpus: self.corpus.piped(folder), ..self }
    }

    /// What it is called: the name of its file, and how many others there are.
    pub fn name(&self) -> String {
        let mut names = self.corpus.names();
        let first = names.next().unwrap_or_default().to_owned();
        match names.count() {
            0 => first,
            more => format!("{first} and {more} more"),
        }
    }
}

/// Prompts, and corpora each of which is read by itself: either may be none.
#[derive(Default, Serialize)]
pub struct PromptsAndCorpora {
    /// The prompts.
    #[serde(flatten)]
    pub prompts: Targeted,
    /// The corpora.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub corpora: Vec<Corpora>,
}

impl Input for PromptsAndCorpora {
    /// How many prompts.
    fn len(&self) -> usize {
        self.prompts.len()
    }

    fn prompts(&self) -> &[Prompt] {
        self.prompts.prompts()
    }

    fn words(&self, on: &Session) -> [Vec<String>; 2] {
        let [mut options, last] = self.prompts.words(on);
        options.extend(self.corpora.iter().flat_map(Corpora::named));
        // How files are read is the same of all.
        options.extend(self.corpora.first().map(Corpora::read_so).unwrap_or_default());
        [options, last]
    }
}

impl<P> From<P> for PromptsAndCorpora
where
    Targeted: From<P>,
{
    fn from(prompts: P) -> Self {
        Self { prompts: prompts.into(), corpora: vec![] }
    }
}

impl Input for Corpora {
    /// How many files: nobody knows how many documents there are before they are read.
    fn len(&self) -> usize {
        self.corpus.paths().count()
    }

    /// Files by the names that their hash is of, not by where they lie: so parts are the same bytes wherever the corpus is on the
    /// machine that makes them.
    fn words(&self, _: &Session) -> [Vec<String>; 2] {
        [[self.named(), self.read_so()].concat(), vec![]]
    }
}

impl Corpora {
    /// Its files as options name them.
    fn named(&self) -> Vec<String> {
        let names: Vec<&str> = self.corpus.names().collect();
        let named = if names.len() > NAMED { 1 } else { names.len() };
        let mut words: Vec<String> = names[..named].iter().flat_map(|name| option("corpus", *name)).collect();
        if let (Some(last), more @ 1..) = (words.last_mut(), names.len() - named) {
            *last += &format!(" and {more} more files");
        }
        words
    }

    /// How they are read, as options.
    fn read_so(&self) -> Vec<String> {
        // As its JSON has it: what is as it is by itself is not there.
        let rest = serde_json::to_value(self).unwrap_or_default();
        let said = ["text", "id", "txt", "on_error"].map(|name| Some(option(name, rest[name].as_str()?)));
        said.into_iter().flatten().flatten().collect()
    }
}
