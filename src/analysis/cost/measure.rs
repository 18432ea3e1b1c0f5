//! How long passes take on this machine, beside how long they must take at least.

use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Tensor};

use super::{Bits, CostMeasuredRow, Pass, cost, kept};
use crate::error::Result;
use crate::model::{Batch, Footprint, Model, Run, Sequence, Unembed};
use crate::ops::Kernels;
use crate::ops::linear::Linear;
use crate::sweep::{Watch, row_bytes};

/// A pass is run again until it took so long, in seconds, or ran so often, but at least [`LEAST_RUNS`] times.
const LONG: f64 = 0.5;
const MOST_RUNS: usize = 50;
const LEAST_RUNS: usize = 3;
/// Rows of the layer that measures operations: enough that its weights are read once for many of them.
const ROWS: usize = 256;
/// Bytes of the layer that measures reading: those of the weights, within these.
const READ: (usize, usize) = (1 << 20, 256 << 20);

/// What a machine can do.
#[derive(Clone, Copy, Debug)]
struct Rates {
    flops: f64,
    bytes: f64,
}

/// Bytes that [`measure`] needs beside the weights, where the longest context has so many tokens: of a run and its keys and values, or of
/// the layer that measures reading.
pub fn need(model: &Model, tokens: usize, weights: Footprint) -> usize {
    let spec = model.spec();
    let cache = kept(spec, 1) as usize * model.dtype().size_in_bytes();
    tokens.saturating_mul(row_bytes(spec) + 2 * cache).max(probe_bytes(weights))
}

fn probe_bytes(weights: Footprint) -> usize {
    (weights.mapped + weights.copied).clamp(READ.0, READ.1)
}

/// Times every pass in contexts of `tokens`, the shortest first; lengths that the model cannot position are left out. `weights` is what all
/// of them take.
///
/// # Errors
/// Whatever the runs, `watch` or `emit` say.
pub fn measure(
    model: &Model,
    tokens: &[u64],
    weights: Footprint,
    watch: &dyn Watch,
    emit: &mut dyn FnMut(CostMeasuredRow) -> Result<()>,
) -> Result<()> {
    let spec = model.spec();
    let rates = rates(model, probe_bytes(weights))?;
    let fits = |n: &&u64| spec.n_ctx.is_none_or(|limit| **n <= limit as u64);
    let cases: Vec<(Pass, u64)> =
        Pass::all(spec).iter().flat_map(|pass| tokens.iter().filter(fits).map(|n| (*pass, *n))).collect();
    for (i, (pass, n)) in cases.iter().copied().enumerate() {
        watch.at(i, cases.len())?;
        let times = times(model, pass, n as usize)?;
        // Weights as they are kept, on average; keys and values as activations.
        let bits = Bits { weights: 8, cache: 8 * model.dtype().size_in_bytes() as u32 };
        let each = (weights.mapped + weights.copied) as f64 / spec.n_params().max(1) as f64;
        let rows = cost(spec, pass, n, bits)?;
        let bytes =
            |row: &super::CostRow| row.weight_bytes as f64 * each + (row.kv_bytes_read + row.kv_bytes_written) as f64;
        emit(CostMeasuredRow {
            pass: pass.name().into(),
            tokens: n,
            runs: times.len() as u32,
            seconds: times[times.len() / 2],
            seconds_least: times[0],
            seconds_most: times[times.len() - 1],
            seconds_predicted: rows
                .iter()
                .map(|r| f64::max(r.flops as f64 / rates.flops, bytes(r) / rates.bytes))
                .sum(),
            flops: rows.iter().map(|row| row.flops).sum(),
            bytes: rows.iter().map(bytes).sum::<f64>() as u64,
            flop_rate: rates.flops,
            byte_rate: rates.bytes,
            threads: rayon::current_num_threads() as u32,
        })?;
    }
    watch.at(cases.len(), cases.len())
}

/// Seconds that each of several runs took, the shortest first.
fn times(model: &Model, pass: Pass, n: usize) -> Result<Vec<f64>> {
    // Which tokens they are makes no difference, but where there are experts: there, different ones choose differently.
    let ids: Vec<u32> = (0..n).map(|i| (i * 7919 % model.spec().d_vocab) as u32).collect();
    let (before, own) = ids.split_at(if pass == Pass::Token { n - 1 } else { 0 });
    let sequence = match before.is_empty() {
        true => Sequence::new(own),
        false => {
            let run = Run { keep_prefixes: true, unembed: Unembed::Nothing, ..Run::default() };
            let prefix = model.run(&Batch::one(before), &run, &mut [])?.prefixes.swap_remove(0);
            Sequence::after(Arc::new(prefix), own)
        }
    };
    let batch = Batch { sequences: vec![sequence] };
    let run = Run { unembed: Unembed::Rows(vec![own.len() as u32 - 1]), ..Run::default() };
    repeated(&mut || model.run(&batch, &run, &mut []).map(|_| ()))
}

/// What this machine can do with linear layers of this model's kind.
fn rates(model: &Model, probe_bytes: usize) -> Result<Rates> {
    let d = model.spec().d_model;
    let kernels = Kernels::best(model.device(), model.dtype());
    let layer = |rows: usize, outs: usize| -> Result<f64> {
        // Ones, for pages of zeros may all be one.
        let ones = |shape: (usize, usize)| Tensor::ones(shape, DType::F32, model.device())?.to_dtype(model.dtype());
        let (map, x) = (Linear::new(ones((d, outs))?, None), ones((rows, d))?);
        Ok(repeated(&mut || map.apply(kernels, &x).map(|_| ()))?[0])
    };
    let number = model.dtype().size_in_bytes();
    let outs = (probe_bytes / number / d).max(1);
    let read = layer(1, outs)?;
    let computed = layer(ROWS, 4 * d)?;
    Ok(Rates { flops: (2 * ROWS * d * 4 * d) as f64 / computed, bytes: (d * outs * number) as f64 / read })
}

/// Seconds of several runs, after one that is not counted, the shortest first.
fn repeated(run: &mut dyn FnMut() -> Result<()>) -> Result<Vec<f64>> {
    run()?;
    let (mut times, begun) = (vec![], Instant::now());
    while times.len() < LEAST_RUNS || (times.len() < MOST_RUNS && begun.elapsed().as_secs_f64() < LONG) {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
