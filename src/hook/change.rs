//! One intervention: where, on which rows and heads, and what becomes of the value. Two things carry it out: [`Changed`], a hook made
//! of tensor operations, for runs of one sequence and for gradients; and the patcher of a sweep, which writes numbers of many runs
//! in one pack. Neither uses the other, and a sweep is checked by the first.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use super::finite::NotFinite;
use super::point::{HookPoint, LISTED};
use super::site::{Axis, Scope, Site};
use super::tap::Hook;
use crate::arch::Spec;
use crate::error::{Error, Result, said};
use crate::ops::rows::{Rows, SequenceRows};
use crate::ops::values;

/// One intervention in one run.
///
/// A key that a query does not see is no part of its scores and its pattern. Its score stays minus infinity, whatever is
/// added or filled in; what is put or added elsewhere must be zero there, since a run has no more keys than it needs.
#[derive(Clone, Debug)]
pub struct Change {
    /// Whose value is changed.
    pub point: HookPoint,
    /// At these positions (of the queries, for scores and patterns); at all unless given.
    pub positions: Option<Vec<usize>>,
    /// In this head (of keys and values: this key/value head); in all unless given.
    pub head: Option<usize>,
    /// This neuron, or number on the last axis of another value; all unless given.
    pub neuron: Option<usize>,
    /// Of scores and patterns: this key alone.
    pub key_pos: Option<usize>,
    /// What becomes of what is chosen.
    pub how: How,
}

/// What becomes of a value.
#[derive(Clone, Debug)]
pub enum How {
    /// It is replaced by that of another run of the same length: a tensor with the axes of the site, for one whole
    /// sequence; or with one row that serves every position.
    Put(Tensor),
    /// Such a tensor is added to it.
    Add(Tensor),
    /// It becomes this number: zero ablation, or minus infinity for an edge that is cut from the scores.
    Fill(f32),
    /// It is multiplied.
    Scale(f32),
}

impl How {
    fn source(&self) -> Option<&Tensor> {
        match self {
            How::Put(x) | How::Add(x) => Some(x),
            How::Fill(_) | How::Scale(_) => None,
        }
    }

    /// What `old` becomes, all of it. `cut` gives of the tensor that is put or added what belongs to `old`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub(crate) fn applied(&self, old: &Tensor, cut: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let like = |x: &Tensor| Ok::<_, Error>(cut(x)?.to_device(old.device())?.to_dtype(old.dtype())?);
        Ok(match self {
            How::Put(x) => like(x)?.broadcast_as(old.shape())?.contiguous()?,
            How::Add(x) => old.broadcast_add(&like(x)?)?,
            How::Fill(x) => Tensor::full(*x, old.shape(), old.device())?.to_dtype(old.dtype())?,
            How::Scale(x) => (old * f64::from(*x))?,
        })
    }
}

/// Neighbouring numbers: where they lie in a value, and where in what is put there.
struct Span {
    to: usize,
    from: usize,
    len: usize,
}

impl Change {
    /// A change of the whole value.
    pub fn new(point: HookPoint, how: How) -> Self {
        Self { point, positions: None, head: None, neuron: None, key_pos: None, how }
    }

    /// The positions that it changes in a sequence of `n`.
    pub fn rows(&self, n: usize) -> Range<usize> {
        match self.positions.as_deref() {
            Some(positions) => {
                let first = positions.iter().min().copied().unwrap_or(n);
                first..positions.iter().max().map_or(n, |last| last + 1)
            }
            None => 0..n,
        }
    }

    /// Refuses a change that does not fit the model or a sequence of `n` positions.
    ///
    /// # Errors
    /// When the model has no such point, the point is after the blocks, or a head, neuron or position is out of range, or
    /// chosen where the site has no such axis.
    pub fn check(&self, spec: &Spec, n: usize) -> Result<()> {
        let (point, info) = (self.point, self.point.site.info());
        if !point.site.exists(spec, point.layer) || point.layer.is_some_and(|l| l >= spec.n_layers()) {
            return Err(Error::no_such(format!("this model has no hook {point}")).hint(said(LISTED)));
        }
        if point.site.is_index() || info.scope == Scope::End {
            return Err(Error::bad_input(format!("{point} cannot be patched")).hint(
                "patch the stream, a sublayer's output, q, k, v, z, scores, patterns, neurons or the embeddings",
            ));
        }
        let len = |axis| Site::axis_len(spec, point.layer, axis);
        let axis_of = |wanted: &[Axis]| info.axes.iter().copied().find(|a| wanted.contains(a));
        let within = |what: &str, chosen: Option<usize>, axis: Option<Axis>| match (chosen, axis) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(Error::bad_input(format!("{point} has no axis for a {what}"))
                .hint(format!("leave the {what} out, or choose a hook that has such an axis"))),
            (Some(i), Some(axis)) => match len(axis) {
                Some(n) if i >= n => {
                    Err(Error::no_such(format!("{point} has {n} of its kind (0-{}): there is no {what} {i}", n - 1))
                        .hint(format!("choose from 0 to {}", n - 1)))
                }
                _ => Ok(()),
            },
        };
        within("head", self.head, axis_of(&[Axis::H, Axis::G]))?;
        let last = info.axes.last().copied().filter(|a| matches!(a, Axis::M | Axis::D | Axis::E | Axis::X | Axis::C));
        within("neuron", self.neuron, last)?;
        if self.key_pos.is_some() && !point.site.per_sequence() {
            return Err(Error::bad_input(format!("{point} has no axis for a key position")).hint("patch the pattern"));
        }
        let positions = self.positions.iter().flatten().chain(&self.key_pos);
        if let Some(p) = positions.into_iter().find(|p| **p >= n) {
            return Err(Error::no_such(format!("the prompt has {n} positions (0-{}), and {p} is not one", n - 1))
                .hint(format!("choose positions from 0 to {}", n - 1)));
        }
        Ok(())
    }

    /// What is chosen of the value of sequence `s`, which has the shape `dims`, and where its numbers lie in a value of
    /// the shape `source` for a whole sequence. `made` leaves out rows that are not made.
    fn spans(&self, dims: &[usize], s: &SequenceRows, made: Option<&[bool]>, source: &[usize]) -> Vec<Span> {
        let chosen = |pos: &usize| self.positions.as_ref().is_none_or(|chosen| chosen.contains(pos));
        let positions = (s.start..s.n_keys()).filter(chosen);
        if self.point.site.per_sequence() {
            let (queries, keys) = (dims[1], dims[2]);
            let heads = self.head.map_or(0..dims[0], |h| h..h + 1);
            let within = self.key_pos.map_or(0..keys, |k| k.min(keys)..(k + 1).min(keys));
            let (source_queries, source_keys) =
                (source.get(1).copied().unwrap_or(0), source.get(2).copied().unwrap_or(0));
            return heads
                .flat_map(|h| positions.clone().map(move |p| (h, p)))
                .map(|(h, p)| Span {
                    to: (h * queries + p - s.start) * keys + within.start,
                    from: (h * source_queries + p) * source_keys + within.start,
                    len: within.len(),
                })
                .filter(|span| span.len > 0)
                .collect();
        }
        let width: usize = dims[1..].iter().product();
        let per_head = dims.last().copied().unwrap_or(1);
        let head = self.head.map_or(0..width, |h| h * per_head..(h + 1) * per_head);
        let inner = self.neuron.map_or(head.clone(), |i| head.start + i..head.start + i + 1);
        let one_for_all = source.first() == Some(&1);
        positions
            .map(|p| (s.rows.start + p - s.start, p))
            .filter(|(row, _)| made.is_none_or(|made| made[*row]))
            .map(|(row, p)| Span {
                to: row * width + inner.start,
                from: if one_for_all { 0 } else { p * width } + inner.start,
                len: inner.len(),
            })
            .collect()
    }

    /// 1 for each number of a value of shape `dims` that is chosen, 0 for the others, in `mask`.
    pub(super) fn mark(&self, dims: &[usize], s: &SequenceRows, made: Option<&[bool]>, mask: &mut [u8]) {
        self.spans(dims, s, made, &[]).into_iter().for_each(|span| mask[span.to..span.to + span.len].fill(1));
    }

    /// What a number becomes, where the source has `there`.
    pub(crate) fn becomes(&self, old: f32, there: Option<f32>) -> f32 {
        let unseen = self.point.site == Site::AttnScores && old == f32::NEG_INFINITY;
        match (&self.how, there) {
            (How::Put(_), Some(there)) => there,
            _ if unseen => old,
            (How::Add(_), Some(there)) => old + there,
            (How::Fill(value), _) => *value,
            (How::Scale(factor), _) => old * factor,
            (How::Put(_) | How::Add(_), None) => old,
        }
    }

    /// Hands `each` every number that is chosen of a value of shape `dims`: its place, and what the source has for it. It goes
    /// on as long as `each` says so.
    pub(crate) fn chosen(
        &self,
        dims: &[usize],
        s: &SequenceRows,
        made: Option<&[bool]>,
        mut each: impl FnMut(usize, Option<f32>) -> bool,
    ) -> Result<()> {
        let source = self.how.source().map(host).transpose()?;
        let source_values = source.as_ref().map(values).transpose()?;
        for Span { to, from, len } in self.spans(dims, s, made, source.as_ref().map_or(&[], |x| x.dims())) {
            let there = source_values.as_ref().map(|source| &source[from..from + len]);
            if !(0..len).all(|i| each(to + i, there.map(|there| there[i]))) {
                break;
            }
        }
        Ok(())
    }

    /// Whether the change leaves `value`, that of a whole sequence, as it is, bit for bit.
    ///
    /// # Errors
    /// When the values cannot be read.
    pub fn changes_nothing(&self, value: &Tensor) -> Result<bool> {
        let n = value.dim(if self.point.site.per_sequence() { 1 } else { 0 })?;
        let s = SequenceRows { index: 0, rows: 0..n, start: 0 };
        // A sweep asks this of each of its patches: only the numbers in question are looked at.
        let value = host(value)?;
        let (old, mut same) = (values(&value)?, true);
        self.chosen(value.dims(), &s, None, |at, there| {
            same = self.becomes(old[at], there).to_bits() == old[at].to_bits();
            same
        })?;
        Ok(same)
    }
}

impl Change {
    /// The first position at which the change makes NaN or an infinity of `value`, that of a whole sequence. A score may become minus
    /// infinity.
    ///
    /// # Errors
    /// When the values cannot be read.
    pub(crate) fn makes_not_finite(&self, value: &Tensor) -> Result<Option<NotFinite>> {
        let n = value.dim(if self.point.site.per_sequence() { 1 } else { 0 })?;
        let s = SequenceRows { index: 0, rows: 0..n, start: 0 };
        let value = host(value)?;
        let (old, mut found) = (values(&value)?, None);
        let per_position: usize = value.dims()[1..].iter().product();
        self.chosen(value.dims(), &s, None, |at, there| {
            let new = self.becomes(old[at], there);
            let legal = new.is_finite() || (self.point.site == Site::AttnScores && new == f32::NEG_INFINITY);
            if !legal {
                let position = match self.point.site.per_sequence() {
                    true => at / value.dims()[2] % n,
                    false => at / per_position.max(1),
                };
                found = Some(NotFinite { point: self.point, sequence: 0, position, value: new });
            }
            legal
        })?;
        Ok(found)
    }
}

/// The same numbers in f32 on the CPU, which is what they mostly are already.
pub(crate) fn host(x: &Tensor) -> Result<Tensor> {
    Ok(x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?)
}

/// Makes the changes of a run of one sequence, in their order, with operations that have gradients.
pub struct Changed<'a>(pub Vec<&'a Change>);

impl Hook for Changed<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        self.0.iter().any(|change| change.point == at)
    }

    fn on(&mut self, at: HookPoint, rows: &Rows, mut x: Tensor) -> Result<Tensor> {
        for change in self.0.iter().filter(|change| change.point == at) {
            let mut mask = vec![0; x.elem_count()];
            change.mark(x.dims(), &rows.sequences[0], rows.made.as_deref(), &mut mask);
            let mut mask = Tensor::from_vec(mask, x.shape(), x.device())?;
            // A key that is hidden stays hidden.
            if at.site == Site::AttnScores && !matches!(change.how, How::Put(_)) {
                mask = (mask * x.ne(f64::NEG_INFINITY)?)?;
            }
            // A mean over a dataset has as many positions as the longest prompt.
            let new = change.how.applied(&x, |source| {
                let n = source.dim(0)?.min(x.dim(0)?);
                Ok(if at.site.per_sequence() { source.clone() } else { source.narrow(0, 0, n)? })
            })?;
            x = mask.where_cond(&new, &x)?;
        }
        Ok(x)
    }
}
