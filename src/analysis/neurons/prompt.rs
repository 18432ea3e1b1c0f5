//! Neurons on prompts: what each adds to the stream, and how far that pushes a token.
//!
//! The scales of the final norm and of a norm after the MLP held, logits are linear in what the MLP's output map reads: a direction in
//! the stream becomes one of that map's space once for all neurons of a layer, and one product with the map's weight gives what each of
//! them has along it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use super::banks::{Bank, Unit, scale_of};
use super::rows::{NeuronLayerRow, NeuronRow, NeuronVocabRow};
use super::vocab::{self, Signed};
use crate::analysis::export::options::column;
use crate::analysis::export::run::Copied;
use crate::analysis::residual::reader::{Direction, Reader, along};
use crate::dataset::{HookColumn, Values};
use crate::error::{Error, Result};
use crate::hook::{HookPoint, Site};
use crate::model::{Batch, Model, Run, Unembed};
use crate::ops::simd::{self, vectorise};
use crate::ops::{length, numbers};
use crate::range::{Interval, count, positions_of};
use crate::session::Target;
use crate::sweep::budget::{Budget, Cut};
use crate::sweep::{Watch, check_prompts, row_bytes};
use crate::text::Prompt;

/// What is asked of each prompt.
pub(super) struct Asked<'a> {
    pub banks: &'a [Bank<'a>],
    /// Of each prompt the token that is pushed, which is of each position the most probable one unless given; empty where there are none.
    pub targets: Vec<Target>,
    /// Positions; negative ones count from the end. All, unless given.
    pub positions: Option<Vec<Interval>>,
    /// Neurons that are shown; the strongest, where none are named.
    pub units: Vec<Unit>,
    /// How many of the strongest.
    pub top: usize,
    /// Tokens at each end of what a neuron says.
    pub tokens: usize,
    /// What percentage of a corpus's tokens have a lower activation.
    pub percentile: &'a dyn Fn(Unit, f32) -> Option<f64>,
    pub budget: Budget,
}

/// What was found of some prompts.
#[derive(Default)]
pub(super) struct Found {
    pub neurons: Vec<NeuronRow>,
    pub layers: Vec<NeuronLayerRow>,
    pub vocab: Vec<NeuronVocabRow>,
}

/// A position that is looked at.
#[derive(Clone, Copy)]
struct Chosen {
    /// Index within the wave.
    prompt: usize,
    pos: usize,
    /// Its row of the pack.
    row: usize,
}

/// What the model says at a position.
struct Said {
    target: u32,
    /// The largest less the smallest logit, before factor and cap.
    spread: f64,
}

/// A neuron at a position.
#[derive(Clone, Copy)]
struct Candidate {
    bank: usize,
    neuron: usize,
    push: f64,
    share: f64,
    /// What the router multiplies its expert by; 1 where there is none.
    weight: f64,
    post: f32,
}

impl Candidate {
    /// The stronger first; of equals, as they stand in the model.
    fn stronger(&self, other: &Self) -> Ordering {
        let by_push = other.push.abs().total_cmp(&self.push.abs());
        by_push.then((self.bank, self.neuron).cmp(&(other.bank, other.neuron)))
    }
}

/// What is recorded of a run: of each bank its neurons, of each layer what its MLP adds and how that is made of neurons.
fn points(model: &Model, banks: &[Bank<'_>]) -> Vec<HookPoint> {
    let mut points = vec![];
    for bank in banks {
        let own = bank.points();
        points.extend([Some(own.pre), own.gate, Some(own.post)].into_iter().flatten());
        let mut of_layer = vec![Site::MlpOut];
        if bank.expert.is_some() {
            of_layer.extend([Site::ExpertIndices, Site::ChosenWeights]);
        }
        let norm = model.weights().blocks[bank.layer].mlp.as_ref().and_then(|mlp| mlp.ln2_post.as_ref());
        points.extend(of_layer.into_iter().map(|site| HookPoint::block(bank.layer, site)));
        points.extend(scale_of(norm, bank.layer));
    }
    points.sort_unstable();
    points.dedup();
    points
}

/// Which prompts run together, and what that needs.
pub(super) fn cut(model: &Model, prompts: &[Prompt], asked: &Asked<'_>) -> Cut {
    let spec = model.spec();
    let widths = || points(model, asked.banks).into_iter().map(|point| 4 * column(spec, &point).width());
    // Of a position that is looked at: copies of values, and what the widest bank's neurons have along two directions.
    let kept = widths().sum::<usize>() + 5 * widths().max().unwrap_or(0) + 8 * spec.d_model * 4;
    let positions = |p: &Prompt| count(asked.positions.as_deref(), p.tokens.len());
    // A value is whole while it is copied.
    let row = row_bytes(spec) + widths().max().unwrap_or(0);
    let size = |p: &Prompt| p.tokens.len() * row + positions(p) * kept;
    let shown = if asked.units.is_empty() { asked.top } else { asked.units.len() };
    let beside = |budget| vocab::need(model, shown, budget).max(2 * 4 * spec.unembedding.d_vocab_out);
    let (own, least) = (beside(asked.budget), beside(Budget(0)));
    let mut cut = asked.budget.cut(&prompts.iter().map(size).collect::<Vec<_>>(), own);
    cut.need.least -= own - least;
    cut
}

/// The neurons of each prompt at each position that is asked for. `spell` gives a token's text; of neurons that are `known`, what they say
/// was told.
///
/// # Errors
/// When a prompt lacks a position; whatever the run or `emit` says, and when a run is not finite.
pub(super) fn neurons(
    model: &Model,
    prompts: &[Prompt],
    spell: &dyn Fn(u32) -> String,
    asked: &Asked<'_>,
    known: &mut BTreeMap<Signed, String>,
    watch: &dyn Watch,
    emit: &mut dyn FnMut(Found) -> Result<()>,
) -> Result<()> {
    crate::analysis::lens::check_positions(prompts, asked.positions.as_deref().unwrap_or_default())?;
    let (points, reader) = (points(model, asked.banks), Reader::new(model)?);
    let columns: Vec<HookColumn> = points.iter().map(|point| column(model.spec(), point)).collect();
    for wave in cut(model, prompts, asked).waves {
        watch.at(wave.start, prompts.len())?;
        let (prompts, targets) = (&prompts[wave.clone()], asked.targets.get(wave).unwrap_or_default());
        let chosen = chosen(prompts, asked.positions.as_deref())?;
        let mut copied = Copied::new(&points, &columns, chosen.iter().map(|c| c.row).collect());
        let run = Run { unembed: Unembed::Nothing, ..Run::default() };
        let out = model.run(&Batch::of(prompts.iter().map(Prompt::ids)), &run, &mut [&mut copied])?;
        check_prompts(model, prompts, &out, "")?;
        let at = Tensor::new(chosen.iter().map(|c| c.row as u32).collect::<Vec<_>>(), model.device())?;
        let own = out.resid.index_select(&at, 0)?;
        drop(out);
        let values = points.iter().copied().zip(copied.values).collect();
        let target_of = |at: &Chosen| targets.get(at.prompt).and_then(|own| own.target);
        let (said, scales) = (said(model, &own, chosen.iter().map(target_of))?, reader.scales(&own)?);
        let directions = reader.directions(said.iter().map(|said| said.target))?;
        let wave = Wave { model, prompts, spell, asked, chosen: &chosen, values, said, scales, directions };
        emit(wave.found(&reader, known)?)?;
    }
    watch.at(prompts.len(), prompts.len())
}

/// The positions that are looked at, and their rows of the pack.
fn chosen(prompts: &[Prompt], positions: Option<&[Interval]>) -> Result<Vec<Chosen>> {
    let (mut chosen, mut first) = (vec![], 0);
    for (i, prompt) in prompts.iter().enumerate() {
        let own = positions_of("the prompt", positions.unwrap_or(&[Interval::ALL]), prompt.tokens.len())?;
        chosen.extend(own.into_iter().map(|pos| Chosen { prompt: i, pos, row: first + pos }));
        first += prompt.tokens.len();
    }
    Ok(chosen)
}

/// What the model says after the streams `own [rows, d]`, of each of which the target is given, if there is one.
fn said(model: &Model, own: &Tensor, targets: impl Iterator<Item = Option<u32>>) -> Result<Vec<Said>> {
    let (x, v) = (model.normalize(own)?, model.spec().unembedding.d_vocab_out);
    let of_row = |(row, target): (usize, Option<u32>)| {
        let raw = model.unembed_tokens(&x.narrow(0, row, 1)?, 0..v)?;
        let finished = numbers(&model.finish_logits(raw.clone())?)?;
        let raw = numbers(&raw)?;
        let (least, most) = vectorise!((simd::min(&raw), simd::max(&raw)));
        let top = vectorise!(simd::max(&finished));
        // Of equals the first.
        let most_probable = finished.iter().position(|x| *x == top).unwrap_or(0) as u32;
        Ok(Said { target: target.unwrap_or(most_probable), spread: f64::from(most) - f64::from(least) })
    };
    targets.enumerate().map(of_row).collect()
}

/// A wave that has run.
struct Wave<'a> {
    model: &'a Model,
    prompts: &'a [Prompt],
    spell: &'a dyn Fn(u32) -> String,
    asked: &'a Asked<'a>,
    chosen: &'a [Chosen],
    /// Of each point, the rows that were chosen.
    values: BTreeMap<HookPoint, Values>,
    said: Vec<Said>,
    /// What the final norm divides each by.
    scales: Vec<f64>,
    directions: BTreeMap<u32, Direction>,
}

/// One layer at one position: what its MLP adds, and along which directions neurons are measured.
struct Layer {
    write: Vec<f32>,
    push: f64,
    /// Along which a neuron's row of the output map pushes the target.
    pushes: Vec<f64>,
    /// Along which it has its part of what the MLP adds.
    shares: Vec<f64>,
    /// What a norm after the MLP divides by.
    scale: f64,
    of_neurons: f64,
    of_bias: f64,
}

impl Wave<'_> {
    /// The rows of a value's numbers.
    fn rows(&self, point: HookPoint) -> Result<&[f32]> {
        match self.values.get(&point) {
            Some(Values::F32(values)) => Ok(values),
            _ => Err(Error::compute(format!("{point} was not seen")).fault()),
        }
    }

    /// The part of `x` that is row `r`.
    fn row<'x>(&self, x: &'x [f32], r: usize) -> &'x [f32] {
        let width = x.len() / self.chosen.len();
        &x[r * width..(r + 1) * width]
    }

    /// What multiplies the output of a bank at each position: 0 where a row does not go through the expert.
    fn weights(&self, bank: &Bank<'_>) -> Result<Vec<f64>> {
        let Some(expert) = bank.expert else { return Ok(vec![1.0; self.chosen.len()]) };
        let weights = self.rows(HookPoint::block(bank.layer, Site::ChosenWeights))?;
        let Some(Values::U32(indices)) = self.values.get(&HookPoint::block(bank.layer, Site::ExpertIndices)) else {
            return Err(Error::compute("no experts were seen").fault());
        };
        let per_row = weights.len() / self.chosen.len();
        let of = |(indices, weights): (&[u32], &[f32])| {
            let own = indices.iter().zip(weights).filter(|(e, _)| **e as usize == expert);
            own.map(|(_, weight)| f64::from(*weight)).sum()
        };
        Ok(indices.chunks_exact(per_row).zip(weights.chunks_exact(per_row)).map(of).collect())
    }

    /// What the MLP of a bank's layer does at each position.
    fn layer(&self, bank: &Bank<'_>) -> Result<Vec<Layer>> {
        let writes = self.rows(HookPoint::block(bank.layer, Site::MlpOut))?;
        let scales = match bank.is_normed() {
            true => Some(self.rows(HookPoint::block(bank.layer, Site::Ln2PostScale))?),
            false => None,
        };
        let of_row = |r: usize| {
            let (write, direction) = (self.row(writes, r), &self.directions[&self.said[r].target].before);
            let scale = scales.map_or(1.0, |scales| f64::from(scales[r]));
            let size = length(write).powi(2);
            let wide: Vec<f64> = write.iter().map(|x| f64::from(*x)).collect();
            let over = |x: Vec<f64>, by: f64| -> Vec<f64> {
                x.into_iter().map(|x| if by == 0.0 { 0.0 } else { x / by }).collect()
            };
            Layer {
                write: write.to_vec(),
                push: along(direction, write) / self.scales[r],
                pushes: over(bank.back(direction), scale * self.scales[r]),
                shares: over(bank.back(&wide), scale * size),
                scale,
                of_neurons: 0.0,
                // What the bias of a norm after the MLP pushes is beside all experts.
                of_bias: bank
                    .after_bias
                    .as_ref()
                    .map_or(0.0, |bias| bank.factor * dot(bias, direction) / self.scales[r]),
            }
        };
        Ok((0..self.chosen.len()).map(of_row).collect())
    }

    /// Adds what the neurons of a bank do at each position.
    fn add(&self, (b, bank): (usize, &Bank<'_>), layers: &mut [Layer], found: &mut [Vec<Candidate>]) -> Result<()> {
        let (weights, bias, posts) = (self.weights(bank)?, bank.bias()?, self.rows(bank.points().post)?);
        let wanted: BTreeSet<usize> = self.asked.units.iter().filter(|u| bank.has(**u)).map(|u| u.neuron).collect();
        let goes: Vec<usize> = (0..weights.len()).filter(|r| weights[*r] != 0.0).collect();
        let directions =
            goes.iter().flat_map(|r| [layers[*r].pushes.clone(), layers[*r].shares.clone()]).collect::<Vec<_>>();
        let sizes = if goes.is_empty() { vec![] } else { bank.along(self.model, &directions)? };
        for r in 0..weights.len() {
            let (layer, weight) = (&mut layers[r], weights[r]);
            let sizes = goes.binary_search(&r).ok().map(|i| &sizes[2 * i * bank.len..2 * (i + 1) * bank.len]);
            let posts = self.row(posts, r);
            let of = |neuron: usize| {
                let [push, share] = sizes.map_or([0.0; 2], |s| [s[neuron], s[bank.len + neuron]]).map(f64::from);
                let times = weight * f64::from(posts[neuron]);
                Candidate { bank: b, neuron, push: times * push, share: times * share, weight, post: posts[neuron] }
            };
            if sizes.is_some() {
                layer.of_neurons += (0..bank.len).map(|n| of(n).push).sum::<f64>();
                layer.of_bias += bias.as_ref().map_or(0.0, |bias| weight * dot(bias, &layer.pushes));
            }
            if !self.asked.units.is_empty() {
                found[r].extend(wanted.iter().map(|neuron| of(*neuron)));
                continue;
            }
            if sizes.is_some() {
                let mut own: Vec<Candidate> = (0..bank.len).map(of).collect();
                strongest(&mut own, self.asked.top);
                found[r].extend(own);
                strongest(&mut found[r], self.asked.top);
            }
        }
        Ok(())
    }

    fn found(&self, reader: &Reader<'_>, known: &mut BTreeMap<Signed, String>) -> Result<Found> {
        let banks = self.asked.banks;
        let mut candidates: Vec<Vec<Candidate>> = vec![vec![]; self.chosen.len()];
        // Of each layer, what its MLP does at each position.
        let mut layers: BTreeMap<usize, Vec<Layer>> = BTreeMap::new();
        for (b, bank) in banks.iter().enumerate() {
            let own = match layers.entry(bank.layer) {
                std::collections::btree_map::Entry::Vacant(none) => none.insert(self.layer(bank)?),
                std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
            };
            self.add((b, bank), own, &mut candidates)?;
        }
        for own in &mut candidates {
            own.sort_unstable_by(Candidate::stronger);
        }
        let signed = |c: &Candidate| (banks[c.bank].unit(c.neuron), if c.post < 0.0 { -1 } else { 1 });
        let new: BTreeSet<Signed> =
            candidates.iter().flatten().map(signed).filter(|s| !known.contains_key(s)).collect();
        let new: Vec<Signed> = new.into_iter().collect();
        let mut found = Found::default();
        let says = vocab::say(self.model, reader, banks, &new, self.asked.tokens.max(vocab::WORDS), self.asked.budget)?;
        for (signed, mut said) in new.into_iter().zip(says) {
            known.insert(signed, said.promotes(self.spell));
            said.cut(self.asked.tokens);
            found.vocab.extend(said.rows(signed, self.spell));
        }
        for (r, own) in candidates.iter().enumerate() {
            for (i, candidate) in own.iter().enumerate() {
                let layer = &layers[&banks[candidate.bank].layer][r];
                found.neurons.push(self.neuron((r, i), candidate, layer, &known[&signed(candidate)])?);
            }
            for (number, of_layer) in &layers {
                let shown = || own.iter().filter(|c| banks[c.bank].layer == *number);
                let layer = &of_layer[r];
                let (said, at) = (&self.said[r], &self.chosen[r]);
                found.layers.push(NeuronLayerRow {
                    prompt: self.prompts[at.prompt].index,
                    prompt_id: self.prompts[at.prompt].id.clone(),
                    pos: at.pos as u32,
                    layer: *number as u32,
                    target: (self.spell)(said.target),
                    target_id: said.target,
                    write_norm: length(&layer.write),
                    push: layer.push,
                    push_neurons: layer.of_neurons,
                    push_bias: layer.of_bias,
                    gap: match (layer.of_neurons + layer.of_bias - layer.push).abs() {
                        0.0 => 0.0,
                        off => off / said.spread,
                    },
                    shown: shown().count() as u32,
                    shown_push: shown().map(|c| c.push).sum(),
                    shown_share: shown().map(|c| c.share).sum(),
                });
            }
        }
        Ok(found)
    }

    fn neuron(&self, (r, i): (usize, usize), of: &Candidate, layer: &Layer, promotes: &str) -> Result<NeuronRow> {
        let (bank, at, said) = (&self.asked.banks[of.bank], &self.chosen[r], &self.said[r]);
        let (prompt, points) = (&self.prompts[at.prompt], bank.points());
        let value = |point: HookPoint| Ok::<_, Error>(f64::from(self.row(self.rows(point)?, r)[of.neuron]));
        let write = bank.writes(&[of.neuron as u32])?.swap_remove(0);
        let unit = bank.unit(of.neuron);
        Ok(NeuronRow {
            prompt: prompt.index,
            prompt_id: prompt.id.clone(),
            pos: at.pos as u32,
            input_token: prompt.label(at.pos).to_owned(),
            rank: i as u32 + 1,
            layer: unit.layer as u32,
            expert: unit.expert.map(|e| e as u32),
            neuron: unit.neuron as u32,
            pre: value(points.pre)?,
            gate: points.gate.map(value).transpose()?,
            post: f64::from(of.post),
            write_norm: (of.weight * f64::from(of.post)).abs() * dot(&write, &write).sqrt() / layer.scale,
            target: (self.spell)(said.target),
            target_id: said.target,
            push: of.push,
            share_of_mlp: of.share,
            promotes: promotes.to_owned(),
            percentile: (self.asked.percentile)(unit, of.post),
        })
    }
}

/// Leaves the strongest.
fn strongest(all: &mut Vec<Candidate>, most: usize) {
    if all.len() > most {
        all.select_nth_unstable_by(most, Candidate::stronger);
        all.truncate(most);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
