//! Runs that are ended from outside: by Ctrl-C, a scheduler, a terminal that goes away, a limit, or at once.
#![cfg(unix)]

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::bin::{Place, model};
use crate::session::folders::commands;
use crate::session::patch_long::{self, SWEEP, ended, names, results, signal, wait_for};

/// Commands that take some seconds, with `prompts.txt` and `pairs.csv` of `place`.
const LONG: [&[&str]; 6] = [
    &["lens", "--prompts", "prompts.txt"],
    &["attention", "--prompts", "prompts.txt"],
    &["cache", "--prompts", "prompts.txt", "--hooks", "blocks.*.hook_resid_post,logits"],
    &["ablate", "--prompts", "prompts.txt", "--unit", "neuron"],
    &["attribute", "--pairs", "pairs.csv", "--at", "mlp.post", "--confirm", "3000"],
    &SWEEP,
];

fn place() -> Place {
    let place = patch_long::place();
    place.write("prompts.txt", "When Mary and John went to the store, John gave a drink to\n".repeat(1500));
    place
}

fn start(place: &Place, args: &[&str]) -> Child {
    let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
    command.args(args).args(["--out", "run"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until it is at work in its folder, where its temporaries are.
fn wait_until_at_work(place: &Place, child: &mut Child) {
    let begun = Instant::now();
    let at_work = |place: &Place| {
        let entries = fs_err::read_dir(place.path("run")).into_iter().flatten().flatten();
        entries.filter(|e| e.path().is_dir()).any(|e| fs_err::read_dir(e.path()).is_ok_and(|mut e| e.next().is_some()))
    };
    while !at_work(place) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be stopped");
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is made");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Invariant: Ctrl-C, SIGTERM and SIGHUP end a run with their exit code and leave nothing half written; an ignored signal stays
/// ignored; the next run clears what a killed one left.
#[test]
fn signals_end_a_run_with_their_code_and_leave_nothing_half() {
    let place = place();
    for (name, code, word) in [("-INT", 130, "interrupted"), ("-TERM", 143, "terminated"), ("-HUP", 129, "hung up")] {
        for args in LONG {
            let mut child = start(&place, args);
            wait_until_at_work(&place, &mut child);
            signal(&child, name);
            let done = ended(child);
            let said = format!("{name} {args:?}\n{}", done.stderr);
            assert_eq!(done.code, Some(code), "{said}");
            assert!(done.stderr.lines().any(|line| line.starts_with(&format!("error: {word}"))), "{said}");
            if place.path("run").exists() {
                // Waves of a sweep are kept, and what is in its table is whole.
                assert!(names(&place, "run").iter().all(|name| !name.starts_with('.')), "{said}");
                assert!(["patch", "ablate"].contains(&args[0]), "{said}");
                fs_err::remove_dir_all(place.path("run")).unwrap();
            }
        }
    }
}

/// Invariant: as `signals_end_a_run_with_their_code_and_leave_nothing_half`.
#[test]
fn waves_are_kept_by_whatever_signal_it_was() {
    let place = place();
    place.ok(SWEEP.iter().chain(&["--out", "whole"]));
    for name in ["-TERM", "-HUP"] {
        let mut child = patch_long::start(&place, &["--out", "run"]);
        wait_for(&place, "run", 10, &mut child);
        signal(&child, name);
        let done = ended(child);
        assert!(done.stderr.contains("--resume --out run"), "{}", done.stderr);
        place.ok(SWEEP.iter().chain(&["--out", "run", "--resume"]));
        assert!(results(&place, "run") == results(&place, "whole"));
        fs_err::remove_dir_all(place.path("run")).unwrap();
    }
}

/// As `nohup` has it, and a shell that starts something in the background.
///
/// Invariant: as `signals_end_a_run_with_their_code_and_leave_nothing_half`.
#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let place = place();
    let mut command = place.command("sh");
    let script = "trap '' HUP INT; exec \"$@\"";
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_pellucid")]).args(SWEEP).args(["--out", "run"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    for name in ["-HUP", "-INT"] {
        wait_for(&place, "run", 3, &mut child);
        signal(&child, name);
    }
    let done = ended(child);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
}

/// Every command, killed while its temporaries are there: the next run in the folder clears them.
///
/// Invariant: as `signals_end_a_run_with_their_code_and_leave_nothing_half`.
#[test]
fn what_a_killed_run_left_goes_with_the_next() {
    let place = place();
    for args in LONG {
        let mut child = start(&place, args);
        wait_until_at_work(&place, &mut child);
        signal(&child, "-KILL");
        ended(child);
        let left = names(&place, "run");
        assert!(left.iter().filter(|name| name.starts_with('.')).count() == 2, "{args:?} {left:?}");
        // What is no run's is none of theirs.
        place.write("run/.pellucid-mine.tmp/lock", "");
        place.write("run/.pellucid-mine2.tmp", "mine");
        // Another command clears as well as the same.
        place.ok(["tokens", "-q", "When Mary", "--out", "run"]);
        let left: Vec<String> = names(&place, "run").into_iter().filter(|name| name.starts_with('.')).collect();
        assert_eq!(left, [".pellucid-mine.tmp", ".pellucid-mine2.tmp"], "{args:?}");
        fs_err::remove_dir_all(place.path("run")).unwrap();
    }
    // A figure as well.
    let mut child = start(&place, LONG[0]);
    wait_until_at_work(&place, &mut child);
    signal(&child, "-KILL");
    ended(child);
    place.ok(["lens", "-q", "When Mary", "--out", "other"]);
    place.ok(["chart", "other/logit_lens.parquet", "--out", "run"]);
    assert_eq!(names(&place, "run"), ["logit_lens.svg"]);
}

/// `ulimit -f`: as a full disk, one sentence, and no result.
///
/// Invariant: A limit on file size is an error like a full disk.
#[test]
fn a_limit_of_a_files_size_is_an_error_like_others() {
    let m = model("gpt2");
    let place = place();
    let mut all: Vec<Vec<String>> = commands(&m).into_iter().map(|(_, args, _)| args).collect();
    all.extend(LONG[1..3].iter().map(|args| args.iter().map(|word| word.to_string()).collect()));
    let mut limited = 0;
    for args in all {
        // The lock's own few bytes are what it does not get beyond.
        for blocks in ["0", "1", "8"] {
            let before = place.contents();
            let mut command = place.command("sh");
            command.args(["-c", "ulimit -f $0; exec \"$@\"", blocks, env!("CARGO_BIN_EXE_pellucid")]);
            let output = command.args(&args).args(["-q", "--out", "run"]).stdout(Stdio::piped()).output().unwrap();
            let done: crate::bin::Done = output.into();
            if done.code == Some(0) {
                fs_err::remove_dir_all(place.path("run")).unwrap();
                continue;
            }
            limited += 1;
            done.is_refusal(&format!("{blocks} {args:?}"), 1, "File too large");
            assert!(done.stderr.contains("ulimit -f"), "{blocks} {args:?} {}", done.stderr);
            // A sweep keeps the waves for which there was room.
            if fs_err::remove_file(place.path("run/parts.journal")).is_ok() {
                fs_err::remove_dir(place.path("run")).unwrap();
            }
            assert!(place.contents() == before, "{blocks} {args:?} left {:?}", names(&place, "run"));
        }
    }
    assert!(limited > 15, "{limited}");
}
