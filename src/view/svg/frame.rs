//! What every figure has around its data: title, subtitle, caption, colour bar, labels along a grid.

use super::canvas::{Anchor, Rect, Svg, Type};
use crate::number::Locale;
use crate::table::Provenance;
use crate::view::colour::{Colours, Rgb};
use crate::view::label::{fit_mono, fit_sans, mono_width, sans_width};

/// Space around everything.
pub(super) const MARGIN: f64 = 16.0;
/// Height of title and subtitle, margin included.
pub(super) const HEAD: f64 = 64.0;
/// Width of a colour bar with its labels.
pub(super) const BAR: f64 = 76.0;
/// A colour bar is at least this high, so that its labels stand apart.
pub(super) const SHORTEST_BAR: f64 = 76.0;
/// A figure is at least this wide, so that its title can be read.
pub(super) const NARROWEST: f64 = 480.0;
/// A title makes a figure at most this wide.
const WIDEST_TITLE: f64 = 760.0;
/// Font size of titles.
const TITLE: f64 = 16.0;
/// Font size of subtitles.
const SUBTITLE: f64 = 12.0;
/// Font size of captions.
const CAPTION: f64 = 11.0;
/// Height of a caption's line.
const CAPTION_LINE: f64 = 16.0;

/// The width that a figure needs for its title and subtitle; long ones are cut.
pub(super) fn head_width(title: &str, subtitle: &str) -> f64 {
    let widest = sans_width(title, TITLE).max(sans_width(subtitle, SUBTITLE));
    (widest + 2.0 * MARGIN + 1.0).clamp(NARROWEST, WIDEST_TITLE)
}

/// Draws title and subtitle, cut to the width of the figure.
pub(super) fn head(svg: &mut Svg, title: &str, subtitle: &str) {
    let room = svg.size().0 - 2.0 * MARGIN;
    svg.text(MARGIN, MARGIN + 9.0, &fit_sans(title, room, TITLE), Type::new(TITLE).bold());
    svg.text(MARGIN, MARGIN + 30.0, &fit_sans(subtitle, room, SUBTITLE), Type::new(SUBTITLE).ink(Rgb::SOFT));
}

/// The lines of a caption in a figure of `width` pixels.
pub(super) fn caption_lines<'a>(sentences: impl Iterator<Item = &'a String>, width: f64) -> Vec<String> {
    let room = width - 2.0 * MARGIN;
    let mut lines: Vec<String> = Vec::new();
    for word in sentences.flat_map(|s| s.split(' ')) {
        match lines.last_mut() {
            Some(line) if sans_width(line, CAPTION) + sans_width(word, CAPTION) + CAPTION * 0.6 <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The height of a caption of `lines` lines, margins included.
pub(super) fn caption_height(lines: usize) -> f64 {
    MARGIN + lines as f64 * CAPTION_LINE + MARGIN / 2.0
}

/// Draws a caption at the bottom of the figure.
pub(super) fn caption(svg: &mut Svg, lines: &[String]) {
    let top = svg.size().1 - caption_height(lines.len()) + MARGIN;
    for (i, line) in lines.iter().enumerate() {
        let y = top + (i as f64 + 0.5) * CAPTION_LINE;
        svg.text(MARGIN, y, line, Type::new(CAPTION).ink(Rgb::SOFT));
    }
}

/// Draws a vertical colour bar, its beginning below, `h` pixels high but at least [`SHORTEST_BAR`], with its name beside it; of a
/// name that is longer than the bar, the last word.
pub(super) fn colour_bar(svg: &mut Svg, x: f64, y: f64, h: f64, colours: &Colours, locale: Locale) {
    let axis = colours.axis();
    // Each step reaches to the bottom, under those that follow: where two merely met, a zoomed figure would show a seam.
    let (x, y, h) = (x.round(), y.round(), h.round().max(SHORTEST_BAR));
    let mut top = 0.0;
    while top < h {
        let step = f64::min(3.0, h - top);
        let t = 1.0 - (top + step / 2.0) / h;
        svg.rect(Rect { x, y: y + top, w: 12.0, h: h - top }, colours.of(axis.from + t * (axis.to - axis.from)), None);
        top += step;
    }
    let mut aside = 50.0;
    for tick in &axis.ticks {
        let label = &axis.label(*tick, locale);
        let at = y + h * (1.0 - axis.along(*tick));
        svg.line(&[(x + 12.0, at), (x + 15.0, at)], Rgb::SOFT, 1.0);
        svg.text(x + 18.0, at, label, Type::new(10.0).ink(Rgb::SOFT));
        aside = f64::max(aside, 26.0 + sans_width(label, 10.0));
    }
    let last = axis.name.rsplit(' ').next().unwrap_or(&axis.name);
    let name = if sans_width(&axis.name, 11.0) > h { last } else { &axis.name };
    svg.text(x + aside, y + h / 2.0, name, Type::new(11.0).at(Anchor::Middle).upwards());
}

/// Token labels along one side of a grid whose columns are `pitch` pixels apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    pitch: f64,
    size: f64,
    upwards: bool,
    every: usize,
    /// Pixels that the labels take, away from the grid.
    pub depth: f64,
}

/// The longest label that is written upwards, in pixels.
const LONGEST: f64 = 96.0;

impl Band {
    /// Chooses how `labels` (already visible) are written: level where they fit or are cut a little, else upwards.
    pub fn plan<'a>(labels: impl Iterator<Item = &'a str>, pitch: f64) -> Self {
        let widest = labels.map(|l| mono_width(l, 11.0)).fold(0.0, f64::max);
        if widest <= pitch - 4.0 || pitch >= 56.0 {
            return Self { pitch, size: 11.0, upwards: false, every: 1, depth: 18.0 };
        }
        let size = (pitch - 1.0).clamp(8.0, 11.0);
        let every = ((size + 1.0) / pitch).ceil().max(1.0) as usize;
        Self { pitch, size, upwards: true, every, depth: ((widest * size / 11.0).min(LONGEST) + 8.0).ceil() }
    }

    /// Draws label `i` beside the grid's edge at height `y`, centred on `x`.
    pub fn draw(&self, svg: &mut Svg, i: usize, x: f64, y: f64, above: bool, label: &str) {
        if !i.is_multiple_of(self.every) {
            return;
        }
        let t = Type::new(self.size).mono();
        if self.upwards {
            let label = fit_mono(label, self.depth - 7.0, self.size);
            let (y, anchor) = if above { (y - 4.0, Anchor::Start) } else { (y + 4.0, Anchor::End) };
            svg.text(x, y, &label, t.upwards().at(anchor));
        } else {
            let label = fit_mono(label, self.pitch - 3.0, self.size);
            let y = if above { y - 9.0 } else { y + 9.0 };
            svg.text(x, y, &label, t.at(Anchor::Middle));
        }
    }
}

/// How many columns apart the position numbers stand, so that `largest` fits at `size` pixels.
pub(super) fn number_step(largest: u32, pitch: f64, size: f64) -> usize {
    let wide = sans_width(&largest.to_string(), size) + 4.0;
    [1, 2, 5, 10, 20, 50, 100].into_iter().find(|k| *k as f64 * pitch >= wide).unwrap_or(200)
}

/// Provenance for `<desc>`: JSON in which every character that prints nothing is a JSON escape, so that it survives
/// in XML exactly and cannot reorder what a viewer shows.
pub(super) fn desc(provenance: &Provenance) -> String {
    let mut out = String::new();
    let mut units = [0; 2];
    for c in provenance.to_json().chars() {
        if c != ' ' && crate::table::is_invisible(c) {
            // Outside strings, compact JSON is printable ASCII: whatever comes here is inside one.
            out.extend(c.encode_utf16(&mut units).iter().map(|u| format!("\\u{u:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}
