//! Means over pairs or prompts, and how sure they are.

/// Sums over the pairs or prompts that have a value.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::analysis) struct Sums {
    /// How many have one.
    pub n: u32,
    sum: f64,
    squares: f64,
}

impl Sums {
    /// One more value.
    pub fn add(&mut self, x: f64) {
        self.n += 1;
        self.sum += x;
        self.squares += x * x;
    }

    /// Their mean; none of none.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / f64::from(self.n))
    }

    /// Standard error of the mean: the sample's deviation over the root of its size; none of a single value.
    pub fn error(&self) -> Option<f64> {
        let n = f64::from(self.n);
        (self.n > 1).then(|| ((self.squares - self.sum * self.sum / n).max(0.0) / (n - 1.0) / n).sqrt())
    }

    /// Mean and standard error as tables hold them.
    pub fn both(&self) -> (Option<f32>, Option<f32>) {
        let f32 = |x: Option<f64>| x.map(|x| x as f32);
        (f32(self.mean()), f32(self.error()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_error_is_that_of_the_textbook() {
        let mut sums = Sums::default();
        assert_eq!((sums.mean(), sums.error()), (None, None));
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|x| sums.add(x));
        assert_eq!(sums.mean(), Some(5.0));
        // Squares of the deviations sum to 32. f64, and no more than ten roundings of 1.1e-16.
        assert!((sums.error().unwrap() - (32.0f64 / 7.0 / 8.0).sqrt()).abs() < 1e-12);
    }
}
