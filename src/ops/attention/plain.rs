//! Attention in candle's own operations: any device and dtype, gradients flow. One sequence at a time.

use candle_core::Tensor;

use super::{Inputs, KeysValues, Scoring, SequenceRows};
use crate::error::Result;

/// Keys or values of a sequence, prefix first, one for each query head: `[h, k, e]`.
fn per_query_head(
    scoring: &Scoring,
    keys: &SequenceRows,
    new: &Tensor,
    prefix: Option<&KeysValues>,
    pick: impl Fn(&KeysValues) -> &Tensor,
) -> Result<Tensor> {
    let rows = keys.of(new)?;
    let all = match prefix {
        // Where a window sees the last of the earlier positions alone, the others may be missing: nobody reads them.
        Some(prefix) => match keys.start.checked_sub(pick(prefix).dim(0)?) {
            Some(missing @ 1..) => {
                let unseen = Tensor::zeros((missing, rows.dim(1)?, rows.dim(2)?), rows.dtype(), rows.device())?;
                Tensor::cat(&[&unseen, pick(prefix), &rows], 0)?
            }
            _ => Tensor::cat(&[pick(prefix), &rows], 0)?,
        },
        None => rows,
    };
    let (n, g, e) = all.dims3()?;
    let group = scoring.n_heads / scoring.n_kv_heads;
    let shared = all.transpose(0, 1)?.unsqueeze(1)?.broadcast_as((g, group, n, e))?;
    Ok(shared.contiguous()?.reshape((g * group, n, e))?)
}

pub(super) fn scores(scoring: &Scoring, s: &SequenceRows, x: &Inputs) -> Result<Tensor> {
    let q = s.of(x.q)?.transpose(0, 1)?.contiguous()?;
    let k = per_query_head(scoring, x.keys_of(s), x.k, x.prefix(s), |p| &p.keys)?;
    let mut scores = (q.matmul(&k.transpose(1, 2)?.contiguous()?)? * scoring.scale)?;
    let (dtype, device) = (scores.dtype(), scores.device().clone());
    if let Some(cap) = scoring.cap {
        scores = ((scores / cap)?.tanh()? * cap)?;
    }
    let n_keys = x.keys_of(s).n_keys();
    if let Some(slopes) = &scoring.slopes {
        let distance: Vec<f32> =
            (0..s.len()).flat_map(|i| (0..n_keys).map(move |j| j.abs_diff(s.start + i) as f32)).collect();
        let distance = Tensor::from_vec(distance, (1, s.len(), n_keys), &device)?.to_dtype(dtype)?;
        let slopes = Tensor::new(slopes.as_slice(), &device)?.reshape((slopes.len(), 1, 1))?.to_dtype(dtype)?;
        scores = (scores - slopes.broadcast_mul(&distance)?)?;
    }
    let hidden: Vec<u8> = (0..s.len())
        .flat_map(|i| {
            let visible = scoring.visible(s.start + i, n_keys);
            (0..n_keys).map(move |j| !visible.contains(&j) as u8)
        })
        .collect();
    let hidden = Tensor::from_vec(hidden, (1, s.len(), n_keys), &device)?.broadcast_as(scores.shape())?;
    let minus_infinity = Tensor::new(f32::NEG_INFINITY, &device)?.to_dtype(dtype)?.broadcast_as(scores.shape())?;
    Ok(hidden.where_cond(&minus_infinity, &scores)?)
}

pub(super) fn mix(scoring: &Scoring, s: &SequenceRows, pattern: &Tensor, x: &Inputs) -> Result<Tensor> {
    let v = per_query_head(scoring, x.keys_of(s), x.v, x.prefix(s), |p| &p.values)?;
    Ok(pattern.contiguous()?.matmul(&v)?.transpose(0, 1)?.contiguous()?)
}
