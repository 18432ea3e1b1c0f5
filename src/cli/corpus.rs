//! A corpus as it is given on the command line.

use std::path::PathBuf;

use clap::Args;

use super::args::parse_bytes;
use super::command::Given;
use super::given::PromptArgs;
use super::out::Out;
use crate::error::Result;
use crate::session::prompts::WORDS;
use crate::session::{Corpora, PromptsAndCorpora, Session, Targeted};
use crate::text::bounds::Bounds;
use crate::text::corpus::{OnError, Reading, Txt};

/// Which corpus.
#[derive(Args)]
pub(super) struct CorpusArgs {
    /// Files with documents, or folders of them: .txt, .jsonl, .json, .csv, .tsv or .parquet, all but parquet also with .gz or .zst
    /// behind it. May be repeated
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
}

impl Given<Session> for Corpora {
    type Args = CorpusArgs;

    fn read(args: &CorpusArgs, _: &Session, _: &Out) -> Result<Self> {
        let bounds = Bounds { bytes: args.input_bytes, ..Bounds::default() };
        Self::open(&args.corpus, &args.reading.reading(bounds))
    }
}

/// Which prompts, and which corpora.
#[derive(Args)]
pub(super) struct PromptsAndCorporaArgs {
    #[command(flatten)]
    prompts: PromptArgs,
    /// A file with documents, or a folder of them, as `pellucid export` reads them. May be repeated: each is read by itself, to be compared
    #[arg(long, value_name = "PATH")]
    corpus: Vec<PathBuf>,
    #[command(flatten)]
    reading: ReadingArgs,
}

impl Given<Session> for PromptsAndCorpora {
    type Args = PromptsAndCorporaArgs;

    fn read(args: &PromptsAndCorporaArgs, on: &Session, out: &Out) -> Result<Self> {
        let reading = args.reading.reading(args.prompts.named.read.bounds());
        // A path by itself is a corpus, which is not the documents of all paths.
        let open = |path: &PathBuf| Corpora::open(std::slice::from_ref(path), &reading);
        let corpora: Vec<Corpora> = args.corpus.iter().map(open).collect::<Result<_>>()?;
        let none = args.prompts.is_empty() && !corpora.is_empty();
        // Nothing compares neurons with a foil.
        let prompts = if none { Targeted::default() } else { args.prompts.targeted(&WORDS[..1], on, out)? };
        Ok(Self { prompts, corpora })
    }
}
