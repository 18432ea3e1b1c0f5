//! What a Hub's refusals mean, each with its own sentence and one thing to do.

use super::client::origin;
use crate::error::Error;

/// A model on a Hub, as messages speak of it.
pub(super) struct Subject {
    /// The model's id.
    pub id: String,
    /// The revision that was asked for.
    pub revision: String,
    /// The Hub's address.
    pub endpoint: String,
    /// A name that may have been meant.
    pub near: Option<String>,
}

/// What a server said.
pub(super) struct Refusal<'a> {
    pub status: u16,
    /// `X-Error-Code`.
    pub code: &'a str,
    /// `X-Error-Message`, which is not ours.
    pub message: &'a str,
    /// Whether the Hub said it, or where it sent us.
    pub hub: bool,
    /// Where the token came from that was sent.
    pub token: Option<&'a str>,
    /// The file that was asked for.
    pub file: Option<&'a str>,
}

impl Subject {
    /// What messages call the Hub.
    pub fn host(&self) -> &str {
        origin(&self.endpoint).split("://").last().unwrap_or(&self.endpoint)
    }

    /// What `refusal` means.
    pub fn refused(&self, refusal: &Refusal) -> Error {
        let (Self { id, endpoint, .. }, host) = (self, self.host());
        let Refusal { status, code, message, hub, token, file } = *refusal;
        // "Invalid credentials in Authorization header" is all that tells a wrong token from a private model.
        let bad_token = token.filter(|_| status == 401 && message.contains("nvalid credentials"));
        match (status, code) {
            _ if !hub => Error::io(format!("the store that {host} keeps {id} in answered {status}"))
                .hint("try again in a few minutes; what was fetched is kept"),
            (_, "GatedRepo") if token.is_none() => {
                Error::io(format!("`{id}` is gated: {host} wants to know who asks, and there is no token"))
                    .hint(format!("ask for access at {endpoint}/{id}, then set HF_TOKEN or run: hf auth login"))
            }
            (_, "GatedRepo") => Error::io(format!(
                "`{id}` is gated, and the token from {} has no access to it",
                token.unwrap_or("here")
            ))
            .hint(format!("ask for access at {endpoint}/{id}; the token must be one that may read gated models")),
            (_, "RevisionNotFound") => Error::no_such(format!("`{id}` has no revision `{}` on {host}", self.revision))
                .hint(format!("its branches and tags are at {endpoint}/{id}/tree/main; without @ it is main")),
            (_, "EntryNotFound") => {
                Error::bad_model(format!("`{id}` has no {} on {host}", file.unwrap_or("such file")))
                    .hint("its list of files may have changed a moment ago: try again")
            }
            _ if let Some(from) = bad_token => Error::io(format!("{host} does not accept the token from {from}"))
                .hint(format!("make another at {endpoint}/settings/tokens, or do without for public models")),
            (401 | 404, _) => {
                let who = if token.is_some() { " to the token that was sent" } else { "" };
                let error = Error::no_such(format!("there is no model `{id}` on {host}, or it is not shown{who}"));
                error.hint(match &self.near {
                    Some(near) => format!("did you mean {near}?"),
                    None if token.is_some() => "check the name, and whether the token may read it".to_owned(),
                    None => "check the name; for a private model, set HF_TOKEN or run: hf auth login".to_owned(),
                })
            }
            (403, _) => Error::io(format!("{host} does not give out `{id}`{}", quoted(message)))
                .hint("check on its page what it asks for, and that your token may read it"),
            (429, _) => Error::io(format!("{host} has had too many requests from here"))
                .hint("wait a few minutes; what was fetched is kept"),
            (500.., _) => Error::io(format!("{host} is not well: it answered {status} when asked for `{id}`"))
                .hint("try again in a few minutes; what was fetched is kept"),
            _ => Error::io(format!("{host} answered {status} when asked for `{id}`{}", quoted(message)))
                .hint("check HF_ENDPOINT, if you have set it"),
        }
    }

    /// There is no way to the Hub.
    pub fn unreachable(&self, why: &str) -> Error {
        Error::io(format!("cannot get `{}` from {}: {why}", self.id, self.host()))
            .hint("check the network; what was fetched is kept, and models in the cache or in folders need none")
    }

    /// The Hub is not who it says it is.
    pub fn untrusted(&self, e: impl std::fmt::Display) -> Error {
        Error::io(format!("the connection to {} cannot be trusted: {e}", self.host()))
            .hint("behind a proxy with a certificate of its own, let SSL_CERT_FILE name the file that has it")
    }

    /// Whoever answers is no Hub.
    pub fn odd(&self, what: &str) -> Error {
        Error::io(format!("{} {what}", self.host()))
            .hint("check HF_ENDPOINT, and whether something between here and there wants you to log in")
    }
}

/// A server's words, not all of them.
fn quoted(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {}", crate::visible::shortened(message, 200)) }
}
