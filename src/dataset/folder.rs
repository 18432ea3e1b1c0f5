//! The folder of a data set: whose it is, which blocks are done, and who makes the others.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::block::{BlockWriter, Sizes};
use super::layout::Layout;
use super::merge::{All, Whole, numbered, shards};
use super::parquet::Shape;
use super::record::{BLOCKS, Record, record_path, text_of};
use super::{FORMAT, FORMAT_VERSION};
use crate::error::{Error, Result, said};
use crate::session::folder::request_hash;
use crate::session::owned::is_ours;
use crate::session::words::shell;
use crate::session::{Claim, Claiming, Shard};
use crate::table::Provenance;
use crate::whole::{temporary_beside, write_whole};

/// What was asked for, in the folder from the first moment.
pub(super) const REQUEST: &str = "request.json";
/// That all is there.
pub(super) const MANIFEST: &str = "manifest.json";
/// Processes at work, each in a folder of its own.
pub(super) const WORK: &str = ".pellucid-work";

/// How a data set is opened.
pub struct Opening<'a> {
    /// Its columns.
    pub layout: Layout,
    /// What decides its bytes beside the layout, and nothing else.
    pub request: &'a Value,
    /// How it is made.
    pub provenance: Provenance,
    /// Which blocks this process makes.
    pub shard: Shard,
    /// Whether to go on with blocks that are there.
    pub resume: bool,
    /// Whether to take away blocks that are there, also those of another request.
    pub force: bool,
    /// Who waits, and how long, where another process makes the same shard.
    pub claiming: &'a Claiming<'a>,
}

/// What a folder says of itself from the first moment. It is the same whichever machine or shard writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub format: u32,
    pub pellucid_version: String,
    /// Hash of the request.
    pub request: String,
    pub asked: Value,
    pub layout: Layout,
    /// Without the instructions, in which machines may differ.
    pub provenance: Provenance,
}

impl Header {
    /// The header of the folder; none where it has none.
    ///
    /// # Errors
    /// What has its name is damaged or somebody else's.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(REQUEST);
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let header = text_of(&path).and_then(|text| serde_json::from_str(&text).ok());
        header.map(Some).ok_or_else(|| not_ours(folder, REQUEST))
    }

    /// Puts it into the folder, unless another shard or another request was faster.
    pub fn write(&self, folder: &Path, stage: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::compute(e.to_string()).fault())?;
        let mut staged = temporary_beside(&stage.join(REQUEST))?;
        let path = folder.join(REQUEST);
        let written = std::io::Write::write_all(&mut staged, format!("{text}\n").as_bytes());
        written.and_then(|()| staged.as_file().sync_all()).map_err(|e| Error::cannot_write(&path, e))?;
        match staged.persist_noclobber(&path) {
            Err(e) if e.error.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::cannot_write(&path, e.error)),
            _ => Ok(()),
        }
    }

    /// The command that it was made with, for people.
    pub fn command(&self) -> String {
        shell(&self.provenance.command)
    }
}

pub(super) fn not_ours(folder: &Path, name: &str) -> Error {
    Error::bad_input(format!("{} holds {name}, which is damaged or no file of pellucid's", folder.display()))
        .hint(said("give another folder with {out}, or move that file away"))
}

/// A data set in the making: of one shard, one process is at work.
pub struct Dataset {
    pub(super) folder: PathBuf,
    pub(super) layout: Layout,
    pub(super) header: Header,
    pub(super) shape: Shape,
    pub(super) sizes: Sizes,
    pub(super) instructions: String,
    /// The provenance, as files have it.
    pub(super) said: String,
    shard: Shard,
    /// Of blocks that were looked at, whether they are there as they were written.
    pub(super) sound: RefCell<HashMap<u64, bool>>,
    claim: Claim,
}

impl Dataset {
    /// Opens the data set in `folder`, which is made where it is not there.
    ///
    /// # Errors
    /// The folder holds a data set of another request, or blocks of this one where neither `resume` nor `force` was given; another
    /// process makes the same shard; parquet cannot hold what the layout asks for; the folder cannot be written.
    pub fn open(folder: &Path, how: Opening) -> Result<Self> {
        let Opening { layout, request, mut provenance, shard, resume, force, claiming } = how;
        layout.check()?;
        if shard.index >= shard.of {
            return Err(Error::bad_input(format!("there is no shard {} of {}", shard.index, shard.of))
                .hint("shards are counted from 0"));
        }
        if folder.exists() && !folder.is_dir() {
            return Err(Error::bad_input(format!("{} is a file, and a data set goes to a folder", folder.display()))
                .hint(said("give another name with {out}")));
        }
        provenance.stamp_as(FORMAT, FORMAT_VERSION);
        provenance.complete = true;
        let said_in_files = provenance.to_json();
        let instructions = std::mem::take(&mut provenance.instructions);
        let hash = request_hash(&json!({"format": FORMAT_VERSION, "request": request, "layout": layout}))?;
        let header = Header {
            format: FORMAT_VERSION,
            pellucid_version: env!("CARGO_PKG_VERSION").to_owned(),
            request: hash,
            asked: request.clone(),
            layout: layout.clone(),
            provenance,
        };
        // Before anybody waits.
        may_go_on(folder, &header, force)?;
        let claim = Claim::of(&folder.join(WORK).join(shard.name()), claiming)?;
        may_go_on(folder, &header, force)?;
        let dataset = Self {
            folder: folder.to_owned(),
            shape: Shape::new(&layout, &said_in_files)?,
            sizes: Sizes::of(layout.row_bytes()),
            said: said_in_files,
            layout,
            header,
            instructions,
            shard,
            sound: RefCell::default(),
            claim,
        };
        dataset.begin(resume, force)?;
        Ok(dataset)
    }

    /// Clears what is to be made anew, and says in the folder what was asked for.
    fn begin(&self, resume: bool, force: bool) -> Result<()> {
        let folder = &self.folder;
        let unwritable = |e: std::io::Error| Error::cannot_write(folder, e);
        if let Some(there) = Header::read(folder)?.filter(|there| there != &self.header) {
            // Only with `force`: `may_go_on` refuses it otherwise.
            clear(folder, &there, Shard::default())?;
            remove(folder.join(REQUEST))?;
        }
        let found = numbered(folder).into_iter().filter(|block| self.shard.has(*block)).count();
        if force {
            clear(folder, &self.header, self.shard)?;
        } else if !resume && found > 0 {
            let what = if found == 1 { "block" } else { "blocks" };
            return Err(Error::bad_input(format!("{} has {found} {what} of this data set already", folder.display()))
                .hint(said("go on with {resume}, or make them anew with {force}")));
        }
        std::fs::create_dir_all(folder.join(BLOCKS)).map_err(unwritable)?;
        if Header::read(folder)?.is_none() {
            self.header.write(folder, self.stage())?;
        }
        may_go_on(folder, &self.header, false)
    }

    /// Where files are made.
    pub(super) fn stage(&self) -> &Path {
        self.claim.stage()
    }

    /// Whether this process is to make `block`: it is of its shard, and not there as it was written.
    pub fn wants(&self, block: u64) -> bool {
        self.shard.has(block) && !self.has(block)
    }

    /// Whether the block is there, to the last byte.
    fn has(&self, block: u64) -> bool {
        if let Some(sound) = self.sound.borrow().get(&block) {
            return *sound;
        }
        let record = Record::read(&record_path(&self.folder, block));
        let sound = record.is_some_and(|record| {
            record.is_of(&self.header, block)
                && record.instructions == self.instructions
                && record.altered(&self.folder).is_none()
        });
        self.sound.borrow_mut().insert(block, sound);
        sound
    }

    /// Begins block `block`.
    ///
    /// # Errors
    /// What says that all is there cannot be taken away.
    pub fn block(&mut self, block: u64) -> Result<BlockWriter<'_>> {
        remove(self.folder.join(MANIFEST))?;
        Ok(BlockWriter::new(self, block))
    }

    /// Refuses to replace a file of somebody else.
    pub(super) fn check_name(&self, block: u64, name: &str) -> Result<()> {
        let path = self.folder.join(name);
        let record = || Record::read(&record_path(&self.folder, block));
        let listed = || record().is_some_and(|record| record.files.iter().any(|file| file.name == name));
        match path.symlink_metadata() {
            Err(_) => Ok(()),
            Ok(m) if m.is_file() && (is_ours(&path) || listed()) => Ok(()),
            Ok(_) => Err(not_ours(&self.folder, name)),
        }
    }

    /// Ends the work: all blocks of this process are there. The corpus has `blocks` of them; `notes` is what there is to say of it,
    /// such as documents that were skipped, the same whoever read it.
    ///
    /// Gives the whole data set, whose side tables are still to be written, if this process made all of it; otherwise none, and
    /// the file that says that the shard is complete.
    ///
    /// # Errors
    /// A block is missing; the folder cannot be written.
    pub fn finish(self, blocks: u64, notes: Value) -> Result<Option<Whole>> {
        if let Some(missing) = (0..blocks).find(|block| self.wants(*block)) {
            return Err(Error::compute(format!("block {missing} was not made")).fault());
        }
        if self.shard.of > 1 {
            let text = json!({
                "pellucid_version": self.header.pellucid_version,
                "request": self.header.request,
                "shard": self.shard,
                "blocks": blocks,
                "notes": notes,
            });
            let staged = self.stage().join("shard");
            write_whole(&staged, format!("{text:#}\n").as_bytes())?;
            let path = self.folder.join(format!("{}.json", self.shard.name()));
            std::fs::rename(staged, &path).map_err(|e| Error::cannot_write(&path, e))?;
            return Ok(None);
        }
        // Every block was hashed by this process, as it wrote it or found it.
        Whole::of(self.folder, self.header, self.claim, All { blocks, notes }, false).map(Some)
    }
}

/// Refuses a folder that holds a data set of another request, unless `force`.
fn may_go_on(folder: &Path, header: &Header, force: bool) -> Result<()> {
    let Some(there) = Header::read(folder)? else {
        let strange = !numbered(folder).is_empty();
        return if strange { Err(not_ours(folder, BLOCKS)) } else { Ok(()) };
    };
    let shown = folder.display();
    let what = match () {
        () if force || &there == header => return Ok(()),
        () if there.request == header.request && there.pellucid_version != header.pellucid_version => {
            format!("{shown} holds a data set that version {} of pellucid makes", there.pellucid_version)
        }
        () if there.request == header.request => format!("{shown} holds a data set of another model"),
        () => format!("{shown} holds the data set of another request, `{}`", there.command()),
    };
    Err(Error::bad_input(what).hint(said("give another folder with {out}, or replace it with {force}")))
}

/// Takes away what a shard made, and what says that all is there. A file that no record lists is never touched.
fn clear(folder: &Path, there: &Header, shard: Shard) -> Result<()> {
    remove(folder.join(MANIFEST))?;
    for found in shards(folder, there).into_iter().filter(|found| shard.of == 1 || found.shard == shard) {
        remove(folder.join(format!("{}.json", found.shard.name())))?;
    }
    for block in numbered(folder).into_iter().filter(|block| shard.has(*block)) {
        let path = record_path(folder, block);
        let record = Record::read(&path);
        // The record first: without it, files count for nothing.
        remove(path)?;
        let record = record.filter(|record| record.is_of(there, block));
        for file in record.iter().flat_map(|record| &record.files) {
            remove(folder.join(&file.name))?;
        }
    }
    Ok(())
}

/// Removes a file, if it is there.
pub(super) fn remove(path: PathBuf) -> Result<()> {
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::cannot_write(&path, e)),
        _ => Ok(()),
    }
}
