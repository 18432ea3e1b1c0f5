//! Two runs of one analysis: joins against naive ones, keys as tables declare them, and what cannot be joined.

use std::collections::BTreeMap;

use pellucid::Result;
use pellucid::analysis::lens::Lens;
use pellucid::analysis::loss::{LossPromptRow, LossRow};
use pellucid::analysis::patch::rows::PatchRow;
use pellucid::analysis::{AttentionRow, CompareColumnsRow, CompareRunsRow, CostRow, CostTotalRow, LensRow, tables};
use pellucid::session::Analysis;
use pellucid::table::{Cell, ColumnType, Row, read_rows};

use crate::bin::{GIVERS, Place};

/// A cell as a key or a number is compared.
fn text(cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".into(),
        Cell::U32(x) => x.to_string(),
        Cell::U64(x) => x.to_string(),
        Cell::I64(x) => x.to_string(),
        Cell::F32(x) => x.to_string(),
        Cell::F64(x) => x.to_string(),
        Cell::Bool(x) => x.to_string(),
        Cell::Str(x) => (*x).to_owned(),
    }
}

fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::U32(x) => Some(f64::from(*x)),
        Cell::U64(x) => Some(*x as f64),
        Cell::I64(x) => Some(*x as f64),
        Cell::F32(x) => Some(f64::from(*x)),
        Cell::F64(x) => Some(*x),
        _ => None,
    }
}

/// Joins the table of `R` in two folders naively, and compares with what was written in `out`.
fn check<R: Row>(place: &Place, [a, b]: [&str; 2], keys: &[&str], out: &str) -> Result<usize> {
    let table = R::TABLE;
    assert_eq!(table.keys().iter().map(|key| key.name).collect::<Vec<_>>(), keys, "{}", table.name);
    let file = |folder: &str| place.path(&format!("{folder}/{}.parquet", table.name));
    let (first, second) = (read_rows::<R>(file(a))?.0, read_rows::<R>(file(b))?.0);
    let at = |name: &str| table.columns.iter().position(|column| column.name == name).unwrap();
    let key = |row: &R| {
        let cells = row.cells();
        keys.iter().map(|name| text(&cells[at(name)])).collect::<Vec<_>>()
    };
    let mut partners: BTreeMap<Vec<String>, &R> = BTreeMap::new();
    for row in &second {
        assert!(partners.insert(key(row), row).is_none(), "{}: {:?} is there twice", table.name, key(row));
    }
    let all = read_rows::<CompareRunsRow>(place.path(&format!("{out}/compare_runs.parquet")))?.0;
    let mut found = all.iter().filter(|row| row.table == table.name);
    let numbers: Vec<usize> = (0..table.columns.len())
        .filter(|i| {
            let column = &table.columns[*i];
            let kind = !matches!(column.kind, ColumnType::Str | ColumnType::Bool);
            kind && column.unit != "vocabulary id" && !keys.contains(&column.name)
        })
        .collect();
    let (mut matched, mut sizes) = (0, BTreeMap::<&str, (u64, f64, f64)>::new());
    for row in &first {
        let Some(partner) = partners.get(&key(row)) else { continue };
        matched += 1;
        let (x, y) = (row.cells(), partner.cells());
        for i in &numbers {
            let (Some(x), Some(y)) = (number(&x[*i]), number(&y[*i])) else { continue };
            let row = found.next().unwrap_or_else(|| panic!("{}: too few rows", table.name));
            assert_eq!((row.value_reference, row.value, row.difference), (x, y, y - x), "{} {}", table.name, row.keys);
            assert_eq!((&*row.column, &*row.unit), (table.columns[*i].name, table.columns[*i].unit));
            let sum = sizes.entry(table.columns[*i].name).or_default();
            *sum = (sum.0 + 1, sum.1 + (y - x), f64::max(sum.2, (y - x).abs()));
        }
    }
    assert!(found.next().is_none(), "{}: too many rows", table.name);
    let columns = read_rows::<CompareColumnsRow>(place.path(&format!("{out}/compare_columns.parquet")))?.0;
    for row in columns.iter().filter(|row| row.table == table.name) {
        assert_eq!([row.rows_reference, row.rows, row.matched], [first.len(), second.len(), matched].map(|n| n as u64));
        assert_eq!((row.only_reference, row.only), (row.rows_reference - row.matched, row.rows - row.matched));
        let (n, sum, largest) = sizes.get(&*row.column).copied().unwrap_or_default();
        assert_eq!(row.compared, n, "{}", row.column);
        assert_eq!(row.largest_difference.map_or(0.0, f64::abs), largest, "{}", row.column);
        if n > 0 {
            let mean = row.mean_difference.unwrap();
            assert!((mean - sum / n as f64).abs() <= 1e-12 * (sum.abs() + 1.0), "{}: {mean}", row.column);
            let means = row.mean.unwrap() - row.mean_reference.unwrap();
            assert!((mean - means).abs() <= 1e-9 * (row.mean.unwrap().abs() + 1.0), "{}: {mean} {means}", row.column);
            assert!(row.correlation.is_none_or(|r| r.abs() <= 1.0 + 1e-9), "{}", row.column);
        }
    }
    Ok(matched)
}

/// Invariant: Two runs are joined as a naive join on the keys that their tables declare joins them; rows without a partner are counted.
#[test]
fn runs_are_joined_as_a_naive_join_does() -> Result<()> {
    let place = Place::new();
    place.write(
        "a.jsonl",
        "{\"id\":\"x\",\"text\":\"When Mary and John went home\"}\n{\"id\":\"y\",\"text\":\"Tom met Sara\"}\n",
    );
    place.write(
        "b.jsonl",
        "{\"id\":\"x\",\"text\":\"When John and Mary went home\"}\n{\"id\":\"z\",\"text\":\"Tom\"}\n{\"id\":\"w\",\"text\":\"Sara\"}\n",
    );
    for name in ["a", "b"] {
        for analysis in ["loss", "lens"] {
            place.ok([analysis, "--prompts", &format!("{name}.jsonl"), "--out", &format!("{analysis}-{name}")]);
        }
        let tokens = if name == "a" { "8,16" } else { "16,32" };
        place.ok(["cost", "--context", tokens, "--out", &format!("cost-{name}")]);
        let kind = if name == "a" { "replace" } else { "zero" };
        let kind = ["--kind", kind];
        let over = ["patch", "--at", "z", "--over", "layer,head"];
        place.ok([&over[..], &GIVERS, &kind, &["--out", &format!("patch-{name}")]].concat());
    }
    let compare = |analysis: &str| {
        let [a, b] = ["a", "b"].map(|name| format!("{analysis}-{name}"));
        let done = place.ok(["compare", &a, &b, "--out", &format!("compared-{analysis}")]);
        assert!(!done.stderr.contains("in their order"), "{}", done.stderr);
        done
    };
    let done = compare("loss");
    assert!(done.stderr.contains("rows matched, "), "{}", done.stderr);
    assert!(done.stdout.contains("have no partner"), "{}", done.stdout);
    let matched = check::<LossRow>(&place, ["loss-a", "loss-b"], &["prompt", "prompt_id", "pos"], "compared-loss")?;
    // Of the second prompts, neither the name nor the text is the same.
    assert_eq!(
        matched,
        read_rows::<LossRow>(place.path("loss-a/loss.parquet"))?.0.iter().filter(|r| r.prompt == 0).count()
    );
    check::<LossPromptRow>(&place, ["loss-a", "loss-b"], &["prompt", "prompt_id"], "compared-loss")?;
    compare("lens");
    let keys = ["prompt", "prompt_id", "hook", "layer", "pos", "rank"];
    assert!(check::<LensRow>(&place, ["lens-a", "lens-b"], &keys, "compared-lens")? > 10);
    compare("cost");
    check::<CostRow>(&place, ["cost-a", "cost-b"], &["pass", "tokens", "part", "layer"], "compared-cost")?;
    assert_eq!(check::<CostTotalRow>(&place, ["cost-a", "cost-b"], &["pass", "tokens"], "compared-cost")?, 2);
    compare("patch");
    let place_of = [
        "site", "layer", "head", "kv_head", "neuron", "pos", "query_pos", "key_pos", "position_name",
        "key_position_name",
    ];
    let keys = [&["pair", "pair_id"], &place_of[..], &["metric"]].concat();
    assert!(check::<PatchRow>(&place, ["patch-a", "patch-b"], &keys, "compared-patch")? > 4);
    for figure in ["compared-loss/compare_runs-loss", "compared-patch/compare_runs-patch"] {
        let svg = String::from_utf8(place.read(&format!("{figure}.svg"))).unwrap();
        roxmltree::Document::parse(&svg).unwrap();
    }
    // A table alone is as good as its folder.
    place.ok(["compare", "loss-a/loss.parquet", "loss-b", "--out", "alone"]);
    check::<LossRow>(&place, ["loss-a", "loss-b"], &["prompt", "prompt_id", "pos"], "alone")?;
    // What cannot be joined.
    place.refused(["compare", "loss-a", "lens-a"], 2, "loss-a is a run of `loss`, and lens-a one of `lens`");
    place.refused(["compare", "loss-a", "loss-a"], 2, "are the same run");
    place.refused(["compare", "loss-a", "loss-c"], 2, "there is no run loss-c");
    place.refused(["compare", "loss-a"], 2, "it is not said what is to be compared");
    place.refused(["compare", "loss-a", "loss-b", "cost-a"], 2, "it is not said what is to be compared");
    place.refused(["compare"], 2, "it is not said what is to be compared");
    place.refused(["compare", "loss-a", "a.jsonl"], 2, "a.jsonl is not a parquet file");
    let empty = place.path("empty");
    fs_err::create_dir(&empty)?;
    place.refused(["compare", "loss-a", "empty"], 2, "empty has no table");
    Ok(())
}

/// Invariant: The key of every table is declared: coordinates come first, and those that are named exist.
#[test]
fn every_table_declares_its_key() {
    for table in tables() {
        for name in table.keyed_by {
            assert!(table.columns.iter().any(|column| column.name == *name), "{} has no {name}", table.name);
        }
        let keys = table.keys();
        // Of a table with one row nothing need be said.
        assert!(!keys.is_empty() || ["loss_mean"].contains(&table.name), "{} has no key", table.name);
        for key in keys {
            assert!(!matches!(key.kind, ColumnType::F32 | ColumnType::F64 | ColumnType::Bool), "{}", table.name);
        }
    }
    let keys = |table: &pellucid::table::TableInfo| table.keys().iter().map(|key| key.name).collect::<Vec<_>>();
    let attention = ["prompt", "prompt_id", "layer", "head", "kv_head", "query_pos", "key_pos"];
    assert_eq!(keys(AttentionRow::TABLE), attention);
    assert_eq!(Lens::NAME, "lens");
}
