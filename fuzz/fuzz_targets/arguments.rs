//! What a person types: hook patterns, token ids, positions, receivers, kinds of patches.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use pellucid::analysis::patch::{Kind, Metric};
use pellucid::analysis::path::Receivers;
use pellucid::arch::Spec;
use pellucid::hook::select;
use pellucid::text::{NamedPosition, ids, tokenizer};
use pellucid_fuzz::{check, fixture};

fuzz_target!(|text: &str| {
    static SPEC: OnceLock<Spec> = OnceLock::new();
    let spec = SPEC.get_or_init(|| {
        let config = std::str::from_utf8(fixture("config.json")).expect("JSON");
        pellucid::arch::family::read_config(config).expect("the fixture's configuration").1
    });
    check(|| select(spec, text));
    check(|| ids::parse_ids(text));
    check(|| NamedPosition::parse(text));
    check(|| Receivers::parse(spec, text));
    check(|| Kind::parse(text));
    check(|| Metric::parse(text));
    if let Some(id) = tokenizer::token_of_id(text, 97) {
        check(|| id);
    }
});
