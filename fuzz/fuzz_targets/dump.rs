//! A reference dump. An input that begins with `{` is a header alone, and gets its length and the data of a small dump.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::analysis::verify::Dump;
use pellucid::model::Model;
use pellucid_fuzz::{Folder, check, fixture};

const GOOD: &[u8] = include_bytes!("../../tests/fixtures/gpt2/reference.safetensors");

fuzz_target!(|bytes: &[u8]| {
    let whole;
    let file = if bytes.first() == Some(&b'{') {
        let length = u64::from_le_bytes(GOOD[..8].try_into().unwrap()) as usize;
        whole = [&(bytes.len() as u64).to_le_bytes()[..], bytes, &GOOD[8 + length..]].concat();
        &whole[..]
    } else {
        bytes
    };
    let folder = Folder::with(&[("config.json", fixture("config.json")), ("r.safetensors", file)]);
    let Some(dump) = check(|| Dump::open(&folder.file("r.safetensors"))) else { return };
    let source = pellucid::text::ModelSource::folder(folder.path()).expect("the fixture's configuration");
    let (family, spec) = Model::read_spec(&source).expect("the fixture's configuration");
    check(|| dump.check(family, &spec));
});
