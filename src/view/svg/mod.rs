//! Views as SVG: a panel for each part, and around them title, caption and provenance.
//!
//! Every mark carries its facts as a `<title>`, every figure its provenance as a `<desc>`. There are no ids, style
//! sheets, scripts or fonts from outside: a figure is safe beside twenty others in one page. The same view gives the
//! same bytes.

mod backend;
mod canvas;
mod frame;
mod heat;
mod lines;
mod plot;
mod scatter;
mod steps;
mod text;
mod tiles;

use super::kind::{Body, View};
use crate::error::Result;
pub(super) use canvas::escape;
use canvas::{Svg, Type};
use frame::{HEAD, MARGIN};

/// Height of a panel's heading.
const HEADING: f64 = 38.0;

/// A panel that knows how large it is.
trait Sized {
    /// Width and height in pixels.
    fn size(&self) -> (f64, f64);

    /// Draws it, its upper left corner at (`x`, `y`).
    ///
    /// # Errors
    /// None that are known; plotters' are passed on.
    fn draw(&self, svg: &mut Svg, x: f64, y: f64) -> Result<()>;
}

/// The SVG document of a view.
///
/// # Errors
/// None that are known; plotters' are passed on.
pub fn svg(view: &View) -> Result<String> {
    let locale = view.locale;
    let panels: Vec<(&str, Box<dyn Sized + '_>)> = (view.panels.iter())
        .map(|panel| -> (&str, Box<dyn Sized>) {
            let body: Box<dyn Sized> = match &panel.body {
                Body::Heat(heat) => Box::new(heat::Drawn::new(heat, locale)),
                Body::Steps(steps) => Box::new(steps::Drawn::new(steps, locale)),
                Body::Lines(lines) => Box::new(lines::Drawn(lines, locale)),
                Body::Scatter(scatter) => Box::new(scatter::Drawn(scatter, locale)),
                Body::Tiles(tiles) => Box::new(tiles::Drawn::new(tiles, locale)),
                Body::Text(tokens) => Box::new(text::Flow::new(tokens, locale)),
                Body::Table(table) => Box::new(text::Rows::new(table)),
            };
            (&panel.heading, body)
        })
        .collect();
    let heading = |heading: &str| if heading.is_empty() { 0.0 } else { HEADING };
    let widest = panels.iter().map(|(_, panel)| panel.size().0).fold(0.0, f64::max) + 2.0 * MARGIN;
    let width = widest.max(frame::title_width(&view.title)).max(frame::subtitle_width(&view.subtitle));
    let below: f64 = panels.iter().map(|(h, panel)| heading(h) + panel.size().1).sum();
    let caption = frame::caption_lines(view.caption.iter().chain(&view.legend), width);
    let mut svg = Svg::new(width, HEAD + below + frame::caption_height(caption.len()));
    frame::head(&mut svg, &view.title, &view.subtitle);
    let mut y = HEAD;
    for (title, panel) in &panels {
        if !title.is_empty() {
            svg.text(MARGIN, y + 22.0, title, Type::new(13.0).bold());
        }
        y += heading(title);
        panel.draw(&mut svg, MARGIN, y)?;
        y += panel.size().1;
    }
    frame::caption(&mut svg, &caption);
    Ok(svg.finish(&format!("{}, {}", view.title, view.subtitle), &frame::desc(&view.provenance)))
}
