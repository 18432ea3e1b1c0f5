//! `pellucid tables`: what the columns of each table mean.

use clap::Args;

use super::out::Out;
use crate::analysis::tables;
use crate::analysis::tables::columns;
use crate::error::{Error, Result};
use crate::table::Format;

/// The columns of every table that pellucid writes: types, units, meanings.
#[derive(Args, Debug)]
pub(super) struct TablesCommand {
    /// One table [default: all]
    name: Option<String>,
}

impl TablesCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        let names = || tables().map(|t| t.name);
        let chosen: Vec<_> = match &self.name {
            None => tables().collect(),
            Some(name) => match tables().find(|t| t.name == name) {
                Some(table) => vec![table],
                None => {
                    let error = Error::no_such(format!("there is no table `{name}`"));
                    let known = format!("there are {}", names().collect::<Vec<_>>().join(", "));
                    return Err(error.nearest_or(name, names(), known));
                }
            },
        };
        if out.format != Format::Table {
            // One document, whatever the number of tables.
            return out.rows(&chosen.iter().flat_map(|t| columns(t)).collect::<Vec<_>>());
        }
        for (i, table) in chosen.iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n" };
            out.print(|w| writeln!(w, "{gap}{} (version {}): {}", table.name, table.version, table.about))?;
            out.rows(&columns(table))?;
        }
        Ok(())
    }
}
