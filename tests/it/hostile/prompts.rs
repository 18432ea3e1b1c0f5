//! Prompt files that are small and stand for much: they are refused before they are unfolded, within bounds that can be raised.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use pellucid::text::{Bos, Tokenizer};

use crate::bin::{Place, model};
use crate::forge;
use crate::hostile::bombs::{refused, run};
use crate::shared::shared;

/// A parquet file of one column, `batch` written `times` times into one group of rows.
fn parquet(place: &Place, name: &str, column: &str, batch: ArrayRef, times: usize) -> usize {
    let batch = RecordBatch::try_from_iter([(column, batch)]).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(usize::MAX))
        .set_dictionary_page_size_limit(1 << 30)
        .set_data_page_size_limit(1 << 30)
        .build();
    let file = fs_err::File::create(place.path(name)).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    (0..times).for_each(|_| writer.write(&batch).unwrap());
    writer.close().unwrap();
    fs_err::metadata(place.path(name)).unwrap().len() as usize
}

/// A list of `n` equal ids, `rows` times.
fn ids(rows: usize, n: usize) -> ArrayRef {
    let mut lists = ListBuilder::new(Int64Builder::new());
    for _ in 0..rows {
        lists.values().append_slice(&vec![7; n]);
        lists.append(true);
    }
    Arc::new(lists.finish())
}

fn texts(all: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(all.to_vec()))
}

const LENS: [&str; 3] = ["lens", "-m", "demo"];

/// Invariant: A file of prompts or pairs takes no more memory than allowed, whatever it expands to.
#[test]
fn parquet_files_that_unfold_are_refused() {
    let place = Place::new();
    let long = "a ".repeat(5_000_000);
    // 200 rows that name one text, which is unfolded for each.
    let shared = vec![&long[..1_000_000]; 200];
    for (name, column, batch, times, says) in [
        // A run of equal ids is a few bytes.
        (
            "ids.parquet",
            "ids",
            ids(20, 1_000_000),
            5,
            "ids.parquet would take more memory than the 1.0 GB that are allowed",
        ),
        ("one.parquet", "ids", ids(1, 20_000_000), 1, "one.parquet would take more memory"),
        ("text.parquet", "text", texts(&[&long]), 1, "this text is 9999"),
        ("shared.parquet", "text", texts(&shared), 12, "shared.parquet would take more memory"),
        (
            "rows.parquet",
            "text",
            texts(&vec!["a"; 500_000]),
            3,
            "rows.parquet has more rows than the 1000000 that are read",
        ),
    ] {
        let size = parquet(&place, name, column, batch, times);
        println!("{name}: {size} bytes");
        assert!(size < 100_000, "{name} is no bomb: {size} bytes");
        // The dictionary is unpacked, and each row has a place in it.
        let bytes = if name == "shared.parquet" { 10e6 } else { 0.0 };
        for command in [&LENS[..], &["tokens"]] {
            refused(&place, &[command, &["--prompts", name]].concat(), 2, says, bytes);
        }
    }
}

/// Invariant: as `parquet_files_that_unfold_are_refused`.
#[test]
fn bounds_can_be_raised_and_lowered() {
    let place = Place::new();
    parquet(&place, "ids.parquet", "ids", ids(100, 40), 1);
    place.write("p.txt", "a\n".repeat(30));
    place.write("p.jsonl", "{\"text\": \"a\"}\n".repeat(30));
    place.write("p.json", format!("[{}\"a\"]", "\"a\",".repeat(29)));
    place.write("p.csv", format!("text\n{}", "a\n".repeat(30)));
    place.write("p.tsv", format!("text\n{}", "a\n".repeat(30)));
    place.write("pairs.csv", format!("clean,answer_id\n{}", "Once upon,7\n".repeat(30)));
    for name in ["p.txt", "p.jsonl", "p.json", "p.csv", "p.tsv"] {
        let tokens = |more: &[&str]| place.pellucid([&["tokens", "--format", "csv", "--prompts", name], more].concat());
        assert_eq!(tokens(&["--input-rows", "30"]).code, Some(0), "{name}");
        let says = format!("{name} has more rows than the 29 that are read of a file");
        place.refused(["tokens", "--prompts", name, "--input-rows", "29"], 2, &says);
        if name != "p.txt" {
            place.refused(["tokens", "--prompts", name, "--input-bytes", "1kB"], 2, &format!("{name} would take "));
        }
    }
    place.refused(["tokens", "--prompts", "p.txt", "--input-bytes", "50"], 2, "p.txt would take ");
    place.refused(["tokens", "--prompts", "ids.parquet", "--input-rows", "99"], 2, "more rows than the 99");
    place.refused(["tokens", "--prompts", "ids.parquet", "--input-bytes", "100kB"], 2, "ids.parquet would take ");
    let all = place.ok(["tokens", "--prompts", "ids.parquet", "--input-bytes", "1MB", "--format", "ndjson"]);
    assert_eq!(all.stdout.lines().count(), 4000);
    place.refused(["ablate", "--kind", "zero", "--prompts", "p.txt", "--input-rows", "29"], 2, "p.txt has more rows");
    place.refused(
        ["patch", "--kind", "zero", "--pairs", "pairs.csv", "--input-rows", "29"],
        2,
        "pairs.csv has more rows",
    );
    // Prompts of a dataset are read as any others.
    let dataset = ["--kind", "mean", "--dataset", "p.txt", "--input-rows", "29"];
    place.refused(["ablate", "Once"].iter().chain(&dataset), 2, "p.txt has more rows");
    place.refused(["patch", "--clean", "Once", "--answer", "#7"].iter().chain(&dataset), 2, "p.txt has more rows");
    // Bounds name no other folder: they decide no number.
    let folder = |more: &[&str]| {
        let place = Place::new();
        place.write("p.txt", "Once");
        place.ok([&LENS[..], &["--prompts", "p.txt", "-q"], more].concat());
        let run = place.only_run();
        (run.file_name().unwrap().to_owned(), fs_err::read(run.join("logit_lens.parquet")).unwrap())
    };
    assert_eq!(folder(&[]), folder(&["--input-rows", "5", "--input-bytes", "1GB"]));
    assert_eq!(folder(&[]), folder(&["--insecure", "--fetch-limit", "1GB", "--offline", "--wait", "1"]));
}

/// Invariant: as `parquet_files_that_unfold_are_refused`.
#[test]
fn text_files_that_unfold_are_refused() {
    let place = Place::new();
    let name = "n".repeat(100_000);
    let inner = format!("[{}[]]", "[],".repeat(1_000_000));
    let subjects = format!("{{\"text\": \"{}\", \"s\": \"{}\"}}", "{}".repeat(100_000), "s".repeat(100_000));
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    // How often the size of the file is held: as bytes, as text, and as what there is of values.
    for (file, text, says, held) in [
        // Each list of two bytes is a value.
        ("lists.json", format!("[{}[]]", "[],".repeat(6_000_000)), "lists.json would take more memory", 2.0),
        ("objects.jsonl", format!("{{\"ids\": [{}1]}}", "1,".repeat(12_000_000)), "objects.jsonl would take ", 2.0),
        ("subjects.jsonl", subjects, "this text is ", 8.0),
        ("deep.json", deep.clone(), "this is not JSON: recursion limit exceeded", 3.0),
        ("deep.jsonl", deep, "this is not JSON: recursion limit exceeded", 3.0),
        ("empty.txt", "a\n".repeat(2_000_000), "empty.txt has more rows than the 1000000", 2.0),
        ("text.txt", "a ".repeat(2_000_000), "this text is 4000000 bytes long", 4.0),
        // A value that is shown in a message, of which 60 characters are; 96 bytes for each of its million lists.
        (
            "quoted.json",
            format!("[1, {inner}]"),
            "this is neither a string, a list of token ids nor an object: 1",
            2.0 + 2.0 * 40.0,
        ),
    ] {
        place.write(file, &text);
        let more: &[&str] = if file == "subjects.jsonl" { &["--columns", "text=text,subject=s"] } else { &[] };
        refused(&place, &[&LENS, &["--prompts", file][..], more].concat(), 2, says, held * text.len() as f64);
    }
    // The name in a header goes into each record, until the bound is reached: 100 MB here.
    place.write("names.csv", format!("{name}\n{}", "a\n".repeat(30_000)));
    let args = ["--prompts", "names.csv", "--input-bytes", "100MB"];
    refused(&place, &[&LENS, &args[..]].concat(), 2, "names.csv would take more memory than the 100.0 MB", 100e6);
    // A header of very many columns is named in part.
    place.write("wide.csv", format!("{}b\n{}1\n", "a,".repeat(100_000), "1,".repeat(100_000)));
    refused(&place, &[&LENS, &["--prompts", "wide.csv"][..]].concat(), 2, "and 99989 more", 400.0 * 100_000.0);
    // What never ends is read as far as it is allowed, into a buffer that doubles.
    let args = ["--prompts", "/dev/zero", "--prompts-format", "txt", "--input-bytes", "30MB"];
    let says = "/dev/zero would take more memory than the 30.0 MB that are allowed";
    refused(&place, &[&LENS, &args[..]].concat(), 2, says, 2.0 * 33.6e6);
}

/// Ids longer than the context are refused before each becomes a token, and exactly.
#[test]
fn ids_are_compared_with_the_context_first() {
    let place = Place::new();
    let line = |n: usize| format!("{{\"ids\": [{}1]}}", "1,".repeat(n - 1));
    place.write("long.jsonl", line(4_000_000));
    let gpt2 = model("gpt2");
    let lens = |file: &'static str| ["lens", "-m", &gpt2, "--prompts", file].map(str::to_owned);
    let args = lens("long.jsonl");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // The file twice; 72 bytes for each id while it is JSON, in a list that doubles; and the ids.
    let bytes = 4e6 * (2.0 * 2.0 + 2.0 * 72.0 + 4.0);
    refused(&place, &args, 2, "has 4000000 tokens, but this model's context is 64", bytes);
    place.write("fits.jsonl", line(64));
    place.ok(lens("fits.jsonl"));
    place.write("over.jsonl", line(65));
    place.refused(lens("over.jsonl"), 2, "has 65 tokens, but this model's context is 64");
}

/// What is said of a text before it is made into tokens is true of it after: never more tokens than there are.
#[test]
fn the_least_that_a_text_can_be_is_no_more_than_it_is() {
    let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo")];
    folders.extend(
        ["gpt2", "neox-20b", "llama2-32k"].into_iter().filter_map(|name| shared(&format!("tokenizers/{name}"))),
    );
    for folder in folders {
        let tokenizer = Tokenizer::load(&folder).unwrap().unwrap();
        // The longest tokens, again and again, are what comes nearest.
        let mut longest: Vec<String> = (0..tokenizer.vocab_size() as u32).map(|id| tokenizer.token_text(id)).collect();
        longest.sort_by_key(|text| std::cmp::Reverse(text.len()));
        let mut nearest = 0f64;
        let texts = longest.iter().take(200).map(|text| text.repeat(30));
        for text in texts.chain([" ".repeat(5000), "\n".repeat(5000), "\u{212a}".repeat(500), "e\u{301}".repeat(500)]) {
            let (least, is) = (tokenizer.least_tokens(text.len()), tokenizer.encode(&text, Bos::Never).unwrap().len());
            assert!(
                least <= is,
                "{folder:?}: {least} tokens or more are {is}: {:?}",
                &text.chars().take(40).collect::<String>()
            );
            nearest = nearest.max(least as f64 / is as f64);
        }
        println!("{folder:?}: {nearest:.2}");
        assert!(nearest > 0.2, "{folder:?}: nothing is known of how few tokens a text can be");
    }
}

/// A text that cannot fit is refused before it is made into tokens.
#[test]
fn texts_are_compared_with_the_context_first() {
    let place = Place::new();
    place.write("long.txt", "a ".repeat(950_000));
    refused(
        &place,
        &[&LENS, &["--prompts", "long.txt"][..]].concat(),
        2,
        "is 1900000 bytes of text, which are ",
        4.0 * 1.9e6,
    );
}

/// A tokenizer of single bytes makes the most of a text: a token of each.
///
/// Invariant: as `parquet_files_that_unfold_are_refused`.
#[test]
fn what_a_text_takes_while_it_is_made_into_tokens() {
    let place = Place::new();
    forge::copy(&place, "gpt2", "m");
    let model = serde_json::json!({"type": "BPE", "vocab": {"a": 0, "b": 1, "Ġ": 2}, "merges": []});
    let bytes =
        serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    place.write(
        "m/tokenizer.json",
        serde_json::json!({"model": model, "pre_tokenizer": bytes, "decoder": bytes}).to_string(),
    );
    place.write("long.txt", "a ".repeat(500_000));
    place.write("short.txt", "a ");
    let most = |file: &str| {
        let (most, done) = run(&place, &["tokens", "-m", "m", "--prompts", file]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        (most, done)
    };
    let ((short, _), (long, done)) = (most("short.txt"), most("long.txt"));
    let each = (long - short) / 1e6;
    println!("{each:.0} bytes for each byte");
    assert!(each < 500.0, "{each}");
    // The table on the terminal is cut, and says where the rest is.
    assert!(done.stderr.contains("note: 999000 more tokens are not shown; all are in --format csv"), "{}", done.stderr);
    assert_eq!(done.stdout.lines().filter(|line| line.starts_with('│')).count(), 1001);
}

/// A pipe that somebody writes to is a prompt file; one that nobody writes to is not waited for in silence.
///
/// Invariant: A pipe is read, and never waited for in silence.
#[cfg(unix)]
#[test]
fn pipes_are_read_and_waited_for_aloud() {
    let place = Place::new();
    let program = env!("CARGO_BIN_EXE_pellucid");
    assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    let rows = place.ok(["tokens", "--format", "csv", "Once upon"]).stdout;
    let bash = |script: &str| {
        let done = place.command("bash").args(["-c", script, program]).output().unwrap();
        (done.status.code(), String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, out, said) = bash("\"$0\" tokens --format csv --prompts <(echo 'Once upon')");
    assert_eq!((code, &out), (Some(0), &rows), "{said}");
    let (code, out, said) = bash("(sleep 0.2; echo 'Once upon' > pipe) & \"$0\" tokens --format csv --prompts pipe");
    assert_eq!((code, &out, &said[..]), (Some(0), &rows, ""), "a short wait needs no word");
    let begun = Instant::now();
    let spawn = |more: &[&str]| {
        let mut command = place.command(program);
        command
            .args(["tokens", "--prompts", "pipe"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let (mut waiting, mut quiet) = (spawn(&[]), spawn(&["-q"]));
    std::thread::sleep(Duration::from_secs(2));
    assert!(waiting.try_wait().unwrap().is_none() && quiet.try_wait().unwrap().is_none(), "it did not wait");
    for child in [&waiting, &quiet] {
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    }
    let (waiting, quiet) = (waiting.wait_with_output().unwrap(), quiet.wait_with_output().unwrap());
    let said = String::from_utf8(waiting.stderr).unwrap();
    assert!(said.starts_with("waiting for somebody to write to pipe; Ctrl-C ends this"), "{said}");
    assert_eq!((waiting.status.code(), quiet.status.code()), (Some(130), Some(130)), "{said}");
    assert!(!String::from_utf8(quiet.stderr).unwrap().contains("waiting"), "-q");
    assert!(begun.elapsed() < Duration::from_secs(20));
    // Standard input that is open and says nothing.
    let mut child = place
        .command(program)
        .args(["tokens", "--prompts", "-", "--format", "csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    child.stdin.take().unwrap().write_all(b"Once upon\n").unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    assert!(String::from_utf8(done.stderr).unwrap().starts_with("waiting for what is written to stdin"));
}
