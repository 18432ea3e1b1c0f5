//! Numbers about samples: their mean, and how far it may be from that of all that could have been drawn.

/// The mean of a sample, and its standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Its standard error: the standard deviation of the sample over the root of its size.
    pub error: f64,
    /// How much one answer more or less changes a share of answers; 0 for a mean of continuous numbers.
    pub answer: f64,
}

impl Mean {
    /// Of continuous numbers.
    pub fn of(sample: &[f64]) -> Self {
        let n = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / n;
        let variance = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        Self { mean, error: (variance / n).sqrt(), answer: 0.0 }
    }

    /// The share of answers that are yes.
    pub fn share(answers: &[bool]) -> Self {
        let numbers: Vec<f64> = answers.iter().map(|yes| f64::from(u8::from(*yes))).collect();
        Self { answer: 1.0 / answers.len() as f64, ..Self::of(&numbers) }
    }

    /// Whether it is above `x` by more than three standard errors, which chance alone is once in a thousand samples.
    pub fn is_clearly_above(self, x: f64) -> bool {
        self.mean - 3.0 * self.error > x
    }

    /// Whether it is below `x` by more than three standard errors.
    pub fn is_clearly_below(self, x: f64) -> bool {
        self.mean + 3.0 * self.error < x
    }
}
