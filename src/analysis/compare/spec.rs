//! What two configurations differ in, choice by choice, and how many parameters each part has.

use serde_json::Value;

use super::rows::{CompareParametersRow, CompareSpecRow};
use super::traits::TRAITS;
use crate::analysis::cost;
use crate::arch::Spec;
use crate::number::Locale;
use crate::session::Member;
use crate::text::Tokenizer;

/// Each choice of `model` beside that of `reference`.
pub fn specs(reference: &Member, model: &Member) -> Vec<CompareSpecRow> {
    let row = |property: &str, [of_reference, of_model]: [String; 2], changes: &str| CompareSpecRow {
        model: model.name.clone(),
        property: property.to_owned(),
        reference: reference.name.clone(),
        differs: of_reference != of_model,
        value_reference: of_reference,
        value: of_model,
        changes: changes.to_owned(),
    };
    let mut rows: Vec<CompareSpecRow> =
        TRAITS.iter().map(|of| row(of.name, [reference, model].map(|m| (of.of)(&m.spec)), of.changes)).collect();
    rows.push(row(
        "tokenizer",
        [reference, model].map(|m| m.tokenizer.as_ref().map_or("none".to_owned(), tokenizer)),
        "Another tokenizer cuts texts at other places: losses of tokens are not comparable, bits per byte are.",
    ));
    if rows.iter().all(|row| !row.differs) && choices(&reference.spec) != choices(&model.spec) {
        let details = details(&choices(&reference.spec), &choices(&model.spec));
        rows.push(row("details", details, "Nothing else differs than these entries of the configuration."));
    }
    rows
}

/// A tokenizer in short: how many tokens, and a fingerprint of its vocabulary.
fn tokenizer(of: &Tokenizer) -> String {
    let mut hasher = blake3::Hasher::new();
    for id in 0..of.vocab_size() as u32 {
        hasher.update(of.piece(id).as_bytes()).update(&[0]);
    }
    let print = hasher.finalize().to_hex();
    format!("{} tokens, vocabulary {}", Locale::EN.count(of.vocab_size() as u64), &print[..8])
}

/// The spec without the family's name, with which nothing computes.
fn choices(spec: &Spec) -> Value {
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("family");
    }
    value
}

/// The entries that differ, of both.
fn details(a: &Value, b: &Value) -> [String; 2] {
    fn walk(path: &str, a: &Value, b: &Value, found: &mut [Vec<String>; 2]) {
        match (a, b) {
            (Value::Object(x), Value::Object(y)) => {
                let mut keys: Vec<&String> = x.keys().chain(y.keys().filter(|key| !x.contains_key(*key))).collect();
                keys.dedup();
                for key in keys {
                    walk(
                        &format!("{path}.{key}"),
                        x.get(key).unwrap_or(&Value::Null),
                        y.get(key).unwrap_or(&Value::Null),
                        found,
                    );
                }
            }
            (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
                for (i, (x, y)) in x.iter().zip(y).enumerate() {
                    walk(&format!("{path}.{i}"), x, y, found);
                }
            }
            _ if a == b => {}
            _ => {
                let path = path.trim_start_matches('.');
                found[0].push(format!("{path} = {a}"));
                found[1].push(format!("{path} = {b}"));
            }
        }
    }
    let mut found = [vec![], vec![]];
    walk("", a, b, &mut found);
    found.map(|entries| entries.join(", "))
}

/// The parameters of each part of `model` beside those of `reference`, and of all.
pub fn parameters(reference: &Member, model: &Member) -> Vec<CompareParametersRow> {
    let (ours, theirs) = (cost::parameters(&model.spec), cost::parameters(&reference.spec));
    let all = model.spec.n_params() as u64;
    let row = |part: &str, n: u64, of_reference: u64| CompareParametersRow {
        model: model.name.clone(),
        part: part.to_owned(),
        parameters: n,
        share: n as f64 / all.max(1) as f64,
        reference: reference.name.clone(),
        parameters_reference: of_reference,
        difference: n as i64 - of_reference as i64,
    };
    let of = |counts: &[(&str, u64)], part: &str| counts.iter().find(|(name, _)| *name == part).map_or(0, |(_, n)| *n);
    let parts = cost::parts().filter(|part| of(&ours, part) + of(&theirs, part) > 0);
    let mut rows: Vec<_> = parts.map(|part| row(part, of(&ours, part), of(&theirs, part))).collect();
    rows.push(row("all", all, reference.spec.n_params() as u64));
    rows
}
