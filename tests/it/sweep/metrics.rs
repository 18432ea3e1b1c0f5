//! The table of metrics: whatever stands in it is documented, parsed, and drawn with its unit. That each has the slope of its own
//! finite differences is tested beside it.

use std::fmt::Write;

use pellucid::sweep::{METRICS, Metric, Needs};

use crate::house::docs::committed;
use crate::view::{chart::provenance, figures_of, patch::sweep};

#[test]
fn the_page_of_metrics_is_the_table() {
    let mut page = String::from(
        "# Metrics\n\nWhat `--metric` can measure of a run, each one number of its logits. `attribute` needs one that has a \
         gradient. This page is generated from `src/sweep/metric.rs`.\n\n\
         | name | unit | meaning | reads | gradient |\n|---|---|---|---|---|\n",
    );
    for row in METRICS {
        let names: Vec<String> = [row.name].iter().chain(row.aliases).map(|name| format!("`{name}`")).collect();
        let needs = row.needs.iter().map(|needs| match needs {
            Needs::Answers => "answers",
            Needs::Foils => "foils",
            Needs::Vocabulary => "all tokens",
            Needs::CleanLogits => "the clean run",
            Needs::EveryPosition => "every position",
            Needs::OneToken => "words of one token",
        });
        let needs = needs.collect::<Vec<_>>().join(", ");
        let (meaning, slope) = (row.meaning.replace('|', "\\|"), if row.metric.has_slope() { "yes" } else { "no" });
        let _ = writeln!(page, "| {} | {} | {meaning} | {needs} | {slope} |", names.join(", "), row.unit);
    }
    committed("metrics.md", &page);
}

#[test]
fn every_metric_is_parsed_and_drawn_by_its_name_which_says_its_unit() {
    for row in METRICS {
        for name in [row.name].iter().chain(row.aliases) {
            assert_eq!(Metric::parse(name).unwrap(), row.metric, "{name}");
        }
        // `log_prob` says it by the logarithm.
        let says = row.unit != "nats" || row.name.ends_with("_nats") || row.name == "log_prob";
        assert!(says, "the name of {} does not say {}", row.name, row.unit);
        let mut rows = sweep(&[("layer", 3), ("pos", 4)]);
        rows.iter_mut().for_each(|patch| patch.measured.metric = row.name.to_owned());
        let figures = figures_of(&rows, &provenance()).unwrap();
        assert!(!figures.is_empty() && figures.iter().all(|figure| figure.svg.contains(row.name)), "{}", row.name);
    }
}

#[test]
fn a_metric_that_does_not_exist_is_refused_with_the_nearest_that_does() {
    let e = Metric::parse("logit_dif").unwrap_err();
    assert_eq!(e.hint_text(), Some("did you mean `logit_diff`?"));
}
