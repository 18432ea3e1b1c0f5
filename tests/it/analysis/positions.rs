//! Positions that are the same in different prompts: counted from the end, or by names from the file of pairs.

use std::collections::BTreeMap;

use pellucid::analysis::path::rows::Sender;
use pellucid::analysis::{AttributionRow, PatchMeanRow, PatchRow, PathMeanRow, PathRow};
use pellucid::table::read_rows;
use pellucid::table::{self, Measured};

use crate::bin::{GIVERS, Place};

/// Pairs of different lengths and templates. The indirect object is first in some and second in others.
const PAIRS: &str = "clean,corrupt,answer,foil,io_pos,s2_pos,said
\"When Mary and John went to the store, John gave a drink to\",\"When Mary and John went to the store, Mary gave a drink to\", Mary, John,2,10,Mary
\"When Paul and Anna went to the office, Paul gave a book to\",\"When Paul and Anna went to the office, Anna gave a book to\", Anna, Paul,4,-5, Anna
\"Then, Mark and Mary went to the store, and Mary gave a letter to\",\"Then, Mark and Mary went to the store, and Mark gave a letter to\", Mark, Mary,3,12,Mark
";
/// Where the indirect object, the second subject and the end are in each: the first token is the one that begins every text.
const PLACES: [[u32; 3]; 3] = [[2, 10, 14], [4, 10, 14], [3, 12, 16]];
const NAMES: [&str; 3] = ["io", "s2", "end"];

fn place() -> Place {
    let place = Place::new();
    place.write("pairs.csv", PAIRS);
    place
}

fn mean(x: &[f64]) -> (f64, Option<f64>) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let squares = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    (mean, (x.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt()))
}

fn close(a: Option<f32>, b: Option<f64>) -> bool {
    // Written as f32, of numbers of the size of one.
    match (a, b) {
        (Some(a), Some(b)) => (f64::from(a) - b).abs() < 1e-5,
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// Whether two runs of one patch, packed with others of different sweeps, measured the same: within the rounding of f32 in sums of up
/// to 512 terms.
fn alike(a: Option<f32>, b: Option<f32>) -> bool {
    a.zip(b).map_or(a == b, |(a, b)| (a - b).abs() <= 1e-5 * a.abs().max(1.0))
}

/// The words of a figure; of a pair the first one's.
fn texts(place: &Place, name: &str) -> Vec<String> {
    let pair = if name.contains("patch_mean") { "" } else { "-p0" };
    let svg = String::from_utf8(place.read(&format!("{name}{pair}.svg"))).unwrap();
    let xml = roxmltree::Document::parse(&svg).unwrap();
    xml.descendants().filter(|n| n.has_tag_name("text")).filter_map(|n| n.text().map(str::to_owned)).collect()
}

/// The rows of a sweep over all positions, by numbers.
fn by_number(place: &Place) -> Vec<PatchRow> {
    place.ok(["patch", "-q", "--pairs", "pairs.csv", "--at", "resid_pre", "--out", "number"]);
    read_rows::<PatchRow>(place.path("number/patch.parquet")).unwrap().0
}

/// Invariant: Means over named positions, or over positions counted from the end, are the means of the pairs' rows there; also
/// for edges, paths and attributions.
#[test]
fn named_positions_are_those_of_each_pair_and_means_go_by_their_names() {
    let place = place();
    let all = by_number(&place);
    assert!(all.iter().all(|row| row.place.position_name.is_none()));
    for (out, positions) in [("named", "io=io_pos,s2=s2_pos,end"), ("said", "io=said,s2=s2_pos,end")] {
        let command =
            ["patch", "-q", "--pairs", "pairs.csv", "--at", "resid_pre", "--positions", positions, "--out", out];
        let said = place.ok(command).stdout;
        // The terminal and the figures call positions by their names, in the order in which they were asked for.
        let positions = said.lines().find(|l| l.starts_with("position")).unwrap();
        assert_eq!(positions.split_whitespace().collect::<Vec<_>>(), ["position", "io", "s2", "end"]);
        let text = |figure: &str| texts(&place, &format!("{out}/{figure}-resid_pre-logit_diff"));
        let of_means = text("patch_mean");
        assert!(["io", "s2", "end ·to"].iter().all(|label| of_means.contains(&(*label).to_owned())), "{of_means:?}");
        let of_pair = text("patch");
        assert!(
            ["io ·Mary", "s2 ·John", "end ·to"].iter().all(|label| of_pair.contains(&(*label).to_owned())),
            "{of_pair:?}"
        );
        assert!(said.contains(", position end \"·to\"  ") && !said.contains("query"), "{said}");
        let (rows, _) = read_rows::<PatchRow>(place.path(&format!("{out}/patch.parquet"))).unwrap();
        assert_eq!(rows.len(), 3 * 4 * 3);
        for row in &rows {
            let name = row.place.position_name.clone().unwrap();
            let at = PLACES[row.pair as usize][NAMES.iter().position(|n| *n == name).unwrap()];
            assert_eq!(row.place.pos, Some(at), "{name}");
            let same =
                |r: &&PatchRow| (r.pair, r.place.layer, r.place.pos) == (row.pair, row.place.layer, row.place.pos);
            let plain = all.iter().find(same).unwrap();
            let (patched, recovered) = (plain.measured.patched, plain.measured.recovered);
            assert!(
                alike(row.measured.patched, patched) && alike(row.measured.recovered, recovered),
                "{row:?} {plain:?}"
            );
            assert_eq!(
                PatchRow {
                    place: table::Place { position_name: None, ..row.place.clone() },
                    measured: Measured { patched, recovered, ..row.measured.clone() },
                    ..row.clone()
                },
                *plain
            );
        }
        let (means, _) = read_rows::<PatchMeanRow>(place.path(&format!("{out}/patch_mean.parquet"))).unwrap();
        assert_eq!(means.len(), 4 * 3);
        for of in &means {
            let name = of.place.position_name.clone().unwrap();
            let i = NAMES.iter().position(|n| *n == name).unwrap();
            let at = |r: &&PatchRow| r.place.layer == of.place.layer && r.place.pos == Some(PLACES[r.pair as usize][i]);
            let own: Vec<&PatchRow> = all.iter().filter(at).collect();
            assert_eq!((own.len(), of.measured.pairs), (3, 3));
            let (recovered, error) =
                mean(&own.iter().map(|r| f64::from(r.measured.recovered.unwrap())).collect::<Vec<_>>());
            assert!(
                close(of.measured.recovered, Some(recovered)) && close(of.measured.recovered_se, error),
                "{of:?} {recovered}"
            );
            // A number stands there where it is that of all pairs.
            let same = PLACES.iter().all(|p| p[i] == PLACES[0][i]);
            assert_eq!(of.place.pos, same.then_some(PLACES[0][i]));
        }
        // In the order in which they were asked for.
        let names: Vec<_> = means[..3].iter().map(|m| m.place.position_name.clone().unwrap()).collect();
        assert_eq!(names, NAMES);
    }
}

/// Invariant: as `named_positions_are_those_of_each_pair_and_means_go_by_their_names`.
#[test]
fn counted_from_the_end_means_are_over_the_same_distance() {
    let place = place();
    let all = by_number(&place);
    let args = ["patch", "-q", "--pairs", "pairs.csv", "--at", "resid_pre", "--align", "end", "--out", "end"];
    place.ok(args);
    let (rows, _) = read_rows::<PatchRow>(place.path("end/patch.parquet")).unwrap();
    let lengths = [15u32, 15, 17];
    assert_eq!(rows.len(), all.len());
    for (row, plain) in rows.iter().zip(&all) {
        assert_eq!(
            PatchRow { place: table::Place { position_name: None, ..row.place.clone() }, ..row.clone() },
            *plain
        );
        let from_end = i64::from(row.place.pos.unwrap()) - i64::from(lengths[row.pair as usize]);
        assert_eq!(row.place.position_name, Some(from_end.to_string()));
    }
    let (means, _) = read_rows::<PatchMeanRow>(place.path("end/patch_mean.parquet")).unwrap();
    assert_eq!(means.len(), 4 * 17);
    for of in &means {
        let from_end: i64 = of.place.position_name.as_deref().unwrap().parse().unwrap();
        let at = |r: &&PatchRow| {
            let pos = from_end + i64::from(lengths[r.pair as usize]);
            r.place.layer == of.place.layer && Some(pos) == r.place.pos.map(i64::from)
        };
        let own: Vec<f64> = all.iter().filter(at).map(|r| f64::from(r.measured.recovered.unwrap())).collect();
        assert_eq!(own.len(), of.measured.pairs as usize);
        assert!(close(of.measured.recovered, Some(mean(&own).0)), "{of:?}");
    }
    assert!(means.iter().any(|m| m.measured.pairs == 1) && means.iter().any(|m| m.measured.pairs == 3));
    // Drawn in the order of the prompt.
    let labels: Vec<String> = texts(&place, "end/patch_mean-resid_pre-logit_diff");
    let at = |label: &str| labels.iter().position(|l| l == label || l.starts_with(&format!("{label} "))).unwrap();
    assert!(at("-17") < at("-15") && at("-15") < at("-2") && at("-2") < at("-1"), "{labels:?}");
}

/// Invariant: as `named_positions_are_those_of_each_pair_and_means_go_by_their_names`.
#[test]
fn edges_between_named_positions_are_named_at_both_ends() {
    let place = place();
    let mut command = vec!["patch", "-q", "--pairs", "pairs.csv", "--at", "pattern", "--over", "query_pos,key_pos"];
    command.extend(["--layers", "1", "--heads", "3"]);
    place.ok(command.iter().chain(&["--out", "all"]));
    place.ok(command.iter().chain(&["--positions", "io=io_pos,s2=s2_pos,end", "--out", "named"]));
    let (all, _) = read_rows::<PatchRow>(place.path("all/patch.parquet")).unwrap();
    let (rows, _) = read_rows::<PatchRow>(place.path("named/patch.parquet")).unwrap();
    assert_eq!(rows.len(), 3 * 9);
    let at = |name: &Option<String>, pair: u32| {
        PLACES[pair as usize][NAMES.iter().position(|n| Some(*n) == name.as_deref()).unwrap()]
    };
    for row in &rows {
        assert_eq!(row.place.query_pos, Some(at(&row.place.position_name, row.pair)));
        assert_eq!(row.place.key_pos, Some(at(&row.place.key_position_name, row.pair)));
        let same = |r: &&PatchRow| {
            (r.pair, r.place.query_pos, r.place.key_pos) == (row.pair, row.place.query_pos, row.place.key_pos)
        };
        assert!(alike(all.iter().find(same).unwrap().measured.patched, row.measured.patched), "{row:?}");
    }
    let (means, _) = read_rows::<PatchMeanRow>(place.path("named/patch_mean.parquet")).unwrap();
    let names: BTreeMap<_, _> = means
        .iter()
        .map(|m| ((m.place.position_name.clone(), m.place.key_position_name.clone()), m.measured.pairs))
        .collect();
    assert_eq!((names.len(), names.values().all(|pairs| *pairs == 3)), (9, true));
}

/// Invariant: as `named_positions_are_those_of_each_pair_and_means_go_by_their_names`.
#[test]
fn paths_and_attributions_go_by_names_too() {
    let place = place();
    let path = ["path", "-q", "--pairs", "pairs.csv", "--from", "z", "--over", "layer,pos", "--to", "logits"];
    place.ok(path.iter().chain(&["--out", "path"]));
    place.ok(path.iter().chain(&["--positions", "io=io_pos,s2=s2_pos,end", "--out", "named-path"]));
    let (all, _) = read_rows::<PathRow>(place.path("path/path.parquet")).unwrap();
    let (rows, _) = read_rows::<PathRow>(place.path("named-path/path.parquet")).unwrap();
    assert_eq!(rows.len(), 3 * 4 * 3);
    for row in &rows {
        let same =
            |r: &&PathRow| (r.pair, r.from.sender_layer, r.from.pos) == (row.pair, row.from.sender_layer, row.from.pos);
        let plain = all.iter().find(same).unwrap();
        let (patched, recovered) = (plain.measured.patched, plain.measured.recovered);
        assert!(alike(row.measured.patched, patched) && alike(row.measured.recovered, recovered), "{row:?} {plain:?}");
        assert_eq!(
            PathRow {
                from: Sender { position_name: None, ..row.from.clone() },
                measured: Measured { patched, recovered, ..row.measured.clone() },
                ..row.clone()
            },
            *plain
        );
        let i = NAMES.iter().position(|n| Some(*n) == row.from.position_name.as_deref()).unwrap();
        assert_eq!(row.from.pos, Some(PLACES[row.pair as usize][i]));
    }
    let (means, _) = read_rows::<PathMeanRow>(place.path("named-path/path_mean.parquet")).unwrap();
    assert!(means.len() == 12 && means.iter().all(|m| m.measured.pairs == 3 && m.from.position_name.is_some()));

    let attribute = ["attribute", "-q", "--pairs", "pairs.csv", "--at", "resid_pre,pattern"];
    place.ok(attribute.iter().chain(&["--out", "attribution"]));
    place.ok(attribute.iter().chain(&["--positions", "io=io_pos,s2=s2_pos,end", "--out", "named-attribution"]));
    place.ok(attribute.iter().chain(&["--align", "end", "--out", "end-attribution"]));
    let read = |out: &str| read_rows::<AttributionRow>(place.path(&format!("{out}/attribution.parquet"))).unwrap().0;
    let (all, rows, end) = (read("attribution"), read("named-attribution"), read("end-attribution"));
    assert_eq!(rows.len(), 3 * 4 * 3 + 3 * 4 * 4 * 9);
    for row in &rows {
        let plain = AttributionRow {
            place: table::Place { position_name: None, key_position_name: None, ..row.place.clone() },
            ..row.clone()
        };
        assert!(all.contains(&plain));
        let i = NAMES.iter().position(|n| Some(*n) == row.place.position_name.as_deref()).unwrap();
        assert_eq!(row.place.pos.or(row.place.query_pos), Some(PLACES[row.pair as usize][i]));
    }
    assert_eq!(end.len(), all.len());
    for (row, plain) in end.iter().zip(&all) {
        let n = if row.pair == 2 { 17 } else { 15 };
        let name = |pos: Option<u32>| pos.map(|p| (i64::from(p) - n).to_string());
        assert_eq!(
            (&row.place.position_name, &row.place.key_position_name),
            (&name(row.place.pos.or(row.place.query_pos)), &name(row.place.key_pos))
        );
        assert_eq!(
            AttributionRow {
                place: table::Place { position_name: None, key_position_name: None, ..row.place.clone() },
                ..row.clone()
            },
            *plain
        );
    }
}

/// Invariant: as `positions_that_mean_different_things_are_noted`.
#[test]
fn what_is_wrong_with_a_position_is_said_with_its_line() {
    let place = place();
    let run = |positions: &str, says: &str| {
        place.refused(["patch", "--pairs", "pairs.csv", "--positions", positions], 2, says);
    };
    run("io=nope", "has no column `nope`");
    run("io=foil", "pairs.csv:2: position `io`: \" John\" is in the clean prompt more than once");
    run("io=99", "pairs.csv:2: position `io`: the prompt has 15 positions, and 99 is not one of them");
    run("16", "is no named position");
    let text = PAIRS.replace(", Mary, John,2,10,", ", Mary, John,15,10,").replace(",12,Mark", ",,Mark");
    place.write("wrong.csv", text);
    place.refused(["patch", "--pairs", "wrong.csv", "--positions", "io=io_pos"], 2, "wrong.csv:2: position `io`");
    place.refused(
        ["patch", "--pairs", "wrong.csv", "--positions", "s2=s2_pos"],
        2,
        "wrong.csv:4: there is nothing in `s2_pos`",
    );
    place.write("twice.csv", PAIRS.replace(",10,Mary", ",10,John"));
    place.refused(
        ["patch", "--pairs", "twice.csv", "--positions", "io=said"],
        2,
        "twice.csv:2: position `io`: \"John\" is in the clean prompt more than once",
    );
    for both in [&["--pos", "3"][..], &["--keys", "3", "--at", "pattern", "--over", "key_pos"]] {
        let command = ["patch", "--pairs", "pairs.csv", "--positions", "end"];
        place.refused(command.iter().chain(both), 2, "both by number and by name");
    }
    let pair = [
        "patch", "--clean", "When Mary and John", "--corrupt", "When John and John", "--answer", " Mary", "--foil",
        " John",
    ];
    place.refused(
        pair.iter().chain(&["--positions", "io=io_pos"]),
        2,
        "position `io`: \"io_pos\" is not in the clean prompt",
    );
    place.ok(pair.iter().chain(&["--positions", "io=1,end", "-q"]));
}

/// Invariant: Positions that mean different things in different pairs are noted; a wrong position is reported with its line.
#[test]
fn positions_that_mean_different_things_are_noted() {
    let place = place();
    let said = |args: &[&str]| place.ok(args.iter().chain(&["--out", "run", "--force"])).stderr;
    let patch = ["patch", "--pairs", "pairs.csv", "--at", "resid_pre"];
    let with = |more: &[&'static str]| [&patch[..], more].concat();
    let note = "note: the prompts have 15 to 17 tokens";
    assert!(said(&patch).contains(note) && said(&patch).contains("--align end"), "{}", said(&patch));
    for more in [&["--over", "layer"][..], &["--positions", "io=io_pos,end"], &["--limit", "1"], &["--limit", "2"]] {
        assert!(!said(&with(more)).contains("note: the prompts have"), "{more:?}: {}", said(&with(more)));
    }
    // Counted from the end the templates still differ in most places of the shortest.
    let head = PAIRS.lines().next().unwrap();
    let other = "\"Anna asked Paul where the little cat was. Paul said it\",\"Anna asked Paul where the little cat was. Anna said it\", Anna, Paul,0,-3,Anna";
    let first = PAIRS.lines().nth(1).unwrap();
    place.write("other.csv", format!("{head}\n{first}\n{other}\n"));
    let end = said(&["patch", "--pairs", "other.csv", "--at", "resid_pre", "--align", "end"]);
    assert!(end.contains("note: the prompts have different tokens at") && end.contains("from the end"), "{end}");
    let path = said(&["path", "--pairs", "pairs.csv", "--over", "layer,pos"]);
    assert!(path.contains(note), "{path}");
}

/// Words of a prompt are positions without a file, and with a file of words that are there twice: the same rows as by number.
#[test]
fn words_say_which_time_they_are_meant() -> pellucid::Result<()> {
    let place = Place::new();
    let pair = [&["patch"][..], &GIVERS, &["--over", "layer,pos", "-q"]].concat();
    place.ok(pair.iter().chain(&["--positions", "io=2,s1=4,s2=10,end", "--out", "numbers"]));
    place.ok(pair.iter().chain(&["--positions", "io=Mary,s1=John@1,s2=John@-1,end", "--out", "words"]));
    let rows = |out: &str| read_rows::<PatchRow>(place.path(out).join("patch.parquet")).map(|(rows, _)| rows);
    let (numbers, words) = (rows("numbers")?, rows("words")?);
    assert_eq!(numbers, words);
    let s2: Vec<_> = words.iter().filter(|row| row.place.position_name.as_deref() == Some("s2")).collect();
    assert!(!s2.is_empty() && s2.iter().all(|row| row.place.token.as_deref() == Some(" John")), "{s2:?}");
    let header = "clean,corrupt,answer,foil,who\n";
    let line = format!("\"{}\",\"{}\", Mary, John,John\n", pair[2], pair[4]);
    place.write("who.csv", format!("{header}{line}"));
    let of_file =
        ["patch", "--pairs", "who.csv", "--over", "layer,pos", "-q", "--positions", "s2={who}@2", "--out", "file"];
    place.ok(of_file);
    let own: Vec<_> = rows("file")?.into_iter().map(|row| (row.place.pos, row.measured.patched)).collect();
    assert_eq!(own, s2.iter().map(|row| (row.place.pos, row.measured.patched)).collect::<Vec<_>>());
    let of_column = of_file.map(|word| if word == "s2={who}@2" { "s2=who@2" } else { word });
    place.ok(of_column.iter().chain(&["--force"]));
    assert_eq!(rows("file")?.len(), own.len());
    for (names, says) in [
        ("io=Mary", "hint: with a file, a position is in a column"),
        ("x=who@2,x=-1", "two positions are called `x`"),
        ("x=whom@2", "did you mean `who`?"),
    ] {
        place.refused(["patch", "--pairs", "who.csv", "--positions", names], 2, says);
    }
    let refused =
        [("John", "more than once, 2 times"), ("John@3", "2 times, and @3 is not one"), ("Mary@2", "once, and @2")];
    for (words, says) in refused {
        place.refused(pair.iter().chain(&["--positions", &format!("x={words}")]), 2, says);
    }
    Ok(())
}

/// Invariant: Where positions go by names, `--confirm` measures the strongest of the rows that there are.
#[test]
fn the_strongest_of_named_positions_are_measured() {
    let place = place();
    let attribute = ["attribute", "-q", "--pairs", "pairs.csv", "--at", "resid_pre,z", "--confirm", "7"];
    place.ok(attribute.iter().chain(&["--positions", "io=io_pos,s2=s2_pos,end", "--out", "strongest"]));
    let (mut rows, _) = read_rows::<AttributionRow>(place.path("strongest/attribution.parquet")).unwrap();
    assert_eq!(rows.iter().filter(|row| row.exact.is_some()).count(), 7);
    rows.sort_by(|a, b| b.strength.total_cmp(&a.strength));
    let least = rows[6].strength;
    assert!(rows.iter().all(|row| row.exact.is_some() == (row.strength >= least)), "{least}");
}

/// What is patched at once is said in rows and titles where it is some of the positions or layers, and nowhere else.
#[test]
fn what_is_patched_at_once_is_said() -> pellucid::Result<()> {
    let place = Place::new();
    let pair = [&["patch"][..], &GIVERS, &["--at", "z", "-q"]].concat();
    let cases: [(&[&str], Option<&str>); 6] = [
        (&["--over", "layer,head"], None),
        (&["--over", "layer,head", "--positions", "io=Mary,end"], Some("positions io, end")),
        (&["--over", "layer,head", "--pos", "9"], Some("position 9")),
        (&["--over", "layer,head", "--pos", "-3--1"], Some("positions -3--1")),
        (&["--over", "head", "--layers", "0-2", "--pos", "9,-1"], Some("layers 0-2, positions 9, -1")),
        (&["--over", "layer,pos", "--layers", "0-2", "--pos", "9"], None),
    ];
    for (i, (more, said)) in cases.into_iter().enumerate() {
        let out = format!("r{i}");
        let shown = place.ok(pair.iter().chain(more).chain(&["--out", &out])).stdout;
        let (rows, _) = read_rows::<PatchRow>(place.path(&out).join("patch.parquet"))?;
        assert!(rows.iter().all(|row| row.done.at_once.as_deref() == said), "{more:?}: {:?}", rows[0].done);
        if let Some(said) = said {
            assert!(shown.contains(&format!(" of {said}")), "{more:?}: {shown}");
        }
        assert_eq!(shown.contains("at once:"), said.is_some(), "{more:?}: {shown}");
    }
    Ok(())
}
