//! Tables whatever their row type: as they are declared, and as they were written.

use std::any::Any;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::path::Path;

use super::{Drawable, Emit, Options, Seen, View, terminal};
use crate::error::{Result, Said};
use crate::table::{Cell, Format, Held, Provenance, Rows, Table, TableFile, TableInfo, TextOptions, TextWriter};
use crate::text::Prompt;

/// Prompts and pairs that are shown on a terminal; the file has them all.
pub const SHOWN: usize = 3;

/// What a run knows of its results beside the rows.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// How many prompts or pairs were run.
    pub inputs: usize,
    /// Which, where they are prompts.
    pub prompts: &'a [Prompt],
    /// How the results were made.
    pub provenance: &'a Provenance,
    /// How options are worded.
    pub worded: &'a dyn Fn(&Said) -> String,
    /// Told what a reader should know.
    pub note: &'a dyn Fn(&Said),
}

/// What is shown of the views of the first prompts or pairs.
#[derive(Default)]
pub struct Shown {
    text: Vec<String>,
    /// Whose they are.
    of: Vec<String>,
    /// Whether there are no files that hold the others.
    unkept: bool,
}

impl Shown {
    /// Nothing yet; whether there are files that hold all.
    pub fn new(kept: bool) -> Self {
        Self { unkept: !kept, ..Self::default() }
    }

    /// One more view, which also says this.
    pub fn take(&mut self, view: &View, caption: Option<&str>) {
        if !self.of.contains(&view.subtitle) {
            self.of.push(view.subtitle.clone());
        }
        if self.of.len() > SHOWN {
            return;
        }
        let mut view = view.clone();
        view.subtitle.extend(caption.map(|caption| format!(", {caption}")));
        self.text.push(terminal::text(&view, terminal::width()));
    }

    /// What is shown of another table, after this.
    pub fn follow(&mut self, other: Self) {
        self.text.extend(other.text);
        self.of.extend(other.of);
    }

    /// Writes them, and how many of `n` prompts are not shown.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, n: usize, w: &mut dyn Write) -> io::Result<()> {
        w.write_all(self.text.join("\n").as_bytes())?;
        match n.saturating_sub(SHOWN) {
            0 => Ok(()),
            n if self.unkept => writeln!(w, "... and {n} more prompts"),
            n => writeln!(w, "... and {n} more prompts, in the files"),
        }
    }
}

/// A table that some analysis writes, whatever its row type.
pub trait AnyTable: Sync {
    /// Its name, version and columns.
    fn info(&self) -> &'static TableInfo;

    /// How it is drawn from its file, if there are views of it.
    fn drawable(&self) -> Option<Drawable>;

    /// Gives the values of each row in its file to `f`, in the order of the file.
    ///
    /// # Errors
    /// The file cannot be read as this table; what `f` says.
    fn cells(&self, path: &Path, f: &mut dyn FnMut(&[Cell<'_>]) -> Result<()>) -> Result<()>;
}

/// What the figures of a table are about: what its first column counts.
pub fn subjects(table: &TableInfo) -> &'static str {
    match table.columns.first().map(|column| column.name) {
        Some("prompt") => "prompts",
        Some("pair") => "pairs",
        _ => "entries",
    }
}

/// The table with rows of this type.
pub struct Of<R>(PhantomData<fn() -> R>);

impl<R> Of<R> {
    /// The table.
    pub const TABLE: Self = Self(PhantomData);
}

impl<R: Seen> AnyTable for Of<R> {
    fn info(&self) -> &'static TableInfo {
        R::TABLE
    }

    fn drawable(&self) -> Option<Drawable> {
        R::DRAWN.then(Drawable::of::<R>)
    }

    fn cells(&self, path: &Path, f: &mut dyn FnMut(&[Cell<'_>]) -> Result<()>) -> Result<()> {
        TableFile::<R>::open(path)?.each(&mut |row| f(&row.cells()))
    }
}

/// Rows that were written, of any type.
pub trait Written {
    /// What their table is called.
    fn name(&self) -> &'static str;

    /// Whether its words have colours. Text of tokens in other words is written as it is.
    fn is_drawn(&self) -> bool;

    /// Whether a terminal shows them rather than tables that say that they need not be.
    fn is_shown(&self) -> bool;

    /// What their figures are about.
    fn subjects(&self) -> &'static str;

    /// Gives their views to `emit`; none where there are no rows.
    ///
    /// # Errors
    /// When they cannot be read; what `emit` says.
    fn views(&mut self, options: &Options, emit: &mut Emit<'_>) -> Result<()>;

    /// Writes them for people.
    ///
    /// # Errors
    /// When they cannot be read, or words not written.
    fn words(&mut self, shown: &Shown, told: &Told<'_>, w: &mut dyn Write) -> Result<()>;

    /// Writes them as another program reads them: as text, or as the bytes of their file.
    ///
    /// # Errors
    /// When they cannot be read, or not written.
    fn text(&mut self, format: Format, how: TextOptions, w: &mut dyn Write) -> Result<()>;

    /// Themselves, for whoever knows their type.
    fn any(&mut self) -> &mut dyn Any;
}

impl<R: Seen> Table<R> {
    /// What there is to see of the rows, for any renderer; nothing where there are none.
    ///
    /// # Errors
    /// When the rows do not fit together.
    pub fn views(&self) -> Result<Vec<View>> {
        let mut views = vec![];
        if R::DRAWN && !self.rows.is_empty() {
            R::views(&mut Held(&self.rows), &self.provenance, &Options::default(), &mut |view| {
                views.push(view);
                Ok(())
            })?;
        }
        Ok(views)
    }
}

impl<R: Seen + 'static, S: Rows<R> + 'static> Written for Table<R, S> {
    fn name(&self) -> &'static str {
        R::TABLE.name
    }

    fn is_drawn(&self) -> bool {
        R::DRAWN
    }

    fn is_shown(&self) -> bool {
        R::DRAWN && R::SHOWN
    }

    fn subjects(&self) -> &'static str {
        subjects(R::TABLE)
    }

    fn views(&mut self, options: &Options, emit: &mut Emit<'_>) -> Result<()> {
        match R::DRAWN && self.rows.len() > 0 {
            true => R::views(&mut self.rows, &self.provenance, options, emit),
            false => Ok(()),
        }
    }

    fn words(&mut self, shown: &Shown, told: &Told<'_>, w: &mut dyn Write) -> Result<()> {
        R::words(&mut self.rows, shown, told, w)
    }

    fn text(&mut self, format: Format, how: TextOptions, w: &mut dyn Write) -> Result<()> {
        if format == Format::Parquet {
            return self.write_bytes(w);
        }
        let (n, mut text) = (self.rows.len(), TextWriter::new(format, how, w)?);
        self.rows.rows(0..n, &mut |row| text.push(&row))?;
        text.finish()
    }

    fn any(&mut self) -> &mut dyn Any {
        self
    }
}
