//! candle-transformers' own models as a second opinion: written by others, on other code than ours and Hugging Face's.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Llama, LlamaConfig};
use candle_transformers::models::{mixtral, qwen3_moe};
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

/// Logits of the last of these ids.
type Forward = Box<dyn FnMut(&Tensor) -> candle_core::Result<Tensor>>;

/// Its mixtures of experts: one that divides the chosen weights by their sum, as all of that family, and one that says so.
#[test]
fn candle_transformers_chooses_the_same_experts() -> Result<()> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let ids = [3u32, 14, 15, 92, 65, 35, 89, 79, 32];
    for name in ["mixtral", "qwen3_moe"] {
        let dir = own.join(name);
        let mut config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(dir.join("config.v4.json"))?).unwrap();
        // What it wants to be told in other words.
        config["num_experts"] = config["num_local_experts"].clone();
        config["use_flash_attn"] = false.into();
        config["max_window_layers"] = 2.into();
        if name == "mixtral" {
            config["sliding_window"] = 64.into();
        }
        let load = || -> Result<Forward> {
            let tensors = candle_core::safetensors::load(dir.join("model.safetensors"), &Device::Cpu)?;
            let tensors = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
            Ok(if name == "mixtral" {
                let config: mixtral::Config = serde_json::from_value(config.clone()).unwrap();
                let mut model = mixtral::Model::new(&config, tensors)?;
                Box::new(move |ids| model.forward(ids, 0))
            } else {
                let config: qwen3_moe::Config = serde_json::from_value(config.clone()).unwrap();
                let mut model = qwen3_moe::ModelForCausalLM::new(&config, tensors)?;
                Box::new(move |ids| model.forward(ids, 0))
            })
        };
        let ours = Model::load(&dir)?.forward(&Batch::one(ids), &mut [])?;
        for n in 1..=ids.len() {
            // It remembers keys and values, so each length begins anew.
            let last = load()?(&Tensor::new(&ids[..n], &Device::Cpu)?.unsqueeze(0)?)?;
            // f32 sums in another order.
            close(&format!("{name} {n}"), &ours.get(n - 1)?, &last, 1e-5);
        }
    }
    Ok(())
}
