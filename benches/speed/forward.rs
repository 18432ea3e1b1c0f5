//! Forward pass with the logits of every position.

use anyhow::Result;
use pellucid::model::Batch;

use crate::Bench;
use crate::clock::take_turns;

pub fn measure(bench: &Bench) -> Result<()> {
    let model = bench.load()?;
    for n in bench.shape.lengths {
        let batch = Batch::one(bench.ids(n));
        let mut forward = || -> Result<()> {
            drop(model.forward(&batch, &mut [])?);
            Ok(())
        };
        let times = take_turns(bench.reps, &mut [&mut forward])?;
        bench.say.times("forward", "full logits", n, &times[0]);
    }
    Ok(())
}
