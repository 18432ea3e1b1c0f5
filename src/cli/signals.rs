//! Signals that ask the program to stop. It does at the next place where it looks, keeps what is done, and clears its temporaries.

use crate::error::{Error, ErrorKind, Result, Sentence};

/// Whether somebody asked the program to stop.
pub(super) fn stopped() -> bool {
    system::signal() != 0
}

/// An error if somebody asked the program to stop.
///
/// # Errors
/// Then.
pub(super) fn check() -> Result<()> {
    if stopped() { Err(nothing_was_written()) } else { Ok(()) }
}

/// That the program was stopped, as an error of its own kind that says `what` became of the results.
pub(super) fn interrupted(what: &str) -> Sentence {
    Error::of_kind(ErrorKind::Interrupted, format!("{}; {what}", system::word()))
}

/// That the program was stopped before there was anything to keep.
pub(super) fn nothing_was_written() -> Error {
    interrupted("nothing was written").hint("run the same command to begin again")
}

/// The exit code of a program that ends with `e`: where it was stopped, 128 and the signal, as shells have it.
pub(super) fn exit_code(e: &Error) -> u8 {
    match (e.kind(), system::signal()) {
        (ErrorKind::Interrupted, signal @ 1..128) => 128 + signal as u8,
        _ => e.exit_code(),
    }
}

/// Takes Ctrl-C (SIGINT), SIGTERM and SIGHUP from here on. Before, they end the program at once, when there is nothing to clear.
///
/// A signal that is ignored stays ignored: `nohup` and a shell's `&` mean it so.
pub(super) fn listen() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(system::listen);
}

/// Makes a file that grows over the limit of its size (`ulimit -f`) an error of whoever writes it, and not the end of the program.
pub(super) fn size_limit_is_an_error() {
    system::size_limit_is_an_error();
}

#[cfg(unix)]
mod system {
    use std::sync::atomic::{AtomicI32, Ordering};

    use libc::{SIG_ERR, SIG_IGN, SIGHUP, SIGINT, SIGTERM, SIGXFSZ, c_int, sighandler_t};

    /// The first of them that came; 0 before.
    static SIGNAL: AtomicI32 = AtomicI32::new(0);

    pub fn signal() -> c_int {
        SIGNAL.load(Ordering::SeqCst)
    }

    pub fn word() -> &'static str {
        match signal() {
            SIGTERM => "terminated (SIGTERM)",
            SIGHUP => "hung up (SIGHUP)",
            _ => "interrupted",
        }
    }

    extern "C" fn stop(signal: c_int) {
        let first = SIGNAL.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
        // Whoever asks twice does not want to wait. A terminal that goes away hangs up twice, once itself and once by the shell.
        if first.is_err() && signal != SIGHUP {
            // SAFETY: _exit may be called in a signal handler: it runs nothing of this process.
            unsafe { libc::_exit(128 + signal) }
        }
    }

    pub fn listen() {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // SAFETY: `action` is a plain struct whose zeros mean no flags and an empty mask, and both pointers are valid for
            // the call. `stop` touches an atomic and calls _exit, both of which a handler may do at any time.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                if libc::sigaction(signal, std::ptr::null(), &mut action) != 0 || action.sa_sigaction == SIG_IGN {
                    continue;
                }
                action = std::mem::zeroed();
                action.sa_sigaction = stop as extern "C" fn(c_int) as sighandler_t;
                // A call that a signal comes into goes on: only those who look for it stop.
                action.sa_flags = libc::SA_RESTART;
                libc::sigaction(signal, &action, std::ptr::null_mut());
            }
        }
    }

    pub fn size_limit_is_an_error() {
        // SAFETY: no handler is installed; the signal is ignored from here on.
        let before = unsafe { libc::signal(SIGXFSZ, SIG_IGN) };
        debug_assert_ne!(before, SIG_ERR);
    }
}

#[cfg(not(unix))]
mod system {
    use std::sync::atomic::{AtomicBool, Ordering};

    static STOP: AtomicBool = AtomicBool::new(false);

    pub fn signal() -> i32 {
        // As SIGINT, which Ctrl-C is elsewhere.
        if STOP.load(Ordering::SeqCst) { 2 } else { 0 }
    }

    pub fn word() -> &'static str {
        "interrupted"
    }

    pub fn listen() {
        // A second Ctrl-C ends the program at once. Without a handler the first one does, which is no worse.
        let _ = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        });
    }

    pub fn size_limit_is_an_error() {}
}
