//! Where results go: a folder of its own for each request, whole files only, and a manifest.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::whole::write_whole;

/// The folder of one request: `runs/<analysis>-<hash of the request>`, unless another was given.
///
/// The same request has the same folder and leaves the same bytes; another request never overwrites it. What a run made
/// before it failed is taken away again, files and folders.
pub struct RunFolder {
    path: PathBuf,
    /// Folders that this run made, innermost first.
    made: Vec<PathBuf>,
    /// Results, in the order in which they are made.
    files: Vec<String>,
    /// Those of them that were not there before.
    fresh: Vec<PathBuf>,
    finished: bool,
    started: Instant,
}

impl RunFolder {
    /// Makes the folder, or takes the one that is there.
    ///
    /// `request` is everything that decides the results: model, prompts, options.
    ///
    /// # Errors
    /// When it cannot be made or written to.
    pub fn create(out: Option<&Path>, analysis: &str, request: &impl Serialize) -> Result<Self> {
        let path = match out {
            Some(out) => out.to_owned(),
            None => {
                let text = serde_json::to_vec(request).map_err(|e| Error::compute(e.to_string()))?;
                let hash = blake3::hash(&text).to_hex();
                Path::new("runs").join(format!("{analysis}-{}", &hash[..12]))
            }
        };
        if path.exists() && !path.is_dir() {
            return Err(Error::bad_input(format!("{} is a file, and results go to a folder", path.display()))
                .hint("give another name with --out"));
        }
        let missing = |p: &&Path| !p.as_os_str().is_empty() && !p.exists();
        let made = path.ancestors().take_while(missing).map(Path::to_owned).collect();
        // From here on, whatever fails, what was made is taken away again.
        let folder = Self { path, made, files: vec![], fresh: vec![], finished: false, started: Instant::now() };
        fs_err::create_dir_all(&folder.path).map_err(|e| unwritable(&folder.path, &e))?;
        // Found out now rather than after an hour of work.
        tempfile::tempfile_in(&folder.path).map_err(|e| unwritable(&folder.path, &e))?;
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a result called `name`, which is listed in the manifest.
    pub fn file(&mut self, name: &str) -> PathBuf {
        if !self.files.iter().any(|known| known == name) {
            self.files.push(name.to_owned());
        }
        let path = self.path.join(name);
        if !path.exists() {
            self.fresh.push(path.clone());
        }
        path
    }

    /// Writes a whole file under a temporary name and renames it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.file(name);
        write_whole(&path, bytes)?;
        Ok(path)
    }

    /// Removes what the manifest that is there lists and this run did not make: figures of a run that was stopped may be of
    /// other parts of the results than those of the whole.
    pub fn take_away_what_is_replaced(&self) {
        let text = fs_err::read(self.path.join("manifest.json")).unwrap_or_default();
        let manifest: Value = serde_json::from_slice(&text).unwrap_or_default();
        let listed = manifest["files"].as_array().into_iter().flatten().filter_map(Value::as_str);
        // Names, and no paths to elsewhere.
        for name in listed.filter(|name| Path::new(name).file_name() == Some(OsStr::new(name))) {
            if !self.files.iter().any(|own| own == name) {
                let _ = std::fs::remove_file(self.path.join(name));
            }
        }
    }

    /// Writes `manifest.json`: what differs between two runs of one request (times, machine), and what was written.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, command: &[String]) -> Result<Finished> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let manifest = json!({
            "pellucid_version": env!("CARGO_PKG_VERSION"),
            "command": command,
            "files": self.files,
            "finished_unix_s": since_1970.as_secs(),
            "elapsed_s": self.started.elapsed().as_secs_f64(),
            "machine": {
                "os": std::env::consts::OS,
                "arch": std::env::consts::ARCH,
                "threads": rayon::current_num_threads(),
            },
        });
        write_whole(&self.path.join("manifest.json"), format!("{manifest:#}\n").as_bytes())?;
        self.finished = true;
        Ok(Finished { path: self.path.clone(), files: std::mem::take(&mut self.files) })
    }
}

/// A folder that holds all results of its request.
pub struct Finished {
    /// The folder.
    pub path: PathBuf,
    /// The results in it, in the order in which they were made.
    pub files: Vec<String>,
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for file in &self.fresh {
            let _ = std::fs::remove_file(file);
        }
        // Only empty folders go: what others put there meanwhile stays.
        for folder in &self.made {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn unwritable(path: &Path, e: &std::io::Error) -> Error {
    Error::io(format!("{} cannot be written: {e}", path.display()))
        .hint("is the folder writable, and the disk not full? --out names another")
}
