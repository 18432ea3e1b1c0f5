//! The parameters and how they learn: AdamW (Loshchilov and Hutter 2019).
//!
//! candle-nn's AdamW cannot give its moments away, and without them a run that was killed could not go on as if it had
//! not been.

use std::collections::HashMap;

use anyhow::{Context, Result};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use rand_distr::{Distribution, Normal};
use rayon::prelude::*;

use super::grammar::Random;
use super::shape::{D_MODEL, N_CTX, N_LAYERS};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.98;
const EPSILON: f64 = 1e-8;
/// Deviation of the first embeddings.
const EMBEDDING: f64 = 0.08;
const WEIGHT_DECAY: f64 = 0.05;
/// Gradients longer than this are shortened to it.
const LONGEST_GRADIENT: f64 = 1.0;

/// One tensor of the model, with what the optimizer remembers of it.
pub struct Parameter {
    /// As Hugging Face calls it.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, and the running means of its gradient and of the gradient's square.
    pub state: [Vec<f32>; 3],
}

impl Parameter {
    fn decays(&self) -> bool {
        self.shape.len() == 2
    }
}

/// Sines and cosines of the position (Vaswani et al. 2017), as long as a token's embedding. "The token before" is then one
/// linear map for all positions from the start; from random positions a head has to find it for each of them, which takes
/// most of a training as short as this.
fn waves() -> Vec<f32> {
    const AMPLITUDE: f64 = 1.4 * EMBEDDING;
    const SLOWEST: f64 = 100.0;
    let half = D_MODEL / 2;
    let angle = |p: usize, i: usize| p as f64 / SLOWEST.powf(i as f64 / half as f64);
    (0..N_CTX)
        .flat_map(|p| (0..half).flat_map(move |i| [angle(p, i).sin(), angle(p, i).cos()]))
        .map(|v| (AMPLITUDE * v) as f32)
        .collect()
}

/// All parameters.
pub struct Parameters {
    /// In a fixed order.
    pub all: Vec<Parameter>,
    /// Steps done.
    pub steps: u64,
}

impl Parameters {
    /// Normal, with a deviation of 1 over the root of a map's inputs, and less by the number of writes for maps into the
    /// stream. (GPT-2's 0.02 is that of a width of 2,500: at this width heads would begin far too indifferent.) Positions
    /// begin as [`waves`].
    pub fn random(random: &mut Random, d_vocab: usize) -> Result<Self> {
        let d = D_MODEL;
        let mut shapes = vec![("wte.weight".to_owned(), vec![d_vocab, d]), ("wpe.weight".to_owned(), vec![N_CTX, d])];
        for l in 0..N_LAYERS {
            let mut map = |name: &str, ins: usize, outs: usize| {
                shapes.push((format!("h.{l}.{name}.weight"), vec![ins, outs]));
                shapes.push((format!("h.{l}.{name}.bias"), vec![outs]));
            };
            map("attn.c_attn", d, 3 * d);
            map("attn.c_proj", d, d);
            map("mlp.c_fc", d, 4 * d);
            map("mlp.c_proj", 4 * d, d);
            for norm in ["ln_1", "ln_2"] {
                shapes.push((format!("h.{l}.{norm}.weight"), vec![d]));
                shapes.push((format!("h.{l}.{norm}.bias"), vec![d]));
            }
        }
        shapes.push(("ln_f.weight".to_owned(), vec![d]));
        shapes.push(("ln_f.bias".to_owned(), vec![d]));
        let all = (shapes.into_iter())
            .map(|(name, shape)| {
                let n = shape.iter().product();
                let into_stream = if name.contains("c_proj") { (2.0 * N_LAYERS as f64).sqrt() } else { 1.0 };
                let values = match (shape.len(), name.contains("ln_") && name.ends_with("weight")) {
                    _ if name == "wpe.weight" => waves(),
                    (2, _) => {
                        let deviation = if name == "wte.weight" { EMBEDDING } else { (shape[0] as f64).sqrt().recip() };
                        let normal = Normal::new(0.0, deviation / into_stream)?;
                        (0..n).map(|_| normal.sample(random) as f32).collect()
                    }
                    (_, true) => vec![1.0; n],
                    (_, false) => vec![0.0; n],
                };
                Ok(Parameter { name, shape, state: [values, vec![0.0; n], vec![0.0; n]] })
            })
            .collect::<Result<_>>()?;
        Ok(Self { all, steps: 0 })
    }

    /// As variables that a gradient can be taken of, in the order of the parameters.
    pub fn variables(&self) -> Result<Vec<Var>> {
        (self.all.iter()).map(|p| Ok(Var::from_slice(&p.state[0], p.shape.as_slice(), &Device::Cpu)?)).collect()
    }

    /// The variables under their names.
    pub fn named(&self, variables: &[Var]) -> HashMap<String, Tensor> {
        self.all.iter().zip(variables).map(|(p, v)| (p.name.clone(), v.as_tensor().clone())).collect()
    }

    /// One step of AdamW. Returns the length of the gradient.
    pub fn step(&mut self, rate: f64, variables: &[Var], gradients: &GradStore) -> Result<f64> {
        let gradients = (variables.par_iter().zip(&self.all))
            .map(|(variable, parameter)| {
                let gradient =
                    gradients.get(variable).with_context(|| format!("{} has no gradient", parameter.name))?;
                Ok(gradient.flatten_all()?.to_vec1::<f32>()?)
            })
            .collect::<Result<Vec<_>>>()?;
        let squares = gradients.iter().map(|gradient| gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>());
        let length = squares.sum::<f64>().sqrt();
        let shorten = (LONGEST_GRADIENT / length.max(LONGEST_GRADIENT)) as f32;
        self.steps += 1;
        let corrected = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let rate_now = (rate * corrected(BETA_2).sqrt() / corrected(BETA_1)) as f32;
        let epsilon = (EPSILON * corrected(BETA_2).sqrt()) as f32;
        let (b1, b2) = (BETA_1 as f32, BETA_2 as f32);
        self.all.par_iter_mut().zip(gradients).for_each(|(parameter, gradient)| {
            let keep = if parameter.decays() { (1.0 - rate * WEIGHT_DECAY) as f32 } else { 1.0 };
            let [values, means, squares] = &mut parameter.state;
            for (((x, m), v), g) in values.iter_mut().zip(means).zip(squares).zip(gradient) {
                let g = g * shorten;
                *m = b1 * *m + (1.0 - b1) * g;
                *v = b2 * *v + (1.0 - b2) * g * g;
                *x = keep * *x - rate_now * *m / (v.sqrt() + epsilon);
            }
        });
        Ok(length)
    }
}
