//! Views as a person reads them on a terminal: what was found, grids and tables that fit, and text coloured by a value. Styles are ANSI
//! codes, which whoever prints them may drop: nothing is said by colour alone.

mod board;
mod grid;
mod text;
mod tree;

use super::colour::{Colours, Map};
use super::kind::{Body, Cell, Mark, Panel, Shape, View};
use super::label::fit;
use anstyle::{Ansi256Color, AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

/// The columns of the terminal that stdout is.
pub fn width() -> usize {
    match console::Term::stdout().size_checked() {
        Some((_, columns)) => columns as usize,
        // Not a terminal: wide enough to be useful, narrow enough for a page.
        None => 120,
    }
}

/// A view as lines of text, for a terminal of so many columns.
pub fn text(view: &View, columns: usize) -> String {
    let bold = Style::new().bold();
    let mut out = format!("{bold}{}{bold:#} · {}\n", view.title, view.subtitle);
    for sentence in &view.caption {
        out += sentence;
        out.push('\n');
    }
    for Panel { heading, body } in view.panels.iter().chain(&view.more) {
        let drawn = match body {
            Body::Heat(heat) if heat.shape == Shape::Strips => String::new(),
            Body::Heat(heat) => grid::heat(heat, view.locale, columns),
            Body::Steps(steps) => grid::steps(steps, view.locale, columns),
            Body::Text(tokens) => text::flow(tokens, columns),
            Body::Board(of) => board::board(of, columns),
            Body::Tree(of) => tree::tree(of, columns),
            Body::Arcs(_) => grid::table(&body.table(view.locale), columns),
            Body::Table(table) => grid::table(table, columns),
            // What can only be looked at is in the figure.
            Body::Lines(_) | Body::Scatter(_) | Body::Tiles(_) => String::new(),
        };
        if !heading.is_empty() && !drawn.is_empty() {
            out += &format!("{heading}:\n");
        }
        out += &drawn;
    }
    out
}

/// Cuts or pads `text` to `columns`.
fn padded(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    let pad = columns.saturating_sub(text.width());
    text + &" ".repeat(pad)
}

/// The same with the text at the end, as numbers stand.
fn to_the_right(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    " ".repeat(columns.saturating_sub(text.width())) + &text
}

/// Text in a style, without its blanks: an underlined blank would be seen.
fn styled(style: Style, text: &str) -> String {
    let (inner, ends) = (text.trim(), text.len() - text.trim_start().len());
    match inner.is_empty() {
        true => text.to_owned(),
        false => format!("{}{style}{inner}{style:#}{}", &text[..ends], &text[ends + inner.len()..]),
    }
}

/// How a cell is written: what is strong is bold, what is weak is dim, what was looked for is underlined.
fn style(cell: &Cell, colours: &Colours) -> Style {
    let style = match cell.value.abs() / colours.most {
        _ if cell.mark == Mark::Nothing => Style::new().dimmed(),
        share if share >= 0.5 => Style::new().bold().fg_color(Some(
            match colours.map {
                Map::Viridis => AnsiColor::Green,
                Map::Diverging | Map::Rising if cell.value > 0.0 => AnsiColor::Red,
                Map::Diverging | Map::Rising => AnsiColor::Blue,
            }
            .into(),
        )),
        share if (0.0..0.1).contains(&share) => Style::new().dimmed(),
        _ => Style::new(),
    };
    if cell.mark == Mark::Hit { style.underline() } else { style }
}

/// Letters that can be read on the colour of a value. Of the 256 colours that every terminal has, the nearest in their cube.
fn on_colour(cell: &Cell, colours: &Colours) -> Style {
    if cell.value.is_nan() || cell.mark == Mark::Nothing {
        return Style::new();
    }
    let fill = colours.of(cell.value);
    let cube = |super::Rgb(r, g, b)| {
        let step = |c: u8| ((f64::from(c) - 35.0) / 40.0).round().clamp(0.0, 5.0) as u8;
        Ansi256Color(16 + 36 * step(r) + 6 * step(g) + step(b))
    };
    let style = Style::new().bg_color(Some(cube(fill).into())).fg_color(Some(cube(fill.ink_on()).into()));
    if cell.mark == Mark::Hit { style.underline() } else { style }
}
