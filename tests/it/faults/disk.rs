//! A disk that is full, and one that may only be read: a small file system of its own, where the machine allows to mount one.

use std::process::Command;

use super::run::is_said;
use super::writers::{ALL, Files, Writer};
use crate::bin::Done;

/// Runs a script in a mount namespace of its own, as root of it. Nothing where that is not allowed.
fn mounted(writer: &Writer, script: &str) -> Option<Done> {
    // SAFETY: it only asks.
    let flags = if unsafe { libc::geteuid() } == 0 { "-m" } else { "-rm" };
    let allowed = |script: &str| {
        let mut command = Command::new("unshare");
        command.current_dir(writer.place.path("")).args([flags, "sh", "-c", script]);
        command.output().ok()
    };
    fs_err::create_dir_all(writer.place.path("disk")).unwrap();
    if !allowed("mount -t tmpfs -o size=64k none disk").is_some_and(|done| done.status.success()) {
        println!("skipped: this machine does not let the tests mount a file system");
        return None;
    }
    let mut command = writer.place.command("unshare");
    command.args([flags, "sh", "-c", script]);
    Some(command.output().unwrap().into())
}

/// `'it'\''s'`: an argument as a shell reads it.
fn quoted(args: &[String]) -> String {
    args.iter().map(|arg| format!("'{}'", arg.replace('\'', "'\\''"))).collect::<Vec<_>>().join(" ")
}

/// The command in a shell, with its results on the disk.
fn line(writer: &Writer, other: bool, more: &str) -> String {
    format!("{} {} {more}", env!("CARGO_BIN_EXE_pellucid"), quoted(&writer.args(other, "disk/out")))
}

/// What two runs of a script said and how they ended.
fn two(writer: &Writer) -> [Done; 2] {
    ["first", "second"].map(|run| Done {
        code: String::from_utf8(writer.place.read(&format!("{run}.code"))).unwrap().trim().parse().ok(),
        stdout: String::new(),
        stderr: String::from_utf8(writer.place.read(&format!("{run}.err"))).unwrap(),
    })
}

/// One of `ALL` after another, each with a disk of several sizes: from hardly any room to almost enough.
///
/// Invariant: as `whoever_is_told_to_stop_clears_up_and_says_so`.
#[test]
fn a_full_disk_is_said_and_the_next_run_is_whole() {
    for writer in ALL.map(Writer::new) {
        let strangers = writer.strangers("strangers");
        let pages = |bytes: usize| bytes.div_ceil(4096);
        let taken: usize = strangers.values().map(|bytes| pages(bytes.len())).sum();
        let results: usize = writer.whole.values().map(|bytes| pages(bytes.len())).sum();
        let mut full = 0;
        for tenth in [0, 2, 4, 6, 8, 9, 10] {
            let size = 4 * (taken + 1 + results * tenth / 10);
            let script = format!(
                "set -e
                 mount -t tmpfs -o size={size}k none disk
                 mkdir disk/out && cp -r strangers/. disk/out
                 set +e
                 {} 2> first.err > /dev/null; echo $? > first.code
                 cp -r disk/out after-first
                 mount -o remount,size=64m none disk
                 {} $({{ test -e disk/out/parts.journal || test -e disk/out/blocks; }} && echo --resume) 2> second.err > /dev/null; echo $? > second.code
                 cp -r disk/out after-second",
                // Without, what an export needs is compared with the disk before it begins.
                line(&writer, false, if writer.name == "export" { "--resume" } else { "" }),
                line(&writer, false, ""),
            );
            let what = format!("{} on a disk of {size} kB", writer.name);
            let Some(script) = mounted(&writer, &script) else { return };
            assert_eq!(script.code, Some(0), "{what}: {}", script.stderr);
            let [first, second] = two(&writer);
            if first.code != Some(0) {
                is_said(&first, &what, &[1]);
                assert!(first.stderr.contains("No space left on device"), "{what}: {}", first.stderr);
                full += 1;
            }
            writer.check_any_time("after-first", &strangers, &Files::new(), &what);
            assert_eq!(second.code, Some(0), "{what}: {}", second.stderr);
            writer.check_done("after-second", &strangers, &what);
            for copy in ["after-first", "after-second"] {
                fs_err::remove_dir_all(writer.place.path(copy)).unwrap();
            }
        }
        assert!(full >= 3, "{}: the disk was full {full} times only", writer.name);
    }
}

/// Invariant: as `whoever_is_told_to_stop_clears_up_and_says_so`.
#[test]
fn a_disk_that_may_only_be_read_is_said() {
    for writer in ALL.map(Writer::new) {
        let strangers = writer.strangers("strangers");
        // Results of another request are there, which stay, and then may be replaced.
        let script = format!(
            "set -e
             mount -t tmpfs -o size=64m none disk
             mkdir disk/out && cp -r strangers/. disk/out
             {} > /dev/null
             mount -o remount,ro none disk
             set +e
             {} 2> first.err > /dev/null; echo $? > first.code
             cp -r disk/out after-first
             mount -o remount,rw none disk
             {} 2> second.err > /dev/null; echo $? > second.code
             cp -r disk/out after-second",
            line(&writer, true, ""),
            line(&writer, false, "--force"),
            line(&writer, false, "--force"),
        );
        let what = format!("{} on a disk that may only be read", writer.name);
        let Some(script) = mounted(&writer, &script) else { return };
        assert_eq!(script.code, Some(0), "{what}: {}", script.stderr);
        let [first, second] = two(&writer);
        is_said(&first, &what, &[1]);
        assert!(first.stderr.contains("Read-only file system"), "{what}: {}", first.stderr);
        let mut after = super::writers::files(&writer.place.path("after-first"));
        after.retain(|name, _| !strangers.contains_key(name) && name != "manifest.json");
        assert!(after == writer.other, "{what}: {:?}", after.keys());
        assert_eq!(second.code, Some(0), "{what}: {}", second.stderr);
        writer.check_done("after-second", &strangers, &what);
    }
}
