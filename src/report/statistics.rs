//! Numbers made of columns.

use std::cmp::Ordering;

use super::filter::Words;
use crate::error::Result;

/// One number of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The arithmetic mean.
    Mean,
    /// The value in the middle.
    Median,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The sum.
    Sum,
    /// The standard deviation, with n - 1.
    Std,
}

impl Statistic {
    const ALL: [Self; 6] = [Self::Mean, Self::Median, Self::Min, Self::Max, Self::Sum, Self::Std];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Median => "median",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Std => "std",
        }
    }

    /// Takes its name and `of`, if they come next.
    pub fn took(words: &mut Words) -> Option<Self> {
        Self::ALL.into_iter().find(|statistic| words.took(&[statistic.name(), "of"]))
    }

    /// The statistic of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::name);
        Self::ALL.into_iter().find(|statistic| statistic.name() == name).ok_or_else(|| {
            crate::error::Error::no_such(format!("there is no statistic `{name}`")).nearest_or(
                name,
                names,
                format!("there are {}", names.join(", ")),
            )
        })
    }

    /// Of these numbers; none where there are too few.
    pub fn of(self, numbers: &[f64]) -> Option<f64> {
        let n = numbers.len() as f64;
        let mean = || numbers.iter().sum::<f64>() / n;
        match self {
            _ if numbers.is_empty() => None,
            Self::Mean => Some(mean()),
            Self::Sum => Some(numbers.iter().sum()),
            Self::Min => numbers.iter().copied().reduce(f64::min),
            Self::Max => numbers.iter().copied().reduce(f64::max),
            Self::Std if numbers.len() < 2 => None,
            Self::Std => {
                let mean = mean();
                Some((numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
            }
            Self::Median => {
                let mut sorted = numbers.to_vec();
                sorted.sort_by(f64::total_cmp);
                let half = sorted.len() / 2;
                Some(if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 })
            }
        }
    }
}

/// Pearson's correlation; none where one side does not vary.
pub fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len() as f64;
    let mean = pairs.iter().fold((0.0, 0.0), |sum, (a, b)| (sum.0 + a / n, sum.1 + b / n));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        let (a, b) = (a - mean.0, b - mean.1);
        (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
    }
    let r = ab / (aa * bb).sqrt();
    r.is_finite().then_some(r)
}

/// Spearman's: the same of ranks, those of equal numbers being their mean.
pub fn rank_correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let pairs: Vec<(f64, f64)> = ranks(&a).into_iter().zip(ranks(&b)).collect();
    correlation(&pairs)
}

fn ranks(numbers: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*a].total_cmp(&numbers[*b]));
    let (mut ranks, mut below) = (vec![0.0; numbers.len()], 0);
    for equal in order.chunk_by(|a, b| numbers[*a].partial_cmp(&numbers[*b]) == Some(Ordering::Equal)) {
        let rank = below as f64 + (equal.len() as f64 + 1.0) / 2.0;
        equal.iter().for_each(|i| ranks[*i] = rank);
        below += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_few_numbers() {
        let of = |statistic: Statistic| statistic.of(&[4.0, 1.0, 1.0, 2.0]);
        let all = Statistic::ALL.map(of);
        assert_eq!(all[..5], [Some(2.0), Some(1.5), Some(1.0), Some(4.0), Some(8.0)]);
        assert!((all[5].unwrap() - 2f64.sqrt()).abs() < 1e-12);
        assert_eq!(Statistic::Mean.of(&[]), None);
        assert_eq!(ranks(&[3.0, 1.0, 3.0]), [2.5, 1.0, 2.5]);
        assert_eq!(rank_correlation(&[(1.0, 1.0), (2.0, 8.0), (3.0, 27.0)]), Some(1.0));
        assert_eq!(correlation(&[(1.0, 2.0), (2.0, 2.0)]), None);
        assert!((correlation(&[(1.0, 1.0), (2.0, -1.0)]).unwrap() + 1.0).abs() < 1e-12);
    }
}
