//! Peak memory beyond the weights, each kind of work in a process of its own.

use std::collections::HashMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use pellucid::analysis::save_activations;
use pellucid::hook::Cache;
use pellucid::model::Batch;
use pellucid::sweep::Budget;
use serde_json::{Value, json};

use crate::Bench;
use crate::models::scratch;
use crate::record::everything_but_result;

/// What a child does before it says how much memory it ever used.
#[derive(Clone, Copy, ValueEnum)]
pub enum Work {
    /// Load the model, nothing more.
    Load,
    /// Full logits at the longest length.
    Forward,
    /// Hold every site but `attn.hook_result` in memory at the middle length.
    Record,
    /// The logit lens at the middle length.
    Lens,
    /// Every site, `attn.hook_result` too, streamed to a file: `pellucid cache --hooks '*'`.
    Save,
}

/// Bytes beyond the weights that the project allows itself.
const NEEDED_MB: f64 = 300.0;

pub fn measure(bench: &Bench, real: bool) -> Result<()> {
    if peak_bytes().is_none() {
        bench.say.fact(
            json!({"case": "memory", "not_measured": "no VmHWM in /proc/self/status"}),
            "memory   not measured: this needs VmHWM in /proc/self/status, which Linux has",
        );
        return Ok(());
    }
    let [_, middle, longest] = bench.shape.lengths;
    let works = [
        (Work::Load, "load", 0),
        (Work::Forward, "forward, full logits", longest),
        (Work::Record, "every site but attn result", middle),
        (Work::Lens, "lens", middle),
        (Work::Save, "every site to a file", middle),
    ];
    for (work, what, tokens) in works {
        let said = in_child(work, real)?;
        let mb = |key: &str| -> Result<f64> {
            Ok(said[key].as_f64().with_context(|| format!("the child said no {key}"))? / 1e6)
        };
        let (peak, weights, held) = (mb("peak_bytes")?, mb("weight_bytes")?, mb("held_bytes")?);
        let excess = peak - weights;
        bench.say.fact(
            json!({
                "case": "memory", "what": what, "tokens": tokens, "peak_mb": peak, "weights_mb": weights,
                "held_mb": held, "excess_mb": excess, "needed_at_most_mb": NEEDED_MB,
            }),
            &format!(
                "memory   {what:28} {tokens:4} tokens   peak {peak:7.1} MB = weights {weights:.1} + {excess:.1} MB \
                 (of which asked for: {held:.1})   needed: at most {NEEDED_MB}"
            ),
        );
    }
    Ok(())
}

/// Peak memory grows and never shrinks, so each kind of work has a process of its own: this program again.
fn in_child(work: Work, real: bool) -> Result<Value> {
    let name = work.to_possible_value().context("every kind of work has a name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--child").arg(name.get_name());
    if real {
        command.arg("--bench");
    }
    let out = command.output()?;
    ensure!(out.status.success(), "{} failed: {}", name.get_name(), String::from_utf8_lossy(&out.stderr));
    Ok(serde_json::from_slice(&out.stdout)?)
}

/// Does the work and says what it cost.
pub fn child(bench: &Bench, work: Work) -> Result<()> {
    let [_, middle, longest] = bench.shape.lengths;
    let model = bench.load()?;
    // Bytes of tensors that the caller asked for and holds when the work is done.
    let held_bytes = match work {
        Work::Load => 0,
        Work::Forward => 4 * model.forward(&Batch::one(bench.ids(longest)), &mut [])?.elem_count(),
        Work::Record => {
            let mut cache = Cache::of(everything_but_result(model.spec()));
            model.forward(&Batch::one(bench.ids(middle)), &mut [&mut cache])?;
            4 * cache.iter().flat_map(|(_, x)| x).map(|x| x.elem_count()).sum::<usize>()
        }
        Work::Lens => {
            crate::lens::run(&model, &crate::lens::prompts(bench, middle)?)?;
            0
        }
        Work::Save => {
            let file = scratch().join("activations.safetensors");
            let prompts = crate::lens::prompts(bench, middle)?;
            save_activations(&model, &prompts, "*", Budget(512 << 20), HashMap::new(), &(), &file)?;
            fs_err::remove_file(file)?;
            0
        }
    };
    // Stored in f32, which is also the dtype in use; the header is some kilobytes.
    let weight_bytes = fs_err::metadata(bench.folder.join("model.safetensors"))?.len();
    let peak_bytes = peak_bytes().context("no VmHWM in /proc/self/status")?;
    println!("{}", json!({"peak_bytes": peak_bytes, "weight_bytes": weight_bytes, "held_bytes": held_bytes}));
    Ok(())
}

/// The most memory this process ever had in RAM, mapped files included.
fn peak_bytes() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
