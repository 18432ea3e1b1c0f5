//! Pairs whose numbers do not mean what they seem to: a share of a difference that goes the wrong way.

use super::metric::{METRICS, Metric};

/// In how many pairs the clean run does not do what it is there for.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Doubts {
    /// Pairs in all.
    pub pairs: usize,
    /// Pairs whose clean run prefers the foil: the answers' mean logit is below the foils'.
    pub foil_preferred: usize,
    /// Of each metric for which there are any, the pairs whose clean run is no better than their corrupt one.
    pub no_better: Vec<(Metric, usize)>,
}

/// What a pair's runs measure, nothing changed.
pub(crate) struct Unpatched<'a> {
    /// Metrics of the clean run.
    pub clean: &'a [f64],
    /// Of the corrupt run, if there is one.
    pub corrupt: Option<&'a [f64]>,
    /// Whether the clean run prefers the foil.
    pub foil_preferred: bool,
}

impl Doubts {
    /// One more pair.
    pub(crate) fn add(&mut self, metrics: &[Metric], pair: &Unpatched) {
        self.pairs += 1;
        self.foil_preferred += usize::from(pair.foil_preferred && metrics.iter().any(|metric| metric.reads_answers()));
        for (m, metric) in metrics.iter().enumerate() {
            let Some(corrupt) = pair.corrupt.map(|corrupt| corrupt[m]) else { continue };
            if metric.is_no_better(pair.clean[m], corrupt) {
                self.add_no_better(*metric, 1);
            }
        }
    }

    /// Other pairs.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.foil_preferred += other.foil_preferred;
        other.no_better.iter().for_each(|(metric, n)| self.add_no_better(*metric, *n));
    }

    fn add_no_better(&mut self, metric: Metric, n: usize) {
        match self.no_better.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, known)) => *known += n,
            None => self.no_better.push((metric, n)),
        }
        // In one order, whatever pair comes first.
        self.no_better.sort_by_key(|(metric, _)| METRICS.iter().position(|row| row.metric == *metric));
    }

    /// Sentences for whoever reads the results; none if nothing is in doubt. `several` is what several are called, such as `pairs`.
    pub fn in_words(&self, several: &str) -> Vec<String> {
        let of = |n: usize| match self.pairs {
            1 => String::new(),
            all => format!(" in {n} of {all} {several}"),
        };
        let there = if self.pairs == 1 { "" } else { " there" };
        let mut words = vec![];
        if self.foil_preferred > 0 {
            words.push(format!(
                "the clean run prefers the foil to the answer{}: what is nearer to the clean run is not nearer to the answer{there}",
                of(self.foil_preferred)
            ));
        }
        for (metric, n) in &self.no_better {
            words.push(format!(
                "by {}, the clean run is no better than the corrupt run{}: `recovered`{there} is the way to a run as bad or worse",
                metric.name(),
                of(*n)
            ));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_by_what_is_in_doubt() {
        let metrics = [Metric::LogitDiff, Metric::Rank];
        let mut doubts = Doubts::default();
        type Runs<'a> = (&'a [f64], Option<&'a [f64]>, bool);
        let pairs: [Runs; 4] = [
            (&[-9.0, 4.0], Some(&[2.0, 1.0]), true),
            (&[3.0, 1.0], Some(&[-3.0, 2.0]), false),
            (&[-1.0, 3.0], Some(&[-3.0, 7.0]), true),
            (&[2.0, 1.0], None, false),
        ];
        for (clean, corrupt, foil_preferred) in pairs {
            doubts.add(&metrics, &Unpatched { clean, corrupt, foil_preferred });
        }
        assert_eq!((doubts.pairs, doubts.foil_preferred), (4, 2));
        assert_eq!(doubts.no_better, [(Metric::LogitDiff, 1), (Metric::Rank, 1)]);
        let words = doubts.in_words("pairs");
        assert!(words[0].contains("in 2 of 4 pairs") && words[2].contains("by rank") && words.len() == 3, "{words:?}");
        assert!(Metric::Prob.is_no_better(0.5, 0.5) && !Metric::KlToClean.is_no_better(0.0, 1.0));
        assert!(Doubts { pairs: 2, ..Doubts::default() }.in_words("pairs").is_empty());
    }
}
