//! Where output goes when it cannot go there: full disks, closed pipes, interrupted runs.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::bin::{Done, Place, model};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pellucid");

/// Every command that writes, on `m`.
fn writers(m: &str) -> [Vec<&str>; 3] {
    [
        vec!["lens", "-m", m, "--ids", "1,2,3"],
        vec!["attention", "-m", m, "--ids", "1,2,3"],
        vec!["cache", "-m", m, "--ids", "1,2,3", "--hooks", "*"],
    ]
}

#[test]
fn a_folder_that_cannot_be_made_is_refused() {
    let m = model("gpt2");
    let place = Place::new();
    place.write("file", "mine");
    for args in writers(&m) {
        let out = |path: &'static str| args.iter().copied().chain(["--out", path]).collect::<Vec<_>>();
        place.refused(out("file"), 2, "file is a file, and results go to a folder");
        place.refused(out("file/below"), 1, "cannot write file/below: Not a directory");
        place.refused(out(""), 2, "a value is required for '--out <FOLDER>'");
        #[cfg(target_os = "linux")]
        {
            place.refused(out("/proc/nope"), 1, "cannot write /proc/nope: No such file");
            place.refused(out("/dev/full"), 2, "/dev/full is a file");
        }
    }
}

#[test]
fn a_run_that_fails_takes_back_only_what_it_made() {
    let m = model("gpt2");
    let place = Place::new();
    place.write("kept/notes.txt", "mine");
    place.refused(["lens", "-m", &m, "--ids", "1", "--top", "0", "--out", "kept"], 2, "not 0");
    place.refused(["lens", "-m", &m, "--ids", "1", "--top", "0", "--out", "kept/new/newer"], 2, "not 0");
    place.ok(["lens", "-m", &m, "--ids", "1"]);
    place.refused(["lens", "-m", &m, "--ids", "1", "--top", "0"], 2, "not 0");
}

/// A disk that is full after `blocks` of 512 bytes, as far as the program can tell: no file may be larger.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing() {
    let m = model("gpt2");
    let ids = vec!["7"; 40].join(",");
    for command in ["lens", "attention", "cache --hooks '*'", "tokens --out t"] {
        let model = if command.starts_with("tokens") {
            match crate::shared::shared("models/tinystories-656k") {
                Some(path) => path.display().to_string(),
                None => continue,
            }
        } else {
            m.clone()
        };
        let mut refused = 0;
        for blocks in [0, 1, 4, 8, 16, 32, 64, 128, 256] {
            let place = Place::new();
            let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {PROGRAM} {command} -m {model} --ids {ids}");
            let done: Done = place.command("sh").args(["-c", &script]).output().unwrap().into();
            match done.code {
                // This much was enough: nothing is lost then.
                Some(0) => assert!(!place.contents().is_empty()),
                _ => {
                    done.is_refusal(&script, 1, "cannot");
                    assert!(place.contents().is_empty(), "{script} left {:?}", place.contents().keys());
                    refused += 1;
                }
            }
        }
        assert!(refused >= 2, "{command}: the limit must bite");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_is_an_error_and_a_closed_one_is_not() {
    let m = model("gpt2");
    let place = Place::new();
    let help: &[&str] = &["hooks"];
    let commands: [Vec<&str>; 5] = [
        help.to_vec(),
        vec!["model", "-m", &m],
        vec!["tables"],
        vec!["man"],
        vec!["lens", "-q", "-m", &m, "--ids", "1,2,3", "--out", "out"],
    ];
    for args in commands {
        for format in ["table", "json", "ndjson", "csv", "markdown"] {
            let args: Vec<&str> = args.iter().copied().chain(["--format", format]).collect();
            let full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap();
            let (full, _) = full.into_parts();
            let done: Done = place.command(PROGRAM).args(&args).stdout(full).output().unwrap().into();
            done.is_refusal(&args.join(" "), 1, "cannot write");

            let mut child =
                place.command(PROGRAM).args(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            drop(child.stdout.take());
            let done: Done = child.wait_with_output().unwrap().into();
            assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{args:?}");
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let m = model("gpt2");
    let place = Place::new();
    let mut child = place
        .command(PROGRAM)
        .args(["hooks", "-m", &m, "--format", "ndjson"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("hook_embed"), "{line}");
    let done: Done = child.wait_with_output().unwrap().into();
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
}

/// Ctrl-C in the middle of a sweep.
#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_nothing() {
    let m = model("gpt2");
    for command in [&["lens", "--top", "90"][..], &["attention"], &["cache", "--hooks", "resid_post"]] {
        let place = Place::new();
        let line = format!("{{\"ids\": [{}]}}\n", vec!["7"; 64].join(","));
        place.write("p.jsonl", line.repeat(20_000));
        let before = place.contents();
        let mut child = place
            .command(PROGRAM)
            .args(command)
            .args(["-m", &m, "--prompts", "p.jsonl", "--memory", "1MB"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It has begun when a file in its folder is there.
        let begun = || {
            let runs = fs_err::read_dir(place.path("runs")).into_iter().flatten().flatten();
            runs.flat_map(|run| fs_err::read_dir(run.path()).into_iter().flatten()).next().is_some()
        };
        let since = Instant::now();
        while !begun() {
            assert!(since.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none(), "{command:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let kill = place.command("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let done = Done { code: child.wait().unwrap().code(), stdout: String::new(), stderr };
        done.is_refusal(&command.join(" "), 130, "interrupted; nothing was written");
        assert!(place.contents() == before, "{command:?} left {:?}", place.contents().keys());
    }
}
