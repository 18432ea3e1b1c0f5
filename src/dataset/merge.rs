//! Shards become one data set: nothing is decoded, and what comes out is what one process would have made.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::folder::{Header, MANIFEST, WORK, not_ours, remove};
use super::record::{BLOCKS, Record, record_path, text_of};
use super::{FORMAT_VERSION, Layout};
use crate::error::{Error, Result, said};
use crate::session::owned::is_ours;
use crate::session::shards::{apart, are_missing, differs};
use crate::session::{Claim, Claiming, Shard};
use crate::table::Provenance;
use crate::whole::write_whole;

/// In a text of pellucid's, that it is one.
const MARK: &str = "<!-- written by pellucid -->";

/// How shards are joined.
pub struct Merging<'a> {
    /// The folder to put them in; without, the one that they are in.
    pub out: Option<&'a Path>,
    /// Whether parts may be computed with different instructions.
    pub mixed: bool,
    /// Who waits, and how long, where another process joins them.
    pub claiming: &'a Claiming<'a>,
}

/// How much there is, and what is to be said of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct All {
    pub blocks: u64,
    pub notes: Value,
}

/// What says that a shard is complete.
#[derive(Deserialize)]
pub(super) struct Complete {
    request: String,
    pub shard: Shard,
    blocks: u64,
    notes: Value,
}

/// The complete shards of the data set in `folder`, in order.
pub(super) fn shards(folder: &Path, header: &Header) -> Vec<Complete> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let found: Complete = serde_json::from_str(&text_of(&entry.path())?).ok()?;
        (format!("{}.json", found.shard.name()) == name && found.request == header.request).then_some(found)
    });
    let mut found: Vec<Complete> = found.collect();
    found.sort_by_key(|found| (found.shard.of, found.shard.index));
    found
}

/// Numbers of the blocks that have a record in `folder`, in order.
pub(super) fn numbered(folder: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(folder.join(BLOCKS)).into_iter().flatten().flatten();
    let number = |entry: std::fs::DirEntry| {
        let block = entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok()?;
        (record_path(folder, block) == entry.path()).then_some(block)
    };
    let mut found: Vec<u64> = entries.filter_map(number).collect();
    found.sort_unstable();
    found
}

/// What the folder itself says of the whole: how many blocks of which corpus.
pub(super) fn all(folder: &Path, header: &Header) -> Result<(Option<All>, u64)> {
    let shards = shards(folder, header);
    let of = shards.first().map_or(1, |first| first.shard.of);
    let mut said = shards.into_iter().map(|s| All { blocks: s.blocks, notes: s.notes });
    let Some(first) = said.next() else {
        let manifest: Option<Value> = text_of(&folder.join(MANIFEST)).and_then(|text| serde_json::from_str(&text).ok());
        let manifest = manifest.filter(|manifest| manifest["request"] == header.request.as_str());
        let whole = manifest.and_then(|mut manifest| {
            let blocks = manifest["blocks"].as_array()?.len() as u64;
            Some(All { blocks, notes: manifest["notes"].take() })
        });
        return Ok((whole, 1));
    };
    if said.any(|other| other != first) {
        return Err(Error::bad_input(format!("the shards in {} do not have the same corpus", folder.display()))
            .hint("its files changed while shards were made; make all of them again"));
    }
    Ok((Some(first), of))
}

/// Joins the shards in `folders`.
///
/// # Errors
/// Shards are missing or damaged; folders hold different data sets; parts were computed with different instructions, and may not be; a
/// folder cannot be read or written.
pub fn merge(folders: &[PathBuf], how: &Merging) -> Result<Whole> {
    let mut headers = vec![];
    for folder in folders {
        let header = Header::read(folder)?.ok_or_else(|| no_data_set(folder))?;
        headers.push(header);
    }
    let (Some(first), Some(header)) = (folders.first(), headers.first().cloned()) else {
        return Err(Error::bad_input("there is nothing to join").hint("name the folder of a data set"));
    };
    for (folder, other) in folders.iter().zip(&headers) {
        if let Some(what) = apart_in(&header, other) {
            return Err(apart(first, folder, what));
        }
    }
    let out = match how.out {
        Some(out) => out,
        None if folders.len() == 1 => first,
        None => return Err(several(folders)),
    };
    let claim = Claim::of(&out.join(WORK).join("merge"), how.claiming)?;
    if let Some(other) = Header::read(out)?.filter(|there| there != &header) {
        return Err(Error::bad_input(format!(
            "{} holds the data set of another request, `{}`",
            out.display(),
            other.command()
        ))
        .hint(said("give another folder with {out}")));
    }
    let mut found = None;
    for folder in folders {
        let (all, of) = all(folder, &header)?;
        match (&found, all) {
            (Some((there, _)), Some(all)) if *there != all => {
                return Err(Error::bad_input(format!(
                    "the shards in {} and {} do not have the same corpus",
                    first.display(),
                    folder.display()
                ))
                .hint("its files changed while shards were made; make all of them again"));
            }
            (None, Some(all)) => found = Some((all, of)),
            _ => {}
        }
    }
    let Some((all, of)) = found else {
        return Err(Error::bad_input(format!("no shard is complete in {}", first.display()))
            .hint(said("let one come to its end, with {resume} where its command has that")));
    };
    let mut missing = BTreeSet::new();
    let mut damaged = None;
    for block in 0..all.blocks {
        match sound(folders, &header, block) {
            Ok(Some((folder, record))) => bring(folder, out, &record, claim.stage())?,
            Ok(None) => _ = missing.insert(block % of),
            Err(name) => {
                missing.insert(block % of);
                damaged.get_or_insert(name);
            }
        }
    }
    if !missing.is_empty() {
        return Err(are_missing(first, &missing, of, damaged.as_deref()));
    }
    header.write(out, claim.stage())?;
    Whole::of(out.to_owned(), header, claim, all, how.mixed)
}

/// The error for parts in several folders, where nobody says which is that of the whole.
pub fn several(folders: &[PathBuf]) -> Error {
    Error::bad_input(format!("parts are in {} folders", folders.len()))
        .hint(said("say with {out} where all of them go"))
}

pub(super) fn no_data_set(folder: &Path) -> Error {
    Error::no_such(format!("there is no data set in {}", folder.display()))
        .hint("name the folder that it was exported to")
}

/// In what two data sets differ, if they do.
fn apart_in(one: &Header, other: &Header) -> Option<&'static str> {
    match () {
        () if one == other => None,
        () if (one.format, &one.pellucid_version) != (other.format, &other.pellucid_version) => Some("the version"),
        () => Some(differs(&one.provenance, &other.provenance)),
    }
}

/// The first folder that has the block as it was written. An error names a file of it that is damaged.
fn sound<'a>(folders: &'a [PathBuf], header: &Header, block: u64) -> Result<Option<(&'a Path, Record)>, String> {
    let mut damaged = None;
    for folder in folders {
        let path = record_path(folder, block);
        match Record::read(&path) {
            None if path.symlink_metadata().is_ok() => damaged = Some(path.display().to_string()),
            None => {}
            Some(record) if !record.is_of(header, block) => damaged = Some(path.display().to_string()),
            Some(record) => match record.altered(folder) {
                None => return Ok(Some((folder, record))),
                Some(file) => damaged = Some(folder.join(&file.name).display().to_string()),
            },
        }
    }
    damaged.map_or(Ok(None), Err)
}

/// Brings a block from one folder to another: by a second name where that is possible, else as a copy.
fn bring(from: &Path, to: &Path, record: &Record, stage: &Path) -> Result<()> {
    let same = |a: &Path, b: &Path| std::fs::canonicalize(a).ok() == std::fs::canonicalize(b).ok();
    if same(from, to) {
        return Ok(());
    }
    let blocks = to.join(BLOCKS);
    std::fs::create_dir_all(&blocks).map_err(|e| Error::cannot_write(&blocks, e))?;
    let path = record_path(Path::new(""), record.block);
    let names = record.files.iter().map(|file| PathBuf::from(&file.name)).chain([path]);
    for name in names {
        let (source, staged, target) = (from.join(&name), stage.join("brought"), to.join(&name));
        if target.exists() && !is_ours(&target) && !name.starts_with(BLOCKS) {
            return Err(not_ours(to, &name.display().to_string()));
        }
        remove(staged.clone())?;
        std::fs::hard_link(&source, &staged)
            .or_else(|_| std::fs::copy(&source, &staged).and_then(|_| std::fs::File::open(&staged)?.sync_all()))
            .map_err(|e| Error::cannot_write(&target, e))?;
        std::fs::rename(&staged, &target).map_err(|e| Error::cannot_write(&target, e))?;
    }
    Ok(())
}

/// A data set of which all blocks are there. Side tables and the manifest are still to be written.
pub struct Whole {
    folder: PathBuf,
    header: Header,
    claim: Claim,
    all: All,
    /// The instructions of its blocks.
    instructions: BTreeSet<String>,
    side: Vec<String>,
}

impl Whole {
    pub(super) fn of(folder: PathBuf, header: Header, claim: Claim, all: All, mixed: bool) -> Result<Self> {
        let mut whole = Self { folder, header, claim, all, instructions: BTreeSet::new(), side: vec![] };
        let mut first: Option<Record> = None;
        let mut instructions = BTreeSet::new();
        for record in whole.records() {
            let record = record?;
            let first = first.get_or_insert_with(|| record.clone());
            if first.instructions != record.instructions && !mixed {
                return Err(Error::bad_input(format!(
                    "block {} was computed with {} instructions and block {} with {}: their numbers are the same only within rounding",
                    first.block, first.instructions, record.block, record.instructions
                ))
                .hint(said("make all shards on processors of one kind, or take them as they are with {mixed}")));
            }
            instructions.insert(record.instructions);
        }
        whole.instructions = instructions;
        Ok(whole)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was asked for.
    pub fn request(&self) -> &Value {
        &self.header.asked
    }

    /// Its columns.
    pub fn layout(&self) -> &Layout {
        &self.header.layout
    }

    /// What there is to say of the corpus, as it was given.
    pub fn notes(&self) -> &Value {
        &self.all.notes
    }

    /// How it was made, for side tables.
    pub fn provenance(&self) -> Provenance {
        let levels: Vec<&str> = self.instructions.iter().map(String::as_str).collect();
        Provenance { instructions: levels.join("+"), ..self.header.provenance.clone() }
    }

    /// The records of its blocks, in order. One is in memory at a time.
    pub fn records(&self) -> impl Iterator<Item = Result<Record>> {
        (0..self.all.blocks).map(|block| {
            let path = record_path(&self.folder, block);
            let record = Record::read(&path).filter(|record| record.is_of(&self.header, block));
            record.ok_or_else(|| {
                Error::io(format!("{} is missing or damaged", path.display()))
                    .hint(said("make it again, with {resume} where its command has that"))
            })
        })
    }

    /// Where a side table called `name` is to be written.
    pub fn file(&mut self, name: &str) -> PathBuf {
        if !self.side.iter().any(|known| known == name) {
            self.side.push(name.to_owned());
        }
        self.claim.stage().join(name)
    }

    /// Writes a page for people, in markdown.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn page(&mut self, name: &str, text: &str) -> Result<()> {
        write_whole(&self.file(name), format!("{}\n\n{MARK}\n", text.trim_end()).as_bytes())
    }

    /// Gives side tables their names and writes the manifest.
    ///
    /// # Errors
    /// Somebody else's file has the name of one; the folder cannot be written.
    pub fn finish(self) -> Result<Manifest> {
        let folder = &self.folder;
        for name in &self.side {
            let path = folder.join(name);
            let page = || text_of(&path).is_some_and(|text| text.contains(MARK));
            if path.symlink_metadata().is_ok() && !is_ours(&path) && !page() {
                return Err(not_ours(folder, name));
            }
        }
        let (mut rows, mut bytes, mut documents, mut tokens) = (0, 0, 0, 0);
        let (mut blocks, mut files) = (vec![], vec![]);
        for record in self.records() {
            let record = record?;
            rows += record.rows;
            bytes += record.files.iter().map(|file| file.bytes).sum::<u64>();
            documents += record.documents.len() as u64;
            tokens += record.documents.iter().map(|document| document.tokens).sum::<u64>();
            files.extend(record.files.iter().map(|file| file.name.clone()));
            blocks.push(json!({"block": record.block, "rows": record.rows, "files": record.files}));
        }
        files.extend(self.side.iter().cloned());
        let manifest = json!({
            "pellucid_version": self.header.pellucid_version,
            "format": FORMAT_VERSION,
            "request": self.header.request,
            "command": self.header.provenance.command,
            "instructions": self.instructions,
            "documents": documents,
            "tokens": tokens,
            "rows": rows,
            "bytes": bytes,
            "asked": self.header.asked,
            "layout": self.header.layout,
            "provenance": self.provenance(),
            "notes": self.all.notes,
            "files": files,
            "blocks": blocks,
        });
        let staged = self.claim.stage().join(MANIFEST);
        write_whole(&staged, format!("{manifest:#}\n").as_bytes())?;
        for name in self.side.iter().map(String::as_str).chain([MANIFEST]) {
            let (from, to) = (self.claim.stage().join(name), folder.join(name));
            std::fs::rename(from, &to).map_err(|e| Error::cannot_write(&to, e))?;
        }
        for shard in shards(folder, &self.header) {
            remove(folder.join(format!("{}.json", shard.shard.name())))?;
        }
        Ok(Manifest { folder: self.folder, files, blocks: self.all.blocks, documents, tokens, rows, bytes })
    }
}

/// What a whole data set has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Where it is.
    pub folder: PathBuf,
    /// Its files: rows, then side tables.
    pub files: Vec<String>,
    /// Blocks of documents.
    pub blocks: u64,
    /// Documents.
    pub documents: u64,
    /// Tokens of documents.
    pub tokens: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of the files of rows.
    pub bytes: u64,
}
