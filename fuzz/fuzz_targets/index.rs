//! model.safetensors.index.json, beside two files that it may name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::model::Model;
use pellucid_fuzz::{Folder, check, fixture};

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::with(&[
        ("config.json", fixture("config.json")),
        ("model.safetensors.index.json", bytes),
        ("model-00001-of-00002.safetensors", fixture("model.safetensors")),
        ("model-00002-of-00002.safetensors", b"\x02\0\0\0\0\0\0\0{}"),
    ]);
    check(|| Model::load(folder.path()));
});
