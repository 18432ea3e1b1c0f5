//! candle-transformers' own Llama as a second opinion: written by others, on other code than ours and Hugging Face's.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Llama, LlamaConfig};
use pellucid::Result;
use pellucid::model::{Batch, Model};

use crate::reference::close;

#[test]
fn candle_transformers_computes_the_same_logits() -> Result<()> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let ids = [3u32, 14, 15, 92, 65, 35, 89, 79, 32];
    // The older spelling of the config is the one that candle-transformers reads.
    for name in ["llama", "llama3_rope"] {
        let dir = own.join(name);
        let config = std::fs::read(dir.join("config.v4.json"))?;
        let config = serde_json::from_slice::<LlamaConfig>(&config).unwrap().into_config(false);
        let tensors = candle_core::safetensors::load(dir.join("model.safetensors"), &Device::Cpu)?;
        let theirs = Llama::load(VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu), &config)?;
        let model = Model::load(&dir)?;
        let ours = model.forward(&Batch::one(ids), &mut [])?;
        // It gives the last position's logits only.
        for n in 1..=ids.len() {
            let mut cache = Cache::new(false, DType::F32, &config, &Device::Cpu)?;
            let last = theirs.forward(&Tensor::new(&ids[..n], &Device::Cpu)?.unsqueeze(0)?, 0, &mut cache)?;
            // f32 sums in another order.
            close(&format!("{name} {n}"), &ours.get(n - 1)?, &last, 1e-5);
        }
    }
    Ok(())
}
