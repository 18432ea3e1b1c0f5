//! An analysis of your own: a type with options, and rows that say what they mean. `cargo run --release --example analysis`

use pellucid::hook::Cache;
use pellucid::model::Batch;
use pellucid::session::{Analysis, Prompts, Session, Sink};
use pellucid::{table::Format, table::write_rows, view::Seen};
use serde::{Deserialize, Serialize};

/// Which heads look at the token before?
#[derive(Clone, Default, Serialize, Deserialize)]
struct Previous {
    /// Leave out heads that look there less.
    min_prob: f32,
}

pellucid::table! {
    /// One head.
    PreviousRow = "previous" version 1: "How much a head attends to the token before, on the mean over the positions of a prompt.";
    prompt: u32, "index", "which prompt, counted from 0";
    layer: u32, "index", "in which block";
    head: u32, "index", "which query head";
    prob: f32, "probability", "mean attention to the token before";
}

impl Seen for PreviousRow {
    const DRAWN: bool = false; // No picture.
}

impl Analysis for Previous {
    const NAME: &'static str = "previous";
    type Tables = PreviousRow;
    type On = Session;
    type Input = Prompts;

    fn run(&self, on: &Session, input: &Prompts, out: &mut Sink<'_>) -> pellucid::Result<()> {
        for prompt in &input.prompts {
            let mut cache = Cache::new(on.model.spec(), "pattern")?;
            on.model.forward(&Batch::one(prompt.ids()), &mut [&mut cache])?;
            for (point, patterns) in cache.iter() {
                for (head, pattern_qk) in patterns[0].to_vec3::<f32>()?.iter().enumerate() {
                    let looks: Vec<f32> = pattern_qk.iter().enumerate().skip(1).map(|(q, k)| k[q - 1]).collect();
                    let prob = looks.iter().sum::<f32>() / looks.len().max(1) as f32;
                    let (prompt, layer) = (prompt.index, point.layer.unwrap_or(0) as u32);
                    if prob >= self.min_prob {
                        out.push(PreviousRow { prompt, layer, head: head as u32, prob })?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn main() -> pellucid::Result<()> {
    let session = Session::open("demo")?;
    let prompts = [session.prompt("When Mary and John went to the store, John gave a drink to")?];
    let table = session.run(&Previous { min_prob: 0.3 }, &prompts)?;
    write_rows(table.rows(), Format::Table, &mut std::io::stdout())
}
