//! Arguments of the commands that change one run in many places: what becomes of a value, in which run, and what is measured.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::args::{PairArgs, Way};
use super::input::dataset;
use crate::analysis::patch::{Direction, Grid, Kind, Metric, Over, PatchOptions};
use crate::error::Result;
use crate::session::{Session, read_vector};

/// What becomes of a value, in which run, and what is measured.
#[derive(Args, Debug)]
pub(super) struct ChangeArgs {
    /// Change the corrupt run (denoise), for `replace` by clean values; or the clean run (noise), for `replace` by corrupt values
    /// [default: denoise for `replace`; noise for all other kinds, which need no other prompt and ablate the clean run]
    #[arg(long, value_enum)]
    direction: Option<Way>,
    /// What becomes of a value: replace (by the other prompt's), zero, mean (over --dataset), mean-by-position, resample
    /// (from --dataset), noise=DEVIATIONS, scale=FACTOR, add=FACTOR (of --vector), knock-out (of attention scores)
    #[arg(long, default_value = "replace", value_name = "KIND")]
    kind: String,
    /// Prompts that means and resampled values are taken from: .txt, .jsonl, .csv or .parquet
    #[arg(long, value_name = "FILE")]
    dataset: Option<PathBuf>,
    /// The vector to add: a safetensors file, or FILE:TENSOR where it holds several
    #[arg(long, value_name = "FILE")]
    vector: Option<String>,
    /// Of whatever is drawn
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// What to measure: logit_diff, logit, prob, log_prob, rank, kl_to_clean, loss, or several with commas between
    #[arg(long, default_value = "logit_diff", value_name = "METRICS", value_delimiter = ',')]
    metric: Vec<String>,
    /// At which position to measure; negative ones count from the end
    #[arg(long, default_value_t = -1, value_name = "POSITION", allow_hyphen_values = true)]
    measure_at: isize,
    /// Compute so many rows again, drawn with --seed, each by whole forward passes of its own, and print the largest difference
    #[arg(long, default_value_t = 0, value_name = "N")]
    verify: usize,
    /// Go on where this command was stopped
    #[arg(long)]
    pub resume: bool,
}

impl ChangeArgs {
    /// What to do at the places of `grid`, within `memory_bytes`.
    pub fn options(&self, loaded: &Session, pairs: &PairArgs, grid: Grid, memory_bytes: usize) -> Result<PatchOptions> {
        let vector = self.vector.as_deref().map(read_vector).transpose()?;
        let dataset = match &self.dataset {
            Some(path) => loaded.prompts(&dataset(path, pairs.read.bounds())?, pairs.bos())?,
            None => vec![],
        };
        let kind = Kind::parse(&self.kind, vector.as_ref())?;
        Ok(PatchOptions {
            grid,
            direction: self.direction.map_or_else(|| kind.usual_direction(), Direction::from),
            kind,
            metrics: self.metric.iter().map(|name| Metric::parse(name)).collect::<Result<_>>()?,
            measure_at: self.measure_at,
            memory_bytes,
            dataset,
            seed: self.seed,
            noised: None,
            verify: self.verify,
        })
    }

    /// What of this decides the results, beside the dataset's prompts and the seed.
    pub fn asked(&self, options: &PatchOptions) -> Value {
        json!({
            "direction": format!("{:?}", options.direction), "kind": self.kind, "vector": self.vector,
            "metric": self.metric, "measure_at": self.measure_at, "verify": self.verify,
        })
    }
}

/// The axes of these names.
pub(super) fn axes(names: &[String]) -> Result<Vec<Over>> {
    names.iter().map(|name| Over::parse(name)).collect()
}
