//! Models on the Hugging Face Hub: found in the local cache, and fetched into it where they are not there.
//!
//! - [`environment`]: what the user's environment says;
//! - [`cache`]: how a model lies on disk, which is as Python's huggingface_hub lays it;
//! - [`token`]: who asks;
//! - `online`: how it is fetched (feature `hub`).
//!
//! What is in the cache is used as it is, without asking whether a branch has moved: the same command runs the same model
//! until somebody fetches another. What is lacking is fetched from the commit that is there.

mod cache;
mod environment;
#[cfg(feature = "hub")]
mod online;
mod token;

use std::path::{Path, PathBuf};

use self::cache::{Lack, Repo};
use super::demo::DEMO;
use super::files::names_in;
use super::source::sibling;
use crate::error::{Error, ErrorKind, Result, nearest, said, words};

pub use token::Token;

/// Where the Hub is, unless `HF_ENDPOINT` says otherwise.
pub(super) const ENDPOINT: &str = "https://huggingface.co";

/// Which of a model's files are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// config.json.
    Config,
    /// And the tokenizer, if it has one.
    Tokens,
    /// And the weights.
    All,
}

/// Told how far a download is, and asked whether to go on.
pub trait Fetching {
    /// `files` files of the model `id`, of `bytes` bytes, are about to be fetched from `host`.
    fn begins(&self, _id: &str, _host: &str, _files: usize, _bytes: u64) {}

    /// `done` of `total` bytes are there. Called many times a second, also when nothing arrives; before the Hub has said
    /// how much there is, both are 0.
    ///
    /// # Errors
    /// To stop, with the reason.
    fn at(&self, done: u64, total: u64) -> Result<()>;
}

/// Hears nothing, stops nothing.
impl Fetching for () {
    fn at(&self, _: u64, _: u64) -> Result<()> {
        Ok(())
    }
}

/// A Hub, and the cache of what was fetched from it.
#[derive(Clone, Debug)]
pub struct Hub {
    cache: PathBuf,
    endpoint: String,
    login: Login,
    offline: bool,
    /// Whether the token may go to another machine unencrypted.
    insecure: bool,
    /// The most that is fetched of a file whose size the Hub does not say, if its user said so. In bytes.
    limit: Option<u64>,
}

/// Who asks.
#[derive(Clone, Debug)]
enum Login {
    /// Whoever the user's environment says, looked up when it is needed.
    Found,
    Given(Option<Token>),
}

/// A model's files, found.
pub(super) struct Snapshot {
    pub commit: String,
    pub folder: PathBuf,
}

impl Hub {
    /// The Hub and cache of this user, as Python's huggingface_hub finds them: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`,
    /// `HF_HUB_OFFLINE`, `HF_TOKEN`, `HF_TOKEN_PATH` or the file `token` in `HF_HOME`.
    pub fn from_env() -> Self {
        let endpoint = environment::endpoint().unwrap_or_else(|| ENDPOINT.to_owned());
        let offline = environment::offline();
        Self { offline, login: Login::Found, ..Self::at(environment::cache(), endpoint) }
    }

    /// The Hub at the address `endpoint`, with the cache in the folder `cache`, and nobody's token.
    pub fn at(cache: impl Into<PathBuf>, endpoint: impl Into<String>) -> Self {
        let (cache, endpoint, login) = (cache.into(), endpoint.into(), Login::Given(None));
        Self { cache, endpoint, login, offline: false, insecure: false, limit: None }
    }

    /// The same, and asked with this token.
    pub fn token(self, token: Token) -> Self {
        Self { login: Login::Given(Some(token)), ..self }
    }

    /// The same, and never asked if `offline`. What forbids the network already is not undone.
    pub fn offline(self, offline: bool) -> Self {
        Self { offline: self.offline || offline, ..self }
    }

    /// The same, and its token is sent unencrypted if `insecure` and the address begins with `http://`. Without this, it is so to
    /// this machine alone.
    pub fn insecure(self, insecure: bool) -> Self {
        Self { insecure: self.insecure || insecure, ..self }
    }

    /// The same, but at most so many bytes are fetched of a file whose size the Hub does not say: without this, of weights as
    /// many as the model's index says that all of them have, and of everything else 4 GB.
    pub fn limit(self, bytes: u64) -> Self {
        Self { limit: Some(bytes), ..self }
    }

    /// The model `id` at `revision`, of which it fetches what is wanted and not in the cache.
    ///
    /// # Errors
    /// When there is no such model or revision, or it cannot be fetched.
    pub(super) fn find(&self, id: &str, revision: &str, want: Want, told: &dyn Fetching) -> Result<Snapshot> {
        let repo = Repo::new(&self.cache, id);
        let here = repo.commit(revision);
        let lack = here.as_deref().map(|commit| repo.lacks(commit, want));
        let found = |commit: String| Snapshot { folder: repo.snapshot(&commit), commit };
        match (here, lack) {
            (Some(commit), Some(Lack::Nothing)) => Ok(found(commit)),
            // It may have no tokenizer, and without a network that is not to be known.
            (Some(commit), Some(Lack::Tokenizer)) if self.offline => Ok(found(commit)),
            // Not the weights again, should there be some in another format.
            (Some(commit), Some(Lack::Tokenizer)) => {
                match self.fetch(&repo, id, revision, Some(&commit), Want::Tokens, told) {
                    Err(e) if !matches!(e.kind(), ErrorKind::Io | ErrorKind::NoSuch) => Err(e),
                    _ => Ok(found(commit)),
                }
            }
            (here, lack) if self.offline => Err(self.not_here(&repo, id, revision, here.zip(lack))),
            (here, _) => self.fetch(&repo, id, revision, here.as_deref(), want, told).map(found),
        }
    }

    /// The branches and tags of the model `id`: as the Hub has them, or, where it may not be asked, those in the cache.
    ///
    /// # Errors
    /// When there is no such model, or the Hub cannot be asked.
    pub(super) fn revisions(&self, id: &str, told: &dyn Fetching) -> Result<Vec<String>> {
        #[cfg(feature = "hub")]
        if !self.offline {
            return self.ask_revisions(id, told);
        }
        let _ = told;
        let repo = Repo::new(&self.cache, id);
        match repo.folder().is_dir() {
            true => Ok(repo.named_revisions()),
            false => Err(self.not_here(&repo, id, "main", None)),
        }
    }

    /// What this build cannot do.
    #[cfg(not(feature = "hub"))]
    fn fetch(
        &self,
        repo: &Repo,
        id: &str,
        revision: &str,
        _: Option<&str>,
        _: Want,
        _: &dyn Fetching,
    ) -> Result<String> {
        Err(self.not_here(repo, id, revision, None).hint("build pellucid with the feature `hub`, and it is fetched"))
    }

    /// The model that may have been meant by `id`: one in the cache, a folder here, or the built-in one.
    fn near(&self, id: &str) -> Option<String> {
        let cached: Vec<String> = names_in(&self.cache, Path::is_dir)
            .iter()
            .filter_map(|folder| folder.strip_prefix("models--"))
            .map(|name| name.replacen("--", "/", 1))
            .filter(|name| name != id)
            .collect();
        // `gpt2` is `openai-community/gpt2` today.
        let moved = cached.iter().find(|c| c.split_once('/').is_some_and(|(_, name)| name == id)).cloned();
        moved
            .or_else(|| sibling(Path::new(id)))
            .or_else(|| nearest(id, cached.iter().map(String::as_str).chain([DEMO])).map(str::to_owned))
    }

    /// The error for what is not in the cache and may not be fetched.
    fn not_here(&self, repo: &Repo, id: &str, revision: &str, here: Option<(String, Lack)>) -> Error {
        let online = said("leave out {!offline} or unset HF_HUB_OFFLINE, and it is fetched");
        let cache = self.cache.display();
        if let Some((commit, Lack::Needed(what))) = here {
            let folder = repo.snapshot(&commit);
            return Error::bad_model(format!("{} has no {what}", folder.display()))
                .hint(words("its download was not finished; ") + online);
        }
        if repo.folder().is_dir() {
            let error = format!("the Hub cache {cache} has `{id}`, but not its revision `{revision}`");
            return Error::no_such(error).hint(match repo.revisions().first() {
                Some(other) => words(format!("it has {id}@{other}; ")) + online,
                None => online,
            });
        }
        let folder = std::env::current_dir().unwrap_or_default().join(id);
        Error::no_such(format!(
            "there is no model `{id}`: neither a folder {} nor in the Hub cache {cache}",
            folder.display()
        ))
        .hint(match self.near(id) {
            Some(near) => words(format!("did you mean {near}? Otherwise ")) + online,
            None => online + "; or give a folder",
        })
    }
}
