//! What goes into a run: sequences, and the prefixes they continue.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ops::attention::KeysValues;
use crate::ops::rows::Rows;

/// Sequences that run together. No pad token exists: rows are packed.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The sequences.
    pub sequences: Vec<Sequence>,
}

/// New positions, after an optional prefix.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Token ids of the new positions.
    pub ids: Vec<u32>,
    /// Keys and values of the positions before, shared with whoever else continues them.
    pub prefix: Option<Arc<Prefix>>,
}

/// Keys and values of positions `0..len` in every layer that some run has computed. One that grows ([`super::Growing`]) has, in a layer
/// whose attention has a window, those of the last positions alone.
#[derive(Clone, Debug)]
pub struct Prefix {
    len: usize,
    layers: Vec<Option<KeysValues>>,
}

impl Prefix {
    /// A prefix of `len` positions. `layers[l]` is needed in every layer a run passes through.
    pub fn new(len: usize, layers: Vec<Option<KeysValues>>) -> Self {
        Self { len, layers }
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keys and values of block `layer`.
    ///
    /// # Errors
    /// When the run that made this prefix did not pass through that block.
    pub fn layer(&self, layer: usize) -> Result<&KeysValues> {
        self.layers.get(layer).and_then(Option::as_ref).ok_or_else(|| {
            Error::bad_input(format!("the prefix has no keys and values for block {layer}"))
                .hint("make it with a run that starts at or below that block")
        })
    }

    /// The first `n` positions of this prefix, whose keys and values stay where they are.
    ///
    /// # Errors
    /// When it is shorter than that, or has the last positions alone.
    pub fn first(&self, n: usize) -> Result<Prefix> {
        let cut = |x: &candle_core::Tensor| x.narrow(0, 0, n);
        let layers = (self.layers.iter())
            .map(|kv| {
                kv.as_ref().map(|kv| Ok(KeysValues { keys: cut(&kv.keys)?, values: cut(&kv.values)? })).transpose()
            })
            .collect::<Result<_>>()?;
        Ok(Prefix { len: n, layers })
    }
}

impl Sequence {
    /// A whole sequence, from position 0.
    pub fn new(ids: impl Into<Vec<u32>>) -> Self {
        Self { ids: ids.into(), prefix: None }
    }

    /// A continuation.
    pub fn after(prefix: Arc<Prefix>, ids: impl Into<Vec<u32>>) -> Self {
        Self { ids: ids.into(), prefix: Some(prefix) }
    }

    /// Position of the first new row.
    pub fn start(&self) -> usize {
        self.prefix.as_ref().map_or(0, |p| p.len())
    }
}

impl Batch {
    /// One sequence, from position 0.
    pub fn one(ids: impl Into<Vec<u32>>) -> Self {
        Self { sequences: vec![Sequence::new(ids)] }
    }

    /// Several sequences, each from position 0, of any lengths.
    pub fn of<I: Into<Vec<u32>>>(prompts: impl IntoIterator<Item = I>) -> Self {
        Self { sequences: prompts.into_iter().map(Sequence::new).collect() }
    }

    /// How the rows are packed.
    pub fn rows(&self) -> Rows {
        Rows::pack(self.sequences.iter().map(|s| (s.start(), s.ids.len())))
    }
}
