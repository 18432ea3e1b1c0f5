//! How far the colours and axes of patching figures go: one scale for all figures of a table, so that they can be compared.

use super::mark::Mark;
use super::sweep::Effect;
use crate::sweep::Metric;
use std::collections::BTreeMap;

/// The ends that a scale of shares can have, where nobody asked for another.
///
/// A share has a natural size: 1 is all that lies between the two runs. So the ends are round parts of 1, and two requests mostly have
/// the same. The least is a tenth: a sweep in which no patch brings back a tenth of the answer looks pale, as it should; fitted to its
/// values, noise would look like a result. The largest is twice the difference of the runs: a share beyond says less about the patch
/// than about two runs that hardly differ, and one such pair would make the figures of all others white.
/// Between one and two there are steps, so that a share a little above one leaves one nearly in full colour.
const ENDS: [f64; 7] = [0.1, 0.2, 0.5, 1.0, 1.2, 1.5, 2.0];

/// At the first position stands what every head can see: what is done there may upset the whole run, by so many times more than anywhere else. Then
/// the scale fits the others. Not where they are so many times less, or rounding would look like a result.
const OUTLIER: (f64, f64) = (4.0, 1000.0);

/// The scales of the figures of a table: one for shares, whatever metric they are of, and one for changes in each unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scales {
    /// The end that was asked for.
    asked: Option<f64>,
    /// At the first position, and at all others, by the unit of changes.
    reach: BTreeMap<Option<String>, [Reach; 2]>,
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
        let at = usize::from(!is_first(mark));
        let reach = &mut self.reach.entry(key(effect, mark)).or_default()[at];
        *reach = reach.with(Reach { most: value.abs(), ends: (value - error, value + error) });
    }

    /// The scale of a figure of effects like that of `mark`.
    pub fn of(&self, mark: &Mark) -> Scale {
        let effect = Effect::of(mark);
        let [first, others] = self.reach.get(&key(effect, mark)).copied().unwrap_or_default();
        // A share of 1 is no outlier, whatever others are.
        let usual = if effect.is_share() { 1.0 + 1e-4 } else { 0.0 };
        let times = first.most / others.most;
        let alone = times > OUTLIER.0 && times < OUTLIER.1 && first.most > usual;
        Scale::new(if alone { others } else { first.with(others) }, self.asked, effect.is_share())
    }
}

/// Whether something was done at the first position of a prompt.
pub(super) fn is_first(mark: &Mark) -> bool {
    [mark.pos, mark.query_pos, mark.key_pos].contains(&Some(0)) && mark.position_name.is_none()
}

/// What has a scale of its own: shares, whatever they are of, and changes in one unit.
fn key(effect: Effect, mark: &Mark) -> Option<String> {
    let unit = || Metric::parse(&mark.metric).map_or(&*mark.metric, |metric| metric.info().unit).to_owned();
    (!effect.is_share()).then(unit)
}

impl Reach {
    /// As far as both.
    fn with(self, other: Self) -> Self {
        let ends = (self.ends.0.min(other.ends.0), self.ends.1.max(other.ends.1));
        Self { most: self.most.max(other.most), ends }
    }
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
