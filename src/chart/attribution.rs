//! Attribution patching: estimates drawn as a sweep of patches is, and beside what was measured.

use super::axis::{Axis, BELOW, LEFT, Plot};
use super::colour::Rgb;
use super::frame::{self, HEAD, MARGIN};
use super::label::sans_width;
use super::mark::Mark;
use super::patch_sweep::Sweep;
use super::patch_words::{Coord, number, place, short_place};
use super::svg::{Anchor, Rect, Svg, Type};
use super::{Figure, Options, no_rows, patch};
use crate::error::Result;
use crate::table::{Attribution, Provenance, visible_prose};

/// Side of the square in which estimates stand beside measurements.
const SIDE: f64 = 420.0;
/// Space right of it, for the words of dots at its edge.
const BESIDE: f64 = 104.0;
/// Font size of a dot's words.
const WORDS: f64 = 9.5;
/// So many dots at the most have words: the farthest from the line, and the strongest.
const MOST_WORDS: usize = 12;

/// A figure for each pair (the first 20) and site, as [`super::patch`] draws patches, of what they would do to first order;
/// and where some were measured, one of all these, the estimates beside the measurements.
///
/// # Errors
/// There are no rows.
pub fn attribution(rows: &[Attribution], provenance: &Provenance) -> Result<Vec<Figure>> {
    draw(rows, provenance, &Options::default())
}

pub(super) fn draw(rows: &[Attribution], provenance: &Provenance, options: &Options) -> Result<Vec<Figure>> {
    if rows.is_empty() {
        return Err(no_rows::<Attribution>());
    }
    let estimates = as_estimates(rows);
    let sweeps = Sweep::all(&estimates, options.max_prompts);
    let only = sweeps.iter().all(|s| s.any().pair == sweeps[0].any().pair);
    let mut figures = patch::figures("attribution", &sweeps, only, provenance)?;
    let measured: Vec<(&Mark, f64, f64)> = (estimates.iter().zip(rows))
        .filter_map(|(patch, row)| Some((patch, f64::from(row.estimate), f64::from(row.exact?))))
        .filter(|(_, estimate, exact)| estimate.is_finite() && exact.is_finite())
        .collect();
    if !measured.is_empty() {
        figures.push(beside(&measured, provenance)?);
    }
    Ok(figures)
}

/// Estimates across, measurements up, and the line on which they are the same.
fn beside(measured: &[(&Mark, f64, f64)], provenance: &Provenance) -> Result<Figure> {
    let metric = visible_prose(&measured[0].0.metric);
    let width = LEFT + SIDE + BESIDE + 2.0 * MARGIN;
    let sentences = [
        format!("Each dot is a patch: by how much it changes {metric}, to first order and in fact."),
        "On the line, both are the same.".to_owned(),
    ];
    let caption = frame::caption_lines(&sentences, width);
    let mut svg = Svg::new(width, HEAD + SIDE + BELOW + frame::caption_height(caption.len()));
    let title = "Attribution: estimated and measured";
    let subtitle = frame::subtitle(provenance, &format!("the {} strongest", measured.len()));
    frame::head(&mut svg, title, &subtitle);
    let all = || measured.iter().flat_map(|(_, estimate, exact)| [*estimate, *exact]);
    let (least, most) = (all().fold(0.0, f64::min), all().fold(0.0, f64::max));
    let room = if least == most { 1.0 } else { (most - least) * 0.06 };
    let (from, to) = (least - room, most + room);
    let axis = |what: &str| Axis::linear(&format!("change of {metric}, {what}"), from, to, 6);
    let square = Rect { x: MARGIN, y: HEAD, w: LEFT + SIDE, h: SIDE + BELOW };
    let plot = Plot::draw(&mut svg, square, axis("estimated"), axis("measured"))?;
    svg.line(&[plot.at(from, from), plot.at(to, to)], Rgb::NONE, 1.0);
    for (patch, estimate, exact) in measured {
        let (x, y) = plot.at(*estimate, *exact);
        let facts = format!(
            "{} {}: {metric} {} estimated, {} measured",
            visible_prose(&patch.site),
            place(patch),
            signed(*estimate),
            signed(*exact)
        );
        svg.dot(x, y, 3.0, Rgb::LINE, Some(&facts));
    }
    words(&mut svg, &plot, measured);
    frame::caption(&mut svg, &caption);
    let svg = svg.finish(&format!("{title}, {subtitle}"), &frame::desc(provenance));
    Ok(Figure { name: "attribution-measured".to_owned(), svg })
}

/// Says beside the dots that matter which patches they are, as far as the words do not touch.
fn words(svg: &mut Svg, plot: &Plot, measured: &[(&Mark, f64, f64)]) {
    let mut order: Vec<_> = measured.iter().collect();
    let matters = |(_, estimate, exact): &(&Mark, f64, f64)| (estimate - exact).abs().max(exact.abs());
    // Stable: of equals the first stay.
    order.sort_by(|a, b| matters(b).total_cmp(&matters(a)));
    let mut taken: Vec<Rect> = vec![];
    let dots: Vec<(f64, f64)> = measured.iter().map(|(_, estimate, exact)| plot.at(*estimate, *exact)).collect();
    for (patch, estimate, exact) in order.into_iter().take(MOST_WORDS) {
        let (x, y) = plot.at(*estimate, *exact);
        let coords: Vec<Coord> =
            Coord::ALL.into_iter().filter(|c| c.of(patch).is_some() && *c != Coord::KvHead).collect();
        let text = visible_prose(&format!("{} {}", patch.site, short_place(&coords, patch)));
        let own = Rect { x: x + 5.0, y: y - WORDS / 2.0, w: sans_width(&text, WORDS), h: WORDS };
        let apart = |r: &Rect| r.x > own.x + own.w || own.x > r.x + r.w || r.y > own.y + own.h || own.y > r.y + r.h;
        let covers = |(dx, dy): &(f64, f64)| {
            *dx > own.x - 2.0 && *dx < own.x + own.w + 2.0 && *dy > own.y - 2.0 && *dy < own.y + own.h + 2.0
        };
        if taken.iter().all(apart) && !dots.iter().any(covers) {
            svg.text(own.x, y, &text, Type::new(WORDS).at(Anchor::Start).ink(Rgb::SOFT));
            taken.push(own);
        }
    }
}

fn signed(x: f64) -> String {
    format!("{}{}", if x > 0.0 { "+" } else { "" }, number(x as f32))
}

/// Estimates as rows of a sweep: what the patched run would have.
fn as_estimates(rows: &[Attribution]) -> Vec<Mark> {
    let row = |r: &Attribution| Mark {
        pair: r.pair,
        pair_id: r.pair_id.clone(),
        site: r.site.clone(),
        to: None,
        layer: r.layer,
        head: r.head,
        kv_head: r.kv_head,
        neuron: r.neuron,
        pos: r.pos,
        query_pos: r.query_pos,
        key_pos: r.key_pos,
        token: r.token.clone(),
        key_token: r.key_token.clone(),
        metric: r.metric.clone(),
        clean: r.clean,
        corrupt: Some(r.corrupt),
        patched: Some(if r.direction == "noise" { r.clean } else { r.corrupt } + r.estimate),
        recovered: r.estimated_recovered,
        kind: r.kind.clone(),
        direction: Some(r.direction.clone()),
        window: 1,
        noise: None,
        noise_at: None,
        changed: r.changed,
        // To first order: what has no slope makes no difference.
        reached: r.estimate != 0.0,
        not_finite: None,
        mean: None,
        estimated: true,
    };
    rows.iter().map(row).collect()
}
