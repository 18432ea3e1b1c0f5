//! A report as Markdown, with its figures in files beside it.

use super::{Block, Drawn, Grid, Page};
use crate::table::markdown_text;
use crate::view::markdown;

impl Page<'_> {
    /// The page.
    pub fn markdown(&self) -> String {
        let mut out = format!("<!-- Written by pellucid {}. -->\n\n", env!("CARGO_PKG_VERSION"));
        out += &format!("# {}\n\n", prose(&self.experiment.title));
        if let Some(question) = &self.experiment.question {
            out += &format!("*{}*\n\n", prose(question));
        }
        for (heading, text) in [("Published", &self.experiment.published), ("Found", &self.experiment.found)] {
            if let Some(text) = text {
                out += &format!("## {heading}\n\n{}\n\n", text.trim());
            }
        }
        if self.needs_heading() {
            out += "## Results\n\n";
        }
        for block in &self.blocks {
            match block {
                Block::Text(text) if text.trim().is_empty() => {}
                Block::Text(text) => out += &format!("{}\n\n", text.trim_matches('\n')),
                Block::Figure(drawn) => figure(&mut out, drawn),
                Block::Table(grid) => table(&mut out, grid),
                Block::Expect => self.expected_in_markdown(&mut out),
            }
        }
        self.made_in_markdown(&mut out);
        out
    }

    fn expected_in_markdown(&self, out: &mut String) {
        *out += "## Expected\n\n| expected | holds | found |\n|---|---|---|\n";
        for outcome in self.outcomes {
            let holds = if outcome.holds { "✓ yes" } else { "✗ no" };
            *out += &format!(
                "| {}: {} | {holds} | {} |\n",
                prose(&outcome.words),
                code(&outcome.written),
                prose(&outcome.found)
            );
        }
        *out += "\n";
    }

    fn made_in_markdown(&self, out: &mut String) {
        *out += "## How it was made\n\n";
        for [model, weights, dtype, version] in &self.models {
            *out += &format!(
                "- Model {}, {}, weights {}, pellucid {}\n",
                prose(model),
                prose(dtype),
                code(weights),
                prose(version)
            );
        }
        *out += "\n| step | command | folder | request | figures |\n|---|---|---|---|---|\n";
        for made in &self.made {
            *out += &format!(
                "| {} | {} | {} | {} | {} |\n",
                prose(&made.label),
                code(&made.command()),
                prose(&made.folder()),
                code(&made.asked.request),
                prose(&made.figures.join(", "))
            );
        }
    }
}

fn figure(out: &mut String, Drawn { view, file, of }: &Drawn) {
    if let Some(of) = of {
        *out += &format!("### {}\n\n", prose(of));
    }
    let Some((name, _)) = file else {
        *out += &markdown::markdown(view);
        return;
    };
    let said: Vec<String> = view.sentences().iter().map(|sentence| prose(sentence)).collect();
    *out += &format!("![{}]({name})\n\n", prose(&view.title));
    *out += &format!("**{}** ({}). {}\n\n", prose(&view.title), prose(&view.subtitle), said.join(" "));
}

fn table(out: &mut String, grid: &Grid) {
    let line = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    *out += &format!("{}:\n\n", prose(&grid.caption));
    *out += &line(&mut grid.columns.iter().map(|(name, _)| prose(name)));
    *out += &line(&mut grid.columns.iter().map(|(_, number)| if *number { "---:" } else { "---" }.to_owned()));
    for row in &grid.rows {
        *out += &line(&mut row.iter().map(|cell| prose(cell)));
    }
    if let Some(rest) = grid.rest() {
        *out += &format!("\n{rest}\n");
    }
    *out += "\n";
}

/// Text in which Markdown sees no marks of its own, in one line.
fn prose(text: &str) -> String {
    markdown_text(&text.replace(['\n', '\r'], " "))
}

/// Text as code in a cell of a table.
fn code(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ").replace('|', "\\|");
    // As many ticks as it has none of.
    let ticks = (1..).map(|n| "`".repeat(n)).find(|ticks| !text.contains(ticks.as_str())).unwrap_or_default();
    let gap = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{ticks}{gap}{text}{gap}{ticks}")
}
