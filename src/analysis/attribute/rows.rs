//! The tables of attribution patching.

use crate::table;
use crate::table::{Place, Provenance, older};

table! {
    /// One patch, estimated.
    AttributionRow = "attribution" version 2 upgraded by upgrade:
    "Attribution patching: what patching a value would do to the metric, to first order, for every value at once. One row is \
     one (pair, place); of neurons there are the strongest of each layer and position, and those that are zero are left out. \
     Estimates of one site add up: the sum over positions estimates patching all of them. With --confirm, the strongest are \
     also measured as `patch` does. Files of version 1 do not say what was done: their `direction` is that of the command, and `changed` \
     is whether the estimate is not 0.";
    pair: u32, "index", "which pair of the request, counted from 0";
    pair_id: String, "", "the pair's id, as given; its index where none was";
    ..place: Place;
    metric: String, "", "what is estimated; its unit is the last part of its name, logits where there is none";
    clean: f32, "of the metric", "the metric of the clean run";
    corrupt: f32, "of the metric", "the metric of the corrupt run";
    estimate: f32, "of the metric", "by how much the patch would change the metric of the run that is patched, to first order";
    estimated_recovered: Option<f32>, "share", "the metric so changed, with 0 as corrupt and 1 as clean; null where these do not differ";
    strength: f32, "of the metric", "what values are ranked by: the size of the estimate; with GradDrop the mean of such sizes, each with a layer dropped";
    exact: Option<f32>, "of the metric", "by how much the patch does change the metric; null where it was not measured";
    exact_recovered: Option<f32>, "share", "the metric so changed, with 0 as corrupt and 1 as clean; null where it was not measured";
    kind: String, "", "what would become of the value: always `replace`, by the other run's", since 2;
    direction: String, "", "which run would be changed: `denoise` for the corrupt run, `noise` for the clean one", since 2;
    changed: bool, "", "whether the two runs' values differ there, bit for bit", since 2;
    not_finite: Option<String>, "", "where the run that measures stopped being numbers: the hook and position of its first value that \
        is NaN or infinite; then `exact` is null", since 2;
}

table! {
    /// One place, estimated on the mean over pairs. Its version is that of the columns of [`Place`], of which 1 has no names of positions.
    AttributionMeanRow = "attribution_mean" version 2:
    "What a patch would do on the whole, to first order: means of `attribution` over the pairs. One row is one place, and where \
     estimates add up also one for all its positions together, of each pair's sum over positions. Positions are those of one name, or of \
     one number from the beginning of each prompt. Standard errors are the sample's standard deviation over the root of the number of \
     pairs. Neurons are here only where all of them have rows in `attribution`: means over the strongest of each pair would be too large.";
    ..place: Place;
    metric: String, "", "what is estimated; its unit is the last part of its name, logits where there is none";
    all_positions: bool, "", "whether it is all positions together: the mean of each pair's sum over positions; positions are null then";
    pairs: u32, "pairs", "over how many pairs the means are: those that have the place";
    clean: f32, "of the metric", "mean of the clean runs of these pairs";
    corrupt: f32, "of the metric", "mean of their corrupt runs";
    estimate: f32, "of the metric", "mean of `estimate`: by how much the patch would change the metric of the run that is patched, to first order";
    estimate_se: Option<f32>, "of the metric", "its standard error; null for a single pair";
    estimated_recovered: Option<f32>, "share", "mean of the metric so changed in each pair, with 0 as corrupt and 1 as clean; null where \
        these differ in no pair";
    estimated_recovered_se: Option<f32>, "share", "its standard error; null for a single pair";
    strength: f32, "of the metric", "mean of `strength`; of all positions together, the mean size of the sums";
    strength_se: Option<f32>, "of the metric", "its standard error; null for a single pair";
    kind: String, "", "what would become of the value: always `replace`, by the other run's";
    direction: String, "", "which run would be changed: `denoise` for the corrupt run, `noise` for the clean one";
    changed: u32, "pairs", "in how many pairs the two runs' values differ there, bit for bit";
}

fn upgrade(row: &mut AttributionRow, how: &Provenance) {
    row.kind = "replace".to_owned();
    row.direction = older::done(how, true).0.direction.unwrap_or_default();
    row.changed = row.estimate != 0.0;
    row.not_finite = older::only_finite(&mut row.exact, &mut row.exact_recovered);
}
