//! What is answered: a status, the headers that keep a page apart from others, and its bytes.

use std::io::{self, Write};

use super::request::Refusal;
use crate::visible::escape;

const FORM: &str = include_str!("form.html");
const REFUSED: &str = include_str!("refused.html");
const STYLE: &str = include_str!("style.css");

/// For the pages of this folder, which have a style sheet at an address of its own and one form.
const OF_FORM: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'";

/// An answer.
pub struct Answer {
    status: u16,
    kind: &'static str,
    /// What it may load and run.
    policy: String,
    /// Whom it tells where a reader comes from.
    referrer: &'static str,
    bytes: Vec<u8>,
}

impl Answer {
    /// A page that somebody asked for, and what it may load and run.
    pub fn page(bytes: Vec<u8>, policy: &str) -> Self {
        Self {
            status: 200,
            kind: "text/html; charset=utf-8",
            policy: policy.to_owned(),
            referrer: "no-referrer",
            bytes,
        }
    }

    /// The form.
    pub fn form(page: &str) -> Self {
        // `no-referrer` would make browsers hide from us that the form is ours.
        Self { referrer: "same-origin", ..Self::page(page.as_bytes().to_vec(), OF_FORM) }
    }

    /// How the form looks.
    pub fn style() -> Self {
        Self { kind: "text/css; charset=utf-8", ..Self::form(STYLE) }
    }

    /// Writes it; without its bytes where only its head is wanted.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn write(&self, without_bytes: bool, to: &mut impl Write) -> io::Result<()> {
        let Self { status, kind, policy, referrer, bytes } = self;
        let more = match status {
            405 => "Allow: GET, HEAD, POST\r\n",
            503 => "Retry-After: 60\r\n",
            _ => "",
        };
        let (reason, length) = (reason(*status), bytes.len());
        let mut all = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\
             Cache-Control: no-store\r\nContent-Security-Policy: {policy}; frame-ancestors 'none'\r\nReferrer-Policy: {referrer}\r\n\
             X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nCross-Origin-Opener-Policy: same-origin\r\n\
             Cross-Origin-Resource-Policy: same-origin\r\n{more}\r\n"
        )
        .into_bytes();
        if !without_bytes {
            all.extend_from_slice(bytes);
        }
        to.write_all(&all)
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let chinese = match refusal.chinese {
            "" => String::new(),
            sentence => format!("\n<p lang=\"zh\">{sentence}</p>"),
        };
        let page = REFUSED
            .replace("{status}", reason(refusal.status))
            .replace("{chinese}", &chinese)
            .replace("{sentence}", &escape(&refusal.sentence));
        Self { status: refusal.status, ..Self::form(&page) }
    }
}

/// The form for prompts to `model`.
pub fn form(model: &str) -> String {
    FORM.replace("{model}", &escape(model))
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}
