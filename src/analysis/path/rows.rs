//! The tables of path patching.

use crate::analysis::patch::rows::said;
use crate::table;
use crate::table::older::{Did, moved, only_finite};
use crate::table::{Provenance, Row, TOKEN, TableInfo};

/// In the order of the documentation.
pub const TABLES: &[&TableInfo] = &[PathRow::TABLE, PathMeanRow::TABLE];

table! {
    /// One path, patched and measured.
    PathRow = "path" version 2 upgraded by upgrade:
    "Path patching: what one part of the model, the sender, does by way of the stream to another, the receiver, and by that to the \
     metric (Wang et al. 2022; Goldowsky-Dill et al. 2023). The receiver reads the stream with what the sender writes when it is \
     changed, everything between frozen, and from there the run goes on as ever. One row is one (pair, sender, receiver, metric). A \
     coordinate that is null was not gone over: all of its values were changed at once. `clean` and `corrupt` are the metric of \
     the two prompts with nothing changed. Files of version 1 do not say what was done: their `kind` and `direction` are those of the \
     command, and `changed` and `reached` whether the metric differs.";
    pair: u32, "index", "which pair of the request, counted from 0";
    pair_id: String, "", "the pair's id, as given; its index where none was";
    sender: String, "site", "what is changed: a part of what is written to the stream, e.g. `attn.z`, `mlp_out`, `embed`";
    sender_layer: Option<u32>, "index", "in which block, counted from 0; null for the embedding";
    sender_head: Option<u32>, "index", "in which query head";
    sender_neuron: Option<u32>, "index", "which neuron";
    pos: Option<u32>, "index", "at which position";
    position_name: Option<String>, "", said!(position_name), since 2;
    token: Option<String>, TOKEN, "the clean prompt's token there";
    receiver: String, "", "what reads it: `q`, `k` or `v` of a head, `mlp`, or `logits`; where several read it at once, all of them as \
        they were asked for, e.g. `2.1.q+3.0.v`";
    receiver_layer: Option<u32>, "index", "in which block, counted from 0; null for the logits, and for several at once";
    receiver_head: Option<u32>, "index", "which query head, of `q`";
    receiver_kv_head: Option<u32>, "index", "which key/value head, of `k` and `v`; of `q`, the one that it reads";
    through: Option<String>, "", "what between sender and receiver was computed anew: `mlps`; null where everything was frozen";
    metric: String, "", "what was measured; its unit is the last part of its name, logits where there is none";
    clean: f32, "of the metric", "the metric of the clean run";
    corrupt: Option<f32>, "of the metric", "the metric of the corrupt run; null where there is no corrupt prompt";
    patched: Option<f32>, "of the metric", "the metric of the run in which the receiver reads the change; null where that is not finite";
    recovered: Option<f32>, "share", said!(recovered);
    kind: String, "", said!(kind), since 2;
    direction: Option<String>, "", said!(direction), since 2;
    changed: bool, "", "whether what the sender writes differs, bit for bit, from what it wrote; where it does not, nothing was run and \
        `patched` is the metric of the run as it was", since 2;
    reached: bool, "", said!(reached), since 2;
    not_finite: Option<String>, "", said!(not_finite), since 2;
}

table! {
    /// One path, on the mean over pairs.
    PathMeanRow = "path_mean" version 2 upgraded by upgrade_mean:
    "What patching a path does on the whole: means of `path` over the pairs. One row is one (sender, receiver, metric). Positions are those of one name, or of \
     one number from the beginning of each prompt. Files of version 1 do not say what was done: their `kind` and `direction` are those \
     of the command, and `changed` and `reached` are `pairs` where the metric differs, else 0.";
    sender: String, "site", "what is changed";
    sender_layer: Option<u32>, "index", "in which block, counted from 0; null for the embedding";
    sender_head: Option<u32>, "index", "in which query head";
    sender_neuron: Option<u32>, "index", "which neuron";
    pos: Option<u32>, "index", "at which position; null where pairs have it at different ones";
    position_name: Option<String>, "", said!(position_name), since 2;
    token: Option<String>, TOKEN, "the clean prompts' token there, where all of them have the same";
    receiver: String, "", "what reads it";
    receiver_layer: Option<u32>, "index", "in which block, counted from 0; null for the logits, and for several at once";
    receiver_head: Option<u32>, "index", "which query head, of `q`";
    receiver_kv_head: Option<u32>, "index", "which key/value head, of `k` and `v`; of `q`, the one that it reads";
    through: Option<String>, "", "what between sender and receiver was computed anew: `mlps`; null where everything was frozen";
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
    changed: u32, "pairs", said!(changed_pairs), since 2;
    reached: u32, "pairs", said!(reached_pairs), since 2;
    not_finite: u32, "pairs", said!(not_finite_pairs), since 2;
}

fn upgrade(row: &mut PathRow, how: &Provenance) {
    let did = Did::of(&how.command, row.corrupt.is_some());
    (row.kind, row.direction) = (did.kind, did.direction);
    row.changed = moved(row.patched, row.direction.as_deref(), row.clean, row.corrupt);
    row.reached = row.changed;
    row.not_finite = only_finite(&mut row.patched, &mut row.recovered);
}

fn upgrade_mean(row: &mut PathMeanRow, how: &Provenance) {
    let did = Did::of(&how.command, row.corrupt.is_some());
    (row.kind, row.direction) = (did.kind, did.direction);
    let moved = moved(row.patched, row.direction.as_deref(), row.clean, row.corrupt);
    row.changed = if moved { row.pairs } else { 0 };
    row.reached = row.changed;
    if only_finite(&mut row.patched, &mut row.recovered).is_some() {
        row.change = None;
    }
}
