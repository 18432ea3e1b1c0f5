//! Attribution patching of every component, head, neuron and position, in units of a forward pass that took turns with it.

use anyhow::Result;
use pellucid::analysis::attribute::{Attribute, attribute};
use pellucid::analysis::patch::Align;
use pellucid::model::{Batch, Model};
use pellucid::text::{Bos, Pair, PromptEntry, build_prompts};
use serde_json::json;

use crate::Bench;
use crate::clock::take_turns;

pub fn measure(bench: &Bench) -> Result<()> {
    let model = bench.load()?;
    for n in [bench.shape.lengths[0], bench.shape.lengths[1] / 2] {
        let pair = pair(bench, n)?;
        let batch = Batch::one(bench.ids(n));
        let mut forward = || -> Result<()> {
            drop(model.forward(&batch, &mut [])?);
            Ok(())
        };
        let mut plain = || run(&model, &pair, false);
        let mut fixed = || run(&model, &pair, true);
        let times = take_turns(bench.reps, &mut [&mut forward, &mut plain, &mut fixed])?;
        for (what, times_of) in [("every component", &times[1]), ("the same and fixed q, k", &times[2])] {
            let ratio = times_of.over(&times[0]);
            bench.say.times("attribute", what, n, times_of);
            bench.say.fact(
                json!({
                    "case": "attribute", "what": what, "tokens": n, "forward_passes": ratio.paired,
                    "forward_passes_of_minima": ratio.of_minima, "needed_below": 6,
                }),
                &format!(
                    "attribute {what}, {n} tokens: {:.2} forward passes (of minima: {:.2})   needed: under 6",
                    ratio.paired, ratio.of_minima
                ),
            );
        }
    }
    Ok(())
}

fn pair(bench: &Bench, n: usize) -> Result<Pair> {
    let clean = bench.ids(n);
    let corrupt: Vec<u32> = clean.iter().map(|id| (id + 1) % bench.shape.d_vocab as u32).collect();
    let entries = [PromptEntry::ids(clean), PromptEntry::ids(corrupt)];
    let prompts = build_prompts(&entries, None, bench.shape.d_vocab, None, Bos::default())?;
    let [clean, corrupt] = <[_; 2]>::try_from(prompts).map_err(|_| anyhow::anyhow!("a pair has two prompts"))?;
    Ok(Pair::new(0, "0".into(), clean, Some(corrupt), vec![5], vec![6])?)
}

/// The rows of the table are made and dropped.
fn run(model: &Model, pair: &Pair, qk_fix: bool) -> Result<()> {
    let options = Attribute { qk_fix, ..Attribute::default() };
    let mut rows = 0;
    attribute(
        model,
        std::slice::from_ref(pair),
        &options,
        (Align::Start, pellucid::sweep::Budget::default(), pellucid::sweep::Shard::default()),
        &(),
        &mut |_| {
            rows += 1;
            Ok(())
        },
    )?;
    anyhow::ensure!(rows > 0, "nothing was estimated");
    Ok(())
}
