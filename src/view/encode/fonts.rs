//! The letters of PDF and PNG figures: fonts that are part of the program, and those of the machine for letters that they lack.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use resvg::usvg::fontdb::{Database, ID, Source};
use resvg::usvg::{FontFamily, FontResolver};

/// Letters of prose, of titles, and of tokens.
const OWN: [&[u8]; 3] =
    [include_bytes!("fonts/sans.ttf"), include_bytes!("fonts/bold.ttf"), include_bytes!("fonts/mono.ttf")];

/// The fonts for one figure.
pub(super) struct Fonts {
    own: Arc<Database>,
    ids: Vec<ID>,
    asked: Mutex<Asked>,
}

/// What was asked of the machine's fonts.
#[derive(Default)]
struct Asked {
    loaded: bool,
    missing: BTreeSet<char>,
}

impl Default for Fonts {
    fn default() -> Self {
        let mut own = Database::new();
        let ids = OWN.iter().flat_map(|font| own.load_font_source(Source::Binary(Arc::new(font)))).collect();
        Self { own: Arc::new(own), ids, asked: Mutex::default() }
    }
}

impl Fonts {
    /// Those that are part of the program.
    pub fn own(&self) -> Arc<Database> {
        self.own.clone()
    }

    /// Which font is for which letters. The families that a figure names are for browsers: here it is always the same one.
    pub fn resolver(&self) -> FontResolver<'_> {
        FontResolver {
            select_font: Box::new(|font, _| {
                let mono = matches!(font.families().first(), Some(FontFamily::Monospace));
                let at = if mono { 2 } else { usize::from(font.weight() >= 600) };
                self.ids.get(at).copied()
            }),
            select_fallback: Box::new(|letter, tried, all| {
                let untried = |id: &ID| !tried.contains(id);
                if let Some(own) = self.ids.iter().copied().filter(untried).find(|id| has(all, *id, letter)) {
                    return Some(own);
                }
                let mut asked = self.asked();
                // Looked for only where it is needed: that takes as long as drawing does, and differs between machines.
                if !std::mem::replace(&mut asked.loaded, true) {
                    Arc::make_mut(all).load_system_fonts();
                }
                let found = all.faces().map(|face| face.id).filter(untried).find(|id| has(all, *id, letter));
                if found.is_none() {
                    asked.missing.insert(letter);
                }
                found
            }),
        }
    }

    /// Letters that no font has.
    pub fn missing(&self) -> Vec<char> {
        self.asked().missing.iter().copied().collect()
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a font has a letter, as an outline: coloured pictures are not drawn.
fn has(all: &Database, id: ID, letter: char) -> bool {
    let found = all.with_face_data(id, |data, index| {
        let face = ttf_parser::Face::parse(data, index).ok()?;
        let glyph = face.glyph_index(letter).filter(|glyph| glyph.0 != 0)?;
        (letter.is_whitespace() || face.glyph_bounding_box(glyph).is_some()).then_some(())
    });
    found.flatten().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What figures write themselves, and what stands for blanks in tokens.
    #[test]
    fn the_own_fonts_have_what_figures_write() {
        let fonts = Fonts::default();
        assert_eq!(fonts.ids.len(), OWN.len());
        for letter in "Ag9%·↵→←↑±−≥≤≈×∞Δ∂Σλθ…–\"Ġéß".chars() {
            for id in [fonts.ids[0], fonts.ids[2]] {
                assert!(has(&fonts.own, id, letter), "{letter}");
            }
        }
        assert!("Ag9%·↵→…–±".chars().all(|letter| has(&fonts.own, fonts.ids[1], letter)));
    }
}
