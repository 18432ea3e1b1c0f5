//! What the commands that patch have in common, values and paths alike: the sweep on its way to files, figures and words.

use std::path::PathBuf;

use serde_json::Value;

use super::args::{RunArgs, command, request};
use super::out::Out;
use super::patch_grid;
use crate::analysis::Watch;
use crate::analysis::patch::{Averaged, Keep, Means, PatchOptions, Summary};
use crate::chart::mark::{Marked, marks};
use crate::chart::{self, Figure};
use crate::error::{Error, ErrorKind, Result};
use crate::run::{Loaded, Parts, RunFolder};
use crate::table::{Format, Patch, PathPatch, Provenance, Row, TableWriter, read_rows};
use crate::text::Pair;

/// A sweep that was asked for.
pub(super) struct Sweep<'a> {
    /// What it is called: the command, and the folder's first word.
    pub name: &'static str,
    pub loaded: &'a Loaded,
    pub pairs: &'a [Pair],
    pub options: &'a PatchOptions,
    /// The arguments that decide the results, beside model and prompts.
    pub asked: Value,
    pub run: &'a RunArgs,
    /// Whether it goes on where an earlier run was stopped.
    pub resume: bool,
}

/// A row of such a sweep.
pub(super) trait Swept: Marked + Averaged<Mean: Marked> {
    /// What one is called, in the plural.
    const CALLED: &str;
}

impl Swept for Patch {
    const CALLED: &str = "patches";
}

impl Swept for PathPatch {
    const CALLED: &str = "paths";
}

impl Sweep<'_> {
    /// Runs it by `analyse`, which is given where finished waves are kept, whom to tell how far it is, and where rows go.
    pub fn run<R: Swept>(
        &self,
        out: &Out,
        analyse: impl FnOnce(&mut dyn Keep, &dyn Watch, &mut dyn FnMut(R) -> Result<()>) -> Result<Summary>,
    ) -> Result<()> {
        let prompts: Vec<_> = self.pairs.iter().map(|p| p.clean.clone()).collect();
        let others: Vec<Value> = (self.pairs.iter())
            .map(|p| serde_json::json!([p.id, p.corrupt.as_ref().map(|c| c.ids()), p.answers, p.foils]))
            .collect();
        let dataset: Vec<_> = self.options.dataset.iter().map(|p| p.ids()).collect();
        let asked = serde_json::json!({
            "options": self.asked, "pairs": others, "dataset": dataset, "memory": self.run.memory,
            "seed": self.options.seed,
        });
        let request = request(self.name, self.loaded, &prompts, asked);
        let watch = out.watch(self.name);
        let mut folder = RunFolder::create(self.run.out.as_deref(), self.name, &request)?;
        let mut parts = Parts::open(folder.path(), &request, self.resume)?;
        let path = folder.file(&format!("{}.parquet", R::TABLE.name));
        let seed = self.options.is_random().then_some(self.options.seed);
        let mut table = TableWriter::create(&path, Provenance { seed, ..self.loaded.provenance(command()) })?;
        let many = self.pairs.len() > 1;
        let (mut means, mut printed) = (Means::default(), vec![]);
        let mut figures =
            Figures { provenance: table.provenance_mut().clone(), many, rows: vec![], folder: &mut folder };
        let produced = analyse(&mut parts, &watch, &mut |row: R| {
            table.push(&row)?;
            if many {
                means.add(&row);
            }
            if out.format != Format::Table {
                printed.push(row.clone());
            }
            figures.take(row)
        });
        let (summary, stopped) = match produced {
            Ok(summary) => (summary, None),
            Err(e) if e.kind() == ErrorKind::Interrupted => (Default::default(), Some(e)),
            Err(e) => return Err(e),
        };
        table.provenance_mut().complete = stopped.is_none();
        let provenance = table.provenance_mut().clone();
        table.finish()?;
        let drawn = figures.finish(if stopped.is_none() { Ok(()) } else { Err(&path) })?;
        let means: Vec<R::Mean> = means.rows().collect();
        if !means.is_empty() {
            let mut table =
                TableWriter::create(folder.file(&format!("{}.parquet", R::Mean::TABLE.name)), provenance.clone())?;
            means.iter().try_for_each(|row| table.push(row))?;
            let provenance = table.provenance_mut().clone();
            table.finish()?;
            for figure in chart::patch::of_means(&means, &provenance)? {
                folder.write(&format!("{}.svg", figure.name), figure.svg.as_bytes())?;
            }
        }
        if self.resume {
            folder.take_away_what_is_replaced();
        }
        let finished = folder.finish(&command())?;
        out.wrote(&finished);
        if let Some(e) = stopped {
            let hint = format!("the same command with --resume --out {} goes on from here", finished.path.display());
            return Err(Error::new(ErrorKind::Interrupted, "interrupted; what was done is kept").hint(hint).because(e));
        }
        parts.clear();
        if summary.without_effect > 0 {
            out.say(format_args!(
                "{} of {} {} change nothing: their value stays the same, bit for bit, or cannot reach what is measured",
                summary.without_effect,
                summary.patches,
                R::CALLED
            ));
        }
        if summary.not_finite > 0 {
            out.say(format_args!(
                "{} of {} {} are not finite: they have rows without a metric, whose column `not_finite` says where, and means \
                 leave them out",
                summary.not_finite,
                summary.patches,
                R::CALLED
            ));
        }
        if summary.verified > 0 {
            out.say(format_args!(
                "{} {} computed again, each by forward passes of its own: the largest difference is {:.1e} of the spread",
                summary.verified,
                R::CALLED,
                summary.worst_difference
            ));
        }
        match out.format {
            Format::Table => {
                let seen = if means.is_empty() { marks(&drawn) } else { marks(&means) };
                let words = patch_grid::Summary::of(&seen);
                out.print(|w| words.write(w))
            }
            _ => out.rows(&printed),
        }
    }
}

/// Figures of the first pairs, each drawn when its rows are there: only those of one pair are held.
struct Figures<'a, R> {
    provenance: Provenance,
    many: bool,
    rows: Vec<R>,
    folder: &'a mut RunFolder,
}

impl<R: Swept> Figures<'_, R> {
    fn take(&mut self, row: R) -> Result<()> {
        if self.rows.first().is_some_and(|first| first.pair() != row.pair()) {
            self.draw()?;
            self.rows.clear();
        }
        if (row.pair() as usize) < chart::Options::default().max_prompts {
            self.rows.push(row);
        }
        Ok(())
    }

    fn draw(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let figures = chart::patch::of_pair(&self.rows, &self.provenance, self.many)?;
        self.write(figures)
    }

    fn write(&mut self, figures: Vec<Figure>) -> Result<()> {
        for figure in figures {
            self.folder.write(&format!("{}.svg", figure.name), figure.svg.as_bytes())?;
        }
        Ok(())
    }

    /// Draws the last pair and gives its rows back. Of a run that was stopped all figures are drawn again from its table,
    /// which says that it is not whole.
    fn finish(mut self, whole: Result<(), &PathBuf>) -> Result<Vec<R>> {
        match whole {
            Ok(()) => self.draw()?,
            Err(table) => {
                let (rows, provenance) = read_rows::<R>(table)?;
                let pairs = rows.chunk_by(|a, b| a.pair() == b.pair());
                for of_pair in pairs.take(chart::Options::default().max_prompts) {
                    self.write(chart::patch::of_pair(of_pair, &provenance, self.many)?)?;
                }
            }
        }
        Ok(self.rows)
    }
}
