//! What recording activations adds to a forward pass.

use anyhow::Result;
use pellucid::arch::Spec;
use pellucid::hook::{Cache, HookPoint, Site, select};
use pellucid::model::{Batch, Model};

use crate::Bench;
use crate::clock::take_turns;

pub fn measure(bench: &Bench) -> Result<()> {
    let model = bench.load()?;
    let resid_post = select(model.spec(), "blocks.*.hook_resid_post")?;
    let everything = everything_but_result(model.spec());
    for n in bench.shape.lengths {
        let batch = Batch::one(bench.ids(n));
        let bare = || -> Result<()> {
            drop(model.forward(&batch, &mut [])?);
            Ok(())
        };
        // The bare run is timed twice: its ratio to itself is how far two equal things differ on this machine.
        let (mut bare, mut again) = (bare, bare);
        let mut record_resid = || record(&model, &batch, &resid_post);
        let mut record_all = || record(&model, &batch, &everything);
        let times = take_turns(bench.reps, &mut [&mut bare, &mut again, &mut record_resid, &mut record_all])?;
        let names = ["nothing", "nothing, again", "every resid_post", "every site but attn result"];
        let needed = [None, None, Some(1.03), Some(1.25)];
        for i in 0..times.len() {
            bench.say.times("record", names[i], n, &times[i]);
        }
        for i in 1..times.len() {
            bench.say.ratio("record", names[i], n, &times[i].over(&times[0]), needed[i]);
        }
    }
    Ok(())
}

/// Every point but `attn.hook_result`, which is a product of its own that is made only for those who ask.
pub fn everything_but_result(spec: &Spec) -> Vec<HookPoint> {
    HookPoint::all(spec).into_iter().filter(|p| p.site != Site::Result).collect()
}

fn record(model: &Model, batch: &Batch, points: &[HookPoint]) -> Result<()> {
    let mut cache = Cache::of(points.iter().copied());
    drop(model.forward(batch, &mut [&mut cache])?);
    Ok(())
}
