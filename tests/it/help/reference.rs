//! Reading reference tensors and comparing with them.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use pellucid::model::Batch;

pub struct Reference(HashMap<String, Tensor>);

impl Reference {
    pub fn open(path: &Path) -> Self {
        Self(candle_core::safetensors::load(path, &Device::Cpu).unwrap())
    }

    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn need(&self, name: &str) -> &Tensor {
        self.get(name).unwrap_or_else(|| panic!("the reference has no {name}"))
    }

    /// `[b, p, ..]` to packed rows `[b * p, ..]`.
    pub fn packed(&self, name: &str) -> Tensor {
        self.need(name).flatten(0, 1).unwrap()
    }

    pub fn ids(&self, name: &str) -> Vec<Vec<u32>> {
        let ids = self.need(name);
        let ids = if ids.rank() == 1 { ids.unsqueeze(0).unwrap() } else { ids.clone() };
        ids.to_dtype(DType::U32).unwrap().to_vec2().unwrap()
    }

    pub fn batch(&self, name: &str) -> Batch {
        Batch::of(self.ids(name))
    }
}

/// Largest absolute difference. Equal infinities do not differ; NaN differs from everything.
pub fn max_diff(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.elem_count(), want.elem_count(), "{:?} {:?}", got.shape(), want.shape());
    let flat = |x: &Tensor| x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    flat(got)
        .iter()
        .zip(&flat(want))
        .map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() })
        .fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst })
}

#[track_caller]
pub fn close(what: &str, got: &Tensor, want: &Tensor, tolerance: f64) {
    let diff = max_diff(got, want);
    assert!(diff <= tolerance, "{what}: differs by {diff:e}, allowed {tolerance:e}");
}

#[track_caller]
pub fn same_bits(what: &str, a: &Tensor, b: &Tensor) {
    let bits = |x: &Tensor| {
        let x = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        x.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
    };
    assert!(bits(a) == bits(b), "{what}: not the same bits, largest difference {:e}", max_diff(a, b));
}
