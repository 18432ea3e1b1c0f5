//! Pairs that are recorded together, and all patches of theirs.

use std::collections::HashSet;
use std::ops::Range;

use super::grid::Spot;
use super::kind::{Direction, Kind, Sources, knocked_out};
use super::metric::{Gauge, Metric, readout};
use super::seen::has_kv_heads;
use super::{Keep, Measured, PatchOptions, Summary};
use crate::error::{Error, Result};
use crate::hook::{HookPoint, Site};
use crate::model::Model;
use crate::sweep::{Change, Patched, Readout, Recorded, naive, plan, row_bytes, sweep, unchanged};
use crate::table::Patch;
use crate::text::{Pair, Prompt};

/// Consecutive pairs whose recorded runs take at most half of the memory: the other half is for patched runs.
pub(super) fn groups(model: &Model, pairs: &[Pair], points: &[HookPoint], memory_bytes: usize) -> Vec<Range<usize>> {
    let spec = model.spec();
    let numbers = |p: &HookPoint, n: usize| -> usize {
        p.site.info().axes.iter().map(|a| Site::axis_len(spec, p.layer, *a).unwrap_or(n)).product()
    };
    let bytes = |pair: &Pair| {
        let n = pair.clean.tokens.len();
        let streams: usize = spec
            .blocks
            .iter()
            .map(|b| spec.d_model + 2 * b.attention.inner.n_kv_heads * b.attention.inner.d_head)
            .sum();
        let values: usize =
            points.iter().map(|p| if p.layer.is_none() { n * spec.d_model } else { numbers(p, n) }).sum();
        2 * 4 * (n * streams + values) + n * row_bytes(spec)
    };
    let (mut groups, mut start, mut used) = (vec![], 0, 0);
    for (i, pair) in pairs.iter().enumerate() {
        if i > start && used + bytes(pair) > memory_bytes / 2 {
            groups.push(start..i);
            (start, used) = (i, 0);
        }
        used += bytes(pair);
    }
    groups.push(start..pairs.len());
    groups
}

/// What a long sweep is accompanied by.
pub(super) struct Long<'a> {
    pub keep: &'a mut dyn Keep,
    pub group: usize,
    /// Told how many patches are done more; may stop the sweep.
    pub after: &'a mut dyn FnMut(usize) -> Result<()>,
}

/// Pairs that are recorded together.
pub(super) struct Group<'a> {
    pairs: &'a [Pair],
    spots: &'a [Vec<Spot>],
    /// The runs that are changed, the pairs' other runs, and those that give values; where there are such.
    bases: Vec<Recorded>,
    others: Vec<Option<Recorded>>,
    /// What was changed in the runs that are changed further.
    begun_with: Vec<Vec<Change>>,
    donors: Vec<Option<Recorded>>,
    readouts: Vec<Readout>,
    at: Vec<usize>,
}

impl<'a> Group<'a> {
    /// Runs the pairs' prompts and keeps what patched runs need of them.
    pub fn record(
        model: &Model,
        pairs: &'a [Pair],
        spots: &'a [Vec<Spot>],
        points: &[HookPoint],
        options: &PatchOptions,
    ) -> Result<Self> {
        let (mut sequences, mut changes) = (vec![], vec![]);
        for pair in pairs {
            if pair.corrupt.is_none() && options.kind.needs_another_prompt() && options.noised.is_none() {
                return Err(Error::bad_input(format!("pair \"{}\" has no corrupt prompt to take values of", pair.id))
                    .hint("give --corrupt, or another --kind"));
            }
            let clean = pair.clean.ids();
            let n = clean.len();
            let noise =
                options.noised.as_ref().map(|n| n.change(model, options.seed, pair, clean.len())).transpose()?;
            let corrupt = match &pair.corrupt {
                _ if noise.is_some() => Some(clean.clone()),
                corrupt => corrupt.as_ref().map(Prompt::ids),
            };
            let resampled = matches!(options.kind, Kind::Resample).then(|| options.resampled(pair, n)).transpose()?;
            sequences.extend([Some(clean), corrupt, resampled].into_iter().flatten());
            changes.resize(sequences.len(), vec![]);
            if let Some(noise) = noise {
                let at = sequences.len() - 1 - usize::from(matches!(options.kind, Kind::Resample));
                changes[at] = vec![noise];
            }
        }
        let mut recorded = Recorded::of(model, &sequences, &changes, points)?.into_iter();
        let (mut bases, mut donors, mut others, mut begun_with) = (vec![], vec![], vec![], vec![]);
        let mut changes = changes.into_iter().filter(|changes| !changes.is_empty());
        for pair in pairs {
            let clean = recorded.next().ok_or_else(|| Error::compute("a prompt was not recorded"))?;
            let corrupt = (pair.corrupt.is_some() || options.noised.is_some()).then(|| recorded.next()).flatten();
            let (base, other) = match (corrupt, options.direction) {
                (Some(corrupt), Direction::Denoise) => (corrupt, Some(clean)),
                (corrupt, _) => (clean, corrupt),
            };
            let noise = if options.noised.is_some() { changes.next().unwrap_or_default() } else { vec![] };
            begun_with.push(if options.direction == Direction::Denoise { noise } else { vec![] });
            bases.push(base);
            donors.push(if matches!(options.kind, Kind::Resample) { recorded.next() } else { other.clone() });
            others.push(other);
        }
        let readouts = pairs.iter().map(|p| readout(p, &options.metrics, options.measure_at)).collect::<Result<_>>()?;
        let at = |p: &Pair| match options.measure_at {
            at if at < 0 => (p.clean.tokens.len() as isize + at) as usize,
            at => at as usize,
        };
        Ok(Self { pairs, spots, bases, others, begun_with, donors, readouts, at: pairs.iter().map(at).collect() })
    }

    /// The logits of a pair's clean and corrupt runs, nothing changed.
    fn ends(&self, model: &Model, pair: usize, direction: Direction) -> Result<(Vec<f32>, Option<Vec<f32>>)> {
        let base = unchanged(model, &self.bases[pair], &self.readouts[pair])?;
        let other = self.others[pair].as_ref().map(|d| unchanged(model, d, &self.readouts[pair])).transpose()?;
        Ok(match (other, direction) {
            (Some(other), Direction::Denoise) => (other, Some(base)),
            (other, _) => (base, other),
        })
    }

    /// Runs every patch and emits its rows.
    pub fn run(
        &self,
        model: &Model,
        options: &PatchOptions,
        sources: &Sources,
        summary: &mut Summary,
        long: &mut Long,
        emit: &mut dyn FnMut(Patch) -> Result<()>,
    ) -> Result<()> {
        // Every patch that may change something, with the pair and spot that it is for.
        let (mut runs, mut of) = (vec![], vec![]);
        for (pair, spots) in self.spots.iter().enumerate() {
            for (spot, s) in spots.iter().enumerate() {
                let (base, donor) = (&self.bases[pair], self.donors[pair].as_ref());
                let run = self.pairs[pair].index as usize;
                let mut changes = s.changes(|point| sources.how(point, run, base, donor))?;
                changes.extend(s.others_keep(model.spec(), &changes, base)?);
                if matches!(options.kind, Kind::KnockOut) {
                    changes = knocked_out(changes, base.len())?;
                }
                let mut moves = false;
                for change in &changes {
                    moves |= !change.changes_nothing(self.bases[pair].value(change.point)?)?;
                }
                if moves {
                    // What starts at the embedding is embedded anew, with whatever its base run was given there.
                    let anew = changes.iter().any(|change| change.point.layer.is_none());
                    let before = if anew { self.begun_with[pair].clone() } else { vec![] };
                    let changes = before.into_iter().chain(changes).collect();
                    runs.push(Patched { base: pair, changes });
                    of.push((pair, spot));
                }
            }
        }
        let ends = (0..self.pairs.len()).map(|p| self.ends(model, p, options.direction)).collect::<Result<Vec<_>>>()?;
        let gauges: Vec<Gauge> = (self.pairs.iter().enumerate())
            .map(|(i, pair)| Gauge {
                pair,
                ids: &self.bases[i].ids,
                readout: &self.readouts[i],
                at: self.at[i],
                clean: &ends[i].0,
            })
            .collect();
        // By pair, spot and metric; what has no run has the base run's value.
        let mut found: Vec<Vec<Option<Vec<f64>>>> = self.spots.iter().map(|spots| vec![None; spots.len()]).collect();
        let measure = |pair: usize, logits: &[f32]| -> Vec<f64> {
            options.metrics.iter().map(|m| gauges[pair].value(*m, logits)).collect()
        };
        let lengths: Vec<usize> = self.bases.iter().map(Recorded::len).collect();
        let waves = plan(model.spec(), &lengths, &runs, &self.readouts, options.memory_bytes / 2)?;
        let all: usize = self.spots.iter().map(Vec::len).sum();
        let without: usize = all - waves.iter().map(|wave| wave.runs.len()).sum::<usize>();
        summary.without_effect += without;
        let mut stopped = (long.after)(without);
        // What no wave has changes nothing; what a wave that did not run has is not known.
        let mut unknown: HashSet<(usize, usize)> =
            waves.iter().flat_map(|w| w.runs.iter().map(|run| of[*run])).collect();
        for (w, wave) in waves.iter().enumerate() {
            if stopped.is_err() {
                break;
            }
            let measured = match long.keep.kept(long.group, w)? {
                Some(measured) => measured,
                None => {
                    let mut measured = vec![];
                    let half = options.memory_bytes / 2;
                    sweep(model, &self.bases, &self.readouts, &runs, wave, half, |run, logits| {
                        let (pair, spot) = of[run];
                        measured.push(Measured { pair, spot, values: measure(pair, logits) });
                        Ok(())
                    })?;
                    long.keep.keep(long.group, w, &measured)?;
                    measured
                }
            };
            for Measured { pair, spot, values } in measured {
                unknown.remove(&(pair, spot));
                found[pair][spot] = Some(values);
            }
            stopped = (long.after)(wave.runs.len());
        }
        if stopped.is_ok() {
            self.verify(model, options, &runs, &of, &found, &measure, summary)?;
        }
        for (i, pair) in self.pairs.iter().enumerate() {
            let (clean, corrupt) = (measure(i, &ends[i].0), ends[i].1.as_ref().map(|logits| measure(i, logits)));
            let base = match (options.direction, &corrupt) {
                (Direction::Denoise, Some(corrupt)) => corrupt,
                _ => &clean,
            };
            for (s, (spot, values)) in self.spots[i].iter().zip(&found[i]).enumerate() {
                if unknown.contains(&(i, s)) {
                    continue;
                }
                let values = values.as_ref().unwrap_or(base);
                for (m, metric) in options.metrics.iter().enumerate() {
                    let corrupt = corrupt.as_ref().map(|corrupt| corrupt[m]);
                    emit(row(model, pair, spot, *metric, [clean[m], values[m]], corrupt))?;
                }
            }
        }
        stopped
    }

    /// Computes some patches of each pair again, one whole forward pass for each.
    #[allow(clippy::too_many_arguments)]
    fn verify(
        &self,
        model: &Model,
        options: &PatchOptions,
        runs: &[Patched],
        of: &[(usize, usize)],
        found: &[Vec<Option<Vec<f64>>>],
        measure: &dyn Fn(usize, &[f32]) -> Vec<f64>,
        summary: &mut Summary,
    ) -> Result<()> {
        for (pair, values_of) in found.iter().enumerate() {
            let own: Vec<usize> =
                (0..runs.len()).filter(|r| of[*r].0 == pair && values_of[of[*r].1].is_some()).collect();
            let n = options.verify.min(own.len());
            for i in 0..n {
                // Spread over the sweep, the first and the last among them.
                let run = own[i * (own.len() - 1) / (n - 1).max(1)];
                let anew = runs[run].changes.iter().any(|change| change.point.layer.is_none());
                let begun = self.begun_with[pair].iter().filter(|_| !anew);
                let changes: Vec<_> = begun.chain(&runs[run].changes).collect();
                let logits = naive(model, &self.bases[pair].ids, &changes, &self.readouts[pair])?;
                let again = measure(pair, &logits);
                for (m, value) in again.iter().enumerate() {
                    let all = || values_of.iter().flatten().map(|values| values[m]);
                    let spread = all().fold(f64::NEG_INFINITY, f64::max) - all().fold(f64::INFINITY, f64::min);
                    let got = values_of[of[run].1].as_ref().map_or(f64::NAN, |values| values[m]);
                    let difference = (got - value).abs() / spread.max(f64::MIN_POSITIVE);
                    // NaN is as far as can be; the same infinity twice is no difference.
                    let farther = difference > summary.worst_difference || difference.is_nan();
                    if got != *value && farther {
                        summary.worst_difference = difference;
                    }
                }
                summary.verified += 1;
            }
        }
        Ok(())
    }
}

pub(in crate::analysis) fn row(
    model: &Model,
    pair: &Pair,
    spot: &Spot,
    metric: Metric,
    [clean, patched]: [f64; 2],
    corrupt: Option<f64>,
) -> Patch {
    let number = |x: Option<usize>| x.map(|x| x as u32);
    let of_kv_head = has_kv_heads(spot.site) && spot.shared_by.is_none();
    let of_pattern = spot.site.per_sequence();
    let group = spot.points[0].layer.map_or(1, |l| model.spec().blocks[l].attention.inner.shared_by());
    let token = |pos: Option<usize>| pos.map(|p| pair.clean.label(p).to_owned());
    let distance = corrupt.map(|corrupt| clean - corrupt);
    Patch {
        pair: pair.index,
        pair_id: pair.id.clone(),
        site: spot.name(),
        layer: number(spot.layer),
        head: if of_kv_head { None } else { number(spot.head) },
        kv_head: if of_kv_head { number(spot.head) } else { number(spot.head.map(|h| h / group)) },
        neuron: number(spot.neuron),
        pos: if of_pattern { None } else { number(spot.pos) },
        query_pos: if of_pattern { number(spot.pos) } else { None },
        key_pos: number(spot.key_pos),
        token: token(spot.pos),
        key_token: token(spot.key_pos),
        metric: metric.name().to_owned(),
        clean: clean as f32,
        corrupt: corrupt.map(|c| c as f32),
        patched: patched as f32,
        recovered: distance.filter(|d| *d != 0.0).zip(corrupt).map(|(d, corrupt)| ((patched - corrupt) / d) as f32),
    }
}
