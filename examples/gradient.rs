//! Gradient: one backward pass says how the answer would change with every value. `cargo run --release --example gradient`

use pellucid::hook::{Cache, Gradients};
use pellucid::model::Batch;
use pellucid::session::Session;

fn main() -> pellucid::Result<()> {
    let session = Session::open("demo")?;
    let spec = session.model.spec();
    let prompt = session.prompt("When Mary and John went to the store, John gave a drink to")?;
    let [mary, john] = [session.target(" Mary")?, session.target(" John")?].map(|id| id as usize);

    let mut values = Cache::new(spec, "z")?;
    let mut gradients = Gradients::new(spec, "z")?;
    let logits_tv = session.model.forward(&Batch::one(prompt.ids()), &mut [&mut values, &mut gradients])?;
    let last_v = logits_tv.get(prompt.tokens.len() - 1)?;
    let difference = (last_v.get(mary)? - last_v.get(john)?)?;
    difference.backward()?;
    println!("logit difference: {:+.2}", difference.to_scalar::<f32>()?);

    // Value times gradient, summed over positions: to first order, what is lost without the head.
    for layer in 0..spec.n_layers() {
        let name = format!("blocks.{layer}.attn.hook_z");
        let product_the = (values.get(&name)? * gradients.get(&name)?)?;
        let of_heads = product_the.sum((0, 2))?.to_vec1::<f32>()?;
        let shown: Vec<String> = of_heads.iter().map(|x| format!("{x:+.2}")).collect();
        println!("heads of layer {layer}: {}", shown.join("  "));
    }
    Ok(())
}
