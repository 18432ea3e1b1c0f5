//! Files of somebody else under every name that a run could take for its own: none is touched, by anything.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::bin::{Place, model};
use crate::session::folders::commands;

/// What is there: files with their bytes, links with where they lead, folders.
fn everything(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let (path, kind) = entry.map(|e| (e.path(), e.file_type().unwrap())).unwrap();
        if kind.is_dir() {
            found.extend(everything(&path));
            found.insert(path, b"folder".to_vec());
        } else if kind.is_symlink() {
            let to = fs_err::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
            found.insert(path, to);
        } else if kind.is_file() {
            let bytes = blake3::hash(&fs_err::read(&path).unwrap()).as_bytes().to_vec();
            found.insert(path, bytes);
        } else {
            found.insert(path, b"special".to_vec());
        }
    }
    found
}

/// Those of `before` that are not there any more, or not as they were.
fn touched(before: &BTreeMap<PathBuf, Vec<u8>>, place: &Place) -> Vec<PathBuf> {
    let after = everything(&place.path(""));
    before.iter().filter(|(path, what)| after.get(*path) != Some(what)).map(|(path, _)| path.clone()).collect()
}

/// A part as earlier versions wrote it, which somebody may keep.
const PART: &str = "{\"request\":\"0\",\"measured\":[{\"pair\":0,\"spot\":0,\"values\":[1.5]}]}";

/// Fills `run` with files that stand in nobody's way, and `elsewhere` with what links lead to.
fn fill(place: &Place) {
    for name in ["000000-000000.json", "000000-000001.json", "mine.json", ".pellucid-a.tmp", "notes"] {
        place.write(&format!("run/parts/{name}"), if name == "mine.json" { "mine" } else { PART });
        place.write(&format!("elsewhere/{name}"), PART);
    }
    for name in [
        "mine.txt",
        "mine.parquet",
        "mine.svg",
        "mine.safetensors",
        "parts.json",
        "parts.journal.old",
        ".pellucid-.tmp",
        ".pellucid-x.tmp",
        ".pellucid-lock.tmp",
        ".pellucid-y.tmp/lock",
        ".pellucid-y.tmp/patch.parquet",
        ".pellucid",
        "lock",
        "manifest.json.bak",
    ] {
        place.write(&format!("run/{name}"), "mine");
    }
    fs_err::create_dir(place.path("run/.pellucid-empty.tmp")).unwrap();
    symlink(place.path("elsewhere"), place.path("run/.pellucid-link.tmp")).unwrap();
    symlink(place.path("elsewhere/mine.json"), place.path("run/.pellucid-file.tmp")).unwrap();
    symlink(place.path("nowhere"), place.path("run/.pellucid-nothing.tmp")).unwrap();
}

fn with(args: &[String], more: &[&str]) -> Vec<String> {
    args.iter()
        .cloned()
        .chain(["-q", "--out", "run"].map(str::to_owned))
        .chain(more.iter().map(|m| m.to_string()))
        .collect()
}

/// Every command, and which of them can go on.
fn all() -> Vec<(Vec<String>, bool)> {
    let mut all: Vec<(Vec<String>, bool)> = commands(&model("gpt2"))
        .into_iter()
        .map(|(_, args, _)| {
            let resumes = ["patch", "path", "ablate"].contains(&args[0].as_str());
            (args, resumes)
        })
        .collect();
    all.push((["tokens", "When Mary"].map(str::to_owned).to_vec(), false));
    all
}

/// Invariant: Files are never removed because of their name or because a manifest lists them: files of others stay under every
/// name, with `--force` and `--resume` too.
#[test]
fn files_that_are_nobodys_of_ours_stay() {
    for (args, resumes) in all() {
        for parts_is_a_link in [false, true] {
            let place = Place::new();
            fill(&place);
            if parts_is_a_link {
                fs_err::remove_dir_all(place.path("run/parts")).unwrap();
                symlink(place.path("elsewhere"), place.path("run/parts")).unwrap();
            }
            let before = everything(&place.path(""));
            if resumes {
                for more in [&["--resume"][..], &["--resume", "--force"]] {
                    let done = place.pellucid(with(&args, more));
                    assert_eq!(done.code, Some(2), "{}", done.stderr);
                    assert_eq!(touched(&before, &place), [] as [PathBuf; 0], "{args:?} {more:?}");
                }
            }
            for more in [&[][..], &[], &["--force"]] {
                place.ok(with(&args, more));
                assert_eq!(touched(&before, &place), [] as [PathBuf; 0], "{args:?} {more:?}");
            }
        }
    }
    let place = Place::new();
    place.ok(["lens", "-q", "When Mary", "--out", "table"]);
    fill(&place);
    let before = everything(&place.path(""));
    for more in [&[][..], &["--force"]] {
        place.ok(["chart", "table/logit_lens.parquet", "--out", "run"].iter().chain(more));
        assert_eq!(touched(&before, &place), [] as [PathBuf; 0], "chart {more:?}");
    }
}

/// Names that the program needs for itself: it does without the folder, not without the file.
///
/// Invariant: as `files_that_are_nobodys_of_ours_stay`.
#[test]
fn files_that_stand_in_the_way_are_named_and_stay() {
    let mut all = all();
    let place = Place::new();
    place.ok(["lens", "-q", "When Mary", "--out", "table"]);
    let table = place.path("table/logit_lens.parquet").display().to_string();
    all.push((vec!["chart".into(), table], false));
    for (args, resumes) in all {
        let names = if resumes { &[".pellucid-lock", "parts.journal"][..] } else { &[".pellucid-lock"] };
        for name in names {
            for kind in ["empty", "text", "folder", "link", "link to nothing", "pipe"] {
                let place = Place::new();
                place.write("elsewhere/mine", "mine");
                fs_err::create_dir(place.path("run")).unwrap();
                let path = place.path(&format!("run/{name}"));
                match kind {
                    "empty" => fs_err::write(&path, "").unwrap(),
                    "text" => fs_err::write(&path, "pellucid was here\n").unwrap(),
                    "folder" => fs_err::create_dir(&path).unwrap(),
                    "link" => symlink(place.path("elsewhere/mine"), &path).unwrap(),
                    "link to nothing" => symlink(place.path("nowhere"), &path).unwrap(),
                    _ => assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()),
                }
                let before = everything(&place.path(""));
                let resume = if resumes { Some(&["--resume"][..]) } else { None };
                for more in [&[][..], &["--force"]].into_iter().chain(resume) {
                    let done = place.pellucid(with(&args, more));
                    let says = format!("run holds {name}, which is damaged or no file of pellucid's");
                    done.is_refusal(&format!("{kind} {args:?} {more:?}"), 2, &says);
                    assert!(everything(&place.path("")) == before, "{kind} {args:?} {more:?}");
                }
            }
        }
    }
}

/// A manifest that somebody else wrote makes no file pellucid's, and no result of another run one of this.
///
/// Invariant: as `files_that_are_nobodys_of_ours_stay`.
#[test]
fn what_a_strangers_manifest_lists_stays() {
    for (args, resumes) in all() {
        let place = Place::new();
        place.ok(["lens", "-q", "When Mary", "--out", "precious"]);
        place.ok(with(&args, &[]));
        let manifest: serde_json::Value = serde_json::from_slice(&place.read("run/manifest.json")).unwrap();
        let (table, figure) = (place.read("precious/logit_lens.parquet"), place.read("precious/logit_lens.svg"));
        place.write("run/precious.parquet", table);
        place.write("run/precious.svg", figure);
        place.write("run/mine.txt", "mine");
        let listed =
            serde_json::json!(["precious.parquet", "precious.svg", "mine.txt", "..", "../precious/logit_lens.svg"]);
        let before = everything(&place.path(""));
        for (request, command) in
            [(&manifest["request"], "pellucid lens --top 3"), (&serde_json::json!("another"), "pellucid")]
        {
            let manifest = serde_json::json!({
                "pellucid_version": "0.1.0", "request": request, "files": listed,
                "command": command.split(' ').collect::<Vec<_>>(),
                "replaces": [{"name": "precious.svg", "command": ["pellucid", "lens"]}, {"name": "mine.txt", "command": []}],
            });
            for more in [&[][..], &["--resume"], &["--force"]] {
                place.write("run/manifest.json", manifest.to_string());
                if more == ["--resume"] && !resumes {
                    continue;
                }
                place.pellucid(with(&args, more));
                let mine = |path: &&PathBuf| !path.ends_with("manifest.json") && !is_result(path);
                let touched: Vec<PathBuf> = touched(&before, &place).iter().filter(mine).cloned().collect();
                assert_eq!(touched, [] as [PathBuf; 0], "{args:?} {more:?}");
            }
        }
    }
}

/// Whether a path of the test above is a result of the command itself, which the command may replace.
fn is_result(path: &&PathBuf) -> bool {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    path.parent().unwrap().ends_with("run")
        && !["precious.parquet", "precious.svg", "mine.txt"].contains(&name.as_str())
}
