//! The command line: arguments in, one library call, words out. stdout is data, stderr is talk.

mod args;
mod canonical;
mod chart;
mod charted;
mod command;
mod corpus;
mod dataset;
mod embedded;
mod environment;
mod examples;
mod explained;
mod figure;
mod found;
mod given;
mod glossary;
mod help;
mod input;
mod kept;
mod kinds;
mod listed;
mod opened;
mod out;
mod piped;
mod printed;
mod run;
mod serve;
mod several;
mod shell;
mod signals;
mod step;
mod tables;
mod unlike;
mod wait;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;

use clap::error::ErrorKind as ClapKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::analysis::analyses;
use crate::error::{Error, Result};
use crate::limits;
use crate::limits::starved::was_said;
use crate::table::Format;
pub use command::Asked;
use out::Out;

/// See inside a Transformer: hooks on every activation, logit lens and attention, as tables and figures.
#[derive(Debug, Parser)]
#[command(name = "pellucid", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    talk: args::Talk,
}

/// What is no analysis.
#[derive(Debug, Subcommand)]
enum Other {
    Run(run::RunCommand),
    Tables(tables::TablesCommand),
    Merge(dataset::MergeCommand),
    Status(dataset::StatusCommand),
    Chart(chart::Chart),
    Glossary(glossary::Glossary),
    Completions(shell::Completions),
    Man(shell::Man),
}

macro_rules! commands {
    ($($analysis:ty),* $(,)?) => {
        &[$(command::Command::of::<$analysis>()),*]
    };
}

/// The command of each analysis.
const COMMANDS: &[command::Command] = analyses!(commands);

/// The whole command line.
fn program() -> clap::Command {
    let program = COMMANDS.iter().fold(Cli::command(), |program, command| program.subcommand((command.clap)()));
    // What is said of the rest is not what is said of the program.
    let about = program.get_about().cloned().unwrap_or_default();
    let program = Other::augment_subcommands(program).about(about).long_about(None::<&str>);
    help::with_examples(program, &COMMANDS.iter().map(|command| command.name).collect::<Vec<_>>())
}

/// Runs the program on the process's own arguments.
pub fn main() -> ExitCode {
    match limits::stack::check() {
        Ok(()) => parsed(),
        Err(e) => {
            Out::bare().error(&e);
            ExitCode::from(e.exit_code())
        }
    }
}

/// What needs a stack, apart from what makes sure that there is one.
#[inline(never)]
fn parsed() -> ExitCode {
    // SAFETY: the first thing that the program does; nothing has started a thread.
    unsafe { environment::forget_what_is_for_libraries() };
    crate::ops::memory::keep_freed_pages();
    if limits::room().is_some() {
        crate::ops::memory::share_one_heap();
    }
    crate::guard::silence_guarded_panics();
    signals::size_limit_is_an_error();
    limits::starved::say_instead_of_panics(
        "a smaller --memory or shorter prompts may do; or allow more memory: ulimit -v, ulimit -d",
    );
    let read = program().try_get_matches().and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match read {
        Ok(read) => read,
        // Help that nobody asked for goes to stderr.
        Err(e) if e.kind() == ClapKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = e.print();
            return ExitCode::from(e.exit_code() as u8);
        }
        // Help and version are data.
        Err(e) if !e.use_stderr() => return ended(&Out::bare(), out::help(&e)),
        Err(e) => {
            let e = misunderstood(&e);
            Out::bare().error(&e);
            return ExitCode::from(e.exit_code());
        }
    };
    let out = Out::new(&cli.talk);
    // Whatever a panic was in the middle of is not looked at again.
    match catch_unwind(AssertUnwindSafe(|| run(&cli, &matches, &out))) {
        Ok(outcome) => ended(&out, outcome),
        Err(_) if was_said() => ExitCode::FAILURE,
        Err(panic) => resume_unwind(panic),
    }
}

/// Says what went wrong, if anything did, and gives the exit code.
fn ended(out: &Out, outcome: Result<()>) -> ExitCode {
    match outcome {
        // What is missing was said where it was wanted.
        _ if was_said() => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(e) if out::is_closed_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            out.error(&e);
            ExitCode::from(signals::exit_code(&e))
        }
    }
}

fn run(cli: &Cli, matches: &ArgMatches, out: &Out) -> Result<()> {
    if let Some(said) = limits::threads::start()? {
        out.note(said);
    }
    if cli.talk.csv_safe && cli.talk.format != Format::Csv {
        return Err(Error::bad_input("--csv-safe is about CSV, and nothing is written as CSV").hint("add --format csv"));
    }
    let Some((name, of_command)) = matches.subcommand() else { return Ok(()) };
    let command = COMMANDS.iter().find(|command| command.name == name);
    if cli.talk.format == Format::Parquet {
        printed::check_parquet(name, command.map_or(name == "merge", |command| !command.tables.is_empty()))?;
    }
    if let Some(command) = command {
        return (command.run)(of_command, out).map_err(|e| e.fitting(&|option| command.has(option)));
    }
    match Other::from_arg_matches(matches).map_err(|e| misunderstood(&e))? {
        Other::Run(c) => c.run(out),
        Other::Tables(c) => c.run(out),
        Other::Merge(c) => c.run(out),
        Other::Status(c) => c.run(out),
        Other::Chart(c) => c.run(of_command, out),
        Other::Glossary(c) => c.run(out),
        Other::Completions(c) => c.run(&mut program(), out),
        Other::Man(c) => c.run(&program(), out),
    }
}

/// What clap has to say, in the form of every other error: one sentence, one hint.
fn misunderstood(e: &clap::Error) -> Error {
    // What an option's own type has to say.
    if let Some(own) = std::error::Error::source(e).and_then(|source| source.downcast_ref::<Error>()) {
        return Error::of_kind(own.kind(), own.sentence().clone()).hint(own.remedy().clone());
    }
    let text = e.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let one_line = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let message = one_line(paragraphs.next().unwrap_or_default());
    // Nobody means an option as a value.
    let tip =
        paragraphs.find_map(|p| p.trim_start().strip_prefix("tip: ")).filter(|tip| !tip.starts_with("to pass '--"));
    let hint = match tip {
        Some(tip) => one_line(tip),
        None if message.contains("cannot be used multiple times") => "give it once".to_owned(),
        None if e.kind() == clap::error::ErrorKind::ArgumentConflict => "leave out one of them".to_owned(),
        None if message.contains("unexpected argument '--out'") => {
            "it writes no files: all that it finds is on stdout".to_owned()
        }
        None => "add --help to see what can be given".to_owned(),
    };
    Error::bad_input(message.strip_prefix("error: ").unwrap_or(&message)).hint(hint)
}

/// The commands of all analyses, with their arguments.
pub fn analyses() -> impl Iterator<Item = clap::Command> {
    COMMANDS.iter().map(|command| (command.clap)())
}

/// Whether the program understands these arguments. Nothing is read or run.
///
/// # Errors
/// When it does not.
pub fn parses<W: AsRef<str>>(arguments: &[W]) -> Result<()> {
    let words = arguments.iter().map(AsRef::as_ref);
    program().no_binary_name(true).try_get_matches_from(words).map(|_| ()).map_err(|e| misunderstood(&e))
}

/// What these arguments ask for. Nothing is run.
///
/// # Errors
/// When they cannot be understood, are of no analysis, or do not fit the model.
pub fn asked<W: AsRef<str>>(arguments: &[W]) -> Result<Asked> {
    let words = arguments.iter().map(AsRef::as_ref);
    let matches = program().no_binary_name(true).try_get_matches_from(words).map_err(|e| misunderstood(&e))?;
    let cli = Cli::from_arg_matches(&matches).map_err(|e| misunderstood(&e))?;
    let analysis = |(name, of): (&str, _)| Some((COMMANDS.iter().find(|command| command.name == name)?, of));
    let no_analysis = || Error::bad_input("these arguments ask for no analysis").hint("begin with the name of one");
    let (command, matches) = matches.subcommand().and_then(analysis).ok_or_else(no_analysis)?;
    (command.asked)(matches, &Out::new(&cli.talk))
}

/// The reference page of every command, for `docs/cli.md`.
pub fn docs() -> String {
    shell::reference(&mut program())
}

/// Whether the text of an experiment can be understood, its options as those of commands. Nothing is run, and no model is read.
///
/// # Errors
/// When it cannot.
#[doc(hidden)] // For fuzzing.
pub fn experiment(text: &str) -> Result<()> {
    run::experiment(text)
}

/// The prompt and language of a form that was sent to `explain --serve`; none where something else was asked for, or it is refused.
#[doc(hidden)] // For fuzzing.
pub fn form(bytes: &[u8], port: u16) -> Option<(String, &'static str)> {
    serve::form(bytes, port)
}
