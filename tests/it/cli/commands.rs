//! The commands when all goes well: the same bytes twice, every format, every kind of prompt file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use pellucid::Result;
use pellucid::analysis::{AttentionRow, LensRow};
use pellucid::table::{Row, read_rows};
use serde_json::Value;

use crate::bin::{Place, model};
use crate::cli::refused::{lists, parquet};

/// Every result in a folder but the manifest, which has times in it.
fn results(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs_err::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let name = |p: &PathBuf| p.file_name().unwrap().to_str().unwrap().to_owned();
    files.filter(|p| !p.ends_with("manifest.json")).map(|p| (name(&p), fs_err::read(p).unwrap())).collect()
}

#[test]
fn the_same_request_gives_the_same_bytes_and_another_one_another_folder() {
    let m = model("llama");
    for (args, kinds) in [
        (&["lens", "--ids", "3,1,4,1,5"][..], &[".parquet", ".svg"][..]),
        (&["attention", "--ids", "3,1,4,1,5", "--ids", "9,2"], &[".parquet", ".svg"]),
        (&["cache", "--ids", "3,1,4,1,5", "--hooks", "*"], &[".safetensors"]),
    ] {
        let args: Vec<&str> = args.iter().copied().chain(["-m", &m]).collect();
        let (place, elsewhere) = (Place::new(), Place::new());
        place.ok(&args);
        let first = results(&place.only_run());
        for kind in kinds {
            assert!(first.keys().any(|name| name.ends_with(kind)), "{args:?} wrote {:?}", first.keys());
        }
        place.ok(&args);
        elsewhere.ok(&args);
        assert!(results(&place.only_run()) == first, "{args:?} twice is not the same");
        assert!(results(&elsewhere.only_run()) == first, "{args:?} elsewhere is not the same");
        let manifest: Value =
            serde_json::from_slice(&fs_err::read(place.only_run().join("manifest.json")).unwrap()).unwrap();
        let listed = manifest["files"].as_array().unwrap();
        assert_eq!(listed.len(), first.len());
        assert!(listed.iter().all(|f| first.contains_key(f.as_str().unwrap())), "{listed:?}");

        let run = place.only_run();
        place.ok(args.iter().copied().chain(["--ids", "7"]));
        assert_eq!(fs_err::read_dir(place.path("runs")).unwrap().count(), 2, "{args:?}");
        assert!(results(&run) == first, "{args:?} was overwritten");
    }
}

#[test]
fn a_chart_is_redrawn_from_the_table_alone() {
    let m = model("gpt2");
    for command in [&["lens", "--target", "#5"][..], &["attention", "--head", "1.2"]] {
        for prompts in [&["--ids", "3,1,4,1,5"][..], &["--ids", "3,1,4", "--ids", "1,5,9,2"]] {
            let place = Place::new();
            place.ok(command.iter().chain(prompts).chain(&["-q", "-m", &m, "--out", "out"]));
            let (means, mut drawn): (BTreeMap<_, _>, BTreeMap<_, _>) =
                results(&place.path("out")).into_iter().partition(|(name, _)| name.starts_with("logit_lens_mean"));
            assert_eq!(means.len(), if command[0] == "lens" && prompts.len() > 2 { 2 } else { 0 });
            if let (Some(table), Some(figure)) =
                (means.get("logit_lens_mean.parquet"), means.get("logit_lens_mean.svg"))
            {
                place.write("means.parquet", table);
                place.ok(["chart", "means.parquet", "--out", "means"]);
                assert!(place.read("means/logit_lens_mean.svg") == *figure);
            }
            let table = drawn.keys().find(|name| name.ends_with(".parquet")).unwrap().clone();
            let alone = Place::new();
            alone.write("renamed.parquet", drawn.remove(&table).unwrap());
            let head: &[&str] = if command[0] == "attention" { &["--head", "1.2"] } else { &[] };
            let said = alone.ok(["chart", "renamed.parquet", "--out", "figures"].iter().chain(head)).stdout;
            assert_eq!(said.lines().count(), drawn.len());
            assert!(said.lines().all(|path| alone.path(path).is_file()), "{said}");
            let redrawn = results(&alone.path("figures"));
            assert_eq!(redrawn.keys().collect::<Vec<_>>(), drawn.keys().collect::<Vec<_>>());
            assert!(redrawn == drawn, "{command:?} {prompts:?}");
        }
    }
}

/// What each format says, as one JSON object for each row.
fn parsed(format: &str, text: &str, columns: &[&str]) -> Vec<Value> {
    match format {
        "json" => serde_json::from_str(text).unwrap(),
        "ndjson" => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        "csv" => {
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), columns);
            let object = |r: csv::StringRecord| {
                columns.iter().zip(r.iter()).map(|(c, v)| ((*c).to_owned(), Value::from(v))).collect::<Value>()
            };
            reader.records().map(|r| object(r.unwrap())).collect()
        }
        _ => {
            // Columns are between bars that are not escaped.
            let cells = |line: &str| line.replace("\\|", "").matches('|').count() - 1;
            assert!(text.lines().all(|line| cells(line) == columns.len()), "{text}");
            text.lines().skip(2).map(Value::from).collect()
        }
    }
}

fn every_format<R: Row + serde::Serialize>(args: &[&str], table: &str) -> Result<()> {
    let m = model("gpt2");
    let columns: Vec<&str> = R::TABLE.columns.iter().map(|c| c.name).collect();
    for format in ["json", "ndjson", "csv", "markdown"] {
        let place = Place::new();
        let said = place.ok(args.iter().chain(&["-m", &m, "--out", "out", "--format", format])).stdout;
        let (rows, _) = read_rows::<R>(place.path("out").join(table))?;
        let parsed = parsed(format, &said, &columns);
        assert_eq!(parsed.len(), rows.len(), "{format}");
        for (parsed, row) in parsed.iter().zip(&rows) {
            // By way of text: a number is written with the digits that an f32 has.
            let row: Value = serde_json::from_str(&serde_json::to_string(row).unwrap()).unwrap();
            match format {
                "json" | "ndjson" => assert_eq!(*parsed, row),
                "csv" => {
                    for column in &columns {
                        let (got, want) = (parsed[column].as_str().unwrap(), &row[column]);
                        match want {
                            Value::Null => assert_eq!(got, ""),
                            Value::String(want) => assert_eq!(got, want),
                            Value::Number(want) if want.is_f64() => {
                                assert_eq!(got.parse::<f32>().unwrap(), want.as_f64().unwrap() as f32);
                            }
                            want => assert_eq!(got, want.to_string()),
                        }
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

#[test]
fn every_format_holds_the_rows_of_the_file() -> Result<()> {
    every_format::<LensRow>(&["lens", "--ids", "3,1,4", "--ids", "1,5", "--target", "#7"], "logit_lens.parquet")?;
    every_format::<AttentionRow>(&["attention", "--ids", "3,1,4", "--ids", "1,5"], "attention.parquet")
}

#[test]
fn talk_is_as_much_as_was_asked_for() {
    let m = model("gpt2");
    let place = Place::new();
    let talk = |args: &[&str]| place.ok(["lens", "-m", &m, "--ids", "1,2"].iter().chain(args)).stderr;
    assert_eq!(talk(&["-q"]), "");
    assert!(talk(&[]).starts_with("wrote runs/lens-") && talk(&[]).lines().count() == 1, "{}", talk(&[]));
    let loaded = format!(
        "loaded gpt2 ({m}): 9168 parameters, f32, without a tokenizer\nneeds 36.7 kB of weights (mapped), and "
    );
    assert!(talk(&["-v"]).starts_with(&loaded), "{}", talk(&["-v"]));
}

/// More prompts than are drawn: the formats for programs hold them all.
#[test]
fn many_prompts_are_all_in_the_output() -> Result<()> {
    let m = model("gpt2");
    let place = Place::new();
    place.write("p.csv", format!("ids\n{}", "1 2 3\n".repeat(50)));
    let said = place.ok(["lens", "-q", "-m", &m, "--prompts", "p.csv", "--out", "out", "--format", "ndjson"]).stdout;
    let (rows, _) = read_rows::<LensRow>(place.path("out/logit_lens.parquet"))?;
    assert_eq!((rows.len(), said.lines().count()), (50 * 3 * 2 * 5, 50 * 3 * 2 * 5));
    assert_eq!(results(&place.path("out")).len(), 21);
    let table = place.ok(["lens", "-q", "-m", &m, "--prompts", "p.csv"]).stdout;
    assert!(table.contains("... and 47 more prompts, in the files"), "{table}");
    Ok(())
}

#[test]
fn tables_in_a_format_for_programs_are_one_document() {
    let place = Place::new();
    for args in [&["tables"][..], &["tables", "attention"], &["hooks"]] {
        let json = place.ok(args.iter().chain(&["--format", "json"])).stdout;
        let rows: Vec<Value> = serde_json::from_str(&json).unwrap();
        let csv = place.ok(args.iter().chain(&["--format", "csv"])).stdout;
        assert_eq!(csv::Reader::from_reader(csv.as_bytes()).records().filter(|r| r.is_ok()).count(), rows.len());
        let markdown = place.ok(args.iter().chain(&["--format", "markdown"])).stdout;
        assert_eq!(markdown.lines().count(), rows.len() + 2);
    }
}

/// The rows of `lens` on some prompts.
fn lens(place: &Place, m: &str, prompts: &[&str]) -> Result<Vec<LensRow>> {
    place.ok(["lens", "-q", "-m", m, "--top", "3", "--out", "out", "--force"].iter().chain(prompts));
    Ok(read_rows::<LensRow>(place.path("out/logit_lens.parquet"))?.0)
}

#[test]
fn ids_from_a_file_are_those_from_the_command_line() -> Result<()> {
    let m = model("gpt2");
    let place = Place::new();
    let want = lens(&place, &m, &["--ids", "3,1,4", "--ids", "1 5 9 2", "--ids=6"])?;
    assert_eq!(want.len(), 8 * 2 * 3);
    place.write("p.jsonl", "{\"ids\": [3, 1, 4]}\n\n{\"ids\": [1, 5, 9, 2], \"more\": 1}\n{\"ids\": [6]}");
    place.write("p.csv", "ids\n3 1 4\n\"1,5,9,2\"\n6\n");
    parquet(&place, "p.parquet", vec![("ids", lists(&[&[3, 1, 4], &[1, 5, 9, 2], &[6]]))]);
    for file in ["p.jsonl", "p.csv", "p.parquet"] {
        assert!(lens(&place, &m, &["--prompts", file])? == want, "{file}");
    }
    // Both at once: the arguments come first.
    let mixed = lens(&place, &m, &["--ids", "8", "--prompts", "p.csv"])?;
    assert_eq!(mixed.len(), want.len() + 2 * 3);
    assert_eq!((mixed[0].input_token_id, mixed[6].input_token_id), (8, 3));
    let names = Arc::new(StringArray::from(vec![Some("a"), None])) as ArrayRef;
    parquet(&place, "named.parquet", vec![("id", names), ("ids", lists(&[&[3], &[1]]))]);
    let named = lens(&place, &m, &["--prompts", "named.parquet"])?;
    assert_eq!((named[0].prompt_id.as_str(), named[6].prompt_id.as_str()), ("a", "1"));
    Ok(())
}

#[test]
fn text_from_a_file_is_that_from_the_command_line() -> Result<()> {
    let m = shared_or_skip!("models/tinystories-656k").display().to_string();
    let place = Place::new();
    let texts = ["Once upon a time", " a \"big\", red ball", "Lily"];
    let want = lens(&place, &m, &texts)?;
    place.write("p.txt", texts.join("\n"));
    place.write("p.jsonl", texts.map(|t| serde_json::json!({"text": t}).to_string()).join("\r\n"));
    place.write("p.csv", "text\nOnce upon a time\n\" a \"\"big\"\", red ball\"\nLily\n");
    parquet(&place, "p.parquet", vec![("text", Arc::new(StringArray::from(texts.to_vec())))]);
    for file in ["p.txt", "p.jsonl", "p.csv", "p.parquet"] {
        assert!(lens(&place, &m, &["--prompts", file])? == want, "{file}");
    }
    Ok(())
}

#[test]
fn help_completions_and_manual_are_there_for_every_command() {
    let place = Place::new();
    let help = place.ok(["--help"]).stdout;
    assert!(place.ok(["--version"]).stdout.contains(env!("CARGO_PKG_VERSION")));
    let commands = ["lens", "attention", "tokens", "cache", "hooks", "model", "tables", "chart", "completions", "man"];
    for command in commands {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        let long = place.ok([command, "--help"]);
        assert!(
            long.stdout.contains(&format!("Usage: pellucid {command}")) && long.stderr.is_empty(),
            "{}",
            long.stdout
        );
        assert!(long.stdout.contains("--format <FORMAT>"), "{}", long.stdout);
        let page = place.ok(["man", command]).stdout;
        assert!(page.contains(".TH") && page.contains(&format!("pellucid\\-{command}")), "{page}");
    }
    assert!(place.ok(["man"]).stdout.contains(".SH SYNOPSIS"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.ok(["completions", shell]).stdout;
        assert!(commands.iter().all(|c| script.contains(c)) && script.contains("min-prob"), "{shell}");
    }
    assert!(place.contents().is_empty());
}

/// Invariant: A word of the glossary is found by each of its names in either language, and the command that shows it exists.
#[test]
fn the_glossary_says_what_words_mean() {
    use pellucid::glossary::{TERMS, find};
    let place = Place::new();
    for term in TERMS {
        assert!(place.ok([term.seen, "--help"]).stdout.contains("Usage: pellucid"), "{}: {}", term.key, term.seen);
        for name in term.en.split(", ").chain([term.key]).chain(term.zh.split('、')) {
            assert!(find(name).iter().any(|found| found.key == term.key), "{name}");
        }
        assert!(term.means.ends_with('.') && term.means_zh.ends_with('。'), "{}", term.key);
    }
    assert_eq!(find("logits").len(), 1);
    assert!(find("attention").len() == 1 && find("heads")[0].key == "head");
    let said = place.ok(["glossary", "残差流", "--lang", "both"]).stdout;
    assert!(
        said.contains("residual stream\n") && said.contains("残差流\n") && said.contains("pellucid residual"),
        "{said}"
    );
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(&place.ok(["glossary", "--format", "json"]).stdout).unwrap();
    assert_eq!(rows.len(), TERMS.len());
}
