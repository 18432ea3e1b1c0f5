//! One intervention: where, on which rows and heads, and what becomes of the value; and the hook that does it.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use crate::arch::Spec;
use crate::error::{Error, Result};
use crate::hook::site::{Axis, Scope, Site};
use crate::hook::{Hook, HookPoint, NotFinite};
use crate::ops::rows::{Rows, SequenceRows};
use crate::ops::{copied_rows, values};

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
            return Err(Error::no_such(format!("this model has no hook {point}"))
                .hint("`pellucid hooks -m MODEL` lists what it has"));
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

    /// What a number becomes, where the source has `there`.
    fn becomes(&self, old: f32, there: Option<f32>) -> f32 {
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
    fn chosen(
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
fn host(x: &Tensor) -> Result<Tensor> {
    Ok(x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?)
}

/// Makes the changes of the runs in a pack: each of its own sequence.
pub(crate) struct Patcher<'a> {
    /// With the sequences that they are for, in their order.
    changes: BTreeMap<HookPoint, Vec<(usize, &'a Change)>>,
}

impl<'a> Patcher<'a> {
    /// Of changes with the sequences that they are for.
    pub(crate) fn new(of: impl IntoIterator<Item = (usize, &'a Change)>) -> Self {
        let mut changes: BTreeMap<HookPoint, Vec<_>> = BTreeMap::new();
        for (sequence, change) in of {
            changes.entry(change.point).or_default().push((sequence, change));
        }
        // Stable: the changes of one run stay in their order.
        changes.values_mut().for_each(|of_point| of_point.sort_by_key(|(sequence, _)| *sequence));
        Self { changes }
    }

    /// The changes of these sequences at this point.
    fn of(&self, at: HookPoint, sequences: Range<usize>) -> &[(usize, &'a Change)] {
        let Some(changes) = self.changes.get(&at) else { return &[] };
        let before = |sequence| changes.partition_point(|(s, _)| *s < sequence);
        &changes[before(sequences.start)..before(sequences.end)]
    }
}

impl Hook for Patcher<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        self.changes.contains_key(&at)
    }

    fn wants_of(&self, at: HookPoint, sequence: usize) -> bool {
        !self.of(at, sequence..sequence + 1).is_empty()
    }

    fn on(&mut self, at: HookPoint, rows: &Rows, x: Tensor) -> Result<Tensor> {
        let here = host(&x)?;
        let old = values(&here)?;
        let width = (old.len() / here.dim(0)?.max(1)).max(1);
        let mut new = copied_rows(old.len() / width, width, |i| &old[i * width..(i + 1) * width], |_, _| ());
        for s in &rows.sequences {
            for (_, change) in self.of(at, s.index..s.index + 1) {
                change.chosen(x.dims(), s, rows.made.as_deref(), |at, there| {
                    new[at] = change.becomes(new[at], there);
                    true
                })?;
            }
        }
        Ok(Tensor::from_vec(new, x.shape(), &Device::Cpu)?.to_device(x.device())?.to_dtype(x.dtype())?)
    }
}
