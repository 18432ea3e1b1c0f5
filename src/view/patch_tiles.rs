//! A sweep over queries and keys of many heads: a small tile for each head, the effects in it in steps of colour.

use super::attention::{UNSEEN, runs};
use super::axis::Axis;
use super::colour::{Rgb, diverging};
use super::frame::{BAR, HEAD, MARGIN, SHORTEST_BAR, colour_bar};
use super::label::sans_width;
use super::mark::Mark;
use super::patch::sheet;
use super::patch_sweep::Sweep;
use super::patch_words::{Coord, places, short_place};
use super::svg::{Anchor, Rect, Svg, Type};
use crate::error::Result;
use crate::table::Provenance;
use std::collections::BTreeMap;

/// Tiles show effects in this many steps each way: one path for each, instead of one mark for each cell.
const STEPS: i32 = 8;
/// Least side of a cell in pixels: what is smaller is merged, or one query and key could not be seen.
const LEAST_CELL: f64 = 2.0;
/// Tiles beside each other where they are not the heads of a layer.
const ACROSS: usize = 12;
/// Space between tiles.
const GAP: f64 = 8.0;
/// Line with a tile's name.
const NAME: f64 = 13.0;

/// The figure: a tile for each place along `units`, queries down and keys along in it.
pub(super) fn tiles(sweep: &Sweep<'_>, units: &[Coord], provenance: &Provenance) -> Result<String> {
    let index = |coord: Coord| -> BTreeMap<Option<u32>, usize> {
        places(&sweep.rows, &[coord]).into_iter().enumerate().map(|(i, (k, _))| (k[0], i)).collect()
    };
    let (queries, keys) = (index(Coord::QueryPos), index(Coord::KeyPos));
    let found = places(&sweep.rows, units);
    // Layers down and heads along; otherwise one after the other.
    let along = match units {
        [_, along] => places(&sweep.rows, &[*along]).len(),
        _ => found.len().min(ACROSS),
    };
    let at: Vec<(usize, usize)> = match units {
        [down, along] => {
            let (down, along) = (index(*down), index(*along));
            found.iter().map(|(k, _)| (down[&k[0]], along[&k[1]])).collect()
        }
        _ => (0..found.len()).map(|i| (i / ACROSS, i % ACROSS)).collect(),
    };
    let lines = at.iter().map(|a| a.0 + 1).max().unwrap_or(1);
    let side = (1320.0 / along.max(1) as f64 - GAP).clamp(44.0, 150.0).floor();
    let merged = queries.len().max(keys.len()).div_ceil((side / LEAST_CELL) as usize).max(1);
    let (across, down) = (keys.len().div_ceil(merged), queries.len().div_ceil(merged));
    let scale = side / across.max(down).max(1) as f64;
    let (w, h) = (across as f64 * scale, down as f64 * scale);
    let (grid_w, grid_h) = (along as f64 * (w + GAP) - GAP, lines as f64 * (h + NAME + GAP) - GAP);

    let most = sweep.most();
    let mut more = vec![
        "In a tile: query down, key across, the first token at the upper left.".to_owned(),
        format!("{} They have {STEPS} steps each way.", sweep.colours("marked by a white core")),
        format!("Grey: {}.", sweep.nothing()),
    ];
    more.extend(sweep.errors());
    if let [Coord::Layer, Coord::Head] = units {
        more.insert(0, "One tile for each head, LxHy: layer x, head y.".to_owned());
    }
    if merged > 1 {
        more.push(format!("Each cell is the strongest of {merged} x {merged} patches."));
    }
    let size = (grid_w + BAR, grid_h.max(SHORTEST_BAR + NAME));
    sheet(sweep, provenance, size, &more, |svg| {
        let mut by_unit = BTreeMap::<Vec<Option<u32>>, Vec<&Mark>>::new();
        for row in &sweep.rows {
            by_unit.entry(units.iter().map(|c| c.of(row)).collect()).or_default().push(row);
        }
        for ((key, first), (i, j)) in found.iter().zip(&at) {
            let (x, y) = (MARGIN + *j as f64 * (w + GAP), HEAD + *i as f64 * (h + NAME + GAP));
            let name = match units {
                [one] => format!("{} {}", one.name(), short_place(units, first)),
                _ => short_place(units, first),
            };
            let size = if sans_width(&name, 9.5) > w { 8.0 } else { 9.5 };
            svg.text(x + w / 2.0, y + NAME / 2.0 - 1.0, &name, Type::new(size).at(Anchor::Middle));
            svg.rect(Rect { x, y: y + NAME, w, h }, UNSEEN, None);
            let rows = &by_unit[key];
            let cell = |r: &Mark| (queries[&r.query_pos] / merged, keys[&r.key_pos] / merged);
            svg.group(x, y + NAME, scale, &summary(sweep, &name, rows), |svg| tile(svg, sweep, rows, cell, most));
        }
        let bar = Axis::signed(&sweep.quantity(), most);
        let h = grid_h.min(240.0) - NAME;
        colour_bar(svg, MARGIN + grid_w + 16.0, HEAD + NAME, h, &bar, |v| diverging(v, most));
        Ok(())
    })
}

/// Draws one tile in units of its cells.
fn tile(svg: &mut Svg, sweep: &Sweep<'_>, rows: &[&Mark], cell: impl Fn(&Mark) -> (usize, usize), most: f64) {
    let mut cells = BTreeMap::<(usize, usize), f64>::new();
    for row in rows.iter().filter(|r| !sweep.nothing_changed(r)) {
        let value = sweep.value(row);
        let strongest = cells.entry(cell(row)).or_insert(value);
        if value.abs() > strongest.abs() || strongest.is_nan() {
            *strongest = value;
        }
    }
    let step = |v: f64| (v / most * f64::from(STEPS)).round().clamp(-f64::from(STEPS), f64::from(STEPS)) as i32;
    for level in -STEPS..=STEPS {
        let of_level = cells.iter().filter(|(_, v)| !v.is_nan() && step(**v) == level);
        let d = runs(of_level.map(|(at, _)| *at));
        if !d.is_empty() {
            svg.path(&d, diverging(f64::from(level), f64::from(STEPS)));
        }
    }
    // The core of a cell, a third as wide.
    let beyond = cells.iter().filter(|(_, v)| sweep.scale.clips(**v));
    let d: String = beyond.map(|((q, k), _)| format!("M{k}.33 {q}.33h.34v.34h-.34z")).collect();
    if !d.is_empty() {
        // Beyond the scale, a cell is as dark as can be.
        svg.path(&d, Rgb::PAPER);
    }
    let d = runs(cells.iter().filter(|(_, v)| v.is_nan()).map(|(at, _)| *at));
    if !d.is_empty() {
        svg.path(&d, diverging(f64::NAN, 1.0));
    }
}

/// What is strongest in a tile, in one line.
fn summary(sweep: &Sweep<'_>, name: &str, rows: &[&Mark]) -> String {
    let changed = rows.iter().filter(|r| !sweep.nothing_changed(r)).count();
    let strongest = rows.iter().max_by(|a, b| sweep.strength(a).total_cmp(&sweep.strength(b)));
    let strongest = strongest.map_or(String::new(), |r| format!("; strongest: {}", sweep.facts(r)));
    format!("{name}: {changed} of {} patches change something{strongest}", rows.len())
}
