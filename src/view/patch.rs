//! Patching sweeps: heat maps of what each patch did, bars or a line where a sweep has one axis, tiles where it has many.

use super::extent::Extents;
use super::frame::{self, HEAD, MARGIN};
use super::mark::{Mark, Marked, Names, marks, marks_of};
use super::patch_bars::{bars, line};
use super::patch_map::map;
use super::patch_scale::Scales;
use super::patch_sweep::Sweep;
use super::patch_tiles::tiles;
use super::patch_words::{Coord, places, short_place};
use super::svg::Svg;
use super::{Emit, Figure, Options, no_rows};
use crate::analysis::{PatchMeanRow, PatchRow, PathMeanRow, PathRow};
use crate::error::Result;
use crate::table::{Provenance, Rows};

/// Of more rows or bars than this, the strongest are drawn.
pub(super) const MOST_ROWS: usize = 60;

/// A figure for each pair (the first 20), site and metric: its axes are what the sweep went over. A sweep of one patch
/// has none. In causal tracing, each sample of the noise counts as one.
///
/// Drawn is `recovered`; of a clean run that was patched, `recovered` - 1; where there is no corrupt run or it does not differ,
/// patched minus clean. So 0, the middle of the colours, is always a patch that does nothing. All figures of shares have one scale,
/// and so have all changes of one metric.
///
/// # Errors
/// There are no rows.
pub fn patch(rows: &[PatchRow], provenance: &Provenance) -> Result<Vec<Figure>> {
    draw(rows, provenance, &Options::default())
}

/// A figure for each pair (the first 20), sender, receiver and metric, as [`patch`] draws them. Where both senders and receivers
/// were gone over, receivers are the rows and senders the columns.
///
/// # Errors
/// There are no rows.
pub fn path(rows: &[PathRow], provenance: &Provenance) -> Result<Vec<Figure>> {
    draw(rows, provenance, &Options::default())
}

/// A figure for each site and metric, as [`patch`] draws those of a pair, of the means over pairs. Bars and lines have
/// whiskers as long as the standard errors, and cells have them under the means where there is room.
///
/// # Errors
/// There are no rows.
pub fn patch_mean(rows: &[PatchMeanRow], provenance: &Provenance) -> Result<Vec<Figure>> {
    draw(rows, provenance, &Options::default())
}

/// The same of paths.
///
/// # Errors
/// There are no rows.
pub fn path_mean(rows: &[PathMeanRow], provenance: &Provenance) -> Result<Vec<Figure>> {
    draw(rows, provenance, &Options::default())
}

pub(crate) fn draw<R: Marked>(rows: &[R], provenance: &Provenance, options: &Options) -> Result<Vec<Figure>> {
    if rows.is_empty() {
        return Err(no_rows::<R>());
    }
    let marks = marks(rows);
    let sweeps = Sweep::all(&marks, options.max_prompts, options.scale);
    figures(R::TABLE.name, &sweeps, Named::of(sweeps.iter().map(|s| (s.any().pair, s.any().sample))), provenance)
}

/// The figures that [`draw`] draws, one pair or sample after another, of which one is held; how many there are.
pub(crate) fn draw_each<R: Marked>(
    rows: &mut dyn Rows<R>,
    provenance: &Provenance,
    options: &Options,
    emit: &mut Emit<'_>,
) -> Result<usize> {
    // All figures have one scale, and positions one order, which the last row may still change.
    let (mut extents, mut names, mut scales) =
        (Extents::new(options.max_prompts), Names::default(), Scales::new(options.scale));
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
    let (named, mut drawn) = (Named::of(units.iter().map(|(unit, _)| *unit)), 0);
    for (unit, range) in units {
        let marks = marks_of(rows, unit, range, Some(&names))?;
        let figures = of_unit(R::TABLE.name, &marks, provenance, &scales, named)?;
        drawn += figures.len();
        figures.into_iter().try_for_each(&mut *emit)?;
    }
    Ok(drawn)
}

/// The figures that [`draw`] draws of the marks of one pair or sample in `table`, on the scales of the whole table, `named` as there.
///
/// # Errors
/// None that are known; plotters' are passed on.
pub(crate) fn of_unit(
    table: &str,
    marks: &[Mark],
    provenance: &Provenance,
    scales: &Scales,
    named: Named,
) -> Result<Vec<Figure>> {
    figures(table, &Sweep::on(marks, scales), named, provenance)
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

pub(super) fn figures(table: &str, sweeps: &[Sweep<'_>], named: Named, provenance: &Provenance) -> Result<Vec<Figure>> {
    let mut figures: Vec<Figure> = vec![];
    for sweep in sweeps {
        let row = sweep.any();
        let to = row.to.as_ref().map_or(String::new(), |to| format!("-{}", file_name(&to.name)));
        let stem = format!("{table}-{}{to}-{}", file_name(&row.site), file_name(&row.metric));
        for (part, svg) in shapes(sweep, provenance)? {
            let name = format!("{stem}{part}{}", named.end((row.pair, row.sample)));
            // Names that differ may look the same in a file's name.
            let again = figures.iter().filter(|f| f.name == name || f.name.starts_with(&format!("{name}~"))).count();
            let name = if again == 0 { name } else { format!("{name}~{again}") };
            figures.push(Figure { name, svg });
        }
    }
    Ok(figures)
}

/// What of a site's or metric's name can be part of a file's.
fn file_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    text.chars().take(60).map(plain).collect()
}

/// The figures of a sweep, with what their names end in.
fn shapes(sweep: &Sweep<'_>, provenance: &Provenance) -> Result<Vec<(String, String)>> {
    let (positions, units): (Vec<Coord>, Vec<Coord>) = sweep.over.iter().partition(|c| c.is_position());
    let (to, from): (Vec<Coord>, Vec<Coord>) = units.iter().partition(|c| c.is_receivers());
    let one = |svg: Result<String>| Ok(vec![(String::new(), svg?)]);
    match (&units[..], &positions[..]) {
        ([], []) => Ok(vec![]),
        ([], [pos]) => one(line(sweep, *pos, provenance)),
        ([layer], []) if layer.is_layer() => one(line(sweep, *layer, provenance)),
        (_, []) if !to.is_empty() && !from.is_empty() => one(map(sweep, &to, &from, provenance)),
        ([row, column], []) if places(&sweep.rows, &[*column]).len() <= MOST_ROWS => {
            one(map(sweep, &[*row], &[*column], provenance))
        }
        (units, []) => one(bars(sweep, units, provenance)),
        (units, [pos]) => one(map(sweep, units, &[*pos], provenance)),
        ([], [.., query, key]) => one(map(sweep, &[*query], &[*key], provenance)),
        (units, _) => {
            let strongest = sweep.rows.iter().max_by(|a, b| sweep.strength(a).total_cmp(&sweep.strength(b)));
            let mut figures = vec![(String::new(), tiles(sweep, units, provenance)?)];
            if let Some(row) = strongest {
                let part = sweep.part(row, units);
                let name = match units {
                    [Coord::Layer] => format!("-L{}", short_place(units, row)),
                    _ => format!("-{}", short_place(units, row)),
                };
                figures.extend(shapes(&part, provenance)?.into_iter().map(|(_, svg)| (name.clone(), svg)));
            }
            Ok(figures)
        }
    }
}

/// A figure around what `draw` draws in `size` pixels from (`MARGIN`, `HEAD`) on: title, provenance, and a caption that
/// says what was found and what the numbers mean, with `more` at its end.
pub(super) fn sheet(
    sweep: &Sweep<'_>,
    provenance: &Provenance,
    size: (f64, f64),
    more: &[String],
    draw: impl FnOnce(&mut Svg) -> Result<()>,
) -> Result<String> {
    let title = format!("{}: {}", sweep.title(), sweep.quantity());
    let subtitle = frame::subtitle(provenance, &sweep.subtitle());
    let width = (size.0 + 2.0 * MARGIN).max(frame::title_width(&title)).max(frame::subtitle_width(&subtitle));
    let mut sentences = vec![sweep.finding(), sweep.meaning()];
    sentences.extend_from_slice(more);
    let odd = sweep.rows.iter().filter(|r| !sweep.value(r).is_finite()).count();
    if odd > 0 {
        let noun = sweep.any().method.noun().1;
        sentences.push(format!("{odd} of {} {noun} have a value that is not a finite number.", sweep.rows.len()));
    }
    let caption = frame::caption_lines(&sentences, width);
    let mut svg = Svg::new(width, HEAD + size.1 + frame::caption_height(caption.len()));
    frame::head(&mut svg, &title, &subtitle);
    draw(&mut svg)?;
    frame::caption(&mut svg, &caption);
    Ok(svg.finish(&format!("{title}, {subtitle}"), &frame::desc(provenance)))
}
