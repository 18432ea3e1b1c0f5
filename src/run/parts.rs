//! What a long sweep has done so far: a file for each wave, so that a run that was stopped goes on where it was.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::analysis::patch::{Keep, Measured};
use crate::error::{Error, Result};
use crate::whole::{is_temporary, write_whole};

/// Finished waves of one request, in the folder `parts` beside its results.
#[derive(Debug)]
pub struct Parts {
    folder: PathBuf,
    request: String,
    /// Whether waves of an earlier run are used.
    resumed: bool,
}

#[derive(Serialize, Deserialize)]
struct Part {
    /// Hash of the request, and of the instructions that computed it.
    request: String,
    measured: Vec<Measured>,
}

impl Parts {
    /// The parts of `request` in its `folder`. Those of an earlier run are used if `resume`, and else thrown away; those of
    /// another request only with `force`.
    ///
    /// # Errors
    /// When there is something to go on with but not to resume from, or parts of another request.
    pub fn open(folder: &Path, request: &Value, resume: bool, force: bool) -> Result<Self> {
        let folder = folder.join("parts");
        // Waves of other instructions would be right within rounding, and the whole not what one machine gives.
        let request = format!("{} {request}", crate::model::instructions());
        let request = blake3::hash(request.as_bytes()).to_hex().to_string();
        let parts = Self { folder, request, resumed: resume };
        let known = parts.files();
        match (known.first(), resume) {
            (None, true) => {
                Err(Error::no_such(format!("{} holds no stopped run to go on with", parts.folder.display()))
                    .hint("run the command without --resume, or name its folder with --out"))
            }
            // All of them now: what is wrong is said before anything runs.
            (Some(_), true) => known.iter().try_for_each(|file| parts.read(file).map(drop)).map(|()| parts),
            (Some(part), false) if !force && parts.is_of_another(part) => {
                Err(Error::bad_input(format!("{} is a part of another request, which was stopped", part.display()))
                    .hint("give another folder with --out, or throw it away with --force"))
            }
            (_, false) => {
                parts.clear();
                Ok(parts)
            }
        }
    }

    /// Whether a part says that it is of another request. A damaged one says nothing.
    fn is_of_another(&self, path: &Path) -> bool {
        let part = std::fs::read(path).ok().and_then(|text| serde_json::from_slice::<Part>(&text).ok());
        part.is_some_and(|part| part.request != self.request)
    }

    /// Throws all parts away, and what was being written when a run was killed: the results are whole.
    pub fn clear(&self) {
        let beside = self.folder.parent().map(unfinished).unwrap_or_default();
        for file in self.files().into_iter().chain(unfinished(&self.folder)).chain(beside) {
            let _ = std::fs::remove_file(file);
        }
        let _ = std::fs::remove_dir(&self.folder);
    }

    fn files(&self) -> Vec<PathBuf> {
        files(&self.folder, |name| name.ends_with(".json"))
    }

    fn file(&self, group: usize, wave: usize) -> PathBuf {
        self.folder.join(format!("{group:06}-{wave:06}.json"))
    }

    fn read(&self, path: &Path) -> Result<Part> {
        let damaged = |e: String| {
            Error::bad_input(format!("{} is not a part of a sweep: {e}", path.display()))
                .hint("delete it, and resume again")
        };
        let text = fs_err::read_to_string(path).map_err(|e| damaged(e.to_string()))?;
        let part: Part = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
        match part.request == self.request {
            true => Ok(part),
            false => Err(Error::bad_input(format!("{} is a part of another request", path.display())).hint(
                "resume with the command that was stopped, --memory included, on a machine with the same instructions",
            )),
        }
    }
}

/// The files of `folder` with such names, in their order.
fn files(folder: &Path, such: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.filter(|e| e.file_name().to_str().is_some_and(&such)).map(|e| e.path()).collect();
    files.sort();
    files
}

/// What whoever wrote into `folder` did not finish, being killed.
fn unfinished(folder: &Path) -> Vec<PathBuf> {
    files(folder, is_temporary)
}

impl Keep for Parts {
    fn kept(&mut self, group: usize, wave: usize) -> Result<Option<Vec<Measured>>> {
        let path = self.file(group, wave);
        if !self.resumed || !path.exists() {
            return Ok(None);
        }
        Ok(Some(self.read(&path)?.measured))
    }

    fn keep(&mut self, group: usize, wave: usize, measured: &[Measured]) -> Result<()> {
        fs_err::create_dir_all(&self.folder).map_err(|e| Error::cannot_write(&self.folder, e))?;
        let part = Part { request: self.request.clone(), measured: measured.to_vec() };
        let bytes = serde_json::to_vec(&part).map_err(|e| Error::compute(e.to_string()).fault())?;
        write_whole(&self.file(group, wave), &bytes)
    }
}
