//! What the page cannot show, and its words.

use std::fmt::Write as _;

use super::write::Writer;

/// Terms that are explained.
const TERMS: [&str; 11] =
    ["token", "embedding", "position", "attention", "head", "ffn", "stream", "logit", "temperature", "top_p", "cache"];

/// What it cannot show, and the glossary.
pub fn limits(w: &mut Writer<'_>) {
    w.section("limits");
    let items = ["cause", "one", "lens", "names", "truth", "other"];
    w.raw("<ul>");
    for item in items {
        let said = w.plain(&format!("limits.{item}"));
        let _ = write!(w.out, "<li>{said}</li>");
    }
    w.raw("</ul></section>");
    w.section("glossary");
    w.raw("<dl>");
    for term in TERMS {
        let (name, means) = (w.plain(&format!("term.{term}")), w.plain(&format!("term.{term}.means")));
        let id = w.id(&format!("term-{term}"));
        let _ = write!(w.out, "<dt id=\"{id}\">{name}</dt><dd>{means}</dd>");
    }
    w.raw("</dl></section>");
}
