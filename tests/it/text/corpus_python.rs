//! Corpora of thousands of documents, in every kind of file, against Python's own readers.

use std::collections::BTreeMap;
use std::process::Command;

use pellucid::text::{Corpus, Index, Reading};

use crate::analysis::export_python::python;

/// Invariant: Long files, parquet of many row groups, pages and batches too, give the documents that Python's own readers find in them,
/// one after another and in any order.
#[test]
fn long_files_say_what_python_reads_in_them() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/text/corpus.py");
    let out = Command::new(python).args([script.as_ref(), folder.path()]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let files: BTreeMap<String, Vec<(String, String)>> = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(files.len(), 8);
    for (name, expected) in files {
        let corpus = Corpus::open(&[folder.path().join(&name)], &Reading::default()).unwrap();
        let read: Vec<_> = corpus.documents().map(|d| d.map(|d| (d.id, d.text)).unwrap()).collect();
        assert!(read == expected, "{name}");
        if name.ends_with(".gz") {
            continue;
        }
        let mut index = Index::of(&corpus, folder.path(), &|| Ok(())).unwrap();
        assert_eq!(index.len(), 5000);
        // Every one of them: 5,000 and 1,237 have no common divisor.
        for i in (0..5000).map(|i| i * 1237 % 5000) {
            let document = index.read(i).unwrap();
            assert!(
                (&document.id, &document.text) == (&expected[i as usize].0, &expected[i as usize].1),
                "{name}: {i}"
            );
        }
    }
}
