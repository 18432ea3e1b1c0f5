//! Which positions of different pairs are the same one: counted from the beginning, from the end, or by names.

use super::grid::{Grid, Over};
use crate::error::{Error, Result, Said, give, said, words};
use crate::range::{Interval, positions_of};
use crate::text::Pair;

/// How positions of different pairs are matched where a sweep has an axis of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum Align {
    /// By their number, from 0.
    #[default]
    Start,
    /// By their number from the end: the last is -1.
    End,
    /// By the names that each pair gives to some of its positions ([`Pair::positions`]); only these are swept.
    Named,
}

/// What a position is called, apart from its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Label {
    /// Nothing.
    #[default]
    None,
    /// By its distance from the end.
    FromEnd,
    /// By a name: which of the pair's. Small, since every patch of a sweep has one.
    Named(u16),
}

impl Align {
    /// `start` or `end`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "start" => Ok(Self::Start),
            "end" => Ok(Self::End),
            _ => {
                let e = Error::no_such(format!("positions are not aligned at the `{name}`"));
                Err(e.nearest_or(
                    name,
                    ["start", "end"],
                    said("align them at the start or the end, or name them with {positions}"),
                ))
            }
        }
    }

    /// The positions of a sweep over `all` positions, each with what it is called.
    pub(super) fn labelled(self, all: Vec<usize>, named: &[usize]) -> Vec<(Option<usize>, Label)> {
        match self {
            Self::Start => all.into_iter().map(|p| (Some(p), Label::None)).collect(),
            Self::End => all.into_iter().map(|p| (Some(p), Label::FromEnd)).collect(),
            Self::Named => named.iter().zip(0..).map(|(p, i)| (Some(*p), Label::Named(i))).collect(),
        }
    }

    /// What position `at` is called, in every way: once, but for positions with several names or with none.
    pub(super) fn labels(self, at: Option<usize>, named: &[usize]) -> Vec<Label> {
        match (self, at) {
            (_, None) | (Self::Start, _) => vec![Label::None],
            (Self::End, _) => vec![Label::FromEnd],
            (Self::Named, Some(at)) => {
                named.iter().zip(0..).filter(|(p, _)| **p == at).map(|(_, i)| Label::Named(i)).collect()
            }
        }
    }
}

impl Label {
    /// The name of position `at` of `pair`.
    pub(super) fn name(self, pair: &Pair, at: Option<usize>) -> Option<String> {
        match self {
            Self::None => None,
            Self::FromEnd => at.map(|at| format!("-{}", pair.clean.tokens.len() - at)),
            Self::Named(i) => pair.positions.get(usize::from(i)).map(|named| named.name.clone()),
        }
    }
}

/// Positions of the prompts that are swept together although they may mean different things, in words; nothing where they are
/// comparable, or are not swept.
///
/// Prompts of different lengths have different tokens at the same number. Prompts of one length may be made alike, and differ in
/// names and places only; where they differ at more than half of their positions they are not.
pub fn incomparable(pairs: &[Pair], grid: &Grid) -> Option<Said> {
    let align = grid.align;
    let swept = grid.over.iter().any(|over| matches!(over, Over::Pos | Over::KeyPos));
    if !swept || pairs.len() < 2 || align == Align::Named {
        return None;
    }
    let lengths = pairs.iter().map(|p| p.clean.tokens.len());
    let (least, most) = (lengths.clone().min()?, lengths.max()?);
    let from = if align == Align::End { "end" } else { "beginning" };
    if least < most && align == Align::Start {
        let mixed = format!(
            "the prompts have {least} to {most} tokens, so that one position means different things in different pairs, and means \
             over pairs mix them: count from the end with "
        );
        return Some(words(mixed) + said("{align=end}, or name positions with {positions}"));
    }
    let token = |pair: &Pair, i: usize| {
        let n = pair.clean.tokens.len();
        pair.clean.tokens[if align == Align::End { n - 1 - i } else { i }].id
    };
    let differ = |i: &usize| pairs.iter().any(|pair| token(pair, *i) != token(&pairs[0], *i));
    let different = (0..least).filter(differ).count();
    (2 * different > least).then(|| {
        let mixed = format!(
            "the prompts have different tokens at {different} of {least} positions, counted from the {from}: where they are not \
             made alike, one position means different things in different pairs, and means over pairs mix them; name positions \
             with "
        );
        words(mixed) + give("positions")
    })
}

/// What there is to say of positions that were chosen where the two prompts of a pair are still alike, of a causal model: nothing there knows
/// yet that they differ.
pub fn alike(pairs: &[Pair], grid: &Grid) -> Option<String> {
    let each = grid.align == Align::Named || grid.over.contains(&Over::Pos);
    // Of each pair where it is so, the positions and how many tokens are alike.
    let found: Vec<(&Pair, Vec<usize>, usize)> = (pairs.iter())
        .filter_map(|pair| {
            let (clean, corrupt) = (pair.clean.ids(), pair.corrupt.as_ref()?.ids());
            let alike = clean.iter().zip(&corrupt).take_while(|(a, b)| a == b).count();
            let chosen: Vec<usize> = match (grid.align, &grid.only.pos) {
                (Align::Named, _) => pair.positions.iter().map(|named| named.at).collect(),
                (_, Some(chosen)) => positions_of("the prompt", chosen, clean.len()).ok()?,
                _ => vec![],
            };
            // Whoever sweeps all positions has chosen none; those that are patched together change something where one of them does.
            let is_choice = chosen.len() < clean.len();
            let mut early: Vec<usize> = chosen.iter().copied().filter(|pos| *pos < alike).collect();
            early.sort_unstable();
            early.dedup();
            let said = is_choice && !early.is_empty() && (each || chosen.iter().all(|pos| *pos < alike));
            said.then_some((pair, early, alike))
        })
        .collect();
    let (first, early, alike) = found.first()?;
    let last = alike - 1;
    let named = first.positions.iter().filter(|named| named.at <= last && grid.align == Align::Named);
    let names: Vec<&str> = named.map(|named| named.name.as_str()).collect();
    let positions = match &early[..] {
        _ if !names.is_empty() => format!("position{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", ")),
        [one] => format!("position {one}"),
        [first, .., last] if last - first + 1 == early.len() => format!("positions {first} to {last}"),
        all => format!("positions {}", all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    Some(match pairs {
        [_] => format!("clean and corrupt are alike up to position {last}, so patches at {positions} change nothing"),
        _ => format!(
            "clean and corrupt are alike at chosen positions of {} of {} pairs, so patches there change nothing: pair \"{}\" is alike up to \
             position {last}, and {positions} {} chosen",
            found.len(),
            pairs.len(),
            first.id,
            if early.len() == 1 { "is" } else { "are" }
        ),
    })
}

impl Grid {
    /// What is patched at once of layers and positions that are not gone over, where that is some and not all: `layers 0-2`,
    /// `positions io, s2`, as it was asked for.
    pub fn at_once(&self, pair: &Pair) -> Option<String> {
        let of = |what: &str, over: Over, chosen: Option<(Vec<String>, bool)>| {
            let (chosen, several) = chosen.filter(|_| !self.over.contains(&over))?;
            Some(format!("{what}{} {}", if several { "s" } else { "" }, chosen.join(", ")))
        };
        let said = |chosen: &Option<Vec<Interval>>| {
            let chosen = chosen.as_ref()?;
            let is_one = matches!(&chosen[..], [one] if one.is_one());
            Some((chosen.iter().map(Interval::to_string).collect(), !is_one))
        };
        let positions = match self.align {
            Align::Named => {
                let names: Vec<String> = pair.positions.iter().map(|named| named.name.clone()).collect();
                let several = names.len() > 1;
                Some((names, several))
            }
            _ => said(&self.only.pos),
        };
        let both = [of("layer", Over::Layer, said(&self.only.layers)), of("position", Over::Pos, positions)];
        let both: Vec<String> = both.into_iter().flatten().collect();
        (!both.is_empty()).then(|| both.join(", "))
    }
}
