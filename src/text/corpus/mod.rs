//! A corpus: the documents of files, read as a stream. Memory does not grow with the files, only with the longest document.
//!
//! - `found.rs`: paths and folders become files, sorted by name;
//! - `source.rs`: the bytes of a file, unpacked if it is `.gz` or `.zst`, counted and line by line;
//! - `json.rs`, `rows.rs`, `texts.rs`: the records of JSON, of tables and of plain text, one at a time;
//! - `fields.rs`: which field of a record is the text, and which the id;
//! - `index.rs`: where each document begins, to read them in another order.
//!
//! Formats by the file's name: `.jsonl` and `.ndjson` have an object on each line; `.json` a list of strings or of objects, or JSON
//! lines; `.csv` and `.tsv` a header and rows; `.parquet` columns. A `.txt` is one document, unless [`Txt`] says otherwise. All but
//! parquet may be packed: `.jsonl.gz`, `.txt.zst`.

mod fields;
mod found;
mod index;
mod json;
mod rows;
mod source;
mod texts;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::bounds::Bounds;
use super::records::At;
use crate::error::{Error, Result, Said};
use found::Found;
pub use index::Index;

/// How a corpus is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The field with the text, which may lie inside others (`a.b`) or be made of several (`{title}: {body}`). Without it, `text`, or
    /// the only field that has text.
    pub text: Option<String>,
    /// The field with a document's id. Without it, `id` where there is one, else the place: `a.jsonl:3`.
    pub id: Option<String>,
    /// What is a document in a `.txt`.
    pub txt: Txt,
    /// What to do about a document that cannot be read.
    pub on_error: OnError,
    /// How long a document may be: its text as [`Bounds::check_text`] has it, its record a sixteenth of the bytes.
    pub bounds: Bounds,
}

/// What is a document in a `.txt`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Txt {
    /// The whole file.
    #[default]
    Document,
    /// Lines without a blank line between them.
    Paragraph,
    /// Each line that is not blank.
    Line,
}

/// What to do about a document that cannot be read. A file that cannot be read is always an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum OnError {
    /// It is an error.
    #[default]
    Stop,
    /// It is left out and counted.
    Skip,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its number, from 0, of those that were read.
    pub index: u64,
    /// Its id, or its place: `a.jsonl:3`, and the file's name where the file is the document.
    pub id: String,
    /// What it says. It may be empty.
    pub text: String,
}

/// A document that was left out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Skipped {
    /// The file, and the line or row.
    pub place: String,
    /// What is wrong with it.
    pub why: String,
}

/// Files with documents.
#[derive(Clone, Debug)]
pub struct Corpus {
    files: Arc<[Found]>,
    reading: Reading,
    /// A folder that is there as long as the corpus.
    _kept: Option<Arc<TempDir>>,
}

impl Corpus {
    /// Finds the files of `paths`, which are files or folders with files. Files of a folder come sorted by name, those in nested
    /// folders too; there, hidden files and those of other kinds are passed over.
    ///
    /// # Errors
    /// A path leads nowhere, or to a file of a kind that is not known; a folder has no file that could be read; there are no paths.
    pub fn open(paths: &[PathBuf], options: &Reading) -> Result<Self> {
        Ok(Self { files: found::find(paths)?.into(), reading: options.clone(), _kept: None })
    }

    /// The same, of which the files in `folder` came from standard input, and are there as long as it is.
    #[must_use]
    pub fn piped(self, folder: TempDir) -> Self {
        let named = |file: &Found| {
            let mut file = file.clone();
            if file.path.starts_with(folder.path()) {
                file.shown = "stdin".to_owned();
            }
            file
        };
        Self { files: self.files.iter().map(named).collect(), _kept: Some(Arc::new(folder)), ..self }
    }

    /// Its files, in the order in which they are read.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| &*file.path)
    }

    /// Their names, from the paths that were given on: those that its hash is of.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| &*file.name)
    }

    /// The size of its files, in bytes as they lie on the disk.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// BLAKE3 of all files: of each its name, from the path that was given on, and its contents.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn hash(&self) -> Result<String> {
        let mut all = blake3::Hasher::new();
        for file in self.files.iter() {
            let contents = file.hash()?;
            all.update(&(file.name.len() as u64).to_le_bytes())
                .update(file.name.as_bytes())
                .update(contents.as_bytes());
        }
        Ok(all.finalize().to_hex().to_string())
    }

    /// Its documents, read one at a time.
    pub fn documents(&self) -> Documents {
        Documents {
            corpus: self.clone(),
            next_file: 0,
            open: None,
            read: Arc::default(),
            index: 0,
            skipped: vec![],
            skips: 0,
            ended: false,
            place: 0,
            at: None,
        }
    }
}

/// The documents of a corpus. After an error there are no more.
pub struct Documents {
    corpus: Corpus,
    next_file: usize,
    open: Option<Box<dyn Records>>,
    /// Bytes of the files that were read.
    read: Arc<AtomicU64>,
    /// Of the next document.
    index: u64,
    skipped: Vec<Skipped>,
    skips: u64,
    ended: bool,
    /// Where the last document begins in its file.
    place: u64,
    at: Option<At>,
}

/// How many of the documents that were left out are named.
const NAMED: usize = 100;

impl Documents {
    /// The documents that were left out so far: the first 100 of them.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// How many documents were left out so far.
    pub fn skips(&self) -> u64 {
        self.skips
    }

    /// How many bytes were read so far, of [`Corpus::bytes`].
    pub fn position(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// The number of the file that is read.
    fn file(&self) -> usize {
        self.next_file - 1
    }

    fn document(&mut self) -> Result<Option<Document>> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(file) = self.corpus.files.get(self.next_file) else { return self.end() };
                self.next_file += 1;
                self.open = Some(file.records(&self.corpus.reading, &self.read)?);
                continue;
            };
            let file = &self.corpus.files[self.next_file - 1];
            self.place = open.place();
            match open.next() {
                Ok(Some(record)) => {
                    self.at = record.at;
                    let index = self.index;
                    self.index += 1;
                    let id = record.id.unwrap_or_else(|| file.id_at(record.at));
                    return Ok(Some(Document { index, id, text: record.text }));
                }
                Ok(None) => {
                    self.open = None;
                    let before: u64 = self.corpus.files[..self.next_file].iter().map(|file| file.bytes).sum();
                    self.read.store(before, Ordering::Relaxed);
                }
                Err(Wrong::File(error)) => return Err(error),
                Err(Wrong::Document { at, what, hint }) => {
                    let place = at.map_or_else(|| file.shown.clone(), |at| at.of(&file.shown));
                    match self.corpus.reading.on_error {
                        OnError::Stop => return Err(Error::bad_input(format!("{place}: {what}")).hint(hint)),
                        OnError::Skip => {
                            self.skips += 1;
                            if self.skipped.len() < NAMED {
                                self.skipped.push(Skipped { place, why: what });
                            }
                        }
                    }
                }
            }
        }
    }

    fn end(&self) -> Result<Option<Document>> {
        let files = self.corpus.files.iter().map(|file| &*file.shown);
        let named = super::prompt_file::some_of(files);
        match self.skipped.first() {
            _ if self.index > 0 => Ok(None),
            None => Err(Error::bad_input(format!("the corpus is empty: there are no documents in {named}"))
                .hint("give files that have some")),
            Some(Skipped { place, why }) => Err(Error::bad_input(format!(
                "no document of {named} could be read; {} were left out, the first because of {place}: {why}",
                self.skips
            ))
            .hint("mend the files, or say which field has the text")),
        }
    }
}

impl Iterator for Documents {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let document = self.document().transpose();
        self.ended = !matches!(document, Some(Ok(_)));
        document
    }
}

/// The records of one file, each with its text.
trait Records: Send {
    /// The next one; none at the end.
    fn next(&mut self) -> Result<Option<Text>, Wrong>;

    /// Where the next one is looked for: which byte of the file, or which row of parquet.
    fn place(&self) -> u64;

    /// Goes to what was the place before a record, so that this record is the next. What comes after it is then not known.
    fn seek(&mut self, place: u64) -> Result<()>;

    /// The field with the text, where it is known.
    fn field(&self) -> Option<&str>;
}

/// What a record says.
struct Text {
    /// None where the file is one document.
    at: Option<At>,
    id: Option<String>,
    text: String,
}

/// What is wrong.
enum Wrong {
    /// With one document: the next can be read.
    Document { at: Option<At>, what: String, hint: Said },
    /// With the file.
    File(Error),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::File(error)
    }
}
