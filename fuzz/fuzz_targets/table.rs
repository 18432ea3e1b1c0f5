//! A table that pellucid wrote, or something like it: read, and drawn if it can be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::table::read_provenance;
use pellucid_fuzz::{Folder, check};

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::with(&[("t.parquet", bytes)]);
    let path = folder.file("t.parquet");
    check(|| read_provenance(&path));
    check(|| pellucid::analysis::seen::render(&path));
});
