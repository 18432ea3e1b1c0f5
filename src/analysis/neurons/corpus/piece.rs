//! What is known of a part of a corpus as a file: so that parts can be read in turn, by several processes, or again where a run was stopped.
//!
//! The file is safetensors. Of each chunk of columns it has the sums, the furthest values and where they are, and of all columns the sample.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use bytemuck::{AnyBitPattern, NoUninit};
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensorError, serialize_to_file};

use super::heap::{Entry, Furthest};
use super::moments::Moments;
use super::summary::{Chunk, Summary, Sums};
use crate::error::{Error, Result};

/// The longest header that is read: a chunk has a few hundred bytes of it.
const LONGEST: u64 = 100 << 20;

/// Tensors that are written.
#[derive(Default)]
struct Tensors<'x>(Vec<(String, TensorView<'x>)>);

impl<'x> Tensors<'x> {
    fn add<T: NoUninit>(&mut self, name: String, dtype: Dtype, values: &'x [T]) -> Result<()> {
        let view = TensorView::new(dtype, vec![values.len()], bytemuck::cast_slice(values));
        self.0.push((name, view.map_err(|e| Error::compute(e.to_string()).fault())?));
        Ok(())
    }
}

/// The furthest values of a chunk, column by column: in numbers of 4 bytes value, document and position.
fn entries(of: &Furthest) -> Vec<u32> {
    let all = (0..of.columns()).flat_map(|column| of.held(column));
    all.flat_map(|entry| [entry.value.to_bits(), entry.doc, entry.pos]).collect()
}

/// Writes what is known of a part to `path`.
pub(super) fn write(summary: &Summary, path: &Path) -> Result<()> {
    let held: Vec<[Vec<u32>; 4]> = summary
        .chunks
        .iter()
        .map(|chunk| [&chunk.top, &chunk.bottom].map(|of| (entries(of), of.taken().to_vec())))
        .map(|[(top, top_taken), (bottom, bottom_taken)]| [top, top_taken, bottom, bottom_taken])
        .collect();
    let (places, values) = summary.sample.held();
    let counts =
        [summary.chunks.first().map_or([0; 2], |c| [c.sums.all.n, c.sums.frequent.n]), [summary.sample.of(), 0]];
    let mut tensors = Tensors::default();
    tensors.add("counts".into(), Dtype::U64, counts.as_flattened())?;
    tensors.add("sample.places".into(), Dtype::U32, &places)?;
    tensors.add("sample.values".into(), Dtype::F32, values)?;
    for (i, (chunk, held)) in summary.chunks.iter().zip(&held).enumerate() {
        let name = |what: &str| format!("{i}.{what}");
        for (what, of) in [("all", &chunk.sums.all), ("frequent", &chunk.sums.frequent)] {
            tensors.add(name(&format!("{what}.mean")), Dtype::F64, &of.mean)?;
            tensors.add(name(&format!("{what}.squares")), Dtype::F64, &of.squares)?;
        }
        tensors.add(name("words"), Dtype::F64, &chunk.sums.words)?;
        tensors.add(name("positive"), Dtype::U64, &chunk.positive)?;
        tensors.add(name("least"), Dtype::F32, &chunk.least)?;
        tensors.add(name("most"), Dtype::F32, &chunk.most)?;
        for (what, of) in ["top", "top.taken", "bottom", "bottom.taken"].into_iter().zip(held) {
            tensors.add(name(what), Dtype::U32, of)?;
        }
    }
    serialize_to_file(tensors.0, None, path).map_err(|e| match e {
        SafeTensorError::IoError(e) => Error::cannot_write(path, e),
        e => Error::compute(e.to_string()).fault(),
    })
}

/// A file that is read tensor by tensor.
struct Piece<'p> {
    path: &'p Path,
    file: File,
    /// Where the numbers begin.
    start: u64,
    names: HashMap<String, (usize, usize)>,
}

impl<'p> Piece<'p> {
    fn open(path: &'p Path) -> Result<Self> {
        let failed = |e| Error::cannot_read(path, e);
        let mut file = File::open(path).map_err(failed)?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(failed)?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST {
            return Err(damaged(path));
        }
        let mut header = vec![];
        file.by_ref().take(length).read_to_end(&mut header).map_err(failed)?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|_| damaged(path))?;
        let names = header.tensors().into_iter().map(|(name, info)| (name, info.data_offsets)).collect();
        Ok(Self { path, file, start: 8 + length, names })
    }

    /// How many numbers a tensor has.
    fn len<T>(&self, name: &str) -> Result<usize> {
        let (from, to) = *self.names.get(name).ok_or_else(|| damaged(self.path))?;
        Ok((to - from) / size_of::<T>())
    }

    /// Some numbers of a tensor.
    fn some<T: AnyBitPattern + NoUninit + Default>(&mut self, name: &str, of: Range<usize>) -> Result<Vec<T>> {
        let (from, to) = *self.names.get(name).ok_or_else(|| damaged(self.path))?;
        let begins = from + of.start * size_of::<T>();
        if begins + of.len() * size_of::<T>() > to {
            return Err(damaged(self.path));
        }
        let mut values = vec![T::default(); of.len()];
        let at = SeekFrom::Start(self.start + begins as u64);
        let read = self.file.seek(at).and_then(|_| self.file.read_exact(bytemuck::cast_slice_mut(&mut values)));
        read.map_err(|e| Error::cannot_read(self.path, e))?;
        Ok(values)
    }

    /// All numbers of a tensor, which are `n`.
    fn get<T: AnyBitPattern + NoUninit + Default>(&mut self, name: &str, n: usize) -> Result<Vec<T>> {
        match self.len::<T>(name)? == n {
            true => self.some(name, 0..n),
            false => Err(damaged(self.path)),
        }
    }

    fn moments(&mut self, name: &str, columns: usize, n: u64) -> Result<Moments> {
        let mean = self.get(&format!("{name}.mean"), columns)?;
        Ok(Moments { n, mean, squares: self.get(&format!("{name}.squares"), columns)? })
    }
}

fn damaged(path: &Path) -> Error {
    Error::bad_input(format!("{} is damaged", path.display())).hint("run it anew")
}

impl Chunk {
    /// Adds what is known of it in chunk `i` of a piece, of which `counts` tokens are, and among the frequent ones.
    fn add(&mut self, piece: &mut Piece<'_>, i: usize, counts: [u64; 2]) -> Result<()> {
        let n = self.positive.len();
        let name = |what: &str| format!("{i}.{what}");
        let all = piece.moments(&name("all"), n, counts[0])?;
        let frequent = piece.moments(&name("frequent"), n, counts[1])?;
        self.sums.add(&Sums { all, frequent, words: piece.get(&name("words"), self.sums.words.len())? });
        let positive: Vec<u64> = piece.get(&name("positive"), n)?;
        self.positive.iter_mut().zip(positive).for_each(|(sum, own)| *sum += own);
        let least: Vec<f32> = piece.get(&name("least"), n)?;
        self.least.iter_mut().zip(least).for_each(|(least, own)| *least = least.min(own));
        let most: Vec<f32> = piece.get(&name("most"), n)?;
        self.most.iter_mut().zip(most).for_each(|(most, own)| *most = most.max(own));
        for (what, own) in [("top", &mut self.top), ("bottom", &mut self.bottom)] {
            let taken: Vec<u32> = piece.get(&name(&format!("{what}.taken")), n)?;
            let entries: Vec<u32> = piece.get(&name(what), taken.iter().map(|n| 3 * *n as usize).sum())?;
            let mut entries = entries.chunks_exact(3);
            for (column, taken) in taken.into_iter().enumerate() {
                for entry in entries.by_ref().take(taken as usize) {
                    own.take(column, Entry { value: f32::from_bits(entry[0]), doc: entry[1], pos: entry[2] });
                }
            }
        }
        Ok(())
    }
}

/// Adds to `summary` what is known of a part of the corpus. Parts come in their order.
pub(super) fn add(summary: &mut Summary, path: &Path) -> Result<()> {
    let mut piece = Piece::open(path)?;
    let counts: Vec<u64> = piece.get("counts", 4)?;
    for (i, chunk) in summary.chunks.iter_mut().enumerate() {
        chunk.add(&mut piece, i, [counts[0], counts[1]])?;
    }
    let columns = summary.sample.columns();
    let places = piece.len::<u32>("sample.places")?;
    let places: Vec<u32> = piece.get("sample.places", places)?;
    // One after another: together they may be as much as everything else.
    for (i, place) in places.chunks_exact(2).enumerate() {
        let values: Vec<f32> = piece.some("sample.values", i * columns..(i + 1) * columns)?;
        summary.sample.take(place[0], place[1], |to| to.copy_from_slice(&values));
    }
    summary.sample.passed(counts[2].saturating_sub(places.len() as u64 / 2));
    Ok(())
}
