//! Colours: viridis for what has no sign, red-blue around zero for what has one, and ink that can be read on either.

use super::axis::Axis;
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

    /// How much two colours stand out from each other, after WCAG 2: from 1 to 21.
    pub(crate) fn contrast(self, other: Rgb) -> f64 {
        let (a, b) = (self.luminance() + 0.05, other.luminance() + 0.05);
        a.max(b) / a.min(b)
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

/// What the colours of a view mean: values of one quantity, up to a size.
#[derive(Clone, Debug, PartialEq)]
pub struct Colours {
    /// The quantity, with its unit.
    pub name: String,
    /// The value, or the size, of full colour.
    pub most: f64,
    /// Which colours.
    pub map: Map,
}

/// A map of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    /// Viridis from 0 on, for probabilities and norms.
    Viridis,
    /// Blue below 0, red above.
    Diverging,
    /// White at 0, red above: for what is written over it.
    Rising,
}

impl Colours {
    /// Of probabilities.
    pub fn probability(name: &str) -> Self {
        Self { name: name.to_owned(), most: 1.0, map: Map::Viridis }
    }

    /// Of signed values; full at `most` and `-most`.
    pub fn signed(name: &str, most: f64) -> Self {
        Self { name: name.to_owned(), most, map: Map::Diverging }
    }

    /// Of amounts from 0 to `most`, behind text.
    pub fn rising(name: &str, most: f64) -> Self {
        Self { name: name.to_owned(), most, map: Map::Rising }
    }

    /// The colour of a value.
    pub fn of(&self, value: f64) -> Rgb {
        match self.map {
            Map::Viridis => viridis(value / self.most),
            Map::Diverging => diverging(value, self.most),
            // A file may say anything.
            Map::Rising => diverging(if value < 0.0 { 0.0 } else { value }, self.most),
        }
    }

    /// Whether a value lies outside. What lies a hair outside, by rounding, does not.
    pub fn clips(&self, value: f64) -> bool {
        self.map != Map::Viridis && value.is_finite() && value.abs() > self.most * (1.0 + 1e-4)
    }

    /// The axis of a colour bar.
    pub fn axis(&self) -> Axis {
        match self.map {
            Map::Viridis if self.most == 1.0 => Axis::quarters(&self.name),
            Map::Diverging => Axis::signed(&self.name, self.most),
            Map::Viridis | Map::Rising => Axis::linear(&self.name, 0.0, self.most, 5),
        }
    }
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
            assert!(cell.contrast(cell.ink_on()) >= 4.5, "{cell}");
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

    #[test]
    fn a_scale_says_what_its_colours_mean() {
        let (share, signed, rising) =
            (Colours::probability("p"), Colours::signed("d", 2.0), Colours::rising("surprise (bits)", 10.0));
        assert_eq!(
            (share.of(1.0), signed.of(-2.0), rising.of(10.0)),
            (viridis(1.0), diverging(-1.0, 1.0), diverging(1.0, 1.0))
        );
        assert_eq!((rising.of(-3.0), rising.of(0.0)), (diverging(0.0, 1.0), diverging(0.0, 1.0)));
        assert!(signed.clips(-2.01) && rising.clips(11.0) && !signed.clips(2.0001) && !share.clips(7.0));
        let ends = |c: &Colours| (c.axis().from, c.axis().to);
        assert_eq!((ends(&share), ends(&signed), ends(&rising)), ((0.0, 1.0), (-2.0, 2.0), (0.0, 10.0)));
    }
}
