//! How far apart rounding may take two runs, from the arithmetic and not from what one machine gave.
//!
//! Where one sum is compared with itself in another order, the bound is Higham's, `2 gamma(n) |x| |w|` ([`products`]), which
//! holds for every order, with fused multiply-adds or without: no instruction level can exceed it.
//!
//! Where whole runs are compared, errors pass through norms, softmaxes and products, and bounds for the worst case say
//! nothing. There the rounding of the model itself is measured ([`Drifts`]): one run in f32 beside the same in f64, both by
//! candle's own operations, at every site. A run that makes the same sums in another order makes errors of that size.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use candle_core::{DType, Tensor};
use pellucid::Result;
use pellucid::arch::Spec;
use pellucid::arch::spec::Block;
use pellucid::hook::{Cache, HookPoint, Site};
use pellucid::model::{Batch, Model, Run, Weights};
use pellucid::ops;
use pellucid::ops::norm::NormWeights;
pub use pellucid::ops::rounding::{Drift, gamma};

use crate::bin::fixture;
use crate::model::law::{A, B};
use crate::reference::max_diff;

/// What README promises of patches: so near to whole forward passes, in units of the metric's spread in one sweep. It is a
/// promise and not a measurement; rounding explains less of it wherever a sweep does something.
pub const PATCHES: f64 = 1e-4;

/// What two f32 sums of `n` products, `x [t, k]` times `w [k, m]` in any two orders, may differ by at most.
pub fn products(n: usize, x: &Tensor, w: &Tensor) -> Result<f64> {
    let wide = |x: &Tensor| x.to_dtype(DType::F64)?.abs();
    Ok(2.0 * gamma(n, DType::F32) * largest(&wide(x)?.matmul(&wide(w)?)?))
}

/// What rounding in f32 makes of one model's run on one batch, at every site.
pub struct Drifts {
    sites: HashMap<HookPoint, Drift>,
    /// How many roundings there are one upon another from the first value to the last.
    chain: usize,
}

impl Drifts {
    /// Measures it.
    pub fn of(model: &Model, batch: &Batch) -> Result<Self> {
        let record = |model: &Model| -> Result<Cache> {
            let mut cache = Cache::new(model.spec(), "*")?;
            let run = Run { kernels: Some(ops::Kernels::Plain), ..Run::default() };
            model.run(batch, &run, &mut [&mut cache])?;
            Ok(cache)
        };
        let (narrow, exact) = (record(model)?, record(&model.to_dtype(DType::F64)?)?);
        let mut sites: HashMap<HookPoint, Drift> = HashMap::new();
        for ((point, narrow), (_, exact)) in narrow.iter().zip(exact.iter()) {
            let site = sites.entry(point).or_default();
            for (narrow, exact) in narrow.iter().zip(exact) {
                let part = Drift::of(narrow, exact)?;
                (site.drift, site.size) = (site.drift.max(part.drift), site.size.max(part.size));
            }
        }
        let drifts = Self { sites, chain: chain(model.spec(), batch) };
        drifts.are_rounding();
        Ok(drifts)
    }

    /// That what was measured is rounding, and no fault of f32 hides behind a bound that it made itself: no value is farther from
    /// f64 than a chain of so many roundings takes one that is as large as the largest there is.
    fn are_rounding(&self) {
        let allowed = self.chain() * self.sites.values().map(|m| m.size).fold(1.0, f64::max);
        for (point, m) in &self.sites {
            assert!(m.drift <= allowed, "{point}: f32 is {:e} from f64, and rounding explains {allowed:e}", m.drift);
        }
    }

    /// What all roundings between the first value and the last may do, relative to the largest value on the way: `gamma` of their
    /// number. Gradients come back through as many.
    pub fn chain(&self) -> f64 {
        gamma(self.chain, DType::F32)
    }

    /// What was measured at this site.
    pub fn at(&self, point: HookPoint) -> Drift {
        *self.sites.get(&point).unwrap_or_else(|| panic!("{point} was not measured"))
    }

    /// How far apart two runs in f32 may be at this site, or one of them from f64.
    pub fn allowed(&self, point: HookPoint) -> f64 {
        self.at(point).allowed()
    }

    /// How far apart two runs in f32 may be at the hook of this name.
    pub fn hook(&self, name: &str) -> f64 {
        let site = self.sites.iter().find(|(point, _)| point.to_string() == name);
        site.unwrap_or_else(|| panic!("{name} was not measured")).1.allowed()
    }

    /// How far apart two runs in f32 may be in their logits.
    pub fn logits(&self) -> f64 {
        self.allowed(HookPoint::global(Site::Logits))
    }

    /// How far apart two runs in f32 may be in a difference of two logits, and in every other metric whose slopes come to two
    /// at most: log probabilities, divergences, losses.
    pub fn metric(&self) -> f64 {
        2.0 * self.logits()
    }

    /// How far a patched run's metric may be from what it must equal: what is promised of the sweep's spread; or what rounding
    /// makes of the metric, where the spread is so small that this is more.
    pub fn patched(&self, spread: f64) -> f64 {
        (PATCHES * spread).max(self.metric())
    }
}

/// How many roundings there are one upon another in a run: each sum rounds as often as it has terms.
fn chain(spec: &Spec, batch: &Batch) -> usize {
    let keys = batch.sequences.iter().map(|s| s.ids.len()).max().unwrap_or(1);
    let of_block = |block: &Block| {
        let a = &block.attention.inner;
        // A norm, projections, scores, softmax, weighted values, output; a norm, neurons, output.
        let attention = 2 * spec.d_model + a.d_head + 2 * keys + a.n_heads * a.d_head;
        attention + block.mlp.as_ref().map_or(0, |mlp| 2 * spec.d_model + mlp.inner.neurons().d_mlp)
    };
    // A norm and the unembedding.
    spec.blocks.iter().map(of_block).sum::<usize>() + 2 * spec.d_model
}

/// The largest finite size.
fn largest(x: &Tensor) -> f64 {
    let values = x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    values.into_iter().map(f64::abs).filter(|x| x.is_finite()).fold(0.0, f64::max)
}

/// [`Drifts::of`] the model of this name on this batch, measured once.
pub fn drift(name: &str, model: &Model, batch: &Batch) -> Arc<Drifts> {
    static KNOWN: LazyLock<Mutex<HashMap<String, Arc<Drifts>>>> = LazyLock::new(Mutex::default);
    let ids: Vec<&[u32]> = batch.sequences.iter().map(|s| &s.ids[..]).collect();
    let key = format!("{name} {ids:?}");
    let known = KNOWN.lock().unwrap().get(&key).cloned();
    known.unwrap_or_else(|| {
        let drift = Arc::new(Drifts::of(model, batch).unwrap());
        KNOWN.lock().unwrap().insert(key, Arc::clone(&drift));
        drift
    })
}

/// Mistakes, each of which one model makes; and how far rounding alone takes the right one's kernels from one another.
///
/// Invariant: as `sums_in_any_order_lie_within_gamma`.
#[test]
fn what_is_measured_is_rounding_and_a_fault_is_not() -> Result<()> {
    let batch = || Batch::of([A.to_vec(), B.to_vec()]);
    type Fault = (&'static str, fn(&mut Weights));
    let faults: [Fault; 5] = [
        // 1e-5 for 1e-6, or the other way round.
        ("epsilon", |w| norms(w).for_each(|norm| norm.eps = if norm.eps < 5e-6 { 1e-5 } else { 1e-6 })),
        ("scale of scores", |w| w.blocks[0].scoring.scale *= 1.0001),
        ("no bias", |w| w.blocks[1].o.bias = w.blocks[1].o.bias.as_ref().map(|b| b.zeros_like().unwrap())),
        ("one weight of a norm", |w| {
            norms(w).for_each(|norm| norm.gain = norm.gain.as_ref().map(|g| first_changed(g).unwrap()))
        }),
        ("head shown another's key", |w| w.blocks[0].k = w.blocks[0].k.map(&first_columns_swapped).unwrap()),
    ];
    for name in ["gpt2", "llama", "gemma2", "qwen2", "hooked_ln"] {
        let model = Model::load(&fixture(name))?;
        let rounding = drift(name, &model, &batch());
        let mut right = Cache::new(model.spec(), "*")?;
        model.forward(&batch(), &mut [&mut right])?;
        // How many times what is allowed, where that is most.
        let farthest = |model: &Model| -> Result<f64> {
            let mut cache = Cache::new(model.spec(), "*")?;
            let run = Run { kernels: Some(ops::Kernels::Plain), ..Run::default() };
            model.run(&batch(), &run, &mut [&mut cache])?;
            let apart = cache
                .iter()
                .zip(right.iter())
                .flat_map(|((point, x), (_, y))| x.iter().zip(y).map(move |(x, y)| (point, max_diff(x, y))));
            let times = apart.filter(|(_, apart)| *apart > 0.0).map(|(point, apart)| apart / rounding.allowed(point));
            Ok(times.fold(0.0, f64::max))
        };
        assert!(farthest(&model)? <= 1.0, "{name}: rounding is more than it may be");
        for (fault, plant) in &faults {
            let mut weights = model.weights().clone();
            plant(&mut weights);
            if *fault == "no bias" && model.weights().blocks[1].o.bias.is_none() {
                continue;
            }
            let times = farthest(&Model::new(model.spec().clone(), weights)?)?;
            assert!(times > 1.0, "{name}: {fault} passes for rounding, {times}");
        }
    }
    // And what only f32 would do wrong cannot widen its own bound.
    let point = HookPoint::global(Site::Logits);
    let of = |drift| Drifts { sites: HashMap::from([(point, Drift { drift, size: 3.0 })]), chain: 600 };
    of(1e-5).are_rounding();
    for wrong in [1e-3, f64::NAN] {
        assert!(std::panic::catch_unwind(|| of(wrong).are_rounding()).is_err(), "{wrong} passes for rounding");
    }
    Ok(())
}

/// The norms before attention and MLP.
fn norms(weights: &mut Weights) -> impl Iterator<Item = &mut NormWeights> {
    weights.blocks.iter_mut().flat_map(|b| b.ln1.iter_mut().chain(b.mlp.as_mut().and_then(|m| m.ln2.as_mut())))
}

/// The first number larger by a thousandth.
fn first_changed(x: &Tensor) -> Result<Tensor> {
    let mut values = x.to_vec1::<f32>()?;
    values[0] = values[0] * 1.001 + 1e-4;
    Ok(Tensor::new(values, x.device())?)
}

/// The first two columns of a matrix in each other's place; a vector as it is.
fn first_columns_swapped(x: &Tensor) -> Result<Tensor> {
    if x.rank() < 2 {
        return Ok(x.clone());
    }
    let columns = |from, n| x.narrow(1, from, n);
    Ok(Tensor::cat(&[columns(1, 1)?, columns(0, 1)?, columns(2, x.dim(1)? - 2)?], 1)?)
}
