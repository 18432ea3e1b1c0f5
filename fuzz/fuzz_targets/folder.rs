//! A folder for results in which others were before: manifest.json, a figure and a lock, with a byte 0xFF between them. What is not
//! pellucid's stays as it is, whatever is asked.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pellucid::session::Claiming;
use pellucid::session::RunFolder;
use pellucid::session::folder::request_hash;
use pellucid::session::owned::is_ours;
use pellucid_fuzz::{Folder, check, ensure, three};
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    let [manifest, figure, lock] = three(bytes);
    let folder = Folder::with(&[("manifest.json", manifest), ("patch.svg", figure), (".pellucid-lock", lock)]);
    let theirs = !is_ours(&folder.file("patch.svg"));
    let claiming = Claiming { command: &[], wait: Duration::ZERO, waiting: &|_| Ok(()) };
    for force in [false, true] {
        let made = check(|| {
            let tables = &["patch"];
            let mut run =
                RunFolder::create(folder.path().to_owned(), tables, request_hash(&json!({}))?, force, &claiming)?;
            run.write("other.txt", b"x")?;
            run.finish(&[])
        });
        let now = std::fs::read(folder.file("patch.svg")).ok();
        ensure(!theirs || now.as_deref() == Some(figure), "somebody's figure is not what it was");
        let kept = std::fs::read(folder.file("manifest.json")).ok();
        ensure(made.is_some() || kept.as_deref() == Some(manifest), "a run that was refused changed the manifest");
    }
});
