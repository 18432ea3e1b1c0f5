//! Shards joined are what one process would have made; what does not belong together is not joined.

use std::path::{Path, PathBuf};

use pellucid::dataset::{Dtype, Form, Merging, Whole, merge, status};
use serde_json::json;

use super::made::{How, claiming, files, finish, layout};

fn how() -> How {
    How { documents: 35, ..How::new(layout(&[16], Dtype::F32, Form::Parquet)) }
}

fn join(folders: &[&Path], out: Option<&Path>, mixed: bool) -> pellucid::Result<Whole> {
    let folders: Vec<PathBuf> = folders.iter().map(|f| f.to_path_buf()).collect();
    merge(&folders, &Merging { out, mixed, claiming: &claiming() })
}

#[track_caller]
fn refused(found: pellucid::Result<Whole>) -> pellucid::Error {
    match found {
        Err(e) => e,
        Ok(_) => panic!("they do not belong together"),
    }
}

/// Invariant: The shards of an export, joined, are the bytes that one process writes.
#[test]
fn joined_shards_are_the_undivided_data_set() {
    let alone = tempfile::tempdir().unwrap();
    how().write(alone.path()).unwrap();
    let whole = files(alone.path());
    assert!(whole.iter().filter(|(name, _)| name.ends_with(".parquet")).count() == 12);
    for n in [2, 4, 16] {
        let folder = tempfile::tempdir().unwrap();
        for index in (0..n).rev() {
            let made = how().shard(index, n).write(folder.path()).unwrap();
            assert!(made.iter().all(|block| block % n == index));
        }
        let before = status(folder.path(), true).unwrap();
        assert!((before.done, before.blocks, before.complete) == (12, Some(12), false));
        finish(join(&[folder.path()], None, false).unwrap()).unwrap();
        assert!(files(folder.path()) == whole, "{n} shards");
        assert!(status(folder.path(), true).unwrap().complete);
        // Joining what is joined changes nothing.
        finish(join(&[folder.path()], None, false).unwrap()).unwrap();
        assert!(files(folder.path()) == whole);
    }
    // Each shard in a folder of its own, into a new one.
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    for (index, folder) in folders.iter().enumerate() {
        how().shard(index as u64, 3).write(folder.path()).unwrap();
    }
    let paths: Vec<&Path> = folders.iter().map(|folder| folder.path()).collect();
    let out = tempfile::tempdir().unwrap();
    assert!(refused(join(&paths, None, false)).hint_text().unwrap().contains("`out`"));
    finish(join(&paths, Some(&out.path().join("all")), false).unwrap()).unwrap();
    assert!(files(&out.path().join("all")) == whole);
}

/// Invariant: Shards are joined only if all are there, whole, of one request, one model and one instruction level.
#[test]
fn what_is_missing_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let made = |index: u64| how().shard(index, 12).write(path).unwrap();
    assert!(refused(join(&[path], None, false)).message().contains("there is no data set"));
    for index in [0, 1, 2, 4, 5, 6, 10, 11] {
        made(index);
    }
    let e = refused(join(&[path], None, false));
    assert_eq!(e.message(), "shards 3,7-9 of 12 are missing");
    for index in [3, 7, 8] {
        made(index);
    }
    assert_eq!(refused(join(&[path], None, false)).message(), "shard 9 of 12 is missing");
    made(9);
    let there = status(path, false).unwrap();
    assert!(there.shards.iter().all(|s| s.done == 1 && s.blocks == Some(1)) && there.damaged.is_empty());
    // A file that was altered since.
    let data = path.join("data-000004.parquet");
    let bytes = std::fs::read(&data).unwrap();
    let mut other = bytes.clone();
    other[500] ^= 4;
    std::fs::write(&data, other).unwrap();
    let e = refused(join(&[path], None, false));
    assert!(e.message().starts_with("shard 4 of 12 is missing (") && e.message().contains("data-000004"), "{e}");
    assert_eq!(status(path, true).unwrap().damaged, [4]);
    assert!(!path.join("manifest.json").exists());
    assert_eq!(how().shard(4, 12).resume().write(path).unwrap(), [4]);
    assert_eq!(std::fs::read(&data).unwrap(), bytes);
    finish(join(&[path], None, false).unwrap()).unwrap();
}

#[test]
fn what_does_not_belong_together_is_not_joined() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let (a, b) = (folders[0].path(), folders[1].path());
    let out = a.join("all");
    how().shard(0, 2).write(a).unwrap();
    let mut another = how().shard(1, 2);
    another.request = json!({"hooks": "z"});
    another.write(b).unwrap();
    assert!(refused(join(&[a, b], Some(&out), false)).message().contains("the request differs"));

    // Another version, another model: what the other folder says of itself.
    another.request = how().request;
    another.force = true;
    another.write(b).unwrap();
    let header = std::fs::read_to_string(b.join("request.json")).unwrap();
    for (from, to, what) in
        [(env!("CARGO_PKG_VERSION"), "9.9.9", "the version differs"), ("\"abc\"", "\"abd\"", "the model differs")]
    {
        assert!(header.contains(from));
        std::fs::write(b.join("request.json"), header.replace(from, to)).unwrap();
        assert!(refused(join(&[a, b], Some(&out), false)).message().contains(what));
    }
    std::fs::write(b.join("request.json"), &header).unwrap();
    drop(join(&[a, b], Some(&out), false).unwrap());

    // Another processor.
    let folder = tempfile::tempdir().unwrap();
    how().shard(0, 2).write(folder.path()).unwrap();
    How { instructions: "avx512", ..how().shard(1, 2) }.write(folder.path()).unwrap();
    let e = refused(join(&[folder.path()], None, false));
    assert!(e.message().contains("avx2") && e.message().contains("avx512"), "{e}");
    assert!(e.hint_text().unwrap().contains("`mixed`"));
    let whole = join(&[folder.path()], None, true).unwrap();
    assert_eq!(whole.provenance().instructions, "avx2+avx512");
    finish(whole).unwrap();

    // Another corpus: it is longer for one of them.
    let folder = tempfile::tempdir().unwrap();
    how().shard(0, 2).write(folder.path()).unwrap();
    How { documents: 40, ..how().shard(1, 2) }.write(folder.path()).unwrap();
    assert!(refused(join(&[folder.path()], None, false)).message().contains("corpus"));
}
