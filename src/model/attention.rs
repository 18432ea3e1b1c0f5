//! The attention sublayer: project, rotate, score, mix, project.

use candle_core::{DType, Tensor};

use super::Model;
use super::block::unseen;
use super::run::Pack;
use super::weights::BlockWeights;
use crate::arch::spec::{Attention, Position};
use crate::error::{Error, Result};
use crate::hook::{Site, Tap};
use crate::ops::Kernels;
use crate::ops::attention::{self, Inputs, KeysValues};
use crate::ops::gradient::tracked;
use crate::ops::linear::{Linear, add};
use crate::ops::norm::NormWeights;
use crate::ops::rotary::{Table, rotate};
use crate::ops::rows::SequenceRows;

impl Model {
    /// `[t, d]` to `[t, d]`, and the pack's rotated keys and values. Where the pack keeps only some rows, these alone ask,
    /// and what comes out is theirs.
    pub(super) fn attention(
        &self,
        layer: usize,
        pack: &Pack,
        tap: &mut Tap,
        x: &Tensor,
        positions: Option<&Tensor>,
    ) -> Result<(Tensor, KeysValues)> {
        let (spec, w) = (&self.spec.blocks[layer].attention.inner, &self.weights.blocks[layer]);
        let kernels = pack.kernels;
        let x_qk = &placed(kernels, x, positions)?;
        let k = project(kernels, &w.k, spec.d_head, x_qk)?;
        let v = project(kernels, &w.v, spec.d_head, x)?;
        let keys = tap.rows().clone();
        tap.lay_out(pack.asking_rows(&keys));
        let q = project(kernels, &w.q, spec.d_head, &pack.asking(x_qk)?)?;
        let mut q = tap.at(Site::Q, q)?;
        tap.lay_out(keys.clone());
        let (mut k, v) = (tap.at(Site::K, k)?, clamp(spec, tap.at(Site::V, v)?)?);
        tap.lay_out(pack.asking_rows(&keys));
        if let Some(norm) = &w.q_norm {
            q = tap.at(Site::QNormed, normed(kernels, spec, norm, &q)?)?;
        }
        tap.lay_out(keys.clone());
        if let Some(norm) = &w.k_norm {
            k = tap.at(Site::KNormed, normed(kernels, spec, norm, &k)?)?;
        }
        tap.lay_out(pack.asking_rows(&keys));
        (q, k) = (clamp(spec, q)?, clamp(spec, k)?);
        if let Position::Rotary(rotary) = &spec.position {
            let table = pack.angles.table(rotary)?;
            let asking = Table { cos: pack.asking(&table.cos)?, sin: pack.asking(&table.sin)? };
            q = tap.at(Site::RotQ, rotate(kernels, rotary.pairing, &q, &asking)?)?;
            tap.lay_out(keys.clone());
            k = tap.at(Site::RotK, rotate(kernels, rotary.pairing, &k, table)?)?;
            tap.lay_out(pack.asking_rows(&keys));
        }
        let prefixes = (pack.batch.sequences.iter())
            .map(|s| s.prefix.as_ref().filter(|p| !p.is_empty()).map(|p| p.layer(layer)).transpose())
            .collect::<Result<Vec<_>>>()?;
        let z = mix(kernels, w, tap, &Inputs { q: &q, k: &k, v: &v, keys: &keys, prefixes: &prefixes })?;
        let z = tap.at(Site::Z, z)?;
        let out = self.attention_out(kernels, w, tap, &z)?;
        Ok((out, KeysValues { keys: k, values: v }))
    }

    /// Queries, keys or values as projected, or queries or keys after their norm, of rows of the stream before block `layer`, apart
    /// from any run: `resid_pre [t, d]` to `[t, heads, e]`. `positions [t, d]` are the rows' position vectors beside the stream,
    /// where the model has such.
    ///
    /// # Errors
    /// When `site` is none of them, or `resid_pre` has another width.
    pub(crate) fn project(
        &self,
        layer: usize,
        site: Site,
        resid_pre: &Tensor,
        positions: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (spec, w, kernels) =
            (&self.spec.blocks[layer].attention.inner, &self.weights.blocks[layer], self.kernels());
        let x = self.attention_reads(layer, kernels, &mut unseen(resid_pre)?, resid_pre)?;
        let (linear, norm, positions) = match site {
            Site::Q => (&w.q, None, positions),
            Site::K => (&w.k, None, positions),
            Site::V => (&w.v, None, None),
            Site::QNormed => (&w.q, w.q_norm.as_ref(), positions),
            Site::KNormed => (&w.k, w.k_norm.as_ref(), positions),
            other => {
                return Err(Error::compute(format!("{} is not projected from the stream", other.short())).fault());
            }
        };
        let made = project(kernels, linear, spec.d_head, &placed(kernels, &x, positions)?)?;
        norm.map_or_else(|| Ok(made.clone()), |norm| normed(kernels, spec, norm, &made))
    }

    fn attention_out(&self, kernels: Kernels, w: &BlockWeights, tap: &mut Tap, z: &Tensor) -> Result<Tensor> {
        let (t, h, e) = z.dims3()?;
        let out = w.o.apply(kernels, &z.reshape((t, h * e))?)?;
        if !tap.wants(Site::Result) {
            return Ok(out);
        }
        // The sum over heads is made by the same product whether or not anyone looks at its parts.
        let result = w.result(z)?;
        let id = result.id();
        let seen = tap.at(Site::Result, result.clone())?;
        if seen.id() == id {
            return Ok(out);
        }
        let change = (&seen - result)?;
        if tracked(&[&seen]) {
            // Where hooks ask for gradients they change nothing, and the gradients come this way.
            return add(kernels, &out, &change.sum(1)?);
        }
        // Rows that a hook changed are summed anew: were only the change added, rounding would be left of a sum whose parts
        // are taken away, and a norm after it would make that large. Rows that it did not keep their bits.
        let changed = change.ne(0f64)?.to_dtype(DType::F32)?.flatten_from(1)?.sum_keepdim(1)?.ne(0f64)?;
        let anew = seen.sum(1)?;
        let anew = match &w.o.bias {
            Some(bias) => anew.broadcast_add(bias)?,
            None => anew,
        };
        Ok(changed.broadcast_as(out.shape())?.where_cond(&anew, &out)?)
    }
}

/// What queries and keys read: `x [t, d]` with the rows' position vectors, where the model has such beside the stream.
fn placed(kernels: Kernels, x: &Tensor, positions: Option<&Tensor>) -> Result<Tensor> {
    positions.map_or_else(|| Ok(x.clone()), |p| add(kernels, x, p))
}

/// Queries, keys or values `[t, heads, e]` as projected.
fn project(kernels: Kernels, map: &Linear, d_head: usize, x: &Tensor) -> Result<Tensor> {
    let y = map.apply(kernels, x)?;
    let (t, width) = y.dims2()?;
    Ok(y.reshape((t, width / d_head, d_head))?)
}

/// Queries or keys `[t, heads, e]` through their norm: of each head, or of all heads together.
fn normed(kernels: Kernels, spec: &Attention, norm: &NormWeights, x: &Tensor) -> Result<Tensor> {
    let (t, heads, e) = x.dims3()?;
    let width = if spec.qk_norm.is_none_or(|qk| qk.per_head) { e } else { heads * e };
    Ok(norm.apply(kernels, &x.reshape(((), width))?, None)?.reshape((t, heads, e))?)
}

/// Queries, keys or values as scores and mixing read them.
pub(crate) fn clamp(spec: &Attention, x: Tensor) -> Result<Tensor> {
    Ok(match spec.clip_qkv {
        Some(clip) => x.clamp(-clip, clip)?,
        None => x,
    })
}

/// `z [t, h, e]`, in one pass, or in stages for the sequences whose scores or patterns somebody wants.
fn mix(kernels: Kernels, w: &BlockWeights, tap: &mut Tap, x: &Inputs) -> Result<Tensor> {
    let rows = tap.rows().clone();
    let seen = |s: &SequenceRows| {
        kernels == Kernels::Plain || [Site::AttnScores, Site::Pattern].iter().any(|site| tap.wants_of(*site, s.index))
    };
    let staged: Vec<bool> = rows.sequences.iter().map(seen).collect();
    if !staged.contains(&true) {
        return attention::attend(&w.scoring, &rows, x);
    }
    let mut parts = Vec::with_capacity(staged.len());
    let mut i = 0;
    while i < staged.len() {
        let s = &rows.sequences[i];
        if staged[i] {
            let scores = attention::scores(kernels, &w.scoring, s, x)?;
            let scores = tap.at_sequence(Site::AttnScores, i, scores)?;
            let pattern = tap.at_sequence(Site::Pattern, i, attention::softmax(kernels, &scores)?)?;
            parts.push(attention::mix(kernels, &w.scoring, s, &pattern, x)?);
            i += 1;
            continue;
        }
        // What nobody looks at goes together.
        let end = i + staged[i..].iter().take_while(|staged| !**staged).count();
        parts.push(attention::attend(&w.scoring, &rows.part(i..end), x)?);
        i = end;
    }
    Ok(if parts.len() == 1 { parts[0].clone() } else { Tensor::cat(&parts, 0)? })
}
