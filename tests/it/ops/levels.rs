//! Which instructions computed a result: every file says so, because its bytes are promised for these alone.

use pellucid::analysis::LensRow;
use pellucid::table::read_rows;

use crate::bin::{Place, model};

/// What the kernels should choose here, asked in another way.
fn expected() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl") {
            return "avx512";
        }
        if has!("avx2") && has!("fma") {
            return "avx2";
        }
        "scalar"
    }
    #[cfg(target_arch = "aarch64")]
    return "neon";
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return "scalar";
}

/// Invariant: Every file says which instruction level computed it; bytes are the same on one level only.
#[test]
fn every_file_says_which_instructions_computed_it() {
    let place = Place::new();
    place.ok(["lens", "-m", &model("gpt2"), "--ids", "3,14,15", "--out", "run"]);
    let (_, provenance) = read_rows::<LensRow>(place.path("run/logit_lens.parquet")).unwrap();
    assert_eq!(provenance.instructions, expected());
    let figure = String::from_utf8(place.read("run/logit_lens.svg")).unwrap();
    let says = format!("&quot;instructions&quot;:&quot;{}&quot;", expected());
    assert!(figure.contains(&says), "{}", &figure[..2000]);
    let facts = place.ok(["model", "-m", &model("gpt2"), "--format", "csv"]).stdout;
    assert!(facts.contains(&format!("instructions,{}\n", expected())), "{facts}");
    // Files of before say nothing, and can still be read.
    let old = r#"{"table":"t","table_version":1,"pellucid_version":"0","model":"m","revision":null,"weights_hash":"","spec":null,
        "dtype":"f32","device":"cpu","seed":null,"command":[],"complete":true}"#;
    assert_eq!(serde_json::from_str::<pellucid::table::Provenance>(old).unwrap().instructions, "");
}
