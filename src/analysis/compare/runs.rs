//! Two runs of one analysis: their tables joined on the keys that each table declares, and the numbers in them subtracted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::rows::{CompareColumnsRow, CompareRunsRow};
use crate::error::{Error, Result, nearest};
use crate::session::Sink;
use crate::session::words::shell;
use crate::sweep::Need;
use crate::table::joined::{Both, Joined, join};
use crate::table::{ColumnType, Provenance, TableInfo, read_provenance};

/// The tables that a run has left.
struct Run {
    /// As it was named.
    name: String,
    /// The file of each table with how it was made and a hash over its bytes.
    tables: BTreeMap<String, (PathBuf, Provenance, String)>,
}

/// Two runs whose tables can be joined.
pub struct Runs {
    reference: Run,
    other: Run,
    /// The tables that both have.
    shared: Vec<&'static TableInfo>,
}

/// What decides the results: the bytes of the tables.
impl Serialize for Runs {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let hashes = |run: &Run| self.shared.iter().map(|table| run.tables[table.name].2.clone()).collect::<Vec<_>>();
        to.collect_seq([hashes(&self.reference), hashes(&self.other)])
    }
}

impl Run {
    /// The run whose results are in the folder `path`, or the one table in the file of this name.
    fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        if !path.exists() {
            return Err(absent(path));
        }
        let files: Vec<PathBuf> = match path.is_dir() {
            false => vec![path.to_owned()],
            true => {
                let mut files = vec![];
                for entry in fs_err::read_dir(path)? {
                    let file = entry?.path();
                    files.extend(file.extension().is_some_and(|end| end == "parquet").then_some(file));
                }
                files.sort();
                files
            }
        };
        let mut tables = BTreeMap::new();
        for file in files {
            // What lies beside them may be anybody's, and data sets have files of their own.
            let made = match read_provenance(&file) {
                Err(e) if !path.is_dir() => return Err(e),
                Err(_) => continue,
                Ok(made) => made,
            };
            if crate::analysis::tables().any(|table| table.name == made.table) {
                let hash = blake3::hash(&fs_err::read(&file)?).to_hex().to_string();
                tables.insert(made.table.clone(), (file, made, hash));
            }
        }
        match tables.is_empty() {
            true => Err(Error::bad_input(format!("{name} has no table that pellucid wrote"))
                .hint("give the folder that a command has left, such as runs/loss-...")),
            false => Ok(Self { name, tables }),
        }
    }

    /// The analysis that it is of.
    fn analysis(&self) -> &str {
        self.made().command.get(1).map_or("", String::as_str)
    }

    fn made(&self) -> &Provenance {
        // There is at least one table.
        self.tables.values().next().map_or_else(
            || {
                static NONE: std::sync::LazyLock<Provenance> = std::sync::LazyLock::new(Provenance::default);
                &*NONE
            },
            |(_, made, _)| made,
        )
    }
}

/// The error for a run that is not there.
fn absent(path: &Path) -> Error {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut there: Vec<String> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    there.sort();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let near = nearest(&name, there.iter().map(String::as_str));
    Error::no_such(format!("there is no run {}", path.display())).hint(match (near, &there[..]) {
        (Some(near), _) => format!("did you mean {}?", path.with_file_name(near).display()),
        (None, []) => "give the folder that a command has left, such as runs/loss-...".to_owned(),
        (None, some) => {
            let shown = some.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            format!("{} has {shown}{}", parent.display(), if some.len() > 5 { " and others" } else { "" })
        }
    })
}

impl Runs {
    /// The runs whose results are in these folders, or the tables in these files.
    ///
    /// # Errors
    /// When one is not there, or they are of different analyses or versions, or the same run.
    pub fn open(reference: &Path, other: &Path) -> Result<Self> {
        let [reference, other] = [Run::open(reference)?, Run::open(other)?];
        let (a, b) = (&reference, &other);
        let shared: Vec<&TableInfo> = crate::analysis::tables()
            .filter(|table| a.tables.contains_key(table.name) && b.tables.contains_key(table.name))
            .collect();
        if a.analysis() != b.analysis() {
            return Err(Error::bad_input(format!(
                "{} is a run of `{}`, and {} one of `{}`: their rows say different things",
                a.name,
                a.analysis(),
                b.name,
                b.analysis()
            ))
            .hint("give two runs of one analysis"));
        }
        if shared.is_empty() {
            let names = |run: &Run| run.tables.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(Error::bad_input(format!(
                "{} and {} have no table in common: {} and {}",
                a.name,
                b.name,
                names(a),
                names(b)
            ))
            .hint("give two runs that wrote the same tables"));
        }
        for table in &shared {
            let (x, y) = (&a.tables[table.name].1, &b.tables[table.name].1);
            if x.table_version != y.table_version || x.hook_names != y.hook_names {
                let what = |of: &Provenance| format!("{} (pellucid {})", of.table_version, of.pellucid_version);
                return Err(Error::bad_input(format!(
                    "the table `{}` is of version {} in {} and {} in {}",
                    table.name,
                    what(x),
                    a.name,
                    what(y),
                    b.name
                ))
                .hint("run the older one again: its command is in its manifest.json"));
            }
            if x.table_version > table.version {
                return Err(Error::bad_input(format!(
                    "{} has version {} of the table `{}`; this program knows version {}",
                    a.name, x.table_version, table.name, table.version
                ))
                .hint(format!("it was written by pellucid {}; update pellucid", x.pellucid_version)));
            }
        }
        if shared.iter().all(|table| a.tables[table.name].2 == b.tables[table.name].2) {
            return Err(Error::bad_input(format!(
                "{} and {} are the same run: nothing differs in them",
                a.name, b.name
            ))
            .hint("give two runs with other models, prompts or options"));
        }
        Ok(Self { reference, other, shared })
    }

    /// The models of both, and the hashes of their weights.
    pub(super) fn made(&self) -> [&Provenance; 2] {
        [self.reference.made(), self.other.made()]
    }

    /// What the join needs of memory: the tables, their keys as text, and the joined columns, of the largest table.
    pub(super) fn need(&self) -> Need {
        let of = |table: &&TableInfo| {
            let size = |run: &Run| std::fs::metadata(&run.tables[table.name].0).map_or(0, |file| file.len() as usize);
            // Columns are compressed in the file: what they are unpacked is not known before, and is seldom more than this.
            (size(&self.reference) + size(&self.other)) * 24
        };
        let most = self.shared.iter().map(of).max().unwrap_or(0);
        Need { activations: most, least: most, rows: 0 }
    }

    /// Joins all tables that both have.
    ///
    /// # Errors
    /// When one cannot be read; what `out` says.
    pub(super) fn run(&self, out: &mut Sink<'_>) -> Result<()> {
        out.begin::<CompareRunsRow>()?;
        out.begin::<CompareColumnsRow>()?;
        for (what, run) in [("first", &self.reference), ("second", &self.other)] {
            out.say(format_args!("{what}: {} ({})", run.name, shell(&run.made().command)));
            if !run.made().complete {
                out.note(format!("{} was stopped before it was complete: its missing rows are unmatched", run.name));
            }
        }
        let mut columns = vec![];
        for (i, table) in self.shared.iter().enumerate() {
            out.watch.at(i, self.shared.len())?;
            let version = self.reference.tables[table.name].1.table_version;
            let keys: Vec<&str> = table.keys().iter().filter(|key| key.since <= version).map(|key| key.name).collect();
            let numbers: Vec<&str> = numbers(table, version).map(|column| column.0).collect();
            let paths = [&self.reference, &self.other].map(|run| &*run.tables[table.name].0);
            let joined = join(paths, &keys, &numbers)?;
            if joined.repeated {
                out.note(format!(
                    "several rows of `{}` have the same keys ({}), and are matched in their order",
                    table.name,
                    keys.join(", ")
                ));
            }
            said(table, &joined, out);
            for ((_, unit), both) in self::numbers(table, version).zip(&joined.columns) {
                columns.push(summed(table.name, unit, &joined, both));
            }
            self::rows(table.name, &joined, numbers_units(table, version)).try_for_each(|row| out.push(row))?;
        }
        columns.into_iter().try_for_each(|row| out.push(row))?;
        out.watch.at(self.shared.len(), self.shared.len())
    }
}

/// The columns of a table that are compared, with their units: numbers that are neither keys nor ids.
fn numbers(table: &TableInfo, version: u32) -> impl Iterator<Item = (&'static str, &'static str)> {
    let keys: Vec<&str> = table.keys().iter().map(|key| key.name).collect();
    let is_number = move |column: &&crate::table::ColumnInfo| {
        !matches!(column.kind, ColumnType::Str | ColumnType::Bool)
            && column.unit != "vocabulary id"
            && column.since <= version
            && !keys.contains(&column.name)
    };
    table.columns.iter().filter(is_number).map(|column| (column.name, column.unit))
}

fn numbers_units(table: &TableInfo, version: u32) -> Vec<&'static str> {
    numbers(table, version).map(|(_, unit)| unit).collect()
}

/// Says how many rows are matched.
fn said(table: &TableInfo, joined: &Joined, out: &mut Sink<'_>) {
    let (matched, [a, b]) = (joined.keys.len(), joined.rows);
    let rest = match (a - matched, b - matched) {
        (0, 0) => "all of both".to_owned(),
        (a, b) => format!("{a} of the first and {b} of the second have no partner"),
    };
    out.say(format_args!("{}: {matched} rows matched, {rest}", table.name));
}

/// The rows of a joined table.
fn rows<'j>(table: &'j str, joined: &'j Joined, units: Vec<&'static str>) -> impl Iterator<Item = CompareRunsRow> + 'j {
    (0..joined.keys.len()).flat_map(move |row| {
        let keys = Value::Object(joined.keys[row].clone()).to_string();
        let of = move |(both, unit): (&Both, &&str)| {
            let [Some(a), Some(b)] = [0, 1].map(|i| both.values[i][row]) else { return None };
            Some(CompareRunsRow {
                table: table.to_owned(),
                keys: keys.clone(),
                column: both.name.clone(),
                unit: (*unit).to_owned(),
                value_reference: a,
                value: b,
                difference: b - a,
            })
        };
        joined.columns.iter().zip(&units).filter_map(of).collect::<Vec<_>>()
    })
}

/// What a column comes to.
fn summed(table: &str, unit: &str, joined: &Joined, both: &Both) -> CompareColumnsRow {
    let pair = |row: usize| Some((row, both.values[0][row]?, both.values[1][row]?));
    let pairs: Vec<(usize, f64, f64)> = (0..joined.keys.len()).filter_map(pair).collect();
    let n = pairs.len() as f64;
    let mean = |of: &dyn Fn(f64, f64) -> f64| {
        (!pairs.is_empty()).then(|| pairs.iter().map(|(_, a, b)| of(*a, *b)).sum::<f64>() / n)
    };
    let (mean_a, mean_b) = (mean(&|a, _| a), mean(&|_, b| b));
    let moment = |of: &dyn Fn(f64, f64) -> f64| {
        let (x, y) = (mean_a?, mean_b?);
        mean(&|a, b| of(a - x, b - y))
    };
    let spread = moment(&|a, _| a * a).zip(moment(&|_, b| b * b)).map(|(a, b)| (a * b).sqrt());
    let correlation = moment(&|a, b| a * b).zip(spread).filter(|(_, spread)| *spread > 0.0).map(|(of, by)| of / by);
    // The first of the largest.
    let largest = pairs.iter().fold(None, |most: Option<(usize, f64)>, (row, a, b)| match most {
        Some((_, by)) if by.abs() >= (b - a).abs() => most,
        _ => Some((*row, b - a)),
    });
    let (matched, [a, b]) = (joined.keys.len(), joined.rows);
    let at = |(row, _): (usize, f64)| Value::Object(Map::clone(&joined.keys[row])).to_string();
    CompareColumnsRow {
        table: table.to_owned(),
        column: both.name.clone(),
        unit: unit.to_owned(),
        rows_reference: a as u64,
        rows: b as u64,
        matched: matched as u64,
        only_reference: (a - matched) as u64,
        only: (b - matched) as u64,
        compared: pairs.len() as u64,
        same: pairs.iter().filter(|(_, a, b)| a == b).count() as u64,
        mean_reference: mean_a,
        mean: mean_b,
        mean_difference: mean(&|a, b| b - a),
        mean_size: mean(&|a, b| (b - a).abs()),
        largest_difference: largest.map(|(_, by)| by),
        largest_at: largest.map(at),
        correlation,
    }
}
