//! The one place that decides what is printed, where, and in which colour.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice as Choice};
use anstyle::{AnsiColor, Style};
use clap::ColorChoice;
use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::Talk;
use super::kept::Kept;
use super::signals::{self, stopped};
use crate::analysis::Watch;
use crate::error::{Error, Result, Said, readable, with_short_names};
use crate::session::folder::Finished;
use crate::session::{Plan, Session};
use crate::table;
use crate::table::{Format, Row, TextOptions, TextWriter, write_rows};
use crate::text::{Fetching, Hub, ModelSource};

table! {
    /// A file that was written.
    FileRow = "files" version 1:
    "Files that were written.";
    file: String, "", "its path";
}

table! {
    /// A folder that results were written to.
    FolderRow = "folders" version 1:
    "Folders that results were written to.";
    folder: String, "", "its path";
}

/// Output of one command.
pub(super) struct Out {
    /// How stdout is written.
    pub format: Format,
    text: TextOptions,
    quiet: bool,
    verbose: bool,
    colour: Choice,
    offline: bool,
    insecure: bool,
    /// `--fetch-limit`, in bytes.
    fetch_limit: Option<usize>,
    /// Whether results are printed, and not only written.
    pub prints: bool,
    /// The model that was loaded last.
    pub kept: Kept,
}

impl Out {
    pub fn new(talk: &Talk) -> Self {
        QUIET.store(talk.quiet, Ordering::SeqCst);
        let colour = match talk.color {
            ColorChoice::Auto => Choice::Auto,
            ColorChoice::Always => Choice::Always,
            ColorChoice::Never => Choice::Never,
        };
        let Talk { format, quiet, verbose, offline, insecure, fetch_limit, csv_safe, .. } = *talk;
        let text = TextOptions { csv_safe };
        let kept = Kept::default();
        Self { format, text, quiet, verbose, colour, offline, insecure, fetch_limit, prints: true, kept }
    }

    /// Output of commands that are steps of another, whose results are not printed.
    pub fn of_steps(&self, offline: bool) -> Self {
        let Self { format, text, quiet, verbose, colour, insecure, fetch_limit, .. } = *self;
        let offline = self.offline || offline;
        Self {
            format,
            text,
            quiet,
            verbose,
            colour,
            offline,
            insecure,
            fetch_limit,
            prints: false,
            kept: Kept::default(),
        }
    }

    /// Output of a command line that could not be understood.
    pub fn bare() -> Self {
        Self {
            format: Format::default(),
            text: TextOptions::default(),
            quiet: false,
            verbose: false,
            colour: Choice::Auto,
            offline: false,
            insecure: false,
            fetch_limit: None,
            prints: true,
            kept: Kept::default(),
        }
    }

    /// stdout for what has colours, which are dropped where they are not wanted.
    fn styled(&self) -> AutoStream<io::StdoutLock<'static>> {
        AutoStream::new(io::stdout().lock(), self.colour)
    }

    fn talk(&self) -> AutoStream<io::StderrLock<'static>> {
        AutoStream::new(io::stderr().lock(), self.colour)
    }

    /// Writes words to stdout, which may be styled.
    pub fn print(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let mut words = self.styled();
        write(&mut words).and_then(|()| words.flush()).map_err(unwritten)
    }

    /// Writes data to stdout, byte for byte: what looks like a colour in it is part of it.
    pub fn data(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let mut data = io::stdout().lock();
        write(&mut data).and_then(|()| data.flush()).map_err(unwritten)
    }

    /// Writes rows to stdout in the format that was asked for.
    pub fn rows<R: Row>(&self, rows: &[R]) -> Result<()> {
        if self.format != Format::Table {
            return self.streamed(|each| rows.iter().try_for_each(each));
        }
        // Not `styled`, which would take escape sequences out of tokens.
        let mut data = io::BufWriter::new(io::stdout().lock());
        write_rows(rows, self.format, &mut data)?;
        data.flush().map_err(unwritten)
    }

    /// Writes words for people to stdout, which may have colours; else byte for byte.
    pub fn shown(&self, styled: bool, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        let to: Box<dyn Write> = match styled {
            true => Box::new(self.styled()),
            false => Box::new(io::BufWriter::new(io::stdout().lock())),
        };
        let mut words = Stdout { to, failed: None };
        let written = write(&mut words);
        let flushed = words.flush();
        match words.failed {
            Some(e) => Err(unwritten(e)),
            None => written.and(flushed.map_err(unwritten)),
        }
    }

    /// Writes a table to stdout in the format that was asked for.
    pub fn text(&self, write: impl FnOnce(Format, TextOptions, &mut dyn Write) -> Result<()>) -> Result<()> {
        let mut data = io::BufWriter::new(io::stdout().lock());
        write(self.format, self.text, &mut data)?;
        data.flush().map_err(unwritten)
    }

    /// Writes the rows that `produce` gives away to stdout in the format that was asked for, but not as a table for people.
    pub fn streamed<R: Row>(&self, produce: impl FnOnce(&mut dyn FnMut(&R) -> Result<()>) -> Result<()>) -> Result<()> {
        let mut data = io::BufWriter::new(io::stdout().lock());
        let mut text = TextWriter::new(self.format, self.text, &mut data)?;
        produce(&mut |row| text.push(row))?;
        text.finish()?;
        data.flush().map_err(unwritten)
    }

    /// Writes the names of files to stdout, in the format that was asked for.
    pub fn files(&self, files: &[PathBuf]) -> Result<()> {
        let shown = files.iter().map(|file| file.display().to_string());
        match self.format {
            Format::Table => self.data(|w| shown.into_iter().try_for_each(|file| writeln!(w, "{file}"))),
            _ => self.rows(&shown.map(|file| FileRow { file }).collect::<Vec<_>>()),
        }
    }

    /// Writes the name of a folder to stdout, in the format that was asked for.
    pub fn folder(&self, folder: &Path) -> Result<()> {
        let folder = folder.display().to_string();
        match self.format {
            Format::Table => self.data(|w| writeln!(w, "{folder}")),
            _ => self.rows(&[FolderRow { folder }]),
        }
    }

    /// Says something on stderr.
    pub fn say(&self, words: impl std::fmt::Display) {
        if !self.quiet {
            let _ = writeln!(self.talk(), "{}", one_line(&words.to_string()));
        }
    }

    /// Warns that keys of config.json were let through unread.
    pub fn accepted(&self, source: &ModelSource) {
        let keys: Vec<String> = source.accepted.iter().map(|key| format!("`{key}`")).collect();
        if !keys.is_empty() {
            self.say(format_args!(
                "warning: {} of {}'s config.json is let through unread; if it changes what the model computes, these are not that \
                 model's numbers",
                keys.join(", "),
                source.id
            ));
        }
    }

    /// Says on stderr what a reader of the results should know.
    pub fn note(&self, words: impl std::fmt::Display) {
        self.say(format_args!("note: {words}"));
    }

    /// Says under `--verbose` what was loaded from where.
    pub fn loaded(&self, loaded: &Session) {
        if self.verbose {
            let (spec, source) = (loaded.model.spec(), &loaded.source);
            let tokenizer = if loaded.tokenizer.is_some() { "with" } else { "without" };
            self.say(format_args!(
                "loaded {} ({}): {} parameters, {}, {tokenizer} a tokenizer",
                source.id,
                source.files,
                spec.n_params(),
                loaded.model.numbers()
            ));
        }
    }

    /// Says under `--verbose` what a request needs.
    pub fn planned(&self, plan: &Plan) {
        if self.verbose {
            self.say(format_args!("needs {plan}"));
        }
    }

    /// Says what was written where.
    pub fn wrote(&self, done: &Finished) {
        let list = match &done.files[..] {
            [a, b, c, .., last] if done.files.len() > 4 => {
                format!("{a}, {b}, {c}, ... {last} ({} files)", done.files.len())
            }
            files => files.join(", "),
        };
        self.say(format_args!("wrote {}: {list}", done.path.display()));
    }

    /// Says what went wrong, and what to do.
    pub fn error(&self, e: &Error) {
        let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        let cyan = Style::new().bold().fg_color(Some(AnsiColor::Cyan.into()));
        let mut talk = self.talk();
        let _ = writeln!(talk, "{red}error:{red:#} {}", one_line(&readable(&flags(e.sentence()))));
        let _ = writeln!(talk, "{cyan}hint:{cyan:#} {}", one_line(&readable(&flags(e.remedy()))));
        if self.verbose {
            let mut cause = std::error::Error::source(e);
            while let Some(c) = cause {
                let _ = writeln!(talk, "cause: {}", readable(&c.to_string()));
                cause = c.source();
            }
        }
    }

    /// A watch that shows progress on a terminal and stops at Ctrl-C.
    pub fn watch(&self, what: &'static str) -> Progress {
        signals::listen();
        let shown = !self.quiet && io::stderr().is_terminal();
        Progress {
            what,
            shown,
            line: "{msg} {wide_bar} {percent}% {eta} left",
            started: Instant::now(),
            bar: RefCell::default(),
        }
    }

    /// The same of tokens, which also says how many of them there are in a second.
    pub fn watch_tokens(&self, what: &'static str) -> Progress {
        Progress { line: "{msg} {wide_bar} {percent}% {per_sec} tokens, {eta} left", ..self.watch(what) }
    }

    /// The Hub that models are fetched from, if the network may be used.
    pub fn hub(&self) -> Hub {
        let hub = Hub::from_env().offline(self.offline).insecure(self.insecure);
        self.fetch_limit.into_iter().fold(hub, |hub, bytes| hub.limit(bytes as u64))
    }

    /// Says what is fetched, shows how far it is on a terminal, and stops it at Ctrl-C.
    pub fn fetching(&self) -> FetchBar<'_> {
        FetchBar { out: self, bar: RefCell::default() }
    }
}

/// stdout, which remembers why it could not be written: whoever wrote may have taken it for a failure of its own.
struct Stdout {
    to: Box<dyn Write>,
    failed: Option<io::Error>,
}

impl Stdout {
    fn kept<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|e| {
            let kind = e.kind();
            self.failed.get_or_insert(e);
            kind.into()
        })
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.to.write(bytes);
        self.kept(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.to.flush();
        self.kept(done)
    }
}

/// Writes what clap has to say, which is help or the version, to stdout.
pub(super) fn help(words: &clap::Error) -> Result<()> {
    words.print().and_then(|()| io::stdout().flush()).map_err(unwritten)
}

/// Whether stdout is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

fn unwritten(e: io::Error) -> Error {
    Error::cannot_write_to("stdout", e)
}

/// What is said is one line, whatever a file name or a token in it holds.
fn one_line(text: &str) -> String {
    with_short_names(text)
}

/// Whether the reader of stdout went away.
pub(super) fn is_closed_pipe(e: &Error) -> bool {
    let mut cause = std::error::Error::source(e);
    while let Some(c) = cause {
        if c.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = c.source();
    }
    false
}

/// For what talks without an [`Out`] at hand.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Says something on stderr where nobody has an [`Out`], unless nothing is to be said.
pub(super) fn say_plainly(words: &str) {
    if !QUIET.load(Ordering::SeqCst) {
        let _ = writeln!(io::stderr(), "{}", one_line(words));
    }
}

/// Shows a bar once something takes over a second.
pub(super) struct Progress {
    what: &'static str,
    shown: bool,
    line: &'static str,
    started: Instant,
    bar: RefCell<Option<ProgressBar>>,
}

impl Watch for Progress {
    fn at(&self, done: usize, total: usize) -> Result<()> {
        signals::check()?;
        if self.shown && self.started.elapsed() > Duration::from_secs(1) {
            let mut bar = self.bar.borrow_mut();
            let bar = bar.get_or_insert_with(|| {
                let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
                if let Ok(style) = ProgressStyle::with_template(self.line) {
                    bar.set_style(style);
                }
                bar.with_message(self.what).with_elapsed(self.started.elapsed())
            });
            // How much there will be may be known better than it was.
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            if done == total {
                bar.finish_and_clear();
            }
        }
        Ok(())
    }
}

/// Shows a bar while files are fetched.
pub(super) struct FetchBar<'a> {
    out: &'a Out,
    bar: RefCell<Option<ProgressBar>>,
}

impl Fetching for FetchBar<'_> {
    fn begins(&self, id: &str, host: &str, files: usize, bytes: u64) {
        let files = format!("{files} file{}", if files == 1 { "" } else { "s" });
        self.out.say(format_args!("fetching {id} from {host}: {files}, {}", DecimalBytes(bytes)));
        if !self.out.quiet && io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
            let line = "{wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(line) {
                bar.set_style(style);
            }
            *self.bar.borrow_mut() = Some(bar);
        }
    }

    fn at(&self, done: u64, total: u64) -> Result<()> {
        // Not before there is a network to wait for: what is in the cache is found at once.
        signals::listen();
        let mut bar = self.bar.borrow_mut();
        if stopped() {
            bar.take().inspect(ProgressBar::finish_and_clear);
            let error = signals::interrupted("what was fetched is kept");
            return Err(error.hint("the same command goes on from there"));
        }
        if let Some(shown) = bar.as_ref().filter(|_| total > 0) {
            // Files that an earlier run left unfinished begin in the middle.
            shown.set_position(done.min(total));
            if done >= total {
                bar.take().inspect(ProgressBar::finish_and_clear);
            }
        }
        Ok(())
    }
}

/// A download that fails leaves no bar behind.
impl Drop for FetchBar<'_> {
    fn drop(&mut self) {
        self.bar.borrow_mut().take().inspect(ProgressBar::finish_and_clear);
    }
}

/// What is said, with options as flags.
pub(super) fn flags(said: &Said) -> String {
    said.in_words(&|name, value| {
        let flag = match name {
            "model" => "-m".to_owned(),
            name => format!("--{}", name.replace('_', "-")),
        };
        value.map_or_else(|| flag.clone(), |value| format!("{flag} {value}"))
    })
}
