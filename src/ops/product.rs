//! Products of rows in f32 with weights in f32 or in 16 bits. A weight of 16 bits, or one stored `[out, in]` as torch has it, is
//! copied into the cache a panel at a time, upcast, and multiplied there: memory is read once, as it is kept and in the order
//! in which it lies, and the product is that of the upcast weight.

use gemm::Parallelism;
use rayon::prelude::*;

use super::number::Number;
use super::{SharedMut, conv1d, dot};

/// Columns of a panel. In f32, two depths of it are half of a second-level cache.
const WIDE: usize = 128;

/// Columns of a panel where many threads share few columns.
const NARROW: usize = 32;

/// Inputs to which gemm blocks its sums on most machines. Panels are cut at the same inputs, so that they are summed as
/// gemm sums a whole weight; where it has other blocks, they are summed in another order.
const DEPTH: usize = 512;

/// Numbers of a weight in f32 so small that copying costs more than it saves.
const SMALL: usize = 16 * 1024;

/// Numbers in a line of the cache.
const LINE: usize = 16;

/// Onto `y [t, outs]`, which `onto` says is not zero: `x [t, ins]` times `w`, whose rows and columns have these strides.
pub(super) fn product<N: Number>(
    y: &mut [f32],
    onto: bool,
    [t, ins, outs]: [usize; 3],
    x: &[f32],
    (w, strides): (&[N], [usize; 2]),
) {
    if strides[0] == 1 && t <= dot::MAX_ROWS && ins > 0 && outs > 0 {
        return dot::accumulate(x, w, strides[1], ins, outs, y);
    }
    let large = ins * outs > SMALL;
    if strides[1] == 1 && t <= conv1d::MAX_ROWS && large && conv1d::accumulate(x, w, strides[0], ins, outs, y) {
        return;
    }
    if let Some(w) = N::as_f32(w)
        && (strides[0] != 1 || !large)
    {
        return multiply(y, onto, [t, ins, outs], (x, [ins, 1]), (w, strides));
    }
    assert!(within(x.len(), [ins, 1], t, ins) && within(w.len(), strides, ins, outs) && y.len() == t * outs);
    let small = t * ins * outs < 32 * 1024;
    let threads = rayon::current_num_threads();
    let width = if small { WIDE } else { outs.div_ceil(2 * threads).clamp(NARROW, WIDE) };
    // Equal shares: of a few columns that were left over, gemm would sum in another order.
    let width = outs.div_ceil(outs.div_ceil(width).max(1)).max(1);
    let most = (2 * ins.div_ceil(ins.div_ceil(DEPTH).max(1))).max(1);
    let y = SharedMut::new(y);
    let panel = |buffer: &mut Vec<f32>, first: usize| {
        let wide = width.min(outs - first);
        for start in (0..ins).step_by(most) {
            let deep = most.min(ins - start);
            let at = start * strides[0] + first * strides[1];
            let panel_strides = gather(&w[at..], strides, [deep, wide], buffer);
            // SAFETY: x has t rows of ins numbers, of which deep from start are read; the buffer holds the panel, as its
            // strides say; the columns from first are in y, as asserted, and this task's alone.
            unsafe {
                let lhs = x.as_ptr().add(start);
                let to = y.at(first);
                let onto = onto || start > 0;
                let alone = Parallelism::None;
                raw((to, outs), onto, [t, deep, wide], (lhs, [ins, 1]), (buffer.as_ptr(), panel_strides), 1.0, alone);
            }
        }
    };
    let starts: Vec<usize> = (0..outs).step_by(width).collect();
    // Handing out costs more than so little work.
    if small {
        let mut buffer = vec![];
        starts.into_iter().for_each(|first| panel(&mut buffer, first));
    } else {
        starts.into_par_iter().for_each_init(Vec::new, panel);
    }
}

/// The first `deep` rows and `wide` columns of `w` in f32, with their strides there: columns or rows lie together as in `w`,
/// an odd number of lines apart. Were columns a power of two apart, as those of many weights are, gemm would look for all of
/// them in the same few places of the cache, at half its speed.
fn gather<N: Number>(w: &[N], strides: [usize; 2], [deep, wide]: [usize; 2], to: &mut Vec<f32>) -> [usize; 2] {
    let (along, across, runs, len) =
        if strides[0] == 1 { (1, strides[1], wide, deep) } else { (strides[1], strides[0], deep, wide) };
    let apart = (len.div_ceil(LINE) | 1) * LINE;
    to.resize(runs * apart, 0.0);
    for (run, to) in (0..runs).zip(to.chunks_exact_mut(apart)) {
        let (from, to) = (&w[run * across..], &mut to[..len]);
        match along {
            1 => N::widen_into(&from[..len], to),
            _ => to.iter_mut().enumerate().for_each(|(i, v)| *v = from[i * along].widen()),
        }
    }
    if strides[0] == 1 { [1, apart] } else { [apart, 1] }
}

/// The product of `a [m, k]` and `b [k, n]`, each with the strides of its rows and columns, into `y [m, n]` or onto it.
pub(super) fn multiply(
    y: &mut [f32],
    onto: bool,
    [m, k, n]: [usize; 3],
    a: (&[f32], [usize; 2]),
    b: (&[f32], [usize; 2]),
) {
    assert!(within(a.0.len(), a.1, m, k) && within(b.0.len(), b.1, k, n) && y.len() == m * n);
    // All threads of the pool, or one when handing out costs more than the work.
    let threads = if m * k * n < 32 * 1024 { Parallelism::None } else { Parallelism::Rayon(0) };
    // SAFETY: the lengths were just checked against the strides; y is contiguous.
    unsafe { raw((y.as_mut_ptr(), n), onto, [m, k, n], (a.0.as_ptr(), a.1), (b.0.as_ptr(), b.1), 1.0, threads) }
}

/// Whether a matrix of these strides lies in `len` numbers.
fn within(len: usize, [rows, columns]: [usize; 2], height: usize, width: usize) -> bool {
    height == 0 || width == 0 || (height - 1) * rows + (width - 1) * columns < len
}

/// Into the `m` rows of `y`, which are `y_rows` numbers apart, or onto them: `scale` times the product of `a [m, k]` and
/// `b [k, n]`, each with the strides of its rows and columns.
///
/// # Safety
/// The matrices must lie where their pointers, sizes and strides say; nobody else may touch these rows of `y`.
pub(super) unsafe fn raw(
    (y, y_rows): (*mut f32, usize),
    onto: bool,
    [m, k, n]: [usize; 3],
    (a, [a_rows, a_columns]): (*const f32, [usize; 2]),
    (b, [b_rows, b_columns]): (*const f32, [usize; 2]),
    scale: f32,
    threads: Parallelism,
) {
    let [y_rows, a_rows, a_columns, b_rows, b_columns] =
        [y_rows, a_rows, a_columns, b_rows, b_columns].map(|stride| stride as isize);
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            m, n, k, y, 1, y_rows, onto, a, a_columns, a_rows, b, b_columns, b_rows, 1.0, scale, false, false, false,
            threads,
        );
    }
}
