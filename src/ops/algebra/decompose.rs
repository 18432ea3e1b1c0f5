//! Eigenvalues, singular values and orthonormal bases of small matrices, in f64 on one thread: the same bytes however many there are.
//!
//! A head's maps of the stream are `d_model x d_model` and of rank `d_head` at most. As products of two thin factors they need neither be
//! made nor decomposed: `A' B` has the singular values of `R_a R_b'`, where `A' = Q_a R_a` and `B' = Q_b R_b`.

use nalgebra::{DMatrix, QR, SVD, Schur, SymmetricEigen};

use crate::error::{Error, Result};

/// Steps that an iteration may take for each row: a handful is what they take.
const STEPS: usize = 1000;

/// A matrix whose numbers lie row after row.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// How many rows.
    pub n: usize,
    /// Their length.
    pub width: usize,
    /// The numbers.
    pub numbers: Vec<f64>,
}

impl Rows {
    /// These numbers as rows of this length.
    pub fn new(width: usize, numbers: Vec<f64>) -> Self {
        Self { n: numbers.len() / width.max(1), width, numbers }
    }

    /// One row.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.numbers[i * self.width..(i + 1) * self.width]
    }

    /// The transpose: `[n, k]` to `[k, n]`.
    pub fn transposed(&self) -> Self {
        Self::of_transpose(self.columns().transpose())
    }

    /// `self [n, k]` times the transpose of `other [m, k]`: `[n, m]`.
    pub fn times_transposed(&self, other: &Self) -> Self {
        self.times(&other.transposed())
    }

    /// `self [n, k]` times `other [k, m]`: `[n, m]`.
    pub fn times(&self, other: &Self) -> Self {
        Self::of_transpose(other.columns() * self.columns())
    }

    /// Sum of all squares.
    pub fn squares(&self) -> f64 {
        self.numbers.iter().map(|x| x * x).sum()
    }

    /// The transpose, column after column: the same numbers in the same order.
    fn columns(&self) -> DMatrix<f64> {
        DMatrix::from_column_slice(self.width, self.n, &self.numbers)
    }

    fn of_transpose(columns: DMatrix<f64>) -> Self {
        let (width, n) = columns.shape();
        Self { n, width, numbers: columns.data.into() }
    }
}

/// A matrix of thin rows as an orthonormal basis of its rows, and what the rows are in it.
#[derive(Clone, Debug)]
pub struct Thin {
    /// `[k, d]`: the basis, `k` the lesser of `n` and `d`.
    pub basis: Rows,
    /// `[n, k]`: the rows.
    pub within: Rows,
}

impl Thin {
    /// Of `rows [n, d]`: `rows = within basis` (QR by Householder's reflections).
    pub fn of(rows: &Rows) -> Self {
        let qr = QR::new(rows.columns());
        let (basis, within) = (Rows::of_transpose(qr.q()), Rows::of_transpose(qr.r()));
        Self { basis, within }
    }
}

/// Singular values, largest first, with their vectors as rows: the matrix is the sum of `values[i] left[i]' right[i]`.
#[derive(Clone, Debug)]
pub struct Singular {
    /// `[k]`.
    pub values: Vec<f64>,
    /// `[k, n]`.
    pub left: Rows,
    /// `[k, m]`.
    pub right: Rows,
}

/// The singular values of `matrix [n, m]`.
///
/// # Errors
/// When it has numbers that are not finite, or the iteration comes to no end.
pub fn singular(matrix: &Rows) -> Result<Singular> {
    finite(matrix)?;
    // Of the transpose: left and right change places.
    let svd = SVD::try_new(matrix.columns(), true, true, f64::EPSILON, STEPS * matrix.n.max(matrix.width));
    let (Some((right, left)), values) =
        svd.map(|svd| (svd.u.zip(svd.v_t), svd.singular_values.as_slice().to_vec())).ok_or_else(endless)?
    else {
        return Err(endless());
    };
    let (right, left) = (Rows::of_transpose(right), Rows::of_transpose(left.transpose()));
    // Of equals the first.
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let sorted = |rows: &Rows| Rows::new(rows.width, order.iter().flat_map(|i| rows.row(*i)).copied().collect());
    Ok(Singular { left: sorted(&left), right: sorted(&right), values: order.iter().map(|i| values[*i]).collect() })
}

/// The eigenvalues of a square matrix, each as its real and imaginary part.
///
/// # Errors
/// When it has numbers that are not finite, or the iteration comes to no end.
pub fn eigenvalues(matrix: &Rows) -> Result<Vec<(f64, f64)>> {
    finite(matrix)?;
    // Those of the transpose are the same.
    let schur = Schur::try_new(matrix.columns(), f64::EPSILON, STEPS * matrix.n).ok_or_else(endless)?;
    Ok(schur.complex_eigenvalues().iter().map(|x| (x.re, x.im)).collect())
}

/// The eigenvalues of the symmetric matrix `values [n, n]` with their eigenvectors `[n]` of length 1, the largest first. The sign of a vector
/// is any.
///
/// ```
/// let found = pellucid::ops::algebra::decompose::symmetric(2, &[2.0, 1.0, 1.0, 2.0]);
/// assert!((found[0].0 - 3.0).abs() < 1e-12 && (found[1].0 - 1.0).abs() < 1e-12);
/// ```
pub fn symmetric(n: usize, values: &[f64]) -> Vec<(f64, Vec<f64>)> {
    let found = SymmetricEigen::new(DMatrix::from_row_slice(n, n, values));
    let mut all: Vec<(f64, Vec<f64>)> =
        (0..n).map(|i| (found.eigenvalues[i], found.eigenvectors.column(i).iter().copied().collect())).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all
}

/// Iterations on what is not finite would not end.
fn finite(matrix: &Rows) -> Result<()> {
    match matrix.numbers.iter().all(|x| x.is_finite()) {
        true => Ok(()),
        false => Err(Error::compute("a product of weights is not finite")
            .hint("look for weights that are too large or no numbers, with `pellucid verify`")),
    }
}

fn endless() -> Error {
    Error::compute("the decomposition of a head's maps comes to no end").fault()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random and are the same everywhere.
    fn numbers(n: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        (0..n).map(next).collect()
    }

    /// Rounding of a sum of so many terms of size 1, and of an iteration on it.
    fn allowed(n: usize) -> f64 {
        64.0 * n as f64 * f64::EPSILON
    }

    #[track_caller]
    fn near(got: &[f64], want: &[f64], allowed: f64) {
        assert_eq!(got.len(), want.len());
        let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst <= allowed, "{worst:e} is more than {allowed:e}");
    }

    /// Tall, wide and square.
    #[test]
    fn thin_factors_and_singular_vectors_make_the_matrix_again() {
        for (n, d) in [(5, 40), (40, 5), (7, 7), (1, 3)] {
            let rows = Rows::new(d, numbers(n * d, 3));
            let thin = Thin::of(&rows);
            let k = n.min(d);
            assert_eq!((thin.basis.n, thin.basis.width, thin.within.n, thin.within.width), (k, d, n, k));
            near(&thin.within.times(&thin.basis).numbers, &rows.numbers, allowed(d));
            let unit: Vec<f64> = (0..k * k).map(|i| f64::from(u8::from(i % (k + 1) == 0))).collect();
            near(&thin.basis.times_transposed(&thin.basis).numbers, &unit, allowed(d));
            let found = singular(&rows).unwrap();
            assert!(found.values.is_sorted_by(|a, b| a >= b) && found.values.iter().all(|x| *x >= 0.0));
            near(&found.left.times_transposed(&found.left).numbers, &unit, allowed(d));
            near(&found.right.times_transposed(&found.right).numbers, &unit, allowed(d));
            let mut again = vec![0.0; n * d];
            for (i, sigma) in found.values.iter().enumerate() {
                for (at, x) in again.iter_mut().enumerate() {
                    *x += sigma * found.left.row(i)[at / d] * found.right.row(i)[at % d];
                }
            }
            near(&again, &rows.numbers, allowed(n.max(d)));
        }
    }

    /// A rotation by an angle, a number of its own, and one that is 0.
    #[test]
    fn eigenvalues_are_those_that_were_put_in() {
        let (sin, cos) = 0.7f64.sin_cos();
        #[rustfmt::skip]
        let block = Rows::new(4, vec![
            cos, -sin, 0.0, 0.0,
            sin, cos, 0.0, 0.0,
            0.0, 0.0, -2.0, 0.0,
            0.0, 0.0, 0.0, 0.0,
        ]);
        let turn = Thin::of(&Rows::new(4, numbers(16, 5))).basis;
        let back = Rows::new(4, (0..16).map(|i| turn.row(i % 4)[i / 4]).collect());
        let mut found = eigenvalues(&back.times(&block).times(&turn)).unwrap();
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let flat: Vec<f64> = found.iter().flat_map(|(re, im)| [*re, *im]).collect();
        near(&flat, &[-2.0, 0.0, 0.0, 0.0, cos, -sin, cos, sin], allowed(4));
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let broken = Rows::new(2, vec![1.0, f64::NAN, 0.0, 1.0]);
        assert!(eigenvalues(&broken).is_err() && singular(&broken).is_err());
        assert_eq!(singular(&Rows::new(3, vec![0.0; 9])).unwrap().values, [0.0; 3]);
        assert!(eigenvalues(&Rows::new(3, vec![0.0; 9])).unwrap().iter().all(|x| *x == (0.0, 0.0)));
    }
}
