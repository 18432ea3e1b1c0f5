//! An experiment that is killed, or stopped by Ctrl-C, at random moments goes on to the same bytes; and two that run at once.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::{place, results};
use crate::bin::Place;
use crate::faults::run::{Moments, given};

fn command(place: &Place) -> Command {
    let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
    command.args(["run", "test.toml", "-q"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Invariant: An experiment that is killed at any moment, or stopped by Ctrl-C, leaves whole results or none, and the next run gives the bytes
/// of an undisturbed one and nothing else.
#[test]
fn killed_at_any_moment() {
    let whole = place();
    let begun = Instant::now();
    assert!(command(&whole).status().unwrap().success());
    let took = begun.elapsed();
    let files = |place: &Place| {
        let all = results(place).into_iter();
        all.map(|(path, bytes)| (path.strip_prefix(place.path("")).unwrap().to_owned(), bytes)).collect::<Vec<_>>()
    };
    let mut moments = Moments::new("run");
    let (kills, mut stopped, mut i) = (given("PELLUCID_FAULTS_KILLS", 20), 0, 0);
    while i < kills || stopped <= kills / 3 {
        assert!(i < 10 * kills, "only {stopped} of {i} kills came in time");
        let place = place();
        let moment = moments.within(took);
        let mut child = command(&place).spawn().unwrap();
        std::thread::sleep(moment);
        // Every third by Ctrl-C, of which it can say something.
        let asked = cfg!(unix) && i % 3 == 0;
        match asked {
            // SAFETY: it only sends a signal.
            #[cfg(unix)]
            true => _ = unsafe { libc::kill(child.id() as i32, libc::SIGINT) },
            _ => child.kill().unwrap(),
        }
        let ended = child.wait().unwrap();
        // A signal that comes before the program has asked for it ends it at once.
        assert!(!asked || matches!(ended.code(), Some(0 | 130) | None), "{ended:?}");
        stopped += u64::from(!ended.success());
        assert!(command(&place).status().unwrap().success(), "kill {i} after {moment:?}");
        let (names, there) = (
            |files: &[(std::path::PathBuf, _)]| {
                files.iter().map(|(path, _): &(_, Option<Vec<u8>>)| path.clone()).collect::<Vec<_>>()
            },
            files(&place),
        );
        assert_eq!(names(&there), names(&files(&whole)), "kill {i} after {moment:?}");
        assert!(there == files(&whole), "kill {i} after {moment:?} left other bytes");
        i += 1;
    }
    println!("{stopped} of {i} were killed before they were done");
}

/// Invariant: Two processes that run an experiment at once, one of which may wait, leave the bytes of one.
#[test]
fn two_at_once_come_to_the_same() {
    let (alone, both) = (place(), place());
    assert!(command(&alone).status().unwrap().success());
    let mut children: Vec<_> = (0..2).map(|_| command(&both).args(["--wait", "120"]).spawn().unwrap()).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let names = |place: &Place| {
        let all = results(place).into_iter();
        all.map(|(path, bytes)| (path.strip_prefix(place.path("")).unwrap().to_owned(), bytes)).collect::<Vec<_>>()
    };
    assert!(names(&both) == names(&alone));
}
