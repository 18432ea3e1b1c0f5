//! Figures are read from tables a part at a time, in whatever order the rows lie there, and have a bounded number of marks.

use crate::view::figures_of;
use std::path::Path;

use pellucid::analysis::seen::render;
use pellucid::analysis::{AttentionRow, AttributionRow, LensRow};
use pellucid::table::{Provenance, Row, TableFile, TableWriter, read_rows, read_some_rows};
use pellucid::view::Figure;

use crate::bin::{Place, model};

/// Rows in another order: every seventh, then those after them, and so on.
fn dealt<R: Clone>(rows: &[R]) -> Vec<R> {
    (0..7).flat_map(|start| rows.iter().skip(start).step_by(7).cloned()).collect()
}

fn written<R: Row>(path: &Path, rows: &[R], how: &Provenance) {
    let mut table = TableWriter::create(path, how.clone()).unwrap();
    table.extend(rows).unwrap();
    table.finish().unwrap();
}

/// Checks that the table at `name` has the figures that the command drew, in its own order and in others, from rows and from files.
fn same_in_any_order<R: Row>(place: &Place, name: &str, draw: impl Fn(&[R], &Provenance) -> Vec<Figure>) {
    let path = place.path(name);
    let (rows, how) = read_rows::<R>(&path).unwrap();
    let drawn = render(&path).unwrap();
    for figure in &drawn {
        let file = path.with_file_name(format!("{}.svg", figure.name));
        assert!(fs_err::read_to_string(file).unwrap() == figure.svg, "{}", figure.name);
    }
    let backwards: Vec<R> = rows.iter().rev().cloned().collect();
    for other in [rows.clone(), backwards, dealt(&rows)] {
        assert!(draw(&other, &how) == drawn, "{name}, from rows");
        written(&place.path("other.parquet"), &other, &how);
        assert!(render(place.path("other.parquet")).unwrap() == drawn, "{name}, from a file");
    }
}

#[test]
fn figures_are_the_same_in_whatever_order_rows_lie() {
    let m = model("gpt2");
    let place = Place::new();
    let ids = ["--ids", "3,1,4,1,5,9,2,6", "--ids", "2,7,1,8", "--ids", "5"];
    place.ok(["attention", "-m", &m, "--out", "a"].iter().chain(&ids));
    same_in_any_order::<AttentionRow>(&place, "a/attention.parquet", |rows, how| figures_of(rows, how).unwrap());
    place.ok(["attention", "-m", &m, "--min-prob", "0.2", "--out", "b"].iter().chain(&ids));
    same_in_any_order::<AttentionRow>(&place, "b/attention.parquet", |rows, how| figures_of(rows, how).unwrap());
    place.ok(["lens", "-m", &m, "--top", "30", "--target", "#5", "--out", "c"].iter().chain(&ids));
    same_in_any_order::<LensRow>(&place, "c/logit_lens.parquet", |rows, how| figures_of(rows, how).unwrap());
}

/// Sites come in the order of the table, so that other orders have other figures; but rows and file have the same.
#[test]
fn attributions_are_drawn_from_the_file_as_from_rows() {
    let place = Place::new();
    let line = |i: usize| {
        format!("{{\"clean\": [3,1,{i},1,5], \"corrupt\": [3,2,{i},1,5], \"answer_id\": 5, \"foil_id\": 6}}\n")
    };
    place.write("pairs.jsonl", (10..33).map(line).collect::<String>());
    let m = model("gpt2");
    place.ok(["attribute", "-m", &m, "--pairs", "pairs.jsonl", "--confirm", "30", "--out", "run"]);
    let (rows, how) = read_rows::<AttributionRow>(place.path("run/attribution.parquet")).unwrap();
    let drawn = render(place.path("run/attribution.parquet")).unwrap();
    assert!(drawn == figures_of(&rows, &how).unwrap());
    assert!(drawn.last().is_some_and(|figure| figure.name == "attribution-measured"));
    for figure in &drawn {
        assert!(place.read(&format!("run/{}.svg", figure.name)) == figure.svg.as_bytes(), "{}", figure.name);
    }
}

#[test]
fn any_rows_of_a_file_can_be_read() {
    let m = model("gpt2");
    let place = Place::new();
    place.ok(["attention", "-m", &m, "--ids", "1,2,3", "--out", "a"]);
    let (few, how) = read_rows::<AttentionRow>(place.path("a/attention.parquet")).unwrap();
    // More than one batch, and more than one row group.
    let rows: Vec<AttentionRow> =
        (0..300_000u32).map(|i| AttentionRow { key_pos: i, ..few[i as usize % few.len()].clone() }).collect();
    let path = place.path("long.parquet");
    written(&path, &rows, &how);
    let mut table = TableFile::<AttentionRow>::open(&path).unwrap();
    assert_eq!(table.len(), rows.len());
    let mut at = 0;
    table
        .each(&mut |row| {
            assert!(row == rows[at]);
            at += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(at, rows.len());
    for (from, n) in [(0, 1), (8191, 3), (262_140, 10), (299_999, 5), (300_000, 5), (100_000, 20_000), (5, 0)] {
        let read = read_some_rows::<AttentionRow>(&path, from, n).unwrap().0;
        assert!(read == rows[from.min(rows.len())..(from + n).min(rows.len())], "{from} {n}");
    }
}

#[test]
fn a_figure_of_many_cells_leaves_out_the_first_and_says_so() {
    let m = model("gpt2");
    let place = Place::new();
    place.ok(["lens", "-m", &m, "--ids", "1", "--top", "25", "--out", "a"]);
    let (few, how) = read_rows::<LensRow>(place.path("a/logit_lens.parquet")).unwrap();
    let figure = figures_of(&few, &how).unwrap().remove(0).svg;
    assert_eq!(few.len(), 50);
    assert_eq!(figure.matches(" and 5 more in the table").count(), 2);
    assert!(figure.contains("20. ") && !figure.contains("21. ") && !figure.contains("not drawn"));
    // Two hooks.
    let at = |pos: u32| few.iter().filter(|row| row.rank == 1).map(move |row| LensRow { pos, ..row.clone() });
    let many: Vec<LensRow> = (0..30_000).flat_map(at).collect();
    let figure = figures_of(&many, &how).unwrap().remove(0).svg;
    assert!(figure.contains("The first 5000 positions are not drawn; the table has them."));
    let cells = |pos: u32| figure.matches(&format!("position {pos} ")).count();
    assert_eq!((cells(4999), cells(5000), cells(29_999)), (0, 2, 2));
}
