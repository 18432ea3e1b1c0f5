//! Positions that are chosen of a table: by number and by name, of pairs and of means.

use std::path::PathBuf;

use pellucid::analysis::seen::views;
use pellucid::analysis::{PatchMeanRow, PatchRow};
use pellucid::range::Interval;
use pellucid::table::read_rows;
use pellucid::view::kind::{Body, View};
use pellucid::view::{Only, Options};

use crate::bin::Place;

/// Two pairs of one length.
fn place() -> Place {
    let place = Place::new();
    let mut pairs = String::from("clean,corrupt,answer,foil\n");
    for (one, two) in [("Mary", "John"), ("Anna", "Tom")] {
        let text = |giver: &str| format!("When {one} and {two} went to the store; {giver} gave a drink to");
        pairs += &format!("{},{}, {one}, {two}\n", text(two), text(one));
    }
    place.write("pairs.csv", pairs);
    place
}

fn seen(file: &PathBuf, positions: &[&str], names: &[&str]) -> pellucid::Result<Vec<View>> {
    let positions: Vec<Interval> = positions.iter().map(|text| Interval::parse(text).unwrap()).collect();
    let only = Only {
        positions: (!positions.is_empty()).then_some(positions),
        position_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Only::default()
    };
    let mut seen = vec![];
    views(file, &Options { only, ..Options::default() }, &mut |view| {
        seen.push(view);
        Ok(())
    })?;
    Ok(seen)
}

/// Invariant: Positions can be chosen wherever a figure has them as an axis, of means as of pairs.
#[test]
fn positions_of_means_are_chosen_by_number() {
    let place = place();
    place.ok(["patch", "-q", "--pairs", "pairs.csv", "--over", "layer,pos", "--out", "run", "--figures", "none"]);
    for (table, n) in [("patch", 2), ("patch_mean", 1)] {
        let file = place.path(&format!("run/{table}.parquet"));
        let views = seen(&file, &["10-12", "-1"], &[]).unwrap();
        assert_eq!(views.len(), n, "{table}");
        let (rows, _) = read_rows::<PatchRow>(place.path("run/patch.parquet")).unwrap();
        let last = rows.iter().filter_map(|row| row.place.pos).max().unwrap();
        assert!(last > 12);
        for view in &views {
            let Body::Heat(heat) = &view.panels[0].body else { panic!("{table}: a grid") };
            let numbers: Vec<Option<u32>> = heat.columns.items.iter().map(|item| item.number).collect();
            assert_eq!(numbers, [10, 11, 12, last].map(Some), "{table}");
        }
        let table_file = format!("run/{table}.parquet");
        let chart = |chosen| ["chart", &*table_file, "--out", "x", "--positions", chosen];
        let whose = if table == "patch" { "positions of pair 0" } else { "positions of the means" };
        place.refused(chart("40"), 2, whose);
        place.refused(chart("end"), 2, "no position is called `end`");
    }
}

/// Invariant: Positions that go by names are chosen by them, and what is drawn are the rows of that name.
#[test]
fn positions_are_chosen_by_name() {
    let place = place();
    let named = ["--positions", "io={answer},s=foil@2,end", "--over", "layer,pos"];
    place.ok(["patch", "-q", "--pairs", "pairs.csv", "--out", "run", "--figures", "none"].iter().chain(&named));
    let (pairs, means) = (place.path("run/patch.parquet"), place.path("run/patch_mean.parquet"));
    let drawn = |view: &View| -> Vec<f64> {
        let Body::Steps(steps) = &view.panels[0].body else { panic!("one position is no axis") };
        steps.points.iter().map(|point| point.value).collect()
    };
    let is_end = |name: &Option<String>| name.as_deref() == Some("end");
    let (rows, _) = read_rows::<PatchRow>(&pairs).unwrap();
    for (pair, view) in seen(&pairs, &[], &["end"]).unwrap().iter().enumerate() {
        let own = rows.iter().filter(|row| row.pair == pair as u32 && is_end(&row.place.position_name));
        let want: Vec<f64> = own.map(|row| f64::from(row.measured.recovered.unwrap())).collect();
        assert!(!want.is_empty() && drawn(view) == want, "{pair}: {want:?}");
    }
    let (rows, _) = read_rows::<PatchMeanRow>(&means).unwrap();
    let [view] = &seen(&means, &[], &["end"]).unwrap()[..] else { panic!("one figure") };
    let own = rows.iter().filter(|row| is_end(&row.place.position_name));
    let want: Vec<f64> = own.map(|row| f64::from(row.measured.recovered.unwrap())).collect();
    assert!(!want.is_empty() && drawn(view) == want, "{want:?}");
    // Several, in the order in which they were named; with one that there is not, an error that lists them.
    let [view] = &seen(&means, &[], &["end", "io"]).unwrap()[..] else { panic!("one figure") };
    let Body::Heat(heat) = &view.panels[0].body else { panic!("a grid") };
    let labels: Vec<&str> = heat.columns.items.iter().map(|item| item.label.split(' ').next().unwrap()).collect();
    assert_eq!(labels, ["io", "end"]);
    let no =
        place.refused(["chart", "run/patch_mean.parquet", "--out", "x", "--positions", "io,ends"], 2, "called `ends`");
    assert!(no.stderr.contains("io, s, end") && no.stderr.contains("did you mean"), "{}", no.stderr);
    assert_eq!(
        place.ok(["chart", "run/patch_mean.parquet", "--out", "x.svg", "--positions", "io,end"]).stdout,
        "x.svg\n"
    );
}
