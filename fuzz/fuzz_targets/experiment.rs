//! Experiment files: TOML, references, the matrix, options of steps, what is expected, and the report's template.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid_fuzz::check;

fuzz_target!(|text: &str| {
    check(|| pellucid::cli::experiment(text));
});
