//! Means over pairs: what a place does on the whole, and how sure that is.

use std::collections::HashMap;

use crate::table::{Patch, PatchMean};

/// Where and what: what rows of different pairs have in common.
type Key = (String, [Option<u32>; 7], String);

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

/// Takes rows in, pair after pair, and gives their means.
#[derive(Debug, Default)]
pub struct Means {
    /// In the order in which they were first seen.
    order: Vec<Key>,
    of: HashMap<Key, Place>,
}

/// What is known of a place.
#[derive(Debug)]
struct Place {
    /// Tokens at it and at its key, as long as all pairs have the same.
    tokens: [Option<String>; 2],
    /// Of clean, corrupt, patched, patched - clean and recovered.
    sums: [Sums; 5],
}

impl Means {
    /// One more row.
    pub fn add(&mut self, row: &Patch) {
        let at = [row.layer, row.head, row.kv_head, row.neuron, row.pos, row.query_pos, row.key_pos];
        let key = (row.site.clone(), at, row.metric.clone());
        let tokens = [&row.token, &row.key_token];
        let place = self.of.entry(key).or_insert_with_key(|key| {
            self.order.push(key.clone());
            Place { tokens: tokens.map(Clone::clone), sums: Default::default() }
        });
        for (known, token) in place.tokens.iter_mut().zip(tokens) {
            if known != token {
                *known = None;
            }
        }
        let change = f64::from(row.patched) - f64::from(row.clean);
        let values = [Some(row.clean), row.corrupt, Some(row.patched), None, row.recovered];
        for (sums, value) in place.sums.iter_mut().zip(values) {
            value.into_iter().for_each(|value| sums.add(f64::from(value)));
        }
        place.sums[3].add(change);
    }

    /// A row for each place and metric.
    pub fn rows(&self) -> impl Iterator<Item = PatchMean> + '_ {
        self.order.iter().map(|key| {
            let (site, [layer, head, kv_head, neuron, pos, query_pos, key_pos], metric) = key.clone();
            let Place { tokens: [token, key_token], sums } = &self.of[key];
            let [clean, corrupt, patched, change, recovered] = *sums;
            let f32 = |x: Option<f64>| x.map(|x| x as f32);
            PatchMean {
                site,
                layer,
                head,
                kv_head,
                neuron,
                pos,
                query_pos,
                key_pos,
                token: token.clone(),
                key_token: key_token.clone(),
                metric,
                pairs: patched.n,
                clean: f32(clean.mean()).unwrap_or(f32::NAN),
                corrupt: f32(corrupt.mean()),
                patched: f32(patched.mean()).unwrap_or(f32::NAN),
                patched_se: f32(patched.error()),
                change: f32(change.mean()).unwrap_or(f32::NAN),
                change_se: f32(change.error()),
                recovered: f32(recovered.mean()),
                recovered_se: f32(recovered.error()),
            }
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
        // Squares of the deviations sum to 32.
        assert!((sums.error().unwrap() - (32.0f64 / 7.0 / 8.0).sqrt()).abs() < 1e-12);
    }
}
