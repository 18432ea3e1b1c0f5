//! The program where the system gives it less than it asks for, or its environment more: no threads, no room on stdout, variables
//! that are meant for libraries. Nobody's file is blamed, and nothing ends as if all were well.

#![cfg(unix)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::bin::{Done, Place};

const LENS: [&str; 6] = ["lens", "Mary gave it", "-q", "--out", "made", "--format=csv"];

/// The program in a place where a user without rights finds it, for limits do not hold for root.
fn for_anybody(place: &Place) -> std::path::PathBuf {
    let program = place.program("pellucid");
    for open in [place.path(""), program.clone(), place.path("made")] {
        fs_err::set_permissions(open, Permissions::from_mode(0o755)).unwrap();
    }
    program
}

/// As nobody, if this is root, and with so many processes and threads of that user.
fn with_threads(command: &mut Command, most: u64) {
    // SAFETY: asks, and changes nothing.
    if unsafe { libc::geteuid() } == 0 {
        command.uid(65534).gid(65534);
    }
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: between fork and exec, `setrlimit` alone is called, which is safe there.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NPROC, &limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
}

/// Invariant: When threads run out inside a parser, the file is not blamed.
#[cfg(target_os = "linux")]
#[test]
fn without_threads_a_good_file_is_not_called_damaged() {
    let place = Place::new();
    place.ok(LENS);
    let program = for_anybody(&place);
    fs_err::create_dir(place.path("figures")).unwrap();
    fs_err::set_permissions(place.path("figures"), Permissions::from_mode(0o777)).unwrap();
    let mut lacked = 0;
    for most in [0, 1, 2, 3] {
        for args in [
            &["chart", "made/logit_lens.parquet", "--out", "figures", "--force", "-q"][..],
            &["tokens", "--prompts", "made/logit_lens.parquet", "--columns", "text=token", "-q"],
        ] {
            let mut command = place.command(&program);
            command.args(args);
            with_threads(&mut command, most);
            let done = Done::from(command.output().unwrap());
            if done.code == Some(0) {
                continue;
            }
            lacked += 1;
            done.is_refusal(&format!("{most} threads, {args:?}"), 1, "threads");
            let blamed = ["damaged", "copy or write", "corrupt"].iter().any(|word| done.stderr.contains(word));
            assert!(!blamed, "{}", done.stderr);
        }
    }
    println!("{lacked} of 8 were refused");

    // And a damaged file is called that, however many threads there are.
    let mut bytes = place.read("made/logit_lens.parquet");
    bytes[8..400].fill(0xA5);
    place.write("damaged.parquet", bytes);
    place.refused(["chart", "damaged.parquet"], 2, "as parquet");
}

/// Invariant: A stdout that cannot be written is an error with a hint, for help and version too; a closed pipe is silent.
#[test]
fn a_full_stdout_is_an_error_whatever_is_printed() {
    if !std::path::Path::new("/dev/full").exists() {
        println!("skipped: there is no /dev/full");
        return;
    }
    let place = Place::new();
    let printed: [&[&str]; 12] = [
        &["--help"],
        &["-h"],
        &["help", "lens"],
        &["--version"],
        &["lens", "--help"],
        &["lens", "--version"],
        &["completions", "zsh"],
        &["man"],
        &["tables"],
        &["tables", "--format", "json"],
        &["hooks", "-m", "demo", "--format", "csv"],
        &["tokens", "Mary gave it"],
    ];
    for args in printed {
        let full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let run = |stdout: Stdio| {
            let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
            Done::from(command.args(args).stdout(stdout).stderr(Stdio::piped()).output().unwrap())
        };
        let done = run(full.into_file().into());
        done.is_refusal(&args.join(" "), 1, "cannot write ");
        assert!(done.stderr.contains("hint: free some disk space"), "{}", done.stderr);

        // A reader that has seen enough is no failure.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = run(writer.into());
        assert_eq!((done.code, &*done.stderr), (Some(0), ""), "{args:?}");
    }
}

/// Invariant: Environment variables for libraries inside the program change no result and cause no output.
#[test]
fn variables_for_libraries_are_not_heeded() {
    let place = Place::new();
    place.ok(LENS);
    let chart = |out: &str, talk: &[(&str, &str)]| {
        let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
        command.args(["chart", "made/logit_lens.parquet", "-q", "--out", out]).envs(talk.iter().copied());
        let done = Done::from(command.output().unwrap());
        assert_eq!((done.code, &*done.stderr), (Some(0), ""), "{talk:?}");
        place.read(&format!("{out}/logit_lens.svg"))
    };
    let talk = [
        ("POLARS_VERBOSE", "1"),
        ("POLARS_PANIC_ON_ERR", "1"),
        ("POLARS_PANIC_IF_PARQUET_PARSED", "1"),
        ("POLARS_MAX_THREADS", "no number"),
        ("POLARS_WARN_UNKNOWN_CONFIG", "1"),
        ("POLARS_NO_SUCH_THING", "1"),
        ("CANDLE_GRAD_DO_NOT_DETACH", "1"),
        ("CANDLE_NUM_THREADS", "x"),
        ("RUST_LOG", "trace"),
        ("RUST_BACKTRACE", "full"),
        ("TOKENIZERS_PARALLELISM", "x"),
    ];
    assert_eq!(chart("plain", &[]), chart("talking", &talk));

    // An error stays a sentence, and a panic in somebody's parser is not reported.
    place.write("cut.parquet", &place.read("made/logit_lens.parquet")[..500]);
    place.write("no.safetensors", [0; 64]);
    let with_vector = "patch --clean a --corrupt b --answer x --kind add --at resid_post --vector no.safetensors";
    for args in ["chart cut.parquet", with_vector, "tokens --prompts cut.parquet"] {
        let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
        let done = Done::from(command.args(args.split(' ')).envs(talk).output().unwrap());
        done.is_refusal(args, 2, "");
        assert!(!done.stderr.contains("backtrace") && !done.stderr.contains(".rs:"), "{}", done.stderr);
    }
}
