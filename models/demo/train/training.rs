//! The loop: batches in, gradients through pellucid's own forward pass, weights out; and what survives a kill.

use std::path::Path;

use anyhow::{Result, ensure};
use candle_core::Tensor;
use pellucid::analysis::TrainingRow;
use pellucid::model::{Model, Run, Unembed};
use pellucid::ops::Kernels;
use pellucid::ops::loss::cross_entropy;
use pellucid::whole::write_whole;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::corpus::{Corpus, Sequence, first_cycle, random, streams, to_learn};
use super::optimizer::Parameters;
use super::{first, shape};

/// The learning rate after warming up, from where it falls to nothing.
const RATE: f64 = 1.5e-3;
/// Steps of warming up.
const WARM_UP: u64 = 100;
/// A run of training: what it learns from, what it has learned, and how that went.
pub struct Trainer {
    corpus: Corpus,
    config: String,
    held_out: Vec<Sequence>,
    plan: Plan,
    /// What is learned.
    pub parameters: Parameters,
    /// Reports so far.
    pub reports: Vec<TrainingRow>,
    so_far: SoFar,
}

/// What makes a run that run: another plan is another run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Plan {
    /// Where everything random comes from.
    pub seed: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// A report every so many steps.
    pub every: u64,
}

impl Plan {
    /// Steps until the learning rate has fallen to nothing for the first time.
    pub fn first_cycle(&self) -> u64 {
        first_cycle(self.steps)
    }
}

/// What the next report needs.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct SoFar {
    tokens: u64,
    /// Sum of the losses since the last report, and their number.
    losses: (f64, u64),
}

impl Trainer {
    /// A new run.
    pub fn new(corpus: Corpus, plan: Plan) -> Result<Self> {
        let parameters = first::parameters(&mut random(plan.seed, streams::WEIGHTS), corpus.d_vocab())?;
        let config = shape::config(corpus.d_vocab()).to_string();
        let held_out = corpus.held_out()?;
        Ok(Self { corpus, config, held_out, plan, parameters, reports: vec![], so_far: SoFar::default() })
    }

    /// Whether all steps are done.
    pub fn finished(&self) -> bool {
        self.parameters.steps >= self.plan.steps
    }

    /// The model as it is now.
    pub fn model(&self) -> Result<Model> {
        let tensors = self.parameters.named(&self.parameters.variables()?);
        let tensors = tensors.into_iter().map(|(name, x)| (name, x.detach())).collect();
        Ok(Model::from_tensors(&self.config, &tensors)?)
    }

    /// One step of the optimizer on one batch.
    pub fn step(&mut self) -> Result<()> {
        let sequences = self.corpus.step(self.parameters.steps)?;
        let variables = self.parameters.variables()?;
        let model = Model::from_tensors(&self.config, &self.parameters.named(&variables))?;
        let losses = losses(&model, &sequences)?;
        let (predictions, loss) = (losses.elem_count(), losses.mean_all()?);
        let gradients = loss.backward()?;
        let loss = f64::from(loss.to_scalar::<f32>()?);
        ensure!(loss.is_finite(), "the loss of step {} is {loss}", self.parameters.steps);
        let rate = self.rate();
        let length = self.parameters.step(rate, &variables, &gradients)?;
        self.so_far.tokens += predictions as u64;
        self.so_far.losses = (self.so_far.losses.0 + loss, self.so_far.losses.1 + 1);
        if self.parameters.steps.is_multiple_of(self.plan.every) || self.finished() {
            let (sum, n) = std::mem::take(&mut self.so_far.losses);
            self.reports.push(TrainingRow {
                step: self.parameters.steps,
                tokens: self.so_far.tokens,
                loss_nats: (sum / n as f64) as f32,
                held_out_loss_nats: self.held_out_loss()?,
                gradient_norm: length as f32,
                learning_rate: rate as f32,
            });
        }
        Ok(())
    }

    /// Mean loss of the held-out batch, in nats.
    pub fn held_out_loss(&self) -> Result<f32> {
        Ok(losses(&self.model()?, &self.held_out)?.mean_all()?.to_scalar()?)
    }

    /// Up in a straight line, down to nothing in another, and from half the height down once more: with a warm restart
    /// (Loshchilov and Hutter 2017), what was nearly learned when the rate had fallen is learned after all.
    fn rate(&self) -> f64 {
        let (step, all) = (self.parameters.steps as f64, self.plan.steps as f64);
        let first = self.plan.first_cycle() as f64;
        if step >= first {
            return RATE / 2.0 * (all - step) / (all - first);
        }
        let up = (step + 1.0) / WARM_UP as f64;
        let down = (first - step) / (first - WARM_UP as f64).max(1.0);
        RATE * up.min(down).min(1.0)
    }

    /// Writes all that a later process needs to go on.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut tensors = vec![];
        for parameter in &self.parameters.all {
            for (values, part) in parameter.state.iter().zip(["value", "mean", "square"]) {
                let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                tensors.push((format!("{}/{part}", parameter.name), parameter.shape.clone(), bytes));
            }
        }
        let views = (tensors.iter())
            .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>>>()?;
        let facts = [
            ("plan", serde_json::to_string(&self.plan)?),
            ("steps", self.parameters.steps.to_string()),
            ("reports", serde_json::to_string(&self.reports)?),
            ("so_far", serde_json::to_string(&self.so_far)?),
        ];
        let facts = facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        write_whole(path, &safetensors::serialize(views, Some(facts))?)?;
        Ok(())
    }

    /// Goes on from what [`Trainer::save`] wrote. False if that was another run.
    pub fn resume(&mut self, path: &Path) -> Result<bool> {
        let bytes = fs_err::read(path)?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes)?;
        let facts = metadata.metadata().clone().unwrap_or_default();
        let fact = |key: &str| facts.get(key).map(String::as_str).unwrap_or("null");
        if serde_json::from_str::<Plan>(fact("plan")).ok().as_ref() != Some(&self.plan) {
            return Ok(false);
        }
        let tensors = SafeTensors::deserialize(&bytes)?;
        for parameter in &mut self.parameters.all {
            for (values, part) in parameter.state.iter_mut().zip(["value", "mean", "square"]) {
                let stored = tensors.tensor(&format!("{}/{part}", parameter.name))?;
                ensure!(stored.shape() == parameter.shape, "{} has another shape", parameter.name);
                let (floats, _) = stored.data().as_chunks();
                *values = floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            }
        }
        self.parameters.steps = fact("steps").parse()?;
        self.reports = serde_json::from_str(fact("reports"))?;
        self.so_far = serde_json::from_str(fact("so_far"))?;
        Ok(true)
    }
}

/// The cross-entropy in nats of every prediction.
fn losses(model: &Model, sequences: &[Sequence]) -> Result<Tensor> {
    let (batch, rows, targets) = to_learn(sequences);
    let run = Run { unembed: Unembed::Rows(rows), ..Run::default() };
    let output = model.run(&batch, &run, &mut [])?;
    Ok(cross_entropy(Kernels::Fused, output.logits()?, &targets)?)
}
