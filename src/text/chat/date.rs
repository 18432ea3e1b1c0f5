//! The day that a chat template is told, and how Python's `strftime` writes it.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

const MONTHS: [&str; 12] = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A day. What a template writes of its time is midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    year: u32,
    month: u32,
    day: u32,
}

/// `2026-11-26`.
impl FromStr for Date {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = text.len() == 10
            && text.bytes().enumerate().all(|(i, b)| if matches!(i, 4 | 7) { b == b'-' } else { b.is_ascii_digit() });
        let number = |from: usize, to: usize| text.get(from..to).filter(|_| plain)?.parse().ok();
        let date = (|| Some(Self { year: number(0, 4)?, month: number(5, 7)?, day: number(8, 10)? }))();
        date.filter(|d| d.year > 0 && (1..=12).contains(&d.month) && (1..=d.days_of_month(d.month)).contains(&d.day))
            .ok_or_else(|| Error::bad_input(format!("{text} is no date")).hint("write it as 2026-11-26"))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Date {
    fn days_of_month(&self, month: u32) -> u32 {
        let leap = self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// Which day of its year, from 1.
    fn day_of_year(&self) -> u32 {
        (1..self.month).map(|month| self.days_of_month(month)).sum::<u32>() + self.day
    }

    /// Which day of the week, from Sunday, which is 0.
    fn weekday(&self) -> usize {
        let years = self.year - 1;
        // The first of January of the year 1 was a Monday.
        ((years * 365 + years / 4 - years / 100 + years / 400 + self.day_of_year()) % 7) as usize
    }

    /// This day as `format` has it, in the words of the C locale.
    ///
    /// # Errors
    /// With what of `format` is not known.
    pub(super) fn written(&self, format: &str) -> Result<String, String> {
        let (mut out, mut chars) = (String::new(), format.chars());
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let (mut pad, mut what) = (true, chars.next());
            if what == Some('-') {
                (pad, what) = (false, chars.next());
            }
            let number = |n: u32, width: usize| if pad { format!("{n:0width$}") } else { n.to_string() };
            let (month, day) = (MONTHS[self.month as usize - 1], DAYS[self.weekday()]);
            out += &match what {
                Some('Y') => self.year.to_string(),
                Some('y') => number(self.year % 100, 2),
                Some('m') => number(self.month, 2),
                Some('d') => number(self.day, 2),
                Some('e') => {
                    if pad {
                        format!("{:2}", self.day)
                    } else {
                        self.day.to_string()
                    }
                }
                Some('j') => number(self.day_of_year(), 3),
                Some('B') => month.to_owned(),
                Some('b' | 'h') => month[..3].to_owned(),
                Some('A') => day.to_owned(),
                Some('a') => day[..3].to_owned(),
                Some('w') => self.weekday().to_string(),
                Some('H' | 'M' | 'S') => number(0, 2),
                Some('I') => number(12, 2),
                Some('f') => "000000".to_owned(),
                Some('p') => "AM".to_owned(),
                Some('F') => self.to_string(),
                Some('D') => self.written("%m/%d/%y")?,
                Some('T') => "00:00:00".to_owned(),
                Some('R') => "00:00".to_owned(),
                // A time without a zone.
                Some('Z' | 'z') => String::new(),
                Some('%') => "%".to_owned(),
                other => {
                    return Err(format!("strftime_now does not know %{}", other.map_or(String::new(), String::from)));
                }
            };
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_what_python_says() {
        // By `datetime(y, m, d).strftime(...)`.
        for (day, format, is) in [
            ("2026-11-26", "%d %b %Y", "26 Nov 2026"),
            (
                "2026-11-26",
                "%A, %-d %B %y; %j %w %F %H:%M:%S %I %p|%Z%%",
                "Thursday, 26 November 26; 330 4 2026-11-26 00:00:00 12 AM|%",
            ),
            ("2024-02-29", "%a %e %D", "Thu 29 02/29/24"),
            ("2000-03-01", "%a %e %-j", "Wed  1 61"),
            ("1900-03-01", "%a %j", "Thu 060"),
        ] {
            assert_eq!(day.parse::<Date>().unwrap().written(format).unwrap(), is, "{day} {format}");
        }
        for no in [
            "2026-02-29", "2026-13-01", "2026-00-10", "2026-1-01", "26-11-2026", "2026-11-26 ", "+026-11-26",
            "0000-01-01",
        ] {
            let e = no.parse::<Date>().unwrap_err();
            assert!(e.message().contains("is no date") && e.hint_text().unwrap().contains("2026-11-26"), "{no}");
        }
        assert!("2026-11-26".parse::<Date>().unwrap().written("%Q").unwrap_err().contains("%Q"));
    }
}
