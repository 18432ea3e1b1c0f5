//! Positions as they are seen: scores over distance, how alike learned vectors are, how fast pairs turn, and what comes next without.

mod boards;
mod decay;
mod learned;
mod turning;

use crate::error::Result;
use crate::table::{Row, Rows};
use crate::view::axis::Axis;
use crate::view::kind::{Body, Panel};
use crate::view::no_rows;

/// All rows of a table that has some.
fn all<R: Row>(rows: &mut dyn Rows<R>) -> Result<Vec<R>> {
    let mut all = vec![];
    rows.rows(0..rows.len(), &mut |row| {
        all.push(row);
        Ok(())
    })?;
    if all.is_empty() { Err(no_rows::<R>()) } else { Ok(all) }
}

/// A linear axis around some values, with a little room.
fn around(name: &str, values: impl Iterator<Item = f64>) -> Axis {
    let (least, most) = values.filter(|x| x.is_finite()).fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
    let (least, most) = if least <= most { (least, most) } else { (0.0, 1.0) };
    let room = if least == most { 1.0 } else { (most - least) * 0.06 };
    Axis::linear(name, least - room, most + room, 6)
}

fn panel(heading: impl Into<String>, body: Body) -> Panel {
    Panel { heading: heading.into(), body }
}
