//! The record of a block: what its files are, to the last byte, and what was learnt on the way that is not in them.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::folder::Header;
use crate::error::{Error, Result};
use crate::session::owned::open_regular;
use crate::session::owned::size_and_hash;

/// The folder of records.
pub(super) const BLOCKS: &str = "blocks";
/// The key of a record's own hash.
const CHECK: &str = "record_blake3";

/// What is known of a block that is complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of pellucid that made it.
    pub pellucid_version: String,
    /// Hash of the request.
    pub request: String,
    /// The instructions that computed it: on others, numbers are the same within rounding.
    pub instructions: String,
    /// Its number.
    pub block: u64,
    /// How many rows it has.
    pub rows: u64,
    /// Its files, in the order of their rows; none where no row was chosen.
    pub files: Vec<FileRecord>,
    /// Its documents, in their order.
    pub documents: Vec<DocumentRecord>,
    /// What the analysis keeps for statistics of all blocks.
    pub sums: Value,
}

/// A file of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its name in the folder.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// How long it is.
    pub bytes: u64,
    /// Its hash, in hexadecimal.
    pub blake3: String,
}

/// A document of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentRecord {
    /// Its number in the corpus.
    pub index: u64,
    /// Its name.
    pub id: String,
    /// How many tokens it has.
    pub tokens: u64,
    /// In how many sequences its tokens ran.
    pub sequences: u64,
    /// How many rows it has here.
    pub rows: u64,
}

/// What the record of block `block` is called.
pub(super) fn record_path(folder: &Path, block: u64) -> PathBuf {
    folder.join(BLOCKS).join(format!("{block:06}.json"))
}

/// The text of the regular file at `path`; none where there is none, or none that is text.
pub(super) fn text_of(path: &Path) -> Option<String> {
    let mut text = String::new();
    open_regular(path).ok()??.as_ref()?.read_to_string(&mut text).ok()?;
    Some(text)
}

impl Record {
    /// As it stands in its file: JSON, with a hash of itself.
    pub(super) fn to_text(&self) -> Result<String> {
        let unwritten = |e: serde_json::Error| Error::compute(e.to_string()).fault();
        let mut value = serde_json::to_value(self).map_err(unwritten)?;
        value[CHECK] = blake3::hash(value.to_string().as_bytes()).to_hex().as_str().into();
        Ok(format!("{value}\n"))
    }

    /// The record in the file at `path`: none if there is none, or one that is torn or was altered.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let mut value: Value = serde_json::from_str(&text_of(path)?).ok()?;
        let said = value.as_object_mut()?.remove(CHECK)?;
        let found = blake3::hash(value.to_string().as_bytes()).to_hex();
        (said == found.as_str()).then(|| serde_json::from_value(value).ok())?
    }

    /// Whether it is the record of `block` of this data set.
    pub(super) fn is_of(&self, header: &Header, block: u64) -> bool {
        (self.block, &self.request, &self.pellucid_version) == (block, &header.request, &header.pellucid_version)
            && self.files.iter().all(|file| file.is_of(block))
    }

    /// Whether its files are there, each as long as it was written.
    pub(super) fn has_sizes(&self, folder: &Path) -> bool {
        let size = |file: &FileRecord| folder.join(&file.name).symlink_metadata().map(|m| m.len()).ok();
        self.files.iter().all(|file| size(file) == Some(file.bytes))
    }

    /// The first of its files that is not in `folder` as it was written.
    pub(super) fn altered(&self, folder: &Path) -> Option<&FileRecord> {
        self.files.iter().find(|file| !file.is_whole(folder))
    }
}

impl FileRecord {
    /// Whether the file is in `folder` as it was written.
    fn is_whole(&self, folder: &Path) -> bool {
        let Ok(Some(Some(file))) = open_regular(&folder.join(&self.name)) else { return false };
        // Its length first, which costs nothing.
        file.metadata().is_ok_and(|m| m.len() == self.bytes)
            && size_and_hash(file).is_ok_and(|(bytes, hash)| (bytes, &hash) == (self.bytes, &self.blake3))
    }

    /// Whether it has the name of a file of `block`, and leads nowhere else.
    fn is_of(&self, block: u64) -> bool {
        let rest = self.name.strip_prefix(&format!("data-{block:06}")).unwrap_or("/");
        let (number, end) = rest.split_at(rest.find('.').unwrap_or(0));
        let digits = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
        (number.is_empty() || number.strip_prefix('-').is_some_and(digits))
            && [".parquet", ".safetensors"].contains(&end)
    }
}
