//! What to do when the system does not let a file be read or written: one hint for each answer, in one place.

use std::fmt::Display;
use std::io::{self, ErrorKind as Os};
use std::path::Path;

use super::{Error, ErrorKind};

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Read,
    Write,
    /// Not known: a system call that says only that it failed.
    Do,
}

impl Error {
    /// The file or folder at `path` cannot be read. A path that leads to no file is a bad request, everything else a failure.
    pub fn cannot_read(path: impl AsRef<Path>, e: io::Error) -> Self {
        let shown = path.as_ref().display();
        let sentence = match e.kind() {
            Os::NotFound => Error::no_such(format!("there is no file {shown}")),
            Os::IsADirectory => Error::bad_input(format!("{shown} is a folder, not a file")),
            kind => Error::of_kind(of(kind), format!("cannot read {shown}: {}", reason(&e))),
        };
        let hint = hint(&e, To::Read);
        sentence.because(e).hint(hint)
    }

    /// The file or folder at `path` cannot be written.
    pub fn cannot_write(path: impl AsRef<Path>, e: io::Error) -> Self {
        Self::cannot_write_to(path.as_ref().display(), e)
    }

    /// The system gives this process no more threads.
    pub fn no_threads() -> Self {
        Error::compute("the system gives this process no more threads").hint(NO_THREADS)
    }

    /// What is called `what`, such as stdout, cannot be written.
    pub fn cannot_write_to(what: impl Display, e: io::Error) -> Self {
        let hint = hint(&e, To::Write);
        Error::io(format!("cannot write {what}: {}", reason(&e))).because(e).hint(hint)
    }
}

/// Threads count as processes, and each needs room for its stack.
const NO_THREADS: &str =
    "end other programs of this user, or raise `ulimit -u` (processes and threads) and `ulimit -v` (memory)";

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Self {
        // Nothing here reads without waiting: only a thread is not to be had at once.
        if e.kind() == Os::WouldBlock {
            return Error::no_threads();
        }
        let hint = hint(&e, To::Do);
        Error::io(e.to_string()).because(e).hint(hint)
    }
}

/// A path that the request should not have named, or a failure.
fn of(kind: Os) -> ErrorKind {
    match kind {
        Os::NotADirectory | Os::InvalidFilename | Os::InvalidInput => ErrorKind::BadInput,
        _ => ErrorKind::Io,
    }
}

/// What the system said, without the path that `fs_err` puts before it: that is said already.
fn reason(e: &io::Error) -> String {
    system_code(e).map_or_else(|| e.to_string(), |code| io::Error::from_raw_os_error(code).to_string())
}

/// The number of the system's answer. `fs_err` hides it in its text, where it stands last.
fn system_code(e: &io::Error) -> Option<i32> {
    e.raw_os_error().or_else(|| e.to_string().rsplit_once("(os error ")?.1.strip_suffix(')')?.parse().ok())
}

/// One thing to do about `e`, which came up when this was tried.
fn hint(e: &io::Error, to: To) -> &'static str {
    match (e.kind(), to) {
        (Os::NotFound, To::Read) => "check the path: there is no such file, or a link on the way leads nowhere",
        (Os::NotFound, To::Write) => "a folder on that path does not exist; make it first, or write elsewhere",
        (Os::NotFound, To::Do) => "check the path: something on it does not exist",
        (Os::IsADirectory, To::Write) => "that name is a folder's; give the name of a file",
        (Os::IsADirectory, _) => "that is a folder; name a file in it",
        (Os::NotADirectory, _) => "a part of that path is a file, where a folder is needed; check the path",
        (Os::DirectoryNotEmpty, _) => "that folder has files in it; give another, or move them away",
        (Os::AlreadyExists, _) => "there is something of that name already; give another name, or move it away",
        (Os::PermissionDenied, To::Read) => "check that you may read it, and open the folders on the way",
        (Os::PermissionDenied, To::Write) => "check that you may write there, or write elsewhere",
        (Os::PermissionDenied, To::Do) => "check the permissions of what is named, and of the folder that it is in",
        (Os::StorageFull, _) => "free some disk space, or write elsewhere",
        (Os::QuotaExceeded, _) => "your share of that disk is used up; remove something, or write elsewhere",
        (Os::FileTooLarge, _) => {
            "files may not become as large there; raise `ulimit -f`, or write to a disk that takes larger files"
        }
        (Os::ReadOnlyFilesystem, _) => "that disk can only be read; write elsewhere",
        (Os::InvalidFilename, _) => "a name on that path is too long or has characters that the disk does not take",
        (Os::InvalidInput, _) => "check the name for characters that no path can have",
        (Os::UnexpectedEof, _) => "it ends early; copy or write it again",
        (Os::InvalidData, _) => "its contents are not what they should be; copy or write it again",
        (Os::OutOfMemory, _) => "free some memory, or ask for less at once",
        (Os::WouldBlock, _) => NO_THREADS,
        (Os::BrokenPipe, _) => "whoever reads this has gone; run it again with another reader",
        (Os::ResourceBusy | Os::ExecutableFileBusy, _) => "another program uses it; wait until it is done",
        (Os::StaleNetworkFileHandle, _) => "the network disk has forgotten the file; connect it again",
        (Os::CrossesDevices, _) => "that would be on two disks; give a folder on one disk",
        (Os::TimedOut, _) => "it does not answer; check the disk or the network that it is on",
        _ => match system_code(e) {
            // The same numbers on every Unix.
            Some(23 | 24) if cfg!(unix) => "too many files are open; raise `ulimit -n`, or close other programs",
            Some(9) if cfg!(unix) => "it is closed; do not close stdin and stdout where they are used",
            Some(5) if cfg!(unix) => "the disk does not work as it should; check it, or use another",
            Some(6 | 19) if cfg!(unix) => "nothing is at the other end of that device or socket; name a file",
            Some(40) if cfg!(target_os = "linux") => "links on that path lead round in a circle; name the file itself",
            _ => "try again; if it stays so, check the disk that it is on",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint_of(e: &Error) -> &str {
        e.hint_text().unwrap_or_default()
    }

    #[cfg(unix)]
    #[test]
    fn each_answer_of_the_system_has_the_hint_that_is_for_it() {
        // Numbers of Linux and macOS alike, and a word that only the hint for this one has.
        let answers = [
            (2, "does not exist"),
            (5, "does not work"),
            (6, "other end"),
            (9, "closed"),
            (13, "may write"),
            (17, "already"),
            (20, "where a folder is needed"),
            (21, "name of a file"),
            (23, "ulimit -n"),
            (24, "ulimit -n"),
            (27, "ulimit -f"),
            (28, "free some disk space"),
            (30, "only be read"),
        ];
        for (code, word) in answers {
            let e = Error::cannot_write("x", io::Error::from_raw_os_error(code));
            let others = answers.iter().filter(|(_, other)| *other != word && hint_of(&e).contains(other)).count();
            assert!(hint_of(&e).contains(word) && others == 0, "{code}: {}", hint_of(&e));
        }
    }

    #[test]
    fn what_is_around_the_systems_answer_hides_neither_its_kind_nor_its_number() {
        let missing = fs_err::read("no/such/file").unwrap_err();
        let e = Error::cannot_read("no/such/file", missing);
        assert_eq!((e.kind(), e.message()), (ErrorKind::NoSuch, "there is no file no/such/file"));
        let folder = Error::cannot_read(".", fs_err::read(".").unwrap_err());
        assert_eq!(folder.kind(), ErrorKind::BadInput);
        assert!(hint_of(&folder).contains("folder"));
    }

    #[cfg(unix)]
    #[test]
    fn a_path_is_said_once_and_too_many_files_are_called_that() {
        let below = "Cargo.toml/below";
        let e = Error::cannot_write(below, fs_err::create_dir_all(below).unwrap_err());
        assert_eq!(e.message(), "cannot write Cargo.toml/below: Not a directory (os error 20)");
        // As fs_err has it: a kind that says nothing, and a text.
        let many = io::Error::other("failed to open file `(os error 5)`: Too many open files (os error 24)");
        assert!(hint_of(&Error::cannot_read("x", many)).contains("ulimit -n"));
    }
}
