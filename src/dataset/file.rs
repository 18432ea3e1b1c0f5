//! A file that is hashed while it is written, and gets its name when its block is complete.

use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::whole::{keep, temporary_beside};

use super::record::FileRecord;

/// A file in the making.
pub(super) struct Hashed {
    file: NamedTempFile,
    hash: blake3::Hasher,
    bytes: u64,
}

impl Hashed {
    /// An empty file in the folder `stage`.
    pub fn create(stage: &Path) -> Result<Self> {
        Ok(Self { file: temporary_beside(&stage.join("data"))?, hash: blake3::Hasher::new(), bytes: 0 })
    }

    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file itself, complete but without a name, and what a record says of it.
    pub fn done(self, name: String, rows: u64) -> Result<Done> {
        let record = FileRecord { name, rows, bytes: self.bytes, blake3: self.hash.finalize().to_hex().to_string() };
        Ok(Done { file: self.file, record })
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.as_file_mut().write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// A complete file without its name.
pub(super) struct Done {
    file: NamedTempFile,
    pub record: FileRecord,
}

impl Done {
    /// Pushes it to the disk and gives it its name in `folder`.
    pub fn name(self, folder: &Path) -> Result<FileRecord> {
        keep(self.file, &folder.join(&self.record.name))?;
        Ok(self.record)
    }
}

/// What stopped a file from being written.
pub(super) fn unwritable(folder: &Path, e: io::Error) -> Error {
    Error::cannot_write(folder, e)
}
