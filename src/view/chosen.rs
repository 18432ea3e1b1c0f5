//! Some rows of a table, to be drawn as if they were all: those of one metric, or of some positions. Or some panels: those of one measure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::View;
use crate::error::{Error, Result, readable, said};
use crate::range::{Interval, among};
use crate::table::{Cell, Row, Rows, TableInfo};

/// Which rows are drawn; all where nothing is chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Only {
    /// Those of this metric; where rows have none, the panels of this measure.
    pub metric: Option<String>,
    /// The figure of this name.
    pub figure: Option<String>,
    /// Those at these positions; of attention, those of queries there.
    pub positions: Option<Vec<Interval>>,
    /// Those at positions of these names.
    pub position_names: Vec<String>,
}

impl Only {
    /// Whether that is all.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether positions are chosen, by number or name.
    pub(super) fn has_positions(&self) -> bool {
        self.positions.is_some() || !self.position_names.is_empty()
    }
}

/// The rows that are chosen of others.
pub(super) struct Chosen<'a, R> {
    rows: &'a mut dyn Rows<R>,
    /// Rows that follow each other there: the number of the first here, and which they are there.
    runs: Vec<(usize, Range<usize>)>,
    len: usize,
}

/// So many figures are listed where one is asked for that is not there.
const MOST_LISTED: usize = 24;

/// Whether rows of a table say of which metric they are.
pub(super) fn has_metric(table: &TableInfo) -> bool {
    table.columns.iter().any(|column| column.name == "metric")
}

/// The columns of a table that say where a row is.
pub(super) struct Places {
    /// Whose positions they are: of which prompt or pair; none of means over all.
    whose: Option<&'static str>,
    /// By number: the first of them that a row has.
    numbers: Vec<&'static str>,
    /// By name, where positions go by names.
    name: Option<&'static str>,
}

/// Takes whose a row is, its position by number, and by name.
type TakePlace<'a> = dyn FnMut(u32, Option<u32>, Option<&str>) + 'a;

impl Places {
    /// Those of a table that has some.
    pub fn of(table: &TableInfo) -> Option<Self> {
        let has = |name: &&str| table.columns.iter().any(|column| column.name == *name);
        let whose = table.columns.first().map(|column| column.name).filter(|name| ["prompt", "pair"].contains(name));
        let numbers: Vec<_> = ["pos", "query_pos"].into_iter().filter(has).collect();
        let name = Some("position_name").filter(has);
        // Of means, positions have names where they are not the same in all.
        (!numbers.is_empty() && (whose.is_some() || name.is_some())).then_some(Self { whose, numbers, name })
    }

    /// Gives whose each row is, its position by number, and by name.
    fn each<R: Row>(&self, rows: &mut dyn Rows<R>, f: &mut TakePlace<'_>) -> Result<()> {
        let columns: Vec<&str> = self.whose.into_iter().chain(self.numbers.iter().copied()).chain(self.name).collect();
        let n = rows.len();
        rows.cells(0..n, &columns, &mut |cells| {
            let (own, places) = cells.split_at(usize::from(self.whose.is_some()));
            let number = |cell: &Cell<'_>| if let Cell::U32(x) = *cell { Some(x) } else { None };
            let name = |cell: &&Cell<'_>| matches!(cell, Cell::Str(_));
            let named = match places.iter().find(name) {
                Some(Cell::Str(name)) => Some(*name),
                _ => None,
            };
            f(own.first().and_then(number).unwrap_or(0), places.iter().find_map(number), named);
            Ok(())
        })
    }

    /// Which rows are at the positions that are chosen.
    ///
    /// # Errors
    /// When a prompt or pair has not one of them, there is no such name, or none is chosen.
    fn chosen<R: Row>(&self, rows: &mut dyn Rows<R>, only: &Only) -> Result<Vec<bool>> {
        let (mut lengths, mut names) = (BTreeMap::<u32, usize>::new(), vec![]);
        self.each(rows, &mut |whose, number, name| {
            if let Some(number) = number {
                let length = lengths.entry(whose).or_default();
                *length = usize::max(*length, number as usize + 1);
            }
            names.extend(name.filter(|name| !names.iter().any(|known| known == name)).map(str::to_owned));
        })?;
        if let Some(absent) = only.position_names.iter().find(|name| !names.contains(name)) {
            return Err(self.no_name(absent, &names));
        }
        let chosen = only.positions.as_deref().unwrap_or_default();
        let mut places = BTreeMap::new();
        for (whose, length) in lengths {
            let wrong = |what: Interval| {
                let of = self.whose.map_or("the means".to_owned(), |what| format!("{what} {whose}"));
                Error::bad_input(format!("position {what} is none of the {length} positions of {of}"))
                    .hint(said("choose others with {positions}, such as {positions=0-2}"))
            };
            places.insert(whose, among(chosen, length).map_err(wrong)?);
        }
        let mut kept = vec![];
        self.each(rows, &mut |whose, number, name| {
            let by_name = name.is_some_and(|name| only.position_names.iter().any(|chosen| chosen == name));
            kept.push(
                by_name
                    || match number {
                        Some(number) => {
                            places.get(&whose).is_some_and(|places| places.binary_search(&(number as usize)).is_ok())
                        }
                        // Of means, what is counted from the end has no other number than its name.
                        None => name
                            .and_then(|name| name.parse().ok())
                            .is_some_and(|number: isize| chosen.iter().any(|interval| interval.spans(number))),
                    },
            );
        })?;
        if kept.contains(&true) {
            return Ok(kept);
        }
        let called = if names.is_empty() { String::new() } else { format!("; they are called {}", names.join(", ")) };
        Err(Error::no_such(format!("the table has none of the chosen positions{called}"))
            .hint(said("choose others, or leave out {!positions}")))
    }

    /// Says that no position has that name.
    fn no_name(&self, asked: &str, names: &[String]) -> Error {
        let asked = readable(asked);
        if names.is_empty() {
            return Error::no_such(format!("no position is called `{asked}`: positions in this table have no names"))
                .hint(said("write numbers, such as {positions=0-2}"));
        }
        let says = format!("no position is called `{asked}`; there are {}", names.join(", "));
        Error::no_such(says).nearest_or(&asked, names.iter().map(String::as_str), "choose one of these")
    }
}

/// Panels of a measure that was asked for, and the measures that there are.
pub(super) struct Measures(pub Option<String>, pub Vec<&'static str>);

impl Measures {
    /// A view with the panels of that measure alone; none where it has none. Without one that was asked for, the view.
    pub fn of(&mut self, mut view: View) -> Option<View> {
        let Some(asked) = &self.0 else { return Some(view) };
        let there = &mut self.1;
        view.panels.retain(|panel| {
            let column = panel.values().and_then(|axis| axis.column);
            there.extend(column.filter(|column| !there.contains(column)));
            column == Some(asked)
        });
        view.name = format!("{}-{asked}", view.name);
        (!view.panels.is_empty()).then_some(view)
    }

    /// Whether there were panels of that measure.
    ///
    /// # Errors
    /// When there were none.
    pub fn found(&self) -> Result<()> {
        match &self.0 {
            Some(asked) if !self.1.contains(&&**asked) => Err(no_metric(asked, &self.1)),
            _ => Ok(()),
        }
    }
}

/// The view of a name that was asked for, and what others are called.
pub(super) struct Named(pub Option<String>, pub Vec<String>);

impl Named {
    /// The view, if it is that one or none was asked for.
    pub fn of(&mut self, view: View) -> Option<View> {
        let Some(asked) = &self.0 else { return Some(view) };
        self.1.extend((!view.panels.is_empty()).then(|| view.name.clone()));
        (view.name == *asked).then_some(view)
    }

    /// Whether there was one of that name.
    ///
    /// # Errors
    /// When there was none; it lists those that there were.
    pub fn found(&self) -> Result<()> {
        let (Some(asked), there) = (&self.0, &self.1) else { return Ok(()) };
        if there.is_empty() || there.contains(asked) {
            return Ok(());
        }
        let more = there.len().saturating_sub(MOST_LISTED);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        let listed = there.iter().take(MOST_LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let says = format!("the table has no figure `{}`; it has {listed}{more}", readable(asked));
        Err(Error::no_such(says).nearest_or(asked, there.iter().map(String::as_str), "choose one of these"))
    }
}

/// Says that there is no such metric, and which there are.
fn no_metric(asked: &str, there: &[&str]) -> Error {
    let says = format!("the table has no metric `{asked}`; it has {}", there.join(", "));
    Error::no_such(says).nearest_or(asked, there.iter().copied(), "choose one of these")
}

impl<'a, R: Row> Chosen<'a, R> {
    /// Those of `rows` that are chosen.
    ///
    /// # Errors
    /// When the table has no such choice, or none of its rows is chosen.
    pub fn of(rows: &'a mut dyn Rows<R>, only: &Only) -> Result<Self> {
        let n = rows.len();
        let mut kept = vec![true; n];
        if let Some(metric) = &only.metric {
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
                return Err(no_metric(metric, &all.iter().map(String::as_str).collect::<Vec<_>>()));
            }
        }
        if only.has_positions() {
            let Some(places) = Places::of(R::TABLE) else {
                return Err(Error::bad_input(format!("the table `{}` has no positions", R::TABLE.name))
                    .hint(said("leave out {!positions}")));
            };
            let chosen = places.chosen(rows, only)?;
            kept.iter_mut().zip(chosen).for_each(|(kept, chosen)| *kept &= chosen);
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
