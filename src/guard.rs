//! Calls into parsers of other people, some of which panic on a broken file instead of saying so.
//!
//! Those that have threads of their own also panic where the system gives them none. That is no fault of the file, and is said
//! as what it is ([`guarded_with_threads`]): the threads are started before the parser reads anything, when nothing else can be
//! wrong; a panic that speaks of threads all the same is recognised by its words.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::limits::starved::was_said;

/// How many guarded calls are under way, on any thread: a parser may panic on a thread of its own.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// What `call` gives, or none when it panicked. For parsers without threads of their own.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    watched(call).ok()
}

/// What `call` gives, or none when it panicked over what it was given. `start` lets the library start its threads; it looks at
/// nothing of anybody's, so that a panic of it can have no other cause.
///
/// # Errors
/// When the system gives this process no more threads.
pub(crate) fn guarded_with_threads<T>(start: impl FnOnce(), call: impl FnOnce() -> T) -> Result<Option<T>> {
    watched(start).map_err(|_| Error::no_threads())?;
    match watched(call) {
        Ok(value) => Ok(Some(value)),
        Err(panic) if speaks_of_threads(&*panic) => Err(Error::no_threads()),
        Err(_) => Ok(None),
    }
}

fn watched<T>(call: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    UNDER_WAY.fetch_add(1, Ordering::SeqCst);
    // Whatever `call` was in the middle of is not looked at again.
    let outcome = catch_unwind(AssertUnwindSafe(call));
    UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
    match outcome {
        // What is missing was said, and is no fault of what is parsed.
        Err(panic) if was_said() => resume_unwind(panic),
        outcome => outcome,
    }
}

/// Whether a panic is one of those of rayon, tokio or std without threads. What was to be made once, and was not, is called
/// poisoned by those who ask for it next.
fn speaks_of_threads(panic: &(dyn Any + Send)) -> bool {
    const WORDS: [&str; 5] = [
        "spawn thread",
        "thread pool has not been initialized",
        "ThreadPoolBuildError",
        "kind: WouldBlock",
        "has previously been poisoned",
    ];
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    said.is_some_and(|said| WORDS.iter().any(|words| said.contains(words)))
}

/// For programs: keeps a panic that is caught here from being reported as well.
pub(crate) fn silence_guarded_panics() {
    let report = take_hook();
    set_hook(Box::new(move |panic| {
        if UNDER_WAY.load(Ordering::SeqCst) == 0 {
            report(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    fn given<T>(call: impl FnOnce() -> T) -> Result<Option<T>> {
        guarded_with_threads(|| (), call)
    }

    #[test]
    fn a_panic_over_contents_is_not_one_over_threads() {
        assert_eq!(given(|| 7).unwrap(), Some(7));
        assert_eq!(given::<()>(|| panic!("range end index 9 out of range")).unwrap(), None);
        assert_eq!(given::<()>(|| panic!("{}", "capacity overflow".to_owned())).unwrap(), None);
        assert_eq!(guarded::<()>(|| panic!("anything")), None);
    }

    #[test]
    fn what_libraries_say_without_threads_is_known() {
        let none = std::io::Error::from_raw_os_error;
        let said = |call: fn() -> u8| given(call).unwrap_err().message().to_owned();
        assert_eq!(said(|| panic!("failed to spawn thread: {:?}", "x")), Error::no_threads().message());
        // EAGAIN on Linux and on macOS.
        let again = if cfg!(target_os = "linux") { 11 } else { 35 };
        let pool = || -> std::io::Result<u8> { Err(none(again)) };
        assert!(given(|| pool().expect("could not build the pool")).is_err());
        static POOL: LazyLock<u8> = LazyLock::new(|| panic!("could not spawn threads"));
        // The second time it is poisoned.
        for _ in 0..2 {
            assert!(said(|| *POOL).contains("threads"));
        }
        let error = guarded_with_threads(|| panic!("anything"), || 7).unwrap_err();
        assert!(error.hint_text().unwrap().contains("ulimit -u"));
    }
}
