//! Values that are NaN or infinite: where the first of a run is, and a hook that finds it.

use std::fmt;

use candle_core::{DType, Device, Tensor};

use super::point::HookPoint;
use super::site::Site;
use super::tap::Hook;
use crate::error::Result;
use crate::ops::rows::Rows;

/// The first value of a run that is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct NotFinite {
    /// Where it was made.
    pub point: HookPoint,
    /// In which sequence of the batch.
    pub sequence: usize,
    /// At which position of the sequence: the query's, of scores and patterns.
    pub position: usize,
    /// NaN or an infinity.
    pub value: f32,
}

/// `blocks.2.hook_mlp_out at position 3 is NaN`.
impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = if self.value.is_nan() { "NaN" } else { "infinite" };
        write!(f, "{} is {is}", self.place())
    }
}

impl NotFinite {
    /// `blocks.2.hook_mlp_out at position 3`.
    pub fn place(&self) -> String {
        format!("{} at position {}", self.point, self.position)
    }

    /// The first in `x`, the value of `point` in a pack of these rows, of the shape that hooks are given. A score of minus
    /// infinity is legal: that is how a key is hidden.
    ///
    /// # Errors
    /// When the values cannot be read.
    pub fn first_in(point: HookPoint, rows: &Rows, x: &Tensor) -> Result<Option<Self>> {
        if point.site.is_index() || (point.site != Site::AttnScores && all_finite(x)?) {
            return Ok(None);
        }
        let numbers = crate::ops::numbers(x)?;
        let legal = |v: &f32| v.is_finite() || (point.site == Site::AttnScores && *v == f32::NEG_INFINITY);
        let Some(at) = numbers.iter().position(|v| !legal(v)) else { return Ok(None) };
        let value = numbers[at];
        let (sequence, position) = if point.site.per_sequence() {
            let s = &rows.sequences[0];
            (s.index, s.start + at / x.dim(2)? % x.dim(1)?)
        } else {
            let row = at / (x.elem_count() / x.dim(0)?);
            let s = rows.sequences.iter().find(|s| s.rows.contains(&row));
            s.map_or((0, row), |s| (s.index, s.start + row - s.rows.start))
        };
        Ok(Some(Self { point, sequence, position, value }))
    }
}

/// Whether all numbers are finite, in f32.
///
/// # Errors
/// When the values cannot be read.
pub fn all_finite(x: &Tensor) -> Result<bool> {
    let x = x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?;
    let numbers = crate::ops::values(&x)?;
    Ok(finite(&numbers))
}

/// Whether all numbers are finite.
pub(crate) fn finite(x: &[f32]) -> bool {
    // Without a branch within a chunk the loop is vectorised.
    x.chunks(4096).all(|some| some.iter().fold(true, |all, v| all & v.is_finite()))
}

/// Looks at the values of a run, in their order, and remembers the first that is not finite. Logits are not among them: those of
/// all rows may be larger than everything else.
#[derive(Debug, Default)]
pub struct FirstNotFinite {
    found: Option<NotFinite>,
    /// Whether it also looks at scores and patterns, which grow with the square of the prompt.
    patterns: bool,
}

impl FirstNotFinite {
    /// In scores and patterns, too, where `patterns` says so.
    pub fn new(patterns: bool) -> Self {
        Self { found: None, patterns }
    }

    /// What it found.
    pub fn found(self) -> Option<NotFinite> {
        self.found
    }
}

impl Hook for FirstNotFinite {
    fn wants(&self, at: HookPoint) -> bool {
        // Each head's write is large, and part of what attention writes, which is looked at next.
        let looks = !matches!(at.site, Site::Result | Site::Logits) && !at.site.is_index();
        self.found.is_none() && looks && (self.patterns || !at.site.per_sequence())
    }

    fn on(&mut self, at: HookPoint, rows: &Rows, x: Tensor) -> Result<Tensor> {
        if self.found.is_none() {
            self.found = NotFinite::first_in(at, rows, &x)?;
        }
        Ok(x)
    }
}
