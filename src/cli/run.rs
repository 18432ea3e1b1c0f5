//! `pellucid run`: an experiment file, its steps and its report.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::opened::OpenArgs;
use super::out::Out;
use super::step::Commands;
use super::wait::WaitArgs;
use crate::error::{Error, ErrorKind, Result};
use crate::report::engine::{Asked, Engine, State, understood};
use crate::report::expect::Outcome;
use crate::report::experiment::{Experiment, Set, steps};
use crate::report::page::{NAMES, Page, write::write};
use crate::report::steps::Cells;
use crate::session::words::shell;
use crate::session::{Claiming, Shard};
use crate::table::Format;

/// Cells of a matrix that are run without a word.
const ASKED: usize = 256;

/// Run an experiment: a file with steps, what is expected of them, and a report.
///
/// Results that are there are used, so that a second run computes nothing and one that was stopped goes on. docs/experiments.md says what
/// stands in the file.
#[derive(Args, Debug)]
pub(super) struct RunCommand {
    /// The experiment, a TOML file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Say what would be run, and run nothing. Models and files that are not on this machine are not fetched
    #[arg(long, conflicts_with_all = ["why", "keep_going", "shard"])]
    dry_run: bool,
    /// Only this step, or NAME[axis=value], and those that it needs; may be repeated
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Another value in the file, such as steps.heads.top=20 or experiment.model=FOLDER; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = Set::parse)]
    set: Vec<Set>,
    /// After a failure, go on with steps that do not need what failed
    #[arg(long)]
    keep_going: bool,
    /// Say which input of a step has changed since it was last run, and run nothing
    #[arg(long, value_name = "STEP", conflicts_with_all = ["only", "shard"])]
    why: Option<String>,
    /// Run a part of the steps, and what they need: 0/4 is the first of four parts, and `slurm` the part of this task of a job array. Run
    /// the experiment without this once all parts are done
    #[arg(long, value_name = "I/N", value_parser = Shard::parse)]
    shard: Option<Shard>,
    /// Folder for the report [default: reports/<name of the file>]
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Run a matrix however many cells it has
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    opened: OpenArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

impl RunCommand {
    pub fn run(&self, out: &Out) -> Result<()> {
        let here = |e: Error| e.at(self.file.display());
        let experiment = Experiment::open(&self.file, &self.set)?;
        let size = experiment.matrix.size();
        if size > ASKED && !self.yes {
            return Err(Error::bad_input(format!("{}: the matrix has {size} cells", self.file.display()))
                .hint("add --yes to run that many, or leave out values of an axis"));
        }
        let looks = self.dry_run || self.why.is_some();
        let of_steps = out.of_steps(looks);
        let commands = Commands { out: &of_steps, wait: self.wait.seconds() };
        let cells = understood(&experiment, &commands).map_err(here)?;
        let lock = Path::new("runs").join(format!("{}.lock.toml", experiment.name));
        let failed = RefCell::new(vec![]);
        let told = |label: &str, state: &State, e: Option<&Error>| match (state, e) {
            (_, Some(e)) => {
                out.error(e);
                failed.borrow_mut().push((label.to_owned(), e.kind()));
            }
            (State::Skipped, _) => out.say(format_args!("{label}: skipped, since what it needs has failed")),
            (State::There(asked), _) => out.say(format_args!("{label}: is there, in {}", asked.folder.display())),
            _ => out.say(format_args!("{label}: done")),
        };
        let command = ["pellucid", "run"].map(str::to_owned);
        self.wait.claiming(out, &command, |claiming| {
            let engine = Engine {
                experiment: &experiment,
                cells: &cells,
                steps: &commands,
                lock: &lock,
                claiming: self.shard.is_none().then_some(claiming),
                keep_going: self.keep_going,
                told: &told,
            };
            if let Some(name) = &self.why {
                for cell in cells.named(&experiment, name).map_err(here)? {
                    engine.why(cell)?.iter().try_for_each(|said| out.print(|w| writeln!(w, "{said}")))?;
                }
                return Ok(());
            }
            let mut chosen: Vec<usize> = (0..cells.all.len()).collect();
            if !self.only.is_empty() {
                let named = self.only.iter().map(|name| cells.named(&experiment, name));
                chosen = named.collect::<Result<Vec<_>>>().map_err(here)?.concat();
            }
            if let Some(shard) = self.shard {
                chosen = engine.part(&chosen, shard);
            }
            if self.dry_run {
                let states = engine.looked_at(&chosen)?;
                return printed(&Results { cells: &cells, states: &states, outcomes: &[], report: None }, out);
            }
            let goes_on = |e: Error| match e.kind() {
                ErrorKind::Interrupted => e.hint("run the same command again: it goes on from here"),
                _ => e,
            };
            let states = engine.run(&chosen).map_err(goes_on)?;
            let results = Results { cells: &cells, states: &states, outcomes: &[], report: None };
            if !failed.borrow().is_empty() {
                printed(&results, out)?;
                return Err(failures(&failed.borrow(), &states));
            }
            if states.len() < cells.all.len() || self.shard.is_some() {
                printed(&results, out)?;
                let (done, all) = (states.len(), cells.all.len());
                out.say(format_args!(
                    "{done} of {} are done, and the report is of all: run it without --only and --shard",
                    steps(all)
                ));
                return Ok(());
            }
            self.reported(&experiment, &cells, &states, (claiming, out))
        })
    }

    /// Writes the report, and says whether what was expected holds.
    fn reported(
        &self,
        experiment: &Experiment,
        cells: &Cells,
        states: &BTreeMap<usize, State>,
        (claiming, out): (&Claiming, &Out),
    ) -> Result<()> {
        let done = |i: usize| states.get(&i).and_then(State::done).cloned().unwrap_or_default();
        let folder = |i: usize| done(i).folder;
        let outcomes = (experiment.expect.iter())
            .map(|expected| expected.holds(experiment, cells, &folder))
            .collect::<Result<Vec<_>>>()
            .map_err(|e| e.at(self.file.display()))?;
        let page = Page::new(experiment, cells, &done, &outcomes).map_err(|e| e.at(self.file.display()))?;
        let default = || Path::new("reports").join(&experiment.name);
        let report = self.report.clone().unwrap_or_else(default);
        write(&report, &page.files()?, claiming)?;
        out.say(format_args!("wrote {}: {}", report.display(), NAMES.join(", ")));
        self.opened.best_of(&report, &NAMES, out);
        printed(&Results { cells, states, outcomes: &outcomes, report: Some(&report) }, out)?;
        let not: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.holds).collect();
        match not.first() {
            None => Ok(()),
            Some(first) => Err(Error::compute(format!(
                "{} of {} expectations do not hold: {}: {}",
                not.len(),
                outcomes.len(),
                first.words,
                first.found
            ))
            .hint(format!("look at {}", report.join(NAMES[0]).display()))),
        }
    }
}

/// As [`super::experiment`].
pub(super) fn experiment(text: &str) -> Result<()> {
    let experiment = Experiment::parse(text, "experiment", ".", &[])?;
    if experiment.matrix.size() > ASKED {
        return Ok(());
    }
    understood(&experiment, &Commands { out: &Out::bare(), wait: 0 }).map(|_| ())
}

fn failures(failed: &[(String, ErrorKind)], states: &BTreeMap<usize, State>) -> Error {
    let kind = failed.first().map_or(ErrorKind::Compute, |(_, kind)| *kind);
    let names: Vec<&str> = failed.iter().map(|(label, _)| label.as_str()).collect();
    let skipped = states.values().filter(|state| matches!(state, State::Skipped)).count();
    let skipped = if skipped > 0 { format!(", and {} needed what failed", steps(skipped)) } else { String::new() };
    let said = format!("{} failed: {}{skipped}", steps(failed.len()), names.join(", "));
    Error::of_kind(kind, said).hint("mend them and run the same command: it runs those alone")
}

/// What there is to print.
struct Results<'a> {
    cells: &'a Cells,
    states: &'a BTreeMap<usize, State>,
    outcomes: &'a [Outcome],
    report: Option<&'a Path>,
}

/// Prints the steps with their folders, and whether what was expected holds.
fn printed(results: &Results, out: &Out) -> Result<()> {
    if out.format != Format::Table {
        return out.data(|w| writeln!(w, "{:#}", results.json()));
    }
    let each = results.states.iter().map(|(i, state)| (results.cells.all[*i].label.as_str(), state));
    let width = each.clone().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
    out.print(|w| {
        for (label, state) in each {
            let (word, asked, why) = words_of(state);
            let rest = asked.map_or(why.to_owned(), |asked| asked.folder.display().to_string());
            writeln!(w, "{label:width$}  {word:7}  {rest}")?;
            if let (State::Waits(_), Some(asked)) = (state, asked) {
                writeln!(w, "{:width$}  {:7}  {}", "", "", shell(&asked.command))?;
            }
        }
        for outcome in results.outcomes {
            let holds = if outcome.holds { "holds" } else { "FAILS" };
            writeln!(w, "{holds}  {}: {}", outcome.words, outcome.found)?;
        }
        Ok(())
    })
}

/// What a state is called, what it asked for, and else why that is not known.
fn words_of(state: &State) -> (&'static str, Option<&Asked>, &str) {
    match state {
        State::There(asked) => ("there", Some(asked), ""),
        State::Ran(asked) => ("ran", Some(asked), ""),
        State::Waits(Ok(asked)) => ("to run", Some(asked), ""),
        State::Waits(Err(why)) => ("unknown", None, why),
        State::Failed => ("failed", None, ""),
        State::Skipped => ("skipped", None, ""),
    }
}

impl Results<'_> {
    fn json(&self) -> Value {
        let step = |(i, state): (&usize, &State)| {
            let (word, asked, why) = words_of(state);
            let mut step = json!({"step": self.cells.all[*i].label, "state": word});
            if let Some(asked) = asked {
                step["folder"] = json!(asked.folder);
                step["request"] = json!(asked.request);
                step["command"] = json!(asked.command);
            }
            if !why.is_empty() {
                step["why"] = json!(why);
            }
            step
        };
        let outcome = |one: &Outcome| json!({"expected": one.words, "assertion": one.written, "holds": one.holds, "found": one.found});
        json!({
            "steps": self.states.iter().map(step).collect::<Vec<_>>(),
            "expect": self.outcomes.iter().map(outcome).collect::<Vec<_>>(),
            "report": self.report,
        })
    }
}
