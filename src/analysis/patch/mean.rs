//! Means over pairs: what a place does on the whole, and how sure that is.
//!
//! Where a pair is measured several times, each with other noise, these samples are no pairs: their mean is what counts as the pair's,
//! and standard errors are over pairs. Of a single pair they are over its samples.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::analysis::sums::Sums;
use crate::table::{Measured, MeasuredMean, Outcome, OutcomeMean};

/// What rows of different pairs have in common: a name, numbers, names of positions, the metric.
pub type Key<'a> = (&'a str, [Option<u32>; 7], [Option<&'a str>; 2], &'a str);

/// A row that tells of one pair.
pub trait Averaged: Clone {
    /// The row that tells of all pairs.
    type Mean;

    /// Where and what it is.
    fn key(&self) -> Key<'_>;

    /// The pair, and what was measured there.
    fn of_pair(&self) -> (u32, Values);

    /// Makes null what another pair with the same key has otherwise: tokens, and the numbers of positions that go by names.
    fn keep_common(&mut self, other: &Self);

    /// The mean of rows that have in common what is left in this one; each pair has `samples` of them.
    fn mean(&self, samples: u32, found: &MeanOf) -> Self::Mean;
}

/// What was measured of a pair at a place. The first number is always there.
pub struct Values {
    /// The numbers whose means are taken.
    pub numbers: [Option<f64>; NUMBERS],
    /// Whether the value differs there between the two runs.
    pub changed: bool,
    /// Whether a change can reach what is measured.
    pub reached: bool,
}

/// Numbers of a row whose means are taken.
pub const NUMBERS: usize = 5;

/// What was found of several pairs.
pub struct MeanOf {
    /// How many pairs have each number.
    pub n: [u32; NUMBERS],
    /// Means.
    pub mean: [Option<f32>; NUMBERS],
    /// Standard errors.
    pub error: [Option<f32>; NUMBERS],
    /// In how many pairs the value differs.
    pub changed: u32,
    /// In how many a change can reach what is measured.
    pub reached: u32,
}

impl Values {
    /// Of a run that was changed and measured: clean, corrupt, patched, patched - clean and recovered.
    pub fn measured(measured: &Measured, outcome: &Outcome) -> Self {
        let Measured { clean, corrupt, patched, recovered, .. } = measured;
        let change = patched.map(|patched| f64::from(patched) - f64::from(*clean));
        let wide = |x: Option<f32>| x.map(f64::from);
        let numbers = [wide(Some(*clean)), wide(*corrupt), wide(*patched), change, wide(*recovered)];
        Self { numbers, changed: outcome.changed, reached: outcome.reached }
    }
}

impl MeanOf {
    /// The mean of runs that were measured by `metric`, as [`Values::measured`] has them.
    pub fn measured(&self, metric: &str) -> (MeasuredMean, OutcomeMean) {
        let [clean, corrupt, patched, change, recovered] = self.mean;
        let [.., patched_se, change_se, recovered_se] = self.error;
        let pairs = self.n[2];
        let measured = MeasuredMean {
            metric: metric.to_owned(),
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
        let not_finite = self.n[0] - pairs;
        (measured, OutcomeMean { changed: self.changed, reached: self.reached, not_finite })
    }
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
    /// Of each number.
    sums: [Sums; NUMBERS],
    changed: u32,
    reached: u32,
}

impl Counts {
    fn add(&mut self, Values { numbers, changed, reached }: Values) {
        for (sums, value) in self.sums.iter_mut().zip(numbers) {
            value.into_iter().for_each(|value| sums.add(value));
        }
        self.changed += u32::from(changed);
        self.reached += u32::from(reached);
    }

    /// The same with a pair of which there are these samples.
    fn with(mut self, samples: &Counts) -> Self {
        let numbers = samples.sums.map(|sums| sums.mean());
        self.add(Values { numbers, changed: samples.changed > 0, reached: samples.reached > 0 });
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
        let (pair, values) = row.of_pair();
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
        place.last.add(values);
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
            let found = MeanOf {
                n: all.sums.map(|sums| sums.n),
                mean: all.sums.map(|sums| f32(sums.mean())),
                error: spread.sums.map(|sums| f32(sums.error())),
                changed: all.changed,
                reached: all.reached,
            };
            row.mean(*samples, &found)
        })
    }
}
