//! Tensors in safetensors files: mapped or part of the program, checked, read one at a time.

use std::collections::BTreeMap;
use std::ops::{Deref, Range};

use candle_core::{DType, Device, Tensor};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::load::Store;
use crate::error::{Error, Result};
use crate::text::File;
use crate::text::files::At;

/// Where a tensor lies.
#[derive(Clone, Debug)]
struct Stored {
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
    pub(super) fn open(file: &File) -> Result<Self> {
        let path = match &file.at {
            At::Path(path) => path,
            At::Program(bytes) => return Ok(Self::Program(bytes)),
        };
        let open = fs_err::File::open(path).map_err(|e| Error::bad_model(e.to_string()))?;
        // SAFETY: the map is only read. A file that another process truncates meanwhile is that process's fault, as with
        // every program that maps files.
        let map = unsafe { Mmap::map(open.file()) };
        map.map(Self::Mapped).map_err(|e| Error::bad_model(format!("{file} cannot be mapped: {e}")))
    }
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

/// The tensors of one or several files, by name.
pub(super) struct WeightFiles {
    files: Vec<(File, Bytes)>,
    tensors: BTreeMap<String, Stored>,
}

impl WeightFiles {
    /// Opens the files and checks their headers: sizes, offsets, overlaps, names.
    pub(super) fn open(files: Vec<File>) -> Result<Self> {
        let mut all = Self { files: vec![], tensors: BTreeMap::new() };
        for file in files {
            let bytes = Bytes::open(&file)?;
            all.index(&file, &bytes)?;
            all.files.push((file, bytes));
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
            let stored = Stored {
                file: self.files.len(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                bytes: data + from..data + to,
            };
            if self.tensors.insert(name.clone(), stored).is_some() {
                return Err(Error::bad_model(format!("{file}: the tensor `{name}` is in two files")));
            }
        }
        Ok(())
    }

    fn bytes(&self, stored: &Stored) -> &[u8] {
        &self.files[stored.file].1[stored.bytes.clone()]
    }
}

impl Store for WeightFiles {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    fn same(&self, a: &str, b: &str) -> Result<bool> {
        let (Some(a), Some(b)) = (self.tensors.get(a), self.tensors.get(b)) else { return Ok(false) };
        Ok(a.dtype == b.dtype && a.shape == b.shape && self.bytes(a) == self.bytes(b))
    }

    /// The tensor in f32. Its pages of the map are given back, so that a model is in memory once.
    fn read(&self, name: &str) -> Result<Tensor> {
        let stored = &self.tensors[name];
        let held = match stored.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F64 => DType::F64,
            other => {
                return Err(Error::bad_model(format!(
                    "{}: the tensor `{name}` is stored as {other:?}, and pellucid reads F32, F16, BF16 and F64",
                    self.files[stored.file].0
                )));
            }
        };
        let x = Tensor::from_raw_buffer(self.bytes(stored), held, &stored.shape, &Device::Cpu)?.to_dtype(DType::F32)?;
        #[cfg(unix)]
        if let Bytes::Mapped(map) = &self.files[stored.file].1 {
            let range = stored.bytes.clone();
            // SAFETY: the map is read-only and file-backed: a page that is dropped is read again when touched.
            // Only a saving: where the kernel refuses, nothing is lost.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
        }
        Ok(x)
    }
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
