//! Cards in the JSON that Neuronpedia's viewers read.
//!
//! Keys are those of its exports of version 1 (<https://docs.neuronpedia.org/api-and-data/exports>): a feature has its own and those of its
//! `activations`. What pellucid does not compute, such as histograms, is left out.

use std::path::Path;

use serde_json::{Value, json};

use super::cards::Ends;
use super::rows::NeuronCardRow;
use crate::error::{Error, Result};
use crate::table::{METADATA_KEY, Provenance};

/// The list of features that these cards are of. `ends` gives of each what it says.
pub(super) fn features(model: &str, cards: &[NeuronCardRow], ends: &dyn Fn(&NeuronCardRow) -> Option<Ends>) -> Value {
    let of = |row: &NeuronCardRow| {
        (row.feature.corpus.clone(), row.feature.hook.clone(), row.feature.head, row.feature.neuron)
    };
    let feature = |own: &[NeuronCardRow]| {
        let first = &own[0];
        // A source is a layer and what of it is shown, such as `3-mlp-hook_post`.
        let hook = first.feature.hook.trim_start_matches("blocks.");
        let head = first.feature.head.map_or(String::new(), |head| format!("-h{head}"));
        let source = format!("{}{head}", hook.replace('.', "-"));
        let index = first.feature.neuron.to_string();
        let example = |(i, tokens): (usize, &[NeuronCardRow])| {
            let values: Vec<f32> = tokens.iter().map(|row| row.value).collect();
            let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            json!({
                "id": format!("{source}-{index}-{i}"), "modelId": model, "layer": source, "index": index,
                "tokens": tokens.iter().map(|row| &row.token).collect::<Vec<_>>(), "values": values, "maxValue": most,
                "maxValueTokenIndex": values.iter().position(|x| *x == most),
                "minValue": values.iter().copied().fold(f32::INFINITY, f32::min),
                "qualifyingTokenIndex": tokens.iter().position(|row| row.offset == 0),
                "dataSource": tokens[0].feature.corpus, "dataIndex": tokens[0].doc_id,
            })
        };
        let place = |row: &NeuronCardRow| (row.kind.clone(), row.group, row.rank);
        let activations = own.chunk_by(|a, b| place(a) == place(b)).enumerate().map(example);
        let Ends { promoted, suppressed } = ends(first).unwrap_or_default();
        let (pos_str, pos_values): (Vec<String>, Vec<f64>) = promoted.into_iter().unzip();
        let (neg_str, neg_values): (Vec<String>, Vec<f64>) = suppressed.into_iter().unzip();
        json!({
            "modelId": model, "layer": source, "index": index, "hookName": first.feature.hook, "maxActApprox": first.numbers.max,
            "frac_nonzero": first.numbers.frac_positive, "pos_str": pos_str, "pos_values": pos_values, "neg_str": neg_str,
            "neg_values": neg_values, "activations": activations.collect::<Vec<_>>(),
        })
    };
    cards.chunk_by(|a, b| of(a) == of(b)).map(feature).collect()
}

/// Writes the list to a file. Its first feature says how it was made: a list has no other place for that.
///
/// # Errors
/// It cannot be written.
pub(super) fn write(path: &Path, mut features: Value, made: &Provenance) -> Result<()> {
    if let Some(first) = features.get_mut(0) {
        first[METADATA_KEY] = serde_json::from_str(&made.to_json()).unwrap_or_default();
    }
    std::fs::write(path, format!("{features:#}\n")).map_err(|e| Error::cannot_write(path, e))
}
