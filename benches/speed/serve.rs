//! Measuring on request: `benches/peers/compare.py` keeps this process and its peer alive and lets them take turns.
//!
//! One JSON object a line in, one out. `{"ids": [..], "times": 3}` is answered with `{"seconds": [..]}`; with
//! `"save": "FILE"` the logits also go to a safetensors file, as `logits [t, v]`.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;

use anyhow::Result;
use pellucid::model::Batch;
use serde::Deserialize;
use serde_json::json;

use crate::Bench;
use crate::clock::time;

#[derive(Deserialize)]
struct Request {
    ids: Vec<u32>,
    times: usize,
    save: Option<PathBuf>,
}

pub fn serve(bench: &Bench) -> Result<()> {
    let model = bench.load()?;
    let mut stdout = std::io::stdout().lock();
    let hello = json!({
        "name": format!("pellucid {}", env!("CARGO_PKG_VERSION")),
        "threads": rayon::current_num_threads(),
        "folder": bench.folder,
        "d_vocab": bench.shape.d_vocab,
        "lengths": bench.shape.lengths,
    });
    writeln!(stdout, "{hello}")?;
    stdout.flush()?;
    for line in std::io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?)?;
        let batch = Batch::one(request.ids);
        let mut forward = || -> Result<()> {
            drop(model.forward(&batch, &mut [])?);
            Ok(())
        };
        let seconds = (0..request.times).map(|_| time(&mut forward)).collect::<Result<Vec<f64>>>()?;
        if let Some(path) = request.save {
            let logits = model.forward(&batch, &mut [])?;
            candle_core::safetensors::save(&HashMap::from([("logits", logits)]), path)?;
        }
        writeln!(stdout, "{}", json!({"seconds": seconds}))?;
        stdout.flush()?;
    }
    Ok(())
}
