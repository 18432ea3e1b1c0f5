//! A kind of view: places on a line, and arcs from one to another.

use super::kind::Side;

/// Places on a line, of which some have to do with others.
#[derive(Clone, Debug, Default)]
pub struct Arcs {
    /// The places.
    pub places: Side,
    /// What the thickness of an arc is.
    pub value: String,
    /// The arcs, the strongest first.
    pub arcs: Vec<Link>,
}

/// That one place has to do with another.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// From which place, by number.
    pub from: usize,
    /// To which.
    pub to: usize,
    /// How much.
    pub value: f64,
    /// The same in words.
    pub label: String,
    /// All its facts in one line.
    pub title: String,
}

impl Arcs {
    /// The strongest.
    pub fn most(&self) -> f64 {
        self.arcs.iter().map(|arc| arc.value.abs()).fold(f64::MIN_POSITIVE, f64::max)
    }
}
