//! Hooks as a question: which there are.

use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{brief, hooks};
use crate::analysis::HookRow;
use crate::analysis::model::Described;
use crate::error::Result;
use crate::hook::select;
use crate::session::{Analysis, On, Results, Sink};
use crate::table::{Format, Provenance, Rows, write_rows};
use crate::view::Seen;
use crate::view::viewed::{Shown, Told};

/// Every hook: its name, its axes (with a model's sizes), its meaning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Hooks {
    /// Only hooks that this pattern means, such as 'blocks.0.*' or z
    #[cfg_attr(feature = "cli", arg(value_name = "PATTERN"))]
    pub pattern: Option<String>,
}

/// A model, or every model.
impl On for Option<Described> {
    fn identity(&self) -> Value {
        self.as_ref().map_or(Value::Null, On::identity)
    }

    fn provenance(&self, command: Vec<String>) -> Provenance {
        self.as_ref().map(|on| on.provenance(command)).unwrap_or_default()
    }
}

impl Analysis for Hooks {
    const NAME: &'static str = "hooks";
    const RESULTS: Results = Results::Screen;
    type Tables = HookRow;
    type On = Option<Described>;
    type Input = ();

    fn run(&self, on: &Option<Described>, (): &(), out: &mut Sink<'_>) -> Result<()> {
        let mut push = |rows: Vec<HookRow>| rows.into_iter().try_for_each(|row| out.push(row));
        let demo;
        let on = match (on, &self.pattern) {
            (Some(on), _) => on,
            (None, None) => return push(hooks(None)),
            // A pattern counts layers, and only a model has them.
            (None, Some(_)) => {
                demo = Described::demo()?;
                &demo
            }
        };
        let mut rows = hooks(Some(&on.spec));
        if let Some(pattern) = &self.pattern {
            let wanted: Vec<String> = select(&on.spec, pattern)?.iter().map(|p| p.to_string()).collect();
            rows.retain(|r| wanted.contains(&r.hook));
        }
        push(rows)
    }
}

impl Seen for HookRow {
    const DRAWN: bool = false;

    fn words(rows: &mut dyn Rows<Self>, _: &Shown, _: &Told<'_>, w: &mut dyn Write) -> Result<()> {
        let mut all = vec![];
        let n = rows.len();
        rows.rows(0..n, &mut |row| {
            all.push(row);
            Ok(())
        })?;
        write_rows(&brief(all), Format::Table, w)
    }
}
