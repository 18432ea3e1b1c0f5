//! What has to be said beside a picture so that it can be read, whatever draws it; and what its axes say already.

use super::axis::Axis;
use super::kind::{Body, Heat, Mark, Panel, View};
use std::borrow::Cow;
use std::collections::BTreeSet;

impl View {
    /// The sentences beside its picture: its caption, what its marks mean, and what places are that have no mark.
    pub fn sentences(&self) -> Vec<Cow<'_, str>> {
        let own = self.caption.iter().chain(&self.legend).map(|sentence| Cow::Borrowed(&**sentence));
        let mut all: Vec<Cow<'_, str>> = own.collect();
        for said in self.panels.iter().filter_map(|panel| panel.body.absent()) {
            if !all.contains(&Cow::Borrowed(&*said)) {
                all.push(Cow::Owned(said));
            }
        }
        all
    }
}

impl Panel {
    /// The axis of its values, of a panel that has one.
    pub fn values(&self) -> Option<&Axis> {
        match &self.body {
            Body::Steps(steps) => Some(&steps.y),
            Body::Lines(lines) => Some(&lines.y),
            _ => None,
        }
    }

    /// Whether the name of its axis of values says what it shows: none of the other `panels` has the same.
    pub fn is_named_by_axis(&self, panels: &[Self]) -> bool {
        let name = |panel: &Self| panel.values().map(|axis| axis.name.clone()).filter(|name| !name.is_empty());
        let own = name(self);
        own.is_some() && panels.iter().filter(|panel| name(panel) == own).count() == 1
    }
}

impl Body {
    /// What places of a grid are that show nothing, and what values are that are no numbers, as a sentence; none where every place has a
    /// number.
    fn absent(&self) -> Option<String> {
        let Self::Heat(heat) = self else { return None };
        let mut said = vec![];
        if heat.has_gaps() {
            said.push(format!("Grey: {}.", heat.absent));
        }
        if heat.cells.iter().any(|(_, cell)| cell.value.is_nan() && cell.mark != Mark::Nothing) {
            said.push("Dark grey: no finite number.".to_owned());
        }
        (!said.is_empty()).then(|| said.join(" "))
    }
}

impl Heat {
    /// Whether there are places that have neither a cell nor an area.
    fn has_gaps(&self) -> bool {
        let (rows, columns) = (self.rows.items.len(), self.columns.items.len());
        let mut places: BTreeSet<(usize, usize)> = self.cells.iter().map(|(place, _)| *place).collect();
        if places.len() == rows * columns {
            return false;
        }
        for (row, from, to) in self.areas.iter().flat_map(|area| &area.runs) {
            places.extend((*from..*to).map(|column| (*row as usize, column as usize)));
        }
        places.len() < rows * columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::colour::Colours;
    use crate::view::kind::{Area, Cell, Shape, Side};

    fn grid(cells: &[(usize, usize)], runs: &[(u32, u32, u32)]) -> Body {
        let side = |n: usize| Side::new("", (0..n).map(|i| i.to_string()));
        Body::Heat(Heat {
            rows: side(2),
            columns: side(2),
            above: Side::default(),
            cells: cells.iter().map(|at| (*at, Cell { value: 0.5, ..Cell::default() })).collect(),
            areas: vec![Area { runs: runs.to_vec(), value: None, title: String::new() }],
            colours: Colours::probability("p"),
            shape: Shape::Numbers,
            absent: "no path",
        })
    }

    #[test]
    fn gaps_are_said_where_there_are_some() {
        let all = [(0, 0), (0, 1), (1, 0), (1, 1)];
        assert_eq!(grid(&all, &[]).absent(), None);
        assert_eq!(grid(&all[..3], &[(1, 1, 2)]).absent(), None);
        assert_eq!(grid(&all[..3], &[(1, 0, 1)]).absent().as_deref(), Some("Grey: no path."));
        let Body::Heat(mut heat) = grid(&all, &[]) else { panic!("a grid") };
        heat.cells[2].1.value = f64::NAN;
        assert_eq!(Body::Heat(heat).absent().as_deref(), Some("Dark grey: no finite number."));
    }
}
