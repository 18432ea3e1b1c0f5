//! What a model's files on the Hub are, and how those that are wanted come into the cache.
//!
//! - [`client`]: what is said over HTTP, [`refused`] what refusals mean;
//! - [`fetch`]: one file, resumed and checked ([`check`]); [`wait`] so that it can be stopped at any time.

mod check;
mod client;
mod fetch;
mod refused;
mod wait;

use serde_json::Value;

use self::client::{Client, Facts, is_commit, is_private, origin};
use self::fetch::Job;
use self::refused::Subject;
use self::wait::insist;
use super::cache::Repo;
use super::{ENDPOINT, Fetching, Hub, Login, Token, Want, environment};
use crate::error::{Error, Result, said};
use crate::text::kind;
use crate::text::pick::{self, CONFIG, Weights, is_plain_name};

/// The most that is fetched of a file whose size nobody says, unless [`Hub::limit`] does. In bytes.
const LARGEST_UNSIZED: u64 = 4_000_000_000;
/// By how much a file of weights may be larger than the numbers of all of them: for its header. In bytes.
const HEADER: u64 = 16_000_000;

impl Hub {
    /// Fetches what is wanted and not in the cache, of the commit `here` if there is one. Returns the commit.
    pub(super) fn fetch(
        &self,
        repo: &Repo,
        id: &str,
        revision: &str,
        here: Option<&str>,
        want: Want,
        told: &dyn Fetching,
    ) -> Result<String> {
        let asked = here.filter(|commit| is_commit(commit)).unwrap_or(revision).to_owned();
        let (client, host) = self.client(id, &asked)?;
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
        if want == Want::All && names.iter().any(|name| name == pick::GENERATION) {
            wanted.push(pick::GENERATION.to_owned());
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

    /// The branches and tags that the Hub has of the model `id`.
    pub(super) fn ask_revisions(&self, id: &str, told: &dyn Fetching) -> Result<Vec<String>> {
        let (client, _) = self.client(id, "main")?;
        insist(&mut || told.at(0, 0), move || client.revisions())
    }

    /// A client for the model `id` at `revision`, and the host that it asks.
    fn client(&self, id: &str, revision: &str) -> Result<(Client, String)> {
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
            .hint(said("let HF_ENDPOINT begin with https://; to send it all the same, add {insecure}")));
        }
        let subject = Subject {
            id: id.to_owned(),
            revision: revision.to_owned(),
            endpoint: endpoint.to_owned(),
            near: self.near(id),
        };
        let host = subject.host().to_owned();
        Ok((Client::new(endpoint, token, subject)?, host))
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
