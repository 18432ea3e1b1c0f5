//! A file of prompts or pairs. The first byte says how it is written and what is read of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::session::records::Input;
use pellucid::session::{pairs, prompts};
use pellucid_fuzz::{Folder, check};

const KINDS: [&str; 6] = ["txt", "jsonl", "json", "csv", "tsv", "parquet"];

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    let name = format!("p.{}", KINDS[kind as usize % KINDS.len()]);
    let folder = Folder::with(&[(&name, rest)]);
    let path = folder.file(&name);
    check(|| prompts::from_input(&Input::file(&path), &[]));
    let columns = [("text".to_owned(), "The {a.b} is {c}".to_owned())];
    check(|| prompts::from_input(&Input::file(&path), &columns));
    check(|| pairs::from_input(&Input::file(&path), &[], &[]));
});
