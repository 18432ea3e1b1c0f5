//! Corpora: the documents of files of every kind, read as a stream.

use std::fs;
use std::path::{Path, PathBuf};

use pellucid::Result;
use pellucid::text::bounds::Bounds;
use pellucid::text::{Corpus, Document, Index, OnError, Reading, Skipped, Txt};
use proptest::prelude::*;
use serde_json::{Value, json};

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

fn read(path: &Path, reading: &Reading) -> Result<Vec<Document>> {
    let corpus = Corpus::open(&[path.to_owned()], reading)?;
    let documents = corpus.documents().collect::<Result<Vec<_>>>()?;
    let packed = corpus.paths().find(|path| path.extension().is_some_and(|end| end == "gz" || end == "zst"));
    match packed {
        None => assert_eq!(backwards(&corpus), documents, "the same from the last to the first"),
        Some(packed) => {
            let refused = Index::of(&corpus, path.parent().unwrap(), &|| Ok(())).err().unwrap();
            assert!(refused.message().starts_with(&format!("{} is packed", packed.display())), "{}", refused.message());
        }
    }
    Ok(documents)
}

/// The documents, read from the last to the first by where each begins.
fn backwards(corpus: &Corpus) -> Vec<Document> {
    let mut index = Index::of(corpus, &std::env::temp_dir(), &|| Ok(())).unwrap();
    let mut documents: Vec<_> = (0..index.len()).rev().map(|i| index.read(i).unwrap()).collect();
    documents.reverse();
    documents
}

/// Invariant: A document of a corpus is the same wherever it is read from: as the next one, or by where it begins.
#[test]
fn documents_are_found_by_where_they_begin() {
    let rows = |from: usize, n: usize| -> arrow_array::RecordBatch {
        let texts: arrow_array::StringArray =
            (from..from + n).map(|i| Some(format!("row {i}").repeat(i % 9))).collect();
        let others: arrow_array::StringArray = (from..from + n).map(|_| Some("not read")).collect();
        let columns = [("text", std::sync::Arc::new(texts) as _), ("other", std::sync::Arc::new(others) as _)];
        arrow_array::RecordBatch::try_from_iter(columns).unwrap()
    };
    let parquet = |first: usize| {
        // Row groups of 50 rows, and pages of 7 of them.
        let how = parquet::file::properties::WriterProperties::builder()
            .set_max_row_group_row_count(Some(50))
            .set_data_page_row_count_limit(7)
            .set_write_batch_size(7)
            .build();
        let mut writer = parquet::arrow::ArrowWriter::try_new(vec![], rows(0, 1).schema(), Some(how)).unwrap();
        (0..4).for_each(|i| writer.write(&rows(first + 30 * i, 30)).unwrap());
        writer.into_inner().unwrap()
    };
    let folder = Folder::new(&[
        ("a.jsonl", b"\xef\xbb\xbf{\"text\": \"first\"}\r\n\n  \nno\n{\"text\": \"\xc3\xa9\"}\n{\"text\": 5}\n{\"text\": \"z\"}"),
        ("b.json", b"\xef\xbb\xbf[\"one\" ,\n {\"story\": \"[two],\", \"n\": [1]}\n,tru,{\"n\": 3, \"story\": \"three\", \"other\": \"x\"}]"),
        ("c.json", b"{\"text\": \"a\"}\n{\"text\": }{\"text\": \"b\"}  \"c\"\n"),
        ("d.csv", b"\xef\xbb\xbftext,id\r\n\r\n\"a\nb\",x\r\nonly one\r\n,y\r\n\n\"\"\"z\"\"\",z"),
        ("e.tsv", b"text\n\n\na,b\n\"q\tq\"\n"),
        ("f.txt", b"\xef\xbb\xbfOne\r\nline\n\n \nNext\n\n\nbad \xff\n\nlast"),
        ("g.parquet", &parquet(0)),
        ("h.parquet", &parquet(1000)),
        ("i/empty.jsonl", b"\n"),
        ("i/j.jsonl", b"{\"story\": \"only\", \"n\": 1}\n"),
        ("l.txt", b"\xef\xbb\xbfA whole file.\n"),
        ("k.jsonl", b"\"a string\"\n{\"text\": \"t\", \"story\": \"s\"}\n"),
    ]);
    for txt in [Txt::Document, Txt::Paragraph, Txt::Line] {
        let reading = Reading { txt, on_error: OnError::Skip, ..Reading::default() };
        let corpus = Corpus::open(&[folder.path().to_owned()], &reading).unwrap();
        let documents: Vec<Document> = corpus.documents().map(Result::unwrap).collect();
        assert!(documents.len() > 255 && corpus.paths().count() == 12);
        assert_eq!(backwards(&corpus), documents);
        // From file to file, more of them than stay open.
        let mut index = Index::of(&corpus, folder.path(), &|| Ok(())).unwrap();
        let n = index.len();
        assert_eq!((n as usize, index.pass().skips()), (documents.len(), 6));
        for i in (0..3 * n).map(|i| i * 101 % n) {
            assert_eq!(index.read(i).unwrap(), documents[i as usize]);
        }
    }
    // Nothing is left of it.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 11);
    let corpus =
        Corpus::open(&[folder.path().join("a.jsonl")], &Reading { on_error: OnError::Skip, ..Reading::default() });
    let mut index = Index::of(&corpus.unwrap(), folder.path(), &|| Ok(())).unwrap();
    folder.write("a.jsonl", b"{}");
    assert!(index.read(2).unwrap_err().message().ends_with("a.jsonl changed while it was read"));
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

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus")
}

/// Invariant: Every kind of corpus file, packed or not, gives the documents that Python's own readers find in it.
#[test]
fn every_kind_of_file_says_what_python_reads_in_it() {
    let expected: Vec<(String, String)> =
        serde_json::from_slice(&fs::read(fixtures().join("documents.json")).unwrap()).unwrap();
    let mut kinds = 0;
    for file in fs::read_dir(fixtures()).unwrap() {
        let path = file.unwrap().path();
        if !path.ends_with("documents.json") {
            assert_eq!(said(&path, &Reading::default()), expected, "{}", path.display());
            kinds += 1;
        }
    }
    assert_eq!(kinds, 12);
}

#[test]
fn a_text_file_is_a_document_or_its_paragraphs_or_lines() {
    let files: [(&str, &[u8]); 3] =
        [("b/two.txt", b"Two\n"), ("a.txt", b"One\r\nline\n\n \nNext\n"), ("b/.hidden.txt", b"x")];
    let folder = Folder::new(&files);
    let with = |txt| said(folder.path(), &Reading { txt, ..Reading::default() });
    let pairs = |expected: &[(&str, &str)]| -> Vec<(String, String)> {
        expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    assert_eq!(with(Txt::Document), pairs(&[("a.txt", "One\r\nline\n\n \nNext\n"), ("b/two.txt", "Two\n")]));
    assert_eq!(with(Txt::Paragraph), pairs(&[("a.txt:1", "One\nline"), ("a.txt:5", "Next"), ("b/two.txt:1", "Two")]));
    let lines = [("a.txt:1", "One"), ("a.txt:2", "line"), ("a.txt:5", "Next"), ("b/two.txt:1", "Two")];
    assert_eq!(with(Txt::Line), pairs(&lines));
}

#[test]
fn the_text_may_lie_inside_or_be_made_of_several_fields() {
    let line = br#"{"a": {"b": [{"c": "inner"}]}, "title": "T", "body": "B", "key": 7, "a.b": "dotted"}"#;
    let folder = Folder::new(&[("a.jsonl", line), ("b.csv", b"title,body,key\nT,B,7\n")]);
    let [jsonl, csv] = ["a.jsonl", "b.csv"].map(|name| folder.path().join(name));
    let one = |path: &Path, text: &str| said(path, &Reading { id: Some("key".into()), ..reading(text) }).remove(0);
    let is = |id: &str, text: &str| (id.to_owned(), text.to_owned());
    assert_eq!(one(&jsonl, "a.b.0.c"), is("7", "inner"));
    assert_eq!(one(&jsonl, "a.b"), is("7", "dotted"), "the name itself comes first");
    for path in [&jsonl, &csv] {
        assert_eq!(one(path, "{title}: {body}"), is("7", "T: B"));
        assert_eq!(one(path, "body"), is("7", "B"));
    }
    // Without `text`, the only field that has some.
    let folder = Folder::new(&[
        ("a.jsonl", b"{\"n\": 1, \"story\": \"S\"}\n"),
        ("b.csv", b"story\nS\n"),
        ("c.json", b"[\"S\", \"T\"]"),
    ]);
    let all = said(folder.path(), &Reading::default());
    assert_eq!(all, [is("a.jsonl:1", "S"), is("b.csv:2", "S"), is("c.json:1", "S"), is("c.json:1", "T")]);
}

#[test]
fn files_of_folders_come_by_name_and_paths_as_they_are_given() {
    let names = ["b.jsonl", "a/z.jsonl", "a.txt", "a/b/c.csv", "a-1.txt", "notes.md", ".git/x.txt", "a/.x.jsonl"];
    let bytes =
        |name: &str| if name.ends_with("csv") { "text\nx\n".into() } else { format!("{{\"text\": \"{name}\"}}\n") };
    let files: Vec<(&str, String)> = names.iter().map(|name| (*name, bytes(name))).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_bytes())).collect();
    let folder = Folder::new(&files);
    let ids = |paths: &[PathBuf]| -> Vec<String> {
        Corpus::open(paths, &Reading::default()).unwrap().documents().map(|d| d.unwrap().id).collect()
    };
    let mut expected = ["b.jsonl:1", "a/z.jsonl:1", "a.txt", "a/b/c.csv:2", "a-1.txt"];
    expected.sort();
    assert_eq!(ids(&[folder.path().to_owned()]), expected);
    let given = [folder.path().join("b.jsonl"), folder.path().join("a")];
    assert_eq!(ids(&given), ["b.jsonl:1", "b/c.csv:2", "z.jsonl:1"]);
}

#[test]
fn the_hash_is_of_names_and_contents_and_of_no_place() {
    let files: [(&str, &[u8]); 2] = [("a.txt", b"one"), ("b/c.txt", b"two")];
    let hash =
        |folder: &Folder| Corpus::open(&[folder.path().to_owned()], &Reading::default()).unwrap().hash().unwrap();
    let (folder, again) = (Folder::new(&files), Folder::new(&files));
    let first = hash(&folder);
    assert_eq!(first, hash(&again));
    let mut seen = vec![first];
    let changes: [&[(&str, &[u8])]; 4] = [
        &[("a.txt", b"one"), ("b/c.txt", b"twO")],
        &[("a.txt", b"one"), ("b/d.txt", b"two")],
        &[("a.txt", b"onet"), ("b/c.txt", b"wo")],
        &[("a.txt", b"one")],
    ];
    for change in changes {
        let hash = hash(&Folder::new(change));
        assert!(!seen.contains(&hash), "{change:?}");
        seen.push(hash);
    }
}

#[test]
fn what_was_read_ends_at_the_size_of_the_files() {
    let corpus = Corpus::open(&[fixtures()], &Reading::default());
    // The folder holds a list of lists, which are no documents.
    assert!(corpus.unwrap().documents().any(|d| d.is_err()));
    for file in fs::read_dir(fixtures()).unwrap().map(|file| file.unwrap().path()) {
        let corpus = Corpus::open(std::slice::from_ref(&file), &Reading::default()).unwrap();
        let (mut documents, mut before) = (corpus.documents(), 0);
        while let Some(Ok(_)) = documents.next() {
            assert!((before..=corpus.bytes()).contains(&documents.position()), "{}", file.display());
            before = documents.position();
        }
        if !file.ends_with("documents.json") {
            assert_eq!(documents.position(), fs::metadata(&file).unwrap().len(), "{}", file.display());
            assert_eq!(documents.position(), corpus.bytes());
        }
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_may_be_left_out() {
    let bad_line =
        b"{\"text\": \"a\"}\n{\"text\": \"\xff\"}\nno\n{\"txt\": \"b\"}\n\n{\"text\": 5}\n[1]\n{\"text\": \"z\"}\n";
    let files: [(&str, &[u8]); 6] = [
        ("a.jsonl", bad_line),
        ("b.csv", b"text,n\na,1\n\n\r\n\"b\nb\",2\nc\n\xfe,4\nz,5\n"),
        ("c.json", b"[{\"text\": \"a\"},\n tru,\n {\"text\": null}, {\"text\": \"z\"}]"),
        ("d.txt", b"good\nbad \xff\n"),
        ("e.tsv", b"text\na\tb\nz\n"),
        ("f.json", b"{\"text\": \"a\"}\n{\"text\": }\n{\"text\": \"z\"}"),
    ];
    let folder = Folder::new(&files);
    let path = |name: &str| folder.path().join(name);
    let first = [
        ("a.jsonl", "DIR/a.jsonl:2: this is not UTF-8"),
        ("b.csv", "DIR/b.csv:7: this row has 1 columns, but the header has 2"),
        ("c.json", "DIR/c.json:2: this is not JSON: EOF while parsing a value at line 1 column 3"),
        ("d.txt", "DIR/d.txt:2: this is not UTF-8"),
        ("e.tsv", "DIR/e.tsv:2: this row has 2 columns, but the header has 1"),
        ("f.json", "DIR/f.json:2: this is not JSON: expected value at line 1 column 10"),
    ];
    for (name, message) in first {
        assert_eq!(refused(&path(name), &Reading::default()), message);
    }
    let reading = Reading { on_error: OnError::Skip, ..Reading::default() };
    let corpus = Corpus::open(&[folder.path().to_owned()], &reading).unwrap();
    let mut documents = corpus.documents();
    let ids: Vec<String> = documents.by_ref().map(|d| d.unwrap().id).collect();
    let read = [
        "a.jsonl:1", "a.jsonl:8", "b.csv:2", "b.csv:5", "b.csv:9", "c.json:1", "c.json:3", "e.tsv:3", "f.json:1",
        "f.json:3",
    ];
    assert_eq!(ids, read);
    let places: Vec<String> =
        documents.skipped().iter().map(|Skipped { place, .. }| place.rsplit('/').next().unwrap().to_owned()).collect();
    let skipped = [
        "a.jsonl:2", "a.jsonl:3", "a.jsonl:4", "a.jsonl:6", "a.jsonl:7", "b.csv:7", "b.csv:8", "c.json:2", "c.json:3",
        "d.txt:2", "e.tsv:2", "f.json:2",
    ];
    assert_eq!(places, skipped);
    assert_eq!(documents.skips(), 12);
}

#[test]
fn all_that_is_left_out_is_counted_and_a_hundred_are_named() {
    let lines = "no\n".repeat(1000) + "{\"text\": \"a\"}\n";
    let folder = Folder::new(&[("a.jsonl", lines.as_bytes()), ("b.jsonl", b"no\n")]);
    let reading = Reading { on_error: OnError::Skip, ..Reading::default() };
    let mut documents = Corpus::open(&[folder.path().join("a.jsonl")], &reading).unwrap().documents();
    assert_eq!(documents.by_ref().count(), 1);
    assert_eq!((documents.skips(), documents.skipped().len()), (1000, 100));
    let all = refused(&folder.path().join("b.jsonl"), &reading);
    let says = "no document of `DIR/b.jsonl` could be read; 1 were left out, the first because of DIR/b.jsonl:1: ";
    assert!(all.replace(folder.path().to_str().unwrap(), "DIR").starts_with(says), "{all}");
}

/// A form feed is no space of JSON: it is a bad value, and reading goes on behind it. (It once never ended.)
#[test]
fn what_is_no_space_in_json_is_read_to_its_end() {
    let folder = Folder::new(&[
        ("a.json", b"\x0c {\"text\": \"a\"} \x0c\x0bx\n{\"text\": \"b\"}"),
        ("b.json", b"[\x0c, \"c\"]"),
    ]);
    let reading = Reading { on_error: OnError::Skip, ..Reading::default() };
    for (name, texts, skips) in [("a.json", vec!["a", "b"], 2), ("b.json", vec!["c"], 1)] {
        let mut documents = Corpus::open(&[folder.path().join(name)], &reading).unwrap().documents();
        let read: Vec<_> = documents.by_ref().map(|document| document.unwrap().text).collect();
        assert_eq!((read, documents.skips()), (texts.iter().map(ToString::to_string).collect(), skips), "{name}");
    }
}

#[test]
fn what_cannot_be_a_corpus_is_refused() {
    let gz = fs::read(fixtures().join("b.jsonl.gz")).unwrap();
    let zst = fs::read(fixtures().join("b.jsonl.zst")).unwrap();
    let snappy = fs::read(fixtures().join("g-snappy.parquet")).unwrap();
    let mut damaged = gz.clone();
    // Of its checksum.
    damaged[gz.len() - 8] ^= 1;
    let deep = format!("{{\"text\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let files: Vec<(&str, &[u8], &str)> = vec![
        ("cut.jsonl.gz", &gz[..gz.len() - 20], "cut.jsonl.gz is cut short: its gzip data ends early"),
        ("cut.jsonl.zst", &zst[..zst.len() - 20], "cut.jsonl.zst is cut short: its zstd data ends early"),
        ("bad.jsonl.gz", &damaged, "bad.jsonl.gz is not sound gzip data: "),
        ("not.jsonl.zst", b"{\"text\": \"a\"}", "not.jsonl.zst is not sound zstd data: "),
        ("packed.parquet.gz", &snappy, "packed.parquet.gz is packed parquet, which cannot be read piece by piece"),
        ("cut.parquet", &snappy[..snappy.len() - 9], "cut.parquet is cut short"),
        ("not.parquet", b"hello, this is no parquet", "not.parquet is not a parquet file"),
        ("notes.md", b"# Notes", "notes.md: this is not a kind of corpus file that is known"),
        ("empty.txt", b"", "the corpus is empty: there are no documents in `"),
        ("empty.jsonl", b"\n \n", "the corpus is empty: there are no documents in `"),
        ("empty.json", b" [ ] ", "the corpus is empty: there are no documents in `"),
        ("empty.csv", b"", "the corpus is empty: there are no documents in `"),
        ("header.csv", b"text,n\n", "the corpus is empty: there are no documents in `"),
        ("open.json", b"[\"a\",\n\"b\"", "open.json:2: the file ends inside of its list"),
        (
            "inside.json",
            b"[\"a\",\n{\"text\": \"b",
            "inside.json:2: the file ends inside of the record that begins in line 2",
        ),
        ("more.json", b"[\"a\"]\nx", "more.json:2: there is more behind the list"),
        ("comma.json", b"[\"a\",]", "comma.json:1: there is nothing before this comma or bracket"),
        ("commas.json", b"[\"a\",,\"b\"]", "commas.json:1: there is nothing before this comma or bracket"),
        ("none.json", b"[\"a\" \"b\"]", "none.json:1: there is no comma between two records"),
        ("deep.jsonl", deep.as_bytes(), "deep.jsonl:1: this is not JSON: recursion limit exceeded"),
        ("several.jsonl", b"{\"a\": \"x\", \"b\": \"y\"}", "several.jsonl:1: several fields have text"),
        ("number.jsonl", b"{\"a\": 1}", "number.jsonl:1: no field has text; it has `a`"),
    ];
    let folder = Folder::new(&[]);
    for (name, bytes, says) in files {
        let path = folder.write(name, bytes);
        let message = refused(&path, &Reading::default());
        assert!(message.contains(says), "{name}: {message}");
    }
    let nothing: [&[PathBuf]; 2] = [&[], &[folder.path().join("no.jsonl")]];
    for paths in nothing {
        assert_eq!(Corpus::open(paths, &Reading::default()).unwrap_err().exit_code(), 2);
    }
    fs::create_dir(folder.path().join("folder")).unwrap();
    assert!(
        refused(&folder.path().join("folder"), &Reading::default()).starts_with("there are no files of a known kind")
    );
}

#[test]
fn a_column_that_is_not_there_is_said_with_the_nearest_one() {
    for name in ["a.jsonl", "e.csv", "g-snappy.parquet"] {
        let error = read(&fixtures().join(name), &reading("txet")).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.message().contains("`txet`") && error.message().contains("`id`, `text`"), "{}", error.message());
        assert!(error.hint_text().unwrap().contains("text`"), "{}", error.hint_text().unwrap());
        let id = Reading { id: Some("idd".into()), ..Reading::default() };
        let error = read(&fixtures().join(name), &id).unwrap_err();
        assert!(error.message().contains("`idd`"), "{}", error.message());
    }
    let error = read(&fixtures().join("g-snappy.parquet"), &reading("more")).unwrap_err();
    assert!(error.message().contains("column `more` has the type list"), "{}", error.message());
}

#[test]
fn a_document_that_is_too_long_is_refused_and_those_behind_it_are_read() {
    let bounds = Bounds { bytes: 800_000, ..Bounds::default() };
    // A text of 1,600 bytes at most, and a record of 50,000.
    let (long, record) = ("x".repeat(1601), "x".repeat(50_001));
    let mut jsonl = String::new();
    for (text, other) in [(&long, ""), (&"a".to_owned(), &record[..]), (&"b".to_owned(), "y")] {
        jsonl += &(json!({"other": other, "text": text}).to_string() + "\n");
    }
    let csv = format!("text,other\n{long},\n\"a\",\"{record}\nx\"\nb,y\n");
    let folder = Folder::new(&[
        ("a.jsonl", jsonl.as_bytes()),
        ("b.json", jsonl.as_bytes()),
        ("c.json", format!("[{}]", jsonl.trim().replace("}\n", "},\n")).as_bytes()),
        ("d.csv", csv.as_bytes()),
        ("e.txt", record.as_bytes()),
    ]);
    let reading = Reading { on_error: OnError::Skip, bounds, ..Reading::default() };
    let corpus = Corpus::open(&[folder.path().to_owned()], &reading).unwrap();
    let mut documents = corpus.documents();
    let ids: Vec<String> = documents.by_ref().map(|d| d.unwrap().id).collect();
    assert_eq!(ids, ["a.jsonl:3", "b.json:3", "c.json:3", "d.csv:5"]);
    assert_eq!(backwards(&corpus).into_iter().map(|d| d.id).collect::<Vec<_>>(), ids);
    let why: Vec<&str> = documents.skipped().iter().map(|s| &*s.why).collect();
    assert_eq!(why.len(), 9, "{why:?}");
    for (i, why) in why.iter().enumerate() {
        let says = if i.is_multiple_of(2) && i < 8 {
            "this text is 1601 bytes long"
        } else {
            "this is longer than the 50.0 kB"
        };
        assert!(why.contains(says) || i == 8 && why.contains("this text is 50001 bytes long"), "{i}: {why}");
    }
}

/// JSON of any shape.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|x| json!(x)),
        "[\\\\\"\\[\\]{},: \\na-c\u{e9}]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-c\"\\\\]{0,3}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// What serde_json finds in the whole file is what the stream finds, record by record, as a list and as lines.
    #[test]
    fn json_is_cut_where_a_parser_of_the_whole_cuts_it(
        records in prop::collection::vec((any_json(), "[\\\\\"\\[\\]{},:\\n a-c\u{e9}]{0,12}"), 1..8),
        pretty in any::<bool>(),
        gap in "[ \\n\\t\\r]{0,3}",
    ) {
        let whole: Vec<Value> = records.into_iter().map(|(other, text)| json!({"a": other, "text": text, "z": other})).collect();
        let write = |value: &Value| match pretty {
            true => serde_json::to_string_pretty(value).unwrap(),
            false => value.to_string(),
        };
        let list = whole.iter().map(write).collect::<Vec<_>>().join(&format!("{gap},{gap}"));
        let list = format!("{gap}[{gap}{list}{gap}]{gap}");
        // What the whole file says, by another parser.
        let parsed: Vec<Value> = serde_json::from_str(&list).unwrap();
        let expected: Vec<&str> = parsed.iter().map(|record| record["text"].as_str().unwrap()).collect();
        let values = whole.iter().map(write).collect::<Vec<_>>().join(&format!("\n{gap}"));
        let lines = whole.iter().map(|value| value.to_string() + "\n").collect::<String>();
        let folder = Folder::new(&[]);
        for (name, bytes) in [("a.json", list), ("b.json", values), ("c.jsonl", lines)] {
            let path = folder.write(name, bytes.as_bytes());
            let texts: Vec<String> = read(&path, &Reading::default()).unwrap().into_iter().map(|d| d.text).collect();
            prop_assert_eq!(&texts, &expected, "{}: {}", name, bytes);
        }
    }

    /// Rows and the lines in which they begin are those of a reader that has the whole file.
    #[test]
    fn rows_are_cut_where_another_reader_cuts_them(
        rows in prop::collection::vec(("[\",\\n\\r a-c\u{e9}]{0,9}", "[\",\\n a-c]{1,9}"), 1..8),
        blank in prop::collection::vec(0..3usize, 8),
        crlf in any::<bool>(),
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let (mut file, mut expected) = (format!("text,b{end}"), vec![]);
        for ((text, other), blank) in rows.iter().zip(&blank) {
            file += &end.repeat(*blank);
            let line = 1 + file.matches('\n').count();
            let cell = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            expected.push((format!("a.csv:{line}"), text.clone()));
            file += &format!("{},{}{end}", cell(text), cell(other));
        }
        let parsed: Vec<String> = csv::Reader::from_reader(file.as_bytes()).records().map(|r| r.unwrap()[0].to_owned()).collect();
        prop_assert!(parsed.iter().eq(expected.iter().map(|(_, text)| text)), "the file is what it should be");
        let folder = Folder::new(&[]);
        let path = folder.write("a.csv", file.as_bytes());
        prop_assert_eq!(said(&path, &Reading::default()), expected, "{}", file);
    }
}

/// The corpus that a process of this test reads, and does nothing else.
const CHILD: &str = "PELLUCID_TESTS_READ_CORPUS";

#[test]
fn reads_what_it_is_told_to() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let reading = Reading { bounds: Bounds { bytes: 100_000_000, ..Bounds::default() }, ..Reading::default() };
    let corpus = Corpus::open(&[PathBuf::from(path)], &reading).unwrap();
    let (mut documents, mut bytes, begun) = (0u64, 0, std::time::Instant::now());
    let mut reader = corpus.documents();
    for document in reader.by_ref() {
        bytes += document.unwrap().text.len();
        documents += 1;
    }
    let took = begun.elapsed().as_secs_f64();
    eprintln!("{documents} documents, {bytes} bytes, {:.0} MB/s of the file", corpus.bytes() as f64 / 1e6 / took);
    corpus.hash().unwrap();
    // Said by itself: it is over too soon to be looked at.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    eprintln!("{}", status.lines().find(|line| line.starts_with(PEAK)).unwrap_or_default());
}

/// How the line begins that says how much memory a process had at most, in kB.
const PEAK: &str = "VmHWM:";

/// Invariant: Memory does not grow with a corpus: a hundred times as many documents take no more, in every kind of file.
#[cfg(target_os = "linux")]
#[test]
fn ten_thousand_documents_take_no_more_memory_than_a_hundred() {
    use parquet::arrow::ArrowWriter;
    use std::io::Write;
    use std::sync::Arc;

    let folder = Folder::new(&[]);
    let text = |i: usize| format!("{i} said \"{}\"\n", "once upon a time ".repeat(500 + i % 200));
    let write = |name: &str, n: usize| -> PathBuf {
        let path = folder.path().join(name);
        let mut file = std::io::BufWriter::new(fs::File::create(&path).unwrap());
        let mut put = |bytes: &str| file.write_all(bytes.as_bytes()).unwrap();
        let line = |i: usize| json!({"text": text(i), "other": [i, null]}).to_string();
        match name.split_once('.').unwrap().1 {
            "jsonl" => (0..n).for_each(|i| put(&(line(i) + "\n"))),
            "json" => (0..n).for_each(|i| {
                put(&format!("{}{}{}", if i == 0 { "[" } else { ",\n" }, line(i), if i == n - 1 { "]" } else { "" }))
            }),
            "csv" => {
                put("text,other\n");
                (0..n).for_each(|i| put(&format!("\"{}\",{i}\n", text(i).replace('"', "\"\""))));
            }
            "jsonl.gz" => {
                let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                (0..n).for_each(|i| writeln!(gz, "{}", line(i)).unwrap());
                gz.finish().unwrap();
            }
            "jsonl.zst" => {
                let mut zst = zstd::Encoder::new(file, 1).unwrap();
                (0..n).for_each(|i| writeln!(zst, "{}", line(i)).unwrap());
                zst.finish().unwrap();
            }
            _ => {
                let batch = |from: usize| {
                    let texts: arrow_array::StringArray = (from..from + 100).map(|i| Some(text(i))).collect();
                    arrow_array::RecordBatch::try_from_iter([("text", Arc::new(texts) as _)]).unwrap()
                };
                let mut writer = ArrowWriter::try_new(file, batch(0).schema(), None).unwrap();
                (0..n / 100).for_each(|i| writer.write(&batch(100 * i)).unwrap());
                writer.close().unwrap();
            }
        }
        path
    };
    let peak = |path: &Path| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "text::corpus::reads_what_it_is_told_to", "--nocapture"]).env(CHILD, path);
        let done = command.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success() && said.contains(" documents, "), "{said}");
        let peak =
            said.lines().find_map(|line| line.strip_prefix(PEAK)?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        println!("{}: {said}", path.display());
        1024.0 * peak.unwrap()
    };
    for kind in ["jsonl", "json", "csv", "jsonl.gz", "jsonl.zst", "parquet"] {
        let (few, many) = (write(&format!("few.{kind}"), 100), write(&format!("many.{kind}"), 10_000));
        let (few, most) = (peak(&few), peak(&many));
        // 100 MB of text, of which buffers and a batch of rows of parquet are held.
        let beside = if kind == "parquet" { 60e6 } else { 4e6 };
        assert!(most - few < beside, "{kind}: {:.1} MB for 100 documents, {:.1} MB for 10,000", few / 1e6, most / 1e6);
        fs::remove_file(folder.path().join(format!("many.{kind}"))).unwrap();
    }
}

/// Packed data of a few kilobytes that stands for hundreds of megabytes is refused, or read, in the memory of a document.
#[cfg(target_os = "linux")]
#[test]
fn what_unpacks_to_very_much_takes_no_memory() {
    use crate::session::patch_memory::measured;
    use std::io::{Read, Write};

    let folder = Folder::new(&[]);
    let path = folder.path().join("a.jsonl.zst");
    let mut zst = zstd::Encoder::new(fs::File::create(&path).unwrap(), 1).unwrap();
    std::io::copy(&mut std::io::repeat(b'\n').take(200_000_000), &mut zst).unwrap();
    zst.write_all(b"{\"text\": \"a\"}\n").unwrap();
    zst.finish().unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 100_000);
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "text::corpus::reads_what_it_is_told_to", "--nocapture"]).env(CHILD, &path);
    let (most, said) = measured(&mut command);
    assert!(said.contains("1 documents, 1 bytes") && most < 80e6, "{:.1} MB: {said}", most / 1e6);

    let mut zst = zstd::Encoder::new(fs::File::create(&path).unwrap(), 1).unwrap();
    std::io::copy(&mut std::io::repeat(b'x').take(1_000_000_000), &mut zst).unwrap();
    zst.finish().unwrap();
    let message =
        refused(&path, &Reading { bounds: Bounds { bytes: 100_000_000, ..Bounds::default() }, ..Reading::default() });
    assert!(message.contains("this is longer than the 6.2 MB that are read of one document"), "{message}");
}
