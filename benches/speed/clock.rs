//! Timing several things in turns.

use std::time::Instant;

use anyhow::Result;

/// Seconds of each repetition, in the order in which they ran.
pub struct Times(Vec<f64>);

/// How long one thing takes in units of another that took turns with it.
pub struct Ratio {
    /// Median over the rounds of the ratio within a round: what a slow spell of the machine changes least.
    pub paired: f64,
    /// Ratio of the fastest repetitions.
    pub of_minima: f64,
}

impl Times {
    pub fn of(seconds: Vec<f64>) -> Self {
        Self(seconds)
    }

    pub fn median(&self) -> f64 {
        median(self.0.clone())
    }

    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What this takes more than `other`, in each round.
    pub fn less(&self, other: &Times) -> Times {
        assert_eq!(self.0.len(), other.0.len(), "they did not take turns");
        Times(self.0.iter().zip(&other.0).map(|(a, b)| a - b).collect())
    }

    /// This in units of `base`, which was timed in the same rounds.
    pub fn over(&self, base: &Times) -> Ratio {
        assert_eq!(self.0.len(), base.0.len(), "they did not take turns");
        let paired = median(self.0.iter().zip(&base.0).map(|(a, b)| a / b).collect());
        Ratio { paired, of_minima: self.min() / base.min() }
    }
}

fn median(mut x: Vec<f64>) -> f64 {
    x.sort_unstable_by(f64::total_cmp);
    let middle = x.len() / 2;
    if x.len() % 2 == 1 { x[middle] } else { (x[middle - 1] + x[middle]) / 2.0 }
}

/// Seconds that one call takes. What the call makes it must also drop: freeing memory is part of the cost.
pub fn time(work: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

/// Times each of `works` once a round for `rounds` rounds, after one call of each that is not counted.
///
/// Each round begins with another one, so that none always runs in the wake of the same other.
pub fn take_turns(rounds: usize, works: &mut [&mut dyn FnMut() -> Result<()>]) -> Result<Vec<Times>> {
    works.iter_mut().try_for_each(|work| work())?;
    let n = works.len();
    let mut seconds = vec![Vec::with_capacity(rounds); n];
    for round in 0..rounds {
        for turn in 0..n {
            let i = (round + turn) % n;
            seconds[i].push(time(works[i])?);
        }
    }
    Ok(seconds.into_iter().map(Times).collect())
}
