//! Corpora: the documents of files of every kind, read as a stream.

use std::fs;
use std::path::{Path, PathBuf};

use pellucid::Result;
use pellucid::text::{Corpus, Document, Documents, OnError, Reading, Txt};

/// Files in a folder of their own.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, bytes) in files {
            folder.write(name, bytes);
        }
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn reading(text: &str) -> Reading {
    Reading { text: Some(text.into()), ..Reading::default() }
}

fn documents(path: &Path, reading: &Reading) -> Documents {
    Corpus::open(&[path.to_owned()], reading).unwrap().documents()
}

fn read(path: &Path, reading: &Reading) -> Result<Vec<Document>> {
    Corpus::open(&[path.to_owned()], reading)?.documents().collect()
}

/// Each document as (id, text).
#[track_caller]
fn said(path: &Path, reading: &Reading) -> Vec<(String, String)> {
    let documents = read(path, reading).unwrap();
    assert!(documents.iter().enumerate().all(|(i, d)| d.index == i as u64), "indices count what was read");
    documents.into_iter().map(|d| (d.id, d.text)).collect()
}

#[track_caller]
fn refused(path: &Path, reading: &Reading) -> String {
    let error = read(path, reading).unwrap_err();
    assert!(!error.hint_text().unwrap().is_empty());
    error.message().replace(&format!("{}", path.parent().unwrap().display()), "DIR")
}

#[test]
fn every_kind_of_file_says_the_same() {
    let two = [("x".to_owned(), "One, \"two\"\nthree.".to_owned()), ("7".to_owned(), "Österreich".to_owned())];
    let csv = "id,n,text\nx,1,\"One, \"\"two\"\"\nthree.\"\n7,2,Österreich\n";
    let lines = "{\"id\": \"x\", \"n\": [1, {\"text\": \"no\"}], \"text\": \"One, \\\"two\\\"\\nthree.\"}\n\n{\"text\": \"Österreich\", \"id\": 7}\r\n";
    let list = format!("[\n{}]", lines.trim().replace("}\n\n{", "},\n{"));
    let tsv = csv.replace("One, ", "One\u{1f}").replace(',', "\t").replace('\u{1f}', ", ");
    let folder = Folder::new(&[
        ("a.csv", csv.as_bytes()),
        ("a.tsv", tsv.as_bytes()),
        ("a.jsonl", lines.as_bytes()),
        ("a.ndjson", format!("\u{feff}{lines}").as_bytes()),
        ("a.json", list.as_bytes()),
        ("lines.json", lines.as_bytes()),
    ]);
    for file in fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(said(&path, &Reading::default()), two, "{}", path.display());
    }
}

#[test]
fn a_text_file_is_a_document_or_its_paragraphs_or_lines() {
    let folder =
        Folder::new(&[("b/two.txt", b"Two\n"), ("a.txt", b"One\r\nline\n\n \nNext\n"), ("b/.hidden.txt", b"x")]);
    let with = |txt| said(folder.path(), &Reading { txt, ..Reading::default() });
    let pairs = |expected: &[(&str, &str)]| -> Vec<(String, String)> {
        expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    assert_eq!(with(Txt::Document), pairs(&[("a.txt", "One\r\nline\n\n \nNext\n"), ("b/two.txt", "Two\n")]));
    assert_eq!(with(Txt::Paragraph), pairs(&[("a.txt:1", "One\nline"), ("a.txt:5", "Next"), ("b/two.txt:1", "Two")]));
    assert_eq!(
        with(Txt::Line),
        pairs(&[("a.txt:1", "One"), ("a.txt:2", "line"), ("a.txt:5", "Next"), ("b/two.txt:1", "Two")])
    );
}
