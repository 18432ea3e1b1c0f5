//! All heads of a prompt as small multiples, a row of tiles for each layer; and what each looks at.

use super::took::{MOST_TOKENS, Took};
use super::{Entry, HIDDEN, Pattern, Patterns};
use crate::table::{Provenance, visible};
use crate::view::colour::Colours;
use crate::view::kind::{Area, Body, Cell, Heat, Item, Panel, Run, Shape, Side, Table, TableRow, Tile, Tiles, View};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tiles show probabilities in this many steps.
const STEPS: u32 = 16;
/// The last row is drawn of so many heads, with cells from this probability on.
pub(super) const STRIPS: (usize, f32) = (400, 0.03125);

/// A layer and head, the keys that its last query looks at, and those that it can see.
type Strip = ((u32, u32), Vec<Entry>, Vec<Run>);

/// What is known of all heads after one another.
pub(super) struct AllHeads<'a> {
    patterns: &'a Patterns,
    layers: Vec<u32>,
    heads: Vec<u32>,
    /// So many queries and keys are one cell.
    merged: usize,
    tiles: Tiles,
    /// By layer and head, what the last query looks at most.
    looks: BTreeMap<(u32, u32), Entry>,
    /// What the last query took in all of them.
    pub took: Took,
    /// By layer and head the keys that the last query looks at, and those that it can see.
    strips: Vec<Strip>,
    left_out: bool,
}

impl<'a> AllHeads<'a> {
    /// None of these patterns yet.
    pub fn of(patterns: &'a Patterns) -> Self {
        let mut layers: Vec<u32> = patterns.heads.keys().map(|h| h.0).collect();
        layers.dedup();
        let mut heads: Vec<u32> = patterns.heads.keys().map(|h| h.1).collect();
        heads.sort_unstable();
        heads.dedup();
        let (rows, columns) = (patterns.queries.len().max(1), patterns.keys.len().max(1));
        let merged = Tiles::merged(heads.len(), rows, columns);
        let size = (columns.div_ceil(merged), rows.div_ceil(merged));
        let colours = Colours::probability("attention probability");
        let tiles = Tiles { size, steps: STEPS, colours, tiles: vec![] };
        Self {
            patterns,
            layers,
            heads,
            merged,
            tiles,
            looks: BTreeMap::new(),
            took: Took::default(),
            strips: vec![],
            left_out: false,
        }
    }

    /// One more; `tiled` if it is one of several.
    pub fn add(&mut self, pattern: &Pattern, tiled: bool) {
        let last = self.patterns.queries.len().saturating_sub(1) as u32;
        // The first of equals; what is no number is less than all that are.
        let looks = pattern.entries.iter().filter(|(q, _, p)| *q == last && !p.is_nan());
        if let Some(look) = looks.reduce(|best, look| if look.2 > best.2 { look } else { best }) {
            self.looks.insert(pattern.head, *look);
        }
        self.took.add(self.patterns.keys.len(), &pattern.taken);
        if self.strips.len() < STRIPS.0 {
            let strong = pattern.entries.iter().filter(|(q, _, p)| *q == last && (*p >= STRIPS.1 || p.is_nan()));
            let seen = pattern.seen.iter().filter(|(q, _, _)| *q == last);
            self.strips.push((pattern.head, strong.copied().collect(), seen.copied().collect()));
        }
        let at = (self.layers.binary_search(&pattern.head.0), self.heads.binary_search(&pattern.head.1));
        if let ((Ok(line), Ok(along)), true) = (at, tiled) {
            self.left_out |= pattern.left_out() > 0;
            let name = name(pattern.head);
            let title = summary(&format!("{name}: "), self.patterns, &pattern.entries);
            self.tiles.tiles.push(Tile { at: (line, along), name, title, cells: self.cells(pattern) });
        }
    }

    /// The cells of a tile; of what is seen, what has no entry is 0.
    fn cells(&self, pattern: &Pattern) -> Vec<Option<f32>> {
        let ((across, down), merged) = (self.tiles.size, self.merged);
        let mut cells: Vec<Option<f32>> = vec![None; across * down];
        for (q, from, to) in &pattern.seen {
            let row = *q as usize / merged * across;
            cells[row + *from as usize / merged..=row + (*to as usize - 1) / merged].fill(Some(0.0));
        }
        for (q, k, p) in &pattern.entries {
            let cell = &mut cells[*q as usize / merged * across + *k as usize / merged];
            // `max` passes over NaN.
            *cell = Some(cell.unwrap_or(0.0).max(*p));
        }
        cells
    }

    /// One head as a tile of its own.
    pub fn alone(patterns: &Patterns, pattern: &Pattern) -> Panel {
        let mut all = AllHeads { heads: vec![pattern.head.1], layers: vec![pattern.head.0], ..AllHeads::of(patterns) };
        all.merged = Tiles::merged(1, patterns.queries.len(), patterns.keys.len());
        let (rows, columns) = (patterns.queries.len().max(1), patterns.keys.len().max(1));
        all.tiles.size = (columns.div_ceil(all.merged), rows.div_ceil(all.merged));
        all.add(pattern, true);
        let heading = match all.merged {
            1 => "all positions".to_owned(),
            n => format!("all positions, each cell the largest of {n} x {n} entries"),
        };
        Panel { heading, body: Body::Tiles(all.tiles) }
    }

    /// The last row of each head, of the tokens that are looked at most.
    fn strips(&self) -> Option<Panel> {
        let patterns = self.patterns;
        if self.layers.len() * self.heads.len() > STRIPS.0 {
            return None;
        }
        let (pos, token) = patterns.queries.last()?;
        let keys = self.took.most_looked(MOST_TOKENS);
        let items = keys.iter().map(|key| &patterns.keys[*key]);
        let items = items.map(|(pos, token)| Item { label: visible(token), number: Some(*pos) }).collect();
        let item = |head: (u32, u32)| Item { label: name(head), number: None };
        let rows =
            Side { names: vec!["head".to_owned()], items: self.strips.iter().map(|(head, ..)| item(*head)).collect() };
        let cells = self.strips.iter().enumerate().flat_map(|(row, (head, entries, _))| {
            let place = |entry: &Entry| keys.binary_search(&(entry.1 as usize)).ok().map(|column| (column, *entry));
            let cell = move |(column, entry): (usize, Entry)| {
                let title = format!("L{}H{}: {}", head.0, head.1, patterns.facts(entry));
                ((row, column), Cell { value: f64::from(entry.2), title, ..Cell::default() })
            };
            entries.iter().filter_map(place).map(cell).collect::<Vec<_>>()
        });
        let column = |key: &u32| keys.partition_point(|own| (*own as u32) < *key) as u32;
        let run = |row: usize| move |(_, from, to): &Run| (row as u32, column(from), column(to));
        let seen = self.strips.iter().enumerate().flat_map(|(row, (.., seen))| seen.iter().map(run(row)));
        let heat = Heat {
            rows,
            columns: Side { names: vec!["key (attended to)".to_owned(), "key".to_owned()], items },
            above: Side::default(),
            cells: cells.collect(),
            areas: vec![Area {
                runs: seen.filter(|(_, from, to)| from < to).collect(),
                value: Some(0.0),
                title: format!("less than {}", patterns.locale.probability(STRIPS.1)),
            }],
            colours: Colours::probability("attention probability"),
            shape: Shape::Strips,
            absent: HIDDEN,
        };
        let of = if keys.len() < patterns.keys.len() {
            format!(", the {} tokens that are looked at most", keys.len())
        } else {
            String::new()
        };
        let heading = format!("from position {pos}, {}, in every head{of}", visible(token));
        Some(Panel { heading, body: Body::Heat(heat) })
    }

    /// What each head looks at most from the last position.
    pub fn looks(&self) -> Option<Panel> {
        let patterns = self.patterns;
        let (pos, token) = patterns.queries.last()?;
        let cell = |layer: u32, head: u32| match self.looks.get(&(layer, head)) {
            None => Cell::said(""),
            Some(look @ (_, k, p)) => Cell {
                value: f64::from(*p),
                label: visible(&patterns.keys[*k as usize].1),
                below: patterns.locale.fixed(f64::from(*p), 2),
                title: patterns.facts(*look),
                ..Cell::default()
            },
        };
        let row = |layer: &u32| TableRow {
            depth: 0,
            label: format!("layer {layer}"),
            cells: self.heads.iter().map(|head| cell(*layer, *head)).collect(),
        };
        let heads = self.heads.iter().map(|head| format!("head {head}"));
        let table = Table {
            columns: std::iter::once(String::new()).chain(heads).collect(),
            rows: self.layers.iter().map(row).collect(),
            colours: Some(Colours::probability("attention probability")),
        };
        let heading = format!("from position {pos}, {}, each head looks most at", visible(token));
        Some(Panel { heading, body: Body::Table(table) })
    }

    /// The figure of all heads.
    pub fn view(self, end: &str, provenance: Arc<Provenance>) -> View {
        let (patterns, merged) = (self.patterns, self.merged);
        let least = patterns.locale.probability(0.5 / STEPS as f32);
        let mut legend = vec![
            "One tile for each head, LxHy: layer x, head y. In a tile: query down, key across, the first token at the upper left."
                .to_owned(),
            format!("Colour in {STEPS} steps; probabilities below {least} are drawn as 0."),
        ];
        if self.left_out {
            legend.push("Small probabilities that the table leaves out are drawn as 0.".to_owned());
        }
        if self.tiles.tiles.iter().any(|tile| tile.cells.iter().any(Option::is_none)) {
            legend.push(format!("Grey: {HIDDEN}."));
        }
        if merged > 1 {
            legend.push(format!("Each cell of a tile is the largest of {merged} x {merged} entries."));
        }
        let mut panels = self.took.text(patterns, false);
        panels.extend(self.strips());
        let pushes = if patterns.target.is_some() { "; pushes are sums" } else { "" };
        legend.push(format!("On the text: means over heads{pushes}."));
        legend.extend(self.took.legend("a corner"));
        // With parts, the figure of these says it.
        let caption = if patterns.parts { vec![] } else { self.took.says(patterns) };
        panels.push(Panel { heading: "every position, in every head".to_owned(), body: Body::Tiles(self.tiles) });
        View {
            name: format!("attention{end}"),
            title: "Attention of all heads".to_owned(),
            subtitle: patterns.subtitle(&provenance),
            caption,
            legend,
            panels,
            more: vec![],
            provenance,
            locale: patterns.locale,
        }
    }
}

pub(super) fn name((layer, head): (u32, u32)) -> String {
    format!("L{layer}H{head}")
}

/// Where a head looks, in one line: its means over the queries that have a choice, and its strongest look elsewhere.
pub(super) fn summary(name: &str, patterns: &Patterns, entries: &[Entry]) -> String {
    let first = patterns.keys.first().map_or(0, |k| k.0);
    let (mut to_first, mut to_previous, mut to_itself, mut queries) = (0.0, 0.0, 0.0, 0usize);
    let mut last = None;
    let mut strongest: Option<Entry> = None;
    for &(q, k, p) in entries {
        let (query, key) = (patterns.queries[q as usize].0, patterns.keys[k as usize].0);
        if query == first {
            continue;
        }
        if last != Some(q) {
            last = Some(q);
            queries += 1;
        }
        let p64 = f64::from(p);
        if key == first {
            to_first += p64;
        }
        if key == query {
            to_itself += p64;
        }
        if key.checked_add(1) == Some(query) {
            to_previous += p64;
        }
        let is_before = key.checked_add(1) == Some(query);
        if key != first && key != query && !is_before && strongest.is_none_or(|(_, _, most)| p > most) {
            strongest = Some((q, k, p));
        }
    }
    if queries == 0 {
        return format!("{name}one query only");
    }
    let mean = |sum: f64| patterns.locale.probability((sum / queries as f64) as f32);
    let mut out = format!(
        "{name}on average {} on the first token, {} on the token before, {} on itself",
        mean(to_first),
        mean(to_previous),
        mean(to_itself)
    );
    if let Some(entry) = strongest {
        out += &format!("; strongest elsewhere: {}", patterns.facts(entry));
    }
    out
}
