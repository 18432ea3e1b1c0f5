//! Calls into parsers of other people, some of which panic on a broken file instead of saying so.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many guarded calls are under way, on any thread: a parser may panic on a thread of its own.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// What `call` gives, or none when it panicked.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    UNDER_WAY.fetch_add(1, Ordering::SeqCst);
    // Whatever `call` was in the middle of is not looked at again.
    let outcome = catch_unwind(AssertUnwindSafe(call));
    UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
    outcome.ok()
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
