//! What figures and terminal see of a row: one patched run, measured, or the mean of several; of patches and of paths alike.

use super::method::{Method, Noise};
use crate::analysis::path::rows::Receiver;
use crate::analysis::{PatchMeanRow, PatchRow, PathMeanRow, PathRow};
use crate::error::Result;
use crate::table::{Around, Done, Measured, MeasuredMean, Outcome, OutcomeMean, Place, Row, Rows};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// One patched run, or the mean of several.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub pair: u32,
    pub pair_id: String,
    /// In causal tracing, which sample of the noise.
    pub sample: Option<u32>,
    /// Where a value was patched; of a path, the sender. Where positions go by names, their numbers say in which order.
    pub place: Place,
    /// What reads the change, in path patching.
    pub to: Option<Receiver>,
    pub metric: String,
    pub clean: f32,
    pub corrupt: Option<f32>,
    pub patched: Option<f32>,
    /// Patched minus clean.
    pub change: Option<f64>,
    pub recovered: Option<f32>,
    /// Of a mean, over how many pairs, and its errors.
    pub mean: Option<MeanOver>,
    /// What was done; the same for most rows, and shared by those that follow one another.
    pub method: Arc<Method>,
    /// Whether what was put there differs, bit for bit, from what was there; of a mean, in any pair.
    pub changed: bool,
    /// Whether a change could reach what is measured; of a mean, in any pair.
    pub reached: bool,
    /// Where the patched run stopped being numbers.
    pub not_finite: Option<String>,
}

impl Deref for Mark {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

/// What is known of a mean beside itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeanOver {
    /// How many pairs have a finite value here.
    pub pairs: u32,
    /// How many more do not.
    pub not_finite: u32,
    /// How many samples of noise each pair's value is the mean of; 1 where there is no noise.
    pub samples: u32,
    /// Standard errors, of patched - clean and of what was recovered.
    pub change_se: Option<f32>,
    pub recovered_se: Option<f32>,
}

/// A row of a table of patched runs.
pub(crate) trait Marked: Row {
    /// The pair that it is of, and in causal tracing the sample of the noise; the first pair, of means.
    fn unit(&self) -> (u32, Option<u32>);

    /// As it is seen.
    fn mark(&self) -> Mark;
}

/// What stands for the token of a position at which pairs have different ones.
pub(crate) const OTHERS: &str = "…";

/// The rows of one pair or sample, which are among those of `range`, as they are seen. `names` are what positions of the table are
/// called.
pub(crate) fn marks_of<R: Marked>(
    rows: &mut dyn Rows<R>,
    unit: (u32, Option<u32>),
    range: Range<usize>,
    names: &Names,
) -> Result<Vec<Mark>> {
    let mut marks: Vec<Mark> = vec![];
    rows.rows(range, &mut |row| {
        if row.unit() == unit {
            let mut mark = row.mark();
            // Most rows were made alike, and share the words for it.
            if let Some(last) = marks.last().filter(|last| last.method == mark.method) {
                mark.method = last.method.clone();
            }
            marks.push(mark);
        }
        Ok(())
    })?;
    marks.iter_mut().for_each(|mark| names.number(mark));
    // Where no position of means has a token that all pairs share, positions are numbers.
    let any = marks.iter().any(|m| m.token.is_some() || m.key_token.is_some());
    for m in marks.iter_mut().filter(|m| any && m.mean.is_some()) {
        let Place { pos, query_pos, key_pos, token, key_token, .. } = &mut m.place;
        let places = [(pos.or(*query_pos), token), (*key_pos, key_token)];
        for (_, token) in places.into_iter().filter(|(pos, _)| pos.is_some()) {
            token.get_or_insert_with(|| OTHERS.to_owned());
        }
    }
    Ok(marks)
}

/// What positions are called, each name once, in the order in which they come.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<String>);

impl Names {
    /// Those of one more mark.
    pub fn add(&mut self, mark: &Mark) {
        for name in [&mark.position_name, &mark.key_position_name].into_iter().flatten() {
            if !self.0.contains(name) {
                self.0.push(name.clone());
            }
        }
    }

    /// Numbers such as -2 and -1 in their order, others as they come.
    pub fn in_order(mut self) -> Self {
        if let Ok(mut numbers) = self.0.iter().map(|name| name.parse::<i64>()).collect::<Result<Vec<_>, _>>() {
            numbers.sort_unstable();
            self.0 = numbers.iter().map(i64::to_string).collect();
        }
        self
    }

    /// Gives the positions of a mark that go by names the place of their name as a number.
    pub fn number(&self, m: &mut Mark) {
        let at = |name: &String| self.0.iter().position(|known| known == name).map(|i| i as u32);
        // A mean over pairs that have it at different positions says neither; what has keys has queries.
        let of_query = m.query_pos.is_some() || m.site.contains("pattern") || m.site.contains("attn_scores");
        if let Some(name) = &m.position_name {
            let at = at(name);
            *(if of_query { &mut m.place.query_pos } else { &mut m.place.pos }) = at;
        }
        if let Some(name) = &m.key_position_name {
            m.place.key_pos = at(name);
        }
    }
}

impl Mark {
    /// A run of one pair, and of a sample of its noise.
    pub fn of(
        pair: (u32, &str, Option<u32>),
        place: Place,
        measured: &Measured,
        outcome: &Outcome,
        how: Method,
    ) -> Self {
        let Measured { metric, clean, corrupt, patched, recovered } = measured.clone();
        let Outcome { changed, reached, not_finite } = outcome.clone();
        Self {
            pair: pair.0,
            pair_id: pair.1.to_owned(),
            sample: pair.2,
            place,
            to: None,
            metric,
            clean,
            corrupt,
            patched,
            change: patched.map(|patched| f64::from(patched) - f64::from(clean)),
            recovered,
            mean: None,
            method: Arc::new(how),
            changed,
            reached,
            not_finite,
        }
    }

    /// The mean over pairs, each with so many samples.
    pub fn mean(samples: u32, place: Place, measured: &MeasuredMean, outcome: &OutcomeMean, how: Method) -> Self {
        let MeasuredMean { clean, corrupt, patched, recovered, .. } = *measured;
        let of_one = Measured { metric: measured.metric.clone(), clean, corrupt, patched, recovered };
        let in_any = Outcome { changed: outcome.changed > 0, reached: outcome.reached > 0, not_finite: None };
        let over = MeanOver {
            pairs: measured.pairs,
            not_finite: outcome.not_finite,
            samples,
            change_se: measured.change_se,
            recovered_se: measured.recovered_se,
        };
        let change = measured.change.map(f64::from);
        Self { change, mean: Some(over), ..Self::of((0, "", None), place, &of_one, &in_any, how) }
    }

    /// Along a path to this receiver.
    fn to(self, receiver: &Receiver) -> Self {
        Self { to: Some(receiver.clone()), ..self }
    }
}

/// What was done, as the columns of a row say; along a path, where nothing is said of what is `around`.
fn method(done: &Done, has_corrupt: bool, around: Option<&Around>) -> Method {
    Method {
        kind: done.kind.clone(),
        // Where there is one run, it is the clean one.
        to_clean: done.direction.as_deref() != Some("denoise"),
        has_corrupt,
        estimated: false,
        window: around.map_or(1, |around| around.window),
        at_once: done.at_once.clone(),
        noise: around.and_then(|around| {
            let (at, tokens) = (around.noise_at.clone(), around.noise_tokens.clone());
            around.noise.map(|deviations| Noise { deviations, at, tokens })
        }),
        path: around.is_none(),
    }
}

impl Marked for PatchRow {
    fn unit(&self) -> (u32, Option<u32>) {
        (self.pair, self.sample)
    }

    fn mark(&self) -> Mark {
        let method = method(&self.done, self.measured.corrupt.is_some(), Some(&self.around));
        let of = (self.pair, &self.pair_id[..], self.sample);
        Mark::of(of, self.place.clone(), &self.measured, &self.outcome, method)
    }
}

impl Marked for PatchMeanRow {
    fn unit(&self) -> (u32, Option<u32>) {
        (0, None)
    }

    fn mark(&self) -> Mark {
        let method = method(&self.done, self.measured.corrupt.is_some(), Some(&self.around));
        Mark::mean(self.samples.unwrap_or(1), self.place.clone(), &self.measured, &self.outcome, method)
    }
}

impl Marked for PathRow {
    fn unit(&self) -> (u32, Option<u32>) {
        (self.pair, None)
    }

    fn mark(&self) -> Mark {
        let method = method(&self.done, self.measured.corrupt.is_some(), None);
        let (of, from) = ((self.pair, &self.pair_id[..], None), self.from.clone().into());
        Mark::of(of, from, &self.measured, &self.outcome, method).to(&self.to)
    }
}

impl Marked for PathMeanRow {
    fn unit(&self) -> (u32, Option<u32>) {
        (0, None)
    }

    fn mark(&self) -> Mark {
        let method = method(&self.done, self.measured.corrupt.is_some(), None);
        Mark::mean(1, self.from.clone().into(), &self.measured, &self.outcome, method).to(&self.to)
    }
}
