//! Parts of the model, and runs in which some of them say nothing (zero ablation) or always the same (mean ablation).

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use candle_core::{DType, Tensor};
use pellucid::hook::{Cache, Hook, HookPoint, Site};
use pellucid::model::Model;
use pellucid::ops::rows::Rows;

/// A head, or the MLP of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Its block.
    pub layer: usize,
    /// Its number among the heads of the block; none for the MLP.
    pub head: Option<usize>,
}

impl Part {
    /// A head.
    pub fn head(layer: usize, head: usize) -> Self {
        Self { layer, head: Some(head) }
    }

    /// Every head of every block, then every MLP.
    pub fn all(model: &Model) -> Vec<Self> {
        let blocks = &model.spec().blocks;
        let heads =
            (0..blocks.len()).flat_map(|l| (0..blocks[l].attention.inner.n_heads).map(move |h| Self::head(l, h)));
        heads.chain((0..blocks.len()).map(|layer| Self { layer, head: None })).collect()
    }

    /// What of it is silenced: a head's values, before the output projection; what an MLP adds to the stream.
    fn point(self) -> HookPoint {
        HookPoint::block(self.layer, if self.head.is_some() { Site::Z } else { Site::MlpOut })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.head {
            Some(head) => write!(f, "{}.{head}", self.layer),
            None => write!(f, "MLP {}", self.layer),
        }
    }
}

/// How a part is silenced, at every position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It adds nothing.
    Zero,
    /// It adds its mean over all positions of all prompts.
    Mean,
}

/// The points at which parts are silenced.
pub fn points(model: &Model) -> Vec<HookPoint> {
    (0..model.spec().n_layers()).flat_map(|l| [Site::Z, Site::MlpOut].map(|site| HookPoint::block(l, site))).collect()
}

/// The mean of each point over all rows, `[1, ..]`.
#[derive(Default)]
pub struct Means(BTreeMap<HookPoint, (Tensor, usize)>);

impl Means {
    /// Adds the rows of a run whose values at [`points`] were kept.
    pub fn add(&mut self, model: &Model, cache: &Cache) -> Result<()> {
        for point in points(model) {
            let value = cache.get(&point.to_string())?.to_dtype(DType::F64)?;
            let (sum, rows) = (value.sum_keepdim(0)?, value.dim(0)?);
            let more = match self.0.remove(&point) {
                Some((before, n)) => ((before + sum)?, n + rows),
                None => (sum, rows),
            };
            self.0.insert(point, more);
        }
        Ok(())
    }

    fn of(&self, point: HookPoint) -> Result<Tensor> {
        let (sum, n) = &self.0[&point];
        Ok((sum / *n as f64)?.to_dtype(DType::F32)?)
    }
}

/// The hook that silences.
pub struct Silence {
    /// Of each point, what is kept of its value (0 or 1), and what is added to that.
    changes: BTreeMap<HookPoint, (Tensor, Tensor)>,
}

impl Silence {
    /// Silences these parts.
    pub fn of(model: &Model, parts: &[Part], how: How, means: &Means) -> Result<Self> {
        let mut changes = BTreeMap::new();
        for point in parts.iter().map(|part| part.point()) {
            let mean = means.of(point)?;
            let kept: Vec<f32> = match point.site {
                Site::Z => (0..mean.dim(1)?)
                    .map(|h| f32::from(u8::from(!parts.contains(&Part::head(point.layer.unwrap_or(0), h)))))
                    .collect(),
                _ => vec![0.0],
            };
            let shape = if point.site == Site::Z { vec![1, kept.len(), 1] } else { vec![1, 1] };
            let kept = Tensor::from_vec(kept, shape, model.device())?;
            let added = match how {
                How::Zero => mean.zeros_like()?,
                How::Mean => mean.broadcast_mul(&(1.0 - &kept)?)?,
            };
            changes.insert(point, (kept, added));
        }
        Ok(Self { changes })
    }

    /// The first block in which something is silenced: below it nothing is another.
    pub fn begins_at(&self) -> usize {
        self.changes.keys().filter_map(|point| point.layer).min().unwrap_or(0)
    }
}

impl Hook for Silence {
    fn wants(&self, at: HookPoint) -> bool {
        self.changes.contains_key(&at)
    }

    fn on(&mut self, at: HookPoint, _: &Rows, x: Tensor) -> pellucid::Result<Tensor> {
        let (kept, added) = &self.changes[&at];
        Ok(x.broadcast_mul(kept)?.broadcast_add(added)?)
    }
}
