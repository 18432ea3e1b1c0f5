//! Views: what there is to see of a table, without pixels, and the renderers that draw it, one folder each. They know tables only, so
//! whatever is in a file can be drawn again from the file; which rows make which view, each analysis says.

mod arcs;
pub mod axis;
mod chosen;
pub mod colour;
#[cfg(feature = "charts")]
pub mod encode;
pub(crate) mod extent;
#[cfg(feature = "charts")]
pub mod html;
pub mod kind;
pub(crate) mod label;
pub mod markdown;
mod said;
#[cfg(feature = "charts")]
pub mod svg;
mod tabled;
pub mod terminal;
pub mod viewed;

pub use crate::number::Locale;
pub use chosen::Only;
use chosen::{Chosen, Measures, Named, Places, has_metric};
pub use colour::{Rgb, diverging, viridis};
pub use kind::View;
#[cfg(feature = "charts")]
pub use svg::{Figure, Length, Style, Theme, Words, figures};

use crate::error::{Error, Result, nearest, said};
use crate::table::{Format, Provenance, Row, Rows, TableFile, TableInfo, read_provenance, write_rows};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use viewed::{Shown, Told};

/// What to draw of a table.
#[derive(Clone, Debug)]
pub struct Options {
    /// At most this many prompts or pairs, the first of the table.
    pub max_prompts: usize,
    /// The (layer, head) of each to show large; without any, the figures of attention choose one.
    pub heads: Vec<(u32, u32)>,
    /// The effect at which the colours of patched runs are full and their axes end; `None` fits it to the effects.
    pub scale: Option<f64>,
    /// How numbers are written.
    pub locale: Locale,
    /// Which rows are drawn of a table that is in a file.
    pub only: Only,
    /// Told how many prompts, pairs or others the table has, of which at most so many are drawn.
    pub total: Total,
}

/// How many there are of what a table's figures are about: prompts, pairs, words, neurons. Clones are told together.
#[derive(Clone, Debug, Default)]
pub struct Total(Arc<AtomicUsize>);

impl Total {
    /// There are so many.
    pub(crate) fn tell(&self, n: usize) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// How many, as far as it was told.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_prompts: 20,
            heads: vec![],
            scale: None,
            locale: Locale::EN,
            only: Only::default(),
            total: Total::default(),
        }
    }
}

/// A layer and a head, as `3.2` or `L3H2`.
///
/// # Errors
/// When it is neither.
pub fn head(text: &str) -> Result<(u32, u32), String> {
    let plain = text.trim_start_matches(['L', 'l']).replace(['H', 'h', ','], ".");
    let parse = |part: &str| part.parse::<u32>().ok();
    match plain.split_once('.').map(|(l, h)| (parse(l), parse(h))) {
        Some((Some(layer), Some(head))) => Ok((layer, head)),
        _ => Err("not a head; write 3.2 or L3H2 for head 2 of layer 3".into()),
    }
}

/// Takes a view that was made.
pub type Emit<'a> = dyn FnMut(View) -> Result<()> + 'a;

/// A row that says how it is seen.
pub trait Seen: Row {
    /// Whether there are views of its table.
    const DRAWN: bool = true;
    /// Whether a terminal shows it, of several tables that are drawn: the last of those that say so, else the last.
    const SHOWN: bool = true;
    /// Whether its views show one head of those that there are.
    const OF_HEADS: bool = false;
    /// Whether its views have a scale of effects.
    const SCALED: bool = false;
    /// Whether its views have panels of different measures, to choose from: axes of their values that name a column.
    const MEASURES: bool = false;

    /// Gives the views of a table to `emit`, one after another. No more is held than one of them needs.
    ///
    /// # Errors
    /// There are no rows, or not the head that was asked for; what `emit` says.
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let _ = (rows, from, how, emit);
        Ok(())
    }

    /// Writes the table for people: what the views of the first prompts or pairs say, or all rows where there are no views.
    ///
    /// # Errors
    /// When rows cannot be read or words not written.
    fn words(rows: &mut dyn Rows<Self>, shown: &Shown, told: &Told<'_>, w: &mut dyn Write) -> Result<()> {
        if Self::DRAWN {
            let prompts = Self::TABLE.columns.first().is_some_and(|column| column.name == "prompt");
            return Ok(shown.write(if prompts { told.inputs } else { 0 }, w)?);
        }
        let (n, mut all) = (rows.len(), vec![]);
        rows.rows(0..n, &mut |row| {
            all.push(row);
            Ok(())
        })?;
        write_rows(&all, Format::Table, w)
    }
}

/// A table that can be drawn from its file.
#[derive(Clone, Copy, Debug)]
pub struct Drawable {
    /// The name of the table.
    pub table: &'static str,
    of_heads: bool,
    /// Whether its figures have a scale of effects.
    pub scaled: bool,
    /// Whether there are panels of measures to choose from.
    measures: bool,
    info: &'static TableInfo,
    /// Whether a terminal shows it rather than tables that say that they need not be.
    pub shown: bool,
    views: fn(&Path, &Options, &mut Emit<'_>) -> Result<()>,
}

impl Drawable {
    /// The table of such rows.
    pub const fn of<R: Seen>() -> Self {
        let views = |path: &Path, how: &Options, emit: &mut Emit<'_>| {
            let mut rows = TableFile::<R>::open(path)?;
            let provenance = rows.provenance().clone();
            let mut only = how.only.clone();
            // A metric that no row has is one of the panels'.
            let mut measures = Measures(if has_metric(R::TABLE) { None } else { only.metric.take() }, vec![]);
            let mut named = Named(only.figure.take(), vec![]);
            let mut emit = |view| measures.of(view).and_then(|view| named.of(view)).map_or(Ok(()), &mut *emit);
            match only.is_all() {
                true => R::views(&mut rows, &provenance, how, &mut emit),
                false => R::views(&mut Chosen::of(&mut rows, &only)?, &provenance, how, &mut emit),
            }?;
            measures.found()?;
            named.found()
        };
        Self {
            table: R::TABLE.name,
            of_heads: R::OF_HEADS,
            scaled: R::SCALED,
            measures: R::MEASURES,
            info: R::TABLE,
            shown: R::SHOWN,
            views,
        }
    }

    /// Whether figures of the table have a use for the options.
    ///
    /// # Errors
    /// When they have none.
    pub fn takes(&self, options: &Options) -> Result<()> {
        let table = self.table;
        let refused =
            |what: &str, hint| Err(Error::bad_input(format!("the figures of the table `{table}` {what}")).hint(hint));
        if options.scale.is_some() && !self.scaled {
            let hint = said("leave out {!scale}; it is for figures of patches, paths, ablations and attributions");
            return refused("have no scale to choose", hint);
        }
        if !options.heads.is_empty() && !self.of_heads {
            return refused("show no single head", said("leave out {!head}; it is for attention patterns"));
        }
        if options.only.metric.is_some() && !(self.measures || has_metric(self.info)) {
            let hint = "leave out {!metric}; it is for figures of patches, paths, ablations, attributions and means of the lens";
            return refused("have no metric to choose", said(hint));
        }
        if options.only.has_positions() && Places::of(self.info).is_none() {
            return refused("have no positions to choose", said("leave out {!positions}"));
        }
        Ok(())
    }

    /// Gives the views of the table in a parquet file, which is one of `all`, to `emit`, one after another.
    ///
    /// # Errors
    /// The file cannot be read as a table of pellucid (see [`crate::table::read_rows`]), its table is none of these, it has no rows, its
    /// figures have no use for the options or do not have the head; what `emit` says.
    pub fn views(all: &[Self], path: &Path, options: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let table = read_provenance(path)?.table;
        if let Some(end) = options.scale.filter(|end| !(end.is_finite() && *end > 0.0)) {
            return Err(
                Error::bad_input(format!("a scale cannot end at {end:?}")).hint("let it end at a number above 0")
            );
        }
        let Some(drawable) = all.iter().find(|drawable| drawable.table == table) else {
            let names: Vec<&str> = all.iter().map(|drawable| drawable.table).collect();
            let hint = match nearest(&table, names.iter().copied()) {
                Some(near) => format!("did you mean a file with the table `{near}`?"),
                None => "give a file with one of those tables".to_owned(),
            };
            let (path, names) = (path.display(), names.join("`, `"));
            let says = format!("there is no chart of the table `{table}` in {path}; what can be drawn: `{names}`");
            return Err(Error::no_such(says).hint(hint));
        };
        drawable.takes(options)?;
        (drawable.views)(path, options, emit)
    }
}

/// Says that a table has nothing to see.
pub(crate) fn no_rows<R: Row>() -> Error {
    Error::bad_input(format!("the table `{}` has no rows to draw", R::TABLE.name))
        .hint("check the command that wrote it: its selection may be empty")
}

/// All rows of a table that has some.
pub(crate) fn all_rows<R: Row>(rows: &mut dyn Rows<R>) -> Result<Vec<R>> {
    let mut all = vec![];
    rows.rows(0..rows.len(), &mut |row| {
        all.push(row);
        Ok(())
    })?;
    if all.is_empty() { Err(no_rows::<R>()) } else { Ok(all) }
}

/// What the names of figures end in: nothing if all rows are of prompt 0.
pub(crate) fn suffix(prompt: u32, only: bool) -> String {
    if only && prompt == 0 { String::new() } else { format!("-p{prompt}") }
}
