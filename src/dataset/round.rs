//! Numbers of fewer bits: rounded to the nearest, ties to even, and never to infinity without a word.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::layout::{HookColumn, Rows};
use crate::error::{Error, Result, said, words};

/// The largest number of f16.
const MOST: f32 = 65504.0;

/// The values of `hook` in f16. `rows` says where they are.
///
/// # Errors
/// A number beyond 65,504, unless `clip`; infinity in any case.
pub(super) fn to_f16(values: &[f32], clip: bool, hook: &HookColumn, rows: &Rows) -> Result<Vec<f16>> {
    // NaN is beyond nothing, and stays what it is.
    let beyond = |v: &f32| v.abs() > MOST;
    let mut out = vec![f16::ZERO; values.len()];
    match values.iter().position(|v| beyond(v) && (!clip || v.is_infinite())) {
        Some(at) => {
            let row = at / hook.width();
            let place = format!("`{}`, document {}, position {}", hook.name, rows.doc_id[row], rows.pos[row]);
            let hint = if values[at].is_infinite() {
                "{store=f32} keeps it"
            } else {
                "{store=f32} keeps it, {clip} makes it 65504"
            };
            let what = words(format!("{place}: {} is beyond what f16 can hold, 65504", values[at]));
            return Err(Error::compute(what).hint(said(hint)));
        }
        None if clip && values.iter().any(beyond) => {
            let clipped: Vec<f32> = values.iter().map(|v| v.clamp(-MOST, MOST)).collect();
            out.convert_from_f32_slice(&clipped);
        }
        None => out.convert_from_f32_slice(values),
    }
    Ok(out)
}

/// The values in bf16, which holds what f32 holds.
pub(super) fn to_bf16(values: &[f32]) -> Vec<bf16> {
    let mut out = vec![bf16::ZERO; values.len()];
    out.convert_from_f32_slice(values);
    out
}
