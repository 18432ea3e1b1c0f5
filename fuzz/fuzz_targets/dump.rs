//! A reference dump. An input that begins with `{` is a header alone, and gets its length and the data of a small dump.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::analysis::verify::Dump;
use pellucid::model::Model;
use pellucid_fuzz::{Folder, check, fixture, safetensors};

const GOOD: &[u8] = include_bytes!("../../tests/fixtures/gpt2/reference.safetensors");

fuzz_target!(|bytes: &[u8]| {
    let file = &safetensors(bytes, GOOD);
    let folder = Folder::with(&[("config.json", fixture("config.json")), ("r.safetensors", file)]);
    let Some(dump) = check(|| Dump::open(&folder.file("r.safetensors"))) else { return };
    let source = pellucid::text::ModelSource::folder(folder.path()).expect("the fixture's configuration");
    let (family, spec) = Model::read_spec(&source).expect("the fixture's configuration");
    check(|| dump.check(family, &spec));
});
