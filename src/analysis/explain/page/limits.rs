//! What the page cannot show, and its words.

use std::fmt::Write as _;

use super::words::Tongue;
use super::write::{Writer, escape};
use crate::glossary::TERMS;

/// What it cannot show, and the glossary.
pub fn limits(w: &mut Writer<'_>) {
    w.section("limits");
    let items = ["cause", "one", "lens", "names", "truth", "other"];
    w.raw("<ul>");
    for item in items {
        let said = w.say(&format!("limits.{item}"), &[]);
        let _ = write!(w.out, "<li>{said}</li>");
    }
    w.raw("</ul></section>");
    w.section("glossary");
    w.raw("<dl>");
    // Each is the list's entry, and opens where its word is pressed. Those that no sentence links are left out.
    for term in TERMS {
        let id = w.id(&format!("term-{}", term.key));
        if !w.out.contains(&format!("popovertarget=\"{id}\"")) {
            continue;
        }
        let (name, means) = match w.tongue {
            Tongue::En => (term.en, term.means),
            Tongue::Zh => (term.zh, term.means_zh),
        };
        let (name, means) = (escape(name), escape(means));
        let _ = write!(w.out, "<div id=\"{id}\" popover=\"\"><dt>{name}</dt><dd>{means}</dd></div>");
    }
    w.raw("</dl></section>");
}
