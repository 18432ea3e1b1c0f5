//! Statistics of what is exported, kept for each block of documents and added in the blocks' order, so that every machine and
//! every number of shards comes to the same bits.
//!
//! Moments are central and of values near their own mean: Pébay 2008, "Formulas for robust, one-pass parallel computation of
//! covariances and arbitrary-order statistical moments". Sums of powers would lose what a mean far from zero leaves of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ops::length;
use crate::ops::simd::{self, vectorise};

/// Bits of the mantissa that tell bins of the histogram apart: 128 bins for each doubling of the norm.
const BIN_BITS: u32 = 7;

/// What is known of the rows of one hook, each a vector of the same width.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// How many rows.
    pub rows: u64,
    /// Sum of their L2 norms.
    pub norms: f64,
    /// Largest size of a value.
    pub max_abs: f32,
    /// How many values.
    values: u64,
    mean: f64,
    /// Sums of the second, third and fourth powers of what values differ from the mean by.
    powers: [f64; 3],
    /// How many norms are in each bin; the bin of 0 is 0.
    histogram: BTreeMap<u64, u64>,
}

/// Which bin a norm is in: sign, exponent and the first bits of its mantissa. Nothing is computed, so nothing is rounded.
fn bin(norm: f64) -> u64 {
    norm.to_bits() >> (52 - BIN_BITS)
}

/// Where a bin begins.
fn edge(bin: u64) -> f64 {
    f64::from_bits(bin << (52 - BIN_BITS))
}

impl Sums {
    /// Of rows of this width.
    pub fn of(values: &[f32], width: usize) -> Self {
        let mut sums = Self::default();
        for row in values.chunks_exact(width.max(1)) {
            let norm = length(row);
            sums.rows += 1;
            sums.norms += norm;
            *sums.histogram.entry(bin(norm)).or_default() += 1;
            sums.max_abs = row.iter().fold(sums.max_abs, |most, x| most.max(x.abs()));
        }
        sums.values = values.len() as u64;
        sums.mean = sum(values, |x| x) / values.len().max(1) as f64;
        let mean = sums.mean;
        sums.powers = [2, 3, 4].map(|power| sum(values, |x| (x - mean).powi(power)));
        sums
    }

    /// Adds what is known of further rows.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.norms += other.norms;
        self.max_abs = self.max_abs.max(other.max_abs);
        for (bin, n) in &other.histogram {
            *self.histogram.entry(*bin).or_default() += n;
        }
        let (a, b) = (self.values as f64, other.values as f64);
        let n = a + b;
        if other.values > 0 && self.values > 0 {
            let ([a2, a3, a4], [b2, b3, b4]) = (self.powers, other.powers);
            let d = other.mean - self.mean;
            let d_n = d / n;
            self.powers = [
                a2 + b2 + d * d_n * a * b,
                a3 + b3 + d * d_n * d_n * a * b * (a - b) + 3.0 * d_n * (a * b2 - b * a2),
                a4 + b4
                    + d * d_n * d_n * d_n * a * b * (a * a - a * b + b * b)
                    + 6.0 * d_n * d_n * (a * a * b2 + b * b * a2)
                    + 4.0 * d_n * (a * b3 - b * a3),
            ];
            self.mean += d_n * b;
        } else if other.values > 0 {
            (self.mean, self.powers) = (other.mean, other.powers);
        }
        self.values += other.values;
    }

    /// Mean norm of a row.
    pub fn mean_norm(&self) -> f64 {
        self.norms / self.rows as f64
    }

    /// Median norm of a row, and how far it may be off: half the width of its bin. Of an even number it is the lower middle one.
    pub fn median_norm(&self) -> (f64, f64) {
        let middle = self.rows.div_ceil(2);
        let mut seen = 0;
        let found = self.histogram.iter().find(|(_, n)| {
            seen += **n;
            seen >= middle
        });
        let Some((&bin, _)) = found else { return (f64::NAN, f64::NAN) };
        let (from, to) = (edge(bin), edge(bin + 1));
        if bin == 0 { (0.0, to) } else { (from.midpoint(to), (to - from) / 2.0) }
    }

    /// Mean of all values.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Their standard deviation, as of the whole that they are.
    pub fn std(&self) -> f64 {
        (self.powers[0] / self.values as f64).sqrt()
    }

    /// Their excess kurtosis: 0 of a normal distribution.
    pub fn excess_kurtosis(&self) -> f64 {
        self.values as f64 * self.powers[2] / self.powers[0].powi(2) - 3.0
    }
}

/// The sum in f64 of what `f` makes of each number, in a fixed order.
fn sum(values: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    vectorise!(simd::wide_sum(values, values, |_, x| f(x)))
}
