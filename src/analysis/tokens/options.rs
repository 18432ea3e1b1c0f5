//! Tokens as a question: nothing to choose.

use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::tokens;
use crate::analysis::TokenRow;
use crate::error::Result;
use crate::model::Model;
use crate::session::{Analysis, On, Prompts, Results, Sink};
use crate::table::{Format, Provenance, Rows, visible, write_rows};
use crate::text::{ModelSource, Prompt, Tokenizer};
use crate::view::Seen;
use crate::view::viewed::{Shown, Told};

/// What the model sees of a text: pieces and their numbers, not letters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Tokens {}

/// A tokenizer, and where it came from.
pub struct Splitting {
    /// The model's files.
    pub source: ModelSource,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
}

impl On for Splitting {
    fn identity(&self) -> Value {
        json!({ "model": self.source.id })
    }

    fn provenance(&self, command: Vec<String>) -> Provenance {
        let spec = Model::read_spec(&self.source).ok().and_then(|(_, s)| serde_json::to_value(s).ok());
        Provenance {
            model: self.source.id.clone(),
            revision: self.source.revision.clone(),
            spec: spec.unwrap_or_default(),
            command,
            complete: true,
            ..Provenance::default()
        }
    }
}

impl Analysis for Tokens {
    const NAME: &'static str = "tokens";
    const RESULTS: Results = Results::FolderIfNamed;
    type Tables = TokenRow;
    type On = Splitting;
    type Input = Prompts;

    fn run(&self, _: &Splitting, input: &Prompts, out: &mut Sink<'_>) -> Result<()> {
        out.begin::<TokenRow>()?;
        input.prompts.iter().flat_map(tokens).try_for_each(|row| out.push(row))
    }
}

/// Rows of a prompt that are shown as a table for people. A cell of such a table takes hundreds of bytes until it is printed.
const SHOWN: usize = 1000;

impl Seen for TokenRow {
    const DRAWN: bool = false;

    fn words(_: &mut dyn Rows<Self>, _: &Shown, told: &Told<'_>, w: &mut dyn Write) -> Result<()> {
        for prompt in told.prompts {
            summary(prompt, w)?;
            write_rows(&tokens(prompt).take(SHOWN).collect::<Vec<_>>(), Format::Table, w)?;
            let more = prompt.tokens.len().saturating_sub(SHOWN);
            if more > 0 {
                let plural = if more == 1 { "token is" } else { "tokens are" };
                (told.note)(&format!(
                    "{more} more {plural} not shown; all are in --format csv, and in the table that --out FOLDER writes"
                ));
            }
        }
        Ok(())
    }
}

/// The prompt cut into its pieces, and what that means.
fn summary(prompt: &Prompt, w: &mut dyn Write) -> std::io::Result<()> {
    let pieces: Vec<String> = prompt.tokens.iter().map(|t| visible(&t.text)).collect();
    writeln!(w, "{}", pieces.join("|"))?;
    let letters = prompt.text.as_deref().map_or(0, |t| t.chars().count());
    let added = prompt.tokens.iter().filter(|t| t.bytes.is_none()).count();
    let also = match added {
        0 => String::new(),
        1 => ", one of them added by the tokenizer".into(),
        n => format!(", {n} of them added by the tokenizer"),
    };
    let n = prompt.tokens.len();
    if prompt.text.is_some() {
        let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        writeln!(
            w,
            "{} are {}{also}: the model sees their ids and no letters.",
            plural(letters, "character"),
            plural(n, "token")
        )
    } else {
        writeln!(w, "{n} token ids, as given.")
    }
}
