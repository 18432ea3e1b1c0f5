//! Running the program under limits, and random moments.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::bin::Done;

/// A number that the environment may give, such as how many runs are killed.
pub fn given(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |n| n.parse().unwrap_or_else(|_| panic!("{variable}={n}")))
}

/// Random moments. The seed is printed, and `PELLUCID_FAULTS_SEED` gives it again; what happens in a moment is the machine's.
pub struct Moments(ChaCha8Rng);

impl Moments {
    pub fn new(what: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = given("PELLUCID_FAULTS_SEED", now);
        println!("{what}: PELLUCID_FAULTS_SEED={seed}");
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A moment of something that takes so long, or shortly after.
    pub fn within(&mut self, took: Duration) -> Duration {
        took.mul_f64(1.1 * self.0.random::<f64>())
    }
}

/// Limits of `setrlimit`, by resource.
pub fn limited(command: &mut Command, limits: &[(u32, u64)]) {
    let limits = limits.to_vec();
    // SAFETY: setrlimit may be called between fork and exec, and the list is not changed by anybody.
    unsafe {
        command.pre_exec(move || {
            for (resource, most) in &limits {
                let limit = libc::rlimit { rlim_cur: *most, rlim_max: *most };
                if libc::setrlimit(*resource as _, &raw const limit) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

pub fn output(command: &mut Command) -> Done {
    let output = command.output().unwrap();
    Done {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// One sentence and one hint, with code 1, or 2 where the request asks for what cannot be.
#[track_caller]
pub fn is_said(done: &Done, what: &str, codes: &[i32]) {
    let code = done.code.unwrap_or_else(|| panic!("{what}: a signal ended it\n{}", done.stderr));
    assert!(codes.contains(&code), "{what}: code {code}\n{}", done.stderr);
    let lines: Vec<&str> = done.stderr.lines().filter(|line| !line.starts_with("note: ")).collect();
    let form = matches!(lines[..], [e, h] if e.starts_with("error: ") && h.starts_with("hint: "));
    assert!(form, "{what}: not one sentence with a hint\n{}", done.stderr);
    assert!(!done.stderr.contains("panicked"), "{what}: {}", done.stderr);
}
