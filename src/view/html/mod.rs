//! Views as accessible HTML: a figure, a caption that begins with what was found, and under it the same as a table.
//!
//! Every property is an attribute of its own element: there are no ids, style sheets, scripts or fonts from outside, so that a figure
//! can stand anywhere. Text from models and users is data, and escaped.

use super::colour::Colours;
use super::kind::{Body, Cell, Mark, Table, Text, View};
use super::svg;
use crate::error::Result;
use crate::visible::escape;
use std::fmt::Write;

/// A view as an HTML `<figure>`.
///
/// # Errors
/// None that are known; plotters' are passed on.
pub fn html(view: &View) -> Result<String> {
    let mut out = String::from("<figure style=\"margin:1em 0\">\n");
    let text = view.panels.iter().find_map(|panel| if let Body::Text(text) = &panel.body { Some(text) } else { None });
    match text {
        Some(text) => flow(&mut out, text),
        None if view.panels.is_empty() => {}
        // Wider than the page, it is scrolled and not cut, also with a keyboard.
        None => {
            let title = escape(&view.title);
            let _ = writeln!(
                out,
                "<div style=\"overflow-x:auto\" tabindex=\"0\" role=\"group\" aria-label=\"{title}\">\n{}</div>",
                svg::svg(&picture(view))?
            );
        }
    }
    let sentences = view.sentences().iter().map(|s| escape(s)).collect::<Vec<_>>().join(" ");
    let (title, subtitle) = (escape(&view.title), escape(&view.subtitle));
    let _ = writeln!(out, "<figcaption><strong>{title}</strong> ({subtitle}). {sentences}</figcaption>");
    for panel in view.panels.iter().chain(&view.more) {
        let heading = if panel.heading.is_empty() { &view.title } else { &panel.heading };
        table(&mut out, heading, &panel.body.table(view.locale));
    }
    out.push_str("</figure>\n");
    Ok(out)
}

/// The view as it is drawn above a caption, which says in words that can be read aloud what a figure alone has below it.
fn picture(view: &View) -> View {
    View { caption: vec![], legend: vec![], ..view.clone() }
}

/// Tokens as text, each on its colour, with its value in small letters.
fn flow(out: &mut String, text: &Text) {
    out.push_str("<p style=\"font-family:monospace;line-height:2.4\">");
    for (cell, ends) in text.tokens.iter().zip(text.ends()) {
        let (title, label, below) = (escape(&cell.title), escape(&cell.label), escape(&cell.below));
        let colour = colour(cell, Some(&text.colours));
        let _ =
            write!(out, "<span title=\"{title}\"{colour}>{label}<sub style=\"font-size:60%\">{below}</sub></span> ");
        if ends {
            out.push_str("<br/>");
        }
    }
    out.push_str("</p>\n");
}

/// A table that opens where one asks for it.
fn table(out: &mut String, caption: &str, table: &Table) {
    let caption = escape(caption);
    let _ = writeln!(
        out,
        "<details><summary>{caption}, as a table</summary>\n<table><caption>{caption}</caption>\n<thead><tr>"
    );
    for name in &table.columns {
        // A heading without words is none.
        let _ = match name.as_str() {
            "" => write!(out, "<td></td>"),
            name => write!(out, "<th scope=\"col\">{}</th>", escape(name)),
        };
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        let indent = if row.depth > 0 { format!(" style=\"padding-left:{}em\"", row.depth) } else { String::new() };
        let _ = write!(out, "<tr><th scope=\"row\"{indent}>{}</th>", escape(&row.label));
        for cell in &row.cells {
            let title =
                if cell.title.is_empty() { String::new() } else { format!(" title=\"{}\"", escape(&cell.title)) };
            let below = if cell.below.is_empty() || table.colours.is_none() {
                String::new()
            } else {
                format!(" <small>{}</small>", escape(&cell.below))
            };
            let colour = colour(cell, table.colours.as_ref());
            let _ = write!(out, "<td{title}{colour}>{}{below}</td>", escape(&cell.label));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></details>\n");
}

/// The style of a cell that has a value.
fn colour(cell: &Cell, colours: Option<&Colours>) -> String {
    match colours {
        Some(colours) if cell.value.is_finite() && cell.mark != Mark::Nothing => {
            let fill = colours.of(cell.value);
            let line = if cell.mark == Mark::Hit { ";outline:1px solid" } else { "" };
            format!(" style=\"background:{fill};color:{}{line}\"", fill.ink_on())
        }
        _ => String::new(),
    }
}
