//! How far the colours and axes of patching figures go: one scale for all figures of a table, so that they can be compared.

use super::mark::Mark;
use super::sweep::Effect;
use std::collections::BTreeMap;

/// The ends that a scale of shares can have, where nobody asked for another.
///
/// A share has a natural size: 1 is all that lies between the two runs. So the ends are round parts of 1, and two requests mostly have
/// the same. The least is a tenth: a sweep in which no patch brings back a tenth of the answer looks pale, as it should; fitted to its
/// values, noise would look like a result. The largest is twice the difference of the runs: a share beyond says less about the patch
/// than about two runs that hardly differ, and one such pair would make the figures of all others white.
/// Between one and two there are steps, so that a share a little above one leaves one nearly in full colour.
const ENDS: [f64; 7] = [0.1, 0.2, 0.5, 1.0, 1.2, 1.5, 2.0];

/// The scales of the figures of a table: one for shares, whatever metric they are of, and one for changes of each metric.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scales {
    /// The end that was asked for.
    asked: Option<f64>,
    reach: BTreeMap<Option<String>, Reach>,
}

/// How far finite effects go.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    /// The largest, whichever sign it has.
    most: f64,
    /// The least and the largest, 0 among them, with their standard errors.
    ends: (f64, f64),
}

/// The scale of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    /// The effect of full colour.
    pub most: f64,
    /// Where an axis begins and ends.
    pub axis: (f64, f64),
}

impl Scales {
    /// No effects yet. `asked` is the end that all scales are to have; else each fits its effects.
    pub fn new(asked: Option<f64>) -> Self {
        Self { asked, reach: BTreeMap::new() }
    }

    /// One more effect.
    pub fn add(&mut self, mark: &Mark) {
        let effect = Effect::of(mark);
        let value = effect.value(mark);
        if !value.is_finite() {
            return;
        }
        let error = effect.error(mark).filter(|e| e.is_finite()).unwrap_or(0.0);
        let reach = self.reach.entry(key(effect, mark)).or_default();
        reach.most = reach.most.max(value.abs());
        reach.ends = (reach.ends.0.min(value - error), reach.ends.1.max(value + error));
    }

    /// The scale of a figure of effects like that of `mark`.
    pub fn of(&self, mark: &Mark) -> Scale {
        let effect = Effect::of(mark);
        let reach = self.reach.get(&key(effect, mark)).copied().unwrap_or_default();
        Scale::new(reach, self.asked, effect.is_share())
    }
}

/// What has a scale of its own: shares, whatever they are of, and changes of a metric.
fn key(effect: Effect, mark: &Mark) -> Option<String> {
    (!effect.is_share()).then(|| mark.metric.clone())
}

impl Scale {
    fn new(Reach { most, ends: (low, high) }: Reach, asked: Option<f64>, shares: bool) -> Self {
        if let Some(end) = asked {
            // One way only where all effects go that way.
            return Self {
                most: end,
                axis: if low == 0.0 {
                    (0.0, end)
                } else if high == 0.0 {
                    (-end, 0.0)
                } else {
                    (-end, end)
                },
            };
        }
        if !shares {
            let axis = if low == high { (-1.0, 1.0) } else { (low, high) };
            return Self { most: two_digits(most), axis };
        }
        // What is a hair over an end, by rounding, is that end.
        let [.., last] = ENDS;
        let end = ENDS.into_iter().find(|end| most <= end * (1.0 + 1e-4)).unwrap_or(last);
        let (low, high) = (low.max(-last), high.min(last));
        let axis = match ENDS[0] {
            least if low == high => (-least, least),
            least if high >= -low => (low, high.max(least)),
            least => (low.min(-least), high),
        };
        Self { most: end, axis }
    }

    /// Whether an effect lies outside. What lies a hair outside, by rounding, does not.
    pub fn clips(&self, value: f64) -> bool {
        value.is_finite() && value.abs() > self.most * (1.0 + 1e-4)
    }
}

/// Rounded up to two digits; 1 for 0.
fn two_digits(most: f64) -> f64 {
    if most == 0.0 {
        return 1.0;
    }
    let (size, power) = (most / 10f64.powi(most.log10().floor() as i32), most.log10().floor() as i32 - 1);
    // Written and read, it is the number that it looks like. What is just over two digits is them.
    format!("{}e{power}", (size * 10.0 - 1e-4).ceil()).parse().unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(values: &[f64], asked: Option<f64>, shares: bool) -> Scale {
        let most = values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        let ends = values.iter().fold((0.0, 0.0), |(l, h): (f64, f64), v| (l.min(*v), h.max(*v)));
        Scale::new(Reach { most, ends }, asked, shares)
    }

    #[test]
    fn shares_have_a_floor_and_natural_ends() {
        let end = |values: &[f64]| scale(values, None, true).most;
        assert_eq!((end(&[0.009]), end(&[-0.009, 0.001]), end(&[])), (0.1, 0.1, 0.1));
        assert_eq!((end(&[0.15]), end(&[-0.55]), end(&[0.77, -0.5])), (0.2, 1.0, 1.0));
        assert_eq!(end(&[1.01]), 1.2);
        assert_eq!((end(&[1.00001]), end(&[1.66]), end(&[300.0])), (1.0, 2.0, 2.0));
        // An axis fits, but is never so short that a hair looks like a mountain.
        assert_eq!(scale(&[0.009], None, true).axis, (0.0, 0.1));
        assert_eq!(scale(&[-0.009, 0.002], None, true).axis, (-0.1, 0.002));
        assert_eq!(scale(&[-0.3, 0.6], None, true).axis, (-0.3, 0.6));
        assert_eq!(scale(&[5.0], None, true).axis, (0.0, 2.0));
    }

    #[test]
    fn changes_fit_and_what_is_asked_is_done() {
        assert_eq!(scale(&[0.0094, -0.002], None, false).most, 0.0094);
        assert_eq!(scale(&[-7.131], None, false).most, 7.2);
        let asked = scale(&[0.3, -0.1], Some(0.25), true);
        assert_eq!((asked.most, asked.axis), (0.25, (-0.25, 0.25)));
        assert!(asked.clips(0.3) && asked.clips(-0.3) && !asked.clips(0.25) && !asked.clips(f64::NAN));
        assert_eq!(scale(&[0.3], Some(1.0), true).axis, (0.0, 1.0));
        assert_eq!(two_digits(0.0), 1.0);
    }
}
