//! `pellucid hooks`, `pellucid model`, `pellucid tables`: what there is.

use clap::Args;

use super::args::{AcceptArgs, ModelArgs};
use super::out::Out;
use crate::analysis::{ModelRow, hooks, model, tables};
use crate::error::{Error, Result, nearest};
use crate::hook::select;
use crate::model::{Model, Placement, WeightBytes};
use crate::session::{Plan, Session};
use crate::table::Format;
use crate::text::{DEMO, Want};

/// Every hook: its name, its axes (with a model's sizes), its meaning.
#[derive(Args, Debug)]
pub(super) struct HooksCommand {
    /// Only hooks that this pattern means, such as 'blocks.0.*' or z
    #[arg(value_name = "PATTERN")]
    pattern: Option<String>,
    /// The model whose hooks to list [default: every hook there is; with a pattern, those of demo]
    #[arg(short, long, env = "PELLUCID_MODEL", hide_env_values = true, value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    accept: AcceptArgs,
}

impl HooksCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        // A pattern counts layers, and only a model has them.
        let fallback = self.pattern.as_ref().map(|_| DEMO);
        let Some(name) = self.model.as_deref().or(fallback) else { return out.rows(&hooks::hooks(None)) };
        let model = ModelArgs { model: name.to_owned() };
        let source = model.find(Want::Config, out)?.accepting(&self.accept.accept_config);
        let (_, spec) = Model::read_spec(&source)?;
        out.accepted(&source);
        let mut rows = hooks::hooks(Some(&spec));
        if let Some(pattern) = &self.pattern {
            let wanted: Vec<String> = select(&spec, pattern)?.iter().map(|p| p.to_string()).collect();
            rows.retain(|r| wanted.contains(&r.hook));
        }
        if out.format == Format::Table {
            rows = hooks::brief(rows);
        }
        out.rows(&rows)
    }
}

/// What a model is: architecture, parameters, memory, files.
#[derive(Args, Debug)]
pub(super) struct ModelCommand {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    accept: AcceptArgs,
}

impl ModelCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        let source = Session::find(&self.model.model, &self.accept.accept_config, &out.hub(), &out.fetching())?;
        let (_, spec) = Model::read_spec(&source)?;
        out.accepted(&source);
        let mut facts = vec![ModelRow { property: "model".into(), value: source.id.clone() }];
        facts.extend(model::facts(&spec));
        let mut say = |property: &str, value: String| facts.push(ModelRow { property: property.into(), value });
        let files = WeightBytes::open(&source)?;
        let weights = Model::footprint(&source, &files, &Placement::default(), false)?;
        say("memory", Plan::of_weights(weights).to_string());
        if let Some(revision) = &source.revision {
            say("revision", revision.clone());
        }
        say("folder", source.files.to_string());
        for file in source.weights()? {
            say("weights", format!("{}, {:.1} MB", file.name(), file.size()? as f64 * 1e-6));
        }
        say("instructions", crate::model::instructions().into());
        out.rows(&facts)
    }
}

/// The columns of every table that pellucid writes: types, units, meanings.
#[derive(Args, Debug)]
pub(super) struct TablesCommand {
    /// One table [default: all]
    name: Option<String>,
}

impl TablesCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        let names = || tables().map(|t| t.name);
        let chosen: Vec<_> = match &self.name {
            None => tables().collect(),
            Some(name) => match tables().find(|t| t.name == name) {
                Some(table) => vec![table],
                None => {
                    let error = Error::no_such(format!("there is no table `{name}`"));
                    return Err(match nearest(name, names()) {
                        Some(near) => error.hint(format!("did you mean `{near}`?")),
                        None => error.hint(format!("there are {}", names().collect::<Vec<_>>().join(", "))),
                    });
                }
            },
        };
        if out.format != Format::Table {
            // One document, whatever the number of tables.
            return out.rows(&chosen.iter().flat_map(|t| tables::columns(t)).collect::<Vec<_>>());
        }
        for (i, table) in chosen.iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n" };
            out.print(|w| writeln!(w, "{gap}{} (version {}): {}", table.name, table.version, table.about))?;
            out.rows(&tables::columns(table))?;
        }
        Ok(())
    }
}
