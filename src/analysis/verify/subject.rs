//! The model under examination, with one run of it that every law looks at.

use candle_core::{DType, Tensor};

use super::epsilon;
use super::measure::{rms, rows};
use crate::arch::Spec;
use crate::error::{Error, Result};
use crate::hook::{Cache, Hook, HookPoint, Site};
use crate::model::{Batch, Model, Output, Run};
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
}

/// Sums of rounding errors grow with the root of their number (Higham 2002, section 2.8); what is left of the worst case is
/// taken care of by a factor that no sum of ours has been seen to need.
const SAFETY: f64 = 8.0;

/// What norms and softmaxes make of an error on its way through the blocks. Of fifty models, random ones among them, whose
/// streams are not tame, none has been seen to need a third of it.
const AMPLIFIED: f64 = 4.0;

impl<'a> Subject<'a> {
    pub fn new(model: &'a Model, prompts: &'a [Vec<u32>]) -> Result<Self> {
        let batch = Batch::of(prompts.iter().cloned());
        let logits = model.forward(&batch, &mut [])?;
        let mut cache = Cache::new(model.spec(), "*")?;
        let recorded_logits = model.forward(&batch, &mut [&mut cache])?;
        Ok(Self { model, prompts, rows: batch.rows(), batch, logits, cache, recorded_logits })
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
        SAFETY * epsilon(self.model.dtype()) * (terms as f64).sqrt() * size
    }

    /// For each row of `x [t, ..]`, made after `depth` blocks, how far the rounding of everything before may take it.
    ///
    /// Each block adds two values to the stream that are sums over its width, and norms keep their error in proportion to the
    /// stream: the error grows with the root of the number of sums, in units of the row's own size.
    pub fn of_run(&self, x: &Tensor, depth: usize) -> Result<Vec<f64>> {
        let longest = self.prompts.iter().map(Vec::len).max().unwrap_or(1);
        let widths = self.spec().blocks.iter().map(|b| {
            let a = &b.attention.inner;
            let neurons = b.mlp.as_ref().map_or(0, |m| m.inner.neurons().d_mlp);
            neurons.max(a.n_heads * a.d_head).max(longest)
        });
        let widest = widths.max().unwrap_or(1).max(self.spec().d_model);
        let allowed = |row: &Vec<f64>| AMPLIFIED * self.of_sum(widest * (depth + 1), rms(row));
        Ok(rows(x)?.iter().map(allowed).collect())
    }

    /// Every stream after a block, and the logits: where whole runs are compared.
    pub fn landmarks(&self) -> Vec<HookPoint> {
        let blocks = (0..self.spec().n_layers()).map(|l| HookPoint::block(l, Site::ResidPost));
        blocks.chain([HookPoint::global(Site::Logits)]).collect()
    }

    /// How many blocks the value at `point` has been through.
    pub fn depth(&self, point: HookPoint) -> usize {
        point.layer.map_or(self.spec().n_layers(), |l| l + 1)
    }
}

/// In f64.
pub(super) fn wide(x: &Tensor) -> Result<Tensor> {
    Ok(x.to_dtype(DType::F64)?)
}
