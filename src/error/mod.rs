//! One error type for the whole crate: a sentence with the facts, a hint, and what kind of failure it is.
//!
//! A [`Sentence`] is no error before it has its hint, so the compiler refuses an error that says nothing to do. [`files`]
//! has the hints for what the system answers, and [`readable`] keeps names that others chose short and printable.

mod files;
mod position;
mod readable;
mod said;

use std::fmt;

pub use position::{counted, position};
pub use readable::{bytes, readable, with_short_names};
pub use said::{Piece, Said, either, give, give_as, leave_out, leave_out_all, said, words};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, coarse enough to act on. The command line maps it to an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request names something that does not exist: a model, a hook, a table, a token.
    NoSuch,
    /// The request is malformed: an empty prompt, a bad option, a prompt file that cannot be parsed.
    BadInput,
    /// The model's files cannot be used: config, weights or tokenizer.
    BadModel,
    /// Reading or writing failed.
    Io,
    /// The computation itself failed.
    Compute,
    /// The user stopped it.
    Interrupted,
}

/// An error: one sentence with the facts, and one thing to do about it.
///
/// ```
/// use pellucid::error::{Error, ErrorKind};
/// let e = Error::no_such("there is no hook `blocks.0.hook_resid_pst`").hint("did you mean `blocks.0.hook_resid_post`?");
/// assert_eq!(e.kind(), ErrorKind::NoSuch);
/// assert_eq!(e.exit_code(), 2);
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    sentence: Said,
    remedy: Said,
    /// Both as the library words them.
    message: String,
    hint: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong, without what to do about it: no error yet.
///
/// ```compile_fail
/// let e: pellucid::Error = pellucid::Error::bad_input("the prompt is empty");
/// ```
#[must_use = "an error needs a hint"]
pub struct Sentence(Box<Inner>);

/// What to do about an error that no request should lead to.
const REPORT: &str = "this looks like a fault in pellucid; report it, with the command and the model's config.json";

impl Sentence {
    /// The error, with one thing to do about it.
    pub fn hint(mut self, remedy: impl Into<Said>) -> Error {
        self.0.remedy = remedy.into();
        self.0.hint = readable(&self.0.remedy.to_string());
        Error(self.0)
    }
    /// The error, which asks whether the known name nearest to `name` is meant; where none is near, `otherwise` is what to do.
    pub fn nearest_or<'a>(
        self,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
        otherwise: impl Into<Said>,
    ) -> Error {
        match nearest(name, known) {
            Some(near) => self.hint(Said::choose(near)),
            None => self.hint(otherwise),
        }
    }
    /// The error of something that cannot happen while pellucid, or whoever calls it, is right.
    pub fn fault(self) -> Error {
        self.hint(REPORT)
    }
    /// The same sentence with its cause.
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }
}

impl Error {
    /// What an error of `kind` says. Long names in it are shortened and what does not print is escaped, as by [`readable`].
    pub fn of_kind(kind: ErrorKind, sentence: impl Into<Said>) -> Sentence {
        let sentence = sentence.into();
        let message = readable(&sentence.to_string());
        Sentence(Box::new(Inner {
            kind,
            sentence,
            remedy: Said::default(),
            message,
            hint: String::new(),
            source: None,
        }))
    }
    /// Something named in the request does not exist.
    pub fn no_such(message: impl Into<Said>) -> Sentence {
        Self::of_kind(ErrorKind::NoSuch, message)
    }
    /// The request is malformed.
    pub fn bad_input(message: impl Into<Said>) -> Sentence {
        Self::of_kind(ErrorKind::BadInput, message)
    }
    /// The model's files cannot be used.
    pub fn bad_model(message: impl Into<Said>) -> Sentence {
        Self::of_kind(ErrorKind::BadModel, message)
    }
    /// Reading or writing failed.
    pub fn io(message: impl Into<Said>) -> Sentence {
        Self::of_kind(ErrorKind::Io, message)
    }
    /// The computation failed.
    pub fn compute(message: impl Into<Said>) -> Sentence {
        Self::of_kind(ErrorKind::Compute, message)
    }
    /// The same error with another thing to do about it.
    pub fn hint(self, remedy: impl Into<Said>) -> Self {
        Sentence(self.0).hint(remedy)
    }
    /// The same error with its cause.
    pub fn because(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Sentence(self.0).because(source).0)
    }
    /// The same error, whose sentence begins with where it happened: `place: sentence`.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.sentence = words(format!("{place}: ")) + std::mem::take(&mut self.0.sentence);
        self.0.message = readable(&self.0.sentence.to_string());
        self
    }
    /// The same error where only these options can be given: its hint names no other, where it has a choice.
    pub fn fitting(mut self, has: &dyn Fn(&str) -> bool) -> Self {
        self.0.sentence = self.0.sentence.fitting(has);
        self.0.message = readable(&self.0.sentence.to_string());
        let remedy = self.0.remedy.fitting(has);
        self.hint(remedy)
    }
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// The sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// The sentence, with options as data.
    pub fn sentence(&self) -> &Said {
        &self.0.sentence
    }
    /// The one thing to do, with options as data. Every error has one.
    pub fn remedy(&self) -> &Said {
        &self.0.remedy
    }
    /// The one thing to do, in words. Every error has one.
    pub fn hint_text(&self) -> Option<&str> {
        Some(&self.0.hint)
    }
    /// The exit code of a program that ends with this error: 2 bad request, 130 interrupted, 1 anything else.
    pub fn exit_code(&self) -> u8 {
        match self.kind() {
            ErrorKind::NoSuch | ErrorKind::BadInput => 2,
            ErrorKind::Interrupted => 130,
            ErrorKind::BadModel | ErrorKind::Io | ErrorKind::Compute => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} (hint: {})", self.0.kind, self.0.message, self.0.hint)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|e| e.as_ref() as _)
    }
}

impl From<candle_core::Error> for Error {
    fn from(e: candle_core::Error) -> Self {
        Error::compute(format!("the tensor computation failed: {}", without_backtrace(&e))).fault()
    }
}

/// What candle says. With `RUST_BACKTRACE` set it puts a page of addresses behind it.
pub(crate) fn without_backtrace(e: &candle_core::Error) -> String {
    match e {
        candle_core::Error::WithBacktrace { inner, .. } => without_backtrace(inner),
        other => other.to_string(),
    }
}

/// `": did you mean ..."` material: the known name nearest to `name`, if one is near enough to be worth saying.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .min()
        // Of short names, more than half must be the same: `pos` is not near to `ids`.
        .filter(|(distance, k)| {
            *distance <= 1 + k.len().min(name.len()) / 3 && *distance * 2 <= k.len().max(name.len())
        })
        .map(|(_, k)| k)
}
