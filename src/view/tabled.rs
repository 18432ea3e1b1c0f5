//! Every view as a table: for those who cannot see colours, or cannot see.

use super::kind::*;
use crate::number::Locale;

impl Body {
    /// The same as a table: for those who cannot see colours, or cannot see.
    pub fn table(&self, locale: Locale) -> Table {
        let number = |x: f64| locale.number(x as f32);
        let value = |cell: &Cell| match (cell.mark, cell.error) {
            (Mark::Nothing, _) => "-".to_owned(),
            (_, Some(error)) if error.is_finite() => {
                let mean = number(cell.value);
                format!("{mean} ± {}", locale.error(&mean, error))
            }
            _ => number(cell.value),
        };
        let row = |label: String, cells: Vec<Cell>| TableRow { depth: 0, label, cells };
        // The cell with its value in words in place of what is drawn in it.
        let said = |cell: &Cell, label: String| Cell { label, below: String::new(), ..cell.clone() };
        match self {
            Self::Table(table) => table.clone(),
            Self::Text(Text { colours, tokens }) => Table {
                columns: vec!["token".to_owned(), colours.name.clone()],
                rows: tokens.iter().map(|t| row(t.label.clone(), vec![said(t, value(t))])).collect(),
                colours: Some(colours.clone()),
            },
            Self::Steps(steps) => Table {
                columns: vec![steps.x.name().to_owned(), steps.y.name.clone()],
                rows: (steps.x.items.iter().zip(&steps.points))
                    .map(|(item, point)| row(item.head(), vec![said(point, value(point))]))
                    .collect(),
                colours: None,
            },
            Self::Heat(heat) => {
                let mut rows: Vec<_> = (heat.rows.items.iter())
                    .map(|item| row(item.head(), vec![Cell::said(""); heat.columns.items.len()]))
                    .collect();
                for area in heat.areas.iter() {
                    let text = area.value.map_or("-".to_owned(), number);
                    for (r, from, to) in &area.runs {
                        rows[*r as usize].cells[*from as usize..*to as usize].fill(Cell::said(text.clone()));
                    }
                }
                for ((r, c), cell) in &heat.cells {
                    let label = match heat.shape {
                        Shape::Tokens if cell.mark == Mark::Hit => format!("{} {} ✓", cell.label, value(cell)),
                        Shape::Tokens => format!("{} {}", cell.label, value(cell)),
                        _ => value(cell),
                    };
                    rows[*r].cells[*c] = said(cell, label);
                }
                let corner = format!("{} / {}", heat.rows.name(), heat.columns.name());
                let columns = std::iter::once(corner).chain(heat.columns.items.iter().map(Item::head)).collect();
                Table { columns, rows, colours: Some(heat.colours.clone()) }
            }
            Self::Lines(Lines { x, lines, .. }) => Table {
                columns: [x.name.clone()].into_iter().chain(lines.iter().map(|line| line.name.clone())).collect(),
                rows: (lines.first().map_or(&[][..], |line| &line.points).iter().enumerate())
                    .map(|(i, (at, _))| {
                        let cells =
                            lines.iter().map(|l| Cell::said(l.points.get(i).map_or(String::new(), |p| number(p.1))));
                        row(locale.tick(*at), cells.collect())
                    })
                    .collect(),
                colours: None,
            },
            Self::Scatter(Scatter { x, y, dots, .. }) => Table {
                columns: vec!["dot".to_owned(), x.name.clone(), y.name.clone()],
                rows: (dots.iter())
                    .map(|dot| row(dot.title.clone(), vec![Cell::said(number(dot.x)), Cell::said(number(dot.y))]))
                    .collect(),
                colours: None,
            },
            Self::Board(board) => Table {
                columns: (std::iter::once(&board.name).chain(&board.bars).cloned()).chain([String::new()]).collect(),
                rows: (board.entries.iter())
                    .map(|entry| {
                        let cells = entry.bars.iter().map(|(_, text)| Cell::said(text.as_str()));
                        row(entry.label.clone(), cells.chain([Cell::said(entry.note.as_str())]).collect())
                    })
                    .collect(),
                colours: None,
            },
            Self::Tree(tree) => Table {
                columns: ["text", "traces", "fork"].map(str::to_owned).to_vec(),
                rows: (tree.branches.iter())
                    .map(|branch| {
                        let cells = vec![Cell::said(number(branch.weight)), Cell::said(branch.note.as_str())];
                        TableRow { depth: branch.depth, label: branch.text.clone(), cells }
                    })
                    .collect(),
                colours: None,
            },
            Self::Arcs(arcs) => {
                let place = |i: usize| arcs.places.items.get(i).map_or(String::new(), Item::head);
                Table {
                    columns: vec![arcs.places.name().to_owned(), "to".to_owned(), arcs.value.clone()],
                    rows: (arcs.arcs.iter())
                        .map(|arc| {
                            row(place(arc.from), vec![Cell::said(place(arc.to)), Cell::said(arc.label.as_str())])
                        })
                        .collect(),
                    colours: None,
                }
            }
            Self::Tiles(Tiles { tiles, .. }) => Table {
                columns: ["tile", "what it shows"].map(str::to_owned).to_vec(),
                rows: tiles.iter().map(|tile| row(tile.name.clone(), vec![Cell::said(&tile.title)])).collect(),
                colours: None,
            },
        }
    }
}
