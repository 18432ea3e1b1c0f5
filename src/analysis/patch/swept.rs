//! What the analyses that change one run in many places have in common: rows and means, and what is said of them.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::mean::{Averaged, Means};
use super::view::mark::Marked;
use crate::analysis::{PatchRow, PathRow};
use crate::error::{Error, ErrorKind, Result, said};
use crate::session::spaces::Words;
use crate::session::{Pairs, Session, Shard, Shards, Sink, Swept};
use crate::sweep::{
    Align, Budget, Grid, Keep, Kind, Metric, PatchOptions, Patching, Summary, Watch, alike, incomparable,
};
use crate::table::visible;
use crate::text::Pair;
use crate::text::positions::position_at;
use crate::view::Seen;

/// What `how` asks for at the places of `grid`, of the pairs and of what comes with them.
///
/// # Errors
/// When positions are chosen both by number and by name.
pub fn told(on: &Session, input: &Swept, grid: Grid, how: &Patching) -> Result<PatchOptions> {
    chosen_once(&input.pairs, grid.only.pos.is_some() || grid.keys.is_some())?;
    Ok(PatchOptions {
        grid: Grid { align: input.pairs.align, ..grid },
        how: Patching { metric: Metric::usual(&how.metric, &input.pairs.pairs), ..how.clone() },
        noised: None,
        dataset: input.dataset.clone(),
        vector: input.vector.clone(),
        budget: Budget(on.memory_bytes),
        shard: Shard::default(),
    })
}

/// The error for positions that are chosen in two ways, if they are.
///
/// # Errors
/// Then.
fn chosen_once(pairs: &Pairs, by_number: bool) -> Result<()> {
    if pairs.align == Align::Named && by_number {
        return Err(Error::bad_input("positions are chosen both by number and by name")
            .hint(said("[leave out {!positions}, or what chooses them by number|choose them by one]")));
    }
    Ok(())
}

/// Notes what answers of several tokens are measured by, and where answers and foils may have been meant with or without a space before
/// them, if a metric reads them.
///
/// # Errors
/// Whatever the model says as it runs.
pub fn note_answers(on: &Session, pairs: &[Pair], metrics: &[Metric], measure_at: isize, out: &Sink<'_>) -> Result<()> {
    if !metrics.iter().any(|metric| metric.reads_answers()) {
        return Ok(());
    }
    let several: Vec<&Pair> = pairs.iter().filter(|pair| !pair.rest.is_empty()).collect();
    if let Some(first) = several.first() {
        let ids = [&first.answers[..], &first.rest].concat();
        let (text, n) = (visible(&on.spelled(&ids)), ids.len());
        let which = match several.len() {
            _ if pairs.len() == 1 => format!("the answer \"{text}\" is {n} tokens"),
            many => format!("{many} of {} answers are several tokens, such as \"{text}\" with {n}", pairs.len()),
        };
        let names = metrics.iter().filter(|metric| metric.reads_answers()).map(|metric| metric.name());
        let unread = if several.iter().any(|pair| !pair.foils.is_empty()) { "; foils are not read" } else { "" };
        out.note(format!(
            "{which}: `{}` is that of all of them, each after the prompt and the tokens before it{unread}",
            names.collect::<Vec<_>>().join("` and `")
        ));
    }
    let each = |of: fn(&Pair) -> &[u32]| -> Vec<Words<'_>> {
        let each = pairs.iter().filter(|pair| pair.rest.is_empty()).filter_map(|pair| {
            let prompt = &pair.clean;
            // A position that is not there is said where it is measured.
            Some(Words { prompt, at: position_at(measure_at, prompt).ok()?, tokens: of(pair).to_vec() })
        });
        each.collect()
    };
    let many = if pairs.iter().any(|pair| pair.corrupt.is_some()) { "pairs" } else { "prompts" };
    for (what, words) in [("answer", each(|pair| &pair.answers)), ("foil", each(|pair| &pair.foils))] {
        if let Some(said) = on.doubtful_spaces([what, many], &words)? {
            out.note(said);
        }
    }
    Ok(())
}

/// Notes that positions were chosen at which nothing has changed yet.
pub fn note_alike(on: &Session, pairs: &[Pair], grid: &Grid, out: &Sink<'_>) {
    if let Some(said) = alike(pairs, grid).filter(|_| on.model.spec().is_causal()) {
        out.note(said);
    }
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
    mut options: PatchOptions,
    out: &mut Sink<'_>,
    analyse: impl FnOnce(&PatchOptions, &mut dyn Keep, &dyn Watch, &mut dyn FnMut(R) -> Result<()>) -> Result<Summary>,
) -> Result<()>
where
    R::Mean: 'static,
{
    options.shard = out.shard.unwrap_or_default();
    note_answers(on, pairs, &options.how.metric, options.how.measure_at, out)?;
    if let Some(said) = incomparable(pairs, &options.grid) {
        out.note(said);
    }
    // What else takes the place of values is another at every position.
    if options.noised.is_none() && options.how.kind == Kind::Replace {
        note_alike(on, pairs, &options.grid, out);
    }
    out.provenance().seed = options.is_random().then_some(options.how.seed);
    let of = Of { means: options.has_means(pairs.len()), unit: options.unit(pairs).to_owned() };
    let (mut parts, watch) = (out.parts.take(), out.watch);
    let mut nothing = ();
    let keep: &mut dyn Keep = match &mut parts {
        Some(parts) => parts,
        None => &mut nothing,
    };
    let produced = tell(of, out, |emit| analyse(&options, keep, watch, emit));
    out.parts = parts;
    produced
}

/// What its shards must know of a whole sweep.
#[derive(Serialize, Deserialize)]
struct Of {
    /// Whether there are means.
    means: bool,
    /// What runs are called that are measured.
    unit: String,
}

/// Makes of the shards of a sweep what one process makes.
pub(crate) fn joined<R: OfSweep + 'static>(shards: &Shards, out: &mut Sink<'_>) -> Result<()>
where
    R::Mean: 'static,
{
    let (mut all, mut of) = (Summary::default(), None);
    for (own, summary) in shards.told::<(Of, Summary)>()? {
        all.add(&summary);
        of = Some(own);
    }
    let of = of.ok_or_else(|| Error::compute("a sweep has no shards").fault())?;
    let watch = out.watch;
    tell::<R>(of, out, |emit| shards.rows(watch, emit).map(|()| all))
}

/// Pushes the rows that `produce` gives and, of the whole, their means, and says what there is to say of them.
fn tell<R: OfSweep + 'static>(
    of: Of,
    out: &mut Sink<'_>,
    produce: impl FnOnce(&mut dyn FnMut(R) -> Result<()>) -> Result<Summary>,
) -> Result<()>
where
    R::Mean: 'static,
{
    out.begin::<R>()?;
    if out.shard.is_some() {
        let summary = produce(&mut |row| out.push(row))?;
        out.told = json!((of, summary));
        return Ok(());
    }
    let (mut means, mut units, mut last) = (Means::default(), 0, None);
    let produced = produce(&mut |row: R| {
        if of.means {
            means.add(&row);
        }
        let unit = row.unit();
        units += usize::from(last != Some(unit));
        last = Some(unit);
        out.push(row)
    });
    let stopped = matches!(&produced, Err(e) if e.kind() == ErrorKind::Interrupted);
    if produced.is_ok() || stopped {
        means.rows().try_for_each(|row| out.push(row))?;
    }
    let summary = produced?;
    let unit = &of.unit;
    summary.doubts.in_words(unit).into_iter().for_each(|said| out.say(format_args!("note: {said}")));
    let some = |n: usize| format!("{n} of {} {}", summary.patches, R::CALLED);
    if summary.without_effect > 0 {
        out.say(format_args!(
            "{} change nothing: their value stays the same, bit for bit, or cannot reach what is measured",
            some(summary.without_effect)
        ));
    }
    if summary.not_finite > 0 {
        out.say(format_args!(
            "{} are not finite: they have rows without a metric, whose column `not_finite` says where, and means leave them out",
            some(summary.not_finite)
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
