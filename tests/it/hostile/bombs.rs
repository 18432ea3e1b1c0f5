//! Small files that ask for much memory: how much a refusal of one takes.

use std::process::Stdio;
use std::time::Duration;

use crate::bin::{Done, Place};

/// A file that asks for more than this brings down its own process, and not the machine. In kilobytes.
const ALLOWED: usize = 12_000_000;

/// What the program takes before it looks at a file, and what the allocator keeps: its code, its threads, the built-in model.
/// Measured as 15 MB by `a_refusal_by_itself_is_small`, which holds it to this.
pub const ITSELF: f64 = 40e6;

/// Runs the program here, and says the most memory that it had, in bytes. It is asked again and again, so that it can be a little
/// more; a process that reserves more than [`ALLOWED`] is ended.
pub fn run(place: &Place, args: &[&str]) -> (f64, Done) {
    let mut command = place.command("sh");
    command
        .args(["-c", &format!("ulimit -v {ALLOWED}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_pellucid")])
        .args(args);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let watch = std::thread::spawn(move || {
        let mut most = 0f64;
        while let Ok(text) = std::fs::read_to_string(&status) {
            let Some(line) = text.lines().find_map(|l| l.strip_prefix("VmHWM:")) else { break };
            most = most.max(line.trim().trim_end_matches(" kB").parse().unwrap_or(0.0) * 1024.0);
            std::thread::sleep(Duration::from_millis(1));
        }
        most
    });
    let mut read = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut read, &mut said).unwrap();
        said
    });
    let mut stdout = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut stdout).unwrap();
    // The process stays in /proc until it is waited for, and has no memory then.
    let code = child.wait().unwrap().code();
    (watch.join().unwrap(), Done { code, stdout, stderr: errors.join().unwrap() })
}

/// Runs what must be refused with `says`, within `bytes` of memory beyond what the program is.
#[track_caller]
pub fn refused(place: &Place, args: &[&str], code: i32, says: &str, bytes: f64) -> Done {
    let (most, done) = run(place, args);
    println!("{args:?}: {:.0} MB\n{}", most / 1e6, done.stderr);
    done.is_refusal(&args.join(" "), code, says);
    assert!(done.stderr.contains("hint: "), "{}", done.stderr);
    assert!(most < ITSELF + bytes, "{args:?} took {:.0} MB of {:.0}", most / 1e6, (ITSELF + bytes) / 1e6);
    done
}

#[test]
fn a_refusal_by_itself_is_small() {
    refused(&Place::new(), &["lens", "-m", "./nothing", "--ids", "1"], 2, "nothing", 0.0);
}
