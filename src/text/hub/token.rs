//! The secret by which the Hub knows its user. Nothing here shows it.

use std::env;
use std::fmt;
use std::path::Path;

use super::environment::{is_on, path};
use crate::error::{Error, Result};

/// A Hub token, and where it came from. `Debug` shows the second only.
#[derive(Clone)]
pub struct Token {
    secret: String,
    from: String,
}

impl Token {
    /// The token `secret`, which messages call the token from `from`.
    ///
    /// # Errors
    /// When it has characters that no header may have.
    pub fn new(secret: &str, from: impl Into<String>) -> Result<Self> {
        let (secret, from) = (secret.trim(), from.into());
        if secret.is_empty() || !secret.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::bad_input(format!(
                "the token from {from} is not one: it is empty or has odd characters"
            ))
            .hint("a token looks like hf_ and letters; make one at https://huggingface.co/settings/tokens"));
        }
        Ok(Self { secret: secret.to_owned(), from })
    }

    /// The token of this user, as Python's libraries find it: `HF_TOKEN`, else the file `HF_TOKEN_PATH`, else the file
    /// `token` in `home`. None when there is none, or `HF_HUB_DISABLE_IMPLICIT_TOKEN` says not to look.
    ///
    /// # Errors
    /// When what is there is no token.
    pub(super) fn of_user(home: &Path) -> Result<Option<Self>> {
        if is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return Ok(None);
        }
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
            if let Ok(secret) = env::var(name)
                && !secret.trim().is_empty()
            {
                return Self::new(&secret, name).map(Some);
            }
        }
        let file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        // An unreadable token is no token: what is public does not need one.
        match fs_err::read_to_string(&file) {
            Ok(secret) if !secret.trim().is_empty() => Self::new(&secret, file.display().to_string()).map(Some),
            _ => Ok(None),
        }
    }

    /// Where it came from: a variable or a file.
    pub(super) fn from(&self) -> &str {
        &self.from
    }

    /// The one use of the secret: what the header `Authorization` says.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.secret)
    }

    /// `text` without the secret, should a server send it back.
    pub(super) fn hide_in(&self, text: &str) -> String {
        text.replace(&self.secret, "[token]")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("from", &self.from).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant: as `the_token_is_told_to_the_hub_and_to_nobody_else`.
    #[test]
    fn nothing_shows_the_secret() {
        let token = Token::new("hf_verysecret\n", "HF_TOKEN").unwrap();
        assert_eq!(format!("{token:?}"), r#"Token { from: "HF_TOKEN", .. }"#);
        assert_eq!(token.header(), "Bearer hf_verysecret");
        assert_eq!(token.hide_in("Bearer hf_verysecret is wrong"), "Bearer [token] is wrong");
        for odd in ["hf_very\nsecret", "hf_very secret", "hf_verysecrét", ""] {
            let error = Token::new(odd, "HF_TOKEN").unwrap_err();
            assert!(!format!("{error:?} {error}").contains("very"), "{error:?}");
        }
    }
}
