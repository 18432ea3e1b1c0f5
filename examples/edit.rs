//! Edit: change a value in the middle of a forward pass, and see what becomes of the answer. `cargo run --release --example edit`

use pellucid::hook::{Edit, Hook};
use pellucid::model::Batch;
use pellucid::session::Session;

fn main() -> pellucid::Result<()> {
    let session = Session::open("demo")?;
    let (model, spec) = (&session.model, session.model.spec());
    let prompt = session.prompt("When Mary and John went to the store, John gave a drink to")?;
    let (mary, john) = (session.target(" Mary")?, session.target(" John")?);

    // How much more likely Mary is than John, as a difference of logits.
    let difference = |hooks: &mut [&mut dyn Hook]| -> pellucid::Result<f32> {
        let logits_tv = model.forward(&Batch::one(prompt.ids()), hooks)?;
        let last = logits_tv.get(prompt.tokens.len() - 1)?.to_vec1::<f32>()?;
        Ok(last[mary as usize] - last[john as usize])
    };
    let clean = difference(&mut [])?;
    println!("nothing changed: {clean:+.2}");

    // Without one head at a time, at the last position alone.
    for layer in 0..spec.n_layers() {
        for head in 0..spec.blocks[layer].attention.inner.n_heads {
            let z = format!("blocks.{layer}.attn.hook_z");
            let mut silence = Edit::zero(spec, &z)?.heads([head]).positions([-1]);
            let effect = difference(&mut [&mut silence])? - clean;
            if effect.abs() > 0.5 {
                println!("without head {head} of layer {layer}: {effect:+.2}");
            }
        }
    }

    // An edit may compute anything from what it sees: here the MLPs write half as much.
    let mut half = Edit::with(spec, "mlp_out", |_, x| Ok((x * 0.5)?))?;
    println!("with half of each MLP: {:+.2}", difference(&mut [&mut half])?);
    Ok(())
}
