//! What an analysis needs of memory beside the weights: said, and compared with what there is, before anything runs.
//!
//! Each analysis says it beside the code that keeps to the budget (`need` in `lens`, `attention`, `activations`, `patch`, `path`,
//! `attribute`, `verify`), from the same numbers by which that code cuts its work.

/// Bytes that an analysis holds at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Activations and logits, as the budget cuts them.
    pub activations: usize,
    /// The least that they can be, whatever the budget: of the longest prompt alone, or of one patch of it.
    pub least: usize,
    /// What is held of one prompt or pair while it is drawn, which no budget cuts.
    pub rows: usize,
}

impl Need {
    /// What is needed for either, one after the other.
    pub fn or(self, other: Self) -> Self {
        Self {
            activations: self.activations.max(other.activations),
            least: self.least.max(other.least),
            rows: self.rows.max(other.rows),
        }
    }
}
