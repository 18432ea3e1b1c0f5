//! `pellucid tokens`

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::args::{PromptArgs, command};
use super::out::Out;
use super::request::Prompts;
use super::wait::WaitArgs;
use crate::analysis::TokenRow;
use crate::analysis::tokens::tokens;
use crate::error::Result;
use crate::model::Model;
use crate::table::{Format, Provenance, Row, TableWriter, visible};
use crate::text::{Prompt, Tokenizer, Want};

/// Rows of a prompt that are shown as a table for people. A cell of such a table takes hundreds of bytes until it is printed.
const SHOWN: usize = 1000;

/// What the model sees of a text: pieces and their numbers, not letters.
#[derive(Args, Debug)]
pub(super) struct TokensCommand {
    #[command(flatten)]
    model: super::args::ModelArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    /// Also write tokens.parquet to this folder
    #[arg(long, value_name = "FOLDER")]
    out: Option<std::path::PathBuf>,
    /// Replace the results of another request in that folder. Files that pellucid did not write are never touched
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

impl TokensCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        let source = self.model.find(Want::Tokens, out)?;
        let Some(tokenizer) = Tokenizer::from_files(&source.files)? else {
            return Err(source.no_tokenizer());
        };
        tokenizer.note().into_iter().for_each(|note| out.note(note));
        let prompts = self.prompts.tokens(&tokenizer)?;
        if let Some(path) = &self.out {
            let asked = Prompts(prompts.iter().collect());
            let version = env!("CARGO_PKG_VERSION");
            let request = json!({"analysis": "tokens", "version": version, "model": source.id, "prompts": asked});
            let mut folder =
                self.wait.folder(out, Some(path), ("tokens", &[TokenRow::TABLE.name]), &request, self.force)?;
            let spec = Model::read_spec(&source).ok().and_then(|(_, s)| serde_json::to_value(s).ok());
            let provenance = Provenance {
                model: source.id.clone(),
                revision: source.revision.clone(),
                spec: spec.unwrap_or_default(),
                command: command(),
                complete: true,
                ..Provenance::default()
            };
            let mut table = TableWriter::create(folder.file("tokens.parquet"), provenance)?;
            prompts.iter().flat_map(tokens).try_for_each(|row| table.push(&row))?;
            table.finish()?;
            out.wrote(&folder.finish(&command())?);
        }
        if out.format != Format::Table {
            return out.streamed(|each| prompts.iter().flat_map(tokens).try_for_each(|row: TokenRow| each(&row)));
        }
        for prompt in &prompts {
            out.print(|w| summary(prompt, w))?;
            out.rows(&tokens(prompt).take(SHOWN).collect::<Vec<_>>())?;
            let more = prompt.tokens.len().saturating_sub(SHOWN);
            if more > 0 {
                let plural = if more == 1 { "token is" } else { "tokens are" };
                out.note(format_args!(
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
