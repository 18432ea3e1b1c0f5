//! Texts with common beginnings: a tree that grows to the right and down.

use super::Sized;
use super::canvas::{Rect, Svg, Type};
use super::room::Room;
use crate::error::Result;
use crate::view::colour::Rgb;
use crate::view::kind::{Branch, Tree};
use crate::view::label::{mono_width, wrapped};

/// A line of text is at most this wide.
const WIDEST: f64 = 760.0;
/// Font size of texts, and of what is said of a fork.
const SIZE: f64 = 12.0;
const SMALL: f64 = 10.0;
/// Height of a line, and space below a branch.
const LINE: f64 = 17.0;
const SPACE: f64 = 7.0;
/// How far a branch lies to the right of the one it parts from.
const STEP: f64 = 30.0;
/// The thickest branch, and the thinnest.
const THICK: (f64, f64) = (12.0, 1.5);
/// What branches are drawn in.
const STEM: Rgb = Rgb(0x9a, 0xa5, 0xb1);

/// A tree with the lines of its texts.
pub(super) struct Drawn<'a> {
    tree: &'a Tree,
    lines: Vec<Vec<String>>,
}

impl<'a> Drawn<'a> {
    /// In lines that fit into `room` pixels, where that is given.
    pub fn new(tree: &'a Tree, room: Room) -> Self {
        let widest = room.width.map_or(WIDEST, |room| (room - 8.0).min(WIDEST));
        let columns = |branch: &Branch| ((widest - text_at(branch)) / mono_width("x", SIZE)).max(24.0) as usize;
        Self { tree, lines: tree.branches.iter().map(|branch| wrapped(&branch.text, columns(branch))).collect() }
    }

    /// Height of branch `i`.
    fn height(&self, i: usize) -> f64 {
        let said = if self.tree.branches[i].note.is_empty() { 0.0 } else { 1.0 };
        (self.lines[i].len() as f64 + said) * LINE + SPACE
    }

    fn thickness(&self, branch: &Branch) -> f64 {
        (THICK.0 * branch.weight / self.tree.total.max(1.0)).max(THICK.1)
    }
}

/// Where the text of a branch begins.
fn text_at(branch: &Branch) -> f64 {
    branch.depth as f64 * STEP + THICK.0 + 6.0
}

impl Sized for Drawn<'_> {
    fn size(&self) -> (f64, f64) {
        let widest = |(branch, lines): (&Branch, &Vec<String>)| {
            let lines = lines.iter().map(|line| mono_width(line, SIZE)).fold(mono_width(&branch.note, SMALL), f64::max);
            text_at(branch) + lines
        };
        let wide = self.tree.branches.iter().zip(&self.lines).map(widest).fold(0.0, f64::max);
        (wide + 8.0, (0..self.lines.len()).map(|i| self.height(i)).sum())
    }

    fn draw(&self, svg: &mut Svg, left: f64, top: f64) -> Result<()> {
        let tops: Vec<f64> = (0..self.lines.len())
            .scan(top, |y, i| {
                let at = *y;
                *y += self.height(i);
                Some(at)
            })
            .collect();
        let branches = &self.tree.branches;
        for (i, branch) in branches.iter().enumerate() {
            let (x, y, thick) = (left + branch.depth as f64 * STEP, tops[i], self.thickness(branch));
            // Down to the last of those that part from it, else beside its own text.
            let deeper = branches.iter().enumerate().skip(i + 1).take_while(|(_, b)| b.depth > branch.depth);
            let last = deeper.filter(|(_, b)| b.depth == branch.depth + 1).map(|(j, _)| tops[j] + LINE / 2.0).last();
            let end = last.unwrap_or(y + self.height(i) - SPACE);
            svg.rect(Rect { x, y, w: thick, h: end - y + self.thin(i) / 2.0 }, STEM, Some(&branch.title));
            if branch.depth > 0 {
                let from = x - STEP;
                svg.rect(Rect { x: from, y: y + (LINE - thick) / 2.0, w: STEP + thick, h: thick }, STEM, None);
            }
        }
        for (i, branch) in branches.iter().enumerate() {
            let (x, mut y) = (left + text_at(branch), tops[i] + LINE / 2.0);
            if !branch.note.is_empty() {
                svg.text(x, y, &branch.note, Type::new(SMALL).ink(Rgb::SOFT));
                y += LINE;
            }
            for line in &self.lines[i] {
                svg.text(x, y, line, Type::new(SIZE).mono());
                y += LINE;
            }
        }
        Ok(())
    }
}

impl Drawn<'_> {
    /// How thick the last branch is that parts from branch `i`.
    fn thin(&self, i: usize) -> f64 {
        let branches = &self.tree.branches;
        let deeper = branches.iter().skip(i + 1).take_while(|b| b.depth > branches[i].depth);
        deeper.filter(|b| b.depth == branches[i].depth + 1).last().map_or(0.0, |b| self.thickness(b))
    }
}
