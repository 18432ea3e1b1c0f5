//! `docs/config.md`: the keys of `config.json`, from the table that pellucid reads.

use std::fmt::Write;

use pellucid::arch::keys::{FamilyKeys, Rule, TABLE};
use serde_json::Value;

#[test]
fn the_page_of_configuration_keys_is_the_table_of_keys() {
    crate::house::docs::committed("config.md", &page());
}

fn page() -> String {
    let releases = format!("{} to {}", TABLE.releases[0], TABLE.releases[TABLE.releases.len() - 1]);
    let mut page = format!(
        "# Keys of `config.json`\n\n\
         What pellucid does with each key of a model's `config.json`. It is what transformers {} does, whose models were built and \
         run with each key of each family ([config_tables.py](config_tables.py)), and what the classes of releases {releases} \
         declare. This page is generated from `src/arch/keys.json`.\n\n\
         - A key that **changes the model** is read, under any of its names. Where it is absent, it is what transformers takes. A \
         value that pellucid does not compute is refused.\n\
         - A key that transformers does **not read in this family** is not applied: where it says nothing (null, or a value listed \
         [below](#harmless-keys)) it is overlooked, otherwise refused.\n\
         - A **harmless** key is overlooked, some at certain values only.\n\
         - Any other key is refused. `--accept-config KEY` lets one through, for whoever knows that it does not change what the \
         model computes: with a warning, and on record in the provenance of the results. In the library it is \
         `ModelSource::accepting`. It lets no key through that is known to change the model.\n\n\
         Two spellings of one key must agree. A file without `model_type` is what `architectures` says.\n",
        TABLE.transformers
    );
    for (family, keys) in &TABLE.families {
        let _ = writeln!(page, "\n## {family}\n\n| key | where it is absent | other names |\n|---|---|---|");
        for (key, default) in &keys.model {
            let others: Vec<String> = keys.names(key).skip(1).map(code).collect();
            let _ = writeln!(page, "| {} | {} | {} |", code(key), absent(keys, key, default), others.join(", "));
        }
        let inert: Vec<String> = keys.inert.keys().map(|key| code(key)).collect();
        let _ = writeln!(page, "\nIts class declares, and no logit depends on: {}.", inert.join(", "));
        if !keys.harmless.is_empty() {
            let _ = writeln!(page, "\nIn its files also:\n");
            rules(&mut page, keys.harmless.iter());
        }
    }
    let shared = &TABLE.harmless;
    let list = |keys: &std::collections::BTreeSet<String>| keys.iter().map(|k| code(k)).collect::<Vec<_>>().join(", ");
    let _ = write!(
        page,
        "\n## Harmless keys\n\nIn every family that does not read them. How a model was made, what its labels are called, what a run \
         returns: {}.\n\nSettings of generation: {}.\n\nAnd these:\n\n",
        list(&shared.bookkeeping),
        list(&shared.generation)
    );
    rules(&mut page, shared.at.iter());
    page
}

fn code(key: &str) -> String {
    format!("`{key}`")
}

/// The default, and which releases had another.
fn absent(keys: &FamilyKeys, key: &str, default: &Value) -> String {
    let now = match default {
        Value::Null => "none, or what other keys make it".to_owned(),
        value => code(&value.to_string()),
    };
    let others = keys.earlier.get(key).into_iter().flatten();
    let others: Vec<String> = others.map(|(then, releases)| format!("{} in {releases}", code(then))).collect();
    if others.is_empty() { now } else { format!("{now} ({})", others.join("; ")) }
}

fn rules<'a>(page: &mut String, rules: impl Iterator<Item = (&'a String, &'a Rule)>) {
    page.push_str("| key | harmless | another value means |\n|---|---|---|\n");
    for (key, rule) in rules {
        let _ = writeln!(page, "| {} | {} | {} |", code(key), rule.words(), rule.changes.as_deref().unwrap_or(""));
    }
}
