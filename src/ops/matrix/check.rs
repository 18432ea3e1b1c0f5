//! What must hold of a model's numbers, read at the speed of memory, and rounding to fewer bits.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::stored::{Kept, Numbers, Stored, widened};
use crate::ops::number::Number;
use crate::ops::simd::vectorise;

/// Numbers that one task looks at.
const PIECE: usize = 64 * 1024;

/// Numbers of an array that are not what they must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub value: f32,
    /// Where it is.
    pub index: Vec<usize>,
}

impl Stored {
    /// Its numbers that are NaN or infinite, if any. For an array in order.
    pub fn not_finite(&self) -> Option<Wrong> {
        match self.numbers() {
            Numbers::F32(x) => self.wrong(x, |x| !x.is_finite()),
            Numbers::F16(x) => self.wrong(x, |x| x.to_bits() & 0x7c00 == 0x7c00),
            Numbers::Bf16(x) => self.wrong(x, |x| x.to_bits() & 0x7f80 == 0x7f80),
        }
    }

    /// The same array kept in `kept`, each number rounded to the nearest, ties to even: itself where that is what it is
    /// kept in. Or else the numbers that are too large for it. For an array in order.
    ///
    /// # Errors
    /// When there are such numbers.
    pub fn kept_in(&self, kept: Kept) -> Result<Stored, Wrong> {
        if self.dtype() == kept.dtype() {
            return Ok(self.clone());
        }
        let wide = match self.numbers() {
            Numbers::F32(x) => x.to_vec(),
            Numbers::F16(x) => widened(x),
            Numbers::Bf16(x) => widened(x),
        };
        let rounded = match kept {
            Kept::F32 => return Ok(Self::held(wide, kept, self.dims())),
            Kept::F16 => {
                let mut halves = vec![f16::ZERO; wide.len()];
                let pieces = halves.par_chunks_mut(PIECE).zip(wide.par_chunks(PIECE));
                pieces.for_each(|(to, from)| to.convert_from_f32_slice(from));
                Self::held(halves, kept, self.dims())
            }
            Kept::Bf16 => {
                let mut halves = vec![bf16::ZERO; wide.len()];
                let pieces = halves.par_chunks_mut(PIECE).zip(wide.par_chunks(PIECE));
                pieces.for_each(|(to, from)| to.convert_from_f32_slice(from));
                Self::held(halves, kept, self.dims())
            }
        };
        match rounded.not_finite() {
            None => Ok(rounded),
            Some(mut wrong) => {
                let at = wrong.index.iter().zip(self.dims()).fold(0, |at, (i, dim)| at * dim + i);
                wrong.value = wide[at];
                Err(wrong)
            }
        }
    }

    fn wrong<N: Number>(&self, x: &[N], is_wrong: impl Fn(&N) -> bool + Sync) -> Option<Wrong> {
        let in_piece = |piece: &[N]| vectorise!(piece.iter().map(|x| is_wrong(x) as u32).sum::<u32>() as usize);
        let count = x.par_chunks(PIECE).map(in_piece).sum();
        let at = if count == 0 { None } else { x.iter().position(is_wrong) }?;
        let (mut rest, mut index) = (at, vec![0; self.dims().len()]);
        for (i, dim) in index.iter_mut().zip(self.dims()).rev() {
            (*i, rest) = (rest % dim, rest / dim);
        }
        Some(Wrong { count, value: x[at].widen(), index })
    }
}
