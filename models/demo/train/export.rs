//! The finished model as the files that any program reads.

use std::path::Path;

use anyhow::Result;
use half::f16;
use pellucid::whole::write_whole;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use tokenizers::Tokenizer;

use super::optimizer::Parameters;
use super::shape::{self, BOS, N_CTX};

/// Writes config.json, model.safetensors (f16), tokenizer.json and tokenizer_config.json.
pub fn write(folder: &Path, parameters: &Parameters, tokenizer: &Tokenizer) -> Result<()> {
    let tensors: Vec<_> = (parameters.all.iter())
        .map(|p| {
            let bytes: Vec<u8> = p.state[0].iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
            (p.name.as_str(), &p.shape, bytes)
        })
        .collect();
    let views = (tensors.iter())
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F16, shape.to_vec(), bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    // Without this, transformers does not load the file.
    let facts = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
    write_whole(&folder.join("model.safetensors"), &safetensors::serialize(views, Some(facts))?)?;
    let text = |value: &serde_json::Value| format!("{value:#}\n");
    write_whole(&folder.join("config.json"), text(&shape::config(tokenizer.get_vocab_size(true))).as_bytes())?;
    let json = tokenizer.to_string(false).map_err(|e| anyhow::anyhow!("{e}"))?;
    write_whole(&folder.join("tokenizer.json"), json.as_bytes())?;
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": BOS,
        "model_max_length": N_CTX,
        "clean_up_tokenization_spaces": false,
    });
    write_whole(&folder.join("tokenizer_config.json"), text(&config).as_bytes())?;
    Ok(())
}
