//! Whether what was fetched is what the Hub has: large files are called by their SHA-256 there, small ones by the SHA-1 that
//! git gives them.

use std::io::Read;
use std::path::Path;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::error::Result;

/// How much is read between two looks at whether to go on. In bytes.
const PIECE: usize = 4 << 20;

/// Whether the file at `path` has the checksum that `etag` is. True when `etag` is not one. `tick` can stop it.
pub(super) fn is_whole(path: &Path, etag: &str, tick: &mut dyn FnMut() -> Result<()>) -> Result<bool> {
    let mut file = fs_err::File::open(path)?;
    let mut context = match etag.len() {
        _ if !etag.bytes().all(|b| b.is_ascii_hexdigit()) => return Ok(true),
        64 => Context::new(&SHA256),
        40 => {
            let mut git = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
            git.update(format!("blob {}\0", file.metadata()?.len()).as_bytes());
            git
        }
        _ => return Ok(true),
    };
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            n => context.update(&piece[..n]),
        }
        tick()?;
    }
    let hex: String = context.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect();
    Ok(hex == etag.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_checksum_are_known_and_others_are_not_judged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs_err::write(&path, "hello\n").unwrap();
        let check = |etag: &str| is_whole(&path, etag, &mut || Ok(())).unwrap();
        // `git hash-object` and `sha256sum` of the same six bytes.
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert!(check(git) && check(sha256) && check(&sha256.to_uppercase()));
        assert!(!check(&git.replace("ce", "cf")) && !check(&sha256.replace("58", "59")));
        assert!(check("abc-3") && check("abc"));
    }
}
