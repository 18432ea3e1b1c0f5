//! The command line: arguments in, one library call, words out. stdout is data, stderr is talk.

mod ablate;
mod args;
mod attention;
mod attribute;
mod cache;
mod change;
mod chart;
mod collect;
mod describe;
mod environment;
mod input;
mod lens;
mod out;
mod pairs;
mod patch;
mod patches;
mod path;
mod request;
mod shell;
mod signals;
mod tokens;
mod verify;
mod wait;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;

use clap::error::ErrorKind as ClapKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::error::{Error, Result};
use crate::limits;
use crate::limits::starved::was_said;
use crate::table::Format;
use out::Out;

/// See inside a Transformer: hooks on every activation, logit lens and attention, as tables and figures.
#[derive(Debug, Parser)]
#[command(name = "pellucid", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    talk: args::Talk,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Lens(lens::Lens),
    Attention(attention::AttentionCommand),
    Patch(Box<patch::PatchCommand>),
    Path(Box<path::PathCommand>),
    Ablate(Box<ablate::Ablate>),
    Attribute(attribute::AttributeCommand),
    Tokens(tokens::TokensCommand),
    Cache(cache::Cache),
    Hooks(describe::HooksCommand),
    Model(describe::ModelCommand),
    Tables(describe::TablesCommand),
    Chart(chart::Chart),
    Verify(verify::VerifyCommand),
    Completions(shell::Completions),
    Man(shell::Man),
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
    limits::starved::say_instead_of_panics();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
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
    match catch_unwind(AssertUnwindSafe(|| run(&cli, &out))) {
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

fn run(cli: &Cli, out: &Out) -> Result<()> {
    if let Some(said) = limits::threads::start()? {
        out.note(said);
    }
    if cli.talk.csv_safe && cli.talk.format != Format::Csv {
        return Err(Error::bad_input("--csv-safe is about CSV, and nothing is written as CSV").hint("add --format csv"));
    }
    match &cli.command {
        Command::Lens(c) => c.run(out),
        Command::Attention(c) => c.run(out),
        Command::Patch(c) => c.run(out),
        Command::Path(c) => c.run(out),
        Command::Ablate(c) => c.run(out),
        Command::Attribute(c) => c.run(out),
        Command::Tokens(c) => c.run(out),
        Command::Cache(c) => c.run(out),
        Command::Hooks(c) => c.run(out),
        Command::Model(c) => c.run(out),
        Command::Tables(c) => c.run(out),
        Command::Chart(c) => c.run(out),
        Command::Verify(c) => c.run(out),
        Command::Completions(c) => c.run(&mut Cli::command(), out),
        Command::Man(c) => c.run(&Cli::command(), out),
    }
}

/// What clap has to say, in the form of every other error: one sentence, one hint.
fn misunderstood(e: &clap::Error) -> Error {
    let text = e.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let one_line = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let message = one_line(paragraphs.next().unwrap_or_default());
    let tip = paragraphs.find_map(|p| p.trim_start().strip_prefix("tip: "));
    Error::bad_input(message.strip_prefix("error: ").unwrap_or(&message))
        .hint(tip.map_or_else(|| "add --help to see what can be given".to_owned(), one_line))
}

/// The reference page of every command, for `docs/cli.md`.
pub fn docs() -> String {
    shell::reference(&mut Cli::command())
}
