//! Text whose white space and invisible characters can be seen, for terminals and charts.

use std::borrow::Cow;
use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

/// `text` with everything that would not be seen, or would disturb what stands around it, made visible.
///
/// | character | becomes |
/// |---|---|
/// | space, newline, tab, carriage return | `·` `↵` `→` `␍` |
/// | other control characters and white space | `\u{..}` |
/// | marks that change the direction of text (U+202A..E, U+2066..9, U+200E, U+200F, U+061C) | `\u{..}` |
/// | zero-width characters | `\u{..}` |
/// | combining marks and variation selectors with nothing before them to combine with | `\u{..}` |
///
/// Everything else stays as it is, and text that needs no change is not copied. This is for reading: a `·` or a
/// `\u{..}` that the text itself contains looks the same. It does not escape for SVG or HTML.
///
/// ```
/// assert_eq!(pellucid::text::visible(" the\n"), "·the↵");
/// assert_eq!(pellucid::text::visible("été"), "été");
/// ```
pub fn visible(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    // True where a combining mark would have a character to sit on.
    let mut has_base = false;
    let mut copied = 0;
    for (at, c) in text.char_indices() {
        let stands = stands_as_it_is(c, has_base);
        has_base = stands;
        if stands {
            continue;
        }
        out.push_str(&text[copied..at]);
        copied = at + c.len_utf8();
        match c {
            ' ' => out.push('·'),
            '\n' => out.push('↵'),
            '\t' => out.push('→'),
            '\r' => out.push('␍'),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "{}", c.escape_unicode())),
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

fn stands_as_it_is(c: char, has_base: bool) -> bool {
    if c.is_control() || c.is_whitespace() || is_invisible(c) {
        return false;
    }
    has_base || c.width() != Some(0)
}

/// Format characters: zero width, joiners, bidi controls, tags. Combining marks are not among them.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_shown() {
        assert_eq!(visible(" a\tb\r\n"), "·a→b␍↵");
        assert_eq!(visible("a\u{a0}b\u{2028}\u{3000}"), r"a\u{a0}b\u{2028}\u{3000}");
    }

    #[test]
    fn plain_text_is_not_copied() {
        for plain in ["", "the", "été", "漢字", "🦙", "e\u{301}", "❤\u{fe0f}"] {
            assert!(matches!(visible(plain), Cow::Borrowed(same) if same == plain), "{plain:?}");
        }
    }

    #[test]
    fn what_disturbs_its_surroundings_is_escaped() {
        assert_eq!(visible("\0\u{1b}[31m\u{7f}\u{85}"), r"\u{0}\u{1b}[31m\u{7f}\u{85}");
        for c in "\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}\u{200b}\u{200d}\u{feff}\u{2060}".chars() {
            assert_eq!(visible(&format!("a{c}b")), format!("a{}b", c.escape_unicode()), "{c:?}");
        }
    }

    #[test]
    fn a_combining_mark_alone_is_escaped() {
        assert_eq!(visible("\u{301}e"), r"\u{301}e");
        assert_eq!(visible(" \u{301}"), r"·\u{301}");
        assert_eq!(visible("\u{fe0f}"), r"\u{fe0f}");
        assert_eq!(visible("e\u{301}\u{302}"), "e\u{301}\u{302}");
    }
}
