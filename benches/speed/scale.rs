//! A model of a billion parameters: loading, the first token, memory, and a forward pass, in f32, f16 and bf16.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use pellucid::model::{Batch, Model, Run, Unembed};
use pellucid::session::Session;
use rayon::prelude::*;
use safetensors::Dtype;
use serde_json::{Value, json};

use crate::Bench;
use crate::clock::take_turns;
use crate::models::{LLAMA_1B, LLAMA_TINY, LlamaShape, llama};

/// Tokens of the prompt.
pub const TOKENS: usize = 128;

/// The shape that is measured, or a tiny one to see that it works.
pub fn shape(real: bool) -> &'static LlamaShape {
    if real { &LLAMA_1B } else { &LLAMA_TINY }
}

/// The models, in f32, f16 and bf16.
pub fn models(real: bool) -> Result<[(&'static str, PathBuf); 3]> {
    let of = |dtype| llama(shape(real), dtype);
    Ok([("f32", of(Dtype::F32)?), ("f16", of(Dtype::F16)?), ("bf16", of(Dtype::BF16)?)])
}

pub fn measure(bench: &Bench, real: bool) -> Result<()> {
    for (dtype, folder) in models(real)? {
        first_token(bench, dtype, &folder, real)?;
        forward(bench, dtype, &folder, real)?;
    }
    Ok(())
}

/// The file of the weights, as the model holds it.
fn memmap(folder: &Path) -> Result<memmap2::Mmap> {
    let file = fs_err::File::open(folder.join("model.safetensors"))?;
    // SAFETY: the bench wrote this file, and nothing changes it meanwhile.
    Ok(unsafe { memmap2::Mmap::map(&file)? })
}

fn ids(n: usize, real: bool) -> Vec<u32> {
    (0..n).map(|i| ((i * 7919 + 17) % shape(real).d_vocab) as u32).collect()
}

/// Forward passes: logits of the last row, of all rows, and one more token after a prefix, which reads every weight.
fn forward(bench: &Bench, dtype: &str, folder: &Path, real: bool) -> Result<()> {
    let model = Model::load(folder)?;
    let batch = Batch::one(ids(TOKENS, real));
    let last = Run { unembed: Unembed::Rows(vec![TOKENS as u32 - 1]), ..Run::default() };
    let kept = model.run(&batch, &Run { keep_prefixes: true, unembed: Unembed::Nothing, ..Run::default() }, &mut [])?;
    let prefix = std::sync::Arc::new(kept.prefixes.into_iter().next().context("a prefix was to be kept")?);
    let one = Batch { sequences: vec![pellucid::model::Sequence::after(prefix, [17])] };
    let run = |batch: &Batch, run: &Run| -> Result<()> {
        drop(model.run(batch, run, &mut [])?);
        Ok(())
    };
    let weights = memmap(folder)?;
    let mut read = || -> Result<()> {
        let words = weights.par_chunks(1 << 16).map(|piece| {
            let (words, _) = piece.as_chunks::<8>();
            words.iter().fold(0u64, |sum, word| sum ^ u64::from_ne_bytes(*word))
        });
        std::hint::black_box(words.reduce(|| 0, |a, b| a ^ b));
        Ok(())
    };
    let (mut last, mut all) = (|| run(&batch, &last), || run(&batch, &Run::default()));
    let mut next = || run(&one, &Run::default());
    let times = take_turns(bench.reps.min(5), &mut [&mut last, &mut all, &mut next, &mut read])?;
    for (what, n, times) in
        [("last row's logits", TOKENS, &times[0]), ("full logits", TOKENS, &times[1]), ("one more token", 1, &times[2])]
    {
        bench.say.times("scale", &format!("{dtype} forward, {what}"), n, times);
    }
    bench.say.times("scale", &format!("{dtype} reading every weight once"), 1, &times[3]);
    bench.say.ratio("scale", &format!("{dtype} one more token over reading"), 1, &times[2].over(&times[3]), Some(1.2));
    Ok(())
}

/// From the start of a process to its first token, by that process and by whoever waits for it, and its memory.
fn first_token(bench: &Bench, dtype: &str, folder: &Path, real: bool) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--first-token").arg(folder);
    if real {
        command.arg("--bench");
    }
    let start = Instant::now();
    let out = command.output()?;
    let whole = start.elapsed().as_secs_f64();
    ensure!(out.status.success(), "the first token failed: {}", String::from_utf8_lossy(&out.stderr));
    let said: Value = serde_json::from_slice(&out.stdout)?;
    let number = |key: &str| said[key].as_f64().with_context(|| format!("the child said no {key}"));
    let (load, forward) = (number("load_seconds")?, number("forward_seconds")?);
    let mb = |key: &str| said[key].as_f64().map_or("unknown".to_owned(), |b| format!("{:.0} MB", b / 1e6));
    bench.say.fact(
        json!({"case": "scale", "what": format!("{dtype} first token"), "tokens": TOKENS, "seconds": whole, "memory": said}),
        &format!(
            "scale    {dtype} first token: {whole:.2} s of a whole process (load with hash and checks {load:.2} s, forward of \
             {TOKENS} tokens {forward:.2} s)   peak {} = anonymous {} + files {}",
            mb("peak_bytes"),
            mb("anonymous_bytes"),
            mb("file_bytes")
        ),
    );
    Ok(())
}

/// Loads as a command does, says what follows the prompt, and what that took.
pub fn child(folder: &Path, real: bool) -> Result<()> {
    let start = Instant::now();
    let loaded = Session::open(&folder.display().to_string())?;
    let load = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let last = Run { unembed: Unembed::Rows(vec![TOKENS as u32 - 1]), ..Run::default() };
    let out = loaded.model.run(&Batch::one(ids(TOKENS, real)), &last, &mut [])?;
    let token = out.logits()?.argmax(1)?.to_vec1::<u32>()?;
    let forward = start.elapsed().as_secs_f64();
    let bytes = |key: &str| -> Option<u64> {
        let status = fs_err::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix(key))?;
        Some(line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    println!(
        "{}",
        json!({
            "load_seconds": load, "forward_seconds": forward, "token": token,
            "peak_bytes": bytes("VmHWM"), "anonymous_bytes": bytes("RssAnon"), "file_bytes": bytes("RssFile"),
        })
    );
    Ok(())
}
