//! The stack of the program's first thread, which the system lets grow as far as `ulimit -s`, and ends the process beyond.

use crate::error::{Error, Result};

/// What the deepest calls of the program take, several times over, in bytes.
const LEAST: u64 = 1 << 20;

/// How much of it is taken at once where address space is limited: later there may be none left to grow into.
const GROWN: usize = 768 << 10;

/// Refuses a stack that is too small to work on. For programs, as the first thing they do.
///
/// # Errors
/// When it may not grow as far as it must.
pub fn check() -> Result<()> {
    #[cfg(target_os = "linux")]
    {
        use super::room::{room, soft};
        if let Some(most) = soft(libc::RLIMIT_STACK).filter(|most| *most < LEAST) {
            let needs = format!("the stack may have {} kB, and this needs {} kB", most >> 10, LEAST >> 10);
            return Err(Error::compute(needs).hint("raise the limit: ulimit -s 8192"));
        }
        if let Some(room) = room() {
            if room.bytes < LEAST {
                let left = format!("the limit of memory ({}) leaves {} kB to work with", room.limit, room.bytes >> 10);
                return Err(Error::compute(left).hint(format!("raise the limit: {} unlimited", room.limit)));
            }
            grow();
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[inline(never)]
fn grow() {
    std::hint::black_box([1u8; GROWN]);
}
