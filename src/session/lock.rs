//! Who is at work in a folder: a file there that says so, locked for as long as its process lives.
//!
//! The file appears under its name complete and locked, and its owner removes it before it unlocks it. A file whose lock can be
//! taken was left by a process that was killed; it names the folder of temporaries that this process left with it.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::owned::open_regular;
use crate::error::{Error, Result, said};
use crate::whole::{is_drawn, is_temporary, temporary_beside};

/// What the file is called.
pub(crate) const NAME: &str = ".pellucid-lock";
/// How its text begins: by that it is known.
const FIRST: &str = "pellucid is at work in this folder\n";
/// The line that names the folder of temporaries.
const TEMPORARY: &str = "temporary: ";
/// Such a text is short; one that is longer is not ours.
const MOST: u64 = 1 << 20;

/// The lock of a folder, given back when it is dropped.
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    /// Its owner makes temporaries in the folder of this name, which nobody else has.
    pub temporary: String,
}

/// What somebody finds who wants a folder for himself.
pub(super) enum Attempt {
    /// Nobody was there.
    Free(Lock),
    /// Somebody is at work, in words.
    Taken(String),
    /// Its file system has no locks.
    NoLocks,
}

impl Lock {
    /// Takes the lock of `folder`, which exists. What processes that were killed left is cleared. `command` is for people.
    ///
    /// # Errors
    /// When something else has the lock's name, or the folder cannot be written.
    pub fn take(folder: &Path, command: &[String]) -> io::Result<Result<Attempt>> {
        let path = folder.join(NAME);
        loop {
            let Some(found) = open_regular(&path)? else {
                match Self::place(&path, command)? {
                    Placed::Here(lock) => {
                        clear_strays(folder);
                        return Ok(Ok(Attempt::Free(lock)));
                    }
                    Placed::NoLocks => return Ok(Ok(Attempt::NoLocks)),
                    Placed::SomebodyWasFaster => continue,
                }
            };
            let Some(file) = found else { return Ok(Err(not_ours(folder, NAME))) };
            let mut text = String::new();
            // Where locks keep others from reading, it can be read once it is not locked.
            let read = (&file).take(MOST).read_to_string(&mut text);
            if !text.starts_with(FIRST) && !matches!(&read, Err(e) if e.kind() != io::ErrorKind::InvalidData) {
                return Ok(Err(not_ours(folder, NAME)));
            }
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => return Ok(Ok(Attempt::Taken(in_words(&text)))),
                Err(TryLockError::Error(_)) => return Ok(Ok(Attempt::NoLocks)),
                // Its owner gave it back meanwhile, or another found it first.
                Ok(()) if !is_at(&file, &path) => {}
                Ok(()) => {
                    if let Some(left) = temporary_of(&text) {
                        let left = folder.join(left);
                        // The entry itself: a link to a folder is none.
                        if left.symlink_metadata().is_ok_and(|m| m.is_dir()) {
                            std::fs::remove_dir_all(left)?;
                        }
                    }
                    // Last, so that whoever is killed here leaves it to the next.
                    std::fs::remove_file(&path)?;
                }
            }
        }
    }

    /// Puts a lock where none is.
    fn place(path: &Path, command: &[String]) -> io::Result<Placed> {
        let host = sysinfo::System::host_name().unwrap_or_else(|| "an unknown host".into());
        let command = command.join(" ").replace(char::is_control, " ");
        let id = std::process::id();
        let file = temporary_beside(path).map_err(into_io)?;
        match file.as_file().try_lock() {
            Ok(()) => {}
            Err(_) => return Ok(Placed::NoLocks),
        }
        let name = file.path().file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let text = format!("{FIRST}process: {id} on {host}\ncommand: {command}\n{TEMPORARY}{name}\n");
        file.as_file().write_all(text.as_bytes())?;
        match file.persist_noclobber(path) {
            Ok(file) => Ok(Placed::Here(Self { file, path: path.to_owned(), temporary: name })),
            // The other one may also have cleared this file, before it was locked.
            Err(e) if matches!(e.error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
                Ok(Placed::SomebodyWasFaster)
            }
            Err(e) => Err(e.error),
        }
    }
}

enum Placed {
    Here(Lock),
    SomebodyWasFaster,
    NoLocks,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked: nobody can take it for one whose owner was killed.
        if is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The error for a file of somebody else where one of ours would be.
pub(super) fn not_ours(folder: &Path, name: &str) -> Error {
    Error::bad_input(format!("{} holds {name}, which is damaged or no file of pellucid's", folder.display()))
        .hint(said("give another folder with {out}, or move that file away"))
}

fn into_io(e: Error) -> io::Error {
    let kind = std::error::Error::source(&e).and_then(|e| e.downcast_ref::<io::Error>()).map(io::Error::kind);
    io::Error::new(kind.unwrap_or(io::ErrorKind::Other), e)
}

/// Whether `path` is still this file and not another of that name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata().is_ok_and(|open| path.symlink_metadata().is_ok_and(|there| same(&open, &there)))
}

/// A file that is open cannot be replaced there.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

fn temporary_of(text: &str) -> Option<&str> {
    let name = text.lines().find_map(|line| line.strip_prefix(TEMPORARY))?;
    let plain = Path::new(name).file_name() == Some(name.as_ref());
    (plain && is_temporary(name)).then_some(name)
}

/// Who that is: `process 12 on host, with "pellucid lens"`.
fn in_words(text: &str) -> String {
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let process =
        line("process: ").map_or_else(|| "another process".to_owned(), |process| format!("process {process}"));
    match line("command: ") {
        Some(command) => format!("{process}, with {}", super::owned::shortened(command)),
        None => process,
    }
}

/// Removes files that were to become a lock or a journal when their process was killed. Only the owner of the folder does.
///
/// A process can be killed before it wrote a byte: an empty file is ours by its name, which is drawn.
fn clear_strays(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_temporary(name)) else { continue };
        let Ok(Some(Some(file))) = open_regular(&entry.path()) else { continue };
        let mut start = vec![];
        let read = (&file).take(FIRST.len() as u64).read_to_end(&mut start);
        let nothing = start.is_empty() && is_drawn(name);
        let ours = start.starts_with(FIRST.as_bytes()) || start.starts_with(super::parts::FIRST.as_bytes()) || nothing;
        // A lock that another is about to put here is held already.
        if read.is_ok() && ours && file.try_lock().is_ok() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(folder: &Path) -> Attempt {
        Lock::take(folder, &["pellucid".to_owned(), "lens".to_owned()]).unwrap().unwrap()
    }

    /// Invariant: as `what_a_run_said_was_done_is_there`.
    #[test]
    fn a_lock_that_was_given_back_is_not_taken_for_the_next_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let Attempt::Free(first) = take(folder.path()) else { panic!("nobody is there") };
        // Somebody looks, and the lock is given back and taken before he asks for it.
        let seen = open_regular(&path).unwrap().unwrap().unwrap();
        assert!(is_at(&seen, &path) && seen.try_lock().is_err());
        drop(first);
        let Attempt::Free(second) = take(folder.path()) else { panic!("it was given back") };
        assert!(seen.try_lock().is_ok() && !is_at(&seen, &path));
        drop(seen);
        let Attempt::Taken(who) = take(folder.path()) else { panic!("somebody is there") };
        assert!(
            who.starts_with(&format!("process {} on ", std::process::id())) && who.ends_with("`pellucid lens`"),
            "{who}"
        );
        // One whose file somebody deleted does not take away the file of another.
        std::fs::remove_file(&path).unwrap();
        let Attempt::Free(third) = take(folder.path()) else { panic!("there is no file") };
        drop(second);
        assert!(is_at(&third.file, &path));
        drop(third);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_whose_owner_is_gone_goes_with_its_temporaries_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let there = |name: &str| folder.path().join(name).exists();
        let left = |temporary: &str| {
            std::fs::write(folder.path().join(NAME), format!("{FIRST}process: 1 on a\n{TEMPORARY}{temporary}\n"))
                .unwrap();
        };
        for name in [".pellucid-left.tmp", ".pellucid-mine.tmp", "mine"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        for temporary in ["mine", ".", "..", "../mine", ".pellucid-left.tmp/../mine", ".pellucid-left.tmp"] {
            assert!(there(".pellucid-left.tmp"), "{temporary}");
            left(temporary);
            assert!(matches!(take(folder.path()), Attempt::Free(_)), "{temporary}");
            assert!(there("mine") && there(".pellucid-mine.tmp") && !there(NAME), "{temporary}");
        }
        assert!(!there(".pellucid-left.tmp"));
    }

    #[test]
    fn what_was_to_become_a_lock_goes_and_what_only_has_such_a_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        let gone = [(".pellucid-aB3dE9.tmp", ""), (".pellucid-aB3dE8.tmp", FIRST)];
        let stay = [(".pellucid-aB3dE7.tmp", "mine"), (".pellucid-mine.tmp", ""), (".pellucid-.tmp", ""), ("mine", "")];
        for (name, text) in gone.iter().chain(&stay) {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        assert!(matches!(take(folder.path()), Attempt::Free(_)));
        let left = |name: &str| folder.path().join(name).exists();
        assert!(gone.iter().all(|(name, _)| !left(name)) && stay.iter().all(|(name, _)| left(name)));
    }
}
