//! A corpus as it is given on the command line.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::parse_bytes;
use super::command::Given;
use super::given::PromptArgs;
use super::out::Out;
use super::piped::{STDIN, spooled};
use crate::error::{Error, Result, said};
use crate::session::prompts::WORDS;
use crate::session::{Corpora, PromptsAndCorpora, Session, Targeted};
use crate::text::bounds::Bounds;
use crate::text::corpus::{OnError, Reading, Txt};
use crate::text::records::Written;

/// Which corpus.
#[derive(Args)]
pub(super) struct CorpusArgs {
    /// Files with documents, or folders of them: .txt, .jsonl, .json, .csv, .tsv or .parquet, all but parquet also with .gz or .zst
    /// behind it; or `-`, standard input. May be repeated
    #[arg(long, value_name = "PATH", required = true)]
    corpus: Vec<PathBuf>,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Memory for reading a document; one that needs more is refused
    #[arg(long, value_name = "SIZE", default_value = "1GB", value_parser = parse_bytes)]
    input_bytes: usize,
}

/// How documents are read.
#[derive(Args)]
pub(super) struct ReadingArgs {
    /// Format of a corpus on standard input [default: txt]
    #[arg(long, value_name = "FORMAT", requires = "corpus", value_parser = Written::NAMES)]
    corpus_format: Option<String>,
    /// The field or column with the text; or a template, '{title}: {body}' [default: text, or the only one with text]
    #[arg(long, value_name = "NAME", requires = "corpus")]
    text: Option<String>,
    /// The field or column with a document's id [default: id where there is one, else file and line]
    #[arg(long, value_name = "NAME", requires = "corpus")]
    id: Option<String>,
    /// What is a document in a .txt
    #[arg(long, value_enum, default_value_t, value_name = "WHAT", requires = "corpus")]
    txt: Txt,
    /// What to do about a document that cannot be read: stop, or skip and count it
    #[arg(long, value_enum, default_value_t, value_name = "WHAT", requires = "corpus")]
    on_error: OnError,
}

impl ReadingArgs {
    fn reading(&self, bounds: Bounds) -> Reading {
        Reading { text: self.text.clone(), id: self.id.clone(), txt: self.txt, on_error: self.on_error, bounds }
    }

    /// The corpus of `paths`, one of which may be standard input. That is written to a file first, for a corpus is read more than once.
    fn open(&self, paths: &[PathBuf], bounds: Bounds) -> Result<Corpora> {
        let reading = self.reading(bounds);
        if paths.iter().all(|path| !is_stdin(path)) {
            return Corpora::open(paths, &reading);
        }
        let name = format!("stdin.{}", self.corpus_format.as_deref().unwrap_or("txt"));
        let folder = spooled(&name)?;
        let found = |path: &PathBuf| if is_stdin(path) { folder.path().join(&name) } else { path.clone() };
        let paths: Vec<PathBuf> = paths.iter().map(found).collect();
        Ok(Corpora::open(&paths, &reading)?.piped(folder))
    }

    /// Refuses a format that is of nothing: files say theirs by their names.
    fn check(&self, paths: &[PathBuf]) -> Result<()> {
        match self.corpus_format.is_some() && paths.iter().all(|path| !is_stdin(path)) {
            true => {
                Err(Error::bad_input("the format is that of a corpus on standard input, and none is read from there")
                    .hint(said("leave out {!corpus_format}, or give {corpus=-}")))
            }
            false => Ok(()),
        }
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new(STDIN)
}

impl Given<Session> for Corpora {
    type Args = CorpusArgs;

    fn read(args: &CorpusArgs, _: &Session, _: &Out) -> Result<Self> {
        let bounds = Bounds { bytes: args.input_bytes, ..Bounds::default() };
        args.reading.check(&args.corpus)?;
        args.reading.open(&args.corpus, bounds)
    }
}

/// Which prompts, and which corpora.
#[derive(Args)]
pub(super) struct PromptsAndCorporaArgs {
    #[command(flatten)]
    prompts: PromptArgs,
    /// A file with documents, or a folder of them, as `pellucid export` reads them; or `-`, standard input. May be repeated: each is read by
    /// itself, to be compared
    #[arg(long, value_name = "PATH")]
    corpus: Vec<PathBuf>,
    #[command(flatten)]
    reading: ReadingArgs,
}

impl Given<Session> for PromptsAndCorpora {
    type Args = PromptsAndCorporaArgs;

    fn read(args: &PromptsAndCorporaArgs, on: &Session, out: &Out) -> Result<Self> {
        args.reading.check(&args.corpus)?;
        let bounds = args.prompts.named.read.bounds();
        // A path by itself is a corpus, which is not the documents of all paths.
        let open = |path: &PathBuf| args.reading.open(std::slice::from_ref(path), bounds);
        let corpora: Vec<Corpora> = args.corpus.iter().map(open).collect::<Result<_>>()?;
        let none = args.prompts.is_empty() && !corpora.is_empty();
        // Nothing compares neurons with a foil.
        let prompts = if none { Targeted::default() } else { args.prompts.targeted(&WORDS[..1], on, out)? };
        Ok(Self { prompts, corpora })
    }
}
