//! Attribution patching: estimates drawn as a sweep of patches is, and beside what was measured.

use super::axis::{Axis, BELOW, LEFT, Plot};
use super::colour::Rgb;
use super::extent::Extents;
use super::frame::{self, HEAD, MARGIN};
use super::label::{fit_sans, sans_width};
use super::mark::{Mark, Names};
use super::patch_method::Method;
use super::patch_scale::Scales;
use super::patch_sweep::Sweep;
use super::patch_words::{Coord, number, place, short_place};
use super::svg::{Anchor, Rect, Svg, Type};
use super::{Emit, Figure, Options, collected, patch};
use crate::analysis::AttributionRow;
use crate::error::Result;
use crate::table::{Held, Provenance, Rows, visible_prose};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Side of the square in which estimates stand beside measurements.
const SIDE: f64 = 420.0;
/// Space right of it, for the words of dots at its edge.
const BESIDE: f64 = 104.0;
/// Font size of a dot's words.
const WORDS: f64 = 9.5;
/// So many dots at the most have words: the farthest from the line, and the strongest.
const MOST_WORDS: usize = 12;
/// So many dots at the most are drawn: the strongest.
const MOST_DOTS: usize = 5000;

/// A figure for each pair (the first 20) and site, as [`super::patch`] draws patches, of what they would do to first order;
/// and where some were measured, one of all these, of whichever pair, the estimates beside the measurements.
///
/// # Errors
/// There are no rows.
pub fn attribution(rows: &[AttributionRow], provenance: &Provenance) -> Result<Vec<Figure>> {
    collected(|emit| draw(&mut Held(rows), provenance, &Options::default(), emit))
}

/// Draws them one pair after another, of which one is held.
pub(crate) fn draw(
    rows: &mut dyn Rows<AttributionRow>,
    provenance: &Provenance,
    options: &Options,
    emit: &mut Emit<'_>,
) -> Result<()> {
    let extents = Extents::of::<AttributionRow>(rows, "pair", options.max_prompts)?;
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
    let names = names.in_order();
    let named = patch::Named::of(pairs.iter().map(|(pair, _)| (*pair, None)));
    for (pair, range) in pairs {
        let mut marks = vec![];
        rows.rows(range, &mut |row| {
            if row.pair == pair {
                marks.push(as_estimate(&row));
            }
            Ok(())
        })?;
        marks.iter_mut().for_each(|mark| names.number(mark));
        patch::figures("attribution", &Sweep::on(&marks, &scales), named, provenance)?
            .into_iter()
            .try_for_each(&mut *emit)?;
    }
    measured.dots.iter_mut().for_each(|dot| names.number(&mut dot.patch));
    match measured.all {
        0 => Ok(()),
        _ => emit(beside(measured, provenance)?),
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
fn beside(mut of: Measured, provenance: &Provenance) -> Result<Figure> {
    let (all_measured, pairs) = (of.all, of.pairs.len());
    let several = pairs > 1 || of.several;
    // Whether what was measured is what is strongest is a fact of the rows.
    let strongest = of.unmeasured <= of.weakest;
    let subtitle = match (strongest, several) {
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
    let width = LEFT + SIDE + BESIDE + 2.0 * MARGIN;
    let mut sentences = vec![
        found(measured, several),
        format!("Each dot is a patch: by how much it changes {metric}, to first order and in fact."),
        "On the line, both are the same.".to_owned(),
    ];
    if all_measured > measured.len() {
        sentences.push(format!("Of {all_measured} that were measured, the {} strongest are drawn.", measured.len()));
    }
    let caption = frame::caption_lines(&sentences, width);
    let mut svg = Svg::new(width, HEAD + SIDE + BELOW + frame::caption_height(caption.len()));
    let title = "Attribution: estimated and measured";
    let subtitle = frame::subtitle(provenance, &subtitle);
    frame::head(&mut svg, title, &subtitle);
    let all = || measured.iter().flat_map(|dot| [dot.estimate, dot.exact]);
    let (least, most) = (all().fold(0.0, f64::min), all().fold(0.0, f64::max));
    let room = if least == most { 1.0 } else { (most - least) * 0.06 };
    let (from, to) = (least - room, most + room);
    let axis = |what: &str| Axis::linear(&format!("change of {metric}, {what}"), from, to, 6);
    let square = Rect { x: MARGIN, y: HEAD, w: LEFT + SIDE, h: SIDE + BELOW };
    let plot = Plot::draw(&mut svg, square, axis("estimated"), axis("measured"))?;
    svg.line(&[plot.at(from, from), plot.at(to, to)], Rgb::NONE, 1.0);
    for dot in measured {
        let (x, y) = plot.at(dot.estimate, dot.exact);
        let facts = format!("{}: {metric} {}", which(&dot.patch, several), both(dot));
        svg.dot(x, y, 3.0, Rgb::LINE, Some(&facts));
    }
    words(&mut svg, &plot, measured, several);
    frame::caption(&mut svg, &caption);
    let svg = svg.finish(&format!("{title}, {subtitle}"), &frame::desc(provenance));
    Ok(Figure { name: "attribution-measured".to_owned(), svg })
}

/// How good the estimates are, in a sentence.
fn found(measured: &[Dot], several: bool) -> String {
    let right = measured.iter().filter(|dot| dot.estimate * dot.exact > 0.0).count();
    // The first of equals.
    let farthest = measured.iter().reduce(|a, b| if b.off() > a.off() { b } else { a });
    let farthest = farthest
        .map_or(String::new(), |dot| format!(" Furthest apart: {}, {}.", which(&dot.patch, several), both(dot)));
    format!("{right} of {} estimates have the sign of what was measured.{farthest}", measured.len())
}

/// `attn.z layer 2, head 1`, of several pairs with the pair.
fn which(patch: &Mark, several: bool) -> String {
    let pair = if several { format!("pair {}, ", visible_prose(&patch.pair_id)) } else { String::new() };
    format!("{pair}{} {}", visible_prose(&patch.site), place(patch))
}

fn both(dot: &Dot) -> String {
    format!("{} estimated, {} measured", signed(dot.estimate), signed(dot.exact))
}

/// Says beside the dots that matter which patches they are, as far as the words do not touch.
fn words(svg: &mut Svg, plot: &Plot, measured: &[Dot], several: bool) {
    let mut order: Vec<_> = measured.iter().collect();
    let matters = |dot: &Dot| dot.off().max(dot.exact.abs());
    // Stable: of equals the first stay.
    order.sort_by(|a, b| matters(b).total_cmp(&matters(a)));
    let mut taken: Vec<Rect> = vec![];
    let dots: Vec<(f64, f64)> = measured.iter().map(|dot| plot.at(dot.estimate, dot.exact)).collect();
    for dot in order.into_iter().take(MOST_WORDS) {
        let ((x, y), patch) = (plot.at(dot.estimate, dot.exact), &dot.patch);
        let coords: Vec<Coord> =
            Coord::ALL.into_iter().filter(|c| c.of(patch).is_some() && *c != Coord::KvHead).collect();
        let pair = if several { format!(", pair {}", patch.pair_id) } else { String::new() };
        let text = visible_prose(&format!("{} {}{pair}", patch.site, short_place(&coords, patch)));
        let text = fit_sans(&text, svg.size().0 - x - 9.0, WORDS);
        let width = sans_width(&text, WORDS);
        // Right of the dot or left of it, where they touch neither others nor the line; else right of it across the line.
        let (right, left) = ((x + 5.0, Anchor::Start), (x - 5.0 - width, Anchor::End));
        let places = [(right, true), (left, true), (right, false)];
        let free = |((left, anchor), off_the_line): &((f64, Anchor), bool)| {
            let own = Rect { x: *left, y: y - WORDS / 2.0, w: width, h: WORDS };
            let apart = |r: &Rect| r.x > own.x + own.w || own.x > r.x + r.w || r.y > own.y + own.h || own.y > r.y + r.h;
            let covers = |(dx, dy): &(f64, f64)| {
                *dx > own.x - 2.0 && *dx < own.x + own.w + 2.0 && *dy > own.y - 2.0 && *dy < own.y + own.h + 2.0
            };
            // The line goes from the lower left of the plot to its upper right.
            let Rect { x: from, y: top, w, h } = plot.inside;
            let line = |x: f64| top + h - (x - from) / w * h;
            let crossed = line(own.x) > own.y && line(own.x + own.w) < own.y + own.h;
            let fits = own.x > from && taken.iter().all(apart) && !dots.iter().any(covers);
            (fits && !(*off_the_line && crossed)).then_some((own, *anchor))
        };
        if let Some((own, anchor)) = places.iter().find_map(free) {
            let at = if anchor == Anchor::End { own.x + own.w } else { own.x };
            svg.text(at, y, &text, Type::new(WORDS).at(anchor).ink(Rgb::SOFT));
            taken.push(own);
        }
    }
}

fn signed(x: f64) -> String {
    format!("{}{}", if x > 0.0 { "+" } else { "" }, number(x as f32))
}

/// An estimate as a row of a sweep: what the patched run would have.
fn as_estimate(r: &AttributionRow) -> Mark {
    let to_clean = r.direction == "noise";
    let patched = if to_clean { r.clean } else { r.corrupt } + r.estimate;
    Mark {
        pair: r.pair,
        pair_id: r.pair_id.clone(),
        sample: None,
        site: r.site.clone(),
        to: None,
        layer: r.layer,
        head: r.head,
        kv_head: r.kv_head,
        neuron: r.neuron,
        pos: r.pos,
        query_pos: r.query_pos,
        key_pos: r.key_pos,
        position_name: r.position_name.clone(),
        key_position_name: r.key_position_name.clone(),
        token: r.token.clone(),
        key_token: r.key_token.clone(),
        metric: r.metric.clone(),
        clean: r.clean,
        corrupt: Some(r.corrupt),
        patched: Some(patched),
        change: Some(f64::from(patched) - f64::from(r.clean)),
        recovered: r.estimated_recovered,
        mean: None,
        method: Arc::new(Method {
            kind: r.kind.clone(),
            to_clean,
            has_corrupt: true,
            window: 1,
            noise: None,
            estimated: true,
            path: false,
        }),
        // To first order, the same value and a metric without a slope there are one.
        changed: r.estimate != 0.0,
        reached: true,
        not_finite: None,
    }
}
