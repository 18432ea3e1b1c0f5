//! A vector from a safetensors file: a direction to steer along.

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result, without_backtrace};

/// The vector in `name`: a safetensors file with one tensor, or `FILE:TENSOR`. In f32, flat.
///
/// # Errors
/// When there is no such file or tensor, it is no safetensors file, several tensors are there and none was named, or a number is
/// not finite.
pub fn read_vector(name: &str) -> Result<Tensor> {
    let (path, tensor) = match name.rsplit_once(':') {
        Some((path, tensor)) if !Path::new(name).exists() => (path, Some(tensor)),
        _ => (name, None),
    };
    if !Path::new(path).is_file() {
        return Err(Error::no_such(format!("there is no file {path}")).hint("give a safetensors file, or FILE:TENSOR"));
    }
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).map_err(|e| not_read(path, &e))?;
    let mut names: Vec<&str> = tensors.keys().map(String::as_str).collect();
    names.sort_unstable();
    let chosen = match (tensor, &names[..]) {
        (Some(tensor), _) => tensors.get(tensor).ok_or_else(|| {
            let e = Error::no_such(format!("{path} has no tensor `{tensor}`"));
            e.nearest_or(tensor, names.iter().copied(), format!("it has {}", names.join(", ")))
        })?,
        (None, [only]) => &tensors[*only],
        (None, _) => {
            return Err(Error::bad_input(format!("{path} holds {} tensors", names.len()))
                .hint(format!("name one: {path}:{}", names.first().unwrap_or(&"NAME"))));
        }
    };
    let vector = chosen.to_dtype(DType::F32)?.flatten_all()?;
    let numbers = vector.to_vec1::<f32>()?;
    if let Some(at) = numbers.iter().position(|v| !v.is_finite()) {
        return Err(Error::bad_input(format!("number {at} of the vector in {name} is {} in f32", numbers[at]))
            .hint("a direction has finite numbers; look at how it was made"));
    }
    Ok(vector)
}

fn not_read(path: &str, e: &candle_core::Error) -> Error {
    Error::bad_input(format!("{path} is not a whole safetensors file: {}", without_backtrace(e)))
        .hint("write the vector with safetensors' save_file, in float32, under one name")
}
