//! Laws of values: what is recorded is what was read, written and added.

use candle_core::{D, Tensor};

use super::measure::{Finding, Worst, largest, rows};
use super::subject::{Subject, wide};
use crate::arch::spec::{Arrangement, Block, Mask};
use crate::error::Result;
use crate::hook::{HookPoint, Site};
use crate::model::clamp;
use crate::model::weights::{ExpertWeights, FeedForwardWeights, NeuronWeights};
use crate::ops::Kernels;
use crate::ops::linear::Linear;
use crate::ops::norm::NormWeights;

const BITS: &str = "the same additions of the same numbers: every bit must be the same";
const SUM: &str = "one sum, beside the same in f64: 8 x epsilon x root of its terms x the sum of their sizes";

pub(super) fn logits_are_finite(s: &Subject) -> Result<Finding> {
    let mut worst =
        Worst::new("the number of values that are not finite, in the logits and in the streams before them");
    for point in s.landmarks() {
        let bad = rows(s.one(point)?)?.iter().flatten().filter(|x| !x.is_finite()).count();
        worst.see(Some(point), bad as f64, 0.0);
    }
    Ok(Finding::Seen(worst))
}

pub(super) fn the_stream_is_the_sum_of_its_writes(s: &Subject) -> Result<Finding> {
    let mut worst = Worst::new(BITS);
    for (layer, block) in s.spec().blocks.iter().enumerate() {
        let at = |site| HookPoint::block(layer, site);
        let mut sum = (s.one(at(Site::ResidPre))? + s.one(at(Site::AttnOut))?)?;
        if block.mlp.is_some() {
            if block.arrangement == Arrangement::Sequential {
                worst.see_bits(Some(at(Site::ResidMid)), s.one(at(Site::ResidMid))?, &sum)?;
            }
            sum = (sum + s.one(at(Site::MlpOut))?)?;
        }
        worst.see_bits(Some(at(Site::ResidPost)), s.one(at(Site::ResidPost))?, &sum)?;
    }
    Ok(Finding::Seen(worst))
}

/// A value in f64, with how far each of its rows may be from the same in the model's dtype.
struct Sum {
    value: Tensor,
    allowed: Vec<f64>,
}

/// `x [t, in]` through `map`, in f64, and the sizes of what is summed, `[t, out]`.
fn through(map: &Linear, x: &Tensor) -> Result<[Tensor; 2]> {
    let value = map.map(&|w| wide(w))?.apply(Kernels::Plain, &wide(x)?)?;
    let sizes = map.map(&|w| Ok(wide(w)?.abs()?))?.apply(Kernels::Plain, &wide(x)?.abs()?)?;
    Ok([value, sizes])
}

impl Sum {
    fn new(s: &Subject, [value, sizes]: [Tensor; 2], terms: usize) -> Result<Self> {
        let allowed = rows(&sizes)?.iter().map(|row| s.of_sum(terms, largest(row.iter().copied()))).collect();
        Ok(Self { value, allowed })
    }

    /// What is added to the stream of it: after the block's norm and factor, where it has them.
    fn added(self, s: &Subject, block: &Block, norm: Option<&NormWeights>) -> Result<Self> {
        let Self { mut value, mut allowed } = self;
        if let Some(norm) = norm {
            let norm = norm.map(&|w| wide(w))?;
            let scale = norm.scale(Kernels::Plain, &value)?;
            value = norm.apply(Kernels::Plain, &value, Some(&scale))?;
            // The largest factor of the norm, and what it rounds itself.
            let ones = Tensor::ones(value.shape(), value.dtype(), value.device())?;
            let gain = NormWeights { kind: crate::arch::spec::NormKind::Rms, bias: None, ..norm };
            let factors = rows(&gain.apply(Kernels::Plain, &ones, Some(&scale))?)?;
            let (width, sizes) = (value.dim(D::Minus1)?, rows(&value)?);
            for ((allowed, factors), sizes) in allowed.iter_mut().zip(&factors).zip(&sizes) {
                *allowed *= largest(factors.iter().map(|f| f.abs()));
                *allowed += s.of_sum(width, largest(sizes.iter().map(|x| x.abs())));
            }
        }
        let factor = block.residual_scale.unwrap_or(1.0);
        allowed.iter_mut().for_each(|a| *a *= factor.abs());
        Ok(Self { value: (value * factor)?, allowed })
    }
}

pub(super) fn heads_write_attn_out(s: &Subject) -> Result<Finding> {
    let mut worst = Worst::new(SUM);
    for (layer, block) in s.spec().blocks.iter().enumerate() {
        let (w, at) = (&s.model.weights().blocks[layer], |site| HookPoint::block(layer, site));
        let z = s.one(at(Site::Z))?;
        let [_, sizes] = through(&w.o, &z.flatten_from(1)?)?;
        let mut value = wide(s.one(at(Site::Result))?)?.sum(1)?;
        if let Some(bias) = &w.o.bias {
            value = value.broadcast_add(&wide(bias)?)?;
        }
        let terms = z.dim(1)? * z.dim(2)?;
        let sum = Sum::new(s, [value, sizes], terms)?.added(s, block, w.ln1_post.as_ref())?;
        worst.see_rows(Some(at(Site::AttnOut)), s.one(at(Site::AttnOut))?, &sum.value, &sum.allowed)?;
    }
    Ok(Finding::Seen(worst))
}

pub(super) fn neurons_write_mlp_out(s: &Subject) -> Result<Finding> {
    let mut worst = Worst::new(SUM);
    for (layer, block) in s.spec().blocks.iter().enumerate() {
        let Some(mlp) = &s.model.weights().blocks[layer].mlp else { continue };
        let at = |site| HookPoint::block(layer, site);
        let (terms, written) = match &mlp.inner {
            FeedForwardWeights::Dense(neurons) => {
                let post = s.one(at(Site::MlpPost))?;
                (post.dim(1)?, through(&neurons.output, post)?)
            }
            FeedForwardWeights::Experts(experts) => experts_write(s, layer, experts)?,
        };
        let sum = Sum::new(s, written, terms)?.added(s, block, mlp.ln2_post.as_ref())?;
        worst.see_rows(Some(at(Site::MlpOut)), s.one(at(Site::MlpOut))?, &sum.value, &sum.allowed)?;
    }
    match s.spec().blocks.iter().any(|b| b.mlp.is_some()) {
        true => Ok(Finding::Seen(worst)),
        false => Ok(Finding::NotApplicable("the model has attention only")),
    }
}

/// What all experts write together, each as much as the router lets it count.
fn experts_write(s: &Subject, layer: usize, mlp: &ExpertWeights) -> Result<(usize, [Tensor; 2])> {
    let at = |site| HookPoint::block(layer, site);
    let indices = s.one(at(Site::ExpertIndices))?.to_vec2::<u32>()?;
    let chosen = rows(s.one(at(Site::ChosenWeights))?)?;
    let (mut value, mut sizes) = (wide(s.one(at(Site::MlpOut))?)?.zeros_like()?, None::<Tensor>);
    let mut terms = 1;
    for (e, expert) in mlp.experts.iter().enumerate() {
        let NeuronWeights { output, .. } = expert;
        let share = |(experts, weights): (&Vec<u32>, &Vec<f64>)| -> f64 {
            experts.iter().zip(weights).filter(|(chosen, _)| **chosen as usize == e).map(|(_, w)| *w).sum()
        };
        let shares: Vec<f64> = indices.iter().zip(&chosen).map(share).collect();
        let shares = Tensor::from_vec(shares, (indices.len(), 1), value.device())?;
        let post = s.one(HookPoint::expert(layer, e, Site::ExpertPost))?;
        let [written, size] = through(output, post)?;
        value = (value + written.broadcast_mul(&shares)?)?;
        let size = size.broadcast_mul(&shares.abs()?)?;
        sizes = Some(match sizes {
            Some(sizes) => (sizes + size)?,
            None => size,
        });
        terms = post.dim(1)? * mlp.per_row;
    }
    let sizes = sizes.map_or_else(|| value.abs(), Ok)?;
    Ok((terms, [value, sizes]))
}

pub(super) fn z_is_pattern_times_values(s: &Subject) -> Result<Finding> {
    let mut worst = Worst::new(SUM);
    for (layer, block) in s.spec().blocks.iter().enumerate() {
        let (a, at) = (&block.attention.inner, |site| HookPoint::block(layer, site));
        let (v, z) = (&clamp(a, s.one(at(Site::V))?.clone())?, s.one(at(Site::Z))?);
        for (i, pattern) in s.all(at(Site::Pattern))?.iter().enumerate() {
            let rows_of = &s.rows.sequences[i];
            for head in 0..a.n_heads {
                let of_head = |x: &Tensor, head| -> Result<Tensor> {
                    Ok(rows_of.of(&wide(x)?)?.narrow(1, head, 1)?.squeeze(1)?.contiguous()?)
                };
                let (pattern, v) = (wide(&pattern.get(head)?)?, of_head(v, head * a.n_kv_heads / a.n_heads)?);
                let parts = [pattern.matmul(&v)?, pattern.abs()?.matmul(&v.abs()?)?];
                let sum = Sum::new(s, parts, rows_of.len())?;
                worst.see_rows(Some(at(Site::Z)), &of_head(z, head)?, &sum.value, &sum.allowed)?;
            }
        }
    }
    Ok(Finding::Seen(worst))
}

pub(super) fn pattern_rows_sum_to_one(s: &Subject) -> Result<Finding> {
    let mut worst = Worst::new("a sum of probabilities: 8 x epsilon x root of the number of keys");
    for point in patterns(s) {
        for pattern in s.all(point)? {
            let keys = pattern.dim(D::Minus1)?;
            for row in rows(&pattern.flatten_to(1)?)? {
                // Of minus one probability, nothing can be the sum.
                let negative = largest(row.iter().map(|p| -p));
                worst.see(Some(point), (row.iter().sum::<f64>() - 1.0).abs().max(negative), s.of_sum(keys, 1.0));
            }
        }
    }
    Ok(Finding::Seen(worst))
}

pub(super) fn hidden_keys_have_no_weight(s: &Subject) -> Result<Finding> {
    let mut worst = Worst::new("the largest probability that a hidden key got, which must be 0 exactly");
    for (point, block) in patterns(s).into_iter().zip(&s.spec().blocks) {
        let mask = block.attention.inner.mask;
        if mask == Mask::Bidirectional {
            continue;
        }
        for pattern in s.all(point)? {
            let n = pattern.dim(D::Minus1)?;
            for (i, row) in rows(&pattern.flatten_to(1)?)?.iter().enumerate() {
                let query = i % n;
                let hidden = |key: usize| match mask {
                    Mask::Window(width) => key > query || key + width <= query,
                    _ => key > query,
                };
                let weights = row.iter().enumerate().filter(|(key, _)| hidden(*key)).map(|(_, p)| p.abs());
                worst.see(Some(point), largest(weights), 0.0);
            }
        }
    }
    match s.spec().blocks.iter().all(|b| b.attention.inner.mask == Mask::Bidirectional) {
        true => Ok(Finding::NotApplicable("the model is bidirectional: no key is hidden")),
        false => Ok(Finding::Seen(worst)),
    }
}

fn patterns(s: &Subject) -> Vec<HookPoint> {
    (0..s.spec().n_layers()).map(|l| HookPoint::block(l, Site::Pattern)).collect()
}

pub(super) fn the_lens_at_the_end_is_the_model(s: &Subject) -> Result<Finding> {
    let mut worst = Worst::new("the same operations on the same numbers: every bit must be the same");
    let last = HookPoint::block(s.spec().n_layers() - 1, Site::ResidPost);
    worst.see_bits(Some(last), &s.model.decode(s.one(last)?)?, &s.logits)?;
    Ok(Finding::Seen(worst))
}
