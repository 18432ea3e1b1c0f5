//! The weights before training: random, but for three things that a large model finds in its first billion tokens, and that
//! a training of some million has no time for (compare Trockman and Kolter 2023, "Mimetic Initialization").
//!
//! 1. Positions begin as sines and cosines, in dimensions of their own: tokens begin in the others.
//! 2. One head of the first block begins by looking at the token before.
//! 3. The heads of the other blocks begin by writing what they look at.
//!
//! Where to look, what for, and everything else is learned, and training is free to undo all three.

use anyhow::Result;
use rand_distr::{Distribution, Normal};

use super::grammar::Random;
use super::optimizer::{Parameter, Parameters};
use super::shape::{D_MODEL, N_CTX, N_HEADS, N_LAYERS};

const D_HEAD: usize = D_MODEL / N_HEADS;
/// Deviation of the embeddings. Blocks write less than that at first, so that tokens are seen through all of them.
const EMBEDDING: f64 = 0.2;
/// Amplitude of the waves: as long as the embeddings.
const AMPLITUDE: f64 = 0.28;
/// Waves are in so many of the first dimensions, two for each frequency: as many as a head can read.
const WAVES: usize = D_HEAD;
/// The fastest and the slowest wave, in radians per position.
const FREQUENCIES: (f64, f64) = (2.0, 0.1);
/// How sharply the head of the token before looks.
const SHARPNESS: f64 = 1.5;
/// The final norm's gain: logits begin small although embeddings do not.
const FINAL_GAIN: f32 = 0.3;

/// The first weights.
pub fn parameters(random: &mut Random, d_vocab: usize) -> Result<Parameters> {
    let d = D_MODEL;
    // 1 over the root of a map's inputs, and less for maps into the stream by their number.
    let map = (d as f64).sqrt().recip();
    let writes = (2.0 * N_LAYERS as f64).sqrt();
    let mut normal = |shape: &[usize], deviation: f64| -> Result<Vec<f32>> {
        let normal = Normal::new(0.0, deviation)?;
        Ok((0..shape.iter().product()).map(|_| normal.sample(random) as f32).collect())
    };
    let mut all = vec![];
    let mut add = |name: String, shape: &[usize], values: Vec<f32>| {
        let nothing = vec![0.0; values.len()];
        all.push(Parameter { name, shape: shape.to_vec(), state: [values, nothing.clone(), nothing] });
    };
    let mut tokens = normal(&[d_vocab, d], EMBEDDING)?;
    tokens.chunks_exact_mut(d).for_each(|token| token[..WAVES].fill(0.0));
    add("wte.weight".into(), &[d_vocab, d], tokens);
    add("wpe.weight".into(), &[N_CTX, d], waves());
    for l in 0..N_LAYERS {
        let mut qkv = normal(&[d, 3 * d], map)?;
        let mut out = normal(&[d, d], map / writes)?;
        if l == 0 {
            look_at_the_token_before(&mut qkv);
        } else {
            write_what_is_looked_at(&qkv, &mut out, 1.0 / writes);
        }
        add(format!("h.{l}.attn.c_attn.weight"), &[d, 3 * d], qkv);
        add(format!("h.{l}.attn.c_attn.bias"), &[3 * d], vec![0.0; 3 * d]);
        add(format!("h.{l}.attn.c_proj.weight"), &[d, d], out);
        add(format!("h.{l}.attn.c_proj.bias"), &[d], vec![0.0; d]);
        add(format!("h.{l}.mlp.c_fc.weight"), &[d, 4 * d], normal(&[d, 4 * d], map)?);
        add(format!("h.{l}.mlp.c_fc.bias"), &[4 * d], vec![0.0; 4 * d]);
        add(format!("h.{l}.mlp.c_proj.weight"), &[4 * d, d], normal(&[4 * d, d], map / 4.0 / writes)?);
        add(format!("h.{l}.mlp.c_proj.bias"), &[d], vec![0.0; d]);
        for norm in ["ln_1", "ln_2"] {
            add(format!("h.{l}.{norm}.weight"), &[d], vec![1.0; d]);
            add(format!("h.{l}.{norm}.bias"), &[d], vec![0.0; d]);
        }
    }
    add("ln_f.weight".into(), &[d], vec![FINAL_GAIN; d]);
    add("ln_f.bias".into(), &[d], vec![0.0; d]);
    Ok(Parameters { all, steps: 0 })
}

/// Radians per position of the wave in dimensions `2 i` (sine) and `2 i + 1` (cosine).
fn frequency(i: usize) -> f64 {
    let (fastest, slowest) = FREQUENCIES;
    fastest * f64::powf(slowest / fastest, i as f64 / (WAVES as f64 / 2.0 - 1.0))
}

/// Sines and cosines of the position (Vaswani et al. 2017), `[p, d]`: a fixed distance is then one linear map everywhere.
fn waves() -> Vec<f32> {
    let mut positions = vec![0.0; N_CTX * D_MODEL];
    for (p, position) in positions.chunks_exact_mut(D_MODEL).enumerate() {
        for i in 0..WAVES / 2 {
            let (sin, cos) = (p as f64 * frequency(i)).sin_cos();
            position[2 * i] = (AMPLITUDE * sin) as f32;
            position[2 * i + 1] = (AMPLITUDE * cos) as f32;
        }
    }
    positions
}

/// Head 0's keys read the waves; its queries read them turned back by one position.
fn look_at_the_token_before(qkv: &mut [f32]) {
    let width = 3 * D_MODEL;
    for row in qkv.chunks_exact_mut(width) {
        row[..D_HEAD].fill(0.0);
        row[D_MODEL..D_MODEL + D_HEAD].fill(0.0);
    }
    for i in 0..WAVES / 2 {
        let (sin, cos) = (2 * i, 2 * i + 1);
        let (s, c) = frequency(i).sin_cos();
        // sin(a - w) = sin a cos w - cos a sin w, and cos(a - w) = cos a cos w + sin a sin w.
        for (from, to, value) in [(sin, sin, c), (cos, sin, -s), (cos, cos, c), (sin, cos, s)] {
            qkv[from * width + to] = (SHARPNESS * value) as f32;
        }
        for wave in [sin, cos] {
            qkv[wave * width + D_MODEL + wave] = SHARPNESS as f32;
        }
    }
}

/// Each head's output map is its value map turned around, times `scale`: what goes in comes out again, as far as a head is
/// wide enough.
fn write_what_is_looked_at(qkv: &[f32], out: &mut [f32], scale: f64) {
    for from in 0..D_MODEL {
        for at in 0..D_MODEL {
            out[at * D_MODEL + from] = scale as f32 * qkv[from * 3 * D_MODEL + 2 * D_MODEL + at];
        }
    }
}
