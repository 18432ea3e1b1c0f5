//! How far two values are apart, how far rounding may take them, and what becomes of that in the table.

use candle_core::{DType, Tensor};

use crate::analysis::VerifyRow;
use crate::error::Result;
use crate::hook::HookPoint;

/// What checking a law gave.
pub(super) enum Finding {
    /// The model has nothing that the law speaks of, or the law does not hold for its kind.
    NotApplicable(&'static str),
    /// The worst that was seen.
    Seen(Worst),
}

/// The comparison that came nearest to failing, or failed worst.
pub(super) struct Worst {
    /// Where the tolerance comes from.
    reason: &'static str,
    difference: f64,
    allowed: Option<f64>,
    at: Option<HookPoint>,
    failed: bool,
    compared: u64,
}

impl Worst {
    /// Nothing has been compared yet. `reason` says where the tolerance comes from.
    pub fn new(reason: &'static str) -> Self {
        Self { reason, difference: 0.0, allowed: None, at: None, failed: false, compared: 0 }
    }

    /// A difference of which at most `allowed` is explained.
    pub fn see(&mut self, at: Option<HookPoint>, difference: f64, allowed: f64) {
        // What is not a number explains nothing.
        let difference = if difference.is_nan() { f64::INFINITY } else { difference };
        let allowed = if allowed.is_finite() { allowed } else { 0.0 };
        let size = |difference: f64, allowed: f64| if difference == 0.0 { 0.0 } else { difference / allowed };
        let before = self.allowed.map(|allowed| size(self.difference, allowed));
        if before.is_none_or(|before| size(difference, allowed) > before) {
            (self.difference, self.allowed, self.at) = (difference, Some(allowed), at);
        }
        self.failed |= difference > allowed;
        self.compared += 1;
    }

    /// A change that must be one: the smallest is kept.
    pub fn must_change(&mut self, at: HookPoint, change: f64) {
        if self.compared == 0 || change < self.difference {
            (self.difference, self.at) = (change, Some(at));
        }
        self.failed |= change == 0.0;
        self.compared += 1;
    }

    /// Whether nothing was compared.
    pub fn is_empty(&self) -> bool {
        self.compared == 0
    }

    /// Values of which every bit must be the same.
    pub fn see_bits(&mut self, at: Option<HookPoint>, a: &Tensor, b: &Tensor) -> Result<()> {
        let (a, b) = (flat(a)?, flat(b)?);
        let difference = a.iter().zip(&b).filter(|(a, b)| a.to_bits() != b.to_bits());
        // A zero of the other sign is another bit and no distance.
        let distance = difference.map(|(a, b)| (a - b).abs().max(f64::MIN_POSITIVE));
        self.see(at, if a.len() == b.len() { largest(distance) } else { f64::INFINITY }, 0.0);
        Ok(())
    }

    /// Rows of two values `[t, ..]`, of which each has its own tolerance.
    pub fn see_rows(&mut self, at: Option<HookPoint>, a: &Tensor, b: &Tensor, allowed: &[f64]) -> Result<()> {
        let (a, b) = (rows(a)?, rows(b)?);
        for ((a, b), allowed) in a.iter().zip(&b).zip(allowed) {
            self.see(at, distance(a, b), *allowed);
        }
        Ok(())
    }
}

impl Finding {
    /// The row of the table.
    pub fn row(self, law: &str) -> VerifyRow {
        let bare = VerifyRow {
            law: law.into(),
            verdict: "not applicable".into(),
            difference: None,
            allowed: None,
            hook: None,
            layer: None,
            compared: 0,
            reason: None,
        };
        match self {
            Finding::NotApplicable(why) => VerifyRow { reason: Some(why.into()), ..bare },
            Finding::Seen(worst) if worst.compared == 0 => {
                VerifyRow { reason: Some("there was nothing to compare".into()), ..bare }
            }
            // Where nothing differs, no place is worse than another.
            Finding::Seen(worst) if worst.difference == 0.0 && !worst.failed => VerifyRow {
                verdict: "ok".into(),
                difference: Some(0.0),
                allowed: worst.allowed,
                compared: worst.compared,
                reason: Some(worst.reason.into()),
                ..bare
            },
            Finding::Seen(worst) => VerifyRow {
                verdict: if worst.failed { "failed" } else { "ok" }.into(),
                difference: Some(worst.difference),
                allowed: worst.allowed,
                hook: worst.at.map(|p| p.to_string()),
                layer: worst.at.and_then(|p| p.layer).map(|l| l as u32),
                compared: worst.compared,
                reason: Some(worst.reason.into()),
                ..bare
            },
        }
    }
}

/// All values, in f64.
pub(super) fn flat(x: &Tensor) -> Result<Vec<f64>> {
    Ok(x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// The values of each row of `[t, ..]`, in f64.
pub(super) fn rows(x: &Tensor) -> Result<Vec<Vec<f64>>> {
    Ok(x.to_dtype(DType::F64)?.flatten_from(1)?.to_vec2()?)
}

/// Largest absolute difference; infinite where the lengths differ, or one is not a number where the other is.
pub(super) fn distance(a: &[f64], b: &[f64]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    largest(a.iter().zip(b).map(|(a, b)| if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() }))
}

/// The largest; infinite where one is not a number.
pub(super) fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |worst, x| if x.is_nan() { f64::INFINITY } else { x.max(worst) })
}

/// The root of the mean square.
pub(super) fn rms(x: &[f64]) -> f64 {
    (x.iter().map(|x| x * x).sum::<f64>() / x.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn verdict(worst: Worst) -> VerifyRow {
        Finding::Seen(worst).row("law")
    }

    #[test]
    fn the_worst_is_what_exceeds_its_tolerance_most() {
        let mut worst = Worst::new("because");
        worst.see(None, 1.0, 10.0);
        worst.see(None, 0.5, 1.0);
        worst.see(None, 0.0, 0.0);
        let row = verdict(worst);
        assert_eq!((row.verdict.as_str(), row.difference, row.allowed, row.compared), ("ok", Some(0.5), Some(1.0), 3));
    }

    #[test]
    fn what_is_not_a_number_fails_whatever_is_allowed() {
        for (difference, allowed) in [(f64::NAN, 1.0), (1.0, f64::NAN), (f64::INFINITY, f64::INFINITY)] {
            let mut worst = Worst::new("");
            worst.see(None, difference, allowed);
            assert_eq!(verdict(worst).verdict, "failed", "{difference} {allowed}");
        }
        assert_eq!(distance(&[1.0], &[f64::NAN]), f64::INFINITY);
        assert_eq!(distance(&[1.0], &[1.0, 2.0]), f64::INFINITY);
    }

    #[test]
    fn every_bit_counts() -> Result<()> {
        let tensor = |x: f32| Tensor::new(&[x, 1.0], &Device::Cpu);
        for (a, b, same) in [(0.0, 0.0, true), (0.0, -0.0, false), (1.0, 1.0 + f32::EPSILON, false)] {
            let mut worst = Worst::new("");
            worst.see_bits(None, &tensor(a)?, &tensor(b)?)?;
            assert_eq!(verdict(worst).verdict == "ok", same, "{a} {b}");
        }
        Ok(())
    }

    #[test]
    fn nothing_compared_is_not_ok() {
        assert_eq!(verdict(Worst::new("")).verdict, "not applicable");
    }
}
