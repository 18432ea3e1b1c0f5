//! Tensors in files that `torch.save` writes: a zip archive of raw storages, and of a pickle that says which tensors are
//! which parts of them. `pickle.rs` reads that as data; here it must be tensors and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use candle_core::DType;
use zip::{CompressionMethod, ZipArchive};

use super::files::{Bytes, WeightBytes, numbers};
use super::load::Store;
use super::pickle::{Id, Pickle, Value, Wrong};
use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::ops::matrix::Matrix;
use crate::text::File;

/// Axes of a tensor. No weight has more than four, and torch itself knows at most 64.
const MOST_AXES: usize = 64;

/// How long a tensor's name may be, and that of a storage's file. In bytes.
const LONGEST_NAME: usize = 4096;

/// A tensor as a strided view of a storage.
#[derive(Clone, Debug, PartialEq)]
struct Stored {
    file: usize,
    /// The storage's bytes in the file.
    storage: Range<usize>,
    element: Element,
    /// First element, counted from the storage's beginning.
    offset: usize,
    shape: Vec<usize>,
    /// In elements.
    strides: Vec<usize>,
}

/// What a storage holds.
#[derive(Clone, Debug, PartialEq)]
struct Element {
    /// Torch's name of the storage's class.
    class: &'static str,
    bytes: usize,
    /// For the kinds that weights are stored in.
    dtype: Option<DType>,
}

/// The tensors of one or several files, by name.
pub(super) struct TorchFiles {
    files: Vec<(File, Arc<Bytes>)>,
    tensors: BTreeMap<String, Stored>,
}

/// Why a file is not used: the end of a sentence that begins with its name, and a hint.
struct Broken(String, &'static str);

const SAVE_AGAIN: &str = "save the weights alone: torch.save(model.state_dict(), file), or as safetensors";
const FETCH_AGAIN: &str = "was the download complete? fetch the file again, or save it as safetensors";

impl Broken {
    fn because(what: impl std::fmt::Display) -> Self {
        Self(format!("is not a whole file of torch.save: {what}"), FETCH_AGAIN)
    }

    /// It is whole, and holds something else.
    fn other(what: impl std::fmt::Display) -> Self {
        Self(format!("holds more or other than tensors: {what}"), SAVE_AGAIN)
    }

    fn in_file(self, file: &File) -> Error {
        Error::bad_model(format!("{file} {}", self.0)).hint(self.1)
    }
}

impl From<Wrong> for Broken {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Damaged(what) => Self::because(what),
            Wrong::Long => Self::other(wrong),
        }
    }
}

type Parsed<T> = std::result::Result<T, Broken>;

/// The tensors that the archive `bytes` holds.
fn tensors(file: usize, bytes: &[u8]) -> Parsed<Vec<(String, Stored)>> {
    // The magic number that torch's older format begins with, as a pickled long.
    if bytes.starts_with(&[0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46]) {
        let hint = "save it again with a newer torch: torch.save(torch.load(file), file), or as safetensors";
        return Err(Broken("is in the format that torch wrote before version 1.6, which is not read".into(), hint));
    }
    let entries = entries(bytes)?;
    let mut pickles = entries.keys().filter(|name| name.as_str() == "data.pkl" || name.ends_with("/data.pkl"));
    let (Some(pickle), None) = (pickles.next(), pickles.next()) else {
        return Err(Broken::because("it has no data.pkl, or several"));
    };
    let folder = pickle.trim_end_matches("data.pkl");
    if entries.get(&format!("{folder}byteorder")).is_some_and(|order| &bytes[order.clone()] != b"little") {
        return Err(Broken(
            "was written on a machine that orders bytes the other way, which is not read".into(),
            SAVE_AGAIN,
        ));
    }
    let pickle = Pickle::read(&bytes[entries[pickle].clone()])?;
    let mut found = vec![];
    for (name, value) in items(&pickle)? {
        let not_a_tensor = || Broken::other(format!("`{}` is {}", shortened(name), described(&pickle, value)));
        let view = view(&pickle, value).ok_or_else(not_a_tensor)?;
        let element = Element::of(view.class).ok_or_else(not_a_tensor)?;
        let key = Some(view.key).filter(|key| key.len() <= LONGEST_NAME);
        let storage = key.and_then(|key| entries.get(&format!("{folder}data/{key}")));
        let storage =
            storage.ok_or_else(|| Broken::because(format!("the values of `{}` are missing", shortened(name))))?;
        let (shape, strides) = (sizes(&pickle, view.shape), sizes(&pickle, view.strides));
        let (Some(shape), Some(strides), Some(offset)) = (shape, strides, size(&pickle, view.offset)) else {
            return Err(not_a_tensor());
        };
        let stored = Stored { file, storage: storage.clone(), element, offset, shape, strides };
        if !stored.fits() {
            return Err(Broken::because(format!("`{}` lies outside its values", shortened(name))));
        }
        found.push((name.to_owned(), stored));
    }
    Ok(found)
}

/// The archive's files and where their bytes are. torch.save compresses nothing.
fn entries(bytes: &[u8]) -> Parsed<HashMap<String, Range<usize>>> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(Broken::because)?;
    let mut found = HashMap::new();
    for i in 0..zip.len() {
        let entry = zip.by_index_raw(i).map_err(Broken::because)?;
        let name = entry.name().map_err(Broken::because)?.into_owned();
        let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
        let size = usize::try_from(entry.size()).ok();
        let range = start.zip(size).and_then(|(start, size)| Some(start..start.checked_add(size)?));
        match range {
            Some(range) if entry.compression() == CompressionMethod::Stored && range.end <= bytes.len() => {
                found.insert(name, range);
            }
            _ => return Err(Broken::because(format!("its part {} is compressed or cut off", shortened(&name)))),
        }
    }
    Ok(found)
}

/// The names and values of a state dict, by their names.
fn items<'a>(pickle: &Pickle<'a>) -> Parsed<Vec<(&'a str, Id)>> {
    // An attribute of state dicts: the versions of their modules.
    const VERSIONS: &str = "_metadata";
    let Value::Dict(items) = pickle.at(pickle.root) else {
        return Err(Broken::other(format!("it is {}", described(pickle, pickle.root))));
    };
    let of_root = pickle.attributes.iter().filter(|(object, _)| *object == pickle.root);
    for (_, attributes) in of_root {
        let Value::Dict(attributes) = pickle.at(*attributes) else {
            return Err(Broken::other(format!("its state is {}", described(pickle, *attributes))));
        };
        let other = attributes.iter().find(|(name, _)| *pickle.at(*name) != Value::Text(VERSIONS));
        if let Some((_, value)) = other {
            return Err(Broken::other(format!("an attribute is {}", described(pickle, *value))));
        }
    }
    let mut found = vec![];
    for (key, value) in items {
        match pickle.at(*key) {
            Value::Text(VERSIONS) if matches!(pickle.at(*value), Value::Dict(_)) => {}
            Value::Text(name) if name.len() > LONGEST_NAME => {
                return Err(Broken::other(format!("a name of {} bytes, `{}...`", name.len(), shortened(name))));
            }
            Value::Text(name) => found.push((*name, *value)),
            _ => return Err(Broken::other(format!("a name is {}", described(pickle, *key)))),
        }
    }
    found.sort_unstable_by_key(|(name, _)| *name);
    match found.windows(2).find(|two| two[0].0 == two[1].0) {
        Some(two) => Err(Broken::other(format!("the tensor `{}` is there twice", shortened(two[0].0)))),
        None => Ok(found),
    }
}

/// A tensor's parts as the pickle has them.
struct View<'a> {
    class: &'a str,
    key: &'a str,
    offset: Id,
    shape: Id,
    strides: Id,
}

/// `value` as a tensor, if it is one: a view of a storage, or a parameter that is one.
fn view<'a>(pickle: &Pickle<'a>, value: Id) -> Option<View<'a>> {
    let made = |value: Id| {
        let Value::Made { callable, args } = pickle.at(value) else { return None };
        let (Value::Class(module, name), Value::Tuple(args)) = (pickle.at(*callable), pickle.at(*args)) else {
            return None;
        };
        Some((*module, *name, args.as_slice()))
    };
    let tensor = match made(value)? {
        ("torch._utils", "_rebuild_parameter", [tensor, ..]) => made(*tensor)?,
        tensor => tensor,
    };
    let ("torch._utils", "_rebuild_tensor_v2", [storage, offset, shape, strides, ..]) = tensor else { return None };
    let Value::Outside(storage) = pickle.at(*storage) else { return None };
    let Value::Tuple(storage) = pickle.at(*storage) else { return None };
    let [kind, class, key, ..] = storage.as_slice() else { return None };
    match (pickle.at(*kind), pickle.at(*class), pickle.at(*key)) {
        (Value::Text("storage"), Value::Class("torch", class), Value::Text(key)) => {
            Some(View { class, key, offset: *offset, shape: *shape, strides: *strides })
        }
        _ => None,
    }
}

fn size(pickle: &Pickle, value: Id) -> Option<usize> {
    match pickle.at(value) {
        Value::Int(n) => usize::try_from(*n).ok(),
        _ => None,
    }
}

fn sizes(pickle: &Pickle, value: Id) -> Option<Vec<usize>> {
    let Value::Tuple(values) = pickle.at(value) else { return None };
    // A tuple that many tensors share is written once.
    Some(values).filter(|values| values.len() <= MOST_AXES)?.iter().map(|value| size(pickle, *value)).collect()
}

/// What a value that is not a tensor is, for people.
fn described(pickle: &Pickle, value: Id) -> String {
    // What is made by something that is made: a few steps say enough.
    let mut value = pickle.at(value);
    for _ in 0..8 {
        match value {
            Value::Made { callable, .. } => value = pickle.at(*callable),
            _ => break,
        }
    }
    match value {
        Value::Class(module, name) => format!("of the class {}.{}", shortened(module), shortened(name)),
        Value::Dict(_) => "a dictionary".into(),
        Value::List(_) | Value::Tuple(_) => "a list".into(),
        Value::Int(_) | Value::Float | Value::Bool => "a number".into(),
        Value::Text(_) => "a text".into(),
        Value::None => "None".into(),
        Value::Made { .. } | Value::Outside(_) => "something else".into(),
    }
}

/// The beginning of a name that may be of any length.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(100).map_or(text, |(end, _)| &text[..end])
}

impl Element {
    fn of(class: &str) -> Option<Self> {
        const KNOWN: [(&str, usize, Option<DType>); 10] = [
            ("FloatStorage", 4, Some(DType::F32)),
            ("DoubleStorage", 8, Some(DType::F64)),
            ("HalfStorage", 2, Some(DType::F16)),
            ("BFloat16Storage", 2, Some(DType::BF16)),
            // Buffers may be of these; no weight is.
            ("BoolStorage", 1, None),
            ("ByteStorage", 1, None),
            ("CharStorage", 1, None),
            ("ShortStorage", 2, None),
            ("IntStorage", 4, None),
            ("LongStorage", 8, None),
        ];
        let known = KNOWN.into_iter().find(|(name, ..)| *name == class);
        known.map(|(class, bytes, dtype)| Self { class, bytes, dtype })
    }
}

impl Stored {
    /// Whether every element lies in the storage, and there are not more of them than can be counted.
    fn fits(&self) -> bool {
        let n = self.shape.iter().try_fold(self.element.bytes, |n, d| n.checked_mul(*d));
        let last =
            self.shape.iter().zip(&self.strides).try_fold(self.offset, |last, (dim, stride)| {
                last.checked_add(dim.saturating_sub(1).checked_mul(*stride)?)
            });
        let elements = self.storage.len() / self.element.bytes;
        self.shape.len() == self.strides.len() && n.is_some_and(|n| n == 0 || last.is_some_and(|last| last < elements))
    }

    /// Whether the elements lie one after the other in the order of rows.
    fn in_order(&self) -> bool {
        let mut next = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(dim, stride)| {
            let fits = *dim < 2 || *stride == next;
            // Where one axis is empty, the others may be of any size.
            next = next.saturating_mul(*dim);
            fits
        })
    }

    /// How many bytes its elements are, each as often as it occurs.
    fn len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.element.bytes
    }

    /// The bytes of each element, in the order of rows.
    fn each<'a>(&'a self, storage: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let n: usize = self.shape.iter().product();
        let (size, mut next) = (self.element.bytes, self.offset);
        let mut index = vec![0; self.shape.len()];
        (0..n).map(move |_| {
            let at = next;
            // The next index: the last axis that is not at its end moves on, those after it begin anew.
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                next += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                next -= self.strides[axis] * self.shape[axis];
                index[axis] = 0;
            }
            &storage[at * size..][..size]
        })
    }

    /// The elements' bytes in the order of rows.
    fn gather(&self, storage: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        self.each(storage).for_each(|element| bytes.extend_from_slice(element));
        bytes
    }
}

impl TorchFiles {
    /// Opens the files, and reads what their pickles say is in them.
    pub(super) fn open(files: &WeightBytes) -> Result<Self> {
        let mut all = Self { files: vec![], tensors: BTreeMap::new() };
        for (i, (file, bytes)) in files.files.iter().enumerate() {
            let found = guarded(|| tensors(i, bytes)).unwrap_or_else(|| Err(Broken::because("its archive is damaged")));
            for (name, stored) in found.map_err(|e| e.in_file(file))? {
                if all.tensors.insert(name.clone(), stored).is_some() {
                    return Err(Error::bad_model(format!("{file}: the tensor `{}` is in two files", shortened(&name)))
                        .hint("get the model from its source again, into an empty folder"));
                }
            }
            all.files.push((file.clone(), bytes.clone()));
        }
        Ok(all)
    }

    fn bytes(&self, stored: &Stored) -> Vec<u8> {
        stored.gather(&self.files[stored.file].1[stored.storage.clone()])
    }

    /// The bytes of the tensor's elements, one after the other.
    fn each<'a>(&'a self, stored: &'a Stored) -> impl Iterator<Item = &'a [u8]> {
        stored.each(&self.files[stored.file].1[stored.storage.clone()])
    }
}

impl Store for TorchFiles {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    fn dtype(&self, name: &str) -> Option<DType> {
        self.tensors.get(name)?.element.dtype
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    fn same(&self, a: &str, b: &str) -> Result<bool> {
        let (Some(a), Some(b)) = (self.tensors.get(a), self.tensors.get(b)) else { return Ok(false) };
        // Neither is gathered for it: a view may be larger than its file.
        Ok(a == b || a.element == b.element && a.shape == b.shape && self.each(a).eq(self.each(b)))
    }

    fn copied(&self, name: &str) -> usize {
        let rounded = |stored: &Stored| stored.element.dtype == Some(DType::F64);
        self.tensors.get(name).filter(|stored| !stored.in_order() || rounded(stored)).map_or(0, Stored::len)
    }

    fn size(&self) -> usize {
        self.files.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    fn read(&self, name: &str) -> Result<Matrix> {
        let stored = &self.tensors[name];
        let (file, bytes) = &self.files[stored.file];
        let Some(dtype) = stored.element.dtype else {
            return Err(Error::bad_model(format!(
                "{file}: the tensor `{name}` is in a {}, and pellucid reads those of floating-point numbers",
                stored.element.class
            ))
            .hint("if the model is quantized, take the one that it was made of"));
        };
        let size = stored.element.bytes;
        let n = stored.len();
        let start = stored.storage.start + stored.offset * size;
        // A view that is not in order is gathered first.
        match stored.in_order() {
            true => numbers(bytes.clone(), start..start + n, dtype, &stored.shape),
            false => numbers(Arc::new(self.bytes(stored)), 0..n, dtype, &stored.shape),
        }
    }
}
