//! Sentences for want of memory or threads, also where a library panics for it.

use std::io::Write;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::allocator::has;
use crate::error::Error;

/// What to do where there is no more memory.
static HINT: OnceLock<&str> = OnceLock::new();

/// Whether it was said.
static SAID: AtomicBool = AtomicBool::new(false);

/// Memory that every step of the program may want at once: where there is not even that, a panic is for want of it. In bytes.
const LITTLE: usize = 1 << 20;

/// Whether this process wants for something and said so: what goes wrong after that is a consequence.
pub fn was_said() -> bool {
    SAID.load(Ordering::SeqCst)
}

/// For programs: a panic for want of memory or of threads, of whatever library, is said in a sentence instead of reported.
/// `hint` is what to do where there is no more memory.
pub fn say_instead_of_panics(hint: &'static str) {
    let _ = HINT.set(hint);
    let report = take_hook();
    set_hook(Box::new(move |panic| {
        if was_said() {
            return;
        }
        match is_for_threads(panic) {
            true => {
                let error = Error::no_threads();
                say(error.message(), error.hint_text().unwrap_or_default());
            }
            false if !has(LITTLE) || is_for_memory(panic) => say_memory(LITTLE),
            false => report(panic),
        }
    }));
}

/// What `std`, rayon and polars say when the system has no thread for them.
fn is_for_threads(panic: &PanicHookInfo) -> bool {
    said(panic).is_some_and(|said| said.contains("kind: WouldBlock"))
}

/// What zstd says when it was given no memory, which it takes from the system itself and in one piece: there may be enough in small
/// ones.
fn is_for_memory(panic: &PanicHookInfo) -> bool {
    said(panic).is_some_and(|said| said.starts_with("zstd returned null pointer"))
}

/// The words of a panic.
fn said<'a>(panic: &'a PanicHookInfo) -> Option<&'a str> {
    let payload = panic.payload();
    payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied())
}

/// Says that so many bytes were not to be had. It takes no memory itself.
pub(super) fn say_memory(bytes: usize) {
    let mut line = [0; 96];
    let mut rest = &mut line[..];
    let _ = write!(rest, "there is no more memory: {bytes} bytes were asked for");
    let written = 96 - rest.len();
    let said = std::str::from_utf8(&line[..written]).unwrap_or("there is no more memory");
    say(said, HINT.get().copied().unwrap_or_default());
}

/// Says it once, on stderr, as every error is said.
fn say(what: &str, hint: &str) {
    if SAID.swap(true, Ordering::SeqCst) {
        return;
    }
    let mut talk = std::io::stderr();
    let _ = writeln!(talk, "error: {what}\nhint: {hint}");
}
