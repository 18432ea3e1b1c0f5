//! Rows on their way: all of them to the file, those that are shown or printed also into memory.

use std::path::Path;

use super::out::Out;
use crate::chart;
use crate::error::Result;
use crate::table::{Format, Provenance, Row, TableWriter};

/// What a command keeps of the rows that it wrote.
pub(super) struct Collected<R> {
    /// Rows that are drawn; all rows where stdout wants them.
    rows: Vec<R>,
    prompt: fn(&R) -> u32,
    provenance: Provenance,
}

/// Streams the rows that `produce` makes into a table at `path`.
pub(super) fn collect<R: Row>(
    out: &Out,
    path: &Path,
    provenance: Provenance,
    prompt: fn(&R) -> u32,
    produce: impl FnOnce(&mut dyn FnMut(R) -> Result<()>) -> Result<()>,
) -> Result<Collected<R>> {
    collect_also(out, path, provenance, prompt, |_| false, produce)
}

/// The same, where rows of any prompt are drawn that are `drawn_too`.
pub(super) fn collect_also<R: Row>(
    out: &Out,
    path: &Path,
    provenance: Provenance,
    prompt: fn(&R) -> u32,
    drawn_too: fn(&R) -> bool,
    produce: impl FnOnce(&mut dyn FnMut(R) -> Result<()>) -> Result<()>,
) -> Result<Collected<R>> {
    let mut table = TableWriter::create(path, provenance)?;
    let mut kept = Collected { rows: vec![], prompt, provenance: table.provenance_mut().clone() };
    produce(&mut |row| {
        table.push(&row)?;
        if kept.draws(&row) || drawn_too(&row) || out.format != Format::Table {
            kept.rows.push(row);
        }
        Ok(())
    })?;
    table.finish()?;
    Ok(kept)
}

impl<R: Row> Collected<R> {
    fn draws(&self, row: &R) -> bool {
        ((self.prompt)(row) as usize) < chart::Options::default().max_prompts
    }

    /// Rows of the prompts that are drawn. They come first: rows come prompt by prompt.
    pub fn drawn(&self) -> &[R] {
        &self.rows[..self.rows.partition_point(|r| self.draws(r))]
    }

    /// What the table says of itself. Figures say the same, so that they are the same when they are drawn from it.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Every row, where stdout wants rows; else those that are drawn.
    pub fn all(&self) -> &[R] {
        &self.rows
    }
}
