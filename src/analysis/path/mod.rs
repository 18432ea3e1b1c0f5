//! Path patching: what does one part of the model do by way of another? (Wang et al. 2022, "Interpretability in the Wild";
//! Goldowsky-Dill et al. 2023, "Localizing Model Behavior with Path Patching")
//!
//! A *sender* writes to the stream: a head, an MLP, a neuron, the embedding. A *receiver* reads it: the queries, keys or values
//! of a head, an MLP, or the unembedding. With everything between them held as it is in the base run, the receiver reads
//!
//! `stream of the base run + (what the sender writes when it is changed - what it writes in the base run)`
//!
//! and from the receiver on the run goes on as ever. A write is exactly what is added to the stream, after a norm on it and a
//! factor, so where there is such a norm a head's part of it is what the whole write becomes with that head changed. With
//! [`Through::Mlps`] the MLPs between sender and receiver are not held: each makes of the changed stream what it makes of it.
//! Attention between them always is held, so that every position keeps to itself until the receiver.
//!
//! What receivers read is therefore made row by row, for all senders at once (`carry.rs`), and put into the wavefront that
//! runs patches of any kind ([`crate::sweep`]). `naive.rs` is what it must equal: forward passes in which everything else is
//! frozen by hooks.

mod carry;
mod naive;
mod options;
mod receiver;
mod routes;
pub mod rows;
mod runs;
mod sender;

pub use receiver::{Reads, Receiver, Receivers};

use serde::{Deserialize, Serialize};

use super::{Need, Watch};
use crate::analysis::PathRow;
use crate::error::Result;
use crate::model::Model;
use crate::sweep::{Keep, PatchOptions, Sources, Summary, Sweep, in_groups, need_of, of_each_shape, with_means};
use crate::text::Pair;
pub use options::Path;
use routes::Routes;
use runs::Paths;

/// What is not held between sender and receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Through {
    /// Everything is frozen: the direct path
    #[default]
    Nothing,
    /// MLPs are computed anew, as Wang et al. do; attention is frozen
    Mlps,
}

/// What reads the change, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Reading {
    /// The receivers: logits; q, k or v of heads; mlp. Each alone, or with a layer and head: 2.1.q, 3.mlp, 2-4.*.k (of k and v,
    /// heads are key/value heads)
    #[cfg_attr(feature = "cli", arg(long, default_value_t = Reading::default().to, value_name = "RECEIVERS"))]
    pub to: String,
    /// Let all receivers read the change in one run, instead of one after another
    #[cfg_attr(feature = "cli", arg(long))]
    pub together: bool,
    /// What between sender and receiver is computed anew instead of frozen
    #[cfg_attr(feature = "cli", arg(long, value_enum, default_value_t = Through::Nothing, value_name = "WHAT"))]
    pub through: Through,
}

impl Default for Reading {
    fn default() -> Self {
        Self { to: "logits".into(), together: false, through: Through::Nothing }
    }
}

/// What [`path`] needs of memory.
///
/// # Errors
/// When options, pairs and model do not fit.
pub fn need(model: &Model, pairs: &[Pair], patch: &PatchOptions, reading: &Reading) -> Result<Need> {
    let spec = model.spec();
    let receivers = Receivers::parse(spec, &reading.to)?;
    let points = sender::points(spec, &patch.grid)?;
    let routes = of_each_shape(pairs, |pair| Routes::of(spec, &patch.grid, pair, &receivers, reading.together))?;
    let places: Vec<usize> = routes.iter().map(|routes| routes.len()).collect();
    let recorded = carry::points(spec, &points, &receivers, reading.through);
    let need = need_of(model, pairs, &recorded, &places, patch)?;
    Ok(with_means(model, &points, pairs, patch, need))
}

/// Patches every path from a sender, which is a place of the grid, to a receiver, on every pair, and emits a row for each and each metric, pair after pair.
///
/// `watch` is asked after every wave. Where it stops the sweep, the rows of what was done are emitted first.
///
/// # Errors
/// When options, pairs and model do not fit, or no path leads from the senders to a receiver; whatever the run, `keep`,
/// `watch` or `emit` says.
pub fn path(
    model: &Model,
    pairs: &[Pair],
    patch: &PatchOptions,
    reading: &Reading,
    keep: &mut dyn Keep,
    watch: &dyn Watch,
    emit: &mut dyn FnMut(PathRow) -> Result<()>,
) -> Result<Summary> {
    let spec = model.spec();
    let receivers = Receivers::parse(spec, &reading.to)?;
    let points = sender::points(spec, &patch.grid)?;
    let sources = Sources::of(model, patch, &points, pairs)?;
    let routes = of_each_shape(pairs, |pair| Routes::of(spec, &patch.grid, pair, &receivers, reading.together))?;
    let recorded = carry::points(spec, &points, &receivers, reading.through);
    let places: Vec<usize> = routes.iter().map(|routes| routes.len()).collect();
    let mut sweep = Sweep { options: patch, sources: &sources, keep, watch };
    in_groups(model, pairs, &recorded, &places, &mut sweep, &mut |group, summary, long| {
        let paths = Paths::of(model, group, &routes, (patch, reading), &sources)?;
        group.measure(model, patch, &paths, summary, long, emit)
    })
}
