//! An experiment as it stands in its file, checked for everything that can be known before a model is loaded.

use std::path::Path;

use toml::{Table, Value};

use super::expect::Expectation;
use super::keys::{is_plain, only, table, text, wrong};
use super::matrix::Matrix;
use super::template::Template;
use crate::error::{Error, Result};

/// An experiment file.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// What the file is called, without `.toml`.
    pub name: String,
    /// The folder it is in, as it was written.
    pub folder: String,
    /// What the experiment is called.
    pub title: String,
    /// What it asks.
    pub question: Option<String>,
    /// What others found, in Markdown.
    pub published: Option<String>,
    /// What was found here, in Markdown.
    pub found: Option<String>,
    /// Of every step that names no other.
    pub model: String,
    /// Of every step that has one and names no other.
    pub seed: Option<Value>,
    /// The combinations of values that steps are run for.
    pub matrix: Matrix,
    /// The steps, in the order of the file.
    pub steps: Vec<Step>,
    /// What is expected of their results.
    pub expect: Vec<Expectation>,
    /// What the report says; none where each step has a section.
    pub template: Option<Template>,
}

/// A step as it stands in the file.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// The command.
    pub run: String,
    /// Its options.
    pub options: Table,
}

/// Another value in the file.
#[derive(Clone, Debug)]
pub struct Set {
    path: Vec<String>,
    value: Value,
}

impl Set {
    /// `steps.heads.top=20`: the value is as TOML has it, else text.
    ///
    /// # Errors
    /// When there is no `=`, or no such place can be.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::bad_input(format!("`{text}` sets no value")).hint("write such as steps.heads.top=20");
        let (path, value) = text.split_once('=').ok_or_else(wrong)?;
        let path: Vec<String> = path.trim().split('.').map(|part| part.trim().to_owned()).collect();
        if path.len() < 2 || path.iter().any(String::is_empty) {
            return Err(wrong());
        }
        let read = toml::from_str::<Table>(&format!("value = {value}")).ok().filter(|table| table.len() == 1);
        let value = read.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(value.to_owned()));
        Ok(Self { path, value })
    }

    fn apply(&self, root: &mut Table) -> Result<()> {
        let shown = self.path.join(".");
        let mut at = root;
        let (last, before) =
            self.path.split_last().ok_or_else(|| Error::compute("a value of nothing is set").fault())?;
        for (depth, part) in before.iter().enumerate() {
            // What is called otherwise than in the file would be another step, which nobody asked for.
            if depth > 0 && !at.contains_key(part) {
                return Err(Error::no_such(format!(
                    "there is no `{}` in which to set {shown}",
                    self.path[..=depth].join(".")
                ))
                .nearest_or(part, at.keys().map(String::as_str), "name something that is in the file"));
            }
            at = match at.entry(part.as_str()).or_insert_with(|| Value::Table(Table::new())) {
                Value::Table(table) => table,
                other => return Err(self::wrong(&self.path[..=depth].join("."), other, "a table")),
            };
        }
        at.insert(last.clone(), self.value.clone());
        Ok(())
    }
}

impl Experiment {
    /// Reads the file at `path`, with other values in some places.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or says something that cannot be.
    pub fn open(path: &Path, set: &[Set]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::cannot_read(path, e))?;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = match path.parent().map(|folder| folder.to_string_lossy().into_owned()) {
            Some(folder) if !folder.is_empty() => folder,
            _ => ".".to_owned(),
        };
        Self::parse(&text, &name, &folder, set).map_err(|e| e.at(path.display()))
    }

    /// Reads the text of a file called `name` in `folder`.
    ///
    /// # Errors
    /// As [`Experiment::open`].
    pub fn parse(text: &str, name: &str, folder: &str, set: &[Set]) -> Result<Self> {
        let mut root: Table = toml::from_str(text).map_err(|e| not_toml(text, &e))?;
        set.iter().try_for_each(|set| set.apply(&mut root))?;
        only(&root, "", &["experiment", "matrix", "steps", "expect", "report"])?;
        let head = table(&root, "experiment")?;
        only(&head, "experiment", &["title", "question", "published", "found", "model", "seed"])?;
        let of_head = |key| self::text(&head, "experiment", key);
        let untitled = || Error::bad_input("`[experiment]` has no title").hint("add title = \"what it is about\"");
        let experiment = Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            title: of_head("title")?.ok_or_else(untitled)?,
            question: of_head("question")?,
            published: of_head("published")?,
            found: of_head("found")?,
            model: of_head("model")?.unwrap_or_else(|| crate::text::DEMO.to_owned()),
            seed: match head.get("seed") {
                Some(
                    other @ (Value::Array(_)
                    | Value::Table(_)
                    | Value::Boolean(_)
                    | Value::Datetime(_)
                    | Value::Float(_)),
                ) => {
                    return Err(wrong("experiment.seed", other, "a whole number"));
                }
                seed => seed.cloned(),
            },
            matrix: Matrix::read(&table(&root, "matrix")?)?,
            steps: table(&root, "steps")?.iter().map(Step::read).collect::<Result<_>>()?,
            expect: table(&root, "expect")?.iter().map(Expectation::read).collect::<Result<Vec<_>>>()?.concat(),
            template: template(&root)?,
        };
        match experiment.steps.is_empty() {
            true => {
                Err(Error::bad_input("there is no step").hint("add one: [steps.NAME] with run = \"lens\", for example"))
            }
            false => Ok(experiment),
        }
    }

    /// The step of this name, and where it stands.
    ///
    /// # Errors
    /// When there is none.
    pub fn step(&self, name: &str) -> Result<(usize, &Step)> {
        let found = self.steps.iter().enumerate().find(|(_, step)| step.name == name);
        found.ok_or_else(|| {
            let known = || self.steps.iter().map(|step| step.name.as_str());
            let all = known().collect::<Vec<_>>().join(", ");
            Error::no_such(format!("there is no step `{name}`")).nearest_or(name, known(), format!("there are {all}"))
        })
    }
}

impl Step {
    fn read((name, value): (&String, &Value)) -> Result<Self> {
        let Value::Table(table) = value else { return Err(wrong(&format!("steps.{name}"), value, "a table")) };
        if !is_plain(name) {
            return Err(Error::bad_input(format!(
                "the step `{name}` has a name that cannot be written in a reference"
            ))
            .hint("use letters, digits, - and _"));
        }
        let of = format!("steps.{name}");
        let mut options = table.clone();
        let run = text(table, &of, "run")?.ok_or_else(|| {
            Error::bad_input(format!("the step `{name}` does not say what it runs"))
                .hint("add run = \"lens\", or another command")
        })?;
        options.remove("run");
        Ok(Self { name: name.clone(), run, options })
    }
}

fn template(root: &Table) -> Result<Option<Template>> {
    let report = table(root, "report")?;
    only(&report, "report", &["template"])?;
    text(&report, "report", "template")?.map(|text| Template::parse(&text)).transpose()
}

fn not_toml(text: &str, e: &toml::de::Error) -> Error {
    let line = e.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let place = line.map_or(String::new(), |line| format!("line {line}: "));
    let what = e.message().trim().replace('\n', ", ");
    Error::bad_input(format!("{place}this is not TOML: {what}"))
        .hint("text needs quotes; docs/experiments.md has an example")
}

/// So many steps, in words.
pub fn steps(n: usize) -> String {
    format!("{n} step{}", if n == 1 { "" } else { "s" })
}
