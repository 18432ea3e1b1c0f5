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
mod room;
mod scatter;
mod steps;
mod style;
mod text;
mod tiles;
mod tree;

use super::kind::{Body, Panel, View};
use super::{Drawable, Options, Seen};
use crate::error::{Error, Result, said};
use crate::table::{Held, Provenance, read_provenance};
use canvas::{Svg, Type};
use frame::Frame;
use room::Room;
use std::path::Path;
pub use style::{Length, Style, Theme, Words};

/// Height of a panel's heading, and of one in a figure whose width was asked for.
const HEADING: f64 = 38.0;
const NARROW_HEADING: f64 = 27.0;
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

    /// Leaves out its colour bar, of which the panel above has the same.
    fn without_bar(&mut self) {}

    /// Size of the letters of the name of its axis of values, where it has one.
    fn letters(&self) -> Option<f64> {
        None
    }

    /// Takes letters of this size for it, which are those of all panels.
    fn with_letters(&mut self, size: f64) {
        let _ = size;
    }

    /// Sentences about what only shows when it is drawn: labels that are cut, numbers that have no room.
    fn notes(&self) -> Vec<&'static str> {
        vec![]
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
    let (locale, room) = (view.locale, Room { width: style.room(), panels: view.panels.len() });
    let mut panels: Vec<(&Panel, Box<dyn Sized + '_>)> = (view.panels.iter())
        .map(|panel| -> (&Panel, Box<dyn Sized>) {
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
            (panel, body)
        })
        .collect();
    let shared = share_bars(&mut panels);
    if let Some(size) = panels.iter().filter_map(|(_, panel)| panel.letters()).reduce(f64::min) {
        panels.iter_mut().for_each(|(_, panel)| panel.with_letters(size));
    }
    let widest = panels.iter().map(|(_, panel)| panel.size().0).fold(0.0, f64::max);
    panels.iter_mut().for_each(|(_, panel)| panel.widen(widest));
    let mut notes: Vec<&str> = shared.into_iter().collect();
    for note in panels.iter().flat_map(|(_, panel)| panel.notes()) {
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    let frame = Frame::new(view, style, widest, &notes);
    let high = if room.width.is_some() { NARROW_HEADING } else { HEADING };
    // The lines of a heading, and its height.
    let heading = |(i, (panel, _)): (usize, &(&Panel, Box<dyn Sized + '_>))| {
        let needless = style.title == Words::None && panel.is_named_by_axis(&view.panels);
        let lines = if needless { vec![] } else { frame.heading(&panel.heading) };
        let height = match lines.len() {
            // Or plots would stand on each other.
            0 if needless && i > 0 => high / 2.0,
            0 => 0.0,
            lines => high + (lines - 1) as f64 * HEADING_LINE,
        };
        (lines, height)
    };
    let headings: Vec<(Vec<String>, f64)> = panels.iter().enumerate().map(heading).collect();
    let inside: f64 = panels.iter().zip(&headings).map(|((_, panel), (_, h))| h + panel.size().1).sum();
    let mut svg = Svg::new(frame.width, frame.above() + inside + frame.below(), style.theme);
    frame.head(&mut svg);
    let mut y = frame.above();
    for ((_, panel), (lines, height)) in panels.iter().zip(&headings) {
        for (i, line) in lines.iter().enumerate() {
            let size = if room.width.is_some() { 11.0 } else { 13.0 };
            svg.text(frame.margin, y + high - 16.0 + i as f64 * HEADING_LINE, line, Type::new(size).bold());
        }
        y += height;
        panel.draw(&mut svg, frame.margin, y)?;
        y += panel.size().1;
    }
    frame.caption(&mut svg);
    let scale = style.width.map_or(1.0, |width| width.pixels() / frame.width);
    let title = format!("{}, {}", view.title, view.subtitle);
    Ok((svg.finish(&title, &frame::desc(&view.provenance), style.width), scale))
}

/// Leaves one colour bar of those that are the same: that of the first panel. What is said of it, where there is one.
fn share_bars(panels: &mut [(&Panel, Box<dyn Sized + '_>)]) -> Option<&'static str> {
    let (mut last, mut shared) = (None, None);
    for (panel, drawn) in panels {
        // A table has colours and no bar.
        let colours = panel.body.colours().filter(|_| !matches!(panel.body, Body::Table(_)));
        if colours.is_some() && colours == last {
            drawn.without_bar();
            shared = Some("A panel without a colour bar has that of the panel above.");
        }
        last = colours.or(last);
    }
    shared
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
                let table = read_provenance(path)?.table;
                let hint = match all.iter().any(|drawable| drawable.table == table && drawable.scaled) {
                    true => "draw a sweep that goes over something[, such as {over=layer,pos}|]",
                    false => "draw a table whose values go over something, such as layers or positions",
                };
                let says = format!("each value of the table `{table}` stands alone, with no axis to draw it along");
                Err(Error::bad_input(says).hint(said(hint)))
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
