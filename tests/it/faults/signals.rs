//! SIGINT, SIGTERM and SIGHUP at random moments: the program stops, keeps what is done of a sweep and clears everything else.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use pellucid::table::read_provenance;

use super::run::{Moments, given, output};
use super::writers::{ALL, Files, Writer, files};
use crate::bin::Done;

/// Signals with their exit codes.
const SIGNALS: [(i32, i32); 3] = [(libc::SIGINT, 130), (libc::SIGTERM, 143), (libc::SIGHUP, 129)];

/// Invariant: The same holds for a command that is told to stop, and for a full or read-only disk.
#[test]
fn whoever_is_told_to_stop_clears_up_and_says_so() {
    let mut moments = Moments::new("signals");
    let trials = given("PELLUCID_FAULTS_SIGNALS", 2);
    let (mut said, mut kept) = (0, 0);
    for name in ALL {
        let writer = Writer::new(name);
        for (i, (signal, code)) in (0..trials).flat_map(|_| SIGNALS).enumerate() {
            let out = format!("out-{i}");
            let strangers = writer.strangers(&out);
            let moment = moments.within(writer.took);
            let what = format!("{name}, signal {signal} after {moment:?}");
            let child = writer.command(false, &out, &[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(moment);
            // SAFETY: the child is ours, and was not waited for.
            assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
            let told = Instant::now();
            let ended = child.wait_with_output().unwrap();
            assert!(told.elapsed() < Duration::from_secs(10), "{what}: it did not stop");
            let (by, done) = (ended.status.signal(), Done::from(ended));
            match (by, done.code) {
                // Before it listens there is nothing to clear, and after it has written there is nothing to stop.
                (Some(by), _) => {
                    assert_eq!((by, done.stderr.as_str()), (signal, ""), "{what}");
                    assert_eq!(files(&writer.place.path(&out)), strangers, "{what}: it left something");
                }
                (None, Some(0)) => {}
                (None, ended) => {
                    assert_eq!(ended, Some(code), "{what}: {}", done.stderr);
                    let lines: Vec<&str> = done.stderr.lines().collect();
                    let sentence = match signal {
                        libc::SIGTERM => "error: terminated",
                        libc::SIGHUP => "error: hung up",
                        _ => "error: interrupted",
                    };
                    assert!(lines[0].starts_with(sentence) && lines.len() <= 2, "{what}: {}", done.stderr);
                    said += 1;
                    let there = files(&writer.place.path(&out));
                    let left =
                        there.keys().find(|name| name.starts_with(".pellucid-") && !strangers.contains_key(*name));
                    assert_eq!(left, None, "{what}: it left a temporary");
                    if writer.is_sweep() {
                        // What is done is in the results, which say that they are not complete.
                        kept += u64::from(there.contains_key("parts.journal"));
                        for name in there.keys().filter(|name| !strangers.contains_key(*name)) {
                            is_readable(&writer, &out, name, &there[name], &what);
                        }
                    }
                    match writer.is_sweep() {
                        true => {
                            strangers.iter().for_each(|(name, bytes)| assert!(there[name] == *bytes, "{what}: {name}"))
                        }
                        false => writer.check_any_time(&out, &strangers, &Files::new(), &what),
                    }
                }
            }
            let next = output(&mut writer.next(&out, i % 2 == 0, false));
            assert_eq!(next.code, Some(0), "{what}: {}", next.stderr);
            writer.check_done(&out, &strangers, &what);
            fs_err::remove_dir_all(writer.place.path(&out)).unwrap();
        }
    }
    println!("{said} runs said that they were stopped, {kept} sweeps kept what was done");
    assert!(said > 0, "no signal came while a command was at work");
}

/// A result of a run that was stopped: whole, or one that can be read and says that it is of a part.
fn is_readable(writer: &Writer, out: &str, name: &str, bytes: &[u8], what: &str) {
    if writer.whole.get(name).is_some_and(|whole| whole == bytes) {
        return;
    }
    if name.ends_with(".parquet") {
        let provenance = read_provenance(writer.place.path(&format!("{out}/{name}")));
        assert!(!provenance.unwrap_or_else(|e| panic!("{what}: {name}: {e}")).complete, "{what}: {name}");
    } else if name.ends_with(".svg") {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(roxmltree::Document::parse(text).is_ok(), "{what}: {name} is cut short");
    }
}
