//! Statistics of an export against numpy.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use super::export::{corpus, export};
use crate::bin::Place;

/// Python with pyarrow and numpy, where there is one; on CI there must be.
pub fn python() -> Option<std::ffi::OsString> {
    let python = std::env::var_os("PELLUCID_PYTHON");
    if python.is_none() {
        assert!(std::env::var_os("CI").is_none(), "PELLUCID_PYTHON is not set, and on CI that is a failure");
        println!("skipped: PELLUCID_PYTHON names no interpreter with pyarrow and numpy (`.ci/python` makes one)");
    }
    python
}

/// Invariant: The statistics of an export are what numpy finds in its values.
#[test]
fn statistics_are_those_of_numpy() {
    let Some(python) = python() else { return };
    let place = Place::new();
    corpus(&place);
    for (name, how) in [
        (
            "a",
            &["--hooks", "blocks.*.hook_resid_post,blocks.*.mlp.hook_post,blocks.1.attn.hook_z,ln_final.hook_scale"][..],
        ),
        ("b", &["--hooks", "resid_post", "--shuffle", "tokens:100", "--max-norm-multiple", "2", "--context", "16"]),
    ] {
        let plain = export(&[]);
        place.ok([&plain[..2], &plain[4..], how, &["--out", name]].concat());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/analysis/export_stats.py");
        let out = Command::new(&python).args([script.as_ref(), place.path(name).as_os_str()]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let hooks: BTreeMap<String, Value> = serde_json::from_slice(&out.stdout).unwrap();
        assert!(hooks.len() >= 4, "{hooks:?}");
        for (hook, said) in hooks {
            let found = &said["found"];
            let number = |of: &Value, name: &str| of[name].as_f64().unwrap_or_else(|| panic!("{hook}: {name} in {of}"));
            for name in ["rows", "width", "max_abs"] {
                assert_eq!(number(&said, name), number(found, name), "{hook}: {name}");
            }
            // Sums of some thousand f64 in another order, of which powers are taken: far from what another formula would make of it.
            for name in ["mean_norm", "mean", "std", "excess_kurtosis", "norm_scale"] {
                let (own, want) = (number(&said, name), number(found, name));
                assert!(
                    (own - want).abs() <= 1e-9 * want.abs().max(1.0),
                    "{hook}: {name} is {own}, and {want} to numpy"
                );
            }
            let off = (number(&said, "median_norm") - number(found, "median_norm")).abs();
            assert!(
                off <= number(&said, "median_norm_error") * (1.0 + 1e-12),
                "{hook}: the median is off by {off}: {said}"
            );
            assert!(number(&said, "median_norm_error") < number(found, "median_norm") / 200.0);
        }
    }
}
