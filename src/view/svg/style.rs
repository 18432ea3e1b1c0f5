//! How a figure is to look, whatever it shows: its width, its title, and on what ground it stands.

use super::frame::MARGIN;
use crate::view::colour::Rgb;
use std::fmt;
use std::str::FromStr;

/// How a figure looks. By itself: as wide as it needs, with its own title and caption, on white.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Style {
    /// How wide it is; what it shows is laid out for that.
    pub width: Option<Length>,
    /// What stands over it.
    pub title: Words,
    /// What stands below it.
    pub caption: Words,
    /// The colours around the data.
    pub theme: Theme,
}

/// Words of a figure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Words {
    /// Those that it has by itself.
    #[default]
    Own,
    /// None: whoever shows the figure says it.
    None,
    /// These.
    These(String),
}

/// What a figure stands on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Dark letters on white.
    #[default]
    Light,
    /// Light letters on a dark ground, for slides.
    Dark,
}

/// A length on paper or screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Length {
    amount: f64,
    unit: Unit,
}

/// Units of lengths: their names, and how many CSS pixels each is, of which 96 are an inch.
const UNITS: [(Unit, &str, f64); 5] = [
    (Unit::Cm, "cm", 96.0 / 2.54),
    (Unit::Mm, "mm", 96.0 / 25.4),
    (Unit::In, "in", 96.0),
    (Unit::Pt, "pt", 96.0 / 72.0),
    (Unit::Px, "px", 1.0),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Cm,
    Mm,
    In,
    Pt,
    Px,
}

impl Unit {
    fn row(self) -> (&'static str, f64) {
        UNITS.iter().find(|(unit, ..)| *unit == self).map_or(("px", 1.0), |(_, name, pixels)| (name, *pixels))
    }
}

impl Length {
    /// The narrowest and the widest figure, in pixels: 2 cm and 2 m.
    const ENDS: (f64, f64) = (75.0, 7560.0);

    /// In CSS pixels, of which 96 are an inch.
    pub fn pixels(self) -> f64 {
        self.amount * self.unit.row().1
    }

    /// So many times as long.
    pub(super) fn times(self, factor: f64) -> Self {
        Self { amount: self.amount * factor, ..self }
    }
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = UNITS.iter().find(|(_, name, _)| *name == &text[digits.len()..]);
        let (Some((unit, ..)), Ok(amount)) = (unit, digits.trim().parse::<f64>()) else {
            return Err("not a width; write a number and its unit, such as 8cm, 85mm, 3.3in, 240pt or 600px".into());
        };
        let length = Self { amount, unit: *unit };
        match (Self::ENDS.0..=Self::ENDS.1).contains(&length.pixels()) {
            true => Ok(length),
            false => Err("no width for a figure; write one between 2cm and 200cm".into()),
        }
    }
}

/// As SVG and CSS write it.
impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = format!("{:.4}", self.amount);
        // A number without a unit is pixels.
        let unit = if self.unit == Unit::Px { "" } else { self.unit.row().0 };
        write!(f, "{}{unit}", amount.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Style {
    /// Space around everything. What is given a width stands in a page that has margins of its own.
    pub(super) fn margin(&self) -> f64 {
        if self.width.is_some() { 4.0 } else { MARGIN }
    }

    /// The width that panels are laid out for.
    pub(super) fn room(&self) -> Option<f64> {
        self.width.map(|width| width.pixels() - 2.0 * self.margin())
    }
}

/// Colours on a dark ground: that itself, letters, softer letters, grid lines, lines of a chart.
const DARK: [(Rgb, Rgb); 5] = [
    (Rgb::PAPER, Rgb(24, 24, 27)),
    (Rgb::INK, Rgb(236, 236, 240)),
    (Rgb::SOFT, Rgb(172, 172, 180)),
    (Rgb::FAINT, Rgb(58, 58, 64)),
    (Rgb::LINE, Rgb(110, 170, 214)),
];

impl Theme {
    /// The colour of what is part of the figure's frame, and no value: as it is on white.
    pub(super) fn of(self, light: Rgb) -> Rgb {
        match self {
            Self::Light => light,
            Self::Dark => DARK.iter().find(|(known, _)| *known == light).map_or(light, |(_, dark)| *dark),
        }
    }

    /// The colour of letters. Those on a value's colour are black or white, whichever stands out there, on any ground.
    pub(super) fn ink(self, light: Rgb) -> Rgb {
        if light == Rgb::PAPER { light } else { self.of(light) }
    }

    /// The colour of a line, as it is on white: made lighter until it stands out on a dark ground.
    pub(super) fn line(self, light: Rgb) -> Rgb {
        let mut found = self.of(light);
        if self == Self::Dark && found == light {
            let Rgb(r, g, b) = self.of(Rgb::PAPER);
            while found.contrast(Rgb(r, g, b)) < 3.0 {
                let up = |c: u8| c.saturating_add((255 - c).div_ceil(8));
                found = Rgb(up(found.0), up(found.1), up(found.2));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_have_units() {
        let of = |text: &str| text.parse::<Length>().map(Length::pixels);
        assert!((of("8cm").unwrap() - 302.362).abs() < 1e-3);
        assert!((of("80mm").unwrap() - of("8cm").unwrap()).abs() < 1e-9);
        assert_eq!((of("1in"), of("72pt"), of("600px")), (Ok(96.0), Ok(96.0), Ok(600.0)));
        for text in ["8", "8 furlongs", "cm", "-8cm", "0.1cm", "1e9cm", "nancm", "infcm", ""] {
            assert!(of(text).is_err(), "{text}");
        }
        assert_eq!("8.50cm".parse::<Length>().unwrap().to_string(), "8.5cm");
    }

    #[test]
    fn what_is_no_value_stands_out_on_both_grounds() {
        for theme in [Theme::Light, Theme::Dark] {
            let ground = theme.of(Rgb::PAPER);
            for ink in [Rgb::INK, Rgb::SOFT] {
                assert!(theme.ink(ink).contrast(ground) >= 4.5, "{theme:?} {ink}");
            }
            for line in [Rgb::LINE, Rgb(116, 116, 124), Rgb(118, 42, 131), Rgb(0, 0, 0)] {
                assert!(theme.line(line).contrast(ground) >= 3.0, "{theme:?} {line}");
            }
        }
        // White letters on a dark cell stay white.
        assert_eq!(Theme::Dark.ink(Rgb(255, 255, 255)), Rgb(255, 255, 255));
    }
}
