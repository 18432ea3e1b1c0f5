//! `pellucid glossary`: what a word of the field means.

use clap::Args;

use super::out::Out;
use crate::analysis::tables::terms;
use crate::error::{Error, Result};
use crate::glossary::{TERMS, find};
use crate::table::Format;

/// What the field's words mean, in plain English; in Chinese too
#[derive(Args, Debug)]
#[command(
    after_help = "A word finds a term by its name in either language, and by a part of its name where none is called so."
)]
pub(super) struct Glossary {
    /// One word [default: all]
    word: Option<String>,
    /// The language of what is said; `both` says both
    #[arg(long, value_name = "LANG", default_value = "en")]
    lang: crate::analysis::explain::Lang,
}

impl Glossary {
    pub fn run(&self, out: &Out) -> Result<()> {
        use crate::analysis::explain::Lang;
        let chosen = match &self.word {
            None => TERMS.iter().collect(),
            Some(word) => find(word),
        };
        if let (Some(word), true) = (&self.word, chosen.is_empty()) {
            let names = TERMS.iter().flat_map(|term| term.en.split(", "));
            let known = "without a word it lists all".to_owned();
            return Err(Error::no_such(format!("the glossary has no `{word}`")).nearest_or(word, names, known));
        }
        if out.format != Format::Table {
            return out.rows(&terms(chosen));
        }
        for (i, term) in chosen.into_iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n" };
            out.print(|w| {
                write!(w, "{gap}")?;
                if self.lang != Lang::Zh {
                    writeln!(w, "{}\n  {}", term.en, term.means)?;
                }
                if self.lang != Lang::En {
                    writeln!(w, "{}\n  {}", term.zh, term.means_zh)?;
                }
                writeln!(w, "  pellucid {}", term.seen)
            })?;
        }
        Ok(())
    }
}
