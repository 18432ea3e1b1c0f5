//! Matrix products by candle: what a machine is measured by where a share of its rate is asked for.

use anyhow::Result;
use candle_core::{Device, Tensor};

/// Rows, inner and columns of the products that the machine is measured by: GPT-2 small's MLP, and a square.
pub const LARGE: [[usize; 3]; 3] = [[512, 768, 3072], [512, 3072, 768], [1024, 1024, 1024]];

/// One product, of operands that are made here. `transposed`: the right one lies column by column, as a tied unembedding
/// does.
pub fn product([m, k, n]: [usize; 3], transposed: bool) -> Result<impl FnMut() -> Result<()>> {
    let a = Tensor::randn(0f32, 1.0, (m, k), &Device::Cpu)?;
    let b = if transposed {
        Tensor::randn(0f32, 1.0, (n, k), &Device::Cpu)?.t()?
    } else {
        Tensor::randn(0f32, 1.0, (k, n), &Device::Cpu)?
    };
    Ok(move || {
        drop(a.matmul(&b)?);
        Ok(())
    })
}

/// Multiplications and additions of one product.
pub fn flop([m, k, n]: [usize; 3]) -> f64 {
    2.0 * m as f64 * k as f64 * n as f64
}
