//! Which figure a sweep is, by the axes that it has; and the rows that make its cells.

use super::mark::Mark;
use super::sweep::{DrawnSweep, errors_in_words};
use super::words::{Coord, Placed, axis_name, on_axis, place, places, short_place};
use crate::table::{Provenance, visible_prose};
use crate::view::axis::Axis;
use crate::view::colour::Colours;
use crate::view::kind::{
    self, Area, Body, Cell, Heat, Item, Panel, Shape, Side, Steps, Table, TableRow, Tile, Tiles, View,
};
use crate::view::label::capital;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Of more rows or bars than this, the strongest are drawn.
const MOST_ROWS: usize = 60;
/// Of more columns than this that are no positions, the strongest are drawn.
const MOST_COLUMNS: usize = 150;
/// A figure draws at most this many cells one by one; the weakest of more are areas, without titles.
const MOST_CELLS: usize = 12_000;
/// Tiles show effects in this many steps each way.
const STEPS: u32 = 8;
/// Tiles beside each other where they are not the heads of a layer.
const ACROSS: usize = 12;
/// Effects that are said in words.
const STRONGEST: usize = 10;

/// A body, and sentences about its marks.
type Drawn = (Body, Vec<String>);

/// The views of a sweep, with what their names end in.
pub(super) fn of(sweep: &DrawnSweep<'_>, provenance: &Arc<Provenance>) -> Vec<(String, View)> {
    let mut views = shapes(sweep, provenance);
    if let Some((_, first)) = views.first_mut() {
        first.more.extend(strongest_in_words(sweep));
    }
    views
}

fn shapes(sweep: &DrawnSweep<'_>, provenance: &Arc<Provenance>) -> Vec<(String, View)> {
    let (positions, units): (Vec<Coord>, Vec<Coord>) = sweep.over.iter().partition(|c| c.is_position());
    let (to, from): (Vec<Coord>, Vec<Coord>) = units.iter().partition(|c| c.is_receivers());
    let body = match (&units[..], &positions[..]) {
        ([], []) => None,
        ([], [one]) => Some(steps(sweep, &[*one])),
        ([layer], []) if layer.is_layer() => Some(steps(sweep, &[*layer])),
        (_, []) if !to.is_empty() && !from.is_empty() => Some(map(sweep, &to, &from)),
        ([row, column], []) if places(&sweep.rows, &[*column]).len() <= MOST_ROWS => {
            Some(map(sweep, &[*row], &[*column]))
        }
        (units, []) => Some(steps(sweep, units)),
        (units, [pos]) => Some(map(sweep, units, &[*pos])),
        ([], [.., query, key]) => Some(map(sweep, &[*query], &[*key])),
        (units, _) => {
            let strongest = sweep.rows.iter().max_by(|a, b| sweep.strength(a).total_cmp(&sweep.strength(b)));
            let mut views = vec![(String::new(), view(sweep, provenance, Some(tiles(sweep, units))))];
            if let Some(row) = strongest {
                let name = match units {
                    [Coord::Layer] => format!("-L{}", short_place(units, row)),
                    _ => format!("-{}", short_place(units, row)),
                };
                let part = shapes(&sweep.part(row, units), provenance);
                views.extend(part.into_iter().map(|(_, view)| (name.clone(), view)));
            }
            return views;
        }
    };
    vec![(String::new(), view(sweep, provenance, body))]
}

/// Around a body: title, provenance, and a caption that says what was found and what the numbers mean.
fn view(sweep: &DrawnSweep<'_>, provenance: &Arc<Provenance>, body: Option<Drawn>) -> View {
    let (panels, legend) = body.map_or((vec![], vec![]), |(body, legend)| (View::panel(body), legend));
    let mut caption = vec![sweep.finding(), sweep.meaning()];
    caption.extend(errors_in_words(sweep.errors(), sweep.locale));
    let odd = sweep.rows.iter().filter(|r| !sweep.value(r).is_finite()).count();
    if odd > 0 {
        let noun = sweep.any().method.noun().1;
        caption.push(format!("{odd} of {} {noun} have a value that is not a finite number.", sweep.rows.len()));
    }
    View {
        name: String::new(),
        title: format!("{}: {}", sweep.title(), sweep.quantity()),
        subtitle: View::subtitle(provenance, &sweep.subtitle()),
        caption,
        legend,
        panels,
        more: vec![],
        provenance: provenance.clone(),
        locale: sweep.locale,
    }
}

/// A patch as a cell: its effect, and below it the standard error of a mean.
fn cell(sweep: &DrawnSweep<'_>, row: &Mark) -> Cell {
    let (value, most, number) = (sweep.value(row), sweep.scale.most, sweep.locale);
    let (label, error) = (number.in_cell(value, most), sweep.error(row).filter(|e| e.is_finite()));
    // Where both would round to 0, neither is written.
    let below = error.filter(|error| !(label.is_empty() && number.in_cell(*error, most).is_empty()));
    Cell {
        value,
        label,
        below: below.map_or(String::new(), |error| format!("±{}", number.error_in_cell(error, most))),
        title: sweep.facts(row),
        error,
        mark: if sweep.nothing_changed(row) { kind::Mark::Nothing } else { kind::Mark::Plain },
    }
}

fn key(coords: &[Coord], row: &Mark) -> Vec<Option<u32>> {
    coords.iter().map(|c| c.of(row)).collect()
}

/// A side of a figure: what each place is called, and of tokens at which position they are.
fn side(sweep: &DrawnSweep<'_>, coords: &[Coord], rows: &[&Mark], numbered: bool) -> Side {
    let one = match coords {
        [one] if one.is_position() => Some(*one),
        _ => None,
    };
    let number = |c: Coord, row: &Mark| {
        c.of(row).filter(|_| numbered && c.token(row).is_some() && c.position_name(row).is_none())
    };
    let items: Vec<Item> = (rows.iter())
        .map(|row| Item {
            label: one.map_or_else(|| short_place(coords, row), |c| on_axis(c, row)),
            number: one.and_then(|c| number(c, row)),
        })
        .collect();
    let name = axis_name(coords, &sweep.over, sweep.any().method.window);
    // Of a name that is too long, what its letters do not say; at last the name of the axis alone.
    let short = name.split(": ").next().unwrap_or_default().to_owned();
    let tokens = items.iter().any(|item| item.number.is_some());
    let mut names = vec![if tokens { format!("{name} and its token") } else { name.clone() }, name, short];
    names.extend(if let [one] = coords { Some(one.name().to_owned()) } else { None });
    names.dedup();
    Side { names, items }
}

/// A heat map: `down` down or, where layers are among them, up as in the logit lens; `along` along.
fn map(sweep: &DrawnSweep<'_>, down: &[Coord], along: &[Coord]) -> Drawn {
    let (mut rows, hidden) = strongest(sweep, down, MOST_ROWS);
    let (mut columns, hidden_columns) = strongest(sweep, along, MOST_COLUMNS);
    if hidden > 0 {
        // What only rows that are not drawn have a path from has no cell.
        let drawn: BTreeSet<_> = rows.iter().map(|(k, _)| k.clone()).collect();
        let own = sweep.rows.iter().filter(|r| drawn.contains(&key(down, r)));
        let seen: BTreeSet<_> = own.map(|r| key(along, r)).collect();
        columns.retain(|(k, _)| seen.contains(k));
    }
    if down.iter().any(|c| c.is_layer()) {
        rows.reverse();
    }
    let index = |places: &[Placed]| -> BTreeMap<Vec<Option<u32>>, usize> {
        places.iter().enumerate().map(|(i, (k, _))| (k.clone(), i)).collect()
    };
    let (row_at, column_at) = (index(&rows), index(&columns));
    let mut cells = BTreeMap::<(usize, usize), &Mark>::new();
    for row in &sweep.rows {
        if let (Some(r), Some(c)) = (row_at.get(&key(down, row)), column_at.get(&key(along, row))) {
            cells.entry((*r, *c)).or_insert(*row);
        }
    }
    let least = threshold(cells.values().map(|r| sweep.strength(r)).collect());
    let weak = |row: &Mark| least > 0.0 && sweep.strength(row) < least && sweep.value(row).is_finite();
    let area = |still: bool| {
        let own = cells.iter().filter(|(_, r)| weak(r) && sweep.nothing_changed(r) == still);
        let title = if still { capital(&sweep.nothing()) } else { format!("weaker than {least:.2e}") };
        Area { runs: kind::runs(own.map(|(at, _)| *at)), value: (!still).then_some(0.0), title }
    };
    let mut legend = vec![sweep.colours("marked by a corner")];
    if sweep.rows.iter().any(|r| sweep.nothing_changed(r)) {
        legend.push(format!("{}: {}.", if least > 0.0 { "White" } else { "A dash" }, sweep.nothing()));
    }
    for (what, shown, hidden) in [("rows", rows.len(), hidden), ("columns", columns.len(), hidden_columns)] {
        if hidden > 0 {
            let all = shown + hidden;
            legend.push(format!("Of {all} {what}, the {shown} with the strongest effects are shown."));
        }
    }
    let units = along.iter().any(|c| !c.is_position());
    if least > 0.0 {
        legend.push(format!("Cells weaker than {least:.2e} are drawn as 0."));
    }
    let heat = Heat {
        rows: side(sweep, down, &rows.iter().map(|(_, r)| *r).collect::<Vec<_>>(), down == [Coord::QueryPos]),
        columns: side(sweep, along, &columns.iter().map(|(_, r)| *r).collect::<Vec<_>>(), true),
        above: Side::default(),
        areas: if least > 0.0 { vec![area(true), area(false)] } else { vec![] },
        cells: cells.iter().filter(|(_, r)| !weak(r)).map(|(at, row)| (*at, cell(sweep, row))).collect(),
        colours: Colours::signed(&sweep.quantity(), sweep.scale.most),
        shape: if matches!(down, [c] if c.is_position()) { Shape::Square } else { Shape::Numbers },
        absent: match sweep.any().to {
            Some(_) if units => "no path",
            _ if sweep.estimated() => "not among the estimates that are kept",
            _ => "not measured",
        },
    };
    (Body::Heat(heat), legend)
}

/// The places of the sweep along `coords`, in order; of more than `most` those with the strongest effects, and how many are left
/// out. Positions are all kept: what lies between them would not be seen.
fn strongest<'a>(sweep: &DrawnSweep<'a>, coords: &[Coord], most: usize) -> (Vec<Placed<'a>>, usize) {
    let mut found = places(&sweep.rows, coords);
    let all = found.len();
    if all > most && !matches!(coords, [c] if c.is_position()) {
        let mut strength = BTreeMap::<_, f64>::new();
        for row in &sweep.rows {
            let most = strength.entry(key(coords, row)).or_insert(-1.0);
            *most = most.max(sweep.strength(row));
        }
        let of = |k: &Vec<_>| strength.get(k).copied().unwrap_or(-1.0);
        // Stable: of equals the first stay.
        found.sort_by(|a, b| of(&b.0).total_cmp(&of(&a.0)));
        found.truncate(most);
        found.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let hidden = all - found.len();
    (found, hidden)
}

/// The least effect that is drawn, so that at most [`MOST_CELLS`] are; 0 if all are.
fn threshold(mut strengths: Vec<f64>) -> f64 {
    if strengths.len() <= MOST_CELLS {
        return 0.0;
    }
    let (_, least, _) = strengths.select_nth_unstable_by(MOST_CELLS - 1, |a, b| b.total_cmp(a));
    // What is no number has no strength and is drawn all the same.
    least.max(f64::MIN_POSITIVE)
}

/// A line over layers or positions; of anything else a bar for each, of more than 60 the strongest, in their order.
fn steps(sweep: &DrawnSweep<'_>, coords: &[Coord]) -> Drawn {
    let joined = matches!(coords, [one] if one.is_position() || one.is_layer());
    let (found, hidden) = if joined { (places(&sweep.rows, coords), 0) } else { strongest(sweep, coords, MOST_ROWS) };
    let rows: Vec<&Mark> = found.into_iter().map(|(_, r)| r).collect();
    let (least, most) = sweep.scale.axis;
    // With room for a number beyond each end.
    let room = (most - least) * 0.09;
    let (from, to) = (least - if least < 0.0 { room } else { 0.0 }, most + if most > 0.0 { room } else { 0.0 });
    let steps = Steps {
        x: side(sweep, coords, &rows, true),
        y: Axis::linear(&sweep.quantity(), from, to, 6),
        limits: (least, most),
        points: rows.iter().map(|row| cell(sweep, row)).collect(),
        joined,
    };
    let mut legend = vec![];
    if hidden > 0 {
        let all = rows.len() + hidden;
        legend.push(format!("Of {all}, the {} with the strongest effects are shown, in their order.", rows.len()));
    }
    if steps.points.iter().any(|point| steps.beyond(point.value)) {
        legend.push(sweep.range("The axis goes", sweep.scale.axis, "cut off there, with an arrow"));
    }
    if rows.iter().any(|r| sweep.nothing_changed(r)) {
        legend.push(format!("An open ring: {}.", sweep.nothing()));
    }
    (Body::Steps(steps), legend)
}

/// A tile for each place along `units`, queries down and keys along in it.
fn tiles(sweep: &DrawnSweep<'_>, units: &[Coord]) -> Drawn {
    let index = |coord: Coord| -> BTreeMap<Option<u32>, usize> {
        places(&sweep.rows, &[coord]).into_iter().enumerate().map(|(i, (k, _))| (k[0], i)).collect()
    };
    let (queries, keys) = (index(Coord::QueryPos), index(Coord::KeyPos));
    let found = places(&sweep.rows, units);
    // Layers down and heads along; otherwise one after the other.
    let (at, along): (Vec<(usize, usize)>, usize) = match units {
        [down, along] => {
            let (down, along) = (index(*down), index(*along));
            (found.iter().map(|(k, _)| (down[&k[0]], along[&k[1]])).collect(), along.len())
        }
        _ => ((0..found.len()).map(|i| (i / ACROSS, i % ACROSS)).collect(), found.len().min(ACROSS)),
    };
    let merged = Tiles::merged(along, queries.len(), keys.len());
    let size = (keys.len().div_ceil(merged), queries.len().div_ceil(merged));
    let mut by_unit = BTreeMap::<Vec<Option<u32>>, Vec<&Mark>>::new();
    for row in &sweep.rows {
        by_unit.entry(key(units, row)).or_default().push(row);
    }
    let tile = |((key, first), at): (&Placed<'_>, (usize, usize))| {
        let rows = &by_unit[key];
        let name = match units {
            [one] => format!("{} {}", one.name(), short_place(units, first)),
            _ => short_place(units, first),
        };
        let mut cells: Vec<Option<f32>> = vec![None; size.0 * size.1];
        for row in rows.iter().filter(|r| !sweep.nothing_changed(r)) {
            let value = sweep.value(row) as f32;
            let strongest =
                cells[queries[&row.query_pos] / merged * size.0 + keys[&row.key_pos] / merged].get_or_insert(value);
            if value.abs() > strongest.abs() || strongest.is_nan() {
                *strongest = value;
            }
        }
        let changed = rows.iter().filter(|r| !sweep.nothing_changed(r)).count();
        let strongest = rows.iter().max_by(|a, b| sweep.strength(a).total_cmp(&sweep.strength(b)));
        let strongest = strongest.map_or(String::new(), |r| format!("; strongest: {}", sweep.facts(r)));
        let title = format!("{name}: {changed} of {} patches change something{strongest}", rows.len());
        Tile { at, name, title, cells }
    };
    let mut legend = vec![
        "In a tile: query down, key across, the first token at the upper left.".to_owned(),
        format!("{} They have {STEPS} steps each way.", sweep.colours("marked by a white core")),
        format!("Grey: {}.", sweep.nothing()),
    ];
    if let [Coord::Layer, Coord::Head] = units {
        legend.insert(0, "One tile for each head, LxHy: layer x, head y.".to_owned());
    }
    if merged > 1 {
        legend.push(format!("Each cell is the strongest of {merged} x {merged} patches."));
    }
    let colours = Colours::signed(&sweep.quantity(), sweep.scale.most);
    (Body::Tiles(Tiles { size, steps: STEPS, colours, tiles: found.iter().zip(at).map(tile).collect() }), legend)
}

/// The strongest effects, where there are several.
fn strongest_in_words(sweep: &DrawnSweep<'_>) -> Option<Panel> {
    let mut strongest: Vec<&Mark> =
        sweep.rows.iter().filter(|r| !sweep.nothing_changed(r) && r.patched.is_some()).copied().collect();
    // Stable: of equals the first stay.
    strongest.sort_by(|a, b| sweep.strength(b).total_cmp(&sweep.strength(a)));
    let (n, (one, several)) = (sweep.rows.len(), sweep.any().method.noun());
    let heading = match strongest.len() {
        // The finding has said it.
        0 | 1 => return None,
        changed if changed > STRONGEST => format!("the {STRONGEST} strongest of {n} {several}"),
        changed if changed < n => format!("of {n} {several}, those that change something"),
        _ => format!("all {several}, the strongest first"),
    };
    let row = |row: &&Mark| TableRow {
        depth: 0,
        label: place(row),
        cells: vec![Cell::said(sweep.patched(row)), Cell::said(sweep.effect_in_words(row))],
    };
    let columns = vec![one.to_owned(), visible_prose(&sweep.any().metric), "effect".to_owned()];
    let table = Table { columns, rows: strongest.iter().take(STRONGEST).map(row).collect(), colours: None };
    Some(Panel { heading, body: Body::Table(table) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_cells_the_strongest_are_drawn() {
        assert_eq!(threshold(vec![0.5; MOST_CELLS]), 0.0);
        let strengths: Vec<f64> = (0..MOST_CELLS + 100).map(|i| i as f64).collect();
        assert_eq!(threshold(strengths), 100.0);
    }
}
