//! The page around its sections: head, languages, contents, script.

use std::fmt::Write as _;

use super::words::{Tongue, text};
use super::write::{At, Writer, escape, token};
use crate::analysis::explain::facts::Facts;
use crate::table::visible_prose;

/// The only style sheet.
pub const STYLE: &str = include_str!("style.css");

/// The only script, without which the page is complete too.
pub const SCRIPT: &str = include_str!("script.js");

/// What the page may load and run: nothing but its own style sheet and script, by their SHA-256.
pub const CONTENT_SECURITY: &str = "default-src 'none'; style-src 'sha256-NMSqcjtdTBbFygQxTH/ZuFKtHimh28/tdN4WelgzP1E='; script-src 'sha256-YVK4HjxJYusrVnnpdOCDRvrupJNLcsm3E4CTI3Cneg4='; img-src data:; base-uri 'none'; form-action 'none'";

/// A title of more characters is cut.
const TITLE: usize = 80;

/// Sections, as contents list them.
const SECTIONS: [&str; 15] = [
    "answer", "tokens", "embed", "position", "attention", "ffn", "stream", "board", "sampling", "traces", "cost",
    "mechanisms", "compare", "limits", "glossary",
];

/// The prompt, as one line.
fn prompt(facts: &Facts) -> String {
    let whole: String = match &facts.prompt.text {
        Some(text) => text.clone(),
        None => facts.prompt.tokens.iter().map(|token| &*token.text).collect(),
    };
    let mut shown = visible_prose(&whole);
    if let Some((end, _)) = shown.char_indices().nth(TITLE) {
        shown.truncate(end);
        shown.push('…');
    }
    escape(&shown)
}

/// What comes before the first language.
pub fn head(facts: &Facts, tongues: &[Tongue]) -> String {
    let (made, lang) = (escape(&facts.provenance.to_json()), tongues[0].lang());
    let title = format!("{} · {}", prompt(facts), escape(&facts.model));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"{lang}\"><head><meta charset=\"utf-8\"/><meta http-equiv=\"Content-Security-Policy\" content=\"{CONTENT_SECURITY}\"/><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/><meta name=\"color-scheme\" content=\"light dark\"/><meta name=\"referrer\" content=\"no-referrer\"/><title>{title}</title><link rel=\"icon\" href=\"data:,\"/><meta name=\"pellucid\" content=\"{made}\"/><style>{STYLE}</style></head><body>"
    );
    if tongues.len() > 1 {
        // Without a style sheet, one language comes after the other.
        let _ = write!(
            out,
            "<header class=\"tongues\"><fieldset><legend lang=\"en\">Language <span lang=\"zh-Hans\">语言</span></legend>"
        );
        for (i, tongue) in tongues.iter().enumerate() {
            let (code, name, lang) = (tongue.code(), text("tongue", *tongue), tongue.lang());
            let checked = if i == 0 { " checked=\"\"" } else { "" };
            let _ = write!(
                out,
                "<input type=\"radio\" name=\"tongue\" id=\"tongue-{code}\" class=\"{code}\"{checked}/><label for=\"tongue-{code}\" lang=\"{lang}\">{name}</label> "
            );
        }
        out.push_str("</fieldset></header>");
    }
    out
}

/// Begins a language: its heading and contents.
pub fn begin(w: &mut Writer<'_>) {
    let (lang, top) = (w.tongue.lang(), w.id("top"));
    let put =
        [("model", token(&w.facts.model)), ("prompt", format!("<bdi translate=\"no\">{}</bdi>", prompt(w.facts)))];
    let (title, intro) = (w.say("page.title", &put), w.plain("page.intro"));
    let _ = write!(w.out, "\n<main lang=\"{lang}\" id=\"{top}\"><header><h1>{title}</h1>");
    if w.facts.is_unlike() {
        let put = [("p", w.made("foreseen", None, At::percent)), ("guess", w.made("guess", None, At::percent))];
        let said = w.say("page.unlike", &put);
        let _ = write!(w.out, "<p role=\"note\"><strong>{said}</strong></p>");
    }
    let _ = write!(w.out, "<p>{intro}</p></header>");
    let contents = w.plain("page.contents");
    let _ = write!(w.out, "<nav aria-label=\"{contents}\"><ol>");
    for name in SECTIONS.into_iter().filter(|name| is_there(w.facts, name)) {
        let (id, short) = (w.id(name), w.plain(&format!("{name}.short")));
        let _ = write!(w.out, "<li><a href=\"#{id}\">{short}</a></li>");
    }
    w.raw("</ol></nav>");
}

/// Whether the page has this section.
fn is_there(facts: &Facts, name: &str) -> bool {
    match name {
        "board" | "sampling" => facts.candidates.len() > 1,
        "traces" => !facts.generated.is_empty(),
        "compare" => facts.beside.is_some(),
        _ => true,
    }
}

/// Ends a language.
pub fn end(w: &mut Writer<'_>) {
    let made = w.say("page.made", &[("version", format!("<code>{}</code>", env!("CARGO_PKG_VERSION")))]);
    let _ = write!(w.out, "<footer><p>{made}</p></footer></main>");
}

/// Ends the page.
pub fn foot(out: &mut String) {
    let _ = write!(out, "\n<script>{SCRIPT}</script></body></html>\n");
}
