//! The runs of a group of pairs, measured: wave by wave, kept or taken from what was kept, computed again where that was asked for, and
//! made into rows. What is changed in them, and how they are computed, an implementation of [`Runs`] says.

use std::collections::{BTreeSet, HashSet};

use super::Wave;
use super::doubt::Unpatched;
use super::group::{End, Group};
use super::metric::Metric;
use super::options::{Keep, Measured, PatchOptions, Summary};
use crate::error::{Error, Result, said};
use crate::hook::NotFinite;
use crate::model::Model;

/// The metrics of a pair's run, by its logits at the measured position; none where one is not finite.
type Measure<'a> = dyn Fn(usize, &[f32]) -> Option<Vec<f64>> + 'a;

/// The runs of a group of pairs. A place is said by its pair and its number, both counted within the group.
pub(crate) trait Runs {
    /// The first value that is not finite in the run of a place, before its logits.
    fn first_not_finite(&self, place: (usize, usize)) -> Result<Option<NotFinite>>;

    /// The row of a place.
    type Row;

    /// The place that each run is for. Not every place has a run.
    fn of(&self) -> &[(usize, usize)];

    /// Which go together. What is in none cannot reach what is measured.
    fn waves(&self) -> &[Wave];

    /// Runs a wave, and tells the number of each run and its logits, as the pair's readout wants them.
    fn sweep(&self, wave: &Wave, emit: &mut dyn FnMut(usize, &[f32]) -> Result<()>) -> Result<()>;

    /// The logits of a place, run or not, computed apart from all others by whole forward passes.
    fn naive(&self, place: (usize, usize)) -> Result<Vec<f32>>;

    /// The row of a place.
    fn row(&self, place: (usize, usize), metric: Metric, seen: MetricValues) -> Self::Row;
}

/// What one metric says of a place.
#[derive(Clone, Debug)]
pub(crate) struct MetricValues {
    /// Of the clean run.
    pub clean: f64,
    /// Of the corrupt run, if there is one.
    pub corrupt: Option<f64>,
    /// Of the patched run, if it is finite.
    pub patched: Option<f64>,
    /// Whether what was put there differs, bit for bit, from what was there.
    pub changed: bool,
    /// Whether a run was made: a change could reach what is measured.
    pub reached: bool,
    /// Where the patched run stopped being numbers.
    pub not_finite: Option<String>,
}

impl MetricValues {
    /// The share of the way from the corrupt to the clean run, where these differ.
    pub fn recovered(&self) -> Option<f32> {
        let (corrupt, patched) = (self.corrupt?, self.patched?);
        let share = ((patched - corrupt) / (self.clean - corrupt)) as f32;
        // Runs that hardly differ can have a share that no f32 is.
        share.is_finite().then_some(share)
    }
}

/// What a long sweep is accompanied by.
pub(crate) struct Long<'a> {
    pub keep: &'a mut dyn Keep,
    pub group: usize,
    /// Told how many patches are done more; may stop the sweep.
    pub after: &'a mut dyn FnMut(usize) -> Result<()>,
    /// Which places of all are computed again.
    pub again: &'a BTreeSet<usize>,
    /// How many runs were not finite before this block of pairs.
    pub looked_from: usize,
}

/// Of a block of pairs, so many runs that are not finite are run again to find where that began: each is a whole forward pass.
const LOOKED_FOR: usize = 100;

/// The metrics of each of a pair's places, or where it stopped being numbers; nothing where it was not run.
type Outcomes = Vec<Option<Finite>>;

/// The metrics of a run, or where it stopped being numbers.
type Finite = Result<Vec<f64>, String>;

impl Group<'_> {
    /// Runs all of `runs` and emits the rows of their places. Where that is stopped, the rows of what was done.
    pub fn measure<R: Runs>(
        &self,
        model: &Model,
        options: &PatchOptions,
        runs: &R,
        summary: &mut Summary,
        long: &mut Long,
        emit: &mut dyn FnMut(R::Row) -> Result<()>,
    ) -> Result<()> {
        let ends = (0..self.pairs.len()).map(|p| self.ends(model, p, options)).collect::<Result<Vec<_>>>()?;
        // Of a pair that is parted, once.
        for (end, _) in ends.iter().zip(&self.own).filter(|(_, own)| own.places.start == 0) {
            let (clean, corrupt, foil_preferred) = (&end.clean[..], end.corrupt.as_deref(), end.foil_preferred);
            summary.doubts.add(&options.how.metric, &Unpatched { clean, corrupt, foil_preferred });
        }
        // By pair, place and metric; what has no run has the base run's value.
        let mut found: Vec<Outcomes> = self.own.iter().map(|own| vec![None; own.places.len()]).collect();
        let measure = |pair: usize, logits: &[f32]| -> Option<Vec<f64>> {
            let gauge = self.gauge(pair, &ends[pair].row);
            options.how.metric.iter().map(|m| gauge.finite(*m, logits)).collect()
        };
        let (of, waves) = (runs.of(), runs.waves());
        let all: usize = found.iter().map(Vec::len).sum();
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
                    let (mut measured, mut lost) = (vec![], 0);
                    runs.sweep(wave, &mut |run, logits| {
                        let (pair, spot) = of[run];
                        let (values, not_finite) = match measure(pair, logits) {
                            Some(values) => (values, None),
                            None => {
                                let looks = summary.not_finite - long.looked_from + lost < LOOKED_FOR;
                                lost += 1;
                                let first = if looks { runs.first_not_finite((pair, spot))? } else { None };
                                let logits = || format!("logits at position {}", self.measured_at(pair));
                                (vec![], Some(first.map_or_else(logits, |first| first.place())))
                            }
                        };
                        measured.push(Measured { pair, spot, values, not_finite });
                        Ok(())
                    })?;
                    long.keep.keep(long.group, w, &measured)?;
                    measured
                }
            };
            let whole = measured.len() == wave.runs.len();
            for Measured { pair, spot, values, not_finite } in measured {
                let complete = not_finite.is_some() || values.len() == options.how.metric.len();
                if !whole || !complete || !unknown.remove(&(pair, spot)) {
                    return Err(Error::bad_input("what was kept of the stopped run is not what this sweep measures")
                        .hint(said("run the command again[, without {!resume}|]")));
                }
                summary.not_finite += usize::from(not_finite.is_some());
                found[pair][spot] = Some(not_finite.map_or(Ok(values), Err));
            }
            stopped = (long.after)(wave.runs.len());
        }
        let bases: Vec<&[f64]> = ends.iter().map(|end| end.base(options.how.direction())).collect();
        if stopped.is_ok() {
            self.verify(runs, long.again, (&found, &bases, &ends), &measure, summary)?;
        }
        let changed: HashSet<(usize, usize)> = of.iter().copied().collect();
        for (i, End { clean, corrupt, .. }) in ends.iter().enumerate() {
            for (s, run) in found[i].iter().enumerate() {
                if unknown.contains(&(i, s)) {
                    continue;
                }
                for (m, metric) in options.how.metric.iter().enumerate() {
                    let patched = match run {
                        None => Some(bases[i][m]),
                        Some(finite) => finite.as_ref().ok().map(|values| values[m]),
                    };
                    let seen = MetricValues {
                        clean: clean[m],
                        corrupt: corrupt.as_ref().map(|corrupt| corrupt[m]),
                        patched,
                        changed: changed.contains(&(i, s)),
                        reached: run.is_some(),
                        not_finite: run.as_ref().and_then(|run| run.as_ref().err().cloned()),
                    };
                    emit(runs.row((i, s), *metric, seen))?;
                }
            }
        }
        stopped
    }

    /// Computes the places `again` once more, each by whole forward passes: those, too, that are said to change nothing.
    fn verify<R: Runs>(
        &self,
        runs: &R,
        again: &BTreeSet<usize>,
        (found, bases, ends): (&[Outcomes], &[&[f64]], &[End]),
        measure: &Measure,
        summary: &mut Summary,
    ) -> Result<()> {
        for (pair, own) in self.own.iter().enumerate() {
            for number in again.range(own.first..own.first + own.places.len()) {
                let spot = number - own.first;
                let again = measure(pair, &runs.naive((pair, spot))?);
                summary.verified += 1;
                let finite = || found[pair].iter().flatten().flatten();
                let got = &found[pair][spot];
                let Some(again) = again else {
                    // Not finite, and so it should have been the first time. What is changed after the measured position is an
                    // exception: a whole forward pass multiplies it by a pattern of 0, which leaves NaN.
                    let unreachable = got.is_none() && runs.of().contains(&(pair, spot));
                    if !unreachable && !matches!(got, Some(Err(_))) {
                        summary.worst_difference = f64::INFINITY;
                    }
                    continue;
                };
                let got = match got {
                    None => bases[pair],
                    Some(Ok(values)) => values,
                    Some(Err(_)) => {
                        summary.worst_difference = f64::INFINITY;
                        continue;
                    }
                };
                for (m, value) in again.into_iter().enumerate() {
                    let patched = finite().map(|values| values[m]);
                    let unpatched = [Some(ends[pair].clean[m]), ends[pair].corrupt.as_ref().map(|c| c[m])];
                    let all = patched.chain(unpatched.into_iter().flatten()).chain([value]);
                    let (least, most) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
                    // Where the only difference is this one, it is measured by the value.
                    let spread = if finite().next().is_some() { most - least } else { value.abs() };
                    let difference = (got[m] - value).abs() / spread.max(f64::MIN_POSITIVE);
                    summary.worst_difference = summary.worst_difference.max(difference);
                }
            }
        }
        Ok(())
    }
}
