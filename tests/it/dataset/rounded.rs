//! Numbers of 16 bits: rounded to the nearest, ties to even, and what is too large is said.

use std::path::Path;

use pellucid::dataset::{Dtype, Form, HookColumn, Layout, Rows, Values};
use safetensors::SafeTensors;
use serde_json::json;

use super::made::{How, layout};

/// A layout of one hook, a number wide.
fn one(dtype: Dtype, form: Form, clip: bool) -> Layout {
    let hook = HookColumn { name: "blocks.3.hook_mlp_out".into(), axes: "t d".into(), shape: vec![1], index: false };
    Layout { hooks: vec![hook], scalars: vec![], dtype, form, clip, window: None }
}

/// Writes a row for each value, all of one document.
fn write(folder: &Path, layout: Layout, values: Vec<f32>) -> pellucid::Result<()> {
    let n = values.len();
    let how = How::new(layout);
    let mut dataset = how.open(folder)?;
    let mut writer = dataset.block(0)?;
    writer.push(Rows {
        doc: vec![4; n],
        doc_id: vec!["tale-4".into(); n],
        seq: vec![0; n],
        pos: (0..n as u32).collect(),
        token_id: vec![1; n],
        token: vec!["a".into(); n],
        byte_start: vec![None; n],
        byte_end: vec![None; n],
        special: vec![false; n],
        hooks: vec![Values::F32(values)],
        scalars: vec![],
    })?;
    writer.finish(vec![], json!(null))?;
    dataset.finish(1, json!(null))?.unwrap().finish().map(|_| ())
}

/// What stands in the tensor of the hook, as numbers of 16 bits.
fn stored(folder: &Path) -> Vec<u16> {
    let bytes = std::fs::read(folder.join("data-000000.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let data = tensors.tensor("blocks.3.hook_mlp_out").unwrap().data();
    data.chunks(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect()
}

/// The value of a positive f16 by its definition.
fn value(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10), f64::from(bits & 0x3ff));
    if exponent == 0 { fraction * 2f64.powi(-24) } else { (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15) }
}

/// Invariant: f16 and bf16 in an export are the nearest to the f32 that was computed, and of two that are as near the even one.
#[test]
fn every_tie_goes_to_the_even_number() {
    // Between each two neighbours of f16: the middle, which f32 holds exactly, and the f32 on either side of it.
    let (mut given, mut wanted) = (vec![], vec![]);
    for low in 0..0x7bff_u16 {
        let middle = ((value(low) + value(low + 1)) / 2.0) as f32;
        assert_eq!(f64::from(middle) * 2.0, value(low) + value(low + 1));
        let even = if low % 2 == 0 { low } else { low + 1 };
        for (x, bits) in [(middle.next_down(), low), (middle, even), (middle.next_up(), low + 1)] {
            given.extend([x, -x]);
            wanted.extend([bits, bits | 0x8000]);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), one(Dtype::F16, Form::Safetensors, false), given).unwrap();
    assert!(stored(folder.path()) == wanted);

    // The same of bf16, whose neighbours differ in the upper half of an f32.
    let (mut given, mut wanted) = (vec![], vec![]);
    for low in (0..0x7f7f_u16).step_by(7) {
        let middle = (u32::from(low) << 16) | 0x8000;
        let even = if low % 2 == 0 { low } else { low + 1 };
        for (x, bits) in [(middle - 1, low), (middle, even), (middle + 1, low + 1)] {
            given.push(f32::from_bits(x));
            wanted.push(bits);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), one(Dtype::Bf16, Form::Safetensors, false), given).unwrap();
    assert!(stored(folder.path()) == wanted);
}

/// Invariant: No number of an export becomes infinite without a word.
#[test]
fn a_number_beyond_f16_is_said_with_its_place() {
    for form in [Form::Parquet, Form::Safetensors] {
        for (beyond, clip) in [(65504.004, false), (-70000.0, false), (f32::INFINITY, true)] {
            let folder = tempfile::tempdir().unwrap();
            let values = vec![1.0, 65504.0, beyond, 2.0];
            let e = write(folder.path(), one(Dtype::F16, form, clip), values).unwrap_err();
            for word in ["blocks.3.hook_mlp_out", "tale-4", "position 2", &beyond.to_string()] {
                assert!(e.message().contains(word), "{word}: {e}");
            }
            let hint = e.hint_text().unwrap();
            assert!(hint.contains("store = f32") && hint.contains("clip") != clip, "{hint}");
            assert_eq!(super::made::names(folder.path()), ["request.json"]);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), one(Dtype::F16, Form::Safetensors, true), vec![65519.0, 7e4, -1e30, 1.0]).unwrap();
    assert_eq!(stored(folder.path()), [0x7bff, 0x7bff, 0xfbff, 0x3c00]);
}

#[test]
fn parquet_has_no_bf16() {
    let folder = tempfile::tempdir().unwrap();
    let Err(e) = How::new(layout(&[4], Dtype::Bf16, Form::Parquet)).open(folder.path()) else { panic!("refused") };
    assert!(e.hint_text().unwrap().contains("as = safetensors"), "{e:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Invariant: An export's tensors are those of its rows, each aligned to its numbers.
#[test]
fn tensors_have_the_rows_in_order() {
    use super::made::{CONTEXT, index, number, tokens_of};
    let folder = tempfile::tempdir().unwrap();
    let how = How::new(layout(&[3], Dtype::F32, Form::Safetensors));
    how.write(folder.path()).unwrap();
    for block in 0..how.blocks() {
        let bytes = std::fs::read(folder.path().join(format!("data-{block:06}.safetensors"))).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let rows: Vec<(u64, u32)> = (block * 3..how.documents.min(block * 3 + 3))
            .flat_map(|doc| (0..tokens_of(doc)).map(move |token| (doc, token)))
            .collect();
        for (name, view) in tensors.tensors() {
            let size = view.dtype().bitsize() / 8;
            let at = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
            assert_eq!((at % size, view.shape()[0]), (0, rows.len()), "{name}");
        }
        let u64s = |name: &str| {
            let view = tensors.tensor(name).unwrap();
            view.data().chunks(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>()
        };
        let u32s = |name: &str| {
            let view = tensors.tensor(name).unwrap();
            view.data().chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>()
        };
        let keys = u64s("rows");
        for (row, (doc, token)) in rows.iter().enumerate() {
            assert_eq!((keys[3 * row], keys[3 * row + 2]), (*doc, u64::from(token % CONTEXT)));
            assert_eq!(u32s("byte_end")[row], if *token == 0 { u32::MAX } else { token * 3 + 3 });
            for (h, hook) in how.layout.hooks.iter().enumerate() {
                let all = u32s(&hook.name);
                for at in 0..hook.width() {
                    let wanted =
                        if hook.index { index(*doc, *token, at) } else { number(*doc, *token, h, at).to_bits() };
                    assert_eq!(all[row * hook.width() + at], wanted, "{} {row}", hook.name);
                }
            }
        }
        assert_eq!(tensors.tensor("blocks.0.attn.hook_z").unwrap().shape(), [rows.len(), 2, 3]);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let said = header.metadata().as_ref().unwrap();
        let documents: serde_json::Value = serde_json::from_str(&said["documents"]).unwrap();
        assert_eq!(documents[(block * 3).to_string()], format!("file.jsonl:{}", block * 3));
        assert!(said["pellucid"].contains("\"instructions\":\"avx2\""));
    }
}
