//! Copies of the committed models with something changed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::bin::{Place, fixture};

/// A tensor as a file has it: dtype, shape, bytes.
pub type Raw = (safetensors::Dtype, Vec<usize>, Vec<u8>);
pub type Tensors = BTreeMap<String, Raw>;

/// A copy of the fixture `of` at `name`, for changing.
pub fn copy(place: &Place, of: &str, name: &str) -> String {
    for file in ["config.json", "model.safetensors"] {
        place.write(&format!("{name}/{file}"), fs_err::read(fixture(of).join(file)).unwrap());
    }
    name.to_owned()
}

/// Changes the config of the copy at `name`.
pub fn config(place: &Place, name: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    let path = format!("{name}/config.json");
    let mut config: Map<String, Value> = serde_json::from_slice(&place.read(&path)).unwrap();
    change(&mut config);
    place.write(&path, serde_json::to_vec(&config).unwrap());
}

/// The tensors of the copy at `name`.
pub fn tensors(place: &Place, name: &str) -> Tensors {
    let bytes = place.read(&format!("{name}/model.safetensors"));
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let raw = |view: safetensors::tensor::TensorView| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    file.tensors().into_iter().map(|(name, view)| (name, raw(view))).collect()
}

/// A copy of the tiny GPT-2 at `name`, with a vocabulary of this size and random embeddings.
pub fn vocabulary(place: &Place, name: &str, vocab: usize) {
    copy(place, "gpt2", name);
    config(place, name, |config| {
        config.insert("vocab_size".into(), vocab.into());
    });
    weights(place, name, |tensors| {
        let (_, shape, data) = tensors.get_mut("transformer.wte.weight").unwrap();
        let d = shape[1];
        let random = |i: u32| (((i.wrapping_mul(2_654_435_761) >> 8) as f32) / (1u32 << 23) as f32 - 1.0) * 0.05;
        *shape = vec![vocab, d];
        *data = (0..(vocab * d) as u32).flat_map(|i| random(i).to_le_bytes()).collect();
    });
}

/// `tensors` as a safetensors file.
pub fn serialized(tensors: &Tensors) -> Vec<u8> {
    use safetensors::tensor::TensorView;
    let views = tensors.iter().map(|(name, raw)| {
        let (dtype, shape, data): &Raw = raw;
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

/// Changes the tensors of the copy at `name`.
pub fn weights(place: &Place, name: &str, change: impl FnOnce(&mut Tensors)) {
    let mut all = tensors(place, name);
    change(&mut all);
    place.write(&format!("{name}/model.safetensors"), serialized(&all));
}

/// A safetensors file of any header, true or not.
pub fn file(length: u64, header: &[u8], data: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes(), header, data].concat()
}

/// Changes the header of a safetensors file and leaves its data.
pub fn header(bytes: &[u8], change: impl FnOnce(&mut Map<String, Value>)) -> Vec<u8> {
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Map<String, Value> = serde_json::from_slice(&bytes[8..end]).unwrap();
    change(&mut header);
    let header = serde_json::to_vec(&header).unwrap();
    file(header.len() as u64, &header, &bytes[end..])
}

/// The same values in `dtype`, where they are f32.
pub fn rounded(tensors: &mut Tensors, dtype: safetensors::Dtype) {
    for (stored, _, data) in tensors.values_mut().filter(|(stored, ..)| *stored == safetensors::Dtype::F32) {
        let values = data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        let half: Vec<[u8; 2]> = match dtype {
            safetensors::Dtype::F16 => values.map(|x| half::f16::from_f32(x).to_le_bytes()).collect(),
            _ => values.map(|x| half::bf16::from_f32(x).to_le_bytes()).collect(),
        };
        (*stored, *data) = (dtype, half.concat());
    }
}

/// Halves as the same numbers in f32.
pub fn widened(tensors: &mut Tensors) {
    let is_half = |stored| matches!(stored, safetensors::Dtype::F16 | safetensors::Dtype::BF16);
    for (stored, _, data) in tensors.values_mut().filter(|(stored, ..)| is_half(*stored)) {
        let halves = data.chunks_exact(2).map(|b| <[u8; 2]>::try_from(b).unwrap());
        let wide: Vec<[u8; 4]> = match stored {
            safetensors::Dtype::F16 => halves.map(|b| half::f16::from_le_bytes(b).to_f32().to_le_bytes()).collect(),
            _ => halves.map(|b| half::bf16::from_le_bytes(b).to_f32().to_le_bytes()).collect(),
        };
        (*stored, *data) = (safetensors::Dtype::F32, wide.concat());
    }
}
