//! A hook that keeps gradients: one backward pass fills it for every point at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Shape, Tensor, Var};

use super::point::{HookPoint, select};
use super::site::{Role, Writer};
use super::tap::Hook;
use crate::arch::Spec;
use crate::error::{Error, Result};
use crate::ops::rows::Rows;

/// Keeps the gradients of values: make it a hook of a run, make one number of what the run gives, and call candle's
/// `backward` on that. No gradient of a weight is computed.
///
/// A value is passed on as it is, with an operation around it that sees its gradient on the backward pass. Where nothing that
/// came before may be asked for a gradient, the value becomes a variable: the backward pass ends at the first points that are
/// wanted. The run can be gone back through more than once, each time from another number or with another layer dropped;
/// the last gradients are kept. The hook sees values before hooks that stand after it, and so do its gradients.
///
/// ```
/// use pellucid::hook::Gradients;
/// use pellucid::model::{Batch, Model};
/// # fn main() -> pellucid::Result<()> {
/// # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt2");
/// let model = Model::load(dir.as_ref())?;
/// let mut gradients = Gradients::new(model.spec(), "z,mlp.post")?;
/// let logits_tv = model.forward(&Batch::one([3, 1, 4, 1, 5]), &mut [&mut gradients])?;
/// logits_tv.get(4)?.get(17)?.backward()?;
/// assert_eq!(gradients.get("blocks.0.attn.hook_z")?.dims(), [5, 4, 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Gradients {
    points: BTreeMap<HookPoint, Vec<Slot>>,
    /// The layer that is dropped, plus one; 0 for none. Shared with the operations of the last run.
    dropped: Arc<AtomicUsize>,
}

/// Where an operation leaves a gradient.
type Slot = Arc<Mutex<Option<Tensor>>>;

impl Gradients {
    /// Of the points that `pattern` means in this model ([`select`]).
    ///
    /// # Errors
    /// When part of the pattern selects nothing, or a value that has no gradient.
    pub fn new(spec: &Spec, pattern: &str) -> Result<Self> {
        let points = select(spec, pattern)?;
        match points.iter().find(|p| p.site.is_index()) {
            Some(point) => Err(Error::bad_input(format!("{point} holds numbers of experts, which have no gradient"))
                .hint("leave it out; the weights of the chosen experts, `chosen_weights`, have one")),
            None => Ok(Self::of(points)),
        }
    }

    /// Of these points.
    pub fn of(points: impl IntoIterator<Item = HookPoint>) -> Self {
        Self { points: points.into_iter().map(|p| (p, vec![])).collect(), dropped: Arc::default() }
    }

    /// In the following backward passes, nothing goes through the sublayers of block `layer`; the stream passes them by. For that,
    /// the run needs the block's `attn_out` and `mlp_out` among the points. `None` drops nothing.
    pub fn drop_layer(&self, layer: Option<usize>) {
        self.dropped.store(layer.map_or(0, |l| l + 1), Ordering::SeqCst);
    }

    /// The gradient of the point called `name`, over the whole pack.
    ///
    /// # Errors
    /// When it was not asked for, no backward pass has reached it, or it is made once per sequence and there were several.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        let point = self.points.keys().find(|p| p.to_string() == name);
        let point = point.ok_or_else(|| {
            Error::no_such(format!("no gradient of `{name}` was asked for")).hint("name it when the hook is made")
        })?;
        match &self.all(*point)?[..] {
            [gradient] => Ok(gradient.clone()),
            all => Err(Error::bad_input(format!("`{name}` is made once per sequence, and there are {}", all.len()))
                .hint("`Gradients::all` gives those of every sequence")),
        }
    }

    /// The gradient of a point: one, or one for each sequence.
    ///
    /// # Errors
    /// As [`Gradients::get`].
    pub fn all(&self, point: HookPoint) -> Result<Vec<Tensor>> {
        let slots = self.points.get(&point).map_or(&[][..], Vec::as_slice);
        let missing = || {
            Error::bad_input(format!("no gradient has reached {point}"))
                .hint("make a number of what the run gave, and call `backward` on it")
        };
        let of = |slot: &Slot| slot.lock().ok().and_then(|kept| kept.clone()).ok_or_else(missing);
        if slots.is_empty() { Err(missing()) } else { slots.iter().map(of).collect() }
    }
}

impl Hook for Gradients {
    fn wants(&self, at: HookPoint) -> bool {
        self.points.contains_key(&at)
    }

    fn on(&mut self, at: HookPoint, rows: &Rows, x: Tensor) -> Result<Tensor> {
        let slots = self.points.entry(at).or_default();
        // A second run starts afresh.
        if rows.sequences.first().is_some_and(|s| s.index == 0) {
            slots.clear();
        }
        let x = if x.track_op() { x } else { Var::from_tensor(&x)?.into_inner() };
        let slot = Slot::default();
        slots.push(slot.clone());
        let droppable = matches!(at.site.info().role, Role::Write(Writer::Attention | Writer::Mlp));
        let dropped = at.layer.filter(|_| droppable).map(|l| (l, self.dropped.clone()));
        Ok(x.apply_op1(Recorder { slot, dropped })?)
    }

    fn finish(&mut self) -> Result<()> {
        match self.points.iter().find(|(_, slots)| slots.is_empty()) {
            Some((point, _)) => {
                Err(Error::bad_input(format!("the run never reached {point}, so there is no gradient to keep"))
                    .hint("start earlier or stop later, or ask for fewer hooks"))
            }
            None => Ok(()),
        }
    }
}

/// The value itself; on the backward pass it keeps the gradient.
struct Recorder {
    slot: Slot,
    dropped: Option<(usize, Arc<AtomicUsize>)>,
}

fn same<S: BackendStorage>(storage: &S, layout: &Layout) -> candle_core::Result<(S, Shape)> {
    Ok((storage.to_dtype(layout, storage.dtype())?, layout.shape().clone()))
}

impl CustomOp1 for Recorder {
    fn name(&self) -> &'static str {
        "seen"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        same(storage, layout)
    }

    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        same(storage, layout)
    }

    fn metal_fwd(&self, storage: &MetalStorage, layout: &Layout) -> candle_core::Result<(MetalStorage, Shape)> {
        same(storage, layout)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let drops = |(layer, dropped): &(usize, Arc<AtomicUsize>)| dropped.load(Ordering::SeqCst) == layer + 1;
        let gradient = if self.dropped.as_ref().is_some_and(drops) { gradient.zeros_like()? } else { gradient.clone() };
        if let Ok(mut kept) = self.slot.lock() {
            *kept = Some(gradient.clone());
        }
        Ok(Some(gradient))
    }
}
