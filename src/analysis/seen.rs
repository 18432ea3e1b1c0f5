//! The tables that can be drawn, of all analyses.

use super::any_tables;
use crate::error::Result;
use crate::view::viewed::AnyTable;
use crate::view::{Drawable, Emit, Options};
#[cfg(feature = "charts")]
use crate::view::{Figure, Style};
use std::path::Path;

/// The tables that can be drawn.
pub fn drawable() -> Vec<Drawable> {
    any_tables().into_iter().filter_map(AnyTable::drawable).collect()
}

/// Draws the table in a parquet file, whichever it is.
///
/// # Errors
/// The file cannot be read as a table of pellucid (see [`crate::table::read_rows`]), there is no chart of its table, or it has no rows.
#[cfg(feature = "charts")]
pub fn render(path: impl AsRef<Path>) -> Result<Vec<Figure>> {
    render_with(path, &Options::default())
}

/// Like [`render`], with options.
///
/// # Errors
/// As [`render`]; also if the table does not have the head that was asked for, or its figures have no head or scale to choose.
#[cfg(feature = "charts")]
pub fn render_with(path: impl AsRef<Path>, options: &Options) -> Result<Vec<Figure>> {
    let mut figures = vec![];
    Drawable::figures(&drawable(), path.as_ref(), options, &Style::default(), &mut |figure| {
        figures.push(figure);
        Ok(())
    })?;
    Ok(figures)
}

/// Gives the views of the table in a parquet file to `emit`, for any renderer.
///
/// # Errors
/// As [`Drawable::views`].
pub fn views(path: impl AsRef<Path>, options: &Options, emit: &mut Emit<'_>) -> Result<()> {
    Drawable::views(&drawable(), path.as_ref(), options, emit)
}
