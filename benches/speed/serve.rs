//! Measuring on request: `benches/peers/compare.py` and `sweep.py` keep this process and its peers alive and let them take
//! turns.
//!
//! One JSON object a line in, one out. `{"ids": [..], "times": 3}` is answered with `{"seconds": [..]}`; with
//! `"save": "FILE"` the logits also go to a safetensors file, as `logits [t, v]`. With `"sweep": "z by head"` it is a patching
//! sweep that is timed, and the logit differences that are saved, as `patched [n]`. With `"generate": 128` so many tokens are generated,
//! in `"traces": 8` at once; with `"record": true` every step's `resid_post` is kept too.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use pellucid::analysis::generate::{Asked, Recorded, generate};
use pellucid::model::{Batch, Model, Run, Unembed};
use pellucid::sample::Chain;
use pellucid::text::{Bos, PromptEntry, build_prompts};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Bench;
use crate::clock::time;
use crate::sweep::{self, Sweep};

#[derive(Deserialize)]
struct Request {
    ids: Vec<u32>,
    times: usize,
    save: Option<PathBuf>,
    /// Logits of the last row only.
    #[serde(default)]
    last: bool,
    /// A patching sweep of this name instead of a forward pass.
    sweep: Option<String>,
    /// So many tokens generated instead.
    generate: Option<usize>,
    /// In so many traces.
    #[serde(default)]
    traces: usize,
    /// With the stream recorded after every block and step.
    #[serde(default)]
    record: bool,
}

/// Serves the model in a folder that is not the bench's.
pub fn serve_folder(folder: &Path) -> Result<()> {
    let model = Model::load(folder)?;
    let hello = json!({"d_vocab": model.spec().d_vocab, "numbers": model.numbers()});
    answer(&model, hello)
}

pub fn serve(bench: &Bench) -> Result<()> {
    let model = bench.load()?;
    let sweeps: Vec<Value> =
        sweep::cases(bench.shape).iter().map(|(s, n)| json!({"sweep": s.name(), "tokens": n})).collect();
    let hello = json!({
        "folder": bench.folder, "d_vocab": bench.shape.d_vocab, "lengths": bench.shape.lengths, "sweeps": sweeps,
    });
    answer(&model, hello)
}

fn answer(model: &Model, mut hello: Value) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    hello["name"] = json!(format!("pellucid {}", env!("CARGO_PKG_VERSION")));
    hello["threads"] = json!(rayon::current_num_threads());
    writeln!(stdout, "{hello}")?;
    stdout.flush()?;
    for line in std::io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?)?;
        let seconds = match &request.sweep {
            None if request.generate.is_some() => generate_times(model, &request)?,
            Some(name) => sweep_times(model, &request, Sweep::named(name).context("there is no sweep of this name")?)?,
            None => forward_times(model, &request)?,
        };
        writeln!(stdout, "{}", json!({"seconds": seconds}))?;
        stdout.flush()?;
    }
    Ok(())
}

fn forward_times(model: &Model, request: &Request) -> Result<Vec<f64>> {
    let last = request.ids.len() as u32 - 1;
    let unembed = if request.last { Unembed::Rows(vec![last]) } else { Unembed::All };
    let (batch, run) = (Batch::one(request.ids.clone()), Run { unembed, ..Run::default() });
    let mut forward = || -> Result<()> {
        drop(model.run(&batch, &run, &mut [])?);
        Ok(())
    };
    let seconds = (0..request.times).map(|_| time(&mut forward)).collect::<Result<_>>()?;
    if let Some(path) = &request.save {
        let logits = model.forward(&batch, &mut [])?;
        candle_core::safetensors::save(&HashMap::from([("logits", logits)]), path)?;
    }
    Ok(seconds)
}

fn sweep_times(model: &Model, request: &Request, what: Sweep) -> Result<Vec<f64>> {
    let pair = [sweep::pair(&request.ids, model.spec().d_vocab)];
    let mut found = vec![];
    let mut work = || -> Result<()> {
        found = sweep::run(model, what, &pair, sweep::MEMORY)?;
        Ok(())
    };
    let seconds = (0..request.times).map(|_| time(&mut work)).collect::<Result<_>>()?;
    if let Some(path) = &request.save {
        if found.is_empty() {
            found = sweep::run(model, what, &pair, sweep::MEMORY)?;
        }
        let patched = Tensor::new(found, &Device::Cpu)?;
        candle_core::safetensors::save(&HashMap::from([("patched", patched)]), path)?;
    }
    Ok(seconds)
}

fn generate_times(model: &Model, request: &Request) -> Result<Vec<f64>> {
    let prompts = build_prompts(&[PromptEntry::ids(&request.ids[..])], None, model.spec().d_vocab, None, Bos::Never)?;
    let asked = Asked {
        chain: Chain::greedy(),
        traces: request.traces.max(1),
        tokens: request.generate.unwrap_or(1),
        seed: 0,
        ends: vec![],
        decided: false,
    };
    let mut work = || -> Result<()> {
        let mut recorded = request.record.then(|| Recorded::new(model.spec(), "resid_post")).transpose()?;
        let traces = generate(model, &prompts[0], &asked, &|_| Ok(false), &mut [], recorded.as_mut(), &())?;
        if let Some(recorded) = &mut recorded {
            recorded.finish(&prompts[0], &traces);
        }
        Ok(())
    };
    (0..request.times).map(|_| time(&mut work)).collect()
}
