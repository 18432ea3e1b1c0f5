//! Text from models and users, made visible: spaces, newlines, controls and invisible characters get a printed form.
//!
//! Such text may hold anything: escape sequences that a terminal would obey, bidirectional overrides that reorder the
//! words around them, characters that XML forbids. Nothing of that survives here.

use unicode_width::UnicodeWidthChar;

/// The text of a token with everything invisible made visible: a space is `·`, a newline `↵`, a tab `→`, every other
/// space, control, bidirectional or zero-width character its code as `\u{..}`. The result is one line, is safe on a
/// terminal, and is valid XML character data once `&`, `<` and `>` are escaped.
///
/// ```
/// assert_eq!(pellucid::table::visible(" the\n"), "·the↵");
/// assert_eq!(pellucid::table::visible("a\u{202e}b"), "a\\u{202e}b");
/// ```
pub fn visible(text: &str) -> String {
    render(text, true)
}

/// Like [`visible`], for names and sentences: ordinary spaces stay spaces.
pub fn visible_prose(text: &str) -> String {
    render(text, false)
}

/// XML character data. Control characters, which XML forbids, become U+FFFD; callers have made them visible before ([`visible`]).
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The first `most` characters of a text that may be of any length.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn render(text: &str, token: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' if token => out.push('·'),
            ' ' => out.push(' '),
            '\n' => out.push('↵'),
            '\t' => out.push('→'),
            // Joiners belong inside emoji and many scripts; at an edge or beside ASCII they only hide.
            '\u{200c}' | '\u{200d}'
                if before.is_some_and(|b| !b.is_ascii()) && chars.peek().is_some_and(|a| !a.is_ascii()) =>
            {
                out.push(c)
            }
            c if is_invisible(c) => out.extend(c.escape_unicode()),
            // A combining mark with nothing to sit on would change the character before it, which is ours.
            c if before.is_none() && c.width() == Some(0) => {
                out.push('◌');
                out.push(c);
            }
            c => out.push(c),
        }
        before = Some(c);
    }
    out
}

/// Whether `c` prints nothing, or changes how others print, or may not occur in XML.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        // Noncharacters: the last two of every plane, and a block of 32.
        || matches!(c as u32 & 0xffff, 0xfffe | 0xffff)
        || matches!(c, '\u{fdd0}'..='\u{fdef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_invisible_survives() {
        assert_eq!(visible(" \t\r\n"), "·→\\u{d}↵");
        assert_eq!(visible("\u{1b}[31mred"), "\\u{1b}[31mred");
        assert_eq!(visible("\u{a0}\u{3000}\u{2028}"), "\\u{a0}\\u{3000}\\u{2028}");
        assert_eq!(visible("a\u{200d}"), "a\\u{200d}");
        assert_eq!(visible("\u{ffff}"), "\\u{ffff}");
        assert_eq!(visible("\u{0301}"), "◌\u{0301}");
        assert_eq!(visible_prose("two words\n"), "two words↵");
    }

    #[test]
    fn what_prints_is_left_alone() {
        for text in ["naïve", "東京", "👩\u{200d}🚀", "שלום", "e\u{0301}", "\u{fffd}", "←"] {
            assert_eq!(visible(text), text);
        }
    }
}
