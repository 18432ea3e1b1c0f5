//! Where a run makes its results before they take their names: a folder in the results' folder, gone when the run ends.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::whole::{TEMPORARY, is_temporary};

/// The lock that says that whoever made the folder is still at work.
const LOCK: &str = "lock";

/// A folder for results that are not complete yet. It and what is left in it go with this value.
pub(super) struct Stage {
    folder: TempDir,
    /// Held open, and by that locked, until the process ends, however it does.
    _lock: File,
}

impl Stage {
    /// Makes one in `folder`.
    pub fn make(folder: &Path) -> io::Result<Self> {
        let stage = tempfile::Builder::new().prefix(TEMPORARY.0).suffix(TEMPORARY.1).tempdir_in(folder)?;
        let lock = File::create(stage.path().join(LOCK))?;
        match lock.try_lock() {
            // A file system without locks has none to ask about either: its abandoned folders stay.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { folder: stage, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(io::Error::other("a folder that was just made is in use")),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders of runs that were killed in `folder`: nobody holds their lock.
pub(super) fn take_away_abandoned(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        // The entry itself: a link to a folder is none.
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
        if !is_folder || !entry.file_name().to_str().is_some_and(is_temporary) {
            continue;
        }
        let lock = File::options().write(true).open(entry.path().join(LOCK));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
