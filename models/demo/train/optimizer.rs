//! The parameters and how they learn: AdamW (Loshchilov and Hutter 2019).
//!
//! candle-nn's AdamW cannot give its moments away, and without them a run that was killed could not go on as if it had
//! not been.

use std::collections::HashMap;

use anyhow::{Context, Result};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use rayon::prelude::*;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.98;
const EPSILON: f64 = 1e-8;
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

/// All parameters.
pub struct Parameters {
    /// In a fixed order.
    pub all: Vec<Parameter>,
    /// Steps done.
    pub steps: u64,
}

impl Parameters {
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
