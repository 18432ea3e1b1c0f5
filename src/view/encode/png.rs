//! A figure as a PNG: as many pixels as its width and the dots of an inch say, with the provenance in a text chunk.

use png::{BitDepth, ColorType, Compression, Encoder, PixelDimensions, Unit};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::Tree;

use super::{FileType, undrawn};
use crate::error::{Error, Result, said};
use crate::table::METADATA_KEY;

/// The most pixels: of four bytes each, and a page of a journal at 1200 dots in an inch has as many.
const MOST: f64 = 150e6;

/// The pixels of a figure, `dpi` to an inch. `title` and `provenance` are escaped, as XML holds them.
pub(super) fn encoded(tree: &Tree, dpi: f64, title: &str, provenance: &str) -> Result<Vec<u8>> {
    let scale = dpi / 96.0;
    let [w, h] = [tree.size().width(), tree.size().height()].map(|side| (f64::from(side) * scale).round().max(1.0));
    let too_large = || {
        Error::bad_input(format!("the figure would have {w} x {h} pixels, more than {} million", MOST / 1e6))
            .hint(said("ask for fewer with {dpi=150}"))
    };
    if w * h > MOST {
        return Err(too_large());
    }
    let mut pixels = Pixmap::new(w as u32, h as u32).ok_or_else(too_large)?;
    // To the whole pixel, so that no edge is half there.
    let (across, down) = (w as f32 / tree.size().width(), h as f32 / tree.size().height());
    resvg::render(tree, Transform::from_scale(across, down), &mut pixels.as_mut());
    // The ground is opaque, and so is everything on it.
    let rgb: Vec<u8> = pixels.data().chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    drop(pixels);
    let failed = |e: png::EncodingError| undrawn(FileType::Png, &e);
    let mut bytes = vec![];
    let mut encoder = Encoder::new(&mut bytes, w as u32, h as u32);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Default);
    let in_a_meter = (dpi / 0.0254).round() as u32;
    encoder.set_pixel_dims(Some(PixelDimensions { xppu: in_a_meter, yppu: in_a_meter, unit: Unit::Meter }));
    encoder.add_itxt_chunk("Title".to_owned(), title.to_owned()).map_err(failed)?;
    encoder.add_itxt_chunk(METADATA_KEY.to_owned(), provenance.to_owned()).map_err(failed)?;
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&rgb)).map_err(failed)?;
    Ok(bytes)
}
