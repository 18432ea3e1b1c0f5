//! What is there stays, what is damaged is made again, and nobody else's data set is touched.

use std::path::Path;

use pellucid::dataset::{Dtype, Form};
use pellucid::error::ErrorKind;
use serde_json::json;

use super::made::{How, files, layout, names};

fn how() -> How {
    How::new(layout(&[16], Dtype::F32, Form::Parquet))
}

fn undisturbed() -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    how().write(folder.path()).unwrap();
    files(folder.path())
}

/// Invariant: An export that was stopped and resumed leaves the bytes of one that was not.
#[test]
fn a_run_that_was_stopped_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (how, path) = (how(), folder.path());
    let mut dataset = how.open(path).unwrap();
    how.block(&mut dataset, 0).unwrap();
    how.block(&mut dataset, 2).unwrap();
    // A block that was begun and not finished.
    let mut writer = dataset.block(1).unwrap();
    writer.push(super::made::document(&how.layout, 3, &mut 0)).unwrap();
    drop(writer);
    drop(dataset);
    assert_eq!(
        names(path),
        ["blocks/000000.json", "blocks/000002.json", "data-000000.parquet", "data-000002.parquet", "request.json"]
    );
    let Err(e) = how.open(path) else { panic!("there are blocks already") };
    assert!(e.message().contains("2 blocks") && e.hint_text().unwrap().contains("resume"), "{e:?}");
    assert_eq!(how.resume().write(path).unwrap(), [1, 3]);
    assert!(files(path) == undisturbed());
    // On another processor numbers are the same within rounding only: blocks of two kinds would be mixed without a word.
    let elsewhere = How { instructions: "avx512", ..how.resume() }.open(path).unwrap();
    assert!((0..how.blocks()).all(|block| elsewhere.wants(block)));
    drop(elsewhere);
    // Once more: nothing is left to do.
    assert_eq!(how.resume().write(path).unwrap(), [0; 0]);
    assert!(files(path) == undisturbed());
}

/// Invariant: Files and records of an export that are torn or were altered are found and made again.
#[test]
fn what_is_torn_or_altered_is_made_again() {
    let whole = undisturbed();
    let edit = |path: &Path, from: &str, to: &str| {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    type Harm<'a> = (&'a str, &'a dyn Fn(&Path));
    let harms: &[Harm] = &[
        ("cut short", &|p| {
            let bytes = std::fs::read(p.join("data-000001.parquet")).unwrap();
            std::fs::write(p.join("data-000001.parquet"), &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("a bit", &|p| {
            let mut bytes = std::fs::read(p.join("data-000001.parquet")).unwrap();
            bytes[1000] ^= 1;
            std::fs::write(p.join("data-000001.parquet"), bytes).unwrap();
        }),
        ("gone", &|p| std::fs::remove_file(p.join("data-000001.parquet")).unwrap()),
        ("a link", &|p| {
            std::fs::rename(p.join("data-000001.parquet"), p.join("blocks/elsewhere")).unwrap();
            std::os::unix::fs::symlink("blocks/elsewhere", p.join("data-000001.parquet")).unwrap();
        }),
        ("no record", &|p| std::fs::remove_file(p.join("blocks/000001.json")).unwrap()),
        ("a torn record", &|p| {
            let text = std::fs::read_to_string(p.join("blocks/000001.json")).unwrap();
            std::fs::write(p.join("blocks/000001.json"), &text[..text.len() / 2]).unwrap();
        }),
        ("other rows", &|p| edit(&p.join("blocks/000001.json"), "\"tokens\":26", "\"tokens\":27")),
        ("other sums", &|p| edit(&p.join("blocks/000001.json"), "\"first\":", "\"first\":1")),
        ("the record of another", &|p| {
            std::fs::copy(p.join("blocks/000002.json"), p.join("blocks/000001.json")).map(|_| ()).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let folder = tempfile::tempdir().unwrap();
        how().write(folder.path()).unwrap();
        harm(folder.path());
        if *what == "a link" {
            // Not a file of this data set's, whatever it leads to.
            let Err(e) = how().resume().write(folder.path()) else { panic!("a link is nobody's to replace") };
            assert!(e.message().contains("data-000001.parquet"), "{e}");
            continue;
        }
        assert_eq!(how().resume().write(folder.path()).unwrap(), [1], "{what}");
        assert!(files(folder.path()) == whole, "{what}");
    }
}

/// Invariant: An export is never put over another's files.
#[test]
fn nothing_of_another_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    how().write(path).unwrap();
    let before = files(path);
    let another = How { request: json!({"hooks": "z"}), ..how() };
    let wider = How { layout: layout(&[17], Dtype::F32, Form::Parquet), ..how() };
    for other in [&another, &wider, &another.resume(), &wider.shard(1, 4)] {
        let Err(e) = other.open(path) else { panic!("another request's folder") };
        assert!(e.message().contains("another request, `pellucid export`"), "{e}");
        assert!(e.hint_text().unwrap().contains("force") && e.exit_code() == 2, "{e:?}");
        assert!(files(path) == before);
    }
    // With force it is replaced, and what pellucid did not write stays.
    std::fs::write(path.join("data-notes.txt"), "mine").unwrap();
    let forced = How { force: true, documents: 4, ..another };
    forced.write(path).unwrap();
    let expected = tempfile::tempdir().unwrap();
    How { force: false, ..forced }.write(expected.path()).unwrap();
    std::fs::write(expected.path().join("data-notes.txt"), "mine").unwrap();
    assert!(files(path) == files(expected.path()));

    // Somebody's file with the name of one of ours.
    for name in ["data-000002.parquet", "README.md", "request.json"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), "mine").unwrap();
        let e = how().write(folder.path()).unwrap_err();
        assert!(e.message().contains(name) && e.kind() == ErrorKind::BadInput, "{e}");
        assert_eq!(std::fs::read_to_string(folder.path().join(name)).unwrap(), "mine");
        assert!(!folder.path().join("manifest.json").exists());
    }
}

#[test]
fn one_process_at_a_time_makes_a_shard() {
    let folder = tempfile::tempdir().unwrap();
    let first = how().shard(0, 2).open(folder.path()).unwrap();
    let Err(e) = how().shard(0, 2).open(folder.path()) else { panic!("another is at work") };
    assert!(e.message().contains("another run is at work") && e.message().contains("0-of-2"), "{e}");
    let at_work = |status: &pellucid::dataset::Status| status.shards.iter().map(|s| s.at_work).collect::<Vec<_>>();
    assert_eq!(at_work(&pellucid::dataset::status(folder.path(), false).unwrap()), [true, false]);
    // Another shard of it is no hindrance.
    drop(how().shard(1, 2).open(folder.path()).unwrap());
    drop(first);
    drop(how().shard(0, 2).open(folder.path()).unwrap());
    assert_eq!(names(folder.path()), ["request.json"]);
}
