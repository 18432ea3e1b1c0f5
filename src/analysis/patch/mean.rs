//! Means over pairs: what a place does on the whole, and how sure that is.
//!
//! Where a pair is measured several times, each with other noise, these samples are no pairs: their mean is what counts as the pair's,
//! and standard errors are over pairs. Of a single pair they are over its samples.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::table::{Measured, MeasuredMean, Outcome, OutcomeMean};

/// Sums over the pairs that have a value.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    n: u32,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, x: f64) {
        self.n += 1;
        self.sum += x;
        self.squares += x * x;
    }

    fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / f64::from(self.n))
    }

    /// Standard error of the mean: the sample's deviation over the root of its size.
    fn error(&self) -> Option<f64> {
        let n = f64::from(self.n);
        (self.n > 1).then(|| ((self.squares - self.sum * self.sum / n).max(0.0) / (n - 1.0) / n).sqrt())
    }
}

/// What rows of different pairs have in common: a name, numbers, names of positions, the metric.
pub type Key<'a> = (&'a str, [Option<u32>; 7], [Option<&'a str>; 2], &'a str);

/// A row that tells of one pair.
pub trait Averaged: Clone {
    /// The row that tells of all pairs.
    type Mean;

    /// Where and what it is.
    fn key(&self) -> Key<'_>;

    /// The pair, and what was measured there.
    fn of_pair(&self) -> (u32, &Measured, &Outcome);

    /// Makes null what another pair with the same key has otherwise: tokens, and the numbers of positions that go by names.
    fn keep_common(&mut self, other: &Self);

    /// The mean of rows that have in common what is left in this one; each pair has `samples` of them.
    fn mean(&self, samples: u32, measured: MeasuredMean, outcome: OutcomeMean) -> Self::Mean;
}

/// Makes `known` null where `other` differs.
pub(crate) fn common<T: PartialEq>(known: &mut Option<T>, other: &Option<T>) {
    if known != other {
        *known = None;
    }
}

/// Takes rows in, pair after pair, and gives their means.
#[derive(Debug)]
pub struct Means<R: Averaged> {
    /// In the order in which they were first seen.
    places: Vec<Known<R>>,
    /// Where a place is, by its hash; where several have one hash, the later ones are at the next free numbers. The places
    /// themselves would be most of what is held of a large sweep.
    at: HashMap<u64, usize>,
}

/// What is known of a place.
#[derive(Debug)]
struct Known<R> {
    /// What all its rows have in common; the rest is that of the first.
    row: R,
    /// Over pairs.
    pairs: Counts,
    /// Over the samples of the last pair, which are not in `pairs` yet.
    last: Counts,
    last_pair: u32,
    /// The most that a pair has.
    samples: u32,
}

/// What was measured: several samples of a pair, or several pairs.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Of clean, corrupt, patched, patched - clean and recovered.
    sums: [Sums; 5],
    changed: u32,
    reached: u32,
}

impl Counts {
    fn add(&mut self, values: [Option<f64>; 5], changed: bool, reached: bool) {
        for (sums, value) in self.sums.iter_mut().zip(values) {
            value.into_iter().for_each(|value| sums.add(value));
        }
        self.changed += u32::from(changed);
        self.reached += u32::from(reached);
    }

    /// The same with a pair of which there are these samples.
    fn with(mut self, samples: &Counts) -> Self {
        self.add(samples.sums.map(|sums| sums.mean()), samples.changed > 0, samples.reached > 0);
        self
    }
}

impl<R: Averaged> Default for Means<R> {
    fn default() -> Self {
        Self { places: vec![], at: HashMap::new() }
    }
}

impl<R: Averaged> Means<R> {
    /// One more row.
    pub fn add(&mut self, row: &R) {
        let (pair, Measured { clean, corrupt, patched, recovered, .. }, outcome) = row.of_pair();
        let at = self.find(&row.key());
        if at == self.places.len() {
            let (pairs, last) = (Counts::default(), Counts::default());
            self.places.push(Known { row: row.clone(), pairs, last, last_pair: pair, samples: 0 });
        }
        let place = &mut self.places[at];
        place.row.keep_common(row);
        if pair != place.last_pair {
            place.pairs = place.pairs.with(&place.last);
            (place.last, place.last_pair) = (Counts::default(), pair);
        }
        let change = patched.map(|patched| f64::from(patched) - f64::from(*clean));
        let wide = |x: Option<f32>| x.map(f64::from);
        let values = [wide(Some(*clean)), wide(*corrupt), wide(*patched), change, wide(*recovered)];
        place.last.add(values, outcome.changed, outcome.reached);
        place.samples = place.samples.max(place.last.sums[0].n);
    }

    /// The number of the place with this key; the next one, where it was not seen.
    fn find(&mut self, key: &Key<'_>) -> usize {
        let mut hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        loop {
            match self.at.get(&hash) {
                Some(at) if self.places[*at].row.key() == *key => return *at,
                Some(_) => hash = hash.wrapping_add(1),
                None => {
                    self.at.insert(hash, self.places.len());
                    return self.places.len();
                }
            }
        }
    }

    /// A row for each place and metric.
    pub fn rows(&self) -> impl Iterator<Item = R::Mean> + '_ {
        self.places.iter().map(|Known { row, pairs, last, samples, .. }| {
            let all = pairs.with(last);
            // Of a single pair, the samples say how sure its mean is.
            let spread = if all.sums[0].n == 1 { last } else { &all };
            let f32 = |x: Option<f64>| x.map(|x| x as f32);
            let [clean, corrupt, patched, change, recovered] = all.sums.map(|sums| f32(sums.mean()));
            let [.., patched_se, change_se, recovered_se] = spread.sums.map(|sums| f32(sums.error()));
            let pairs = all.sums[2].n;
            let measured = MeasuredMean {
                metric: row.of_pair().1.metric.clone(),
                pairs,
                // A place is known by a row, and each row has it.
                clean: clean.unwrap_or_default(),
                corrupt,
                patched,
                patched_se,
                change,
                change_se,
                recovered,
                recovered_se,
            };
            let not_finite = all.sums[0].n - pairs;
            row.mean(*samples, measured, OutcomeMean { changed: all.changed, reached: all.reached, not_finite })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_error_is_that_of_the_textbook() {
        let mut sums = Sums::default();
        assert_eq!((sums.mean(), sums.error()), (None, None));
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|x| sums.add(x));
        assert_eq!(sums.mean(), Some(5.0));
        // Squares of the deviations sum to 32. f64, and no more than ten roundings of 1.1e-16.
        assert!((sums.error().unwrap() - (32.0f64 / 7.0 / 8.0).sqrt()).abs() < 1e-12);
    }
}
