//! Numbers that lie somewhere as little-endian f32, f16 or bf16, and strided views of them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytemuck::{Pod, cast_slice};
use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::ops::number::Number;

/// Whatever holds the bytes: a mapped file, a part of the program, a vector.
pub type Owner = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// In what numbers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// 32 bits.
    F32,
    /// 16 bits, of IEEE 754.
    F16,
    /// The upper 16 bits of an f32.
    Bf16,
}

impl Kept {
    /// As candle calls it.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// `f32`, `f16` or `bf16`.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::F32, Self::F16, Self::Bf16].into_iter().find(|kept| kept.name() == name)
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        self.dtype().as_str()
    }

    /// Bytes of a number.
    pub fn size(self) -> usize {
        self.dtype().size_in_bytes()
    }
}

/// The numbers of a view from its first to its last, with those that strides pass over.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // Named as what they are.
pub(crate) enum Numbers<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

/// A strided view of numbers that somebody else holds. It never copies unless it says so.
#[derive(Clone)]
pub struct Stored {
    owner: Owner,
    kept: Kept,
    /// From the first number of the view to the end of the tensor. Aligned for what is kept.
    bytes: Range<usize>,
    dims: Vec<usize>,
    /// In numbers.
    strides: Vec<usize>,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({:?} {:?}, strides {:?})", self.kept, self.dims, self.strides)
    }
}

/// A vector as an owner of bytes.
struct Held<T>(Vec<T>);

impl<T: Pod> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        cast_slice(&self.0)
    }
}

impl Stored {
    /// The array of shape `dims` whose little-endian numbers are these `bytes` of `owner`, in the order of rows. Where
    /// the machine cannot read them in place, because they are not aligned or it is big-endian, they are copied.
    ///
    /// # Errors
    /// When there are more or fewer bytes than the shape needs.
    pub fn new(owner: Owner, bytes: Range<usize>, kept: Kept, dims: &[usize]) -> Result<Self> {
        let own = (*owner).as_ref();
        let needed = dims.iter().try_fold(kept.size(), |n, d| n.checked_mul(*d));
        let (Some(slice), true) = (own.get(bytes.clone()), needed == Some(bytes.len())) else {
            return Err(Error::compute(format!("{bytes:?} of {} bytes are not {kept:?} {dims:?}", own.len())).fault());
        };
        let in_place = cfg!(target_endian = "little") && slice.as_ptr().align_offset(kept.size()) == 0;
        if !in_place {
            let pairs = || slice.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
            return match kept {
                Kept::F32 => {
                    let words = slice.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                    Ok(Self::held(words.collect(), kept, dims))
                }
                Kept::F16 | Kept::Bf16 => Ok(Self::held::<u16>(pairs().collect(), kept, dims)),
            };
        }
        Ok(Self { owner, kept, bytes, dims: dims.to_vec(), strides: in_order(dims) })
    }

    /// An array of numbers of its own.
    pub(super) fn held<T: Pod + Send + Sync>(numbers: Vec<T>, kept: Kept, dims: &[usize]) -> Self {
        let bytes = 0..size_of_val(&numbers[..]);
        Self { owner: Arc::new(Held(numbers)), kept, bytes, dims: dims.to_vec(), strides: in_order(dims) }
    }

    /// The array of shape `dims` of these numbers.
    ///
    /// # Errors
    /// When there are more or fewer than the shape needs.
    pub fn from_f32(numbers: Vec<f32>, dims: &[usize]) -> Result<Self> {
        match dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) == Some(numbers.len()) {
            true => Ok(Self::held(numbers, Kept::F32, dims)),
            false => {
                Err(Error::compute(format!("{} numbers are not an array of shape {dims:?}", numbers.len())).fault())
            }
        }
    }

    /// Its shape.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// How many numbers apart the neighbours along each axis are.
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// What is kept.
    pub fn dtype(&self) -> DType {
        self.kept.dtype()
    }

    /// The numbers from the view's first to its last.
    pub(crate) fn numbers(&self) -> Numbers<'_> {
        let n = match self.dims.contains(&0) {
            true => 0,
            false => 1 + self.dims.iter().zip(&self.strides).map(|(dim, stride)| (dim - 1) * stride).sum::<usize>(),
        };
        let bytes = &(*self.owner).as_ref()[self.bytes.clone()][..n * self.kept.size()];
        match self.kept {
            Kept::F32 => Numbers::F32(cast_slice(bytes)),
            Kept::F16 => Numbers::F16(cast_slice(bytes)),
            Kept::Bf16 => Numbers::Bf16(cast_slice(bytes)),
        }
    }

    pub(super) fn transpose(&self, a: usize, b: usize) -> Self {
        let mut view = self.clone();
        view.dims.swap(a, b);
        view.strides.swap(a, b);
        view
    }

    pub(super) fn narrow(&self, axis: usize, start: usize, len: usize) -> Self {
        let mut view = self.clone();
        view.dims[axis] = len;
        view.bytes.start = (self.bytes.start + start * self.strides[axis] * self.kept.size()).min(self.bytes.end);
        view
    }

    pub(super) fn reshape(&self, dims: &[usize]) -> Result<Self> {
        let mut view = if self.is_in_order() { self.clone() } else { self.copied() };
        (view.dims, view.strides) = (dims.to_vec(), in_order(dims));
        Ok(view)
    }

    /// Whether the numbers lie one after the other in the order of rows.
    pub(super) fn is_in_order(&self) -> bool {
        let strides = in_order(&self.dims);
        self.dims.iter().zip(&self.strides).zip(strides).all(|((dim, a), b)| *dim < 2 || *a == b)
    }

    /// The same numbers, copied into the order of rows.
    fn copied(&self) -> Self {
        match self.numbers() {
            Numbers::F32(x) => Self::held(self.gather(x), self.kept, &self.dims),
            Numbers::F16(x) => Self::held(self.gather(x), self.kept, &self.dims),
            Numbers::Bf16(x) => Self::held(self.gather(x), self.kept, &self.dims),
        }
    }

    fn gather<T: Pod>(&self, x: &[T]) -> Vec<T> {
        let mut out = Vec::with_capacity(self.dims.iter().product());
        self.walk(0, 0, x, &mut out);
        out
    }

    fn walk<T: Pod>(&self, axis: usize, at: usize, x: &[T], out: &mut Vec<T>) {
        match self.dims.len() - axis {
            0 => out.push(x[at]),
            1 if self.strides[axis] == 1 => out.extend_from_slice(&x[at..at + self.dims[axis]]),
            _ => (0..self.dims[axis]).for_each(|i| self.walk(axis + 1, at + i * self.strides[axis], x, out)),
        }
    }

    pub(super) fn tensor(&self) -> Result<Tensor> {
        // Of a transposed matrix, the transpose of the copy.
        if self.dims.len() == 2 && self.strides[0] == 1 && self.strides[1] != 1 {
            return Ok(self.transpose(0, 1).tensor()?.t()?);
        }
        let all = if self.is_in_order() { self.clone() } else { self.copied() };
        let values = match all.numbers() {
            Numbers::F32(x) => x.to_vec(),
            Numbers::F16(x) => widened(x),
            Numbers::Bf16(x) => widened(x),
        };
        Ok(Tensor::from_vec(values, self.dims.as_slice(), &Device::Cpu)?)
    }

    /// Rows of a matrix, in f32.
    pub(super) fn rows(&self, ids: &[u32]) -> Result<Tensor> {
        let [n, d] = self.dims[..] else {
            return Err(
                Error::compute(format!("a table of rows was needed, and this has shape {:?}", self.dims)).fault()
            );
        };
        if let Some(id) = ids.iter().find(|id| **id as usize >= n) {
            return Err(Error::compute(format!("there is no row {id} of {n}")).fault());
        }
        let mut values = vec![0f32; ids.len() * d];
        match self.numbers() {
            Numbers::F32(x) => self.copy_rows(x, ids, &mut values),
            Numbers::F16(x) => self.copy_rows(x, ids, &mut values),
            Numbers::Bf16(x) => self.copy_rows(x, ids, &mut values),
        }
        Ok(Tensor::from_vec(values, (ids.len(), d), &Device::Cpu)?)
    }

    fn copy_rows<N: Number>(&self, x: &[N], ids: &[u32], values: &mut [f32]) {
        let d = self.dims[1];
        if d == 0 {
            return;
        }
        for (row, id) in values.chunks_exact_mut(d).zip(ids) {
            let start = *id as usize * self.strides[0];
            match self.strides[1] {
                1 => N::widen_into(&x[start..start + d], row),
                stride => row.iter_mut().enumerate().for_each(|(i, v)| *v = x[start + i * stride].widen()),
            }
        }
    }
}

/// The strides of an array whose numbers lie in the order of rows.
fn in_order(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis].max(1);
    }
    strides
}

pub(super) fn widened<N: Number>(x: &[N]) -> Vec<f32> {
    const PIECE: usize = 64 * 1024;
    let mut values = vec![0f32; x.len()];
    values.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(to, from)| N::widen_into(from, to));
    values
}
