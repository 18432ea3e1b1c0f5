//! The engine: runs the cells whose results are not there, and keeps the lock file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::Table;

use super::experiment::Experiment;
use super::lock::{Lock, Locked, changes};
use super::steps::{Cells, expanded};
use crate::error::{Error, ErrorKind, Result};
use crate::session::words::shell;
use crate::session::{Claiming, Shard};

/// What runs steps: the command line, or another face of the library.
pub trait Steps {
    /// What is known of the command called `run`.
    ///
    /// # Errors
    /// When there is none that can be a step.
    fn known(&self, run: &str) -> Result<Known>;

    /// Whether these options can be understood. No model is loaded.
    ///
    /// # Errors
    /// When they cannot.
    fn check(&self, run: &str, options: &Table) -> Result<()>;

    /// What a step with these options asks for.
    ///
    /// # Errors
    /// When its model or input cannot be read, or do not fit.
    fn asked(&self, run: &str, options: &Table) -> Result<Asked>;

    /// Runs it, so that its results are in the folder.
    ///
    /// # Errors
    /// What the run says.
    fn run(&self, run: &str, options: &Table, asked: &Asked) -> Result<()>;
}

/// What is known of a command before it is run.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it is called.
    pub name: &'static str,
    /// The tables that it may write, the first one first.
    pub tables: Vec<&'static str>,
    /// Its other files.
    pub files: Vec<&'static str>,
    /// Whether it runs a model, where nothing says which.
    pub takes_model: bool,
    /// Whether it draws at random.
    pub takes_seed: bool,
}

impl Known {
    /// The file that `what` means of the results of the step `name`; none is their folder.
    ///
    /// # Errors
    /// When it means none.
    pub fn file(&self, name: &str, what: &str) -> Result<Option<String>> {
        let all = || self.tables.iter().chain(&self.files).copied();
        match (what, self.tables.first()) {
            ("folder", _) => Ok(None),
            ("table", Some(first)) => Ok(Some(format!("{first}.parquet"))),
            _ if self.tables.contains(&what) => Ok(Some(format!("{what}.parquet"))),
            _ if self.files.contains(&what) => Ok(Some(what.to_owned())),
            _ => Err(Error::no_such(format!("the step `{name}` has no `{what}`")).nearest_or(
                what,
                all().chain(["table", "folder"]),
                format!("there are {}", all().chain(["folder"]).collect::<Vec<_>>().join(", ")),
            )),
        }
    }
}

/// What a step asks for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The hash of its request.
    pub request: String,
    /// Its command.
    pub command: Vec<String>,
    /// What the request is made of.
    pub inputs: BTreeMap<String, String>,
    /// The folder of its results.
    pub folder: PathBuf,
    /// Whether all of them are there.
    pub whole: bool,
}

impl Asked {
    fn locked(&self) -> Locked {
        Locked {
            command: shell(&self.command),
            folder: self.folder.to_string_lossy().into_owned(),
            request: self.request.clone(),
            inputs: self.inputs.clone(),
        }
    }
}

/// What became of a cell.
#[derive(Clone, Debug)]
pub enum State {
    /// Its results were there.
    There(Asked),
    /// It was run.
    Ran(Asked),
    /// It was not run, which was all that was asked for; or nobody knows what it asks for, for this reason.
    Waits(Result<Asked, String>),
    /// It has failed.
    Failed,
    /// What it needs has failed, or is another part's.
    Skipped,
}

impl State {
    /// What it asked for, where its results are there.
    pub fn done(&self) -> Option<&Asked> {
        match self {
            Self::There(asked) | Self::Ran(asked) => Some(asked),
            _ => None,
        }
    }
}

/// How an experiment is run.
pub struct Engine<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its cells.
    pub cells: &'a Cells,
    /// What runs them.
    pub steps: &'a dyn Steps,
    /// The lock file.
    pub lock: &'a Path,
    /// How it is claimed to be written; none where several processes share the steps, and none of them writes it.
    pub claiming: Option<&'a Claiming<'a>>,
    /// Whether steps go on that do not need one that has failed.
    pub keep_going: bool,
    /// Told of each cell what becomes of it, and of a failure why.
    pub told: &'a dyn Fn(&str, &State, Option<&Error>),
}

/// The cells of an experiment of which everything can be understood: the options of each, what is expected, and the report. Nothing is run,
/// and no model is read.
///
/// # Errors
/// When something cannot.
pub fn understood(experiment: &Experiment, steps: &dyn Steps) -> Result<Cells> {
    let cells = expanded(experiment, steps)?;
    let nowhere = |i: usize| PathBuf::from(format!("runs/{}", cells.known[cells.all[i].step].name));
    cells.all.iter().try_for_each(|cell| {
        let options = cells.options(experiment, cell, &nowhere)?;
        let run = &experiment.steps[cell.step].run;
        steps.check(run, &options).map_err(|e| e.at(format!("steps.{}", cell.label)))
    })?;
    experiment.expect.iter().try_for_each(|expected| expected.check(experiment, &cells))?;
    experiment.template.iter().try_for_each(|template| template.check(experiment, &cells))?;
    Ok(cells)
}

impl Engine<'_> {
    /// Runs these cells and what they need, as far as their results are not there. What has failed is told at once; the first failure is
    /// the error, unless the others go on.
    ///
    /// # Errors
    /// When a step fails, or the lock file cannot be written.
    pub fn run(&self, chosen: &[usize]) -> Result<BTreeMap<usize, State>> {
        let mut states: BTreeMap<usize, State> = BTreeMap::new();
        let known: BTreeSet<&str> = self.cells.all.iter().map(|cell| cell.label.as_str()).collect();
        let mut done = BTreeMap::new();
        for i in self.cells.with_needed(chosen) {
            let cell = &self.cells.all[i];
            let state = match cell.needs.iter().all(|needed| states.get(needed).and_then(State::done).is_some()) {
                false => State::Skipped,
                true => match self.cell(i, &states) {
                    Ok(state) => state,
                    Err(e) => {
                        let e = e.at(format!("steps.{}", cell.label));
                        if !self.keep_going || e.kind() == ErrorKind::Interrupted {
                            return Err(e);
                        }
                        (self.told)(&cell.label, &State::Failed, Some(&e));
                        states.insert(i, State::Failed);
                        continue;
                    }
                },
            };
            if let (Some(asked), Some(claiming)) = (state.done(), self.claiming) {
                done.insert(cell.label.clone(), asked.locked());
                // What was there stands in the file already, or comes with the last.
                if matches!(state, State::Ran(_)) {
                    Lock::update(self.lock, &done, &|label| known.contains(label), claiming)?;
                }
            }
            (self.told)(&cell.label, &state, None);
            states.insert(i, state);
        }
        if let Some(claiming) = self.claiming {
            Lock::update(self.lock, &done, &|label| known.contains(label), claiming)?;
        }
        Ok(states)
    }

    fn cell(&self, i: usize, states: &BTreeMap<usize, State>) -> Result<State> {
        let (run, options) = self.options(i, states)?;
        let asked = self.steps.asked(run, &options)?;
        if asked.whole {
            return Ok(State::There(asked));
        }
        self.steps.run(run, &options, &asked)?;
        Ok(State::Ran(asked))
    }

    fn options(&self, i: usize, states: &BTreeMap<usize, State>) -> Result<(&str, Table)> {
        let folder = |needed: usize| {
            let unknown = || PathBuf::from(format!("<folder of {}>", self.cells.all[needed].label));
            let asked = match states.get(&needed) {
                Some(State::There(asked) | State::Ran(asked) | State::Waits(Ok(asked))) => Some(asked),
                _ => None,
            };
            asked.map_or_else(unknown, |asked| asked.folder.clone())
        };
        let cell = &self.cells.all[i];
        Ok((&self.experiment.steps[cell.step].run, self.cells.options(self.experiment, cell, &folder)?))
    }

    /// What would become of these cells and what they need. Nothing is run or written.
    ///
    /// # Errors
    /// When the environment lacks a variable.
    pub fn looked_at(&self, chosen: &[usize]) -> Result<BTreeMap<usize, State>> {
        let mut states: BTreeMap<usize, State> = BTreeMap::new();
        for i in self.cells.with_needed(chosen) {
            let missing =
                self.cells.all[i].needs.iter().find(|needed| states.get(needed).and_then(State::done).is_none());
            let state = match missing {
                Some(needed) => State::Waits(Err(format!("needs {} first", self.cells.all[*needed].label))),
                None => {
                    let (run, options) = self.options(i, &states)?;
                    match self.steps.asked(run, &options) {
                        Ok(asked) if asked.whole => State::There(asked),
                        Ok(asked) => State::Waits(Ok(asked)),
                        Err(e) => State::Waits(Err(e.message().to_owned())),
                    }
                }
            };
            states.insert(i, state);
        }
        Ok(states)
    }

    /// Why a cell would run, in sentences: which of its inputs has changed since it was last run.
    ///
    /// # Errors
    /// As [`Engine::looked_at`]; when the lock file cannot be read.
    pub fn why(&self, i: usize) -> Result<Vec<String>> {
        let (states, lock) = (self.looked_at(&[i])?, Lock::read(self.lock)?);
        let label = &self.cells.all[i].label;
        let reason = |i: usize| -> Vec<String> {
            let label = &self.cells.all[i].label;
            let before = lock.steps.get(label);
            match (states.get(&i), before) {
                (Some(State::There(asked)), Some(before)) if asked.request != before.request => {
                    let mut said = changes(&before.inputs, &asked.inputs);
                    said.push(format!("the results of this request are in {}", asked.folder.display()));
                    said
                }
                (Some(State::There(asked)), _) => {
                    vec![format!("nothing has changed: its results are in {}", asked.folder.display())]
                }
                (Some(State::Waits(Ok(_))), None) => vec!["it has not been run yet".to_owned()],
                (Some(State::Waits(Ok(asked))), Some(before)) => match changes(&before.inputs, &asked.inputs) {
                    same if same.is_empty() => {
                        vec![format!("its results are not in {}, or not whole", asked.folder.display())]
                    }
                    changes => changes,
                },
                (Some(State::Waits(Err(why))), _) => vec![why.clone()],
                _ => vec!["nobody knows".to_owned()],
            }
        };
        let mut said: Vec<String> = reason(i).into_iter().map(|why| format!("{label}: {why}")).collect();
        // Where it waits for others, the reason is theirs.
        if matches!(states.get(&i), Some(State::Waits(Err(_)))) {
            let others = states.keys().filter(|other| **other != i && states[other].done().is_none());
            for other in others {
                let label = &self.cells.all[*other].label;
                said.extend(reason(*other).into_iter().map(|why| format!("{label}: {why}")));
            }
        }
        Ok(said)
    }

    /// The cells that are this part's, of those that were chosen; each also needs others.
    pub fn part(&self, chosen: &[usize], shard: Shard) -> Vec<usize> {
        let of = |i: usize| i % shard.of.max(1) as usize == shard.index as usize;
        chosen.iter().enumerate().filter(|(i, _)| of(*i)).map(|(_, cell)| *cell).collect()
    }
}
