//! Help: options in groups, examples that work, values that are listed, and hints that name no option that a command lacks.

use std::collections::BTreeSet;

use pellucid::cli::{analyses, asked, parses};

use crate::bin::Place;
use crate::house::tidy::{files, read, root};

/// Every line of a page of help that begins a command, with those that go on, as words.
fn examples(help: &str) -> Vec<Vec<String>> {
    let Some((_, below)) = help.split_once("Examples:\n") else { return vec![] };
    let one_line = below.replace("\\\n", " ");
    one_line.lines().filter(|line| line.starts_with("  pellucid ")).map(shell).collect()
}

/// The words of a line, up to where it goes elsewhere.
fn shell(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (vec![], String::new(), false, false);
    for c in line.trim().chars().chain([' ']) {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    let end = words.iter().position(|word| [">", "<", "|"].contains(&word.as_str())).unwrap_or(words.len());
    words.truncate(end);
    words
}

/// Invariant: Every command shows examples, and each of them is understood.
#[test]
fn every_command_has_examples_that_work() {
    let (mut n, mut checked) = (0, 0);
    for section in pellucid::cli::docs().split("\n## pellucid ").skip(1) {
        let name = section.lines().next().unwrap();
        let found = examples(section);
        assert!(!found.is_empty(), "{name} shows no example");
        for words in found {
            assert_eq!(words[1], name, "{words:?}");
            parses(&words[1..]).unwrap_or_else(|e| panic!("{words:?}: {}", e.message()));
            n += 1;
            // What names no other model and no file fits the built-in model.
            let own = |word: &String| {
                !["--corpus", "--reference", "--pairs", "--prompts"].contains(&word.as_str())
                    && !word.starts_with("runs/")
                    && !word.starts_with("./")
            };
            if analyses().any(|command| command.get_name() == name) && words.iter().all(own) {
                asked(&words[1..]).unwrap_or_else(|e| panic!("{words:?}: {}", e.message()));
                checked += 1;
            }
        }
    }
    assert!(n >= 35 && checked >= 25, "{n} {checked}");
    let place = Place::new();
    place.write("prompts.jsonl", r#"{"text": "The capital of France is", "target": " Paris"}"#);
    for name in ["tokens", "attention", "lens", "next", "hooks"] {
        let command = analyses().find(|command| command.get_name() == name).unwrap();
        let help = command.get_after_help().unwrap().to_string();
        for words in examples(&help) {
            place.ok(words[1..].iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}

/// Invariant: Every option of an analysis stands in a group.
#[test]
fn every_option_stands_in_a_group() {
    for command in analyses() {
        for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
            let group = arg.get_help_heading().unwrap_or_default();
            let groups = ["Model", "Prompts", "Input", "What", "Measure", "Sampling", "Output"];
            assert!(groups.contains(&group), "{} {}: \"{group}\"", command.get_name(), arg.get_id());
            let own = [
                ("model", "Model"),
                ("prompts", "Prompts"),
                ("clean", "Prompts"),
                ("at", "What"),
                ("layers", "What"),
                ("kind", "What"),
                ("metric", "Measure"),
                ("answer", "Measure"),
                ("out", "Output"),
                ("resume", "Output"),
            ];
            let expected = own.iter().find(|(id, _)| arg.get_id() == id).map_or(group, |(_, group)| group);
            let corpora = group == "Input" && expected == "Prompts";
            assert!(group == expected || corpora, "{} {}: \"{group}\"", command.get_name(), arg.get_id());
        }
    }
}

/// Invariant: Help and shells know the values of `--at`, `--kind`, `--over` and `--metric`, and each of them is read.
#[test]
fn values_that_have_names_are_listed() {
    let mut n = 0;
    for command in analyses() {
        for arg in
            command.get_arguments().filter(|arg| ["at", "kind", "over", "metric"].contains(&arg.get_id().as_str()))
        {
            let values = arg.get_possible_values();
            assert!(values.len() > 4, "{} {}", command.get_name(), arg.get_id());
            for value in values {
                let value = value.get_name().replace("DEVIATIONS", "3").replace("FACTOR", "2");
                let option = format!("--{}={value}", arg.get_id());
                let least: &[&str] =
                    if command.get_name() == "ablate" || command.get_name() == "lens" { &[] } else { &["--clean=x"] };
                let words = [&[command.get_name(), &option], least].concat();
                parses(&words).unwrap_or_else(|e| panic!("{words:?}: {}", e.message()));
                n += 1;
            }
        }
    }
    assert!(n > 60, "{n}");
    let script = Place::new().ok(["completions", "bash"]).stdout;
    assert!(script.contains("kl_to_clean_nats") && script.contains("mean-by-position"));
}

/// Which commands get to the errors of a place: those with this option, where no analysis is named. The longest beginning counts.
const ROOMS: &[(&str, &str)] = &[
    ("arch/", "process"),
    ("dataset/", "resume"),
    ("dataset/folder.rs", "resume"),
    ("dataset/layout.rs", "store"),
    ("dataset/merge.rs", "mixed"),
    ("model/", "process"),
    ("report/", "keep-going"),
    ("session/", "force"),
    ("session/claim.rs", "wait"),
    ("session/folder.rs", "wait"),
    ("session/pairs.rs", "align"),
    ("session/parts.rs", "resume"),
    ("session/pieces.rs", "resume"),
    ("session/plan.rs", "memory"),
    ("session/prompts.rs", "columns"),
    ("session/shards.rs", "mixed"),
    ("session/targets.rs", "target"),
    ("sweep/", "metric"),
    ("sweep/align.rs", "align"),
    ("sweep/seen.rs", "per-query-head"),
    ("text/", "model"),
    ("text/bounds.rs", "input-rows"),
    ("text/chat/", "chat"),
    ("text/corpus/", "corpus"),
    ("text/corpus/index.rs", "shuffle"),
    ("text/prompt.rs", "chat"),
    ("text/prompt_file.rs", "columns"),
    ("text/tokenizer.rs", "process"),
    ("view/", "figures"),
    ("view/chosen.rs", "dpi"),
    ("view/encode/", "dpi"),
    ("view/mod.rs", "dpi"),
    ("view/svg/", "scale"),
];

/// Analyses whose code is in another's folder too.
const SHARED: &[(&str, &[&str])] = &[("patch/swept.rs", &["patch", "path", "ablate"])];

/// What a file says as data, each with the options that it names outside of choices.
fn said(text: &str) -> Vec<(String, Vec<String>)> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut all = vec![];
    for (call, braces) in [("said(", true), ("give(", false), ("give_as(", false), ("leave_out(", false)] {
        for (at, _) in code.match_indices(call) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            let Some(rest) = code[at + call.len()..].trim_start().strip_prefix('"') else { continue };
            // One of several choices.
            let statement = &code[code[..at].rfind(';').unwrap_or(0)..at];
            if statement.contains("either(") {
                continue;
            }
            if before.is_alphanumeric() || before == '_' || before == '.' {
                continue;
            }
            let text = &rest[..rest.find('"').unwrap_or(0)];
            let outside: String = text.split(['[', ']']).step_by(2).collect();
            let names: Vec<&str> = match braces {
                true => outside.split('{').skip(1).filter_map(|part| part.split(['}', '=']).next()).collect(),
                false => vec![text],
            };
            all.push((text.to_owned(), names.iter().map(|name| name.trim_start_matches('!').to_owned()).collect()));
        }
    }
    all
}

/// Invariant: No hint names an option that the command lacks, unless it is a choice, of which what can be followed is said.
#[test]
fn no_hint_names_an_option_that_the_command_lacks() {
    // From help, which has the commands that are no analysis too.
    let page = pellucid::cli::docs();
    let commands: Vec<(&str, BTreeSet<String>)> = (page.split("\n## pellucid ").skip(1))
        .map(|section| {
            let option = |line: &str| {
                let at = line.trim_start().starts_with('-').then(|| line.split_once("--")).flatten()?.1;
                at.split([' ', ',']).next().map(|name| name.trim().replace('-', "_"))
            };
            (section.lines().next().unwrap(), section.lines().filter_map(option).collect())
        })
        .collect();
    let (mut wrong, mut n) = (vec![], 0);
    let src = root().join("src");
    for path in files(&src, ".rs") {
        let file = path.strip_prefix(&src).unwrap().display().to_string();
        for (text, options) in said(&read(&format!("src/{file}")))
            .into_iter()
            .filter(|_| !file.starts_with("error/") && !file.starts_with("cli/"))
        {
            let own = file.strip_prefix("analysis/");
            let gate = ROOMS.iter().filter(|(room, _)| file.starts_with(room)).max_by_key(|(room, _)| room.len());
            let reach = |name: &str, has: &BTreeSet<String>| match (own, gate) {
                (Some(own), _) => match SHARED.iter().find(|(room, _)| own == *room) {
                    Some((_, names)) => names.contains(&name),
                    None => own.split('/').next() == Some(name),
                },
                // `chart` has metrics of what others have measured, and measures none.
                (None, Some((room, gate))) => {
                    has.contains(&gate.replace('-', "_")) && !(name == "chart" && room.starts_with("sweep/"))
                }
                (None, None) => true,
            };
            for (name, has) in commands.iter().filter(|(name, has)| reach(name, has)) {
                n += 1;
                // Of another command, that says so; and what `model` says of all others.
                let elsewhere = text.contains("where its command has that") || file == "analysis/model/options.rs";
                let lacks = options.iter().filter(|option| !elsewhere && !has.contains(*option));
                wrong.extend(lacks.map(|option| format!("src/{file}: `{name}` has no --{option}: {text}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(n > 100, "{n}");
}

/// What hints say where a command has other options than others that get there.
#[test]
fn hints_are_those_of_the_command() {
    let place = Place::new();
    let hint = |words: &[&str]| {
        let done = place.pellucid(words);
        done.stderr
            .lines()
            .find_map(|line| line.strip_prefix("hint: "))
            .unwrap_or_else(|| panic!("{}", done.stderr))
            .to_owned()
    };
    let text = "Mary and John went";
    assert_eq!(hint(&["ablate", text, "--kind", "replace"]), "use another --kind");
    assert_eq!(
        hint(&["ablate", text, "--kind", "knock-out"]),
        "use another --kind; `pellucid patch` can, of `attn_scores`"
    );
    let either = "give it with --answer, or in the file of --pairs: --columns answer=NAME or answer_id=NAME";
    assert_eq!(hint(&["ablate", text, "--metric", "logit_diff"]), either);
    assert_eq!(hint(&["lens", text, "--at", "hook_z"]), "did you mean `z`?");
    assert_eq!(hint(&["lens", text, "--at", "blocks.0-1.hook_z"]), "did you mean `blocks.0-1.attn.hook_z`?");
    let pair = ["patch", "--clean", text, "--corrupt", "John and Mary went", "--answer", " to", "--foil", " on"];
    assert_eq!(hint(&[&pair[..], &["--keys", "1"]].concat()), "leave out --keys, or patch another site");
    place.write("table.csv", "prompt_id,pos,prob\n0,1,0.5\n");
    let said = hint(&["lens", "--prompts", "table.csv"]);
    assert!(!said.contains("ids=pos") && !said.contains("text=pos"), "{said}");
}

/// Invariant: A model that is not there is a bad request, whatever asks for it and however it is named.
#[test]
fn a_model_that_is_not_there_has_one_exit_code() {
    let place = Place::new();
    place.write("empty/x.txt", "x");
    for name in ["./none", "none/none/none", "empty", "none", "org/none@nowhere"] {
        for command in
            [&["lens", "x"][..], &["model"], &["tokens", "x"], &["cost"], &["compare", "x", "-m", "demo"], &["verify"]]
        {
            let done = place.pellucid([command, &["--offline", "-m", name]].concat());
            assert_eq!(done.code, Some(2), "{command:?} {name}: {}", done.stderr);
        }
    }
}

/// Invariant: Which hooks are meant is said by `--at` or `--hooks` in every command, and the request is the same.
#[test]
fn hooks_are_named_by_the_same_words_everywhere() {
    let text = "Mary and John";
    let pair = ["--clean", text, "--corrupt", "John and Mary", "--answer", " went", "--foil", " met"];
    for command in [
        &["lens", text][..],
        &["cache", text],
        &["generate", text],
        &[&["patch"][..], &pair].concat(),
        &[&["attribute"][..], &pair].concat(),
    ] {
        let of = |option: &str| {
            asked(&[command, &[option, "resid_post"]].concat())
                .unwrap_or_else(|e| panic!("{command:?}: {}", e.message()))
        };
        let (at, hooks) = (of("--at"), of("--hooks"));
        assert_eq!((at.request, at.command), (hooks.request, hooks.command));
    }
}

/// The pages of the manual that others refer to are there.
#[test]
fn pages_of_the_manual_refer_to_pages_that_are_installed() {
    let place = Place::new();
    place.ok(["man", "--out", "man1"]);
    let program = String::from_utf8(place.read("man1/pellucid.1")).unwrap();
    let named: Vec<&str> = program.lines().filter_map(|line| line.strip_suffix("(1)")).collect();
    assert!(named.len() > 25, "{named:?}");
    for name in named {
        let page = place.path(&format!("man1/{}.1", name.replace('\\', "")));
        assert!(page.exists(), "{name}");
    }
}
