//! Means over pairs: what a place does on the whole, and how sure that is.
//!
//! Where a pair is measured several times, each with other noise, these samples are no pairs: their mean is what counts as the pair's,
//! and standard errors are over pairs. Of a single pair they are over its samples.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

use crate::analysis::{PatchMeanRow, PatchRow, PathMeanRow, PathRow};

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

/// A row that tells of one pair.
pub trait Averaged: Clone {
    /// The row that tells of all pairs.
    type Mean;
    /// Where and what: what rows of different pairs have in common.
    type Place: Eq + Hash;

    /// Where it is.
    fn place(&self) -> Self::Place;

    /// Words that a mean has where those of all pairs are the same: the tokens at the position that is patched and at the key, the
    /// positions of noise and the tokens there.
    fn words(&self) -> [Option<&str>; 4];

    /// The numbers of its position and of its key, which need not be those of other pairs where they go by names.
    fn positions(&self) -> [Option<u32>; 2];

    /// What was measured there.
    fn measured(&self) -> OfPair;

    /// The mean of rows that are at the place of this one.
    fn mean(&self, of: MeanOf) -> Self::Mean;
}

/// What was measured of a place in one pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfPair {
    /// The pair.
    pub pair: u32,
    /// The metric of the clean run.
    pub clean: f32,
    /// Of the corrupt run, if there is one.
    pub corrupt: Option<f32>,
    /// Of the patched run, if it is finite.
    pub patched: Option<f32>,
    /// The share that was recovered.
    pub recovered: Option<f32>,
    /// Whether the value that was put there differs from what was there.
    pub changed: bool,
    /// Whether a change could reach what is measured.
    pub reached: bool,
}

/// What a place does on the whole.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanOf {
    /// What [`Averaged::words`] says, where it says the same of all pairs.
    pub words: [Option<String>; 4],
    /// The position and the key, where all pairs have the same.
    pub positions: [Option<u32>; 2],
    /// How many samples each pair has.
    pub samples: u32,
    /// Over how many pairs: those whose patched run is finite.
    pub pairs: u32,
    /// How many others there are.
    pub not_finite: u32,
    /// In how many pairs the value differs from what was there.
    pub changed: u32,
    /// In how many pairs a change could reach what is measured.
    pub reached: u32,
    /// Mean of the clean runs, of all pairs.
    pub clean: f32,
    /// Mean of the corrupt runs, where there are such.
    pub corrupt: Option<f32>,
    /// Mean of the patched runs.
    pub patched: Option<f32>,
    /// Its standard error, of several pairs.
    pub patched_se: Option<f32>,
    /// Mean of patched - clean.
    pub change: Option<f32>,
    /// Its standard error, of several pairs.
    pub change_se: Option<f32>,
    /// Mean of the shares that were recovered.
    pub recovered: Option<f32>,
    /// Its standard error, of several pairs.
    pub recovered_se: Option<f32>,
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
    /// The first row there.
    first: R,
    /// Which of its words all pairs have.
    same: [bool; 4],
    /// Positions there, as long as all pairs have the same.
    positions: [Option<u32>; 2],
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
        let OfPair { pair, clean, corrupt, patched, recovered, changed, reached } = row.measured();
        let at = self.find(&row.place());
        if at == self.places.len() {
            let (pairs, last) = (Counts::default(), Counts::default());
            let (first, positions) = (row.clone(), row.positions());
            self.places.push(Known { first, same: [true; 4], positions, pairs, last, last_pair: pair, samples: 0 });
        }
        let place = &mut self.places[at];
        for (same, (first, word)) in place.same.iter_mut().zip(place.first.words().into_iter().zip(row.words())) {
            *same &= first == word;
        }
        for (known, position) in place.positions.iter_mut().zip(row.positions()) {
            *known = known.filter(|known| Some(*known) == position);
        }
        if pair != place.last_pair {
            place.pairs = place.pairs.with(&place.last);
            (place.last, place.last_pair) = (Counts::default(), pair);
        }
        let change = patched.map(|patched| f64::from(patched) - f64::from(clean));
        let wide = |x: Option<f32>| x.map(f64::from);
        place.last.add([wide(Some(clean)), wide(corrupt), wide(patched), change, wide(recovered)], changed, reached);
        place.samples = place.samples.max(place.last.sums[0].n);
    }

    /// The number of `place`; the next one, where it was not seen.
    fn find(&mut self, place: &R::Place) -> usize {
        let mut hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(place);
        loop {
            match self.at.get(&hash) {
                Some(at) if self.places[*at].first.place() == *place => return *at,
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
        self.places.iter().map(|Known { first, same, positions, pairs, last, samples, .. }| {
            let all = pairs.with(last);
            let words = first.words().map(|word| word.map(str::to_owned));
            let [token, key, at, tokens] = words;
            let words = [
                token.filter(|_| same[0]),
                key.filter(|_| same[1]),
                at.filter(|_| same[2]),
                tokens.filter(|_| same[3]),
            ];
            // Of a single pair, the samples say how sure its mean is.
            let spread = if all.sums[0].n == 1 { last } else { &all };
            let ([clean, corrupt, patched, change, recovered], error) =
                (all.sums, spread.sums.map(|sums| sums.error()));
            let f32 = |x: Option<f64>| x.map(|x| x as f32);
            first.mean(MeanOf {
                words,
                positions: *positions,
                samples: *samples,
                pairs: patched.n,
                not_finite: clean.n - patched.n,
                changed: all.changed,
                reached: all.reached,
                // A place is known by a row, and each row has it.
                clean: f32(clean.mean()).unwrap_or_default(),
                corrupt: f32(corrupt.mean()),
                patched: f32(patched.mean()),
                patched_se: f32(error[2]),
                change: f32(change.mean()),
                change_se: f32(error[3]),
                recovered: f32(recovered.mean()),
                recovered_se: f32(error[4]),
            })
        })
    }
}

/// What a row of either table has measured.
macro_rules! of_pair {
    ($row:expr) => {
        OfPair {
            pair: $row.pair,
            clean: $row.clean,
            corrupt: $row.corrupt,
            patched: $row.patched,
            recovered: $row.recovered,
            changed: $row.changed,
            reached: $row.reached,
        }
    };
}

impl Averaged for PatchRow {
    type Mean = PatchMeanRow;
    type Place = (String, [Option<u32>; 7], [Option<String>; 2], String);

    fn place(&self) -> Self::Place {
        let [pos, query_pos] = [self.pos, self.query_pos].map(|pos| pos.filter(|_| self.position_name.is_none()));
        let key_pos = self.key_pos.filter(|_| self.key_position_name.is_none());
        let at = [self.layer, self.head, self.kv_head, self.neuron, pos, query_pos, key_pos];
        let names = [self.position_name.clone(), self.key_position_name.clone()];
        (self.site.clone(), at, names, self.metric.clone())
    }

    fn positions(&self) -> [Option<u32>; 2] {
        [self.pos.or(self.query_pos), self.key_pos]
    }

    fn words(&self) -> [Option<&str>; 4] {
        [&self.token, &self.key_token, &self.noise_at, &self.noise_tokens].map(Option::as_deref)
    }

    fn measured(&self) -> OfPair {
        of_pair!(self)
    }

    fn mean(&self, of: MeanOf) -> PatchMeanRow {
        let [token, key_token, noise_at, noise_tokens] = of.words;
        PatchMeanRow {
            site: self.site.clone(),
            layer: self.layer,
            head: self.head,
            kv_head: self.kv_head,
            neuron: self.neuron,
            pos: self.pos.and(of.positions[0]),
            query_pos: self.query_pos.and(of.positions[0]),
            key_pos: of.positions[1],
            position_name: self.position_name.clone(),
            key_position_name: self.key_position_name.clone(),
            token,
            key_token,
            metric: self.metric.clone(),
            pairs: of.pairs,
            clean: of.clean,
            corrupt: of.corrupt,
            patched: of.patched,
            patched_se: of.patched_se,
            change: of.change,
            change_se: of.change_se,
            recovered: of.recovered,
            recovered_se: of.recovered_se,
            kind: self.kind.clone(),
            direction: self.direction.clone(),
            window: self.window,
            noise: self.noise,
            noise_at,
            noise_tokens,
            samples: self.noise.map(|_| of.samples),
            changed: of.changed,
            reached: of.reached,
            not_finite: of.not_finite,
        }
    }
}

impl Averaged for PathRow {
    type Mean = PathMeanRow;
    type Place = (String, [Option<u32>; 4], Option<String>, String, [Option<u32>; 3], String);

    fn place(&self) -> Self::Place {
        let pos = self.pos.filter(|_| self.position_name.is_none());
        let from = [self.sender_layer, self.sender_head, self.sender_neuron, pos];
        let to = [self.receiver_layer, self.receiver_head, self.receiver_kv_head];
        (self.sender.clone(), from, self.position_name.clone(), self.receiver.clone(), to, self.metric.clone())
    }

    fn positions(&self) -> [Option<u32>; 2] {
        [self.pos, None]
    }

    fn words(&self) -> [Option<&str>; 4] {
        [self.token.as_deref(), None, None, None]
    }

    fn measured(&self) -> OfPair {
        of_pair!(self)
    }

    fn mean(&self, of: MeanOf) -> PathMeanRow {
        let [token, ..] = of.words;
        PathMeanRow {
            sender: self.sender.clone(),
            sender_layer: self.sender_layer,
            sender_head: self.sender_head,
            sender_neuron: self.sender_neuron,
            pos: of.positions[0],
            position_name: self.position_name.clone(),
            token,
            receiver: self.receiver.clone(),
            receiver_layer: self.receiver_layer,
            receiver_head: self.receiver_head,
            receiver_kv_head: self.receiver_kv_head,
            through: self.through.clone(),
            metric: self.metric.clone(),
            pairs: of.pairs,
            clean: of.clean,
            corrupt: of.corrupt,
            patched: of.patched,
            patched_se: of.patched_se,
            change: of.change,
            change_se: of.change_se,
            recovered: of.recovered,
            recovered_se: of.recovered_se,
            kind: self.kind.clone(),
            direction: self.direction.clone(),
            changed: of.changed,
            reached: of.reached,
            not_finite: of.not_finite,
        }
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
