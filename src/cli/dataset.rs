//! `pellucid merge` and `pellucid status`: the folders of data sets that `pellucid export` makes.

use std::path::PathBuf;

use clap::Args;

use super::command::print;
use super::out::{Out, flags};
use super::wait::WaitArgs;
use crate::analysis::export::finish;
use crate::dataset::{Merging, Status, merge, status};
use crate::error::{Result, Said, bytes};
use crate::session::words::shell;
use crate::session::{Sink, To};
use crate::table::Format;

/// Join the parts of a data set that `pellucid export --shard` made: the same bytes as one machine makes.
///
/// Nothing is computed. It is refused where parts are missing (they are listed as --array of a job array takes them), where files are not
/// as they were written, and where model, request, version or processors differ.
#[derive(Args, Debug)]
pub(super) struct MergeCommand {
    /// The folder that all parts were exported to, or several
    #[arg(value_name = "FOLDER", required = true)]
    folders: Vec<PathBuf>,
    /// Folder for the whole data set [default: the folder of the parts, where there is one]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Join parts that were computed with different instructions, whose numbers are the same only within rounding
    #[arg(long)]
    mixed: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

impl MergeCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        let command: Vec<String> = ["pellucid", "merge"].map(str::to_owned).to_vec();
        let whole = self.wait.claiming(out, &command, |claiming| {
            merge(&self.folders, &Merging { out: self.out.as_deref(), mixed: self.mixed, claiming })
        })?;
        let noted = |said: &Said| out.note(flags(said));
        let mut sink = Sink::new(To::Memory, whole.provenance(), &(), &noted);
        finish(whole, &mut sink)?;
        print(sink.finish(true)?, None, &(), out)
    }
}

/// What is there of a data set that `pellucid export` makes.
#[derive(Args, Debug)]
pub(super) struct StatusCommand {
    /// The folder that it is exported to
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Also read every file, and compare its hash with what was written
    #[arg(long)]
    check: bool,
}

impl StatusCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        let found = status(&self.folder, self.check)?;
        if out.format != Format::Table {
            return out.data(|w| writeln!(w, "{:#}", serde_json::json!(found)));
        }
        out.print(|w| write!(w, "{}", words(&found)))
    }
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
