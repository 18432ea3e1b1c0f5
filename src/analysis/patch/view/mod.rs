//! Patching sweeps as they are seen: heat maps of what each patch did, bars or a line where a sweep has one axis, tiles where it has
//! many; and the strongest effects in words. Of paths, ablations and estimates as well.

mod figures;
pub(crate) mod mark;
pub(crate) mod method;
pub(crate) mod scale;
pub(crate) mod sweep;
pub(crate) mod words;

use crate::analysis::{PatchMeanRow, PatchRow, PathMeanRow, PathRow};
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Rows};
use crate::view::extent::Extents;
use crate::view::kind::View;
use crate::view::{Emit, Options, Seen};
use mark::{Mark, Marked, Names, marks_of};
use scale::Scales;
use std::sync::Arc;
use sweep::DrawnSweep;

macro_rules! seen {
    ($($row:ty),*) => {$(
        impl Seen for $row {
            const SCALED: bool = true;

            fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
                views(rows, from, how, emit)
            }
        }
    )*};
}
seen!(PatchRow, PatchMeanRow, PathRow, PathMeanRow);

/// The views of each pair (the first `max_prompts`), site and metric, or of their means: its axes are what the sweep went over. Of paths,
/// where both senders and receivers were swept, receivers are the rows and senders the columns. A sweep of one patch has no axis
/// and nothing to draw. In causal tracing, each sample of the noise counts as a pair. One pair is held.
///
/// Drawn is `recovered`; of a clean run that was patched, `recovered` - 1; where there is no corrupt run or it does not differ,
/// patched minus clean. So 0, the middle of the colours, is always a patch that does nothing. All figures of shares have one scale,
/// and so have all changes of one metric. Means have their standard errors as whiskers, or under them where there is room.
fn views<R: Marked>(
    rows: &mut dyn Rows<R>,
    provenance: &Provenance,
    options: &Options,
    emit: &mut Emit<'_>,
) -> Result<()> {
    // All figures have one scale, and positions one order, which the last row may still change.
    let (mut extents, mut names, mut scales) = (Extents::new(options), Names::default(), Scales::new(options.scale));
    let mut at = 0;
    rows.rows(0..rows.len(), &mut |row| {
        extents.add(row.unit(), at);
        names.add(&row.mark());
        at += 1;
        Ok(())
    })?;
    let (names, units) = (names.in_order(), extents.each::<R>()?);
    let last = units.iter().map(|(_, range)| range.end).max().unwrap_or(0);
    rows.rows(0..last, &mut |row| {
        if extents.has(row.unit()) {
            scales.add(&row.mark());
        }
        Ok(())
    })?;
    let named = Named::of(extents.all());
    let provenance = Arc::new(provenance.clone());
    for (unit, range) in units {
        let marks = marks_of(rows, unit, range, &names)?;
        of_unit(R::TABLE.name, &marks, &provenance, &scales, named, options.locale)
            .into_iter()
            .try_for_each(&mut *emit)?;
    }
    Ok(())
}

/// The views of the marks of one pair or sample in `table`, on the scales of the whole table.
pub(crate) fn of_unit(
    table: &str,
    marks: &[Mark],
    provenance: &Arc<Provenance>,
    scales: &Scales,
    named: Named,
    locale: Locale,
) -> Vec<View> {
    let mut views: Vec<View> = vec![];
    for sweep in DrawnSweep::all(marks, scales, locale) {
        let row = sweep.any();
        let to = row.to.as_ref().map_or(String::new(), |to| format!("-{}", file_name(&to.receiver)));
        let stem = format!("{table}-{}{to}-{}", file_name(&row.site), file_name(&row.metric));
        for (part, mut view) in figures::of(&sweep, provenance) {
            let name = format!("{stem}{part}{}", named.end((row.pair, row.sample)));
            // Names that differ may look the same in a file's name.
            let again = views.iter().filter(|v| v.name == name || v.name.starts_with(&format!("{name}~"))).count();
            view.name = if again == 0 { name } else { format!("{name}~{again}") };
            views.push(view);
        }
    }
    views
}

/// What the names of figures end in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The pair: there are several, or one that is not the first.
    pair: bool,
    /// The sample of the noise: there are several.
    sample: bool,
}

impl Named {
    /// Of the figures of these pairs and samples.
    pub fn of(units: impl Iterator<Item = (u32, Option<u32>)> + Clone) -> Self {
        Self {
            pair: units.clone().any(|(pair, _)| pair != 0),
            sample: units.into_iter().any(|(_, s)| s.unwrap_or(0) > 0),
        }
    }

    fn end(self, (pair, sample): (u32, Option<u32>)) -> String {
        let pair = if self.pair { format!("-p{pair}") } else { String::new() };
        let sample = sample.filter(|_| self.sample).map_or(String::new(), |s| format!("-s{s}"));
        pair + &sample
    }
}

/// What of a site's or metric's name can be part of a file's.
fn file_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    text.chars().take(60).map(plain).collect()
}
