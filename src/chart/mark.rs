//! What figures and terminal see of a row: one patched run, measured, or the mean of several; of patches and of paths alike.

use crate::table::{Patch, PatchMean, PathMean, PathPatch, Row};

/// One patched run, or the mean of several. Fields are those of the tables.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub pair: u32,
    pub pair_id: String,
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
    pub token: Option<String>,
    pub key_token: Option<String>,
    pub metric: String,
    pub clean: f32,
    pub corrupt: Option<f32>,
    /// Nothing where it is not finite.
    pub patched: Option<f32>,
    pub recovered: Option<f32>,
    /// What became of the value, in the words of the command.
    pub kind: String,
    /// Which run was changed: `denoise` or `noise`; nothing where there is one run.
    pub direction: Option<String>,
    /// Neighbouring layers that are patched at once.
    pub window: u32,
    /// Of causal tracing: how strong the noise is, and at which positions.
    pub noise: Option<f32>,
    pub noise_at: Option<String>,
    /// Whether what was put there differs from what was there; of a mean, in any pair.
    pub changed: bool,
    /// Whether a change could reach what is measured; of a mean, in any pair.
    pub reached: bool,
    /// Where the patched run stopped being numbers; of a mean, how many of them did.
    pub not_finite: Option<String>,
    /// Of a mean, over how many pairs, and its errors.
    pub mean: Option<MeanOver>,
    /// Whether nothing was patched: it is what a patch would do, to first order.
    pub estimated: bool,
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
    pub pairs: u32,
    /// Standard errors, of patched - clean and of what was recovered.
    pub change_se: Option<f32>,
    pub recovered_se: Option<f32>,
}

/// A row of a table of patched runs.
pub(crate) trait Marked: Row {
    /// The pair that it is of; the first, of means.
    fn pair(&self) -> u32;

    /// As it is seen.
    fn mark(&self) -> Mark;
}

/// What stands for the token of a position at which pairs have different ones.
pub(crate) const OTHERS: &str = "…";

/// All rows as they are seen. Means are those of a pair that is called so.
pub(crate) fn marks<R: Marked>(rows: &[R]) -> Vec<Mark> {
    let mut marks: Vec<Mark> = rows.iter().map(Marked::mark).collect();
    let Some(pairs) = marks.iter().filter_map(|m| Some(m.mean?.pairs)).max() else { return marks };
    // Where no position has a token that all pairs share, positions are numbers.
    let any = marks.iter().any(|m| m.token.is_some() || m.key_token.is_some());
    for m in &mut marks {
        m.pair_id = format!("mean of {pairs} pairs");
        let places = [(m.pos.or(m.query_pos), &mut m.token), (m.key_pos, &mut m.key_token)];
        for (_, token) in places.into_iter().filter(|(pos, _)| any && pos.is_some()) {
            token.get_or_insert_with(|| OTHERS.to_owned());
        }
    }
    marks
}

/// How many pairs a mean leaves out, if any.
fn of_pairs(not_finite: u32) -> Option<String> {
    (not_finite > 0).then(|| format!("{not_finite} pairs"))
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

impl Marked for Patch {
    fn pair(&self) -> u32 {
        self.pair
    }

    #[rustfmt::skip]
    fn mark(&self) -> Mark {
        mark!(
            self,
            [pair, pair_id, site, layer, head, kv_head, neuron, pos, query_pos, key_pos, token, key_token, metric, clean,
             corrupt, patched, recovered, kind, direction, window, noise, noise_at, changed, reached, not_finite],
            to: None, mean: None, estimated: false
        )
    }
}

impl Marked for PatchMean {
    fn pair(&self) -> u32 {
        0
    }

    #[rustfmt::skip]
    fn mark(&self) -> Mark {
        let mean = MeanOver { pairs: self.pairs, change_se: self.change_se, recovered_se: self.recovered_se };
        mark!(
            self,
            [site, layer, head, kv_head, neuron, pos, query_pos, key_pos, token, key_token, metric, clean, corrupt,
             patched, recovered, kind, direction, window, noise],
            noise_at: None, changed: self.changed > 0, reached: self.reached > 0, not_finite: of_pairs(self.not_finite),
            pair: 0, pair_id: String::new(), to: None, mean: Some(mean), estimated: false
        )
    }
}

impl Marked for PathPatch {
    fn pair(&self) -> u32 {
        self.pair
    }

    #[rustfmt::skip]
    fn mark(&self) -> Mark {
        mark!(
            self,
            [pair, pair_id, pos, token, metric, clean, corrupt, patched, recovered, kind, direction, changed, reached,
             not_finite],
            window: 1, noise: None, noise_at: None,
            site: self.sender.clone(), layer: self.sender_layer, head: self.sender_head, kv_head: None,
            neuron: self.sender_neuron, query_pos: None, key_pos: None, key_token: None, mean: None, estimated: false,
            to: Some(to!(self))
        )
    }
}

impl Marked for PathMean {
    fn pair(&self) -> u32 {
        0
    }

    #[rustfmt::skip]
    fn mark(&self) -> Mark {
        let mean = MeanOver { pairs: self.pairs, change_se: self.change_se, recovered_se: self.recovered_se };
        mark!(
            self,
            [pos, token, metric, clean, corrupt, patched, recovered, kind, direction],
            window: 1, noise: None, noise_at: None, changed: self.changed > 0, reached: self.reached > 0,
            not_finite: of_pairs(self.not_finite),
            pair: 0, pair_id: String::new(), site: self.sender.clone(), layer: self.sender_layer,
            head: self.sender_head, kv_head: None, neuron: self.sender_neuron, query_pos: None, key_pos: None,
            key_token: None, mean: Some(mean), estimated: false, to: Some(to!(self))
        )
    }
}
