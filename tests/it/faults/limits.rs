//! Little address space, few threads, small stacks, few descriptors, small files: a sentence, or the same bytes.

#![allow(clippy::unnecessary_cast)] // Resources are numbers of another type in other C libraries.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::run::{is_said, limited, output};
use super::writers::{ALL, Files, Writer};

const MB: u64 = 1 << 20;

/// Runs it in a folder with strangers' files and looks at what is left, then without any limit. Whether it was done at once.
fn holds(writer: &Writer, what: &str, limit: impl FnOnce(&mut Command)) -> bool {
    let out = "out";
    let strangers = writer.strangers(out);
    let what = format!("{}, {what}", writer.name);
    let mut command = writer.command(false, out, &[]);
    limit(&mut command);
    let done = output(&mut command);
    match done.code {
        Some(0) => writer.check_done(out, &strangers, &what),
        _ => {
            is_said(&done, &what, &[1, 2]);
            writer.check_any_time(out, &strangers, &Files::new(), &what);
            let next = output(&mut writer.next(out, true, false));
            assert_eq!(next.code, Some(0), "{what}: {}", next.stderr);
            writer.check_done(out, &strangers, &what);
        }
    }
    fs_err::remove_dir_all(writer.place.path(out)).unwrap();
    done.code == Some(0)
}

/// The least of a resource with which the program starts at all and says its version: less is the system's to say.
fn least(resource: u32, step: u64) -> u64 {
    let starts = |most: u64| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pellucid"));
        limited(command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()), &[(resource, most)]);
        command.status().is_ok_and(|status| status.success())
    };
    (1..).map(|n| n * step).find(|most| starts(*most)).unwrap()
}

fn memory(resource: u32, name: &str) {
    let least = least(resource, MB);
    let (mut done, mut refused) = (0, 0);
    for writer in ALL.map(Writer::new) {
        for more in [0, 1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256].map(|more| more * MB) {
            match holds(&writer, &format!("{name} {} kB", (least + more) >> 10), |command| {
                limited(command, &[(resource, least + more)]);
            }) {
                true => done += 1,
                false => refused += 1,
            }
        }
    }
    println!("{name}: from {} MB on, {done} done and {refused} refused", least / MB);
    assert!(done > 20 && refused > 20, "{name}: {done} {refused}");
}

/// Invariant: The limits of the process count too (address space, data, threads, stack, descriptors, file sizes): too little is
/// refused or reported, and fewer threads give the same bytes.
#[test]
fn little_address_space_is_said() {
    memory(libc::RLIMIT_AS as u32, "ulimit -v");
}

/// Invariant: as `little_address_space_is_said`.
#[test]
fn little_room_for_data_is_said() {
    memory(libc::RLIMIT_DATA as u32, "ulimit -d");
}

/// What is asked for and cannot be is a sentence before anything runs, with the limit in it.
#[test]
fn what_does_not_fit_under_the_limit_is_refused_before_it_runs() {
    let writer = Writer::new("attribute");
    let mut command = writer.place.command(env!("CARGO_BIN_EXE_pellucid"));
    let ids: Vec<String> = (0..100).map(|i| (i * 7 % 400).to_string()).collect();
    command.args(["cache", "-q", "--hooks", "*", "--out", "out", "--memory", "8GB", "--ids", &ids.join(",")]);
    limited(&mut command, &[(libc::RLIMIT_AS as u32, least(libc::RLIMIT_AS as u32, MB) + 28 * MB)]);
    let done = output(&mut command);
    is_said(&done, "a plan over the limit", &[2]);
    assert!(done.stderr.contains("under the limit of memory (ulimit -v)"), "{}", done.stderr);
    assert!(!writer.place.path("out").exists());
}

/// Invariant: as `little_address_space_is_said`.
#[test]
fn a_stack_that_is_too_small_is_said() {
    let writers = ["lens", "chart", "path"].map(Writer::new);
    let stack = libc::RLIMIT_STACK as u32;
    for writer in &writers {
        for kilobytes in [48, 64, 100, 512, 1023] {
            let mut command = writer.command(false, "out", &[]);
            limited(&mut command, &[(stack, kilobytes << 10)]);
            let done = output(&mut command);
            is_said(&done, &format!("{} with {kilobytes} kB", writer.name), &[1]);
            assert!(done.stderr.starts_with(&format!("error: the stack may have {kilobytes} kB")), "{}", done.stderr);
            assert!(!writer.place.path("out").exists());
        }
    }
    // What is enough is enough for every command.
    for writer in ALL.map(Writer::new) {
        assert!(holds(&writer, "a stack of 1 MB", |command| limited(command, &[(stack, MB)])));
    }
}

/// A user that nobody is, so that none of his processes counts.
fn nobody() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    700_000 + (std::process::id() % 100_000) * 20 + NEXT.fetch_add(1, Ordering::SeqCst)
}

/// Few processes for the user, of which threads are some. Root is not bound by that, and becomes somebody else.
///
/// Invariant: as `little_address_space_is_said`.
#[test]
fn few_threads_are_noted_and_give_the_same_bytes() {
    use std::os::unix::fs::PermissionsExt;
    // SAFETY: it only asks.
    let root = unsafe { libc::geteuid() } == 0;
    let open = |path: &std::path::Path| {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    };
    for name in ALL {
        let writer = Writer::new(name);
        open(&writer.place.path(""));
        // Where the tests were built may be closed to others.
        let program = writer.place.program("program");
        open(&program);
        for most in [1, 2, 3, 5, 8, 12] {
            let out = format!("out-{most}");
            let strangers = writer.strangers(&out);
            open(&writer.place.path(&out));
            open(&writer.place.path(&format!("{out}/parts")));
            let mut command = writer.place.command(&program);
            command.args(writer.args(false, &out).into_iter().filter(|arg| arg != "-q"));
            if root {
                let user = nobody();
                command.uid(user).gid(user);
            }
            limited(&mut command, &[(libc::RLIMIT_NPROC as u32, if root { most } else { 1 })]);
            let (done, what) = (output(&mut command), format!("{name} with {most} processes"));
            match done.code {
                Some(0) => writer.check_done(&out, &strangers, &what),
                _ => {
                    is_said(&done, &what, &[1]);
                    // Tables are read by threads of the reader's own.
                    assert!(
                        done.stderr.contains("error: the system gives this process no more threads"),
                        "{what}: {}",
                        done.stderr
                    );
                    assert!(most < 4, "{what}: {}", done.stderr);
                    writer.check_any_time(&out, &strangers, &Files::new(), &what);
                }
            }
            if most == 1 {
                let processors = std::thread::available_parallelism().unwrap();
                assert!(
                    done.stderr.contains(&format!("note: 1 of {processors} threads could be started")),
                    "{}",
                    done.stderr
                );
            }
        }
    }
}

/// More threads than processors can use are not started, whoever asks for them.
///
/// Invariant: as `little_address_space_is_said`.
#[test]
fn a_hundred_thousand_threads_are_not_started() {
    let writer = Writer::new("patch");
    let (mut command, strangers) = (writer.command(false, "out", &[]), writer.strangers("out"));
    for variable in ["RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "CANDLE_NUM_THREADS"] {
        command.env(variable, "100000");
    }
    let begun = std::time::Instant::now();
    assert_eq!(output(&mut command).code, Some(0));
    assert!(begun.elapsed() < writer.took * 10 + std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    writer.check_done("out", &strangers, "100000 threads");
    let mut command = writer.place.command(env!("CARGO_BIN_EXE_pellucid"));
    let said = output(command.args(["lens", "Once", "--out", "lens"]).env("RAYON_NUM_THREADS", "100000")).stderr;
    assert!(said.contains("note: 100000 threads were asked for; ") && said.contains("8 for each processor"), "{said}");
    // Stacks of threads are what the program says, whatever the environment does.
    for size in ["1", "1000000000000000"] {
        let mut command = writer.command(false, "out", &["--force"]);
        assert_eq!(output(command.env("RUST_MIN_STACK", size)).code, Some(0), "RUST_MIN_STACK={size}");
        writer.check_done("out", &strangers, "RUST_MIN_STACK");
    }
}

/// Invariant: as `little_address_space_is_said`.
#[test]
fn few_descriptors_are_said() {
    let resource = libc::RLIMIT_NOFILE as u32;
    let least = least(resource, 1);
    for writer in ALL.map(Writer::new) {
        // Each table is open to be written and to be read; six are the streams, the lock, and what is read before.
        let tables = writer.whole.keys().filter(|name| name.ends_with(".parquet")).count() as u64;
        let enough = (6 + 2 * tables).max(16);
        for most in (least..least + 6).chain([enough]) {
            let done = holds(&writer, &format!("{most} descriptors"), |command| limited(command, &[(resource, most)]));
            assert!(done || most < enough, "{}: {enough} descriptors are not enough", writer.name);
        }
    }
}

/// Invariant: as `little_address_space_is_said`.
#[test]
fn a_limit_of_the_size_of_files_is_said() {
    for writer in ALL.map(Writer::new) {
        let largest = writer.whole.values().map(Vec::len).max().unwrap() as u64;
        let sizes = [0, 1, 100, largest / 4, largest / 2, largest - 1];
        for most in sizes {
            let limit = |command: &mut Command| limited(command, &[(libc::RLIMIT_FSIZE as u32, most)]);
            assert!(!holds(&writer, &format!("files of at most {most} bytes"), limit), "{}: {most}", writer.name);
        }
    }
}
