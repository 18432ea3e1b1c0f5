//! A model's files wherever they lie, in a folder or in the program itself, read in one way.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::Result;

/// Where files are that are part of the program.
const BUILT_IN: &str = "built in";

/// Where the files of one model are.
#[derive(Clone, PartialEq, Eq)]
pub enum Files {
    /// A folder has them.
    Folder(PathBuf),
    /// They are part of the program: names and contents.
    BuiltIn(&'static [(&'static str, &'static [u8])]),
}

impl Files {
    /// The file called `name`, where there is one.
    pub fn file(&self, name: &str) -> Option<File> {
        let at = match self {
            Self::Folder(dir) => Some(dir.join(name)).filter(|path| path.is_file()).map(At::Path),
            Self::BuiltIn(files) => files.iter().find(|(n, _)| *n == name).map(|(_, bytes)| At::Program(bytes)),
        };
        at.map(|at| File { name: name.to_owned(), at })
    }

    /// What is in the file called `name`; none where there is no such file. For small files: it is copied.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.file(name).map(|file| file.read()).transpose()
    }

    /// The JSON in the file called `name`; null where there is none that can be read.
    pub(super) fn json(&self, name: &str) -> serde_json::Value {
        let bytes = self.read(name).ok().flatten().unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// What messages call the file `name`, whether or not there is one.
    pub fn shown(&self, name: &str) -> String {
        match self {
            Self::Folder(dir) => dir.join(name).display().to_string(),
            Self::BuiltIn(_) => format!("{name} ({BUILT_IN})"),
        }
    }

    /// The names of the files, sorted; empty if the folder cannot be read.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Folder(dir) => names_in(dir, Path::is_file),
            Self::BuiltIn(files) => {
                let mut names: Vec<String> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
                names.sort();
                names
            }
        }
    }
}

/// The folder, or `built in`.
impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(dir) => dir.display().fmt(f),
            Self::BuiltIn(_) => f.write_str(BUILT_IN),
        }
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without what is in them, which is megabytes.
        f.debug_tuple("Files").field(&self.to_string()).field(&self.names()).finish()
    }
}

/// One file of a model, which was there when it was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    name: String,
    /// Where its bytes are.
    pub at: At,
}

/// Where the bytes of a file are.
#[derive(Clone, PartialEq, Eq)]
pub enum At {
    /// On disk.
    Path(PathBuf),
    /// In the program, where they stay until it ends.
    Program(&'static [u8]),
}

impl File {
    /// Its name in its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its size in bytes.
    ///
    /// # Errors
    /// When it is gone.
    pub fn size(&self) -> Result<u64> {
        Ok(match &self.at {
            At::Path(path) => fs_err::metadata(path)?.len(),
            At::Program(bytes) => bytes.len() as u64,
        })
    }

    /// All its bytes, copied.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![];
        self.open()?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Its bytes from the beginning.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&self) -> Result<Box<dyn Read>> {
        Ok(match &self.at {
            At::Path(path) => Box::new(fs_err::File::open(path)?),
            At::Program(bytes) => Box::new(*bytes),
        })
    }
}

/// What messages call it.
impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Path(path) => path.display().fmt(f),
            At::Program(_) => write!(f, "{} ({BUILT_IN})", self.name),
        }
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Program(bytes) => write!(f, "Program({} bytes)", bytes.len()),
        }
    }
}

/// The names in `dir` that `keep` wants, sorted; empty if it cannot be read.
pub(super) fn names_in(dir: &Path, keep: impl Fn(&Path) -> bool) -> Vec<String> {
    let Ok(entries) = fs_err::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok())
        .filter(|entry| keep(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
