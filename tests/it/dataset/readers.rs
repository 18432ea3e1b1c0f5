//! Exports are read by pyarrow, polars, DuckDB and Hugging Face datasets, all of them to what was computed.

use std::collections::BTreeMap;
use std::process::Command;

use half::f16;
use pellucid::dataset::{Dtype, Form, Scalars, Values};

use super::made::{How, document, layout, names};

/// Counts and sums values, without rounding: in units of 2^-80, of which every value here is a multiple.
#[derive(Default)]
struct Sum(u64, i128);

impl Sum {
    fn add(&mut self, value: f64) {
        let scaled = value * 2f64.powi(80);
        assert!(scaled.fract() == 0.0 && scaled.abs() < 2f64.powi(115), "{value}");
        self.0 += 1;
        self.1 += scaled as i128;
    }

    /// The sum, rounded once.
    fn rounded(&self) -> (u64, f64) {
        (self.0, self.1 as f64 / 2f64.powi(80))
    }
}

/// What every column holds, from the rows that were given.
fn given(how: &How) -> BTreeMap<String, (u64, f64)> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for doc in 0..how.documents {
        // Sequences are counted anew in each block.
        let mut seq = (doc - doc % 3..doc).map(|before| super::made::tokens_of(before).div_ceil(32)).sum();
        let rows = document(&how.layout, doc, &mut seq);
        let mut add = |name: &str, values: &mut dyn Iterator<Item = f64>| {
            let sum = sums.entry(name.to_owned()).or_default();
            values.for_each(|value| sum.add(value));
        };
        let u32s = |values: &[u32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>().into_iter();
        add("doc", &mut rows.doc.iter().map(|v| *v as f64));
        add("doc_id", &mut rows.doc_id.iter().map(|v| v.len() as f64));
        add("seq", &mut u32s(&rows.seq));
        add("pos", &mut u32s(&rows.pos));
        add("token_id", &mut u32s(&rows.token_id));
        add("token", &mut rows.token.iter().map(|v| v.len() as f64));
        add("byte_start", &mut rows.byte_start.iter().flatten().map(|v| f64::from(*v)));
        add("byte_end", &mut rows.byte_end.iter().flatten().map(|v| f64::from(*v)));
        add("special", &mut rows.special.iter().map(|v| f64::from(u8::from(*v))));
        for (column, values) in how.layout.scalars.iter().zip(&rows.scalars) {
            match values {
                Scalars::F32(values) => add(&column.name, &mut values.iter().flatten().map(|v| f64::from(*v))),
                Scalars::U32(values) => add(&column.name, &mut values.iter().flatten().map(|v| f64::from(*v))),
            }
        }
        let number = |v: &f32| if how.layout.dtype == Dtype::F16 { f16::from_f32(*v).to_f64() } else { f64::from(*v) };
        for (hook, values) in how.layout.hooks.iter().zip(&rows.hooks) {
            match values {
                Values::F32(values) => add(&hook.name, &mut values.iter().map(number)),
                Values::U32(values) => add(&hook.name, &mut u32s(values)),
            }
        }
    }
    sums.into_iter().map(|(name, sum)| (name, sum.rounded())).collect()
}

/// Invariant: pyarrow, polars, DuckDB and Hugging Face datasets read an export, to the same sum of every column.
#[test]
fn four_programs_read_the_same() {
    let Some(python) = std::env::var_os("PELLUCID_PYTHON") else {
        assert!(std::env::var_os("CI").is_none(), "PELLUCID_PYTHON is not set, and on CI that is a failure");
        println!(
            "skipped: PELLUCID_PYTHON names no interpreter with pyarrow, polars, duckdb and datasets (`.ci/python` makes one)"
        );
        return;
    };
    for dtype in [Dtype::F32, Dtype::F16] {
        let folder = tempfile::tempdir().unwrap();
        let how = How::new(layout(&[24, 1], dtype, Form::Parquet));
        how.write(folder.path()).unwrap();
        assert_eq!(names(folder.path()).iter().filter(|name| name.ends_with(".parquet")).count(), 4);
        let cache = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/dataset/read.py");
        let out = Command::new(&python)
            .args([script.as_ref(), folder.path(), cache.path()])
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", cache.path())
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let found: BTreeMap<String, BTreeMap<String, (u64, f64)>> = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(found.len(), 4);
        let given = given(&how);
        assert_eq!(given.len(), 9 + how.layout.scalars.len() + how.layout.hooks.len());
        for (program, sums) in found {
            assert_eq!(sums, given, "{program}");
        }
    }
}
