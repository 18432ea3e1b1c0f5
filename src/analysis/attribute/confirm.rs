//! How good the estimates are: the strongest, measured.

use std::sync::Arc;

use crate::analysis::Watch;
use crate::analysis::patch::patch_at;
use crate::analysis::{AttributionRow, PatchRow};
use crate::error::Result;
use crate::hook::HookPoint;
use crate::model::Model;
use crate::sweep::{Budget, PatchOptions, Patching, Sources, Spot, Sweep};
use crate::text::Pair;

use super::Attribute;

/// What measuring the strongest nodes has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirmed {
    /// How many were measured.
    pub n: usize,
    /// Spearman's rank correlation of what was estimated and what was measured; with GradDrop, which has no sign, of the
    /// strengths and the sizes. None where all of one of them are the same.
    pub rank_correlation: Option<f64>,
    /// Where they are furthest apart.
    pub worst: AttributionRow,
}

impl Confirmed {
    /// From the rows that were measured; nothing where there are none.
    pub(super) fn of(rows: &[AttributionRow], signed: bool) -> Option<Self> {
        let measured = |r: &AttributionRow| r.exact.map(|exact| (f64::from(r.estimate) - f64::from(exact)).abs());
        let worst =
            rows.iter().max_by(|a, b| measured(a).partial_cmp(&measured(b)).unwrap_or(std::cmp::Ordering::Equal))?;
        let exact = rows.iter().filter_map(|r| r.exact).map(|x| if signed { x } else { x.abs() }).collect::<Vec<_>>();
        let estimates = rows.iter().map(|r| if signed { r.estimate } else { r.strength }).collect::<Vec<_>>();
        Some(Self { n: rows.len(), rank_correlation: spearman(&estimates, &exact), worst: worst.clone() })
    }
}

/// Measures `spots` of each pair as `patch` does: one row for each.
pub(super) fn measure(
    model: &Model,
    pairs: &[Pair],
    spots: &[Vec<Spot>],
    (options, budget): (&Attribute, Budget),
    watch: &dyn Watch,
) -> Result<Vec<PatchRow>> {
    let spots: Vec<Arc<Vec<Spot>>> = spots.iter().cloned().map(Arc::new).collect();
    let mut points: Vec<HookPoint> =
        spots.iter().flat_map(|s| s.iter()).flat_map(|s| s.points.iter().copied()).collect();
    points.sort_unstable();
    points.dedup();
    let how = Patching {
        direction: Some(options.direction),
        metric: vec![options.metric],
        measure_at: options.measure_at,
        ..Patching::default()
    };
    let options = PatchOptions { how, budget, ..PatchOptions::default() };
    let sources = Sources::of(model, &options, &points, pairs)?;
    let mut sweep = Sweep { options: &options, sources: &sources, keep: &mut (), watch };
    let mut rows = vec![];
    patch_at(model, pairs, &points, &spots, &mut sweep, &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

/// Spearman's rank correlation: that of the places in order, equals sharing the mean of theirs.
fn spearman(x: &[f32], y: &[f32]) -> Option<f64> {
    let (x, y) = (places(x), places(y));
    let mean = (x.len() as f64 - 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let size = (product(&x, &x) * product(&y, &y)).sqrt();
    (size > 0.0).then(|| product(&x, &y) / size)
}

fn places(x: &[f32]) -> Vec<f64> {
    let below = |v: &f32| x.iter().filter(|other| *other < v).count() as f64;
    let same = |v: &f32| x.iter().filter(|other| *other == v).count() as f64;
    x.iter().map(|v| below(v) + (same(v) - 1.0) / 2.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_correlation_is_spearmans() {
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[10.0, 30.0, 900.0]), Some(1.0));
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, -1.0]), Some(-1.0));
        // 1 - 6 sum d^2 / n (n^2 - 1), with places that differ by 1, 1, 2, 1, 1. In f64, where
        // a few dozen roundings of 1.1e-16 are far less than one part in 1e12.
        let got = spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 1.0, 5.0, 3.0, 4.0]);
        assert!((got.unwrap_or(0.0) - (1.0 - 6.0 * 8.0 / 120.0)).abs() < 1e-12, "{got:?}");
        assert_eq!(places(&[5.0, 1.0, 5.0]), [1.5, 0.0, 1.5]);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
    }
}
