//! Figures of tables, and their words.

use pellucid::Result;
use pellucid::analysis::AttentionRow;
use pellucid::table::Provenance;
use pellucid::view::{Figure, Options, Seen, figures};

pub mod any;
pub mod attribution;
pub mod chart;
pub mod chosen;
pub mod encoded;
pub mod facts;
pub mod numbers;
pub mod panels;
pub mod patch;
pub mod renderers;
pub mod scale;
pub mod strongest;
pub mod took;
pub mod training;

/// The figures of rows, as everybody gets them.
pub(crate) fn figures_of<R: Seen>(rows: &[R], from: &Provenance) -> Result<Vec<Figure>> {
    figures(rows, from, &Options::default())
}

/// The same with a head to show large.
pub(crate) fn attention(rows: &[AttentionRow], from: &Provenance, head: Option<(u32, u32)>) -> Result<Vec<Figure>> {
    figures(rows, from, &Options { heads: head.into_iter().collect(), ..Options::default() })
}
