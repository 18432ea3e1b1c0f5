//! Shards of a run: each leaves the rows of its blocks in a folder of its own, `FOLDER/shard-3-of-16`, until all of them are joined.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::claim::is_at_work;
use super::owned::{MANIFEST, Manifest, is_as_written, is_complete, open_regular, provenance_of, size_and_hash};
use super::pieces::{LIST, Pieces};
use super::words::shell;
use super::{Shard, Sink};
use crate::error::{Error, Result, said};
use crate::sweep::{BLOCK, Watch};
use crate::table::read::read_provenance;
use crate::table::{Cell, Provenance, Row, Rows, TableFile};

/// Makes of the shards of an analysis what one process makes.
pub type Join = fn(&Shards, &mut Sink<'_>) -> Result<()>;

/// What the manifest of a shard says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The analysis.
    pub analysis: String,
    /// Hash of the whole request.
    pub request: String,
    /// Which shard of it.
    pub shard: Shard,
    /// Pairs or prompts of the whole request.
    pub items: usize,
    /// The file with its rows, or the list of its pieces.
    pub table: String,
    /// How long that is.
    pub bytes: u64,
    /// The hash of it, in hexadecimal.
    pub blake3: String,
    /// Whether it has all of its rows: it was not stopped.
    pub complete: bool,
    /// What the analysis knows beside its rows.
    pub told: Value,
}

impl Record {
    /// With the size and hash of its table, which is at `path`.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn measured(self, path: &Path) -> Result<Self> {
        let measured = std::fs::File::open(path).and_then(size_and_hash);
        let (bytes, blake3) = measured.map_err(|e| Error::cannot_read(path, e))?;
        Ok(Self { bytes, blake3, ..self })
    }

    /// What the manifest in `folder` says of the shard there; none where there is none, or it is damaged.
    fn read(folder: &Path) -> Option<(Self, Vec<String>)> {
        let file = open_regular(&folder.join(MANIFEST)).ok()??;
        let manifest: Value = serde_json::from_reader(std::io::BufReader::new(file?)).ok()?;
        let record: Self = serde_json::from_value(manifest["shard"].clone()).ok()?;
        let plain = Path::new(&record.table).file_name() == Some(record.table.as_ref());
        let ours = plain && folder.ends_with(record.shard.name());
        ours.then(|| Some((record, serde_json::from_value(manifest["command"].clone()).ok()?)))?
    }

    /// How the table in `folder` was made.
    fn made(&self, folder: &Path) -> Result<Provenance> {
        let path = folder.join(&self.table);
        let said = provenance_of(&path).and_then(|said| serde_json::from_value(said).ok());
        said.map_or_else(|| read_provenance(&path), Ok)
    }

    /// Whether the table in `folder` is as it was written. Without `hashes`, its size alone is compared.
    fn is_whole(&self, folder: &Path, hashes: bool) -> bool {
        is_as_written(&folder.join(&self.table), (self.bytes, &self.blake3), hashes)
            && (self.table != LIST || Pieces::are_whole(folder, hashes))
    }
}

/// The folder of `shard` in `folder`, the results of the request with this hash.
///
/// # Errors
/// When results or shards of another request are there, or shards of another number of parts.
pub fn place(folder: &Path, request: &str, shard: Shard) -> Result<PathBuf> {
    let shown = folder.display();
    let refused = |what: String| Err(Error::bad_input(what).hint(said("give another folder with {out}")));
    if let Some(there) = Manifest::read(&folder.join(MANIFEST))?.filter(|m| m.request.as_deref() != Some(request)) {
        return refused(format!("{shown} holds the results of another request, {}", there.command));
    }
    for (path, other) in found(&[folder.to_owned()]) {
        match Record::read(&path) {
            Some((record, command)) if record.request != request => {
                return refused(format!("{shown} holds shards of another request, `{}`", shell(&command)));
            }
            _ if other.of != shard.of => {
                return refused(format!("{shown} holds shards of {} parts, and this is one of {}", other.of, shard.of));
            }
            _ => {}
        }
    }
    Ok(folder.join(shard.name()))
}

/// Whether the shard of this request in its folder `path` is complete, as it was written.
pub fn is_done(path: &Path, request: &str) -> bool {
    Record::read(path)
        .is_some_and(|(record, _)| record.complete && record.request == request && record.is_whole(path, true))
}

/// The folders of shards in `folders`, in order.
fn found(folders: &[PathBuf]) -> Vec<(PathBuf, Shard)> {
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let shard = |entry: std::fs::DirEntry| {
        let shard = Shard::named(entry.file_name().to_str()?)?;
        entry.path().is_dir().then(|| (entry.path(), shard))
    };
    let mut found: Vec<(PathBuf, Shard)> = entries.filter_map(shard).collect();
    found.sort_by_key(|(_, shard)| (shard.of, shard.index));
    found
}

/// Whether there are shards of an analysis in `folders`.
pub fn are_in(folders: &[PathBuf]) -> bool {
    !found(folders).is_empty()
}

/// All shards of a request.
pub struct Shards {
    /// In order.
    parts: Vec<(PathBuf, Record)>,
    provenance: Provenance,
}

impl Shards {
    /// The shards in `folders`, which may be `mixed`: computed with different instructions.
    ///
    /// # Errors
    /// Shards are missing or damaged, or of different requests, models, versions or instructions.
    pub fn open(folders: &[PathBuf], mixed: bool) -> Result<Self> {
        let found = found(folders);
        let of = found.first().map_or(1, |(_, shard)| shard.of);
        if let Some((path, other)) = found.iter().find(|(_, shard)| shard.of != of) {
            return Err(Error::bad_input(format!(
                "{} is a shard of {} parts, and others are of {of}",
                path.display(),
                other.of
            ))
            .hint("move away what does not belong to the others"));
        }
        let mut parts: BTreeMap<u64, (PathBuf, Record)> = BTreeMap::new();
        let (mut damaged, mut first): (Option<String>, Option<(PathBuf, Record)>) = (None, None);
        for (path, shard) in found {
            let Some((record, _)) = Record::read(&path) else {
                let manifest = path.join(MANIFEST);
                damaged = damaged.or(manifest.exists().then(|| manifest.display().to_string()));
                continue;
            };
            let (one, there) = first.get_or_insert_with(|| (path.clone(), record.clone()));
            let of = |record: &Record| (record.analysis.clone(), record.request.clone(), record.items);
            if of(there) != of(&record) {
                let what = there.made(one).and_then(|one| Ok(differs(&one, &record.made(&path)?)));
                return Err(apart(one, &path, what.unwrap_or("the request")));
            }
            match record.is_whole(&path, true) {
                _ if !record.complete => {}
                true => _ = parts.entry(shard.index).or_insert((path, record)),
                false => damaged = damaged.or(Some(path.join(&record.table).display().to_string())),
            }
        }
        let missing: BTreeSet<u64> = (0..of).filter(|index| !parts.contains_key(index)).collect();
        if !missing.is_empty() {
            return Err(are_missing(&folders[0], &missing, of, damaged.as_deref()));
        }
        let parts: Vec<(PathBuf, Record)> = parts.into_values().collect();
        let mut levels = BTreeSet::new();
        let mut whole: Option<(PathBuf, Provenance)> = None;
        for (path, record) in &parts {
            let own = record.made(path)?;
            let (first, there) = whole.get_or_insert_with(|| (path.clone(), own.clone()));
            if own.pellucid_version != there.pellucid_version {
                return Err(apart(first, path, "the version"));
            }
            if own.instructions != there.instructions && !mixed {
                return Err(Error::bad_input(format!(
                    "{} was computed with {} instructions and {} with {}: their numbers are the same only within rounding",
                    first.display(),
                    there.instructions,
                    path.display(),
                    own.instructions
                ))
                .hint(said("make all shards on processors of one kind, or take them as they are with {mixed}")));
            }
            levels.insert(own.instructions);
        }
        let (path, whole) = whole.ok_or_else(|| Error::compute("a request has no shards").fault())?;
        let (theirs, ours) = (&whole.pellucid_version, env!("CARGO_PKG_VERSION"));
        if theirs != ours {
            let what = format!("version {theirs} of pellucid made {}, and this is {ours}", path.display());
            return Err(Error::bad_input(what).hint("join them with the version that made them"));
        }
        let instructions = levels.into_iter().collect::<Vec<_>>().join("+");
        Ok(Self { parts, provenance: Provenance { shard: None, instructions, ..whole } })
    }

    /// What the first says of itself.
    pub fn record(&self) -> &Record {
        &self.parts[0].1
    }

    /// The folder of each.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|(path, _)| path.as_path())
    }

    /// How the whole is made.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// What each shard knows beside its rows.
    ///
    /// # Errors
    /// A manifest does not say it.
    pub fn told<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        let told = |(path, record): &(PathBuf, Record)| {
            let told = serde_json::from_value(record.told.clone());
            told.map_err(|e| damaged(&path.join(MANIFEST), &e.to_string()))
        };
        self.parts.iter().map(told).collect()
    }

    /// Gives all rows to `f`, block after block. The first column of the table is the number of the pair or prompt.
    ///
    /// # Errors
    /// A table cannot be read, or has rows of other blocks than its shard's; what `watch` or `f` says.
    pub fn rows<R: Row>(&self, watch: &dyn Watch, f: &mut dyn FnMut(R) -> Result<()>) -> Result<()> {
        let item = R::TABLE.columns[0].name;
        let mut tables = vec![];
        for (path, record) in &self.parts {
            let path = path.join(&record.table);
            let mut table = TableFile::<R>::open(&path)?;
            // Where the rows of each of its blocks end.
            let (mut ends, mut n): (Vec<(usize, usize)>, usize) = (vec![], 0);
            table.cells(0..table.len(), &[item], &mut |cells| {
                let Some(Cell::U32(number)) = cells.first() else { return Err(damaged(&path, "a row has no number")) };
                let (number, block) = (*number as usize, *number as usize / BLOCK);
                n += 1;
                let (last, own) = (ends.last().map(|(last, _)| *last), record.shard.has(block as u64));
                match ends.last_mut() {
                    Some((last, end)) if *last == block => *end = n,
                    _ if own && number < self.record().items && last.is_none_or(|last| last < block) => {
                        ends.push((block, n));
                    }
                    _ => return Err(damaged(&path, &format!("it has a row of {item} {number}"))),
                }
                Ok(())
            })?;
            tables.push((table, ends.into_iter().peekable(), 0));
        }
        let blocks = self.record().items.div_ceil(BLOCK);
        for block in 0..blocks {
            watch.at(block, blocks)?;
            let of = tables.len();
            let (table, ends, from) = &mut tables[block % of];
            if let Some((_, end)) = ends.next_if(|(own, _)| *own == block) {
                table.rows(*from..end, f)?;
                *from = end;
            }
        }
        watch.at(blocks, blocks)
    }
}

fn damaged(path: &Path, how: &str) -> Error {
    Error::bad_input(format!("{} is damaged: {how}", path.display())).hint("make this shard again")
}

/// The error for folders with parts of different things.
pub(crate) fn apart(one: &Path, other: &Path, what: &str) -> Error {
    Error::bad_input(format!("{} and {} are no parts of one whole: {what} differs", one.display(), other.display()))
        .hint("join parts that one command made, each with its shard")
}

/// In what two requests differ.
pub(crate) fn differs(one: &Provenance, other: &Provenance) -> &'static str {
    let of = |p: &Provenance| (p.model.clone(), p.weights_hash.clone(), p.revision.clone());
    match () {
        () if one.pellucid_version != other.pellucid_version => "the version",
        () if of(one) != of(other) => "the model",
        () => "the request",
    }
}

/// The error for shards that are not in `folder`; a file of one may be damaged.
pub(crate) fn are_missing(folder: &Path, missing: &BTreeSet<u64>, of: u64, damaged: Option<&str>) -> Error {
    let (list, why) = (spec(missing), damaged.map_or_else(String::new, |name| format!(" ({name} is damaged)")));
    let what = match (of, missing.len()) {
        (1, _) => format!("{} is not complete{why}", folder.display()),
        (_, 1) => format!("shard {list} of {of} is missing{why}"),
        _ => format!("shards {list} of {of} are missing{why}"),
    };
    Error::bad_input(what).hint(said("run what is missing, with {resume} where its command has that, and join again"))
}

/// Numbers as an array job takes them: `3,7-9`.
fn spec(numbers: &BTreeSet<u64>) -> String {
    let mut runs: Vec<(u64, u64)> = vec![];
    for n in numbers {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == *n => *end = *n,
            _ => runs.push((*n, *n)),
        }
    }
    let run = |(from, to): &(u64, u64)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

/// What is there of the shards of an analysis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShardsStatus {
    /// Where they are.
    pub folder: PathBuf,
    /// The command that makes the whole; none as long as no shard came to an end.
    pub command: Vec<String>,
    /// Each shard, in order.
    pub shards: Vec<OneShard>,
    /// Whether they were joined.
    pub complete: bool,
}

/// How far a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OneShard {
    /// Which one.
    pub shard: Shard,
    /// What is there of it.
    pub state: State,
    /// Whether a process is at work on it, on this machine or on one that shares its locks.
    pub at_work: bool,
}

/// What is there of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All of it.
    Complete,
    /// What a stopped run left, if anything.
    Incomplete,
    /// A table or manifest that is not as it was written.
    Damaged,
    /// Nothing.
    Missing,
}

/// What is there of the shards in `folder`. With `hashes`, every table is read; else sizes are compared.
///
/// # Errors
/// What has the name of a manifest is none of pellucid's.
pub fn status(folder: &Path, hashes: bool) -> Result<ShardsStatus> {
    let (mut command, mut request, mut shards) = (vec![], None, vec![]);
    let there = found(&[folder.to_owned()]);
    let of: BTreeSet<u64> = there.iter().map(|(_, shard)| shard.of).collect();
    for shard in of.into_iter().flat_map(|of| (0..of).map(move |index| Shard { index, of })) {
        let path = folder.join(shard.name());
        let state = match Record::read(&path) {
            None if !path.is_dir() => State::Missing,
            None if path.join(MANIFEST).exists() => State::Damaged,
            None => State::Incomplete,
            Some((record, own)) => {
                let state = match () {
                    () if !record.complete => State::Incomplete,
                    () if record.is_whole(&path, hashes) => State::Complete,
                    () => State::Damaged,
                };
                (command, request) = (own, Some(record));
                state
            }
        };
        shards.push(OneShard { shard, state, at_work: is_at_work(&path) });
    }
    let manifest = Manifest::read(&folder.join(MANIFEST))?;
    let whole = |m: Manifest| m.files.iter().any(|file| is_complete(&folder.join(&file.name)));
    let joined = |record: Record| manifest.is_some_and(|m| m.request == Some(record.request) && whole(m));
    Ok(ShardsStatus { folder: folder.to_owned(), command, shards, complete: request.is_some_and(joined) })
}
