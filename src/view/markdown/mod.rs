//! Views as markdown: what was found, and the values as tables.

use super::kind::{Cell, Table, TableRow, View};
use crate::table::markdown_text;

/// A table of more columns is left out: nobody could read it, and nothing scrolls.
const MOST_COLUMNS: usize = 24;
/// Of a longer table, the first rows.
const MOST_ROWS: usize = 200;

/// A view as markdown.
pub fn markdown(view: &View) -> String {
    let mut out = format!("**{}** ({})\n\n", prose(&view.title), prose(&view.subtitle));
    let said: Vec<String> = view.sentences().iter().map(|sentence| prose(sentence)).collect();
    let (caption, marks) = said.split_at(view.caption.len());
    for paragraph in [caption, marks].iter().filter(|said| !said.is_empty()) {
        out += &format!("{}\n\n", paragraph.join(" "));
    }
    for panel in view.panels.iter().chain(&view.more) {
        let table = panel.body.table(view.locale);
        if table.columns.len() > MOST_COLUMNS {
            continue;
        }
        if !panel.heading.is_empty() {
            out += &format!("{}:\n\n", prose(&panel.heading));
        }
        let width = table.rows.iter().map(|row| row.cells.len() + 1).max().unwrap_or(0).max(table.columns.len());
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let heads = (0..width).map(|i| table.columns.get(i).map_or(String::new(), |name| prose(name)));
        out += &line(heads.collect());
        out += &format!("|{}\n", "---|".repeat(width));
        for row in table.rows.iter().take(MOST_ROWS) {
            out += &line(cells(&table, row, width));
        }
        if table.rows.len() > MOST_ROWS {
            out += &format!("\n... and {} more\n", table.rows.len() - MOST_ROWS);
        }
        out.push('\n');
    }
    out
}

fn cells(table: &Table, row: &TableRow, width: usize) -> Vec<String> {
    let label = format!("{}{}", "&nbsp;&nbsp;".repeat(row.depth), prose(&row.label));
    let said = |cell: &Cell| match table.colours.is_some() && !cell.below.is_empty() {
        true => prose(&format!("{} {}", cell.label, cell.below)),
        false => prose(&cell.label),
    };
    let mut cells: Vec<String> = std::iter::once(label).chain(row.cells.iter().map(said)).collect();
    cells.resize(width, String::new());
    cells
}

/// Text in which markdown and HTML see no marks of their own, in one line.
fn prose(text: &str) -> String {
    markdown_text(&text.replace(['\n', '\r'], " "))
}
