//! How much a disk still holds.

use std::path::Path;

/// Bytes that this user may still write where `path` is, or will be made; none where the system does not say.
#[cfg(unix)]
pub fn free_bytes(path: &Path) -> Option<u64> {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::absolute(path).ok()?;
    let there = path.ancestors().find(|path| path.exists())?;
    let there = CString::new(there.as_os_str().as_bytes()).ok()?;
    // SAFETY: a plain struct of numbers, for which zeros are values.
    let mut said: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call, and the path ends in a zero.
    let done = unsafe { libc::statvfs(there.as_ptr(), &mut said) };
    #[allow(clippy::unnecessary_cast)] // Other systems have other widths.
    (done == 0).then(|| (said.f_bavail as u64).saturating_mul(said.f_frsize as u64))
}

/// It is not asked elsewhere.
#[cfg(not(unix))]
pub fn free_bytes(_: &Path) -> Option<u64> {
    None
}
