//! The strongest estimates of all pairs, found while pairs come one after another.

use super::pass::Estimates;
use crate::sweep::Align;
use crate::text::Pair;

/// The strongest rows so far.
pub(super) struct Strongest {
    /// So many are wanted.
    most: usize,
    /// Strength, pair and row of the pair. At most twice as many as are wanted, and what one pair adds.
    found: Vec<(f32, usize, usize)>,
}

impl Strongest {
    /// None yet; `most` are wanted.
    pub fn new(most: usize) -> Self {
        Self { most, found: vec![] }
    }

    /// The estimates of `pairs`, of which the first is pair `first` of all. A pair's rows are those of [`Estimates::told`], in its order: one of
    /// each, but where positions go by names one for each name, and none without.
    pub fn add_all(
        &mut self,
        (first, pairs): (usize, &[Pair]),
        estimates: &[Vec<Estimates>],
        (top, align): (usize, Align),
    ) {
        if self.most == 0 {
            return;
        }
        for (i, (pair, estimates)) in pairs.iter().zip(estimates).enumerate() {
            let rows = |e: &Estimates, node: usize| match align {
                Align::Named => e.nodes.spot(node).called(pair, align).len(),
                _ => 1,
            };
            let strengths = estimates.iter().flat_map(|e| {
                let all = e.told(top).into_iter();
                all.flat_map(move |node| std::iter::repeat_n(e.strengths[node] as f32, rows(e, node)))
            });
            self.add(first + i, strengths);
        }
    }

    fn add(&mut self, pair: usize, strengths: impl Iterator<Item = f32>) {
        self.found.extend(strengths.enumerate().filter(|(_, s)| *s > 0.0).map(|(row, s)| (s, pair, row)));
        if self.found.len() / 2 > self.most {
            self.cut();
        }
    }

    /// Of equals the first stay, so that the same numbers give the same rows.
    fn cut(&mut self) {
        let order = |a: &(f32, usize, usize), b: &(f32, usize, usize)| {
            b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2))
        };
        if self.found.len() > self.most {
            self.found.select_nth_unstable_by(self.most, order);
            self.found.truncate(self.most);
        }
    }

    /// The rows of a pair that are among the strongest, in order.
    pub fn of(&mut self, pair: usize) -> Vec<usize> {
        self.cut();
        let mut rows: Vec<usize> = self.found.iter().filter(|f| f.1 == pair).map(|f| f.2).collect();
        rows.sort_unstable();
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_of_all_pairs_stay() {
        let mut strongest = Strongest::new(4);
        strongest.add(0, [1.0, 0.5, 0.0, f32::NAN].into_iter());
        strongest.add(1, [3.0, 0.5, 2.0].into_iter());
        strongest.add(2, [0.1, 0.5].into_iter());
        // Of three halves the first.
        assert_eq!((0..3).map(|pair| strongest.of(pair)).collect::<Vec<_>>(), [vec![0, 1], vec![0, 2], vec![]]);
        let mut none = Strongest::new(0);
        none.add_all((0, &[]), &[], (10, Align::Start));
        assert_eq!(none.of(0), Vec::<usize>::new());
    }
}
