//! What the commands that patch have in common, values and paths alike: the sweep on its way to files, figures and words.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::args::{RunArgs, command};
use super::out::Out;
use super::pairs::say_spaces;
use super::request::{Ids, Pairs, request};
use super::signals;
use crate::analysis::Watch;
use crate::analysis::patch::view::mark::{Marked, marks_of};
use crate::analysis::patch::view::scale::Scales;
use crate::analysis::patch::view::{Named, of_unit};
use crate::analysis::patch::{Align, Averaged, Keep, Means, PatchOptions, Summary, incomparable};
use crate::analysis::{PatchRow, PathRow};
use crate::error::{ErrorKind, Result};
use crate::number::Locale;
use crate::session::{Parts, RunFolder, Session};
use crate::table::{Format, Held, Provenance, Row, TableFile, TableWriter};
use crate::text::Pair;
use crate::view::kind::View;
use crate::view::{Options, Seen, terminal};

/// A sweep that was asked for.
pub(super) struct Sweep<'a> {
    /// What it is called: the command, and the folder's first word.
    pub name: &'static str,
    pub loaded: &'a Session,
    pub pairs: &'a [Pair],
    pub options: &'a PatchOptions,
    /// The arguments that decide the results, beside model and prompts.
    pub asked: Value,
    pub run: &'a RunArgs,
    /// Where the scale of the figures ends, if that was said.
    pub scale: Option<f64>,
    /// Whether it goes on where an earlier run was stopped.
    pub resume: bool,
    /// Where values that are put into the run are from, if not from where everybody would expect it, in words.
    pub values: Option<String>,
}

/// What decides the results beside model and clean prompts, in the order in which it is hashed.
#[derive(Serialize)]
struct Asked<'a> {
    options: &'a Value,
    pairs: Pairs<'a>,
    dataset: Ids<'a>,
    memory: usize,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    align: Option<&'static str>,
}

/// A row of such a sweep.
pub(super) trait Swept: Marked + Averaged<Mean: Marked + Seen> {
    /// What one is called, in the plural.
    const CALLED: &str;
}

impl Swept for PatchRow {
    const CALLED: &str = "patches";
}

impl Swept for PathRow {
    const CALLED: &str = "paths";
}

impl Sweep<'_> {
    /// Runs it by `analyse`, which is given where finished waves are kept, whom to tell how far it is, and where rows go.
    pub fn run<R: Swept>(
        &self,
        out: &Out,
        analyse: impl FnOnce(&mut dyn Keep, &dyn Watch, &mut dyn FnMut(R) -> Result<()>) -> Result<Summary>,
    ) -> Result<()> {
        let asked = Asked {
            options: &self.asked,
            pairs: Pairs(self.pairs),
            dataset: Ids(&self.options.dataset),
            memory: self.run.memory,
            seed: self.options.seed,
            align: (self.options.grid.align == Align::End).then_some("end"),
        };
        let request = request(self.name, self.loaded, self.pairs.iter().map(|pair| &pair.clean), asked);
        let watch = out.watch(self.name);
        let mut folder = self.run.folder(out, self.name, &[R::TABLE.name, R::Mean::TABLE.name], &request)?;
        // Whoever this one waited for may have completed what was to be resumed.
        let resume = self.resume && (Parts::are_in(folder.path()) || !folder.waited());
        let mut parts = Parts::open(folder.path(), &request, resume, self.run.force)?;
        say_spaces(out, self.loaded, self.pairs, &self.options.metrics, self.options.measure_at)?;
        if let Some(said) = incomparable(self.pairs, &self.options.grid) {
            out.note(said);
        }
        let path = folder.file(&format!("{}.parquet", R::TABLE.name));
        let seed = self.options.is_random().then_some(self.options.seed);
        let mut table = TableWriter::create(&path, Provenance { seed, ..self.loaded.provenance(command()) })?;
        let many = self.options.has_means(self.pairs.len());
        let mut means = Means::default();
        let mut drawn = Drawn::new(self.scale);
        let produced = analyse(&mut parts, &watch, &mut |row: R| {
            table.push(&row)?;
            if many {
                means.add(&row);
            }
            drawn.take(&row);
            Ok(())
        });
        let (summary, stopped) = match produced {
            Ok(summary) => (summary, None),
            Err(e) if e.kind() == ErrorKind::Interrupted => (Default::default(), Some(e)),
            Err(e) => return Err(e),
        };
        table.provenance_mut().complete = stopped.is_none();
        let provenance = table.provenance_mut().clone();
        table.finish()?;
        let mut written = TableFile::<R>::open(&path)?;
        let mut shown = drawn.draw(&mut written, &mut folder, self)?;
        // Nothing is held twice: neither what the means were made of, nor a pair's rows that nobody asks for.
        let of_means: Vec<R::Mean> = means.rows().collect();
        drop(means);
        let means = of_means;
        if many {
            shown.clear();
        }
        if !means.is_empty() {
            let mut table =
                TableWriter::create(folder.file(&format!("{}.parquet", R::Mean::TABLE.name)), provenance.clone())?;
            means.iter().try_for_each(|row| table.push(row))?;
            let provenance = table.provenance_mut().clone();
            table.finish()?;
            let options = Options { scale: self.scale, ..Options::default() };
            R::Mean::views(&mut Held(&means), &provenance, &options, &mut |view| {
                folder.view(&view)?;
                shown.push(self.in_words(view));
                Ok(())
            })?;
        }
        if let Some(e) = stopped {
            let hint = format!("the same command with --resume --out {} goes on from here", folder.path().display());
            let what = match folder.finish_stopped(&command())? {
                Some(finished) => {
                    out.wrote(&finished);
                    "what was done is kept"
                }
                None => "what was done is kept, and so are the complete results that were there",
            };
            return Err(signals::interrupted(what).hint(hint).because(e));
        }
        let finished = folder.finish(&command())?;
        out.wrote(&finished);
        // Before anybody else is let in, who may keep parts there.
        parts.clear();
        drop(finished);
        summary.doubts.in_words(self.options.unit(self.pairs)).into_iter().for_each(|said| out.note(said));
        drawn.say(out, self.options.unit(self.pairs));
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
            Format::Table => out.print(|w| w.write_all(shown.join("\n").as_bytes())),
            _ => out.table(&mut written),
        }
    }
}

impl Sweep<'_> {
    /// A view for the terminal, which also says where values are from.
    fn in_words(&self, mut view: View) -> String {
        if let Some(values) = &self.values {
            view.subtitle += &format!(", {values}");
        }
        terminal::text(&view, terminal::width())
    }
}

/// Which rows of the table are drawn, those of the first pairs and samples, and on which scales: all figures of a table have the same,
/// so that none can be drawn before the last row is there. They are drawn from the file, of which those of one pair are held.
struct Drawn {
    /// Each pair, or sample of one, with how many rows it has; in the file they follow one another.
    units: Vec<((u32, Option<u32>), usize)>,
    /// Whether there are others that are not drawn.
    others: bool,
    scales: Scales,
}

impl Drawn {
    fn new(scale: Option<f64>) -> Self {
        Self { units: vec![], others: false, scales: Scales::new(scale) }
    }

    /// One more row of the table.
    fn take<R: Marked>(&mut self, row: &R) {
        let most = Options::default().max_prompts;
        let full = self.units.len() == most;
        match self.units.last_mut() {
            Some((unit, n)) if *unit == row.unit() && !self.others => *n += 1,
            _ if !full => self.units.push((row.unit(), 1)),
            _ => {
                self.others = true;
                return;
            }
        }
        self.scales.add(&row.mark());
    }

    /// Draws the figures of the table, and gives the last pair that is drawn in words.
    fn draw<R: Marked>(
        &self,
        table: &mut TableFile<R>,
        folder: &mut RunFolder,
        asked: &Sweep<'_>,
    ) -> Result<Vec<String>> {
        let named = Named::of(self.units.iter().map(|(unit, _)| *unit));
        let (mut from, mut words, provenance) = (0, vec![], Arc::new(table.provenance().clone()));
        for (unit, n) in &self.units {
            let seen = marks_of(table, *unit, from..from + n, None)?;
            let views = of_unit(R::TABLE.name, &seen, &provenance, &self.scales, named, Locale::EN);
            views.iter().try_for_each(|view| folder.view(view))?;
            words = views.into_iter().map(|view| asked.in_words(view)).collect();
            from += n;
        }
        Ok(words)
    }

    /// Says where not all have a figure; `units` is what they are called.
    fn say(&self, out: &Out, units: &str) {
        if self.others {
            let n = self.units.len();
            out.say(format_args!("figures of the first {n} {units}; means are over all, and the table has them all"));
        }
    }
}
