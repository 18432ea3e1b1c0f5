//! Verification as a question: nothing to choose but what is compared.

use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Dump, first_wrong, need, need_of_reference, own_prompts, verify, verify_reference};
use crate::analysis::{ReferenceRow, VerifyRow};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::session::{Analysis, Input, On, Session, Sink};
use crate::sweep::Need;
use crate::table::{Format, Provenance, Rows, write_rows};
use crate::text::{Bos, Prompt, PromptEntry};
use crate::view::Seen;
use crate::view::viewed::{Shown, Told};

/// Checks that a model obeys the laws on its own weights, or says where it differs from a reference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes verify.parquet (see `pellucid tables verify`), with --reference verify_reference.parquet. Exits with code 1 if a law
fails or a site is wrong. docs/reference.py makes a reference of any causal language model of transformers."
    )
)]
pub struct Verify {}

/// A model that is verified. No budget cuts what that takes.
pub struct Checked(pub Session);

impl On for Checked {
    fn identity(&self) -> Value {
        self.0.identity()
    }

    fn provenance(&self, command: Vec<String>) -> Provenance {
        self.0.provenance(command)
    }

    fn plan(&self, need: Need) -> Option<crate::session::Plan> {
        On::plan(&self.0, need)
    }

    fn fits(&self, plan: &crate::session::Plan) -> Result<Option<String>> {
        self.0.fits(plan)
    }
}

/// What a model is verified on: prompts, and what another program made of them.
#[derive(Serialize)]
pub struct Verified {
    #[serde(serialize_with = "ids")]
    prompts: Vec<Prompt>,
    #[serde(serialize_with = "hash")]
    dump: Option<Dump>,
}

fn ids<S: serde::Serializer>(prompts: &[Prompt], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(prompts.iter().map(Prompt::ids))
}

fn hash<S: serde::Serializer>(dump: &Option<Dump>, to: S) -> Result<S::Ok, S::Error> {
    dump.as_ref().map(Dump::hash).serialize(to)
}

impl Input for Verified {
    fn len(&self) -> usize {
        self.prompts.len()
    }
}

impl Verified {
    /// These prompts, or the model's own; those of the dump where there is one.
    ///
    /// # Errors
    /// When the dump is of another model or of other prompts.
    pub fn new(on: &Session, given: Option<Vec<Prompt>>, dump: Option<Dump>) -> Result<Self> {
        // The model's context bounds them.
        let by_ids =
            |ids: &[Vec<u32>]| on.prompts(&ids.iter().cloned().map(PromptEntry::ids).collect::<Vec<_>>(), Bos::Never);
        let prompts = match (&dump, given) {
            (None, Some(given)) => given,
            (None, None) => by_ids(&own_prompts(on.model.spec()))?,
            (Some(dump), given) => {
                let (family, spec) = Model::read_spec(&on.source)?;
                dump.check(family, &spec)?;
                if let Some(given) = given {
                    dump.check_prompts(&given.iter().map(Prompt::ids).collect::<Vec<_>>())?;
                }
                by_ids(dump.prompts())?
            }
        };
        Ok(Self { prompts, dump })
    }

    fn ids(&self) -> Vec<Vec<u32>> {
        self.prompts.iter().map(Prompt::ids).collect()
    }
}

impl Analysis for Verify {
    const NAME: &'static str = "verify";
    type Tables = (VerifyRow, ReferenceRow);
    type On = Checked;
    type Input = Verified;

    fn need(&self, on: &Checked, input: &Verified) -> Result<Need> {
        let (Checked(on), ids) = (on, input.ids());
        Ok(match &input.dump {
            None => need(&on.model, &ids),
            Some(_) => need_of_reference(&on.model, &ids, on.footprint.numbers),
        })
    }

    fn run(&self, on: &Checked, input: &Verified, out: &mut Sink<'_>) -> Result<()> {
        let Checked(on) = on;
        let Some(dump) = &input.dump else {
            let rows = verify(&on.model, &input.ids(), out.watch)?;
            out.verdict = broken(&on.source.id, &rows);
            return rows.into_iter().try_for_each(|row| out.push(row));
        };
        let (family, _) = Model::read_spec(&on.source)?;
        let rows = verify_reference(&on.model, family, dump, out.watch)?;
        out.say_last(format_args!("compared {} sites with {}", rows.len(), dump.made_by()));
        out.verdict = first_wrong(&rows).err();
        rows.into_iter().try_for_each(|row| out.push(row))
    }
}

/// Which law does not hold, if one does not.
fn broken(model: &str, rows: &[VerifyRow]) -> Option<Error> {
    let failed: Vec<&VerifyRow> = rows.iter().filter(|row| row.verdict == "failed").collect();
    let first = failed.first()?;
    let at = first.hook.as_ref().map(|hook| format!(" at {hook}")).unwrap_or_default();
    let others = match failed.len() {
        1 => String::new(),
        n => format!(", nor do {} other laws", n - 1),
    };
    let error = Error::compute(format!(
        "{model} does not obey \"{}\"{at}: {:.1e}, where {:.1e} is allowed{others}",
        first.law,
        first.difference.unwrap_or(f64::NAN),
        first.allowed.unwrap_or(0.0)
    ));
    Some(error.hint(match first.law.contains("finite") {
        true => "are the weights whole? look for values in them that are not numbers",
        false => "this is a fault of pellucid; please report it with the table",
    }))
}

impl Seen for ReferenceRow {
    const DRAWN: bool = false;
}

impl Seen for VerifyRow {
    const DRAWN: bool = false;

    fn words(rows: &mut dyn Rows<Self>, _: &Shown, _: &Told<'_>, w: &mut dyn Write) -> Result<()> {
        let mut all = vec![];
        let n = rows.len();
        rows.rows(0..n, &mut |row| {
            // On a screen, reasons are for what needs one.
            let reason = row.reason.filter(|_| row.verdict != "ok");
            all.push(Self { reason, ..row });
            Ok(())
        })?;
        write_rows(&all, Format::Table, w)
    }
}
