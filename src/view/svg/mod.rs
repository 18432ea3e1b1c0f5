//! Views as SVG: a panel for each part, and around them title, caption and provenance.
//!
//! Every mark carries its facts as a `<title>`, every figure its provenance as a `<desc>`. There are no ids, style
//! sheets, scripts or fonts from outside: a figure is safe beside twenty others in one page. The same view gives the
//! same bytes.

mod arcs;
mod backend;
mod board;
mod canvas;
mod frame;
mod heat;
mod labels;
mod lines;
mod plot;
mod scatter;
mod steps;
mod text;
mod tiles;
mod tree;

use super::kind::{Body, View};
use super::{Drawable, Options, Seen};
use crate::error::{Error, Result, said};
use crate::table::{Held, Provenance};
use canvas::{Svg, Type};
use frame::{HEAD, MARGIN};
use std::path::Path;

/// Height of a panel's heading.
const HEADING: f64 = 38.0;

/// A panel that knows how large it is.
trait Sized {
    /// Width and height in pixels.
    fn size(&self) -> (f64, f64);

    /// Takes this much width, where more room makes it easier to read.
    fn widen(&mut self, width: f64) {
        let _ = width;
    }

    /// Draws it, its upper left corner at (`x`, `y`). It fails only where plotters does.
    fn draw(&self, svg: &mut Svg, x: f64, y: f64) -> Result<()>;
}

/// The SVG document of a view.
///
/// # Errors
/// None that are known; plotters' are passed on.
pub fn svg(view: &View) -> Result<String> {
    let locale = view.locale;
    let mut panels: Vec<(&str, Box<dyn Sized + '_>)> = (view.panels.iter())
        .map(|panel| -> (&str, Box<dyn Sized>) {
            let body: Box<dyn Sized> = match &panel.body {
                Body::Heat(heat) => Box::new(heat::Drawn::new(heat, locale)),
                Body::Steps(steps) => Box::new(steps::Drawn::new(steps, locale)),
                Body::Lines(lines) => Box::new(lines::Drawn::new(lines, locale)),
                Body::Scatter(scatter) => Box::new(scatter::Drawn(scatter, locale)),
                Body::Tiles(tiles) => Box::new(tiles::Drawn::new(tiles, locale)),
                Body::Text(tokens) => Box::new(text::Flow::new(tokens, locale)),
                Body::Board(board) => Box::new(board::Drawn::new(board)),
                Body::Tree(tree) => Box::new(tree::Drawn::new(tree)),
                Body::Arcs(arcs) => Box::new(arcs::Drawn::new(arcs)),
                Body::Table(table) => Box::new(text::Rows::new(table)),
            };
            (&panel.heading, body)
        })
        .collect();
    let heading = |heading: &str| if heading.is_empty() { 0.0 } else { HEADING };
    let widest = panels.iter().map(|(_, panel)| panel.size().0).fold(0.0, f64::max);
    panels.iter_mut().for_each(|(_, panel)| panel.widen(widest));
    let width = (widest + 2.0 * MARGIN).max(frame::head_width(&view.title, &view.subtitle));
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

/// A drawn figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// File stem, e.g. `logit_lens` or `attention-L3H1-p2` (`p2`: prompt 2, counted from 0).
    pub name: String,
    /// The SVG document.
    pub svg: String,
}

impl Figure {
    /// What its file is called.
    pub fn file_name(&self) -> String {
        format!("{}.svg", self.name)
    }

    /// The figure of a view; none where it has nothing to draw.
    ///
    /// # Errors
    /// None that are known; plotters' are passed on.
    pub fn of(view: &View) -> Result<Option<Self>> {
        match view.panels.is_empty() {
            true => Ok(None),
            false => Ok(Some(Self { name: view.name.clone(), svg: svg(view)? })),
        }
    }
}

impl Drawable {
    /// Like [`Drawable::views`], drawn: each figure is given to `emit`, and only one is held.
    ///
    /// # Errors
    /// As there; also if nothing of the table can be drawn.
    pub fn figures(
        all: &[Self],
        path: &Path,
        options: &Options,
        emit: &mut dyn FnMut(Figure) -> Result<()>,
    ) -> Result<()> {
        let mut any = false;
        Self::views(all, path, options, &mut |view| match Figure::of(&view)? {
            Some(figure) => {
                any = true;
                emit(figure)
            }
            None => Ok(()),
        })?;
        match any {
            true => Ok(()),
            false => {
                Err(Error::bad_input(format!("the sweeps in {} have one patch each, and no axis", path.display()))
                    .hint(said("draw a sweep that goes over something[, such as {over=layer,pos}|]")))
            }
        }
    }
}

/// The figures of rows.
///
/// # Errors
/// There are no rows, or not the head that was asked for.
pub fn figures<R: Seen>(rows: &[R], provenance: &Provenance, options: &Options) -> Result<Vec<Figure>> {
    let mut figures = vec![];
    R::views(&mut Held(rows), provenance, options, &mut |view| {
        figures.extend(Figure::of(&view)?);
        Ok(())
    })?;
    Ok(figures)
}
