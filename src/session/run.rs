//! A session asked: an analysis is run on prompts or pairs, and its tables are what comes back.

use std::mem::take;

use super::{Analysis, Found, On, Session, Sink, To};
use crate::error::{Result, Said};
use crate::sweep::Watch;
use crate::table::{Row, Table};
use crate::view::Seen;
use crate::view::viewed::{AnyTable, Of};

/// The tables of an analysis, by the types of their rows.
pub trait Tables {
    /// Each.
    const ALL: &'static [&'static dyn AnyTable];
    /// What is found in them.
    type Found;

    /// Takes them out of what was found.
    fn take(found: &mut Found) -> Self::Found;
}

/// No table.
impl Tables for () {
    const ALL: &'static [&'static dyn AnyTable] = &[];
    type Found = ();

    fn take(_: &mut Found) {}
}

impl<R: Seen + 'static> Tables for R {
    const ALL: &'static [&'static dyn AnyTable] = &[&Of::<R>::TABLE];
    type Found = Table<R>;

    fn take(found: &mut Found) -> Table<R> {
        table(found)
    }
}

macro_rules! tables {
    ($($row:ident)*) => {
        impl<$($row: Seen + 'static),*> Tables for ($($row,)*) {
            const ALL: &'static [&'static dyn AnyTable] = &[$(&Of::<$row>::TABLE),*];
            type Found = ($(Table<$row>,)*);

            fn take(found: &mut Found) -> Self::Found {
                ($(table::<$row>(found),)*)
            }
        }
    };
}
tables!(A B);
tables!(A B C);
tables!(A B C D);
tables!(A B C D E);
tables!(A B C D E F);
tables!(A B C D E F G);
tables!(A B C D E F G H);
tables!(A B C D E F G H I J K L M N O P Q R S T U V);

/// The table of `R`, without rows where there is none.
fn table<R: Row + 'static>(found: &mut Found) -> Table<R> {
    let own = found.tables.iter_mut().find_map(|table| table.any().downcast_mut::<Table<R>>());
    match own {
        Some(own) => Table::new(take(&mut own.rows), own.provenance.clone()),
        None => Table::new(vec![], found.provenance.clone()),
    }
}

impl Session {
    /// Runs `analysis` on prompts or pairs, and gives its tables: a [`Table`], or a tuple where it has several.
    ///
    /// ```
    /// use pellucid::analysis::lens::Lens;
    /// use pellucid::session::Session;
    ///
    /// let session = Session::open("demo")?;
    /// let prompts = [session.prompt("Mary and John")?];
    /// let (table, _means) = session.run(&Lens { top: Some(1), ..Lens::default() }, &prompts)?;
    /// assert_eq!(table.rows()[0].rank, 1);
    /// # Ok::<(), pellucid::Error>(())
    /// ```
    ///
    /// # Errors
    /// When options, input and model do not fit, or memory is not enough; whatever the run says.
    pub fn run<A: Analysis<On = Self>>(
        &self,
        analysis: &A,
        input: impl Into<A::Input>,
    ) -> Result<<A::Tables as Tables>::Found> {
        self.run_with(analysis, input, &(), &|_| {})
    }

    /// As [`Session::run`]. `watch` is told how far it is, and asked whether to go on; `noted` is told what a reader of the results
    /// should know.
    ///
    /// # Errors
    /// As [`Session::run`]; what `watch` says.
    pub fn run_with<A: Analysis<On = Self>>(
        &self,
        analysis: &A,
        input: impl Into<A::Input>,
        watch: &dyn Watch,
        noted: &dyn Fn(&Said),
    ) -> Result<<A::Tables as Tables>::Found> {
        let input = input.into();
        asked(self, analysis, &input, self.command(analysis, &input)?, watch, noted)
    }
}

/// Runs `analysis`, for which `command` asks, when there is memory for it.
pub(super) fn asked<A: Analysis>(
    on: &A::On,
    analysis: &A,
    input: &A::Input,
    command: Vec<String>,
    watch: &dyn Watch,
    noted: &dyn Fn(&Said),
) -> Result<<A::Tables as Tables>::Found> {
    if let Some(plan) = on.plan(analysis.need(on, input)?) {
        on.memory().map_or(Ok(()), |memory| plan.check_budget(memory))?;
        on.fits(&plan)?.into_iter().for_each(|warning| noted(&warning.into()));
    }
    let mut sink = Sink::new(To::Memory, on.provenance(command), watch, noted);
    analysis.run(on, input, &mut sink)?;
    let mut found = sink.finish(true)?;
    found.said.iter().chain(&found.last).for_each(|said| noted(&said.as_str().into()));
    match found.verdict.take() {
        Some(verdict) => Err(verdict),
        None => Ok(A::Tables::take(&mut found)),
    }
}
