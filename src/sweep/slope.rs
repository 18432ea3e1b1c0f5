//! How a metric changes with each logit that is read: where a way back through a run begins.

use super::metric::{Gauge, Metric, log_sum_exp};
use crate::error::{Error, Result};

impl Metric {
    /// Refuses what has no slope.
    ///
    /// # Errors
    /// For the rank, which changes in steps.
    pub(crate) fn has_slope(self) -> Result<()> {
        match self {
            Metric::Rank => Err(Error::bad_input("the rank of a token changes in steps, so it has no gradient")
                .hint("measure logit_diff, logit, prob, log_prob, kl_to_clean or loss")),
            _ => Ok(()),
        }
    }
}

impl Gauge<'_> {
    /// The derivative of `metric` with respect to each of `logits [positions, tokens]`, flat, in the same places; zero for a
    /// metric without one.
    pub(crate) fn slope(&self, metric: Metric, logits: &[f32]) -> Vec<f32> {
        let mut slope = vec![0f64; logits.len()];
        let width = logits.len() / self.readout.positions.len().max(1);
        let start = |pos: usize| self.readout.positions.binary_search(&pos).unwrap_or(0) * width;
        let column = |t: u32| match &self.readout.tokens {
            Some(read) => read.iter().position(|r| *r == t).unwrap_or(0),
            None => t as usize,
        };
        let at = start(self.at);
        let row = &logits[at..at + width];
        let mut mean = |tokens: &[u32], sign: f64| {
            for t in tokens {
                slope[at + column(*t)] += sign / tokens.len() as f64;
            }
        };
        match metric {
            Metric::LogitDiff => {
                mean(&self.pair.answers, 1.0);
                mean(&self.pair.foils, -1.0);
            }
            Metric::Logit => mean(&self.pair.answers, 1.0),
            // d ln p = (what the answers share of p) - (what they share of everything); d p = p d ln p.
            Metric::Prob | Metric::LogProb => {
                let answers: Vec<f32> = self.pair.answers.iter().map(|t| row[*t as usize]).collect();
                let (of_answers, of_all) = (log_sum_exp(&answers), log_sum_exp(row));
                let factor = if metric == Metric::Prob { (of_answers - of_all).exp() } else { 1.0 };
                for t in &self.pair.answers {
                    slope[at + *t as usize] += factor * (f64::from(row[*t as usize]) - of_answers).exp();
                }
                for (d, x) in slope[at..at + width].iter_mut().zip(row) {
                    *d -= factor * (f64::from(*x) - of_all).exp();
                }
            }
            Metric::KlToClean => {
                let (from, to) = (log_sum_exp(self.clean), log_sum_exp(row));
                for ((d, p), q) in slope[at..at + width].iter_mut().zip(self.clean).zip(row) {
                    *d = (f64::from(*q) - to).exp() - (f64::from(*p) - from).exp();
                }
            }
            Metric::Loss => {
                let n = (self.ids.len() - 1) as f64;
                for (pos, next) in self.ids[1..].iter().enumerate() {
                    let from = start(pos);
                    let row = &logits[from..from + width];
                    let all = log_sum_exp(row);
                    for (d, x) in slope[from..from + width].iter_mut().zip(row) {
                        *d = (f64::from(*x) - all).exp() / n;
                    }
                    slope[from + *next as usize] -= 1.0 / n;
                }
            }
            Metric::Rank => {}
        }
        slope.into_iter().map(|d| d as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::metric::{readout, row_at};
    use super::*;
    use crate::text::{Bos, Pair, PromptEntry, build_prompts};

    /// Against differences of the metric itself, which is another piece of code.
    #[test]
    fn slopes_are_those_of_the_metrics() -> Result<()> {
        let entries = [PromptEntry::ids([1, 2, 3, 4]), PromptEntry::ids([1, 5, 3, 4])];
        let mut prompts = build_prompts(&entries, None, 9, None, Bos::default())?.into_iter();
        let (Some(clean), corrupt) = (prompts.next(), prompts.next()) else { return Ok(()) };
        let ids = clean.ids();
        let pair = Pair::new(0, "0".into(), clean, corrupt, vec![2, 7], vec![3, 3, 0])?;
        for metric in
            ["logit_diff", "logit", "prob", "log_prob", "kl", "loss"].map(|name| Metric::parse(name).expect(name))
        {
            for at in [-1, 1] {
                let readout = readout(&pair, &[metric], at)?;
                let n = readout.positions.len() * readout.tokens.as_ref().map_or(9, Vec::len);
                let logits: Vec<f32> = (0..n).map(|i| (i as f32 * 1.7).sin() * 2.0).collect();
                let clean: Vec<f32> = (0..n).map(|i| (i as f32 * 0.9).cos()).collect();
                let at = if at < 0 { 3 } else { 1 };
                let clean = row_at(&readout, &clean, at);
                let gauge = Gauge { pair: &pair, ids: &ids, readout: &readout, at, clean };
                let slope = gauge.slope(metric, &logits);
                // A token that is read in two columns (two foils are one) counts in the first.
                for i in (0..n).filter(|i| readout.tokens.is_none() || *i != 3) {
                    let moved = |by: f32| {
                        let mut x = logits.clone();
                        x[i] += by;
                        gauge.value(metric, &x)
                    };
                    let difference = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                    // A step of 1e-2 leaves a third derivative's 1e-4 / 6; a logit of size 2 in f32 is moved by it but for two
                    // roundings of 1.2e-7, which are 1.2e-5 of the step. The metric itself is computed in f64.
                    assert!(
                        (difference - f64::from(slope[i])).abs() < 5e-5,
                        "{metric:?} {i}: {difference} {}",
                        slope[i]
                    );
                }
            }
        }
        assert!(Metric::Rank.has_slope().is_err() && Metric::Loss.has_slope().is_ok());
        Ok(())
    }
}
