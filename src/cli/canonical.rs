//! A command written again from what was asked: in one order and with long names, so that however it was given it is the same words.

use clap::{ArgMatches, Args};

use super::command::{Asking, Given, Named};
use super::input::ReadArgs;
use crate::error::Result;
use crate::session::words::{chosen_words, command, option};
use crate::session::{Input, Results};

/// The command as provenance has it: what decides the results, in one order, however it was written.
pub(super) fn words<A: Asking>(
    analysis: &A,
    on: &A::On,
    input: &A::Input,
    matches: &ArgMatches,
) -> Result<Vec<String>> {
    let mut given = <A::On as Named>::Args::augment_args(clap::Command::new(A::NAME));
    // Of what a data set is made of, the input says how it is called wherever it lies.
    let named = on.session().filter(|_| A::RESULTS == Results::Dataset).map(|session| input.words(session));
    if named.is_none() {
        given = <A::Input as Given<A::On>>::Args::augment_args(given);
    }
    let mut undecided: Vec<String> = ReadArgs::augment_args(clap::Command::new(A::NAME))
        .get_arguments()
        .map(|arg| arg.get_id().to_string())
        .collect();
    undecided.extend((A::RESULTS == Results::Dataset).then(|| "memory".to_owned()));
    let [mut options, last] = canonical(&given, matches, &|id| !undecided.iter().any(|read| read == id));
    options.extend(named.into_iter().flat_map(|[words, _]| words));
    options.extend(chosen_words(analysis)?);
    Ok(command(A::NAME, options, last))
}

/// Those arguments of `command` that decide something, and are not what they are by themselves: options, and what comes after them.
pub(super) fn canonical(
    command: &clap::Command,
    matches: &ArgMatches,
    decides: &dyn Fn(&str) -> bool,
) -> [Vec<String>; 2] {
    let mut words = vec![];
    let mut last = vec![];
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let given = matches!(
            matches.value_source(id),
            Some(clap::parser::ValueSource::CommandLine | clap::parser::ValueSource::EnvVariable)
        );
        if !given || !decides(id) {
            continue;
        }
        if !arg.get_action().takes_values() {
            words.extend(arg.get_long().map(|long| format!("--{long}")));
            continue;
        }
        let occurrences = matches.get_raw_occurrences(id).into_iter().flatten();
        let text = |values: Vec<String>| values.join(",");
        let values: Vec<String> = occurrences
            .map(|values| text(values.map(|value| value.to_string_lossy().into_owned()).collect()))
            .collect();
        if arg.is_positional() {
            last.extend(raw(matches, id));
            continue;
        }
        let default: Vec<String> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        if values == default {
            continue;
        }
        words.extend(values.into_iter().flat_map(|value| option(arg.get_long().unwrap_or_default(), value)));
    }
    [words, last]
}

fn raw(matches: &ArgMatches, id: &str) -> Vec<String> {
    matches.get_raw(id).into_iter().flatten().map(|value| value.to_string_lossy().into_owned()).collect()
}
