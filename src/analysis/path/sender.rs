//! What a sender writes when it is changed, less what it writes in the base run: rows of the stream.

use candle_core::Tensor;

use super::receiver::written;
use crate::arch::Spec;
use crate::arch::spec::AddedTo;
use crate::error::{Error, Result};
use crate::hook::site::Axis;
use crate::hook::{HookPoint, Site};
use crate::model::{Model, unseen};
use crate::ops::linear::Linear;
use crate::ops::matrix::Matrix;
use crate::ops::numbers;
use crate::sweep::{Grid, Spot};
use crate::sweep::{How, Recorded};

/// The points of the senders of `grid`.
///
/// # Errors
/// As [`Grid::points`], and when a point is no part of what is written to the stream.
pub(super) fn points(spec: &Spec, grid: &Grid) -> Result<Vec<HookPoint>> {
    let points = grid.points(spec)?;
    let beside = spec.embedding.positions.is_some_and(|p| p.added_to == AddedTo::QueriesAndKeys);
    let none = |p: &&HookPoint| written(**p).is_none() || (p.site == Site::PosEmbed && beside);
    if let Some(point) = points.iter().find(none) {
        return Err(Error::bad_input(format!("{point} is not a part of what is written to the stream"))
            .hint("senders are z, attn_out, mlp.post, mlp_out, hook_embed and hook_pos_embed"));
    }
    if grid.together {
        return Err(Error::bad_input("senders are changed one at a time").hint("it is receivers that read together"));
    }
    Ok(points)
}

/// One sender, in the base run of one pair.
pub(super) struct Sender<'a> {
    pub base: &'a Recorded,
    /// The positions at which a bit of it is another when it is changed.
    pub rows: Vec<usize>,
    head: Option<usize>,
    neuron: Option<usize>,
    parts: Vec<Difference>,
}

/// What is changed of one value: its rows, heads and neurons that are chosen, `[rows, width]`.
struct Difference {
    point: HookPoint,
    /// What it becomes, less what it is.
    difference: Tensor,
}

impl<'a> Sender<'a> {
    /// `spot` of the run `base`; `how` says for each point what becomes of it. Of its positions only those that `within` chooses.
    ///
    /// # Errors
    /// Whatever `how` says.
    pub fn of(
        spot: &Spot,
        base: &'a Recorded,
        how: impl Fn(HookPoint) -> Result<How>,
        within: impl Fn(usize) -> bool,
    ) -> Result<Self> {
        let rows: Vec<usize> = spot.positions(base.len()).into_iter().filter(|p| within(*p)).collect();
        let mut changed = vec![false; rows.len()];
        let mut parts = vec![];
        for point in spot.points.iter().filter(|_| !rows.is_empty()) {
            let chosen = |x: &Tensor| chosen(x, *point, spot, &rows);
            let value = chosen(base.value(*point)?)?;
            let new = how(*point)?.applied(&value, chosen)?;
            let (old, new) = (value, new.to_dtype(base.value(*point)?.dtype())?.contiguous()?);
            let width = old.dim(1)?.max(1);
            let (a, b) = (numbers(&old)?, numbers(&new)?);
            for (i, (a, b)) in a.chunks(width).zip(b.chunks(width)).enumerate() {
                changed[i] |= a.iter().zip(b).any(|(a, b)| a.to_bits() != b.to_bits());
            }
            parts.push(Difference { point: *point, difference: (new - old)? });
        }
        // What is the same in both runs is the same in the stream.
        let kept: Vec<u32> = (0..rows.len()).filter(|i| changed[*i]).map(|i| i as u32).collect();
        if kept.len() < rows.len() {
            let of = Tensor::new(kept.as_slice(), base.stream(0).device())?;
            for part in &mut parts {
                part.difference = part.difference.index_select(&of, 0)?;
            }
        }
        let rows = kept.iter().map(|i| rows[*i as usize]).collect();
        Ok(Self { base, rows, head: spot.head, neuron: spot.neuron, parts })
    }

    /// Of `x [n, ..]` of the whole sequence, the rows at which the sender changes.
    pub fn at(&self, x: &Tensor) -> Result<Tensor> {
        let rows: Vec<u32> = self.rows.iter().map(|p| *p as u32).collect();
        Ok(x.index_select(&Tensor::new(rows, x.device())?, 0)?)
    }

    /// Whether the MLP of block `layer`, or some of its neurons, is what is changed: then the rest of it is held.
    pub fn is_mlp_of(&self, layer: usize) -> bool {
        let mlp = |p: HookPoint| matches!(p.site, Site::MlpPost | Site::MlpOut) && p.layer == Some(layer);
        self.parts.iter().any(|part| mlp(part.point))
    }

    /// By how much the stream changes, `[rows, d]`, and when: in the order of [`written`].
    ///
    /// # Errors
    /// When a value that this needs was not recorded.
    pub fn writes(&self, model: &Model) -> Result<Vec<(usize, Tensor)>> {
        let mut writes = vec![];
        for part in &self.parts {
            let when =
                written(part.point).ok_or_else(|| Error::compute(format!("{} writes nothing", part.point)).fault())?;
            writes.push((when, self.write(model, part)?));
        }
        writes.sort_by_key(|(when, _)| *when);
        Ok(writes)
    }

    fn write(&self, model: &Model, Difference { point, difference }: &Difference) -> Result<Tensor> {
        let (path, Some(layer)) = (model.kernels(), point.layer) else {
            return self.embedding(model, difference);
        };
        let (block, w) = (&model.spec().blocks[layer], &model.weights().blocks[layer]);
        let neurons = w.mlp.as_ref().and_then(|mlp| mlp.inner.dense());
        let (map, post_norm) = match (point.site, neurons) {
            (Site::Z, _) => (&w.o, block.attention.post_norm),
            (Site::MlpPost, Some(neurons)) => (&neurons.output, block.mlp.as_ref().and_then(|mlp| mlp.post_norm)),
            // It is the write.
            _ => return Ok(difference.clone()),
        };
        let write = |out: Tensor| match point.site {
            Site::Z => model.attention_write(layer, path, &mut unseen(&out)?, out),
            _ => model.mlp_write(layer, path, &mut unseen(&out)?, out),
        };
        // Only the rows of the map that read what is changed.
        let d_head = block.attention.inner.d_head;
        let rows_of_map = match (self.head, self.neuron) {
            (Some(head), _) => map.weight.narrow(0, head * d_head, d_head)?,
            (_, Some(neuron)) => Matrix::from(map.weight.rows(&[neuron as u32])?),
            _ => map.weight.clone(),
        };
        let more = Linear::new(rows_of_map, None).apply(path, difference)?;
        if post_norm.is_none() {
            return write(more);
        }
        let of_base = map.apply(path, &self.at(self.base.value(*point)?)?.flatten_from(1)?)?;
        Ok((write((&of_base + more)?)? - write(of_base)?)?)
    }

    fn embedding(&self, model: &Model, difference: &Tensor) -> Result<Tensor> {
        if model.spec().embedding.norm.is_none() {
            return Ok(difference.clone());
        }
        let mut written = self.at(self.base.value(HookPoint::global(Site::Embed))?)?;
        if model.spec().embedding.positions.is_some_and(|p| p.added_to == AddedTo::Stream) {
            written = (written + self.at(self.base.value(HookPoint::global(Site::PosEmbed))?)?)?;
        }
        let write = |x| model.embedding_write(model.kernels(), x);
        Ok((write((&written + difference)?)? - write(written)?)?)
    }
}

/// Of `x [n or 1, ..]` the rows, head and neuron that are chosen, `[rows or 1, width]`.
fn chosen(x: &Tensor, point: HookPoint, spot: &Spot, rows: &[usize]) -> Result<Tensor> {
    let mut x = x.clone();
    if let (Some(head), Some(axis)) = (spot.head, point.site.info().axes.iter().position(|a| *a == Axis::H)) {
        x = x.narrow(axis, head, 1)?;
    }
    if let Some(neuron) = spot.neuron {
        x = x.narrow(x.rank() - 1, neuron, 1)?;
    }
    if x.dim(0)? != 1 || rows == [0] {
        let rows: Vec<u32> = rows.iter().map(|p| *p as u32).collect();
        x = x.contiguous()?.index_select(&Tensor::new(rows, x.device())?, 0)?;
    }
    Ok(x.flatten_from(1)?.contiguous()?)
}
