//! Tensors in files that `torch.save` writes: a zip archive of raw storages, and of a pickle that says which tensors are
//! which parts of them. candle's reader of pickles runs no code; here its result must be tensors and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use candle_core::DType;
use candle_core::pickle::{Object, Stack};
use zip::{CompressionMethod, ZipArchive};

use super::files::{Bytes, WeightBytes, numbers};
use super::load::Store;
use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::ops::matrix::Matrix;
use crate::text::File;

/// A state dict nests tensors, their arguments and the tuples in those. Deeper is not one, and could exhaust the stack.
const DEEPEST: usize = 64;

/// Stacked values at one time: a dictionary's items come by the thousand.
const MOST_STACKED: usize = 10_000;

/// Values of a pickle, copies that its reader makes included: about a hundred for each tensor.
const MOST_VALUES: usize = 1 << 22;

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
    class: String,
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

type Found<T> = std::result::Result<T, Broken>;

/// The tensors that the archive `bytes` holds.
fn tensors(file: usize, bytes: &[u8]) -> Found<Vec<(String, Stored)>> {
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
    let mut found = vec![];
    for (name, value) in items(state_dict(&bytes[entries[pickle].clone()])?)? {
        let not_a_tensor = || Broken::other(format!("`{}` is {}", shortened(&name), described(&value)));
        let view = view(&value).ok_or_else(not_a_tensor)?;
        let storage = entries.get(&format!("{folder}data/{}", view.key));
        let storage =
            storage.ok_or_else(|| Broken::because(format!("the values of `{}` are missing", shortened(&name))))?;
        let element = Element::of(view.class).ok_or_else(not_a_tensor)?;
        let (shape, strides) = (sizes(view.shape), sizes(view.strides));
        let (Some(shape), Some(strides), Some(offset)) = (shape, strides, size(view.offset)) else {
            return Err(not_a_tensor());
        };
        let stored = Stored { file, storage: storage.clone(), element, offset, shape, strides };
        if !stored.fits() {
            return Err(Broken::because(format!("`{}` lies outside its values", shortened(&name))));
        }
        found.push((name, stored));
    }
    Ok(found)
}

/// The archive's files and where their bytes are. torch.save compresses nothing.
fn entries(bytes: &[u8]) -> Found<HashMap<String, Range<usize>>> {
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

/// What the pickle makes, with limits on what its reader may be led to do.
fn state_dict(mut pickle: &[u8]) -> Found<Object> {
    let mut stack = Stack::empty();
    let mut left = MOST_VALUES;
    let first_line = |e: candle_core::Error| shortened(e.to_string().lines().next().unwrap_or_default()).to_owned();
    loop {
        let instruction = pickle.first().copied();
        if stack.read(&mut pickle).map_err(|e| Broken::because(first_line(e)))? {
            break;
        }
        // Those that copy the topmost value, or put it into another.
        let nests =
            matches!(instruction, Some(b'q' | b'r' | b'h' | b'j' | b'Q' | b't' | 0x85..=0x87 | b'R' | b'b' | 0x81));
        let too_large = stack.stack().len() > MOST_STACKED
            || nests && stack.stack().last().is_some_and(|value| !measure(value, DEEPEST, &mut left));
        if too_large {
            return Err(Broken::other("a pickle that nests or repeats its values more than a state dict does"));
        }
    }
    stack.finalize().map_err(|e| Broken::because(first_line(e)))
}

/// Takes the number of values in `value` from `left`; whether it was enough, and no value nested too deep.
fn measure(value: &Object, depth: usize, left: &mut usize) -> bool {
    if depth == 0 || *left == 0 {
        return false;
    }
    *left -= 1;
    let mut all = |values: &[Object]| values.iter().all(|v| measure(v, depth - 1, left));
    match value {
        Object::Tuple(values) | Object::List(values) => all(values),
        Object::Dict(items) => items.iter().all(|(k, v)| measure(k, depth - 1, left) && measure(v, depth - 1, left)),
        Object::Reduce { callable, args } | Object::Build { callable, args } => {
            measure(callable, depth - 1, left) && measure(args, depth - 1, left)
        }
        Object::PersistentLoad(id) => measure(id, depth - 1, left),
        _ => true,
    }
}

/// The names and values of a state dict.
fn items(object: Object) -> Found<Vec<(String, Object)>> {
    let items = match object {
        Object::Dict(items) => items,
        other => return Err(Broken::other(format!("it is {}", described(&other)))),
    };
    let mut found = vec![];
    for (key, value) in items {
        match (key, value) {
            // An attribute of state dicts: the versions of their modules.
            (Object::Unicode(name), Object::Dict(_)) if name == "_metadata" => {}
            (Object::Unicode(name), value) => found.push((name, value)),
            (other, _) => return Err(Broken::other(format!("a name is {}", described(&other)))),
        }
    }
    // candle's reader leaves them in an order of its own.
    found.sort_by(|a: &(String, Object), b| a.0.cmp(&b.0));
    Ok(found)
}

/// A tensor's parts as the pickle has them.
struct View<'a> {
    class: &'a str,
    key: &'a str,
    offset: &'a Object,
    shape: &'a Object,
    strides: &'a Object,
}

/// `value` as a tensor, if it is one: a parameter, or a view of a storage.
fn view(value: &Object) -> Option<View<'_>> {
    let Object::Reduce { callable, args } = value else { return None };
    let (Object::Class { module_name, class_name }, Object::Tuple(args)) = (&**callable, &**args) else { return None };
    match (module_name.as_str(), class_name.as_str(), args.as_slice()) {
        ("torch._utils", "_rebuild_parameter", [tensor, ..]) => view(tensor),
        ("torch._utils", "_rebuild_tensor_v2", [Object::PersistentLoad(storage), offset, shape, strides, ..]) => {
            let Object::Tuple(storage) = &**storage else { return None };
            match storage.as_slice() {
                [Object::Unicode(kind), Object::Class { module_name, class_name }, Object::Unicode(key), ..]
                    if kind == "storage" && module_name == "torch" =>
                {
                    Some(View { class: class_name, key, offset, shape, strides })
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn size(value: &Object) -> Option<usize> {
    match value {
        Object::Int(n) => usize::try_from(*n).ok(),
        Object::Long(n) => usize::try_from(*n).ok(),
        _ => None,
    }
}

fn sizes(value: &Object) -> Option<Vec<usize>> {
    let Object::Tuple(values) = value else { return None };
    values.iter().map(size).collect()
}

/// What a value that is not a tensor is, for people.
fn described(value: &Object) -> String {
    match value {
        Object::Class { module_name, class_name } => {
            format!("of the class {}.{}", shortened(module_name), shortened(class_name))
        }
        Object::Reduce { callable, .. } | Object::Build { callable, .. } => described(callable),
        Object::Dict(_) => "a dictionary".into(),
        Object::List(_) | Object::Tuple(_) => "a list".into(),
        Object::Int(_) | Object::Long(_) | Object::Float(_) | Object::Bool(_) => "a number".into(),
        Object::Unicode(_) => "a text".into(),
        Object::None => "None".into(),
        Object::Mark | Object::PersistentLoad(_) => "something else".into(),
    }
}

/// The beginning of a name that may be of any length.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(100).map_or(text, |(end, _)| &text[..end])
}

impl Element {
    fn of(class: &str) -> Option<Self> {
        let (bytes, dtype) = match class {
            "FloatStorage" => (4, Some(DType::F32)),
            "DoubleStorage" => (8, Some(DType::F64)),
            "HalfStorage" => (2, Some(DType::F16)),
            "BFloat16Storage" => (2, Some(DType::BF16)),
            // Buffers may be of these; no weight is.
            "BoolStorage" | "ByteStorage" | "CharStorage" => (1, None),
            "ShortStorage" => (2, None),
            "IntStorage" => (4, None),
            "LongStorage" => (8, None),
            _ => return None,
        };
        Some(Self { class: class.to_owned(), bytes, dtype })
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
            next *= dim;
            fits
        })
    }

    /// The elements' bytes in the order of rows.
    fn gather(&self, storage: &[u8]) -> Vec<u8> {
        let n: usize = self.shape.iter().product();
        let (size, mut at) = (self.element.bytes, self.offset);
        let mut bytes = Vec::with_capacity(n * size);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..n {
            bytes.extend_from_slice(&storage[at * size..][..size]);
            // The next index: the last axis that is not at its end moves on, those after it begin anew.
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= self.strides[axis] * self.shape[axis];
                index[axis] = 0;
            }
        }
        bytes
    }
}

impl TorchFiles {
    /// Opens the files, and reads what their pickles say is in them.
    pub(super) fn open(files: &WeightBytes) -> Result<Self> {
        let mut all = Self { files: vec![], tensors: BTreeMap::new() };
        for (i, (file, bytes)) in files.files.iter().enumerate() {
            let found = guarded(|| tensors(i, bytes)).unwrap_or_else(|| Err(Broken::because("the reader gave up")));
            for (name, stored) in found.map_err(|e| e.in_file(file))? {
                if all.tensors.insert(name.clone(), stored).is_some() {
                    return Err(Error::bad_model(format!("{file}: the tensor `{name}` is there twice"))
                        .hint("save the model again, each tensor under one name"));
                }
            }
            all.files.push((file.clone(), bytes.clone()));
        }
        Ok(all)
    }

    fn bytes(&self, stored: &Stored) -> Vec<u8> {
        stored.gather(&self.files[stored.file].1[stored.storage.clone()])
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
        Ok(a == b || a.element == b.element && a.shape == b.shape && self.bytes(a) == self.bytes(b))
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
        let n = stored.shape.iter().product::<usize>() * size;
        let start = stored.storage.start + stored.offset * size;
        // A view that is not in order is gathered first.
        match stored.in_order() {
            true => numbers(bytes.clone(), start..start + n, dtype, &stored.shape),
            false => numbers(Arc::new(self.bytes(stored)), 0..n, dtype, &stored.shape),
        }
    }
}
