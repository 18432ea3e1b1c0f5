//! Charts: tables drawn as SVG. They know tables only, so whatever is in a file can be drawn again from the file.
//!
//! Every mark carries its facts as a `<title>`, every figure its provenance as a `<desc>`. There are no ids, style
//! sheets, scripts or fonts from outside: a figure is safe beside twenty others in one page. The same rows give the
//! same bytes.

pub(crate) mod attention;
pub(crate) mod attribution;
mod axis;
mod backend;
mod colour;
pub(crate) mod extent;
mod frame;
pub(crate) mod grid;
mod heads;
mod label;
pub(crate) mod lens;
mod lens_grid;
mod line;
pub(crate) mod mark;
pub(crate) mod patch;
mod patch_bars;
pub(crate) mod patch_grid;
mod patch_map;
pub(crate) mod patch_method;
pub(crate) mod patch_scale;
pub(crate) mod patch_sweep;
mod patch_tiles;
pub(crate) mod patch_words;
mod svg;
mod training;

pub use attention::attention;
pub use attribution::attribution;
pub use colour::{Rgb, diverging, viridis};
pub use lens::logit_lens;
pub use patch::{patch, patch_mean, path, path_mean};
pub use training::training;

use crate::analysis::{
    AttentionRow, AttributionRow, LensRow, PatchMeanRow, PatchRow, PathMeanRow, PathRow, TrainingRow,
};
use crate::error::{Error, Result, nearest};
use crate::table::{Row, TableFile, read_provenance, read_rows};
use extent::Extents;
use std::path::Path;

/// A drawn figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// File stem, e.g. `logit_lens` or `attention-L3H1-p2` (`p2`: prompt 2, counted from 0).
    pub name: String,
    /// The SVG document.
    pub svg: String,
}

impl Figure {
    /// What its file is called.
    pub fn file_name(&self) -> String {
        format!("{}.svg", self.name)
    }
}

/// What to draw of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// At most this many prompts or pairs, the first of the table.
    pub max_prompts: usize,
    /// The (layer, head) to show large; `None` lets [`attention`] choose one.
    pub head: Option<(u32, u32)>,
    /// The effect at which the colours of patched runs are full and their axes end; `None` fits it to the effects.
    pub scale: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_prompts: 20, head: None, scale: None }
    }
}

/// The tables that can be drawn.
const DRAWABLE: [&str; 8] = [
    LensRow::TABLE.name,
    AttentionRow::TABLE.name,
    PatchRow::TABLE.name,
    PatchMeanRow::TABLE.name,
    PathRow::TABLE.name,
    PathMeanRow::TABLE.name,
    AttributionRow::TABLE.name,
    TrainingRow::TABLE.name,
];

/// Those whose figures have a scale of effects.
const SCALED: [&str; 5] = [
    PatchRow::TABLE.name,
    PatchMeanRow::TABLE.name,
    PathRow::TABLE.name,
    PathMeanRow::TABLE.name,
    AttributionRow::TABLE.name,
];

/// Draws the table in a parquet file, whichever it is.
///
/// # Errors
/// The file cannot be read as a table of pellucid (see [`read_rows`]), there is no chart of its table, or it has no rows.
pub fn render(path: impl AsRef<Path>) -> Result<Vec<Figure>> {
    render_with(path, &Options::default())
}

/// Like [`render`], with options.
///
/// # Errors
/// As [`render`]; also if the table does not have the head that was asked for, or its figures have no head or scale to choose.
pub fn render_with(path: impl AsRef<Path>, options: &Options) -> Result<Vec<Figure>> {
    collected(|emit| render_each(path.as_ref(), options, emit))
}

/// Like [`render_with`], and gives each figure to `emit` as it is drawn: only one is held.
///
/// # Errors
/// As [`render_with`]; what `emit` says.
pub fn render_each(path: &Path, options: &Options, emit: &mut Emit<'_>) -> Result<()> {
    let table = read_provenance(path)?.table;
    has_use_for(&table, options)?;
    if table == LensRow::TABLE.name {
        let mut rows = TableFile::open(path)?;
        let extents = Extents::of::<LensRow>(&mut rows, "prompt", options.max_prompts)?;
        let provenance = rows.provenance().clone();
        lens::draw(&mut rows, &extents, &provenance, emit)
    } else if table == AttentionRow::TABLE.name {
        let mut rows = TableFile::open(path)?;
        let extents = Extents::of::<AttentionRow>(&mut rows, "prompt", options.max_prompts)?;
        let provenance = rows.provenance().clone();
        attention::draw(&mut rows, &extents, &provenance, options.head, emit)
    } else if table == PatchRow::TABLE.name {
        let mut rows = TableFile::<PatchRow>::open(path)?;
        let provenance = rows.provenance().clone();
        some(path, patch::draw_each(&mut rows, &provenance, options, emit)?)
    } else if table == PatchMeanRow::TABLE.name {
        let (rows, provenance) = read_rows::<PatchMeanRow>(path)?;
        let figures = patch::draw(&rows, &provenance, options)?;
        some(path, figures.len())?;
        figures.into_iter().try_for_each(emit)
    } else if table == PathRow::TABLE.name {
        let mut rows = TableFile::<PathRow>::open(path)?;
        let provenance = rows.provenance().clone();
        some(path, patch::draw_each(&mut rows, &provenance, options, emit)?)
    } else if table == PathMeanRow::TABLE.name {
        let (rows, provenance) = read_rows::<PathMeanRow>(path)?;
        let figures = patch::draw(&rows, &provenance, options)?;
        some(path, figures.len())?;
        figures.into_iter().try_for_each(emit)
    } else if table == AttributionRow::TABLE.name {
        let mut rows = TableFile::open(path)?;
        let provenance = rows.provenance().clone();
        attribution::draw(&mut rows, &provenance, options, emit)
    } else if table == TrainingRow::TABLE.name {
        let (rows, provenance) = read_rows::<TrainingRow>(path)?;
        training(&rows, &provenance)?.into_iter().try_for_each(emit)
    } else {
        let hint = match nearest(&table, DRAWABLE) {
            Some(near) => format!("did you mean a file with the table `{near}`?"),
            None => "give a file with one of those tables".to_owned(),
        };
        Err(Error::no_such(format!(
            "there is no chart of the table `{table}` in {}; what can be drawn: `{}`",
            path.display(),
            DRAWABLE.join("`, `")
        ))
        .hint(hint))
    }
}

/// Takes a figure that was drawn.
pub type Emit<'a> = dyn FnMut(Figure) -> Result<()> + 'a;

/// All figures that `draw` gives away, for whoever wants them together.
fn collected(draw: impl FnOnce(&mut Emit<'_>) -> Result<()>) -> Result<Vec<Figure>> {
    let mut figures = vec![];
    draw(&mut |figure| {
        figures.push(figure);
        Ok(())
    })?;
    Ok(figures)
}

/// Refuses options that would do nothing, or cannot be done.
fn has_use_for(table: &str, options: &Options) -> Result<()> {
    let drawable = DRAWABLE.contains(&table);
    if let Some(end) = options.scale.filter(|end| !(end.is_finite() && *end > 0.0)) {
        return Err(Error::bad_input(format!("a scale cannot end at {end:?}")).hint("let it end at a number above 0"));
    }
    if drawable && options.scale.is_some() && !SCALED.contains(&table) {
        return Err(Error::bad_input(format!("the figures of the table `{table}` have no scale to choose"))
            .hint("leave out --scale; it is for figures of patches, paths, ablations and attributions"));
    }
    if drawable && options.head.is_some() && table != AttentionRow::TABLE.name {
        return Err(Error::bad_input(format!("the figures of the table `{table}` show no single head"))
            .hint("leave out --head; it is for attention patterns"));
    }
    Ok(())
}

/// Refuses a table of sweeps of which nothing can be drawn.
fn some(path: &Path, figures: usize) -> Result<()> {
    match figures {
        0 => Err(Error::bad_input(format!("the sweeps in {} have one patch each, and no axis", path.display()))
            .hint("draw a sweep that goes over something, such as --over layer,pos")),
        _ => Ok(()),
    }
}

fn no_rows<R: Row>() -> Error {
    Error::bad_input(format!("the table `{}` has no rows to draw", R::TABLE.name))
        .hint("check the command that wrote it: its selection may be empty")
}

/// What the names of figures end in: nothing if all rows are of prompt 0.
fn suffix(prompt: u32, only: bool) -> String {
    if only && prompt == 0 { String::new() } else { format!("-p{prompt}") }
}

/// Plotters cannot fail on our canvas; should it, say so.
fn undrawn(e: impl std::fmt::Display) -> Error {
    Error::compute(format!("the chart could not be drawn: {e}")).fault()
}
