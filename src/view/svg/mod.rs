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
mod style;
mod text;
mod tiles;
mod tree;

use super::kind::{Body, View};
use super::{Drawable, Options, Seen};
use crate::error::{Error, Result, said};
use crate::table::{Held, Provenance};
use canvas::{Svg, Type};
use frame::Frame;
use std::path::Path;
pub use style::{Length, Style, Theme, Words};

/// Height of a panel's heading.
const HEADING: f64 = 38.0;
/// Height of each further line of one.
const HEADING_LINE: f64 = 15.0;

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

/// The SVG document of a view, as it looks by itself.
///
/// # Errors
/// None that are known; plotters' are passed on.
pub fn svg(view: &View) -> Result<String> {
    Ok(styled(view, &Style::default())?.0)
}

/// The SVG document of a view, and how large its letters are beside those of a figure as wide as it needs: less than 1 where what it shows
/// cannot be laid out as narrow as was asked for.
fn styled(view: &View, style: &Style) -> Result<(String, f64)> {
    let (locale, room) = (view.locale, style.room());
    let mut panels: Vec<(&str, Box<dyn Sized + '_>)> = (view.panels.iter())
        .map(|panel| -> (&str, Box<dyn Sized>) {
            let body: Box<dyn Sized> = match &panel.body {
                Body::Heat(heat) => Box::new(heat::Drawn::new(heat, locale, room)),
                Body::Steps(steps) => Box::new(steps::Drawn::new(steps, locale, room)),
                Body::Lines(lines) => Box::new(lines::Drawn::new(lines, locale, room)),
                Body::Scatter(scatter) => Box::new(scatter::Drawn::new(scatter, locale, room)),
                Body::Tiles(tiles) => Box::new(tiles::Drawn::new(tiles, locale, room)),
                Body::Text(tokens) => Box::new(text::Flow::new(tokens, locale, room)),
                Body::Board(board) => Box::new(board::Drawn::new(board, room)),
                Body::Tree(tree) => Box::new(tree::Drawn::new(tree, room)),
                Body::Arcs(arcs) => Box::new(arcs::Drawn::new(arcs, room)),
                Body::Table(table) => Box::new(text::Rows::new(table, room)),
            };
            (&panel.heading, body)
        })
        .collect();
    let widest = panels.iter().map(|(_, panel)| panel.size().0).fold(0.0, f64::max);
    panels.iter_mut().for_each(|(_, panel)| panel.widen(widest));
    let frame = Frame::new(view, style, widest);
    let headings: Vec<Vec<String>> = panels.iter().map(|(heading, _)| frame.heading(heading)).collect();
    let heading = |lines: &[String]| match lines.len() {
        0 => 0.0,
        lines => HEADING + (lines - 1) as f64 * HEADING_LINE,
    };
    let inside: f64 = panels.iter().zip(&headings).map(|((_, panel), h)| heading(h) + panel.size().1).sum();
    let mut svg = Svg::new(frame.width, frame.above() + inside + frame.below(), style.theme);
    frame.head(&mut svg);
    let mut y = frame.above();
    for ((_, panel), lines) in panels.iter().zip(&headings) {
        for (i, line) in lines.iter().enumerate() {
            let size = if room.is_some() { 11.0 } else { 13.0 };
            svg.text(frame.margin, y + 22.0 + i as f64 * HEADING_LINE, line, Type::new(size).bold());
        }
        y += heading(lines);
        panel.draw(&mut svg, frame.margin, y)?;
        y += panel.size().1;
    }
    frame.caption(&mut svg);
    let scale = style.width.map_or(1.0, |width| width.pixels() / frame.width);
    let title = format!("{}, {}", view.title, view.subtitle);
    Ok((svg.finish(&title, &frame::desc(&view.provenance), style.width), scale))
}

/// A drawn figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// File stem, e.g. `logit_lens` or `attention-L3H1-p2` (`p2`: prompt 2, counted from 0).
    pub name: String,
    /// The SVG document.
    pub svg: String,
    /// How large its letters are beside those of a figure that is as wide as it needs.
    pub scale: f64,
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
        Self::styled(view, &Style::default())
    }

    /// The same as it is to look.
    ///
    /// # Errors
    /// None that are known; plotters' are passed on.
    pub fn styled(view: &View, style: &Style) -> Result<Option<Self>> {
        if view.panels.is_empty() {
            return Ok(None);
        }
        let (svg, scale) = styled(view, style)?;
        Ok(Some(Self { name: view.name.clone(), svg, scale }))
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
        style: &Style,
        emit: &mut dyn FnMut(Figure) -> Result<()>,
    ) -> Result<()> {
        let mut any = false;
        Self::views(all, path, options, &mut |view| match Figure::styled(&view, style)? {
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
