//! Means over prompts: how the target comes about on the whole, hook by hook, and how sure that is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analysis::sums::Sums;
use crate::analysis::{LensMeanRow, LensRow};
use crate::error::counted;
use crate::range::Interval;
use crate::text::Prompt;

/// Which rows means are of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Over {
    /// Positions as they were asked for.
    positions: Vec<isize>,
    /// How many tokens each prompt has, by its index.
    lengths: BTreeMap<u32, usize>,
}

impl Over {
    /// Those of `prompts` at the positions that are `chosen`, or where all are decoded, at the last. What is counted from both ends, such as `2--1`,
    /// is in each prompt counted from the first.
    pub fn of(prompts: &[Prompt], chosen: Option<&[Interval]>) -> Self {
        let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
        let mut positions: Vec<isize> =
            chosen.map_or(vec![-1], |chosen| chosen.iter().flat_map(|each| each.of_several(longest)).collect());
        let mut seen = vec![];
        positions.retain(|p| !seen.contains(p) && (seen.push(*p), true).1);
        Self { positions, lengths: prompts.iter().map(|p| (p.index, p.tokens.len())).collect() }
    }

    /// Bytes of what is kept of so many hooks: of each prompt a rank at each position.
    pub fn bytes(&self, hooks: usize) -> usize {
        hooks * self.positions.len() * (size_of::<Place>() + size_of::<u32>() * self.lengths.len())
    }
}

/// Takes rows in, prompt after prompt, and gives their means.
pub(super) struct Means {
    over: Over,
    /// Of each hook, in the order in which they come, a place for each position.
    hooks: Vec<(LensRow, Vec<Place>)>,
}

/// What is known of a hook and position.
#[derive(Clone, Debug, Default)]
struct Place {
    prob: Sums,
    rank: Sums,
    ranks: Vec<u32>,
    first: Sums,
    logit_diff: Sums,
    entropy_bits: Sums,
    kl_to_final_bits: Sums,
}

impl Means {
    /// Of no rows yet.
    pub fn new(over: Over) -> Self {
        Self { over, hooks: vec![] }
    }

    /// One more row. What is said of the target is the same on each row of a distribution: the first counts.
    pub fn add(&mut self, row: &LensRow) {
        let (Some(rank), Some(prob)) = (row.target_rank, row.target_prob) else { return };
        let Some(length) = self.over.lengths.get(&row.prompt).filter(|_| row.rank == 1) else { return };
        let is_here = |asked: &isize| counted(*asked, *length) == Some(row.pos as usize);
        let at = match self.hooks.iter().position(|(first, _)| first.hook == row.hook) {
            Some(at) => at,
            None => {
                self.hooks.push((row.clone(), vec![Place::default(); self.over.positions.len()]));
                self.hooks.len() - 1
            }
        };
        let places = self.hooks[at].1.iter_mut().zip(&self.over.positions);
        for (place, _) in places.filter(|(_, asked)| is_here(asked)) {
            place.prob.add(f64::from(prob));
            place.rank.add(f64::from(rank));
            place.ranks.push(rank);
            place.first.add(f64::from(u8::from(rank == 1)));
            row.logit_diff.into_iter().for_each(|diff| place.logit_diff.add(f64::from(diff)));
            place.entropy_bits.add(f64::from(row.entropy_bits));
            place.kl_to_final_bits.add(f64::from(row.kl_to_final_bits));
        }
    }

    /// A row for each position and hook.
    pub fn rows(mut self) -> Vec<LensMeanRow> {
        let mut rows = vec![];
        for (at, pos) in self.over.positions.iter().enumerate() {
            for (first, places) in &mut self.hooks {
                rows.extend(places[at].row(first, *pos as i64));
            }
        }
        rows
    }
}

impl Place {
    /// Its means; none of no prompt.
    fn row(&mut self, first: &LensRow, pos: i64) -> Option<LensMeanRow> {
        let (prob, rank, top) = (self.prob.both(), self.rank.both(), self.first.both());
        let (diff, entropy, kl) = (self.logit_diff.both(), self.entropy_bits.both(), self.kl_to_final_bits.both());
        Some(LensMeanRow {
            hook: first.hook.clone(),
            layer: first.layer,
            pos,
            prompts: self.prob.n,
            target_prob: prob.0?,
            target_prob_se: prob.1,
            target_rank: rank.0?,
            target_rank_se: rank.1,
            target_rank_median: median(&mut self.ranks) as f32,
            target_first: top.0?,
            target_first_se: top.1,
            foils: self.logit_diff.n,
            logit_diff: diff.0,
            logit_diff_se: diff.1,
            entropy_bits: entropy.0?,
            entropy_bits_se: entropy.1,
            kl_to_final_bits: kl.0?,
            kl_to_final_bits_se: kl.1,
        })
    }
}

/// The middle one; of an even number, the mean of the middle two.
fn median(ranks: &mut [u32]) -> f64 {
    ranks.sort_unstable();
    let n = ranks.len();
    match n % 2 {
        _ if n == 0 => f64::NAN,
        0 => (f64::from(ranks[n / 2 - 1]) + f64::from(ranks[n / 2])) / 2.0,
        _ => f64::from(ranks[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&mut [9, 1, 4]), 4.0);
        assert_eq!(median(&mut [9, 1, 4, 2]), 3.0);
        assert_eq!(median(&mut [7]), 7.0);
    }
}
