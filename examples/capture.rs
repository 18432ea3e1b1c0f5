//! Capture: keep what a forward pass computes, under the names of TransformerLens. `cargo run --release --example capture`

use pellucid::hook::Cache;
use pellucid::model::Batch;
use pellucid::session::Session;

fn main() -> pellucid::Result<()> {
    let session = Session::open("demo")?;
    let prompt = session.prompt("When Mary and John went to the store, John gave a drink to")?;

    // Nothing is kept, nor computed beyond what the pass needs, but what these patterns mean.
    let mut cache = Cache::new(session.model.spec(), "blocks.*.hook_resid_post,blocks.*.attn.hook_pattern")?;
    let logits_tv = session.model.forward(&Batch::one(prompt.ids()), &mut [&mut cache])?;
    for (point, values) in cache.iter() {
        println!("{point:32} {:?}", values[0].dims());
    }

    // Where does each head look from the last position? A pattern has the axes head, query, key.
    let last = prompt.tokens.len() - 1;
    for layer in 0..session.model.spec().n_layers() {
        let pattern_hqk = cache.get(&format!("blocks.{layer}.attn.hook_pattern"))?;
        let at = pattern_hqk.narrow(1, last, 1)?.squeeze(1)?.argmax(1)?.to_vec1::<u32>()?;
        let tokens: Vec<&str> = at.iter().map(|key| prompt.label(*key as usize)).collect();
        println!("heads of layer {layer} look most at {tokens:?}");
    }

    let next = logits_tv.get(last)?.argmax(0)?.to_scalar::<u32>()?;
    println!("what comes next: {:?}", session.spell(next));
    Ok(())
}
