//! Conditions on the rows of a table, and the words that expectations and templates are made of.

use std::fmt;

use super::rows::{Column, Datum};
use crate::error::{Error, Result};

/// A word of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// A name or a number.
    Bare(String),
    /// Text in quotes.
    Quoted(String),
    /// A sign.
    Sign(&'static str),
}

/// Signs, the longer ones first.
const SIGNS: &[&str] = &["!=", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", ":", "|"];

/// The words of a line, read from the front.
#[derive(Clone, Debug)]
pub struct Words {
    line: String,
    words: Vec<Word>,
    next: usize,
}

impl Words {
    /// Splits a line.
    ///
    /// # Errors
    /// When a quote is not closed, or there is a sign that means nothing.
    pub fn of(line: &str) -> Result<Self> {
        let (mut words, mut rest) = (vec![], line.trim_start());
        while let Some(first) = rest.chars().next() {
            let is_bare = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+' | '/' | '#');
            if first == '\'' || first == '"' {
                let open = || {
                    Error::bad_input(format!("`{line}` has a quote that is not closed"))
                        .hint("close it with the same quote")
                };
                let (text, after) = rest[1..].split_once(first).ok_or_else(open)?;
                words.push(Word::Quoted(text.to_owned()));
                rest = after;
            } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                words.push(Word::Sign(sign));
                rest = &rest[sign.len()..];
            } else {
                let end = rest.find(|c| !is_bare(c)).unwrap_or(rest.len());
                if end == 0 {
                    return Err(Error::bad_input(format!("`{line}` has a `{first}`, which means nothing there"))
                        .hint("put text in quotes"));
                }
                words.push(Word::Bare(rest[..end].to_owned()));
                rest = &rest[end..];
            }
            rest = rest.trim_start();
        }
        Ok(Self { line: line.to_owned(), words, next: 0 })
    }

    /// The next word, which stays.
    pub fn peek(&self) -> Option<&Word> {
        self.words.get(self.next)
    }

    /// Takes the next word.
    pub fn take(&mut self) -> Option<Word> {
        let word = self.words.get(self.next).cloned();
        self.next += usize::from(word.is_some());
        word
    }

    /// Takes these words, if they come next.
    pub fn took(&mut self, wanted: &[&str]) -> bool {
        let is = |(word, wanted): (&Word, &&str)| match word {
            Word::Bare(word) => word == wanted,
            Word::Sign(sign) => sign == wanted,
            Word::Quoted(_) => false,
        };
        let there = &self.words[self.next..];
        let found = there.len() >= wanted.len() && there.iter().zip(wanted).all(is);
        self.next += if found { wanted.len() } else { 0 };
        found
    }

    /// Takes this sign or word.
    ///
    /// # Errors
    /// When something else comes.
    pub fn need(&mut self, wanted: &str) -> Result<()> {
        if self.took(&[wanted]) { Ok(()) } else { Err(self.wrong(&format!("`{wanted}`"))) }
    }

    /// Takes a name.
    ///
    /// # Errors
    /// When none comes; `what` it should be.
    pub fn name(&mut self, what: &str) -> Result<String> {
        match self.peek() {
            Some(Word::Bare(name)) => {
                let name = name.clone();
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.wrong(what)),
        }
    }

    /// Takes a number.
    ///
    /// # Errors
    /// When none comes.
    pub fn number(&mut self) -> Result<f64> {
        let number = self.name("a number")?;
        number.parse().map_err(|_| {
            self.next -= 1;
            self.wrong("a number")
        })
    }

    /// Names with commas between.
    ///
    /// # Errors
    /// When one is none.
    pub fn names(&mut self, what: &str) -> Result<Vec<String>> {
        let mut names = vec![self.name(what)?];
        while self.took(&[","]) {
            names.push(self.name(what)?);
        }
        Ok(names)
    }

    /// Whether all words are read.
    ///
    /// # Errors
    /// When one is left.
    pub fn end(&self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.wrong("the end")) }
    }

    /// That something else stands where this should.
    pub fn wrong(&self, should: &str) -> Error {
        let found = match self.peek() {
            None => "its end".to_owned(),
            Some(Word::Bare(word)) => format!("`{word}`"),
            Some(Word::Quoted(text)) => format!("'{text}'"),
            Some(Word::Sign(sign)) => format!("`{sign}`"),
        };
        Error::bad_input(format!("`{}` has {found} where {should} should be", self.line))
            .hint("docs/experiments.md says what can be written")
    }
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compare {
    /// `=`
    Is,
    /// `!=`
    IsNot,
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

impl Compare {
    /// Takes it.
    ///
    /// # Errors
    /// When something else comes.
    pub fn read(words: &mut Words) -> Result<Self> {
        let all = [Self::Is, Self::IsNot, Self::Below, Self::AtMost, Self::Above, Self::AtLeast];
        let found = all.into_iter().find(|compare| words.took(&[compare.sign()]));
        found.ok_or_else(|| words.wrong("one of = != < <= > >="))
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Is => "=",
            Self::IsNot => "!=",
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        }
    }

    /// Whether it holds of two numbers.
    pub fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Is => a == b,
            Self::IsNot => a != b,
            Self::Below => a < b,
            Self::AtMost => a <= b,
            Self::Above => a > b,
            Self::AtLeast => a >= b,
        }
    }
}

/// Conditions that all hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter(Vec<Condition>);

#[derive(Clone, Debug, PartialEq)]
struct Condition {
    column: String,
    compare: Compare,
    /// Any of them.
    values: Vec<Word>,
}

impl Filter {
    /// Takes conditions with `and` between.
    ///
    /// # Errors
    /// When none comes.
    pub fn read(words: &mut Words) -> Result<Self> {
        let mut all = vec![];
        loop {
            let column = words.name("the name of a column")?;
            match (column.as_str(), words.peek()) {
                // The column of this name has a sign after it.
                ("head", Some(Word::Bare(head))) if head != "in" => {
                    let (layer, head) = crate::view::head(head).map_err(|_| words.wrong("a head such as 2.0"))?;
                    words.take();
                    let is = |column: &str, n: u32| Condition {
                        column: column.to_owned(),
                        compare: Compare::Is,
                        values: vec![Word::Bare(n.to_string())],
                    };
                    all.extend([is("layer", layer), is("head", head)]);
                }
                // Not `in top 3`, which comes after a filter.
                (_, Some(Word::Bare(word))) if word == "in" => {
                    words.need("in")?;
                    words.need("(")?;
                    let mut values = vec![value(words)?];
                    while words.took(&[","]) {
                        values.push(value(words)?);
                    }
                    words.need(")")?;
                    all.push(Condition { column, compare: Compare::Is, values });
                }
                _ => {
                    let compare = Compare::read(words)?;
                    all.push(Condition { column, compare, values: vec![value(words)?] });
                }
            }
            if !words.took(&["and"]) {
                return Ok(Self(all));
            }
        }
    }

    /// Reads a line that is a filter and nothing else.
    ///
    /// # Errors
    /// When it is not.
    pub fn parse(line: &str) -> Result<Self> {
        let mut words = Words::of(line)?;
        let filter = Self::read(&mut words)?;
        words.end().map(|()| filter)
    }

    /// The columns that it names.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|condition| condition.column.as_str())
    }

    /// The filter for rows with these columns.
    ///
    /// # Errors
    /// When there is no such column, or a value is of another type.
    pub fn on(&self, columns: &[Column]) -> Result<Fitted> {
        let fit = |condition: &Condition| {
            let at = super::rows::place(columns, &condition.column)?;
            let values = condition.values.iter().map(|value| columns[at].datum(value));
            Ok((at, condition.compare, values.collect::<Result<Vec<_>>>()?))
        };
        self.0.iter().map(fit).collect::<Result<_>>().map(Fitted)
    }
}

fn value(words: &mut Words) -> Result<Word> {
    match words.take() {
        Some(word @ (Word::Bare(_) | Word::Quoted(_))) => Ok(word),
        other => {
            words.next -= usize::from(other.is_some());
            Err(words.wrong("a value"))
        }
    }
}

/// A filter for rows with certain columns.
pub struct Fitted(Vec<(usize, Compare, Vec<Datum>)>);

impl Fitted {
    /// Whether the row is meant.
    pub fn is(&self, row: &[Datum]) -> bool {
        self.0.iter().all(|(at, compare, values)| values.iter().any(|value| holds(&row[*at], *compare, value)))
    }
}

fn holds(a: &Datum, compare: Compare, b: &Datum) -> bool {
    match (a, b) {
        // What is not there is no smaller than anything.
        (Datum::Null, _) | (_, Datum::Null) => match compare {
            Compare::Is => a == b,
            Compare::IsNot => a != b,
            _ => false,
        },
        (Datum::Text(a), Datum::Text(b)) => {
            let order = a.cmp(b) as i8;
            compare.holds(f64::from(order), 0.0)
        }
        (a, b) => match (a.number(), b.number()) {
            (Some(a), Some(b)) => compare.holds(a, b),
            _ => false,
        },
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |word: &Word| match word {
            Word::Quoted(text) => format!("'{text}'"),
            Word::Bare(text) => text.clone(),
            Word::Sign(sign) => (*sign).to_owned(),
        };
        for (i, Condition { column, compare, values }) in self.0.iter().enumerate() {
            let and = if i > 0 { " and " } else { "" };
            let values: Vec<String> = values.iter().map(value).collect();
            match &values[..] {
                [one] => write!(f, "{and}{column} {} {one}", compare.sign())?,
                all => write!(f, "{and}{column} in ({})", all.join(", "))?,
            }
        }
        Ok(())
    }
}
