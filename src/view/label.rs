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
    fit(text, (width / (MONO * size)).floor())
}

/// Proportional `text` cut to `width` pixels.
pub fn fit_sans(text: &str, width: f64, size: f64) -> String {
    fit(text, (width / (SANS * size)).floor())
}

fn fit(text: &str, columns: f64) -> String {
    let columns = if columns < 0.0 { 0 } else { columns as usize };
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

/// A token in quotes, for titles.
pub fn quoted(token: &str) -> String {
    format!("\"{}\"", visible(token))
}

/// A probability in a title: three significant digits, so that small ones are not all 0.00.
pub fn probability(p: f32) -> String {
    if p == 0.0 || !p.is_finite() {
        format!("{p}")
    } else if p >= 0.01 {
        format!("{p:.3}")
    } else {
        format!("{p:.1e}")
    }
}

/// A probability in a cell: two decimals without the leading zero.
pub fn short_probability(p: f32) -> String {
    match p {
        _ if p >= 0.995 => "1.0".to_owned(),
        _ if p > 0.0 && p < 0.005 => "<.01".to_owned(),
        _ => format!("{p:.2}").trim_start_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(fit("hello", 5.0), "hello");
        assert_eq!(fit("hello", 4.0), "hel…");
        assert_eq!(fit("東京都", 4.0), "東…");
        assert_eq!(fit("hello", 0.0), "");
        assert_eq!(fit("hello", -3.0), "");
        assert_eq!(fit("hello", 1.0), "…");
    }

    #[test]
    fn probabilities_are_short() {
        assert_eq!(short_probability(0.424), ".42");
        assert_eq!(short_probability(0.999), "1.0");
        assert_eq!((short_probability(0.001), short_probability(0.0)), ("<.01".into(), ".00".into()));
        assert_eq!(short_probability(f32::NAN), "NaN");
        assert_eq!(
            (probability(0.5), probability(0.0004), probability(0.0)),
            ("0.500".into(), "4.0e-4".into(), "0".into())
        );
    }
}
