//! All heads of a prompt as small multiples: a row of tiles for each layer, a tile for each head.

use super::attention::{Entry, Pattern, Patterns, UNSEEN, runs};
use super::axis::Axis;
use super::colour::{Rgb, viridis};
use super::frame::{self, BAR, HEAD, MARGIN, NARROWEST, SHORTEST_BAR, colour_bar};
use super::label::probability;
use super::svg::{Anchor, Rect, Svg, Type};
use crate::table::Provenance;

/// Tiles show probabilities in this many steps: one path for each, instead of one mark for each cell.
const STEPS: usize = 16;
/// Least side of a cell in pixels: what is smaller is merged, or a column of one token could not be seen.
const LEAST_CELL: f64 = 2.0;
/// Space between tiles.
const GAP: f64 = 8.0;
/// Line with a tile's name.
const NAME: f64 = 13.0;

/// Sizes of the figure of all heads.
pub(super) struct Tiles {
    layers: Vec<u32>,
    heads: Vec<u32>,
    /// So many queries and keys are one cell.
    merged: usize,
    /// Cells of a tile, across and down.
    cells: (usize, usize),
    /// Pixels of a cell.
    scale: f64,
}

/// One head, drawn in units of its cells.
pub(super) struct Tile {
    head: (u32, u32),
    summary: String,
    paths: Vec<(String, Rgb)>,
    left_out: bool,
}

impl Tiles {
    /// Those of these patterns.
    pub fn of(patterns: &Patterns) -> Self {
        let mut layers: Vec<u32> = patterns.heads.keys().map(|h| h.0).collect();
        layers.dedup();
        let mut heads: Vec<u32> = patterns.heads.keys().map(|h| h.1).collect();
        heads.sort_unstable();
        heads.dedup();
        let (rows, columns) = (patterns.queries.len().max(1), patterns.keys.len().max(1));
        let side = (1320.0 / heads.len().max(1) as f64 - GAP).clamp(44.0, 150.0).floor();
        let merged = rows.max(columns).div_ceil((side / LEAST_CELL) as usize);
        // In cells; the longer side fills the tile.
        let (across, down) = (columns.div_ceil(merged), rows.div_ceil(merged));
        let scale = side / across.max(down) as f64;
        Self { layers, heads, merged, cells: (across, down), scale }
    }

    /// The figure of these tiles.
    pub fn figure(&self, patterns: &Patterns, tiles: &[Tile], provenance: &Provenance) -> String {
        let Self { layers, heads, merged, scale, .. } = self;
        let (w, h) = (self.cells.0 as f64 * scale, self.cells.1 as f64 * scale);
        let grid_w = heads.len() as f64 * (w + GAP) - GAP;
        let grid_h = layers.len() as f64 * (h + NAME + GAP) - GAP;
        let width = (MARGIN + grid_w + BAR + MARGIN).max(NARROWEST);
        let mut sentences = vec![
            "One tile for each head, LxHy: layer x, head y. In a tile: query down, key across, the first token at the upper left."
                .to_owned(),
            format!("Colour in {STEPS} steps; probabilities below {} are drawn as 0.", probability(0.5 / STEPS as f32)),
        ];
        if tiles.iter().any(|tile| tile.left_out) {
            sentences.push("Small probabilities that the table leaves out are drawn as 0.".to_owned());
        }
        if *merged > 1 {
            sentences.push(format!("Each cell is the largest of {merged} x {merged} entries."));
        }
        let caption = frame::caption_lines(&sentences, width);
        let height = HEAD + grid_h.max(SHORTEST_BAR + NAME) + frame::caption_height(caption.len());
        let mut svg = Svg::new(width, height);
        let subtitle = frame::subtitle(provenance, &format!("prompt {}", patterns.prompt_id));
        frame::head(&mut svg, "Attention of all heads", &subtitle);
        // In the order of layers and heads.
        for tile in tiles {
            let (Ok(i), Ok(j)) = (layers.binary_search(&tile.head.0), heads.binary_search(&tile.head.1)) else {
                continue;
            };
            let (x, y) = (MARGIN + j as f64 * (w + GAP), HEAD + i as f64 * (h + NAME + GAP));
            svg.text(x + w / 2.0, y + NAME / 2.0 - 1.0, &name(tile.head), Type::new(9.5).at(Anchor::Middle));
            svg.rect(Rect { x, y: y + NAME, w, h }, UNSEEN, None);
            svg.group(x, y + NAME, *scale, &tile.summary, |svg| {
                tile.paths.iter().for_each(|(d, fill)| svg.path(d, *fill));
            });
        }
        colour_bar(
            &mut svg,
            MARGIN + grid_w + 16.0,
            HEAD + NAME,
            grid_h.min(240.0) - NAME,
            &Axis::quarters("attention probability"),
            viridis,
        );
        frame::caption(&mut svg, &caption);
        svg.finish(&format!("Attention of all heads, {subtitle}"), &frame::desc(provenance))
    }

    /// Draws one pattern; of what is seen, what has no entry is drawn as 0.
    pub fn tile(&self, patterns: &Patterns, pattern: &Pattern) -> Tile {
        let (across, merged) = (self.cells.0, self.merged);
        // Row after row; none where nothing can be seen.
        let mut cells: Vec<Option<f32>> = vec![None; across * self.cells.1];
        for (q, from, to) in &pattern.seen {
            let row = *q as usize / merged * across;
            cells[row + *from as usize / merged..=row + (*to as usize - 1) / merged].fill(Some(0.0));
        }
        for (q, k, p) in &pattern.entries {
            let cell = &mut cells[*q as usize / merged * across + *k as usize / merged];
            // `max` passes over NaN.
            *cell = Some(cell.unwrap_or(0.0).max(*p));
        }
        let step = |p: f32| ((f64::from(p) * STEPS as f64).round() as usize).min(STEPS);
        let path_of = |wanted: &dyn Fn(f32) -> bool| {
            let at = cells.iter().enumerate().filter(|(_, p)| p.is_some_and(wanted));
            runs(at.map(|(i, _)| (i / across, i % across)))
        };
        let mut paths = vec![(path_of(&|_| true), viridis(0.0))];
        for level in 1..=STEPS {
            let d = path_of(&|p| step(p) == level);
            if !d.is_empty() {
                paths.push((d, viridis(level as f64 / STEPS as f64)));
            }
        }
        let summary = summary(&name(pattern.head), patterns, &pattern.entries);
        Tile { head: pattern.head, summary, paths, left_out: pattern.left_out() > 0 }
    }
}

fn name((layer, head): (u32, u32)) -> String {
    format!("L{layer}H{head}")
}

/// Where a head looks, in one line: its means over the queries that have a choice, and its strongest look elsewhere.
fn summary(name: &str, patterns: &Patterns, entries: &[Entry]) -> String {
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
        if key != first && key != query && strongest.is_none_or(|(_, _, most)| p > most) {
            strongest = Some((q, k, p));
        }
    }
    if queries == 0 {
        return format!("{name}: one query only");
    }
    let mean = |sum: f64| probability((sum / queries as f64) as f32);
    let mut out = format!(
        "{name}: on average {} on the first token, {} on the token before, {} on itself",
        mean(to_first),
        mean(to_previous),
        mean(to_itself)
    );
    if let Some(entry) = strongest {
        out += &format!("; strongest elsewhere: {}", patterns.facts(entry));
    }
    out
}
