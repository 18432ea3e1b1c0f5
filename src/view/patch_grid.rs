//! Patching sweeps as a person reads them on a terminal: a grid of numbers, and the strongest effects in words.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::grid::{fit, terminal_width};
use crate::table::{visible, visible_prose};
use crate::view::mark::Mark;
use crate::view::patch_sweep::{Effect, Sweep};
use crate::view::patch_words::{Coord, number, patched, place, places};

/// Effects that are said in words.
const STRONGEST: usize = 10;
/// Width of a number.
const CELL: usize = 6;
const LABEL: usize = 9;

/// The sweeps of a pair, or of means over pairs, in words.
pub(crate) struct Summary<'a> {
    sweeps: Vec<Sweep<'a>>,
    /// Where values are from, if not from where everybody would expect it.
    values: Option<&'a str>,
}

impl<'a> Summary<'a> {
    /// Those of the first pair in `marks`; `scale` is where the scale of its figures ends, if that was said.
    pub fn of(marks: &'a [Mark], scale: Option<f64>, values: Option<&'a str>) -> Self {
        Self { sweeps: Sweep::all(marks, 1, scale), values }
    }

    pub fn write(&self, w: &mut dyn Write) -> io::Result<()> {
        for (i, sweep) in self.sweeps.iter().enumerate() {
            if i > 0 {
                writeln!(w)?;
            }
            write_sweep(sweep, self.values, w)?;
        }
        Ok(())
    }
}

fn write_sweep(sweep: &Sweep<'_>, values: Option<&str>, w: &mut dyn Write) -> io::Result<()> {
    let (row, method) = (sweep.any(), &sweep.any().method);
    let bold = Style::new().bold();
    let corrupt = row.corrupt.map_or(String::new(), |c| format!(", {} {}", method.corrupt(), number(c)));
    let metric = visible_prose(&row.metric);
    let values = values.map_or(String::new(), |values| format!(", {values}"));
    writeln!(w, "{bold}{}{bold:#}: {}{values}", sweep.title(), sweep.subtitle())?;
    writeln!(w, "{}", sweep.finding())?;
    writeln!(w, "{metric}: clean {}{corrupt}", number(row.clean))?;
    if sweep.is_reversed() {
        writeln!(w, "the clean run is no better than the corrupt run: shares are of the way to it, and no success")?;
    }
    match sweep.over[..] {
        [layer @ Coord::Layer, column @ (Coord::Pos | Coord::Head | Coord::KvHead)]
        | [layer @ Coord::ToLayer, column @ (Coord::ToHead | Coord::ToKvHead)] => {
            write_grid(sweep, (layer, column), w)?;
        }
        _ => {}
    }
    if let Some(errors) = sweep.errors() {
        writeln!(w, "{errors}")?;
    }
    let mut strongest: Vec<&Mark> =
        sweep.rows.iter().filter(|r| !sweep.nothing_changed(r) && r.patched.is_some()).copied().collect();
    // Stable: of equals the first stay.
    strongest.sort_by(|a, b| sweep.strength(b).total_cmp(&sweep.strength(a)));
    let (n, (_, several)) = (sweep.rows.len(), method.noun());
    match strongest.len() {
        // The finding has said it.
        0 | 1 => return Ok(()),
        changed if changed > STRONGEST => writeln!(w, "the {STRONGEST} strongest of {n} {several}:")?,
        changed if changed < n => writeln!(w, "of {n} {several}, those that change something:")?,
        _ => {}
    }
    for row in strongest.iter().take(STRONGEST) {
        writeln!(w, "  {}: {metric} {}, {}", place(row), patched(row), sweep.effect_in_words(row))?;
    }
    Ok(())
}

/// Layers, the last first, and positions or heads along.
fn write_grid(sweep: &Sweep<'_>, (layer_of, column): (Coord, Coord), w: &mut dyn Write) -> io::Result<()> {
    let cells: BTreeMap<(Option<u32>, Option<u32>), &Mark> =
        sweep.rows.iter().map(|r| ((layer_of.of(r), column.of(r)), *r)).collect();
    let (layers, columns) = (places(&sweep.rows, &[layer_of]), places(&sweep.rows, &[column]));
    let room = (terminal_width().saturating_sub(LABEL) / (CELL + 1)).max(1);
    // Of positions the last matter most, and there can be many; heads are all shown, some below others.
    let hidden = if column == Coord::Pos { columns.len().saturating_sub(room) } else { 0 };
    let most = sweep.most();
    let meaning = meaning(sweep);
    let meaning = if sweep.is_reversed() { meaning.replace("recovered", "way to clean") } else { meaning };
    writeln!(w, "{meaning}:")?;
    for columns in columns[hidden..].chunks(room) {
        for (layer, first) in layers.iter().rev() {
            write!(w, "{}", fit(&format!("layer {}", layer_of.of(first).unwrap_or(0)), LABEL))?;
            for (key, _) in columns {
                match cells.get(&(layer[0], key[0])) {
                    Some(row) => write!(w, " {}", in_cell(sweep, row, most))?,
                    None => write!(w, " {:CELL$}", "")?,
                }
            }
            writeln!(w)?;
        }
        let dim = Style::new().dimmed();
        let mut line = |label: &str, cell: &dyn Fn(&Mark) -> String| -> io::Result<()> {
            write!(w, "{dim}{}", fit(label, LABEL))?;
            for (_, row) in columns {
                let text = fit(&cell(row), CELL);
                let text = text.trim_end();
                // To the right, as the numbers; a wide letter may leave a column over.
                let pad = CELL.saturating_sub(unicode_width::UnicodeWidthStr::width(text));
                write!(w, " {}{text}", " ".repeat(pad))?;
            }
            writeln!(w, "{dim:#}")
        };
        if column == Coord::Pos && sweep.any().token.is_some() {
            line("reads", &|r| column.token(r).map_or(String::new(), visible))?;
        }
        line(if column == Coord::Pos { "position" } else { "head" }, &|r| column.label(r).unwrap_or_default())?;
    }
    if hidden > 0 {
        writeln!(w, "({hidden} earlier positions are in the files, or in a wider terminal)")?;
    }
    Ok(())
}

fn meaning(sweep: &Sweep<'_>) -> String {
    let method = &sweep.any().method;
    let (corrupt, noun) = (method.corrupt(), method.noun().0);
    let value = match sweep.effect {
        Effect::Recovered => format!("recovered, 0 as {corrupt} and 1 as clean"),
        Effect::Lost => format!("recovered - 1, 0 as clean and -1 as {corrupt}"),
        Effect::Change => format!("{} minus clean", method.participle()),
    };
    format!("{value}; - where the {noun} changes nothing")
}

/// A number of the grid: what is strong is bold, what is weak is dim.
fn in_cell(sweep: &Sweep<'_>, row: &Mark, most: f64) -> String {
    let (value, dim) = (sweep.value(row), Style::new().dimmed());
    if sweep.nothing_changed(row) {
        return format!("{dim}{:>CELL$}{dim:#}", "-");
    }
    let style = match sweep.strength(row) / most {
        s if s >= 0.5 => {
            Style::new().bold().fg_color(Some(if value > 0.0 { AnsiColor::Red } else { AnsiColor::Blue }.into()))
        }
        s if (0.0..0.1).contains(&s) => dim,
        _ => Style::new(),
    };
    let text = match (value.abs(), most) {
        (size, _) if size >= 999.5 && size.is_finite() => format!("{value:.0e}"),
        // Two digits of the largest.
        (_, 0.1..) => format!("{value:.2}"),
        (_, 0.01..) => format!("{value:.3}"),
        _ => format!("{value:.0e}"),
    };
    // Nothing is less than no effect.
    let text =
        if text.trim_matches(['-', '0', '.']).is_empty() { text.trim_start_matches('-').to_owned() } else { text };
    format!("{style}{text:>CELL$}{style:#}")
}
