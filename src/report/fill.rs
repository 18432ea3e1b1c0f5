//! `${...}` in the values of an experiment: what they refer to, and what they become.

use toml::{Table, Value};

use super::keys::shown;
use crate::error::{Error, Result};

/// What `${...}` refers to.
#[derive(Clone, Debug, PartialEq)]
pub enum Reference {
    /// `${matrix.AXIS}`.
    Matrix(String),
    /// `${steps.NAME.WHAT}`.
    Step {
        /// The step.
        name: String,
        /// Its `table`, its `folder`, a table by name, or a file.
        what: String,
    },
    /// `${experiment.KEY}`.
    Experiment(String),
    /// `${env.NAME}` or `${env.NAME:default}`.
    Env {
        /// The variable.
        name: String,
        /// What it is where it is not set.
        default: Option<String>,
    },
}

impl Reference {
    fn parse(text: &str) -> Result<Self> {
        let unknown = || {
            Error::bad_input(format!("`${{{text}}}` refers to nothing"))
                .hint("write ${matrix.AXIS}, ${steps.NAME.table}, ${experiment.folder} or ${env.X:default}; $${ is the text ${")
        };
        let (of, rest) = text.split_once('.').filter(|(_, rest)| !rest.is_empty()).ok_or_else(unknown)?;
        match of {
            "matrix" => Ok(Self::Matrix(rest.to_owned())),
            "experiment" if ["folder", "model", "seed"].contains(&rest) => Ok(Self::Experiment(rest.to_owned())),
            "steps" => match rest.split_once('.') {
                Some((name, what)) if !what.is_empty() => {
                    Ok(Self::Step { name: name.to_owned(), what: what.to_owned() })
                }
                _ => Err(Error::bad_input(format!("`${{{text}}}` does not say which result of that step is meant"))
                    .hint("write ${steps.NAME.table} or ${steps.NAME.folder}")),
            },
            "env" => {
                let (name, default) = rest.split_once(':').map_or((rest, None), |(name, value)| (name, Some(value)));
                Ok(Self::Env { name: name.to_owned(), default: default.map(str::to_owned) })
            }
            _ => Err(unknown()),
        }
    }
}

/// A piece of a text.
enum Piece {
    Plain(String),
    Refers(Reference),
}

fn pieces(text: &str) -> Result<Vec<Piece>> {
    let (mut pieces, mut plain, mut rest) = (vec![], String::new(), text);
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            plain.push_str(&rest[..at]);
            plain.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        plain.push_str(&rest[..at]);
        let open = || Error::bad_input(format!("`{text}` has a ${{ without its }}")).hint("add it; $${ is the text ${");
        let (inside, after) = rest[at + 2..].split_once('}').ok_or_else(open)?;
        pieces.push(Piece::Plain(std::mem::take(&mut plain)));
        pieces.push(Piece::Refers(Reference::parse(inside)?));
        rest = after;
    }
    plain.push_str(rest);
    pieces.push(Piece::Plain(plain));
    pieces.retain(|piece| !matches!(piece, Piece::Plain(text) if text.is_empty()));
    Ok(pieces)
}

/// What a value refers to, in order.
///
/// # Errors
/// When a reference cannot be understood.
pub fn references(value: &Value) -> Result<Vec<Reference>> {
    let refers = |piece| if let Piece::Refers(reference) = piece { Some(reference) } else { None };
    match value {
        Value::String(text) => Ok(pieces(text)?.into_iter().filter_map(refers).collect()),
        Value::Array(values) => values.iter().map(references).collect::<Result<Vec<_>>>().map(|all| all.concat()),
        _ => Ok(vec![]),
    }
}

/// The value with what `of` says in place of its references: a text that is nothing but one keeps the type of it.
///
/// # Errors
/// As [`references`]; what `of` says.
pub fn filled(value: &Value, of: &dyn Fn(&Reference) -> Result<Value>) -> Result<Value> {
    match value {
        Value::String(text) => match &pieces(text)?[..] {
            [Piece::Refers(only)] => of(only),
            pieces => {
                let each = |piece: &Piece| match piece {
                    Piece::Plain(text) => Ok(text.clone()),
                    Piece::Refers(reference) => of(reference).map(|value| shown(&value)),
                };
                pieces.iter().map(each).collect::<Result<String>>().map(Value::String)
            }
        },
        Value::Array(values) => values.iter().map(|value| filled(value, of)).collect::<Result<_>>().map(Value::Array),
        other => Ok(other.clone()),
    }
}

/// The same of each value of a table.
///
/// # Errors
/// As [`filled`].
pub fn all_filled(table: &Table, of: &dyn Fn(&Reference) -> Result<Value>) -> Result<Table> {
    table.iter().map(|(key, value)| Ok((key.clone(), filled(value, of)?))).collect()
}

/// What a variable of the environment is.
///
/// # Errors
/// When it is not set and has no default.
pub fn env(name: &str, default: Option<&str>) -> Result<Value> {
    let found = std::env::var(name).ok().or_else(|| default.map(str::to_owned));
    found.map(Value::String).ok_or_else(|| {
        Error::bad_input(format!("`${{env.{name}}}` is not set in the environment"))
            .hint(format!("set it, or give a default: ${{env.{name}:default}}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_filled() {
        let of = |reference: &Reference| {
            Ok(match reference {
                Reference::Matrix(axis) if axis == "n" => Value::Integer(3),
                Reference::Env { default, .. } => Value::String(default.clone().unwrap_or_default()),
                other => Value::String(format!("{other:?}")),
            })
        };
        let fill = |text: &str| filled(&Value::String(text.into()), &of).map_err(|e| e.message().to_owned());
        assert_eq!(fill("${matrix.n}"), Ok(Value::Integer(3)));
        assert_eq!(fill("a${matrix.n}b $${matrix.n} ${env.X:d e}"), Ok(Value::String("a3b ${matrix.n} d e".into())));
        assert_eq!(fill("no reference: $ {"), Ok(Value::String("no reference: $ {".into())));
        for (text, what) in [("${", "without its }"), ("${n}", "refers to nothing"), ("${steps.a}", "which result")] {
            assert!(fill(text).unwrap_err().contains(what), "{text}");
        }
    }
}
