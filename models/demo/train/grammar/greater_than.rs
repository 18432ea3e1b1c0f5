//! Greater than: what lasts ends later than it began (Hanna et al. 2023, "How does GPT-2 compute greater-than?"). Years
//! are written in two halves, so that each half is one token.

use std::ops::RangeInclusive;

use rand::Rng;

use super::words::{CENTURIES, EVENTS};
use super::{Random, Split, Task, held_out, of_split, pick};

/// `{e}` is what lasts, `{c}` the century, `{y}` the year in it; the end's year in the same century follows.
pub const FRAMES: &[&str] = &[
    "The {e} lasted from {c} {y} to {c}",
    "The {e} began in {c} {y} and ended in {c}",
    "There was a {e} from {c} {y} to {c}",
    "From {c} {y} to {c}",
];

/// The years of a century that something can begin or end in.
pub const YEARS: RangeInclusive<u32> = 2..=99;
/// Those that something can begin in: some are left to end in.
pub const BEGINNINGS: RangeInclusive<u32> = 2..=97;

/// Whether no event begins in this year in training.
pub fn year_is_held_out(century: u32, year: u32) -> bool {
    held_out(&["year", &century.to_string(), &year.to_string()], 5)
}

/// The second half of a year as it is written, with the space before it.
pub fn written(year: u32) -> String {
    format!(" {year:02}")
}

/// One sentence.
pub fn task(random: &mut Random, split: Split) -> Task {
    with_year(random, split).0
}

/// One sentence, and the year of its century in which it begins.
pub fn with_year(random: &mut Random, split: Split) -> (Task, u32) {
    let (century, year) = of_split(split, || {
        let drawn = (*pick(random, CENTURIES), random.random_range(BEGINNINGS));
        (drawn, year_is_held_out(drawn.0, drawn.1))
    });
    let frame = *pick(random, FRAMES);
    let event = *pick(random, EVENTS);
    let prompt = frame.replace("{e}", event).replace("{c}", &century.to_string()).replace("{y}", &format!("{year:02}"));
    let end = random.random_range(year + 1..=*YEARS.end());
    let rest = if frame.contains("{e}") { ".".to_owned() } else { format!(" there was a {event}.") };
    let foils = (*YEARS.start()..=year).map(written).collect();
    (Task { prompt, answer: written(end), foils, rest }, year)
}
