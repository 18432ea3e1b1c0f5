//! What the library gives is what the command line writes.

use std::fs;

use pellucid::analysis::attribute::Attribute;
use pellucid::analysis::lens::Lens;
use pellucid::analysis::loss::Loss;
use pellucid::analysis::patch::{Grid, Kind, Metric, Over, Patch, Patching};
use pellucid::analysis::path::{Path, Reading};
use pellucid::error::{ErrorKind, Piece, Said};
use pellucid::session::Session;
use pellucid::table::Row;
use pellucid::table::{Table, read_rows};

use crate::bin::Place;

const CLEAN: &str = "When Mary and John went to the store, John gave a drink to";
const CORRUPT: &str = "When Mary and John went to the store, Mary gave a drink to";

/// The arguments for a pair.
const PAIR: [&str; 8] = ["--clean", CLEAN, "--corrupt", CORRUPT, "--answer", " Mary", "--foil", " John"];

fn demo() -> Session {
    Session::open("demo").unwrap()
}

/// The table, written by the library, is the file that the command leaves.
#[track_caller]
fn same_as<R: Row>(table: &Table<R>, command: &[&str]) {
    let place = Place::new();
    place.ok(command.iter().copied());
    let by_command = place.only_run().join(format!("{}.parquet", R::TABLE.name));
    let by_library = place.path("library.parquet");
    table.write(&by_library).unwrap();
    assert!(!table.rows().is_empty(), "{command:?}: no rows");
    assert_eq!(table.provenance().command[2..], command[1..], "{command:?}: another command");
    let (rows, made) = read_rows::<R>(&by_command).unwrap();
    assert_eq!(table.provenance(), &made, "{command:?}: made otherwise");
    assert!(rows.iter().map(Row::cells).eq(table.rows().iter().map(Row::cells)), "{command:?}: other rows");
    let [library, command_line] = [by_library, by_command].map(|path| fs::read(path).unwrap());
    assert!(library == command_line, "{command:?}: other bytes");
}

/// Invariant: A table that the library writes is, byte for byte, the file of the command that asks for the same.
#[test]
fn the_library_writes_the_bytes_of_the_command() {
    let session = demo();
    let prompts = [session.prompt(CLEAN).unwrap(), session.prompt("- and so").unwrap()];
    let lens =
        Lens { top: Some(2), target: Some(" Mary".into()), pos: Some(vec![0.into(), (-1).into()]), ..Lens::default() };
    let (table, _) = session.run(&lens, &prompts).unwrap();
    let options = ["--pos", "0,-1", "--top", "2", "--target", " Mary"];
    same_as(&table, &[&["lens"], &options[..], &["--", CLEAN, "- and so"]].concat());
    let (tokens, each, mean) = session.run(&Loss::default(), &prompts).unwrap();
    same_as(&tokens, &["loss", "--", CLEAN, "- and so"]);
    same_as(&each, &["loss", "--", CLEAN, "- and so"]);
    same_as(&mean, &["loss", "--", CLEAN, "- and so"]);

    let pair = session.pair(" Mary", CLEAN).against(" John", CORRUPT).unwrap();
    let patch = Patch { grid: Grid::of("z", &[Over::Layer, Over::Head]), ..Patch::default() };
    let (table, means) = session.run(&patch, std::slice::from_ref(&pair)).unwrap();
    same_as(&table, &[&["patch"], &PAIR[..], &["--at", "z", "--over", "layer,head"]].concat());
    assert_eq!(means.rows(), [], "one pair has no means");
    let path =
        Path { reading: Reading { to: "3.mlp".into(), together: true, ..Reading::default() }, ..Path::default() };
    let (table, _) = session.run(&path, std::slice::from_ref(&pair)).unwrap();
    same_as(&table, &[&["path"], &PAIR[..], &["--to", "3.mlp", "--together"]].concat());
    let attribute = Attribute { qk_fix: true, confirm: 3, ..Attribute::default() };
    let (table, _) = session.run(&attribute, &[pair]).unwrap();
    same_as(&table, &[&["attribute"], &PAIR[..], &["--qk-fix", "--confirm", "3"]].concat());
}

#[test]
fn how_a_session_was_loaded_is_part_of_its_command() {
    let session = Session { memory_bytes: 40_000_000, ..demo() };
    let pair = session.pair("#7", "#1,2,3").alone().unwrap();
    let how = Patching { kind: Kind::Zero, seed: 3, ..Patching::default() };
    let how = Patching { metric: vec![Metric::Prob, Metric::Logit], ..how };
    let patch = Patch { how, ..Patch::default() };
    let (table, _) = session.run(&patch, &[pair]).unwrap();
    let answer = session.spell(7);
    same_as(
        &table,
        &[
            "patch", "--memory", "40MB", "--clean", "#1,2,3", "--answer", &answer, "--kind", "zero", "--seed", "3",
            "--metric", "prob,logit",
        ],
    );
}

#[test]
fn several_pairs_are_numbered_and_have_means() {
    let session = demo();
    let pairs = [(" Mary", CLEAN, " John", CORRUPT), (" John", CORRUPT, " Mary", CLEAN)]
        .map(|(answer, clean, foil, corrupt)| session.pair(answer, clean).against(foil, corrupt).unwrap());
    let patch = Patch { grid: Grid::of("resid_pre", &[Over::Layer]), ..Patch::default() };
    let (table, means) = session.run(&patch, &pairs).unwrap();
    let of: Vec<(u32, &str)> = table.rows().iter().map(|row| (row.pair, &*row.pair_id)).collect();
    let layers = session.model.spec().n_layers();
    let wanted: Vec<(u32, &str)> = (0..2 * layers).map(|i| [(0, "0"), (1, "1")][i / layers]).collect();
    assert_eq!(of, wanted);
    assert_eq!(means.rows().len(), layers);
    assert!(means.rows().iter().all(|row| row.measured.pairs == 2));
}

#[test]
fn a_table_is_rows_columns_and_views() {
    let session = demo();
    let (table, _) = session.run(&Lens::default(), &[session.prompt(CLEAN).unwrap()]).unwrap();
    let batch = table.record_batch().unwrap();
    assert_eq!(batch.num_rows(), table.rows().len());
    let names: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, pellucid::analysis::LensRow::TABLE.columns.iter().map(|c| c.name).collect::<Vec<_>>());
    assert_eq!(batch.schema_ref().metadata()["pellucid"], table.provenance().to_json());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lens.parquet");
    table.write(&path).unwrap();
    assert_eq!(read_rows::<pellucid::analysis::LensRow>(&path).unwrap().0, table.rows());
    let names: Vec<String> = table.views().unwrap().into_iter().map(|view| view.name).collect();
    assert_eq!(names, ["logit_lens"]);
}

#[test]
fn what_a_session_cannot_run_is_refused_and_what_a_reader_should_know_is_said() {
    let session = Session { memory_bytes: 1000, ..demo() };
    let e = session.run(&Lens::default(), &[session.prompt(CLEAN).unwrap()]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::BadInput);
    assert!(e.message().contains("1.0 kB of memory are not enough"), "{e:?}");
    // A program can do what the error says.
    let [Piece::Give { option, value: Some(to) }, ..] = e.remedy().pieces() else { panic!("{:?}", e.remedy()) };
    let kilobytes = to.strip_suffix("KB").and_then(|n| n.parse::<usize>().ok()).expect(to);
    assert_eq!((&**option, e.hint_text()), ("memory", Some(&*format!("{}", e.remedy()))));
    let session = Session { memory_bytes: 1000 * kilobytes, ..demo() };
    session.run(&Lens::default(), &[session.prompt(CLEAN).unwrap()]).unwrap();
    let (session, said) = (demo(), std::cell::RefCell::new(vec![]));
    let lens = Lens { target: Some("Mary".into()), ..Lens::default() };
    let told = |words: &Said| said.borrow_mut().push(words.to_string());
    session.run_with(&lens, &[session.prompt(CLEAN).unwrap()], &(), &told).unwrap();
    assert!(said.borrow().iter().any(|words| words.contains("space")), "{said:?}");
}
