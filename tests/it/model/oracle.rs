//! candle-transformers' own models as a second opinion: written by others, on other code than ours and Hugging Face's. Every
//! family that both have, on the same random weights.
//!
//! Not among them, as theirs computes something else: llama with biases (`llama_mha_tied`) or with linear or YaRN scaling, all
//! of which theirs leaves out without a word. What it has none of: bloom, cohere, gpt2, gpt_neo, gpt_neox, gptj, olmoe, opt.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::smol::smollm3;
use candle_transformers::models::{
    bigcode, falcon, gemma, gemma2, gemma3, granite, llama, mistral, mixtral, olmo, olmo2, phi, phi3, qwen2, qwen3,
    qwen3_moe, stable_lm, starcoder2,
};
use pellucid::Result;
use pellucid::model::{Batch, Model};
use serde_json::{Value, json};

use crate::bound::Drifts;
use crate::reference::close;

/// A fixture that both can compute.
struct Pair {
    fixture: &'static str,
    /// Changes to the config for both, where one of them cannot compute the fixture's own.
    both: Value,
    /// What theirs wants to be told in other words.
    theirs: Value,
    /// How many tokens.
    tokens: usize,
}

fn pair(fixture: &'static str) -> Pair {
    Pair { fixture, both: json!({}), theirs: json!({}), tokens: IDS.len() }
}

const IDS: [u32; 9] = [3, 14, 15, 92, 65, 35, 89, 79, 32];

fn pairs() -> Vec<Pair> {
    let experts = json!({"num_experts": 4, "use_flash_attn": false, "max_window_layers": 2});
    vec![
        // Its gelu is the one with tanh, whatever the config says; and it has one key/value head or as many as queries.
        Pair { both: json!({"activation": "gelu_new"}), theirs: json!({"n_head_kv": 1}), ..pair("falcon_mqa") },
        pair("gemma"),
        // It divides by the root of the heads' width, whatever the config says; and it gives every layer the window, so that
        // only prompts from which nothing is hidden are the same.
        Pair { both: json!({"query_pre_attn_scalar": 16}), tokens: 5, ..pair("gemma2") },
        // The same divisor.
        Pair { both: json!({"query_pre_attn_scalar": 16}), ..pair("gemma3_text") },
        pair("gpt_bigcode"),
        // It knows none of these factors.
        Pair {
            both: json!({"attention_multiplier": 0.5, "embedding_multiplier": 1.0, "logits_scaling": 1.0, "residual_multiplier": 1.0}),
            theirs: json!({"use_flash_attn": false}),
            ..pair("granite")
        },
        pair("llama"),
        pair("llama3_rope"),
        // Its windows hold one key more than they say.
        Pair { theirs: json!({"sliding_window": 4}), ..pair("mistral") },
        Pair { theirs: json!({"sliding_window": 64, "use_flash_attn": false}), ..pair("mixtral") },
        pair("olmo"),
        pair("olmo2"),
        pair("phi"),
        pair("phi3"),
        Pair { theirs: json!({"sliding_window": 64}), ..pair("qwen2") },
        pair("qwen3"),
        Pair { theirs: experts, ..pair("qwen3_moe") },
        pair("smollm3"),
        pair("stablelm"),
        pair("starcoder2"),
    ]
}

/// Logits of the last of these ids, `[1, p]`.
type Forward = Box<dyn FnMut(&Tensor) -> candle_core::Result<Tensor>>;

/// Their model of this type.
fn load(model_type: &str, config: &Value, weights: VarBuilder) -> Result<Forward> {
    fn read<T: serde::de::DeserializeOwned>(config: &Value) -> T {
        serde_json::from_value(config.clone()).unwrap()
    }
    macro_rules! remembers {
        ($new:expr) => {{
            let mut model = $new?;
            Box::new(move |ids: &Tensor| model.forward(ids, 0))
        }};
    }
    let device = Device::Cpu;
    Ok(match model_type {
        "falcon" => {
            let mut model = falcon::Falcon::load(weights, read(config))?;
            Box::new(move |ids: &Tensor| model.forward(ids))
        }
        "gemma" => remembers!(gemma::Model::new(false, &read(config), weights)),
        "gemma2" => remembers!(gemma2::Model::new(false, &read(config), weights)),
        "gemma3_text" => {
            let mut model = gemma3::Model::new(false, &read(config), weights)?;
            // Its memory of a window takes one token at a time, and fails with more.
            Box::new(move |ids: &Tensor| {
                let step = |i| model.forward(&ids.narrow(1, i, 1)?, i);
                (0..ids.dim(1)?).map(step).last().unwrap()
            })
        }
        "gpt_bigcode" => {
            let size = |key: &str| config[key].as_u64().unwrap() as usize;
            let config = bigcode::Config {
                vocab_size: size("vocab_size"),
                max_position_embeddings: size("n_positions"),
                num_hidden_layers: size("n_layer"),
                hidden_size: size("n_embd"),
                layer_norm_epsilon: config["layer_norm_epsilon"].as_f64().unwrap(),
                n_inner: Some(size("n_inner")),
                num_attention_heads: size("n_head"),
                multi_query: config["multi_query"].as_bool().unwrap(),
                use_cache: true,
            };
            remembers!(bigcode::GPTBigCode::load(weights, config))
        }
        "granite" => {
            let config = read::<granite::GraniteConfig>(config).into_config(false);
            let mut cache = granite::Cache::new(false, DType::F32, &config, &device)?;
            let model = granite::Granite::load(weights, &config)?;
            Box::new(move |ids: &Tensor| model.forward(ids, 0, &mut cache))
        }
        "llama" => {
            let config = read::<llama::LlamaConfig>(config).into_config(false);
            let mut cache = llama::Cache::new(false, DType::F32, &config, &device)?;
            let model = llama::Llama::load(weights, &config)?;
            Box::new(move |ids: &Tensor| model.forward(ids, 0, &mut cache))
        }
        "mistral" => remembers!(mistral::Model::new(&read(config), weights)),
        "mixtral" => remembers!(mixtral::Model::new(&read(config), weights)),
        "olmo" => remembers!(olmo::Model::new(&read(config), weights)),
        "olmo2" => remembers!(olmo2::Model::new(&read(config), weights)),
        "phi" => {
            let mut model = phi::Model::new(&read(config), weights)?;
            Box::new(move |ids: &Tensor| model.forward(ids))
        }
        "phi3" => remembers!(phi3::Model::new(&read(config), weights)),
        "qwen2" => remembers!(qwen2::ModelForCausalLM::new(&read(config), weights)),
        "qwen3" => remembers!(qwen3::ModelForCausalLM::new(&read(config), weights)),
        "qwen3_moe" => remembers!(qwen3_moe::ModelForCausalLM::new(&read(config), weights)),
        "smollm3" => remembers!(smollm3::ModelForCausalLM::new(&read(config), weights)),
        "stablelm" => remembers!(stable_lm::Model::new(&read(config), weights)),
        "starcoder2" => remembers!(starcoder2::Model::new(&read(config), weights)),
        other => panic!("candle-transformers has no {other}"),
    })
}

fn changed(mut config: Value, changes: &Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

/// Invariant: candle-transformers, written by other people, computes the same logits.
#[test]
fn candle_transformers_computes_the_same_logits() -> Result<()> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for Pair { fixture, both, theirs, tokens } in pairs() {
        let dir = own.join(fixture);
        // The older spelling of the config is the one that candle-transformers reads.
        let config = ["config.v4.json", "config.json"].map(|file| dir.join(file));
        let config = std::fs::read(config.iter().find(|path| path.exists()).unwrap())?;
        let config = changed(serde_json::from_slice(&config).unwrap(), &both);
        let tensors = candle_core::safetensors::load(dir.join("model.safetensors"), &Device::Cpu)?;
        let ours = Model::from_tensors(&config.to_string(), &tensors)?;
        // candle-transformers computes in f32, as we do.
        let allowed = Drifts::of(&ours, &Batch::one(&IDS[..tokens]))?.logits();
        let ours = ours.forward(&Batch::one(&IDS[..tokens]), &mut [])?;

        let model_type = config["model_type"].as_str().unwrap();
        let tensors = with_unembedding(tensors);
        let config = changed(config.clone(), &theirs);
        for n in 1..=tokens {
            // It remembers keys and values, so each length begins anew; and it gives the last position's logits only.
            let weights = VarBuilder::from_tensors(tensors.clone(), DType::F32, &Device::Cpu);
            let ids = Tensor::new(&IDS[..n], &Device::Cpu)?.unsqueeze(0)?;
            let last = load(model_type, &config, weights).and_then(|mut forward| Ok(forward(&ids)?));
            let last = last.unwrap_or_else(|error| panic!("{fixture}, {n} tokens: theirs says {error}"));
            close(&format!("{fixture} {n}"), &ours.get(n - 1)?, &last, allowed);
        }
    }
    Ok(())
}

/// Theirs always reads an unembedding by its own name, even where it is the embedding.
fn with_unembedding(mut tensors: HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let embedding = ["transformer.word_embeddings.weight"].iter().find_map(|name| tensors.get(*name).cloned());
    if let Some(embedding) = embedding.filter(|_| !tensors.contains_key("lm_head.weight")) {
        tensors.insert("lm_head.weight".into(), embedding);
    }
    tensors
}
