//! What a run is measured by: one number of its logits.

use rayon::prelude::*;

use super::Readout;
use crate::error::{Error, Result, nearest};
use crate::text::Pair;

/// One number of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Mean logit of the answers minus mean logit of the foils (Wang et al. 2022).
    LogitDiff,
    /// Mean logit of the answers.
    Logit,
    /// Probability of the answers together.
    Prob,
    /// Its logarithm, in nats.
    LogProb,
    /// Place of the best answer among all tokens, 1 = most probable.
    Rank,
    /// KL(clean || run) in nats: what the clean run would pay for believing this one.
    KlToClean,
    /// Mean cross-entropy of the tokens that follow in the prompt itself, over all its positions, in nats.
    Loss,
}

const ALL: [(Metric, &str); 7] = [
    (Metric::LogitDiff, "logit_diff"),
    (Metric::Logit, "logit"),
    (Metric::Prob, "prob"),
    (Metric::LogProb, "log_prob"),
    (Metric::Rank, "rank"),
    (Metric::KlToClean, "kl_to_clean_nats"),
    (Metric::Loss, "loss_nats"),
];

impl Metric {
    /// The metric of this name; `kl` and `loss` will do without their units.
    ///
    /// # Errors
    /// When there is none, with the nearest.
    pub fn parse(name: &str) -> Result<Self> {
        let same = |(_, known): &&(Metric, &str)| {
            *known == name
                || matches!((*known, name), ("kl_to_clean_nats", "kl" | "kl_to_clean") | ("loss_nats", "loss"))
        };
        ALL.iter().find(same).map(|(metric, _)| *metric).ok_or_else(|| {
            let names = ALL.map(|(_, name)| name);
            let e = Error::no_such(format!("there is no metric `{name}`"));
            match nearest(name, names) {
                Some(near) => e.hint(format!("did you mean `{near}`?")),
                None => e.hint(format!("there are {}", names.join(", "))),
            }
        })
    }

    /// Its name, with its unit last where it has one.
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(metric, _)| *metric == self).map_or("", |(_, name)| name)
    }

    /// Whether it is about answers.
    pub fn reads_answers(self) -> bool {
        !matches!(self, Self::KlToClean | Self::Loss)
    }

    fn whole_vocabulary(self) -> bool {
        !matches!(self, Metric::LogitDiff | Metric::Logit)
    }
}

/// What of every run of a pair has to be read for `metrics`, measured at `pos` (negative counts from the end).
///
/// # Errors
/// When a metric needs an answer or foil that the pair does not have, or the position is not in the prompt.
pub fn readout(pair: &Pair, metrics: &[Metric], pos: isize) -> Result<Readout> {
    let n = pair.clean.tokens.len();
    let at = if pos < 0 { n as isize + pos } else { pos };
    if at < 0 || at >= n as isize {
        return Err(Error::no_such(format!("pair \"{}\" has {n} positions, and {pos} is not one of them", pair.id))
            .hint("`pellucid tokens` shows the position of each token; -1 is the last"));
    }
    let missing = |what: &str, metric: &Metric| {
        Error::bad_input(format!("`{}` needs {what}, and pair \"{}\" has none", metric.name(), pair.id)).hint(
            match what.contains("foil") {
                true => "give it with --foil, or in the file of pairs: --columns foil=NAME or foil_id=NAME",
                false => "give it with --answer, or in the file of pairs: --columns answer=NAME or answer_id=NAME",
            },
        )
    };
    for metric in metrics {
        if pair.answers.is_empty() && metric.reads_answers() {
            return Err(missing("an answer", metric));
        }
        if pair.foils.is_empty() && *metric == Metric::LogitDiff {
            return Err(missing("a foil", metric));
        }
    }
    if metrics.contains(&Metric::Loss) && n < 2 {
        return Err(Error::bad_input(format!("the loss needs a token that follows, and pair \"{}\" has one", pair.id))
            .hint("give a longer prompt, or another --metric"));
    }
    let positions = if metrics.contains(&Metric::Loss) { (0..n).collect() } else { vec![at as usize] };
    let tokens = (!metrics.iter().any(|m| m.whole_vocabulary())).then(|| [&pair.answers[..], &pair.foils[..]].concat());
    Ok(Readout { positions, tokens })
}

/// Of logits that were read, those of position `pos`.
pub(crate) fn row_at<'l>(readout: &Readout, logits: &'l [f32], pos: usize) -> &'l [f32] {
    let width = logits.len() / readout.positions.len();
    let i = readout.positions.binary_search(&pos).unwrap_or(0);
    &logits[i * width..(i + 1) * width]
}

/// What a pair's runs are measured with: what is read, and the clean run's own.
pub(crate) struct Gauge<'a> {
    pub pair: &'a Pair,
    /// The ids of the prompt that runs of this pair read: what follows in it is what the loss is about.
    pub ids: &'a [u32],
    pub readout: &'a Readout,
    pub at: usize,
    /// Logits of the clean run at `at`.
    pub clean: &'a [f32],
}

impl Gauge<'_> {
    /// `metric` of a run whose logits `[positions, tokens]`, flat, were read; nothing where one of them is NaN or infinite, since
    /// comparisons would make a number of it, or where the metric is more than an f32 can hold.
    pub fn finite(&self, metric: Metric, logits: &[f32]) -> Option<f64> {
        let value = logits.iter().all(|v| v.is_finite()).then(|| self.value(metric, logits));
        value.filter(|value| (*value as f32).is_finite())
    }

    /// `metric` of a run whose logits `[positions, tokens]`, flat, were read.
    pub fn value(&self, metric: Metric, logits: &[f32]) -> f64 {
        let row = self.row(logits, self.at);
        match metric {
            Metric::LogitDiff => self.mean(row, &self.pair.answers) - self.mean(row, &self.pair.foils),
            Metric::Logit => self.mean(row, &self.pair.answers),
            Metric::Prob => self.log_prob(row).exp(),
            Metric::LogProb => self.log_prob(row),
            Metric::Rank => {
                let best = self.pair.answers.iter().map(|t| row[*t as usize]).fold(f32::NEG_INFINITY, f32::max);
                1.0 + row.iter().filter(|v| **v > best).count() as f64
            }
            Metric::KlToClean => {
                let (from, to) = (log_sum_exp(self.clean), log_sum_exp(row));
                let terms = self.clean.iter().zip(row).map(|(p, q)| {
                    let (p, q) = (f64::from(*p) - from, f64::from(*q) - to);
                    if p == f64::NEG_INFINITY { 0.0 } else { p.exp() * (p - q) }
                });
                // Rounding can leave less than nothing.
                terms.sum::<f64>().max(0.0)
            }
            Metric::Loss => {
                let follows = self.ids[1..].par_iter().enumerate();
                let nats = follows.map(|(p, next)| {
                    let row = self.row(logits, p);
                    log_sum_exp(row) - f64::from(row[*next as usize])
                });
                // In order, or the same command would not give the same bytes.
                nats.collect::<Vec<f64>>().iter().sum::<f64>() / (self.ids.len() - 1) as f64
            }
        }
    }

    fn row<'l>(&self, logits: &'l [f32], pos: usize) -> &'l [f32] {
        row_at(self.readout, logits, pos)
    }

    fn mean(&self, row: &[f32], tokens: &[u32]) -> f64 {
        let of = |t: &u32| match &self.readout.tokens {
            Some(read) => read.iter().position(|r| r == t).map_or(f64::NAN, |i| f64::from(row[i])),
            None => f64::from(row[*t as usize]),
        };
        tokens.iter().map(of).sum::<f64>() / tokens.len() as f64
    }

    fn log_prob(&self, row: &[f32]) -> f64 {
        let answers: Vec<f32> = self.pair.answers.iter().map(|t| row[*t as usize]).collect();
        log_sum_exp(&answers) - log_sum_exp(row)
    }
}

pub(super) fn log_sum_exp(x: &[f32]) -> f64 {
    let top = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = x.iter().map(|v| f64::from(v - top).exp()).sum();
    f64::from(top) + sum.ln()
}
