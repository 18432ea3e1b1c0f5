//! Metrics: what a run is measured by, one number of its logits; and how that number changes with each logit, which is where a
//! backward pass begins. This is the one table of them: a new metric is a variant of [`Metric`] and a row of [`METRICS`].

use std::ops::Range;

use rayon::prelude::*;

use super::Readout;
use crate::error::{Error, Result, position, said};
use crate::ops::softmax::log_sum_exp;
use crate::text::Pair;

/// One number of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Each variant's meaning is in the table below, where users read it too.
#[non_exhaustive]
pub enum Metric {
    LogitDiff,
    Logit,
    Prob,
    LogProb,
    Rank,
    KlToClean,
    Loss,
}

/// What a metric reads beside the logits of a run at the measured position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Tokens that are right.
    Answers,
    /// Tokens that are wrong.
    Foils,
    /// The logits of all tokens, not of answers and foils alone.
    Vocabulary,
    /// The clean run's logits.
    CleanLogits,
    /// The logits of every position, beside the token that follows there.
    EveryPosition,
    /// Words that are one token: several have no one logit.
    OneToken,
}

/// Which of two runs does more of what the prompt asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The one in which the metric is larger.
    Larger,
    /// The one in which it is smaller.
    Smaller,
    /// The metric says nothing about that.
    Neither,
}

/// The value of a metric, of logits `[positions, tokens]`, flat.
type Value = fn(&Gauge, &[f32]) -> f64;
/// Its derivative with respect to each of these logits, added to zeros in the same places.
type Slope = fn(&Gauge, &[f32], &mut [f64]);

/// A row of the table.
pub struct MetricInfo {
    /// The metric.
    pub metric: Metric,
    /// Its name, with its unit last where it has one.
    pub name: &'static str,
    /// Other names under which it can be asked for.
    pub aliases: &'static [&'static str],
    /// Its unit.
    pub unit: &'static str,
    /// What it is.
    pub meaning: &'static str,
    /// What it reads.
    pub needs: &'static [Needs],
    /// Which runs are better by it.
    pub better: Better,
    value: Value,
    slope: Option<Slope>,
}

use Better::{Larger, Neither, Smaller};
use Needs::{Answers, CleanLogits, EveryPosition, Foils, OneToken, Vocabulary};

#[allow(clippy::too_many_arguments)]
const fn row(
    metric: Metric,
    name: &'static str,
    aliases: &'static [&'static str],
    unit: &'static str,
    needs: &'static [Needs],
    better: Better,
    meaning: &'static str,
    value: Value,
    slope: Option<Slope>,
) -> MetricInfo {
    MetricInfo { metric, name, aliases, unit, meaning, needs, better, value, slope }
}

/// Every metric, in the order of the enum.
#[rustfmt::skip]
pub static METRICS: &[MetricInfo] = &[
    row(Metric::LogitDiff, "logit_diff", &[], "logits", &[Answers, Foils, OneToken], Larger,
        "mean logit of the answers minus mean logit of the foils (Wang et al. 2022)",
        |g, x| g.mean(g.row(x), g.answers) - g.mean(g.row(x), g.foils),
        Some(|g, _, d| {
            g.mean_slope(g.answers, 1.0, d);
            g.mean_slope(g.foils, -1.0, d);
        })),
    row(Metric::Logit, "logit", &[], "logits", &[Answers, OneToken], Larger, "mean logit of the answers",
        |g, x| g.mean(g.row(x), g.answers), Some(|g, _, d| g.mean_slope(g.answers, 1.0, d))),
    row(Metric::Prob, "prob", &[], "probability", &[Answers, Vocabulary], Larger,
        "probability of the answers together; of an answer of several tokens, that of all of them one after another",
        |g, x| g.log_prob(x).exp(), Some(|g, x, d| g.log_prob_slope(x, g.log_prob(x).exp(), d))),
    row(Metric::LogProb, "log_prob", &[], "nats", &[Answers, Vocabulary], Larger,
        "the logarithm of the answers' probability, in nats; of an answer of several tokens, the sum over them, each after the prompt \
         and the tokens before it (teacher forcing)",
        |g, x| g.log_prob(x), Some(|g, x, d| g.log_prob_slope(x, 1.0, d))),
    // It changes in steps, so it has no slope.
    row(Metric::Rank, "rank", &[], "tokens", &[Answers, Vocabulary, OneToken], Smaller,
        "place of the best answer among all tokens, 1 = most probable", rank, None),
    row(Metric::KlToClean, "kl_to_clean_nats", &["kl", "kl_to_clean"], "nats", &[Vocabulary, CleanLogits], Neither,
        "KL(clean || run) in nats: what the clean run would pay for believing this one", kl, Some(kl_slope)),
    row(Metric::Loss, "loss_nats", &["loss"], "nats", &[Vocabulary, EveryPosition], Neither,
        "mean cross-entropy of the tokens that follow in the prompt itself, over all its positions, in nats",
        loss, Some(loss_slope)),
];

fn rank(g: &Gauge, x: &[f32]) -> f64 {
    let best = g.answers.iter().map(|t| g.row(x)[*t as usize]).fold(f32::NEG_INFINITY, f32::max);
    1.0 + g.row(x).iter().filter(|v| **v > best).count() as f64
}

fn kl(g: &Gauge, x: &[f32]) -> f64 {
    let (from, to) = (log_sum_exp(g.clean), log_sum_exp(g.row(x)));
    let terms = g.clean.iter().zip(g.row(x)).map(|(p, q)| {
        let (p, q) = (f64::from(*p) - from, f64::from(*q) - to);
        if p == f64::NEG_INFINITY { 0.0 } else { p.exp() * (p - q) }
    });
    // Rounding can leave less than nothing.
    terms.sum::<f64>().max(0.0)
}

fn kl_slope(g: &Gauge, x: &[f32], d: &mut [f64]) {
    let (from, to) = (log_sum_exp(g.clean), log_sum_exp(g.row(x)));
    for ((d, p), q) in d[g.columns(g.at, x.len())].iter_mut().zip(g.clean).zip(g.row(x)) {
        *d = (f64::from(*q) - to).exp() - (f64::from(*p) - from).exp();
    }
}

fn loss(g: &Gauge, x: &[f32]) -> f64 {
    let nats = g.ids[1..].par_iter().enumerate().map(|(p, next)| {
        let row = &x[g.columns(p, x.len())];
        log_sum_exp(row) - f64::from(row[*next as usize])
    });
    // In order, or the same command would not give the same bytes.
    nats.collect::<Vec<f64>>().iter().sum::<f64>() / (g.ids.len() - 1) as f64
}

fn loss_slope(g: &Gauge, x: &[f32], d: &mut [f64]) {
    let n = (g.ids.len() - 1) as f64;
    for (pos, next) in g.ids[1..].iter().enumerate() {
        let at = g.columns(pos, x.len());
        let (row, d) = (&x[at.clone()], &mut d[at]);
        let all = log_sum_exp(row);
        d.iter_mut().zip(row).for_each(|(d, x)| *d = (f64::from(*x) - all).exp() / n);
        d[*next as usize] -= 1.0 / n;
    }
}

impl Metric {
    /// Its row of the table.
    pub fn info(self) -> &'static MetricInfo {
        // The table is in the order of the enum; a test holds it so.
        &METRICS[self as usize]
    }

    /// The names of all.
    pub fn names() -> Vec<&'static str> {
        METRICS.iter().map(|row| row.name).collect()
    }

    /// The metric of this name.
    ///
    /// # Errors
    /// When there is none, with the nearest.
    pub fn parse(name: &str) -> Result<Self> {
        let row = METRICS.iter().find(|row| row.name == name || row.aliases.contains(&name));
        row.map(|row| row.metric).ok_or_else(|| {
            let names = METRICS.iter().map(|row| row.name);
            let e = Error::no_such(format!("there is no metric `{name}`"));
            e.nearest_or(name, names.clone(), format!("there are {}", names.collect::<Vec<_>>().join(", ")))
        })
    }

    /// Its name, with its unit last where it has one.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Whether it reads `what`.
    pub fn needs(self, what: Needs) -> bool {
        self.info().needs.contains(&what)
    }

    /// Whether it is about answers.
    pub fn reads_answers(self) -> bool {
        self.needs(Answers)
    }

    /// `metrics` as `pairs` can be measured by them: the logit difference, where nothing else is asked for, has no meaning for an answer
    /// of several tokens, and the logarithm of its probability stands for it.
    pub fn usual(metrics: &[Self], pairs: &[Pair]) -> Vec<Self> {
        match metrics == [Self::LogitDiff] && pairs.iter().any(|pair| !pair.rest.is_empty()) {
            true => vec![Self::LogProb],
            false => metrics.to_vec(),
        }
    }

    /// Whether `clean` is no better than `corrupt`.
    pub fn is_no_better(self, clean: f64, corrupt: f64) -> bool {
        match self.info().better {
            Larger => clean <= corrupt,
            Smaller => clean >= corrupt,
            Neither => false,
        }
    }

    /// Whether it has a gradient.
    pub fn has_slope(self) -> bool {
        self.info().slope.is_some()
    }
}

/// What of every run of a pair has to be read for `metrics`, measured at `pos` (negative counts from the end).
///
/// # Errors
/// When a metric needs an answer or foil that the pair does not have, or has no meaning for an answer of several tokens; when the
/// position is not in the prompt, or is not its last and such an answer is read.
pub fn readout(pair: &Pair, metrics: &[Metric], pos: isize) -> Result<Readout> {
    let n = pair.clean.tokens.len();
    let at = position(&format!("pair \"{}\"", pair.id), n, pos)?;
    let missing = |what: &str, metric: &Metric| {
        Error::bad_input(format!("`{}` needs {what}, and pair \"{}\" has none", metric.name(), pair.id)).hint(
            match what.contains("foil") {
                true => said("give it with {foil}[, or in the file of {pairs}: {columns=foil=NAME} or foil_id=NAME|]"),
                false => {
                    said("give it with {answer}[, or in the file of {pairs}: {columns=answer=NAME} or answer_id=NAME|]")
                }
            },
        )
    };
    let any = |what| metrics.iter().any(|metric| metric.needs(what));
    let several = || format!("the answer of pair \"{}\" is {} tokens", pair.id, 1 + pair.rest.len());
    if let Some(metric) = metrics.iter().find(|metric| !pair.rest.is_empty() && metric.needs(OneToken)) {
        let has_none = format!("{}, and `{}` has no meaning for several", several(), metric.name());
        return Err(Error::bad_input(has_none).hint("measure log_prob or prob, or choose an answer of one token"));
    }
    for metric in metrics {
        if pair.answers.is_empty() && metric.needs(Answers) {
            return Err(missing("an answer", metric));
        }
        if pair.foils.is_empty() && metric.needs(Foils) {
            return Err(missing("a foil", metric));
        }
    }
    let read = if any(Answers) { pair.rest.len() } else { 0 };
    if read > 0 && at + 1 != n {
        let elsewhere = format!("{}, which follow the prompt's last position and not position {at}", several());
        return Err(Error::bad_input(elsewhere).hint("measure at the last position, -1"));
    }
    if any(EveryPosition) && n < 2 {
        return Err(Error::bad_input(format!("the loss needs a token that follows, and pair \"{}\" has one", pair.id))
            .hint(said("give a longer prompt, or another {metric}")));
    }
    let positions = if any(EveryPosition) { 0..n } else { at..at + 1 };
    let positions = (positions.start..positions.end + read).collect();
    let tokens = (!any(Vocabulary)).then(|| [&pair.answers[..], &pair.foils[..]].concat());
    Ok(Readout { positions, tokens })
}

/// What a pair's runs are measured with: what is read, and the clean run's own.
pub(crate) struct Gauge<'a> {
    /// Tokens that are right.
    pub answers: &'a [u32],
    /// Tokens that are wrong.
    pub foils: &'a [u32],
    /// Where the answer is of several tokens, those after its first.
    pub rest: &'a [u32],
    /// The ids of the prompt that runs of this pair read: what follows in it is what the loss is about.
    pub ids: &'a [u32],
    pub readout: &'a Readout,
    /// The measured position.
    pub at: usize,
    /// Logits of the clean run there.
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
        (metric.info().value)(self, logits)
    }

    /// The derivative of `metric` with respect to each of `logits [positions, tokens]`, flat, in the same places; zero for a
    /// metric without one.
    pub fn slope(&self, metric: Metric, logits: &[f32]) -> Vec<f32> {
        let mut slope = vec![0f64; logits.len()];
        if let Some(of) = metric.info().slope {
            of(self, logits, &mut slope);
        }
        slope.into_iter().map(|d| d as f32).collect()
    }

    /// Whether a run with these logits prefers the foil; not, where there is none.
    pub fn prefers_foil(&self, logits: &[f32]) -> bool {
        let both = !self.answers.is_empty() && !self.foils.is_empty() && self.rest.is_empty();
        both && self.value(Metric::LogitDiff, logits) < 0.0
    }

    /// Where the logits of position `pos` lie among `len` that were read.
    fn columns(&self, pos: usize, len: usize) -> Range<usize> {
        self.readout.columns(pos, len)
    }

    /// The logits at the measured position.
    fn row<'l>(&self, logits: &'l [f32]) -> &'l [f32] {
        &logits[self.columns(self.at, logits.len())]
    }

    /// Where the logit of a token lies in a row.
    fn column(&self, token: u32) -> Option<usize> {
        match &self.readout.tokens {
            Some(read) => read.iter().position(|r| *r == token),
            None => Some(token as usize),
        }
    }

    fn mean(&self, row: &[f32], tokens: &[u32]) -> f64 {
        let of = |t: &u32| self.column(*t).map_or(f64::NAN, |i| f64::from(row[i]));
        tokens.iter().map(of).sum::<f64>() / tokens.len() as f64
    }

    fn mean_slope(&self, tokens: &[u32], sign: f64, slope: &mut [f64]) {
        let at = self.columns(self.at, slope.len()).start;
        for column in tokens.iter().filter_map(|t| self.column(*t)) {
            slope[at + column] += sign / tokens.len() as f64;
        }
    }

    /// What is read to know how probable the answer is: where each of its tokens is said, and all that may be said there.
    fn said(&self, len: usize) -> impl Iterator<Item = (Range<usize>, &[u32])> {
        let each = [self.answers].into_iter().chain(self.rest.chunks(1));
        each.enumerate().map(move |(i, tokens)| (self.columns(self.at + i, len), tokens))
    }

    fn log_prob(&self, logits: &[f32]) -> f64 {
        let of = |(at, tokens)| {
            let row = &logits[at];
            log_sum_exp(&picked(row, tokens)) - log_sum_exp(row)
        };
        self.said(logits.len()).map(of).sum()
    }

    /// `factor` times d ln p = (what the tokens share of p) - (what they share of everything); d p = p d ln p.
    fn log_prob_slope(&self, logits: &[f32], factor: f64, slope: &mut [f64]) {
        for (at, tokens) in self.said(logits.len()) {
            let (row, slope) = (&logits[at.clone()], &mut slope[at]);
            let (of_answers, of_all) = (log_sum_exp(&picked(row, tokens)), log_sum_exp(row));
            for t in tokens {
                slope[*t as usize] += factor * (f64::from(row[*t as usize]) - of_answers).exp();
            }
            for (d, x) in slope.iter_mut().zip(row) {
                *d -= factor * (f64::from(*x) - of_all).exp();
            }
        }
    }
}

/// The logits of `tokens` in a row of all.
fn picked(row: &[f32], tokens: &[u32]) -> Vec<f32> {
    tokens.iter().map(|t| row[*t as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Bos, PromptEntry, build_prompts};

    #[test]
    fn the_table_is_in_the_order_of_the_enum_and_every_name_is_of_one_metric() -> Result<()> {
        for (i, row) in METRICS.iter().enumerate() {
            assert_eq!(row.metric as usize, i, "{}", row.name);
            for name in [row.name].iter().chain(row.aliases) {
                assert_eq!(Metric::parse(name)?, row.metric);
                let named = |other: &&MetricInfo| other.name == *name || other.aliases.contains(name);
                assert_eq!(METRICS.iter().filter(named).count(), 1, "{name}");
            }
            assert!(!row.unit.is_empty() && !row.meaning.is_empty(), "{}", row.name);
            // What is drawn is the name: a unit that has a suffix stands in it.
            let says = row.meaning.contains(&format!("in {}", row.unit)) || !["nats", "bits"].contains(&row.unit);
            assert!(says, "{}", row.name);
        }
        Ok(())
    }

    /// Against differences of the metric itself, which is another piece of code.
    #[test]
    fn slopes_are_those_of_the_metrics() -> Result<()> {
        let entries = [PromptEntry::ids([1, 2, 3, 4]), PromptEntry::ids([1, 5, 3, 4])];
        let mut prompts = build_prompts(&entries, None, 9, None, Bos::default())?.into_iter();
        let (Some(clean), corrupt) = (prompts.next(), prompts.next()) else { return Ok(()) };
        let ids = clean.ids();
        let pair = Pair::new(0, "0".into(), clean, corrupt, vec![2, 7], vec![3, 3, 0])?;
        for metric in METRICS.iter().filter(|row| row.slope.is_some()).map(|row| row.metric) {
            for at in [-1, 1] {
                let readout = readout(&pair, &[metric], at)?;
                let n = readout.positions.len() * readout.tokens.as_ref().map_or(9, Vec::len);
                let logits: Vec<f32> = (0..n).map(|i| (i as f32 * 1.7).sin() * 2.0).collect();
                let clean: Vec<f32> = (0..n).map(|i| (i as f32 * 0.9).cos()).collect();
                let at = if at < 0 { 3 } else { 1 };
                let clean = &clean[readout.columns(at, n)];
                let (answers, foils, rest) = (&pair.answers[..], &pair.foils[..], &pair.rest[..]);
                let gauge = Gauge { answers, foils, rest, ids: &ids, readout: &readout, at, clean };
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
        Ok(())
    }
}
