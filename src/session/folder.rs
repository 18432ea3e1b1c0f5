//! Where results go: a folder of its own for each request, whole results only, and a manifest.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::json;

use super::claim::{Claim, Claiming};
use super::owned::{Listed, MANIFEST, Manifest, is_complete, is_ours, is_regular};
use super::shards::Record;
use crate::error::{Error, Result, said};
use crate::whole::write_whole;

/// The folder of one request.
///
/// The same request has the same folder and leaves the same bytes; figures that an earlier run of it drew stay where this one draws
/// fewer. Files are made in a folder of their own inside it, and take
/// their names when all of them are there: until then, and where a run fails, what was there before stays as it was.
///
/// A folder with the results of another request is refused. With `force` they are taken away once the new ones are complete:
/// files that the manifest lists, or that have the name of a new one, and whose content says that pellucid wrote them. A file
/// that anybody else wrote is never touched.
///
/// One process at a time works in a folder ([`Claim`]).
pub struct RunFolder {
    path: PathBuf,
    /// Hash of the request.
    request: String,
    force: bool,
    /// Results, in the order in which they are made.
    files: Vec<String>,
    /// What the manifest says of a shard, where this is one.
    pub shard: Option<Record>,
    /// Where they are until all are there.
    claim: Claim,
    started: Instant,
}

/// The hash of a request: everything that decides the results, such as model, prompts and options.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn request_hash(request: &impl Serialize) -> Result<String> {
    hash_after("", request)
}

/// The hash of `before` and then `request`, which is never held as text.
pub(super) fn hash_after(before: &str, request: &impl Serialize) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before.as_bytes());
    let mut pieces = std::io::BufWriter::new(&mut hasher);
    serde_json::to_writer(&mut pieces, request).map_err(|e| Error::compute(e.to_string()).fault())?;
    pieces.flush()?;
    drop(pieces);
    Ok(hasher.finalize().to_hex().to_string())
}

impl RunFolder {
    /// Makes the folder `path` for the request with this hash, or takes the one that is there. `tables` are the results' names: of a
    /// table such as `patch` the run will write `patch.parquet` and figures such as `patch-z.svg`; any other file has its whole name.
    ///
    /// # Errors
    /// When it cannot be made or written to, holds what is not this run's to replace, or another process is at work in it.
    pub fn create(path: PathBuf, tables: &[&str], request: String, force: bool, claiming: &Claiming) -> Result<Self> {
        if path.exists() && !path.is_dir() {
            return Err(Error::bad_input(format!("{} is a file, and results go to a folder", path.display()))
                .hint(said("give another name[ with {out}|]")));
        }
        // Before anybody waits; files may still change while another run is at work.
        listed(&path, &request, force)?;
        let claim = Claim::of(&path, claiming)?;
        let started = Instant::now();
        // Before an hour of work rather than after it.
        check_before(&path, &request, force, tables)?;
        Ok(Self { path, request, force, files: vec![], shard: None, claim, started })
    }

    /// Whether another process was at work in the folder first, and this one waited for it.
    pub fn waited(&self) -> bool {
        self.claim.waited()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a result called `name` is to be written, which is listed in the manifest and gets its name in the folder when all
    /// results are there.
    pub fn file(&mut self, name: &str) -> PathBuf {
        if !self.files.iter().any(|known| known == name) {
            self.files.push(name.to_owned());
        }
        self.claim.stage().join(name)
    }

    /// Writes a whole file under a temporary name and renames it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        write_whole(&self.file(name), bytes)
    }

    /// Gives the results their names, takes away those that they replace, and writes `manifest.json`: what differs between two
    /// runs of one request (times, machine), and what was written.
    ///
    /// # Errors
    /// When a file cannot be written, or is not this run's to replace. Then no file has another content than before.
    pub fn finish(self, command: &[String]) -> Result<Finished> {
        let old = listed(&self.path, &self.request, self.force)?;
        for name in &self.files {
            check(&self.path, name, &old, self.force)?;
        }
        let drawn = drawn_before(&self.path, &self.request)?;
        let stays =
            |old: &Listed| !self.files.contains(&old.name) && drawn.contains(&old.name) && old.is_at(&self.path);
        let (stay, old): (Vec<Listed>, Vec<Listed>) = old.into_iter().partition(stays);
        let mut replaced: Vec<&Listed> = old.iter().filter(|old| !self.files.contains(&old.name)).collect();
        replaced.retain(|old| old.is_at(&self.path));
        // First, so that whatever happens while files get their names, all of them are listed, and the next run can replace them.
        self.write_manifest(command, &old, &stay)?;
        for old in &replaced {
            let path = self.path.join(&old.name);
            fs_err::remove_file(&path).map_err(|e| Error::cannot_write(&path, e))?;
        }
        for name in &self.files {
            let (from, to) = (self.claim.stage().join(name), self.path.join(name));
            fs_err::rename(from, &to).map_err(|e| Error::cannot_write(&to, e))?;
        }
        if !old.is_empty() {
            self.write_manifest(command, &[], &stay)?;
        }
        Ok(Finished { path: self.path, files: self.files, _claim: self.claim })
    }

    /// As [`finish`](Self::finish), with results that are not complete, since the run was stopped. Complete ones that are there stay
    /// as they are; then the answer is none.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_stopped(self, command: &[String]) -> Result<Option<Finished>> {
        let old = listed(&self.path, &self.request, self.force)?;
        let there = old.iter().map(|old| &old.name).chain(&self.files);
        match there.into_iter().any(|name| is_complete(&self.path.join(name))) {
            true => Ok(None),
            false => self.finish(command).map(Some),
        }
    }

    /// Lists the files of this run, those of others that may still be there, and figures of earlier runs that stay.
    fn write_manifest(&self, command: &[String], others: &[Listed], stay: &[Listed]) -> Result<()> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut manifest = json!({
            "pellucid_version": env!("CARGO_PKG_VERSION"),
            "request": self.request,
            "command": command,
            "files": self.files,
            "finished_unix_s": since_1970.as_secs(),
            "elapsed_s": self.started.elapsed().as_secs_f64(),
            "machine": {
                "os": std::env::consts::OS,
                "arch": std::env::consts::ARCH,
                "threads": rayon::current_num_threads(),
            },
        });
        if let Some(shard) = &self.shard {
            manifest["shard"] = json!(shard);
        }
        for (what, files) in [("replaces", others), ("drawn_before", stay)] {
            if !files.is_empty() {
                let one = |old: &Listed| json!({"name": old.name, "command": old.command});
                manifest[what] = files.iter().map(one).collect();
            }
        }
        // Made where nothing of it can be left behind.
        let made = self.claim.stage().join(MANIFEST);
        write_whole(&made, format!("{manifest:#}\n").as_bytes())?;
        let path = self.path.join(MANIFEST);
        fs_err::rename(made, &path).map_err(|e| Error::cannot_write(&path, e))
    }
}

/// Whether the folder `path` holds all results of the request with this hash, each as whole as its manifest says.
pub fn is_whole(path: &Path, request: &str) -> bool {
    let Ok(Some(manifest)) = Manifest::read(&path.join(MANIFEST)) else { return false };
    let is_there = |file: &Listed| file.is_at(path) && is_complete(&path.join(&file.name));
    manifest.request.as_deref() == Some(request) && !manifest.files.is_empty() && manifest.files.iter().all(is_there)
}

/// The files that the manifest of `path` lists, of this request or, with `force`, of any.
fn listed(path: &Path, request: &str, force: bool) -> Result<Vec<Listed>> {
    match Manifest::read(&path.join(MANIFEST))? {
        None => Ok(vec![]),
        Some(old) if force || old.request.as_deref() == Some(request) => Ok(old.files),
        Some(old) => {
            Err(Error::bad_input(format!("{} holds the results of another request, {}", path.display(), old.command))
                .hint(said("give another folder[ with {out}|][, or replace them with {force}|]")))
        }
    }
}

/// Figures in `path` that earlier runs of the request with this hash drew: how many are drawn is no part of a request, and whoever asks for
/// fewer does not ask for the others to go.
fn drawn_before(path: &Path, request: &str) -> Result<Vec<String>> {
    let old = Manifest::read(&path.join(MANIFEST))?.filter(|old| old.request.as_deref() == Some(request));
    // What a stopped run drew is of a part of the results.
    let is_whole = |old: &Listed| !old.name.ends_with(".parquet") || is_complete(&path.join(&old.name));
    Ok(old.filter(|old| old.files.iter().all(is_whole)).map_or(vec![], |old| old.drawn))
}

/// Refuses a folder in which a run would have to replace what is not its own.
fn check_before(path: &Path, request: &str, force: bool, tables: &[&str]) -> Result<()> {
    let old = listed(path, request, force)?;
    let no_manifest = !path.join(MANIFEST).exists();
    let mut entries: Vec<String> = (std::fs::read_dir(path).into_iter().flatten().flatten())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    entries.sort_unstable();
    // Which figures there will be is not known yet: without a manifest every name that one could have counts.
    let may_be = |name: &str, table: &str| match name.strip_prefix(table) {
        Some("") => true,
        _ if table.contains('.') => false,
        Some(".parquet" | ".svg") => true,
        Some(rest) => no_manifest && rest.starts_with('-') && rest.ends_with(".svg"),
        None => false,
    };
    let mut ours = entries.iter().filter(|name| tables.iter().any(|table| may_be(name, table)));
    ours.try_for_each(|name| check(path, name, &old, force))
}

/// Refuses to replace a file that a run may not replace; `old` are those of the manifest.
fn check(folder: &Path, name: &str, old: &[Listed], force: bool) -> Result<()> {
    let path = folder.join(name);
    // Nothing is there, not even a link to nothing.
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let shown = folder.display();
    if !is_regular(&path) || !is_ours(&path) {
        return Err(Error::bad_input(format!(
            "{shown} holds {name}, which is damaged or no file of pellucid's, and the results would have that name"
        ))
        .hint(said("[give another folder with {out}, or move|move] that file away")));
    }
    match force || old.iter().any(|listed| listed.name == name && listed.is_at(folder)) {
        true => Ok(()),
        false => Err(Error::bad_input(format!(
            "{shown} holds {name}, and no manifest there says that this request wrote it"
        ))
        .hint(said("give another folder[ with {out}|][, or replace it with {force}|]"))),
    }
}

/// A folder that holds all results of its request. No other process works in it as long as this value lives.
pub struct Finished {
    /// The folder.
    pub path: PathBuf,
    /// The results in it, in the order in which they were made.
    pub files: Vec<String>,
    _claim: Claim,
}
