//! The maps that heads multiply by, as they stand in the weights, against what a run writes.

use candle_core::{DType, Tensor};
use pellucid::Result;
use pellucid::hook::Cache;
use pellucid::model::{Batch, Run};

use crate::help::fixtures::load;

/// What heads write, without biases, is `z o` summed over heads: between two positions nothing else differs.
fn check(name: &str) -> Result<()> {
    let model = load(name);
    let spec = model.spec();
    let wide = |cache: &Cache, hook: &str| -> Result<Tensor> { Ok(cache.get(hook)?.to_dtype(DType::F64)?) };
    for (layer, block) in spec.blocks.iter().enumerate() {
        if block.attention.post_norm.is_some() {
            // A norm after the sum is no map of each head.
            continue;
        }
        let (z, out) = (format!("blocks.{layer}.attn.hook_z"), format!("blocks.{layer}.hook_attn_out"));
        let mut cache = Cache::new(spec, &format!("{z},{out}"))?;
        model.run(&Batch::one(vec![3, 8, 5]), &Run::default(), &mut [&mut cache])?;
        let (z, out) = (wide(&cache, &z)?, wide(&cache, &out)?);
        let o = model.head_maps(layer)?.o.to_dtype(DType::F64)?;
        let (o, z) = (o.flatten(0, 1)?, z.flatten_from(1)?);
        let apart = |x: &Tensor| -> Result<Vec<f64>> { Ok((x.get(2)? - x.get(1)?)?.flatten_all()?.to_vec1::<f64>()?) };
        let (found, want) = (apart(&z.matmul(&o)?)?, apart(&out)?);
        // Sums of so many products in f32, and roundings of the output, bias and factor.
        let (n, sizes) = (o.dim(0)? as f64, z.abs()?.matmul(&o.abs()?)?);
        let size = (sizes.get(1)? + sizes.get(2)?)?.to_vec1::<f64>()?;
        let written = (out.get(1)?.abs()? + out.get(2)?.abs()?)?.to_vec1::<f64>()?;
        let eps = f64::from(f32::EPSILON);
        for (i, (found, want)) in found.iter().zip(&want).enumerate() {
            let allowed = eps * (n * size[i] + 4.0 * written[i]);
            assert!((found - want).abs() <= allowed, "{name} {layer} {i}: {found} is not {want}");
        }
        assert!(want.iter().any(|x| x.abs() > 1e-4), "{name} {layer}: nothing differs");
    }
    Ok(())
}

for_every_model! {
    /// Invariant: What a head writes is its z times its effective output map, factors on what its block writes included.
    fn heads_write_z_times_their_map = check;
}
