//! The header of model.safetensors. An input that begins with `{` is a header alone, and gets its length and the fixture's data.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::model::Model;
use pellucid_fuzz::{Folder, check, fixture};

fuzz_target!(|bytes: &[u8]| {
    let whole;
    let file = if bytes.first() == Some(&b'{') {
        let good = fixture("model.safetensors");
        let length = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
        whole = [&(bytes.len() as u64).to_le_bytes()[..], bytes, &good[8 + length..]].concat();
        &whole[..]
    } else {
        bytes
    };
    let folder = Folder::with(&[("config.json", fixture("config.json")), ("model.safetensors", file)]);
    check(|| Model::load(folder.path()));
});
