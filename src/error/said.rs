//! What an error says: words, in which options stand as data. The command line words an option as a flag, the library as a field, and a
//! program can read which one to change, and to what.

use std::fmt;
use std::ops::Add;

/// Words, in which options and names stand as data.
///
/// ```
/// use pellucid::error::{Error, Piece, give_as};
/// let e = Error::bad_input("5 MB are not enough").hint(give_as("memory", "7MB") + " would do");
/// assert_eq!(e.hint_text(), Some("`memory = 7MB` would do"));
/// assert_eq!(e.remedy().pieces()[0], Piece::Give { option: "memory".into(), value: Some("7MB".into()) });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said(Vec<Piece>);

/// A piece of what is said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Piece {
    /// Plain words.
    Words(String),
    /// Give this option.
    Give {
        /// Its name, as a field.
        option: String,
        /// The value to give; without, any.
        value: Option<String>,
    },
    /// Leave this option out.
    LeaveOut {
        /// Its name, as a field.
        option: String,
        /// The value to leave out; without, all.
        value: Option<String>,
    },
    /// Write this name in place of the one that was given.
    Choose(String),
    /// The first of these whose options can all be given where the error is said.
    Either(Vec<Said>),
}

/// An option to give, any value of it.
pub fn give(option: impl Into<String>) -> Said {
    Said(vec![Piece::Give { option: option.into(), value: None }])
}

/// An option to give, with this value.
pub fn give_as(option: impl Into<String>, value: impl Into<String>) -> Said {
    Said(vec![Piece::Give { option: option.into(), value: Some(value.into()) }])
}

/// A value of an option to leave out.
pub fn leave_out(option: impl Into<String>, value: impl Into<String>) -> Said {
    Said(vec![Piece::LeaveOut { option: option.into(), value: Some(value.into()) }])
}

/// An option to leave out.
pub fn leave_out_all(option: impl Into<String>) -> Said {
    Said(vec![Piece::LeaveOut { option: option.into(), value: None }])
}

/// The first of these whose options can all be given where this is said: not every command has every option.
pub fn either(choices: impl IntoIterator<Item = Said>) -> Said {
    Said(vec![Piece::Either(choices.into_iter().collect())])
}

/// Words in which options stand in braces: `{ids}` or `{kind=zero}` to give, `{!resume}` to leave out. In brackets stand choices, with a
/// bar between: the first is said whose options can all be given.
///
/// ```
/// use pellucid::error::{give, said, words};
/// assert_eq!(said("give {ids}, or more"), words("give ") + give("ids") + ", or more");
/// let either = said("[give {ids}|write ids as '#1,2'] instead");
/// assert_eq!(either.fitting(&|_| false), words("write ids as '#1,2'") + " instead");
/// ```
pub fn said(template: &'static str) -> Said {
    let parts = template.split(['[', ']']).enumerate().filter(|(_, part)| !part.is_empty());
    parts.map(|(i, part)| if i % 2 == 0 { plain(part) } else { either(part.split('|').map(plain)) }).fold(
        Said::default(),
        |mut all, part| {
            all.0.extend(part.0);
            all
        },
    )
}

/// The same without brackets.
fn plain(template: &str) -> Said {
    let piece = |(i, part): (usize, &str)| {
        let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value.to_owned())));
        match name.strip_prefix('!') {
            _ if i % 2 == 0 => Piece::Words(part.to_owned()),
            Some(name) => Piece::LeaveOut { option: name.to_owned(), value },
            None => Piece::Give { option: name.to_owned(), value },
        }
    };
    Said(template.split(['{', '}']).enumerate().filter(|(_, part)| !part.is_empty()).map(piece).collect())
}

/// Words to begin with.
pub fn words(words: impl Into<String>) -> Said {
    Said(vec![Piece::Words(words.into())])
}

impl Said {
    /// The pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// All of it, with each option (its name, and a value) as `option` words it.
    pub fn in_words(&self, option: &dyn Fn(&str, Option<&str>) -> String) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Words(words) => words.clone(),
            Piece::Give { option: name, value } | Piece::LeaveOut { option: name, value } => {
                option(name, value.as_deref())
            }
            Piece::Choose(name) => format!("did you mean `{name}`?"),
            Piece::Either(choices) => choices.first().map_or(String::new(), |said| said.in_words(option)),
        };
        self.0.iter().map(piece).collect()
    }

    /// The same where only these options can be given: of choices the first that can be followed.
    pub fn fitting(&self, has: &dyn Fn(&str) -> bool) -> Self {
        let fits = |said: &Self| said.options().all(has);
        let piece = |piece: &Piece| match piece {
            Piece::Either(choices) => choices.iter().find(|said| fits(said)).map_or(vec![], |said| said.fitting(has).0),
            piece => vec![piece.clone()],
        };
        Self(self.0.iter().flat_map(piece).collect())
    }

    /// The options that it names outside of choices.
    pub fn options(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Give { option, .. } | Piece::LeaveOut { option, .. } => Some(&**option),
            _ => None,
        })
    }

    /// The same name to choose.
    pub(super) fn choose(name: &str) -> Self {
        Self(vec![Piece::Choose(name.to_owned())])
    }
}

/// As the library words it: options are fields.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_words(&|name, value| match value {
            Some(value) => format!("`{name} = {value}`"),
            None => format!("`{name}`"),
        }))
    }
}

impl<T: Into<Said>> Add<T> for Said {
    type Output = Self;

    fn add(mut self, more: T) -> Self {
        self.0.extend(more.into().0);
        self
    }
}

impl From<&str> for Said {
    fn from(text: &str) -> Self {
        words(text)
    }
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        words(text)
    }
}
