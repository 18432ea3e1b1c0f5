//! Tensors in safetensors files: mapped or part of the program, checked, read one at a time.

use std::collections::BTreeMap;
use std::ops::{Deref, Range};
use std::sync::Arc;

use candle_core::DType;
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::load::Store;
use crate::error::{Error, Result};
use crate::ops::matrix::{Kept, Matrix, Owner, Stored};
use crate::text::files::At;
use crate::text::{File, ModelSource, check_weights};

/// Where a tensor lies.
#[derive(Clone, Debug)]
struct Extent {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

/// The bytes of a file, which need not be in memory.
pub(super) enum Bytes {
    Mapped(Mmap),
    Program(&'static [u8]),
}

impl Bytes {
    /// The bytes of `file`, in memory where they are touched.
    fn open(file: &File) -> Result<Self> {
        let path = match &file.at {
            At::Path(path) => path,
            At::Program(bytes) => return Ok(Self::Program(bytes)),
        };
        let open = fs_err::File::open(path).map_err(|e| Error::cannot_read(path, e))?;
        // SAFETY: the map is only read, and lives as long as a weight that lies in it. That nobody changes the file
        // meanwhile is asked of the user, as by every program that maps weights: whoever cuts it short ends this process,
        // and whoever writes into it changes the model. Numbers of any bits are numbers, so no more than that.
        let map = unsafe { Mmap::map(open.file()) };
        map.map(Self::Mapped).map_err(|e| unmapped(file, e))
    }
}

fn unmapped(file: &File, e: std::io::Error) -> Error {
    Error::bad_model(format!("{file} cannot be mapped into memory: {e}"))
        .because(e)
        .hint("put it on a disk of this machine, and let the process have enough address space (`ulimit -v`)")
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Program(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// The files of a model's weights, mapped.
pub struct WeightBytes {
    pub(super) files: Vec<(File, Arc<Bytes>)>,
}

impl WeightBytes {
    /// Opens the files of `source`.
    ///
    /// # Errors
    /// When there are none, one is something else under a name of weights, or one cannot be mapped.
    pub fn open(source: &ModelSource) -> Result<Self> {
        let open = |file: File| {
            check_weights(&file)?;
            Ok((file.clone(), Arc::new(Bytes::open(&file)?)))
        };
        Ok(Self { files: source.weights()?.into_iter().map(open).collect::<Result<_>>()? })
    }

    /// The bytes of each file.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.files.iter().map(|(_, bytes)| &***bytes)
    }
}

/// The tensors of one or several files, by name.
pub(super) struct WeightFiles {
    files: Vec<(File, Arc<Bytes>)>,
    tensors: BTreeMap<String, Extent>,
}

impl WeightFiles {
    /// Opens the files and checks their headers: sizes, offsets, overlaps, names.
    pub(super) fn open(files: &WeightBytes) -> Result<Self> {
        let mut all = Self { files: vec![], tensors: BTreeMap::new() };
        for (file, bytes) in &files.files {
            all.index(file, bytes)?;
            all.files.push((file.clone(), bytes.clone()));
        }
        Ok(all)
    }

    fn index(&mut self, file: &File, bytes: &[u8]) -> Result<()> {
        let bad = |e: SafeTensorError| {
            Error::bad_model(format!("{file} is not a whole safetensors file: {}", reason(&e, bytes.len())))
                .hint("was the download complete? fetch the file again")
        };
        let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(bad)?;
        let data = header + 8;
        for (name, info) in metadata.tensors() {
            let (from, to) = info.data_offsets;
            let stored = Extent {
                file: self.files.len(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                bytes: data + from..data + to,
            };
            if self.tensors.insert(name.clone(), stored).is_some() {
                return Err(Error::bad_model(format!("{file}: the tensor `{name}` is in two files"))
                    .hint("get the model from its source again, into an empty folder"));
            }
        }
        Ok(())
    }

    fn bytes(&self, stored: &Extent) -> &[u8] {
        &self.files[stored.file].1[stored.bytes.clone()]
    }
}

impl Store for WeightFiles {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    fn dtype(&self, name: &str) -> Option<DType> {
        float(self.tensors.get(name)?.dtype)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    fn same(&self, a: &str, b: &str) -> Result<bool> {
        let (Some(a), Some(b)) = (self.tensors.get(a), self.tensors.get(b)) else { return Ok(false) };
        Ok(a.dtype == b.dtype && a.shape == b.shape && self.bytes(a) == self.bytes(b))
    }

    fn read(&self, name: &str) -> Result<Matrix> {
        let stored = &self.tensors[name];
        let (file, bytes) = &self.files[stored.file];
        let Some(held) = float(stored.dtype) else {
            return Err(Error::bad_model(format!(
                "{file}: the tensor `{name}` is stored as {:?}, and pellucid reads F32, F16, BF16 and F64",
                stored.dtype
            ))
            .hint("if the model is quantized, take the one that it was made of"));
        };
        numbers(bytes.clone(), stored.bytes.clone(), held, &stored.shape)
    }
}

/// As candle calls it, where it is one that weights may be stored in.
fn float(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::F64 => Some(DType::F64),
        _ => None,
    }
}

/// The array of these bytes: in place, but for f64, which is rounded to f32.
pub(super) fn numbers(owner: Owner, bytes: Range<usize>, dtype: DType, dims: &[usize]) -> Result<Matrix> {
    let kept = match dtype {
        DType::F16 => Kept::F16,
        DType::BF16 => Kept::Bf16,
        DType::F32 => Kept::F32,
        _ => {
            let (words, _) = (*owner).as_ref()[bytes].as_chunks::<8>();
            let values = words.par_iter().map(|word| f64::from_le_bytes(*word) as f32).collect();
            return Ok(Stored::from_f32(values, dims)?.into());
        }
    };
    Ok(Stored::new(owner, bytes, kept, dims)?.into())
}

/// What is wrong, with the numbers.
fn reason(e: &SafeTensorError, len: usize) -> String {
    match e {
        SafeTensorError::HeaderTooSmall | SafeTensorError::InvalidHeaderLength => {
            format!("its header does not fit into its {len} bytes")
        }
        SafeTensorError::HeaderTooLarge => "its header claims over 100 MB".into(),
        SafeTensorError::MetadataIncompleteBuffer => {
            format!("its header describes more or less data than its {len} bytes hold")
        }
        SafeTensorError::InvalidOffset(name) => {
            format!("the tensor `{name}` overlaps another or lies outside the file")
        }
        other => other.to_string(),
    }
}
