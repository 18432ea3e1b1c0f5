//! Colours: viridis for what has no sign, red-blue around zero for what has one, and ink that can be read on either.

use std::fmt;

/// A colour without transparency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgb(pub u8, pub u8, pub u8);

impl Rgb {
    /// Background of every figure.
    pub const PAPER: Rgb = Rgb(255, 255, 255);
    /// Text and axes.
    pub const INK: Rgb = Rgb(28, 28, 30);
    /// Secondary text.
    pub const SOFT: Rgb = Rgb(92, 92, 98);
    /// Grid lines.
    pub const FAINT: Rgb = Rgb(224, 224, 228);
    /// A value that is not a number.
    pub const NONE: Rgb = Rgb(176, 176, 176);
    /// A line in a chart.
    pub const LINE: Rgb = Rgb(49, 104, 142);

    fn of(c: colorous::Color) -> Self {
        Rgb(c.r, c.g, c.b)
    }

    /// Relative luminance after WCAG 2, from 0 (black) to 1 (white).
    fn luminance(self) -> f64 {
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.0) + 0.7152 * linear(self.1) + 0.0722 * linear(self.2)
    }

    /// Black or white, whichever stands out more on this colour.
    pub fn ink_on(self) -> Rgb {
        let l = self.luminance();
        // Contrast ratios: (l + 0.05) / 0.05 with black, 1.05 / (l + 0.05) with white.
        if (l + 0.05) * (l + 0.05) > 1.05 * 0.05 { Rgb(0, 0, 0) } else { Rgb(255, 255, 255) }
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

/// The colour of an unsigned value, 0..=1 from dark to light; grey for NaN.
pub fn viridis(x: f64) -> Rgb {
    if x.is_nan() { Rgb::NONE } else { Rgb::of(colorous::VIRIDIS.eval_continuous(x.clamp(0.0, 1.0))) }
}

/// The colour of a signed value: blue below zero, red above, white at zero, full at `-most` and `most`; grey for NaN.
pub fn diverging(x: f64, most: f64) -> Rgb {
    if x.is_nan() {
        return Rgb::NONE;
    }
    let t = if most > 0.0 { (x / most).clamp(-1.0, 1.0) } else { 0.0 };
    // The map runs from red to blue; red is for positive values here, as in the field's figures.
    Rgb::of(colorous::RED_BLUE.eval_continuous(0.5 - t / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ink_stands_out() {
        assert_eq!(viridis(0.0).ink_on(), Rgb(255, 255, 255));
        assert_eq!(viridis(1.0).ink_on(), Rgb(0, 0, 0));
        for i in 0..=100 {
            let cell = viridis(f64::from(i) / 100.0);
            let (a, b) = (cell.luminance() + 0.05, cell.ink_on().luminance() + 0.05);
            assert!(a.max(b) / a.min(b) >= 4.5, "{cell}");
        }
    }

    #[test]
    fn zero_is_the_middle() {
        let (down, zero, up) = (diverging(-2.0, 2.0), diverging(0.0, 2.0), diverging(2.0, 2.0));
        assert!(up.0 > up.2 && down.2 > down.0, "red up, blue down");
        assert!(zero.luminance() > 0.8);
        assert_eq!(diverging(0.0, 0.0), zero);
        assert_eq!(diverging(f64::NAN, 1.0), Rgb::NONE);
    }
}
