//! Figures as files: SVG as it is drawn, and PDF and PNG made of it, with the same letters on every machine.
//!
//! Each says how it was made: an SVG in its `<desc>`, a PDF in its XMP metadata, a PNG in a text chunk. The same figure is the same
//! bytes, as long as its letters are in the fonts that are part of the program.

mod fonts;
mod pdf;
mod pdf_fonts;
mod png;

use std::path::Path;

use super::Figure;
use crate::error::{Error, Result};
use fonts::Fonts;
use resvg::usvg::{Options, Tree};

/// How a figure is written to a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileType {
    /// Scalable vector graphics, with a title on every mark.
    #[default]
    Svg,
    /// A page as large as the figure, with letters that can be searched.
    Pdf,
    /// Pixels.
    Png,
}

impl FileType {
    /// All.
    pub const ALL: [Self; 3] = [Self::Svg, Self::Pdf, Self::Png];

    /// What names of such files end in.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Pdf => "pdf",
            Self::Png => "png",
        }
    }

    /// What a file of this name is, if it is a figure.
    pub fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Self::ALL.into_iter().find(|file| file.extension() == extension)
    }
}

/// A figure as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The file.
    pub bytes: Vec<u8>,
    /// Letters that no font has; boxes stand for them.
    pub missing: Vec<char>,
}

impl Figure {
    /// The figure as a file; pixels are `dpi` to an inch.
    ///
    /// # Errors
    /// When it has more pixels than a file may have.
    pub fn encoded(&self, file: FileType, dpi: f64) -> Result<Encoded> {
        if file == FileType::Svg {
            return Ok(Encoded { bytes: self.svg.clone().into_bytes(), missing: vec![] });
        }
        let fonts = Fonts::default();
        let options = Options { fontdb: fonts.own(), font_resolver: fonts.resolver(), ..Options::default() };
        let tree = Tree::from_str(&self.svg, &options).map_err(|e| undrawn(file, &e))?;
        drop(options);
        let bytes = match file {
            FileType::Pdf => pdf::encoded(&tree, &self.title(), &self.provenance())?,
            _ => png::encoded(&tree, dpi, &self.title(), &self.provenance())?,
        };
        Ok(Encoded { bytes, missing: fonts.missing() })
    }

    /// Its title, as it stands in the document: escaped.
    fn title(&self) -> String {
        between(&self.svg, "<title>", "</title>").unwrap_or(&self.name).to_owned()
    }

    /// How it was made: JSON, as it stands in the document.
    pub fn provenance(&self) -> String {
        between(&self.svg, "<desc>", "</desc>").unwrap_or_default().to_owned()
    }
}

/// What first stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

/// Figures of ours are documents that these crates read.
fn undrawn(file: FileType, e: &dyn std::fmt::Display) -> Error {
    Error::compute(format!("the figure could not be written as {}: {e}", file.extension())).fault()
}
