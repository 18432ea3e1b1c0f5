//! The tables of path patching.

use crate::analysis::patch::mean::{Averaged, Key, MeanOf, Values, common};
use crate::table::{Done, Measured, MeasuredMean, Outcome, OutcomeMean, Place, Provenance, TOKEN, older};
use crate::{part, table};

table! {
    /// One path, patched and measured.
    PathRow = "path" version 3 upgraded by upgrade:
    "Path patching: what one part of the model, the sender, does by way of the stream to another, the receiver, and by that to the \
     metric (Wang et al. 2022; Goldowsky-Dill et al. 2023). The receiver reads the stream with what the sender writes when it is \
     changed, everything between frozen, and from there the run goes on as ever. One row is one (pair, sender, receiver, metric). A \
     coordinate that is null was not gone over: all of its values were changed at once. `clean` and `corrupt` are the metric of \
     the two prompts with nothing changed. Files of version 1 do not say what was done: their `kind` and `direction` are those of the \
     command, and `changed` and `reached` whether the metric differs.";
    pair: u32, "index", "which pair of the request, counted from 0";
    pair_id: String, "", "the pair's id, as given; its index where none was";
    ..from: Sender;
    ..to: Receiver;
    ..measured: Measured;
    ..done: Done;
    ..outcome: Outcome;
}

table! {
    /// One path, on the mean over pairs.
    PathMeanRow = "path_mean" version 3 upgraded by upgrade_mean:
    "What patching a path does on the whole: means of `path` over the pairs. One row is one (sender, receiver, metric). Positions are those of one name, or of \
     one number from the beginning of each prompt. Files of version 1 do not say what was done: their `kind` and `direction` are those \
     of the command, and `changed` and `reached` are `pairs` where the metric differs, else 0.";
    ..from: Sender;
    ..to: Receiver;
    ..measured: MeasuredMean;
    ..done: Done;
    ..outcome: OutcomeMean;
}

part! {
    /// What is changed of what is written to the stream.
    Sender:
    sender: String, "site", "what is changed: a part of what is written to the stream, e.g. `attn.z`, `mlp_out`, `embed`";
    sender_layer: Option<u32>, "index", "in which block, counted from 0; null for the embedding";
    sender_head: Option<u32>, "index", "in which query head";
    sender_neuron: Option<u32>, "index", "which neuron";
    pos: Option<u32>, "index", "at which position; of a mean, null where pairs have it at different ones";
    position_name: Option<String>, "", "what it is called, as in `patch`", since 2;
    token: Option<String>, TOKEN, "the clean prompt's token there; of a mean, where all pairs have the same";
}

part! {
    /// What reads the change.
    Receiver:
    receiver: String, "", "what reads it: `q`, `k` or `v` of a head, `mlp`, or `logits`; where several read it at once, all of them as \
        they were asked for, e.g. `2.1.q+3.0.v`";
    receiver_layer: Option<u32>, "index", "in which block, counted from 0; null for the logits, and for several at once";
    receiver_head: Option<u32>, "index", "which query head, of `q`";
    receiver_kv_head: Option<u32>, "index", "which key/value head, of `k` and `v`; of `q`, the one that it reads";
    through: Option<String>, "", "what between sender and receiver was computed anew: `mlps`; null where everything was frozen";
}

impl From<Place> for Sender {
    fn from(at: Place) -> Self {
        let Place { site, layer, head, neuron, pos, position_name, token, .. } = at;
        Self { sender: site, sender_layer: layer, sender_head: head, sender_neuron: neuron, pos, position_name, token }
    }
}

impl From<Sender> for Place {
    fn from(from: Sender) -> Self {
        let Sender { sender, sender_layer, sender_head, sender_neuron, pos, position_name, token } = from;
        let [layer, head, neuron] = [sender_layer, sender_head, sender_neuron];
        Self { site: sender, layer, head, neuron, pos, position_name, token, ..Self::default() }
    }
}

fn upgrade(row: &mut PathRow, how: &Provenance) {
    if how.table_version > 1 {
        return;
    }
    row.done = older::done(how, row.measured.corrupt.is_some()).0;
    row.outcome = older::outcome(&mut row.measured, &row.done);
}

fn upgrade_mean(row: &mut PathMeanRow, how: &Provenance) {
    if how.table_version > 1 {
        return;
    }
    row.done = older::done(how, row.measured.corrupt.is_some()).0;
    row.outcome = older::outcome_mean(&mut row.measured, &row.done);
}

impl Averaged for PathRow {
    type Mean = PathMeanRow;

    fn key(&self) -> Key<'_> {
        let Sender { sender, sender_layer, sender_head, sender_neuron, pos, position_name, .. } = &self.from;
        let Receiver { receiver, receiver_layer, receiver_head, receiver_kv_head, .. } = &self.to;
        let pos = pos.filter(|_| position_name.is_none());
        let at = [*sender_layer, *sender_head, *sender_neuron, pos, *receiver_layer, *receiver_head, *receiver_kv_head];
        (sender, at, [position_name.as_deref(), Some(receiver)], &self.measured.metric)
    }

    fn of_pair(&self) -> (u32, Values) {
        (self.pair, Values::measured(&self.measured, &self.outcome))
    }

    fn keep_common(&mut self, other: &Self) {
        common(&mut self.from.pos, &other.from.pos);
        common(&mut self.from.token, &other.from.token);
    }

    fn mean(&self, _: u32, found: &MeanOf) -> PathMeanRow {
        let (measured, outcome) = found.measured(&self.measured.metric);
        let Self { from, to, done, .. } = self.clone();
        PathMeanRow { from, to, measured, done, outcome }
    }
}
