//! Which rows of a table are whose: what a figure must know of a file before it reads what it draws.

use super::{Options, no_rows, suffix};
use crate::error::Result;
use crate::table::{Cell, Provenance, Row, Rows};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The first prompts or pairs of a table, in the order of their numbers, each with the rows between which all of its rows are.
#[derive(Clone, Debug)]
pub(crate) struct Extents<K = u32> {
    most: usize,
    whose: BTreeMap<K, Range<usize>>,
}

impl Extents {
    /// Those of a whole table, whose column `column` says whose a row is.
    pub fn of<R: Row>(rows: &mut dyn Rows<R>, column: &str, most: usize) -> Result<Self> {
        let (mut extents, mut at) = (Self::new(most), 0);
        rows.cells(0..rows.len(), &[column], &mut |cells| {
            if let [Cell::U32(whose)] = *cells {
                extents.add(whose, at);
            }
            at += 1;
            Ok(())
        })?;
        Ok(extents)
    }
}

impl<K: Ord + Copy> Extents<K> {
    /// None yet, and `most` at the most.
    pub fn new(most: usize) -> Self {
        Self { most, whose: BTreeMap::new() }
    }

    /// Row `at` is that of `whose`. Rows come in order.
    pub fn add(&mut self, whose: K, at: usize) {
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

    /// Whether there is one only.
    pub fn only(&self) -> bool {
        self.whose.len() == 1
    }

    /// Each with its rows, among which others' may be.
    ///
    /// # Errors
    /// There are no rows.
    pub fn each<R: Row>(&self) -> Result<Vec<(K, Range<usize>)>> {
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
    let extents = Extents::of::<R>(rows, "prompt", how.max_prompts)?;
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
        let mut extents = Extents::new(2);
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
