//! The fonts in a PDF: of each, the letters that the figure has, and which text they stand for, so that it can be searched.

use std::collections::BTreeMap;

use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::{Filter, Finish, Name, Pdf, Rect, Ref, Str};
use resvg::usvg::fontdb::{Database, ID};
use subsetter::GlyphRemapper;
use ttf_parser::{Face, GlyphId, RawFace, Tag, name_id};

use super::pdf::packed;
use super::{FileType, undrawn};
use crate::error::{Error, Result};

/// How letters are numbered: by their places in the font.
const NUMBERED: SystemInfo = SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// A font of which some letters are used.
struct Font {
    id: ID,
    /// Five objects, from this one on.
    first: Ref,
    units_per_em: f32,
    letters: GlyphRemapper,
    /// What each letter, by its new number, stands for.
    texts: BTreeMap<u16, String>,
}

/// The fonts of a figure, in the order in which it first uses them.
pub(super) struct Embedded<'a> {
    all: &'a Database,
    fonts: Vec<Font>,
    next: Ref,
}

impl<'a> Embedded<'a> {
    /// None yet; the first object that is free is `next`.
    pub fn new(all: &'a Database, next: Ref) -> Self {
        Self { all, fonts: vec![], next }
    }

    /// Uses a letter: which font of the figure it is of, its number there, and the units of an em. None where the font cannot be read.
    pub fn glyph(&mut self, id: ID, glyph: u16, text: &str) -> Result<Option<(usize, u16, f32)>> {
        let at = match self.fonts.iter().position(|font| font.id == id) {
            Some(at) => at,
            None => {
                let units =
                    self.all.with_face_data(id, |data, index| Some(Face::parse(data, index).ok()?.units_per_em()));
                let Some(units_per_em) = units.flatten().map(f32::from) else { return Ok(None) };
                let first = self.next;
                self.next = Ref::new(first.get() + 5);
                let (letters, texts) = (GlyphRemapper::new(), BTreeMap::new());
                self.fonts.push(Font { id, first, units_per_em, letters, texts });
                self.fonts.len() - 1
            }
        };
        let font = &mut self.fonts[at];
        let number = font.letters.remap(glyph);
        font.texts.entry(number).or_insert_with(|| text.to_owned());
        Ok(Some((at, number, font.units_per_em)))
    }

    /// What a font is called on the page.
    pub fn name(font: usize) -> String {
        format!("F{font}")
    }

    /// All of them, with their objects.
    pub fn names(&self) -> impl Iterator<Item = (String, Ref)> {
        self.fonts.iter().enumerate().map(|(i, font)| (Self::name(i), font.first))
    }

    /// Writes them.
    pub fn write(&self, pdf: &mut Pdf) -> Result<()> {
        for font in &self.fonts {
            let written = self.all.with_face_data(font.id, |data, index| font.write(data, index, pdf));
            written.unwrap_or_else(|| Err(unread()))?;
        }
        Ok(())
    }
}

fn unread() -> Error {
    undrawn(FileType::Pdf, &"a font could not be read")
}

impl Font {
    fn write(&self, data: &[u8], index: u32, pdf: &mut Pdf) -> Result<()> {
        let face = Face::parse(data, index).map_err(|_| unread())?;
        let [whole, letters, described, unicode, file] = std::array::from_fn(|i| Ref::new(self.first.get() + i as i32));
        let is_cff = face.raw_face().table(Tag::from_bytes(b"CFF ")).is_some();
        let named =
            face.names().into_iter().find(|name| name.name_id == name_id::POST_SCRIPT_NAME && name.is_unicode());
        let plain = |name: String| name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>();
        // Six letters say that it is a part of the font.
        let name =
            format!("PELLUC+{}", plain(named.and_then(|name| name.to_string()).unwrap_or_else(|| "Font".to_owned())));
        let name = Name(name.as_bytes());

        pdf.type0_font(whole)
            .base_font(name)
            .encoding_predefined(Name(b"Identity-H"))
            .descendant_font(letters)
            .to_unicode(unicode);
        let em = |units: f32| units / self.units_per_em * 1000.0;
        let mut one = pdf.cid_font(letters);
        one.subtype(if is_cff { CidFontType::Type0 } else { CidFontType::Type2 });
        one.base_font(name).system_info(NUMBERED).font_descriptor(described).default_width(0.0);
        if !is_cff {
            one.cid_to_gid_map_predefined(Name(b"Identity"));
        }
        let width = |old: u16| em(f32::from(face.glyph_hor_advance(GlyphId(old)).unwrap_or(0)));
        one.widths().consecutive(0, self.letters.remapped_gids().map(width));
        one.finish();

        let r = face.global_bounding_box();
        let [left, bottom, right, top] = [r.x_min, r.y_min, r.x_max, r.y_max].map(|side| em(f32::from(side)));
        let mut flags = FontFlags::SYMBOLIC;
        flags.set(FontFlags::FIXED_PITCH, face.is_monospaced());
        let mut about = pdf.font_descriptor(described);
        about.name(name).flags(flags).bbox(Rect::new(left, bottom, right, top));
        about.italic_angle(0.0).ascent(em(f32::from(face.ascender()))).descent(em(f32::from(face.descender())));
        about.cap_height(em(f32::from(face.capital_height().unwrap_or(face.ascender())))).stem_v(80.0);
        match is_cff {
            true => about.font_file3(file),
            false => about.font_file2(file),
        };
        about.finish();

        let mut texts = UnicodeCmap::new(Name(b"Letters"), NUMBERED);
        for (number, text) in self.texts.iter().filter(|(_, text)| !text.is_empty()) {
            texts.pair_with_multiple(*number, text.chars());
        }
        pdf.cmap(unicode, &texts.finish());

        let part = subsetter::subset(data, index, &self.letters).map_err(|_| unread())?;
        // Of an OpenType font with such outlines, these alone.
        let outlines = RawFace::parse(&part, 0).ok().and_then(|face| face.table(Tag::from_bytes(b"CFF ")));
        let packed = packed(outlines.unwrap_or(&part))?;
        let mut stream = pdf.stream(file, &packed);
        stream.filter(Filter::FlateDecode);
        if is_cff {
            stream.pair(Name(b"Subtype"), Name(b"CIDFontType0C"));
        }
        Ok(())
    }
}
