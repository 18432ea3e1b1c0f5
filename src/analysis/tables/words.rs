//! The page of the glossary.

use crate::glossary::TERMS;
use std::fmt::Write;

/// `docs/glossary.md`: every term with its meaning and the command that shows it, as markdown.
pub fn glossary() -> String {
    let mut out = String::from(
        "# Glossary\n\n\
         The field's words in the order in which a prompt passes them. `pellucid glossary WORD` says the same in a terminal, in Chinese where it is asked to; \
         on the page of `pellucid explain`, words with a dotted line open their entry. This page is generated from `src/glossary.rs`.\n",
    );
    for term in TERMS {
        let _ =
            write!(out, "\n### {}\n\n{} See it: `pellucid {}`. 中文：{}。\n", term.en, term.means, term.seen, term.zh);
    }
    out
}
