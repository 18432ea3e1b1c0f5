//! Axes: where they end, and which round numbers stand on them.

use crate::number::Locale;

/// One axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Its name, with the unit.
    pub name: String,
    /// The value at its beginning.
    pub from: f64,
    /// The value at its end, larger than `from`.
    pub to: f64,
    /// Equal factors are equally long. `from` is positive then.
    pub log: bool,
    /// Whether values are counts.
    pub counted: bool,
    /// Values that have a label.
    pub ticks: Vec<f64>,
    /// The column of the table that its values are of, where a figure of that column alone can be chosen.
    pub column: Option<&'static str>,
}

impl Axis {
    /// A linear axis without labels.
    pub fn bare(name: &str, from: f64, to: f64) -> Self {
        Self { name: name.to_owned(), from, to, log: false, counted: false, ticks: Vec::new(), column: None }
    }

    /// A linear axis with labels on about `most` round numbers.
    pub fn linear(name: &str, from: f64, to: f64, most: usize) -> Self {
        Self { ticks: round_ticks(from, to, most, 0.0), ..Self::bare(name, from, to) }
    }

    /// A probability's: from 0 to 1, with labels on the quarters.
    pub fn quarters(name: &str) -> Self {
        Self { ticks: vec![0.0, 0.25, 0.5, 0.75, 1.0], ..Self::bare(name, 0.0, 1.0) }
    }

    /// For signed values of size `most`, 0 in the middle.
    pub fn signed(name: &str, most: f64) -> Self {
        Self::linear(name, -most, most, 6)
    }

    /// A linear axis of what is counted: labels are whole numbers.
    pub fn counted(name: &str, from: f64, to: f64, most: usize) -> Self {
        Self { ticks: round_ticks(from, to, most, 1.0), counted: true, ..Self::bare(name, from, to) }
    }

    /// A logarithmic axis with labels on round numbers.
    pub fn log(name: &str, from: f64, to: f64) -> Self {
        Self { ticks: log_ticks(from, to), log: true, ..Self::bare(name, from, to) }
    }

    /// The same, of the values of a column.
    pub fn of(self, column: &'static str) -> Self {
        Self { column: Some(column), ..self }
    }

    /// What is written at a value.
    pub fn label(&self, value: f64, locale: Locale) -> String {
        match self.counted {
            true if value < 1e10 => locale.count(value as u64),
            true => format!("{value:e}"),
            false => locale.tick(value),
        }
    }

    /// How far along the axis a value is: 0 at its beginning, 1 at its end.
    pub fn along(&self, value: f64) -> f64 {
        // The two ends may be further apart than a number can be.
        let unit = if (self.to - self.from).is_finite() { 1.0 } else { 0.5 };
        let place = |value: f64| if self.log { value.log10() } else { value * unit };
        (place(value) - place(self.from)) / (place(self.to) - place(self.from))
    }
}

/// The end of an axis: 1, 2 or 5 times a power of ten, with room over the largest value.
pub fn round_up(most: f64) -> f64 {
    if !(most > 0.0 && most.is_finite()) {
        return 1.0;
    }
    let wanted = most * 1.08;
    let power = 10f64.powf(wanted.log10().floor());
    // A probability needs no axis beyond 1, however close it comes.
    let end = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|end| *end >= wanted).unwrap_or(10.0 * power);
    if most <= 1.0 { end.min(1.0) } else { end }
}

/// `mantissa` times ten to `power`, as the literal would be: a product would be 0.30000000000000004.
fn scaled(mantissa: f64, power: i32) -> f64 {
    format!("{mantissa}e{power}").parse().unwrap_or(f64::NAN)
}

/// Multiples of 1, 2 or 5 times a power of ten from `from` to `to`: at most `most + 1`, at least `least` apart.
fn round_ticks(from: f64, to: f64, most: usize, least: f64) -> Vec<f64> {
    // Halves, for the whole may be more than a number can be.
    let wanted = ((to / 2.0 - from / 2.0) / most.max(1) as f64 * 2.0).max(least);
    // Below this, multiples of a step can no longer be told apart.
    if !(wanted.is_finite() && wanted >= f64::MIN_POSITIVE) {
        return Vec::new();
    }
    let power = wanted.log10().floor() as i32;
    let steps = [(1.0, power), (2.0, power), (5.0, power), (1.0, power + 1), (2.0, power + 1)];
    // A step that is meant exactly may come out of the division a little too large.
    let step = steps.into_iter().find(|(m, p)| scaled(*m, *p) >= wanted * (1.0 - 1e-9));
    let Some((mantissa, power)) = step else { return Vec::new() };
    let size = scaled(mantissa, power);
    let slack = 1e-9;
    let (first, last) = ((from / size - slack).ceil(), (to / size + slack).floor());
    let n = (last - first).clamp(-1.0, 2.0 * most as f64) as i64;
    (0..=n).map(|i| scaled((first + i as f64) * mantissa, power)).collect()
}

/// The labels of a logarithmic axis: powers of ten alone where they are enough, else numbers between them.
fn log_ticks(from: f64, to: f64) -> Vec<f64> {
    let (first, last) = (from.log10().floor() as i32, to.log10().ceil() as i32);
    let decades = (last - first).max(1) as usize;
    let within = |mantissas: &[f64], every: usize| -> Vec<f64> {
        let powers = (first..=last).filter(|p| p.rem_euclid(every as i32) == 0);
        let values = powers.flat_map(|p| mantissas.iter().map(move |m| scaled(*m, p)));
        values.filter(|v| (from..=to).contains(v)).collect()
    };
    let choices = [&[1.0][..], &[1.0, 2.0, 5.0], &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0]];
    let enough = choices.iter().map(|m| within(m, decades.div_ceil(8))).find(|ticks| ticks.len() >= 4);
    enough.unwrap_or_else(|| within(choices[2], 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_numbers() {
        assert_eq!((round_up(0.0), round_up(0.4), round_up(0.97), round_up(1.0)), (1.0, 0.5, 1.0, 1.0));
        // f64: a power of ten and a product, whose roundings are 1e-16 of it.
        assert!((round_up(0.013) - 0.02).abs() < 1e-12);
        assert_eq!((round_up(f64::NAN), round_up(7.0)), (1.0, 10.0));
    }

    #[test]
    fn every_value_of_the_longest_axis_has_a_place() {
        let axis = Axis::linear("", f64::MIN, f64::MAX, 6);
        assert_eq!([f64::MIN, 0.0, f64::MAX].map(|value| axis.along(value)), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        assert_eq!(round_ticks(0.0, 1.0, 5, 0.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(round_ticks(0.0, 12_345.0, 6, 1.0), [0.0, 5000.0, 10_000.0]);
        assert_eq!(round_ticks(0.0, 2.0, 6, 1.0), [0.0, 1.0, 2.0], "there is no half step");
        assert_eq!(round_ticks(1.27, 1.42, 5, 0.0), [1.3, 1.35, 1.4]);
        assert_eq!(round_ticks(-0.3, 0.3, 6, 0.0), [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]);
        let most = f64::from(f32::MAX);
        assert!((2..=7).contains(&round_ticks(-most, most, 6, 0.0).len()));
        for (from, to) in
            [(-5e-324, 5e-324), (f64::MIN, f64::MAX), (0.0, f64::INFINITY), (f64::NAN, 1.0), (1e300, 1e300)]
        {
            assert!(round_ticks(from, to, 6, 0.0).len() <= 13, "{from} to {to}");
        }
    }

    #[test]
    fn logarithmic_ticks_are_neither_few_nor_many() {
        let labels = |from, to| log_ticks(from, to).into_iter().map(|v| Locale::EN.tick(v)).collect::<Vec<_>>();
        assert_eq!(labels(1.2, 9.5), ["1.5", "2", "3", "4", "5", "7"]);
        assert_eq!(labels(0.4, 11.0), ["0.5", "1", "2", "5", "10"]);
        assert_eq!(labels(0.0005, 50.0), ["0.001", "0.01", "0.1", "1", "10"]);
        assert!((4..=10).contains(&labels(1e-38, 1e38).len()), "{:?}", labels(1e-38, 1e38));
    }
}
