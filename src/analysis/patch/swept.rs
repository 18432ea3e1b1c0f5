//! What the analyses that change one run in many places have in common: options, rows and means, and what is said of them.

use serde::{Deserialize, Serialize};

use super::mean::{Averaged, Means};
use super::view::mark::Marked;
use crate::analysis::{PatchRow, PathRow};
use crate::error::{Error, ErrorKind, Result};
use crate::session::spaces::Words;
use crate::session::{Pairs, Session, Sink, Swept};
use crate::sweep::{Align, Direction, Grid, Keep, Kind, Metric, Over, PatchOptions, Summary, Watch, incomparable};
use crate::text::Pair;
use crate::text::positions::position_at;
use crate::view::Seen;

/// What becomes of a value, in which run, and what is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Change {
    /// Change the corrupt run (denoise), for `replace` by clean values; or the clean run (noise), for `replace` by corrupt values
    /// [default: denoise for `replace`; noise for all other kinds, which need no other prompt and ablate the clean run]
    #[cfg_attr(feature = "cli", arg(long, value_enum))]
    pub direction: Option<Direction>,
    /// What becomes of a value: replace (by the other prompt's), zero, mean (over --dataset), mean-by-position, resample
    /// (from --dataset), noise=DEVIATIONS, scale=FACTOR, add=FACTOR (of --vector), knock-out (of attention scores)
    #[cfg_attr(feature = "cli", arg(long, default_value_t = Change::default().kind, value_name = "KIND"))]
    pub kind: String,
    /// Seed for random draws
    #[cfg_attr(feature = "cli", arg(long, value_name = "SEED", default_value_t = 0))]
    pub seed: u64,
    /// What to measure: logit_diff, logit, prob, log_prob, rank, kl_to_clean, loss, or several with commas between
    #[cfg_attr(
        feature = "cli",
        arg(long, default_value = "logit_diff", value_name = "METRICS", value_delimiter = ',')
    )]
    pub metric: Vec<String>,
    /// At which position to measure; negative ones count from the end
    #[cfg_attr(
        feature = "cli",
        arg(long, default_value_t = -1, value_name = "POSITION", allow_hyphen_values = true)
    )]
    pub measure_at: isize,
    /// Compute so many rows again, drawn with --seed, each by whole forward passes of its own, and print the largest difference
    #[serde(skip)]
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 0, value_name = "N"))]
    pub verify: usize,
}

impl Default for Change {
    fn default() -> Self {
        Self {
            direction: None,
            kind: "replace".into(),
            seed: 0,
            metric: vec!["logit_diff".into()],
            measure_at: -1,
            verify: 0,
        }
    }
}

impl Change {
    /// What to do at the places of `grid`.
    ///
    /// # Errors
    /// A kind or metric that there is not.
    pub fn options(&self, on: &Session, input: &Swept, grid: Grid) -> Result<PatchOptions> {
        let kind = Kind::parse(&self.kind, input.vector.as_ref())?;
        Ok(PatchOptions {
            grid,
            direction: self.direction.unwrap_or_else(|| kind.usual_direction()),
            kind,
            metrics: metrics(&self.metric)?,
            measure_at: self.measure_at,
            memory_bytes: on.memory_bytes,
            dataset: input.dataset.clone(),
            seed: self.seed,
            noised: None,
            verify: self.verify,
        })
    }
}

/// Which of the places of a sweep: all of them, unless some are named.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Only {
    /// Only these layers, such as 0,3
    #[cfg_attr(feature = "cli", arg(long, value_name = "LAYERS", value_delimiter = ','))]
    pub layers: Option<Vec<usize>>,
    /// Only these heads (of keys and values: key/value heads)
    #[cfg_attr(feature = "cli", arg(long, value_name = "HEADS", value_delimiter = ','))]
    pub heads: Option<Vec<usize>>,
    /// Only these neurons
    #[cfg_attr(feature = "cli", arg(long, value_name = "NEURONS", value_delimiter = ','))]
    pub neurons: Option<Vec<usize>>,
    /// Only these positions, such as 0,3,-1; negative ones count from the end
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "POSITIONS", value_delimiter = ',', allow_hyphen_values = true)
    )]
    pub pos: Option<Vec<isize>>,
}

impl Only {
    /// A grid of these places.
    pub fn grid(&self) -> Grid {
        Grid {
            layers: self.layers.clone(),
            heads: self.heads.clone(),
            neurons: self.neurons.clone(),
            positions: self.pos.clone(),
            ..Grid::default()
        }
    }
}

/// The metrics of these names.
///
/// # Errors
/// When there is none of that name.
pub fn metrics(names: &[String]) -> Result<Vec<Metric>> {
    names.iter().map(|name| Metric::parse(name)).collect()
}

/// The axes of these names.
///
/// # Errors
/// When there is none of that name.
pub fn axes(names: &[String]) -> Result<Vec<Over>> {
    names.iter().map(|name| Over::parse(name)).collect()
}

/// The error for positions that are chosen in two ways, if they are.
///
/// # Errors
/// Then.
pub fn chosen_once(pairs: &Pairs, by_number: bool) -> Result<()> {
    if pairs.align == Align::Named && by_number {
        return Err(Error::bad_input("positions are chosen both by number and by name")
            .hint("leave out --positions, or what chooses them by number"));
    }
    Ok(())
}

/// Notes where answers and foils may have been meant with or without a space before them, if a metric reads them.
///
/// # Errors
/// Whatever the model says as it runs.
pub fn note_spaces(on: &Session, pairs: &[Pair], metrics: &[Metric], measure_at: isize, out: &Sink<'_>) -> Result<()> {
    if !metrics.iter().any(|metric| metric.reads_answers()) {
        return Ok(());
    }
    let each = |of: fn(&Pair) -> &[u32]| -> Vec<Words<'_>> {
        let each = pairs.iter().filter_map(|pair| {
            let prompt = &pair.clean;
            // A position that is not there is said where it is measured.
            Some(Words { prompt, at: position_at(measure_at, prompt).ok()?, tokens: of(pair).to_vec() })
        });
        each.collect()
    };
    let several = if pairs.iter().any(|pair| pair.corrupt.is_some()) { "pairs" } else { "prompts" };
    for (what, words) in [("answer", each(|pair| &pair.answers)), ("foil", each(|pair| &pair.foils))] {
        if let Some(said) = on.doubtful_spaces([what, several], &words)? {
            out.note(said);
        }
    }
    Ok(())
}

/// A row of such a sweep.
pub(crate) trait OfSweep: Seen + Marked + Averaged<Mean: Seen> {
    /// What one is called, in the plural.
    const CALLED: &str;
}

/// Runs the sweep by `analyse`, and pushes its rows and, of several pairs, their means.
///
/// # Errors
/// What `analyse` says. Where it was stopped, what is done is pushed first.
pub(crate) fn swept<R: OfSweep + 'static>(
    on: &Session,
    pairs: &[Pair],
    options: &PatchOptions,
    out: &mut Sink<'_>,
    analyse: impl FnOnce(&mut dyn Keep, &dyn Watch, &mut dyn FnMut(R) -> Result<()>) -> Result<Summary>,
) -> Result<()>
where
    R::Mean: 'static,
{
    note_spaces(on, pairs, &options.metrics, options.measure_at, out)?;
    if let Some(said) = incomparable(pairs, &options.grid) {
        out.note(said);
    }
    out.provenance().seed = options.is_random().then_some(options.seed);
    out.begin::<R>()?;
    let many = options.has_means(pairs.len());
    let (mut means, mut units, mut last) = (Means::default(), 0, None);
    let (mut parts, watch) = (out.parts.take(), out.watch);
    let mut nothing = ();
    let keep: &mut dyn Keep = match &mut parts {
        Some(parts) => parts,
        None => &mut nothing,
    };
    let produced = analyse(keep, watch, &mut |row: R| {
        if many {
            means.add(&row);
        }
        let unit = row.unit();
        units += usize::from(last != Some(unit));
        last = Some(unit);
        out.push(row)
    });
    out.parts = parts;
    let stopped = matches!(&produced, Err(e) if e.kind() == ErrorKind::Interrupted);
    if produced.is_ok() || stopped {
        means.rows().try_for_each(|row| out.push(row))?;
    }
    let summary = produced?;
    let unit = options.unit(pairs);
    summary.doubts.in_words(unit).into_iter().for_each(|said| out.say(format_args!("note: {said}")));
    let most = out.options.max_prompts;
    if units > most {
        out.say(format_args!("figures of the first {most} {unit}; means are over all, and the table has them all"));
    }
    let of = |n: usize| format!("{n} of {} {}", summary.patches, R::CALLED);
    if summary.without_effect > 0 {
        out.say(format_args!(
            "{} change nothing: their value stays the same, bit for bit, or cannot reach what is measured",
            of(summary.without_effect)
        ));
    }
    if summary.not_finite > 0 {
        out.say(format_args!(
            "{} are not finite: they have rows without a metric, whose column `not_finite` says where, and means leave them out",
            of(summary.not_finite)
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
    Ok(())
}

impl OfSweep for PatchRow {
    const CALLED: &str = "patches";
}

impl OfSweep for PathRow {
    const CALLED: &str = "paths";
}
