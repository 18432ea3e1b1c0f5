//! What is said to a Hub over HTTP, and what it answers. The only file that knows the network.
//!
//! hf-hub would be the crate for this; since its version 1 it begins a broken download anew, and brings an async runtime.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::http::HeaderMap;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Timeout};

use super::refused::{Refusal, Subject};
use super::wait::Trouble;
use crate::error::{Error, Result};
use crate::text::hub::environment;
use crate::text::hub::token::Token;
use crate::text::pick::is_plain_name;

const TO_CONNECT: Duration = Duration::from_secs(10);
/// Until a server answers, and between two pieces of a body.
const TO_ANSWER: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;
/// A list of files is larger than this nowhere. In bytes.
const LARGEST_LISTING: u64 = 64 << 20;

/// A connection to a Hub, for one model.
#[derive(Clone)]
pub(super) struct Client {
    agent: Agent,
    /// Without a slash at its end.
    endpoint: String,
    token: Option<Token>,
    /// What messages are about.
    subject: Arc<Subject>,
}

/// A model at one commit.
pub(super) struct Listing {
    /// The commit that the revision is.
    pub commit: String,
    /// Every file, with the folders that it is in.
    pub names: Vec<String>,
}

/// What the Hub says of a file before it is fetched.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Its name in the cache, which for most is its checksum.
    pub etag: String,
    /// In bytes, if it says so.
    pub size: Option<u64>,
}

/// Bytes of a file, on their way.
pub(super) struct Rest {
    /// The first of them. In bytes from the file's beginning.
    pub from: u64,
    pub bytes: Box<dyn Read + Send>,
}

impl Client {
    /// A client for the model of `subject`.
    ///
    /// # Errors
    /// When the endpoint is no address, or the certificates that `SSL_CERT_FILE` names cannot be read.
    pub fn new(endpoint: &str, token: Option<Token>, subject: Subject) -> Result<Self> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // Followed here, so that the token goes to the Hub alone.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("pellucid/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(TO_CONNECT))
            .timeout_recv_response(Some(TO_ANSWER))
            .timeout_per_read(Some(TO_ANSWER));
        if is_loopback(endpoint) {
            config = config.proxy(None);
        }
        if let Some(roots) = own_roots()? {
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Self { agent: config.build().into(), endpoint: endpoint.to_owned(), token, subject: Arc::new(subject) })
    }

    /// The model's files at `revision`.
    pub fn listing(&self, revision: &str) -> Result<Listing, Trouble> {
        let path = format!("/api/models/{}/revision/{}", self.subject.id, encoded(revision));
        let answer = self.ask(false, &path, None)?;
        if answer.status != 200 {
            return Err(self.refused(&answer, None));
        }
        let json = self.json(answer)?;
        let commit = json["sha"].as_str().filter(|sha| is_commit(sha));
        let names = json["siblings"].as_array().map(|files| {
            let names = files.iter().filter_map(|file| file["rfilename"].as_str());
            names.map(str::to_owned).collect()
        });
        match (commit, names) {
            (Some(commit), Some(names)) => Ok(Listing { commit: commit.to_owned(), names }),
            _ => Err(self.no_hub("the list of files")),
        }
    }

    /// The model's branches and tags.
    pub fn revisions(&self) -> Result<Vec<String>, Trouble> {
        let answer = self.ask(false, &format!("/api/models/{}/refs", self.subject.id), None)?;
        if answer.status != 200 {
            return Err(self.refused(&answer, None));
        }
        let json = self.json(answer)?;
        let named = |kind: &str| {
            let all = json[kind].as_array().map(Vec::as_slice).unwrap_or_default();
            all.iter().filter_map(|revision| revision["name"].as_str()).map(str::to_owned).collect::<Vec<_>>()
        };
        match json["branches"].is_array() {
            true => Ok([named("branches"), named("tags")].concat()),
            false => Err(self.no_hub("the list of revisions")),
        }
    }

    /// The JSON of an answer.
    fn json(&self, answer: Answer) -> Result<Value, Trouble> {
        let mut text = vec![];
        let body = answer.body.into_reader().take(LARGEST_LISTING);
        { body }.read_to_end(&mut text).map_err(|e| self.broke(&e))?;
        Ok(serde_json::from_slice(&text).unwrap_or_default())
    }

    /// What the Hub says of the file `name`.
    pub fn facts(&self, commit: &str, name: &str) -> Result<Facts, Trouble> {
        let answer = self.ask(true, &self.file(commit, name), None)?;
        if !(200..400).contains(&answer.status) {
            return Err(self.refused(&answer, Some(name)));
        }
        let Said { commit: at, linked, etag, size } = answer.said;
        let (Some(at), Some(etag)) = (at, linked.or(etag)) else { return Err(self.no_hub(name)) };
        let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
        if at != commit || !is_plain_name(&etag) {
            return Err(self.no_hub(name));
        }
        Ok(Facts { etag, size })
    }

    /// The bytes of the file `name` after the first `from`, or all of them if the server likes that better. None when it has
    /// none after these.
    pub fn rest(&self, commit: &str, name: &str, from: u64) -> Result<Option<Rest>, Trouble> {
        let answer = self.ask(false, &self.file(commit, name), (from > 0).then_some(from))?;
        let from = match answer.status {
            200 => 0,
            206 if answer.begins == Some(from) => from,
            206 | 416 => return Ok(None),
            _ => return Err(self.refused(&answer, Some(name))),
        };
        Ok(Some(Rest { from, bytes: Box::new(answer.body.into_reader()) }))
    }

    /// The trouble with a body that broke off.
    pub fn broke(&self, e: &io::Error) -> Trouble {
        Trouble::Passing(self.subject.unreachable(&format!("the connection broke ({e})")))
    }

    fn file(&self, commit: &str, name: &str) -> String {
        format!("/{}/resolve/{commit}/{}", self.subject.id, encoded(name))
    }

    /// Asks the Hub, and whoever it sends us to. A question for the head alone stays with the Hub, which knows more of the
    /// file than the store that it lies in.
    fn ask(&self, head: bool, path: &str, from: Option<u64>) -> Result<Answer, Trouble> {
        let mut url = format!("{}{path}", self.endpoint);
        let mut said = Said::default();
        for _ in 0..MAX_REDIRECTS {
            // The token is for the Hub alone. A store of large files has the right to them in its address.
            let hub = origin(&url).eq_ignore_ascii_case(origin(&self.endpoint));
            let request = if head { self.agent.head(&url) } else { self.agent.get(&url) };
            let mut request = request.header("Accept-Encoding", "identity");
            if let Some(token) = self.token.as_ref().filter(|_| hub) {
                request = request.header("Authorization", token.header());
            }
            if let Some(from) = from {
                request = request.header("Range", format!("bytes={from}-"));
            }
            let (head_part, body) = request.call().map_err(|e| self.trouble(e))?.into_parts();
            let (status, headers) = (head_part.status.as_u16(), head_part.headers);
            if hub {
                said.hear(&headers, head && status == 200);
            }
            let next = match text(&headers, "location").filter(|_| (300..400).contains(&status)) {
                Some(to) => Some(joined(&url, to).ok_or_else(|| {
                    Trouble::Final(self.subject.odd("sends us to an address that is none, or that is not encrypted"))
                })?),
                None => None,
            };
            let stays = |next: &String| !head || origin(next).eq_ignore_ascii_case(origin(&self.endpoint));
            let Some(next) = next.filter(stays) else {
                let begins = text(&headers, "content-range")
                    .and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
                let message = text(&headers, "x-error-message").unwrap_or_default();
                let message = self.token.as_ref().map_or_else(|| message.to_owned(), |token| token.hide_in(message));
                let code = text(&headers, "x-error-code").unwrap_or_default().to_owned();
                return Ok(Answer { status, said, begins, code, message, hub, body });
            };
            url = next;
        }
        Err(Trouble::Final(self.subject.odd("sends us from one address to the next without end")))
    }

    fn refused(&self, answer: &Answer, file: Option<&str>) -> Trouble {
        let Answer { status, code, message, hub, .. } = answer;
        let token = self.token.as_ref().map(Token::from);
        let error = self.subject.refused(&Refusal { status: *status, code, message, hub: *hub, token, file });
        match status {
            // Too many requests, and what a server says when it is not well. A store's addresses go stale; the Hub gives
            // another.
            408 | 429 | 500..600 => Trouble::Passing(error),
            403 if !hub => Trouble::Passing(error),
            _ => Trouble::Final(error),
        }
    }

    fn no_hub(&self, what: &str) -> Trouble {
        Trouble::Final(self.subject.odd(&format!("does not answer as a Hub does when asked for {what}")))
    }

    /// What went wrong below HTTP. Never an address, which may have a signature in it, and never a header.
    fn trouble(&self, e: ureq::Error) -> Trouble {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, TimedOut, UnexpectedEof};
        let (why, passing) = match &e {
            ureq::Error::Io(e) if e.kind() == InvalidData => return Trouble::Final(self.subject.untrusted(e)),
            ureq::Error::Rustls(e) => return Trouble::Final(self.subject.untrusted(e)),
            ureq::Error::Io(e) => {
                let kinds = [BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof];
                (e.to_string(), kinds.contains(&e.kind()))
            }
            ureq::Error::Timeout(which @ (Timeout::Connect | Timeout::Resolve)) => {
                (format!("no {which} in time"), false)
            }
            ureq::Error::Timeout(_) => ("it does not answer".to_owned(), true),
            ureq::Error::HostNotFound => ("there is no such host".to_owned(), false),
            ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => {
                ("the proxy does not let us through".to_owned(), false)
            }
            ureq::Error::Protocol(_) => ("its answer is not HTTP".to_owned(), true),
            _ => ("the request failed".to_owned(), false),
        };
        let error = self.subject.unreachable(&why);
        if passing { Trouble::Passing(error) } else { Trouble::Unreachable(error) }
    }
}

struct Answer {
    status: u16,
    said: Said,
    /// Where the body begins in the file, if it is part of one. In bytes.
    begins: Option<u64>,
    code: String,
    message: String,
    /// Whether the Hub itself said it.
    hub: bool,
    body: Body,
}

/// What the Hub said of a file on the way to it.
#[derive(Default)]
struct Said {
    commit: Option<String>,
    /// Of the file that an answer leads to.
    linked: Option<String>,
    /// Of the last answer itself.
    etag: Option<String>,
    size: Option<u64>,
}

impl Said {
    /// A file elsewhere has its own etag and size in `X-Linked-*`, beside those of the answer that leads there.
    fn hear(&mut self, headers: &HeaderMap, is_the_file: bool) {
        let own = |name: &str| text(headers, name).map(str::to_owned);
        self.commit = own("x-repo-commit").or(self.commit.take());
        self.linked = own("x-linked-etag").or(self.linked.take());
        self.etag = own("etag").or(self.etag.take());
        let length = text(headers, "content-length").filter(|_| is_the_file);
        self.size = text(headers, "x-linked-size").or(length).and_then(|n| n.parse().ok()).or(self.size);
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The certificates that the user trusts in place of Mozilla's, as where a company's proxy reads along.
fn own_roots() -> Result<Option<RootCerts>> {
    let Some(path) = environment::path("SSL_CERT_FILE") else { return Ok(None) };
    let unusable = |why: String| {
        Error::bad_input(format!("SSL_CERT_FILE is {}, and {why}", path.display()))
            .hint("let it name a file of certificates in PEM, or unset it")
    };
    let pem = fs_err::read(&path).map_err(|_| unusable("it cannot be read".to_owned()))?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(one)) => Some(one),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    Ok(Some(RootCerts::new_with_certs(&certificates)))
}

/// 40 hexadecimal digits.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Scheme, host and port.
pub(super) fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |i| i + 3);
    &url[..url[host..].find(['/', '?', '#']).map_or(url.len(), |i| host + i)]
}

fn is_loopback(url: &str) -> bool {
    let authority = origin(url).split("://").last().unwrap_or_default();
    ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|own| authority.strip_prefix(own).is_some_and(|rest| rest.is_empty() || is_port(rest)))
}

/// Whether this is a port and no more: before an `@`, a host's name would be a user's.
fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether nobody on the way to `endpoint` can read what is sent there: it is encrypted, or stays on this machine.
pub(super) fn is_private(endpoint: &str) -> bool {
    endpoint.starts_with("https://") || is_loopback(endpoint)
}

/// Where `to` leads from `url`. None when nowhere, or out of what is encrypted.
fn joined(url: &str, to: &str) -> Option<String> {
    let scheme = url.split("://").next()?;
    let next = match to {
        _ if to.starts_with("//") => format!("{scheme}:{to}"),
        _ if to.starts_with('/') => format!("{}{to}", origin(url)),
        _ => to.to_owned(),
    };
    (next.starts_with("https://") || next.starts_with("http://") && scheme == "http").then_some(next)
}

/// As one step of a URL's path.
fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say_and_never_out_of_tls() {
        let from = "https://hub.example/a/b?c";
        assert_eq!(joined(from, "/x?y").as_deref(), Some("https://hub.example/x?y"));
        assert_eq!(joined(from, "//cdn.example/x").as_deref(), Some("https://cdn.example/x"));
        assert_eq!(joined(from, "https://cdn.example").as_deref(), Some("https://cdn.example"));
        assert_eq!(
            (joined(from, "http://cdn.example/x"), joined(from, "ftp://x/"), joined(from, "x")),
            (None, None, None)
        );
        assert_eq!(joined("http://a", "http://b/").as_deref(), Some("http://b/"));
        assert_eq!(origin("https://a.b:8/c"), "https://a.b:8");
        assert_eq!(origin("https://a.b?c/d"), "https://a.b");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for own in ["http://127.0.0.1:80/x", "http://localhost", "http://[::1]:1"] {
            assert!(is_loopback(own), "{own}");
        }
        let others = ["http://127.0.0.1.example", "http://localhost.example:1", "https://huggingface.co/127.0.0.1"];
        for other in others.into_iter().chain(["http://127.0.0.1:80@evil.example", "http://localhost:@evil.example/"]) {
            assert!(!is_loopback(other), "{other}");
        }
        assert!(is_private("https://a.example") && is_private("http://[::1]:8/x") && !is_private("http://a.example"));
    }

    #[test]
    fn a_revision_is_one_step_of_a_path() {
        assert_eq!(encoded("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(encoded("v1.0-a_b~c ü"), "v1.0-a_b~c%20%C3%BC");
    }
}
