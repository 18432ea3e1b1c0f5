//! Eigenvalues and eigenvectors of small symmetric matrices. In f64.

use nalgebra::{DMatrix, SymmetricEigen};

/// The eigenvalues of the symmetric matrix `values [n, n]` with their eigenvectors `[n]` of length 1, the largest first. The sign of a vector
/// is any.
///
/// ```
/// let found = pellucid::ops::symmetric::eigen(2, &[2.0, 1.0, 1.0, 2.0]);
/// assert!((found[0].0 - 3.0).abs() < 1e-12 && (found[1].0 - 1.0).abs() < 1e-12);
/// ```
pub fn eigen(n: usize, values: &[f64]) -> Vec<(f64, Vec<f64>)> {
    let found = SymmetricEigen::new(DMatrix::from_row_slice(n, n, values));
    let mut all: Vec<(f64, Vec<f64>)> =
        (0..n).map(|i| (found.eigenvalues[i], found.eigenvectors.column(i).iter().copied().collect())).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all
}
