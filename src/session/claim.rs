//! A folder in which this process alone is at work, and the place in it where results are made until all of them are there.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::lock::{Attempt, Lock, NAME};
use super::owned::open_regular;
use crate::error::{Error, Result, said};
use crate::whole::TEMPORARY;

/// How often somebody who waits looks again.
const GLANCE: Duration = Duration::from_millis(50);

/// How a folder is claimed in which another process may be at work.
pub struct Claiming<'a> {
    /// The command, so that others can see who is at work.
    pub command: &'a [String],
    /// How long to wait for another.
    pub wait: Duration,
    /// Told who that is, again and again while it waits. An error ends the waiting.
    pub waiting: &'a dyn Fn(&Waiting<'_>) -> Result<()>,
}

/// For whom somebody waits.
pub struct Waiting<'a> {
    /// Where.
    pub folder: &'a Path,
    /// Who is at work there, in words.
    pub holder: &'a str,
    /// Whether this is the first time that it is told.
    pub news: bool,
}

/// A folder that no other process works in as long as this value lives, and in it a folder for temporaries, which goes with it.
///
/// On a file system without locks nobody is kept out.
pub struct Claim {
    path: PathBuf,
    // Before the lock, which is what keeps others from clearing it.
    stage: Option<TempDir>,
    lock: Option<Lock>,
    /// Folders that this made, innermost first.
    made: Vec<PathBuf>,
    waited: bool,
}

impl Claim {
    /// Makes the folder `path`, or takes the one that is there. What killed processes left there is cleared.
    ///
    /// # Errors
    /// When another process is at work there for longer than one waits, when the folder cannot be written, or somebody else's
    /// file has the lock's name.
    pub fn of(path: &Path, how: &Claiming) -> Result<Self> {
        let mut claim = Self { path: path.to_owned(), stage: None, lock: None, made: vec![], waited: false };
        let unwritable = |e: io::Error| Error::cannot_write(path, e);
        let begun = Instant::now();
        let lock = loop {
            claim.make().map_err(unwritable)?;
            let found = match Lock::take(path, how.command) {
                // Whoever made the folder took it away again.
                Err(e) if e.kind() == io::ErrorKind::NotFound && !path.exists() => continue,
                found => found.map_err(unwritable)??,
            };
            let holder = match found {
                Attempt::Free(lock) => break Some(lock),
                Attempt::NoLocks => break None,
                Attempt::Taken(holder) => holder,
            };
            if begun.elapsed() >= how.wait {
                let shown = path.display();
                return Err(Error::io(format!("another run is at work in {shown}: {holder}")).hint(said(
                    "wait until it is done, as {wait=SECONDS} does[, or give another folder with {out}|]",
                )));
            }
            (how.waiting)(&Waiting { folder: path, holder: &holder, news: !claim.waited })?;
            claim.waited = true;
            std::thread::sleep(GLANCE.min(how.wait.saturating_sub(begun.elapsed())));
        };
        let stage = match &lock {
            // The name that the lock has told everybody.
            Some(lock) => tempfile::Builder::new().prefix(&lock.temporary).rand_bytes(0).tempdir_in(path),
            None => tempfile::Builder::new().prefix(TEMPORARY.0).suffix(TEMPORARY.1).tempdir_in(path),
        };
        claim.lock = lock;
        claim.stage = Some(stage.map_err(unwritable)?);
        Ok(claim)
    }

    fn make(&mut self) -> io::Result<()> {
        let missing = |p: &&Path| !p.as_os_str().is_empty() && !p.exists();
        let missing: Vec<PathBuf> = self.path.ancestors().take_while(missing).map(Path::to_owned).collect();
        std::fs::create_dir_all(&self.path)?;
        self.made.extend(missing);
        Ok(())
    }

    /// Where results are made.
    pub fn stage(&self) -> &Path {
        self.stage.as_ref().map_or(&*self.path, TempDir::path)
    }

    /// Whether another process was at work here first.
    pub fn waited(&self) -> bool {
        self.waited
    }
}

/// Whether a process is at work in `folder`, on this machine or on one that shares its locks.
pub(crate) fn is_at_work(folder: &Path) -> bool {
    let lock = open_regular(&folder.join(NAME)).ok().flatten().flatten();
    lock.is_some_and(|file| file.try_lock().is_err())
}

/// Whether a process that was killed has left its lock in `folder`.
pub(crate) fn was_left(folder: &Path) -> bool {
    folder.join(NAME).symlink_metadata().is_ok() && !is_at_work(folder)
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.stage.take();
        self.lock.take();
        // Only empty folders go: what is in them stays, whoever put it there.
        for folder in &self.made {
            let _ = std::fs::remove_dir(folder);
        }
    }
}
