//! What every figure has around its data: title, subtitle, caption, colour bar, labels along a grid.

use super::canvas::{Anchor, Rect, Svg, Type};
use super::room::Room;
use super::style::{Length, Style, Words};
use crate::number::Locale;
use crate::table::Provenance;
use crate::view::colour::{Colours, Rgb};
use crate::view::kind::View;
use crate::view::label::{fit_mono, fit_sans, mono_width, sans_width};

/// Space around everything.
pub(super) const MARGIN: f64 = 16.0;
/// Height of title and subtitle, margin included.
const HEAD: f64 = 64.0;
/// Width of a colour bar with its labels.
pub(super) const BAR: f64 = 76.0;
/// A colour bar is at least this high, so that its labels stand apart.
pub(super) const SHORTEST_BAR: f64 = 76.0;
/// A figure is at least this wide, so that its title can be read.
const NARROWEST: f64 = 480.0;
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
fn head_width(title: &str, subtitle: &str) -> f64 {
    let widest = sans_width(title, TITLE).max(sans_width(subtitle, SUBTITLE));
    (widest + 2.0 * MARGIN + 1.0).clamp(NARROWEST, WIDEST_TITLE)
}

/// Words in lines of so many pixels.
fn wrapped<'a>(words: impl Iterator<Item = &'a str>, room: f64, size: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if sans_width(line, size) + sans_width(word, size) + size * 0.6 <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fit_sans(word, room, size)),
        }
    }
    lines
}

/// Where each of several things begins, and in which line, that stand after one another in lines of so many pixels.
pub(super) fn flow(widths: impl Iterator<Item = f64>, room: f64) -> Vec<(f64, usize)> {
    let (mut x, mut line) = (0.0, 0);
    let place = |w: f64| {
        if x > 0.0 && x + w > room {
            (x, line) = (0.0, line + 1);
        }
        let at = (x, line);
        x += w;
        at
    };
    widths.map(place).collect()
}

/// What stands over and below what a figure shows.
pub(super) struct Frame {
    /// Pixels around everything.
    pub margin: f64,
    /// Width of the figure.
    pub width: f64,
    /// Lines over it: how large, whether bold, and the line.
    head: Vec<(f64, bool, String)>,
    caption: Vec<String>,
    /// Font size of the caption, and the height of its lines.
    small: (f64, f64),
    /// Whether a width was asked for.
    narrow: bool,
}

impl Frame {
    /// Around a `view` whose widest panel has `widest` pixels; `notes` are sentences about how it is drawn.
    pub fn new(view: &View, style: &Style, widest: f64, notes: &[&str]) -> Self {
        let (margin, asked) = (style.margin(), style.width.map(Length::pixels));
        let (title, subtitle) = match &style.title {
            Words::Own => (&*view.title, &*view.subtitle),
            Words::None => ("", ""),
            Words::These(title) => (&**title, ""),
        };
        let said = view.sentences();
        let own: Vec<&str> = match &style.caption {
            // Whoever says the sentences of a view elsewhere says what it likes of how it is drawn.
            Words::Own if said.is_empty() => vec![],
            Words::Own => said.iter().map(|sentence| &**sentence).chain(notes.iter().copied()).collect(),
            Words::None => vec![],
            Words::These(caption) => vec![caption],
        };
        let needed = match asked {
            Some(asked) => asked,
            None if title.is_empty() && subtitle.is_empty() && own.is_empty() => 0.0,
            None => head_width(title, subtitle),
        };
        let width = (widest + 2.0 * margin).max(needed);
        let room = width - 2.0 * margin;
        let lines = |text: &str, large: f64, narrow: f64, bold: bool| -> Vec<(f64, bool, String)> {
            match asked {
                _ if text.is_empty() => vec![],
                Some(_) => wrapped(text.split(' '), if bold { room / 1.1 } else { room }, narrow)
                    .into_iter()
                    .map(|line| (narrow, bold, line))
                    .collect(),
                None => vec![(large, bold, fit_sans(text, room, large))],
            }
        };
        let mut head = lines(title, TITLE, 12.0, true);
        head.extend(lines(subtitle, SUBTITLE, 9.0, false));
        let small = if asked.is_some() { (9.0, 12.0) } else { (CAPTION, CAPTION_LINE) };
        let caption = wrapped(own.iter().flat_map(|sentence| sentence.split(' ')), room, small.0);
        Self { margin, width, head, caption, small, narrow: asked.is_some() }
    }

    /// The heading of a panel in lines.
    pub fn heading(&self, heading: &str) -> Vec<String> {
        match heading {
            "" => vec![],
            // Bold letters are wider.
            _ if self.narrow => wrapped(heading.split(' '), (self.width - 2.0 * self.margin) / 1.1, 11.0),
            _ => vec![heading.to_owned()],
        }
    }

    /// Height over what is shown.
    pub fn above(&self) -> f64 {
        match (&self.head[..], self.narrow) {
            ([], _) => self.margin,
            (lines, true) => self.margin + lines.iter().map(|(size, ..)| size * 1.3).sum::<f64>() + 6.0,
            ([_], false) => HEAD - 21.0,
            _ => HEAD,
        }
    }

    /// Height below it.
    pub fn below(&self) -> f64 {
        match (self.caption.len(), self.narrow) {
            (0, _) => self.margin,
            (lines, true) => 6.0 + lines as f64 * self.small.1 + self.margin,
            (lines, false) => MARGIN + lines as f64 * self.small.1 + MARGIN / 2.0,
        }
    }

    /// Draws what stands over it.
    pub fn head(&self, svg: &mut Svg) {
        let (mut y, mut first) = (self.margin, true);
        for (size, bold, line) in &self.head {
            let plain = Type::new(*size);
            let t = if *bold { plain.bold() } else { plain.ink(Rgb::SOFT) };
            let middle = match (self.narrow, first) {
                (true, _) => y + 0.65 * size,
                (false, true) => y + 9.0,
                (false, false) => y + 30.0,
            };
            svg.text(self.margin, middle, line, t);
            y += if self.narrow { 1.3 * size } else { 0.0 };
            first = false;
        }
    }

    /// Draws what stands below it.
    pub fn caption(&self, svg: &mut Svg) {
        let (size, apart) = self.small;
        let top = svg.size().1 - self.below() + if self.narrow { 6.0 } else { MARGIN };
        for (i, line) in self.caption.iter().enumerate() {
            svg.text(self.margin, top + (i as f64 + 0.5) * apart, line, Type::new(size).ink(Rgb::SOFT));
        }
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
    /// Whether one of the labels is cut.
    pub cut: bool,
    /// Pixels that the labels take, away from the grid.
    pub depth: f64,
}

/// The longest label that is written upwards, in pixels, and in a figure whose width was asked for.
const LONGEST: f64 = 96.0;
const NARROW_LONGEST: f64 = 72.0;
/// What is said where labels are cut.
pub(super) const CUT: &str = "What is cut short ends in ….";

impl Band {
    /// Chooses how `labels` (already visible) are written: level where they fit or are cut a little, else upwards.
    pub fn plan<'a>(labels: impl Iterator<Item = &'a str> + Clone, pitch: f64, room: Room) -> Self {
        let widest = labels.clone().map(|l| mono_width(l, 11.0)).fold(0.0, f64::max);
        if widest <= pitch - 4.0 || pitch >= 56.0 {
            let level = Self { pitch, size: 11.0, upwards: false, every: 1, cut: false, depth: 18.0 };
            return level.cutting(labels);
        }
        let size = (pitch - 1.0).clamp(8.0, 11.0);
        let every = ((size + 1.0) / pitch).ceil().max(1.0) as usize;
        let longest = if room.width.is_some() { NARROW_LONGEST } else { LONGEST };
        let depth = ((widest * size / 11.0).min(longest) + 8.0).ceil();
        Self { pitch, size, upwards: true, every, cut: false, depth }.cutting(labels)
    }

    /// The same, and whether it cuts one of `labels` that it draws.
    fn cutting<'a>(self, labels: impl Iterator<Item = &'a str>) -> Self {
        let cut = labels.step_by(self.every).any(|label| self.fitting(label) != label);
        Self { cut, ..self }
    }

    /// As much of a label as is drawn.
    fn fitting(&self, label: &str) -> String {
        fit_mono(label, if self.upwards { self.depth - 7.0 } else { self.pitch - 3.0 }, self.size)
    }

    /// Draws label `i` beside the grid's edge at height `y`, centred on `x`.
    pub fn draw(&self, svg: &mut Svg, i: usize, x: f64, y: f64, above: bool, label: &str) {
        if !i.is_multiple_of(self.every) {
            return;
        }
        let t = Type::new(self.size).mono();
        if self.upwards {
            let label = self.fitting(label);
            let (y, anchor) = if above { (y - 4.0, Anchor::Start) } else { (y + 4.0, Anchor::End) };
            svg.text(x, y, &label, t.upwards().at(anchor));
        } else {
            let label = self.fitting(label);
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
