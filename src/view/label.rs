//! Text that fits: width estimates and shortening. The whole text is always in the mark's title.

use crate::table::visible;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Width of a monospaced column relative to the font size, over the families that the figures ask for.
const MONO: f64 = 0.61;
/// Mean width of a letter of the proportional family relative to the font size, on the wide side.
const SANS: f64 = 0.58;

/// Estimated width in pixels of monospaced `text` at `size` pixels. Wide (CJK, emoji) characters count twice.
pub fn mono_width(text: &str, size: f64) -> f64 {
    text.width() as f64 * MONO * size
}

/// Estimated width in pixels of proportional `text` at `size` pixels.
pub fn sans_width(text: &str, size: f64) -> f64 {
    text.width() as f64 * SANS * size
}

/// Monospaced `text` cut to `width` pixels: `…` stands for what is missing at the end. Empty if not even that fits.
pub fn fit_mono(text: &str, width: f64, size: f64) -> String {
    fit(text, (width / (MONO * size)) as usize)
}

/// Proportional `text` cut to `width` pixels.
pub fn fit_sans(text: &str, width: f64, size: f64) -> String {
    fit(text, (width / (SANS * size)) as usize)
}

/// Text cut to so many columns of a fixed width.
pub fn fit(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    if columns == 0 {
        return String::new();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w > columns - 1 {
            break;
        }
        used += w;
        out.push(c);
    }
    out.push('…');
    out
}

/// Text that begins with a capital letter.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// A token in quotes, for titles.
pub fn quoted(token: &str) -> String {
    format!("\"{}\"", visible(token))
}

/// Text in lines of so many columns, broken before a blank (`·`) where there is one, and after `↵`.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let (mut lines, mut line) = (vec![], String::new());
    let mut words = vec![];
    for c in text.chars() {
        match words.last_mut() {
            None => words.push(String::from(c)),
            Some(word) if c == '·' || word.ends_with('↵') => {
                let _ = word;
                words.push(String::from(c));
            }
            Some(word) => word.push(c),
        }
    }
    for word in words {
        if !line.is_empty() && (line.width() + word.width() > columns || line.ends_with('↵')) {
            lines.push(std::mem::take(&mut line));
        }
        for c in word.chars() {
            if line.width() + c.width().unwrap_or(0) > columns {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.extend(Some(line).filter(|line| !line.is_empty()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(fit("hello", 5), "hello");
        assert_eq!(fit("hello", 4), "hel…");
        assert_eq!(fit("東京都", 4), "東…");
        assert_eq!(fit("hello", 0), "");
        assert_eq!(fit_mono("hello", -3.0, 10.0), "");
        assert_eq!(fit("hello", 1), "…");
    }
}
