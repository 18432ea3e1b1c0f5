//! Rows on their way to the file, from which figures, screen and stdout read what they need: none of them is held.

use std::path::Path;

use crate::error::Result;
use crate::table::{Provenance, Row, TableFile, TableWriter};
use crate::view::{self, extent::Extents};

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
    let (mut drawn, mut at) = (Extents::new(view::Options::default().max_prompts), 0);
    produce(&mut |row| {
        drawn.add(prompt(&row), at);
        at += 1;
        table.push(&row)
    })?;
    table.finish()?;
    Ok(Written { table: TableFile::open(path)?, drawn, provenance })
}
