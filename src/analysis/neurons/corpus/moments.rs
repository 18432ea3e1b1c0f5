//! Means and variances of many columns, added up in f64 so that parts of a corpus come to the same bits in the order of its blocks.
//!
//! Variances are sums of squares about the mean of their own part, joined by Chan, Golub and LeVeque 1979, "Updating formulae and a
//! pairwise algorithm for computing sample variances": sums of squares about zero would lose what a mean far from it leaves of them.

use crate::ops::simd::vectorise;

/// Count, mean and squares about the mean of each of several columns, which have equally many values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Moments {
    pub n: u64,
    pub mean: Vec<f64>,
    /// Sum of squared differences from the mean.
    pub squares: Vec<f64>,
}

impl Moments {
    /// No values.
    pub fn none(columns: usize) -> Self {
        Self { n: 0, mean: vec![0.0; columns], squares: vec![0.0; columns] }
    }

    /// Of these rows, which are as wide as there are columns. They are read twice.
    pub fn of<'x>(columns: usize, rows: impl Iterator<Item = &'x [f32]> + Clone) -> Self {
        let mut of = Self::none(columns);
        let mut n = 0u64;
        vectorise!({
            for row in rows.clone() {
                n += 1;
                for (sum, x) in of.mean.iter_mut().zip(row) {
                    *sum += f64::from(*x);
                }
            }
            let count = n.max(1) as f64;
            for mean in of.mean.iter_mut() {
                *mean /= count;
            }
            for row in rows {
                for ((squares, mean), x) in of.squares.iter_mut().zip(&of.mean).zip(row) {
                    let off = f64::from(*x) - mean;
                    *squares += off * off;
                }
            }
        });
        of.n = n;
        of
    }

    /// Adds what is known of further values.
    pub fn add(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            self.clone_from(other);
            return;
        }
        let (a, b) = (self.n as f64, other.n as f64);
        let (share, both) = (b / (a + b), a * b / (a + b));
        self.n += other.n;
        let own = self.mean.iter_mut().zip(self.squares.iter_mut());
        for ((mean, squares), (their_mean, theirs)) in own.zip(other.mean.iter().zip(&other.squares)) {
            let apart = their_mean - *mean;
            *mean += apart * share;
            *squares += theirs + apart * apart * both;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two passes over all values in f64.
    fn naive(values: &[Vec<f32>], column: usize) -> (f64, f64) {
        let of = || values.iter().map(|row| f64::from(row[column]));
        let mean = of().sum::<f64>() / values.len() as f64;
        (mean, of().map(|x| (x - mean).powi(2)).sum())
    }

    #[test]
    fn parts_come_to_the_whole_even_far_from_zero() {
        let mut state = 7u64;
        let mut next = || {
            state = crate::analysis::export::choose::mix(state);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        let values: Vec<Vec<f32>> = (0..1000).map(|_| vec![next(), 4096.0 + next(), -next() * 1e-6]).collect();
        let mut all = Moments::none(3);
        for part in [&values[..1], &values[1..300], &values[300..300], &values[300..]] {
            all.add(&Moments::of(3, part.iter().map(Vec::as_slice)));
        }
        assert_eq!(all.n, 1000);
        for column in 0..3 {
            let (mean, squares) = naive(&values, column);
            // A few roundings of sums of 1000 terms in f64, relative to the terms.
            assert!((all.mean[column] - mean).abs() <= 1e-12 * mean.abs(), "{column}");
            assert!(
                (all.squares[column] - squares).abs() <= 1e-9 * squares,
                "{column}: {} {squares}",
                all.squares[column]
            );
        }
    }
}
