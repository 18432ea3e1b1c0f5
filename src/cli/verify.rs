//! `pellucid verify`

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::args::{LoadArgs, PromptArgs, command, planned};
use super::out::Out;
use super::request::request;
use super::wait::WaitArgs;
use crate::analysis::verify::{Dump, first_wrong, need, need_of_reference, own_prompts, verify, verify_reference};
use crate::analysis::{ReferenceRow, VerifyRow};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::session::{RunFolder, Session};
use crate::table::{Format, Row, TableWriter};
use crate::text::{Bos, Prompt, PromptEntry};

/// Checks that a model obeys the laws on its own weights, or says where it differs from a reference.
#[derive(Args, Debug)]
#[command(
    after_help = "Writes verify.parquet (see `pellucid tables verify`), with --reference verify_reference.parquet. Exits with code 1 if a law
fails or a site is wrong. docs/reference.py makes a reference of any causal language model of transformers."
)]
pub(super) struct VerifyCommand {
    /// The model, as with -m, whose place it takes
    #[arg(value_name = "MODEL")]
    name: Option<String>,
    #[command(flatten)]
    model: LoadArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    /// Compare with what another program made of the same tokens, site by site; says whether a difference is rounding, by a
    /// run in f64 that needs memory for the weights twice more
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Folder for the results [default: runs/verify-<hash of the request>]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Replace the results of another request in that folder. Files that pellucid did not write are never touched
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

impl VerifyCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        let dump = self.reference.as_deref().map(Dump::open).transpose()?;
        let loaded = self.model.load_or(self.name.as_deref(), out)?;
        match &dump {
            Some(dump) => self.with_reference(&loaded, dump, out),
            None => self.laws(&loaded, out),
        }
    }

    fn folder<R: Row>(&self, out: &Out, request: &impl Serialize) -> Result<RunFolder> {
        self.wait.folder(out, self.out.as_deref(), ("verify", &[R::TABLE.name]), request, self.force)
    }

    fn laws(&self, loaded: &Session, out: &Out) -> Result<()> {
        let prompts = match self.prompts.is_empty() {
            true => by_ids(loaded, &own_prompts(loaded.model.spec()))?,
            false => self.prompts.build(loaded)?,
        };
        let ids: Vec<Vec<u32>> = prompts.iter().map(Prompt::ids).collect();
        planned(out, loaded, need(&loaded.model, &ids))?;
        let watch = out.watch("verify");
        let mut folder = self.folder::<VerifyRow>(out, &request("verify", loaded, &prompts, json!({})))?;
        let rows = verify(&loaded.model, &ids, &watch)?;
        write(&mut folder, loaded, &rows)?;
        out.wrote(&folder.finish(&command())?);
        match out.format {
            // On a screen, reasons are for what needs one.
            Format::Table => out.rows(&rows.iter().cloned().map(briefly).collect::<Vec<_>>())?,
            _ => out.rows(&rows)?,
        }
        let failed: Vec<&VerifyRow> = rows.iter().filter(|row| row.verdict == "failed").collect();
        let Some(first) = failed.first() else { return Ok(()) };
        let at = first.hook.as_ref().map(|hook| format!(" at {hook}")).unwrap_or_default();
        let others = match failed.len() {
            1 => String::new(),
            n => format!(", nor do {} other laws", n - 1),
        };
        Err(Error::compute(format!(
            "{} does not obey \"{}\"{at}: {:.1e}, where {:.1e} is allowed{others}",
            loaded.source.id,
            first.law,
            first.difference.unwrap_or(f64::NAN),
            first.allowed.unwrap_or(0.0)
        ))
        .hint(match first.law.contains("finite") {
            true => "are the weights whole? look for values in them that are not numbers",
            false => "this is a fault of pellucid; please report it with the table",
        }))
    }

    fn with_reference(&self, loaded: &Session, dump: &Dump, out: &Out) -> Result<()> {
        let (family, spec) = Model::read_spec(&loaded.source)?;
        dump.check(family, &spec)?;
        if !self.prompts.is_empty() {
            let given: Vec<Vec<u32>> = self.prompts.build(loaded)?.iter().map(Prompt::ids).collect();
            dump.check_prompts(&given)?;
        }
        let prompts = by_ids(loaded, dump.prompts())?;
        planned(out, loaded, need_of_reference(&loaded.model, dump.prompts(), loaded.footprint.numbers))?;
        let watch = out.watch("verify");
        let asked = request("verify", loaded, &prompts, json!({"reference": dump.hash()}));
        let mut folder = self.folder::<ReferenceRow>(out, &asked)?;
        let rows = verify_reference(&loaded.model, family, dump, &watch)?;
        write(&mut folder, loaded, &rows)?;
        out.wrote(&folder.finish(&command())?);
        out.rows(&rows)?;
        out.say(format_args!("compared {} sites with {}", rows.len(), dump.made_by()));
        first_wrong(&rows)
    }
}

/// Prompts of these tokens. The model's context bounds them.
fn by_ids(loaded: &Session, ids: &[Vec<u32>]) -> Result<Vec<Prompt>> {
    loaded.prompts(&ids.iter().cloned().map(PromptEntry::ids).collect::<Vec<_>>(), Bos::Never)
}

fn write<R: Row>(folder: &mut RunFolder, loaded: &Session, rows: &[R]) -> Result<()> {
    let path = folder.file(&format!("{}.parquet", R::TABLE.name));
    let mut table = TableWriter::create(&path, loaded.provenance(command()))?;
    rows.iter().try_for_each(|row| table.push(row))?;
    table.finish().map(drop)
}

fn briefly(row: VerifyRow) -> VerifyRow {
    let reason = row.reason.filter(|_| row.verdict != "ok");
    VerifyRow { reason, ..row }
}
