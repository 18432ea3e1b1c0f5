//! GPT-2's older pair of files, vocab.json and merges.txt, and a text, with a byte 0xFF between them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::text::{Bos, Tokenizer};
use pellucid_fuzz::{Folder, check, fixture, three};

fuzz_target!(|bytes: &[u8]| {
    let [vocab, merges, text] = three(bytes);
    let folder =
        Folder::with(&[("config.json", fixture("config.json")), ("vocab.json", vocab), ("merges.txt", merges)]);
    let Some(Some(tokenizer)) = check(|| Tokenizer::load(folder.path())) else { return };
    check(|| tokenizer.encode(&String::from_utf8_lossy(text), Bos::AsTokenizer));
});
