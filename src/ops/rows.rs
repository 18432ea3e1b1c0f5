//! Packed rows: which rows of a `[t, ..]` matrix belong to which sequence, at which positions.

use std::ops::Range;

use candle_core::Tensor;

use crate::error::{Error, Result, counted};

/// The layout of a pack: the rows of every sequence lie one after the other, none is padded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The sequences, in batch order. A value that is made per sequence (a pattern) comes with exactly one.
    pub sequences: Vec<SequenceRows>,
    /// For a value that is made for some rows only (an expert's), whether it is, row by row. The others are zero, nobody
    /// reads them, and they must stay so.
    pub made: Option<Vec<bool>>,
}

/// One sequence's part of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceRows {
    /// Index of the sequence in the batch.
    pub index: usize,
    /// Its rows in the pack.
    pub rows: Range<usize>,
    /// Position of its first row: the number of earlier positions in its prefix.
    pub start: usize,
}

impl SequenceRows {
    /// Of `x [t, ..]` of a pack, this sequence's rows.
    ///
    /// # Errors
    /// When the pack has fewer rows.
    pub fn of(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.narrow(0, self.rows.start, self.len())?)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// Number of keys its last query can see: prefix and rows.
    pub fn n_keys(&self) -> usize {
        self.start + self.len()
    }
}

impl Rows {
    /// Packs sequences of `(start, length)`.
    pub fn pack(lengths: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut next = 0;
        let sequences = lengths
            .into_iter()
            .enumerate()
            .map(|(index, (start, len))| {
                let rows = next..next + len;
                next += len;
                SequenceRows { index, rows, start }
            })
            .collect();
        Self { sequences, made: None }
    }

    /// Rows in the pack.
    pub fn len(&self) -> usize {
        self.sequences.iter().map(SequenceRows::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Only these sequences of this layout.
    pub fn part(&self, sequences: std::ops::Range<usize>) -> Self {
        Self { sequences: self.sequences[sequences].to_vec(), made: None }
    }

    /// Only sequence number `i` of this layout.
    pub fn only(&self, i: usize) -> Self {
        Self { sequences: vec![self.sequences[i].clone()], made: None }
    }

    /// The same layout for a value that is made for the rows in `made` only.
    pub fn made_for(&self, made: &[u32]) -> Self {
        let mut is_made = vec![false; self.len()];
        made.iter().for_each(|row| is_made[*row as usize] = true);
        Self { sequences: self.sequences.clone(), made: Some(is_made) }
    }

    /// The position of every row.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.sequences.iter().flat_map(|s| (0..s.len()).map(|i| s.start + i))
    }

    /// The row of position `pos` of sequence `index`. A negative position counts from the sequence's end.
    ///
    /// # Errors
    /// When the sequence or the position is not in the pack.
    pub fn row(&self, index: usize, pos: isize) -> Result<usize> {
        let Some(s) = self.sequences.iter().find(|s| s.index == index) else {
            return Err(Error::no_such(format!("there is no sequence {index} in this batch"))
                .hint("sequences are counted from 0, in the order of the batch"));
        };
        let at = counted(pos, s.n_keys()).filter(|at| *at >= s.start).ok_or_else(|| {
            Error::no_such(format!(
                "sequence {index} has positions {}..{}, and {pos} is not one of them",
                s.start,
                s.n_keys()
            ))
            .hint("positions are counted from 0, or negative from the end")
        })?;
        Ok(s.rows.start + at - s.start)
    }
}
