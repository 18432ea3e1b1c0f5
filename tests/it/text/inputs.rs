//! Prompts and pairs from where people have them: standard input, pipes, and the files of public data sets as
//! `docs/prompts.md` says.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pellucid::Result;
use pellucid::analysis::PatchRow;
use pellucid::table::read_rows;
use serde_json::{Value, json};

use crate::bin::{Done, Place};

/// The texts of the prompts that `tokens` sees, by their ids.
fn texts(done: &Done) -> Vec<(String, String)> {
    let rows: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut prompts: Vec<(String, String)> = vec![];
    for row in rows {
        let id = row["prompt_id"].as_str().unwrap().to_owned();
        if prompts.last().is_none_or(|(last, _)| *last != id) {
            prompts.push((id, String::new()));
        }
        prompts.last_mut().unwrap().1.push_str(row["text"].as_str().unwrap());
    }
    prompts
}

fn seen(place: &Place, more: &[&str]) -> Vec<(String, String)> {
    texts(&place.ok(["tokens", "-q", "--no-bos", "--format", "ndjson"].iter().chain(more)))
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

/// Runs with these bytes on standard input.
fn fed(place: &Place, input: &str, args: &[&str]) -> Done {
    let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let bytes = input.to_owned();
    let mut pipe = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || drop(pipe.write_all(bytes.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.into()
}

#[test]
fn standard_input_is_lines_of_text_unless_it_is_said() {
    let place = Place::new();
    let tokens = ["tokens", "-q", "--no-bos", "--format", "ndjson", "--prompts", "-"];
    let ok = |input: &str, more: &[&str]| {
        let done = fed(&place, input, &[&tokens[..], more].concat());
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        texts(&done)
    };
    assert_eq!(ok("Tom and Sara\n\nthe cat\n", &[]), pairs(&[("0", "Tom and Sara"), ("1", "the cat")]));
    let objects = "{\"text\": \"the cat\", \"id\": \"a\"}\n";
    assert_eq!(ok(objects, &["--prompts-format", "jsonl"]), pairs(&[("a", "the cat")]));
    assert_eq!(ok("the {cat}", &[]), pairs(&[("0", "the {cat}")]));
    assert_eq!(ok("n\tthe cat\n", &["--prompts-format", "txt"])[0].1, "n\tthe cat");
    assert_eq!(
        ok("a\tb\nx\tthe cat\n", &["--prompts-format", "tsv", "--columns", "text=b,id=a"]),
        pairs(&[("x", "the cat")])
    );
    let refused = |input: &str, more: &[&str], says: &str| {
        fed(&place, input, &[&tokens[..], more].concat()).is_refusal(input, 2, says);
    };
    // Else every object would be run as a text.
    refused(objects, &[], "stdin looks like JSON, and has no name that says how it is written");
    refused("the\n", &["--prompts-format", "jsonl"], "stdin:1: this is not JSON");
    refused("", &[], "stdin: there are no prompts in this file");
    refused("PAR1", &["--prompts-format", "parquet"], "stdin is read as parquet, which must be a file");
    refused("x", &["--prompts-format", "yaml"], "invalid value 'yaml'");
    let pair = "{\"clean_ids\": [1, 2], \"corrupt_ids\": [1, 3], \"answer_id\": 4, \"foil_id\": 5}\n";
    let patch = ["patch", "-q", "--pairs", "-", "--at", "resid_pre", "--over", "layer", "--out", "run"];
    let done = fed(&place, pair, &[&patch[..], &["--pairs-format", "jsonl"]].concat());
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    fed(&place, pair, &patch).is_refusal("no format", 2, "stdin has no name that says how it is written");
}

/// Invariant: Waiting for a pipe can be interrupted.
#[cfg(unix)]
#[test]
fn pipes_are_read_and_one_that_never_speaks_can_be_left() {
    let place = Place::new();
    let pellucid = env!("CARGO_BIN_EXE_pellucid");
    // As a shell's process substitution: a pipe under a name that says nothing.
    let script = format!(
        "'{pellucid}' tokens -q --no-bos --format ndjson --prompts <(printf 'the cat\\nTom\\n') && '{pellucid}' tokens -q --no-bos --format ndjson \
         --prompts <(printf '{{\"text\": \"Sara\"}}\\n') --prompts-format jsonl"
    );
    let done: Done = place.command("bash").args(["-c", &script]).output().unwrap().into();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let said: String = texts(&done).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("|");
    assert_eq!(said, "the cat|Tom|Sara");

    assert!(Command::new("mkfifo").arg(place.path("silent")).status().unwrap().success());
    for writer in [false, true] {
        let mut command = place.command(pellucid);
        command.args(["lens", "--prompts", "silent"]).stderr(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        // Nobody opens it, or somebody does and says nothing.
        let held = writer.then(|| fs_err::OpenOptions::new().write(true).open(place.path("silent")).unwrap());
        std::thread::sleep(Duration::from_millis(700));
        let asked = Instant::now();
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let done: Done = child.wait_with_output().unwrap().into();
        assert_eq!(done.code, Some(130), "{}", done.stderr);
        assert!(asked.elapsed() < Duration::from_secs(5) && done.stderr.contains("interrupted"), "{}", done.stderr);
        drop(held);
    }
    assert!(!place.path("runs").exists());
}

/// What `docs/prompts.md` says for a file, which must be what is tried here.
#[track_caller]
fn documented(options: &str) -> &str {
    let page =
        fs_err::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/prompts.md")).unwrap();
    assert!(page.contains(options), "docs/prompts.md does not say {options}");
    options
}

/// Invariant: Public data sets load as docs/prompts.md says.
#[test]
fn prompts_of_public_data_sets_load_as_the_page_says() -> Result<()> {
    let place = Place::new();
    let known = json!([{"known_id": 3, "subject": "Tom", "attribute": "Sara", "template": "{} gave it to", "prompt": "Tom gave it to", "relation_id": "P1"},
        {"known_id": 9, "subject": "Sara", "attribute": "Tom", "template": "{} gave it to", "prompt": "Sara gave it to", "relation_id": "P1"}]);
    let counterfact = json!([{"case_id": 0, "requested_rewrite": {"prompt": "The mother of {} is", "relation_id": "P103",
        "target_new": {"str": "Sara", "id": "Q1"}, "target_true": {"str": "Tom", "id": "Q2"}, "subject": "Ben"}, "paraphrase_prompts": ["a"]}]);
    let relation = json!({"name": "country capital city", "prompt_templates": ["The capital of {} is", "{}:"], "prompt_templates_zs": ["x {}"],
        "properties": {"relation_type": "factual"}, "samples": [{"subject": "Japan", "object": "Tokyo"}, {"subject": "Italy", "object": "Rome"}]});
    let antonym = json!([{"input": "big", "output": "small"}, {"input": "up", "output": "down"}]);
    let evals = json!({"items": [{"name": "a-b", "prompt": "The cat is ", "target": "big", "intermediates": ["x"]}]});
    let cities = "statement,label,city,country,correct_country\nThe city of Rome is in Italy.,1,Rome,Italy,Italy\n";
    /// A file, what is in it, the options, and the ids and texts of the prompts.
    type Case<'a> = (&'a str, String, &'a [&'a str], &'a [(&'a str, &'a str)]);
    let cases: [Case; 7] = [
        (
            "known_1000.json",
            format!("{known:#}"),
            &["--columns", "text=prompt,id=known_id"],
            &[("3", "Tom gave it to"), ("9", "Sara gave it to")],
        ),
        (
            "counterfact.json",
            counterfact.to_string(),
            &["--columns", "text=requested_rewrite.prompt,subject=requested_rewrite.subject,id=case_id"],
            &[("0", "The mother of Ben is")],
        ),
        (
            "country_capital_city.json",
            format!("{relation:#}"),
            &["--columns", "text=The capital of {subject} is"],
            &[("0", "The capital of Japan is"), ("1", "The capital of Italy is")],
        ),
        (
            "lambada_test.jsonl",
            "{\"text\": \"The cat sat.\"}\n{\"text\": \"Tom ran.\"}\n".into(),
            &[],
            &[("0", "The cat sat."), ("1", "Tom ran.")],
        ),
        (
            "antonym.json",
            antonym.to_string(),
            &["--columns", "text=The opposite of {input} is"],
            &[("0", "The opposite of big is"), ("1", "The opposite of up is")],
        ),
        ("cities.csv", cities.into(), &["--columns", "text=statement"], &[("0", "The city of Rome is in Italy.")]),
        (
            "lens-eval-multihop.json",
            format!("{evals:#}"),
            &["--columns", "text=prompt,id=name"],
            &[("a-b", "The cat is ")],
        ),
    ];
    for (file, content, options, expected) in cases {
        place.write(file, content);
        if let [_, columns] = options {
            documented(columns);
        }
        assert_eq!(seen(&place, &[&["--prompts", file], options].concat()), pairs(expected), "{file}");
    }
    Ok(())
}

#[test]
fn prompts_of_the_shared_data_sets_load() -> Result<()> {
    let place = Place::new();
    let file = |rel: &str| crate::shared::shared(rel).map(|path| path.display().to_string());
    for (rel, options, count, first) in [
        (
            "prompts/rome-known/known_1000.json",
            &["--columns", "text=prompt,id=known_id"][..],
            1209,
            "Vinson Massif is located in the continent of",
        ),
        ("prompts/rome-known/ioi.json", &["--columns", "text=prompt,id=case_id"], 0, ""),
        (
            "prompts/relations/factual/country_capital_city.json",
            &["--columns", "text=The capital of {subject} is"],
            24,
            "The capital of United States is",
        ),
        ("prompts/lambada/lambada_test.jsonl", &[], 5153, ""),
        ("prompts/jlens-evals/lens-eval-multihop.json", &["--columns", "text=prompt,id=name"], 0, ""),
    ] {
        let Some(path) = file(rel) else { return Ok(()) };
        let rows = seen(&place, &[&["--prompts", &path], options].concat());
        assert!(if count > 0 { rows.len() == count } else { rows.len() > 20 }, "{rel}: {}", rows.len());
        assert!(first.is_empty() || rows[0].1 == first, "{rel}: {:?}", rows[0]);
    }
    Ok(())
}

/// Invariant: as `prompts_of_public_data_sets_load_as_the_page_says`.
#[test]
fn pairs_of_public_data_sets_load_as_the_page_says() -> Result<()> {
    let place = Place::new();
    let circuits = [
        json!({"clean_prefix": "When Mary and John", "patch_prefix": "When John and John", "clean_answer": " Mary", "patch_answer": " John", "case": "x"}),
        json!({"clean_prefix": "When Mary and John ran", "patch_prefix": "When John and John", "clean_answer": " Mary", "patch_answer": " John", "case": "x"}),
        json!({"clean_prefix": "When Tom and John", "patch_prefix": "When John and John", "clean_answer": " Tom", "patch_answer": " John", "case": "x"}),
    ];
    let lines: Vec<String> = circuits.iter().map(Value::to_string).collect();
    place.write("rc_train.json", lines.join("\n"));
    place.write("list.json", json!(circuits).to_string().replace("},{", "},\n{"));
    let columns = documented("clean=clean_prefix,corrupt=patch_prefix,answer=clean_answer,foil=patch_answer");
    for file in ["rc_train.json", "list.json"] {
        let mut command = vec![
            "patch", "--pairs", file, "--columns", columns, "--at", "resid_pre", "--over", "layer", "--out", "run",
        ];
        // Quietly: before it stands the note of a field that is not used.
        place.refused(command.iter().chain(&["-q"]), 2, &format!("{file}:2: the prompts of pair"));
        command.push("--skip-misaligned");
        let done = place.ok(&command);
        let note = format!(
            "note: 1 of 3 pairs have prompts of unlike lengths and are left out: {file}:2 (6 tokens against 5)"
        );
        assert!(done.stderr.contains(&note), "{}", done.stderr);
        let (rows, _) = read_rows::<PatchRow>(place.path("run/patch.parquet"))?;
        let pairs: std::collections::BTreeSet<u32> = rows.iter().map(|row| row.pair).collect();
        assert_eq!(pairs.len(), 2);
        // The first of those that are left.
        command.extend(["--limit", "1", "--force"]);
        place.ok(&command);
        assert!(read_rows::<PatchRow>(place.path("run/patch.parquet"))?.0.iter().all(|row| row.pair == 0));
        fs_err::remove_dir_all(place.path("run")).unwrap();
    }
    // ROME's facts, with the space that a token of the answer begins with.
    let known = json!([{"known_id": 3, "subject": "Tom", "attribute": "Sara", "prompt": "Tom gave it to"}]);
    place.write("known_1000.json", known.to_string());
    let columns = documented("clean=prompt,answer= {attribute},id=known_id");
    let command = [
        "patch", "-q", "--pairs", "known_1000.json", "--columns", columns, "--at", "resid_pre", "--over", "layer",
        "--kind", "zero", "--metric", "prob", "--out", "run",
    ];
    place.ok(command);
    assert_eq!(read_rows::<PatchRow>(place.path("run/patch.parquet"))?.0[0].pair_id, "3");
    place.refused(
        ["patch", "--pairs", "rc_train.json", "--columns", "clean=clean_prefix,corrupt={nope} x"],
        2,
        "no column `nope`",
    );
    Ok(())
}

#[test]
fn pairs_that_all_have_unlike_lengths_are_refused_with_their_lines() {
    let place = Place::new();
    place.write("p.csv", "clean_ids,corrupt_ids,answer_id,foil_id\n1 2,1 2 3,4,5\n\n1 2 3,1,4,5\n");
    let command = ["patch", "--pairs", "p.csv", "--at", "resid_pre", "--skip-misaligned"];
    place.refused(command, 2, "2 of 2 pairs have prompts of unlike lengths, so there is nothing to run: p.csv:2 (2 tokens against 3), p.csv:4 (3 tokens against 1)");
    place.write("p.csv", "clean_ids,corrupt_ids,answer_id,foil_id\n1 2,\"1,,2\",4,5\n");
    place.refused(command, 2, "p.csv:2: \"1,,2\" has no token id in its place 2");
    place.write("p.csv", "clean_ids,corrupt_ids,answer_id,foil_id\n1 2,1 3,\"4,,\",5\n");
    place.refused(command, 2, "p.csv:2: \"4,,\" has no token id in its place 2");
}

/// A vocabulary is often padded: the model has rows that its tokenizer does not know, and the lens lists them.
#[test]
fn a_token_that_only_the_model_knows_is_named_by_its_id() -> Result<()> {
    let place = Place::new();
    crate::forge::vocabulary(&place, "m", 400);
    let tokenizer = crate::bin::fixture("tokenizers/json-decoder/tokenizer.json");
    place.write("m/tokenizer.json", fs_err::read(tokenizer).unwrap());
    let lens = |target: &str| {
        let done = place.ok([
            "lens", "-q", "-m", "m", "the cat", "--target", target, "--pos", "-1", "--format", "ndjson", "--top", "1",
        ]);
        let row: Value = serde_json::from_str(done.stdout.lines().last().unwrap()).unwrap();
        row
    };
    // As the lens itself lists them.
    let done = place.ok([
        "lens", "-q", "-m", "m", "the cat", "--pos", "-1", "--top", "400", "--at", "resid_post", "--format", "ndjson",
    ]);
    let listed: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(listed.iter().any(|row| row["token"] == "#395"));
    assert_eq!(lens("#395")["target_id"], 395);
    place.refused(["lens", "-m", "m", "the cat", "--target", "#400"], 2, "there is no token #400: there are 400");
    place.refused(
        ["lens", "-m", "m", "the cat", "--target", "#400"],
        2,
        "hint: the last one is #399; for the text #400, write ##400",
    );
    // Likewise for what patches are measured by, in arguments and in files.
    let patch = ["patch", "-q", "-m", "m", "--at", "resid_pre", "--over", "layer", "--out", "run", "--force"];
    let clean = ["--clean", "the cat", "--corrupt", "tt cat", "--answer", "#395", "--foil", "#399"];
    place.ok(patch.iter().chain(&clean));
    place.write("p.csv", "clean,corrupt,answer,foil\nthe cat,tt cat,#395,#399\n");
    place.ok(patch.iter().chain(&["--pairs", "p.csv"]));
    // A text that looks like an id has its first sign doubled.
    let ids = |text: &str| -> Vec<u64> {
        let done = place.ok(["tokens", "-q", "-m", "m", text, "--format", "ndjson"]);
        done.stdout.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["token_id"].as_u64().unwrap()).collect()
    };
    let [hash, one] = ids("#1")[..] else { panic!("two tokens") };
    place.refused(["lens", "-m", "m", "the cat", "--target", "##1"], 2, "\"#1\" is 2 tokens: \"#\" + \"1\"");
    assert_eq!((lens("#")["target_id"].as_u64(), lens("1")["target_id"].as_u64()), (Some(hash), Some(one)));
    let begun = |clean: &str| {
        place.ok(patch.iter().chain(&["--clean", clean, "--corrupt", "#9", "--answer", "#1", "--foil", "#2"]));
        read_rows::<PatchRow>(place.path("run/patch.parquet")).map(|(rows, _)| rows.len())
    };
    assert!(begun("#7")? > 0);
    place.refused(
        patch.iter().chain(&["--clean", "#7,,8", "--corrupt", "the", "--answer", "#1"]),
        2,
        "\"7,,8\" has no token id in its place 2",
    );
    place.refused(
        patch.iter().chain(&["--clean", "##7", "--corrupt", "#9", "--answer", "#1"]),
        2,
        "2 tokens against 1",
    );
    Ok(())
}
