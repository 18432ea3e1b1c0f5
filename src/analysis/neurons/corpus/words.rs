//! How much of a column the current token alone explains: adjusted R² of the means over the most frequent tokens of the corpus.
//!
//! Of `n` tokens that are among `g` frequent ones, the means explain `R² = 1 - within / total` of the squares about their common mean, and
//! of pure noise `(g - 1) / (n - 1)`: adjusted, `1 - (1 - R²) (n - 1) / (n - g)`, it is 0 there on average (Ezekiel 1930).

use std::collections::HashMap;

/// Tokens of which means are taken, each with its number.
#[derive(Clone, Debug, Default)]
pub(super) struct Frequent {
    numbers: HashMap<u32, u32>,
    /// How often each comes.
    counts: Vec<u64>,
}

impl Frequent {
    /// The `k` tokens that come most often; of those that come equally often, the smaller ids.
    pub fn of(counts: HashMap<u32, u64>, k: usize) -> Self {
        let mut all: Vec<(u32, u64)> = counts.into_iter().collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(k);
        let numbers = all.iter().enumerate().map(|(i, (id, _))| (*id, i as u32)).collect();
        Self { numbers, counts: all.into_iter().map(|(_, n)| n).collect() }
    }

    /// The number of a token, if it is one of them.
    pub fn number(&self, id: u32) -> Option<u32> {
        self.numbers.get(&id).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// How many tokens of the corpus are one of them.
    pub fn tokens(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Of a column with these sums for each of them, and these squares about their common mean.
    pub fn explained(&self, sums: impl Iterator<Item = f64>, squares: f64) -> Option<f64> {
        let (n, g) = (self.tokens() as f64, self.counts.iter().filter(|n| **n > 0).count() as f64);
        if n <= g || squares <= 0.0 {
            return None;
        }
        let sums: Vec<f64> = sums.collect();
        let mean = sums.iter().sum::<f64>() / n;
        let of = |(sum, count): (&f64, &u64)| *count as f64 * (sum / *count as f64 - mean).powi(2);
        let between: f64 = sums.iter().zip(&self.counts).filter(|(_, count)| **count > 0).map(of).sum();
        Some(1.0 - (1.0 - between / squares) * (n - 1.0) / (n - g))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::export::choose::mix;

    /// A number between 0 and 1.
    fn uniform(x: u64) -> f64 {
        (mix(x) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// As it is written down: residuals of a regression on which token it is.
    fn naive(tokens: &[(u32, f64)]) -> f64 {
        let mut ids: Vec<u32> = tokens.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        let all = mean(tokens.iter().map(|(_, x)| *x).collect());
        let total: f64 = tokens.iter().map(|(_, x)| (x - all).powi(2)).sum();
        let of = |id: u32| mean(tokens.iter().filter(|(other, _)| *other == id).map(|(_, x)| *x).collect());
        let means: HashMap<u32, f64> = ids.iter().map(|id| (*id, of(*id))).collect();
        let residual: f64 = tokens.iter().map(|(id, x)| (x - means[id]).powi(2)).sum();
        let (n, g) = (tokens.len() as f64, ids.len() as f64);
        1.0 - (residual / (n - g)) / (total / (n - 1.0))
    }

    fn explained(tokens: &[(u32, f64)], k: usize) -> (f64, f64) {
        let mut counts = HashMap::new();
        tokens.iter().for_each(|(id, _)| *counts.entry(*id).or_default() += 1);
        let frequent = Frequent::of(counts, k);
        let mut sums = vec![0.0; frequent.len()];
        let own: Vec<(u32, f64)> = tokens.iter().copied().filter(|(id, _)| frequent.number(*id).is_some()).collect();
        own.iter().for_each(|(id, x)| sums[frequent.number(*id).unwrap() as usize] += x);
        let mean = own.iter().map(|(_, x)| x).sum::<f64>() / own.len() as f64;
        let squares = own.iter().map(|(_, x)| (x - mean).powi(2)).sum();
        (frequent.explained(sums.into_iter(), squares).unwrap(), naive(&own))
    }

    /// Invariant: What the token alone explains is the adjusted R² of a regression on which token it is, and 0 of noise.
    #[test]
    fn noise_is_not_explained_and_what_depends_on_the_token_is() {
        // Tokens as often as in texts: the one of rank r about 1/r as often as the first.
        let token = |i: u64| (2000f64.powf(uniform(2 * i)) - 1.0) as u32;
        for seed in 0..5 {
            let noise: Vec<(u32, f64)> =
                (0..10_000).map(|i| (token(i + seed * 20_000), uniform(7 * i + seed))).collect();
            let (got, want) = explained(&noise, 256);
            assert!((got - want).abs() < 1e-9, "{got} {want}");
            // Four standard errors: R² of noise scatters by sqrt(2 (g - 1)) / n.
            assert!(got.abs() < 4.0 * (2.0 * 255f64).sqrt() / 7000.0, "noise scores {got}");
        }
        let half: Vec<(u32, f64)> =
            (0..10_000).map(|i| (token(i), uniform(u64::from(token(i))) + uniform(7 * i + 1))).collect();
        let (got, want) = explained(&half, 256);
        assert!((got - want).abs() < 1e-9 && (0.2..0.8).contains(&got), "{got} {want}");
        let all: Vec<(u32, f64)> = (0..500).map(|i| (token(i), f64::from(token(i)))).collect();
        assert!((explained(&all, 16).0 - 1.0).abs() < 1e-12);
        // Of equally many, the smaller ids; constants have nothing to explain.
        let frequent = Frequent::of([(5, 2), (3, 2), (9, 2), (1, 1)].into(), 2);
        assert_eq!((frequent.number(3), frequent.number(5), frequent.number(9)), (Some(0), Some(1), None));
        assert_eq!((frequent.explained([2.0, 2.0].into_iter(), 0.0), frequent.tokens()), (None, 4));
    }
}
