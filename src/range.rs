//! Layers, heads, neurons and positions as people choose them: `3`, `0-2`, `-1`, `1--1`, `all`. Options and patterns of hooks are read by
//! the same parser; and however a choice was spelled, a request has it in one form.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};

use crate::error::{Error, Result, counted, readable};

/// Whole numbers from one to another, both of them in it. Negative ones count from the end, where -1 is the last.
///
/// ```
/// use pellucid::range::{Interval, among};
/// let chosen = ["1-3", "-1"].map(|text| Interval::parse(text).unwrap());
/// assert_eq!(among(&chosen, 8), Ok(vec![1, 2, 3, 7]));
/// assert_eq!(among(&chosen, 3), Err(Interval::from(3)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    from: isize,
    to: isize,
}

/// Longer runs of neighbours are one range in a request, shorter ones each number: so old requests, which had no ranges, keep their names.
const APART: usize = 16;

/// So many heads or neurons may be chosen by one range of them.
const MOST: usize = 1 << 20;

impl Interval {
    /// Whether it is one number.
    pub fn is_one(self) -> bool {
        self.from == self.to
    }

    /// All that there are.
    pub const ALL: Self = Self { from: 0, to: -1 };

    /// `3`, `-1`, `0-2`, `-3--1`, `1--1`, or `0..3`, which ends before 3; none where it is none of them.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let number = |text: &str| text.parse::<isize>().ok().filter(|_| !text.starts_with('+'));
        if let Some((from, end)) = text.split_once("..") {
            return Some(Self { from: number(from)?, to: number(end)?.checked_sub(1)? });
        }
        // The first character may be a sign.
        let dash = text.char_indices().skip(1).find(|(_, c)| *c == '-').map(|(at, _)| at);
        let (from, to) = dash.map_or((text, text), |at| (&text[..at], &text[at + 1..]));
        Some(Self { from: number(from)?, to: number(to)? })
    }

    /// Whether a number is between its ends as they are written, so that negative ones are its only among negative ones.
    pub(crate) fn spans(self, number: isize) -> bool {
        self == Self::ALL || (self.from..=self.to).contains(&number)
    }

    /// The same, or `all`.
    ///
    /// # Errors
    /// When it is none of them, or ends before it begins.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text == "all" {
            return Ok(Self::ALL);
        }
        let Some(read) = Self::read(text) else {
            return Err(Error::bad_input(format!("\"{}\" is no number and no range of numbers", readable(text)))
                .hint("write numbers and ranges such as 0,3 or 0-2,5, or all; of positions -1 is the last"));
        };
        match read.backwards() {
            true => Err(Error::bad_input(format!("{text} ends before it begins")).hint(match text.contains("..") {
                true => "a range with .. ends before its last number; write 0-2 for 0 to 2".to_owned(),
                false => format!("write it as {}-{}", read.to, read.from),
            })),
            false => Ok(read),
        }
    }

    /// The same of what is counted from 0 alone: layers, heads, neurons.
    ///
    /// # Errors
    /// As [`Interval::parse`]; and when a number is negative.
    pub fn from_zero(text: &str) -> Result<Self> {
        match Self::parse(text)? {
            read if read == Self::ALL || (read.from >= 0 && read.to >= 0) => Ok(read),
            _ => Err(Error::bad_input(format!("{} is counted from the end, which only positions are", text.trim()))
                .hint("write numbers from 0, such as 0-2")),
        }
    }

    /// Both ends.
    pub(crate) fn ends(self) -> (isize, isize) {
        (self.from, self.to)
    }

    /// Whether it ends before it begins, as far as that is known without the number of things that there are.
    pub(crate) fn backwards(self) -> bool {
        (self.from < 0) == (self.to < 0) && self.from > self.to
    }

    /// Its numbers for several sequences, of which the longest has `longest` places: what is counted from one end alone keeps its numbers, which
    /// are other places of each sequence; the rest is counted from 0.
    pub fn of_several(self, longest: usize) -> std::ops::RangeInclusive<isize> {
        let longest = longest as isize;
        match (self.from < 0, self.to < 0) {
            (true, true) | (false, false) => self.from.max(-longest)..=self.to.min(longest - 1),
            (true, false) => 0..=longest - 1,
            (false, true) => self.from..=longest - 1,
        }
    }

    /// Whether `number` is in it, of what is counted from 0.
    pub fn has(self, number: usize) -> bool {
        self == Self::ALL || (self.from >= 0 && (self.from..=self.to).contains(&(number as isize)))
    }

    /// Which of `n` things they are; none where one end is none of them.
    fn within(self, n: usize) -> Result<RangeInclusive<usize>, Self> {
        // Of nothing, all is nothing.
        if self == Self::ALL && n == 0 {
            return Ok(RangeInclusive::new(1, 0));
        }
        let end = |end: isize| counted(end, n).ok_or(Self::from(end));
        match (end(self.from)?, end(self.to)?) {
            (from, to) if from > to => Err(self),
            (from, to) => Ok(from..=to),
        }
    }

    /// How many numbers it has, where both ends are counted from the same side.
    fn len(self) -> Option<usize> {
        ((self.from < 0) == (self.to < 0)).then(|| self.from.abs_diff(self.to) + 1)
    }

    /// In which order a request has it: numbers from the start, ranges from the start to the end, numbers from the end.
    fn order(self) -> (u8, isize, isize) {
        let side = match (self.from < 0, self.to < 0) {
            (false, false) => 0,
            (true, true) => 2,
            _ => 1,
        };
        (side, self.from, self.to)
    }
}

impl From<isize> for Interval {
    fn from(number: isize) -> Self {
        Self { from: number, to: number }
    }
}

impl From<RangeInclusive<isize>> for Interval {
    fn from(range: RangeInclusive<isize>) -> Self {
        Self { from: *range.start(), to: *range.end() }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALL => f.write_str("all"),
            Self { from, to } if from == to => write!(f, "{from}"),
            Self { from, to } => write!(f, "{from}-{to}"),
        }
    }
}

/// A number as one, and what is more than one as text.
impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.from == self.to {
            true => to.serialize_i64(self.from as i64),
            false => to.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(isize),
            Text(String),
        }
        match Written::deserialize(from)? {
            Written::Number(number) => Ok(number.into()),
            Written::Text(text) => Self::parse(&text).map_err(D::Error::custom),
        }
    }
}

/// Each of these numbers.
pub fn numbers(each: impl IntoIterator<Item = isize>) -> Vec<Interval> {
    each.into_iter().map(Interval::from).collect()
}

/// `0-2,5` or `all`.
///
/// # Errors
/// Whatever [`Interval::parse`] says of one of them.
pub fn intervals(text: &str) -> Result<Vec<Interval>> {
    text.split(',').map(Interval::parse).collect()
}

/// The numbers of `chosen` among `n` things, in order, each once; or the first that is none of them.
///
/// # Errors
/// The number, or the range that ends before it begins, of which there is nothing.
pub fn among(chosen: &[Interval], n: usize) -> Result<Vec<usize>, Interval> {
    let mut numbers = vec![];
    // A range that is given often is not as often in it.
    for interval in normal(chosen) {
        numbers.extend(interval.within(n)?);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// Whether `number` is chosen of what is counted from 0; all are without a choice.
pub fn has(chosen: Option<&[Interval]>, number: usize) -> bool {
    chosen.is_none_or(|chosen| chosen.iter().any(|interval| interval.has(number)))
}

/// The last of `n` things that is chosen, where all of them are there.
pub fn last(chosen: Option<&[Interval]>, n: usize) -> Option<usize> {
    among(chosen.unwrap_or(&[Interval::ALL]), n).ok()?.last().copied()
}

/// How many of `n` things are chosen, where they are there; all without a choice.
pub fn count(chosen: Option<&[Interval]>, n: usize) -> usize {
    chosen.and_then(|chosen| among(chosen, n).ok()).map_or(n, |chosen| chosen.len())
}

/// The layers that are chosen, in order, of a model with `n`.
///
/// # Errors
/// When one is not there.
pub fn layers_of(chosen: &[Interval], n: usize) -> Result<Vec<usize>> {
    among(chosen, n).map_err(|l| {
        Error::no_such(format!("there are {n} layers (0-{}), and {l} is not one", n.saturating_sub(1)))
            .hint("layers are counted from 0")
    })
}

/// The positions that are chosen, in order, of the `n` of `whose`, such as `the prompt`.
///
/// # Errors
/// When one is none of them.
pub fn positions_of(whose: &str, chosen: &[Interval], n: usize) -> Result<Vec<usize>> {
    among(chosen, n).map_err(|absent| {
        Error::no_such(format!("{whose} has {n} positions, and {absent} is not one of them"))
            .hint("`pellucid tokens` shows the position of each token; -1 is the last")
    })
}

/// The same choice in its one form.
pub fn normal(chosen: &[Interval]) -> Vec<Interval> {
    let apart = |interval: Interval| match interval.len() {
        Some(n) if n <= APART => (interval.from..=interval.to).map(Interval::from).collect(),
        _ => vec![interval],
    };
    merged(chosen).into_iter().flat_map(apart).collect()
}

/// The same in order, with neighbours as one range.
fn merged(chosen: &[Interval]) -> Vec<Interval> {
    if chosen.contains(&Interval::ALL) {
        return vec![Interval::ALL];
    }
    let mut sorted = chosen.to_vec();
    sorted.sort_unstable_by_key(|interval| interval.order());
    sorted.dedup();
    let mut merged: Vec<Interval> = vec![];
    for next in sorted {
        match merged.last_mut() {
            Some(last)
                if last.order().0 == next.order().0
                    && next.order().0 != 1
                    && next.from <= last.to.saturating_add(1) =>
            {
                last.to = last.to.max(next.to);
            }
            _ => merged.push(next),
        }
    }
    merged
}

/// A choice as text, in its one form.
pub fn written(chosen: &[Interval]) -> String {
    normal(chosen).iter().map(Interval::to_string).collect::<Vec<_>>().join(",")
}

/// Writes a choice in its one form.
pub(crate) fn some<S: Serializer>(chosen: &[Interval], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(normal(chosen))
}

/// Writes a choice in its one form, where there is one: all is what is taken without one.
pub(crate) fn any<S: Serializer>(chosen: &Option<Vec<Interval>>, to: S) -> Result<S::Ok, S::Error> {
    match chosen.as_deref().map(normal) {
        Some(chosen) if chosen != [Interval::ALL] => to.serialize_some(&chosen),
        _ => to.serialize_none(),
    }
}

/// The same where nothing is taken without one.
pub(crate) fn any_or_all<S: Serializer>(chosen: &Option<Vec<Interval>>, to: S) -> Result<S::Ok, S::Error> {
    chosen.as_deref().map(normal).serialize(to)
}

/// Writes positions as ranges that end before their last number, as requests had them before there was another form.
pub(crate) fn half_open<S: Serializer>(chosen: &[Interval], to: S) -> Result<S::Ok, S::Error> {
    let text = |i: Interval| if i == Interval::ALL { i.to_string() } else { format!("{}..{}", i.from, i.to + 1) };
    to.collect_seq(merged(chosen).into_iter().map(text))
}

/// Writes text that is a choice in its one form; other text as it is, which is refused later.
pub(crate) fn text<S: Serializer>(chosen: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&intervals(chosen).map_or(chosen.to_owned(), |chosen| written(&chosen)))
}

/// Numbers and ranges of them with dots between, such as `3.0-2`, none negative; none where it is nothing like that or all of them
/// together are too many to be meant.
pub(crate) fn dotted(text: &str) -> Option<Vec<Interval>> {
    let parts = text.split('.').map(|part| Interval::read(part.trim()).filter(|i| i.from >= 0 && i.from <= i.to));
    let parts = parts.collect::<Option<Vec<_>>>()?;
    let all = parts.iter().try_fold(1usize, |all, part| all.checked_mul(part.len()?));
    all.is_some_and(|all| all <= MOST).then_some(parts)
}

/// The numbers of an interval of [`dotted`].
pub(crate) fn each(interval: Interval) -> impl Iterator<Item = usize> {
    interval.from as usize..=interval.to as usize
}

/// Heads as they are given at once: `3.2` or `L3H2`, `0-2.1`, `3.0-3`, or several of them with commas between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads(Vec<[Interval; 2]>);

impl Heads {
    /// Reads them.
    ///
    /// # Errors
    /// When they are none.
    pub fn parse(text: &str) -> Result<Self> {
        let one = |text: &str| {
            let plain = text.trim().trim_start_matches(['L', 'l']).replace(['H', 'h'], ".");
            dotted(&plain).and_then(|parts| <[Interval; 2]>::try_from(parts).ok())
        };
        let parts: Option<Vec<_>> = text.split(',').map(one).collect();
        // `3,2` is one head, too: the commands of older files have that.
        parts.or_else(|| Some(vec![one(&text.replacen(',', ".", 1))?])).map(Self).ok_or_else(|| {
            Error::bad_input(format!("\"{}\" is not a head", readable(text)))
                .hint("write 3.2 or L3H2 for head 2 of layer 3, or a range, such as 3.0-2 or 0-2.1")
        })
    }

    /// Layer and head of each, in order, each once.
    pub fn all(chosen: &[Self]) -> Vec<(usize, usize)> {
        let of = |[layers, heads]: [Interval; 2]| each(layers).flat_map(move |l| each(heads).map(move |h| (l, h)));
        let mut all: Vec<_> = chosen.iter().flat_map(|heads| heads.0.iter().copied().flat_map(of)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl From<(usize, usize)> for Heads {
    fn from((layer, head): (usize, usize)) -> Self {
        Self(vec![[layer, head].map(|n| Interval::from(n as isize))])
    }
}

impl<'de> Deserialize<'de> for Heads {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// Writes heads in their one form.
pub(crate) fn heads<S: Serializer>(chosen: &[Heads], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(Heads::all(chosen).into_iter().map(|(layer, head)| format!("{layer}.{head}")))
}

/// The same, but one head as two numbers, as requests had it when there could be one alone.
pub(crate) fn one_or_heads<S: Serializer>(chosen: &[Heads], to: S) -> Result<S::Ok, S::Error> {
    match Heads::all(chosen)[..] {
        [one] => one.serialize(to),
        [] => to.serialize_none(),
        _ => heads(chosen, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<Interval> {
        intervals(text).unwrap()
    }

    #[test]
    fn a_choice_has_one_form() {
        for (spelled, form) in [
            ("0,1,2", "0,1,2"),
            ("0-2", "0,1,2"),
            ("2,0-1,1", "0,1,2"),
            ("0..3", "0,1,2"),
            ("-1,0,3", "0,3,-1"),
            ("-3--1", "-3,-2,-1"),
            ("0-31,32", "0-32"),
            ("2--1,5,2--1", "5,2--1"),
            ("0--1", "all"),
            ("3,all", "all"),
        ] {
            assert_eq!(written(&list(spelled)), form, "{spelled}");
            assert_eq!(written(&list(form)), form);
        }
    }

    #[test]
    fn numbers_are_those_that_are_there() {
        let of = |text: &str, n| among(&list(text), n).map_err(|e| e.to_string());
        assert_eq!(of("1-3,-1", 8), Ok(vec![1, 2, 3, 7]));
        assert_eq!(of("2--2", 6), Ok(vec![2, 3, 4]));
        assert_eq!(of("all", 3), Ok(vec![0, 1, 2]));
        assert_eq!(of("all", 0), Ok(vec![]));
        // Short ranges are so many numbers, of which the first that is not there is said.
        assert_eq!(of("1-9", 4), Err("4".into()));
        assert_eq!(of("3--3", 4), Err("3--3".into()));
        assert_eq!(of("0-999999999999", 4), Err("999999999999".into()));
        let has = |text: &str, n| Interval::parse(text).unwrap().has(n);
        assert!(has("0-2", 2) && !has("0-2", 3) && !has("-1", 0) && has("all", 9) && !has("-3--1", 0));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for wrong in ["", "x", "1-", "-", "1-2-3", "3-1", "-1--3", "2..2", "1.5", "+1", "1 - x"] {
            assert!(intervals(wrong).is_err(), "{wrong}");
        }
        assert!(Interval::from_zero("-1").is_err() && Interval::from_zero("1--1").is_err());
        assert_eq!(Interval::from_zero("all").unwrap(), Interval::ALL);
    }

    #[test]
    fn heads_are_ranges_too() {
        let of = |text: &str| Heads::parse(text).map(|heads| Heads::all(&[heads]));
        assert_eq!(of("3.2").unwrap(), [(3, 2)]);
        assert_eq!(of("L10H0").unwrap(), [(10, 0)]);
        assert_eq!(of("3,2").unwrap(), [(3, 2)]);
        assert_eq!(of("1.0-1,0.2,1.1").unwrap(), [(0, 2), (1, 0), (1, 1)]);
        assert_eq!(of("0-1.3").unwrap(), [(0, 3), (1, 3)]);
        for wrong in ["3", "a.b", "1.2.3", "0-1000000.0-1000000", "1.-1", "3.2-1", ""] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
