//! Residual: each sublayer adds a stroke to the stream. How far does it push the answer, and what would the model say after it?
//!
//! The final norm's scale of the last stream held, logits are linear in the stream, and so a sum over what was added to it (direct logit
//! attribution; Elhage et al. 2021, "A mathematical framework for transformer circuits"). The logit lens divides by the scale of its own
//! stream instead, so that it and the cumulative push are one curve up to a factor for each step and position.

mod heads;
pub(in crate::analysis) mod options;
pub(in crate::analysis) mod reader;
pub mod rows;
mod view;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::lens::stream::Reading;
use super::lens::{ChosenRow, ROWS, check_positions, chosen_rows, readings, tiles, tiles_need};
use super::{Need, Watch};
use crate::arch::Spec;
use crate::arch::spec::AddedTo;
use crate::error::{Error, Result};
use crate::hook::{Cache, HookPoint, Site};
use crate::model::{Batch, Model, Run, Unembed};
use crate::ops::simd::{self, vectorise};
use crate::ops::{length, numbers, values};
use crate::range::{Interval, count};
use crate::session::Target;
use crate::sweep::budget::{Budget, Cut};
use crate::sweep::{check_prompts, not_finite};
use crate::text::Prompt;
pub use options::Residual;
use reader::{Direction, Reader, along};
pub use rows::{ResidualHeadRow, ResidualMeanRow, ResidualRow};

/// What is asked of each prompt.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Of each prompt the token that is pushed, which is of each position the most probable one unless given, and one that it is compared
    /// with; empty where there are none.
    pub targets: Vec<Target>,
    /// Where the target of all prompts is several tokens, those after its first. The prompts end in all of them but the last, and each is
    /// pushed where it is said: at as many positions at the end.
    pub rest: Vec<u32>,
    /// Positions; negative ones count from the end. All, unless given.
    pub positions: Option<Vec<Interval>>,
    /// What activations and logits may take.
    pub budget: Budget,
}

/// A stroke of a model: what is added, and the stream after it where there is one.
struct Stroke {
    kind: &'static str,
    layer: Option<usize>,
    added: HookPoint,
    after: Option<HookPoint>,
}

/// The strokes of this model, in the order in which they are added.
fn strokes(spec: &Spec) -> Vec<Stroke> {
    let first = Some(HookPoint::block(0, Site::ResidPre));
    let start = |kind, site, after| Stroke { kind, layer: None, added: HookPoint::global(site), after };
    let mut strokes = match (&spec.embedding.norm, spec.embedding.positions.filter(|p| p.added_to == AddedTo::Stream)) {
        // A norm on the sum of both: what is added is what comes out of it.
        (Some(_), _) => {
            vec![Stroke { kind: "embed", layer: None, added: HookPoint::block(0, Site::ResidPre), after: first }]
        }
        (None, Some(_)) => vec![start("embed", Site::Embed, None), start("pos", Site::PosEmbed, first)],
        (None, None) => vec![start("embed", Site::Embed, first)],
    };
    for (layer, block) in spec.blocks.iter().enumerate() {
        let at = |site: Site| HookPoint::block(layer, site);
        let exists = |site: Site| site.exists(spec, Some(layer)).then(|| at(site));
        let post = Some(at(Site::ResidPost));
        let mid = if block.mlp.is_some() { exists(Site::ResidMid) } else { post };
        strokes.push(Stroke { kind: "attn", layer: Some(layer), added: at(Site::AttnOut), after: mid });
        strokes.extend(exists(Site::MlpOut).map(|added| Stroke {
            kind: "mlp",
            layer: Some(layer),
            added,
            after: post,
        }));
    }
    strokes
}

/// What is recorded of a run: strokes and streams, heads, and the scales of norms after attention. The last stream is the run's own.
fn points(spec: &Spec, strokes: &[Stroke]) -> Vec<HookPoint> {
    let last = HookPoint::block(spec.n_layers() - 1, Site::ResidPost);
    let streams = strokes.iter().flat_map(|s| [Some(s.added), s.after]).flatten().filter(|at| *at != last);
    let of_heads = [Site::Z, Site::Ln1PostScale];
    let heads = (0..spec.n_layers()).flat_map(|l| of_heads.map(|site| HookPoint::block(l, site)));
    streams.chain(heads.filter(|at| at.site.exists(spec, at.layer))).collect()
}

/// Bytes that are kept of each row of a run.
fn kept_bytes(spec: &Spec, strokes: &[Stroke]) -> usize {
    let heads = |block: &crate::arch::spec::Block| block.attention.inner.n_heads * block.attention.inner.d_head + 1;
    4 * (2 * strokes.len() * spec.d_model + spec.blocks.iter().map(heads).sum::<usize>())
}

/// Positions whose streams are decoded together: whole registers of the product's rows, where there are so many.
fn together(strokes: &[Stroke]) -> usize {
    let streams = strokes.iter().filter(|stroke| stroke.after.is_some()).count();
    match ROWS / streams {
        few @ ..16 => few.max(1),
        many => many / 16 * 16,
    }
}

/// What [`residual`] needs of memory.
pub fn need(spec: &Spec, prompts: &[Prompt], asked: &Asked) -> Need {
    let strokes = strokes(spec);
    Need { rows: positions_bytes(&strokes, prompts), ..cut(spec, prompts, asked, &strokes).need }
}

/// Which prompts run together, and what that needs.
fn cut(spec: &Spec, prompts: &[Prompt], asked: &Asked, strokes: &[Stroke]) -> Cut {
    let positions = |p: &Prompt| count(asked.positions.as_deref(), p.tokens.len());
    let at_once = prompts.iter().map(positions).sum::<usize>().min(together(strokes));
    let decoded = at_once * (strokes.len() + 1);
    let (tile, least_tile) = tiles_need(spec, decoded, asked.budget);
    // The rows that are decoded together, before and after the norm; strokes and streams as numbers; what heads add in one block, before
    // and after its norm and as numbers; the directions.
    let heads = spec.blocks.iter().map(|block| block.attention.inner.n_heads + 1).max().unwrap_or(0);
    let vectors = 4 * decoded + 3 * at_once * heads + 8 * (at_once + 1);
    let beside = 4 * spec.d_model * vectors + tile + decoded * size_of::<Reading>();
    let mut cut = asked.budget.prompts(spec, prompts, kept_bytes(spec, strokes), beside);
    cut.need.least -= tile - least_tile;
    cut
}

/// Bytes of the rows of one prompt while it is drawn.
fn positions_bytes(strokes: &[Stroke], prompts: &[Prompt]) -> usize {
    let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
    longest.min(super::lens::view::MOST_CELLS) * (strokes.len() + 1) * (size_of::<ResidualRow>() + 8 * 32)
}

/// The strokes of each prompt at each position that is asked for, and what heads add. `spell` gives a token's text.
///
/// # Errors
/// When a prompt lacks a position; whatever the run or `emit` says, and when a run is not finite.
pub fn residual(
    model: &Model,
    prompts: &[Prompt],
    spell: &dyn Fn(u32) -> String,
    asked: &Asked,
    watch: &dyn Watch,
    emit: &mut dyn FnMut(Vec<ResidualRow>, Vec<ResidualHeadRow>) -> Result<()>,
) -> Result<()> {
    let spec = model.spec();
    check_positions(prompts, asked.positions.as_deref().unwrap_or_default())?;
    let (strokes, reader) = (strokes(spec), Reader::new(model)?);
    let points = points(spec, &strokes);
    for wave in cut(spec, prompts, asked, &strokes).waves {
        watch.at(wave.start, prompts.len())?;
        let (prompts, targets) = (&prompts[wave.clone()], asked.targets.get(wave).unwrap_or_default());
        let mut cache = Cache::of(points.iter().copied());
        let run = Run { unembed: Unembed::Nothing, ..Run::default() };
        let out = model.run(&Batch::of(prompts.iter().map(Prompt::ids)), &run, &mut [&mut cache])?;
        check_prompts(model, prompts, &out, "")?;
        let chosen = chosen_rows(&out, asked.positions.as_deref())?;
        for rows in chosen.chunks(together(&strokes)) {
            let at = Tensor::new(rows.iter().map(|r| r.row).collect::<Vec<_>>(), model.device())?;
            let own = out.resid.index_select(&at, 0)?;
            let (reader, strokes, cache) = (&reader, &strokes[..], &cache);
            Together { model, reader, prompts, targets, spell, asked, strokes, cache, rows, at }.tell(own, emit)?;
        }
    }
    watch.at(prompts.len(), prompts.len())
}

/// What the model says at a position, before factor and cap.
#[derive(Clone, Copy)]
struct Said {
    target: u32,
    /// The target's logit.
    logit: f64,
    mean: f64,
    least: f64,
    most: f64,
    /// The largest logit after factor and cap, so far.
    top: f32,
}

/// Some positions that are worked on together.
struct Together<'a> {
    model: &'a Model,
    reader: &'a Reader<'a>,
    prompts: &'a [Prompt],
    targets: &'a [Target],
    spell: &'a dyn Fn(u32) -> String,
    asked: &'a Asked,
    strokes: &'a [Stroke],
    cache: &'a Cache,
    rows: &'a [ChosenRow],
    /// Which rows of the pack they are.
    at: Tensor,
}

/// A position as its heads are told: its prompt, target, foil and what they are measured by.
struct Measure<'a> {
    target: &'a Direction,
    foil: Option<&'a Direction>,
    /// The final norm's scale of the last stream.
    scale: f64,
    /// Of the model's logits.
    spread: f64,
}

impl Measure<'_> {
    /// How far a vector in the stream pushes the target, and that compared with the foil.
    fn pushes(&self, x: &[f32]) -> (f64, Option<f64>) {
        let push = along(&self.target.before, x) / self.scale;
        (push, self.foil.map(|foil| push - along(&foil.before, x) / self.scale))
    }

    fn gap(&self, a: f64, b: f64) -> f64 {
        if a == b { 0.0 } else { (a - b).abs() / self.spread }
    }
}

impl Together<'_> {
    /// The value at these positions.
    fn picked(&self, point: HookPoint) -> Result<Tensor> {
        Ok(self.cache.get(&point.to_string())?.index_select(&self.at, 0)?)
    }

    /// What is asked of the prompt of a row.
    fn own(&self, row: &ChosenRow) -> Target {
        self.targets.get(row.prompt).copied().unwrap_or_default()
    }

    /// What is pushed at a row; none where it is the most probable token.
    fn target_at(&self, row: &ChosenRow) -> Option<u32> {
        let (target, rest) = (self.own(row).target, &self.asked.rest);
        if rest.is_empty() {
            return target;
        }
        let said = (row.pos + rest.len() + 1).checked_sub(self.prompts[row.prompt].tokens.len())?;
        target.iter().chain(rest).nth(said).copied()
    }

    /// What the model says, of the last streams `own`.
    fn said(&self, own: &Tensor) -> Result<Vec<Said>> {
        let x = self.model.normalize(own)?;
        let (n, d_vocab) = (self.rows.len(), self.model.spec().unembedding.d_vocab_out);
        let targets: Vec<Option<u32>> = self.rows.iter().map(|row| self.target_at(row)).collect();
        let (least, most, top) = (f64::INFINITY, f64::NEG_INFINITY, f32::NEG_INFINITY);
        let none = |target: &Option<u32>| Said { target: target.unwrap_or(0), logit: 0.0, mean: 0.0, least, most, top };
        let mut said: Vec<Said> = targets.iter().map(none).collect();
        for tile in tiles(d_vocab, n, self.asked.budget) {
            let raw = self.model.unembed_tokens(&x, tile.clone())?;
            let finished = held(&self.model.finish_logits(raw.clone())?)?;
            let raw = held(&raw)?;
            let (raw, finished) = (&*values(&raw)?, &*values(&finished)?);
            let rows = raw.par_chunks_exact(tile.len()).zip(finished.par_chunks_exact(tile.len()));
            said.par_iter_mut().zip(&targets).zip(rows).for_each(|((said, target), (raw, finished))| {
                let (sum, least, most) =
                    vectorise!((simd::wide_sum(raw, raw, |_, x| x), simd::min(raw), simd::max(raw)));
                said.mean += sum / d_vocab as f64;
                (said.least, said.most) = (said.least.min(f64::from(least)), said.most.max(f64::from(most)));
                let at = match target {
                    Some(target) => (*target as usize).checked_sub(tile.start).filter(|at| *at < tile.len()),
                    None => {
                        // Of equals the first.
                        let top = vectorise!(simd::max(finished));
                        let more = top > said.top;
                        said.top = said.top.max(top);
                        more.then(|| finished.iter().position(|x| *x == top)).flatten()
                    }
                };
                if let Some(at) = at {
                    (said.target, said.logit) = ((tile.start + at) as u32, f64::from(raw[at]));
                }
            });
        }
        Ok(said)
    }

    /// Makes the rows of these positions.
    fn tell(
        &self,
        own: Tensor,
        emit: &mut dyn FnMut(Vec<ResidualRow>, Vec<ResidualHeadRow>) -> Result<()>,
    ) -> Result<()> {
        let d = self.model.spec().d_model;
        let said = self.said(&own)?;
        let foils: Vec<Option<u32>> = self.rows.iter().map(|row| self.own(row).foil).collect();
        let wanted = said.iter().map(|s| s.target).chain(foils.iter().copied().flatten());
        let directions = self.reader.directions(wanted)?;
        // The streams that there are, the last of all first, and which of them comes after each stroke.
        let (mut streams, mut place) = (vec![own], vec![]);
        for stroke in self.strokes {
            place.push(match stroke.after {
                None => None,
                Some(HookPoint { site: Site::ResidPost, layer, .. })
                    if layer == Some(self.model.spec().n_layers() - 1) =>
                {
                    Some(0)
                }
                Some(after) => {
                    streams.push(self.picked(after)?);
                    Some(streams.len() - 1)
                }
            });
        }
        let targets: Vec<Target> = said.iter().map(|s| Target { target: Some(s.target), foil: None }).collect();
        let readings = readings(self.model, &streams, |_| 1, &targets, self.asked.budget)?;
        let scales = streams.iter().map(|x| self.reader.scales(x)).collect::<Result<Vec<_>>>()?;
        let normalized = streams.iter().map(|x| numbers(&self.model.normalize(x)?)).collect::<Result<Vec<_>>>()?;
        let streams = streams.iter().map(numbers).collect::<Result<Vec<_>>>()?;
        let added = self.strokes.iter().map(|s| numbers(&self.picked(s.added)?)).collect::<Result<Vec<_>>>()?;
        let measures: Vec<Measure<'_>> = (said.iter().enumerate())
            .map(|(r, said)| Measure {
                target: &directions[&said.target],
                foil: foils[r].map(|foil| &directions[&foil]),
                scale: scales[0][r],
                spread: said.most - said.least,
            })
            .collect();
        // Of each position the push of each block's attention, which its heads come to.
        let mut of_attention = vec![vec![]; self.rows.len()];
        let mut all = vec![];
        for (r, readings) in readings.into_iter().enumerate() {
            let (said, measure) = (&said[r], &measures[r]);
            let row_of = |x: &[f32]| -> Vec<f32> { x[r * d..(r + 1) * d].to_vec() };
            let readings: Vec<Reading> = readings.into_iter().map(Reading::finished).collect();
            let (last, mut before, mut total) = (row_of(&streams[0]), None::<Vec<f32>>, 0.0);
            for (step, stroke) in self.strokes.iter().enumerate() {
                let stroke_of = row_of(&added[step]);
                let (push, push_foil) = measure.pushes(&stroke_of);
                total += push;
                if stroke.kind == "attn" {
                    of_attention[r].push(push);
                }
                let mut row = self.row((r, said), (step, stroke.kind), (push, total, push_foil));
                (row.layer, row.write_norm) = (stroke.layer.map(|l| l as u32), Some(length(&stroke_of)));
                if let (Some(place), Some(after)) = (place[step], stroke.after) {
                    let (x, reading) = (row_of(&streams[place]), &readings[place]);
                    if !reading.log_total().is_finite() {
                        let (chosen, prompts) = (self.rows[r], self.prompts);
                        let what = format!(
                            "the lens at {after}, position {} of prompt \"{}\",",
                            chosen.pos, prompts[chosen.prompt].id
                        );
                        return Err(not_finite(&what, None));
                    }
                    let (id, logit) = reading
                        .top()
                        .first()
                        .copied()
                        .ok_or_else(|| Error::compute("the lens has no most probable token").fault())?;
                    let lens = along(&measure.target.after, &row_of(&normalized[place])) - measure.target.norm_bias;
                    row.hook = Some(after.to_string());
                    row.stream_norm = Some(length(&x));
                    row.cos_previous = before.as_ref().map(|before| cosine(before, &x));
                    row.cos_final = Some(cosine(&last, &x));
                    row.lens_token = Some((self.spell)(id));
                    row.lens_token_id = Some(id);
                    row.lens_prob = Some(f64::from((logit - reading.log_total()).exp()));
                    row.lens_rank_of_target = reading.target().map(|(rank, _)| rank);
                    row.entropy_bits = Some(f64::from(reading.entropy_bits()));
                    let kl = if place == 0 { 0.0 } else { reading.kl_bits(&readings[0]) };
                    row.kl_to_final_bits = Some(f64::from(kl));
                    row.gap = Some(measure.gap(lens, total * scales[0][r] / scales[place][r]));
                    before = Some(x);
                }
                all.push(row);
            }
            let bias = measure.target.bias;
            let push_foil = measure.foil.map(|foil| bias - foil.bias);
            total += bias;
            let mut row = self.row((r, said), (self.strokes.len(), "bias"), (bias, total, push_foil));
            row.gap = Some(measure.gap(total, said.logit - said.mean));
            all.push(row);
        }
        let heads = self.heads(&said, &measures, &of_attention)?;
        emit(all, heads)
    }

    /// A row without what is known of a stream.
    fn row(
        &self,
        (r, said): (usize, &Said),
        (step, kind): (usize, &str),
        (push, push_cumulative, push_foil): (f64, f64, Option<f64>),
    ) -> ResidualRow {
        let ChosenRow { prompt, pos, .. } = self.rows[r];
        let (prompt, foil) = (&self.prompts[prompt], self.own(&self.rows[r]).foil);
        ResidualRow {
            prompt: prompt.index,
            prompt_id: prompt.id.clone(),
            pos: pos as u32,
            input_token: prompt.label(pos).to_owned(),
            step: step as u32,
            hook: None,
            kind: kind.to_owned(),
            layer: None,
            write_norm: None,
            stream_norm: None,
            cos_previous: None,
            cos_final: None,
            target: (self.spell)(said.target),
            target_id: said.target,
            push,
            push_cumulative,
            foil: foil.map(self.spell),
            foil_id: foil,
            push_foil,
            lens_token: None,
            lens_token_id: None,
            lens_prob: None,
            lens_rank_of_target: None,
            entropy_bits: None,
            kl_to_final_bits: None,
            gap: None,
        }
    }
}

/// The same numbers as f32 on the CPU, which are copied only where they are not.
fn held(x: &Tensor) -> Result<Tensor> {
    Ok(x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?)
}

/// The cosine of two vectors; 0 where one is 0.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product = vectorise!(simd::wide_sum(a, b, |a, b| f64::from(a) * b));
    if product == 0.0 { 0.0 } else { product / (length(a) * length(b)) }
}
