//! One error type for the whole crate: a sentence with the facts, a hint, and what kind of failure it is.

use std::fmt;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, coarse enough to act on. The command line maps it to an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), hint: None, source: None }))
    }
    /// Something named in the request does not exist.
    pub fn no_such(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NoSuch, message)
    }
    /// The request is malformed.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadInput, message)
    }
    /// The model's files cannot be used.
    pub fn bad_model(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadModel, message)
    }
    /// Reading or writing failed.
    pub fn io(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Io, message)
    }
    /// The computation failed.
    pub fn compute(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Compute, message)
    }
    /// The same error with one thing to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }
    /// The same error with its cause.
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// The sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// The one thing to do, where there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
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
        write!(f, "{:?}: {}", self.0.kind, self.0.message)?;
        if let Some(hint) = &self.0.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|e| e.as_ref() as _)
    }
}

impl From<candle_core::Error> for Error {
    fn from(e: candle_core::Error) -> Self {
        Error::compute(format!("the tensor computation failed: {e}"))
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        Error::io(e.to_string()).because(e)
    }
}

/// `": did you mean ..."` material: the known name nearest to `name`, if one is near enough to be worth saying.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .min()
        .filter(|(distance, k)| *distance <= 1 + k.len().min(name.len()) / 3)
        .map(|(_, k)| k)
}
