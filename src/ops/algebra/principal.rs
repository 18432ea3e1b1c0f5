//! The first principal components of many rows, without a decomposition of all of them.
//!
//! A block of random directions is multiplied by the rows' covariance again and again, and the components are sought in the space of
//! all that came out (Halko, Martinsson, Shkolnisky & Tygert 2011, "An algorithm for the principal component analysis of large data
//! sets"; block Krylov iteration of Musco & Musco 2015). Where the space holds all directions the answer is exact, and before that it is
//! known how far off it is: a component is an eigenvector, and what is left of `C v - λ v` says how good a one. In f64; seeded.

use std::ops::Range;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::decompose::symmetric;
use crate::error::Result;
use crate::ops::simd::{self, vectorise};

/// Rows that are multiplied at a time.
pub const TILE: usize = 256;
/// Tiles whose sums are there at one time.
const TOGETHER: usize = 16;
/// A residual of so much of the largest eigenvalue is good enough.
const GOOD: f64 = 1e-10;
/// Directions beyond those that are wanted.
const BEYOND: usize = 4;
/// Rows that are summed together, and numbers that are.
const FEW: usize = 4;
const LANES: usize = 16;
/// At most so many multiplications by all rows.
const MOST: usize = 60;

/// Rows that are read in pieces.
pub struct Rows<'a> {
    /// How many.
    pub n: usize,
    /// How many numbers in each.
    pub d: usize,
    /// What is taken away from each.
    pub mean: &'a [f64],
    /// Gives those of a range, one after another.
    pub read: Box<Read<'a>>,
}

/// Gives the rows of a range, one after another, to whoever sums them.
pub type Read<'a> = dyn Fn(Range<usize>, &mut dyn FnMut(&[f32])) -> Result<()> + Sync + 'a;

/// A principal component.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Its direction, of length 1; its largest number is positive.
    pub axis: Vec<f64>,
    /// The sum of the squares of all rows along it.
    pub squares: f64,
    /// Length of what is left of the eigenvalue's equation, as a share of the largest eigenvalue.
    pub residual: f64,
}

impl Rows<'_> {
    /// Where tiles begin and end.
    fn tiles(&self) -> Vec<Range<usize>> {
        (0..self.n).step_by(TILE).map(|first| first..self.n.min(first + TILE)).collect()
    }

    /// The sums of what `of` makes of each tile, in the order of the tiles whoever makes them.
    fn summed(&self, width: usize, of: impl Fn(&[f32], &mut [f64]) + Sync) -> Result<Vec<f64>> {
        let mut total = vec![0.0; width];
        for some in self.tiles().chunks(TOGETHER) {
            let sums = some.par_iter().map(|tile| {
                let mut sum = vec![0.0; width];
                (self.read)(tile.clone(), &mut |rows| of(rows, &mut sum))?;
                Ok(sum)
            });
            for sum in sums.collect::<Result<Vec<_>>>()? {
                total.iter_mut().zip(sum).for_each(|(total, x)| *total += x);
            }
        }
        Ok(total)
    }

    /// The mean row, whatever is taken away.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub fn mean_row(&self) -> Result<Vec<f64>> {
        let d = self.d;
        let mut mean = self.summed(d, |rows, sum| {
            vectorise!(for row in rows.chunks_exact(d) {
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            })
        })?;
        mean.iter_mut().for_each(|x| *x /= self.n.max(1) as f64);
        Ok(mean)
    }

    /// The sum of the squares of all numbers.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub fn squares(&self) -> Result<f64> {
        let square = |rows: &[f32], sum: &mut [f64]| {
            for row in rows.chunks_exact(self.d) {
                sum[0] += vectorise!(simd::wide_sum(self.mean, row, |mean, x| (x - mean) * (x - mean)));
            }
        };
        Ok(self.summed(1, square)?[0])
    }

    /// What the covariance (times the number of rows) makes of directions, one after another.
    fn covariance(&self, directions: &[f64]) -> Result<Vec<f64>> {
        let d = self.d;
        self.summed(directions.len(), |rows, sum| {
            // A few rows at a time, so that each sum is read and written once for all of them; missing ones are 0.
            let mut few = vec![0.0; FEW * d];
            for rows in rows.chunks(FEW * d) {
                few[rows.len()..].fill(0.0);
                vectorise!({
                    for (few, row) in few.chunks_exact_mut(d).zip(rows.chunks_exact(d)) {
                        few.iter_mut().zip(row).zip(self.mean).for_each(|((to, x), mean)| *to = f64::from(*x) - mean);
                    }
                    let (a, rest) = few.split_at(d);
                    let (b, rest) = rest.split_at(d);
                    let (c, e) = rest.split_at(d);
                    for (v, sum) in directions.chunks_exact(d).zip(sum.chunks_exact_mut(d)) {
                        let along = [wide_dot(v, a), wide_dot(v, b), wide_dot(v, c), wide_dot(v, e)];
                        for ((((sum, a), b), c), e) in sum.iter_mut().zip(a).zip(b).zip(c).zip(e) {
                            *sum += (along[0] * a + along[1] * b) + (along[2] * c + along[3] * e);
                        }
                    }
                });
            }
        })
    }

    /// The first components, at most `wanted`, the largest first: fewer where the rows do not go into so many directions.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub fn components(&self, wanted: usize, seed: u64) -> Result<Vec<Component>> {
        let d = self.d;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let block = (wanted + BEYOND).min(d);
        let mut last: Vec<f64> = (0..block * d).map(|_| StandardNormal.sample(&mut random)).collect();
        // All directions so far, orthonormal, and what the covariance makes of each.
        let (mut basis, mut images): (Vec<f64>, Vec<f64>) = (vec![], vec![]);
        for step in 1.. {
            last = orthonormal(&basis, last, d);
            if last.is_empty() {
                break;
            }
            images.extend(self.covariance(&last)?);
            basis.extend(&last);
            let ends = step == MOST || basis.len() == d * d;
            // Looking takes time as well, and more of it each time.
            if ends || step % if step < 16 { 4 } else { 16 } == 0 {
                let best = ritz(&basis, &images, d, wanted);
                if ends || best.iter().all(|component| component.residual <= GOOD) {
                    return Ok(best);
                }
            }
            last = images[images.len() - last.len()..].to_vec();
        }
        Ok(ritz(&basis, &images, d, wanted))
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    vectorise!(wide_dot(a, b))
}

/// The product of two vectors, in a fixed order of lanes.
#[inline(always)]
fn wide_dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum::<f64>() + rest.map(|(a, b)| a * b).sum::<f64>()
}

/// The directions of `block` that `basis` does not have, orthonormal to it and to each other.
fn orthonormal(basis: &[f64], block: Vec<f64>, d: usize) -> Vec<f64> {
    let mut found: Vec<f64> = vec![];
    for direction in block.chunks_exact(d) {
        let size = dot(direction, direction).sqrt();
        let mut left = direction.to_vec();
        // Twice: what rounding leaves of the first time is gone after the second.
        for _ in 0..2 {
            for known in basis.chunks_exact(d).chain(found.chunks_exact(d)) {
                let along = dot(known, &left);
                left.iter_mut().zip(known).for_each(|(x, k)| *x -= along * k);
            }
        }
        let length = dot(&left, &left).sqrt();
        if length > 1e-12 * size && size > 0.0 {
            found.extend(left.iter().map(|x| x / length));
        }
    }
    found
}

/// The best components that can be made of a basis (Rayleigh and Ritz).
fn ritz(basis: &[f64], images: &[f64], d: usize, wanted: usize) -> Vec<Component> {
    let m = basis.len() / d;
    let product = |i: usize, j: usize| dot(&basis[i * d..(i + 1) * d], &images[j * d..(j + 1) * d]);
    // Symmetric but for rounding: half of it is enough.
    let mut small = vec![0.0; m * m];
    for j in 0..m {
        for i in 0..=j {
            small[i * m + j] = product(i, j);
            small[j * m + i] = small[i * m + j];
        }
    }
    let eigen = symmetric(m, &small);
    let largest = eigen.first().map_or(0.0, |(value, _)| *value);
    if !(largest > 0.0 && largest.is_finite()) {
        return vec![];
    }
    let sum = |of: &[f64], weights: &[f64]| {
        let mut sum = vec![0.0; d];
        for (x, weight) in of.chunks_exact(d).zip(weights) {
            sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += weight * x);
        }
        sum
    };
    let component = |(squares, weights): &(f64, Vec<f64>)| {
        let (mut axis, image) = (sum(basis, weights), sum(images, weights));
        let left = image.iter().zip(&axis).map(|(image, x)| (image - squares * x).powi(2)).sum::<f64>().sqrt();
        let largest_number = axis.iter().copied().fold(0.0, |most: f64, x| if x.abs() > most.abs() { x } else { most });
        if largest_number < 0.0 {
            axis.iter_mut().for_each(|x| *x = -*x);
        }
        Component { axis, squares: *squares, residual: left / largest }
    };
    // A direction in which nothing differs is none.
    eigen.iter().take(wanted).filter(|(value, _)| *value > 1e-12 * largest).map(component).collect()
}

#[cfg(test)]
mod tests {
    use nalgebra::{DMatrix, SymmetricEigen};

    use super::*;

    /// Components of random rows whose directions differ in size, against a decomposition of their whole covariance; whatever the
    /// shape, also where there are more numbers in a row than rows.
    #[test]
    fn components_are_those_of_the_whole_covariance() -> Result<()> {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for (n, d) in [(700, 37), (30, 90), (1, 5), (2, 3), (513, 64)] {
            let mut draw = || -> f64 { StandardNormal.sample(&mut random) };
            let rows: Vec<f32> = (0..n * d).map(|i| (draw() * 0.9f64.powi((i % d) as i32) + 0.3) as f32).collect();
            let read = |range: Range<usize>, f: &mut dyn FnMut(&[f32])| {
                f(&rows[range.start * d..range.end * d]);
                Ok(())
            };
            let zero = vec![0.0; d];
            let mean = Rows { n, d, mean: &zero, read: Box::new(read) }.mean_row()?;
            let all = Rows { n, d, mean: &mean, read: Box::new(read) };
            let centered = DMatrix::from_fn(n, d, |i, j| f64::from(rows[i * d + j]) - mean[j]);
            let eigen = SymmetricEigen::new(centered.transpose() * &centered);
            let mut squares: Vec<f64> = eigen.eigenvalues.iter().copied().collect();
            squares.sort_by(|a, b| b.total_cmp(a));
            let total: f64 = squares.iter().sum();
            // Sums of n products in f64, whose terms come to the total.
            let allowed = 1e-9 * total.max(1e-12);
            assert!((all.squares()? - total).abs() <= allowed, "{n} x {d}");
            let found = all.components(2, 0)?;
            assert_eq!(found.len(), 2.min(n - 1), "{n} x {d}");
            for (component, want) in found.iter().zip(&squares) {
                assert!((component.squares - want).abs() <= allowed, "{n} x {d}: {} is not {want}", component.squares);
                assert!(component.residual <= GOOD, "{n} x {d}: {}", component.residual);
                let along = &centered * nalgebra::DVector::from_column_slice(&component.axis);
                assert!((along.norm_squared() - want).abs() <= allowed, "{n} x {d}");
                let largest =
                    component.axis.iter().copied().fold(0.0, |a: f64, x| if x.abs() > a.abs() { x } else { a });
                assert!(largest > 0.0 && (dot(&component.axis, &component.axis) - 1.0).abs() < 1e-12, "{n} x {d}");
            }
        }
        Ok(())
    }
}
