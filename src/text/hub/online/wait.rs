//! Waiting for a network without being deaf: whoever runs it can stop it at any time, and what passes is tried again.

use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::limits::threads::spawn;
use crate::text::hub::cache::GLANCE;

/// How long to wait before it is tried again: four times in all.
pub(super) const PAUSES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// How much of a body comes at once. In bytes.
const PIECE: usize = 256 << 10;
/// How many pieces may wait to be written.
const PIECES: usize = 16;

/// Why a request failed.
pub(super) enum Trouble {
    /// It may go better in a moment.
    Passing(Error),
    /// There is no way to the server: worth another try only if there was one a moment ago.
    Unreachable(Error),
    /// It will not go better.
    Final(Error),
}

impl Trouble {
    pub fn into_error(self) -> Error {
        match self {
            Self::Passing(e) | Self::Unreachable(e) | Self::Final(e) => e,
        }
    }
}

/// What `work` answers. It runs on a thread of its own, which is left to itself when `tick` ends the waiting.
pub(super) fn patiently<T: Send + 'static>(
    tick: &mut dyn FnMut() -> Result<()>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (tell, answer) = mpsc::channel();
    spawn(move || drop(tell.send(work())))?;
    loop {
        match answer.recv_timeout(GLANCE) {
            Ok(done) => return Ok(done),
            Err(RecvTimeoutError::Timeout) => tick()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::io("a thread of the download ended early").fault());
            }
        }
    }
}

/// What `work` answers, tried again while its trouble may pass.
pub(super) fn insist<T: Send + 'static>(
    tick: &mut dyn FnMut() -> Result<()>,
    work: impl Fn() -> Result<T, Trouble> + Clone + Send + 'static,
) -> Result<T> {
    for wait in PAUSES {
        match patiently(tick, work.clone())? {
            Ok(done) => return Ok(done),
            Err(Trouble::Passing(_)) => pause(wait, tick)?,
            Err(other) => return Err(other.into_error()),
        }
    }
    patiently(tick, work)?.map_err(Trouble::into_error)
}

/// Waits for `time`.
pub(super) fn pause(time: Duration, tick: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        tick()?;
        thread::sleep(GLANCE.min(until.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// The pieces of `body`, read on a thread of its own. The channel ends with the body, or after an error.
pub(super) fn pieces(mut body: Box<dyn Read + Send>) -> Result<Receiver<io::Result<Vec<u8>>>> {
    let (tell, pieces) = mpsc::sync_channel(PIECES);
    spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = body.read(&mut piece).map(|n| {
                piece.truncate(n);
                piece
            });
            // The end, an error, or nobody who listens.
            let last = read.as_ref().map_or(true, Vec::is_empty);
            if read.as_ref().is_ok_and(Vec::is_empty) || tell.send(read).is_err() || last {
                break;
            }
        }
    })?;
    Ok(pieces)
}
