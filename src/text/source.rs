//! Where a model's files are: the program itself, a folder, or the Hugging Face Hub and its local cache.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};

use super::demo::{self, DEMO};
use super::files::{File, Files, names_in};
use super::hub::{Fetching, Hub, Want};
use super::kind::{self, what_it_is};
use super::pick::{self, CONFIG, Weights, is_plain_name};
use crate::error::{Error, ErrorKind, Result, nearest};

/// An index of shards is a list of names: one larger than this is not one. In bytes.
const LARGEST_INDEX: u64 = 64 << 20;

/// A model's files, found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSource {
    /// What the model is called in provenance: its Hugging Face id, the folder's name, or [`DEMO`].
    pub id: String,
    /// The commit on the Hub that the files are from; none for a folder or the built-in model.
    pub revision: Option<String>,
    /// Its files.
    pub files: Files,
    /// Keys of its config.json that are let through though pellucid does not know them.
    pub accepted: BTreeSet<String>,
}

impl ModelSource {
    /// Finds the model called `name`: [`DEMO`], a folder, or a Hugging Face id such as `gpt2` or `org/name@revision`. A
    /// revision is a branch, a tag or a full commit; without one it is `main`. What of it is not in the local cache is
    /// fetched, as the environment says (see [`Hub::from_env`]). A folder that exists comes before an id of the same name,
    /// but `demo` is the built-in model whatever folders there are: what the same command runs must not depend on where
    /// it is given. `./demo` is a folder.
    ///
    /// # Errors
    /// When there is no such folder and no such model in the cache or on the Hub, it has no config.json, or it cannot be
    /// fetched.
    pub fn resolve(name: &str) -> Result<Self> {
        Self::resolve_with(name, Want::All, &Hub::from_env(), &())
    }

    /// As [`ModelSource::resolve`], but of a model on the Hub only the files that `want` says, from `hub`. `told` hears how
    /// far a download is, and can stop it.
    ///
    /// # Errors
    /// As there, and what `told` answers.
    pub fn resolve_with(name: &str, want: Want, hub: &Hub, told: &dyn Fetching) -> Result<Self> {
        if name == DEMO {
            return Ok(Self::of(DEMO.to_owned(), None, demo::FILES));
        }
        let path = expand_home(name);
        if path.exists() || looks_like_a_path(name) {
            return if want == Want::Tokens { Self::of_folder(&path, true) } else { Self::folder(&path) };
        }
        let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
        if !is_hub_id(id) || !is_revision(revision) {
            return Err(Error::bad_input(format!("`{name}` is neither a folder nor a Hugging Face id"))
                .hint("write an id as gpt2, org/name or org/name@revision"));
        }
        if id == DEMO {
            return Err(Error::no_such(format!("the model `{DEMO}` is built in, and has no revision `{revision}`"))
                .hint(format!("write {DEMO} alone")));
        }
        let found = hub.find(id, revision, want, told)?;
        Ok(Self::of(id.to_owned(), Some(found.commit), Files::Folder(found.folder)))
    }

    fn of(id: String, revision: Option<String>, files: Files) -> Self {
        Self { id, revision, files, accepted: BTreeSet::new() }
    }

    /// The same model, with these unknown keys of its config.json let through: the caller knows that they do not change what
    /// the model computes.
    pub fn accepting<K: AsRef<str>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.accepted.extend(keys.into_iter().map(|key| key.as_ref().to_owned()));
        self
    }

    /// The model in the folder `path`, whatever it is called.
    ///
    /// # Errors
    /// When there is no such folder, or it has no config.json.
    pub fn folder(path: &Path) -> Result<Self> {
        Self::of_folder(path, false)
    }

    /// The folder `path`; `tokens` says that its tokenizer alone is wanted, which needs no config.json.
    fn of_folder(path: &Path, tokens: bool) -> Result<Self> {
        let shown = path.display();
        if path.is_file() {
            return Err(no_folder(path));
        }
        if !path.is_dir() {
            return Err(Error::no_such(format!("there is no model folder {shown}")).hint(match sibling(path) {
                Some(near) => format!("did you mean {near}?"),
                None => "give the folder that holds the model's config.json".to_owned(),
            }));
        }
        let names = names_in(path, Path::is_file);
        let enough = path.join(CONFIG).is_file() || tokens && !pick::tokenizer(&names).is_empty();
        if !enough {
            // Half of a tokenizer says what is missing better than a model that was not asked for.
            return Err(match tokens && pick::half_a_tokenizer(&names) {
                true => kind::no_tokenizer(&Files::Folder(path.to_owned())),
                false => no_config(path, &names),
            });
        }
        // `.` and `..` have no name of their own.
        let full = fs_err::canonicalize(path)?;
        let id = full.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        Ok(Self::of(id, None, Files::Folder(path.to_owned())))
    }

    /// The text of the model's configuration.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn config(&self) -> Result<String> {
        let (name, files) = (CONFIG, &self.files);
        let bytes = files.read(name)?;
        let bytes = bytes.ok_or_else(|| gone(files, name))?;
        if let Some(file) = files.file(name) {
            what_it_is(&file, &bytes)?;
        }
        String::from_utf8(bytes).map_err(|e| {
            Error::bad_model(format!("{} is not UTF-8: {e}", files.shown(name)))
                .hint("was the download complete? fetch the file again")
        })
    }

    /// The files that hold the weights: model.safetensors, or every shard that model.safetensors.index.json names, in the
    /// order of their names, or without an index all that their names promise; where there are none of these,
    /// pytorch_model.bin or its shards; else the one .pt or .pth file.
    ///
    /// # Errors
    /// When there are none, with what there is; when several could be meant, the index cannot be read, a shard is missing or
    /// lies outside the folder.
    pub fn weights(&self) -> Result<Vec<File>> {
        let (files, names) = (&self.files, self.files.names());
        if let Some(verdict) = kind::quantized(&names) {
            return Err(verdict.of(files));
        }
        let found = pick::weights(&names).map_err(|unclear| unclear.error(files, "leave the one that is meant"))?;
        let file = |name: &String| files.file(name).ok_or_else(|| gone(files, name));
        let all = match &found {
            Some(Weights::One(name)) => vec![file(name)?],
            Some(Weights::Parts(names)) => names.iter().map(file).collect::<Result<_>>()?,
            Some(Weights::Sharded(index)) => self.shards(&file(index)?)?,
            None => return Err(no_weights(files, &names)),
        };
        Ok(all)
    }

    /// What lies beside the model and is not used, though somebody may believe so: an adapter. One sentence.
    pub fn unused(&self) -> Option<String> {
        kind::beside(&self.files)
    }

    /// Why there is no tokenizer, for whoever gave a text.
    pub fn no_tokenizer(&self) -> Error {
        kind::no_tokenizer(&self.files)
    }

    fn shards(&self, index: &File) -> Result<Vec<File>> {
        let bad = |what: String| Error::bad_model(format!("{index} {what}"));
        if index.size()? > LARGEST_INDEX {
            return Err(bad(format!("is larger than {} MiB", LARGEST_INDEX >> 20)).hint("it is not an index of shards"));
        }
        let bytes = index.read()?;
        what_it_is(index, &bytes)?;
        let names = pick::shards(&bytes).map_err(|what| bad(what).hint("get the model from its source again"))?;
        let found = names.into_iter().map(|name| {
            let missing = || bad(format!("names {name}, which is missing")).hint("download the missing file");
            self.files.file(&name).ok_or_else(missing)
        });
        found.collect()
    }
}

/// The error for a file that was there a moment ago.
fn gone(files: &Files, name: &str) -> Error {
    Error::bad_model(format!("there is no {}", files.shown(name))).hint("check that nobody moves the model's files")
}

/// The error for a file in place of a folder.
fn no_folder(path: &Path) -> Error {
    let (shown, name) = (path.display(), path.to_string_lossy().to_ascii_lowercase());
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let ends = |all: &[&str]| all.iter().any(|end| name.ends_with(end));
    if ends(&[".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".7z"]) {
        return Error::bad_input(format!("{shown} is an archive, but a model is a folder"))
            .hint("unpack it, and give the folder in it that has config.json");
    }
    if ends(&[".gguf"]) {
        return Error::bad_input(format!("{shown} is a GGUF file, which is not read"))
            .hint("give the folder in Hugging Face's format that it was made of, with config.json and safetensors");
    }
    if parent.join(CONFIG).is_file() {
        return Error::bad_input(format!("{shown} is a file, but a model is a folder"))
            .hint(format!("give the folder that it lies in: {}", parent.display()));
    }
    Error::bad_input(format!("{shown} is a file, but a model is a folder, with {CONFIG} and weights"))
        .hint(format!("put the model's {CONFIG} and tokenizer beside it, and give the folder: {}", parent.display()))
}

/// What is wrong with a folder without config.json: where no weights are either, there is no such model.
fn kind_of(names: &[String]) -> ErrorKind {
    if matches!(pick::weights(names), Ok(None)) { ErrorKind::NoSuch } else { ErrorKind::BadModel }
}

/// The error for a folder without config.json.
fn no_config(path: &Path, names: &[String]) -> Error {
    let shown = path.display();
    let folders = names_in(path, Path::is_dir);
    let inside: Vec<&String> = folders.iter().filter(|name| path.join(name).join(CONFIG).is_file()).collect();
    let files = Files::Folder(path.to_owned());
    let pipeline = names.iter().any(|name| name == "model_index.json");
    if (inside.is_empty() || pipeline)
        && let Some(verdict) = kind::no_model(names, &folders, |name| files.json(name))
    {
        return verdict.of_kind(kind_of(names), shown);
    }
    let e = Error::of_kind(kind_of(names), format!("{shown} has no {CONFIG}, so it is not a model folder"));
    let hint = match (inside.first(), pick::weights(names)) {
        (Some(name), _) => format!("did you mean {}?", path.join(name).display()),
        (None, Ok(None)) => "a model folder holds config.json and model.safetensors".to_owned(),
        (None, _) => format!("fetch the {CONFIG} that belongs to these weights from where they came from"),
    };
    e.hint(hint)
}

/// The error for a folder with a config.json and without weights that are read.
fn no_weights(files: &Files, names: &[String]) -> Error {
    if let Some(verdict) = kind::no_model(names, &[], |name| files.json(name)) {
        return verdict.of(files);
    }
    // What training leaves beside a model.
    let beside =
        |name: &str| ["training_args", "optimizer", "scheduler", "random_states"].iter().any(|b| name.starts_with(b));
    let weights = |name: &&String| (name.ends_with(".safetensors") || name.ends_with(".bin")) && !beside(name);
    let other: Vec<&String> = names.iter().filter(weights).collect();
    if let [name, ..] = other[..] {
        let usual = if name.ends_with(".bin") { "pytorch_model.bin" } else { "model.safetensors" };
        return Error::bad_model(format!("{files} has no {usual}, only {name}"))
            .hint(format!("if these are all of the model's weights, call the file {usual}"));
    }
    Error::bad_model(format!("{files} has no model.safetensors, pytorch_model.bin, .pt or .pth file"))
        .hint("a model folder holds model.safetensors, or model.safetensors.index.json and the files it names")
}

pub(super) fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix('~'), env::home_dir()) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

pub(super) fn looks_like_a_path(name: &str) -> bool {
    // A revision may have slashes of its own: gpt2@refs/pr/1.
    let id = name.split_once('@').map_or(name, |(id, _)| id);
    name.starts_with(['.', '/', '~']) || name.contains('\\') || id.ends_with('/') || id.matches('/').count() > 1
}

pub(super) fn is_hub_id(id: &str) -> bool {
    let part = |p: &str| is_plain_name(p) && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    id.split('/').count() <= 2 && id.split('/').all(part)
}

/// A branch, tag, pull request (`refs/pr/1`) or commit; nothing that leaves the cache.
fn is_revision(revision: &str) -> bool {
    !revision.is_empty() && revision.split('/').all(is_plain_name)
}

/// The folder beside `path` with the nearest name.
pub(super) fn sibling(path: &Path) -> Option<String> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folders = names_in(parent, Path::is_dir);
    let near = nearest(path.file_name()?.to_str()?, folders.iter().map(String::as_str))?;
    Some(path.with_file_name(near).display().to_string())
}
