//! Rows to safetensors: a tensor for each hook, aligned, for those who map files into memory.
//!
//! How many rows there will be is known at the end only, and a header comes first: each tensor is collected in a temporary file.

use std::collections::BTreeMap;
use std::io::{self, Seek, Write};
use std::path::Path;

use half::slice::HalfFloatSliceExt;
use safetensors::Dtype as Stored;
use safetensors::tensor::{Metadata, TensorInfo};
use tempfile::NamedTempFile;

use super::file::{Done, Hashed, unwritable};
use super::layout::{Dtype, Layout, Rows, Scalars, Values};
use super::round::{to_bf16, to_f16};
use crate::error::{Error, Result};
use crate::table::METADATA_KEY;
use crate::whole::temporary_beside;

/// Where tensors begin: at multiples of a cache line.
const ALIGN: usize = 64;
/// What a byte offset is that is not there.
const NOWHERE: u32 = u32::MAX;
/// The key of the documents' names: a JSON object from number to name.
const DOCUMENTS: &str = "documents";

/// A safetensors file in the making.
pub(super) struct File {
    tensors: Vec<Tensor>,
    documents: BTreeMap<u64, String>,
    bytes: u64,
}

struct Tensor {
    name: String,
    dtype: Stored,
    /// What one row has of it.
    shape: Vec<usize>,
    file: io::BufWriter<NamedTempFile>,
}

impl File {
    pub fn create(layout: &Layout, stage: &Path) -> Result<Self> {
        let number = match layout.dtype {
            Dtype::F32 => Stored::F32,
            Dtype::F16 => Stored::F16,
            Dtype::Bf16 => Stored::BF16,
        };
        let of = |index: bool, number: Stored| if index { Stored::U32 } else { number };
        let keys =
            [("rows", Stored::U64, vec![3]), ("token_id", Stored::U32, vec![]), ("byte_start", Stored::U32, vec![])];
        let keys = keys.into_iter().chain([("byte_end", Stored::U32, vec![]), ("special", Stored::BOOL, vec![])]);
        let scalars = layout.scalars.iter().map(|s| (s.name.clone(), of(s.index, Stored::F32), vec![]));
        let hooks = layout.hooks.iter().map(|h| (h.name.clone(), of(h.index, number), h.shape.clone()));
        let tensors = keys.map(|(name, dtype, shape)| (name.to_owned(), dtype, shape)).chain(scalars).chain(hooks);
        let tensors = tensors.map(|(name, dtype, shape)| {
            let file = io::BufWriter::with_capacity(1 << 16, temporary_beside(&stage.join("tensor"))?);
            Ok(Tensor { name, dtype, shape, file })
        });
        Ok(Self { tensors: tensors.collect::<Result<_>>()?, documents: BTreeMap::new(), bytes: 0 })
    }

    pub fn rows(&mut self, layout: &Layout, rows: Rows, stage: &Path) -> Result<()> {
        let keys = rows.doc.iter().zip(rows.seq.iter().zip(&rows.pos));
        let keys: Vec<u64> = keys.flat_map(|(doc, (seq, pos))| [*doc, u64::from(*seq), u64::from(*pos)]).collect();
        let offsets = |at: &[Option<u32>]| at.iter().map(|at| at.unwrap_or(NOWHERE)).collect::<Vec<u32>>();
        let special: Vec<u8> = rows.special.iter().map(|special| u8::from(*special)).collect();
        let mut columns = vec![
            bytemuck::cast_slice(&keys).to_vec(),
            little(&rows.token_id),
            little(&offsets(&rows.byte_start)),
            little(&offsets(&rows.byte_end)),
            special,
        ];
        columns.extend(rows.scalars.iter().map(|scalars| match scalars {
            Scalars::F32(values) => little(&values.iter().map(|v| v.unwrap_or(f32::NAN)).collect::<Vec<_>>()),
            Scalars::U32(values) => little(&offsets(values)),
        }));
        for (hook, values) in layout.hooks.iter().zip(&rows.hooks) {
            columns.push(match (values, layout.dtype) {
                (Values::U32(values), _) => little(values),
                (Values::F32(values), Dtype::F32) => little(values),
                (Values::F32(values), Dtype::Bf16) => little(to_bf16(values).reinterpret_cast()),
                (Values::F32(values), Dtype::F16) => {
                    little(to_f16(values, layout.clip, hook, &rows)?.reinterpret_cast())
                }
            });
        }
        for (tensor, bytes) in self.tensors.iter_mut().zip(columns) {
            tensor.file.write_all(&bytes).map_err(|e| unwritable(stage, e))?;
            self.bytes += bytes.len() as u64;
        }
        for (doc, id) in rows.doc.iter().zip(&rows.doc_id) {
            self.documents.entry(*doc).or_insert_with(|| id.to_string());
        }
        Ok(())
    }

    /// How many bytes the tensors have so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn finish(self, name: String, rows: u64, provenance: &str, stage: &Path) -> Result<Done> {
        let failed = |e: &dyn std::fmt::Display| Error::compute(e.to_string()).fault();
        let mut tensors = self.tensors;
        // The format wants no gap between tensors; with the largest numbers first, each begins at a multiple of its own.
        tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype.bitsize()));
        let mut end = 0;
        let n = usize::try_from(rows).map_err(|e| failed(&e))?;
        let infos = tensors.iter().map(|tensor| {
            let shape: Vec<usize> = std::iter::once(n).chain(tensor.shape.iter().copied()).collect();
            let from = end;
            end += shape.iter().product::<usize>() * tensor.dtype.bitsize() / 8;
            (tensor.name.clone(), TensorInfo { dtype: tensor.dtype, shape, data_offsets: (from, end) })
        });
        let infos = Metadata::new(None, infos.collect()).map_err(|e| failed(&e))?;
        let infos = serde_json::to_string(&infos).map_err(|e| failed(&e))?;
        let documents = serde_json::json!(self.documents).to_string();
        let metadata = BTreeMap::from([(METADATA_KEY, provenance), (DOCUMENTS, &documents)]);
        let metadata = serde_json::to_string(&metadata).map_err(|e| failed(&e))?;
        let mut header = format!("{{\"__metadata__\":{metadata},{}", &infos[1..]).into_bytes();
        header.resize((8 + header.len()).next_multiple_of(ALIGN) - 8, b' ');
        let mut file = Hashed::create(stage)?;
        let write = || {
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(&header)?;
            for tensor in tensors {
                let mut from = tensor.file.into_inner().map_err(|e| e.into_error())?;
                from.rewind()?;
                io::copy(&mut io::BufReader::with_capacity(1 << 20, from), &mut file)?;
            }
            Ok(())
        };
        write().map_err(|e| unwritable(stage, e))?;
        file.done(name, rows)
    }
}

/// Bytes of numbers, the lowest first, as the format has them.
fn little<T: bytemuck::NoUninit>(values: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}
