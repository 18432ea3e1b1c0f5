//! `pellucid merge` and `pellucid status`: what several processes made with `--shard`, a data set or the results of an analysis.

use std::path::PathBuf;

use clap::Args;

use super::COMMANDS;
use super::args::{DrawArgs, FiguresArgs};
use super::command::Joining;
use super::found::print;
use super::out::{Out, flags};
use super::printed::{Printed, TableArgs};
use super::wait::WaitArgs;
use crate::analysis::Export;
use crate::analysis::export::finish;
use crate::dataset::{Merging, Status, merge, several, status};
use crate::error::{Error, Result, Said, bytes};
use crate::session::shards::{self, ShardsStatus, State};
use crate::session::words::shell;
use crate::session::{Analysis, Shards, Sink, Tables, To};
use crate::table::Format;

/// Join the parts that `--shard` made, of a data set or of the results of an analysis: the same bytes as one machine makes.
///
/// Nothing is computed. It is refused where parts are missing (they are listed as --array of a job array takes them), where files are not
/// as they were written, and where model, request, version or processors differ.
#[derive(Args, Debug)]
pub(super) struct MergeCommand {
    /// The folder that all parts went to, or several
    #[arg(value_name = "FOLDER", required = true)]
    folders: Vec<PathBuf>,
    /// Folder for the whole [default: the folder of the parts, where there is one]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Join parts that were computed with different instructions, whose numbers are the same only within rounding
    #[arg(long)]
    mixed: bool,
    #[command(flatten)]
    draw: DrawArgs,
    #[command(flatten)]
    figures: FiguresArgs,
    #[command(flatten)]
    printed: TableArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

impl MergeCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        let command: Vec<String> = ["pellucid", "merge"].map(str::to_owned).to_vec();
        let (scale, table) = (self.draw.scale(), self.printed.table.as_deref());
        if shards::are_in(&self.folders) {
            let folder = match (&self.out, &self.folders[..]) {
                (Some(out), _) => out,
                (None, [only]) => only,
                _ => return Err(several(&self.folders)),
            };
            let shards = Shards::open(&self.folders, self.mixed)?;
            let name = &shards.record().analysis;
            let unknown = || Error::bad_input(format!("there is no analysis called {name}")).hint("update pellucid");
            let command_of = COMMANDS.iter().find(|command| command.name == name).ok_or_else(unknown)?;
            return self.wait.claiming(out, &command, |claiming| {
                let joining = Joining { folder, scale, figures: self.figures.figures, table, claiming };
                (command_of.join)(&shards, &joining, out)
            });
        }
        if scale.is_some() {
            return Err(
                Error::bad_input("a data set has no figures, and so none with a scale").hint("leave out --scale")
            );
        }
        let printed = Printed::named(table, <Export as Analysis>::Tables::ALL, false)?;
        let whole = self.wait.claiming(out, &command, |claiming| {
            merge(&self.folders, &Merging { out: self.out.as_deref(), mixed: self.mixed, claiming })
        })?;
        let noted = |said: &Said| out.note(flags(said));
        let mut sink = Sink::new(To::Memory, whole.provenance(), &(), &noted);
        finish(whole, &mut sink)?;
        print(sink.finish(true)?, None, printed, (0, &[]), out)
    }
}

/// What is there of a data set that `pellucid export` makes, or of the parts of an analysis.
#[derive(Args, Debug)]
pub(super) struct StatusCommand {
    /// The folder that it goes to
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Also read every file, and compare its hash with what was written
    #[arg(long)]
    check: bool,
}

impl StatusCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        if shards::are_in(std::slice::from_ref(&self.folder)) {
            let found = shards::status(&self.folder, self.check)?;
            return match out.format {
                Format::Table => out.print(|w| write!(w, "{}", words_of_shards(&found))),
                _ => out.data(|w| writeln!(w, "{:#}", serde_json::json!(found))),
            };
        }
        let found = status(&self.folder, self.check)?;
        if out.format != Format::Table {
            return out.data(|w| writeln!(w, "{:#}", serde_json::json!(found)));
        }
        out.print(|w| write!(w, "{}", words(&found)))
    }
}

/// What is there of shards, for people.
fn words_of_shards(found: &ShardsStatus) -> String {
    let complete = found.shards.iter().filter(|one| one.state == State::Complete).count();
    let (all, folder) = (plural(found.shards.len() as u64, "part"), found.folder.display());
    let mut text = if found.command.is_empty() { String::new() } else { shell(&found.command) + "\n" };
    text += &match (found.complete, complete == found.shards.len()) {
        (true, _) => format!("complete: joined of {all}\n"),
        (_, true) => {
            format!("all parts are done: {all}\nwhat is left is to join them: pellucid merge {folder}\n")
        }
        _ => format!("not complete: {complete} of {all}\n"),
    };
    for one in &found.shards {
        let state = match one.state {
            State::Complete => "done",
            State::Incomplete => "not complete",
            State::Damaged => "damaged",
            State::Missing => "not there",
        };
        text += &format!("part {}: {state}{}\n", one.shard, if one.at_work { ", at work" } else { "" });
    }
    text
}

fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// What is there, for people.
fn words(found: &Status) -> String {
    let of = found.blocks.map_or_else(String::new, |all| format!(" of {all}"));
    let mut text = format!("{}\n", shell(&found.command));
    let all_parts = found.shards.len() > 1 && found.blocks == Some(found.done);
    text += &match found.complete {
        true => format!("complete: {}", plural(found.done, "block")),
        false if all_parts => format!("all parts are done: {}", plural(found.done, "block")),
        false => format!("not complete: {}{of} blocks", found.done),
    };
    text += &format!(
        ", {}, {}, {}\n",
        plural(found.documents, "document"),
        plural(found.rows, "row"),
        bytes(found.bytes as usize)
    );
    if !found.damaged.is_empty() {
        let numbers: Vec<String> = found.damaged.iter().map(u64::to_string).collect();
        text += &format!("damaged: blocks {}; the command with --resume makes them again\n", numbers.join(", "));
    }
    if all_parts && !found.complete {
        text += &format!("what is left is to join them: pellucid merge {}\n", found.folder.display());
    }
    for part in found.shards.iter().filter(|_| found.shards.len() > 1) {
        let of = part.blocks.map_or_else(String::new, |all| format!(" of {all}"));
        let done = if part.blocks == Some(part.done) { ", done" } else { "" };
        let at_work = if part.at_work { ", at work" } else { "" };
        text += &format!("part {}/{}: {}{of} blocks{done}{at_work}\n", part.shard.index, part.shard.of, part.done);
    }
    text
}
