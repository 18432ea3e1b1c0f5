//! A sweep keeps to its memory: the budget, the weights, and what the program itself is.
#![cfg(target_os = "linux")]

use std::process::{Command, Stdio};
use std::time::Duration;

use pellucid::analysis::PatchRow;
use serde_json::json;

use crate::bin::Place;
use crate::forge;

/// What is in no budget: buffers of threads and of the writers of tables and figures, and what the allocator does not give
/// back at once.
const BESIDE: f64 = 12e6;
/// What is held of each place that is gone over, whatever the pairs: a row of one pair until it is drawn, the first row and the sums of
/// the mean, and the mean's own row. Each is as a row is: its fields, and at most nine texts of 32 bytes.
const OF_A_PLACE: f64 = (3 * (size_of::<PatchRow>() + 9 * 32)) as f64;

/// The most memory that the command had, in bytes. It is asked again and again while it runs, so that it can be a little more.
fn peak(command: &mut Command) -> f64 {
    measured(command).0
}

/// The same, and what the command said.
pub(crate) fn measured(command: &mut Command) -> (f64, String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (status, mut most) = (format!("/proc/{}/status", child.id()), 0f64);
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0.0);
        most = most.max(kilobytes * 1024.0);
        std::thread::sleep(Duration::from_millis(1));
    }
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    // It can be over before it is looked at.
    if most == 0.0 { measured(command) } else { (most, said) }
}

/// Pairs of `n` tokens that differ in their second, so that most patches move something.
fn pairs(place: &Place, name: &str, pairs: usize, n: usize) {
    let ids = |pair: usize, of: usize| {
        (0..n).map(|p| 100 + (pair * 7 + p * 13 + of * usize::from(p == 1)) % 800).collect::<Vec<_>>()
    };
    let line = |i| json!({"clean": ids(i, 0), "corrupt": ids(i, 1), "answer_id": 5, "foil_id": 6}).to_string() + "\n";
    place.write(name, (0..pairs).map(line).collect::<String>());
}

/// Invariant: A sweep takes no more memory than its budget, the weights and the program itself.
#[test]
fn a_sweep_stays_within_its_budget_and_the_weights() {
    let place = Place::new();
    forge::vocabulary(&place, "wide", 50_000);
    pairs(&place, "short.jsonl", 2, 12);
    pairs(&place, "middle.jsonl", 40, 24);
    pairs(&place, "long.jsonl", 8, 60);
    pairs(&place, "many.jsonl", 300, 24);
    let run = |args: &[&str]| {
        let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
        command.args(["patch", "-q", "--out", "run", "--force"]).args(args);
        peak(&mut command)
    };
    // The model, how many places a pair has at most, and the sweep.
    let sweeps: [(&str, f64, &[&str]); 5] = [
        // Many runs in many waves.
        ("demo", 960.0, &["--pairs", "long.jsonl", "--at", "z", "--over", "layer,head,pos"]),
        // Noise is as large as the value that it is added to.
        ("demo", 240.0, &["--pairs", "long.jsonl", "--at", "resid_pre", "--kind", "noise=1"]),
        // Many patches, of which few move anything.
        ("demo", 9216.0, &["--pairs", "middle.jsonl", "--at", "pattern", "--over", "layer,head,pos,key_pos"]),
        // The logits of whole prompts over a large vocabulary, and of the clean runs of many pairs.
        ("wide", 24.0, &["--pairs", "short.jsonl", "--at", "mlp_out", "--metric", "loss,kl"]),
        ("demo", 4.0, &["--pairs", "many.jsonl", "--at", "resid_pre", "--over", "layer", "--metric", "kl"]),
    ];
    for (model, places, sweep) in sweeps {
        // The weights, read; and all that a small sweep needs.
        let nothing =
            run(&["-m", model, "--pairs", "short.jsonl", "--limit", "1", "--at", "resid_pre", "--over", "layer"]);
        for megabytes in [8.0, 40.0] {
            let memory = format!("{megabytes}MB");
            let beyond = run(&[&["-m", model, "--memory", &memory], sweep].concat()) - nothing;
            println!("{sweep:?}: {:.1} MB of {memory}", beyond / 1e6);
            assert!(
                beyond < megabytes * 1e6 + BESIDE + OF_A_PLACE * places,
                "{sweep:?}: {:.1} MB of {memory}",
                beyond / 1e6
            );
        }
    }
}
