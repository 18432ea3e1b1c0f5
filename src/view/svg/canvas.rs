//! A small SVG canvas: marks with titles, no ids, no style sheet, no scripts, nothing from outside.
//!
//! Many figures share one notebook or report, where an id or a `<style>` of one would reach into the others; so every
//! property is an attribute of the mark itself. Numbers are written with at most two decimals, so that the same figure
//! is the same bytes.

use super::style::{Length, Theme};
use crate::view::colour::Rgb;
use crate::visible::escape;
use std::fmt::Write;

/// Font families: tokens are set in a monospaced face, everything else in a proportional one.
/// The proportional one is inherited from the document, the other is named by each text, hence short.
const MONO: &str = "monospace";
const SANS: &str = "system-ui,'Helvetica Neue',Arial,'DejaVu Sans',sans-serif";

/// Which side of a text its point lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The text begins at the point.
    Start,
    /// The text is centred on the point.
    Middle,
    /// The text ends at the point.
    End,
}

/// How a text is set. Its point is vertically in the middle of the line.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// Font size in pixels.
    pub size: f64,
    /// Which side of the text the point lies on.
    pub anchor: Anchor,
    /// Monospaced, for tokens.
    pub mono: bool,
    /// Bold.
    pub bold: bool,
    /// Read upwards, turned a quarter to the left about the point.
    pub upwards: bool,
    /// Colour of the letters.
    pub ink: Rgb,
}

impl Type {
    /// Plain dark text of `size` pixels that begins at its point.
    pub const fn new(size: f64) -> Self {
        Self { size, anchor: Anchor::Start, mono: false, bold: false, upwards: false, ink: Rgb::INK }
    }
    /// The same, monospaced.
    pub const fn mono(mut self) -> Self {
        self.mono = true;
        self
    }
    /// The same, bold.
    pub const fn bold(mut self) -> Self {
        self.bold = true;
        self
    }
    /// The same, reading upwards.
    pub const fn upwards(mut self) -> Self {
        self.upwards = true;
        self
    }
    /// The same with another anchor.
    pub const fn at(mut self, anchor: Anchor) -> Self {
        self.anchor = anchor;
        self
    }
    /// The same in another colour.
    pub const fn ink(mut self, ink: Rgb) -> Self {
        self.ink = ink;
        self
    }
}

/// How a curve is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Stroke {
    /// Its colour.
    pub ink: Rgb,
    /// Pixels across.
    pub width: f64,
    /// Lengths of dashes and gaps, as SVG writes them; whole if `None`.
    pub dash: Option<&'static str>,
}

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub w: f64,
    /// Height.
    pub h: f64,
}

/// A figure being drawn. Texts given to it are already visible ([`crate::table::visible`]); it escapes them.
#[derive(Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    theme: Theme,
    body: String,
}

impl Svg {
    /// An empty figure of `width` x `height` pixels. The colours that are given to it are those of the light theme.
    pub fn new(width: f64, height: f64, theme: Theme) -> Self {
        Self { width: width.ceil(), height: height.ceil(), theme, body: String::new() }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (f64, f64) {
        (self.width, self.height)
    }

    /// The colour of letters that plotters has black, and that stand on no cell.
    pub fn beside(&self, ink: Rgb) -> Rgb {
        if self.theme == Theme::Dark && ink == Rgb(0, 0, 0) { Rgb::INK } else { ink }
    }

    /// A filled rectangle; with a title, it is a mark that says its facts.
    pub fn rect(&mut self, r: Rect, fill: Rgb, title: Option<&str>) {
        let fill = self.theme.of(fill);
        let _ = write!(self.body, "<rect {} fill=\"{fill}\"", geometry(r));
        self.close("rect", title);
    }

    /// The outline of a rectangle.
    pub fn outline(&mut self, r: Rect, ink: Rgb, width: f64) {
        let ink = self.theme.ink(ink);
        let _ = writeln!(
            self.body,
            "<rect {} fill=\"none\" stroke=\"{ink}\" stroke-width=\"{}\"/>",
            geometry(r),
            num(width)
        );
    }

    /// A filled circle.
    pub fn dot(&mut self, x: f64, y: f64, radius: f64, fill: Rgb, title: Option<&str>) {
        let fill = self.theme.of(fill);
        let _ = write!(self.body, "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{fill}\"", num(x), num(y), num(radius));
        self.close("circle", title);
    }

    /// A straight or broken line.
    pub fn line(&mut self, points: &[(f64, f64)], ink: Rgb, width: f64) {
        self.polyline(points, Stroke { ink, width, dash: None }, "");
    }

    /// A line through many points: its corners are rounded, or noise would have spikes that are not in the data.
    pub fn curve(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        self.polyline(points, stroke, " stroke-linejoin=\"round\"");
    }

    fn polyline(&mut self, points: &[(f64, f64)], stroke: Stroke, more: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", num(*x), num(*y))).collect();
        let dash = stroke.dash.map_or(String::new(), |dash| format!(" stroke-dasharray=\"{dash}\""));
        let (points, ink, width) = (points.join(" "), self.theme.line(stroke.ink), num(stroke.width));
        let _ = writeln!(
            self.body,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{ink}\" stroke-width=\"{width}\"{more}{dash}/>"
        );
    }

    /// An area that shows nothing and says its facts where one points at it.
    pub fn hover(&mut self, r: Rect, title: &str) {
        let _ = write!(self.body, "<rect {} fill=\"none\" pointer-events=\"all\"", geometry(r));
        self.close("rect", Some(title));
    }

    /// A filled path, `d` in the units of the current group.
    pub fn path(&mut self, d: &str, fill: Rgb) {
        self.mark(d, self.theme.of(fill));
    }

    /// A filled path over a value's colour, which is the same on every ground.
    pub fn mark(&mut self, d: &str, fill: Rgb) {
        let _ = writeln!(self.body, "<path d=\"{d}\" fill=\"{fill}\"/>");
    }

    /// An arc over two points of a level line, as high as it says; it is a mark that says its facts.
    pub fn bow(&mut self, (from, to): (f64, f64), y: f64, height: f64, stroke: Stroke, title: &str) {
        // A cubic curve comes three quarters of the way to its inner points.
        let (top, ink, width) = (num(y - height / 0.75), self.theme.line(stroke.ink), num(stroke.width));
        let (from, to, y) = (num(from), num(to), num(y));
        let _ = write!(
            self.body,
            "<path d=\"M{from} {y}C{from} {top} {to} {top} {to} {y}\" fill=\"none\" stroke=\"{ink}\" stroke-width=\"{width}\""
        );
        self.close("path", Some(title));
    }

    /// A line of text.
    pub fn text(&mut self, x: f64, y: f64, text: &str, t: Type) {
        // Letters stand on a baseline; a third of their size above it is their middle.
        let baseline = num(y + 0.35 * t.size);
        let _ = write!(self.body, "<text x=\"{}\" y=\"{baseline}\" font-size=\"{}\"", num(x), num(t.size));
        if t.mono {
            let _ = write!(self.body, " font-family=\"{MONO}\"");
        }
        if t.ink != Rgb::INK {
            let _ = write!(self.body, " fill=\"{}\"", self.theme.ink(t.ink));
        }
        match t.anchor {
            Anchor::Start => {}
            Anchor::Middle => self.body.push_str(" text-anchor=\"middle\""),
            Anchor::End => self.body.push_str(" text-anchor=\"end\""),
        }
        if t.bold {
            self.body.push_str(" font-weight=\"bold\"");
        }
        if t.upwards {
            let _ = write!(self.body, " transform=\"rotate(-90 {} {})\"", num(x), num(y));
        }
        let _ = writeln!(self.body, ">{}</text>", escape(text));
    }

    /// Several marks as one: moved to (`x`, `y`), `scale` pixels for one of their units across and down, with a title.
    pub fn group(&mut self, x: f64, y: f64, scale: (f64, f64), title: &str, draw: impl FnOnce(&mut Self)) {
        let (x, y, (across, down)) = (num(x), num(y), scale);
        let scale = if across == down { fine(across) } else { format!("{} {}", fine(across), fine(down)) };
        let title = escape(title);
        let _ = writeln!(self.body, "<g transform=\"translate({x} {y}) scale({scale})\"><title>{title}</title>");
        draw(self);
        self.body.push_str("</g>\n");
    }

    /// The finished document: `title` names the figure, `desc` says how it was made. With a width it is that wide, and its height follows.
    pub fn finish(self, title: &str, desc: &str, width: Option<Length>) -> String {
        let (w, h) = (num(self.width), num(self.height));
        let (across, down) = match width {
            Some(width) => (width.to_string(), width.times(self.height / self.width).to_string()),
            None => (w.clone(), h.clone()),
        };
        let (ink, paper) = (self.theme.of(Rgb::INK), self.theme.of(Rgb::PAPER));
        // The background is opaque and its own: the figure stays legible on a dark page.
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{across}\" height=\"{down}\" viewBox=\"0 0 {w} {h}\" role=\"img\" \
             font-family=\"{SANS}\" fill=\"{ink}\">\n<title>{}</title>\n<desc>{}</desc>\n<rect width=\"{w}\" height=\"{h}\" fill=\"{paper}\"/>\n{}</svg>\n",
            escape(title),
            escape(desc),
            self.body
        )
    }

    fn close(&mut self, tag: &str, title: Option<&str>) {
        let _ = match title {
            Some(title) => writeln!(self.body, "><title>{}</title></{tag}>", escape(title)),
            None => writeln!(self.body, "/>"),
        };
    }
}

fn geometry(r: Rect) -> String {
    format!("x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"", num(r.x), num(r.y), num(r.w), num(r.h))
}

/// At most two decimals, no trailing zeros, no negative zero.
pub fn num(x: f64) -> String {
    trim(format!("{x:.2}"))
}

/// Like [`num`] with five decimals, for factors that multiply up.
fn fine(x: f64) -> String {
    trim(format!("{x:.5}"))
}

fn trim(s: String) -> String {
    let s = s.trim_end_matches('0').trim_end_matches('.');
    if s == "-0" { "0".to_owned() } else { s.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!((num(1.0), num(1.005), num(-0.001), num(12.5)), ("1".into(), "1".into(), "0".into(), "12.5".into()));
        assert_eq!((num(100.0), fine(0.125)), ("100".into(), "0.125".into()));
    }

    #[test]
    fn text_is_data() {
        let mut svg = Svg::new(10.0, 10.0, Theme::Light);
        svg.text(0.0, 0.0, "<b a=\"1\">&'\u{1}", Type::new(10.0));
        let document = svg.finish("<t>", "]]>", None);
        let xml = roxmltree::Document::parse(&document).unwrap();
        let texts: Vec<_> = xml.descendants().filter(|n| n.is_text()).filter_map(|n| n.text()).collect();
        assert!(texts.contains(&"<b a=\"1\">&'\u{fffd}") && texts.contains(&"<t>") && texts.contains(&"]]>"));
    }
}
