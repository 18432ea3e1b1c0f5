//! Where an analysis puts what it finds: rows into tables, words for whoever asked.

use std::any::Any;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use super::{Claiming, Parts, Pieces, RunFolder, Shard};
use crate::error::{Error, Result, Said};
use crate::sweep::Watch;
use crate::table::{Provenance, Table, TableFile, TableWriter};
use crate::view::viewed::Written;
use crate::view::{Options, Seen};

/// Where rows go.
pub enum To<'a> {
    /// Into files of a run.
    Folder(&'a mut RunFolder),
    /// Into files that nobody keeps.
    Temporary(TempDir),
    /// Into memory.
    Memory,
    /// Into memory, beside the data set that the analysis itself makes.
    Dataset(Destination<'a>),
}

/// Where a data set goes.
pub struct Destination<'a> {
    /// Its folder.
    pub folder: PathBuf,
    /// What was asked for.
    pub request: Value,
    /// Whether to go on with what is there.
    pub resume: bool,
    /// Whether to make anew what is there.
    pub force: bool,
    /// What to do where another process is at work.
    pub claiming: &'a Claiming<'a>,
}

/// Takes the rows of an analysis, in any number of tables.
pub struct Sink<'a> {
    to: To<'a>,
    provenance: Provenance,
    /// Told how far the analysis is, and asked whether to go on.
    pub watch: &'a dyn Watch,
    /// What is done of a sweep, where that is kept.
    pub parts: Option<Parts>,
    /// What is done of a run in pieces.
    pub pieces: Pieces,
    /// Which part of the request is run, where several processes share it.
    pub shard: Option<Shard>,
    /// What a shard knows beside its rows, for whoever joins it.
    pub told: Value,
    /// How figures are drawn.
    pub options: Options,
    /// What is to be said beside the title of what is printed.
    pub caption: Option<Said>,
    /// Why the request has failed although all results are there.
    pub verdict: Option<Error>,
    noted: &'a dyn Fn(&Said),
    said: Vec<String>,
    last: Vec<String>,
    tables: Vec<Box<dyn Takes>>,
}

impl<'a> Sink<'a> {
    /// Takes rows that were made as `provenance` says. `noted` is told at once what a reader of the results should know.
    pub fn new(to: To<'a>, provenance: Provenance, watch: &'a dyn Watch, noted: &'a dyn Fn(&Said)) -> Self {
        Self {
            to,
            provenance,
            watch,
            parts: None,
            pieces: Pieces::default(),
            shard: None,
            told: Value::Null,
            options: Options::default(),
            caption: None,
            verdict: None,
            noted,
            said: vec![],
            last: vec![],
            tables: vec![],
        }
    }

    /// Takes a row.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn push<R: Seen + 'static>(&mut self, row: R) -> Result<()> {
        let at = match self.tables.iter().position(|table| table.name() == R::TABLE.name) {
            Some(at) => at,
            None => {
                self.begin::<R>()?;
                self.tables.len() - 1
            }
        };
        match self.tables[at].any().downcast_mut::<Taking<R>>() {
            Some(Taking::File(file, _)) => file.push(&row),
            Some(Taking::Memory(rows, _)) => {
                rows.push(row);
                Ok(())
            }
            None => Err(Error::compute(format!("two row types are called {}", R::TABLE.name)).fault()),
        }
    }

    /// Makes the table of `R`, which has no rows yet. Without this it is made with its first row.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin<R: Seen + 'static>(&mut self) -> Result<()> {
        let provenance = self.provenance.clone();
        let name = format!("{}.parquet", R::TABLE.name);
        let path = match &mut self.to {
            To::Folder(folder) => Some(folder.file(&name)),
            To::Temporary(folder) => Some(folder.path().join(name)),
            To::Memory | To::Dataset(_) => None,
        };
        let taking = match path {
            Some(path) => Taking::File(Box::new(TableWriter::<R>::create(&path, provenance)?), path),
            None => Taking::Memory(vec![], Box::new(provenance)),
        };
        self.tables.push(Box::new(taking));
        Ok(())
    }

    /// Where a file is to be made that is no table.
    ///
    /// # Errors
    /// When there is no folder.
    pub fn file(&mut self, name: &str) -> Result<PathBuf> {
        match &mut self.to {
            To::Folder(folder) => Ok(folder.file(name)),
            _ => Err(Error::bad_input(format!("{name} needs a folder")).hint("name one")),
        }
    }

    /// Where a data set is to be made.
    ///
    /// # Errors
    /// When there is no folder.
    pub fn destination(&self) -> Result<&Destination<'a>> {
        match &self.to {
            To::Dataset(to) => Ok(to),
            _ => Err(Error::bad_input("a data set needs a folder").hint("name one")),
        }
    }

    /// How results are made.
    pub fn provenance(&mut self) -> &mut Provenance {
        &mut self.provenance
    }

    /// Says at once what a reader of the results should know.
    pub fn note(&self, said: impl Into<Said>) {
        (self.noted)(&said.into());
    }

    /// Says something when the results are there.
    pub fn say(&mut self, words: impl std::fmt::Display) {
        self.said.push(words.to_string());
    }

    /// Says something after the results were printed.
    pub fn say_last(&mut self, words: impl std::fmt::Display) {
        self.last.push(words.to_string());
    }

    /// Finishes all tables, which are whole or not.
    ///
    /// # Errors
    /// When one cannot be written or read.
    pub fn finish(self, whole: bool) -> Result<Found> {
        let written = self.tables.into_iter().map(|table| table.finish(whole)).collect::<Result<_>>()?;
        let Self { said, last, options, caption, verdict, parts, pieces, told, to, provenance, .. } = self;
        let temporary = match to {
            To::Temporary(folder) => Some(folder),
            _ => None,
        };
        Ok(Found {
            tables: written,
            provenance,
            said,
            last,
            options,
            caption,
            verdict,
            parts,
            pieces,
            told,
            _temporary: temporary,
        })
    }
}

/// What an analysis has found.
pub struct Found {
    /// Its tables, in the order in which they were begun.
    pub tables: Vec<Box<dyn Written>>,
    /// How they were made.
    pub provenance: Provenance,
    /// What there is to say.
    pub said: Vec<String>,
    /// What there is to say after the results were printed.
    pub last: Vec<String>,
    /// How figures are drawn.
    pub options: Options,
    /// What is to be said beside the title of what is printed.
    pub caption: Option<Said>,
    /// Why the request has failed although all results are there.
    pub verdict: Option<Error>,
    /// What was kept of a sweep.
    pub parts: Option<Parts>,
    /// The pieces of the run, which its results were made of.
    pub pieces: Pieces,
    /// What a shard knows beside its rows.
    pub told: Value,
    /// The files that nobody keeps.
    _temporary: Option<TempDir>,
}

/// A table that takes rows.
enum Taking<R: Seen> {
    File(Box<TableWriter<R>>, PathBuf),
    Memory(Vec<R>, Box<Provenance>),
}

trait Takes {
    fn name(&self) -> &'static str;
    fn any(&mut self) -> &mut dyn Any;
    fn finish(self: Box<Self>, whole: bool) -> Result<Box<dyn Written>>;
}

impl<R: Seen + 'static> Takes for Taking<R> {
    fn name(&self) -> &'static str {
        R::TABLE.name
    }

    fn any(&mut self) -> &mut dyn Any {
        self
    }

    fn finish(self: Box<Self>, whole: bool) -> Result<Box<dyn Written>> {
        match *self {
            Self::File(mut file, path) => {
                file.provenance_mut().complete = whole;
                let provenance = file.provenance_mut().clone();
                file.finish()?;
                Ok(Box::new(Table::<R, _>::new(TableFile::<R>::open(&path)?, provenance)))
            }
            Self::Memory(rows, provenance) => Ok(Box::new(Table::<R, _>::new(rows, *provenance))),
        }
    }
}
