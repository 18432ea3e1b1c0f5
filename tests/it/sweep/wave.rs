//! The wavefront equals one whole forward pass for each patch, over every family, site and grain.

use candle_core::{DType, Tensor};
use pellucid::Result;
use pellucid::hook::site::{Axis, Scope};
use pellucid::hook::{Cache, Edit, HookPoint, Site};
use pellucid::model::{Batch, Model, Run, Unembed};
use pellucid::ops;
use pellucid::sweep::{Budget, Change, How, Patched, Readout, Recorded, plan, sweep, unchanged};

use crate::bound::drift;
use crate::help::fixtures::load;

const CLEAN: [u32; 9] = [3, 14, 15, 92, 65, 35, 89, 79, 32];
const CORRUPT: [u32; 9] = [3, 14, 27, 18, 65, 28, 18, 28, 45];

for_every_model! {
    /// Invariant: The wavefront gives what one whole forward pass for each patch gives, at every site and granularity.
    fn law_7_the_wavefront_is_one_forward_pass_for_each_patch = every_patch_is_one_forward_pass;

    /// Invariant: as `law_7_the_wavefront_is_one_forward_pass_for_each_patch`.
    fn patching_a_run_with_itself_changes_nothing_and_with_everything_gives_the_other_run =
        itself_is_nothing_and_everything_is_the_other_run;
}

/// A patch, said once for the wavefront and for the naive run.
#[derive(Clone, Debug)]
struct Patch {
    point: HookPoint,
    pos: Option<usize>,
    head: Option<usize>,
    key_pos: Option<usize>,
    neuron: Option<usize>,
}

fn patches(model: &Model) -> Vec<Patch> {
    let mut all = vec![];
    for point in HookPoint::all(model.spec()) {
        if point.expert.is_some() || point.site.is_index() || point.site.info().scope == Scope::End {
            continue;
        }
        let axes = point.site.info().axes;
        let heads = axes.iter().find(|a| matches!(a, Axis::H | Axis::G));
        let n_heads = heads.and_then(|a| Site::axis_len(model.spec(), point.layer, *a));
        for pos in [None, Some(2), Some(6), Some(8)] {
            let whole = Patch { point, pos, head: None, key_pos: None, neuron: None };
            all.push(whole.clone());
            if let Some(n) = n_heads {
                all.push(Patch { head: Some(n - 1), ..whole.clone() });
            }
            if point.site.per_sequence() && pos != Some(2) {
                all.push(Patch { key_pos: Some(2), head: Some(0), ..whole.clone() });
            }
            if axes.last() == Some(&Axis::M) {
                all.push(Patch { neuron: Some(5), ..whole });
            }
        }
    }
    all
}

/// One whole forward pass in candle's own operations; the change is written out index by index.
fn naive(model: &Model, ids: &[u32], patch: &Patch, source: &Tensor) -> Result<Vec<f32>> {
    let (from, wanted) = (source.clone(), patch.clone());
    let change = move |at: HookPoint, x: &Tensor| {
        let dims = x.dims().to_vec();
        let (mut y, from) = (x.flatten_all()?.to_vec1::<f32>()?, from.flatten_all()?.to_vec1::<f32>()?);
        let inner: usize = dims[1..].iter().product();
        for i in 0..y.len() {
            let (a, b) = (i / inner, i % inner);
            let last = *dims.last().unwrap();
            let (pos, head, end) = match at.site.per_sequence() {
                true => (b / last, a, b % last),
                false => (a, b / last, b % last),
            };
            let key = if at.site.per_sequence() { wanted.key_pos.is_none_or(|k| k == end) } else { true };
            let chosen = wanted.pos.is_none_or(|p| p == pos)
                && wanted.head.is_none_or(|h| h == head)
                && wanted.neuron.is_none_or(|n| n == end)
                && key;
            if chosen {
                y[i] = from[i];
            }
        }
        Ok(Tensor::from_vec(y, dims, x.device())?)
    };
    let mut edit = Edit::with(model.spec(), &patch.point.to_string(), change)?;
    let unembed = Unembed::Rows(vec![ids.len() as u32 - 1]);
    let run = Run { kernels: Some(ops::Kernels::Plain), unembed, ..Run::default() };
    Ok(model.run(&Batch::one(ids), &run, &mut [&mut edit])?.logits()?.flatten_all()?.to_vec1()?)
}

/// The same with every run in one wave, and with a wave for each few.
fn every_patch_is_one_forward_pass(name: &str) -> Result<()> {
    let model = load(name);
    let patches = patches(&model);
    let points: Vec<HookPoint> = HookPoint::all(model.spec());
    let mut clean = Cache::of(points.iter().copied());
    model.forward(&Batch::one(CLEAN), &mut [&mut clean])?;
    let bases = Recorded::of(&model, &[CORRUPT.to_vec()], &[], &[])?;
    let readouts = [Readout { positions: vec![8], tokens: None }];
    let source = |p: HookPoint| clean.get(&p.to_string()).cloned();
    let runs: Vec<Patched> = (patches.iter())
        .map(|p| {
            let positions = p.pos.map(|p| vec![p]);
            let (head, neuron, key_pos) = (p.head, p.neuron, p.key_pos);
            let change =
                Change { positions, head, neuron, key_pos, ..Change::new(p.point, How::Put(source(p.point)?)) };
            Ok(Patched { base: 0, changes: vec![change] })
        })
        .collect::<Result<_>>()?;
    let base = unchanged(&model, &bases[0], &readouts[0])?;
    let want = (patches.iter()).map(|p| naive(&model, &CORRUPT, p, &source(p.point)?)).collect::<Result<Vec<_>>>()?;
    let away = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    let spread = want.iter().map(|w| away(w, &base)).fold(0f32, f32::max);
    let rounding = drift(name, &model, &Batch::of([CLEAN.to_vec(), CORRUPT.to_vec()]));
    assert!(
        f64::from(spread) > 20.0 * rounding.metric(),
        "{name}: patches that change nothing show nothing ({spread})"
    );
    let allowed = rounding.patched(f64::from(spread)) as f32;
    for memory in [usize::MAX, 200_000] {
        let waves = plan(model.spec(), &[9], &runs, &readouts, Budget(memory))?;
        assert_eq!(waves.len() > 1, memory != usize::MAX, "{name}: {} waves", waves.len());
        let mut got: Vec<Option<Vec<f32>>> = vec![None; runs.len()];
        for wave in &waves {
            sweep(&model, &bases, &readouts, &runs, wave, Budget(memory), |run, logits| {
                assert!(got[run].replace(logits.to_vec()).is_none(), "{name}: run {run} came twice");
                Ok(())
            })?;
        }
        for ((patch, want), got) in patches.iter().zip(&want).zip(&got) {
            // A run that is in no wave cannot reach what is measured.
            let got = got.as_ref().unwrap_or(&base);
            let diff = away(got, want);
            assert!(diff <= allowed, "{name} {patch:?}: {diff:e} of a spread of {spread:e}");
        }
    }
    Ok(())
}

fn itself_is_nothing_and_everything_is_the_other_run(name: &str) -> Result<()> {
    let model = load(name);
    let points: Vec<HookPoint> =
        HookPoint::all(model.spec()).into_iter().filter(|p| p.site == Site::ResidPre).collect();
    let both = Recorded::of(&model, &[CLEAN.to_vec(), CORRUPT.to_vec()], &[], &points)?;
    let readouts = [8, 8].map(|p| Readout { positions: vec![0, p], tokens: Some(vec![5, 70, 6]) });
    let runs: Vec<Patched> = (points.iter())
        .flat_map(|p| [0, 1].map(|base| (base, *p)))
        .map(|(base, p)| Ok(Patched { base, changes: vec![Change::new(p, How::Put(both[0].value(p)?.clone()))] }))
        .collect::<Result<_>>()?;
    let allowed = drift(name, &model, &Batch::of([CLEAN.to_vec(), CORRUPT.to_vec()])).logits();
    let clean = unchanged(&model, &both[0], &readouts[0])?;
    let corrupt = unchanged(&model, &both[1], &readouts[1])?;
    assert_ne!(clean, corrupt, "{name}");
    let mut seen = 0;
    for wave in plan(model.spec(), &[9, 9], &runs, &readouts, Budget(usize::MAX))? {
        sweep(&model, &both, &readouts, &runs, &wave, Budget(usize::MAX), |run, logits| {
            let diff = logits.iter().zip(&clean).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            // The same sums, perhaps in kernels for another number of rows.
            assert!(f64::from(diff) <= allowed, "{name} run {run}: {logits:?} {clean:?}");
            seen += 1;
            Ok(())
        })?;
    }
    assert_eq!(seen, runs.len(), "{name}");
    Ok(())
}

#[test]
fn what_changes_nothing_is_known_and_what_does_not_fit_is_refused() -> Result<()> {
    let model = load("llama");
    let point = HookPoint::block(1, Site::V);
    let both = Recorded::of(&model, &[CLEAN.to_vec(), CORRUPT.to_vec()], &[], &[point])?;
    let put = Change::new(point, How::Put(both[0].value(point)?.clone()));
    let at = |p| Change { positions: Some(vec![p]), ..put.clone() };
    // The prompts part at position 2.
    let value = both[1].value(point)?;
    assert!(at(0).changes_nothing(value)? && at(1).changes_nothing(value)?);
    assert!(!at(2).changes_nothing(value)? && !put.changes_nothing(value)?);
    for wrong in [at(9), Change { head: Some(2), ..put.clone() }, Change { key_pos: Some(1), ..put.clone() }] {
        assert!(wrong.check(model.spec(), 9).is_err(), "{wrong:?}");
    }
    assert!(Change::new(HookPoint::global(Site::Logits), How::Fill(0.0)).check(model.spec(), 9).is_err());
    assert_eq!(both[1].value(point)?.dtype(), DType::F32);
    Ok(())
}
