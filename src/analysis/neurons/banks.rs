//! Which neurons there are, and what each writes to the stream.

use std::fmt;
use std::str::FromStr;

use candle_core::Tensor;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use crate::analysis::residual::reader::gain;
use crate::arch::Spec;
use crate::arch::spec::{Mlp, NormKind};
use crate::error::{Error, Result};
use crate::hook::{HookPoint, Site};
use crate::model::Model;
use crate::model::weights::{FeedForwardWeights, NeuronWeights};
use crate::ops::linear::Linear;
use crate::ops::norm::NormWeights;
use crate::ops::numbers;
use crate::range::{self, Interval, each};

/// Where a neuron is: `3.17` is neuron 17 of layer 3, `3.1.17` that of its expert 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    /// The block.
    pub layer: usize,
    /// The expert of it, where it has experts.
    pub expert: Option<usize>,
    /// The neuron of that.
    pub neuron: usize,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expert {
            Some(expert) => write!(f, "{}.{expert}.{}", self.layer, self.neuron),
            None => write!(f, "{}.{}", self.layer, self.neuron),
        }
    }
}

/// Neurons as they are named at once: `3.17`, `3.0-9`, `0-2.17`; of experts `3.1.17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    layers: Interval,
    experts: Option<Interval>,
    neurons: Interval,
}

impl Units {
    /// All of them, in order, each once.
    pub fn all(named: &[Self]) -> Vec<Unit> {
        let of = |units: &Self| {
            let experts: Vec<Option<usize>> = units.experts.map_or(vec![None], |e| each(e).map(Some).collect());
            let mut all = vec![];
            for layer in each(units.layers) {
                for expert in &experts {
                    all.extend(each(units.neurons).map(|neuron| Unit { layer, expert: *expert, neuron }));
                }
            }
            all
        };
        let mut all: Vec<Unit> = named.iter().flat_map(of).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl FromStr for Units {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match range::dotted(text.trim()).as_deref() {
            Some(&[layers, neurons]) => Ok(Self { layers, experts: None, neurons }),
            Some(&[layers, experts, neurons]) => Ok(Self { layers, experts: Some(experts), neurons }),
            _ => Err("write LAYER.NEURON, such as 3.17 or 3.0-9, or LAYER.EXPERT.NEURON".into()),
        }
    }
}

impl From<Unit> for Units {
    fn from(Unit { layer, expert, neuron }: Unit) -> Self {
        let one = |number: usize| Interval::from(number as isize);
        Self { layers: one(layer), experts: expert.map(one), neurons: one(neuron) }
    }
}

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Writes neurons in the one form that a request has: each, or many neighbours as a range.
pub(super) fn units<S: Serializer>(named: &[Units], to: S) -> Result<S::Ok, S::Error> {
    let all = Units::all(named);
    let own = all.chunk_by(|a, b| (a.layer, a.expert) == (b.layer, b.expert));
    let texts = own.flat_map(|own| {
        let numbers: Vec<Interval> = own.iter().map(|unit| Interval::from(unit.neuron as isize)).collect();
        let of = own[0].expert.map_or(own[0].layer.to_string(), |expert| format!("{}.{expert}", own[0].layer));
        range::normal(&numbers).into_iter().map(move |numbers| format!("{of}.{numbers}"))
    });
    to.collect_seq(texts)
}

/// The neurons of one MLP, or of one expert.
pub(super) struct Bank<'a> {
    pub layer: usize,
    pub expert: Option<usize>,
    /// Their weights.
    pub weights: &'a NeuronWeights,
    /// How many there are.
    pub len: usize,
    /// What a norm after the MLP does to a write but for its scale: which means it takes away, and its gain.
    after: Option<(NormKind, Vec<f64>)>,
    /// The bias of that norm.
    pub after_bias: Option<Vec<f64>>,
    /// What multiplies what is added to the stream.
    pub factor: f64,
}

/// Hooks with the parts of a neuron's activation.
pub(super) struct Points {
    pub pre: HookPoint,
    pub gate: Option<HookPoint>,
    pub post: HookPoint,
}

/// The neurons of these layers of a model, in their order; of all, where none are named.
///
/// # Errors
/// When a layer does not exist, or none has an MLP.
pub(super) fn banks<'a>(model: &'a Model, layers: Option<&[usize]>) -> Result<Vec<Bank<'a>>> {
    let spec = model.spec();
    check_layers(spec, layers.unwrap_or_default())?;
    let mut banks = vec![];
    for (layer, block) in model.weights().blocks.iter().enumerate() {
        let Some(mlp) = block.mlp.as_ref().filter(|_| layers.is_none_or(|some| some.contains(&layer))) else {
            continue;
        };
        let each: Vec<(Option<usize>, &NeuronWeights)> = match &mlp.inner {
            FeedForwardWeights::Dense(weights) => vec![(None, weights)],
            FeedForwardWeights::Experts(all) => all.experts.iter().enumerate().map(|(e, w)| (Some(e), w)).collect(),
        };
        let norm = mlp.ln2_post.as_ref();
        for (expert, weights) in each {
            let after = norm.map(|norm| Ok::<_, Error>((norm.kind, gain(norm, spec.d_model)?))).transpose()?;
            let after_bias = norm.and_then(|norm| norm.bias.as_ref()).map(wide).transpose()?;
            let factor = spec.blocks[layer].residual_scale.unwrap_or(1.0);
            banks.push(Bank { layer, expert, weights, len: weights.output.weight.dim(0)?, after, after_bias, factor });
        }
    }
    match banks.is_empty() {
        false => Ok(banks),
        true if layers.is_none() => Err(Error::bad_input("this model has no MLP, and so no neurons")
            .hint("heads are its only parts: `pellucid attribute`")),
        true => Err(Error::bad_input("no layer that was chosen has an MLP").hint("choose other layers")),
    }
}

/// Refuses layers that the model does not have.
fn check_layers(spec: &Spec, layers: &[usize]) -> Result<()> {
    range::layers_of(&layers.iter().map(|layer| Interval::from(*layer as isize)).collect::<Vec<_>>(), spec.n_layers())
        .map(|_| ())
}

/// The MLP of a layer, as the spec has it; and how many experts there are.
fn mlp(spec: &Spec, layer: usize) -> Option<(&Mlp, Option<usize>)> {
    let inner = &spec.blocks.get(layer)?.mlp.as_ref()?.inner;
    Some((inner.neurons(), inner.experts().map(|experts| experts.n_experts)))
}

/// Refuses a neuron that this model has not, and says how many there are.
pub(super) fn check_unit(spec: &Spec, unit: Unit) -> Result<()> {
    check_layers(spec, &[unit.layer])?;
    let layer = unit.layer;
    let Some((neurons, experts)) = mlp(spec, layer) else {
        return Err(
            Error::no_such(format!("layer {layer} has no MLP, and so no neuron {unit}")).hint("choose another layer")
        );
    };
    match (unit.expert, experts) {
        (None, Some(n)) => {
            return Err(Error::bad_input(format!("layer {layer} has {n} experts, and {unit} does not say which"))
                .hint(format!("write LAYER.EXPERT.NEURON, such as {layer}.0.{}", unit.neuron)));
        }
        (Some(e), None) => {
            return Err(Error::no_such(format!("layer {layer} has no experts, and so no expert {e}"))
                .hint(format!("write LAYER.NEURON, such as {layer}.{}", unit.neuron)));
        }
        (Some(e), Some(n)) if e >= n => {
            return Err(Error::no_such(format!("layer {layer} has {n} experts (0-{}), and {e} is not one", n - 1))
                .hint("experts are counted from 0"));
        }
        _ => {}
    }
    let n = neurons.d_mlp;
    if unit.neuron >= n {
        let of = unit.expert.map_or(format!("layer {layer}"), |e| format!("expert {e} of layer {layer}"));
        return Err(Error::no_such(format!("{of} has {n} neurons (0-{}), and {} is not one", n - 1, unit.neuron))
            .hint("neurons are counted from 0"));
    }
    Ok(())
}

impl Bank<'_> {
    /// The neuron of this number.
    pub fn unit(&self, neuron: usize) -> Unit {
        Unit { layer: self.layer, expert: self.expert, neuron }
    }

    /// Whether it has this neuron.
    pub fn has(&self, unit: Unit) -> bool {
        (self.layer, self.expert) == (unit.layer, unit.expert)
    }

    /// Where its activations are seen.
    pub fn points(&self) -> Points {
        let gated = self.weights.linear.is_some();
        match self.expert {
            None => {
                let at = |site| HookPoint::block(self.layer, site);
                Points { pre: at(Site::MlpPre), gate: gated.then(|| at(Site::MlpPreLinear)), post: at(Site::MlpPost) }
            }
            Some(e) => {
                let at = |site| HookPoint::expert(self.layer, e, site);
                let pre = at(if gated { Site::ExpertGate } else { Site::ExpertPre });
                Points { pre, gate: gated.then(|| at(Site::ExpertPre)), post: at(Site::ExpertPost) }
            }
        }
    }

    /// What these neurons add to the stream for an activation of 1, where a norm after the MLP divides by 1.
    pub fn writes(&self, neurons: &[u32]) -> Result<Vec<Vec<f64>>> {
        let rows = numbers(&self.weights.output.weight.rows(neurons)?)?;
        let d = self.weights.output.weight.dim(1)?;
        let wide = |row: &[f32]| self.write(row.iter().map(|x| f64::from(*x)).collect());
        Ok(rows.chunks_exact(d).map(wide).collect())
    }

    /// What becomes of an output of the map until it is added, but for scales.
    fn write(&self, mut x: Vec<f64>) -> Vec<f64> {
        if let Some((kind, gain)) = &self.after {
            centre(*kind, &mut x);
            x.iter_mut().zip(gain).for_each(|(x, g)| *x *= g);
        }
        x.iter_mut().for_each(|x| *x *= self.factor);
        x
    }

    /// The direction of the output map's space that is `u` in the stream, but for scales.
    pub fn back(&self, u: &[f64]) -> Vec<f64> {
        let mut x: Vec<f64> = u.iter().map(|u| u * self.factor).collect();
        if let Some((kind, gain)) = &self.after {
            x.iter_mut().zip(gain).for_each(|(x, g)| *x *= g);
            centre(*kind, &mut x);
        }
        x
    }

    /// Whether a norm comes after the MLP.
    pub fn is_normed(&self) -> bool {
        self.after.is_some()
    }

    /// What each neuron's row of the output map has along these directions: `[directions][neurons]`.
    pub fn along(&self, model: &Model, directions: &[Vec<f64>]) -> Result<Vec<f32>> {
        let d = self.weights.output.weight.dim(1)?;
        let flat: Vec<f32> = directions.iter().flatten().map(|x| *x as f32).collect();
        let x = Tensor::from_vec(flat, (directions.len(), d), &candle_core::Device::Cpu)?;
        let x = x.to_dtype(model.dtype())?.to_device(model.device())?;
        numbers(&Linear::new(self.weights.output.weight.t()?, None).apply(model.kernels(), &x)?)
    }

    /// The bias of the output map.
    pub fn bias(&self) -> Result<Option<Vec<f64>>> {
        self.weights.output.bias.as_ref().map(wide).transpose()
    }
}

/// Takes away the mean, where the norm does.
fn centre(kind: NormKind, x: &mut [f64]) {
    if kind == NormKind::Layer {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        x.iter_mut().for_each(|x| *x -= mean);
    }
}

fn wide(x: &Tensor) -> Result<Vec<f64>> {
    Ok(numbers(x)?.into_iter().map(f64::from).collect())
}

/// Hooks of a norm's scale, where there is one after the MLP.
pub(super) fn scale_of(norm: Option<&NormWeights>, layer: usize) -> Option<HookPoint> {
    norm.map(|_| HookPoint::block(layer, Site::Ln2PostScale))
}
