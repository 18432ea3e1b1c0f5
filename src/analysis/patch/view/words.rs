//! Where a patch is, and how its numbers are written: the words of figures and terminal.

use super::mark::{Mark, OTHERS};
use crate::analysis::patch::Metric;
use crate::table::{visible, visible_prose};
use crate::view::label::quoted;
use std::collections::BTreeSet;

/// What a sweep can go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coord {
    Layer,
    Head,
    KvHead,
    Neuron,
    Pos,
    QueryPos,
    KeyPos,
    ToLayer,
    ToHead,
    ToKvHead,
}

impl Coord {
    /// All of them, in the order in which a place is said.
    pub const ALL: [Coord; 10] = [
        Self::Layer,
        Self::Head,
        Self::KvHead,
        Self::Neuron,
        Self::Pos,
        Self::QueryPos,
        Self::KeyPos,
        Self::ToLayer,
        Self::ToHead,
        Self::ToKvHead,
    ];

    /// Where a patch is along it; nothing if all was patched at once.
    pub fn of(self, row: &Mark) -> Option<u32> {
        match self {
            Self::Layer => row.layer,
            Self::Head => row.head,
            Self::KvHead => row.kv_head,
            Self::Neuron => row.neuron,
            Self::Pos => row.pos,
            Self::QueryPos => row.query_pos,
            Self::KeyPos => row.key_pos,
            Self::ToLayer => row.to.as_ref()?.receiver_layer,
            Self::ToHead => row.to.as_ref()?.receiver_head,
            Self::ToKvHead => row.to.as_ref()?.receiver_kv_head,
        }
    }

    /// What stands for where a patch is along it: its name, where positions go by names, else its number.
    pub fn label(self, row: &Mark) -> Option<String> {
        self.position_name(row).map(str::to_owned).or_else(|| self.of(row).map(|i| i.to_string()))
    }

    /// The name of its position, where positions go by names.
    pub fn position_name(self, row: &Mark) -> Option<&str> {
        // Positions and queries share a column for it.
        self.of(row)?;
        match self {
            Self::Pos | Self::QueryPos => row.position_name.as_deref(),
            Self::KeyPos => row.key_position_name.as_deref(),
            _ => None,
        }
    }

    /// Its name, and what stands before its number where several are one name: `L3H2`.
    fn called(self) -> (&'static str, &'static str) {
        match self {
            Self::Layer | Self::ToLayer => ("layer", "L"),
            Self::Head | Self::ToHead => ("head", "H"),
            Self::KvHead | Self::ToKvHead => ("key/value head", "KV"),
            Self::Neuron => ("neuron", "N"),
            Self::Pos => ("position", "P"),
            Self::QueryPos => ("query position", "Q"),
            Self::KeyPos => ("key position", "K"),
        }
    }

    pub fn name(self) -> &'static str {
        self.called().0
    }

    fn letter(self) -> &'static str {
        self.called().1
    }

    pub fn is_position(self) -> bool {
        matches!(self, Self::Pos | Self::QueryPos | Self::KeyPos)
    }

    /// Whether it is a receiver's.
    pub fn is_receivers(self) -> bool {
        matches!(self, Self::ToLayer | Self::ToHead | Self::ToKvHead)
    }

    pub fn is_layer(self) -> bool {
        matches!(self, Self::Layer | Self::ToLayer)
    }

    /// The token at its position.
    pub fn token(self, row: &Mark) -> Option<&str> {
        match self {
            Self::Pos | Self::QueryPos => row.token.as_deref(),
            Self::KeyPos => row.key_token.as_deref(),
            _ => None,
        }
    }
}

/// Whether a coordinate says no more than another one does.
pub(crate) fn implied(coord: Coord, row: &Mark) -> bool {
    match coord {
        // A head reads one key/value head.
        Coord::KvHead => row.head.is_some(),
        Coord::ToKvHead => row.to.as_ref().is_some_and(|to| to.receiver_head.is_some()),
        _ => false,
    }
}

/// Its place along one of them, where it has one.
pub(crate) fn place_along(coord: Coord, row: &Mark) -> Option<String> {
    let token = coord.token(row).map_or(String::new(), |t| format!(" {}", quoted(t)));
    coord.label(row).map(|i| match (coord, row.method.window) {
        (Coord::Layer, 2..) => format!("{} layers around {i}", row.method.window),
        _ => format!("{} {i}{token}", coord.name()),
    })
}

/// `layer 3, position 14 "·to"`; of a path also the receiver's: `layer 0, head 1 → layer 3, head 2`.
pub(crate) fn place(row: &Mark) -> String {
    let along = |receivers: bool| {
        let own = Coord::ALL.into_iter().filter(|c| c.is_receivers() == receivers && !implied(*c, row));
        own.filter_map(|c| place_along(c, row)).collect::<Vec<_>>().join(", ")
    };
    match (along(false), along(true)) {
        (from, to) if from.is_empty() && to.is_empty() => {
            row.method.at_once.as_deref().map_or("everywhere".to_owned(), visible_prose)
        }
        (from, to) if to.is_empty() => from,
        (from, to) if from.is_empty() => format!("→ {to}"),
        (from, to) => format!("{from} → {to}"),
    }
}

/// A patch's place along some coordinates, short: `L3H2`, or the number alone if there is one; with an arrow between sender and
/// receiver.
pub(crate) fn short_place(coords: &[Coord], row: &Mark) -> String {
    let number = |c: &Coord| c.label(row).unwrap_or_else(|| "all".to_owned());
    if let [one] = coords {
        return number(one);
    }
    let (to, from): (Vec<Coord>, Vec<Coord>) = coords.iter().partition(|c| c.is_receivers());
    let short = |coords: &[Coord]| coords.iter().map(|c| format!("{}{}", c.letter(), number(c))).collect::<String>();
    match (&from[..], &to[..]) {
        (from, []) => short(from),
        ([], to) => short(to),
        (from, to) => format!("{}→{}", short(from), short(to)),
    }
}

/// The name of an axis on which [`short_place`] stands, where the sweep goes over `all`, `window` layers at once.
pub(crate) fn axis_name(coords: &[Coord], all: &[Coord], window: u32) -> String {
    let (to, from): (Vec<Coord>, Vec<Coord>) = coords.iter().partition(|c| c.is_receivers());
    let names = |coords: &[Coord]| match coords {
        [Coord::Layer] if window > 1 => format!("layer (middle of {window})"),
        [one] => one.name().to_owned(),
        several => several.iter().map(|c| format!("{} ({})", c.name(), c.letter())).collect::<Vec<_>>().join(", "),
    };
    let sides = all.iter().any(|c| c.is_receivers()) && from.iter().any(|c| !c.is_position());
    let mut parts = vec![];
    if !from.is_empty() {
        parts.push(format!("{}{}", if sides { "sender: " } else { "" }, names(&from)));
    }
    if !to.is_empty() {
        parts.push(format!("receiver: {}", names(&to)));
    }
    parts.join(" → ")
}

/// What stands at a position on an axis: its token, after its name if it has one; without a token its name or number.
pub(crate) fn on_axis(coord: Coord, row: &Mark) -> String {
    let own = |token: &&str| *token != OTHERS;
    match (coord.position_name(row).map(visible_prose), coord.token(row)) {
        (Some(name), token) => token.filter(own).map_or(name.clone(), |t| format!("{name} {}", visible(t))),
        (None, Some(token)) => visible(token),
        (None, None) => short_place(&[coord], row),
    }
}

/// A place along some coordinates, with a row that is there.
pub(crate) type Placed<'a> = (Vec<Option<u32>>, &'a Mark);

/// The places of the sweep along `coords`, in order, each with a row that is there.
pub(crate) fn places<'a>(rows: &[&'a Mark], coords: &[Coord]) -> Vec<Placed<'a>> {
    let mut seen = BTreeSet::new();
    let key = |r: &Mark| coords.iter().map(|c| c.of(r)).collect::<Vec<_>>();
    let mut found: Vec<_> = rows.iter().map(|r| (key(r), *r)).filter(|(k, _)| seen.insert(k.clone())).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Whether a clean run with this metric is no better than its corrupt run. Nothing is said of the divergence from the clean run and
/// of the loss.
pub(crate) fn is_no_better(metric: &str, clean: f32, corrupt: f32) -> bool {
    Metric::parse(metric).is_ok_and(|metric| metric.is_no_better(f64::from(clean), f64::from(corrupt)))
}
