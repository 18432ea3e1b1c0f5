//! Where each document of a corpus begins, so that documents can be read in any order.
//!
//! One pass over the corpus finds the places. They lie in a file without a name, 16 bytes for each document, so that memory does
//! not grow with the corpus, and nothing is left of them however the process ends.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::{Corpus, Document, Documents, Found, Reading, Records, Wrong};
use crate::error::{Error, Result, said};
use crate::text::records::At;

/// Files that stay open, because what opening one costs is known to be paid often: parquet's footer and the headers of its pages.
const OPEN: usize = 8;
/// Bytes of an entry: place and line.
const ENTRY: usize = 16;

/// Where each document begins.
pub struct Index {
    /// The pass over the corpus, at its end: it knows what was left out.
    pass: Documents,
    places: File,
    /// Of each file that has documents: its number, its first document, and the field that was found to have the text.
    files: Vec<(usize, u64, Option<String>)>,
    len: u64,
    open: Vec<(usize, Box<dyn Records>)>,
}

impl Corpus {
    /// Refuses a corpus that can only be read in its own order.
    ///
    /// # Errors
    /// A file is packed.
    pub fn check_any_order(&self) -> Result<()> {
        match self.files.iter().find(|file| file.is_packed()) {
            None => Ok(()),
            Some(file) => Err(Error::bad_input(format!(
                "{} is packed, and documents of packed files can only be read one after another",
                file.shown
            ))
            .hint(said(
                "unpack it, or shuffle tokens of documents that are near each other with {shuffle=tokens:65536}",
            ))),
        }
    }
}

impl Index {
    /// Finds where the documents of `corpus` begin. The places go to a file in `folder`, which has no name. `watch` is told of each
    /// document, and may stop it.
    ///
    /// # Errors
    /// As [`Documents`] and [`Corpus::check_any_order`]; the folder cannot be written; what `watch` says.
    pub fn of(corpus: &Corpus, folder: &Path, watch: &dyn Fn() -> Result<()>) -> Result<Self> {
        corpus.check_any_order()?;
        let unwritten = |e| Error::cannot_write(folder, e);
        let mut places = BufWriter::new(tempfile::tempfile_in(folder).map_err(unwritten)?);
        let (mut pass, mut files) = (corpus.documents(), Vec::<(usize, u64, Option<String>)>::new());
        let mut len = 0;
        while let Some(document) = pass.next() {
            document?;
            watch()?;
            if files.last().is_none_or(|(file, ..)| *file != pass.file()) {
                files.push((pass.file(), len, None));
            }
            if let (Some((.., field @ None)), Some(open)) = (files.last_mut(), &pass.open) {
                *field = open.field().map(str::to_owned);
            }
            let line = pass.at.map_or(u64::MAX, |(At::Line(n) | At::Row(n))| n as u64);
            let entry = [pass.place.to_le_bytes(), line.to_le_bytes()];
            places.write_all(entry.as_flattened()).map_err(unwritten)?;
            len += 1;
        }
        let places = places.into_inner().map_err(|e| unwritten(e.into_error()))?;
        Ok(Self { pass, places, files, len, open: vec![] })
    }

    /// How many documents there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pass over the corpus that found them.
    pub fn pass(&self) -> &Documents {
        &self.pass
    }

    /// Reads document `index`, as the pass over the corpus read it.
    ///
    /// # Errors
    /// There are no more than [`Self::len`]; the files cannot be read, or are no longer as they were.
    pub fn read(&mut self, index: u64) -> Result<Document> {
        let mut entry = [0; ENTRY];
        self.places.seek(SeekFrom::Start(index * ENTRY as u64))?;
        self.places.read_exact(&mut entry)?;
        let of = |half: &[u8]| half.iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        let (place, line) = (of(&entry[..8]), of(&entry[8..]));
        let after = self.files.partition_point(|(_, first, _)| *first <= index);
        let Some((number, _, field)) = after.checked_sub(1).map(|at| &self.files[at]) else {
            return Err(Error::compute(format!("document {index} is in no file")).fault());
        };
        let corpus = &self.pass.corpus;
        let file: &Found = &corpus.files[*number];
        if !self.open.iter().any(|(open, _)| open == number) {
            let text = field.clone().or_else(|| corpus.reading.text.clone());
            let records = file.records(&Reading { text, ..corpus.reading.clone() }, &self.pass.read)?;
            self.open.truncate(OPEN - 1);
            self.open.insert(0, (*number, records));
        }
        let records = self.open.iter_mut().find(|(open, _)| open == number).map(|(_, records)| records);
        let found = records.map(|records| records.seek(place).map_err(Wrong::from).and_then(|()| records.next()));
        match found {
            Some(Ok(Some(record))) => {
                let at = usize::try_from(line).ok().filter(|_| line != u64::MAX).map(At::Line);
                Ok(Document { index, id: record.id.unwrap_or_else(|| file.id_at(at)), text: record.text })
            }
            Some(Err(Wrong::File(error))) => Err(error),
            Some(Err(Wrong::Document { .. }) | Ok(None)) | None => {
                Err(Error::bad_input(format!("{} changed while it was read", file.shown)).hint("make all of it again"))
            }
        }
    }
}
