//! Prompts and pairs as they come from files: what their columns are called, and which are left out.

use std::path::Path;
use std::sync::Arc;

use clap::Args;

use super::args::{at_least_one, parse_bytes};
use super::out::Out;
use super::piped::read_input;
use crate::error::{Error, Result};
use crate::session::pairs::PairEntry;
use crate::session::records::Input;
use crate::session::{Session, pairs, prompts};
use crate::text::bounds::Bounds;
use crate::text::records::Written;
use crate::text::{Around, NamedPosition, PromptEntry};

/// What one `--columns` says: our names, and the file's.
pub(super) type OfColumns = Arc<[(String, String)]>;

/// `NAME=COLUMN,NAME=COLUMN`. A comma after which no `NAME=` comes is part of a column, which may be a text.
pub(super) fn parse_columns(text: &str) -> Result<OfColumns, String> {
    let named = |part: &str| {
        let (ours, theirs) = part.split_once('=')?;
        let plain = !ours.is_empty() && ours.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        plain.then(|| (ours.to_owned(), theirs.to_owned()))
    };
    let mut columns: Vec<(String, String)> = vec![];
    for part in text.split(',') {
        match (named(part), columns.last_mut()) {
            (Some(column), _) => columns.push(column),
            (None, Some((_, theirs))) => {
                theirs.push(',');
                theirs.push_str(part);
            }
            (None, None) => return Err("write NAME=COLUMN, such as corrupt=corrupted".into()),
        }
    }
    Ok(columns.into())
}

pub(super) fn parse_position(text: &str) -> Result<NamedPosition, String> {
    NamedPosition::parse(text).map_err(|e| e.to_string())
}

pub(super) fn flat(columns: &[OfColumns]) -> Vec<(String, String)> {
    columns.iter().flat_map(|some| some.iter().cloned()).collect()
}

/// How much is read of a file. It decides no number, only what is refused.
#[derive(Args, Debug)]
pub(super) struct ReadArgs {
    /// Most rows to read of a file; larger files are refused
    #[arg(long, value_name = "N", default_value_t = Bounds::default().rows, value_parser = at_least_one())]
    input_rows: usize,
    /// Memory for reading a file, including its texts while they are tokenized; a file that needs more is refused
    #[arg(long, value_name = "SIZE", default_value = "1GB", value_parser = parse_bytes)]
    input_bytes: usize,
}

impl ReadArgs {
    pub fn bounds(&self) -> Bounds {
        Bounds { rows: self.input_rows, bytes: self.input_bytes }
    }
}

/// How a file of prompts beside those that are run is written.
#[derive(Args, Debug)]
pub(super) struct DatasetFormat {
    /// Format of that file, if its name does not say it. Without this, a pipe has one text on each line
    #[arg(long, value_name = "FORMAT", requires = "dataset", value_parser = Written::NAMES)]
    dataset_format: Option<String>,
}

impl DatasetFormat {
    /// The prompts of the file.
    pub fn prompts(&self, path: &Path, bounds: Bounds) -> Result<Vec<PromptEntry>> {
        let written = written(self.dataset_format.as_deref());
        prompts::dataset(&Input { path, written, read: read_input, bounds })
    }
}

pub(super) fn written(name: Option<&str>) -> Option<Written> {
    name.and_then(Written::named)
}

/// How files of pairs are written.
pub(super) const PAIR_FORMATS: [&str; 5] = ["jsonl", "json", "csv", "tsv", "parquet"];

/// A file of pairs as it is given.
pub(super) struct PairsFile<'a> {
    pub path: &'a Path,
    pub format: Option<&'a str>,
    pub columns: &'a [OfColumns],
    pub limit: Option<usize>,
}

impl PairsFile<'_> {
    /// Its pairs, `alone` without their corrupt prompts. Says what of it is not used.
    pub fn pairs(&self, bounds: Bounds, positions: &[NamedPosition], alone: bool, out: &Out) -> Result<Vec<PairEntry>> {
        let names = flat(self.columns);
        let input = Input { path: self.path, written: written(self.format), read: read_input, bounds };
        let mut file = pairs::from_input(&input, &names, positions)?;
        if alone {
            file = file.alone(&names);
        }
        file.unused.said().into_iter().for_each(|said| out.note(said));
        file.entries.truncate(self.limit.unwrap_or(usize::MAX));
        Ok(file.entries)
    }
}

/// The pairs whose prompts are as many tokens; says which others there are.
pub(super) fn aligned(loaded: &Session, entries: Vec<PairEntry>, around: &Around, out: &Out) -> Result<Vec<PairEntry>> {
    const SHOWN: usize = 5;
    let skipped = loaded.misaligned(&entries, around)?;
    if skipped.is_empty() {
        return Ok(entries);
    }
    let each =
        skipped.iter().take(SHOWN).map(|s| format!("{} ({} tokens against {})", s.place, s.lengths[0], s.lengths[1]));
    let mut shown: Vec<String> = each.collect();
    if skipped.len() > SHOWN {
        shown.push(format!("and {} more", skipped.len() - SHOWN));
    }
    let what = format!("{} of {} pairs have prompts of unlike lengths", skipped.len(), entries.len());
    if skipped.len() == entries.len() {
        return Err(Error::bad_input(format!("{what}, so there is nothing to run: {}", shown.join(", ")))
            .hint("choose words that are as many tokens in both; `pellucid tokens` shows how each is split"));
    }
    out.note(format_args!("{what} and are left out: {}", shown.join(", ")));
    let left_out = |i: usize| skipped.iter().any(|s| s.index == i);
    Ok(entries.into_iter().enumerate().filter(|(i, _)| !left_out(*i)).map(|(_, entry)| entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_may_be_texts_with_commas() {
        let of =
            |text: &str| parse_columns(text).map(|c| c.iter().map(|(a, b)| format!("{a}|{b}")).collect::<Vec<_>>());
        assert_eq!(of("corrupt=corrupted,answer_id=idx"), Ok(vec!["corrupt|corrupted".into(), "answer_id|idx".into()]));
        assert_eq!(of("text=In {a}, 1+1=2, yes,id="), Ok(vec!["text|In {a}, 1+1=2, yes".into(), "id|".into()]));
        assert!(of("corrupted").is_err() && of("=x").is_err() && of("").is_err());
    }
}
