//! Pairs that are recorded together, and all patches of theirs.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::grid::Spot;
use super::kind::{Direction, Kind, Sources};
use super::metric::{Gauge, Metric, readout, row_at};
use super::seen::has_kv_heads;
use super::{Keep, Measured, PatchOptions, Summary};
use crate::arch::Spec;
use crate::error::{Error, Result};
use crate::hook::{HookPoint, Site};
use crate::model::Model;
use crate::sweep::{Change, How, Patched, Readout, Recorded, naive, plan, row_bytes, sweep, unchanged};
use crate::table::Patch;
use crate::text::{Pair, Prompt};

/// Bytes that are kept of a patch while its part of the sweep runs, in several lists.
const PATCH_BYTES: usize = 700;
/// A pair's patches are not parted into fewer than this: for each part, the pair's runs are recorded anew.
const LEAST_PATCHES: usize = 1024;

/// What is recorded and runs together: consecutive pairs, and which of each one's patches.
pub(super) struct Part {
    pub pairs: Range<usize>,
    pub spots: Range<usize>,
}

/// Parts of the sweep whose recorded runs and lists of patches take at most half of the memory: the other half is for
/// patched runs. A pair with more patches than that is parted.
pub(super) fn parts(
    model: &Model,
    pairs: &[Pair],
    points: &[HookPoint],
    spots: &[Arc<Vec<Spot>>],
    options: &PatchOptions,
) -> Vec<Part> {
    let (spec, half) = (model.spec(), options.memory_bytes / 2);
    let numbers = |p: &HookPoint, n: usize| -> usize {
        let width = p.site.info().axes.iter().map(|a| Site::axis_len(spec, p.layer, *a).unwrap_or(n)).product();
        // Outside the blocks, what has no length of its own is as wide as the stream.
        if p.layer.is_none() { n * spec.d_model } else { width }
    };
    let streams: usize =
        spec.blocks.iter().map(|b| spec.d_model + 2 * b.attention.inner.n_kv_heads * b.attention.inner.d_head).sum();
    let recorded = |pair: &Pair| {
        let n = pair.clean.tokens.len();
        let runs = 1
            + usize::from(pair.corrupt.is_some() || options.noised.is_some())
            + usize::from(matches!(options.kind, Kind::Resample));
        let values: usize = points.iter().map(|p| numbers(p, n)).sum();
        // What is added may be as large as what it is added to. The clean logits stay for the KL divergence.
        let added = if matches!(options.kind, Kind::Noise(_) | Kind::Add(_)) { values } else { 0 };
        let logits = if options.metrics.contains(&Metric::KlToClean) { spec.unembedding.d_vocab_out } else { 0 };
        runs * (4 * (n * streams + values) + n * row_bytes(spec)) + 4 * (added + logits)
    };
    let (mut parts, mut start, mut used) = (vec![], 0, 0);
    let whole = 0..usize::MAX;
    for (i, pair) in pairs.iter().enumerate() {
        let (runs, patches) = (recorded(pair), spots[i].len());
        let bytes = runs + patches * PATCH_BYTES;
        if used > 0 && used + bytes > half {
            parts.push(Part { pairs: start..i, spots: whole.clone() });
            (start, used) = (i, 0);
        }
        let at_once = (half.saturating_sub(runs) / PATCH_BYTES).max(LEAST_PATCHES);
        if patches > at_once {
            let of = |first: usize| Part { pairs: i..i + 1, spots: first..(first + at_once).min(patches) };
            parts.extend((0..patches).step_by(at_once).map(of));
            start = i + 1;
            continue;
        }
        used += bytes;
    }
    if start < pairs.len() {
        parts.push(Part { pairs: start..pairs.len(), spots: whole });
    }
    parts
}

/// What a long sweep is accompanied by.
pub(super) struct Long<'a> {
    pub keep: &'a mut dyn Keep,
    pub group: usize,
    /// Told how many patches are done more; may stop the sweep.
    pub after: &'a mut dyn FnMut(usize) -> Result<()>,
    /// Which patches of all are computed again.
    pub again: &'a BTreeSet<usize>,
}

/// Pairs that are recorded together.
pub(super) struct Group<'a> {
    pairs: &'a [Pair],
    /// Each pair's patches, and the number of the first among all.
    spots: &'a [(&'a [Spot], usize)],
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
        spots: &'a [(&'a [Spot], usize)],
        points: &[HookPoint],
        options: &PatchOptions,
    ) -> Result<Self> {
        let (mut sequences, mut changes) = (vec![], vec![]);
        let sigma = options.noised.as_ref().map_or(Ok(0.0), |noised| noised.deviation(model))?;
        for pair in pairs {
            if pair.corrupt.is_none() && options.kind.needs_another_prompt() && options.noised.is_none() {
                return Err(Error::bad_input(format!("pair \"{}\" has no corrupt prompt to take values of", pair.id))
                    .hint("give --corrupt, or the file's column (--columns corrupt=NAME), or another --kind"));
            }
            let clean = pair.clean.ids();
            let n = clean.len();
            let noise = options.noised.as_ref().map(|n| n.change(model, options.seed, pair, sigma)).transpose()?;
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

    /// What a pair's clean and corrupt runs measure, nothing changed.
    fn ends(&self, model: &Model, pair: usize, options: &PatchOptions) -> Result<End> {
        let readout = &self.readouts[pair];
        let base = unchanged(model, &self.bases[pair], readout)?;
        let other = self.others[pair].as_ref().map(|d| unchanged(model, d, readout)).transpose()?;
        let (clean, corrupt) = match (other, options.direction) {
            (Some(other), Direction::Denoise) => (other, Some(base)),
            (other, _) => (base, other),
        };
        let row = row_at(readout, &clean, self.at[pair]).to_vec();
        let gauge = self.gauge(pair, &row);
        let of = |logits: &[f32]| options.metrics.iter().map(|m| gauge.value(*m, logits)).collect::<Vec<_>>();
        let (clean, corrupt) = (of(&clean), corrupt.as_deref().map(of));
        Ok(End { clean, corrupt, row })
    }

    fn gauge<'g>(&'g self, pair: usize, clean: &'g [f32]) -> Gauge<'g> {
        let (readout, at) = (&self.readouts[pair], self.at[pair]);
        Gauge { pair: &self.pairs[pair], ids: &self.bases[pair].ids, readout, at, clean }
    }

    /// What is changed in each patch of a pair: the same values for all of them.
    fn changes(&self, spec: &Spec, pair: usize, sources: &Sources) -> impl Fn(&Spot) -> Result<Vec<Change>> {
        let known: RefCell<HashMap<HookPoint, How>> = RefCell::default();
        let (base, donor) = (&self.bases[pair], self.donors[pair].as_ref());
        let run = self.pairs[pair].index as usize;
        move |spot| {
            let mut changes = spot.changes(|point| {
                if let Some(how) = known.borrow().get(&point) {
                    return Ok(how.clone());
                }
                let how = sources.how(point, run, base, donor)?;
                known.borrow_mut().insert(point, how.clone());
                Ok(how)
            })?;
            changes.extend(spot.others_keep(spec, &changes, base)?);
            match sources.kind {
                Kind::KnockOut => sources.knocked_out(changes, base.len()),
                _ => Ok(changes),
            }
        }
    }

    /// The changes of a run that begins at the embedding: it is embedded anew, with whatever its base run was given there.
    fn with_its_own(&self, pair: usize, changes: Vec<Change>) -> Vec<Change> {
        let anew = changes.iter().any(|change| change.point.layer.is_none());
        let before = if anew { self.begun_with[pair].clone() } else { vec![] };
        before.into_iter().chain(changes).collect()
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
        for (pair, (spots, _)) in self.spots.iter().enumerate() {
            let changes_of = self.changes(model.spec(), pair, sources);
            for (spot, s) in spots.iter().enumerate() {
                let changes = changes_of(s)?;
                let mut moves = false;
                for change in &changes {
                    moves |= !change.changes_nothing(self.bases[pair].value(change.point)?)?;
                }
                if moves {
                    runs.push(Patched { base: pair, changes: self.with_its_own(pair, changes) });
                    of.push((pair, spot));
                }
            }
        }
        let ends = (0..self.pairs.len()).map(|p| self.ends(model, p, options)).collect::<Result<Vec<_>>>()?;
        // By pair, spot and metric; what has no run has the base run's value.
        let mut found: Vec<Found> = self.spots.iter().map(|(spots, _)| vec![None; spots.len()]).collect();
        let measure = |pair: usize, logits: &[f32]| -> Vec<f64> {
            let gauge = self.gauge(pair, &ends[pair].row);
            options.metrics.iter().map(|m| gauge.value(*m, logits)).collect()
        };
        let lengths: Vec<usize> = self.bases.iter().map(Recorded::len).collect();
        let waves = plan(model.spec(), &lengths, &runs, &self.readouts, options.memory_bytes / 2)?;
        let all: usize = self.spots.iter().map(|(spots, _)| spots.len()).sum();
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
                    // Logits are there three times: as they are made, row by row, and run by run.
                    let logits = options.memory_bytes / 8;
                    sweep(model, &self.bases, &self.readouts, &runs, wave, logits, |run, logits| {
                        let (pair, spot) = of[run];
                        measured.push(Measured { pair, spot, values: measure(pair, logits) });
                        Ok(())
                    })?;
                    long.keep.keep(long.group, w, &measured)?;
                    measured
                }
            };
            let whole = measured.len() == wave.runs.len();
            for Measured { pair, spot, values } in measured {
                if !whole || values.len() != options.metrics.len() || !unknown.remove(&(pair, spot)) {
                    return Err(Error::bad_input("what was kept of the stopped run is not what this sweep measures")
                        .hint("run the command without --resume"));
                }
                found[pair][spot] = Some(values);
            }
            stopped = (long.after)(wave.runs.len());
        }
        let bases: Vec<&[f64]> = ends.iter().map(|end| end.base(options.direction)).collect();
        if stopped.is_ok() {
            self.verify(model, sources, long.again, (&found, &bases, &ends), &measure, summary)?;
        }
        for (i, pair) in self.pairs.iter().enumerate() {
            let End { clean, corrupt, .. } = &ends[i];
            for (s, (spot, values)) in self.spots[i].0.iter().zip(&found[i]).enumerate() {
                if unknown.contains(&(i, s)) {
                    continue;
                }
                let values = values.as_deref().unwrap_or(bases[i]);
                for (m, metric) in options.metrics.iter().enumerate() {
                    let corrupt = corrupt.as_ref().map(|corrupt| corrupt[m]);
                    emit(row(model, pair, spot, *metric, [clean[m], values[m]], corrupt))?;
                }
            }
        }
        stopped
    }

    /// Computes the patches `again` once more, one whole forward pass for each: those, too, that are said to change nothing.
    fn verify(
        &self,
        model: &Model,
        sources: &Sources,
        again: &BTreeSet<usize>,
        (found, bases, ends): (&[Found], &[&[f64]], &[End]),
        measure: &dyn Fn(usize, &[f32]) -> Vec<f64>,
        summary: &mut Summary,
    ) -> Result<()> {
        for (pair, (spots, first)) in self.spots.iter().enumerate() {
            let changes_of = self.changes(model.spec(), pair, sources);
            for number in again.range(*first..first + spots.len()) {
                let spot = number - first;
                let mut changes = self.with_its_own(pair, changes_of(&spots[spot])?);
                if changes.iter().all(|change| change.point.layer.is_some()) {
                    changes.splice(0..0, self.begun_with[pair].clone());
                }
                let changes: Vec<&Change> = changes.iter().collect();
                let logits = naive(model, &self.bases[pair].ids, &changes, &self.readouts[pair])?;
                for (m, value) in measure(pair, &logits).into_iter().enumerate() {
                    let patched = found[pair].iter().flatten().map(|values| values[m]);
                    let unpatched = [Some(ends[pair].clean[m]), ends[pair].corrupt.as_ref().map(|c| c[m])];
                    let all = patched.chain(unpatched.into_iter().flatten()).chain([value]);
                    let (least, most) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
                    // Where the only difference is this one, it is measured by the value.
                    let spread = if found[pair].iter().flatten().next().is_some() { most - least } else { value.abs() };
                    let got = found[pair][spot].as_ref().map_or(bases[pair][m], |values| values[m]);
                    let difference = (got - value).abs() / spread.max(f64::MIN_POSITIVE);
                    // NaN is as far as can be; the same infinity twice is no difference.
                    let farther = difference > summary.worst_difference || difference.is_nan();
                    if got != value && farther {
                        summary.worst_difference = difference;
                    }
                }
                summary.verified += 1;
            }
        }
        Ok(())
    }
}

/// The metrics of each of a pair's patches; nothing where the patch was not run.
type Found = Vec<Option<Vec<f64>>>;

/// What a pair's own runs measure.
struct End {
    clean: Vec<f64>,
    corrupt: Option<Vec<f64>>,
    /// The clean run's logits where it is measured.
    row: Vec<f32>,
}

impl End {
    /// Of the run that is patched.
    fn base(&self, direction: Direction) -> &[f64] {
        match (direction, &self.corrupt) {
            (Direction::Denoise, Some(corrupt)) => corrupt,
            _ => &self.clean,
        }
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
