//! Plotters draws on our canvas: its coordinates, ticks and grid lines, without its SVG writer, whose marks can have
//! no titles.

use super::canvas::{Anchor, Rect, Svg, Type};
use crate::table::visible_prose;
use crate::view::colour::Rgb;
use plotters::style::FontTransform;
use plotters::style::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontFamily, FontStyle,
};
use std::convert::Infallible;

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// A plotters backend over a figure; drawing on it cannot fail.
pub(super) struct Backend<'a>(pub &'a mut Svg);

/// The colour over the figure's paper: plotters fades grid lines by transparency, which we resolve.
fn solid(c: BackendColor) -> Option<Rgb> {
    let over = |c: u8, paper: u8, alpha: f64| {
        (f64::from(c) * alpha + f64::from(paper) * (1.0 - alpha)).round().clamp(0.0, 255.0) as u8
    };
    let alpha = c.alpha.clamp(0.0, 1.0);
    let Rgb(r, g, b) = Rgb::PAPER;
    (alpha > 0.0).then(|| Rgb(over(c.rgb.0, r, alpha), over(c.rgb.1, g, alpha), over(c.rgb.2, b, alpha)))
}

fn point((x, y): BackendCoord) -> (f64, f64) {
    // Half a pixel on, so that a line of one pixel covers one row of them.
    (f64::from(x) + 0.5, f64::from(y) + 0.5)
}

impl DrawingBackend for Backend<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        let (w, h) = self.0.size();
        (w as u32, h as u32)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        if let Some(fill) = solid(color) {
            self.0.rect(Rect { x: f64::from(x), y: f64::from(y), w: 1.0, h: 1.0 }, fill, None);
        }
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        if let Some(c) = solid(style.color()) {
            let points: Vec<_> = path.into_iter().map(point).collect();
            self.0.line(&points, c, f64::from(style.stroke_width()));
        }
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, (x, y): BackendCoord) -> Drawn {
        let Some(ink) = solid(style.color()) else { return Ok(()) };
        // Plotters counts the height of a line, we that of the letters.
        let size = style.size() / 1.24;
        let anchor = match style.anchor().h_pos {
            HPos::Left => Anchor::Start,
            HPos::Center => Anchor::Middle,
            HPos::Right => Anchor::End,
        };
        let down = match style.anchor().v_pos {
            VPos::Top => size * 0.5,
            VPos::Center => 0.0,
            VPos::Bottom => -size * 0.5,
        };
        let mut t = Type::new(size).at(anchor).ink(self.0.beside(ink));
        t.mono = matches!(style.family(), FontFamily::Monospace);
        t.bold = matches!(style.style(), FontStyle::Bold);
        t.upwards = matches!(style.transform(), FontTransform::Rotate270);
        let (x, y) = (f64::from(x), f64::from(y));
        let (x, y) = if t.upwards { (x + down, y) } else { (x, y + down) };
        self.0.text(x, y, &visible_prose(text), t);
        Ok(())
    }
}
