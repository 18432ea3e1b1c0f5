//! What a long sweep has done so far: a journal of its waves, so that a run that was stopped goes on where it was.
//!
//! `parts.journal` lies beside the results until they are complete. Its first line says what it is and of which request; each further
//! line is one wave, `<blake3> <JSON>`. The hash is over the request's hash, the number of the line and the JSON, so that a number
//! that was changed, a line that was taken out or put elsewhere, and one of another journal are found. A last line without its end,
//! which a run that was killed leaves, is dropped, and its wave is computed again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::folder::hash_after;
use super::lock::not_ours;
use super::owned::open_regular;
use crate::error::{Error, Result, said};
use crate::sweep::{Keep, Measured};
use crate::whole::temporary_beside;

/// What the journal is called.
const NAME: &str = "parts.journal";
/// How it begins; the request follows on the same line.
pub(super) const FIRST: &str = "pellucid parts 1 ";
/// Waves are written at once, and pushed to the disk as often as this: a machine that loses power loses no more.
const SYNC: Duration = Duration::from_secs(1);
/// Characters of a hash.
const HASH: usize = 64;

/// Finished waves of one request.
#[derive(Debug)]
pub struct Parts {
    path: PathBuf,
    /// Hash of the request, and of the instructions that compute it.
    request: String,
    /// The journal, once there is one.
    journal: Option<Journal>,
}

#[derive(Debug)]
struct Journal {
    file: File,
    /// Where each wave stands, by group and number.
    waves: HashMap<(usize, usize), Line>,
    /// How long the journal is.
    end: u64,
    /// Lines of waves.
    lines: u64,
    synced: Instant,
}

/// A line of the journal: its number, where its JSON begins, and how long that is.
#[derive(Clone, Copy, Debug)]
struct Line {
    number: u64,
    start: u64,
    len: usize,
}

#[derive(Serialize, Deserialize)]
struct Wave<M> {
    group: usize,
    wave: usize,
    measured: M,
}

impl Parts {
    /// The parts of `request` in the folder of its results. Those of an earlier run are used if `resume`, and else thrown away; those
    /// of another request only with `force`.
    ///
    /// # Errors
    /// When there is something to go on with but not to resume from, or parts of another request; and when what is there was changed,
    /// or is not pellucid's.
    pub fn open(folder: &Path, request: &impl Serialize, resume: bool, force: bool) -> Result<Self> {
        let path = folder.join(NAME);
        // Waves of other instructions would be right within rounding, and the whole not what one machine gives.
        let request = hash_after(&format!("{} ", crate::model::instructions()), request)?;
        let mut parts = Self { path, request, journal: None };
        let Some(found) = open_regular(&parts.path).map_err(|e| Error::cannot_read(&parts.path, e))? else {
            return if resume { Err(nothing_to_resume(folder)) } else { Ok(parts) };
        };
        let file = found.ok_or_else(|| not_ours(folder, NAME))?;
        let mut lines = BufReader::new(file);
        let mut first = vec![];
        // A first line of ours is short.
        lines.by_ref().take(1 << 10).read_until(b'\n', &mut first).map_err(|e| Error::cannot_read(&parts.path, e))?;
        let theirs = std::str::from_utf8(&first).ok().and_then(|line| line.strip_prefix(FIRST)?.strip_suffix('\n'));
        let Some(theirs) = theirs.filter(|hash| hash.len() == HASH) else { return Err(not_ours(folder, NAME)) };
        let shown = parts.path.display();
        match (theirs == parts.request, resume) {
            (true, true) => {
                // All of it now: what is wrong is said before anything runs.
                parts.journal =
                    Some(Journal::read(lines, first.len() as u64, &parts.request).map_err(|wrong| match wrong {
                        Wrong::Io(e) => Error::cannot_read(&parts.path, e),
                        Wrong::Line(n) => damaged(&parts.path, n),
                    })?);
                Ok(parts)
            }
            (false, true) => Err(Error::bad_input(format!("{shown} has the parts of another request")).hint(said(
                "resume with the command that was stopped, {memory} included, on a machine with the same instructions",
            ))),
            (false, false) if !force => {
                Err(Error::bad_input(format!("{shown} has the parts of another request, which was stopped"))
                    .hint(said("give another folder with {out}, or throw them away with {force}")))
            }
            _ => {
                fs_err::remove_file(&parts.path).map_err(|e| Error::cannot_write(&parts.path, e))?;
                Ok(parts)
            }
        }
    }

    /// Whether a stopped run left something in the folder.
    pub fn are_in(folder: &Path) -> bool {
        folder.join(NAME).symlink_metadata().is_ok()
    }

    /// Throws all parts away: the results are whole.
    pub fn clear(&mut self) {
        if self.journal.take().is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// The hash of the line `number` with this JSON.
    fn hash(request: &str, number: u64, json: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(request.as_bytes()).update(&number.to_le_bytes()).update(json);
        hasher.finalize()
    }
}

/// What is wrong with a journal.
enum Wrong {
    Io(io::Error),
    /// This line is not what was written there, the first wave's being 1.
    Line(u64),
}

impl From<io::Error> for Wrong {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl Journal {
    /// A journal for `request` at `path`, where nothing is. It has its name when its first line is there.
    fn create(path: &Path, request: &str) -> Result<Self> {
        let failed = |e| Error::cannot_write(path, e);
        let file = temporary_beside(path)?;
        let first = format!("{FIRST}{request}\n");
        file.as_file().write_all(first.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        let file = file.persist_noclobber(path).map_err(|e| failed(e.error))?;
        Ok(Self { file, waves: HashMap::new(), end: first.len() as u64, lines: 0, synced: Instant::now() })
    }

    /// Reads all lines after the first, which ends at `end`, and takes away a last one that was not finished.
    fn read(mut lines: BufReader<File>, mut end: u64, request: &str) -> Result<Self, Wrong> {
        let (mut waves, mut number, mut line) = (HashMap::new(), 0, vec![]);
        loop {
            line.clear();
            let len = lines.read_until(b'\n', &mut line)? as u64;
            if line.pop() != Some(b'\n') {
                break;
            }
            number += 1;
            let wrong = || Wrong::Line(number);
            let (hash, json) = line.split_at_checked(HASH + 1).ok_or_else(wrong)?;
            let right = Parts::hash(request, number, json).to_hex();
            if hash != format!("{right} ").as_bytes() {
                return Err(wrong());
            }
            let wave: Wave<serde::de::IgnoredAny> = serde_json::from_slice(json).map_err(|_| wrong())?;
            let start = end + (HASH + 1) as u64;
            waves.insert((wave.group, wave.wave), Line { number, start, len: json.len() });
            end += len;
        }
        let mut file = lines.into_inner();
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        Ok(Self { file, waves, end, lines: number, synced: Instant::now() })
    }

    fn add(&mut self, request: &str, group: usize, wave: usize, measured: &[Measured]) -> io::Result<()> {
        let json = serde_json::to_vec(&Wave { group, wave, measured })?;
        let mut line = format!("{} ", Parts::hash(request, self.lines + 1, &json).to_hex()).into_bytes();
        line.extend(json);
        line.push(b'\n');
        // A wave that did not get onto the disk whole is no line, and the next is not written behind it.
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&line)?;
        self.lines += 1;
        self.end += line.len() as u64;
        if self.synced.elapsed() > SYNC {
            self.file.sync_data()?;
            self.synced = Instant::now();
        }
        Ok(())
    }

    fn get(&mut self, line: Line, request: &str) -> Result<Vec<Measured>, Wrong> {
        let mut json = vec![0; line.len];
        self.file.seek(SeekFrom::Start(line.start - (HASH + 1) as u64))?;
        let mut hash = [0; HASH + 1];
        self.file.read_exact(&mut hash)?;
        self.file.read_exact(&mut json)?;
        let right = Parts::hash(request, line.number, &json).to_hex();
        let wave: Option<Wave<Vec<Measured>>> = serde_json::from_slice(&json).ok();
        match wave {
            Some(wave) if hash[..HASH] == *right.as_bytes() => Ok(wave.measured),
            _ => Err(Wrong::Line(line.number)),
        }
    }
}

pub(super) fn nothing_to_resume(folder: &Path) -> Error {
    let shown = folder.display();
    // How versions before this one kept waves. They are left to whoever made them.
    if folder.join("parts").join("000000-000000.json").is_file() {
        return Error::no_such(format!(
            "{shown}/parts is what an earlier version of pellucid left, which this one cannot go on with"
        ))
        .hint(said("run the command without {!resume}, and delete that folder"));
    }
    Error::no_such(format!("{shown} holds no stopped run to go on with"))
        .hint(said("run the command without {!resume}, or name its folder with {out}"))
}

fn damaged(path: &Path, number: u64) -> Error {
    Error::bad_input(format!("{}: wave {number} of the stopped run is not what was written there", path.display()))
        .hint(said("run the command without {!resume}: what was kept cannot be trusted"))
}

impl Keep for Parts {
    fn kept(&mut self, group: usize, wave: usize) -> Result<Option<Vec<Measured>>> {
        let Some(journal) = &mut self.journal else { return Ok(None) };
        let Some(line) = journal.waves.get(&(group, wave)).copied() else { return Ok(None) };
        journal.get(line, &self.request).map(Some).map_err(|wrong| match wrong {
            Wrong::Io(e) => Error::cannot_read(&self.path, e),
            Wrong::Line(n) => damaged(&self.path, n),
        })
    }

    fn keep(&mut self, group: usize, wave: usize, measured: &[Measured]) -> Result<()> {
        let journal = match &mut self.journal {
            Some(journal) => journal,
            none => none.insert(Journal::create(&self.path, &self.request)?),
        };
        journal.add(&self.request, group, wave, measured).map_err(|e| Error::cannot_write(&self.path, e))
    }
}
