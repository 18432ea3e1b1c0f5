//! A step of an experiment as a command: its keys are the command's options, and it is run in this process.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args};
use toml::{Table, Value};

use super::COMMANDS;
use super::args::{DrawArgs, OutArgs, ResumeArgs, ShardArgs};
use super::command::Command;
use super::misunderstood;
use super::out::Out;
use super::printed::TableArgs;
use super::serve::ServeArgs;
use crate::dataset::status;
use crate::error::{Error, Result};
use crate::report::engine::{Asked, Known, Steps};
use crate::report::keys::{a_kind, shown};
use crate::session::Results;
use crate::session::claim::was_left;
use crate::session::folder::is_whole;
use crate::session::pieces::is_begun;

/// Steps are commands.
pub(super) struct Commands<'a> {
    /// Where they talk to. The model that it keeps is that of all steps.
    pub out: &'a Out,
    /// How long they wait for another run in their folder, in seconds.
    pub wait: u64,
}

fn command(run: &str) -> Result<&'static Command> {
    let names = || COMMANDS.iter().filter(|command| command.results != Results::Screen).map(|command| command.name);
    let found = COMMANDS.iter().find(|command| command.name == run);
    match found {
        Some(command) if command.results == Results::Screen => {
            Err(Error::bad_input(format!("`{run}` leaves no results, so it can be no step"))
                .hint(format!("there are {}", names().collect::<Vec<_>>().join(", "))))
        }
        Some(command) => Ok(command),
        None => Err(Error::no_such(format!("there is no command `{run}`")).nearest_or(
            run,
            names(),
            format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        )),
    }
}

/// The names of options that are the command line's alone: they decide no result.
fn of_the_command_line() -> Vec<String> {
    let mut groups = clap::Command::new("");
    groups = DrawArgs::augment_args(ShardArgs::augment_args(ResumeArgs::augment_args(OutArgs::augment_args(groups))));
    groups = TableArgs::augment_args(ServeArgs::augment_args(groups));
    groups.get_arguments().map(|arg| arg.get_id().to_string()).collect()
}

/// What an option is called: its long name, or, of what has none, its own.
fn called(arg: &Arg) -> String {
    arg.get_long().map_or_else(|| arg.get_id().to_string(), str::to_owned)
}

/// The arguments that a step's options stand for.
fn words(command: &Command, options: &Table) -> Result<Vec<String>> {
    let clap = (command.clap)();
    let (mut words, mut last) = (vec![command.name.to_owned()], vec![]);
    let mut given: Vec<&str> = vec![];
    for (key, value) in options {
        let name = key.replace('_', "-");
        let also = |arg: &Arg| arg.get_all_aliases().is_some_and(|names| names.contains(&&*name));
        let arg = clap.get_arguments().find(|arg| called(arg).replace('_', "-") == name || also(arg));
        if arg.is_some_and(|arg| of_the_command_line().iter().any(|own| arg.get_id() == own.as_str())) {
            return Err(Error::bad_input(format!("`{key}` is no option of a step: it decides no result"))
                .hint("leave it out; the folder of a step is named after its request"));
        }
        let Some(arg) = arg else {
            let own = of_the_command_line();
            let known =
                clap.get_arguments().filter(|arg| !own.iter().any(|own| arg.get_id() == own.as_str())).map(called);
            let known: Vec<String> = known.collect();
            let hint = format!("`pellucid {} --help` lists its options", command.name);
            return Err(Error::no_such(format!("`{}` has no option `{key}`", command.name)).nearest_or(
                &name,
                known.iter().map(String::as_str),
                hint,
            ));
        };
        if given.contains(&arg.get_id().as_str()) {
            return Err(Error::bad_input(format!("`{key}` is given twice, with - and with _")).hint("leave one out"));
        }
        given.push(arg.get_id().as_str());
        let values = texts(key, value, arg)?;
        match arg.get_long() {
            None => last.extend(values),
            Some(long) if arg.get_action().takes_values() => {
                words.extend(values.iter().map(|value| format!("--{long}={value}")));
            }
            Some(long) => words.extend((!values.is_empty()).then(|| format!("--{long}"))),
        }
    }
    words.push("--".to_owned());
    words.extend(last);
    Ok(words)
}

/// A value as the arguments that it stands for: of a flag none or one.
fn texts(key: &str, value: &Value, arg: &Arg) -> Result<Vec<String>> {
    let wrong = |should: &str| {
        Error::bad_input(format!("`{key}` is {}, and should be {should}", a_kind(value)))
            .hint(format!("write {should} there"))
    };
    if !arg.get_action().takes_values() {
        return match value {
            Value::Boolean(true) => Ok(vec!["true".to_owned()]),
            Value::Boolean(false) => Ok(vec![]),
            _ => Err(wrong("true or false")),
        };
    }
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => Ok(shown(value)),
        Value::Array(_) | Value::Table(_) => Err(wrong("text, a number, or a list of them")),
    };
    let Value::Array(values) = value else { return text(value).map(|text| vec![text]) };
    let texts = values.iter().map(text).collect::<Result<Vec<_>>>()?;
    let repeated = matches!(arg.get_action(), ArgAction::Append) && arg.get_value_delimiter().is_none();
    match repeated || texts.is_empty() {
        true => Ok(texts),
        false => Ok(vec![texts.join(",")]),
    }
}

fn parsed(command: &Command, mut words: Vec<String>, more: &[String]) -> Result<ArgMatches> {
    words.splice(1..1, more.iter().cloned());
    (command.clap)().try_get_matches_from(words).map_err(|e| misunderstood(&e))
}

/// Whether all results of a request are in its folder, and nothing that a killed process left beside them.
fn is_done(command: &Command, folder: &Path, request: &str) -> bool {
    match command.results {
        Results::Dataset => folder.is_dir() && status(folder, false).is_ok_and(|found| found.complete),
        _ => is_whole(folder, request) && !was_left(folder),
    }
}

impl Steps for Commands<'_> {
    fn known(&self, run: &str) -> Result<Known> {
        let command = command(run)?;
        let clap = (command.clap)();
        let has = |id: &str| clap.get_arguments().find(|arg| arg.get_id() == id);
        Ok(Known {
            name: command.name,
            tables: command.tables.iter().map(|table| table.info().name).collect(),
            files: command.files.to_vec(),
            // What is asked of no model, or of several, has no default.
            takes_model: has("model").is_some_and(|arg| !arg.get_default_values().is_empty()),
            takes_seed: has("seed").is_some(),
        })
    }

    fn check(&self, run: &str, options: &Table) -> Result<()> {
        let command = command(run)?;
        parsed(command, words(command, options)?, &[]).map(|_| ())
    }

    fn asked(&self, run: &str, options: &Table) -> Result<Asked> {
        let command = command(run)?;
        let matches = parsed(command, words(command, options)?, &[])?;
        let asked = (command.asked)(&matches, self.out)?;
        let folder: PathBuf = Path::new("runs").join(format!("{}-{}", command.name, &asked.request[..12]));
        let whole = is_done(command, &folder, &asked.request);
        Ok(Asked { request: asked.request, command: asked.command, inputs: asked.made_of, folder, whole })
    }

    fn run(&self, run: &str, options: &Table, asked: &Asked) -> Result<()> {
        let command = command(run)?;
        let mut more = vec![format!("--out={}", asked.folder.display()), format!("--wait={}", self.wait)];
        let begun = match command.results {
            Results::Dataset => asked.folder.join("request.json").exists(),
            _ => command.resumes && is_begun(&asked.folder),
        };
        more.extend(begun.then(|| "--resume".to_owned()));
        let run = (command.run)(&parsed(command, words(command, options)?, &more)?, self.out);
        run.map_err(|e| e.fitting(&|option| command.has(option)))
    }
}
