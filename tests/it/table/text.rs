//! Text in stdout that another program may take for more than text: formulas in CSV, characters that a terminal obeys in JSON.

use pellucid::analysis::LensRow;
use pellucid::table::{Row, read_rows};
use serde_json::Value;

use crate::bin::{Place, model};

/// Runs the lens on prompts with these names, and gives what is on stdout.
fn lens(place: &Place, names: &[&str], more: &[&str]) -> String {
    let line = |name: &&str| serde_json::json!({"id": name, "ids": [1, 2, 3]}).to_string() + "\n";
    place.write("prompts.jsonl", names.iter().map(line).collect::<String>());
    let m = model("gpt2");
    let args = ["lens", "-q", "-m", &m, "--prompts", "prompts.jsonl", "--top", "60", "--out", "run", "--force"];
    place.ok(args.iter().chain(more)).stdout
}

fn records(csv: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// Invariant: With `--csv-safe` no text in CSV is a formula, and no text in JSON holds a control character for a terminal.
#[test]
fn csv_that_is_safe_has_no_formulas_and_its_numbers_are_numbers() {
    let place = Place::new();
    let names = ["=1+1", "+2", "-3", "@SUM(A1)", "\tx", "\ry", "plain = text", "'=1", "a,\"b\""];
    let plain = records(&lens(&place, &names, &["--format", "csv"]));
    let table = place.read("run/logit_lens.parquet");
    let safe = records(&lens(&place, &names, &["--format", "csv", "--csv-safe"]));
    // The file says the same, in its provenance too.
    assert!(place.read("run/logit_lens.parquet") == table);
    assert_eq!(plain.len(), safe.len());
    let formula = |text: &str| text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let (mut made_safe, mut negative) = (0, 0);
    for (plain, safe) in plain.iter().zip(&safe) {
        for ((column, plain), safe) in LensRow::TABLE.columns.iter().zip(plain).zip(safe) {
            match column.kind.name() {
                "string" if formula(plain) => {
                    assert_eq!(*safe, format!("'{plain}"));
                    made_safe += 1;
                }
                _ => assert_eq!(safe, plain, "{}", column.name),
            }
            negative += usize::from(column.name == "logit" && plain.starts_with('-'));
        }
    }
    let (rows, _) = read_rows::<LensRow>(place.path("run/logit_lens.parquet")).unwrap();
    assert_eq!(made_safe, rows.iter().filter(|row| formula(&row.prompt_id)).count());
    assert!(made_safe > 0 && negative > 0);
    let asked = ["lens", "--ids", "1", "--csv-safe", "--format", "json"];
    place.refused(asked, 2, "--csv-safe is about CSV, and nothing is written as CSV");
}

/// Invariant: as `csv_that_is_safe_has_no_formulas_and_its_numbers_are_numbers`.
#[test]
fn json_has_no_character_that_a_terminal_obeys() {
    let place = Place::new();
    let obeyed = "a\u{7f}b\u{80}c\u{85}d\u{9b}31me\u{9f}f\u{2028}g\u{2029}h\u{1b}[0m\u{a0}é\u{10ffff}\"\\";
    for format in ["json", "ndjson"] {
        let said = lens(&place, &[obeyed, "\u{9b}"], &["--format", format]);
        let raw = |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
        assert!(!said.contains(raw), "{said:?}");
        assert!(said.contains(
            "a\\u007fb\\u0080c\\u0085d\\u009b31me\\u009ff\\u2028g\\u2029h\\u001b[0m\u{a0}é\u{10ffff}\\\"\\\\"
        ));
        let rows: Vec<Value> = match format {
            "json" => serde_json::from_str(&said).unwrap(),
            _ => said.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        };
        let (table, _) = read_rows::<LensRow>(place.path("run/logit_lens.parquet")).unwrap();
        assert_eq!(rows.len(), table.len());
        for (row, held) in rows.iter().zip(&table) {
            assert_eq!(row["prompt_id"], held.prompt_id.as_str());
        }
        assert_eq!(rows[0]["prompt_id"], obeyed);
    }
}
