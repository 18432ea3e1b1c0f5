//! Rows are streamed: what a command takes grows neither with the rows of its table nor, but for the prompts themselves, with
//! their number.
#![cfg(target_os = "linux")]

use std::mem::size_of;

use pellucid::analysis::{AttentionRow, AttributionRow, LensRow};

use crate::bin::Place;
use crate::session::patch_memory::measured;
use crate::session::plan_memory::{LAYERS, ids, model, planned};

/// Heads of a layer of that model.
const HEADS: usize = 8;
/// What is in no plan: buffers of threads, and what the writer and the reader of a table hold of it, which is a batch of rows and
/// the encoded pages of a row group.
const BESIDE: f64 = 40e6;
/// What each request here may have for activations.
const MEMORY: f64 = 50e6;

/// The memory that `args` take beyond what a request of one short prompt takes, and what was said.
fn beyond(place: &Place, command: &str, args: &[&str], little: &[&str]) -> (f64, String) {
    let run = |args: &[&str]| {
        let mut pellucid = place.command(env!("CARGO_BIN_EXE_pellucid"));
        measured(pellucid.args([command, "-v", "-m", "m", "--memory", "50MB", "--out", "run", "--force"]).args(args))
    };
    let ((nothing, _), (most, said)) = (run(little), run(args));
    println!("{command} {args:?}: {:.1} MB", (most - nothing) / 1e6);
    (most - nothing, said)
}

/// What is wrong with a request whose table has so many rows of so many bytes each: it takes more than its budget and a little, or
/// its plan does not say what it takes. That much must be seen if it were held.
fn unbounded(name: &str, (taken, said): (f64, String), rows: usize, row: usize) -> Option<String> {
    let held = (rows * row) as f64;
    assert!(held > 2.0 * (MEMORY + BESIDE), "{name}: {:.0} MB of rows are too few to be seen", held / 1e6);
    let wrong = taken > MEMORY + BESIDE || planned(&said) > MEMORY + BESIDE;
    wrong.then(|| format!("{name}: {:.1} MB of {:.1} MB planned", taken / 1e6, planned(&said) / 1e6))
}

/// Invariant: Memory grows neither with the number of rows in a table, drawn or printed, nor by more than two kilobytes for each
/// prompt.
#[test]
fn what_a_table_of_many_rows_takes_is_not_its_rows() {
    let place = Place::new();
    model(&place, "m");
    place.write("one.jsonl", format!("{{\"ids\": [{}]}}\n", ids(320, 1)));
    place.write("many.jsonl", (0..60).map(|i| format!("{{\"ids\": [{}]}}\n", ids(64, i))).collect::<String>());
    let pair = |n: usize| {
        let (clean, corrupt) = (ids(n, 1), format!("900,{}", ids(n - 1, 8)));
        format!("{{\"clean\": [{clean}], \"corrupt\": [{corrupt}], \"answer_id\": 5, \"foil_id\": 6}}\n")
    };
    place.write("pairs.jsonl", (0..140).map(|_| pair(16)).collect::<String>());
    place.write("pair.jsonl", pair(3));
    let little = ["--ids", "1,2,3"];
    let to_stdout = ["--prompts", "many.jsonl", "--format", "csv"];

    let mut failed = vec![];
    // Rows of the prompt that is drawn.
    let entries = LAYERS * HEADS * 320 * 321 / 2;
    let attention = beyond(&place, "attention", &["--prompts", "one.jsonl"], &little);
    failed.extend(unbounded("attention", attention, entries, size_of::<AttentionRow>()));
    // Each row has six texts, and more of a place than a figure says.
    let lens =
        beyond(&place, "lens", &["--prompts", "one.jsonl", "--top", "700"], &[&little[..], &["--top", "700"]].concat());
    failed.extend(unbounded("lens", lens, LAYERS * 320 * 700, size_of::<LensRow>()));

    // Rows of all prompts, on their way to stdout.
    let entries = 60 * LAYERS * HEADS * 64 * 65 / 2;
    let attention = beyond(&place, "attention", &to_stdout, &little);
    failed.extend(unbounded("attention to stdout", attention, entries, size_of::<AttentionRow>()));
    let lens = beyond(&place, "lens", &[&to_stdout[..], &["--top", "60"]].concat(), &little);
    failed.extend(unbounded("lens to stdout", lens, 60 * 64 * LAYERS * 60, size_of::<LensRow>()));
    // Of several pairs there is a mean for each place of one, and no more.
    let attribute = ["--pairs", "pairs.jsonl", "--at", "pattern", "--format", "ndjson"];
    let attribute = beyond(&place, "attribute", &attribute, &["--pairs", "pair.jsonl", "--at", "pattern"]);
    failed.extend(unbounded(
        "attribute to stdout",
        attribute,
        140 * LAYERS * HEADS * 16 * 17,
        size_of::<AttributionRow>(),
    ));
    assert!(failed.is_empty(), "{failed:#?}");
}

/// What each prompt may take: its tokens and names, and what is read of its line until it is tokens.
const OF_A_PROMPT: f64 = 2000.0;

/// Invariant: as `what_a_table_of_many_rows_takes_is_not_its_rows`.
#[test]
fn many_prompts_take_little_each() {
    const PROMPTS: usize = 40_000;
    let place = Place::new();
    let line = |i: usize| {
        format!("{{\"ids\": [{}]}}\n", (0..10).map(|j| ((i + j * 7) % 97).to_string()).collect::<Vec<_>>().join(","))
    };
    place.write("many.jsonl", (0..PROMPTS).map(line).collect::<String>());
    let m = crate::bin::model("gpt2");
    let run = |input: &[&str]| {
        let mut pellucid = place.command(env!("CARGO_BIN_EXE_pellucid"));
        let args = ["lens", "-m", &m, "--pos", "-1", "--top", "1", "--memory", "8MB", "--out", "run", "--force"];
        measured(pellucid.args(args).args(input)).0
    };
    let taken = run(&["--prompts", "many.jsonl"]) - run(&["--ids", "1,2,3"]);
    println!("{PROMPTS} prompts: {:.1} MB", taken / 1e6);
    assert!(taken < 8e6 + OF_A_PROMPT * PROMPTS as f64, "{:.1} MB", taken / 1e6);
}

/// The bound that is promised, at GPT-2 small's shape but for its vocabulary. Slow, and not among the tests that always run:
/// `cargo test --release -- --ignored gpt2_small`.
///
/// Invariant: as `what_a_table_of_many_rows_takes_is_not_its_rows`.
#[test]
#[ignore = "75 million rows"]
fn attention_at_gpt2_smalls_shape_takes_weights_and_budget() {
    let place = Place::new();
    crate::session::plan_memory::model_of(&place, "m", 12, 12, 768);
    let weights = fs_err::metadata(place.path("m/model.safetensors")).unwrap().len() as f64;
    place.write("one.jsonl", format!("{{\"ids\": [{}]}}\n", ids(1024, 1)));
    let mut pellucid = place.command(env!("CARGO_BIN_EXE_pellucid"));
    let args = ["attention", "-v", "-m", "m", "--prompts", "one.jsonl", "--memory", "512MB", "--out", "run"];
    let (most, said) = measured(pellucid.args(args));
    println!("{:.0} MB, of which {:.0} are weights\n{said}", most / 1e6, weights / 1e6);
    assert!(most < weights + 512e6 + 200e6, "{:.0} MB", most / 1e6);
}
