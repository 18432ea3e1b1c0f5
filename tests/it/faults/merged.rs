//! SIGKILL at random moments while parts of an export are joined: 20 times, or as many as `PELLUCID_FAULTS_KILLS` says.

use std::process::Stdio;
use std::time::Instant;

use super::run::{Moments, given};
use super::writers::{Files, files};
use crate::bin::Place;

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
    // Parts in folders of their own, and all in one.
    let folders = ["part-0", "part-1", "part-2"];
    (0..3).for_each(|i| export(&format!("{i}/3"), folders[i]));
    (0..3).for_each(|i| export(&format!("{i}/3"), "all"));
    let parts = files(&place.path("all"));
    let merge = |from: &[&str], out: &str| {
        let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
        let to: &[&str] = if from.len() > 1 { &["--out", out] } else { &[] };
        command.args(["merge", "-q"]).args(from).args(to).stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let begun = Instant::now();
    assert!(merge(&folders, "whole").status().unwrap().success());
    let took = begun.elapsed();
    let whole = files(&place.path("whole"));
    assert!(whole.contains_key("manifest.json") && whole.len() > 60);
    let mut moments = Moments::new("merge");
    let (kills, mut stopped, mut i) = (given("PELLUCID_FAULTS_KILLS", 20), 0, 0);
    while i < kills || stopped <= kills / 3 {
        assert!(i < 10 * kills, "only {stopped} of {i} kills came in time");
        let out = format!("out-{i}");
        let apart = i % 2 == 0;
        let from: Vec<&str> = if apart { folders.to_vec() } else { vec![&out] };
        if !apart {
            parts.iter().for_each(|(name, bytes)| _ = place.write(&format!("{out}/{name}"), bytes));
        }
        let moment = moments.within(took);
        let mut child = merge(&from, &out).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        stopped += u64::from(!child.wait().unwrap().success());
        let left: Files = files(&place.path(&out));
        for (name, bytes) in left.iter().filter(|(name, _)| !name.split('/').any(|part| part.starts_with(".pellucid-")))
        {
            let known = [&whole, &parts].into_iter().any(|files| files.get(name) == Some(bytes));
            assert!(known, "kill {i} after {moment:?}: {name} is not whole: {} bytes", bytes.len());
        }
        let done = merge(&from, &out).output().unwrap();
        assert!(done.status.success(), "kill {i} after {moment:?}: {}", String::from_utf8_lossy(&done.stderr));
        let there = files(&place.path(&out));
        assert_eq!(there.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>(), "kill {i} after {moment:?}");
        assert!(there == whole, "kill {i} after {moment:?}");
        fs_err::remove_dir_all(place.path(&out)).unwrap();
        i += 1;
    }
    println!("{stopped} of {i} were killed before they were done");
}
