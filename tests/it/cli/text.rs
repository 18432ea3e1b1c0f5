//! Text that is made to break out: markup, quotes, newlines, emoji, right-to-left overrides, escape sequences.

use pellucid::Result;
use pellucid::analysis::{AttentionRow, LensRow};
use pellucid::table::read_rows;
use serde_json::{Value, json};

use crate::bin::{Done, Place, is_unprintable};

const HOSTILE: &str = "<script>alert(\"x\")</script> it's \"q\" & a,b|c\n\t\r\n👩\u{200d}🚀 \u{202e}olleh\u{202c} \u{1b}[31mred\u{7}\u{0}\u{ffff}";
const NAME: &str = "<b id='x'>\"n\"\n,|\u{202e}\u{1b}[2J";

/// A place with the hostile prompt in a file, since an argument cannot hold a NUL.
fn place() -> Place {
    let place = Place::new();
    place.write("p.jsonl", json!({"text": HOSTILE, "id": NAME}).to_string());
    place
}

/// Well-formed, without anything that runs or that is drawn out of order.
fn check_svg(path: &std::path::Path) {
    let svg = fs_err::read_to_string(path).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for node in document.descendants().filter(|n| n.is_element()) {
        assert!(!matches!(node.tag_name().name(), "script" | "b" | "foreignObject"), "{}", path.display());
        assert!(node.attributes().all(|a| !a.name().starts_with("on") && a.name() != "id"), "{}", path.display());
    }
    let words = svg.replace('\n', "");
    assert!(!words.chars().any(is_unprintable), "{}: {words:?}", path.display());
    let provenance = document
        .descendants()
        .find(|n| n.has_tag_name((document.root_element().tag_name().namespace().unwrap(), "desc")));
    assert!(provenance.unwrap().text().unwrap().contains("tinystories-656k"));
}

fn check_terminal(done: &Done) {
    for (what, text) in [("stdout", &done.stdout), ("stderr", &done.stderr)] {
        assert!(!text.replace('\n', "").chars().any(is_unprintable), "{what}: {text:?}");
    }
}

#[test]
fn hostile_text_is_shown_and_never_obeyed() -> Result<()> {
    let m = shared_or_skip!("models/tinystories-656k").display().to_string();
    for command in ["lens", "attention", "tokens"] {
        for format in ["table", "json", "ndjson", "csv", "markdown"] {
            let place = place();
            let done = place.ok([command, "-m", &m, "--prompts", "p.jsonl", "--out", "out", "--format", format]);
            let mut figures = 0;
            for entry in fs_err::read_dir(place.path("out"))? {
                let path = entry?.path();
                if path.extension().is_some_and(|e| e == "svg") {
                    check_svg(&path);
                    figures += 1;
                }
            }
            assert_eq!(
                figures,
                [("lens", 1), ("attention", 2), ("tokens", 2)].iter().find(|c| c.0 == command).unwrap().1
            );
            let rows = match command {
                "lens" => values(&read_rows::<LensRow>(place.path("out/logit_lens.parquet"))?.0),
                "attention" => values(&read_rows::<AttentionRow>(place.path("out/attention.parquet"))?.0),
                _ => values(&read_rows::<pellucid::analysis::TokenRow>(place.path("out/tokens.parquet"))?.0),
            };
            assert!(rows.iter().all(|r| r["prompt_id"] == NAME));
            match format {
                "json" => assert_eq!(serde_json::from_str::<Vec<Value>>(&done.stdout).unwrap(), rows),
                "ndjson" => {
                    let parsed: Vec<Value> = done.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
                    assert_eq!(parsed, rows);
                }
                "csv" => {
                    let mut reader = csv::Reader::from_reader(done.stdout.as_bytes());
                    let header = reader.headers().unwrap().clone();
                    let records: Vec<csv::StringRecord> = reader.records().map(|r| r.unwrap()).collect();
                    assert_eq!(records.len(), rows.len());
                    for (record, row) in records.iter().zip(&rows) {
                        for (column, cell) in header.iter().zip(record) {
                            let want = row[column].as_str();
                            assert!(want.is_none_or(|want| want == cell), "{column}: {cell:?} instead of {want:?}");
                        }
                    }
                }
                "markdown" => {
                    check_terminal(&done);
                    assert!(!done.stdout.contains('<'), "{}", done.stdout);
                    assert_eq!(done.stdout.lines().count(), rows.len() + 2);
                }
                _ => check_terminal(&done),
            }
        }
    }
    Ok(())
}

fn values<R: serde::Serialize>(rows: &[R]) -> Vec<Value> {
    rows.iter().map(|r| serde_json::from_str(&serde_json::to_string(r).unwrap()).unwrap()).collect()
}

#[test]
fn the_pieces_of_a_hostile_text_cover_every_byte_of_it() -> Result<()> {
    // Its tokenizer falls back to bytes, so nothing is unknown to it.
    let m = shared_or_skip!("models/stories260k").display().to_string();
    let place = place();
    let rows: Vec<Value> =
        serde_json::from_str(&place.ok(["tokens", "-m", &m, "--prompts", "p.jsonl", "--format", "json"]).stdout)
            .unwrap();
    let mut end = 0;
    let mut text = String::new();
    for row in &rows {
        let (Some(from), Some(to)) = (row["byte_start"].as_u64(), row["byte_end"].as_u64()) else { continue };
        assert_eq!(from, end, "{row}");
        end = to;
        text.push_str(row["text"].as_str().unwrap());
    }
    assert_eq!(end as usize, HOSTILE.len());
    // What is text by itself reads back exactly.
    assert!(text.trim_start().starts_with("<script>alert(\"x\")</script> it's \"q\" & a,b|c\n"), "{text:?}");
    Ok(())
}

#[test]
fn a_hostile_path_is_shown_and_never_obeyed() {
    let m = crate::bin::model("gpt2");
    let place = Place::new();
    let out = "a\u{1b}[31m\u{202e}\nb<script>";
    let done = place.ok(["lens", "-m", &m, "--ids", "1,2", "--out", out]);
    check_terminal(&done);
    assert!(place.path(out).join("logit_lens.parquet").is_file());
    let printed = place.ok(["chart", "-q", &format!("{out}/logit_lens.parquet")]).stdout;
    assert_eq!(printed, format!("{out}/logit_lens.svg\n"));
    place.refused(["lens", "-m", &format!("./{out}/nope"), "--ids", "1"], 2, "\\u{202e}");
    place.refused(["chart", &format!("{out}/nope")], 2, "\\u{202e}");
    place.refused(["lens", "-m", &m, "--ids", "1", "--prompts", out], 2, "\\u{202e}");
    place.refused(["cache", "-m", &m, "--ids", "1", "--hooks", out], 2, "\\u{202e}");
    place.refused(["tables", out], 2, "\\u{202e}");
}

#[test]
fn the_model_sees_pieces_of_strawberry_and_no_letters() -> Result<()> {
    let m = shared_or_skip!("models/tinystories-656k").display().to_string();
    let place = Place::new();
    let done = place.ok(["tokens", "-m", &m, "strawberry"]);
    let first = done.stdout.lines().next().unwrap();
    let pieces: Vec<&str> = first.split('|').collect();
    assert!(pieces.len() > 2 && pieces.concat().ends_with("strawberry"), "{first}");
    assert!(pieces.iter().all(|p| !p.contains("strawberry")), "{first}");
    assert!(done.stdout.contains("10 characters are "), "{}", done.stdout);
    assert!(done.stdout.contains("the model sees their ids and no letters"), "{}", done.stdout);
    assert!(place.contents().is_empty());
    Ok(())
}

#[test]
fn bos_is_as_it_was_asked_for() -> Result<()> {
    let m = shared_or_skip!("models/stories260k").display().to_string();
    let place = Place::new();
    let ids = |args: &[&str]| -> Vec<(u64, bool)> {
        let done = place.ok(["tokens", "-m", &m, "--format", "json", "Once upon"].iter().chain(args));
        let rows: Vec<Value> = serde_json::from_str(&done.stdout).unwrap();
        rows.iter().map(|r| (r["token_id"].as_u64().unwrap(), r["byte_start"].is_null())).collect()
    };
    let (plain, with, without) = (ids(&[]), ids(&["--bos"]), ids(&["--no-bos"]));
    assert_eq!(with[0], (1, true));
    assert_eq!(with[1..], without);
    assert!(without.iter().all(|(id, added)| *id != 1 && !added));
    assert!(plain == with || plain == without);
    // Shown where it was added, in what is run as well.
    let done = place.ok(["lens", "-q", "-m", &m, "--bos", "--format", "ndjson", "Once upon"]);
    let first: Value = serde_json::from_str(done.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((first["input_token_id"].as_u64(), first["pos"].as_u64()), (Some(1), Some(0)));
    Ok(())
}
