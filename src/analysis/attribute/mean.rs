//! Means of estimates over pairs: of each place, and of what all its positions do together.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Attribute, has_fix};
use crate::analysis::patch::mean::{Averaged, Key, MeanOf, Means, Values};
use crate::analysis::patch::rows::{keep_common_places, key_of};
use crate::analysis::{AttributionMeanRow, AttributionRow};
use crate::hook::HookPoint;
use crate::sweep::{Align, Spot};
use crate::table::Place;

/// What means are taken of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Averaging {
    /// Whether neurons have rows in all pairs, and not the strongest of each alone.
    neurons: bool,
    /// Whether all positions have rows, and not named ones alone.
    sums: bool,
    /// Sites whose estimates do not add up, because their pattern was made again.
    fixed: Vec<String>,
}

impl Averaging {
    /// Of the estimates that `options` ask for at `points`.
    pub fn of(options: &Attribute, points: &[HookPoint], align: Align) -> Self {
        let mut fixed: Vec<String> = points
            .iter()
            .filter(|point| options.qk_fix && has_fix(point.site))
            .map(|point| Spot::of(*point, 0).name())
            .collect();
        fixed.dedup();
        Self { neurons: options.top == 0, sums: align != Align::Named, fixed }
    }
}

/// Takes the rows of several pairs in, pair after pair, and gives their means.
pub(super) struct Averages {
    of: Averaging,
    /// Of all positions together.
    sums: Means<Estimate>,
    /// Of single positions.
    places: Means<Estimate>,
    /// What was summed of the last pair, in the order of its rows, and where.
    pair: Vec<Estimate>,
    at: HashMap<Unit, usize>,
    /// Whether neurons were left out.
    pub left_out: bool,
}

/// A place without its position: site, layer, head, key/value head and neuron.
type Unit = (String, [Option<u32>; 4]);

/// An estimate of one pair: of a row, or of several together.
#[derive(Clone, Debug)]
struct Estimate {
    row: AttributionRow,
    all_positions: bool,
    estimate: f64,
    strength: f64,
    recovered: Option<f64>,
}

impl Averages {
    /// Of no rows yet.
    pub fn new(of: Averaging) -> Self {
        let (sums, places) = (Means::default(), Means::default());
        Self { of, sums, places, pair: vec![], at: HashMap::new(), left_out: false }
    }

    /// One more row.
    pub fn add(&mut self, row: &AttributionRow) {
        if row.place.neuron.is_some() && !self.of.neurons {
            self.left_out = true;
            return;
        }
        let recovered = row.estimated_recovered.map(f64::from);
        let (estimate, strength) = (f64::from(row.estimate), f64::from(row.strength));
        let one = Estimate { row: row.clone(), all_positions: false, estimate, strength, recovered };
        self.places.add(&one);
        if !self.of.sums || self.of.fixed.contains(&row.place.site) {
            return;
        }
        if self.pair.last().is_some_and(|last| last.row.pair != row.pair) {
            self.end_pair();
        }
        let Place { site, layer, head, kv_head, neuron, .. } = &row.place;
        let unit = (site.clone(), [*layer, *head, *kv_head, *neuron]);
        match self.at.get(&unit) {
            Some(at) => {
                let sum = &mut self.pair[*at];
                sum.estimate += estimate;
                sum.row.changed |= row.changed;
            }
            None => {
                self.at.insert(unit, self.pair.len());
                self.pair.push(one.everywhere());
            }
        }
    }

    /// Counts what was summed of the last pair.
    fn end_pair(&mut self) {
        for mut sum in std::mem::take(&mut self.pair) {
            let [clean, corrupt] = [sum.row.clean, sum.row.corrupt].map(f64::from);
            let base = if sum.row.direction == "denoise" { corrupt } else { clean };
            let recovered = (base + sum.estimate - corrupt) / (clean - corrupt);
            sum.recovered = (recovered as f32).is_finite().then_some(recovered);
            sum.strength = sum.estimate.abs();
            self.sums.add(&sum);
        }
        self.at.clear();
    }

    /// A row for each place: those of all positions together first.
    pub fn rows(mut self) -> Vec<AttributionMeanRow> {
        self.end_pair();
        self.sums.rows().chain(self.places.rows()).collect()
    }
}

impl Estimate {
    /// The same without a position.
    fn everywhere(mut self) -> Self {
        let Place { site, layer, head, kv_head, neuron, .. } = self.row.place;
        self.row.place = Place { site, layer, head, kv_head, neuron, ..Place::default() };
        Self { all_positions: true, ..self }
    }
}

impl Averaged for Estimate {
    type Mean = AttributionMeanRow;

    fn key(&self) -> Key<'_> {
        key_of(&self.row.place, &self.row.metric)
    }

    fn of_pair(&self) -> (u32, Values) {
        let [clean, corrupt] = [self.row.clean, self.row.corrupt].map(|x| Some(f64::from(x)));
        let numbers = [clean, corrupt, Some(self.estimate), Some(self.strength), self.recovered];
        (self.row.pair, Values { numbers, changed: self.row.changed, reached: true })
    }

    fn keep_common(&mut self, other: &Self) {
        keep_common_places(&mut self.row.place, &other.row.place);
    }

    fn mean(&self, _: u32, found: &MeanOf) -> AttributionMeanRow {
        let AttributionRow { place, metric, kind, direction, .. } = self.row.clone();
        // A place is known by a row, and each row has these.
        let [clean, corrupt, estimate, strength] = [0, 1, 2, 3].map(|i| found.mean[i].unwrap_or_default());
        AttributionMeanRow {
            place,
            metric,
            all_positions: self.all_positions,
            pairs: found.n[2],
            clean,
            corrupt,
            estimate,
            estimate_se: found.error[2],
            estimated_recovered: found.mean[4],
            estimated_recovered_se: found.error[4],
            strength,
            strength_se: found.error[3],
            kind,
            direction,
            changed: found.changed,
        }
    }
}
