//! The tables of activation patching and ablation.

use super::mean::{Averaged, Key, MeanOf, Values, common};
use crate::sweep::{Metric, MetricValues, PatchOptions};
use crate::table;
use crate::table::{Around, Done, Measured, MeasuredMean, Outcome, OutcomeMean, Place, Provenance, older};
use crate::text::Pair;

table! {
    /// One patch, measured.
    PatchRow = "patch" version 3 upgraded by upgrade:
    "Activation patching: one run is changed in one place and measured. One row is one (pair, place, metric). A coordinate \
     that is null was not gone over: all of its values were patched at once. `clean` and `corrupt` are the metric of the \
     two prompts with nothing changed, and repeat on every row of the pair. Files of version 1 do not say what was done: their \
     `kind`, `direction`, `window` and `noise` are those of the command, and `changed` and `reached` whether the metric differs.";
    pair: u32, "index", "which pair of the request, counted from 0";
    pair_id: String, "", "the pair's id, as given; its index where none was";
    ..place: Place;
    ..measured: Measured;
    ..done: Done;
    ..around: Around;
    sample: Option<u32>, "index", "which sample of that noise, counted from 0; null where there is none", since 2;
    ..outcome: Outcome;
}

table! {
    /// One place, on the mean over pairs.
    PatchMeanRow = "patch_mean" version 3 upgraded by upgrade_mean:
    "What a patch does on the whole: means of `patch` over the pairs. One row is one (place, metric). Positions are those of one name, or of \
     one number from the beginning of each prompt. Files of version 1 do not say what was done: their `kind`, `direction`, `window` and `noise` \
     are those of the command, and `changed` and `reached` are `pairs` where the metric differs, else 0.";
    ..place: Place;
    ..measured: MeasuredMean;
    ..done: Done;
    ..around: Around;
    samples: Option<u32>, "samples", "how many samples of that noise each pair has; their mean is what counts as the pair's, and \
        where there is one pair only, standard errors are over them; null where there is no noise", since 2;
    ..outcome: OutcomeMean;
}

/// What a metric says of a run of `pair` that was changed as `options` say.
pub(in crate::analysis) fn seen_as(
    seen: MetricValues,
    metric: Metric,
    options: &PatchOptions,
    pair: &Pair,
) -> (Measured, Done, Outcome) {
    let measured = Measured {
        metric: metric.name().to_owned(),
        clean: seen.clean as f32,
        corrupt: seen.corrupt.map(|c| c as f32),
        patched: seen.patched.map(|p| p as f32),
        recovered: seen.recovered(),
    };
    let direction = seen.corrupt.map(|_| options.how.direction().name().to_owned());
    let outcome = Outcome { changed: seen.changed, reached: seen.reached, not_finite: seen.not_finite };
    (measured, Done { kind: options.how.kind.name(), direction, at_once: options.grid.at_once(pair) }, outcome)
}

fn upgrade(row: &mut PatchRow, how: &Provenance) {
    if how.table_version > 1 {
        return;
    }
    (row.done, row.around) = older::done(how, row.measured.corrupt.is_some());
    row.outcome = older::outcome(&mut row.measured, &row.done);
}

fn upgrade_mean(row: &mut PatchMeanRow, how: &Provenance) {
    if how.table_version > 1 {
        return;
    }
    (row.done, row.around) = older::done(how, row.measured.corrupt.is_some());
    row.outcome = older::outcome_mean(&mut row.measured, &row.done);
}

/// What a place and what is measured there have in common in different pairs: positions that have names go by these.
pub(in crate::analysis) fn key_of<'a>(place: &'a Place, metric: &'a str) -> Key<'a> {
    let Place { site, layer, head, kv_head, neuron, position_name, key_position_name, .. } = place;
    let [pos, query_pos] = [place.pos, place.query_pos].map(|at| at.filter(|_| position_name.is_none()));
    let key_pos = place.key_pos.filter(|_| key_position_name.is_none());
    let at = [*layer, *head, *kv_head, *neuron, pos, query_pos, key_pos];
    (site, at, [position_name.as_deref(), key_position_name.as_deref()], metric)
}

/// Makes null what another pair has otherwise at a place with the same key.
pub(in crate::analysis) fn keep_common_places(place: &mut Place, others: &Place) {
    common(&mut place.pos, &others.pos);
    common(&mut place.query_pos, &others.query_pos);
    common(&mut place.key_pos, &others.key_pos);
    common(&mut place.token, &others.token);
    common(&mut place.key_token, &others.key_token);
}

impl Averaged for PatchRow {
    type Mean = PatchMeanRow;

    fn key(&self) -> Key<'_> {
        key_of(&self.place, &self.measured.metric)
    }

    fn of_pair(&self) -> (u32, Values) {
        (self.pair, Values::measured(&self.measured, &self.outcome))
    }

    fn keep_common(&mut self, other: &Self) {
        keep_common_places(&mut self.place, &other.place);
        common(&mut self.around.noise_at, &other.around.noise_at);
        common(&mut self.around.noise_tokens, &other.around.noise_tokens);
    }

    fn mean(&self, samples: u32, found: &MeanOf) -> PatchMeanRow {
        let (measured, outcome) = found.measured(&self.measured.metric);
        let Self { place, done, around, .. } = self.clone();
        PatchMeanRow { place, measured, done, samples: around.noise.map(|_| samples), around, outcome }
    }
}
