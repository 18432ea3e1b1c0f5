//! A file of a corpus. The first byte says how it is written and packed, and what is read of it; one that cannot be read whole is read
//! again without its bad documents.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::text::bounds::Bounds;
use pellucid::text::{Corpus, OnError, Reading, Txt};
use pellucid_fuzz::{Folder, check, ensure};

const KINDS: [&str; 12] = [
    "txt", "jsonl", "json", "csv", "tsv", "parquet", "txt.gz", "jsonl.zst", "json.gz", "csv.zst", "tsv.gz", "jsonl.gz",
];
/// Of a text 20,000 bytes, of a record 600,000: so that what is too long is met.
const BOUNDS: Bounds = Bounds { rows: usize::MAX, bytes: 10_000_000 };

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    let kind = kind as usize;
    let name = format!("a.{}", KINDS[kind % KINDS.len()]);
    let folder = Folder::with(&[(&name, rest)]);
    let (text, id) = [(None, None), (Some("{text}{a.b}"), None), (Some("text"), Some("n"))][kind / KINDS.len() % 3];
    let txt = [Txt::Document, Txt::Paragraph, Txt::Line][kind / KINDS.len() % 3];
    let mut reading = Reading { txt, bounds: BOUNDS, ..Reading::default() };
    (reading.text, reading.id) = (text.map(str::to_owned), id.map(str::to_owned));
    let Some(corpus) = check(|| Corpus::open(&[folder.file(&name)], &reading)) else { return };
    let whole = check(|| corpus.documents().collect::<pellucid::Result<Vec<_>>>());
    reading.on_error = OnError::Skip;
    let Some(corpus) = check(|| Corpus::open(&[folder.file(&name)], &reading)) else { return };
    let mut documents = corpus.documents();
    let rest: Vec<_> = documents.by_ref().map_while(|document| check(|| document)).collect();
    ensure(documents.position() <= corpus.bytes(), "more was read than there is");
    ensure(documents.skipped().len() as u64 <= documents.skips(), "more documents are named than were left out");
    if let Some(whole) = whole {
        ensure(whole == rest && documents.skips() == 0, "a sound corpus is read in two ways");
    }
});
