//! The furthest values of each of several columns: of every document at most one. Which they are depends on no order: those of parts of a
//! corpus are those of the whole.

use std::cmp::Ordering;

/// A value, and the token that has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    pub value: f32,
    pub doc: u32,
    pub pos: u32,
}

impl Entry {
    /// The further first; of equals, the one that comes first in the corpus. `sign` is 1 for the largest, -1 for the smallest.
    pub fn order(&self, other: &Self, sign: f32) -> Ordering {
        let further = (sign * other.value).total_cmp(&(sign * self.value));
        further.then((self.doc, self.pos).cmp(&(other.doc, other.pos)))
    }
}

/// The `k` furthest of each column.
#[derive(Clone, Debug)]
pub(super) struct Furthest {
    k: usize,
    sign: f32,
    /// `k` places for each column.
    entries: Vec<Entry>,
    taken: Vec<u32>,
    /// Of a column whose places are all taken, the place of the last; what is not before it is passed over.
    last: Vec<u32>,
}

const NONE: Entry = Entry { value: 0.0, doc: 0, pos: 0 };

impl Furthest {
    /// None yet.
    pub fn none(columns: usize, k: usize, sign: f32) -> Self {
        Self { k, sign, entries: vec![NONE; columns * k], taken: vec![0; columns], last: vec![0; columns] }
    }

    /// Bytes of each column.
    pub fn bytes(k: usize) -> usize {
        k * size_of::<Entry>() + 8
    }

    /// Takes a token of a column; of several tokens of one document the first of them in the order stays.
    pub fn take(&mut self, column: usize, entry: Entry) {
        let (k, sign, taken) = (self.k, self.sign, self.taken[column] as usize);
        let own = &mut self.entries[column * k..(column + 1) * k];
        let before = |a: &Entry, b: &Entry| a.order(b, sign) == Ordering::Less;
        if k == 0 || (taken == k && !before(&entry, &own[self.last[column] as usize])) {
            return;
        }
        match own[..taken].iter_mut().find(|known| known.doc == entry.doc) {
            Some(known) if !before(&entry, known) => return,
            Some(known) => *known = entry,
            None if taken < k => {
                own[taken] = entry;
                self.taken[column] += 1;
            }
            None => own[self.last[column] as usize] = entry,
        }
        let taken = self.taken[column] as usize;
        let last = (0..taken).max_by(|a, b| own[*a].order(&own[*b], sign)).unwrap_or(0);
        self.last[column] = last as u32;
    }

    /// How many columns.
    pub fn columns(&self) -> usize {
        self.taken.len()
    }

    /// How many are held of each column.
    pub fn taken(&self) -> &[u32] {
        &self.taken
    }

    /// Those of a column, in no order.
    pub fn held(&self, column: usize) -> &[Entry] {
        &self.entries[column * self.k..][..self.taken[column] as usize]
    }

    /// Those of a column, the furthest first.
    pub fn of(&self, column: usize) -> Vec<Entry> {
        let mut own = self.held(column).to_vec();
        own.sort_unstable_by(|a, b| a.order(b, self.sign));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::export::choose::mix;

    /// Invariant: The examples kept of a corpus are those that sorting all tokens gives, one of each document, in whatever order it is read.
    #[test]
    fn heaps_keep_what_sorting_everything_would() {
        for (sign, k, docs) in [(1.0, 5, 40), (-1.0, 5, 40), (1.0, 7, 3), (-1.0, 1, 9), (1.0, 0, 9)] {
            // Few different values: ties are many.
            let mut all: Vec<Entry> = (0..docs)
                .flat_map(|doc| (0..11).map(move |pos| (doc, pos)))
                .map(|(doc, pos)| Entry { value: (mix(u64::from(doc * 100 + pos)) % 13) as f32 - 6.0, doc, pos })
                .collect();
            let mut heaps = [Furthest::none(2, k, sign), Furthest::none(2, k, sign)];
            all.iter().for_each(|entry| heaps[0].take(1, *entry));
            all.iter().rev().for_each(|entry| heaps[1].take(1, *entry));
            all.sort_by(|a, b| a.order(b, sign));
            let mut want: Vec<Entry> = vec![];
            for entry in all {
                if want.iter().all(|known| known.doc != entry.doc) {
                    want.push(entry);
                }
            }
            want.truncate(k);
            for heap in &heaps {
                assert_eq!(heap.of(1), want, "{sign} {k} {docs}");
                assert!(heap.of(0).is_empty());
            }
        }
    }
}
