//! The model under examination, with one run of it that every law looks at.

use candle_core::{DType, Tensor};

use super::epsilon;
use super::measure::{distance, flat, rms, rows};
use crate::arch::Spec;
use crate::error::{Error, Result};
use crate::hook::{Cache, Hook, HookPoint, Site};
use crate::model::{Batch, Model, Output, Run};
use crate::ops::rounding::{TIMES, smallest, unit};
use crate::ops::rows::Rows;

pub(super) struct Subject<'a> {
    pub model: &'a Model,
    pub prompts: &'a [Vec<u32>],
    /// All prompts, packed.
    pub batch: Batch,
    pub rows: Rows,
    /// Logits of a run that nobody looked at.
    pub logits: Tensor,
    /// Everything that a second run made.
    pub cache: Cache,
    /// The logits of that run.
    pub recorded_logits: Tensor,
    /// What rounding makes of the landmarks, where it was measured.
    drift: Vec<(HookPoint, f64)>,
}

/// Sums of rounding errors grow with the root of their number (Higham 2002, section 2.8); what is left of the worst case is
/// taken care of by a factor that no sum of ours has been seen to need.
const SAFETY: f64 = 8.0;

/// What norms and softmaxes make of an error on its way through the blocks. Of fifty models, random ones among them, whose
/// streams are not tame, none has been seen to need a third of it.
const AMPLIFIED: f64 = 4.0;

/// Streams of fewer dimensions are narrow: a norm over two numbers divides by their difference, and a value of one dimension may be
/// what is left of two large ones. Rounding there is out of proportion to the size of a row, and is measured instead.
const NARROW: usize = 8;

impl<'a> Subject<'a> {
    pub fn new(model: &'a Model, prompts: &'a [Vec<u32>]) -> Result<Self> {
        let batch = Batch::of(prompts.iter().cloned());
        let logits = model.forward(&batch, &mut [])?;
        let mut cache = Cache::new(model.spec(), "*")?;
        let recorded_logits = model.forward(&batch, &mut [&mut cache])?;
        let rows = batch.rows();
        let mut subject = Self { model, prompts, rows, batch, logits, cache, recorded_logits, drift: vec![] };
        if model.spec().d_model < NARROW {
            subject.drift = subject.measured_drift()?;
        }
        Ok(subject)
    }

    /// How far rounding takes each landmark: from the run in f32 to that in f64, in units of this model's precision.
    fn measured_drift(&self) -> Result<Vec<(HookPoint, f64)>> {
        let own = self.model.dtype();
        let other = if own == DType::F64 { DType::F32 } else { DType::F64 };
        let (model, mut cache) = (self.model.to_dtype(other)?, Cache::of(self.landmarks()));
        model.run(&self.batch, &Run::default(), &mut [&mut cache])?;
        let apart = |(point, values): (HookPoint, &[Tensor])| {
            let values = values.first().ok_or_else(|| Error::compute(format!("{point} was not recorded")).fault())?;
            let apart = distance(&flat(values)?, &flat(self.one(point)?)?);
            Ok((point, apart * unit(own) / unit(DType::F32)))
        };
        cache.iter().map(apart).collect()
    }

    pub fn spec(&self) -> &Spec {
        self.model.spec()
    }

    /// What was recorded at `point`: one value, or one for each prompt.
    ///
    /// # Errors
    /// When the model has no such point.
    pub fn all(&self, point: HookPoint) -> Result<&[Tensor]> {
        let found = self.cache.iter().find(|(p, _)| *p == point).map(|(_, values)| values);
        found.ok_or_else(|| Error::compute(format!("{point} was not recorded")).fault())
    }

    /// What was recorded at a point that is made once for all prompts.
    ///
    /// # Errors
    /// As [`Subject::all`].
    pub fn one(&self, point: HookPoint) -> Result<&Tensor> {
        self.all(point)?.first().ok_or_else(|| Error::compute(format!("{point} was not recorded")).fault())
    }

    /// The landmarks' values in another run, in which `hook` comes first.
    pub fn landmarks_of(
        &self,
        batch: &Batch,
        run: &Run,
        hook: Option<&mut dyn Hook>,
    ) -> Result<Vec<(HookPoint, Tensor)>> {
        Ok(self.landmarks_and_output(batch, run, hook)?.0)
    }

    /// The same, and what the run leaves.
    pub fn landmarks_and_output(
        &self,
        batch: &Batch,
        run: &Run,
        hook: Option<&mut dyn Hook>,
    ) -> Result<(Vec<(HookPoint, Tensor)>, Output)> {
        let mut cache = Cache::of(self.landmarks());
        let output = match hook {
            Some(hook) => self.model.run(batch, run, &mut [hook, &mut cache])?,
            None => self.model.run(batch, run, &mut [&mut cache])?,
        };
        // In the order of the run, so that what fails first is found first.
        let mut values: Vec<_> = cache.iter().flat_map(|(p, x)| x.iter().map(move |x| (p, x.clone()))).collect();
        values.sort_by_key(|(point, _)| self.depth(*point) + usize::from(point.layer.is_none()));
        Ok((values, output))
    }

    /// How far the rounding of one sum of `terms` products of total size `size` may take it.
    pub fn of_sum(&self, terms: usize, size: f64) -> f64 {
        let dtype = self.model.dtype();
        // Among subnormal numbers each product is rounded to a multiple of the smallest, whatever its size.
        SAFETY * epsilon(dtype) * (terms as f64).sqrt() * size + terms as f64 * smallest(dtype)
    }

    /// For each row of `x [t, ..]`, the value at `point` or a part of it, how far the rounding of everything before may take it.
    ///
    /// Each block adds two values to the stream that are sums over its width, and norms keep their error in proportion to the
    /// stream: the error grows with the root of the number of sums, in units of the row's own size. Where streams are narrow, what was
    /// measured counts if it is more.
    pub fn of_run(&self, x: &Tensor, point: HookPoint) -> Result<Vec<f64>> {
        let depth = self.depth(point);
        let longest = self.prompts.iter().map(Vec::len).max().unwrap_or(1);
        let widths = self.spec().blocks.iter().map(|b| {
            let a = &b.attention.inner;
            let neurons = b.mlp.as_ref().map_or(0, |m| m.inner.neurons().d_mlp);
            neurons.max(a.n_heads * a.d_head).max(longest)
        });
        let widest = widths.max().unwrap_or(1).max(self.spec().d_model);
        let drift = self.drift.iter().find(|(p, _)| *p == point).map_or(0.0, |(_, drift)| TIMES * drift);
        let allowed = |row: &Vec<f64>| drift.max(AMPLIFIED * self.of_sum(widest * (depth + 1), rms(row)));
        Ok(rows(x)?.iter().map(allowed).collect())
    }

    /// Every stream after a block, and the logits: where whole runs are compared.
    pub fn landmarks(&self) -> Vec<HookPoint> {
        let blocks = (0..self.spec().n_layers()).map(|l| HookPoint::block(l, Site::ResidPost));
        blocks.chain([HookPoint::global(Site::Logits)]).collect()
    }

    /// How many blocks the value at `point` has been through.
    fn depth(&self, point: HookPoint) -> usize {
        point.layer.map_or(self.spec().n_layers(), |l| l + 1)
    }
}

/// In f64.
pub(super) fn wide(x: &Tensor) -> Result<Tensor> {
    Ok(x.to_dtype(DType::F64)?)
}
