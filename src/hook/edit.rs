//! A hook that changes what it sees, at chosen rows and heads.

use candle_core::Tensor;

use super::change::{Change, How};
use super::finite::{NotFinite, all_finite};
use super::point::{HookPoint, select};
use super::site::{Axis, Site};
use super::tap::Hook;
use crate::arch::Spec;
use crate::error::{Error, Result, counted};
use crate::ops::rows::{Rows, SequenceRows};

type New = Box<dyn FnMut(HookPoint, &Tensor) -> Result<Tensor>>;

/// Changes the values of chosen hook points. Selects everything until it is narrowed.
///
/// An edit that makes NaN or an infinity of a finite value is an error that names the hook and the position; a score may become
/// minus infinity, which hides its key.
///
/// Axes are those of the site table: positions select along `t` (or the queries `q` of a pattern), heads along `h`
/// or `g`. Of an expert's values it changes the rows that go through that expert; the others stay zero.
pub struct Edit {
    points: Vec<HookPoint>,
    reached: Vec<bool>,
    positions: Option<Vec<isize>>,
    sequences: Option<Vec<usize>>,
    heads: Option<Vec<usize>>,
    selected: bool,
    change: New,
}

impl Edit {
    /// Replaces values by `change(value)`, which sees the whole value of a point; what is not selected keeps its own.
    ///
    /// # Errors
    /// When part of `pattern` selects nothing in this model.
    pub fn with(
        spec: &Spec,
        pattern: &str,
        change: impl FnMut(HookPoint, &Tensor) -> Result<Tensor> + 'static,
    ) -> Result<Self> {
        let points = select(spec, pattern)?;
        Ok(Self {
            reached: vec![false; points.len()],
            points,
            positions: None,
            sequences: None,
            heads: None,
            selected: false,
            change: Box::new(change),
        })
    }

    /// Replaces values by zero (zero ablation).
    ///
    /// # Errors
    /// As [`Edit::with`].
    pub fn zero(spec: &Spec, pattern: &str) -> Result<Self> {
        Self::with(spec, pattern, |_, x| Ok(x.zeros_like()?))
    }

    /// Multiplies values by `factor`.
    ///
    /// # Errors
    /// As [`Edit::with`], and when the factor is not a finite number.
    pub fn scale(spec: &Spec, pattern: &str, factor: f64) -> Result<Self> {
        if !factor.is_finite() {
            return Err(
                Error::bad_input(format!("values cannot be multiplied by {factor}")).hint("give a finite factor")
            );
        }
        Self::with(spec, pattern, move |_, x| Ok((x * factor)?))
    }

    /// Adds `vector`, broadcast over the leading axes (steering).
    ///
    /// # Errors
    /// As [`Edit::with`], and when the vector has a value that is not finite.
    pub fn add(spec: &Spec, pattern: &str, vector: Tensor) -> Result<Self> {
        check_finite("what is added", &vector)?;
        Self::with(spec, pattern, move |_, x| Ok(x.broadcast_add(&vector)?))
    }

    /// Puts `value`, broadcast to the point's shape, in its place.
    ///
    /// # Errors
    /// As [`Edit::with`], and when it has a value that is not finite; minus infinity may be put in scores alone.
    pub fn set(spec: &Spec, pattern: &str, value: Tensor) -> Result<Self> {
        let scores = select(spec, pattern)?.iter().all(|point| point.site == Site::AttnScores);
        if !scores {
            check_finite("what is put there", &value)?;
        }
        Self::with(spec, pattern, move |_, x| Ok(value.broadcast_as(x.shape())?))
    }

    /// Only at these positions of every sequence; negative ones count from its end.
    pub fn positions(mut self, positions: impl Into<Vec<isize>>) -> Self {
        self.positions = Some(positions.into());
        self
    }

    /// Only in these sequences of the batch.
    pub fn sequences(mut self, sequences: impl Into<Vec<usize>>) -> Self {
        self.sequences = Some(sequences.into());
        self
    }

    /// Only these heads.
    pub fn heads(mut self, heads: impl Into<Vec<usize>>) -> Self {
        self.heads = Some(heads.into());
        self
    }

    /// 1 where `x` is selected, or `None` when everything is.
    fn mask(&self, at: HookPoint, rows: &Rows, x: &Tensor) -> Result<Option<Vec<u8>>> {
        if let Some(heads) = &self.heads {
            let axis = at.site.info().axes.iter().position(|a| matches!(a, Axis::H | Axis::G));
            let axis = axis.ok_or_else(|| {
                Error::bad_input(format!("heads were chosen at {at}, which has no head axis"))
                    .hint("choose heads at q, k, v, z, pattern, attn_scores or result")
            })?;
            let n = x.dim(axis)?;
            if let Some(head) = heads.iter().find(|h| **h >= n) {
                return Err(Error::no_such(format!("{at} has {n} heads (0-{}), and {head} is not one", n - 1))
                    .hint(format!("choose heads from 0 to {}", n - 1)));
            }
        }
        let heads: Vec<Option<usize>> =
            self.heads.as_ref().map_or(vec![None], |heads| heads.iter().copied().map(Some).collect());
        let mut mask = vec![0; x.elem_count()];
        let of = |s: &&SequenceRows| self.sequences.as_ref().is_none_or(|chosen| chosen.contains(&s.index));
        for s in rows.sequences.iter().filter(of) {
            let at_position = |p: &isize| counted(*p, s.n_keys()).filter(|p| *p >= s.start);
            let positions = self.positions.as_ref().map(|all| all.iter().filter_map(at_position).collect::<Vec<_>>());
            for head in &heads {
                let chosen = Change { positions: positions.clone(), head: *head, ..Change::new(at, How::Fill(0.0)) };
                chosen.mark(x.dims(), s, rows.made.as_deref(), &mut mask);
            }
        }
        Ok(mask.contains(&0).then_some(mask))
    }
}

fn check_finite(what: &str, x: &Tensor) -> Result<()> {
    match all_finite(x)? {
        true => Ok(()),
        false => Err(Error::bad_input(format!("{what} has values that are NaN or infinite"))
            .hint("look at where the tensor comes from")),
    }
}

impl Hook for Edit {
    fn wants(&self, at: HookPoint) -> bool {
        self.points.contains(&at)
    }

    fn on(&mut self, at: HookPoint, rows: &Rows, x: Tensor) -> Result<Tensor> {
        for (point, reached) in self.points.iter().zip(&mut self.reached) {
            *reached |= *point == at;
        }
        let mask = self.mask(at, rows, &x)?;
        if mask.as_ref().is_some_and(|mask| !mask.contains(&1)) {
            return Ok(x);
        }
        self.selected = true;
        let changed = (self.change)(at, &x)?;
        let changed = match mask {
            // A choice rather than a scatter: it keeps gradients, and untouched values stay bit for bit.
            Some(mask) => Tensor::from_vec(mask, x.shape(), x.device())?.where_cond(&changed.contiguous()?, &x)?,
            None => changed,
        };
        // What was not finite before is not this edit's fault.
        if changed.shape() == x.shape()
            && let Some(found) = NotFinite::first_in(at, rows, &changed)?
            && NotFinite::first_in(at, rows, &x)?.is_none()
        {
            return Err(Error::compute(format!("after the edit, {found} (sequence {} of the batch)", found.sequence))
                .hint("edit with smaller numbers: f32 holds up to 3.4e38"));
        }
        Ok(changed)
    }

    fn finish(&mut self) -> Result<()> {
        if let Some((point, _)) = self.points.iter().zip(&self.reached).find(|(_, reached)| !**reached) {
            return Err(Error::bad_input(format!("the run never reached {point}, so the edit there did nothing"))
                .hint("start earlier or stop later, or edit fewer hooks"));
        }
        if !self.selected {
            let name = self.points[0].site.info().name;
            return Err(Error::bad_input(format!(
                "the edit at `{name}` selects no row of this batch, so it did nothing"
            ))
            .hint(match self.points[0].expert {
                Some(_) => "check its positions and sequences; an expert has only the rows that go through it",
                None => "check its positions and sequences",
            }));
        }
        // The next run is judged by itself.
        self.selected = false;
        self.reached.fill(false);
        Ok(())
    }
}
