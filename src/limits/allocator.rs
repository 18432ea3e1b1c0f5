//! The program's allocator: the system's, which ends the process with a sentence when there is no more memory.

use std::alloc::{GlobalAlloc, Layout, System};

use super::starved;

/// The system's allocator. When it has no more, the process ends with code 1 and says so; Rust would abort. Results that are not
/// complete have no name yet, and what is left of them goes with the next run.
///
/// For programs: a library must not end its user's process.
pub struct Allocator;

// SAFETY: every call is the system's, with what it was given; where that gives nothing, nothing is returned at all.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as asked of whoever called this.
        unsafe { given(System.alloc(layout), layout.size()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as asked of whoever called this.
        unsafe { given(System.alloc_zeroed(layout), layout.size()) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as asked of whoever called this.
        unsafe { given(System.realloc(old, layout, size), size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as asked of whoever called this.
        unsafe { System.dealloc(old, layout) }
    }
}

#[inline]
fn given(memory: *mut u8, size: usize) -> *mut u8 {
    if memory.is_null() {
        out_of_memory(size);
    }
    memory
}

/// Says so and ends the process; where it cannot be ended without further ado, Rust aborts.
#[cold]
#[inline(never)]
fn out_of_memory(size: usize) {
    starved::say_memory(size);
    // Nothing is run at exit: whoever would run may want memory.
    #[cfg(unix)]
    // SAFETY: it ends the process.
    unsafe {
        libc::_exit(1)
    }
}

/// Whether the system still has so many bytes.
pub(super) fn has(bytes: usize) -> bool {
    let Ok(layout) = Layout::from_size_align(bytes, 16) else { return false };
    // SAFETY: the layout is not empty, and what was given is given back.
    unsafe {
        let memory = System.alloc(layout);
        if !memory.is_null() {
            System.dealloc(memory, layout);
        }
        !memory.is_null()
    }
}
