//! Attribution patching: estimates drawn as a sweep of patches is, and beside what was measured.

use std::io::Write;

use super::words::SaidStrongest;
use crate::analysis::AttributionRow;
use crate::analysis::patch::view::mark::{Mark, Names};
use crate::analysis::patch::view::method::Method;
use crate::analysis::patch::view::scale::Scales;
use crate::analysis::patch::view::words::{Coord, place, short_place};
use crate::analysis::patch::view::{Named, of_unit};
use crate::error::Result;
use crate::number::Locale;
use crate::table::{self, Outcome, Provenance, Row, Rows, visible_prose};
use crate::view::axis::Axis;
use crate::view::extent::Extents;
use crate::view::kind::{self, Body, Scatter, View};
use crate::view::viewed::{Shown, Told};
use crate::view::{Emit, Options, Seen};
use std::collections::BTreeSet;
use std::sync::Arc;

/// So many dots at the most have words: the farthest from the line, and the strongest.
const MOST_WORDS: usize = 12;
/// So many dots at the most are drawn: the strongest.
const MOST_DOTS: usize = 5000;

impl Seen for AttributionRow {
    const SCALED: bool = true;

    /// The strongest estimates of all pairs.
    fn words(rows: &mut dyn Rows<Self>, _: &Shown, told: &Told<'_>, w: &mut dyn Write) -> Result<()> {
        let (n, mut strongest) = (rows.len(), SaidStrongest::default());
        rows.rows(0..n, &mut |row| {
            strongest.take(&row);
            Ok(())
        })?;
        Ok(strongest.write(told.inputs, w)?)
    }

    /// A view for each pair (the first `max_prompts`) and site, as those of patches, of what they would do to first order; and where
    /// some were measured, one of all these, of whichever pair, the estimates beside the measurements. One pair is held.
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, options: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let extents = Extents::of::<AttributionRow>(rows, "pair", options)?;
        let pairs = extents.each::<AttributionRow>()?;
        // All figures have one scale, and positions one order, which the last row may still change.
        let (mut names, mut scales) = (Names::default(), Scales::new(options.scale));
        let mut measured = Measured::default();
        rows.rows(0..rows.len(), &mut |row| {
            let mark = as_estimate(&row);
            names.add(&mark);
            if extents.has(row.pair) {
                scales.add(&mark);
            }
            measured.take(mark, &row);
            Ok(())
        })?;
        let (names, provenance) = (names.in_order(), Arc::new(from.clone()));
        let named = Named::of(extents.all().map(|pair| (pair, None)));
        for (pair, range) in pairs {
            let mut marks = vec![];
            rows.rows(range, &mut |row| {
                if row.pair == pair {
                    marks.push(as_estimate(&row));
                }
                Ok(())
            })?;
            marks.iter_mut().for_each(|mark| names.number(mark));
            of_unit(AttributionRow::TABLE.name, &marks, &provenance, &scales, named, options.locale)
                .into_iter()
                .try_for_each(&mut *emit)?;
        }
        measured.dots.iter_mut().for_each(|dot| names.number(&mut dot.patch));
        match measured.all {
            0 => Ok(()),
            _ => emit(beside(measured, provenance, options.locale)),
        }
    }
}

/// An estimate that was measured.
struct Dot {
    patch: Mark,
    estimate: f64,
    exact: f64,
    strength: f32,
}

impl Dot {
    fn off(&self) -> f64 {
        (self.estimate - self.exact).abs()
    }
}

/// What was measured, and how it lies among what was not.
struct Measured {
    /// The strongest, in the order of the table as long as they are all.
    dots: Vec<Dot>,
    /// How many there are in all.
    all: usize,
    /// Whose they are.
    pairs: BTreeSet<u32>,
    weakest: f32,
    /// The strongest of what was not measured; NaN where a strength is.
    unmeasured: f32,
    /// The pair of the first row of the table, and whether there are others.
    first: Option<u32>,
    several: bool,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            dots: vec![],
            all: 0,
            pairs: BTreeSet::new(),
            weakest: f32::INFINITY,
            unmeasured: f32::NEG_INFINITY,
            first: None,
            several: false,
        }
    }
}

impl Measured {
    /// One more row of the table.
    fn take(&mut self, patch: Mark, row: &AttributionRow) {
        self.several |= *self.first.get_or_insert(row.pair) != row.pair;
        let Some(exact) = row.exact else {
            if row.not_finite.is_none() && !self.unmeasured.is_nan() {
                self.unmeasured = if row.strength.is_nan() { f32::NAN } else { self.unmeasured.max(row.strength) };
            }
            return;
        };
        let (estimate, exact) = (f64::from(row.estimate), f64::from(exact));
        // Of a row that has both as finite numbers.
        if !(estimate.is_finite() && exact.is_finite()) {
            return;
        }
        self.all += 1;
        self.pairs.insert(row.pair);
        self.weakest = self.weakest.min(row.strength);
        self.dots.push(Dot { patch, estimate, exact, strength: row.strength });
        if self.dots.len() == 2 * MOST_DOTS {
            self.cut();
        }
    }

    /// Leaves the dots that are drawn.
    fn cut(&mut self) {
        // Stable: of equals the first stay.
        self.dots.sort_by(|a, b| b.strength.total_cmp(&a.strength));
        self.dots.truncate(MOST_DOTS);
    }
}

/// Estimates across, measurements up, and the line on which they are the same.
fn beside(mut of: Measured, provenance: Arc<Provenance>, locale: Locale) -> View {
    let (all_measured, pairs) = (of.all, of.pairs.len());
    let several = pairs > 1 || of.several;
    // Whether what was measured is what is strongest is a fact of the rows.
    let strongest = of.unmeasured <= of.weakest;
    let about = match (strongest, several) {
        (true, true) => format!("the {all_measured} strongest of all pairs, in {pairs} of them"),
        (true, false) => format!("the {all_measured} strongest"),
        (false, true) => format!("{all_measured} measured, of {pairs} pairs"),
        (false, false) => format!("{all_measured} measured"),
    };
    if all_measured > MOST_DOTS {
        of.cut();
    }
    let measured = &of.dots[..];
    let metric = visible_prose(&measured[0].patch.metric);
    let mut legend = vec![
        format!("Each dot is a patch: by how much it changes {metric}, to first order and in fact."),
        "On the line, both are the same.".to_owned(),
    ];
    if all_measured > measured.len() {
        legend.push(format!("Of {all_measured} that were measured, the {} strongest are drawn.", measured.len()));
    }
    let all = || measured.iter().flat_map(|dot| [dot.estimate, dot.exact]);
    let (least, most) = (all().fold(0.0, f64::min), all().fold(0.0, f64::max));
    let room = if least == most { 1.0 } else { (most - least) * 0.06 };
    let axis = |what: &str| Axis::linear(&format!("change of {metric}, {what}"), least - room, most + room, 6);
    let facts = |dot: &Dot| format!("{}: {metric} {}", which(&dot.patch, several), both(dot, locale));
    let mut order: Vec<usize> = (0..measured.len()).collect();
    let matters = |i: &usize| measured[*i].off().max(measured[*i].exact.abs());
    // Stable: of equals the first stay.
    order.sort_by(|a, b| matters(b).total_cmp(&matters(a)));
    let scatter = Scatter {
        x: axis("estimated"),
        y: axis("measured"),
        diagonal: true,
        kinds: vec![],
        dots: measured
            .iter()
            .map(|dot| kind::Dot { x: dot.estimate, y: dot.exact, title: facts(dot), ..kind::Dot::default() })
            .collect(),
        words: order.into_iter().take(MOST_WORDS).map(|i| (i, words(&measured[i].patch, several))).collect(),
    };
    View {
        name: "attribution-measured".to_owned(),
        title: "Attribution: estimated and measured".to_owned(),
        subtitle: View::subtitle(&provenance, &about),
        caption: vec![found(measured, several, locale)],
        legend,
        panels: View::panel(Body::Scatter(scatter)),
        more: vec![],
        provenance,
        locale,
    }
}

/// How good the estimates are, in a sentence.
fn found(measured: &[Dot], several: bool, locale: Locale) -> String {
    let right = measured.iter().filter(|dot| dot.estimate * dot.exact > 0.0).count();
    // The first of equals.
    let farthest = measured.iter().reduce(|a, b| if b.off() > a.off() { b } else { a });
    let farthest = farthest.map_or(String::new(), |dot| {
        format!(" Furthest apart: {}, {}.", which(&dot.patch, several), both(dot, locale))
    });
    format!("{right} of {} estimates have the sign of what was measured.{farthest}", measured.len())
}

/// `attn.z layer 2, head 1`, of several pairs with the pair.
fn which(patch: &Mark, several: bool) -> String {
    let pair = if several { format!("pair {}, ", visible_prose(&patch.pair_id)) } else { String::new() };
    format!("{pair}{} {}", visible_prose(&patch.site), place(patch))
}

fn both(dot: &Dot, locale: Locale) -> String {
    format!("{} estimated, {} measured", locale.signed(dot.estimate), locale.signed(dot.exact))
}

/// Which patch a dot is, short.
fn words(patch: &Mark, several: bool) -> String {
    let coords: Vec<Coord> = Coord::ALL.into_iter().filter(|c| c.of(patch).is_some() && *c != Coord::KvHead).collect();
    let pair = if several { format!(", pair {}", patch.pair_id) } else { String::new() };
    visible_prose(&format!("{} {}{pair}", patch.site, short_place(&coords, patch)))
}

/// An estimate as a row of a sweep: what the patched run would have.
fn as_estimate(r: &AttributionRow) -> Mark {
    let to_clean = r.direction == "noise";
    let patched = if to_clean { r.clean } else { r.corrupt } + r.estimate;
    let method = Method {
        kind: r.kind.clone(),
        to_clean,
        has_corrupt: true,
        window: 1,
        at_once: None,
        noise: None,
        estimated: true,
        path: false,
    };
    let measured = table::Measured {
        metric: r.metric.clone(),
        clean: r.clean,
        corrupt: Some(r.corrupt),
        patched: Some(patched),
        recovered: r.estimated_recovered,
    };
    // To first order, the same value and a metric without a slope there are one.
    let outcome = Outcome { changed: r.estimate != 0.0, reached: true, not_finite: None };
    Mark::of((r.pair, &r.pair_id, None), r.place.clone(), &measured, &outcome, method)
}
