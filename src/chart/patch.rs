//! Patching sweeps: heat maps of what each patch did, bars or a line where a sweep has one axis, tiles where it has many.

use super::frame::{self, HEAD, MARGIN};
use super::mark::{Mark, Marked, marks};
use super::patch_bars::{bars, line};
use super::patch_map::map;
use super::patch_sweep::Sweep;
use super::patch_tiles::tiles;
use super::patch_words::{Coord, places, short_place};
use super::svg::Svg;
use super::{Figure, Options, no_rows, suffix};
use crate::error::Result;
use crate::table::{Patch, PatchMean, PathMean, PathPatch, Provenance, visible_prose};

/// Of more rows or bars than this, the strongest are drawn.
pub(super) const MOST_ROWS: usize = 60;

/// A figure for each pair (the first 20), site and metric: its axes are what the sweep went over. A sweep of one patch
/// has none.
///
/// Drawn is `recovered`; of a clean run that was patched (`direction` is `noise`), `recovered` - 1; where there is no corrupt run or it does not differ, patched minus clean. So 0, the middle of the
/// colours, is always a patch that does nothing.
///
/// # Errors
/// There are no rows.
pub fn patch(rows: &[Patch], provenance: &Provenance) -> Result<Vec<Figure>> {
    draw(rows, provenance, &Options::default())
}

/// A figure for each pair (the first 20), sender, receiver and metric, as [`patch`] draws them. Where both senders and receivers
/// were gone over, receivers are the rows and senders the columns.
///
/// # Errors
/// There are no rows.
pub fn path(rows: &[PathPatch], provenance: &Provenance) -> Result<Vec<Figure>> {
    draw(rows, provenance, &Options::default())
}

pub(super) fn draw<R: Marked>(rows: &[R], provenance: &Provenance, options: &Options) -> Result<Vec<Figure>> {
    let marks = seen(rows)?;
    let sweeps = Sweep::all(&marks, options.max_prompts);
    let only = sweeps.iter().all(|s| s.any().pair == sweeps[0].any().pair);
    figures(R::TABLE.name, &sweeps, only, provenance)
}

/// The figures that [`patch`] or [`path`] draws of one pair, `many` being whether the table has others.
///
/// # Errors
/// There are no rows.
pub(crate) fn of_pair<R: Marked>(rows: &[R], provenance: &Provenance, many: bool) -> Result<Vec<Figure>> {
    figures(R::TABLE.name, &Sweep::all(&seen(rows)?, 1), !many, provenance)
}

/// A figure for each site and metric, as [`patch`] draws those of a pair, of the means over pairs. Bars and lines have
/// whiskers as long as the standard errors.
///
/// # Errors
/// There are no rows.
pub fn patch_mean(rows: &[PatchMean], provenance: &Provenance) -> Result<Vec<Figure>> {
    of_means(rows, provenance)
}

/// The same of paths.
///
/// # Errors
/// There are no rows.
pub fn path_mean(rows: &[PathMean], provenance: &Provenance) -> Result<Vec<Figure>> {
    of_means(rows, provenance)
}

pub(crate) fn of_means<R: Marked>(rows: &[R], provenance: &Provenance) -> Result<Vec<Figure>> {
    of_pair(rows, provenance, false)
}

fn seen<R: Marked>(rows: &[R]) -> Result<Vec<Mark>> {
    if rows.is_empty() { Err(no_rows::<R>()) } else { Ok(marks(rows)) }
}

pub(super) fn figures(table: &str, sweeps: &[Sweep<'_>], only: bool, provenance: &Provenance) -> Result<Vec<Figure>> {
    let mut figures: Vec<Figure> = vec![];
    for sweep in sweeps {
        let row = sweep.any();
        let to = row.to.as_ref().map_or(String::new(), |to| format!("-{}", file_name(&to.name)));
        let stem = format!("{table}-{}{to}-{}", file_name(&row.site), file_name(&row.metric));
        for (part, svg) in shapes(sweep, provenance)? {
            let name = format!("{stem}{part}{}", suffix(row.pair, only));
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
/// says what the numbers mean, with `more` at its end.
pub(super) fn sheet(
    sweep: &Sweep<'_>,
    provenance: &Provenance,
    size: (f64, f64),
    more: &[String],
    draw: impl FnOnce(&mut Svg) -> Result<()>,
) -> Result<String> {
    let title = format!("{}: {}", sweep.title(), sweep.quantity());
    let width = (size.0 + 2.0 * MARGIN).max(frame::title_width(&title));
    let mut sentences = vec![sweep.meaning()];
    sentences.extend_from_slice(more);
    let odd = sweep.rows.iter().filter(|r| !sweep.value(r).is_finite()).count();
    if odd > 0 {
        sentences.push(format!("{odd} of {} patches have a value that is not a finite number.", sweep.rows.len()));
    }
    let caption = frame::caption_lines(&sentences, width);
    let mut svg = Svg::new(width, HEAD + size.1 + frame::caption_height(caption.len()));
    let subtitle = frame::subtitle(provenance, &format!("{}{}", sweep.whose(), done(sweep.any())));
    frame::head(&mut svg, &title, &subtitle);
    draw(&mut svg)?;
    frame::caption(&mut svg, &caption);
    Ok(svg.finish(&format!("{title}, {subtitle}"), &frame::desc(provenance)))
}

/// What was done beside putting the other run's values one layer at a time: ` · zero · 3 layers at once`.
fn done(row: &Mark) -> String {
    let kind = (row.kind != "replace").then(|| visible_prose(&row.kind));
    let window = (row.window > 1).then(|| format!("{} layers at once", row.window));
    let at = row.noise_at.as_ref().map_or(String::new(), |at| format!(" at {}", visible_prose(at)));
    let noise = row.noise.map(|noise| format!("corrupted by noise of {noise} deviations{at}"));
    [kind, window, noise].into_iter().flatten().map(|said| format!(" · {said}")).collect()
}
