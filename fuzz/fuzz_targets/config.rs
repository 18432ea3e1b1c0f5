//! config.json, and the specification that it makes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::hook::HookPoint;
use pellucid::model::Model;
use pellucid::text::ModelSource;
use pellucid_fuzz::{Folder, check};

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::with(&[("config.json", bytes)]);
    let Some(source) = check(|| ModelSource::folder(folder.path())) else { return };
    let Some((_, spec)) = check(|| Model::read_spec(&source)) else { return };
    // What follows from it is bounded: no weights have been seen yet, and a number in a file costs nothing.
    if spec.n_layers() < 1_000 {
        HookPoint::all(&spec);
    }
    check(|| Model::load(folder.path()));
});
