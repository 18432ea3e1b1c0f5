//! Writes the page: strings of the table of words, tokens, and numbers that say which table they are from.

use std::fmt::Write as _;

use super::words::{Tongue, text};
use crate::analysis::explain::facts::Facts;
use crate::number::Locale;
use crate::table::visible;

/// A token or text of more characters is cut.
const LONGEST: usize = 80;

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A token as text that cannot be taken for anything else: visible, cut where it is very long, and apart from the direction of the text around.
pub fn token(text: &str) -> String {
    let mut shown = visible(text);
    if let Some((end, _)) = shown.char_indices().nth(LONGEST) {
        shown.truncate(end);
        shown.push('…');
    }
    format!("<bdi translate=\"no\">{}</bdi>", escape(&shown))
}

/// Where a number is from.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The table.
    pub table: &'static str,
    /// Its row, counted from 0.
    pub row: usize,
    /// The column.
    pub column: &'static str,
}

impl At {
    /// A number of this table, row and column.
    pub const fn of(table: &'static str, row: usize, column: &'static str) -> Self {
        Self { table, row, column }
    }

    /// The number, and how it is shown.
    pub fn shows(self, value: f64, shown: &str) -> String {
        let Self { table, row, column } = self;
        format!(
            "<data value=\"{value}\" data-table=\"{table}\" data-row=\"{row}\" data-column=\"{column}\">{}</data>",
            escape(shown)
        )
    }

    /// A probability or share, in percent.
    pub fn percent(self, value: f64) -> String {
        self.shows(value, &percent(value))
    }

    /// A count.
    pub fn count(self, value: f64) -> String {
        self.shows(value, &Locale::EN.count(value as u64))
    }

    /// A number with three digits or so.
    pub fn number(self, value: f64) -> String {
        self.shows(value, &plain(value))
    }

    /// The same with its sign.
    pub fn signed(self, value: f64) -> String {
        self.shows(value, &format!("{}{}", if value > 0.0 { "+" } else { "" }, plain(value)))
    }

    /// An amount with a unit that suits it.
    pub fn amount(self, value: f64, unit: &str) -> String {
        self.shows(value, &Locale::EN.amount(value, unit))
    }
}

/// A share in percent, so that neither what is small nor what is nearly all is hidden.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p > 99.0 && p < 100.0 => {
            // Two digits of what is missing.
            let decimals = ((100.0 - p).log10().floor().abs() as usize + 1).clamp(1, 9);
            let text = format!("{p:.decimals$}");
            format!("{} %", if text.starts_with("100") { "99.999999999" } else { &text })
        }
        p if p.abs() >= 1.0 => format!("{} %", minus(&format!("{p:.1}"))),
        p => format!("{} %", plain(p)),
    }
}

/// A number without an exponent, as people write it: three digits or so, or two of what is small.
pub fn plain(x: f64) -> String {
    let size = x.abs();
    if !x.is_finite() || size >= 1e9 {
        return minus(&Locale::EN.number(x as f32));
    }
    let text = match size {
        0.0 => "0".to_owned(),
        _ if x.fract() == 0.0 => format!("{x:.0}"),
        s if s >= 10.0 => format!("{x:.1}"),
        s if s >= 1.0 => format!("{x:.2}"),
        s => {
            let decimals = (-s.log10().floor() as usize + 1).clamp(2, 12);
            format!("{x:.decimals$}")
        }
    };
    let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    minus(if short == "-0" { "0" } else { short })
}

/// A minus that is as wide as a plus.
fn minus(text: &str) -> String {
    text.replace('-', "−")
}

/// Writes the page of one language.
pub struct Writer<'a> {
    /// What it says.
    pub facts: &'a Facts,
    /// In which language.
    pub tongue: Tongue,
    /// What is written so far.
    pub out: String,
}

/// Put in the places of a string: a name and HTML.
pub type Put<'a> = (&'a str, String);

impl<'a> Writer<'a> {
    /// Writes nothing yet.
    pub fn new(facts: &'a Facts, tongue: Tongue) -> Self {
        Self { facts, tongue, out: String::new() }
    }

    /// A string of the table of words, with its places filled.
    pub fn say(&self, key: &str, put: &[Put<'_>]) -> String {
        // In one go: what is put there may have braces itself.
        let mut said = String::new();
        let mut rest = text(key, self.tongue);
        while let Some((before, name, after)) =
            rest.split_once('{').and_then(|(before, of)| of.split_once('}').map(|(name, after)| (before, name, after)))
        {
            said.push_str(before);
            let found = put.iter().find(|(known, _)| *known == name);
            debug_assert!(found.is_some(), "{key}: {name}");
            said.push_str(found.map_or("–", |(_, html)| html));
            rest = after;
        }
        said.push_str(rest);
        said
    }

    /// A string without places.
    pub fn plain(&self, key: &str) -> &'static str {
        text(key, self.tongue)
    }

    /// An id that is the page's alone.
    pub fn id(&self, name: &str) -> String {
        format!("{}-{name}", self.tongue.code())
    }

    /// HTML as it is.
    pub fn raw(&mut self, html: &str) {
        self.out.push_str(html);
    }

    /// A paragraph.
    pub fn p(&mut self, key: &str, put: &[Put<'_>]) {
        let said = self.say(key, put);
        let _ = write!(self.out, "<p>{said}</p>");
    }

    /// A paragraph that answers one of the ten questions.
    pub fn answers(&mut self, questions: &str, key: &str, put: &[Put<'_>]) {
        let said = self.say(key, put);
        let _ = write!(self.out, "<p data-answers=\"{questions}\">{said}</p>");
    }

    /// Begins a section: its question, as a heading.
    pub fn section(&mut self, name: &str) {
        let (id, question) = (self.id(name), self.plain(&format!("{name}.q")));
        let _ = write!(self.out, "\n<section id=\"{id}\"><h2>{question}</h2>");
    }

    /// What opens at the end of a section: look closer (`html`), do it yourself, careful; and its end.
    pub fn close(&mut self, name: &str, closer: &str, command: &[String]) {
        if !closer.is_empty() {
            let _ = write!(self.out, "<details><summary>{}</summary>{closer}</details>", self.plain("closer"));
        }
        if !command.is_empty() {
            let words = escape(&visible_command(command));
            let _ = write!(
                self.out,
                "<details><summary>{}</summary><pre><code translate=\"no\">{words}</code></pre></details>",
                self.plain("yourself")
            );
        }
        let careful = self.plain(&format!("{name}.careful"));
        let _ = write!(
            self.out,
            "<details><summary>{}</summary><p>{careful}</p></details></section>",
            self.plain("careful")
        );
    }

    /// A number of the table `explain`, shown by `how`; nothing where there is none.
    pub fn made(&self, name: &str, place: Option<u32>, how: impl Fn(At, f64) -> String) -> String {
        self.facts
            .number(name, place)
            .map_or_else(|| "–".to_owned(), |(row, of)| how(At::of("explain", row, "value"), of.value))
    }

    /// A count of the table `explain`.
    pub fn count(&self, name: &str) -> String {
        self.made(name, None, At::count)
    }
}

/// A command as a shell takes it, in which nothing is invisible.
fn visible_command(command: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./,:+@%".contains(c);
    let word = |word: &String| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", crate::table::visible_prose(word).replace('\'', "'\\''")),
    };
    command.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_people_write_them() {
        let shown = [0.0, 1.0, -0.5, 12.34, 0.000_123, 1.5, 8.976, -17.0].map(plain);
        assert_eq!(shown, ["0", "1", "−0.5", "12.3", "0.00012", "1.5", "8.98", "−17"]);
        let shares = [0.998_68, 0.5, 0.000_064, 0.0, 1.0, 0.999_999_999_999_9].map(percent);
        assert_eq!(shares, ["99.87 %", "50.0 %", "0.0064 %", "0 %", "100.0 %", "99.999999999 %"]);
    }

    #[test]
    fn tokens_stay_text() {
        assert_eq!(token("<script>"), "<bdi translate=\"no\">&lt;script&gt;</bdi>");
        assert_eq!(token("a\u{202e}b"), "<bdi translate=\"no\">a\\u{202e}b</bdi>");
        assert_eq!(token("\"&"), "<bdi translate=\"no\">&quot;&amp;</bdi>");
        let long = token(&"x".repeat(10_000));
        assert!(long.len() < 200 && long.contains('…'), "{long}");
    }

    #[test]
    fn what_is_put_in_places_is_no_place() {
        // As a token may spell one.
        assert_eq!(token("{p}"), "<bdi translate=\"no\">{p}</bdi>");
    }
}
