//! What is there of a data set, whoever is at work on it.

use std::path::{Path, PathBuf};

use super::folder::{Header, MANIFEST, WORK};
use super::merge::{all, no_data_set, numbered, shards};
use super::record::{Record, record_path};
use crate::error::Result;
use crate::session::Shard;
use crate::session::claim::is_at_work;

/// What is there of a data set.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// Where it is.
    pub folder: PathBuf,
    /// The command that makes it.
    pub command: Vec<String>,
    /// How many blocks there will be; none as long as no shard came to the end of the corpus.
    pub blocks: Option<u64>,
    /// Blocks that are there.
    pub done: u64,
    /// Blocks whose files or records are damaged. They are made again.
    pub damaged: Vec<u64>,
    /// Documents of the blocks that are there.
    pub documents: u64,
    /// Their rows.
    pub rows: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Each shard that is known of, in order.
    pub shards: Vec<ShardStatus>,
    /// Whether shards were joined, and all is there.
    pub complete: bool,
}

/// How far a shard is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ShardStatus {
    /// Which one.
    pub shard: Shard,
    /// Blocks of it that are there.
    pub done: u64,
    /// How many it has; none as long as no shard came to the end of the corpus.
    pub blocks: Option<u64>,
    /// Whether a process is at work on it, on this machine or on one that shares its locks.
    pub at_work: bool,
}

/// What is there of the data set in `folder`. With `hashes`, every file is read; else sizes are compared.
///
/// # Errors
/// There is no data set; the folder cannot be read; shards have different corpora.
pub fn status(folder: &Path, hashes: bool) -> Result<Status> {
    let header = Header::read(folder)?.ok_or_else(|| no_data_set(folder))?;
    let (whole, of) = all(folder, &header)?;
    let blocks = whole.map(|all| all.blocks);
    let mut status = Status {
        folder: folder.to_owned(),
        command: header.provenance.command.clone(),
        blocks,
        done: 0,
        damaged: vec![],
        documents: 0,
        rows: 0,
        bytes: 0,
        shards: vec![],
        complete: false,
    };
    let mut there = vec![];
    for block in numbered(folder) {
        let record = Record::read(&record_path(folder, block)).filter(|record| record.is_of(&header, block));
        match record.filter(|record| if hashes { record.altered(folder).is_none() } else { record.has_sizes(folder) }) {
            None => status.damaged.push(block),
            Some(record) => {
                status.done += 1;
                status.documents += record.documents.len() as u64;
                status.rows += record.rows;
                status.bytes += record.files.iter().map(|file| file.bytes).sum::<u64>();
                there.push(block);
            }
        }
    }
    let at_work = at_work(folder);
    let of = if of > 1 { of } else { at_work.iter().map(|shard| shard.of).max().unwrap_or(1) };
    status.shards = (0..of)
        .map(|index| {
            let shard = Shard { index, of };
            ShardStatus {
                shard,
                done: there.iter().filter(|block| shard.has(**block)).count() as u64,
                blocks: blocks.map(|blocks| (0..blocks).filter(|block| shard.has(*block)).count() as u64),
                at_work: at_work.contains(&shard),
            }
        })
        .collect();
    status.complete =
        folder.join(MANIFEST).exists() && shards(folder, &header).is_empty() && blocks == Some(status.done);
    Ok(status)
}

/// Shards whose folder is locked.
fn at_work(folder: &Path) -> Vec<Shard> {
    let entries = std::fs::read_dir(folder.join(WORK)).into_iter().flatten().flatten();
    let locked = entries.filter(|entry| is_at_work(&entry.path()));
    locked.filter_map(|entry| Shard::named(entry.file_name().to_str()?)).collect()
}
