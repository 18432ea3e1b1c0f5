//! Some rows of a table, to be drawn as if they were all: those of one metric, or of some positions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::error::{Error, Result, said};
use crate::range::{Interval, among};
use crate::table::{Cell, Row, Rows};

/// Which rows are drawn; all where nothing is chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Only {
    /// Those of this metric.
    pub metric: Option<String>,
    /// Those at these positions; of attention, those of queries there.
    pub positions: Option<Vec<Interval>>,
}

impl Only {
    /// Whether that is all.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// The rows that are chosen of others.
pub(super) struct Chosen<'a, R> {
    rows: &'a mut dyn Rows<R>,
    /// Rows that follow each other there: the number of the first here, and which they are there.
    runs: Vec<(usize, Range<usize>)>,
    len: usize,
}

/// The column that says where a row is.
fn position_column<R: Row>() -> Option<&'static str> {
    let has = |name: &&str| R::TABLE.columns.iter().any(|column| column.name == *name);
    ["pos", "query_pos"].into_iter().find(has)
}

/// How many positions each prompt or pair has in the table, by the first column where that counts them.
fn lengths<R: Row>(rows: &mut dyn Rows<R>, whose: &str, column: &str) -> Result<BTreeMap<u32, usize>> {
    let mut lengths = BTreeMap::new();
    rows.cells(0..rows.len(), &[whose, column], &mut |cells| {
        if let [Cell::U32(whose), Cell::U32(pos)] = *cells {
            let length = lengths.entry(whose).or_insert(0);
            *length = usize::max(*length, pos as usize + 1);
        }
        Ok(())
    })?;
    Ok(lengths)
}

impl<'a, R: Row> Chosen<'a, R> {
    /// Those of `rows` that are chosen.
    ///
    /// # Errors
    /// When the table has no such choice, or none of its rows is chosen.
    pub fn of(rows: &'a mut dyn Rows<R>, only: &Only) -> Result<Self> {
        let (name, n) = (R::TABLE.name, rows.len());
        let mut kept = vec![true; n];
        if let Some(metric) = &only.metric {
            if R::TABLE.columns.iter().all(|column| column.name != "metric") {
                return Err(Error::bad_input(format!("the figures of the table `{name}` have no metric to choose"))
                    .hint(said(
                        "leave out {!metric}; it is for figures of patches, paths, ablations and attributions",
                    )));
            }
            let (mut at, mut all) = (0, BTreeSet::new());
            rows.cells(0..n, &["metric"], &mut |cells| {
                if let [Cell::Str(own)] = *cells {
                    kept[at] = own == metric;
                    if !all.contains(own) {
                        all.insert(own.to_owned());
                    }
                }
                at += 1;
                Ok(())
            })?;
            if !all.contains(metric) {
                let there = all.iter().map(String::as_str).collect::<Vec<_>>();
                return Err(Error::no_such(format!("the table has no metric `{metric}`")).nearest_or(
                    metric,
                    there.iter().copied(),
                    format!("it has {}", there.join(", ")),
                ));
            }
        }
        if let Some(chosen) = &only.positions {
            let whose =
                R::TABLE.columns.first().map(|column| column.name).filter(|name| ["prompt", "pair"].contains(name));
            let (Some(column), Some(whose)) = (position_column::<R>(), whose) else {
                return Err(Error::bad_input(format!("the figures of the table `{name}` have no positions to choose"))
                    .hint(said("leave out {!positions}")));
            };
            let mut places = BTreeMap::new();
            for (whose, length) in lengths(rows, whose, column)? {
                let wrong = |what: Interval| {
                    Error::bad_input(format!("position {what} is none of the {length} positions of {whose}"))
                        .hint(said("choose others with {positions}, such as {positions=0-2}"))
                };
                places.insert(whose, among(chosen, length).map_err(wrong)?);
            }
            let mut at = 0;
            rows.cells(0..n, &[whose, column], &mut |cells| {
                if let [Cell::U32(whose), Cell::U32(pos)] = *cells {
                    let is_one = |places: &Vec<usize>| places.binary_search(&(pos as usize)).is_ok();
                    kept[at] &= places.get(&whose).is_some_and(is_one);
                }
                at += 1;
                Ok(())
            })?;
        }
        let (mut runs, mut len): (Vec<(usize, Range<usize>)>, _) = (vec![], 0);
        for at in (0..n).filter(|at| kept[*at]) {
            match runs.last_mut() {
                Some((_, run)) if run.end == at => run.end += 1,
                _ => runs.push((len, at..at + 1)),
            }
            len += 1;
        }
        Ok(Self { rows, runs, len })
    }

    /// Which rows of the others some of these are.
    fn there(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let first = self.runs.partition_point(|(from, run)| from + run.len() <= range.start);
        let of = |(from, run): &(usize, Range<usize>)| {
            let (begin, end) = (range.start.max(*from), range.end.min(from + run.len()));
            run.start + (begin - from)..run.start + (end - from)
        };
        self.runs[first..].iter().take_while(|(from, _)| *from < range.end).map(of).collect()
    }
}

impl<R: Row> Rows<R> for Chosen<'_, R> {
    fn len(&self) -> usize {
        self.len
    }

    fn rows(&mut self, range: Range<usize>, f: &mut dyn FnMut(R) -> Result<()>) -> Result<()> {
        self.there(range).into_iter().try_for_each(|run| self.rows.rows(run, f))
    }

    fn cells(
        &mut self,
        range: Range<usize>,
        columns: &[&str],
        f: &mut dyn FnMut(&[Cell<'_>]) -> Result<()>,
    ) -> Result<()> {
        self.there(range).into_iter().try_for_each(|run| self.rows.cells(run, columns, f))
    }
}
