//! Learned positions: how long and how alike the vectors are, their first two components, and the waves in them.

use std::f64::consts::TAU;

use rayon::prelude::*;

use super::rows::{PositionCosineRow, PositionVectorRow, PositionWaveRow};
use crate::error::Result;
use crate::model::Model;
use crate::ops::algebra::decompose::symmetric;
use crate::ops::numbers;

/// Frequencies between two of the discrete Fourier transform, and one.
const FINER: usize = 8;

/// A table of position vectors.
pub struct Learned {
    /// `[p, d]`, of every position.
    vectors: Vec<f64>,
    d: usize,
    /// The row of the first.
    offset: usize,
    /// How many positions are compared, from the first.
    compared: usize,
}

/// What a table is, in rows.
pub struct Found {
    /// A row for each position.
    pub vectors: Vec<PositionVectorRow>,
    /// A row for each frequency.
    pub waves: Vec<PositionWaveRow>,
}

impl Learned {
    /// The table of a model, where it has one, of which at most `most` positions are compared.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(model: &Model, most: usize) -> Result<Option<Self>> {
        let (Some(table), Some(learned)) = (&model.weights().positions, model.spec().embedding.positions) else {
            return Ok(None);
        };
        let n = super::scheme::context(model.spec()).unwrap_or(0);
        let vectors = numbers(&table.narrow(0, learned.offset, n)?)?.into_iter().map(f64::from).collect();
        Ok(Some(Self { vectors, d: model.spec().d_model, offset: learned.offset, compared: n.min(most) }))
    }

    /// Bytes that a table of `n` positions takes while so many are compared.
    pub fn bytes(n: usize, d: usize, most: usize) -> usize {
        let compared = n.min(most);
        8 * (2 * n * d + 2 * compared * d + compared * compared + 6 * compared.min(d).pow(2)) + 200 * (n + 4 * compared)
    }

    /// How many positions there are, and how many are compared.
    pub fn positions(&self) -> (usize, usize) {
        (self.vectors.len() / self.d, self.compared)
    }

    fn vector(&self, pos: usize) -> &[f64] {
        &self.vectors[pos * self.d..(pos + 1) * self.d]
    }

    /// The cosines of every two positions that are compared, those of an earlier one first.
    ///
    /// # Errors
    /// What `emit` says.
    pub fn cosines(&self, emit: &mut dyn FnMut(PositionCosineRow) -> Result<()>) -> Result<()> {
        let norms: Vec<f64> = (0..self.compared).map(|pos| dot(self.vector(pos), self.vector(pos)).sqrt()).collect();
        for a in 0..self.compared {
            let of = |b: usize| cosine(dot(self.vector(a), self.vector(b)), norms[a], norms[b]);
            let row: Vec<Option<f64>> = (a + 1..self.compared).into_par_iter().map(of).collect();
            for (b, cosine) in (a + 1..).zip(row) {
                let (pos_a, pos_b, distance) = (a as u32, b as u32, (b - a) as u32);
                emit(PositionCosineRow { pos_a, pos_b, distance, cosine })?;
            }
        }
        Ok(())
    }

    /// Norms, components and waves.
    ///
    /// # Errors
    /// When the components cannot be found.
    pub fn found(&self) -> Result<Found> {
        let (n, compared, d) = (self.vectors.len() / self.d, self.compared, self.d);
        let mean = |n: usize| -> Vec<f64> {
            (0..d).map(|i| (0..n).map(|pos| self.vector(pos)[i]).sum::<f64>() / n.max(1) as f64).collect()
        };
        let of_all = mean(n);
        let length = dot(&of_all, &of_all).sqrt();
        let centre = mean(compared);
        let centred: Vec<f64> =
            (0..compared).flat_map(|pos| self.vector(pos).iter().zip(&centre).map(|(x, mean)| x - mean)).collect();
        let (coordinates, explained) = components(&centred, d)?;
        let row = |pos: usize| {
            let vector = self.vector(pos);
            let norm = dot(vector, vector).sqrt();
            let at = |component: usize| coordinates[component].get(pos).copied();
            PositionVectorRow {
                pos: pos as u32,
                table_row: (pos + self.offset) as u32,
                norm,
                cos_to_mean: cosine(dot(vector, &of_all), norm, length),
                x: at(0),
                y: at(1),
                explained_x: explained[0],
                explained_y: explained[1],
            }
        };
        Ok(Found { vectors: (0..n).map(row).collect(), waves: waves(&centred, d) })
    }
}

/// The coordinates of rows `[n, d]`, whose mean is 0, along their first two principal components, and the share of the variation that each
/// has.
fn components(rows: &[f64], d: usize) -> Result<([Vec<f64>; 2], [f64; 2])> {
    let n = rows.len() / d;
    let row = |i: usize| &rows[i * d..(i + 1) * d];
    let total: f64 = dot(rows, rows);
    // The smaller of the two products of the rows with themselves has the same eigenvalues.
    let by_rows = n <= d;
    let product: Vec<f64> = match by_rows {
        true => (0..n * n).into_par_iter().map(|at| dot(row(at / n), row(at % n))).collect(),
        false => {
            let columns: Vec<f64> = (0..d).flat_map(|j| (0..n).map(move |i| rows[i * d + j])).collect();
            let column = |j: usize| &columns[j * n..(j + 1) * n];
            (0..d * d).into_par_iter().map(|at| dot(column(at / d), column(at % d))).collect()
        }
    };
    let found = symmetric(n.min(d), &product);
    let (mut coordinates, mut explained) = ([vec![0.0; n], vec![0.0; n]], [0.0; 2]);
    for (component, (value, vector)) in found.into_iter().take(2).enumerate() {
        let value = value.max(0.0);
        let mut along: Vec<f64> = match by_rows {
            true => vector.iter().map(|x| x * value.sqrt()).collect(),
            false => (0..n).map(|i| dot(row(i), &vector)).collect(),
        };
        let largest = along.iter().copied().fold(0.0, |most: f64, x| if x.abs() > most.abs() { x } else { most });
        if largest < 0.0 {
            along.iter_mut().for_each(|x| *x = -*x);
        }
        explained[component] = if total > 0.0 { value / total } else { 0.0 };
        coordinates[component] = along;
    }
    Ok((coordinates, explained))
}

/// The periodogram of rows `[n, d]` whose mean is 0, summed over dimensions.
fn waves(rows: &[f64], d: usize) -> Vec<PositionWaveRow> {
    let n = rows.len() / d;
    let total = dot(rows, rows);
    // Of waves all that counts is how far apart rows are: the sums of the products of rows at each distance have all of it.
    let apart: Vec<f64> = (0..n).into_par_iter().map(|lag| dot(&rows[..(n - lag) * d], &rows[lag * d..])).collect();
    let last = FINER * n / 2;
    let share = |step: usize| {
        // Angles are whole eighths of a turn over all rows: the cosines of all are these few.
        let cosine = |lag: usize| (TAU * ((step * lag) % (FINER * n)) as f64 / (FINER * n) as f64).cos();
        let power = apart[0] + 2.0 * (1..n).map(|lag| apart[lag] * cosine(lag)).sum::<f64>();
        // A sine and a cosine of each frequency, but at half a turn for each row, where both are one.
        let both = if 2 * step == FINER * n { 1.0 } else { 2.0 };
        if total > 0.0 { (both * power / (n as f64 * total)).max(0.0) } else { 0.0 }
    };
    let shares: Vec<f64> = (0..=last).into_par_iter().map(share).collect();
    let row = |step: usize| PositionWaveRow {
        step: step as u32,
        frequency: TAU * step as f64 / (FINER * n) as f64,
        period: (FINER * n) as f64 / step as f64,
        share: shares[step],
        fourier: step.is_multiple_of(FINER),
        peak: step < last && shares[step] > shares[step - 1] && shares[step] > shares[step + 1],
    };
    (1..=last).map(row).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cosine(product: f64, a: f64, b: f64) -> Option<f64> {
    (a > 0.0 && b > 0.0).then(|| (product / (a * b)).clamp(-1.0, 1.0))
}
