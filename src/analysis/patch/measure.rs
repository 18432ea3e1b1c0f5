//! Runs of a group on their way: wave by wave, kept or taken from what was kept, computed again where that was asked for, and
//! made into rows. What is changed in them, and how they are computed, is whose they are.

use std::collections::{BTreeSet, HashSet};

use super::group::{End, Group};
use super::metric::Metric;
use super::{Keep, Measured, PatchOptions, Summary};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::sweep::Wave;

/// The runs of a group of pairs. A place is said by its pair and its number, both counted within the group.
pub(in crate::analysis) trait Runs {
    /// What is told of a place.
    type Row;

    /// The place that each run is for. Not every place has a run.
    fn of(&self) -> &[(usize, usize)];

    /// Which go together. What is in none cannot reach what is measured.
    fn waves(&self) -> &[Wave];

    /// Runs a wave, and tells the number of each run and its logits, as the pair's readout wants them.
    fn sweep(&self, wave: &Wave, emit: &mut dyn FnMut(usize, &[f32]) -> Result<()>) -> Result<()>;

    /// The logits of a place, run or not, computed apart from all others by whole forward passes.
    fn naive(&self, place: (usize, usize)) -> Result<Vec<f32>>;

    /// What is told of a place: the metric of the clean run and of the patched one, and of the corrupt run if there is one.
    fn row(&self, place: (usize, usize), metric: Metric, values: [f64; 2], corrupt: Option<f64>) -> Self::Row;
}

/// What a long sweep is accompanied by.
pub(in crate::analysis) struct Long<'a> {
    pub keep: &'a mut dyn Keep,
    pub group: usize,
    /// Told how many patches are done more; may stop the sweep.
    pub after: &'a mut dyn FnMut(usize) -> Result<()>,
    /// Which places of all are computed again.
    pub again: &'a BTreeSet<usize>,
}

/// The metrics of each of a pair's places; nothing where it was not run.
type Found = Vec<Option<Vec<f64>>>;

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
        // By pair, place and metric; what has no run has the base run's value.
        let mut found: Vec<Found> = self.own.iter().map(|own| vec![None; own.places.len()]).collect();
        let measure = |pair: usize, logits: &[f32]| -> Vec<f64> {
            let gauge = self.gauge(pair, &ends[pair].row);
            options.metrics.iter().map(|m| gauge.value(*m, logits)).collect()
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
                    let mut measured = vec![];
                    runs.sweep(wave, &mut |run, logits| {
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
            self.verify(runs, long.again, (&found, &bases, &ends), &measure, summary)?;
        }
        for (i, End { clean, corrupt, .. }) in ends.iter().enumerate() {
            for (s, values) in found[i].iter().enumerate() {
                if unknown.contains(&(i, s)) {
                    continue;
                }
                let values = values.as_deref().unwrap_or(bases[i]);
                for (m, metric) in options.metrics.iter().enumerate() {
                    let corrupt = corrupt.as_ref().map(|corrupt| corrupt[m]);
                    emit(runs.row((i, s), *metric, [clean[m], values[m]], corrupt))?;
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
        (found, bases, ends): (&[Found], &[&[f64]], &[End]),
        measure: &dyn Fn(usize, &[f32]) -> Vec<f64>,
        summary: &mut Summary,
    ) -> Result<()> {
        for (pair, own) in self.own.iter().enumerate() {
            for number in again.range(own.first..own.first + own.places.len()) {
                let spot = number - own.first;
                let logits = runs.naive((pair, spot))?;
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
