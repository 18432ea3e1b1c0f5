//! What a stopped sweep left. An input that begins with `R` is the journal's bytes after its first line; every other is waves in JSON, a
//! line for each, which get the hashes that they need.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::analysis::patch::Keep;
use pellucid::model::instructions;
use pellucid::session::Parts;
use pellucid_fuzz::{Folder, check};
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    let wanted = json!({"analysis": "patch"});
    let request = blake3::hash(format!("{} {wanted}", instructions()).as_bytes()).to_hex();
    let mut journal = format!("pellucid parts 1 {request}\n").into_bytes();
    if let Some(rest) = bytes.strip_prefix(b"R") {
        journal.extend_from_slice(rest);
    } else {
        for (number, line) in (1_u64..).zip(bytes.split(|&byte| byte == b'\n')) {
            let mut hash = blake3::Hasher::new();
            hash.update(request.as_bytes()).update(&number.to_le_bytes()).update(line);
            journal.extend_from_slice(format!("{} ", hash.finalize().to_hex()).as_bytes());
            journal.extend_from_slice(line);
            journal.push(b'\n');
        }
    }
    let folder = Folder::with(&[("parts.journal", &journal)]);
    let Some(mut parts) = check(|| Parts::open(folder.path(), &wanted, true, false)) else { return };
    for wave in 0..3 {
        check(|| parts.kept(0, wave));
    }
});
