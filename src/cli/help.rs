//! Help as people read it: options in groups, and examples below.

use clap::{Args, Command};

use super::examples::examples;
use crate::sample::Sampling;

/// Options that say what is measured, whichever group declares them.
const MEASURE: [&str; 8] = ["metric", "measure_at", "answer", "foil", "target", "verify", "confirm", "reference"];

/// Puts the options that have no group yet into `group`, or into the one of what is measured.
pub(super) fn grouped(command: Command, group: &'static str) -> Command {
    // What clap would call a group from here on goes on to the options that follow.
    let sampling = Sampling::augment_args(Command::new(""));
    let draws = |id: &str| sampling.get_arguments().any(|arg| arg.get_id() == id);
    let samples = sampling.get_arguments().all(|arg| command.get_arguments().any(|own| own.get_id() == arg.get_id()));
    command.mut_args(|arg| {
        if arg.is_positional() || arg.get_help_heading().is_some() {
            return arg;
        }
        let own = match arg.get_id().as_str() {
            id if MEASURE.contains(&id) => "Measure",
            id if samples && draws(id) => "Sampling",
            _ => group,
        };
        arg.help_heading(own)
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

/// The same program, whose commands that are no analysis show their examples too.
pub(super) fn with_examples(program: Command, analyses: &[&str]) -> Command {
    program.mut_subcommands(|command| {
        if analyses.contains(&command.get_name()) {
            return command;
        }
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let own = examples(command.get_name());
        command.after_help(below(&text, own))
    })
}

/// What stands below the options: what there is to say, then examples.
pub(super) fn below(text: &str, examples: Vec<[String; 2]>) -> String {
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
