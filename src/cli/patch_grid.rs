//! Patching sweeps as a person reads them on a terminal: a grid of numbers, and the strongest effects in words.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::grid::{fit, terminal_width};
use crate::chart::mark::Mark;
use crate::chart::patch_sweep::{Effect, Sweep};
use crate::chart::patch_words::{Coord, number, place, places};
use crate::table::{visible, visible_prose};

/// Effects that are said in words.
const STRONGEST: usize = 10;
/// Width of a number.
const CELL: usize = 6;
const LABEL: usize = 9;

/// The sweeps of a pair, or of means over pairs, in words.
pub(super) struct Summary<'a> {
    sweeps: Vec<Sweep<'a>>,
}

impl<'a> Summary<'a> {
    pub fn of(marks: &'a [Mark]) -> Self {
        Self { sweeps: Sweep::all(marks, 1) }
    }

    pub fn write(&self, w: &mut dyn Write) -> io::Result<()> {
        for (i, sweep) in self.sweeps.iter().enumerate() {
            if i > 0 {
                writeln!(w)?;
            }
            write_sweep(sweep, w)?;
        }
        Ok(())
    }
}

fn write_sweep(sweep: &Sweep<'_>, w: &mut dyn Write) -> io::Result<()> {
    let row = sweep.any();
    let (bold, corrupt) =
        (Style::new().bold(), row.corrupt.map_or(String::new(), |c| format!(", corrupt {}", number(c))));
    let (site, metric) = (sweep.site(), visible_prose(&row.metric));
    let mean = sweep.pairs().map_or(String::new(), |pairs| format!(", mean of {pairs} pairs"));
    writeln!(w, "{bold}{site}{bold:#}, {metric}{mean}: clean {}{corrupt}", number(row.clean))?;
    match sweep.over[..] {
        [layer @ Coord::Layer, column @ (Coord::Pos | Coord::Head | Coord::KvHead)]
        | [layer @ Coord::ToLayer, column @ (Coord::ToHead | Coord::ToKvHead)] => {
            write_grid(sweep, (layer, column), w)?;
        }
        _ => {}
    }
    let mut strongest: Vec<&Mark> = sweep.rows.iter().filter(|r| !sweep.nothing_changed(r)).copied().collect();
    // Stable: of equals the first stay.
    strongest.sort_by(|a, b| sweep.strength(b).total_cmp(&sweep.strength(a)));
    match (strongest.len(), sweep.rows.len()) {
        (0, 1) => writeln!(w, "the patch changes nothing")?,
        (0, n) => writeln!(w, "none of {n} patches changes anything")?,
        (changed, n) if changed > STRONGEST => writeln!(w, "the {STRONGEST} strongest of {n} patches:")?,
        (changed, n) if changed < n => writeln!(w, "of {n} patches, those that change something:")?,
        _ => {}
    }
    for row in strongest.iter().take(STRONGEST) {
        let patched = |r: &Mark| r.patched.map_or("-".to_owned(), number);
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
    writeln!(w, "{}:", meaning(sweep.effect))?;
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
        line(if column == Coord::Pos { "position" } else { "head" }, &|r| {
            column.of(r).map_or(String::new(), |i| i.to_string())
        })?;
    }
    if hidden > 0 {
        writeln!(w, "({hidden} earlier positions are in the files, or in a wider terminal)")?;
    }
    Ok(())
}

fn meaning(effect: Effect) -> &'static str {
    match effect {
        Effect::Recovered => "recovered, 0 as corrupt and 1 as clean; - where the patch changes nothing",
        Effect::Lost => "recovered - 1, 0 as clean and -1 as corrupt; - where the patch changes nothing",
        Effect::Change => "patched minus clean; - where the patch changes nothing",
    }
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
    // Nothing is less than no effect.
    let value = if value.abs() < 0.005 { 0.0 } else { value };
    let text = if value.abs() < 999.5 || !value.is_finite() { format!("{value:.2}") } else { format!("{value:.0e}") };
    format!("{style}{text:>CELL$}{style:#}")
}
