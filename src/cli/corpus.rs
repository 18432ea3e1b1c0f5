//! A corpus as it is given on the command line.

use std::path::PathBuf;

use clap::Args;

use super::args::parse_bytes;
use super::command::Given;
use super::out::Out;
use crate::error::Result;
use crate::session::{Corpora, Session};
use crate::text::bounds::Bounds;
use crate::text::corpus::{OnError, Reading, Txt};

/// Which corpus.
#[derive(Args)]
pub(super) struct CorpusArgs {
    /// Files with documents, or folders of them: .txt, .jsonl, .json, .csv, .tsv or .parquet, all but parquet also with .gz or .zst
    /// behind it. May be repeated
    #[arg(long, value_name = "PATH", required = true)]
    corpus: Vec<PathBuf>,
    /// The field or column with the text; or a template, '{title}: {body}' [default: text, or the only one with text]
    #[arg(long, value_name = "NAME")]
    text: Option<String>,
    /// The field or column with a document's id [default: id where there is one, else file and line]
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// What is a document in a .txt
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    txt: Txt,
    /// What to do about a document that cannot be read: stop, or skip and count it
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_error: OnError,
    /// Memory for reading a document; one that needs more is refused
    #[arg(long, value_name = "SIZE", default_value = "1GB", value_parser = parse_bytes)]
    input_bytes: usize,
}

impl Given<Session> for Corpora {
    type Args = CorpusArgs;

    fn read(args: &CorpusArgs, _: &Session, _: &Out) -> Result<Self> {
        let reading = Reading {
            text: args.text.clone(),
            id: args.id.clone(),
            txt: args.txt,
            on_error: args.on_error,
            bounds: Bounds { bytes: args.input_bytes, ..Bounds::default() },
        };
        Self::open(&args.corpus, &reading)
    }
}
