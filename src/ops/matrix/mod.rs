//! Weights as they are kept: a candle tensor, or numbers in a mapped file that nobody copied.

mod check;
mod stored;

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
pub use check::Wrong;
pub(crate) use stored::Numbers;
pub use stored::{Kept, Owner, Stored};

/// A weight: a linear map `[in, out]`, a table of rows, or, while a model is loaded, an array of any rank.
///
/// Whichever it is, it means numbers in f32 (or, for a tensor, in its dtype): upcasting from 16 bits is exact. Only tensors
/// have gradients. Views share what they are views of.
#[derive(Clone, Debug)]
pub enum Matrix {
    /// A tensor, on any device, in any dtype.
    Tensor(Tensor),
    /// Numbers of a file, of the program, or rounded to 16 bits, on the CPU.
    Stored(Stored),
}

impl From<Tensor> for Matrix {
    fn from(x: Tensor) -> Self {
        Self::Tensor(x)
    }
}

impl From<Stored> for Matrix {
    fn from(x: Stored) -> Self {
        Self::Stored(x)
    }
}

impl Matrix {
    /// Its shape.
    pub fn dims(&self) -> &[usize] {
        match self {
            Self::Tensor(x) => x.dims(),
            Self::Stored(x) => x.dims(),
        }
    }

    /// Its shape, if it has two axes.
    ///
    /// # Errors
    /// When it has not.
    pub fn dims2(&self) -> Result<(usize, usize)> {
        match *self.dims() {
            [rows, columns] => Ok((rows, columns)),
            ref other => Err(Error::compute(format!("a matrix was needed, and this has shape {other:?}")).fault()),
        }
    }

    /// The size of one axis.
    ///
    /// # Errors
    /// When it has no such axis.
    pub fn dim(&self, axis: usize) -> Result<usize> {
        let dims = self.dims();
        dims.get(axis).copied().ok_or_else(|| Error::compute(format!("shape {dims:?} has no axis {axis}")).fault())
    }

    /// What each number is kept in.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Tensor(x) => x.dtype(),
            Self::Stored(x) => x.dtype(),
        }
    }

    /// What is computed with it in: f32 for numbers of 16 bits that are not in a tensor.
    pub fn computes_in(&self) -> DType {
        match self {
            Self::Tensor(x) => x.dtype(),
            Self::Stored(_) => DType::F32,
        }
    }

    /// Where it is.
    pub fn device(&self) -> &Device {
        match self {
            Self::Tensor(x) => x.device(),
            Self::Stored(_) => &Device::Cpu,
        }
    }

    /// A tensor of it. Of a tensor, itself; otherwise a copy in f32, made anew at each call, that lies in memory in the
    /// order in which the numbers are stored.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn tensor(&self) -> Result<Tensor> {
        match self {
            Self::Tensor(x) => Ok(x.clone()),
            Self::Stored(x) => x.tensor(),
        }
    }

    /// The transpose of a matrix, a view.
    ///
    /// # Errors
    /// When it has fewer than two axes.
    pub fn t(&self) -> Result<Self> {
        let last = self.dims().len();
        if last < 2 {
            return Err(Error::compute(format!("shape {:?} cannot be transposed", self.dims())).fault());
        }
        self.transpose(last - 2, last - 1)
    }

    /// Two axes exchanged, a view.
    ///
    /// # Errors
    /// When it has no such axes.
    pub fn transpose(&self, a: usize, b: usize) -> Result<Self> {
        self.dim(a)?;
        self.dim(b)?;
        Ok(match self {
            Self::Tensor(x) => x.transpose(a, b)?.into(),
            Self::Stored(x) => x.transpose(a, b).into(),
        })
    }

    /// `len` places of an axis from `start`, a view.
    ///
    /// # Errors
    /// When it has fewer.
    pub fn narrow(&self, axis: usize, start: usize, len: usize) -> Result<Self> {
        let n = self.dim(axis)?;
        if start.checked_add(len).is_none_or(|end| end > n) {
            return Err(Error::compute(format!("{start}..{start}+{len} is outside an axis of {n}")).fault());
        }
        Ok(match self {
            Self::Tensor(x) => x.narrow(axis, start, len)?.into(),
            Self::Stored(x) => x.narrow(axis, start, len).into(),
        })
    }

    /// The same numbers in another shape: a view, or a copy in the same dtype where they do not lie in order.
    ///
    /// # Errors
    /// When the shapes have different numbers of places.
    pub fn reshape(&self, dims: &[usize]) -> Result<Self> {
        if dims.iter().product::<usize>() != self.dims().iter().product::<usize>() {
            return Err(Error::compute(format!("{:?} cannot become {dims:?}", self.dims())).fault());
        }
        Ok(match self {
            Self::Tensor(x) => x.reshape(dims)?.into(),
            Self::Stored(x) => x.reshape(dims)?.into(),
        })
    }

    /// Rows of a table: `[rows, d]` to `[ids, d]`.
    ///
    /// # Errors
    /// When a row does not exist.
    pub fn rows(&self, ids: &[u32]) -> Result<Tensor> {
        match self {
            Self::Tensor(x) => Ok(x.contiguous()?.index_select(&Tensor::new(ids, x.device())?, 0)?),
            Self::Stored(x) => x.rows(ids),
        }
    }

    /// Columns of a map: `[in, out]` to `[in, ids]`, lying in memory as the whole does.
    ///
    /// # Errors
    /// When a column does not exist.
    pub fn columns(&self, ids: &[u32]) -> Result<Tensor> {
        match self {
            Self::Tensor(x) => {
                let ids = Tensor::new(ids, x.device())?;
                Ok(match x.is_contiguous() {
                    true => x.index_select(&ids, 1)?,
                    false => x.t()?.contiguous()?.index_select(&ids, 0)?.t()?,
                })
            }
            Self::Stored(x) => {
                let columns = x.transpose(0, 1).rows(ids)?.t()?;
                Ok(if x.is_in_order() { columns.contiguous()? } else { columns })
            }
        }
    }
}
