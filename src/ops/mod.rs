//! CPU kernels that candle lacks or does slowly, each beside its plain candle twin.
//!
//! The twin is the oracle in tests; [`Kernels`] chooses. Gradients flow through both: a kernel brings its own backward pass
//! ([`gradient`]), and where it has none, what a gradient may be asked of is computed by its twin. Kernels pick their
//! instructions at run time (pulp, gemm), so one binary is fast on every machine.

// Kernels are public for tests, benches and training alone.
#[doc(hidden)]
pub mod activation;
#[doc(hidden)]
pub mod algebra;
#[doc(hidden)]
pub mod attention;
mod conv1d;
mod dot;
pub(crate) mod gradient;
#[doc(hidden)]
pub mod linear;
#[doc(hidden)]
pub mod loss;
#[doc(hidden)]
pub mod matrix;
#[doc(hidden)]
pub mod memory;
#[doc(hidden)]
pub mod norm;
mod number;
mod product;
#[doc(hidden)]
pub mod rotary;
#[doc(hidden)]
pub mod rounding;
#[doc(hidden)]
pub mod routing;
pub mod rows;
#[doc(hidden)]
pub mod simd;
#[doc(hidden)]
pub mod softmax;

use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use candle_core::{CpuStorage, DType, Device, Layout, Storage, Tensor};

use crate::error::{Error, Result};

/// Which implementation computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// Our kernels: CPU, f32.
    Fused,
    /// Candle's own operations: any device and float dtype.
    Plain,
}

impl Kernels {
    /// The fastest that can compute with `dtype` on `device`.
    pub fn best(device: &Device, dtype: DType) -> Self {
        if device.is_cpu() && dtype == DType::F32 { Kernels::Fused } else { Kernels::Plain }
    }
}

/// Read access to a contiguous f32 CPU tensor's values, holding `G`, the storage's read lock.
struct Values<'a, G> {
    storage: G,
    layout: &'a Layout,
}

impl<G: Deref<Target = Storage>> Deref for Values<'_, G> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => {
                let start = self.layout.start_offset();
                &values[start..start + self.layout.shape().elem_count()]
            }
            _ => unreachable!("checked when it was made"),
        }
    }
}

/// The values of a contiguous f32 CPU tensor, without a copy.
///
/// # Errors
/// When it is not contiguous, not f32, or not on the CPU: the fused path was chosen for a tensor it cannot read.
pub(crate) fn values(x: &Tensor) -> Result<impl Deref<Target = [f32]> + '_> {
    if !x.device().is_cpu() || x.dtype() != DType::F32 || !x.is_contiguous() {
        return Err(Error::compute(format!(
            "the CPU kernels read contiguous f32 tensors, and this one is {:?} {:?} on {:?}",
            x.dtype(),
            x.shape(),
            x.device().location()
        ))
        .hint("run this with the plain path"));
    }
    let (storage, layout) = x.storage_and_layout();
    Ok(Values { storage, layout })
}

/// The numbers of a tensor in f32, in a copy.
///
/// # Errors
/// When they cannot be read.
pub fn numbers(x: &Tensor) -> Result<Vec<f32>> {
    Ok(x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// The numbers of a tensor in f64, on the CPU.
///
/// # Errors
/// When they cannot be read.
pub fn wide(x: &Tensor) -> Result<Tensor> {
    Ok(x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?)
}

/// The L2 norm of a vector, summed in f64.
pub fn length(x: &[f32]) -> f64 {
    simd::vectorise!(simd::wide_sum(x, x, |_, x| x * x)).sqrt()
}

/// A base pointer that tasks writing to disjoint parts may share.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut(*mut f32);
// SAFETY: every user writes a part of the buffer that no other task touches; each says why beside its use.
unsafe impl Send for SharedMut {}
// SAFETY: as for `Send`: no two tasks touch the same part.
unsafe impl Sync for SharedMut {}

impl SharedMut {
    pub(crate) fn new(buffer: &mut [f32]) -> Self {
        Self(buffer.as_mut_ptr())
    }
    /// # Safety
    /// `offset` must lie inside the buffer, and what is written from there must not be touched by another task.
    pub(crate) unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: the caller keeps the offset inside the buffer.
        unsafe { self.0.add(offset) }
    }
}

/// Does `n` short tasks on all threads, this one among them, each with a buffer of its own. Each thread goes through a part of them
/// in order, so that memory is read as one stream, and whoever is done takes half of what another has left.
pub(crate) fn shared(n: usize, task: impl Fn(&mut Vec<f32>, usize) + Sync) {
    /// How long others are waited for without sleeping: waking up takes as long as many a task.
    const AWAKE: Duration = Duration::from_micros(100);
    // The first and the end of what is left, in one number.
    let packed = |of: Range<usize>| (of.start as u64) << 32 | of.end as u64;
    let unpacked = |left: u64| (left >> 32) as usize..left as u32 as usize;
    let threads = rayon::current_num_threads().clamp(1, n.max(1));
    let parts: Vec<AtomicU64> =
        (0..threads).map(|i| AtomicU64::new(packed(n * i / threads..n * (i + 1) / threads))).collect();
    let changed = |part: usize, from: u64, to: Range<usize>| {
        parts[part].compare_exchange(from, packed(to), Relaxed, Relaxed).is_ok()
    };
    let work = |own: usize| {
        let mut buffer = vec![];
        loop {
            let now = parts[own].load(Relaxed);
            let mut left = unpacked(now);
            if let Some(next) = left.next() {
                if changed(own, now, left) {
                    task(&mut buffer, next);
                }
                continue;
            }
            let all = (0..threads).map(|other| (other, parts[other].load(Relaxed)));
            let Some((other, now)) = all.max_by_key(|(_, left)| unpacked(*left).len()) else { return };
            let left = unpacked(now);
            if left.is_empty() {
                return;
            }
            let half = left.start + left.len() / 2;
            if changed(other, now, left.start..half) {
                parts[own].store(packed(half..left.end), Relaxed);
            }
        }
    };
    // Those who have begun, and not come to their end.
    let at_work = AtomicUsize::new(0);
    rayon::in_place_scope(|scope| {
        for own in 1..threads {
            let (work, at_work) = (&work, &at_work);
            scope.spawn(move |_| {
                at_work.fetch_add(1, Relaxed);
                work(own);
                at_work.fetch_sub(1, Relaxed);
            });
        }
        work(0);
        let since = Instant::now();
        while at_work.load(Relaxed) > 0 && since.elapsed() < AWAKE {
            std::hint::spin_loop();
        }
    });
}

/// Values that a block of rows should have before it is handed to another thread.
const WORTH: usize = 16 * 1024;

/// Calls `f(first_row, rows)` on row blocks of a `[t, width]` buffer, in parallel when it is worth it.
pub(crate) fn par_rows(buffer: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    use rayon::prelude::*;
    if buffer.len() <= WORTH || width == 0 {
        f(0, buffer);
        return;
    }
    let block = WORTH.div_ceil(width);
    buffer.par_chunks_mut(block * width).enumerate().for_each(|(i, rows)| f(i * block, rows));
}

/// A `[t, width]` buffer whose row `i` is `source(i)`, as `f(first_row, rows)` leaves it. Each block of rows is copied and worked
/// on by one thread: a large buffer that one thread fills keeps all others waiting.
pub(crate) fn copied_rows<'a>(
    t: usize,
    width: usize,
    source: impl Fn(usize) -> &'a [f32] + Sync,
    f: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    use rayon::prelude::*;
    let mut buffer: Vec<f32> = Vec::with_capacity(t * width);
    let block = WORTH.div_ceil(width.max(1));
    let fill = |i: usize, rows: &mut [std::mem::MaybeUninit<f32>]| {
        for (row, to) in rows.chunks_exact_mut(width).enumerate() {
            let from = source(i * block + row);
            assert_eq!(from.len(), width);
            // SAFETY: `to` has room for `width` numbers, as the assertion says of `from`; nobody else has this block.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr().cast(), width) };
        }
        // SAFETY: every number of the block was written just now: its length is a multiple of the width.
        f(i * block, unsafe { std::slice::from_raw_parts_mut(rows.as_mut_ptr().cast(), rows.len()) });
    };
    if t * width > 0 {
        let room = &mut buffer.spare_capacity_mut()[..t * width];
        if room.len() <= WORTH {
            room.chunks_mut(block * width).enumerate().for_each(|(i, rows)| fill(i, rows));
        } else {
            room.par_chunks_mut(block * width).enumerate().for_each(|(i, rows)| fill(i, rows));
        }
    }
    // SAFETY: the blocks are all of the `t * width` numbers.
    unsafe { buffer.set_len(t * width) };
    buffer
}

/// The rows of `parts`, each `[n, ..]` with the same axes after the first, one part after another.
///
/// # Errors
/// When the parts do not fit together.
pub(crate) fn stacked(parts: &[Tensor]) -> Result<Tensor> {
    let fused =
        |x: &Tensor| x.is_contiguous() && Kernels::best(x.device(), x.dtype()) == Kernels::Fused && !x.track_op();
    let (Some(first), true) = (parts.first(), parts.iter().all(fused)) else { return Ok(Tensor::cat(parts, 0)?) };
    if parts.iter().any(|x| x.dims()[1..] != first.dims()[1..]) {
        return Ok(Tensor::cat(parts, 0)?);
    }
    let width = first.dims()[1..].iter().product();
    let borrowed = parts.iter().map(values).collect::<Result<Vec<_>>>()?;
    let rows: Vec<&[f32]> = borrowed.iter().flat_map(|x| x.chunks_exact(width)).collect();
    let mut dims = first.dims().to_vec();
    dims[0] = rows.len();
    Ok(Tensor::from_vec(copied_rows(rows.len(), width, |i| rows[i], |_, _| ()), dims, first.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many there are, however long each takes, and whoever asks: this thread, several threads of the pool at once.
    #[test]
    fn shared_tasks_are_all_done_once() {
        let once = |n: usize| {
            let done: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
            shared(n, |buffer, i| {
                buffer.resize(i % 7 * 100, 0.0);
                buffer.iter_mut().for_each(|x| *x += 1.0);
                std::hint::black_box(&mut *buffer);
                done[i].fetch_add(1, Relaxed);
            });
            assert!(done.iter().all(|done| done.load(Relaxed) == 1), "{n}");
        };
        for n in [0, 1, 2, 3, 5, 64, 1000, 20_000] {
            once(n);
        }
        use rayon::prelude::*;
        (0..200).into_par_iter().for_each(once);
    }

    /// Buffers of one block and of several, with a last one that is shorter.
    #[test]
    fn rows_are_copied_whole_and_worked_on_once() {
        for (t, width) in [(0, 5), (3, 0), (1, 1), (7, 5), (4000, 37), (3, 70_000)] {
            let from: Vec<f32> = (0..t * width).map(|i| i as f32).collect();
            let got = copied_rows(
                t,
                width,
                |i| &from[i * width..(i + 1) * width],
                |first, rows| {
                    rows.chunks_exact_mut(width).enumerate().for_each(|(i, row)| row[0] += (first + i) as f32)
                },
            );
            let want = |i: usize| from[i] + if i.is_multiple_of(width) { (i / width) as f32 } else { 0.0 };
            assert!(got.len() == t * width && (0..t * width).all(|i| got[i] == want(i)), "{t} {width}");
        }
    }

    #[test]
    fn stacking_is_concatenating() -> Result<()> {
        let parts = [3usize, 1, 0, 500].map(|n| Tensor::randn(0f32, 1.0, (n, 3, 17), &Device::Cpu));
        let parts = parts.into_iter().collect::<candle_core::Result<Vec<_>>>()?;
        let (got, want) = (stacked(&parts)?, Tensor::cat(&parts, 0)?);
        assert_eq!(got.dims(), want.dims());
        assert_eq!(got.flatten_all()?.to_vec1::<f32>()?, want.flatten_all()?.to_vec1::<f32>()?);
        assert!(stacked(&[parts[0].clone(), parts[1].narrow(2, 0, 2)?.contiguous()?]).is_err());
        Ok(())
    }
}
