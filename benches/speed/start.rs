//! From starting the binary to its first output, on a model so small that starting is all there is.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::Bench;
use crate::clock::Times;
use crate::models::{scratch, stories260k};

/// Starts are short and scatter: more of them than of anything else.
const REPS: usize = 20;

const NEEDED_MS: f64 = 60.0;

pub fn measure(bench: &Bench) -> Result<()> {
    let model = stories260k()?;
    lens(bench, &model, "lens --ids", &["--ids", "1,403,407,261"])?;
    if model.join("tokenizer.json").exists() {
        lens(bench, &model, "lens on text", &["Once upon a time there was a little"])?;
    }
    Ok(())
}

fn lens(bench: &Bench, model: &Path, what: &str, prompt: &[&str]) -> Result<()> {
    let out = scratch().join("start");
    if out.exists() {
        fs_err::remove_dir_all(&out)?;
    }
    let (mut first, mut whole) = (vec![], vec![]);
    // One more, which finds the files in the page cache for the others.
    let reps = if bench.reps == 1 { 1 } else { REPS };
    for i in 0..=reps {
        match run(model, prompt, &out.join(i.to_string())) {
            Ok(times) if i > 0 => {
                first.push(times[0]);
                whole.push(times[1]);
            }
            Ok(_) => {}
            Err(why) => {
                bench.say.fact(
                    json!({"case": "start", "what": what, "not_measured": why.to_string()}),
                    &format!("start    {what:28} not measured: {why}"),
                );
                return Ok(());
            }
        }
    }
    fs_err::remove_dir_all(&out)?;
    let (first, whole) = (Times::of(first), Times::of(whole));
    let [median, min, end] = [first.median(), first.min(), whole.median()].map(|s| 1e3 * s);
    bench.say.fact(
        json!({
            "case": "start", "what": what, "first_output_median_ms": median, "first_output_min_ms": min,
            "whole_median_ms": end, "reps": first.len(), "needed_at_most_ms": NEEDED_MS,
        }),
        &format!(
            "start    {what:28} first output: median {median:.1} ms, min {min:.1} ms; end: median {end:.1} ms   \
             of {}   needed: at most {NEEDED_MS}",
            first.len()
        ),
    );
    Ok(())
}

/// Seconds to the first byte on stdout, and to the end of the process.
fn run(model: &Path, prompt: &[&str], out: &Path) -> Result<[f64; 2]> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pellucid"));
    command.args(["lens", "-m"]).arg(model).args(prompt).arg("--out").arg(out);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn()?;
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let mut byte = [0];
    let any = stdout.read(&mut byte)? == 1;
    let first = start.elapsed().as_secs_f64();
    stdout.read_to_end(&mut vec![])?;
    let end = child.wait_with_output()?;
    let whole = start.elapsed().as_secs_f64();
    let stderr = String::from_utf8_lossy(&end.stderr);
    ensure!(end.status.success(), "`pellucid lens` said: {}", stderr.lines().next().unwrap_or("nothing"));
    ensure!(any, "`pellucid lens` wrote nothing to stdout");
    Ok([first, whole])
}
