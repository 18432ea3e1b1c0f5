//! A long run in pieces, each of them a file: a run that was stopped goes on after the last of them, and those of shards are joined.
//!
//! `pieces/` lies beside the results until they are complete. `pieces.json` in it lists the pieces with their sizes and hashes, and says of
//! which request they are and with which instructions they were computed. A piece that is not as it was written is none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::owned::{is_as_written, is_regular, open_regular, size_and_hash};
use super::parts::{Parts, nothing_to_resume};
use crate::error::{Error, Result, said};
use crate::table::{METADATA_KEY, Provenance};
use crate::whole::{is_drawn, keep, temporary_beside, write_whole};

/// What the folder of pieces is called.
const FOLDER: &str = "pieces";
/// What the list of them is called, and a shard's result.
pub const LIST: &str = "pieces.json";

/// A piece as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    name: String,
    bytes: u64,
    blake3: String,
}

impl Piece {
    fn is_whole(&self, folder: &Path, hashes: bool) -> bool {
        is_as_written(&folder.join(&self.name), (self.bytes, &self.blake3), hashes)
    }
}

/// Of what pieces are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Of {
    request: String,
    instructions: String,
}

/// Finished pieces of one request.
#[derive(Debug, Default)]
pub struct Pieces {
    /// Where new ones go: none as long as there is no place, which a temporary folder becomes.
    home: Option<PathBuf>,
    temporary: Option<TempDir>,
    of: Option<Of>,
    /// Each with the folder that it is in.
    known: BTreeMap<String, (PathBuf, Piece)>,
}

/// Whether a stopped run left something in `folder` that it can go on from: pieces, or waves of a sweep.
pub fn is_begun(folder: &Path) -> bool {
    Pieces::are_in(folder) || Parts::are_in(folder)
}

/// The list in `folder`.
fn list(folder: &Path) -> Option<(Of, Vec<Piece>)> {
    let file = open_regular(&folder.join(LIST)).ok()???;
    let list: Vec<Value> = serde_json::from_reader(std::io::BufReader::new(file)).ok()?;
    let (first, pieces) = list.split_first()?;
    let pieces: Vec<Piece> = pieces.iter().map(|p| serde_json::from_value(p.clone()).ok()).collect::<Option<_>>()?;
    let plain = pieces.iter().all(|piece| Path::new(&piece.name).file_name() == Some(piece.name.as_ref()));
    let of = serde_json::from_value(first["of"].clone()).ok()?;
    plain.then_some((of, pieces))
}

impl Pieces {
    /// The pieces of `request`, a hash, in the folder of its results. Those of an earlier run are used if `resume`, and else thrown
    /// away; those of another request only with `force`.
    ///
    /// # Errors
    /// When there is nothing to resume, or pieces of another request; when something else has the folder's name.
    pub fn open(folder: &Path, request: &str, resume: bool, force: bool) -> Result<Self> {
        let of = Of { request: request.to_owned(), instructions: crate::model::instructions().to_owned() };
        let home = folder.join(FOLDER);
        let mut pieces = Self { home: Some(home.clone()), of: Some(of.clone()), ..Self::default() };
        if home.symlink_metadata().is_err() {
            return if resume { Err(nothing_to_resume(folder)) } else { Ok(pieces) };
        }
        let shown = home.display();
        if home.is_dir() && home.join(LIST).symlink_metadata().is_err() {
            // It was killed before it had listed one.
            return Ok(pieces);
        }
        let Some((theirs, list)) = list(&home) else {
            return Err(Error::bad_input(format!("{shown} is not what a stopped run left"))
                .hint(said("give another folder with {out}, or move it away")));
        };
        match (theirs == of, resume) {
            (true, true) => {
                pieces.know(&home, list);
                Ok(pieces)
            }
            (false, true) => Err(Error::bad_input(format!("{shown} has the pieces of another request")).hint(said(
                "resume with the command that was stopped, {memory} included, on a machine with the same instructions",
            ))),
            (false, false) if !force => {
                Err(Error::bad_input(format!("{shown} has the pieces of another request, which was stopped"))
                    .hint(said("give another folder with {out}, or throw them away with {force}")))
            }
            _ => {
                pieces.know(&home, list);
                pieces.clear();
                Ok(pieces)
            }
        }
    }

    /// The pieces of shards, in their folders.
    ///
    /// # Errors
    /// When a shard's list cannot be read.
    pub fn of_shards<'p>(folders: impl Iterator<Item = &'p Path>) -> Result<Self> {
        let mut pieces = Self::default();
        for folder in folders {
            let (_, list) = list(folder).ok_or_else(|| {
                Error::bad_input(format!("{} is damaged", folder.join(LIST).display())).hint("make this shard again")
            })?;
            pieces.know(&folder.join(FOLDER), list);
        }
        Ok(pieces)
    }

    fn know(&mut self, folder: &Path, list: Vec<Piece>) {
        self.known.extend(list.into_iter().map(|piece| (piece.name.clone(), (folder.to_owned(), piece))));
    }

    /// Whether a stopped run left something in the folder.
    pub fn are_in(folder: &Path) -> bool {
        folder.join(FOLDER).symlink_metadata().is_ok()
    }

    /// Where the piece `name` is; none where it has to be made.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let (folder, piece) = self.known.get(name)?;
        piece.is_whole(folder, true).then(|| folder.join(name))
    }

    /// Whether the pieces of a shard in `folder` are as they were written. Without `hashes`, their sizes alone are compared.
    pub(super) fn are_whole(folder: &Path, hashes: bool) -> bool {
        let home = folder.join(FOLDER);
        list(folder).is_some_and(|(_, list)| list.iter().all(|piece| piece.is_whole(&home, hashes)))
    }

    /// Has `write` make the piece `name`, and keeps it. Says where it is.
    ///
    /// # Errors
    /// When it cannot be written; what `write` says.
    pub fn keep(&mut self, name: &str, write: &mut dyn FnMut(&Path) -> Result<()>) -> Result<PathBuf> {
        let home = match &self.home {
            Some(home) => home.clone(),
            None => {
                let folder = tempfile::tempdir()?;
                let home = folder.path().to_owned();
                (self.temporary, self.home) = (Some(folder), Some(home.clone()));
                home
            }
        };
        fs_err::create_dir_all(&home).map_err(|e| Error::cannot_write(&home, e))?;
        let path = home.join(name);
        let file = temporary_beside(&path)?;
        write(file.path())?;
        let measured = fs_err::File::open(file.path()).and_then(|file| size_and_hash(file.into_parts().0));
        let (bytes, blake3) = measured.map_err(|e| Error::cannot_read(&path, e))?;
        keep(file, &path)?;
        self.known.insert(name.to_owned(), (home.clone(), Piece { name: name.to_owned(), bytes, blake3 }));
        // A list comes after what it lists.
        write_whole(&home.join(LIST), self.list(None).as_bytes())?;
        Ok(path)
    }

    fn list(&self, made: Option<&Provenance>) -> String {
        let mut first = json!({"of": self.of});
        if let Some(made) = made {
            first[METADATA_KEY] = json!(made);
        }
        let all: Vec<Value> = std::iter::once(first).chain(self.known.values().map(|(_, p)| json!(p))).collect();
        format!("{:#}\n", Value::Array(all))
    }

    /// Writes the list of them to `path`, as a result that was made as `made` says.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_list(&self, path: &Path, made: &Provenance) -> Result<()> {
        let mut made = made.clone();
        made.stamp_as("pieces", 1);
        write_whole(path, self.list(Some(&made)).as_bytes())
    }

    /// Throws them away: the results are whole. What else is in their folder stays.
    pub fn clear(&mut self) {
        let Some(home) = self.home.as_ref().filter(|_| self.temporary.is_none()) else { return };
        let own = std::mem::take(&mut self.known).into_values().filter(|(folder, _)| folder == home);
        // What a killed run was about to write as well.
        let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
        let drawn = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_drawn)).map(|entry| entry.path());
        for path in own.map(|(folder, piece)| folder.join(piece.name)).chain([home.join(LIST)]).chain(drawn) {
            if is_regular(&path) {
                let _ = std::fs::remove_file(path);
            }
        }
        let _ = std::fs::remove_dir(home);
    }
}
