//! Positions at which the two prompts of a pair are still alike, where somebody chooses them.

use pellucid::analysis::PatchRow;
use pellucid::table::read_rows;

use crate::bin::{GIVERS, Place, model};

/// Invariant: Of a causal model it is noted when positions are chosen at which clean and corrupt are still alike: patches there change nothing.
#[test]
fn positions_before_the_first_difference_are_noted() {
    let place = Place::new();
    let patch = |more: &[&str]| {
        let args = [&["patch", "--at", "resid_pre", "--over", "layer,pos"][..], &GIVERS, more].concat();
        place.ok(args.iter().chain(&["--out", "run", "--force"])).stderr
    };
    let rows = || read_rows::<PatchRow>(place.path("run/patch.parquet")).unwrap().0;
    // Nobody chose any.
    assert!(!patch(&[]).contains("alike"));
    let changes = |row: &&PatchRow| row.outcome.changed;
    let first = rows().iter().filter(changes).filter_map(|row| row.place.pos).min().unwrap();
    assert!(first > 3, "{first}");
    let alike = |said: &str| said.lines().filter(|line| line.contains("alike")).map(str::to_owned).collect::<Vec<_>>();
    let note = |at: &str| {
        let last = first - 1;
        vec![format!("note: clean and corrupt are alike up to position {last}, so patches at {at} change nothing")]
    };
    let (last, at) = ((first - 1).to_string(), first.to_string());
    assert_eq!(alike(&patch(&["--pos", &at])), [""; 0]);
    assert!(rows().iter().any(|row| row.outcome.changed));
    for (chosen, said) in
        [(&*last, format!("position {last}")), ("1-3", "positions 1 to 3".into()), ("1,3", "positions 1, 3".into())]
    {
        assert_eq!(alike(&patch(&["--pos", chosen])), note(&said));
        assert!(rows().iter().all(|row| !row.outcome.changed), "{chosen}");
    }
    assert_eq!(alike(&patch(&["--pos", &format!("2,{at},-1")])), note("position 2"));
    // Patched together they change something where one of them does.
    let together = ["--over", "layer", "--pos"];
    let patch_all = |chosen: &str| {
        let args = [&["patch", "--at", "resid_pre"][..], &GIVERS, &together, &[chosen]].concat();
        place.ok(args.iter().chain(&["--out", "run", "--force"])).stderr
    };
    assert_eq!(alike(&patch_all(&format!("2,{at}"))), [""; 0]);
    assert!(rows().iter().any(|row| row.outcome.changed));
    assert_eq!(alike(&patch_all("2-3")), note("positions 2 to 3"));
    // What is no value of the other prompt changes every position, and whoever chooses all has chosen none.
    assert_eq!(alike(&patch(&["--pos", "2", "--kind", "zero"])), [""; 0]);
    assert_eq!(alike(&patch(&["--pos", "0--1"])), [""; 0]);
    // By name, of several pairs, and of estimates.
    let line = |a: &str, b: &str| {
        let prompt = |giver: &str| format!("When {a} and {b} met, {giver} spoke to");
        serde_json::json!({
            "clean": prompt(b), "corrupt": prompt(a), "answer": format!(" {a}"), "foil": format!(" {b}"), "first": format!(" {a}"),
        })
        .to_string()
    };
    place.write("pairs.jsonl", format!("{}\n{}\n", line("Mary", "John"), line("Tom", "Anna")));
    for command in ["patch", "attribute"] {
        let run = |names: &str| {
            let args = [command, "--pairs", "pairs.jsonl", "--at", "resid_pre", "--positions", names];
            alike(&place.ok(args.iter().chain(&["--out", "run", "--force"])).stderr)
        };
        let said = run("io=first,end");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].contains("at chosen positions of 2 of 2 pairs") && said[0].ends_with("position io is chosen"),
            "{said:?}"
        );
        assert_eq!(run("end"), [""; 0]);
    }
    // Where every position sees every other, the first difference is everywhere.
    let both = model("hooked_bidirectional");
    let ids = [
        "patch", "-m", &both, "--clean", "#3,14,15", "--corrupt", "#3,14,27", "--answer", "#7", "--metric", "logit",
        "--pos", "0",
    ];
    let ids = ids.iter().chain(&["--at", "resid_pre", "--over", "layer,pos", "--out", "both"]);
    assert!(!place.ok(ids).stderr.contains("alike"));
}
