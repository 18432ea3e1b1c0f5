//! What a neuron says: the tokens that its write promotes and suppresses.

use candle_core::{Device, Tensor};

use super::banks::{Bank, Unit};
use super::rows::NeuronVocabRow;
use crate::analysis::residual::reader::Reader;
use crate::error::Result;
use crate::model::Model;
use crate::ops::linear::Linear;
use crate::ops::numbers;
use crate::sweep::Budget;

/// The tokens at both ends of what a neuron says, furthest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub promoted: Vec<(u32, f64)>,
    pub suppressed: Vec<(u32, f64)>,
}

/// A neuron, and the sign of its activation.
pub(super) type Signed = (Unit, i8);

/// Tokens that a row of another table has of each end.
pub(super) const WORDS: usize = 3;

/// Neurons whose logits are made together, in a part of the memory.
pub(super) fn together(model: &Model, budget: Budget) -> usize {
    Budget(budget.0 / 8).holds(8 * model.spec().unembedding.d_vocab_out).min(256)
}

/// Bytes that this takes.
pub(super) fn need(model: &Model, neurons: usize, budget: Budget) -> usize {
    together(model, budget).min(neurons.max(1)) * 8 * model.spec().unembedding.d_vocab_out
}

/// What each of these neurons says: `k` tokens at each end.
pub(super) fn say(
    model: &Model,
    reader: &Reader<'_>,
    banks: &[Bank<'_>],
    wanted: &[Signed],
    k: usize,
    budget: Budget,
) -> Result<Vec<Said>> {
    let (d, v) = (model.spec().d_model, model.spec().unembedding.d_vocab_out);
    let unembed = Linear::new(model.weights().unembed.weight.clone(), None);
    let mut said = vec![];
    for some in wanted.chunks(together(model, budget)) {
        let mut reads: Vec<f32> = Vec::with_capacity(some.len() * d);
        for (unit, sign) in some {
            let Some(bank) = banks.iter().find(|bank| bank.has(*unit)) else { continue };
            let write = bank.writes(&[unit.neuron as u32])?.swap_remove(0);
            reads.extend(reader.read(&write).into_iter().map(|x| (f64::from(*sign) * x) as f32));
        }
        let x = Tensor::from_vec(reads, (some.len(), d), &Device::Cpu)?;
        let x = x.to_dtype(model.dtype())?.to_device(model.device())?;
        let logits = numbers(&unembed.apply(model.kernels(), &x)?)?;
        said.extend(logits.chunks_exact(v).map(|logits| ends(logits, k)));
    }
    Ok(said)
}

/// Both ends of logits, less their mean. Of equals, the smaller id comes first.
fn ends(logits: &[f32], k: usize) -> Said {
    let mean = logits.iter().map(|x| f64::from(*x)).sum::<f64>() / logits.len() as f64;
    let furthest = |sign: f32| {
        let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
        let order = |a: &u32, b: &u32| {
            let of = |id: u32| sign * logits[id as usize];
            of(*b).total_cmp(&of(*a)).then(a.cmp(b))
        };
        if ids.len() > k {
            ids.select_nth_unstable_by(k, order);
            ids.truncate(k);
        }
        ids.sort_unstable_by(order);
        ids.into_iter().map(|id| (id, f64::from(logits[id as usize]) - mean)).collect()
    };
    Said { promoted: furthest(1.0), suppressed: furthest(-1.0) }
}

impl Said {
    /// The rows of the neuron that says this.
    pub fn rows(&self, (unit, sign): Signed, spell: &dyn Fn(u32) -> String) -> Vec<NeuronVocabRow> {
        let ends = [("promoted", &self.promoted), ("suppressed", &self.suppressed)];
        let row = |end: &str, rank: usize, (id, value): (u32, f64)| NeuronVocabRow {
            layer: unit.layer as u32,
            expert: unit.expert.map(|e| e as u32),
            neuron: unit.neuron as u32,
            sign: i64::from(sign),
            end: end.to_owned(),
            rank: rank as u32 + 1,
            token: spell(id),
            token_id: id,
            value,
        };
        let all = ends.into_iter().flat_map(|(end, of)| of.iter().enumerate().map(move |(i, one)| (end, i, *one)));
        all.map(|(end, i, one)| row(end, i, one)).collect()
    }

    /// The first tokens that it promotes, as one text.
    pub fn promotes(&self, spell: &dyn Fn(u32) -> String) -> String {
        self.promoted.iter().take(WORDS).map(|(id, _)| spell(*id)).collect::<Vec<_>>().join(",")
    }

    /// No more than `most` tokens at each end.
    pub fn cut(&mut self, most: usize) {
        self.promoted.truncate(most);
        self.suppressed.truncate(most);
    }
}
