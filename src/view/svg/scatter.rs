//! Dots between two axes, words beside those that matter most, and the line on which both values are the same.

use super::Sized;
use super::canvas::{Anchor, Rect, Svg, Type};
use super::plot::{BELOW, LEFT, Plot};
use crate::error::Result;
use crate::number::Locale;
use crate::view::colour::Rgb;
use crate::view::kind::Scatter;
use crate::view::label::{fit_sans, sans_width};

/// Side of the square.
const SIDE: f64 = 420.0;
/// Space right of it, for the words of dots at its edge.
const BESIDE: f64 = 104.0;
/// Font size of a dot's words.
const WORDS: f64 = 9.5;

/// Dots as a panel.
pub(super) struct Drawn<'a>(pub &'a Scatter, pub Locale);

impl Sized for Drawn<'_> {
    fn size(&self) -> (f64, f64) {
        (LEFT + SIDE + BESIDE, SIDE + BELOW)
    }

    fn draw(&self, svg: &mut Svg, x: f64, y: f64) -> Result<()> {
        let Scatter { x: across, y: up, dots, .. } = self.0;
        let square = Rect { x, y, w: LEFT + SIDE, h: SIDE + BELOW };
        let plot = Plot::draw(svg, square, across.clone(), up.clone(), self.1)?;
        svg.line(&[plot.at(across.from, up.from), plot.at(across.to, up.to)], Rgb::NONE, 1.0);
        for (x, y, facts) in dots {
            let (x, y) = plot.at(*x, *y);
            svg.dot(x, y, 3.0, Rgb::LINE, Some(facts));
        }
        self.words(svg, &plot);
        Ok(())
    }
}

impl Drawn<'_> {
    /// Words beside dots, as far as they do not touch.
    fn words(&self, svg: &mut Svg, plot: &Plot) {
        let mut taken: Vec<Rect> = vec![];
        let dots: Vec<(f64, f64)> = self.0.dots.iter().map(|(x, y, _)| plot.at(*x, *y)).collect();
        for (dot, text) in &self.0.words {
            let (x, y) = dots[*dot];
            let text = fit_sans(text, svg.size().0 - x - 9.0, WORDS);
            let width = sans_width(&text, WORDS);
            // Right of the dot or left of it, where they touch neither others nor the line; else right of it across the line.
            let (right, left) = ((x + 5.0, Anchor::Start), (x - 5.0 - width, Anchor::End));
            let places = [(right, true), (left, true), (right, false)];
            let free = |((left, anchor), off_the_line): &((f64, Anchor), bool)| {
                let own = Rect { x: *left, y: y - WORDS / 2.0, w: width, h: WORDS };
                let apart =
                    |r: &Rect| r.x > own.x + own.w || own.x > r.x + r.w || r.y > own.y + own.h || own.y > r.y + r.h;
                let covers = |(dx, dy): &(f64, f64)| {
                    *dx > own.x - 2.0 && *dx < own.x + own.w + 2.0 && *dy > own.y - 2.0 && *dy < own.y + own.h + 2.0
                };
                // The line goes from the lower left of the plot to its upper right.
                let Rect { x: from, y: top, w, h } = plot.inside;
                let line = |x: f64| top + h - (x - from) / w * h;
                let crossed = line(own.x) > own.y && line(own.x + own.w) < own.y + own.h;
                let fits = own.x > from && taken.iter().all(apart) && !dots.iter().any(covers);
                (fits && !(*off_the_line && crossed)).then_some((own, *anchor))
            };
            if let Some((own, anchor)) = places.iter().find_map(free) {
                let at = if anchor == Anchor::End { own.x + own.w } else { own.x };
                svg.text(at, y, &text, Type::new(WORDS).at(anchor).ink(Rgb::SOFT));
                taken.push(own);
            }
        }
    }
}
