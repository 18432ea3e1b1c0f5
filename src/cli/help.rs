//! Help as people read it: options in groups, and examples below.

use clap::Command;

/// Options that say what is measured, whichever group declares them.
const MEASURE: [&str; 8] = ["metric", "measure_at", "answer", "foil", "target", "verify", "confirm", "reference"];

/// Puts the options that have no group yet into `group`, or into the one of what is measured.
pub(super) fn grouped(command: Command, group: &'static str) -> Command {
    command.mut_args(|arg| {
        if arg.is_positional() || arg.get_help_heading().is_some() {
            return arg;
        }
        let measures = MEASURE.contains(&arg.get_id().as_str());
        arg.help_heading(if measures { "Measure" } else { group })
    })
}

/// Whether a command has this option, as a field or a flag.
pub(super) fn has(command: &Command, option: &str) -> bool {
    let called = |name: &str| name.replace('-', "_") == option;
    let of_all = ["format", "csv_safe", "quiet", "verbose", "color", "offline", "insecure", "fetch_limit"];
    let also = |arg: &clap::Arg| arg.get_all_aliases().is_some_and(|names| names.into_iter().any(called));
    let own = |arg: &clap::Arg| called(arg.get_id().as_str()) || arg.get_long().is_some_and(called) || also(arg);
    of_all.contains(&option) || command.get_arguments().any(own)
}

/// Examples of commands that are no analysis: what each is for, and its words.
const OTHERS: &[(&str, &[[&str; 2]])] = &[
    (
        "run",
        &[
            ["What an experiment would run", "pellucid run experiments/induction.toml --dry-run"],
            [
                "Run it, with another number of one step",
                "pellucid run experiments/induction.toml --set steps.heads.top=20",
            ],
        ],
    ),
    ("tables", &[["The columns of one table", "pellucid tables attention"]]),
    ("merge", &[["Join the parts in a folder", "pellucid merge runs/patch-0123456789ab"]]),
    ("status", &[["Check all that is finished of a data set", "pellucid status runs/export-0123456789ab --check"]]),
    (
        "chart",
        &[[
            "Two heads of a table of patterns",
            "pellucid chart runs/park/attention.parquet --head 1.1,2.0 --out figures",
        ]],
    ),
    ("completions", &[["For zsh, in a folder of $fpath", "pellucid completions zsh > ~/.zfunc/_pellucid"]]),
    (
        "man",
        &[
            ["Read the page of a command", "pellucid man lens | man -l -"],
            ["Install all pages", "pellucid man --out ~/.local/share/man/man1"],
        ],
    ),
];

/// The commands that are no analysis, with their examples.
pub(super) fn with_examples(mut program: Command) -> Command {
    for (name, examples) in OTHERS {
        if program.find_subcommand(name).is_some() {
            program = program.mut_subcommand(name, |command| {
                let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                command.after_help(below(&text, examples))
            });
        }
    }
    program
}

/// What stands below the options: what there is to say, then examples.
pub(super) fn below(text: &str, examples: &[[&str; 2]]) -> String {
    let examples: Vec<String> =
        examples.iter().map(|[what, command]| format!("  # {what}\n  {}", folded(command))).collect();
    match (text.is_empty(), examples.is_empty()) {
        (_, true) => text.to_owned(),
        (true, false) => format!("Examples:\n{}", examples.join("\n\n")),
        (false, false) => format!("{text}\n\nExamples:\n{}", examples.join("\n\n")),
    }
}

/// So wide a terminal shows an example as it is.
const WIDTH: usize = 76;

/// A command on several lines, as a shell takes them, where it is long: options begin them.
fn folded(command: &str) -> String {
    let (mut all, mut line) = (String::new(), 0);
    for (i, option) in command.split(" --").enumerate() {
        let part = if i == 0 { option.to_owned() } else { format!("--{option}") };
        if i > 0 && line + 1 + part.len() > WIDTH {
            all.push_str(" \\\n    ");
            line = 4;
        } else if i > 0 {
            all.push(' ');
            line += 1;
        }
        line += part.len();
        all.push_str(&part);
    }
    all
}
