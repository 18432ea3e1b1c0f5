//! Where a model's files are: the program itself, a folder, or what Python's Hugging Face libraries already downloaded.

use std::collections::BTreeSet;
use std::env;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::demo::{self, DEMO};
use super::files::{File, Files, names_in};
use crate::error::{Error, Result, nearest};

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
}

impl ModelSource {
    /// Finds the model called `name`: [`DEMO`], a folder, or a Hugging Face id such as `gpt2` or `org/name@revision` that
    /// is in the local Hub cache (see [`hub_cache`]). A revision is a branch, a tag or a full commit; without one it is
    /// `main`. Nothing is downloaded. A folder that exists comes before an id of the same name, but `demo` is the built-in
    /// model whatever folders there are: what the same command runs must not depend on where it is given. `./demo` is a
    /// folder.
    ///
    /// # Errors
    /// When there is no such folder and no such model in the cache, or it has no config.json.
    pub fn resolve(name: &str) -> Result<Self> {
        Self::resolve_in(name, &hub_cache())
    }

    /// As [`ModelSource::resolve`], with the Hub cache at `cache`.
    ///
    /// # Errors
    /// As there.
    pub fn resolve_in(name: &str, cache: &Path) -> Result<Self> {
        if name == DEMO {
            return Ok(Self { id: DEMO.to_owned(), revision: None, files: demo::FILES });
        }
        let path = expand_home(name);
        if path.exists() || looks_like_a_path(name) {
            return Self::folder(&path);
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
        Self::cached(id, revision, cache)
    }

    /// The model in the folder `path`, whatever it is called.
    ///
    /// # Errors
    /// When there is no such folder, or it has no config.json.
    pub fn folder(path: &Path) -> Result<Self> {
        let shown = path.display();
        if path.is_file() {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            return Err(Error::bad_input(format!("{shown} is a file, but a model is a folder"))
                .hint(format!("give the folder that it lies in: {}", parent.display())));
        }
        if !path.is_dir() {
            return Err(Error::no_such(format!("there is no model folder {shown}")).hint(match sibling(path) {
                Some(near) => format!("did you mean {near}?"),
                None => "give the folder that holds the model's config.json".to_owned(),
            }));
        }
        if !path.join("config.json").is_file() {
            let inside = names_in(path, |p| p.join("config.json").is_file());
            return Err(Error::bad_model(format!("{shown} has no config.json, so it is not a model folder")).hint(
                match inside.first() {
                    Some(name) => format!("did you mean {}?", path.join(name).display()),
                    None => "a model folder holds config.json and model.safetensors".to_owned(),
                },
            ));
        }
        // `.` and `..` have no name of their own.
        let full = fs_err::canonicalize(path)?;
        let id = full.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        Ok(Self { id, revision: None, files: Files::Folder(path.to_owned()) })
    }

    fn cached(id: &str, revision: &str, cache: &Path) -> Result<Self> {
        let repo = cache.join(format!("models--{}", id.replace('/', "--")));
        if !repo.is_dir() {
            return Err(not_found(id, cache));
        }
        let commit = match fs_err::read_to_string(repo.join("refs").join(revision)) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => revision.to_owned(),
        };
        let dir = repo.join("snapshots").join(&commit);
        if !is_plain_name(&commit) || !dir.is_dir() {
            let mut known = names_in(&repo.join("refs"), Path::is_file);
            known.extend(names_in(&repo.join("snapshots"), Path::is_dir));
            return Err(Error::no_such(format!(
                "the Hub cache {} has `{id}`, but not its revision `{revision}`",
                cache.display()
            ))
            .hint(match known.first() {
                Some(other) => format!("it has {id}@{other}; or run: {}", download(id, revision)),
                None => format!("run: {}", download(id, revision)),
            }));
        }
        if !dir.join("config.json").is_file() {
            return Err(Error::bad_model(format!("{} has no config.json", dir.display()))
                .hint(format!("the download was not finished; run: {}", download(id, revision))));
        }
        Ok(Self { id: id.to_owned(), revision: Some(commit), files: Files::Folder(dir) })
    }

    /// The text of the model's configuration.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn config(&self) -> Result<String> {
        let (name, files) = ("config.json", &self.files);
        let bytes = files.read(name).map_err(|e| Error::bad_model(e.to_string()).because(e))?;
        let bytes = bytes.ok_or_else(|| Error::bad_model(format!("there is no {}", files.shown(name))))?;
        String::from_utf8(bytes).map_err(|e| Error::bad_model(format!("{} is not UTF-8: {e}", files.shown(name))))
    }

    /// The files that hold the weights: model.safetensors, or every shard that model.safetensors.index.json names, in the
    /// order of their names; where there are none of these, pytorch_model.bin or its shards; else the one .pt or .pth file.
    ///
    /// # Errors
    /// When there are none, or several that could be meant, the index cannot be read, or it names a shard that is missing
    /// or lies outside the folder.
    pub fn weights(&self) -> Result<Vec<File>> {
        let files = &self.files;
        for name in ["model.safetensors", "pytorch_model.bin"] {
            if let Some(single) = files.file(name) {
                return Ok(vec![single]);
            }
            if let Some(index) = files.file(&format!("{name}.index.json")) {
                return self.shards(&index);
            }
        }
        let mut state_dicts: Vec<String> = files.names().into_iter().filter(|name| is_state_dict(name)).collect();
        if let [one, other, ..] = &state_dicts[..] {
            return Err(Error::bad_model(format!(
                "{files} has {one} and {other}, and only one file of weights is read"
            ))
            .hint("leave the one that is meant"));
        }
        match state_dicts.pop().and_then(|name| files.file(&name)) {
            Some(one) => Ok(vec![one]),
            None => Err(Error::bad_model(format!(
                "{files} has no model.safetensors, pytorch_model.bin, .pt or .pth file"
            ))
            .hint("a model folder holds model.safetensors, or model.safetensors.index.json and the files it names")),
        }
    }

    fn shards(&self, index: &File) -> Result<Vec<File>> {
        let bad = |what: String| Error::bad_model(format!("{index} {what}"));
        if index.size()? > LARGEST_INDEX {
            return Err(bad(format!("is larger than {} MiB", LARGEST_INDEX >> 20)).hint("it is not an index of shards"));
        }
        let json: Value = serde_json::from_slice(&index.read()?).map_err(|e| bad(format!("is not valid JSON: {e}")))?;
        let map = json["weight_map"].as_object().ok_or_else(|| bad("has no \"weight_map\"".into()))?;
        let mut names = BTreeSet::new();
        for (tensor, shard) in map {
            // The index is part of what was downloaded: it must not reach files outside of its folder.
            let name = shard.as_str().filter(|n| is_plain_name(n)).ok_or_else(|| {
                bad(format!("puts `{tensor}` into {shard}, which is not a file name"))
                    .hint("get the model from its source again")
            })?;
            names.insert(name);
        }
        if names.is_empty() {
            return Err(bad("names no shards".into()));
        }
        let found = names.into_iter().map(|name| {
            let missing = || bad(format!("names {name}, which is missing")).hint("download the missing file");
            self.files.file(name).ok_or_else(missing)
        });
        found.collect()
    }
}

/// Whether a file may be weights that torch.save wrote, and not something else that training leaves beside them.
fn is_state_dict(name: &str) -> bool {
    let beside = ["optimizer", "scheduler", "scaler", "rng_state"];
    (name.ends_with(".pt") || name.ends_with(".pth")) && !beside.iter().any(|b| name.starts_with(b))
}

/// The folder that Hugging Face libraries download models to: `HF_HUB_CACHE`, else `HF_HOME`/hub, else
/// `XDG_CACHE_HOME`/huggingface/hub, else ~/.cache/huggingface/hub.
pub fn hub_cache() -> PathBuf {
    let folder = |name: &str| env::var(name).ok().filter(|v| !v.is_empty()).map(|v| expand_home(&v));
    folder("HF_HUB_CACHE")
        .or_else(|| folder("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("huggingface/hub")))
        .unwrap_or_else(|| expand_home("~/.cache/huggingface/hub"))
}

fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix('~'), env::home_dir()) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

fn looks_like_a_path(name: &str) -> bool {
    // A revision may have slashes of its own: gpt2@refs/pr/1.
    let id = name.split_once('@').map_or(name, |(id, _)| id);
    name.starts_with(['.', '/', '~']) || name.contains('\\') || id.ends_with('/') || id.matches('/').count() > 1
}

fn is_hub_id(id: &str) -> bool {
    let part = |p: &str| is_plain_name(p) && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    id.split('/').count() <= 2 && id.split('/').all(part)
}

/// A branch, tag, pull request (`refs/pr/1`) or commit; nothing that leaves the cache.
fn is_revision(revision: &str) -> bool {
    !revision.is_empty() && revision.split('/').all(is_plain_name)
}

fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(only)), None) if only == name)
        && !name.contains('\\')
}

/// The folder beside `path` with the nearest name.
fn sibling(path: &Path) -> Option<String> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folders = names_in(parent, Path::is_dir);
    let near = nearest(path.file_name()?.to_str()?, folders.iter().map(String::as_str))?;
    Some(path.with_file_name(near).display().to_string())
}

/// The error for an id that is neither a folder nor in the cache, with the nearest one that is.
fn not_found(id: &str, cache: &Path) -> Error {
    let here = env::current_dir().unwrap_or_default();
    let cached: Vec<String> = names_in(cache, Path::is_dir)
        .iter()
        .filter_map(|folder| folder.strip_prefix("models--"))
        .map(|name| name.replacen("--", "/", 1))
        .collect();
    // `gpt2` is `openai-community/gpt2` today.
    let moved = cached.iter().find(|c| c.split_once('/').is_some_and(|(_, name)| name == id)).cloned();
    let near = moved
        .or_else(|| sibling(Path::new(id)))
        .or_else(|| nearest(id, cached.iter().map(String::as_str).chain([DEMO])).map(str::to_owned));
    Error::no_such(format!(
        "there is no model `{id}`: neither a folder {} nor in the Hub cache {}",
        here.join(id).display(),
        cache.display()
    ))
    .hint(match near {
        Some(near) => format!("did you mean {near}? Otherwise run: {}", download(id, "main")),
        None => format!("run: {}; or give a folder", download(id, "main")),
    })
}

fn download(id: &str, revision: &str) -> String {
    match revision {
        "main" => format!("huggingface-cli download {id}"),
        _ => format!("huggingface-cli download {id} --revision {revision}"),
    }
}
