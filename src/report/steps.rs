//! Steps as they are run: one cell for each combination of the matrix that a step names, in an order in which none comes before what it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::engine::{Known, Steps};
use super::experiment::Experiment;
use super::fill::{Reference, all_filled, env, references};
use super::keys::shown;
use crate::error::{Error, Result};

/// A step with values for the axes that it names.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Which step of the experiment it is.
    pub step: usize,
    /// The step's name, and the values in brackets.
    pub label: String,
    /// The values, by axis.
    pub values: Vec<(String, Value)>,
    /// The cells whose results it reads, by their place in the order.
    pub needs: Vec<usize>,
}

/// All cells, and what is known of their steps.
pub struct Cells {
    /// In the order in which they are run.
    pub all: Vec<Cell>,
    /// The options of each step of the experiment, with those that the experiment gives to all.
    options: Vec<Table>,
    /// What each step's command is.
    pub known: Vec<Known>,
}

/// Makes the cells of all steps.
///
/// # Errors
/// When a step names what there is not, needs itself, or an axis of the matrix is named by none; as
/// [`Matrix::combinations`](super::matrix::Matrix::combinations).
pub fn expanded(experiment: &Experiment, steps: &dyn Steps) -> Result<Cells> {
    let (mut options, mut known, mut axes, mut needs) = (vec![], vec![], vec![], vec![]);
    for step in &experiment.steps {
        let at = |e: Error| e.at(format!("steps.{}", step.name));
        let command = steps.known(&step.run).map_err(at)?;
        let given = with_defaults(experiment, &step.options, &command);
        let (mut own, mut needed) = (BTreeSet::new(), vec![]);
        for reference in refers(experiment, &given).map_err(at)? {
            match reference {
                Reference::Matrix(axis) => {
                    experiment.matrix.axis(&axis).map_err(at)?;
                    own.insert(axis);
                }
                Reference::Step { name, .. } => needed.push(experiment.step(&name).map_err(at)?.0),
                Reference::Experiment(_) | Reference::Env { .. } => {}
            }
        }
        options.push(given);
        known.push(command);
        axes.push(own);
        needs.push(needed);
    }
    let order = ordered(experiment, &needs)?;
    for step in &order {
        let theirs: Vec<String> = needs[*step].iter().flat_map(|needed| axes[*needed].iter().cloned()).collect();
        axes[*step].extend(theirs);
    }
    for axis in &experiment.matrix.axes {
        if !axes.iter().any(|named| named.contains(&axis.name)) {
            return Err(Error::bad_input(format!(
                "no step names `${{matrix.{}}}`, so that axis changes nothing",
                axis.name
            ))
            .hint("name it in a step, or leave it out"));
        }
    }
    let cells = cells(experiment, &order, &axes, &needs)?;
    let cells = Cells { all: cells, options, known };
    cells.check(experiment)?;
    Ok(cells)
}

/// The options of a step, with the model and seed of the experiment where it has none of its own.
fn with_defaults(experiment: &Experiment, own: &Table, command: &Known) -> Table {
    let mut options = own.clone();
    if command.takes_model && !own.contains_key("model") {
        options.insert("model".to_owned(), Value::String(experiment.model.clone()));
    }
    if let Some(seed) = experiment.seed.as_ref().filter(|_| command.takes_seed && !own.contains_key("seed")) {
        options.insert("seed".to_owned(), seed.clone());
    }
    options
}

/// What options refer to, and what the keys of the experiment that they name refer to.
fn refers(experiment: &Experiment, options: &Table) -> Result<Vec<Reference>> {
    let mut all = options.values().map(references).collect::<Result<Vec<_>>>()?.concat();
    let of = |key: &str| all.iter().any(|one| *one == Reference::Experiment(key.to_owned()));
    let mut more = vec![];
    if of("model") {
        more.extend(references(&Value::String(experiment.model.clone()))?);
    }
    if let Some(seed) = experiment.seed.as_ref().filter(|_| of("seed")) {
        more.extend(references(seed)?);
    }
    all.extend(more);
    Ok(all)
}

/// The steps, each after those that it needs and else as they stand.
fn ordered(experiment: &Experiment, needs: &[Vec<usize>]) -> Result<Vec<usize>> {
    let mut order: Vec<usize> = vec![];
    while order.len() < needs.len() {
        let is_next = |step: &usize| !order.contains(step) && needs[*step].iter().all(|needed| order.contains(needed));
        match (0..needs.len()).find(is_next) {
            Some(next) => order.push(next),
            None => return Err(circle(experiment, needs, &order)),
        }
    }
    Ok(order)
}

fn circle(experiment: &Experiment, needs: &[Vec<usize>], order: &[usize]) -> Error {
    let left = |step: &usize| !order.contains(step);
    // From any of them, what it needs leads into the circle and around it.
    let mut path: Vec<usize> = (0..needs.len()).filter(left).take(1).collect();
    while let Some(next) = path.last().and_then(|last| needs[*last].iter().copied().find(left)) {
        let begun = path.iter().position(|step| *step == next);
        path.push(next);
        if let Some(begun) = begun {
            path.drain(..begun);
            break;
        }
    }
    let names: Vec<&str> = path.iter().map(|step| experiment.steps[*step].name.as_str()).collect();
    Error::bad_input(format!("steps need each other in a circle: {}", names.join(" needs ")))
        .hint("let one of them read something else")
}

fn cells(
    experiment: &Experiment,
    order: &[usize],
    axes: &[BTreeSet<String>],
    needs: &[Vec<usize>],
) -> Result<Vec<Cell>> {
    let combinations = experiment.matrix.combinations()?;
    let mut cells: Vec<Cell> = vec![];
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for &step in order {
        for combination in &combinations {
            // A step's own values, and of those the ones that a step has which it needs.
            let values_of = |step: usize| {
                let all = experiment.matrix.axes.iter().zip(combination);
                let own = all.filter(|(axis, _)| axes[step].contains(&axis.name));
                own.map(|(axis, i)| (axis.name.clone(), axis.values[*i].clone())).collect::<Vec<_>>()
            };
            let label_of = |step: usize| label(&experiment.steps[step].name, &values_of(step));
            let label = label_of(step);
            // Combinations that differ in other axes are one cell.
            if places.contains_key(&label) {
                continue;
            }
            let needs: BTreeSet<usize> =
                needs[step].iter().filter_map(|needed| places.get(&label_of(*needed)).copied()).collect();
            places.insert(label.clone(), cells.len());
            cells.push(Cell { step, label, values: values_of(step), needs: needs.into_iter().collect() });
        }
    }
    Ok(cells)
}

/// `heads[at=z,metric=prob]`.
pub fn label(name: &str, values: &[(String, Value)]) -> String {
    let values: Vec<String> = values.iter().map(|(axis, value)| format!("{axis}={}", shown(value))).collect();
    if values.is_empty() { name.to_owned() } else { format!("{name}[{}]", values.join(",")) }
}

impl Cells {
    /// The options of a cell, when `folder` says where the results of others are.
    ///
    /// # Errors
    /// When a variable of the environment is not set.
    pub fn options(&self, experiment: &Experiment, cell: &Cell, folder: &dyn Fn(usize) -> PathBuf) -> Result<Table> {
        let value = |reference: &Reference| self.value(experiment, cell, reference, folder);
        all_filled(&self.options[cell.step], &value).map_err(|e| e.at(format!("steps.{}", cell.label)))
    }

    fn value(
        &self,
        experiment: &Experiment,
        cell: &Cell,
        reference: &Reference,
        folder: &dyn Fn(usize) -> PathBuf,
    ) -> Result<Value> {
        let nothing = |what: &str| Error::compute(format!("a reference to {what} leads to nothing")).fault();
        let again = |value: &Value| super::fill::filled(value, &|inner| self.value(experiment, cell, inner, folder));
        match reference {
            Reference::Matrix(axis) => {
                let found = cell.values.iter().find(|(name, _)| name == axis);
                found.map(|(_, value)| value.clone()).ok_or_else(|| nothing(axis))
            }
            Reference::Env { name, default } => env(name, default.as_deref()),
            Reference::Experiment(key) if key == "folder" => Ok(Value::String(experiment.folder.clone())),
            Reference::Experiment(key) if key == "model" => again(&Value::String(experiment.model.clone())),
            Reference::Experiment(_) => experiment.seed.as_ref().map_or_else(
                || Err(Error::bad_input("`[experiment]` has no seed").hint("add seed = 1, for example")),
                again,
            ),
            Reference::Step { name, what } => {
                let needed = cell.needs.iter().find(|i| experiment.steps[self.all[**i].step].name == *name);
                let needed = *needed.ok_or_else(|| nothing(name))?;
                let folder = folder(needed);
                let path = match self.known[self.all[needed].step].file(name, what)? {
                    None => folder,
                    Some(file) => folder.join(file),
                };
                Ok(Value::String(path.to_string_lossy().into_owned()))
            }
        }
    }

    /// Fills all options once, so that what is wrong with them is known before anything runs.
    fn check(&self, experiment: &Experiment) -> Result<()> {
        self.all.iter().try_for_each(|cell| self.options(experiment, cell, &|_| Path::new("FOLDER").into()).map(|_| ()))
    }

    /// The cells that `name` means: a step, or `step[axis=value]`.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(&self, experiment: &Experiment, name: &str) -> Result<Vec<usize>> {
        let exact: Vec<usize> = (0..self.all.len()).filter(|i| self.all[*i].label == name).collect();
        if !exact.is_empty() {
            return Ok(exact);
        }
        let (step, values) = name.split_once('[').map_or((name, ""), |(step, rest)| (step, rest.trim_end_matches(']')));
        let (step, _) = experiment.step(step)?;
        let wanted: Vec<(String, String)> = (values.split(',').filter(|value| !value.is_empty()))
            .filter_map(|value| value.split_once('='))
            .map(|(axis, value)| (axis.trim().to_owned(), value.trim().to_owned()))
            .collect();
        self.chosen(experiment, step, &wanted)
    }

    /// The cells of a step that have these values.
    ///
    /// # Errors
    /// When there is none.
    pub fn chosen(&self, experiment: &Experiment, step: usize, wanted: &[(String, String)]) -> Result<Vec<usize>> {
        let has = |cell: &Cell, (axis, value): &(String, String)| {
            cell.values.iter().any(|(name, own)| name == axis && shown(own) == *value)
        };
        let of_step = || self.all.iter().enumerate().filter(|(_, cell)| cell.step == step);
        let found: Vec<usize> =
            of_step().filter(|(_, cell)| wanted.iter().all(|one| has(cell, one))).map(|(i, _)| i).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let values: Vec<(String, Value)> =
            wanted.iter().map(|(axis, value)| (axis.clone(), Value::String(value.clone()))).collect();
        let (asked, first) =
            (label(&experiment.steps[step].name, &values), of_step().next().map(|(_, cell)| &cell.label));
        Err(Error::no_such(format!("there is no cell `{asked}`"))
            .hint(format!("write such as {}", first.map_or("NAME", |label| label))))
    }

    /// These cells and all that they need, in the order in which they are run.
    pub fn with_needed(&self, chosen: &[usize]) -> Vec<usize> {
        let mut wanted: BTreeSet<usize> = chosen.iter().copied().collect();
        // What a cell needs stands before it.
        for i in (0..self.all.len()).rev() {
            if wanted.contains(&i) {
                wanted.extend(&self.all[i].needs);
            }
        }
        wanted.into_iter().collect()
    }
}
