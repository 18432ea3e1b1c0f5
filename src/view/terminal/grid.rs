//! Heat maps, steps and tables in columns of text.

use super::{padded, style, styled, to_the_right};
use crate::number::Locale;
use crate::view::colour::{Colours, Map};
use crate::view::kind::{Cell, Heat, Item, Mark, Shape, Side, Steps, Table};
use anstyle::Style;
use std::collections::BTreeMap;
use unicode_width::UnicodeWidthStr;

/// Columns of a token, of a number, and of what stands beside a row at most.
const TOKEN: usize = 12;
const NUMBER: usize = 6;
const LABEL: usize = 20;
/// A grid of more rows is in its figure only.
const MOST_ROWS: usize = 40;
/// So many lines of columns at the most stand below each other.
const MOST_LINES: usize = 3;
/// Steps that are listed; of more, the figure has them.
const MOST_STEPS: usize = 40;
/// The longest bar.
const BAR: usize = 30;
/// The widest column of a table.
const WIDEST: usize = 44;

/// A heat map as a grid of tokens or numbers; empty where it is too large for one.
pub(super) fn heat(heat: &Heat, locale: Locale, columns: usize) -> String {
    let cells: BTreeMap<(usize, usize), &Cell> = heat.cells.iter().map(|(at, cell)| (*at, cell)).collect();
    let (across, tokens) = (heat.columns.items.len(), heat.shape == Shape::Tokens);
    let wide = if tokens { TOKEN } else { NUMBER };
    let rows: Vec<String> = heat.rows.items.iter().map(|item| beside(&heat.rows, item)).collect();
    let follows = short(&heat.above);
    let along = short(&heat.columns);
    let heads = rows.iter().map(String::as_str).chain([follows, along]);
    let label = heads.map(UnicodeWidthStr::width).max().unwrap_or(0).clamp(9, LABEL);
    let room = (columns.saturating_sub(label + 1) / (wide + 1)).max(1);
    // Of positions the last matter most, and there can be many; heads are all shown, some below others.
    let hidden = if heat.columns.numbered() { across.saturating_sub(room) } else { 0 };
    if rows.is_empty() || rows.len() > MOST_ROWS || across - hidden > MOST_LINES * room {
        return String::new();
    }
    let dim = Style::new().dimmed();
    let side = |text: &str| if tokens { padded(text, wide) } else { to_the_right(text, wide) };
    let mut out = String::new();
    for from in (hidden..across).step_by(room) {
        let shown = from..(from + room).min(across);
        let mut line = |head: &str, cell: &dyn Fn(usize) -> String, style: Style| {
            out += &styled(style, &padded(head, label));
            for column in shown.clone() {
                out.push(' ');
                out += &cell(column);
            }
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        };
        // Where there is little room, of a position with a name its name.
        let first = |label: &str| match label.width() <= wide {
            true => label.to_owned(),
            false => label.split(' ').next().unwrap_or_default().to_owned(),
        };
        let text = |items: &[Item], i: usize| {
            items.get(i).map_or(String::new(), |item| styled(dim, &side(&first(&item.label))))
        };
        if !heat.above.items.is_empty() {
            line(follows, &|i| text(&heat.above.items, i), dim);
        }
        for (r, head) in rows.iter().enumerate() {
            let cell = |i: usize| match cells.get(&(r, i)) {
                Some(cell) if tokens => styled(style(cell, &heat.colours), &padded(&cell.label, wide)),
                Some(cell) => {
                    styled(style(cell, &heat.colours), &to_the_right(&number(cell, &heat.colours, locale), wide))
                }
                None => " ".repeat(wide),
            };
            line(head, &cell, Style::new());
        }
        if heat.columns.numbered() {
            line("token", &|i| text(&heat.columns.items, i), dim);
            let number = |i: usize| heat.columns.items[i].number.map_or(String::new(), |n| n.to_string());
            line(along, &|i| styled(dim, &side(&number(i))), dim);
        } else {
            line(along, &|i| text(&heat.columns.items, i), dim);
        }
    }
    if hidden > 0 {
        out += &format!("({hidden} earlier positions are in the files, or in a wider terminal)\n");
    }
    if heat.cells.iter().any(|(_, cell)| cell.mark == Mark::Nothing) {
        out += "- where nothing changes\n";
    }
    out
}

/// What stands beside a row: `layer 3` where the row is only a number.
fn beside(side: &Side, item: &Item) -> String {
    match item.label.bytes().all(|b| b.is_ascii_digit()) && item.number.is_none() {
        true => format!("{} {}", short(side), item.label),
        false => item.head(),
    }
}

/// The shortest name of a side.
fn short(side: &Side) -> &str {
    side.names.last().map_or("", String::as_str)
}

fn number(cell: &Cell, colours: &Colours, locale: Locale) -> String {
    match (cell.mark, colours.map) {
        (Mark::Nothing, _) => "-".to_owned(),
        (_, Map::Viridis) => locale.short_probability(cell.value as f32),
        _ => locale.in_column(cell.value, colours.most),
    }
}

/// A line for each step: its value, and a bar as long as it; empty where there are too many.
pub(super) fn steps(steps: &Steps, locale: Locale, columns: usize) -> String {
    let n = steps.points.len();
    if n == 0 || n > MOST_STEPS {
        return String::new();
    }
    let labels: Vec<String> = steps.x.items.iter().map(|item| beside(&steps.x, item)).collect();
    let label = labels.iter().map(|label| label.width()).max().unwrap_or(0).min(LABEL + 10);
    let most = f64::max(steps.limits.1.abs(), steps.limits.0.abs());
    let room = columns.saturating_sub(label + 12).min(BAR);
    let line = |(point, head): (&Cell, &String)| {
        let share = match steps.y.log {
            true => steps.y.along(steps.cut(point.value)),
            false => steps.cut(point.value).abs() / most,
        };
        let share = share.clamp(0.0, 1.0);
        let bar = "█".repeat(if share.is_nan() || point.mark == Mark::Nothing {
            0
        } else {
            (share * room as f64).round() as usize
        });
        let value = if point.mark == Mark::Nothing { "-".to_owned() } else { locale.in_column(point.value, most) };
        let beyond = if steps.beyond(point.value) { "→" } else { "" };
        format!("{} {} {bar}{beyond}", padded(head, label), to_the_right(&value, 8)).trim_end().to_owned() + "\n"
    };
    steps.points.iter().zip(&labels).map(line).collect()
}

/// A table in columns as wide as they need be; those for which there is no room stand below.
pub(super) fn table(table: &Table, columns: usize) -> String {
    let label = |row: &crate::view::kind::TableRow| format!("{}{}", "  ".repeat(row.depth), row.label);
    let n = table.rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
    let name = |i: usize| table.columns.get(i).map_or("", String::as_str);
    let first =
        table.rows.iter().map(|row| label(row).width()).chain([name(0).width()]).max().unwrap_or(0).min(2 * WIDEST);
    let width = |i: usize| {
        let cells = table.rows.iter().filter_map(|row| row.cells.get(i)).map(|cell| cell.written().width());
        cells.chain([name(i + 1).width()]).max().unwrap_or(0).min(WIDEST)
    };
    let widths: Vec<usize> = (0..n).map(width).collect();
    let dim = Style::new().dimmed();
    let (mut out, mut from) = (String::new(), 0);
    loop {
        let mut to = from;
        let mut used = first + 2;
        while to < n && (to == from || used + widths[to] + 2 <= columns) {
            used += widths[to] + 2;
            to += 1;
        }
        let mut line = |text: String| {
            out += text.trim_end();
            out.push('\n');
        };
        let heads: Vec<String> = (from..to).map(|i| styled(dim, &padded(name(i + 1), widths[i]))).collect();
        line(format!("  {}  {}", styled(dim, &padded(name(0), first)), heads.join("  ")));
        for row in &table.rows {
            let cell = |i: usize| {
                let empty = Cell::default();
                let cell = row.cells.get(i).unwrap_or(&empty);
                let text = padded(&cell.written(), widths[i]);
                match &table.colours {
                    Some(colours) if cell.value.is_finite() && !cell.label.is_empty() => {
                        styled(style(cell, colours), &text)
                    }
                    _ => text,
                }
            };
            line(format!("  {}  {}", padded(&label(row), first), (from..to).map(cell).collect::<Vec<_>>().join("  ")));
        }
        from = to;
        if from >= n {
            return out;
        }
    }
}
