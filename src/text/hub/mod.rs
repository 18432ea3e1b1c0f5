//! Models on the Hugging Face Hub: found in the local cache, and fetched into it where they are not there.
//!
//! - [`environment`]: what the user's environment says;
//! - [`cache`]: how a model lies on disk, which is as Python's huggingface_hub lays it;
//! - [`client`]: what is said over HTTP, [`refused`] what refusals mean, [`token`] who asks;
//! - [`fetch`]: one file, resumed and checked ([`check`]); [`wait`] so that it can be stopped at any time.
//!
//! What is in the cache is used as it is, without asking whether a branch has moved: the same command runs the same model
//! until somebody fetches another. What is lacking is fetched from the commit that is there.

mod cache;
mod check;
mod client;
mod environment;
mod fetch;
mod refused;
mod token;
mod wait;

use std::path::{Path, PathBuf};

use serde_json::Value;

use self::cache::{Lack, Repo};
use self::client::{Client, Facts, is_commit, is_private, origin};
use self::fetch::Job;
use self::refused::Subject;
use self::wait::insist;
use super::demo::DEMO;
use super::files::names_in;
use super::kind;
use super::pick::{self, CONFIG, Weights, is_plain_name};
use super::source::sibling;
use crate::error::{Error, ErrorKind, Result, nearest};

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

/// The most that is fetched of a file whose size nobody says, unless [`Hub::limit`] does. In bytes.
const LARGEST_UNSIZED: u64 = 4_000_000_000;
/// By how much a file of weights may be larger than the numbers of all of them: for its header. In bytes.
const HEADER: u64 = 16_000_000;

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
pub(super) struct Found {
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
    pub(super) fn find(&self, id: &str, revision: &str, want: Want, told: &dyn Fetching) -> Result<Found> {
        let repo = Repo::new(&self.cache, id);
        let here = repo.commit(revision);
        let lack = here.as_deref().map(|commit| repo.lacks(commit, want));
        let found = |commit: String| Found { folder: repo.snapshot(&commit), commit };
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

    /// Fetches what is wanted and not in the cache, of the commit `here` if there is one. Returns the commit.
    fn fetch(
        &self,
        repo: &Repo,
        id: &str,
        revision: &str,
        here: Option<&str>,
        want: Want,
        told: &dyn Fetching,
    ) -> Result<String> {
        let endpoint = self.address()?;
        let token = match &self.login {
            Login::Found => Token::of_user(&environment::home())?,
            Login::Given(token) => token.clone(),
        };
        if let Some(token) = token.as_ref().filter(|_| !self.insecure && !is_private(endpoint)) {
            return Err(Error::bad_input(format!(
                "HF_ENDPOINT begins with http://, and whoever is on the way could read the token from {}",
                token.from()
            ))
            .hint("let HF_ENDPOINT begin with https://; to send it all the same, add --insecure"));
        }
        let asked = here.filter(|commit| is_commit(commit)).unwrap_or(revision).to_owned();
        let subject =
            Subject { id: id.to_owned(), revision: asked.clone(), endpoint: endpoint.to_owned(), near: self.near(id) };
        let host = subject.host().to_owned();
        let client = Client::new(endpoint, token, subject)?;
        let idle = &mut || told.at(0, 0);

        let hub = client.clone();
        let listing = insist(idle, move || hub.listing(&asked))?;
        let commit = &listing.commit;
        // A tree may hold another model in a folder of its own; only what lies at the top is this one.
        let names: Vec<String> = listing.names.iter().filter(|name| is_plain_name(name)).cloned().collect();
        let two = "download the one that is meant, with config.json, into a folder, and give that";
        let weights = pick::weights(&names).map_err(|unclear| unclear.error(format_args!("`{id}`"), two))?;
        if let Some(verdict) = kind::quantized(&names) {
            return Err(verdict.of(format_args!("`{id}`")));
        }
        let weights = weights.ok_or_else(|| no_weights(id, &listing.names))?;
        if !names.iter().any(|name| name == CONFIG) {
            return Err(Error::bad_model(format!("`{id}` has no config.json, only {}", shown(&listing.names)))
                .hint("a model that can be read says in config.json what it is"));
        }

        let get = |name: &str| -> Result<Facts> {
            let (client, commit, name) = (client.clone(), commit.clone(), name.to_owned());
            insist(&mut || told.at(0, 0), move || client.facts(&commit, &name))
        };
        let job = |name: &str, facts: &Facts, limit: u64, tick: &mut dyn FnMut(u64) -> Result<()>| {
            Job { client: &client, repo, commit, name, facts, limit }.run(tick)
        };
        let limit = self.limit.unwrap_or(LARGEST_UNSIZED);
        let mut of_weights = limit;
        let mut wanted = vec![CONFIG.to_owned()];
        if want != Want::Config {
            let tokenizer = pick::tokenizer(&names);
            if tokenizer.is_empty() {
                repo.remember_no_tokenizer(commit);
            }
            wanted.extend(tokenizer.into_iter().map(str::to_owned));
        }
        match weights {
            _ if want != Want::All => {}
            Weights::One(name) => wanted.push(name),
            Weights::Parts(names) => wanted.extend(names),
            Weights::Sharded(index) => {
                job(&index, &get(&index)?, limit, &mut |_| told.at(0, 0))?;
                let path = repo.snapshot(commit).join(&index);
                let bad = |what| {
                    Error::bad_model(format!("{} {what}", path.display()))
                        .hint("the model's author must mend that file; give another model or revision")
                };
                let json = fs_err::read(&path)?;
                wanted.extend(pick::shards(&json).map_err(bad)?);
                let said = pick::total_bytes(&json).map(|all| all.saturating_add(HEADER));
                of_weights = self.limit.or(said).unwrap_or(limit);
            }
        }
        wanted.retain(|name| !repo.snapshot(commit).join(name).is_file());
        let facts = wanted.iter().map(|name| get(name)).collect::<Result<Vec<_>>>()?;
        // What another commit has already is not fetched again.
        let missing = || facts.iter().filter(|f| !repo.blob(&f.etag).is_file());
        let total: u64 = missing().filter_map(|f| f.size).sum();
        if missing().count() > 0 {
            told.begins(id, &host, missing().count(), total);
        }
        let mut done = 0;
        for (name, facts) in wanted.iter().zip(&facts) {
            let new = !repo.blob(&facts.etag).is_file();
            let limit = if pick::is_weights(name) { of_weights } else { limit };
            job(name, facts, limit, &mut |had| told.at(done + had, total))?;
            done += facts.size.filter(|_| new).unwrap_or(0);
        }
        told.at(total, total)?;
        // Last, so that it never names a commit of which nothing is here.
        if here.is_none() && revision != *commit {
            repo.remember(revision, commit)?;
        }
        Ok(listing.commit)
    }

    /// The Hub's address, without a slash at its end.
    fn address(&self) -> Result<&str> {
        let endpoint = self.endpoint.trim_end_matches('/');
        let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
        let bad = |what: &str| {
            Error::bad_input(format!("HF_ENDPOINT {what}")).hint(format!("write it as {ENDPOINT}, or unset it"))
        };
        match host {
            None | Some("") => Err(bad("is not an address that begins with https://")),
            // It would be in every message.
            Some(_) if origin(endpoint).contains('@') => Err(bad("has a user in it; a token belongs into HF_TOKEN")),
            Some(_) => Ok(endpoint),
        }
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
        const ONLINE: &str = "leave out --offline or unset HF_HUB_OFFLINE, and it is fetched";
        let cache = self.cache.display();
        if let Some((commit, Lack::Needed(what))) = here {
            let folder = repo.snapshot(&commit);
            return Error::bad_model(format!("{} has no {what}", folder.display()))
                .hint(format!("its download was not finished; {ONLINE}"));
        }
        if repo.folder().is_dir() {
            let error = format!("the Hub cache {cache} has `{id}`, but not its revision `{revision}`");
            return Error::no_such(error).hint(match repo.revisions().first() {
                Some(other) => format!("it has {id}@{other}; {ONLINE}"),
                None => ONLINE.to_owned(),
            });
        }
        let folder = std::env::current_dir().unwrap_or_default().join(id);
        Error::no_such(format!(
            "there is no model `{id}`: neither a folder {} nor in the Hub cache {cache}",
            folder.display()
        ))
        .hint(match self.near(id) {
            Some(near) => format!("did you mean {near}? Otherwise {ONLINE}"),
            None => format!("{ONLINE}; or give a folder"),
        })
    }
}

/// The error for a repository whose weights are in files that are not read.
fn no_weights(id: &str, names: &[String]) -> Error {
    // Folders are part of the names here.
    if let Some(verdict) = kind::no_model(names, &[], |_| Value::Null) {
        return verdict.of(format_args!("`{id}`"));
    }
    let dressing = |name: &&String| {
        let ends = [".md", ".json", ".txt", ".gitattributes", ".png", ".jpg", ".pdf", ".py", ".gitignore"];
        !ends.iter().any(|end| name.ends_with(end))
    };
    let weights: Vec<String> = names.iter().filter(dressing).cloned().collect();
    let has = if weights.is_empty() { "no weights at all".to_owned() } else { format!("only {}", shown(&weights)) };
    Error::bad_model(format!("`{id}` has no weights that pellucid reads: {has}"))
        .hint("it reads model.safetensors, pytorch_model.bin (each whole or sharded) and .pt or .pth files")
}

/// The first of some names.
fn shown(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [a, b, c, rest @ ..] if rest.len() > 1 => format!("{a}, {b}, {c} and {} more", rest.len()),
        few => few.join(", "),
    }
}
