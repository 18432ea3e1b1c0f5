//! A file of torch.save, archive and all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::model::Model;
use pellucid_fuzz::{Folder, check, fixture};

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::with(&[("config.json", fixture("config.json")), ("pytorch_model.bin", bytes)]);
    check(|| Model::load(folder.path()));
});
