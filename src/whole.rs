//! Whole files only: a file is written beside its destination and takes its name when it is complete.

use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Writes `bytes` to `path`, replacing a file that has the name.
///
/// # Errors
/// When that is not possible. Nothing is left then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = temporary_beside(path)?;
    file.write_all(bytes).map_err(|e| Error::cannot_write(path, e))?;
    keep(file, path)
}

/// Gives a complete temporary file its name.
///
/// # Errors
/// When it cannot be synced or renamed.
pub fn keep(file: NamedTempFile, path: &Path) -> Result<()> {
    // The name must not appear before the bytes are safe, whatever happens to the machine.
    file.as_file().sync_all().map_err(|e| Error::cannot_write(path, e))?;
    file.persist(path).map_err(|e| Error::cannot_write(path, e.error))?;
    Ok(())
}

/// How temporary files and folders are called: what their names begin and end with.
pub const TEMPORARY: (&str, &str) = (".pellucid-", ".tmp");

/// Whether a file of this name was to become another, and its writer was killed or is at work.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1)
}

/// Whether the name has what is drawn for each temporary, and not only how they begin and end.
pub fn is_drawn(name: &str) -> bool {
    let drawn = name.strip_prefix(TEMPORARY.0).and_then(|name| name.strip_suffix(TEMPORARY.1));
    drawn.is_some_and(|drawn| drawn.len() == DRAWN && drawn.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// How many letters and digits are drawn.
const DRAWN: usize = 6;

/// An empty file in the folder of `path`, with the permissions that a new file gets there.
///
/// # Errors
/// When the folder does not exist or cannot be written.
pub fn temporary_beside(path: &Path) -> Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY.0).suffix(TEMPORARY.1).rand_bytes(DRAWN);
    #[cfg(unix)]
    {
        // Temporary files are private by default, and the permissions stay when the file is renamed.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder).map_err(|e| Error::cannot_write(path, e))
}
