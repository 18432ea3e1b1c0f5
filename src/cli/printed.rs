//! Which of several tables is printed, where somebody says it.

use clap::builder::PossibleValuesParser;
use clap::{ArgMatches, Args, Command};

use super::args::OutArgs;
use super::out;
use crate::error::{Error, Result};
use crate::session::{Found, Shard};
use crate::table::Format;
use crate::view::viewed::{AnyTable, Written};

/// Tables that an analysis may write.
type Tables = [&'static dyn AnyTable];

/// Which table is printed. No part of the request: all are written, whichever it is.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct TableArgs {
    /// Print this table, in whatever format, and not the one that is printed by itself
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
}

/// How the file of a table is asked for.
const PARQUET: &str = "--format parquet";

/// Refuses the bytes of a file where nobody could read them, and of a command that prints no table of results.
///
/// # Errors
/// Then.
pub(super) fn check_parquet(command: &str, prints: bool) -> Result<()> {
    if !prints {
        return Err(Error::bad_input(format!(
            "{PARQUET} is of a table of results, and `pellucid {command}` prints none"
        ))
        .hint(format!("leave out {PARQUET}")));
    }
    match out::is_terminal() {
        true => Err(Error::bad_input("stdout is a terminal, and a parquet file is no text")
            .hint("send it to a file or a program: `> table.parquet`, or `| pellucid chart -`")),
        false => Ok(()),
    }
}

/// The same command, which can be told which table to print where it may write more than one.
pub(super) fn augmented(command: Command, tables: &Tables) -> Command {
    match tables {
        [_, _, ..] => TableArgs::augment_args(command)
            .mut_arg("table", |arg| arg.value_parser(PossibleValuesParser::new(names(tables)))),
        _ => command,
    }
}

fn names(tables: &Tables) -> impl Iterator<Item = &'static str> {
    tables.iter().map(|table| table.info().name)
}

/// What is printed of the tables of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Printed {
    /// Whether all that are drawn are shown on a terminal, where none was asked for.
    all: bool,
    /// The table that was asked for.
    table: Option<&'static str>,
}

impl Printed {
    /// What was asked for of a command whose analysis may write `tables`.
    pub fn of(matches: &ArgMatches, tables: &Tables, all: bool) -> Result<Self> {
        let given = matches.try_get_one::<String>("table").ok().flatten();
        Self::named(given.map(String::as_str), tables, all)
    }

    /// The table of this name, if there is one.
    ///
    /// # Errors
    /// When it is none of `tables`.
    pub fn named(name: Option<&str>, tables: &Tables, all: bool) -> Result<Self> {
        let known = |name: &str| {
            names(tables).find(|known| *known == name).ok_or_else(|| {
                let there_are = format!("there are {}", names(tables).collect::<Vec<_>>().join(", "));
                Error::no_such(format!("there is no table `{name}` among its results")).nearest_or(
                    name,
                    names(tables),
                    there_are,
                )
            })
        };
        Ok(Self { all, table: name.map(known).transpose()? })
    }

    /// Whether a table was asked for.
    pub fn is_chosen(self) -> bool {
        self.table.is_some()
    }

    /// Whether a terminal shows all tables that are drawn, one after another.
    pub fn is_all(self) -> bool {
        self.all && !self.is_chosen()
    }

    /// Refuses a table that was asked for, by its name or as a file, where none is printed.
    ///
    /// # Errors
    /// Then.
    pub fn check(self, format: Format, how: Option<&OutArgs>, shard: Option<Shard>) -> Result<()> {
        let asked = match format {
            _ if self.is_chosen() => "--table",
            Format::Parquet => PARQUET,
            _ => return Ok(()),
        };
        if how.is_some_and(|how| how.print_folder) {
            return Err(Error::bad_input("the name of the folder is printed, and so no table")
                .hint(format!("leave out --print-folder, or {asked}")));
        }
        match shard {
            Some(_) => Err(Error::bad_input("a part of the work prints no table, for its rows are joined first")
                .hint(format!("give {asked} to `pellucid merge`"))),
            None => Ok(()),
        }
    }

    /// Its place among `tables`: the one that was asked for, else the one that a terminal shows. Means are drawn last, and say what
    /// their parts would.
    pub fn at(self, tables: &[Box<dyn Written>]) -> Option<usize> {
        let last = |is: fn(&dyn Written) -> bool| tables.iter().rposition(|table| is(table.as_ref()));
        match self.table {
            Some(name) => tables.iter().position(|table| table.name() == name),
            None => last(|table| table.is_shown()).or_else(|| last(|table| table.is_drawn())),
        }
    }

    /// Leaves of what was found the table that was asked for.
    ///
    /// # Errors
    /// When this run has not made it.
    pub fn chosen(self, found: &mut Found) -> Result<()> {
        let Some(name) = self.table else { return Ok(()) };
        let made: Vec<&str> = found.tables.iter().map(|table| table.name()).collect();
        if !made.contains(&name) {
            let about = format!("`pellucid tables {name}` says what that table is about");
            let hint = match &made[..] {
                [] => about,
                made => format!("there is {}; {about}", made.join(", ")),
            };
            return Err(Error::bad_input(format!("this run has made no table {name}; all else is done")).hint(hint));
        }
        found.tables.retain(|table| table.name() == name);
        Ok(())
    }
}
