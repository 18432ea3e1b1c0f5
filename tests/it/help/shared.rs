//! The reference data that tests compare with. It is not part of the repository, because its licences differ.

use std::path::{Path, PathBuf};

/// `rel` inside the reference data: in the folder `PELLUCID_SHARED`, else in `shared` beside the repository.
///
/// None when it is not there, which skips the test; on a build server (`CI` is set) that is a failure.
pub fn shared(rel: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("PELLUCID_SHARED") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().ok()?.parent()?.join("shared"),
    };
    let path = root.join(rel);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing, and on CI that is a failure", path.display());
    println!("skipped: this test needs the shared reference data ({rel}); set PELLUCID_SHARED to its folder");
    None
}

/// The path of `$rel` in the reference data; returns from the test when it is not there.
macro_rules! shared_or_skip {
    ($rel:expr) => {
        match $crate::shared::shared($rel) {
            Some(path) => path,
            None => return Ok(()),
        }
    };
}
