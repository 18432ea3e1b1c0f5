//! A report as one page of HTML: nothing from outside, no scripts; light and dark, and on paper.

use std::fmt::Write;

use pulldown_cmark::{Event, Options, Parser};

use super::{Block, Drawn, Grid, Page};
use crate::error::Result;
use crate::view::html;
use crate::visible::escape;

/// How the page looks. Figures bring their own colours.
const STYLE: &str = include_str!("style.css");

impl Page<'_> {
    /// The page.
    ///
    /// # Errors
    /// None that are known; the renderer's are passed on.
    pub fn html(&self) -> Result<String> {
        let title = escape(&self.experiment.title);
        let mut out = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"generator\" content=\"pellucid {}\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
             <body>\n<main>\n<h1>{title}</h1>\n",
            env!("CARGO_PKG_VERSION")
        );
        if let Some(question) = &self.experiment.question {
            let _ = writeln!(out, "<p class=\"question\">{}</p>", escape(question));
        }
        for (heading, text) in [("Published", &self.experiment.published), ("Found", &self.experiment.found)] {
            if let Some(text) = text {
                let _ = writeln!(out, "<h2>{heading}</h2>\n{}", prose(text));
            }
        }
        if self.needs_heading() {
            out.push_str("<h2>Results</h2>\n");
        }
        for block in &self.blocks {
            match block {
                Block::Text(text) => out.push_str(&prose(text)),
                Block::Figure(drawn) => figure(&mut out, drawn)?,
                Block::Table(grid) => table(&mut out, grid),
                Block::Expect => self.expected(&mut out),
            }
        }
        out.push_str("</main>\n");
        self.made(&mut out);
        out.push_str("</body>\n</html>\n");
        Ok(out)
    }

    fn expected(&self, out: &mut String) {
        out.push_str("<h2>Expected</h2>\n<div class=\"scroll\"><table><caption>What was expected, and whether it holds</caption>\n");
        out.push_str("<thead><tr><th scope=\"col\">expected</th><th scope=\"col\">holds</th><th scope=\"col\">found</th></tr></thead>\n<tbody>\n");
        for outcome in self.outcomes {
            let (class, said) = if outcome.holds { ("holds", "✓ yes") } else { ("fails", "✗ no") };
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{}<br><code>{}</code></th><td class=\"{class}\">{said}</td><td>{}</td></tr>",
                escape(&outcome.words),
                escape(&outcome.written),
                escape(&outcome.found)
            );
        }
        out.push_str("</tbody></table></div>\n");
    }

    fn made(&self, out: &mut String) {
        out.push_str("<footer>\n<h2>How it was made</h2>\n<ul>\n");
        for [model, weights, dtype, version] in &self.models {
            let _ = writeln!(
                out,
                "<li>Model {}, {}, weights <code>{}</code>, pellucid {}</li>",
                escape(model),
                escape(dtype),
                escape(weights),
                escape(version)
            );
        }
        out.push_str("</ul>\n<div class=\"scroll\"><table><caption>Each step: its command, and the folder of its results</caption>\n");
        out.push_str("<thead><tr><th scope=\"col\">step</th><th scope=\"col\">command, folder and request</th></tr></thead>\n<tbody>\n");
        for made in &self.made {
            let figures: Vec<String> = made.figures.iter().map(|name| escape(name).to_string()).collect();
            let figures = if figures.is_empty() { String::new() } else { format!("<br>{}", figures.join(", ")) };
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{}</th><td><code>{}</code><br>{}<br>request <code>{}</code>{figures}</td></tr>",
                escape(&made.label),
                escape(&made.command()),
                escape(&made.folder()),
                escape(&made.asked.request)
            );
        }
        out.push_str("</tbody></table></div>\n</footer>\n");
    }
}

/// Markdown as HTML. Tags in it are text.
fn prose(text: &str) -> String {
    let as_text = |event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        other => other,
    };
    let mut out = String::new();
    pulldown_cmark::html::push_html(&mut out, Parser::new_ext(text, Options::ENABLE_TABLES).map(as_text));
    out
}

fn figure(out: &mut String, drawn: &Drawn) -> Result<()> {
    if let Some(of) = drawn.heading() {
        let _ = writeln!(out, "<h3>{}</h3>", escape(of));
    }
    out.push_str(&html::html(&drawn.view)?);
    Ok(())
}

fn table(out: &mut String, grid: &Grid) {
    let class = |number: &bool| if *number { " class=\"number\"" } else { "" };
    let _ = writeln!(out, "<div class=\"scroll\"><table><caption>{}</caption>\n<thead><tr>", escape(&grid.caption));
    for (name, number) in &grid.columns {
        let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(number), escape(name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &grid.rows {
        out.push_str("<tr>");
        for (cell, (_, number)) in row.iter().zip(&grid.columns) {
            let _ = write!(out, "<td{}>{}</td>", class(number), escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
    if let Some(rest) = grid.rest() {
        let _ = writeln!(out, "<p class=\"rest\">{}</p>", escape(&rest));
    }
    out.push_str("</div>\n");
}
