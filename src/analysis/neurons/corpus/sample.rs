//! Tokens drawn from a corpus, with the values of every column: those of the smallest hashes of (seed, document, position). Which they
//! are depends on no order, so that those of parts of a corpus are those of the whole, and they are a uniform sample without replacement.

use std::collections::BinaryHeap;

use crate::analysis::export::choose::mix;

/// A token that is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Drawn {
    hash: u64,
    pub doc: u32,
    pub pos: u32,
    /// Where its values are.
    slot: u32,
}

/// At most `most` tokens.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    most: usize,
    seed: u64,
    columns: usize,
    /// The one of the largest hash on top.
    drawn: BinaryHeap<Drawn>,
    /// A row of values for each slot.
    values: Vec<f32>,
    /// How many tokens it is drawn from.
    of: u64,
}

impl Sample {
    /// None yet.
    pub fn none(columns: usize, most: usize, seed: u64) -> Self {
        // All at once: growing would take twice as much.
        Self { most, seed, columns, drawn: BinaryHeap::new(), values: Vec::with_capacity(most * columns), of: 0 }
    }

    /// Takes a token, and asks for its values only where it is drawn.
    pub fn take(&mut self, doc: u32, pos: u32, values: impl FnOnce(&mut [f32])) {
        self.of += 1;
        let hash = [u64::from(doc), u64::from(pos)].iter().fold(mix(self.seed), |hash, x| mix(hash ^ mix(*x)));
        let mut drawn = Drawn { hash, doc, pos, slot: self.drawn.len() as u32 };
        match self.drawn.peek() {
            _ if self.drawn.len() < self.most => self.values.resize((self.drawn.len() + 1) * self.columns, 0.0),
            Some(last) if (hash, doc, pos) < (last.hash, last.doc, last.pos) => {
                drawn.slot = last.slot;
                self.drawn.pop();
            }
            _ => return,
        }
        values(&mut self.values[drawn.slot as usize * self.columns..][..self.columns]);
        self.drawn.push(drawn);
    }

    /// How many tokens it is drawn from.
    pub fn of(&self) -> u64 {
        self.of
    }

    /// Further tokens that are not among those of the smallest hashes.
    pub fn passed(&mut self, tokens: u64) {
        self.of += tokens;
    }

    /// How many columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Where its tokens are, document and position of each, and their values.
    pub fn held(&self) -> (Vec<u32>, &[f32]) {
        let mut drawn: Vec<Drawn> = self.drawn.iter().copied().collect();
        drawn.sort_unstable_by_key(|drawn| drawn.slot);
        (drawn.iter().flat_map(|drawn| [drawn.doc, drawn.pos]).collect(), &self.values)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.drawn.len()
    }

    /// How far a share that is read off it may be off, at 95 %: the inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's
    /// constant. 0 where it is the whole corpus.
    pub fn error(&self) -> f64 {
        if self.of <= self.drawn.len() as u64 { 0.0 } else { ((2.0f64 / 0.05).ln() / (2.0 * self.len() as f64)).sqrt() }
    }

    /// Its tokens, in the order of their draws.
    pub fn drawn(&self) -> Vec<Drawn> {
        let mut drawn: Vec<Drawn> = self.drawn.iter().copied().collect();
        drawn.sort_unstable();
        drawn
    }

    /// The values of a column at tokens that were drawn.
    pub fn column(&self, drawn: &[Drawn], column: usize) -> Vec<(f32, Drawn)> {
        drawn.iter().map(|d| (self.values[d.slot as usize * self.columns + column], *d)).collect()
    }
}

/// The value with at least the share `q` of sorted values up to it: the inverse of their distribution function.
pub(super) fn quantile(sorted: &[f32], q: f64) -> Option<f32> {
    let at = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(at.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant: What is drawn of a corpus is the same in whatever order it is read, and quantiles of it are within the error that is said.
    #[test]
    fn a_sample_is_that_of_the_smallest_hashes() {
        let all: Vec<(u32, u32)> = (0..300).flat_map(|doc| (0..20).map(move |pos| (doc, pos))).collect();
        let value = |doc: u32, pos: u32| (doc * 20 + pos) as f32;
        let draw = |tokens: &mut dyn Iterator<Item = &(u32, u32)>, most: usize, seed: u64| {
            let mut sample = Sample::none(2, most, seed);
            tokens.for_each(|(doc, pos)| sample.take(*doc, *pos, |to| to.copy_from_slice(&[value(*doc, *pos), 1.0])));
            sample
        };
        let (one, other) = (draw(&mut all.iter(), 500, 3), draw(&mut all.iter().rev(), 500, 3));
        let tokens =
            |of: &Sample| of.column(&of.drawn(), 0).iter().map(|(x, d)| (*x as u32, d.doc, d.pos)).collect::<Vec<_>>();
        assert_eq!(tokens(&one), tokens(&other));
        assert_ne!(tokens(&one), tokens(&draw(&mut all.iter(), 500, 4)));
        assert_eq!(one.len(), 500);
        for (x, doc, pos) in tokens(&one) {
            assert_eq!(x, doc * 20 + pos);
        }
        let mut off = 0;
        for seed in 0..40 {
            let sample = draw(&mut all.iter(), 500, seed);
            let mut sorted: Vec<f32> = sample.column(&sample.drawn(), 0).iter().map(|(x, _)| *x).collect();
            sorted.sort_by(f32::total_cmp);
            let farthest = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99].map(|q| {
                let found = quantile(&sorted, q).unwrap();
                // The share of all values up to it.
                ((f64::from(found) + 1.0) / all.len() as f64 - q).abs()
            });
            off += usize::from(farthest.into_iter().fold(0.0, f64::max) > sample.error());
        }
        // Of 40 samples, as many as 95 % leaves and three deviations more; without replacement, fewer.
        assert!(off <= 6, "{off} of 40 are further off than is said");
        let whole = draw(&mut all[..400].iter(), 500, 3);
        assert_eq!((whole.len(), whole.error()), (400, 0.0));
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), Some(2.0));
        assert_eq!(
            (quantile(&[1.0, 2.0, 3.0], 0.5), quantile(&[], 0.5), quantile(&[7.0], 0.0)),
            (Some(2.0), None, Some(7.0))
        );
    }
}
