//! Limits of address space: what `ulimit -v` and `ulimit -d` leave of it.

/// What may still be mapped, and which limit says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that may still be mapped.
    pub bytes: u64,
    /// The limit, as its user knows it, such as `ulimit -v`.
    pub limit: &'static str,
}

/// How much may still be mapped, where this process has a limit of address space or of data. Linux only; elsewhere none is seen.
///
/// Mapped files and the stacks of threads count as address space; what may be written, and is nobody else's, counts as data.
pub fn room() -> Option<Room> {
    #[cfg(target_os = "linux")]
    {
        let limits = [(libc::RLIMIT_AS, "VmSize:", "ulimit -v"), (libc::RLIMIT_DATA, "VmData:", "ulimit -d")];
        let mut status = None;
        let room = |(resource, field, limit)| {
            let most = soft(resource)?;
            let status = status.get_or_insert_with(|| std::fs::read_to_string("/proc/self/status").unwrap_or_default());
            Some(Room { bytes: most.saturating_sub(kilobytes(status, field) << 10), limit })
        };
        limits.into_iter().filter_map(room).min_by_key(|room| room.bytes)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The soft limit of a resource, where there is one.
#[cfg(target_os = "linux")]
pub(super) fn soft(resource: libc::__rlimit_resource_t) -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: getrlimit writes to the struct it is given, and nowhere else.
    let failed = unsafe { libc::getrlimit(resource, &raw mut limit) } != 0;
    (!failed && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// The number of a line such as `VmSize:  63488 kB`; 0 where there is none.
#[cfg(target_os = "linux")]
fn kilobytes(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_status_is_read() {
        let status = "Name:\tpellucid\nVmPeak:\t   70000 kB\nVmSize:\t   63488 kB\nVmData:\t 1234 kB\n";
        assert_eq!(
            [kilobytes(status, "VmSize:"), kilobytes(status, "VmData:"), kilobytes(status, "No:")],
            [63488, 1234, 0]
        );
    }
}
