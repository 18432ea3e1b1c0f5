//! Models of random weights, written once and reused: what is measured depends on shapes, not on what a model learned.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, View};
use serde_json::{Value, json};

/// Sizes of a GPT-2, and the prompt lengths to measure it at.
pub struct Shape {
    pub name: &'static str,
    pub n_layers: usize,
    pub d_model: usize,
    pub n_heads: usize,
    pub n_ctx: usize,
    pub d_vocab: usize,
    pub lengths: [usize; 3],
}

pub const GPT2_SMALL: Shape = Shape {
    name: "gpt2-small-random",
    n_layers: 12,
    d_model: 768,
    n_heads: 12,
    n_ctx: 1024,
    d_vocab: 50257,
    lengths: [15, 128, 512],
};

pub const TINY: Shape = Shape {
    name: "gpt2-tiny-random",
    n_layers: 2,
    d_model: 32,
    n_heads: 4,
    n_ctx: 64,
    d_vocab: 101,
    lengths: [3, 9, 40],
};

/// The folder of a random GPT-2 of this shape.
pub fn gpt2(shape: &Shape) -> Result<PathBuf> {
    let Shape { n_layers, d_model: d, n_heads, n_ctx, d_vocab, .. } = *shape;
    // As GPT-2 was initialised: what writes to the stream is smaller, so that the stream does not grow with depth.
    let writes = Fill::Normal(0.02 / (2.0 * n_layers as f64).sqrt());
    let reads = Fill::Normal(0.02);
    let mut tensors = vec![
        tensor("transformer.wte.weight", &[d_vocab, d], reads),
        tensor("transformer.wpe.weight", &[n_ctx, d], reads),
        tensor("transformer.ln_f.weight", &[d], Fill::Constant(1.0)),
        tensor("transformer.ln_f.bias", &[d], Fill::Constant(0.0)),
    ];
    for l in 0..n_layers {
        let mut add = |name: &str, dims: &[usize], fill| {
            tensors.push(tensor(&format!("transformer.h.{l}.{name}.weight"), dims, fill));
            let out = *dims.last().expect("no tensor has rank 0");
            tensors.push(tensor(&format!("transformer.h.{l}.{name}.bias"), &[out], Fill::Constant(0.0)));
        };
        add("ln_1", &[d], Fill::Constant(1.0));
        add("attn.c_attn", &[d, 3 * d], reads);
        add("attn.c_proj", &[d, d], writes);
        add("ln_2", &[d], Fill::Constant(1.0));
        add("mlp.c_fc", &[d, 4 * d], reads);
        add("mlp.c_proj", &[4 * d, d], writes);
    }
    let config = json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": d, "n_head": n_heads, "n_layer": n_layers, "n_positions": n_ctx, "vocab_size": d_vocab,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": true,
        "bos_token_id": d_vocab - 1, "eos_token_id": d_vocab - 1,
    });
    write_once(shape.name, &config, tensors)
}

/// Sizes of a Llama whose embedding is also its unembedding.
pub struct LlamaShape {
    pub name: &'static str,
    pub n_layers: usize,
    pub d_model: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub d_head: usize,
    pub d_mlp: usize,
    pub d_vocab: usize,
}

pub const LLAMA_1B: LlamaShape = LlamaShape {
    name: "llama-3.2-1b-random",
    n_layers: 16,
    d_model: 2048,
    heads: 32,
    kv_heads: 8,
    d_head: 64,
    d_mlp: 8192,
    d_vocab: 128_256,
};

pub const LLAMA_TINY: LlamaShape = LlamaShape {
    name: "llama-tiny-random",
    n_layers: 2,
    d_model: 32,
    heads: 4,
    kv_heads: 2,
    d_head: 8,
    d_mlp: 64,
    d_vocab: 1001,
};

/// The folder of a random Llama of this shape, stored in f32, f16 or bf16.
pub fn llama(shape: &LlamaShape, dtype: Dtype) -> Result<PathBuf> {
    let &LlamaShape { n_layers, d_model: d, heads, kv_heads, d_head, d_mlp: m, d_vocab, .. } = shape;
    let reads = Fill::Normal(0.02);
    let writes = Fill::Normal(0.02 / (2.0 * n_layers as f64).sqrt());
    let mut tensors = vec![
        tensor("model.embed_tokens.weight", &[d_vocab, d], reads),
        tensor("model.norm.weight", &[d], Fill::Constant(1.0)),
    ];
    for l in 0..n_layers {
        let mut add = |name: &str, dims: &[usize], fill| {
            tensors.push(tensor(&format!("model.layers.{l}.{name}.weight"), dims, fill));
        };
        add("input_layernorm", &[d], Fill::Constant(1.0));
        add("self_attn.q_proj", &[heads * d_head, d], reads);
        add("self_attn.k_proj", &[kv_heads * d_head, d], reads);
        add("self_attn.v_proj", &[kv_heads * d_head, d], reads);
        add("self_attn.o_proj", &[d, heads * d_head], writes);
        add("post_attention_layernorm", &[d], Fill::Constant(1.0));
        add("mlp.gate_proj", &[m, d], reads);
        add("mlp.up_proj", &[m, d], reads);
        add("mlp.down_proj", &[d, m], writes);
    }
    for (_, tensor) in &mut tensors {
        tensor.dtype = dtype;
    }
    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": d, "intermediate_size": m, "num_hidden_layers": n_layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": d_head, "vocab_size": d_vocab, "max_position_embeddings": 131_072,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 500_000.0, "tie_word_embeddings": true,
        "rope_scaling": {
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    });
    let stored = match dtype {
        Dtype::F16 => "f16",
        Dtype::BF16 => "bf16",
        _ => "f32",
    };
    write_once(&format!("{}-{stored}", shape.name), &config, tensors)
}

/// The folder of stories260k, or of random weights of its shape where the reference data is not there.
pub fn stories260k() -> Result<PathBuf> {
    let shared = match std::env::var_os("PELLUCID_SHARED") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let real = shared.join("models/stories260k");
    if real.join("config.json").exists() {
        return Ok(real);
    }
    let (n_layers, d, d_head, heads, kv_heads, m, d_vocab) = (5, 64, 8, 8, 4, 172, 512);
    let normal = Fill::Normal(0.02);
    let mut tensors = vec![
        tensor("model.embed_tokens.weight", &[d_vocab, d], normal),
        tensor("model.norm.weight", &[d], Fill::Constant(1.0)),
    ];
    for l in 0..n_layers {
        let mut add = |name: &str, dims: &[usize], fill| {
            tensors.push(tensor(&format!("model.layers.{l}.{name}.weight"), dims, fill));
        };
        add("input_layernorm", &[d], Fill::Constant(1.0));
        add("self_attn.q_proj", &[heads * d_head, d], normal);
        add("self_attn.k_proj", &[kv_heads * d_head, d], normal);
        add("self_attn.v_proj", &[kv_heads * d_head, d], normal);
        add("self_attn.o_proj", &[d, heads * d_head], normal);
        add("post_attention_layernorm", &[d], Fill::Constant(1.0));
        add("mlp.gate_proj", &[m, d], normal);
        add("mlp.up_proj", &[m, d], normal);
        add("mlp.down_proj", &[d, m], normal);
    }
    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": d, "intermediate_size": m, "num_hidden_layers": n_layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": d_head, "vocab_size": d_vocab, "max_position_embeddings": 512,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
    });
    write_once("stories260k-random", &config, tensors)
}

/// Where cargo lets benches keep files.
pub fn scratch() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("speed")
}

#[derive(Clone, Copy)]
enum Fill {
    /// Normal, of this standard deviation.
    Normal(f64),
    Constant(f32),
}

/// A tensor whose values are made when it is written, so that writing needs the memory of one tensor only.
struct Random {
    dims: Vec<usize>,
    fill: Fill,
    seed: u64,
    /// F32, F16 or BF16.
    dtype: Dtype,
}

fn tensor(name: &str, dims: &[usize], fill: Fill) -> (String, Random) {
    // FNV-1a: a tensor's values depend on its name alone, not on its place in the list.
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ b as u64).wrapping_mul(0x0100_0000_01b3));
    (name.into(), Random { dims: dims.to_vec(), fill, seed, dtype: Dtype::F32 })
}

impl Random {
    fn size(&self) -> usize {
        if self.dtype == Dtype::F32 { 4 } else { 2 }
    }
}

impl View for Random {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.dims
    }

    fn data_len(&self) -> usize {
        self.size() * self.dims.iter().product::<usize>()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        const BLOCK: usize = 64 * 1024;
        let mut bytes = vec![0; self.data_len()];
        let size = self.size();
        bytes.par_chunks_mut(size * BLOCK).enumerate().for_each(|(b, block)| {
            for (i, value) in block.chunks_exact_mut(size).enumerate() {
                let x = match self.fill {
                    Fill::Constant(x) => x,
                    Fill::Normal(std) => (std * normal(self.seed, (b * BLOCK + i) as u64)) as f32,
                };
                match self.dtype {
                    Dtype::F16 => value.copy_from_slice(&half::f16::from_f32(x).to_le_bytes()),
                    Dtype::BF16 => value.copy_from_slice(&half::bf16::from_f32(x).to_le_bytes()),
                    _ => value.copy_from_slice(&x.to_le_bytes()),
                }
            }
        });
        bytes.into()
    }
}

/// The `i`th number of a normal sequence (Box and Muller 1958). Counted rather than drawn one after another, so that
/// threads can share the work and the file is the same however many there are.
fn normal(seed: u64, i: u64) -> f64 {
    let uniform = |n: u64| {
        let bits = split_mix(seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    (-2.0 * uniform(2 * i).ln()).sqrt() * (std::f64::consts::TAU * uniform(2 * i + 1)).cos()
}

/// SplitMix64's output function (Steele, Lea and Flood 2014).
fn split_mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Writes a model unless it is there. It appears under its name only when it is whole.
fn write_once(name: &str, config: &Value, tensors: Vec<(String, Random)>) -> Result<PathBuf> {
    let folder = scratch().join(name);
    let text = serde_json::to_string_pretty(config)?;
    // Another config means that this program was changed since.
    if fs_err::read_to_string(folder.join("config.json")).is_ok_and(|old| old == text) {
        return Ok(folder);
    }
    fs_err::create_dir_all(scratch())?;
    let bytes: usize = tensors.iter().map(|(_, t)| t.data_len()).sum();
    eprintln!("writing {} ({} MB of random weights, once)", folder.display(), bytes / 1_000_000);
    let temporary = tempfile::tempdir_in(scratch())?;
    // What transformers asks for before it reads a file.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(tensors, Some(metadata), &temporary.path().join("model.safetensors"))?;
    fs_err::write(temporary.path().join("config.json"), text)?;
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    fs_err::rename(temporary.keep(), &folder)?;
    Ok(folder)
}
