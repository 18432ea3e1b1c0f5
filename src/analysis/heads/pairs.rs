//! Which heads read what earlier heads write, by their weights.
//!
//! With W_OV = V' O of the earlier head and W_QK = Q' K of the later one, `|W_OV W_QK|` is `|V' O Q' K|`. V' and K are orthonormal rows
//! times small triangles, which leave the norm of the product to these: what remains are two thin matrices for each head, and the products of
//! all heads of two blocks are one product of matrices, of whose blocks the norms are taken.

use std::ops::Range;

use candle_core::Tensor;
use rayon::prelude::*;

use super::Steps;
use super::maps::{Half, Heads, block_bytes};
use super::rows::HeadPairRow;
use crate::arch::Spec;
use crate::error::Result;
use crate::model::Model;
use crate::ops::linear::Linear;
use crate::ops::numbers;
use crate::sweep::Need;
use crate::sweep::budget::Budget;

/// The halves of all heads of a block, one after another, `[h k, d]`.
struct Block {
    rows: Tensor,
    norms: Vec<f64>,
}

impl Block {
    fn of(model: &Model, halves: &[Half]) -> Result<Self> {
        let d = model.spec().d_model;
        let numbers: Vec<f32> = halves.iter().flat_map(Half::numbers).collect();
        let rows = Tensor::from_vec(numbers, ((), d), &candle_core::Device::Cpu)?;
        Ok(Self {
            rows: rows.to_dtype(model.dtype())?.to_device(model.device())?,
            norms: halves.iter().map(|half| half.norm).collect(),
        })
    }

    /// How far what the heads of `self` write is what those of `other` read: `[heads, heads]`, flat.
    fn composition(&self, model: &Model, other: &Self) -> Result<Vec<f64>> {
        let product = Linear::new(other.rows.t()?, None).apply(model.kernels(), &self.rows)?;
        let (rows, width) = product.dims2()?;
        let (tall, wide) = (rows / self.norms.len(), width / other.norms.len());
        let product = numbers(&product)?;
        let of = |(from, block): (usize, &[f32])| {
            let mut squares = vec![0.0; other.norms.len()];
            for row in block.chunks_exact(width) {
                for (sum, part) in squares.iter_mut().zip(row.chunks_exact(wide)) {
                    *sum += part.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
                }
            }
            let sizes = other.norms.iter().map(|norm| norm * self.norms[from]);
            // A head that writes or reads nothing has nothing to do with any other.
            let of = |(sum, size): (&f64, f64)| if size > 0.0 { sum.sqrt() / size } else { 0.0 };
            squares.iter().zip(sizes).map(of).collect::<Vec<f64>>()
        };
        Ok(product.par_chunks_exact(tall * width).enumerate().flat_map_iter(of).collect())
    }
}

/// Bytes of one block's writes.
fn writes_bytes(spec: &Spec, layer: usize) -> usize {
    let a = &spec.blocks[layer].attention.inner;
    4 * a.n_heads * a.d_head * spec.d_model
}

/// Blocks whose writes are held together while all later blocks read them.
fn groups(spec: &Spec, budget: Budget) -> Vec<Range<usize>> {
    budget.half().groups((0..spec.n_layers()).map(|layer| writes_bytes(spec, layer)))
}

/// What [`pairs`] needs of memory.
pub fn need(spec: &Spec, budget: Budget) -> Need {
    let bytes = |layers: Range<usize>| layers.map(|layer| writes_bytes(spec, layer)).sum::<usize>();
    let one = (0..spec.n_layers()).map(|layer| writes_bytes(spec, layer)).max().unwrap_or(0);
    let held = groups(spec, budget).into_iter().map(bytes).max().unwrap_or(0);
    let width = spec.blocks.iter().map(|b| b.attention.inner.n_heads * b.attention.inner.d_head).max().unwrap_or(0);
    // What reads, three ways and in f64 before, and a product with its copy.
    let beside = block_bytes(spec) + 3 * 3 * one + 2 * 4 * width * width;
    Need { activations: held + beside, least: one + beside, rows: 0 }
}

/// Every pair of heads of different blocks, those of later readers last.
///
/// # Errors
/// When the computation fails; what `emit` says.
pub fn pairs(
    model: &Model,
    budget: Budget,
    steps: &Steps<'_>,
    emit: &mut dyn FnMut(HeadPairRow) -> Result<()>,
) -> Result<()> {
    let n = model.spec().n_layers();
    let baseline = 1.0 / (model.spec().d_model as f64).sqrt();
    for group in groups(model.spec(), budget) {
        let mut writes: Vec<Block> = vec![];
        for to in group.start..n {
            steps.step()?;
            let heads = Heads::of(model, to)?;
            if to > group.start {
                let [q, k, v] = heads.reads();
                let reads = [Block::of(model, &q)?, Block::of(model, &k)?, Block::of(model, &v)?];
                for (from, writes) in (group.start..).zip(&writes) {
                    let [q, k, v] = &reads;
                    let [q, k, v] = [q, k, v].map(|reads| writes.composition(model, reads));
                    for (i, ((q, k), v)) in q?.into_iter().zip(k?).zip(v?).enumerate() {
                        emit(HeadPairRow {
                            from_layer: from as u32,
                            from_head: (i / heads.len()) as u32,
                            to_layer: to as u32,
                            to_head: (i % heads.len()) as u32,
                            q: q - baseline,
                            k: k - baseline,
                            v: v - baseline,
                            baseline,
                        })?;
                    }
                }
            }
            if group.contains(&to) && to + 1 < n {
                writes.push(Block::of(model, &heads.writes())?);
            }
        }
    }
    Ok(())
}
