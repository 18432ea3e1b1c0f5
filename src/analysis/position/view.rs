//! Positions as they are seen: scores over distance, how alike learned vectors are, how fast pairs turn, and what comes next without.

mod boards;
mod decay;
mod learned;
mod turning;

use crate::view::axis::Axis;
use crate::view::kind::{Body, Panel};

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
