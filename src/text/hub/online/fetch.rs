//! One file from the Hub into the cache: resumed where it broke off, checked, and there under its name only when it is whole.
//!
//! The unfinished file is `blobs/<etag>.incomplete`. Where a disk's locks do nothing, two processes may write it at once: they
//! write the same bytes at the same places, so neither may ever make it shorter. What is of no use is removed instead.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;

use super::check::is_whole;
use super::client::{Client, Facts};
use super::wait::{PAUSES, Trouble, patiently, pause, pieces};
use crate::error::{Error, Result, said};
use crate::text::hub::cache::{GLANCE, Repo};

/// Called with the number of bytes that are there; its error ends the download.
pub(super) type Tick<'a> = dyn FnMut(u64) -> Result<()> + 'a;

/// A file to fetch.
pub(super) struct Job<'a> {
    pub client: &'a Client,
    pub repo: &'a Repo,
    pub commit: &'a str,
    pub name: &'a str,
    pub facts: &'a Facts,
    /// The most that is fetched where the Hub does not say how much there is. In bytes.
    pub limit: u64,
}

impl Job<'_> {
    /// Fetches it, unless its bytes are there already, and gives it its name.
    ///
    /// # Errors
    /// When the server does not give it, it is not what it should be, it cannot be written, or `tick` ends it. What arrived
    /// stays, for the next time.
    pub fn run(&self, tick: &mut Tick) -> Result<()> {
        let etag = &self.facts.etag;
        let blob = self.repo.blob(etag);
        if !blob.is_file() {
            self.repo.prepare(&blob)?;
            let _lock = self.repo.lock(etag, &mut || tick(0))?;
            // Somebody else may have fetched it in the meantime.
            if !blob.is_file() {
                self.download(&blob, tick)?;
            }
        }
        self.repo.point(self.commit, self.name, etag)
    }

    fn download(&self, blob: &Path, tick: &mut Tick) -> Result<()> {
        let part = PathBuf::from(format!("{}.incomplete", blob.display()));
        loop {
            let resumed = length(&part) > 0;
            let had = self.fill(&part, tick)?;
            if is_whole(&part, &self.facts.etag, &mut || tick(had))? {
                return self.keep(&part, blob);
            }
            self.remove(&part)?;
            // Perhaps it was the earlier half that was wrong.
            if !resumed {
                return Err(self.damaged());
            }
        }
    }

    /// Fetches what the unfinished file lacks, in as many attempts as that needs. Returns its length.
    fn fill(&self, part: &Path, tick: &mut Tick) -> Result<u64> {
        let unwritable = |e| self.repo.unwritable(part, e);
        let (mut tries, mut reached) = (0, false);
        loop {
            let mut file = File::options().create(true).truncate(false).write(true).open(part).map_err(unwritable)?;
            let have = length(part);
            if self.facts.size == Some(have) {
                return Ok(have);
            }
            if self.facts.size.is_some_and(|size| have > size) {
                self.remove(part)?;
                continue;
            }
            let trouble = match self.append(&mut file, part, have, tick)? {
                Ok(Some(had)) => return Ok(had),
                Ok(None) => {
                    self.remove(part)?;
                    continue;
                }
                Err(trouble) => trouble,
            };
            if length(part) > have {
                (tries, reached) = (0, true);
            }
            match (trouble, PAUSES.get(tries)) {
                (Trouble::Passing(_), Some(time)) => pause(*time, &mut || tick(length(part)))?,
                (Trouble::Unreachable(_), Some(time)) if reached => pause(*time, &mut || tick(length(part)))?,
                (trouble, _) => return Err(trouble.into_error()),
            }
            tries += 1;
        }
    }

    /// One attempt: the file's length when it is whole, none when the server has nothing after what is there. The outer
    /// error is ours, the inner the network's.
    fn append(&self, file: &mut File, part: &Path, have: u64, tick: &mut Tick) -> Result<Result<Option<u64>, Trouble>> {
        let (client, commit, name) = (self.client.clone(), self.commit.to_owned(), self.name.to_owned());
        let rest = match patiently(&mut || tick(have), move || client.rest(&commit, &name, have))? {
            Ok(Some(rest)) => rest,
            Ok(None) if have > 0 => return Ok(Ok(None)),
            Ok(None) => return Err(self.damaged()),
            Err(trouble) => return Ok(Err(trouble)),
        };
        let unwritable = |e| self.repo.unwritable(part, e);
        let mut at = rest.from;
        file.seek(SeekFrom::Start(at)).map_err(unwritable)?;
        let pieces = pieces(rest.bytes)?;
        loop {
            match pieces.recv_timeout(GLANCE) {
                Ok(Ok(piece)) => {
                    at += piece.len() as u64;
                    if at > self.facts.size.unwrap_or(self.limit) {
                        self.remove(part)?;
                        return Err(if self.facts.size.is_some() { self.damaged() } else { self.too_large(at) });
                    }
                    file.write_all(&piece).map_err(unwritable)?;
                }
                Ok(Err(e)) => return Ok(Err(self.client.broke(&e))),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            tick(at)?;
        }
        match self.facts.size {
            Some(size) if at < size => {
                let short =
                    std::io::Error::new(std::io::ErrorKind::UnexpectedEof, format!("{at} of {size} bytes came"));
                Ok(Err(self.client.broke(&short)))
            }
            _ => Ok(Ok(Some(at))),
        }
    }

    /// Gives the whole file its name, once its bytes are safe.
    fn keep(&self, part: &Path, blob: &Path) -> Result<()> {
        let kept =
            File::options().write(true).open(part).and_then(|f| f.sync_all()).and_then(|()| fs::rename(part, blob));
        match kept {
            Err(e) if !blob.is_file() => Err(self.repo.unwritable(blob, e)),
            // Or somebody did who holds a lock that holds nobody.
            _ => Ok(()),
        }
    }

    fn remove(&self, part: &Path) -> Result<()> {
        match fs::remove_file(part) {
            Err(e) if part.exists() => Err(self.repo.unwritable(part, e)),
            _ => Ok(()),
        }
    }

    fn too_large(&self, at: u64) -> Error {
        let (name, had) = (self.name, at as f64 / 1e9);
        Error::io(format!("{name} has no end: the Hub does not say how large it is, and {had:.3} GB have come"))
            .hint(said("if it is that large, let more be fetched with {fetch_limit}; else check HF_ENDPOINT"))
    }

    fn damaged(&self) -> Error {
        let (Facts { etag, .. }, name) = (self.facts, self.name);
        Error::io(format!("{name} did not arrive as the Hub has it: its length or its checksum {etag} is not right"))
            .hint("try again; if it stays so, something between here and the Hub changes files")
    }
}

fn length(part: &Path) -> u64 {
    fs::metadata(part).map_or(0, |m| m.len())
}
