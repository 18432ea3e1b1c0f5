//! Rows on their way to the file, from which figures, screen and stdout read what they need: none of them is held.

use std::path::Path;

use super::out::Out;

use crate::error::Result;
use crate::table::{Provenance, Row, TableFile, TableWriter};
use crate::view::kind::View;
use crate::view::{Options, extent::Extents, terminal};

/// A table that was written.
pub(super) struct Written<R> {
    /// Its rows.
    pub table: TableFile<R>,
    /// Which of them are of the prompts that are drawn.
    pub drawn: Extents,
    /// What the table says of itself. Figures say the same, so that they are the same when they are drawn from it.
    pub provenance: Provenance,
}

/// Streams the rows that `produce` makes into a table at `path`. `prompt` says whose a row is.
pub(super) fn collect<R: Row>(
    path: &Path,
    provenance: Provenance,
    prompt: fn(&R) -> u32,
    produce: impl FnOnce(&mut dyn FnMut(R) -> Result<()>) -> Result<()>,
) -> Result<Written<R>> {
    let mut table = TableWriter::create(path, provenance)?;
    let provenance = table.provenance_mut().clone();
    let (mut drawn, mut at) = (Extents::new(Options::default().max_prompts), 0);
    produce(&mut |row| {
        drawn.add(prompt(&row), at);
        at += 1;
        table.push(&row)
    })?;
    table.finish()?;
    Ok(Written { table: TableFile::open(path)?, drawn, provenance })
}

/// Prompts and pairs that are shown on a terminal; the file has them all.
const SHOWN: usize = 3;

/// What is shown of the views of the first prompts.
#[derive(Default)]
pub(super) struct Shown {
    text: Vec<String>,
    /// Whose they are.
    of: Vec<String>,
}

impl Shown {
    /// One more view.
    pub fn take(&mut self, view: &View) {
        if !self.of.contains(&view.subtitle) {
            self.of.push(view.subtitle.clone());
        }
        if self.of.len() <= SHOWN {
            self.text.push(terminal::text(view, terminal::width()));
        }
    }

    /// Prints them, and says how many of `n` are not shown, which are called `what`.
    pub fn print(&self, out: &Out, n: usize, what: &str) -> Result<()> {
        out.print(|w| {
            w.write_all(self.text.join("\n").as_bytes())?;
            match n.saturating_sub(SHOWN) {
                0 => Ok(()),
                n => writeln!(w, "... and {n} more {what}, in the files"),
            }
        })
    }
}
