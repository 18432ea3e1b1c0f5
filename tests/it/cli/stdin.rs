//! Standard input in place of a file: of prompts, pairs, data sets and corpora, in every command that takes them.

use std::collections::BTreeSet;

use crate::bin::{Done, GIVERS, Place, model};

/// Options that name a file of rows, and with which its format is said.
const OPTIONS: [&str; 4] = ["prompts", "pairs", "dataset", "corpus"];

/// What else a command needs so that it reads a file by this option; none where it has no such option.
fn more(command: &str, option: &str) -> Option<Vec<String>> {
    let models = ["gpt2", "llama"].map(model);
    let more: Vec<&str> = match (command, option) {
        ("patch" | "path" | "attribute", "pairs") => vec!["--metric", "logit"],
        ("ablate", "pairs") => vec!["--kind", "zero", "--metric", "logit"],
        ("patch" | "path", "dataset") => {
            [&["--kind", "mean"], &GIVERS[..2], &GIVERS[4..6], &["--metric", "logit"]].concat()
        }
        ("ablate", "dataset") => vec!["--kind", "mean", "--metric", "loss_nats", "Mary and John went"],
        ("neurons", "corpus") => vec!["--layers", "1", "--examples", "3", "--table", "neuron_examples"],
        ("export", "corpus") => vec!["--hooks", "resid_post"],
        ("ablate", "prompts") => vec!["--kind", "zero", "--metric", "loss_nats"],
        ("compare", "prompts") => vec!["-m", &models[0], "-m", &models[1]],
        ("cache", "prompts") => vec!["--hooks", "resid_post"],
        ("generate", "prompts") => vec!["--tokens", "3"],
        ("explain", "prompts") => vec!["--traces", "2", "--tokens", "3"],
        (
            "lens" | "loss" | "residual" | "neurons" | "next" | "position" | "attention" | "tokens" | "verify",
            "prompts",
        ) => vec![],
        _ => return None,
    };
    Some(more.into_iter().map(str::to_owned).collect())
}

/// The file by this name. One in whose place standard input stands has the name that it would have.
fn write(place: &Place, command: &str, option: &str) {
    let (a, b) =
        ("{\"id\": \"a\", \"text\": \"Mary and John went\"}\n", "{\"id\": \"b\", \"text\": \"Tom, he said\"}\n");
    let rows = match (command, option) {
        ("compare", _) => "{\"id\": \"a\", \"ids\": [3, 5, 7]}\n{\"id\": \"b\", \"ids\": [4, 5]}\n".to_owned(),
        ("explain", _) => a.to_owned(),
        (_, "pairs") => {
            "{\"id\": \"x\", \"clean\": \"Mary and John\", \"corrupt\": \"John and Mary\", \"answer\": \" went\"}\n"
                .into()
        }
        (_, "corpus") => [a, b].concat().repeat(3),
        // A mean has to have a value at each position.
        (_, "dataset") => format!("{{\"text\": \"{}\"}}\n{{\"text\": \"{}\"}}\n", GIVERS[1], GIVERS[3]),
        _ => [a, b].concat(),
    };
    place.write("stdin.jsonl", rows);
}

/// Runs it with the file as standard input.
fn piped(place: &Place, args: &[String]) -> Done {
    let file = std::fs::File::open(place.path("stdin.jsonl")).unwrap();
    place.command(env!("CARGO_BIN_EXE_pellucid")).args(args).stdin(file).output().unwrap().into()
}

/// Invariant: What stands in a file of prompts, pairs, a data set or a corpus can come by standard input, `-`, in every command that takes
/// one: the same is printed.
#[test]
fn what_is_read_of_a_file_is_read_of_standard_input() {
    let mut walked = BTreeSet::new();
    for clap in pellucid::cli::analyses() {
        let command = clap.get_name().to_owned();
        for option in OPTIONS.iter().filter(|option| clap.get_arguments().any(|arg| arg.get_long() == Some(option))) {
            let what = format!("{command} --{option}");
            let more = more(&command, option).unwrap_or_else(|| panic!("what does {what} need?"));
            let place = Place::new();
            write(&place, &command, option);
            // What is a folder or a file is one.
            let out = if matches!(&*command, "cache" | "explain" | "export") { "out" } else { "-" };
            let run = |from: &[&str]| -> Vec<String> {
                let all = [&[&*command, "--format", "ndjson", "--out", out], from].concat();
                // A data set that is there is made again.
                let again = (out == "out").then(|| "--force".to_owned());
                all.into_iter().map(str::to_owned).chain(more.iter().cloned()).chain(again).collect()
            };
            let (named, format) = (format!("--{option}"), format!("--{option}-format"));
            let file = place.ok(run(&[&named, "stdin.jsonl"]));
            let stdin = piped(&place, &run(&[&named, "-", &format, "jsonl"]));
            assert_eq!(stdin.code, Some(0), "{what}: {}", stdin.stderr);
            assert!(stdin.stdout == file.stdout && !file.stdout.is_empty(), "{what}: {} {}", file.stdout, stdin.stdout);
            walked.insert(*option);
        }
    }
    assert_eq!(walked.len(), OPTIONS.len());
}

/// Invariant: as `what_is_read_of_a_file_is_read_of_standard_input`.
#[test]
fn standard_input_is_one_thing() {
    let place = Place::new();
    place.write("stdin.jsonl", "{\"text\": \"Mary and John\"}\n");
    let refused = |args: &[&str], says: &str| {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        piped(&place, &args).is_refusal(&args.join(" "), 2, says);
        assert!(!place.path("runs").exists());
    };
    let twice = "standard input is given for two things, and can be read once";
    refused(&["neurons", "--prompts", "-", "--corpus", "-"], twice);
    refused(&["neurons", "--corpus", "-", "--corpus", "-"], twice);
    let mean = ["ablate", "--kind", "mean", "--metric", "loss_nats", "--dataset", "-"];
    refused(&[&mean[..], &["--prompts", "-", "--prompts-format", "jsonl"]].concat(), twice);
    // Whose format it is that is missing.
    refused(&[&mean[..], &["Mary and John went"]].concat(), "--dataset-format jsonl");
    refused(
        &["export", "--hooks", "z", "--corpus", "stdin.jsonl", "--corpus-format", "txt"],
        "leave out --corpus-format",
    );
    // A document that cannot be read is at its place.
    place.write("stdin.jsonl", "{\"text\": \"Mary\"}\n{\"text\": 3}\n");
    refused(&["export", "--hooks", "z", "--corpus", "-", "--corpus-format", "jsonl"], "stdin");
}
