//! One model in the local cache, laid out as Python's huggingface_hub lays it out, so that either uses what the other fetched:
//! `blobs/<etag>` holds a file's bytes, `snapshots/<commit>/<name>` points at them, and `refs/<revision>` says which commit a
//! branch or tag was when it was fetched.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::text::files::names_in;
use crate::text::hub::Want;
use crate::text::pick::{self, CONFIG, Unclear, Weights, is_plain_name};
use crate::whole::{is_temporary, write_whole};

/// How often somebody who waits looks again.
pub(super) const GLANCE: Duration = Duration::from_millis(50);

/// A model's folder in the cache.
pub(super) struct Repo {
    /// The folder of all models.
    pub cache: PathBuf,
    name: String,
}

impl Repo {
    pub fn new(cache: &Path, id: &str) -> Self {
        Self { cache: cache.to_owned(), name: format!("models--{}", id.replace('/', "--")) }
    }

    pub fn folder(&self) -> PathBuf {
        self.cache.join(&self.name)
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder().join("snapshots").join(commit)
    }

    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder().join("blobs").join(etag)
    }

    /// The commit that `revision` means here, if any of its files are here.
    pub fn commit(&self, revision: &str) -> Option<String> {
        let commit = match fs_err::read_to_string(self.folder().join("refs").join(revision)) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => revision.to_owned(),
        };
        (is_plain_name(&commit) && self.snapshot(&commit).is_dir()).then_some(commit)
    }

    /// The revisions that are here: branches and tags first.
    pub fn revisions(&self) -> Vec<String> {
        let mut known = self.named_revisions();
        known.extend(names_in(&self.folder().join("snapshots"), Path::is_dir));
        known
    }

    /// The branches and tags of which something is here.
    pub fn named_revisions(&self) -> Vec<String> {
        let mut known = names_in(&self.folder().join("refs"), Path::is_file);
        // What a killed process did not finish is none.
        known.retain(|name| !is_temporary(name));
        known
    }

    /// What of `want` is not here at this commit.
    pub fn lacks(&self, commit: &str, want: Want) -> Lack {
        let folder = self.snapshot(commit);
        // A link to a blob that is gone is no file.
        let names = names_in(&folder, Path::is_file);
        let here = |name: &str| names.iter().any(|n| n == name);
        let weights = || match pick::weights(&names) {
            Ok(None) => false,
            Ok(Some(Weights::Sharded(index))) => fs_err::read(folder.join(index))
                .is_ok_and(|index| pick::shards(&index).is_ok_and(|shards| shards.iter().all(|s| here(s)))),
            Err(Unclear::Missing(..)) => false,
            // Which one is meant is for the reader to say.
            Ok(Some(Weights::One(_) | Weights::Parts(_))) | Err(Unclear::Two(_)) => true,
        };
        if !here(CONFIG) {
            Lack::Needed("config.json")
        } else if want == Want::All && !weights() {
            Lack::Needed("weights")
        } else if want != Want::Config && pick::tokenizer(&names).is_empty() && !self.no_tokenizer(commit).is_file() {
            Lack::Tokenizer
        } else {
            Lack::Nothing
        }
    }

    /// The mark that huggingface_hub leaves for a file that the repository does not have, so that nobody asks again.
    fn no_tokenizer(&self, commit: &str) -> PathBuf {
        self.folder().join(".no_exist").join(commit).join("tokenizer.json")
    }

    /// Remembers that the repository has no tokenizer at this commit.
    pub fn remember_no_tokenizer(&self, commit: &str) {
        let mark = self.no_tokenizer(commit);
        // Nothing depends on it but a request.
        let _ = mark.parent().map(fs_err::create_dir_all);
        let _ = write_whole(&mark, b"");
    }

    /// Makes the file `name` of a commit out of the blob that holds its bytes.
    pub fn point(&self, commit: &str, name: &str, etag: &str) -> Result<()> {
        let pointer = self.snapshot(commit).join(name);
        if pointer.is_file() {
            return Ok(());
        }
        self.prepare(&pointer)?;
        // A link to nothing, should one be there.
        let _ = fs_err::remove_file(&pointer);
        match link(etag, &self.blob(etag), &pointer) {
            Err(e) if !pointer.is_file() => Err(self.unwritable(&pointer, e)),
            // Somebody else was faster.
            _ => Ok(()),
        }
    }

    /// Remembers which commit `revision` was.
    pub fn remember(&self, revision: &str, commit: &str) -> Result<()> {
        let path = self.folder().join("refs").join(revision);
        self.prepare(&path)?;
        write_whole(&path, commit.as_bytes())
    }

    /// Makes the folder that `path` will lie in.
    pub fn prepare(&self, path: &Path) -> Result<()> {
        let Some(folder) = path.parent() else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(|e| self.unwritable(folder, e))
    }

    /// The error for what cannot be written into the cache.
    pub fn unwritable(&self, path: &Path, e: io::Error) -> Error {
        let hint = match e.kind() {
            io::ErrorKind::StorageFull => {
                "free some disk space and run it again, or set HF_HOME to a larger disk".into()
            }
            _ => format!("make {} a folder that you may write to, or set HF_HOME to another", self.cache.display()),
        };
        Error::io(format!("cannot write {}: {e}", path.display())).because(e).hint(hint)
    }

    /// Waits until nobody else, Python included, fetches the blob `etag`; nobody will while the answer lives. `tick` can stop
    /// the waiting.
    ///
    /// # Errors
    /// When the lock cannot be made, and what `tick` answers.
    pub fn lock(&self, etag: &str, tick: &mut dyn FnMut() -> Result<()>) -> Result<File> {
        let path = self.cache.join(".locks").join(&self.name).join(format!("{etag}.lock"));
        self.prepare(&path)?;
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(|e| self.unwritable(&path, e))?;
        loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => std::thread::sleep(GLANCE),
                // Not every network disk has locks. They save work, and correctness does not depend on them.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(file),
            }
            tick()?;
        }
    }
}

/// What is missing of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// Nothing.
    Nothing,
    /// The tokenizer, which there may not be.
    Tokenizer,
    /// This, without which it cannot be used.
    Needed(&'static str),
}

/// From two folders deep, as huggingface_hub links them, so that the cache can be moved.
#[cfg(unix)]
fn link(etag: &str, _: &Path, pointer: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(Path::new("../../blobs").join(etag), pointer)
}

/// Links need a privilege there; huggingface_hub, without it, has the file in the snapshot alone.
#[cfg(not(unix))]
fn link(_: &str, blob: &Path, pointer: &Path) -> io::Result<()> {
    std::fs::rename(blob, pointer)
}
