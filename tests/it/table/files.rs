//! Tables: what is written is read back, the same twice, and a bad file is one clear sentence.

use pellucid::analysis::{AttentionRow, HookRow, LensRow, ModelRow, TokenRow, docs, tables};
use pellucid::error::ErrorKind;
use pellucid::table::read::{Most, Values, read_columns};
use pellucid::table::{ColumnType, Format, Provenance, Row, TableWriter, read_provenance, read_rows, write_rows};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn token(pos: u32, text: &str) -> TokenRow {
    TokenRow {
        prompt: 0,
        prompt_id: "first".into(),
        model: "demo".into(),
        pos,
        token_id: pos + 7,
        piece: text.replace(' ', "Ġ"),
        text: text.into(),
        byte_start: (pos > 0).then_some(pos * 4),
        byte_end: (pos > 0).then_some(pos * 4 + 4),
        special: pos == 0,
        bytes: text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        group: Some(pos),
        chars: text.chars().count() as u32,
        is_partial: false,
        starts_word: Some(pos == 0),
        part: (pos == 1).then(|| "user".into()),
    }
}

fn lens(pos: u32) -> LensRow {
    LensRow {
        prompt: 0,
        prompt_id: "0".into(),
        hook: "blocks.0.hook_resid_post".into(),
        layer: Some(0),
        pos,
        input_token: " a".into(),
        input_token_id: 64,
        next_token: None,
        next_token_id: None,
        rank: 1,
        token: " b|c\n".into(),
        token_id: 65,
        logit: 12.25,
        prob: 0.1 + pos as f32 / 3.0,
        entropy_bits: 3.5,
        kl_to_final_bits: 1e-5,
        target: Some("\u{202e}x".into()),
        target_id: Some(9),
        target_rank: Some(40),
        target_logit: Some(-1.5),
        target_prob: Some(0.001),
        foil: None,
        foil_id: None,
        foil_logit: None,
        foil_prob: None,
        logit_diff: None,
    }
}

fn provenance() -> Provenance {
    Provenance {
        model: "demo".into(),
        weights_hash: "blake3:00".into(),
        spec: serde_json::json!({"layers": 2, "a": {"z": 1, "b": [2]}}),
        dtype: "f32".into(),
        device: "cpu".into(),
        command: vec!["pellucid".into(), "lens".into(), "a \"b\"\n".into()],
        complete: true,
        ..Provenance::default()
    }
}

fn write<R: Row>(folder: &Path, name: &str, rows: &[R]) -> PathBuf {
    let mut writer = TableWriter::create(folder.join(name), provenance()).unwrap();
    writer.extend(rows).unwrap();
    writer.finish().unwrap()
}

fn text<R: Row>(rows: &[R], format: Format) -> String {
    let mut out = Vec::new();
    write_rows(rows, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Refuses nothing.
const ALL: Most<'static> = Most { rows: &|_| Ok(()), size: &|_| Ok(()) };

#[test]
fn what_is_written_is_read_back() {
    let folder = TempDir::new().unwrap();
    let rows: Vec<_> = (0..20_000).map(|i| token(i, " the")).collect();
    let path = write(folder.path(), "tokens.parquet", &rows);
    let (back, how) = read_rows::<TokenRow>(&path).unwrap();
    assert_eq!(back, rows);
    assert_eq!((how.table.as_str(), how.table_version), ("tokens", 3));
    assert_eq!(how.pellucid_version, env!("CARGO_PKG_VERSION"));
    assert_eq!((how.model, how.spec, how.command), (provenance().model, provenance().spec, provenance().command));

    let rows: Vec<_> = (0..3).map(lens).collect();
    assert_eq!(read_rows::<LensRow>(write(folder.path(), "l.parquet", &rows)).unwrap().0, rows);
    let empty: [AttentionRow; 0] = [];
    assert_eq!(read_rows::<AttentionRow>(write(folder.path(), "e.parquet", &empty)).unwrap().0, empty);
}

/// Invariant: The same rows give the same bytes, in tables and figures.
#[test]
fn the_same_rows_give_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    let rows: Vec<_> = (0..9_000).map(lens).collect();
    let a = std::fs::read(write(folder.path(), "a.parquet", &rows)).unwrap();
    let b = std::fs::read(write(folder.path(), "b.parquet", &rows)).unwrap();
    assert!(a == b);
    let c = std::fs::read(write(folder.path(), "c.parquet", &rows[1..])).unwrap();
    assert!(a != c);
}

/// Invariant: A file is written whole or not at all.
#[test]
fn an_unfinished_writer_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("t.parquet");
    let mut writer = TableWriter::<TokenRow>::create(&path, provenance()).unwrap();
    for i in 0..10_000 {
        writer.push(&token(i, "x")).unwrap();
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(!path.exists());
    drop(writer);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_stopped_run_can_say_so() {
    let folder = TempDir::new().unwrap();
    let mut writer = TableWriter::<TokenRow>::create(folder.path().join("t.parquet"), provenance()).unwrap();
    writer.push(&token(0, "x")).unwrap();
    writer.provenance_mut().complete = false;
    assert!(!read_provenance(writer.finish().unwrap()).unwrap().complete);
}

#[cfg(unix)]
#[test]
fn a_table_has_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let path = write(folder.path(), "t.parquet", &[token(0, "x")]);
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&plain));
}

#[test]
fn a_bad_destination_is_an_error_with_a_hint() {
    let folder = TempDir::new().unwrap();
    let fail = |path: &Path| TableWriter::<TokenRow>::create(path, provenance()).err().unwrap();
    let e = fail(folder.path());
    assert!(e.message().contains("is a folder") && e.hint_text().is_some(), "{e:?}");
    let e = fail(&folder.path().join("no/such/t.parquet"));
    assert!(e.hint_text().unwrap().contains("make it first"), "{e:?}");
}

#[test]
fn a_bad_file_is_an_error_with_a_hint() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let good = write(folder.path(), "t.parquet", &(0..100).map(|i| token(i, "x")).collect::<Vec<_>>());
    let bytes = std::fs::read(&good).unwrap();
    let check = |path: &Path, says: &str| {
        let e = read_rows::<TokenRow>(path).err().unwrap_or_else(|| panic!("no error: {says}"));
        assert!(e.message().contains(says), "{e:?} does not say {says}");
        assert!(e.hint_text().is_some(), "{e:?}");
        e.kind()
    };
    assert_eq!(check(&at("none.parquet"), "there is no file"), ErrorKind::NoSuch);
    check(folder.path(), "is a folder");
    std::fs::write(at("text"), "prompt\nhello there\n").unwrap();
    check(&at("text"), "is not a parquet file");
    std::fs::write(at("empty"), "").unwrap();
    check(&at("empty"), "is not a parquet file");
    std::fs::write(at("marks"), "PAR1PAR1").unwrap();
    check(&at("marks"), "cut short");
    std::fs::write(at("short"), &bytes[..bytes.len() - 9]).unwrap();
    check(&at("short"), "cut short");
    let e = read_rows::<AttentionRow>(&good).err().unwrap();
    assert!(e.message().contains("holds the table `tokens`, not `attention`"), "{e:?}");

    let newer = String::from_utf8_lossy(&bytes).contains("\"table_version\":3");
    assert!(newer, "the provenance is plain JSON in the file");
    let mut patched = bytes.clone();
    let at_version = find(&patched, b"\"table_version\":3") + 16;
    patched[at_version] = b'9';
    std::fs::write(at("newer"), &patched).unwrap();
    check(&at("newer"), "holds version 9 of the table `tokens`; this program knows version 3");
}

#[test]
fn a_damaged_file_never_panics() {
    let folder = TempDir::new().unwrap();
    let good = write(folder.path(), "t.parquet", &(0..200).map(|i| token(i, "some text")).collect::<Vec<_>>());
    let bytes = std::fs::read(&good).unwrap();
    let path = folder.path().join("damaged");
    for at in (4..bytes.len() - 4).step_by(bytes.len() / 150) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x5a;
        std::fs::write(&path, &damaged).unwrap();
        let _ = read_rows::<TokenRow>(&path);
    }
}

#[test]
fn prompt_files_are_read_by_column() {
    let folder = TempDir::new().unwrap();
    let path = write(folder.path(), "t.parquet", &[token(0, "a"), token(1, " b")]);
    let columns = read_columns(&path, &["text", "ids", "pos"], &ALL).unwrap();
    assert_eq!(columns[0], ("text".into(), Values::Text(vec![Some("a".into()), Some(" b".into())])));
    assert_eq!(columns[1], ("pos".into(), Values::Integers(vec![Some(0), Some(1)])));
    assert_eq!(columns.len(), 2);
    let e = read_columns(&path, &["texts", "ids"], &ALL).unwrap_err();
    assert_eq!(e.hint_text(), Some("rename `text` to `texts`"));
    assert!(e.message().contains("has no column named `texts` or `ids`; it has `prompt`, "), "{e:?}");
    let e = read_columns(&path, &["special"], &ALL).unwrap_err();
    assert!(e.message().contains("column `special` has the type boolean"), "{e:?}");
}

#[test]
fn lists_of_ids_are_read_whatever_their_width() {
    use arrow_array::builder::{Int64Builder, ListBuilder};
    use arrow_array::{ArrayRef, RecordBatch};
    use std::sync::Arc;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ids.parquet");
    let save = |lists: &[Option<Vec<i64>>]| {
        let mut ids = ListBuilder::new(Int64Builder::new());
        for list in lists {
            ids.append_option(list.as_ref().map(|l| l.iter().copied().map(Some)));
        }
        let batch = RecordBatch::try_from_iter([("ids", Arc::new(ids.finish()) as ArrayRef)]).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    };
    save(&[Some(vec![1, 50256]), None, Some(vec![])]);
    let columns = read_columns(&path, &["ids"], &ALL).unwrap();
    assert_eq!(columns[0].1, Values::Ids(vec![Some(vec![1, 50256]), None, Some(vec![])]));
    save(&[Some(vec![3]), Some(vec![-1])]);
    let e = read_columns(&path, &["ids"], &ALL).unwrap_err();
    assert!(e.message().contains("row 1 of column `ids` holds -1"), "{e:?}");
    let e = read_rows::<TokenRow>(&path).unwrap_err();
    assert!(e.message().contains("not a table of pellucid"), "{e:?}");
}

/// A file that claims to be the table `model`, with these columns.
fn forge(path: &Path, columns: Vec<(&str, arrow_array::ArrayRef)>) {
    let batch = arrow_array::RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    );
    let batch = batch.unwrap();
    let mut how = provenance();
    (how.table, how.table_version) = ("model".into(), 1);
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let json = serde_json::to_string(&how).unwrap();
    writer.append_key_value_metadata(parquet::file::metadata::KeyValue::new("pellucid".to_owned(), json));
    writer.close().unwrap();
}

#[test]
fn a_changed_table_is_an_error_that_names_the_column() {
    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use std::sync::Arc;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("m.parquet");
    let text = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
    let fails = |columns: Vec<(&str, ArrayRef)>| {
        forge(&path, columns);
        let e = read_rows::<ModelRow>(&path).unwrap_err();
        assert!(e.hint_text().is_some());
        e.message().split_once(": ").unwrap().1.to_owned()
    };
    let some = || text(vec![Some("a"), Some("b")]);
    assert_eq!(fails(vec![("property", some())]), "column `value` should have the type string, but does not exist");
    let numbers = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let says = fails(vec![("property", some()), ("value", numbers)]);
    assert_eq!(says, "column `value` should have the type string, but has the type int64");
    let says = fails(vec![("property", text(vec![None, Some("b")])), ("value", some())]);
    assert_eq!(says, "column `property` has a missing value, and may have none");
    // Columns in another order, and more of them, are still the table.
    forge(&path, vec![("value", some()), ("more", some()), ("property", text(vec![Some("x"), Some("y")]))]);
    let rows = read_rows::<ModelRow>(&path).unwrap().0;
    assert_eq!((rows[1].property.as_str(), rows[1].value.as_str()), ("y", "b"));
}

#[test]
fn other_programs_find_units_and_provenance() {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let folder = TempDir::new().unwrap();
    let path = write(folder.path(), "l.parquet", &[lens(0)]);
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let field = reader.schema().field_with_name("entropy_bits").unwrap();
    assert_eq!(field.metadata().get("unit").map(String::as_str), Some("bits"));
    assert!(field.metadata().get("meaning").is_some_and(|m| m.starts_with("entropy of")));
    let how: Provenance = serde_json::from_str(reader.schema().metadata().get("pellucid").unwrap()).unwrap();
    assert_eq!(how.table, "logit_lens");
    // pyarrow takes the schema's metadata from the arrow schema alone.
    let file = reader.metadata().file_metadata();
    let arrow: Vec<_> =
        file.key_value_metadata().unwrap().iter().filter(|kv| kv.key == "ARROW:schema").cloned().collect();
    let schema = parquet::arrow::parquet_to_arrow_schema(file.schema_descr(), Some(&arrow)).unwrap();
    assert!(schema.metadata().get("pellucid").is_some());
}

#[test]
fn exact_formats_hold_every_value() {
    let rows = [lens(0), lens(1)];
    assert_eq!(serde_json::from_str::<Vec<LensRow>>(&text(&rows, Format::Json)).unwrap(), rows);
    let lines: Vec<LensRow> =
        text(&rows, Format::Ndjson).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, rows);
    let none: [LensRow; 0] = [];
    assert_eq!(text(&none, Format::Json), "[]\n");

    let csv_text = text(&rows, Format::Csv);
    let mut csv = csv::Reader::from_reader(csv_text.as_bytes());
    let names: Vec<_> = LensRow::TABLE.columns.iter().map(|c| c.name).collect();
    assert_eq!(csv.headers().unwrap().iter().collect::<Vec<_>>(), names);
    let records: Vec<_> = csv.records().map(|r| r.unwrap()).collect();
    assert_eq!(records.len(), 2);
    assert_eq!(&records[1][10], " b|c\n");
    assert_eq!(records[1][13].parse::<f32>().unwrap(), rows[1].prob);
}

/// Invariant: as `hostile_tokens_are_shown_not_obeyed`.
#[test]
fn formats_for_reading_make_tokens_visible() {
    for format in [Format::Table, Format::Markdown] {
        let out = text(&[lens(0), lens(1)], format);
        assert!(!out.contains(['\u{202e}', '\u{1b}', '\t']), "{out}");
        assert!(out.contains("·b"), "{out}");
    }
    let out = text(&[lens(0), lens(1)], Format::Markdown);
    assert_eq!(out.lines().count(), 4);
    assert!(out.contains(r"·b\|c↵") && out.contains(r"\\u{202e}x"), "{out}");
    let out = text(&[lens(0), lens(1)], Format::Table);
    assert!(out.contains("·b|c↵") && out.contains(r"\u{202e}x") && out.contains("1.00e-5"), "{out}");
    assert!(!out.contains("next_token"), "a column of nulls is left out:\n{out}");
    assert_eq!(out.lines().count(), 6);
}

#[test]
fn prose_keeps_its_spaces() {
    let hook = HookRow {
        hook: "hook_embed".into(),
        axes: "t d".into(),
        shape: "t x 128".into(),
        writable: true,
        meaning: "the token embedding".into(),
    };
    let out = text(&[hook], Format::Table);
    assert!(out.contains("t x 128") && out.contains("the token embedding"), "{out}");
    let fact = ModelRow { property: "layers".into(), value: "12".into() };
    assert_eq!(fact.cells().len(), 2);
}

#[test]
fn every_table_is_declared_once_and_documented() {
    let names: Vec<_> = tables().map(|t| t.name).collect();
    assert_eq!(
        names,
        [
            "logit_lens", "logit_lens_mean", "loss", "loss_prompt", "loss_mean", "residual", "residual_heads",
            "residual_mean", "neurons", "neuron_layers", "neuron_vocab", "neuron_stats", "neuron_examples",
            "neuron_cards", "candidates", "next", "choices", "traces", "generated", "position_decay",
            "position_layers", "position_vectors", "position_cosines", "position_waves", "position_rotary",
            "position_alibi", "position_boards", "attention", "heads", "head_pairs", "head_svd", "head_circuit",
            "patch", "patch_mean", "path", "path_mean", "attribution", "attribution_mean", "tokens", "token_merges",
            "token_counts", "token_letters", "embed_neighbors", "embed_norms", "embed_analogy", "embed_map", "cost",
            "cost_total", "cost_measured", "compare_spec", "compare_parameters", "compare_models", "compare_positions",
            "compare_bytes", "compare_runs", "compare_columns", "explain", "export_stats", "export_documents", "hooks",
            "model", "verify", "verify_reference", "training", "tables", "glossary"
        ]
    );
    for table in tables() {
        assert!(table.about.ends_with('.'), "{}", table.name);
        for (i, column) in table.columns.iter().enumerate() {
            assert!(!column.meaning.is_empty(), "{}.{}", table.name, column.name);
            assert!(table.columns[..i].iter().all(|c| c.name != column.name), "{}.{}", table.name, column.name);
        }
    }
    let prob = LensRow::TABLE.columns.iter().find(|c| c.name == "target_prob").unwrap();
    assert_eq!((prob.kind, prob.nullable, prob.unit), (ColumnType::F32, true, "probability"));
}

/// Invariant: as `the_page_of_commands_is_what_help_says`.
#[test]
fn the_documentation_is_what_the_declarations_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tables.md");
    if std::env::var_os("PELLUCID_BLESS").is_some() {
        std::fs::write(&path, docs()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == docs(), "docs/tables.md is stale: run this test with PELLUCID_BLESS=1");
}

fn find(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).position(|w| w == needle).unwrap()
}
