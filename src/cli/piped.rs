//! Files that are named on the command line, where `-` is standard input: what is written to it can be read once, and is waited for aloud.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::out::say_plainly;
use super::signals::{self, stopped};
use crate::error::{Error, Result};
use crate::text::prompt_file::read_bytes;

/// What stands for standard input.
pub(super) const STDIN: &str = "-";

/// Whether standard input was taken: who reads it again would find nothing.
static TAKEN: AtomicBool = AtomicBool::new(false);

fn take() -> Result<()> {
    match TAKEN.swap(true, Ordering::SeqCst) {
        true => Err(Error::bad_input("standard input is given for two things, and can be read once")
            .hint("give a file for one of them")),
        false => Ok(()),
    }
}

/// The bytes of a file that was named, or of standard input for `-`: of `most` at most one more. A pipe may never say anything:
/// whoever waits for it is told, and can stop; one that nobody has opened to write to in a minute is given up.
pub(super) fn read_input(path: &Path, most: usize) -> Result<Vec<u8>> {
    let stdin = path == Path::new(STDIN);
    if !stdin && std::fs::metadata(path).map_or(true, |found| found.is_file() || found.is_dir()) {
        return read_bytes(path, most);
    }
    let most = most.saturating_add(1) as u64;
    if stdin {
        take()?;
    }
    let (from, opened) = (path.to_owned(), Arc::new(AtomicBool::new(stdin)));
    let open = opened.clone();
    let read = move || {
        let mut bytes = vec![];
        if stdin {
            io::stdin().lock().take(most).read_to_end(&mut bytes)?;
        } else {
            let unread = |e| Error::cannot_read(&from, e);
            let file = File::open(&from).map_err(unread)?;
            open.store(true, Ordering::SeqCst);
            file.take(most).read_to_end(&mut bytes).map_err(unread)?;
        }
        Ok(bytes)
    };
    waited(path, &opened, read)
}

/// Standard input as a file called `name` in a folder of its own, however large it is. Both are gone with the value.
pub(super) fn spooled(name: &str) -> Result<TempDir> {
    take()?;
    let folder = tempfile::tempdir()?;
    let mut file = File::create(folder.path().join(name))?;
    waited(Path::new(STDIN), &AtomicBool::new(true), move || Ok(io::copy(&mut io::stdin().lock(), &mut file)?))?;
    Ok(folder)
}

/// What `read` gives, which reads the pipe at `path` once that is `opened`.
fn waited<T: Send + 'static>(
    path: &Path,
    opened: &AtomicBool,
    read: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    const GLANCE: Duration = Duration::from_millis(50);
    /// How long nothing is said, and how long a pipe without a writer is waited for.
    const SILENT: Duration = Duration::from_secs(1);
    const PATIENT: Duration = Duration::from_secs(60);
    signals::listen();
    let (tell, told) = mpsc::channel();
    // Opening a pipe waits for its other end, so all of it is done by a thread, which is left to itself when somebody stops the
    // program.
    crate::limits::threads::spawn(move || {
        let _ = tell.send(read());
    })?;
    let stdin = path == Path::new(STDIN);
    let (begun, mut said) = (Instant::now(), false);
    let name = if stdin { "stdin".to_owned() } else { path.display().to_string() };
    loop {
        match told.recv_timeout(GLANCE) {
            Ok(read) => return read,
            Err(RecvTimeoutError::Timeout) if stopped() => return Err(signals::nothing_was_written()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::io(format!("cannot read {name}: its reader ended early")).fault());
            }
        }
        let opened = opened.load(Ordering::SeqCst);
        if !opened && begun.elapsed() > PATIENT {
            return Err(Error::bad_input(format!("nobody has written to {name}, which is a pipe, for a minute"))
                .hint("start what writes to it first, or give a file"));
        }
        let typed = stdin && io::stdin().is_terminal();
        if !said && !typed && begun.elapsed() > SILENT {
            let what = if opened { "what is written to" } else { "somebody to write to" };
            say_plainly(&format!("waiting for {what} {name}; Ctrl-C ends this"));
            said = true;
        }
    }
}
