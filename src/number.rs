//! Numbers as people read them, in figures, on terminals and on pages: how many digits, and with which signs.
//!
//! Numbers for programs (parquet, JSON, CSV, places in a figure) are written elsewhere, exactly.

/// How a language writes numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locale {
    /// Between the whole part and the decimals.
    point: char,
    /// Between thousands.
    group: char,
}

/// Decimals by size: a number of at least the size on the left has so many, until the next.
struct Style {
    decimals: &'static [(f64, usize)],
    /// From this size on, and below the first of `decimals`, there is an exponent with so many decimals before it.
    exponent: (f64, usize),
}

/// Values of a metric: three significant digits or so.
const METRIC: Style = Style { decimals: &[(0.01, 3), (1.0, 2)], exponent: (1e5, 2) };
/// Losses: three decimals, unless that would hide them.
const LOSS: Style = Style { decimals: &[(0.01, 3)], exponent: (1e5, 2) };
/// Any size: three significant digits or so.
const ANY: Style = Style { decimals: &[(0.1, 3)], exponent: (1e3, 2) };
/// Probabilities: so that small ones are not all 0.00.
const PROBABILITY: Style = Style { decimals: &[(0.01, 3)], exponent: (f64::INFINITY, 1) };
/// The same where there is more room.
const TABLE_PROBABILITY: Style = Style { decimals: &[(0.001, 3)], exponent: (f64::INFINITY, 1) };
/// Cells of a table: about four significant digits.
const TABLE: Style = Style { decimals: &[(0.001, 4), (10.0, 2), (1000.0, 1)], exponent: (1e7, 2) };
const PERCENT: Style = Style { decimals: &[(0.01, 2), (0.1, 1), (10.0, 0)], exponent: (1e6, 1) };

impl Default for Locale {
    fn default() -> Self {
        Self::EN
    }
}

impl Locale {
    /// 1,234.5
    pub const EN: Self = Self { point: '.', group: ',' };
    /// 1.234,5
    pub const DE: Self = Self { point: ',', group: '.' };
    /// 1 234,5, with a narrow space that does not break.
    pub const FR: Self = Self { point: ',', group: '\u{202f}' };

    fn styled(self, x: f64, style: &Style) -> String {
        let size = x.abs();
        let (beyond, digits) = style.exponent;
        let found = style.decimals.iter().rev().find(|(from, _)| size >= *from).filter(|_| size < beyond);
        self.local(match found {
            _ if !size.is_finite() => return x.to_string(),
            _ if size == 0.0 => "0".to_owned(),
            Some((_, decimals)) => format!("{x:.decimals$}"),
            None => format!("{x:.digits$e}"),
        })
    }

    fn local(self, text: String) -> String {
        if self.point == '.' { text } else { text.replace('.', &self.point.to_string()) }
    }

    /// So many decimals, whatever the size.
    pub fn fixed(self, x: f64, decimals: usize) -> String {
        self.local(format!("{x:.decimals$}"))
    }

    /// A value of a metric: three significant digits or so; whole numbers, such as ranks, as they are.
    pub fn number(self, x: f32) -> String {
        match x.abs() {
            size if size < 1e7 && size.fract() == 0.0 => format!("{:.0}", x + 0.0),
            _ => self.styled(f64::from(x), &METRIC),
        }
    }

    /// The same with a plus before what is above 0.
    pub fn signed(self, x: f64) -> String {
        format!("{}{}", if x > 0.0 { "+" } else { "" }, self.number(x as f32))
    }

    /// The same without zeros at the end.
    pub fn trimmed(self, x: f64) -> String {
        let text = self.number(x as f32);
        if text.contains(self.point) && !text.contains('e') {
            text.trim_end_matches('0').trim_end_matches(self.point).to_owned()
        } else {
            text
        }
    }

    /// A share in percent.
    pub fn percent(self, share: f64) -> String {
        let percent = share * 100.0;
        if percent.is_finite() { format!("{} %", self.styled(percent, &PERCENT)) } else { share.to_string() }
    }

    /// A number in a sentence, without an exponent, as people write it: two decimals, or two digits of what is small.
    pub fn plain(self, x: f64) -> String {
        let size = x.abs();
        if !x.is_finite() || size >= 1e9 {
            return minus(&self.number(x as f32));
        }
        let text = match size {
            0.0 => "0".to_owned(),
            _ if x.fract() == 0.0 => format!("{x:.0}"),
            s if s >= 100.0 => format!("{x:.1}"),
            s if s >= 1.0 => format!("{x:.2}"),
            s => {
                let decimals = (-s.log10().floor() as usize + 1).clamp(2, 12);
                format!("{x:.decimals$}")
            }
        };
        let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        minus(&self.local(if short == "-0" { "0" } else { short }.to_owned()))
    }

    /// A share in percent in a sentence, so that neither what is small nor what is nearly all is hidden.
    pub fn plain_percent(self, share: f64) -> String {
        match share * 100.0 {
            p if p > 99.0 && p < 100.0 => {
                // Two digits of what is missing.
                let decimals = ((100.0 - p).log10().floor().abs() as usize + 1).clamp(1, 9);
                let text = format!("{p:.decimals$}");
                format!("{} %", self.local(if text.starts_with("100") { "99.999999999".to_owned() } else { text }))
            }
            p if p.abs() >= 1.0 => format!("{} %", minus(&self.local(format!("{p:.1}")))),
            p => format!("{} %", self.plain(p)),
        }
    }

    /// A probability: three significant digits.
    pub fn probability(self, p: f32) -> String {
        self.styled(f64::from(p), &PROBABILITY)
    }

    /// A probability in a sentence or a table.
    pub fn long_probability(self, p: f64) -> String {
        self.styled(p, &TABLE_PROBABILITY)
    }

    /// A probability where there is no room: two decimals without the leading zero.
    pub fn short_probability(self, p: f32) -> String {
        self.local(match p {
            _ if p >= 0.995 => "1.0".to_owned(),
            _ if p > 0.0 && p < 0.005 => "<.01".to_owned(),
            _ => format!("{p:.2}").trim_start_matches('0').to_owned(),
        })
    }

    /// A loss: three decimals, unless that would hide it.
    pub fn loss(self, nats: f32) -> String {
        self.styled(f64::from(nats), &LOSS)
    }

    /// Three significant digits or so of a number of any size.
    pub fn any(self, x: f32) -> String {
        self.styled(f64::from(x), &ANY)
    }

    /// A number in a table: about four significant digits.
    pub fn in_table(self, x: f64) -> String {
        // It keeps the sign of a zero, as the value has it.
        if x == 0.0 { format!("{x}") } else { self.styled(x, &TABLE) }
    }

    /// An effect where there is little room: as many decimals as the largest, `most`, needs for two digits, no leading zero,
    /// and nothing if it is too weak for them.
    pub fn in_cell(self, value: f64, most: f64) -> String {
        if !value.is_finite() {
            return value.to_string();
        }
        let decimals = match most {
            100.0.. => 0,
            10.0.. => 1,
            0.1.. => 2,
            0.01.. => 3,
            _ => return String::new(),
        };
        let text = format!("{value:.decimals$}");
        if text.trim_matches(['-', '0', '.']).is_empty() {
            return String::new();
        }
        self.local(match text.strip_prefix("-0.") {
            Some(rest) => format!("-.{rest}"),
            None => text.strip_prefix("0.").map_or(text.clone(), |rest| format!(".{rest}")),
        })
    }

    /// The same in a column of a terminal: two digits of the largest, the leading zero kept; nothing is less than no effect.
    pub fn in_column(self, value: f64, most: f64) -> String {
        let text = match (value.abs(), most) {
            (size, _) if size >= 999.5 && size.is_finite() => format!("{value:.0e}"),
            (_, 0.1..) => format!("{value:.2}"),
            (_, 0.01..) => format!("{value:.3}"),
            _ => format!("{value:.0e}"),
        };
        let nothing = text.trim_matches(['-', '0', '.']).is_empty();
        self.local(if nothing { text.trim_start_matches('-').to_owned() } else { text })
    }

    /// A standard error beside a mean that is written as `mean`: two significant digits, or as many decimals as the mean has where these are
    /// more. 0 only where it is 0.
    pub fn error(self, mean: &str, error: f64) -> String {
        if error == 0.0 || !error.is_finite() {
            return if error == 0.0 { "0".to_owned() } else { error.to_string() };
        }
        let two = usize::try_from(1 - error.abs().log10().floor() as i32).unwrap_or(0);
        let beside = |(_, decimals): (&str, &str)| decimals.bytes().take_while(u8::is_ascii_digit).count();
        self.local(match two {
            3.. if mean.contains('e') => format!("{error:.1e}"),
            ..6 if error < 1e5 => format!("{error:.*}", two.max(mean.split_once(self.point).map_or(0, beside))),
            _ => format!("{error:.1e}"),
        })
    }

    /// The same in a cell of effects up to `most`: of what would be too weak for one, a single digit.
    pub fn error_in_cell(self, error: f64, most: f64) -> String {
        let text = self.in_cell(error, most);
        if !text.is_empty() || error == 0.0 {
            return if text.is_empty() { "0".to_owned() } else { text };
        }
        match usize::try_from(-error.abs().log10().floor() as i32) {
            Ok(decimals @ ..4) => self.local(format!("{error:.decimals$}").trim_start_matches('0').to_owned()),
            _ => format!("{error:.0e}"),
        }
    }

    /// A number on an axis, short.
    pub fn tick(self, y: f64) -> String {
        self.local(if y == 0.0 {
            "0".to_owned()
        } else if !(0.001..1e5).contains(&y.abs()) {
            format!("{y:e}")
        } else {
            format!("{y:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
        })
    }

    /// An amount in the unit that suits its size, to three digits: `247 MFLOP`, `36 KiB`. Prefixes of bytes are powers of 1024.
    pub fn amount(self, x: f64, unit: &str) -> String {
        let (factor, prefix) = Self::prefix(x, unit);
        let x = x / factor;
        let text = match x.abs() {
            size if size < 9.995 => format!("{x:.2}"),
            size if size < 99.95 => format!("{x:.1}"),
            _ => format!("{x:.0}"),
        };
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        format!("{} {prefix}{unit}", self.local(text.to_owned()))
    }

    /// The prefix that suits an amount, and what it stands for.
    pub fn prefix(x: f64, unit: &str) -> (f64, &'static str) {
        let (step, prefixes) = match unit {
            "B" => (1024f64, ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]),
            _ => (1000f64, ["", "k", "M", "G", "T", "P", "E"]),
        };
        // What would be written as 1000 of the smaller one has the larger.
        let power = (0..7).rev().find(|power| x.abs() >= 0.9995 * step.powi(*power)).unwrap_or(0);
        (step.powi(power), prefixes[power as usize])
    }

    /// A time in the unit that suits it, to three digits.
    pub fn seconds(self, x: f64) -> String {
        match x {
            x if x >= 1.0 => self.amount(x, "s"),
            x if x >= 1e-3 => self.amount(x * 1e3, "ms"),
            x => self.amount(x * 1e6, "µs"),
        }
    }

    /// A count, in groups of three digits.
    pub fn count(self, n: u64) -> String {
        let digits = n.to_string();
        let groups: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
        groups.join(&self.group.to_string())
    }
}

/// A minus that is as wide as a plus.
fn minus(text: &str) -> String {
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_people_write_them() {
        let shown = [0.0, 1.0, -0.5, 12.34, 0.000_123, 1.5, 8.976, -17.0].map(|x| Locale::EN.plain(x));
        assert_eq!(shown, ["0", "1", "−0.5", "12.34", "0.00012", "1.5", "8.98", "−17"]);
        let shares = [0.998_68, 0.5, 0.000_064, 0.0, 1.0, 0.999_999_999_999_9].map(|x| Locale::EN.plain_percent(x));
        assert_eq!(shares, ["99.87 %", "50.0 %", "0.0064 %", "0 %", "100.0 %", "99.999999999 %"]);
    }

    #[test]
    fn a_standard_error_is_0_only_where_it_is() {
        let beside = |mean: &str, error: f64| Locale::EN.error(mean, error);
        assert_eq!(beside("77", 3.12), "3.1");
        assert_eq!(beside("77", 31.4), "31");
        assert_eq!(beside("0.900", 0.0104), "0.010");
        assert_eq!(beside("0.900", 0.25), "0.250");
        assert_eq!(beside("0.900", 0.000_42), "0.00042");
        assert_eq!(beside("-1.20", 0.000_004_2), "4.2e-6");
        assert_eq!(beside("1.20e-3", 0.000_42), "4.2e-4");
        assert_eq!(beside("1.20e-3", 0.42), "0.42");
        assert_eq!(beside("3", 0.0), "0");
        assert_eq!(beside("3", f64::NAN), "NaN");
        assert_eq!(Locale::DE.error("1,20", 0.34), "0,34");
        assert_eq!(Locale::DE.error("1,2345", 0.34), "0,3400");
        let in_cell = [0.123, 0.004, 0.000_4, 0.0, 0.03].map(|error| Locale::EN.error_in_cell(error, 1.0));
        assert_eq!(in_cell, [".12", ".004", "4e-4", "0", ".03"]);
        assert_eq!(Locale::EN.error_in_cell(0.03, 20.0), ".03");
        assert_eq!(Locale::FR.error_in_cell(0.004, 1.0), ",004");
        // Whatever its size.
        for e in -30..30 {
            for error in [1.0, 3.0, 9.96].map(|x: f64| x * 10f64.powi(e)) {
                for text in [beside("0.12", error), Locale::EN.error_in_cell(error, 1.0)] {
                    let told = if text.starts_with('.') { format!("0{text}") } else { text.clone() };
                    let told: f64 = told.parse().unwrap();
                    // A single digit is at most a third off: 1.4 as 1, or 1.5 as 2.
                    assert!((told - error).abs() <= error / 2.0, "{error:e}: {text}");
                }
            }
        }
    }
}
