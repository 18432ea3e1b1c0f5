//! Rows with how they were made: what an analysis has found, in memory or in a file.

use std::fs::File;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::path::Path;

use super::write::{TableWriter, batch};
use super::{Provenance, RecordBatch, Row, Rows};
use crate::error::{Error, Result};

/// A table: rows of one type, and how they were made. They are in memory unless `S` says where else.
#[derive(Clone, Debug)]
pub struct Table<R, S = Vec<R>> {
    pub(crate) rows: S,
    pub(crate) provenance: Provenance,
    row: PhantomData<fn() -> R>,
}

impl<R: Row, S> Table<R, S> {
    /// These rows, made so.
    pub fn new(rows: S, mut provenance: Provenance) -> Self {
        provenance.stamp::<R>();
        Self { rows, provenance, row: PhantomData }
    }

    /// How the rows were made.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

impl<R: Row, S: Rows<R>> Table<R, S> {
    /// Writes the bytes of the parquet file of the rows, wherever they are: those that [`Table::write`] writes into a file.
    ///
    /// # Errors
    /// The rows cannot be read, or the bytes not written.
    pub fn write_bytes(&mut self, to: &mut dyn Write) -> Result<()> {
        // Of its own, and not in memory: a table may be larger than that.
        let folder = tempfile::tempdir()?;
        let mut file = TableWriter::create(folder.path().join("table.parquet"), self.provenance.clone())?;
        let n = self.rows.len();
        self.rows.rows(0..n, &mut |row| file.push(&row))?;
        let path = file.finish()?;
        let mut written = File::open(&path).map_err(|e| Error::cannot_read(&path, e))?;
        io::copy(&mut written, to).map_err(|e| Error::cannot_write_to("the table", e))?;
        Ok(())
    }
}

impl<R: Row> Table<R> {
    /// The rows.
    pub fn rows(&self) -> &[R] {
        &self.rows
    }

    /// The rows as columns of Arrow. Their schema has the provenance, and of each column its meaning and unit.
    ///
    /// # Errors
    /// None that are known; Arrow's are passed on.
    pub fn record_batch(&self) -> Result<RecordBatch> {
        batch(&self.rows, &self.provenance)
    }

    /// Writes the rows to a parquet file at `path`: to the last byte the file that the command of the provenance writes.
    ///
    /// # Errors
    /// As [`TableWriter::create`] and [`TableWriter::finish`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut file = TableWriter::create(path, self.provenance.clone())?;
        file.extend(&self.rows)?;
        file.finish().map(|_| ())
    }
}
