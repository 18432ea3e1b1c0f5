//! What figures and terminal see of a row: one patched run, measured, or the mean of several; of patches and of paths alike.

use super::method::{Method, Noise};
use crate::analysis::{PatchMeanRow, PatchRow, PathMeanRow, PathRow};
use crate::error::Result;
use crate::table::{Row, Rows};
use std::ops::Range;
use std::sync::Arc;

/// One patched run, or the mean of several. Fields are those of the tables.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub pair: u32,
    pub pair_id: String,
    /// In causal tracing, which sample of the noise.
    pub sample: Option<u32>,
    /// Which value was patched; of a path, the sender's.
    pub site: String,
    /// What reads the change, in path patching.
    pub to: Option<To>,
    pub layer: Option<u32>,
    pub head: Option<u32>,
    pub kv_head: Option<u32>,
    pub neuron: Option<u32>,
    pub pos: Option<u32>,
    pub query_pos: Option<u32>,
    pub key_pos: Option<u32>,
    /// What the position and the key are called, where they go by names: their numbers here say in which order.
    pub position_name: Option<String>,
    pub key_position_name: Option<String>,
    pub token: Option<String>,
    pub key_token: Option<String>,
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

/// A receiver.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct To {
    /// What it is called.
    pub name: String,
    /// What between sender and receiver was computed anew.
    pub through: Option<String>,
    pub layer: Option<u32>,
    pub head: Option<u32>,
    pub kv_head: Option<u32>,
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

/// Adds a mark, which shares what was done with the one before it, where that is the same.
fn push(marks: &mut Vec<Mark>, mut mark: Mark) {
    if let Some(last) = marks.last().filter(|last| last.method == mark.method) {
        mark.method = last.method.clone();
    }
    marks.push(mark);
}

/// The rows of one pair or sample, which are among those of `range`, as they are seen. `names` are what positions of the table are
/// called; without them, those of these rows count.
pub(crate) fn marks_of<R: Marked>(
    rows: &mut dyn Rows<R>,
    unit: (u32, Option<u32>),
    range: Range<usize>,
    names: Option<&Names>,
) -> Result<Vec<Mark>> {
    let mut marks = vec![];
    rows.rows(range, &mut |row| {
        if row.unit() == unit {
            push(&mut marks, row.mark());
        }
        Ok(())
    })?;
    let own = || marks.iter().fold(Names::default(), |names, mark| names.with(mark)).in_order();
    let names = names.cloned().unwrap_or_else(own);
    marks.iter_mut().for_each(|mark| names.number(mark));
    // Where no position of means has a token that all pairs share, positions are numbers.
    let any = marks.iter().any(|m| m.token.is_some() || m.key_token.is_some());
    for m in marks.iter_mut().filter(|m| any && m.mean.is_some()) {
        let places = [(m.pos.or(m.query_pos), &mut m.token), (m.key_pos, &mut m.key_token)];
        for (_, token) in places.into_iter().filter(|(pos, _)| pos.is_some()) {
            token.get_or_insert_with(|| OTHERS.to_owned());
        }
    }
    Ok(marks)
}

/// What positions are called, each name once, in the order in which they come.
#[derive(Clone, Debug, Default)]
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

    fn with(mut self, mark: &Mark) -> Self {
        self.add(mark);
        self
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
            *(if of_query { &mut m.query_pos } else { &mut m.pos }) = at(name);
        }
        if let Some(name) = &m.key_position_name {
            m.key_pos = at(name);
        }
    }
}

fn difference(patched: Option<f32>, clean: f32) -> Option<f64> {
    patched.map(|patched| f64::from(patched) - f64::from(clean))
}

/// A mark with the columns of a row that have the same names, and what else is said.
macro_rules! mark {
    ($row:expr, [$($same:ident),*], $($rest:tt)*) => {
        Mark { $($same: $row.$same.clone(),)* $($rest)* }
    };
}

/// The receiver of a row.
macro_rules! to {
    ($row:expr) => {
        To {
            name: $row.receiver.clone(),
            through: $row.through.clone(),
            layer: $row.receiver_layer,
            head: $row.receiver_head,
            kv_head: $row.receiver_kv_head,
        }
    };
}

/// What was done, as the columns of a row say.
macro_rules! method {
    ($row:expr, $($rest:tt)*) => {
        Arc::new(Method {
            kind: $row.kind.clone(),
            // Where there is one run, it is the clean one.
            to_clean: $row.direction.as_deref() != Some("denoise"),
            has_corrupt: $row.corrupt.is_some(),
            estimated: false,
            $($rest)*
        })
    };
}

/// The noise of a row.
macro_rules! noise {
    ($row:expr) => {
        $row.noise.map(|deviations| Noise { deviations, at: $row.noise_at.clone(), tokens: $row.noise_tokens.clone() })
    };
}

/// What is known of a mean.
macro_rules! over {
    ($row:expr, $samples:expr) => {
        Some(MeanOver {
            pairs: $row.pairs,
            not_finite: $row.not_finite,
            samples: $samples,
            change_se: $row.change_se,
            recovered_se: $row.recovered_se,
        })
    };
}

impl Marked for PatchRow {
    fn unit(&self) -> (u32, Option<u32>) {
        (self.pair, self.sample)
    }

    #[rustfmt::skip]
    fn mark(&self) -> Mark {
        mark!(
            self,
            [pair, pair_id, sample, site, layer, head, kv_head, neuron, pos, query_pos, key_pos, position_name,
             key_position_name, token, key_token, metric, clean, corrupt, patched, recovered, not_finite],
            to: None, mean: None, change: difference(self.patched, self.clean),
            changed: self.changed, reached: self.reached,
            method: method!(self, window: self.window, noise: noise!(self), path: false)
        )
    }
}

impl Marked for PatchMeanRow {
    fn unit(&self) -> (u32, Option<u32>) {
        (0, None)
    }

    #[rustfmt::skip]
    fn mark(&self) -> Mark {
        mark!(
            self,
            [site, layer, head, kv_head, neuron, pos, query_pos, key_pos, position_name,
             key_position_name, token, key_token, metric, clean, corrupt,
             patched, recovered],
            pair: 0, pair_id: String::new(), sample: None, to: None,
            mean: over!(self, self.samples.unwrap_or(1)), not_finite: None, change: self.change.map(f64::from), changed: self.changed > 0, reached: self.reached > 0,
            method: method!(self, window: self.window, noise: noise!(self), path: false)
        )
    }
}

impl Marked for PathRow {
    fn unit(&self) -> (u32, Option<u32>) {
        (self.pair, None)
    }

    #[rustfmt::skip]
    fn mark(&self) -> Mark {
        mark!(
            self,
            [pair, pair_id, pos, position_name, token, metric, clean, corrupt, patched, recovered, not_finite],
            site: self.sender.clone(), layer: self.sender_layer, head: self.sender_head, kv_head: None,
            neuron: self.sender_neuron, query_pos: None, key_pos: None, key_position_name: None, key_token: None, mean: None, sample: None,
            to: Some(to!(self)), change: difference(self.patched, self.clean),
            changed: self.changed, reached: self.reached,
            method: method!(self, window: 1, noise: None, path: true)
        )
    }
}

impl Marked for PathMeanRow {
    fn unit(&self) -> (u32, Option<u32>) {
        (0, None)
    }

    #[rustfmt::skip]
    fn mark(&self) -> Mark {
        mark!(
            self,
            [pos, position_name, token, metric, clean, corrupt, patched, recovered],
            pair: 0, pair_id: String::new(), sample: None, site: self.sender.clone(), layer: self.sender_layer,
            head: self.sender_head, kv_head: None, neuron: self.sender_neuron, query_pos: None, key_pos: None,
            key_position_name: None, key_token: None, mean: over!(self, 1), not_finite: None, to: Some(to!(self)), change: self.change.map(f64::from),
            changed: self.changed > 0, reached: self.reached > 0,
            method: method!(self, window: 1, noise: None, path: true)
        )
    }
}
