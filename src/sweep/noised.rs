//! Causal tracing: the corrupt run is the clean prompt with noise on the embeddings of some tokens.

use std::ops::Range;

use candle_core::{Device, Tensor};

use super::kind::{gaussian, strength};
use super::{Change, How};
use crate::error::{Error, Result};
use crate::hook::{HookPoint, Site};
use crate::model::Model;
use crate::ops::numbers;
use crate::range::{Interval, positions_of};
use crate::text::Pair;

/// Noise on the embeddings of some tokens (causal tracing; Meng et al. 2022, who take three deviations and the tokens of
/// the subject).
#[derive(Clone, Debug, PartialEq)]
pub struct Noised {
    /// At these tokens.
    pub at: NoisedAt,
    /// In deviations of the embedding, over its whole table.
    pub sigma: f64,
    /// How often each prompt is measured, each time with other noise: samples of one prompt, and not prompts. 0 counts as 1.
    pub samples: usize,
}

/// Which embeddings get noise.
#[derive(Clone, Debug, PartialEq)]
pub enum NoisedAt {
    /// Those of these positions; negative ones count from the end.
    Positions(Vec<Interval>),
    /// Those of the tokens that this part of the clean prompt is made of.
    Part(String),
}

impl Noised {
    /// How strong the noise is: a deviation of the embedding, over its whole table, so many times.
    pub(super) fn deviation(&self, model: &Model) -> Result<f64> {
        let embed = &model.weights().embed;
        let sums = |of: &dyn Fn(f64) -> f64| -> Result<f64> {
            let mut sum = 0.0;
            let ids: Vec<u32> = (0..embed.dim(0)? as u32).collect();
            // The table may be larger than all that a sweep may use.
            for ids in ids.chunks(1024) {
                sum += numbers(&embed.rows(ids)?)?.iter().map(|v| of(f64::from(*v))).sum::<f64>();
            }
            Ok(sum)
        };
        let n = embed.dims().iter().product::<usize>().max(1) as f64;
        let mean = sums(&|v| v)? / n;
        let deviation = (sums(&|v| (v - mean).powi(2))? / n).sqrt();
        Ok(strength(self.sigma)? * deviation * model.spec().embedding.scale.unwrap_or(1.0))
    }

    /// The noise, of deviation `sigma`, as a change of a run of the clean prompt of `pair`.
    pub(super) fn change(&self, model: &Model, seed: u64, pair: &Pair, sigma: f64) -> Result<Change> {
        let (n, d) = (pair.text_len(), model.spec().d_model);
        let point = HookPoint::global(Site::Embed);
        let noise = gaussian(seed, (pair.index as usize, point), n * d, sigma);
        let positions = Some(self.positions(pair)?);
        Ok(Change { positions, ..Change::new(point, How::Add(Tensor::from_vec(noise, (n, d), &Device::Cpu)?)) })
    }

    /// Each pair as often as it is measured, so that each has noise of its own: the samples of a pair follow one another.
    pub(crate) fn repeated(&self, pairs: &[Pair]) -> Vec<Pair> {
        let samples = self.samples.max(1) as u32;
        let of = |pair: &Pair, sample: u32| Pair { index: pair.index * samples + sample, ..pair.clone() };
        pairs.iter().flat_map(|pair| (0..samples).map(move |sample| of(pair, sample))).collect()
    }

    /// Which pair and which sample of it run `index` of the repeated pairs is.
    pub(crate) fn sample(&self, index: u32) -> (u32, u32) {
        let samples = self.samples.max(1) as u32;
        (index / samples, index % samples)
    }

    /// Those positions and their tokens, as tables have them.
    pub(crate) fn in_words(&self, pair: &Pair) -> Result<[String; 2]> {
        let at = self.positions(pair)?;
        let positions = at.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        Ok([positions, at.iter().map(|i| pair.clean.label(*i)).collect()])
    }

    /// The positions of the clean prompt of `pair` whose embeddings get it.
    pub(super) fn positions(&self, pair: &Pair) -> Result<Vec<usize>> {
        match &self.at {
            NoisedAt::Positions(positions) => positions_of("the prompt", positions, pair.clean.tokens.len()),
            NoisedAt::Part(part) => part_of(pair, part),
        }
    }
}

/// The positions of the tokens that `part` of the clean prompt is made of.
fn part_of(pair: &Pair, part: &str) -> Result<Vec<usize>> {
    let text = pair.clean.text.as_deref().unwrap_or_default();
    let Some(from) = text.find(part).filter(|_| !part.is_empty()) else {
        return Err(Error::no_such(format!("\"{part}\" is not in the clean prompt of pair \"{}\"", pair.id))
            .hint("give it as it stands in the prompt, or say positions"));
    };
    let to = from + part.len();
    let within = |bytes: &Range<usize>| bytes.start < to && bytes.end > from;
    let tokens = pair.clean.tokens.iter().enumerate();
    Ok(tokens.filter(|(_, t)| t.bytes.as_ref().is_some_and(within)).map(|(i, _)| i).collect())
}
