//! Which rows of a table are whose: what a figure must know of a file before it reads what it draws.

use super::{Options, Total, no_rows, suffix};
use crate::error::Result;
use crate::table::{Cell, Provenance, Row, Rows};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// The first prompts or pairs of a table, in the order of their numbers, each with the rows between which all of its rows are.
#[derive(Clone, Debug)]
pub(crate) struct Extents<K = u32> {
    most: usize,
    whose: BTreeMap<K, Range<usize>>,
    /// All of them, and the last that was seen.
    all: BTreeSet<K>,
    last: Option<K>,
    total: Total,
}

impl Extents {
    /// Those of a whole table, whose column `column` says whose a row is.
    pub fn of<R: Row>(rows: &mut dyn Rows<R>, column: &str, how: &Options) -> Result<Self> {
        let (mut extents, mut at) = (Self::new(how), 0);
        rows.cells(0..rows.len(), &[column], &mut |cells| {
            if let [Cell::U32(whose)] = *cells {
                extents.add(whose, at);
            }
            at += 1;
            Ok(())
        })?;
        Ok(extents)
    }

    /// How far the values of a column go, either way, in the rows of those that are drawn: their figures have one scale. No row is held.
    pub fn reach<R: Row>(&self, rows: &mut dyn Rows<R>, whose: &str, column: &str) -> Result<f64> {
        let mut most = 0f64;
        rows.cells(0..rows.len(), &[whose, column], &mut |cells| {
            let (Cell::U32(whose), value) = (cells[0], cells[1]) else { return Ok(()) };
            let value = match value {
                Cell::F64(value) => value.abs(),
                Cell::F32(value) => f64::from(value.abs()),
                _ => 0.0,
            };
            if self.has(whose) && value.is_finite() {
                most = most.max(value);
            }
            Ok(())
        })?;
        Ok(most)
    }
}

impl<K: Ord + Copy> Extents<K> {
    /// None yet, and of as many as are to be drawn.
    pub fn new(how: &Options) -> Self {
        let (whose, all) = Default::default();
        Self { most: how.max_prompts, whose, all, last: None, total: how.total.clone() }
    }

    /// Row `at` is that of `whose`. Rows come in order.
    pub fn add(&mut self, whose: K, at: usize) {
        if self.last != Some(whose) {
            self.last = Some(whose);
            self.all.insert(whose);
        }
        if self.whose.len() == self.most && self.whose.last_key_value().is_none_or(|(last, _)| *last < whose) {
            return;
        }
        self.whose.entry(whose).or_insert(at..at).end = at + 1;
        if self.whose.len() > self.most {
            self.whose.pop_last();
        }
    }

    /// Whether this is one of them.
    pub fn has(&self, whose: K) -> bool {
        self.whose.contains_key(&whose)
    }

    /// Whether the table has one only, however many are drawn: figures have the same names.
    pub fn only(&self) -> bool {
        self.all.len() == 1
    }

    /// All that the table has, in order.
    pub fn all(&self) -> impl Iterator<Item = K> + Clone {
        self.all.iter().copied()
    }

    /// Each with its rows, among which others' may be. How many there are is told.
    ///
    /// # Errors
    /// There are no rows.
    pub fn each<R: Row>(&self) -> Result<Vec<(K, Range<usize>)>> {
        self.total.tell(self.all.len());
        match self.whose.is_empty() {
            true => Err(no_rows::<R>()),
            false => Ok(self.whose.iter().map(|(whose, range)| (*whose, range.clone())).collect()),
        }
    }
}

/// Gives the rows of each of the first prompts of a table, all together, to `see`: with what its figure's name ends in, and the provenance.
///
/// # Errors
/// There are no rows; what `see` says.
pub(crate) fn each_prompt<R: Row>(
    rows: &mut dyn Rows<R>,
    from: &Provenance,
    how: &Options,
    whose: fn(&R) -> u32,
    see: &mut impl FnMut(Vec<R>, &str, Arc<Provenance>) -> Result<()>,
) -> Result<()> {
    let extents = Extents::of::<R>(rows, "prompt", how)?;
    let provenance = Arc::new(from.clone());
    for (prompt, range) in extents.each::<R>()? {
        let mut own = vec![];
        rows.rows(range, &mut |row| {
            own.extend((whose(&row) == prompt).then_some(row));
            Ok(())
        })?;
        see(own, &suffix(prompt, extents.only()), provenance.clone())?;
    }
    Ok(())
}

/// The positions that occur in a table, which are mostly all from 0 on.
#[derive(Debug, Default)]
pub(crate) struct Positions<T> {
    /// All positions below this are known, in `others` too.
    dense: u32,
    known: BTreeMap<u32, T>,
}

impl<T> Positions<T> {
    /// One more with what `make` knows of it; if it is known, nothing is made.
    pub fn add_with(&mut self, pos: u32, make: impl FnOnce() -> T) {
        // Asked for each row of a large table.
        if pos < self.dense {
            return;
        }
        self.known.entry(pos).or_insert_with(make);
        while self.known.contains_key(&self.dense) && self.dense < u32::MAX {
            self.dense += 1;
        }
    }

    /// All of them, in order.
    pub fn into_pairs(self) -> impl Iterator<Item = (u32, T)> {
        self.known.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_prompts_are_those_of_the_least_numbers() {
        let mut extents = Extents::new(&Options { max_prompts: 2, ..Options::default() });
        for (at, whose) in [5, 5, 1, 9, 0, 1].into_iter().enumerate() {
            extents.add(whose, at);
        }
        let whose: Vec<_> = extents.whose.into_iter().collect();
        assert_eq!(whose, [(0, 4..5), (1, 2..6)]);
    }

    #[test]
    fn positions_are_known_once_each() {
        let mut positions = Positions::default();
        for (i, pos) in [1, 0, 7, 1, u32::MAX, 2, 0].into_iter().enumerate() {
            positions.add_with(pos, || i);
        }
        assert_eq!(positions.dense, 3);
        assert_eq!(positions.into_pairs().collect::<Vec<_>>(), [(0, 1), (1, 0), (2, 5), (7, 2), (u32::MAX, 4)]);
    }
}
