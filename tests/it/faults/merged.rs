//! SIGKILL at random moments while parts of a data set, or of an analysis, are joined: 20 times, or as many as `PELLUCID_FAULTS_KILLS` says.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::run::{Moments, given};
use super::writers::{Files, files};
use crate::bin::Place;

/// Joins the folders `from` into `out`; of one folder, there.
fn merge(place: &Place, from: &[&str], out: &str) -> Command {
    let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
    let to: &[&str] = if from.len() > 1 { &["--out", out] } else { &[] };
    command.args(["merge", "-q"]).args(from).args(to).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The files of a folder. What the manifest of an analysis says of the time is taken out.
fn timeless(place: &Place, folder: &str) -> Files {
    let mut files = files(&place.path(folder));
    if let Some(manifest) = files.get_mut("manifest.json") {
        let mut said: serde_json::Value = serde_json::from_slice(manifest).expect("a manifest is whole");
        let fields = said.as_object_mut().unwrap();
        ["finished_unix_s", "elapsed_s"].iter().for_each(|name| _ = fields.remove(*name));
        *manifest = said.to_string().into_bytes();
    }
    files
}

/// Kills what joins `parts`, which lie in the folder `all` and, some times, in folders of their own; an undisturbed run goes first.
fn killed(what: &str, place: &Place, folders: &[&str]) {
    let parts = files(&place.path("all"));
    let fill = |out: &str| parts.iter().for_each(|(name, bytes)| _ = place.write(&format!("{out}/{name}"), bytes));
    // Where parts have folders of their own, these are joined into another folder; else they lie in that one.
    let from = |out: &'static str, apart: bool| if apart { folders.to_vec() } else { vec![out] };
    let out = "out";
    let (mut wholes, mut took) = (vec![], std::time::Duration::ZERO);
    for apart in [false, true] {
        if !apart {
            fill(out);
        }
        let begun = Instant::now();
        assert!(merge(place, &from(out, apart), out).status().unwrap().success());
        took = begun.elapsed();
        wholes.push(timeless(place, out));
        fs_err::remove_dir_all(place.path(out)).unwrap();
    }
    let mut moments = Moments::new(what);
    let (kills, mut stopped, mut i) = (given("PELLUCID_FAULTS_KILLS", 20), 0, 0);
    while i < kills || stopped <= kills / 3 {
        assert!(i < 10 * kills, "only {stopped} of {i} kills came in time");
        let apart = i % 2 == 0;
        if !apart {
            fill(out);
        }
        let (from, whole) = (from(out, apart), &wholes[usize::from(apart)]);
        let moment = moments.within(took);
        let mut child = merge(place, &from, out).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        stopped += u64::from(!child.wait().unwrap().success());
        let left = timeless(place, out);
        for (name, bytes) in left.iter().filter(|(name, _)| !name.split('/').any(|part| part.starts_with(".pellucid-")))
        {
            let known = [whole, &parts].into_iter().any(|files| files.get(name) == Some(bytes));
            assert!(known, "kill {i} after {moment:?}: {name} is not whole: {} bytes", bytes.len());
        }
        let done = merge(place, &from, out).output().unwrap();
        assert!(done.status.success(), "kill {i} after {moment:?}: {}", String::from_utf8_lossy(&done.stderr));
        let there = timeless(place, out);
        assert_eq!(there.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>(), "kill {i} after {moment:?}");
        assert!(there == *whole, "kill {i} after {moment:?}");
        fs_err::remove_dir_all(place.path(out)).unwrap();
        i += 1;
    }
    println!("{stopped} of {i} were killed before they were done");
}

/// Invariant: Killed at any moment, `merge` leaves whole files or none, and, run again, gives the bytes of one that nobody disturbed.
#[test]
fn joining_is_killed() {
    let place = Place::new();
    let line = |i: usize| format!("{{\"text\": \"{}\"}}\n", "Mary and John went to the store. ".repeat(1 + i % 5));
    place.write("corpus.jsonl", (0..60).map(line).collect::<String>());
    let export = |shard: &str, out: &str| {
        let how = ["export", "-q", "--hooks", "resid_post", "--corpus", "corpus.jsonl", "--block", "2"];
        place.ok(how.into_iter().chain(["--shard", shard, "--out", out]));
    };
    let folders = ["part-0", "part-1", "part-2"];
    (0..3).for_each(|i| export(&format!("{i}/3"), folders[i]));
    (0..3).for_each(|i| export(&format!("{i}/3"), "all"));
    killed("merge", &place, &folders);
}

/// Invariant: as `joining_is_killed`.
#[test]
fn joining_an_analysis_is_killed() {
    let place = Place::new();
    place.write("prompts.txt", (0..150).map(|i| format!("Mary and John went to the {i}\n")).collect::<String>());
    let lens = ["lens", "-q", "--prompts", "prompts.txt", "--pos", "-1", "--top", "1"];
    let shard = |shard: &str, out: &str| {
        place.ok(lens.into_iter().chain(["--shard", shard, "--out", out]));
    };
    let folders = ["part-0", "part-1"];
    (0..2).for_each(|i| shard(&format!("{i}/2"), folders[i]));
    (0..2).for_each(|i| shard(&format!("{i}/2"), "all"));
    killed("merge of lens", &place, &folders);
}
