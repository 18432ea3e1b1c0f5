//! A block on its way to disk: rows are cut into row groups and files at the same places however they arrive.

use std::ops::Range;

use serde_json::Value;

use super::file::Done;
use super::folder::Dataset;
use super::layout::{Form, Rows};
use super::record::{DocumentRecord, Record, record_path};
use super::{parquet, tensors};
use crate::error::{Error, Result};
use crate::whole::write_whole;

/// Bytes of rows that are encoded together. They are held twice meanwhile.
const PIECE: usize = 8 << 20;
/// Bytes of a row group before compression: what a reader decodes at once. It goes on to the end of a sequence.
const GROUP: usize = 64 << 20;
/// The longest file.
const FILE: u64 = 512 << 20;

/// Where files and row groups end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Rows that are encoded together.
    pub piece: usize,
    /// Rows of a row group, at least.
    pub group: usize,
    /// Bytes of a file, at most.
    pub file: u64,
}

impl Sizes {
    /// For rows of so many bytes.
    pub fn of(row_bytes: usize) -> Self {
        Self { piece: (PIECE / row_bytes).max(1), group: (GROUP / row_bytes).max(1), file: FILE }
    }
}

/// Writes a block. Its files get their names when it is finished; dropped before, it leaves nothing.
pub struct BlockWriter<'a> {
    dataset: &'a mut Dataset,
    block: u64,
    /// Rows that wait to be encoded.
    piece: Rows,
    /// Rows of the group that is open, encoded or not.
    group: usize,
    /// The sequence and position of the last row.
    last: Option<(u32, u32)>,
    file: Option<Open>,
    /// Rows of the file that is open, without those of the open group.
    rows: u64,
    done: Vec<Done>,
}

enum Open {
    Parquet(Box<parquet::File>),
    Tensors(tensors::File),
}

impl<'a> BlockWriter<'a> {
    pub(super) fn new(dataset: &'a mut Dataset, block: u64) -> Self {
        let piece = Rows::none(&dataset.layout);
        Self { dataset, block, piece, group: 0, last: None, file: None, rows: 0, done: vec![] }
    }

    /// Adds rows. Where they are cut does not depend on which rows come together.
    ///
    /// # Errors
    /// The disk is full, or a number is too large for f16.
    pub fn push(&mut self, mut rows: Rows) -> Result<()> {
        rows.fits(&self.dataset.layout)?;
        let sizes = self.dataset.sizes;
        let mut from = 0;
        for at in 0..rows.len() {
            let here = (rows.seq[at], rows.pos[at]);
            // Positions increase within a sequence, so another one begins here also where it has the same number.
            let begins = match self.dataset.layout.window {
                None => self.last.is_some_and(|(seq, pos)| seq != here.0 || pos >= here.1),
                Some(window) => self.group.is_multiple_of(window.min(sizes.group)),
            };
            self.last = Some(here);
            if begins && self.group >= sizes.group {
                self.take(&mut rows, from..at);
                from = at;
                self.end_group()?;
            }
            self.group += 1;
            if self.piece.len() + (at + 1 - from) == sizes.piece {
                self.take(&mut rows, from..at + 1);
                from = at + 1;
                self.encode()?;
            }
        }
        let all = rows.len();
        self.take(&mut rows, from..all);
        Ok(())
    }

    fn take(&mut self, rows: &mut Rows, range: Range<usize>) {
        self.piece.take(&self.dataset.layout, rows, range);
    }

    /// Encodes the rows that wait.
    fn encode(&mut self) -> Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let dataset = &*self.dataset;
        let (layout, stage) = (&dataset.layout, dataset.stage());
        let rows = std::mem::replace(&mut self.piece, Rows::none(layout));
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(match layout.form {
                Form::Parquet => Open::Parquet(Box::new(parquet::File::create(&dataset.shape, stage)?)),
                Form::Safetensors => Open::Tensors(tensors::File::create(layout, stage)?),
            }),
        };
        match file {
            Open::Parquet(file) => file.rows(&dataset.shape, layout, rows),
            Open::Tensors(file) => file.rows(layout, rows, stage),
        }
    }

    /// Ends the row group, and the file where the group would make it too long.
    fn end_group(&mut self) -> Result<()> {
        self.encode()?;
        let rows = std::mem::take(&mut self.group) as u64;
        let most = self.dataset.sizes.file;
        match &mut self.file {
            None => {}
            Some(Open::Parquet(file)) => {
                let group = file.close()?;
                if self.rows > 0 && file.bytes() + group.bytes() > most {
                    self.end_file()?;
                    let dataset = &*self.dataset;
                    self.file = Some(Open::Parquet(Box::new(parquet::File::create(&dataset.shape, dataset.stage())?)));
                }
                self.rows += rows;
                if let Some(Open::Parquet(file)) = &mut self.file {
                    file.add(group)?;
                }
            }
            Some(Open::Tensors(file)) => {
                self.rows += rows;
                // The next group is as long as this one, about.
                if file.bytes() + GROUP as u64 > most {
                    self.end_file()?;
                }
            }
        }
        Ok(())
    }

    fn end_file(&mut self) -> Result<()> {
        let (dataset, rows) = (&*self.dataset, std::mem::take(&mut self.rows));
        let name = |end: &str| match self.done.len() {
            0 => format!("data-{:06}.{end}", self.block),
            more => format!("data-{:06}-{more}.{end}", self.block),
        };
        let done = match self.file.take() {
            None => return Ok(()),
            Some(Open::Parquet(file)) => file.finish(name("parquet"), rows)?,
            Some(Open::Tensors(file)) => file.finish(name("safetensors"), rows, &dataset.said, dataset.stage())?,
        };
        self.done.push(done);
        Ok(())
    }

    /// Gives the block's files their names and writes its record. `documents` are all of its documents, also those without rows;
    /// `sums` is whatever statistics of all blocks are made of.
    ///
    /// # Errors
    /// The disk is full, or somebody else's file has the name of one of these.
    pub fn finish(mut self, documents: Vec<DocumentRecord>, sums: Value) -> Result<()> {
        self.end_group()?;
        self.end_file()?;
        let dataset = self.dataset;
        let folder = &dataset.folder;
        for done in &self.done {
            dataset.check_name(self.block, &done.record.name)?;
        }
        let files = self.done.into_iter().map(|done| done.name(folder)).collect::<Result<Vec<_>>>()?;
        let record = Record {
            pellucid_version: env!("CARGO_PKG_VERSION").to_owned(),
            request: dataset.header.request.clone(),
            instructions: dataset.instructions.clone(),
            block: self.block,
            rows: files.iter().map(|file| file.rows).sum(),
            files,
            documents,
            sums,
        };
        // Made in the stage, where a killed process leaves nothing that stays.
        let staged = dataset.stage().join("record");
        write_whole(&staged, record.to_text()?.as_bytes())?;
        let path = record_path(folder, self.block);
        std::fs::rename(&staged, &path).map_err(|e| Error::cannot_write(&path, e))?;
        dataset.sound.borrow_mut().insert(self.block, true);
        Ok(())
    }
}
