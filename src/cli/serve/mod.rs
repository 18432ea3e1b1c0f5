//! `--serve`: pages for prompts that are typed into a form, on this machine alone.
//!
//! It is bound to 127.0.0.1. One page is made at a time, by the thread that has the model; a few wait for their turn, and more are
//! refused. [`connections`] keeps the others from being held up by clients that are slow or many, [`request`] reads what one asks for
//! and refuses what is not meant for us, [`answer`] says it. HTTP is our own loop over httparse because the small servers there are
//! (tiny_http among them) read lines of any length, as slowly as they come, and start a thread for each connection without a limit.

mod answer;
mod asked;
mod connections;
mod request;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use clap::Args;

use super::opened::{OpenArgs, open};
use super::out::{Out, flags};
use super::signals;
use crate::error::{Error, ErrorKind, Result};
use answer::Answer;
pub(super) use asked::served;
use connections::{Connections, Job};
use request::Refusal;

/// Pages that may wait for the one that is being made.
const QUEUE: usize = 8;

/// How often somebody looks whether the program is to end.
const GLANCE: Duration = Duration::from_millis(50);

/// Whether pages are served.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// Serve a form for typing prompts, and their pages, to browsers on this machine, until Ctrl-C. Nothing is written to files
    #[arg(long, conflicts_with_all = ["out", "force"])]
    pub serve: bool,
    /// Port of --serve on 127.0.0.1; 0 takes one that is free. The address is printed
    #[arg(long, value_name = "PORT", default_value_t = 0, requires = "serve")]
    pub port: u16,
}

/// What somebody typed.
#[derive(Debug, PartialEq, Eq)]
struct Typed {
    pub prompt: String,
    /// One of [`LANGUAGES`].
    pub language: &'static str,
}

/// Languages of pages, as the form has them.
const LANGUAGES: [&str; 3] = ["en", "zh", "both"];

/// What is served.
struct Served<'a> {
    /// The name of the model.
    model: &'a str,
    /// What its pages may load and run.
    policy: &'a str,
}

/// Makes the page for what was typed.
type Make<'a> = dyn FnMut(&Typed) -> Result<Vec<u8>> + 'a;

/// Serves pages for prompts, as `make` makes them, until somebody stops the program.
///
/// # Errors
/// When the port is taken, and when the program is stopped.
fn serve((port, opened): (u16, OpenArgs), what: &Served<'_>, make: &mut Make<'_>, out: &Out) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|e| {
        Error::io(format!("cannot listen on 127.0.0.1:{port}: {e}"))
            .because(e)
            .hint("choose another --port, or 0 for one that is free")
    })?;
    let port = listener.local_addr()?.port();
    signals::listen();
    let (queue, jobs) = mpsc::sync_channel::<Job>(QUEUE);
    let connections = Arc::new(Connections::new(port, answer::form(what.model), queue));
    connections.clone().accept(listener)?;
    let address = format!("http://127.0.0.1:{port}/");
    out.data(|w| writeln!(w, "{address}"))?;
    match opened.open {
        true => open(address.as_ref(), out),
        false => out.say("open this address in a browser; Ctrl-C ends it"),
    }
    loop {
        if signals::stopped() {
            break;
        }
        let job = match jobs.recv_timeout(GLANCE) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Err(Error::io("nobody listens any more").fault()),
        };
        if job.is_gone() {
            continue;
        }
        match make(&job.typed) {
            Ok(page) => job.answer(Answer::page(page, what.policy)),
            Err(e) if e.kind() == ErrorKind::Interrupted => {
                job.answer(Refusal::ending().into());
                break;
            }
            Err(e) => {
                out.error(&e);
                let status = match e.kind() {
                    ErrorKind::BadInput | ErrorKind::NoSuch => 422,
                    _ => 500,
                };
                job.answer(Refusal::new(status, format!("{}.", flags(e.sentence()))).into());
            }
        }
    }
    // Whoever waits is told, and gets what is on its way.
    drop(jobs);
    connections.end();
    Err(signals::interrupted("no more pages are served").hint("run the same command to begin again"))
}
/// As [`super::form`].
pub(super) fn form(bytes: &[u8], port: u16) -> Option<(String, &'static str)> {
    match request::read(&mut std::io::Cursor::new(bytes.to_vec()), port) {
        Ok(Some((_, request::Wanted::Page(typed)))) => Some((typed.prompt, typed.language)),
        _ => None,
    }
}
