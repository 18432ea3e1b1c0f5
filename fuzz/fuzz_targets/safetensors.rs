//! The header of model.safetensors. An input that begins with `{` is a header alone, and gets its length and the fixture's data.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::model::Model;
use pellucid_fuzz::{Folder, check, fixture, safetensors};

fuzz_target!(|bytes: &[u8]| {
    let file = &safetensors(bytes, fixture("model.safetensors"));
    let folder = Folder::with(&[("config.json", fixture("config.json")), ("model.safetensors", file)]);
    check(|| Model::load(folder.path()));
});
