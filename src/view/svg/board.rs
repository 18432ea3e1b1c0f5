//! Candidates under each other, each with bars.

use super::Sized;
use super::canvas::{Anchor, Rect, Svg, Type};
use super::room::Room;
use crate::error::Result;
use crate::view::colour::Rgb;
use crate::view::kind::Board;
use crate::view::label::{fit_mono, mono_width, sans_width};

/// Height of a candidate.
const ROW: f64 = 24.0;
/// Height of what stands over them, and of a line between them.
const HEAD: f64 = 26.0;
/// Font size.
const SIZE: f64 = 12.0;
const SMALL: f64 = 10.0;
/// The longest label, and the longest bar.
const LABEL: f64 = 260.0;
const BAR: f64 = 300.0;
/// What the first bar is drawn in, and the second.
const INKS: [Rgb; 2] = [Rgb(0x9a, 0xa5, 0xb1), Rgb(0x1f, 0x6f, 0xb5)];

/// A board with the widths of its columns.
pub(super) struct Drawn<'a> {
    board: &'a Board,
    label: f64,
    /// Of the longest bar.
    bar: f64,
    /// Of what is written beside bars.
    numbers: f64,
    note: f64,
}

impl<'a> Drawn<'a> {
    /// It takes `room` pixels, where that is given and its bars do not get too short.
    pub fn new(board: &'a Board, room: Room) -> Self {
        let widest = |of: &mut dyn Iterator<Item = f64>| of.fold(0.0, f64::max).ceil();
        let label = widest(&mut board.entries.iter().map(|entry| mono_width(&entry.label, SIZE)));
        let numbers = board.entries.iter().flat_map(|entry| &entry.bars).map(|(_, text)| sans_width(text, SMALL));
        let note = widest(&mut board.entries.iter().map(|entry| sans_width(&entry.note, SMALL)));
        let longest = room.width.map_or(LABEL, |room| (0.4 * room).min(LABEL));
        let label = label.max(sans_width(&board.name, SIZE)).min(longest) + 12.0;
        let numbers = widest(&mut { numbers }) + 12.0;
        let bar = room.width.map_or(BAR, |room| (room - label - numbers - note - 8.0).clamp(60.0, BAR));
        Self { board, label, bar, numbers, note }
    }

    /// Height above entry `i`.
    fn above(&self, i: usize) -> f64 {
        let line = self.board.ends.as_ref().is_some_and(|(after, _)| i > *after);
        HEAD + i as f64 * ROW + if line { HEAD } else { 0.0 }
    }
}

impl Sized for Drawn<'_> {
    fn size(&self) -> (f64, f64) {
        let n = self.board.entries.len();
        let line = if self.board.ends.is_some() { HEAD } else { 0.0 };
        (self.label + self.bar + self.numbers + self.note + 8.0, HEAD + n as f64 * ROW + line)
    }

    fn draw(&self, svg: &mut Svg, left: f64, top: f64) -> Result<()> {
        let (board, bars) = (self.board, left + self.label);
        let (t, most) = (Type::new(SMALL), board.most());
        svg.text(left, top + 10.0, &board.name, t.bold());
        let mut x = bars;
        for (name, ink) in board.bars.iter().zip(inks(board)) {
            svg.rect(Rect { x, y: top + 5.0, w: 10.0, h: 10.0 }, ink, None);
            svg.text(x + 14.0, top + 10.0, name, t);
            x += 28.0 + sans_width(name, SMALL);
        }
        for (i, entry) in board.entries.iter().enumerate() {
            let y = top + self.above(i);
            let ink = if entry.out { Rgb::SOFT } else { Rgb::INK };
            let label = fit_mono(&entry.label, self.label - 12.0, SIZE);
            let words = if entry.others { Type::new(SIZE).ink(Rgb::SOFT) } else { Type::new(SIZE).mono().ink(ink) };
            svg.text(left, y + ROW / 2.0, &label, words);
            let thick = (ROW - 8.0) / board.bars.len().max(1) as f64;
            for (b, ((length, text), fill)) in entry.bars.iter().zip(inks(board)).enumerate() {
                let y = y + 4.0 + b as f64 * thick;
                let w = self.bar * length / most;
                let r = Rect { x: bars, y, w, h: thick - 1.0 };
                match entry.others {
                    true => svg.outline(Rect { w: w.max(1.0), ..r }, fill, 1.0),
                    false if w > 0.0 => svg.rect(r, fill, None),
                    false => {}
                }
                svg.text(
                    bars + w + 5.0,
                    y + thick / 2.0 - 0.5,
                    text,
                    Type::new(if thick < 12.0 { 8.0 } else { SMALL }).ink(ink),
                );
            }
            let end = bars + self.bar + self.numbers;
            svg.text(end, y + ROW / 2.0, &entry.note, t.ink(Rgb::SOFT));
            svg.hover(Rect { x: left, y, w: end - left, h: ROW }, &entry.title);
        }
        if let Some((after, words)) = &board.ends {
            let y = top + self.above(*after) + ROW + HEAD / 2.0;
            svg.line(&[(left, y), (bars + self.bar, y)], Rgb::INK, 1.0);
            svg.text(bars + self.bar, y - 6.0, words, t.at(Anchor::End));
        }
        Ok(())
    }
}

/// One bar is drawn strongly.
fn inks(board: &Board) -> impl Iterator<Item = Rgb> {
    INKS.into_iter().skip(if board.bars.len() == 1 { 1 } else { 0 })
}
