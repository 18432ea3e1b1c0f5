//! The runs of some pairs, packed: forward with both prompts, back from the metrics of those that are changed.

use std::collections::HashMap;

use candle_core::Tensor;

use super::nodes::Nodes;
use super::qk::Attended;
use super::{Attribute, has_fix, is_stream};
use crate::analysis::Watch;
use crate::error::{Error, Result, position, said};
use crate::hook::site::Role;
use crate::hook::{Cache, Gradients, Hook, HookPoint, NotFinite, Site};
use crate::model::{Batch, Model, Run, Unembed, clamp};
use crate::ops::numbers;
use crate::ops::rows::{Rows, SequenceRows};
use crate::sweep::{Direction, Gauge, check_text, readout};
use crate::sweep::{Readout, check_finite, not_finite};
use crate::text::Pair;

/// What was estimated of one value of one pair.
pub(super) struct Estimates {
    /// What each number below is for.
    pub nodes: Nodes,
    /// The estimated change of the metric.
    pub values: Vec<f64>,
    /// What nodes are ranked by: its size, or with GradDrop the mean of sizes.
    pub strengths: Vec<f64>,
    /// Whether a bit of the value is another in the other run; not told where a layer is dropped.
    pub changed: Vec<bool>,
}

impl Estimates {
    /// The nodes that have rows: all of the prompt, but of neurons only the `top` strongest of each position.
    pub fn told(&self, top: usize) -> Vec<usize> {
        let all = (0..self.nodes.len()).filter(|i| self.nodes.is_of_prompt(*i));
        if !self.nodes.are_neurons() || top == 0 {
            return all.collect();
        }
        let width = self.nodes.per_position();
        let of_position = |from: usize| {
            let mut order: Vec<usize> = (from..from + width).filter(|i| self.strengths[*i] > 0.0).collect();
            // The first of equals, so that the same numbers give the same rows.
            let stronger = |a: &usize, b: &usize| self.strengths[*b].total_cmp(&self.strengths[*a]).then(a.cmp(b));
            if order.len() > top {
                order.select_nth_unstable_by(top, stronger);
                order.truncate(top);
            }
            order.sort_unstable();
            order
        };
        all.step_by(width.max(1)).flat_map(of_position).collect()
    }
}

/// The metric of a pair's runs.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub clean: f64,
    pub corrupt: f64,
    /// Whichever is changed.
    pub base: f64,
    /// Whether the clean run prefers the foil.
    pub foil_preferred: bool,
}

/// One side of the pairs: its values.
struct Side {
    values: HashMap<HookPoint, Vec<Tensor>>,
    /// For each pair its logits `[positions, tokens]`, flat.
    logits: Vec<Vec<f32>>,
}

/// The runs of some pairs.
pub(super) struct Pass<'a> {
    model: &'a Model,
    pairs: &'a [Pair],
    points: &'a [HookPoint],
    options: &'a Attribute,
    rows: Rows,
    base: Side,
    donor: Side,
    /// The logits of the base runs with the graph that made them, `[rows, columns]`.
    tracked: Tensor,
    gradients: Gradients,
    reading: Reading,
    ends: Vec<Ends>,
}

impl<'a> Pass<'a> {
    /// Runs both sides of `pairs` forward.
    pub fn new(model: &'a Model, pairs: &'a [Pair], points: &'a [HookPoint], options: &'a Attribute) -> Result<Self> {
        let (mut clean, mut corrupt) = (vec![], vec![]);
        for pair in pairs {
            let Some(other) = &pair.corrupt else {
                return Err(Error::bad_input(format!("pair \"{}\" has no corrupt prompt to take values of", pair.id))
                    .hint(said("give {corrupt}")));
            };
            check_text(model.spec(), pair)?;
            clean.push(pair.text(pair.clean.ids()));
            corrupt.push(pair.text(other.ids()));
        }
        let denoise = options.direction == Direction::Denoise;
        let (base_ids, donor_ids) = if denoise { (&corrupt, &clean) } else { (&clean, &corrupt) };
        let reading = Reading::of(pairs, base_ids, options)?;
        // What the fix reads beside the values that are estimated.
        let fixed: Vec<HookPoint> = points.iter().copied().filter(|p| options.qk_fix && has_fix(p.site)).collect();
        let of_fixed = |sites: &[Site]| {
            let exists = |p: &HookPoint| p.site.exists(model.spec(), p.layer);
            let at = |(p, s): (&HookPoint, &Site)| HookPoint { site: *s, ..*p };
            (fixed.iter().flat_map(|p| sites.iter().map(move |s| (p, s))).map(at).filter(exists)).collect::<Vec<_>>()
        };
        let scored = of_fixed(&[Site::Q, Site::K, Site::QNormed, Site::KNormed, Site::RotQ, Site::RotK]);
        let mut base_cache = Cache::of(points.iter().chain(&scored).copied().chain(of_fixed(&[Site::V])));
        let mut donor_cache = Cache::of(points.iter().chain(&scored).copied());
        let layers = if options.grad_drop { 0..model.spec().n_layers() } else { 0..0 };
        let gates = layers.flat_map(|l| [Site::AttnOut, Site::MlpOut].map(|s| HookPoint::block(l, s)));
        let gates = gates.filter(|p| p.site.exists(model.spec(), p.layer));
        let mut gradients = Gradients::of(points.iter().copied().chain(of_fixed(&[Site::Z])).chain(gates));
        let run = |ids: &[Vec<u32>], hooks: &mut [&mut dyn Hook]| {
            let run = Run { unembed: reading.unembed.clone(), ..Run::default() };
            let out = model.run(&Batch::of(ids.iter().cloned()), &run, hooks)?;
            let what = if std::ptr::eq(ids, &clean[..]) { "clean" } else { "corrupt" };
            check_finite(model, &out, |i| {
                (ids[i].clone(), &[], format!("the {what} run of pair \"{}\"", pairs[i].id))
            })?;
            Ok::<_, Error>((out.logits()?.clone(), out.rows))
        };
        let (donor_logits, _) = run(donor_ids, &mut [&mut donor_cache])?;
        let (tracked, rows) = run(base_ids, &mut [&mut gradients, &mut base_cache])?;
        let kept = |cache: Cache| cache.iter().map(|(p, x)| (p, x.iter().map(Tensor::detach).collect())).collect();
        let donor = Side { values: kept(donor_cache), logits: reading.split(&donor_logits)? };
        let base = Side { values: kept(base_cache), logits: reading.split(&tracked)? };
        let mut pass =
            Self { model, pairs, points, options, rows, base, donor, tracked, gradients, reading, ends: vec![] };
        pass.ends = (0..pairs.len())
            .map(|i| {
                let gauge = pass.gauge(i);
                let of = |side: &Side, what: &str| {
                    let value = gauge.finite(options.metric, &side.logits[i]);
                    value.ok_or_else(|| not_finite(&format!("the {what} run of pair \"{}\"", pairs[i].id), None))
                };
                let (clean, corrupt) = if denoise { (&pass.donor, &pass.base) } else { (&pass.base, &pass.donor) };
                let (clean, corrupt) = (of(clean, "clean")?, of(corrupt, "corrupt")?);
                let clean_logits = if denoise { &pass.donor.logits[i] } else { &pass.base.logits[i] };
                let (base, foil_preferred) = (if denoise { corrupt } else { clean }, gauge.prefers_foil(clean_logits));
                Ok(Ends { clean, corrupt, base, foil_preferred })
            })
            .collect::<Result<_>>()?;
        Ok(pass)
    }

    pub fn ends(&self, i: usize) -> Ends {
        self.ends[i]
    }

    fn gauge(&self, i: usize) -> Gauge<'_> {
        let clean = if self.options.direction == Direction::Denoise { &self.donor } else { &self.base };
        let own = &self.reading.own[i];
        let clean = &clean.logits[i][own.readout.columns(own.at, clean.logits[i].len())];
        let Pair { answers, foils, rest, clean: prompt, .. } = &self.pairs[i];
        let ids = &own.ids[..prompt.tokens.len()];
        Gauge { answers, foils, rest, ids, readout: &own.readout, at: own.at, clean }
    }

    /// Goes back from the metrics, and once more for each layer if that is asked for: by pair and point.
    pub fn estimates(&self, watch: &dyn Watch) -> Result<Vec<Vec<Estimates>>> {
        let slopes = (0..self.pairs.len()).map(|i| self.gauge(i).slope(self.options.metric, &self.base.logits[i]));
        let slopes = self.reading.joined(&slopes.collect::<Vec<_>>(), &self.tracked)?;
        // Its gradient with respect to each logit is that of the metrics: pairs do not see one another.
        let summit = (&self.tracked * slopes)?.sum_all()?;
        let mut estimates = self.back(&summit, None)?;
        if !self.options.grad_drop {
            return Ok(estimates);
        }
        let n_layers = self.model.spec().n_layers();
        estimates.iter_mut().flatten().for_each(|e| e.strengths.fill(0.0));
        for layer in 0..n_layers {
            let dropped = self.back(&summit, Some(layer))?;
            for (e, dropped) in estimates.iter_mut().flatten().zip(dropped.iter().flatten()) {
                let n = if is_stream(e.nodes.point.site) { n_layers } else { n_layers - 1 };
                let sizes = dropped.strengths.iter().map(|x| x / n as f64);
                e.strengths.iter_mut().zip(sizes).for_each(|(sum, x)| *sum += x);
            }
            watch.at(0, 1)?;
        }
        Ok(estimates)
    }

    /// Goes back once, with nothing through the layer that is dropped.
    fn back(&self, summit: &Tensor, dropped: Option<usize>) -> Result<Vec<Vec<Estimates>>> {
        self.gradients.drop_layer(dropped);
        drop(summit.backward()?);
        self.check_gradients(dropped)?;
        let of_point = |point: HookPoint, s: &SequenceRows| {
            let values = self.of_point(point, s)?;
            let strengths = values.iter().map(|x| x.abs()).collect();
            let changed = if dropped.is_none() { self.changed(point, s)? } else { vec![] };
            Ok(Estimates { nodes: self.nodes(point, s), values, strengths, changed })
        };
        let of_pair = |s: &SequenceRows| self.points.iter().map(|p| of_point(*p, s)).collect();
        self.rows.sequences.iter().map(of_pair).collect()
    }

    fn nodes(&self, point: HookPoint, s: &SequenceRows) -> Nodes {
        Nodes::of(self.model.spec(), point, s.len(), self.pairs[s.index].clean.tokens.len())
    }

    /// Refuses gradients that are not finite. A backward pass comes to the last points first.
    fn check_gradients(&self, dropped: Option<usize>) -> Result<()> {
        for point in self.points.iter().rev() {
            for s in &self.rows.sequences {
                let gradient = part(&self.gradients.all(*point)?, *point, s)?;
                let rows = Rows { sequences: vec![SequenceRows { rows: 0..s.len(), ..s.clone() }], made: None };
                if let Some(found) = NotFinite::first_in(*point, &rows, &gradient)? {
                    let without = dropped.map_or(String::new(), |layer| format!(" without layer {layer}"));
                    let pair = &self.pairs[s.index].id;
                    let what =
                        format!("the backward pass{without} of pair \"{pair}\", from {},", self.options.metric.name());
                    return Err(not_finite(&what, Some(&found)));
                }
            }
        }
        Ok(())
    }

    /// For each node of one value of one pair whether a bit of it is another in the other run.
    fn changed(&self, point: HookPoint, s: &SequenceRows) -> Result<Vec<bool>> {
        let [base, donor] = [&self.base, &self.donor].map(|side| numbers(&part(&side.values[&point], point, s)?));
        Ok(self.nodes(point, s).differ(&base?, &donor?))
    }

    /// What the last backward pass says of one value of one pair.
    fn of_point(&self, point: HookPoint, s: &SequenceRows) -> Result<Vec<f64>> {
        if self.options.qk_fix && has_fix(point.site) {
            return self.fixed(point, s);
        }
        let [base, donor] = [&self.base, &self.donor].map(|side| numbers(&part(&side.values[&point], point, s)?));
        let gradient = numbers(&part(&self.gradients.all(point)?, point, s)?)?;
        Ok(self.nodes(point, s).linear(&base?, &donor?, &gradient))
    }

    /// The same for queries or keys, with the pattern made again.
    fn fixed(&self, point: HookPoint, s: &SequenceRows) -> Result<Vec<f64>> {
        let spec = self.model.spec();
        let at = |site| HookPoint { site, ..point };
        // What is scored: after norm, clamp and rotation, where there are such.
        let stages = [[Site::RotQ, Site::RotK], [Site::QNormed, Site::KNormed], [Site::Q, Site::K]];
        let [q, k] = stages.into_iter().find(|[q, _]| q.exists(spec, point.layer)).unwrap_or([Site::Q, Site::K]);
        let layer = point.layer.unwrap_or(0);
        let attention = &spec.blocks[layer].attention.inner;
        let of = |side: &Side, site| {
            let x = part(&side.values[&at(site)], at(site), s)?;
            if matches!(site, Site::RotQ | Site::RotK) { Ok(x) } else { clamp(attention, x) }
        };
        let queries = point.site.info().role == Role::Queries;
        let attended = Attended {
            q: of(&self.base, q)?,
            k: of(&self.base, k)?,
            v: of(&self.base, Site::V)?,
            donor: of(&self.donor, if queries { q } else { k })?,
            dz: part(&self.gradients.all(at(Site::Z))?, at(Site::Z), s)?,
        };
        let scoring = &self.model.weights().blocks[layer].scoring;
        if queries { attended.queries(scoring) } else { attended.keys(scoring) }
    }
}

/// Of what was kept of a point, the part of one sequence.
fn part(kept: &[Tensor], point: HookPoint, s: &SequenceRows) -> Result<Tensor> {
    match kept {
        of_each if point.site.per_sequence() => Ok(of_each[s.index].clone()),
        [packed] => Ok(s.of(packed)?.contiguous()?),
        _ => Err(Error::compute(format!("{point} was made more than once")).fault()),
    }
}

/// What one pair is measured with.
struct Own {
    readout: Readout,
    /// The ids of its base run.
    ids: Vec<u32>,
    at: usize,
}

/// Which logits of the pack are read.
struct Reading {
    own: Vec<Own>,
    unembed: Unembed,
    /// Sorted; none where all tokens are read.
    columns: Option<Vec<u32>>,
}

impl Reading {
    fn of(pairs: &[Pair], base_ids: &[Vec<u32>], options: &Attribute) -> Result<Self> {
        let (mut own, mut rows, mut first, mut columns) = (vec![], vec![], 0, Some(vec![]));
        for (pair, ids) in pairs.iter().zip(base_ids) {
            let readout = readout(pair, &[options.metric], options.measure_at)?;
            let at = position("the prompt", pair.clean.tokens.len(), options.measure_at)?;
            rows.extend(readout.positions.iter().map(|p| (first + p) as u32));
            first += ids.len();
            columns = columns.zip(readout.tokens.clone()).map(|(columns, tokens)| [columns, tokens].concat());
            own.push(Own { readout, ids: ids.clone(), at });
        }
        if let Some(columns) = &mut columns {
            columns.sort_unstable();
            columns.dedup();
        }
        let unembed = match &columns {
            Some(columns) => Unembed::Tokens(rows, columns.clone()),
            None => Unembed::Rows(rows),
        };
        Ok(Self { own, unembed, columns })
    }

    /// For each pair where the logits that it reads lie in `[rows, columns]`, flat.
    fn places(&self, width: usize) -> Vec<Vec<usize>> {
        let mut row = 0;
        let of = |own: &Own| {
            let columns: Vec<usize> = match (&self.columns, &own.readout.tokens) {
                (Some(have), Some(wanted)) => wanted.iter().filter_map(|t| have.binary_search(t).ok()).collect(),
                _ => (0..width).collect(),
            };
            let rows = row..row + own.readout.positions.len();
            row = rows.end;
            rows.flat_map(|r| columns.iter().map(move |c| r * width + c)).collect()
        };
        self.own.iter().map(of).collect()
    }

    fn split(&self, logits: &Tensor) -> Result<Vec<Vec<f32>>> {
        let (width, all) = (logits.dim(1)?, numbers(logits)?);
        Ok(self.places(width).into_iter().map(|places| places.into_iter().map(|i| all[i]).collect()).collect())
    }

    /// The other way: one number for each logit of the pack.
    fn joined(&self, of_pairs: &[Vec<f32>], like: &Tensor) -> Result<Tensor> {
        let mut all = vec![0f32; like.elem_count()];
        for (places, of_pair) in self.places(like.dim(1)?).into_iter().zip(of_pairs) {
            places.into_iter().zip(of_pair).for_each(|(i, x)| all[i] += x);
        }
        Ok(Tensor::from_vec(all, like.shape(), &candle_core::Device::Cpu)?
            .to_device(like.device())?
            .to_dtype(like.dtype())?)
    }
}
