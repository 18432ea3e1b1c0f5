//! Candidates under each other, each with bars.

use super::{padded, styled, to_the_right};
use crate::view::kind::Board;
use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

/// The longest label, and bars of no more and no fewer columns.
const LONGEST: usize = 28;
const BARS: (usize, usize) = (8, 40);

/// A line for each candidate: label, bars with their numbers, a word.
pub(super) fn board(board: &Board, columns: usize) -> String {
    let widest = |of: &mut dyn Iterator<Item = usize>| of.max().unwrap_or(0);
    let label = widest(&mut board.entries.iter().map(|e| e.label.width())).max(board.name.width()).min(LONGEST);
    let note = widest(&mut board.entries.iter().map(|e| e.note.width()));
    let numbers = widest(&mut board.entries.iter().flat_map(|e| &e.bars).map(|(_, text)| text.width()));
    let n = board.bars.len().max(1);
    let room = columns.saturating_sub(label + note + n * (numbers + 4));
    let heads = board.bars.iter().map(|name| name.width()).max().unwrap_or(0).saturating_sub(numbers + 1);
    let bar = (room / n).min(BARS.1.max(heads)).max(BARS.0);
    let most = board.most();
    let mut out = format!("{}  ", padded(&board.name, label));
    for name in &board.bars {
        out += &padded(name, bar + numbers + 3);
    }
    out = format!("{}\n", styled(Style::new().bold(), out.trim_end()));
    for (i, entry) in board.entries.iter().enumerate() {
        let style = if entry.out || entry.others { Style::new().dimmed() } else { Style::new() };
        let mut line = format!("{}  ", styled(style, &padded(&entry.label, label)));
        for (length, text) in &entry.bars {
            let drawn = strip(length / most, bar, entry.others);
            let blue = Style::new().fg_color(Some(AnsiColor::Blue.into()));
            let bars = if entry.out || entry.others { Style::new().dimmed() } else { blue };
            line += &format!(
                "{}{} {}  ",
                styled(bars, &drawn),
                " ".repeat(bar - drawn.width()),
                to_the_right(text, numbers)
            );
        }
        line += &styled(Style::new().dimmed(), &entry.note);
        out += line.trim_end();
        out.push('\n');
        if let Some((_, words)) = board.ends.as_ref().filter(|(after, _)| *after == i) {
            let line = "─".repeat((label + 2 + n * (bar + numbers + 3)).saturating_sub(words.width() + 3));
            out += &format!("{line} {words}\n");
        }
    }
    out
}

/// A bar of `share` of so many columns, in eighths of one.
fn strip(share: f64, columns: usize, hollow: bool) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * columns as f64 * 8.0).round() as usize;
    match hollow {
        true => "░".repeat(eighths.div_ceil(8)),
        false => format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8]),
    }
}
