//! Keys and values of a sequence that goes on, one run after another, without a copy of what is there.

use std::sync::Arc;

use candle_core::Tensor;

use super::batch::Prefix;
use crate::arch::Spec;
use crate::arch::spec::Mask;
use crate::error::{Error, Result};
use crate::ops::attention::KeysValues;

/// A prefix that grows. Its keys and values lie in room that is taken once; what is added is written behind them. A block whose
/// attention has a window keeps only what later positions can see, in room for twice as much.
///
/// The prefixes that it gives share that room, so each is to be used before the next is added to.
#[derive(Debug)]
pub struct Growing {
    len: usize,
    layers: Vec<Option<Layer>>,
}

/// Of one block.
#[derive(Debug)]
struct Layer {
    /// `[room, g, e]`, of which `filled` rows are there: those of the last positions.
    keys: Tensor,
    values: Tensor,
    filled: usize,
    /// How many positions a later query sees at most before itself.
    seen: usize,
}

impl Growing {
    /// What `prefix` has, with room for `room` positions in all.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn after(spec: &Spec, prefix: &Prefix, room: usize) -> Result<Self> {
        let layers = (spec.blocks.iter().enumerate())
            .map(|(l, block)| {
                let Ok(old) = prefix.layer(l) else { return Ok(None) };
                let seen = match block.attention.inner.mask {
                    Mask::Window(n) => n - 1,
                    Mask::Causal | Mask::Bidirectional => usize::MAX,
                };
                let room = room.max(prefix.len()).min(seen.saturating_mul(2).max(1));
                Layer::of(old, room, seen).map(Some)
            })
            .collect::<Result<_>>()?;
        Ok(Self { len: prefix.len(), layers })
    }

    /// How many positions there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of keys and values that later positions can see.
    pub fn bytes(&self) -> usize {
        let of = |l: &Layer| {
            let rows = l.filled.min(l.seen);
            2 * rows * l.keys.elem_count() / l.keys.dims()[0].max(1) * l.keys.dtype().size_in_bytes()
        };
        self.layers.iter().flatten().map(of).sum()
    }

    /// Adds the positions of `more`, which a run after [`Growing::prefix`] has kept.
    ///
    /// # Errors
    /// When `more` lacks a block, or there is no room.
    pub fn push(&mut self, more: &Prefix) -> Result<()> {
        for (l, layer) in self.layers.iter_mut().enumerate() {
            if let Some(layer) = layer {
                layer.push(more.layer(l)?)?;
            }
        }
        self.len += more.len();
        Ok(())
    }

    /// What is there, to be continued.
    ///
    /// # Errors
    /// None that are known; candle's are passed on.
    pub fn prefix(&self) -> Result<Arc<Prefix>> {
        let layers = self.layers.iter().map(|layer| layer.as_ref().map(Layer::kept).transpose());
        Ok(Arc::new(Prefix::new(self.len, layers.collect::<Result<_>>()?)))
    }
}

impl Layer {
    /// The last rows of `old` that can be seen, with room for `room`.
    fn of(old: &KeysValues, room: usize, seen: usize) -> Result<Self> {
        let (n, heads, width) = old.keys.dims3()?;
        let filled = n.min(seen).min(room);
        let new = |x: &Tensor| -> Result<Tensor> {
            let made = Tensor::zeros((room, heads, width), x.dtype(), x.device())?;
            if filled > 0 {
                made.slice_set(&x.narrow(0, n - filled, filled)?.contiguous()?, 0, 0)?;
            }
            Ok(made)
        };
        Ok(Self { keys: new(&old.keys)?, values: new(&old.values)?, filled, seen })
    }

    fn kept(&self) -> Result<KeysValues> {
        let rows = self.filled.min(self.seen);
        let cut = |x: &Tensor| x.narrow(0, self.filled - rows, rows);
        Ok(KeysValues { keys: cut(&self.keys)?, values: cut(&self.values)? })
    }

    fn push(&mut self, more: &KeysValues) -> Result<()> {
        let (n, room) = (more.keys.dim(0)?, self.keys.dim(0)?);
        if self.filled + n > room {
            if self.seen == usize::MAX {
                return Err(Error::bad_input(format!("there is room for {room} positions, and no more"))
                    .hint("make room for as many positions as the sequence will have"));
            }
            // The window alone moves on, once in as many positions as it has.
            let both = |a: &Tensor, b: &Tensor| Tensor::cat(&[a, b], 0);
            let kept = self.kept()?;
            let all = KeysValues { keys: both(&kept.keys, &more.keys)?, values: both(&kept.values, &more.values)? };
            *self = Self::of(&all, room, self.seen)?;
            return Ok(());
        }
        self.keys.slice_set(&more.keys.contiguous()?, 0, self.filled)?;
        self.values.slice_set(&more.values.contiguous()?, 0, self.filled)?;
        self.filled += n;
        Ok(())
    }
}
