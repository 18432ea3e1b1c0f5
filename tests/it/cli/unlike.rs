//! What a curious person is told and shown: that a text is unlike what the built-in model knows, and `--open`.

use std::time::{Duration, Instant};

use pellucid::analysis::AttentionRow;
use pellucid::table::read_rows;

use crate::bin::Place;

/// Invariant: Of texts that surprise the built-in model more than guessing, and of no others, it is said that it never learnt such texts.
#[test]
fn texts_that_are_unlike_what_demo_learnt_are_said() {
    let place = Place::new();
    let said =
        |args: &[&str]| place.ok(args.iter().chain(&["--out", "-"])).stderr.contains("unlike all that demo has learnt");
    let known = [
        "When Mary and John went to the store, John gave a drink to",
        "The capital of France is",
        "Once upon a time there was a little girl named Lily.",
        "Mary and John went to the",
    ];
    for text in known {
        assert!(!said(&["lens", text]), "{text}");
    }
    for text in ["The quick brown fox jumps over the lazy dog.", "I love you", "Hello world", "import numpy as np"] {
        assert!(said(&["lens", text]), "{text}");
    }
    // Whatever is asked of it; most of several; and nothing of ids, of one token, and where quiet is asked for.
    assert!(said(&["attention", "I love you"]) && said(&["loss", "I love you", "Hello world", known[0]]));
    assert!(!said(&["lens", "I love you", known[0]]) && !said(&["lens", "--ids", "5,1000,7,1200"]));
    assert!(!said(&["lens", "--ids", "5"]) && !said(&["lens", "I love you", "-q"]));
}

/// Three words or more without quotation marks are as many prompts, which is said; nothing is said of two, or of texts.
#[test]
fn words_without_quotation_marks_are_said() {
    let place = Place::new();
    let said = |args: &[&str]| place.ok(args.iter().chain(&["--out", "-"])).stderr.contains("prompts of one word each");
    assert!(said(&["lens", "The", "capital", "of", "France", "is"]));
    assert!(!said(&["lens", "Mary", "John"]) && !said(&["lens", "Once upon", "a time", "there was"]));
    assert!(!said(&["lens", "The capital of France is"]));
}

/// Invariant: Where a head looks most elsewhere is not one of the places that were named before it.
#[test]
fn elsewhere_is_neither_the_first_token_nor_the_one_before_nor_itself() {
    let place = Place::new();
    place.ok(["attention", "When Mary and John went to the store, John gave a drink to", "--out", "looks"]);
    let (rows, _) = read_rows::<AttentionRow>(place.path("looks/attention.parquet")).unwrap();
    for (layer, head) in [(0, 0), (1, 1), (2, 3)] {
        let name = format!("{layer}.{head}");
        let args = ["attention", "When Mary and John went to the store, John gave a drink to", "--head", &name];
        let stdout = place.ok(args.iter().chain(&["--out", "-"])).stdout;
        let other = |row: &&AttentionRow| {
            let own = (row.layer, row.head) == (layer, head);
            own && row.key_pos > 0 && row.key_pos != row.query_pos && row.key_pos + 1 != row.query_pos
        };
        let most = rows.iter().filter(other).max_by(|a, b| a.prob.total_cmp(&b.prob)).unwrap();
        let (query, key) = (format!("query {} ", most.query_pos), format!("key {} ", most.key_pos));
        let said = stdout.lines().find_map(|line| line.split_once("strongest elsewhere: ")).unwrap().1;
        assert!(said.contains(&query) && said.contains(&key), "{name}: {said}, not {query}{key}");
    }
}

/// `--open` gives the page, else the first figure, to the program that opens such files, and says where there is none.
#[cfg(target_os = "linux")]
#[test]
fn what_was_made_is_opened() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    place.write("bin/xdg-open", "#!/bin/sh\nprintf '%s\\n' \"$1\" >> opened.txt\n");
    std::fs::set_permissions(place.path("bin/xdg-open"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", place.path("bin").display());
    let run = |args: &[&str], path: &str| {
        let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
        let done = command.args(args).env("PATH", path).output().unwrap();
        let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
        (done.status.code(), stderr)
    };
    let opened = |n: usize| {
        let begun = Instant::now();
        loop {
            let all = std::fs::read_to_string(place.path("opened.txt")).unwrap_or_default();
            if all.lines().count() >= n || begun.elapsed() > Duration::from_secs(20) {
                return all.lines().map(str::to_owned).collect::<Vec<_>>();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let text = "The capital of France is";
    assert_eq!(run(&["lens", text, "--out", "lens", "--open"], &path).0, Some(0));
    assert_eq!(opened(1), ["lens/logit_lens.svg"]);
    assert_eq!(run(&["explain", text, "--out", "page", "--open"], &path).0, Some(0));
    assert_eq!(opened(2)[1], "page/explain.html");
    assert_eq!(run(&["chart", "lens/logit_lens.parquet", "--out", "own.pdf", "--open"], &path).0, Some(0));
    assert!(opened(3)[2].ends_with("own.pdf"));
    let (code, said) = run(&["lens", text, "--out", "none", "--figures", "none", "--open"], &path);
    assert!(code == Some(0) && said.contains("no figure to open"), "{said}");
    for nothing in [&["lens", text, "--out", "-", "--open"][..], &["tokens", text, "--open"]] {
        let (code, said) = run(nothing, &path);
        assert!(code == Some(2) && said.contains("--open"), "{nothing:?}: {said}");
    }
    // Where no program opens anything, all results are there.
    let (code, said) = run(&["lens", text, "--out", "alone", "--open"], "");
    assert!(code == Some(0) && said.contains("could open"), "{said}");
    assert!(place.path("alone/logit_lens.svg").exists());
    assert_eq!(opened(3).len(), 3);
}
