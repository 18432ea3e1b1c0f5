//! The files of a corpus: found in folders, sorted, each known by its name.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::source::{Packed, Source};
use super::{Reading, Records, json, rows, texts};
use crate::error::{Error, Result};
use crate::text::records::{At, Written};

/// A file of the corpus.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub path: PathBuf,
    /// From the path that was given on, with `/` between folders.
    pub name: String,
    /// What messages call it.
    pub shown: String,
    pub bytes: u64,
    written: Written,
    packed: Option<Packed>,
}

/// Folders inside folders: more are links in a circle.
const DEEPEST: usize = 40;

/// What files of a corpus end in.
fn kinds() -> String {
    format!(".{}; all but parquet also with .gz or .zst behind it", Written::NAMES.join(", ."))
}

/// The files of `paths`.
pub(super) fn find(paths: &[PathBuf]) -> Result<Vec<Found>> {
    if paths.is_empty() {
        return Err(Error::bad_input("no corpus is given").hint("give a file, or a folder with files"));
    }
    let mut found = vec![];
    for path in paths {
        let about = fs::metadata(path).map_err(|e| Error::cannot_read(path, e))?;
        if !about.is_dir() {
            found.push(file(path, path.file_name().unwrap_or_default().to_string_lossy().into_owned())?);
            continue;
        }
        let mut names = vec![];
        folder(path, "", 0, &mut names)?;
        if names.is_empty() {
            return Err(Error::bad_input(format!(
                "there are no files of a known kind in the folder {}",
                path.display()
            ))
            .hint(format!("use {}", kinds())));
        }
        names.sort();
        for name in names {
            found.push(file(&path.join(&name), name)?);
        }
    }
    Ok(found)
}

/// The names of the files under `path` that can be read; `inside` is what stands before them.
fn folder(path: &Path, inside: &str, depth: usize, names: &mut Vec<String>) -> Result<()> {
    if depth > DEEPEST {
        return Err(Error::bad_input(format!("the folders in {} do not end", path.display()))
            .hint("a link in it leads back to it; remove the link"));
    }
    for entry in fs::read_dir(path).map_err(|e| Error::cannot_read(path, e))? {
        let entry = entry.map_err(|e| Error::cannot_read(path, e))?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let (path, name) = (entry.path(), format!("{inside}{name}"));
        if path.is_dir() {
            folder(&path, &format!("{name}/"), depth + 1, names)?;
        } else if kind(&path).is_some_and(|(written, packed)| written != Written::Parquet || packed.is_none()) {
            names.push(name);
        }
    }
    Ok(())
}

/// How a file is written and packed, by its name.
fn kind(path: &Path) -> Option<(Written, Option<Packed>)> {
    let packed = path.extension().and_then(|end| Packed::named(end.to_str()?));
    let stem = path.file_stem().map(Path::new);
    Some((Written::of(if packed.is_some() { stem? } else { path })?, packed))
}

fn file(path: &Path, name: String) -> Result<Found> {
    let shown = path.display().to_string();
    let Some((written, packed)) = kind(path) else {
        return Err(Error::bad_input(format!("{shown}: this is not a kind of corpus file that is known")).hint(kinds()));
    };
    let about = fs::metadata(path).map_err(|e| Error::cannot_read(path, e))?;
    if !about.is_file() {
        // It is read twice: its hash is part of the request.
        return Err(Error::bad_input(format!("{shown} is not a file")).hint("write what it says to a file"));
    }
    if written == Written::Parquet && packed.is_some() {
        return Err(Error::bad_input(format!("{shown} is packed parquet, which cannot be read piece by piece"))
            .hint("unpack it: parquet is packed inside"));
    }
    Ok(Found { path: path.to_owned(), name, shown, bytes: about.len(), written, packed })
}

impl Found {
    /// Whether it can only be read from its beginning on.
    pub fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// What the document there is called that has no id.
    pub fn id_at(&self, at: Option<At>) -> String {
        match at {
            None => self.name.clone(),
            Some(At::Line(n) | At::Row(n)) => format!("{}:{n}", self.name),
        }
    }

    /// BLAKE3 of its contents.
    pub fn hash(&self) -> Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        let mut read = || hasher.update_reader(fs::File::open(&self.path)?).map(|_| ());
        read().map_err(|e| Error::cannot_read(&self.path, e))?;
        Ok(hasher.finalize())
    }

    /// Its records. Bytes that are read are added to `read`.
    pub fn records(&self, reading: &Reading, read: &Arc<AtomicU64>) -> Result<Box<dyn Records>> {
        if self.written == Written::Parquet {
            return rows::parquet(self, reading, read);
        }
        let source = Source::open(&self.path, self.packed, reading, read)?;
        Ok(match self.written {
            Written::Lines => texts::records(source, reading),
            Written::JsonLines => json::lines(source, reading),
            Written::Json => json::list(source, reading),
            Written::Tsv => rows::separated(source, b'\t', reading)?,
            _ => rows::separated(source, b',', reading)?,
        })
    }
}
