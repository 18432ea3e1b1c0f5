//! Writes the page: strings of the table of words, tokens, and numbers that say which table they are from.

use std::fmt::Write as _;

use super::words::{Tongue, text};
use crate::analysis::explain::facts::Facts;
use crate::glossary::by_key;
use crate::number::Locale;
use crate::session::words::shell;
use crate::table::{visible, visible_prose};
pub(crate) use crate::visible::escape;

/// A token or text of more characters is cut.
const LONGEST: usize = 80;

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
        self.shows(value, &Locale::EN.plain_percent(value))
    }

    /// A count.
    pub fn count(self, value: f64) -> String {
        self.shows(value, &Locale::EN.count(value as u64))
    }

    /// A number with three digits or so.
    pub fn number(self, value: f64) -> String {
        self.shows(value, &Locale::EN.plain(value))
    }

    /// The same with its sign.
    pub fn signed(self, value: f64) -> String {
        self.shows(value, &format!("{}{}", if value > 0.0 { "+" } else { "" }, Locale::EN.plain(value)))
    }

    /// An amount with a unit that suits it.
    pub fn amount(self, value: f64, unit: &str) -> String {
        self.shows(value, &Locale::EN.amount(value, unit))
    }
}

/// The first place of a string, with what stands before and behind it.
fn place(said: &str) -> Option<(&str, &str, &str)> {
    let (before, of) = said.split_once('{')?;
    let (name, after) = of.split_once('}')?;
    Some((before, name, after))
}

/// Whether a number that is put somewhere is one thing, and not several.
fn is_one(html: &str) -> bool {
    html.strip_suffix("</data>").and_then(|html| html.rsplit('>').next()) == Some("1")
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
        let linked = self.linked(text(key, self.tongue));
        let mut rest = &*linked;
        while let Some((before, name, after)) = place(rest) {
            said.push_str(before);
            let (name, forms) = name.split_once('?').map_or((name, None), |(name, forms)| (name, Some(forms)));
            let found = put.iter().find(|(known, _)| *known == name);
            debug_assert!(found.is_some(), "{key}: {name}");
            let html = found.map_or("–", |(_, html)| html);
            said.push_str(match forms.and_then(|forms| forms.split_once(':')) {
                None => html,
                Some((one, _)) if is_one(html) => one,
                Some((_, many)) => many,
            });
            rest = after;
        }
        said.push_str(rest);
        said
    }

    /// A string in which `[key:words]` became words that say on request what they mean.
    fn linked(&self, said: &str) -> String {
        let mut out = String::new();
        let mut rest = said;
        while let Some((before, key, words, after)) = rest.split_once('[').and_then(|(before, of)| {
            let (link, after) = of.split_once(']')?;
            let (key, words) = link.split_once(':')?;
            Some((before, key, words, after))
        }) {
            debug_assert!(by_key(key).is_some(), "{key}");
            let id = self.id(&format!("term-{key}"));
            // A line may break around a button whatever stands there; with its brackets and stops it is one.
            let (before, opening) = match before.chars().next_back().filter(|c| "(（“".contains(*c)) {
                Some(c) => before.split_at(before.len() - c.len_utf8()),
                None => (before, ""),
            };
            let closing = after.chars().take_while(|c| ")）”,.:;，。：；、".contains(*c)).map(char::len_utf8).sum();
            let (closing, after) = after.split_at(closing);
            let button = format!("<button type=\"button\" class=\"term\" popovertarget=\"{id}\">{words}</button>");
            let _ = match (opening, closing) {
                ("", "") => write!(out, "{before}{button}"),
                _ => write!(out, "{before}<span class=\"one-line\">{opening}{button}{closing}</span>"),
            };
            rest = after;
        }
        out + rest
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
            let words = escape(&visible_prose(&shell(command)));
            let _ = write!(
                self.out,
                "<details><summary>{}</summary><pre><code translate=\"no\">{words}</code></pre></details>",
                self.plain("yourself")
            );
        }
        let careful = self.say(&format!("{name}.careful"), &[]);
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

#[cfg(test)]
mod tests {
    use super::*;

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
