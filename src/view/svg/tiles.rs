//! Small multiples: each tile a few paths, one for each step of colour, instead of one mark for each cell.

use super::Sized;
use super::canvas::{Anchor, Rect, Svg, Type};
use super::frame::{BAR, SHORTEST_BAR, colour_bar};
use super::heat::path;
use super::room::Room;
use crate::error::Result;
use crate::number::Locale;
use crate::view::colour::Rgb;
use crate::view::kind::{Tile, Tiles, runs};
use crate::view::label::sans_width;

/// Space between tiles.
const GAP: f64 = 8.0;
/// Line with a tile's name.
const NAME: f64 = 13.0;

/// Tiles with their sizes.
pub(super) struct Drawn<'a> {
    tiles: &'a Tiles,
    locale: Locale,
    /// Pixels of a cell.
    scale: f64,
    /// Pixels of all tiles.
    grid: (f64, f64),
    /// Whether its colour bar is drawn.
    bar: bool,
}

impl<'a> Drawn<'a> {
    /// It takes `room` pixels, where that is given and its tiles do not get too narrow.
    pub fn new(tiles: &'a Tiles, locale: Locale, room: Room) -> Self {
        let most = |of: fn(&Tile) -> usize| tiles.tiles.iter().map(of).max().map_or(1, |last| last + 1) as f64;
        let (lines, along) = (most(|tile| tile.at.0), most(|tile| tile.at.1));
        // In cells; the longer side fills the tile.
        let (across, down) = tiles.size;
        let widest = if tiles.tiles.len() == 1 { 420.0 } else { 150.0 };
        let tile = match room.width {
            Some(wide) => {
                let high = if room.panels > 1 {
                    (room.most() / lines - NAME - GAP).max((480.0 / lines).min(40.0))
                } else {
                    widest
                };
                ((wide - BAR + GAP) / along - GAP).min(high).clamp(18.0, widest)
            }
            None => (1320.0 / along - GAP).clamp(44.0, widest).floor(),
        };
        let scale = tile / across.max(down).max(1) as f64;
        let (w, h) = (across as f64 * scale, down as f64 * scale);
        Self { tiles, locale, scale, grid: (along * (w + GAP) - GAP, lines * (h + NAME + GAP) - GAP), bar: true }
    }

    /// Draws one tile in units of its cells.
    fn tile(&self, svg: &mut Svg, tile: &Tile) {
        let (colours, steps) = (&self.tiles.colours, f64::from(self.tiles.steps));
        let across = self.tiles.size.0;
        let of = |wanted: &dyn Fn(f64) -> bool| {
            let cells = tile.cells.iter().enumerate().filter(|(_, cell)| cell.is_some_and(|v| wanted(f64::from(v))));
            cells.map(|(i, _)| (i / across, i % across)).collect::<Vec<_>>()
        };
        let mut draw = |cells: Vec<(usize, usize)>, fill: Rgb| {
            if !cells.is_empty() {
                svg.path(&path(&runs(cells.into_iter())), fill);
            }
        };
        // Under all others, so that there are no seams.
        draw(of(&|v| !v.is_nan()), colours.of(0.0));
        let step = |v: f64| (v / colours.most * steps).round().clamp(-steps, steps) as i32;
        let all = self.tiles.steps as i32;
        for level in (-all..=all).filter(|level| *level != 0) {
            draw(of(&|v| !v.is_nan() && step(v) == level), colours.of(f64::from(level) / steps * colours.most));
        }
        draw(of(&f64::is_nan), Rgb::NONE);
        // The core of a cell, a third as wide: beyond the scale, a cell is as dark as can be.
        let beyond = of(&|v| colours.clips(v));
        let cores: String = beyond.iter().map(|(q, k)| format!("M{k}.33 {q}.33h.34v.34h-.34z")).collect();
        if !cores.is_empty() {
            svg.mark(&cores, Rgb::PAPER);
        }
    }
}

impl Sized for Drawn<'_> {
    fn size(&self) -> (f64, f64) {
        (self.grid.0 + BAR, self.grid.1.max(if self.bar { SHORTEST_BAR + NAME } else { 0.0 }))
    }

    fn without_bar(&mut self) {
        self.bar = false;
    }

    fn draw(&self, svg: &mut Svg, left: f64, top: f64) -> Result<()> {
        let (w, h) = (self.tiles.size.0 as f64 * self.scale, self.tiles.size.1 as f64 * self.scale);
        for tile in &self.tiles.tiles {
            let (x, y) = (left + tile.at.1 as f64 * (w + GAP), top + tile.at.0 as f64 * (h + NAME + GAP));
            let size = if sans_width(&tile.name, 9.5) > w { 8.0 } else { 9.5 };
            svg.text(x + w / 2.0, y + NAME / 2.0 - 1.0, &tile.name, Type::new(size).at(Anchor::Middle));
            svg.rect(Rect { x, y: y + NAME, w, h }, Rgb::FAINT, None);
            svg.group(x, y + NAME, (self.scale, self.scale), &tile.title, |svg| self.tile(svg, tile));
        }
        if self.bar {
            let bar = self.grid.1.min(240.0) - NAME;
            colour_bar(svg, left + self.grid.0 + 16.0, top + NAME, bar, &self.tiles.colours, self.locale);
        }
        Ok(())
    }
}
