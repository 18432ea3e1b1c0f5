//! Tensors in safetensors files: mapped, checked, read one at a time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::load::Store;
use crate::error::{Error, Result};

/// Where a tensor lies.
#[derive(Clone, Debug)]
struct Stored {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

/// The tensors of one or several files, by name.
pub(super) struct WeightFiles {
    maps: Vec<Mmap>,
    paths: Vec<PathBuf>,
    tensors: BTreeMap<String, Stored>,
}

impl WeightFiles {
    /// Maps the files and checks their headers: sizes, offsets, overlaps, names.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut all = Self { maps: vec![], paths: paths.to_vec(), tensors: BTreeMap::new() };
        for path in paths {
            let map = map(path)?;
            all.index(&map, path)?;
            all.maps.push(map);
        }
        Ok(all)
    }

    fn index(&mut self, map: &Mmap, path: &Path) -> Result<()> {
        let bad = |e: SafeTensorError| {
            Error::bad_model(format!("{} is not a whole safetensors file: {}", path.display(), reason(&e, map.len())))
                .hint("was the download complete? fetch the file again")
        };
        let (header, metadata) = SafeTensors::read_metadata(map).map_err(bad)?;
        let data = header + 8;
        for (name, info) in metadata.tensors() {
            let (from, to) = info.data_offsets;
            let stored = Stored {
                file: self.maps.len(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                bytes: data + from..data + to,
            };
            if self.tensors.insert(name.clone(), stored).is_some() {
                return Err(Error::bad_model(format!("{}: the tensor `{name}` is in two files", path.display())));
            }
        }
        Ok(())
    }

    fn bytes(&self, stored: &Stored) -> &[u8] {
        &self.maps[stored.file][stored.bytes.clone()]
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
                    self.paths[stored.file].display()
                )));
            }
        };
        let x = Tensor::from_raw_buffer(self.bytes(stored), held, &stored.shape, &Device::Cpu)?.to_dtype(DType::F32)?;
        #[cfg(unix)]
        {
            let range = stored.bytes.clone();
            // SAFETY: the map is read-only and file-backed: a page that is dropped is read again when touched.
            // Only a saving: where the kernel refuses, nothing is lost.
            let _ = unsafe {
                self.maps[stored.file].unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.len(),
                )
            };
        }
        Ok(x)
    }
}

/// A file's bytes, in memory where they are touched.
pub(super) fn map(path: &Path) -> Result<Mmap> {
    let file = fs_err::File::open(path).map_err(|e| Error::bad_model(e.to_string()))?;
    // SAFETY: the map is only read. A file that another process truncates meanwhile is that process's fault, as with every
    // program that maps files.
    unsafe { Mmap::map(file.file()) }.map_err(|e| Error::bad_model(format!("{} cannot be mapped: {e}", path.display())))
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
