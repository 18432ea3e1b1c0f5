//! What the allocator does with freed memory.

/// Tells the allocator to keep what is freed instead of giving it back to the system, for the whole process.
///
/// A forward pass frees and asks again for the same large buffers in every block; each time the system would hand out
/// fresh pages one fault at a time, which at 512 tokens costs a tenth of the pass. The peak stays the same. For
/// programs, which own their process; a library does not call it for its user. glibc only; elsewhere it does nothing.
pub fn keep_freed_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // No allocation is mapped on its own, and nothing at the top of the heap is given back.
        // SAFETY: mallopt only sets parameters of the allocator; a value that it refuses changes nothing.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        }
    }
}

/// Tells the allocator that all threads take from one heap, for the whole process.
///
/// Each thread would reserve 64 MB or more of address space for a heap of its own, most of it never used: too much where address space
/// is limited. For programs, before they start threads. glibc only; elsewhere it does nothing.
pub fn share_one_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets parameters of the allocator; a value that it refuses changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
