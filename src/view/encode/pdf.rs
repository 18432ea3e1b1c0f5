//! A figure as a PDF: one page, exactly as large as the figure, with the provenance in its XMP metadata.
//!
//! What figures are made of is written, and nothing else of SVG: paths in one colour, text, and groups that are moved or scaled. Objects
//! come in the order in which the figure needs them, so that the same figure is the same bytes.

use pdf_writer::types::{LineCapStyle, LineJoinStyle};
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use resvg::usvg::tiny_skia_path::{PathSegment, Point, Transform};
use resvg::usvg::{FillRule, Group, LineCap, LineJoin, Node, Paint, Path, Stroke, Text, Tree};

use super::pdf_fonts::Embedded;
use super::{FileType, undrawn};
use crate::error::Result;
use crate::table::METADATA_KEY;

/// The page of a figure. `title` and `provenance` are escaped, as XML holds them.
pub(super) fn encoded(tree: &Tree, title: &str, provenance: &str) -> Result<Vec<u8>> {
    let mut next = Ref::new(1);
    let [catalog, pages, page, content, metadata, info] = std::array::from_fn(|_| next.bump());
    // A CSS pixel is three quarters of a point.
    let (w, h) = (tree.size().width() * 0.75, tree.size().height() * 0.75);
    let mut drawing = Drawing { content: Content::new(), fonts: Embedded::new(tree.fontdb(), next) };
    // Down, as SVG counts, and not up.
    drawing.content.transform([0.75, 0.0, 0.0, -0.75, 0.0, h]);
    drawing.group(tree.root())?;
    let Drawing { content: drawn, fonts } = drawing;

    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(pages).metadata(metadata);
    pdf.pages(pages).kids([page]).count(1);
    let mut one = pdf.page(page);
    one.media_box(Rect::new(0.0, 0.0, w, h)).parent(pages).contents(content);
    let mut resources = one.resources();
    let mut named = resources.fonts();
    for (name, font) in fonts.names() {
        named.pair(Name(name.as_bytes()), font);
    }
    named.finish();
    resources.finish();
    one.finish();
    let drawn = packed(&drawn.finish())?;
    pdf.stream(content, &drawn).filter(Filter::FlateDecode);
    fonts.write(&mut pdf)?;
    let xmp = format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\
         <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"><rdf:Description rdf:about=\"\" \
         xmlns:{METADATA_KEY}=\"urn:{METADATA_KEY}\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\">\n\
         <dc:title><rdf:Alt><rdf:li xml:lang=\"x-default\">{title}</rdf:li></rdf:Alt></dc:title>\n\
         <{METADATA_KEY}:provenance>{provenance}</{METADATA_KEY}:provenance>\n\
         </rdf:Description></rdf:RDF></x:xmpmeta>\n<?xpacket end=\"r\"?>\n"
    );
    // Plain, so that whoever looks for it need not read PDF.
    pdf.metadata(metadata, xmp.as_bytes());
    let producer = format!("pellucid {}", env!("CARGO_PKG_VERSION"));
    pdf.document_info(info).producer(TextStr(&producer));
    Ok(pdf.finish())
}

/// Bytes as streams of a PDF hold them.
pub(super) fn packed(bytes: &[u8]) -> Result<Vec<u8>> {
    use std::io::Write;
    let mut packer = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::default());
    packer.write_all(bytes)?;
    Ok(packer.finish()?)
}

/// A page as it is drawn.
struct Drawing<'a> {
    content: Content,
    fonts: Embedded<'a>,
}

impl Drawing<'_> {
    fn group(&mut self, group: &Group) -> Result<()> {
        let plain = group.clip_path().is_none() && group.mask().is_none() && group.filters().is_empty();
        if !plain || group.opacity().get() < 1.0 {
            return Err(undrawn(FileType::Pdf, &"it has a group with an effect"));
        }
        self.content.save_state();
        if !group.transform().is_identity() {
            self.content.transform(matrix(group.transform()));
        }
        for child in group.children() {
            match child {
                Node::Group(group) => self.group(group)?,
                Node::Path(path) => self.path(path)?,
                Node::Text(text) => self.text(text)?,
                Node::Image(_) => return Err(undrawn(FileType::Pdf, &"it has an image")),
            }
        }
        self.content.restore_state();
        Ok(())
    }

    fn path(&mut self, path: &Path) -> Result<()> {
        if !path.is_visible() {
            return Ok(());
        }
        if let Some(fill) = path.fill() {
            let [r, g, b] = colour(fill.paint())?;
            self.content.set_fill_rgb(r, g, b);
            self.outline(path);
            match fill.rule() {
                FillRule::NonZero => self.content.fill_nonzero(),
                FillRule::EvenOdd => self.content.fill_even_odd(),
            };
        }
        if let Some(stroke) = path.stroke() {
            self.stroke(stroke)?;
            self.outline(path);
            self.content.stroke();
        }
        Ok(())
    }

    fn outline(&mut self, path: &Path) {
        let mut at = Point::zero();
        for segment in path.data().segments() {
            match segment {
                PathSegment::MoveTo(p) => self.content.move_to(p.x, p.y),
                PathSegment::LineTo(p) => self.content.line_to(p.x, p.y),
                PathSegment::CubicTo(a, b, p) => self.content.cubic_to(a.x, a.y, b.x, b.y, p.x, p.y),
                // The cubic curve that is the same: its inner points are two thirds of the way to the middle one.
                PathSegment::QuadTo(middle, p) => {
                    let toward = |end: f32, middle: f32| end + 2.0 / 3.0 * (middle - end);
                    let (x1, y1) = (toward(at.x, middle.x), toward(at.y, middle.y));
                    let (x2, y2) = (toward(p.x, middle.x), toward(p.y, middle.y));
                    self.content.cubic_to(x1, y1, x2, y2, p.x, p.y)
                }
                PathSegment::Close => self.content.close_path(),
            };
            if let PathSegment::MoveTo(p)
            | PathSegment::LineTo(p)
            | PathSegment::QuadTo(_, p)
            | PathSegment::CubicTo(_, _, p) = segment
            {
                at = p;
            }
        }
    }

    fn stroke(&mut self, stroke: &Stroke) -> Result<()> {
        let [r, g, b] = colour(stroke.paint())?;
        self.content.set_stroke_rgb(r, g, b).set_line_width(stroke.width().get());
        self.content.set_line_cap(match stroke.linecap() {
            LineCap::Butt => LineCapStyle::ButtCap,
            LineCap::Round => LineCapStyle::RoundCap,
            LineCap::Square => LineCapStyle::ProjectingSquareCap,
        });
        self.content.set_line_join(match stroke.linejoin() {
            LineJoin::Miter | LineJoin::MiterClip => LineJoinStyle::MiterJoin,
            LineJoin::Round => LineJoinStyle::RoundJoin,
            LineJoin::Bevel => LineJoinStyle::BevelJoin,
        });
        self.content.set_dash_pattern(stroke.dasharray().unwrap_or_default().iter().copied(), stroke.dashoffset());
        Ok(())
    }

    /// Each letter stands where the layout has put it.
    fn text(&mut self, text: &Text) -> Result<()> {
        for span in text.layouted().iter().filter(|span| span.visible) {
            let Some(fill) = &span.fill else { continue };
            let [r, g, b] = colour(fill.paint())?;
            self.content.set_fill_rgb(r, g, b).begin_text();
            let mut last = None;
            for glyph in &span.positioned_glyphs {
                let Some((font, cid, units_per_em)) = self.fonts.glyph(glyph.font, glyph.id.0, &glyph.text)? else {
                    continue;
                };
                // Outlines are in units of the font, which PDF takes for one em of size 1.
                let place = glyph.outline_transform().pre_scale(units_per_em, units_per_em);
                if last != Some(font) {
                    self.content.set_font(Name(Embedded::name(font).as_bytes()), 1.0);
                    last = Some(font);
                }
                self.content.set_text_matrix(matrix(place)).show(Str(&cid.to_be_bytes()));
            }
            self.content.end_text();
        }
        Ok(())
    }
}

fn matrix(t: Transform) -> [f32; 6] {
    [t.sx, t.ky, t.kx, t.sy, t.tx, t.ty]
}

fn colour(paint: &Paint) -> Result<[f32; 3]> {
    match paint {
        Paint::Color(c) => Ok([c.red, c.green, c.blue].map(|part| f32::from(part) / 255.0)),
        _ => Err(undrawn(FileType::Pdf, &"it has a colour that changes from place to place")),
    }
}
