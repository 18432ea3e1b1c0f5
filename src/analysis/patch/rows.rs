//! The tables of activation patching and ablation.

use crate::table;
use crate::table::older::{Did, moved, only_finite};
use crate::table::{Provenance, Row, TOKEN, TableInfo};

/// In the order of the documentation.
pub const TABLES: &[&TableInfo] = &[PatchRow::TABLE, PatchMeanRow::TABLE];

/// Meanings of columns that several tables have.
#[rustfmt::skip]
macro_rules! said {
    (kind) => {
        "what became of the value, as it was asked for: `replace`, `zero`, `mean`, `mean-by-position`, `resample`, \
         `noise=3`, `scale=0.5`, `add=2`, `knock-out`"
    };
    (direction) => {
        "which run was changed: `denoise` for the corrupt run, `noise` for the clean one; null where there is no \
         corrupt run"
    };
    (changed) => {
        "whether what was put there differs, bit for bit, from what was there; where it does not, nothing was run \
         and `patched` is the metric of the run as it was"
    };
    (reached) => {
        "whether a change could reach what is measured, so that a run was made; where it could not, `patched` is the \
         metric of the run as it was"
    };
    (not_finite) => {
        "where the patched run stopped being numbers: the hook and position of its first value that is NaN or \
         infinite, e.g. `blocks.2.hook_mlp_out at position 3`; null where all is finite"
    };
    (patched) => {
        "the metric of the patched run; null where that is not finite"
    };
    (recovered) => {
        "(patched - corrupt) / (clean - corrupt): 0 as corrupt, 1 as clean; null where these do not differ, or \
         `patched` is null"
    };
    (position_name) => {
        "what the position is called: by the name it was given, or `-1`, `-2`, ... where positions are counted from the end; null \
         where they are counted from the beginning"
    };
    (key_position_name) => {
        "the same for `key_pos`"
    };
    (pairs) => {
        "over how many pairs `patched`, `change` and `recovered` are means: those whose patched run is finite"
    };
    (not_finite_pairs) => {
        "how many more pairs there are, left out because their patched run is not finite"
    };
    (changed_pairs) => {
        "in how many pairs what was put there differs, bit for bit, from what was there"
    };
    (reached_pairs) => {
        "in how many pairs a change could reach what is measured"
    };
}
pub(crate) use said;

table! {
    /// One patch, measured.
    PatchRow = "patch" version 2 upgraded by upgrade:
    "Activation patching: one run is changed in one place and measured. One row is one (pair, place, metric). A coordinate \
     that is null was not gone over: all of its values were patched at once. `clean` and `corrupt` are the metric of the \
     two prompts with nothing changed, and repeat on every row of the pair. Files of version 1 do not say what was done: their \
     `kind`, `direction`, `window` and `noise` are those of the command, and `changed` and `reached` whether the metric differs.";
    pair: u32, "index", "which pair of the request, counted from 0";
    pair_id: String, "", "the pair's id, as given; its index where none was";
    site: String, "site", "which value was patched, e.g. `resid_pre`, `attn.z`";
    layer: Option<u32>, "index", "in which block, counted from 0; the middle where several were patched around it";
    head: Option<u32>, "index", "in which query head";
    kv_head: Option<u32>, "index", "in which key/value head; for a query head, the one that it reads";
    neuron: Option<u32>, "index", "which neuron";
    pos: Option<u32>, "index", "at which position";
    query_pos: Option<u32>, "index", "of scores and patterns: for which query";
    key_pos: Option<u32>, "index", "of scores and patterns: for which key";
    position_name: Option<String>, "", said!(position_name), since 2;
    key_position_name: Option<String>, "", said!(key_position_name), since 2;
    token: Option<String>, TOKEN, "the clean prompt's token at `pos` or `query_pos`";
    key_token: Option<String>, TOKEN, "the clean prompt's token at `key_pos`";
    metric: String, "", "what was measured; its unit is the last part of its name, logits where there is none";
    clean: f32, "of the metric", "the metric of the clean run";
    corrupt: Option<f32>, "of the metric", "the metric of the corrupt run; null where there is no corrupt prompt";
    patched: Option<f32>, "of the metric", said!(patched);
    recovered: Option<f32>, "share", said!(recovered);
    kind: String, "", said!(kind), since 2;
    direction: Option<String>, "", said!(direction), since 2;
    window: u32, "layers", "how many neighbouring layers are patched at once, around `layer`", since 2;
    noise: Option<f32>, "deviations", "causal tracing: how strong the noise is that makes the clean prompt the corrupt one; null where \
        the corrupt one is another prompt", since 2;
    noise_at: Option<String>, "", "at which positions that noise is, e.g. `1,2`; null where there is none, and in files of version 1", since 2;
    noise_tokens: Option<String>, TOKEN, "the clean prompt's tokens there, joined; null where there is no noise, and in files of version 1", since 2;
    sample: Option<u32>, "index", "which sample of that noise, counted from 0; null where there is none", since 2;
    changed: bool, "", said!(changed), since 2;
    reached: bool, "", said!(reached), since 2;
    not_finite: Option<String>, "", said!(not_finite), since 2;
}

table! {
    /// One place, on the mean over pairs.
    PatchMeanRow = "patch_mean" version 2 upgraded by upgrade_mean:
    "What a patch does on the whole: means of `patch` over the pairs. One row is one (place, metric). Positions are those of one name, or of \
     one number from the beginning of each prompt. Files of version 1 do not say what was done: their `kind`, `direction`, `window` and `noise` \
     are those of the command, and `changed` and `reached` are `pairs` where the metric differs, else 0.";
    site: String, "site", "which value was patched";
    layer: Option<u32>, "index", "in which block, counted from 0";
    head: Option<u32>, "index", "in which query head";
    kv_head: Option<u32>, "index", "in which key/value head; for a query head, the one that it reads";
    neuron: Option<u32>, "index", "which neuron";
    pos: Option<u32>, "index", "at which position; null where pairs have it at different ones";
    query_pos: Option<u32>, "index", "of scores and patterns: for which query; null where pairs have it at different positions";
    key_pos: Option<u32>, "index", "of scores and patterns: for which key; null where pairs have it at different positions";
    position_name: Option<String>, "", said!(position_name), since 2;
    key_position_name: Option<String>, "", said!(key_position_name), since 2;
    token: Option<String>, TOKEN, "the clean prompts' token at `pos` or `query_pos`, where all of them have the same";
    key_token: Option<String>, TOKEN, "the clean prompts' token at `key_pos`, where all of them have the same";
    metric: String, "", "what was measured; its unit is the last part of its name, logits where there is none";
    pairs: u32, "pairs", said!(pairs);
    clean: f32, "of the metric", "mean of the clean runs, of all pairs";
    corrupt: Option<f32>, "of the metric", "mean of the corrupt runs, of all pairs";
    patched: Option<f32>, "of the metric", "mean of the patched runs; null where none is finite";
    patched_se: Option<f32>, "of the metric", "its standard error; null for a single pair";
    change: Option<f32>, "of the metric", "mean of patched - clean; null where none is finite";
    change_se: Option<f32>, "of the metric", "its standard error; null for a single pair";
    recovered: Option<f32>, "share", "mean of what each pair recovered: 0 as corrupt, 1 as clean";
    recovered_se: Option<f32>, "share", "its standard error; null for a single pair";
    kind: String, "", said!(kind), since 2;
    direction: Option<String>, "", said!(direction), since 2;
    window: u32, "layers", "how many neighbouring layers are patched at once, around `layer`", since 2;
    noise: Option<f32>, "deviations", "causal tracing: how strong the noise is that makes the clean prompts the corrupt ones; null where \
        the corrupt ones are other prompts", since 2;
    noise_at: Option<String>, "", "at which positions that noise is, where all pairs have it at the same", since 2;
    noise_tokens: Option<String>, TOKEN, "the clean prompts' tokens there, joined, where all pairs have the same", since 2;
    samples: Option<u32>, "samples", "how many samples of that noise each pair has; their mean is what counts as the pair's, and \
        where there is one pair only, standard errors are over them; null where there is no noise", since 2;
    changed: u32, "pairs", said!(changed_pairs), since 2;
    reached: u32, "pairs", said!(reached_pairs), since 2;
    not_finite: u32, "pairs", said!(not_finite_pairs), since 2;
}

fn upgrade(row: &mut PatchRow, how: &Provenance) {
    let did = Did::of(&how.command, row.corrupt.is_some());
    (row.kind, row.direction, row.window, row.noise) = (did.kind, did.direction, did.window, did.noise);
    row.changed = moved(row.patched, row.direction.as_deref(), row.clean, row.corrupt);
    row.reached = row.changed;
    row.not_finite = only_finite(&mut row.patched, &mut row.recovered);
}

fn upgrade_mean(row: &mut PatchMeanRow, how: &Provenance) {
    let did = Did::of(&how.command, row.corrupt.is_some());
    (row.kind, row.direction, row.window, row.noise) = (did.kind, did.direction, did.window, did.noise);
    let moved = moved(row.patched, row.direction.as_deref(), row.clean, row.corrupt);
    row.changed = if moved { row.pairs } else { 0 };
    row.reached = row.changed;
    if only_finite(&mut row.patched, &mut row.recovered).is_some() {
        row.change = None;
    }
}
