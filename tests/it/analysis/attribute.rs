//! Attribution patching against whole forward passes that change one thing, over every family.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use pellucid::Result;
use pellucid::analysis::attribute::{Attribute, AttributionSummary, attribute, components};
use pellucid::analysis::patch::{Align, Direction, Grid, Kind, Metric, Over, PatchOptions, Patching, patch};
use pellucid::analysis::{AttributionRow, PatchRow};
use pellucid::arch::spec::Position;
use pellucid::hook::site::Scope;
use pellucid::hook::{Cache, Edit, Gradients, HookPoint, Site};
use pellucid::model::{Batch, Model, Run};
use pellucid::ops;
use pellucid::ops::rounding::unit;
use pellucid::sweep::{Budget, Shard};
use pellucid::sweep::{Change, How, Readout, naive};
use pellucid::text::{Bos, Pair, PromptEntry, build_prompts};

use crate::bin::{Place, model as model_arg};
use crate::bound::{Drifts, drift, gamma};
use crate::help::fixtures::every_model;

const CLEAN: [u32; 9] = [3, 14, 15, 92, 65, 35, 89, 79, 32];
const CORRUPT: [u32; 9] = [3, 14, 27, 18, 65, 28, 18, 28, 45];
const ANSWER: u32 = 41;
const FOIL: u32 = 7;

fn load(name: &str) -> Model {
    Model::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

/// What rounding makes of the runs that are looked at here.
fn rounding(name: &str) -> Arc<Drifts> {
    drift(name, &load(name), &Batch::of([CLEAN.to_vec(), CORRUPT.to_vec()]))
}

fn models() -> impl Iterator<Item = (&'static str, Model)> {
    every_model().map(|name| (name, load(name)))
}

/// The model without what turns queries and keys by their positions.
fn unrotated(model: &Model) -> Model {
    let mut spec = model.spec().clone();
    spec.blocks.iter_mut().for_each(|block| block.attention.inner.position = Position::None);
    Model::new(spec, model.weights().clone()).unwrap()
}

fn pair(index: u32, clean: &[u32], corrupt: &[u32]) -> Pair {
    let entries = [clean, corrupt].map(PromptEntry::ids);
    let mut prompts = build_prompts(&entries, None, 100, None, Bos::default()).unwrap().into_iter();
    let (clean, corrupt) = (prompts.next().unwrap(), prompts.next());
    Pair::new(index, index.to_string(), clean, corrupt, vec![ANSWER], vec![FOIL]).unwrap()
}

fn the_pair() -> Pair {
    pair(0, &CLEAN, &CORRUPT)
}

fn options(at: impl Into<String>) -> Attribute {
    Attribute { at: Some(at.into()), top: 0, ..Attribute::default() }
}

fn run(model: &Model, pairs: &[Pair], options: &Attribute) -> Result<(Vec<AttributionRow>, AttributionSummary)> {
    within(1 << 30, model, pairs, options)
}

/// The same in so much memory.
fn within(
    memory_bytes: usize,
    model: &Model,
    pairs: &[Pair],
    options: &Attribute,
) -> Result<(Vec<AttributionRow>, AttributionSummary)> {
    let mut rows = vec![];
    let summary = attribute(
        model,
        pairs,
        options,
        (Align::default(), Budget(memory_bytes), Shard::default()),
        &(),
        &mut |row| {
            rows.push(row);
            Ok(())
        },
    )?;
    Ok((rows, summary))
}

/// Points whose values a patch can replace, experts' own aside.
fn every_point(model: &Model) -> Vec<HookPoint> {
    let all = HookPoint::all(model.spec()).into_iter();
    all.filter(|p| !p.site.is_index() && !matches!(p.site.info().scope, Scope::End | Scope::Expert)).collect()
}

fn names(points: &[HookPoint]) -> String {
    points.iter().map(|p| p.to_string()).collect::<Vec<_>>().join(",")
}

fn values(model: &Model, ids: &[u32], points: &[HookPoint]) -> Result<HashMap<HookPoint, Tensor>> {
    let mut cache = Cache::of(points.iter().copied());
    model.forward(&Batch::one(ids), &mut [&mut cache])?;
    Ok(cache.iter().map(|(p, x)| (p, x[0].clone())).collect())
}

fn index(x: Option<u32>) -> Option<usize> {
    x.map(|x| x as usize)
}

/// What a row is about.
fn change(point: HookPoint, r: &AttributionRow, how: How) -> Change {
    let positions = index(r.place.pos.or(r.place.query_pos)).map(|p| vec![p]);
    let heads = point.site.info().axes.iter().any(|a| matches!(a.letter(), "h" | "g"));
    let head = if heads { index(r.place.head.or(r.place.kv_head)) } else { None };
    Change {
        positions,
        head,
        neuron: index(r.place.neuron),
        key_pos: index(r.place.key_pos),
        ..Change::new(point, how)
    }
}

fn of_point(point: HookPoint) -> impl Fn(&&AttributionRow) -> bool {
    move |r| r.place.site == point.site.short() && index(r.place.layer) == point.layer
}

/// The donor's value less the base's; nothing where both are minus infinity.
fn difference(donor: &Tensor, base: &Tensor) -> Result<Tensor> {
    let flat = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
    let less = |(d, b): (&f32, &f32)| if d == b { 0.0 } else { d - b };
    let x: Vec<f32> = flat(donor)?.iter().zip(&flat(base)?).map(less).collect();
    Ok(Tensor::from_vec(x, donor.shape(), donor.device())?)
}

fn times(x: &Tensor, by: f64) -> Tensor {
    (x * by).unwrap()
}

/// How far an estimate may be from a slope that is known to within `error`, where the largest effect is `size`. A slope is a
/// difference of metrics of size one over steps of 0.00125 and more: one rounding of each is 1e-4, and what more there is makes
/// the slopes of different steps differ, which `error` says. Steps that differ from the line by a thousandth are still small.
fn of_slope(size: f64, error: f64) -> f64 {
    2.0 * unit(DType::F32) / 0.00125 + 1e-3 * size + 2.0 * error
}

/// The slope at zero of the logit difference along some changes, from whole forward passes; with its own error.
fn slope(model: &Model, along: impl Fn(f64) -> Vec<Change>) -> Result<(f64, f64)> {
    let readout = Readout { positions: vec![8], tokens: Some(vec![ANSWER, FOIL]) };
    let at = |step: f64| {
        let changes = along(step);
        let logits = naive(model, &CORRUPT, &changes.iter().collect::<Vec<_>>(), &readout)?;
        Ok::<_, pellucid::Error>(f64::from(logits[0]) - f64::from(logits[1]))
    };
    let central = |h: f64| Ok::<_, pellucid::Error>((at(h)? - at(-h)?) / (2.0 * h));
    let by_step = [0.01, 0.005, 0.0025, 0.00125].map(central).into_iter().collect::<Result<Vec<_>>>()?;
    // Richardson's: what grows with the square of the step goes. Where two such agree best, neither the step's own error nor
    // that of rounding is large.
    let better: Vec<f64> = by_step.windows(2).map(|w| (4.0 * w[1] - w[0]) / 3.0).collect();
    let ends = better.windows(2).map(|w| (w[1], (w[1] - w[0]).abs()));
    Ok(ends.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap())
}

/// Invariant: Estimated effects of patches are the slopes of whole forward passes, at every site of every family and for every
/// metric.
#[test]
fn estimates_are_the_slopes_of_whole_forward_passes() -> Result<()> {
    for (name, model) in models() {
        let points = every_point(&model);
        let (rows, summary) = run(&model, &[the_pair()], &options(names(&points)))?;
        assert_eq!(summary.nodes, rows.len(), "{name}");
        let (base, donor) = (values(&model, &CORRUPT, &points)?, values(&model, &CLEAN, &points)?);
        let size = rows.iter().filter(|r| r.place.site == "resid_pre").map(|r| r.strength).fold(0f32, f32::max) as f64;
        // Ten times what a slope may be off by.
        assert!(size > 10.0 * of_slope(0.0, 0.0), "{name}: nothing to see, {size}");
        let (mut slopes, mut known) = (0, 0);
        for point in points {
            let of_point: Vec<&AttributionRow> = rows.iter().filter(of_point(point)).collect();
            let away = difference(&donor[&point], &base[&point])?;
            // All at once, and the strongest alone.
            let whole: f64 = of_point.iter().map(|r| f64::from(r.estimate)).sum();
            let strongest = of_point.iter().max_by(|a, b| a.strength.total_cmp(&b.strength)).unwrap();
            let how = |step| How::Add(times(&away, step));
            let all = slope(&model, |step| vec![Change::new(point, how(step))])?;
            let one = slope(&model, |step| vec![change(point, strongest, how(step))])?;
            for (estimate, (slope, error)) in [(whole, all), (f64::from(strongest.estimate), one)] {
                let allowed = of_slope(size, error);
                (slopes, known) = (slopes + 1, known + usize::from(error < 0.02 * size));
                assert!((estimate - slope).abs() < allowed, "{name} {point}: {estimate} {slope} {allowed:.1e} {size}");
            }
        }
        // A step may cross the kink of a ReLU, and then says little.
        assert!(10 * known >= 9 * slopes, "{name}: {known} of {slopes} slopes are known");
    }
    Ok(())
}

/// The same with each metric, against the metric of `patch` along the change of the stream.
///
/// Invariant: as `estimates_are_the_slopes_of_whole_forward_passes`.
#[test]
fn estimates_follow_every_metric_in_both_directions() -> Result<()> {
    let model = load("gpt2");
    // Of a metric whose slopes come to two, of a run in f32.
    let exact = 2.0 * rounding("gpt2").at(HookPoint::global(Site::Logits)).allowed();
    let point = HookPoint::block(1, Site::ResidPre);
    for metric in ["logit_diff", "logit", "prob", "log_prob", "kl_to_clean", "loss"] {
        for direction in [Direction::Denoise, Direction::Noise] {
            let metric = Metric::parse(metric)?;
            if metric == Metric::KlToClean && direction == Direction::Noise {
                continue;
            }
            let options = Attribute { direction, metric, ..options(point.to_string()) };
            let (rows, _) = run(&model, &[the_pair()], &options)?;
            let estimate: f32 = rows.iter().map(|r| r.estimate).sum();
            // A prompt whose stream lies a little on the way: patched with a vector added, measured as `patch` measures.
            let both = [&CORRUPT, &CLEAN].map(|ids| values(&model, ids, &[point]).unwrap()[&point].clone());
            let away = match direction {
                Direction::Denoise => difference(&both[1], &both[0])?,
                Direction::Noise => difference(&both[0], &both[1])?,
            };
            let at = |step: f64| {
                let mut options = PatchOptions { vector: Some(away.clone()), ..patch_options("resid_pre", &[]) };
                options.how = Patching {
                    kind: Kind::Add(step),
                    metric: vec![metric],
                    direction: Some(direction),
                    ..Patching::default()
                };
                options.grid.only.layers = Some(pellucid::range::numbers([1]));
                f64::from(patches(&model, &options).unwrap()[0].measured.patched.unwrap())
            };
            let slope = (4.0 * (at(0.02) - at(-0.02)) / 0.04 - (at(0.04) - at(-0.04)) / 0.08) / 3.0;
            // Of two steps, 0.02 and 0.04, which leave a thousandth of the slope at most; and the rounding of four metrics, of
            // which the two near ones count for four thirds each.
            let allowed = (8.0 / 3.0 / 0.04 + 2.0 / 3.0 / 0.08) * exact + 1e-3 * slope.abs();
            let far = (slope - f64::from(estimate)).abs();
            assert!(far < allowed, "{metric:?} {direction:?} {slope} {estimate}, allowed {allowed:e}");
            assert!(slope.abs() > 2.0 * allowed, "{metric:?} {direction:?}: nothing to see");
            let r = &rows[0];
            let base = if direction == Direction::Denoise { r.corrupt } else { r.clean };
            let recovered = (base + r.estimate - r.corrupt) / (r.clean - r.corrupt);
            // The same formula, in f32 here and there, whose numerator is a sum of three.
            let size = (base.abs() + r.estimate.abs() + r.corrupt.abs()) / (r.clean - r.corrupt).abs();
            let allowed = 2.0 * gamma(4, DType::F32) * f64::from(size);
            assert!(f64::from((recovered - r.estimated_recovered.unwrap()).abs()) <= allowed, "{r:?}");
        }
    }
    Ok(())
}

fn patch_options(at: &str, over: &[Over]) -> PatchOptions {
    let grid = Grid { at: at.into(), over: over.into(), ..Grid::default() };
    PatchOptions { grid, budget: Budget(1 << 30), ..PatchOptions::default() }
}

fn patches(model: &Model, options: &PatchOptions) -> Result<Vec<PatchRow>> {
    let mut rows = vec![];
    patch(model, &[the_pair()], options, &mut (), &(), &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

/// Where everything after a value is a linear map, the first order is all there is.
///
/// Invariant: Where the rest of the model is linear, estimates are exact; estimates for heads and neurons add up to that of their
/// sublayer.
#[test]
fn where_the_rest_is_linear_estimates_are_exact() -> Result<()> {
    for (name, at) in [
        (
            "hooked_attn_only",
            "blocks.1.attn.hook_z,blocks.1.hook_attn_out,blocks.1.attn.hook_v,blocks.1.attn.hook_pattern",
        ),
        ("hooked_bidirectional", "blocks.1.mlp.hook_post,blocks.1.hook_mlp_out,blocks.1.hook_resid_post"),
    ] {
        let model = load(name);
        assert!(model.spec().final_norm.is_none(), "{name}");
        let options = Attribute { confirm: usize::MAX, ..options(at) };
        let (rows, summary) = run(&model, &[the_pair()], &options)?;
        let confirmed = summary.confirmed.unwrap();
        assert!(confirmed.n > 20 && confirmed.rank_correlation.unwrap() > 0.999, "{name}: {confirmed:?}");
        let measured = rows.iter().filter(|r| r.exact.is_some()).count();
        assert_eq!(measured, rows.iter().filter(|r| r.strength > 0.0).count(), "{name}");
        let rounding = rounding(name).metric();
        for r in rows.iter().filter(|r| r.exact.is_some()) {
            // What was measured is a difference of two metrics, and the estimate is it but for rounding.
            let far = f64::from((r.estimate - r.exact.unwrap()).abs());
            assert!(far <= 2.0 * rounding, "{name}: {r:?}");
        }
    }
    Ok(())
}

/// Invariant: as `where_the_rest_is_linear_estimates_are_exact`.
#[test]
fn what_heads_and_neurons_write_adds_up() -> Result<()> {
    for name in ["gpt2", "llama", "gptj", "hooked_ln", "granite"] {
        let model = load(name);
        let at = "hook_embed,resid_pre,z,result,attn_out,mlp.post,mlp_out";
        let (rows, _) = run(&model, &[the_pair()], &options(at))?;
        // And the sum of their sizes.
        let sum = |site: &str, layer: Option<u32>, pos: u32| -> [f64; 2] {
            let of = |r: &&AttributionRow| r.place.site == site && r.place.layer == layer && r.place.pos == Some(pos);
            let all = || rows.iter().filter(of).map(|r| f64::from(r.estimate));
            [all().sum(), all().map(f64::abs).sum()]
        };
        let rounding = rounding(name);
        for pos in 0..9 {
            for layer in (0..model.spec().n_layers() as u32).map(Some) {
                // Gradients in f32, through one map more or less.
                let same = |[a, of_a]: [f64; 2], [b, of_b]: [f64; 2]| {
                    assert!((a - b).abs() <= rounding.chain() * (of_a + of_b), "{name} {layer:?} {pos}: {a} {b}");
                };
                same(sum("attn.z", layer, pos), sum("attn_out", layer, pos));
                same(sum("attn.result", layer, pos), sum("attn_out", layer, pos));
                same(sum("mlp.post", layer, pos), sum("mlp_out", layer, pos));
                // Positions are the same in both runs, so the tokens make the whole difference.
                if layer == Some(0) && model.weights().embed_norm.is_none() {
                    same(sum("embed", None, pos), sum("resid_pre", layer, pos));
                }
            }
        }
    }
    Ok(())
}

/// The fix for queries and keys is: run the attention with the other query or key, and take what follows as linear.
///
/// Invariant: `--qk-fix` gives the attention pattern that a run with that query or key has; GradDrop holds one layer fixed.
#[test]
fn fixed_queries_and_keys_are_the_attention_that_was_run() -> Result<()> {
    let mut refused = 0;
    // Norms on queries and keys with no rotation after them: no family has that, a HookedTransformer may.
    let unrotated = [("qwen3, not rotated", "qwen3"), ("olmoe_clipped, not rotated", "olmoe_clipped")]
        .map(|(name, of)| (name, unrotated(&load(of))));
    for (name, model) in models().chain(unrotated) {
        let points: Vec<HookPoint> = every_point(&model)
            .into_iter()
            .filter(|p| matches!(p.site, Site::Q | Site::K | Site::QNormed | Site::KNormed | Site::RotQ | Site::RotK))
            .collect();
        let norm_of_all = |p: &HookPoint| {
            let norm = model.spec().blocks[p.layer.unwrap()].attention.inner.qk_norm;
            matches!(p.site, Site::Q | Site::K) && norm.is_some_and(|qk| !qk.per_head)
        };
        let (of_all, points): (Vec<HookPoint>, Vec<HookPoint>) = points.into_iter().partition(norm_of_all);
        if !of_all.is_empty() {
            let fixed = Attribute { qk_fix: true, ..options(names(&of_all)) };
            let e = run(&model, &[the_pair()], &fixed).unwrap_err();
            assert!(e.message().contains("the norm after blocks."), "{name}: {e:?}");
            assert!(e.hint_text().is_some_and(|hint| hint.contains("q_norm.out")), "{name}: {e:?}");
            refused += 1;
        }
        let options = Attribute { qk_fix: true, ..options(names(&points)) };
        let (rows, _) = run(&model, &[the_pair()], &options)?;
        let rounding = drift(name, &model, &Batch::of([CLEAN.to_vec(), CORRUPT.to_vec()]));
        let donor = values(&model, &CLEAN, &points)?;
        let size = rows.iter().map(|r| r.strength).fold(0f32, f32::max);
        for point in points.iter().copied() {
            let z = HookPoint { site: Site::Z, ..point };
            let mut gradients = Gradients::of([z]);
            let logits = model.forward(&Batch::one(CORRUPT), &mut [&mut gradients])?.get(8)?;
            (logits.get(ANSWER as usize)? - logits.get(FOIL as usize)?)?.backward()?;
            let dz = gradients.get(&z.to_string())?;
            let before = values(&model, &CORRUPT, &[z])?[&z].clone();
            for r in rows.iter().filter(of_point(point)) {
                let mut put = Edit::set(model.spec(), &point.to_string(), donor[&point].clone())?
                    .positions([r.place.pos.unwrap() as isize])
                    .heads([r.place.head.or(r.place.kv_head).unwrap() as usize]);
                let mut cache = Cache::of([z]);
                let run = Run { kernels: Some(ops::Kernels::Plain), ..Run::default() };
                model.run(&Batch::one(CORRUPT), &run, &mut [&mut put, &mut cache])?;
                let moved = (cache.get(&z.to_string())? - &before)?;
                let parts = (&moved * &dz)?;
                let [want, sizes] = [&parts, &parts.abs()?].map(|x| x.sum_all().unwrap().to_scalar::<f32>().unwrap());
                // What moved is a difference of values of two runs in f32, whose errors are of either sign: what they do to a sum
                // is the root of the sum of their squares. Gradients come back through the model.
                let slopes = dz.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt();
                let allowed = rounding.allowed(z) * f64::from(slopes) + 2.0 * rounding.chain() * f64::from(sizes);
                let far = f64::from((r.estimate - want).abs());
                assert!(far <= allowed, "{name}: {r:?} {want}, allowed {allowed:e}");
            }
        }
        assert!(f64::from(size) > 5.0 * rounding.metric(), "{name}: nothing to see, {size}");
    }
    assert!(refused > 0, "no model has a norm over all queries together");
    Ok(())
}

/// In a last block that only attends, the fix is exact, and without it the estimate is not.
#[test]
fn fixed_queries_and_keys_are_exact_where_the_rest_is_linear() -> Result<()> {
    let model = load("hooked_attn_only");
    let worst = |qk_fix: bool| {
        let at = "blocks.1.attn.hook_q,blocks.1.attn.hook_k";
        let (rows, _) = run(&model, &[the_pair()], &Attribute { confirm: usize::MAX, qk_fix, ..options(at) })?;
        let misses = rows.iter().filter_map(|r| r.exact.map(|exact| f64::from((r.estimate - exact).abs())));
        Ok::<_, pellucid::Error>(misses.fold(0f64, f64::max))
    };
    let (with, without) = (worst(true)?, worst(false)?);
    // What was measured is a difference of two metrics.
    let allowed = 2.0 * rounding("hooked_attn_only").metric();
    assert!(with <= allowed, "{with:e}, allowed {allowed:e}");
    assert!(without > 100.0 * allowed, "{without:e}");
    Ok(())
}

/// GradDrop's mean over layers, each held at what the base run has there.
///
/// Invariant: as `fixed_queries_and_keys_are_the_attention_that_was_run`.
#[test]
fn strengths_under_graddrop_are_means_of_slopes_with_a_layer_held() -> Result<()> {
    for name in ["gpt2", "llama", "gemma2", "gptj", "mixtral", "hooked_attn_only"] {
        let model = load(name);
        let n_layers = model.spec().n_layers();
        let at = components(model.spec(), false);
        let (rows, _) = run(&model, &[the_pair()], &Attribute { grad_drop: true, ..options(at) })?;
        let plain = run(&model, &[the_pair()], &options(components(model.spec(), false)))?.0;
        let signed = |rows: &[AttributionRow]| rows.iter().map(|r| r.estimate).collect::<Vec<_>>();
        assert_eq!(signed(&rows), signed(&plain), "{name}");
        let points = every_point(&model);
        let (base, donor) = (values(&model, &CORRUPT, &points)?, values(&model, &CLEAN, &points)?);
        let size = rows.iter().map(|r| r.strength).fold(0f32, f32::max) as f64;
        for point in points {
            let Some(strongest) = rows.iter().filter(of_point(point)).max_by(|a, b| a.strength.total_cmp(&b.strength))
            else {
                continue;
            };
            let away = difference(&donor[&point], &base[&point])?;
            let (mut sum, mut error) = (0.0, 0.0);
            for layer in 0..n_layers {
                let held = [Site::AttnOut, Site::MlpOut].map(|s| HookPoint::block(layer, s));
                let held = held.iter().filter_map(|p| base.get(p).map(|x| Change::new(*p, How::Put(x.clone()))));
                let held: Vec<Change> = held.collect();
                let along = |step| {
                    let moved = change(point, strongest, How::Add(times(&away, step)));
                    [moved].into_iter().chain(held.clone()).collect()
                };
                let (slope, wrong) = slope(&model, along)?;
                (sum, error) = (sum + slope.abs(), error + wrong);
            }
            let stream = point.site == Site::ResidPre;
            let want = sum / if stream { n_layers } else { n_layers - 1 } as f64;
            let allowed = of_slope(size, error);
            assert!((f64::from(strongest.strength) - want).abs() < allowed, "{name} {point}: {strongest:?} {want}");
        }
    }
    Ok(())
}

/// Invariant: `--confirm` measures what `patch` measures; pairs computed together give what each gives alone.
#[test]
fn confirmed_numbers_are_those_of_patch() -> Result<()> {
    for name in ["gpt2", "qwen2"] {
        let (model, rounding) = (load(name), rounding(name).metric());
        let attributed = Attribute { confirm: 12, ..options("z,resid_pre") };
        let (rows, summary) = run(&model, &[the_pair()], &attributed)?;
        let heads = patches(&model, &patch_options("z", &[Over::Layer, Over::Pos, Over::Head]))?;
        let stream = patches(&model, &patch_options("resid_pre", &[Over::Layer, Over::Pos]))?;
        let mut exact: Vec<&AttributionRow> = rows.iter().filter(|r| r.exact.is_some()).collect();
        assert_eq!(exact.len(), 12);
        for r in &exact {
            let same = |p: &&PatchRow| {
                (p.place.layer, p.place.head, p.place.pos) == (r.place.layer, r.place.head, r.place.pos)
                    && p.place.site == r.place.site
            };
            let p = heads.iter().chain(&stream).find(same).unwrap();
            // The same run in a smaller pack, less the same unpatched run: sums of another kernel. And the same in units of the
            // gap between the prompts.
            let corrupt = p.measured.corrupt.unwrap();
            let gap = f64::from((p.measured.clean - corrupt).abs());
            let far = f64::from((p.measured.patched.unwrap() - corrupt - r.exact.unwrap()).abs());
            assert!(far <= 2.0 * rounding, "{p:?} {r:?}");
            let far = f64::from((p.measured.recovered.unwrap() - r.exact_recovered.unwrap()).abs());
            assert!(far <= 4.0 * rounding / gap, "{p:?} {r:?}");
        }
        // They are the strongest.
        let least = exact.iter().map(|r| r.strength).fold(f32::INFINITY, f32::min);
        assert_eq!(rows.iter().filter(|r| r.strength >= least).count(), 12);
        exact.sort_by(|a, b| (a.estimate - a.exact.unwrap()).abs().total_cmp(&(b.estimate - b.exact.unwrap()).abs()));
        assert_eq!(&summary.confirmed.unwrap().worst, exact[11], "{name}");
    }
    Ok(())
}

/// Invariant: as `confirmed_numbers_are_those_of_patch`.
#[test]
fn pairs_together_are_pairs_alone_and_the_strongest_neurons_are_kept() -> Result<()> {
    for name in ["gpt2", "gemma2", "mixtral"] {
        let (model, rounding) = (load(name), rounding(name));
        let pairs = [the_pair(), pair(1, &CLEAN[..5], &CORRUPT[..5]), pair(2, &CORRUPT[..7], &CLEAN[..7])];
        let all = options(format!("{},q,k,pattern", components(model.spec(), false)));
        let all = Attribute { qk_fix: true, grad_drop: true, ..all };
        let together = run(&model, &pairs, &all)?.0;
        let waves = within(1, &model, &pairs, &all)?.0;
        let mut alone = vec![];
        for pair in &pairs {
            alone.extend(run(&model, std::slice::from_ref(pair), &all)?.0);
        }
        assert_eq!(waves, alone, "{name}");
        let size = alone.iter().map(|r| r.strength).fold(0f32, f32::max);
        assert_eq!(together.len(), alone.len());
        for (a, b) in together.iter().zip(&alone) {
            assert_eq!(
                (a.pair, &a.place.site, a.place.layer, a.place.head, a.place.neuron),
                (b.pair, &b.place.site, b.place.layer, b.place.head, b.place.neuron)
            );
            // In kernels for another number of rows; estimates are sums of parts as large as the largest.
            let near = |x: f32, y: f32| f64::from((x - y).abs()) <= 2.0 * rounding.chain() * f64::from(size);
            assert!(near(a.estimate, b.estimate) && near(a.strength, b.strength), "{name}: {a:?} {b:?}");
        }
    }
    let model = load("gpt2");
    let all = run(&model, &[the_pair()], &options("mlp.post"))?.0;
    let (few, summary) = run(&model, &[the_pair()], &Attribute { top: 3, ..options("mlp.post") })?;
    assert_eq!(summary.nodes, all.len());
    for (layer, pos) in (0..2).flat_map(|l| (0..9).map(move |p| (l, p))) {
        let at = |rows: &[AttributionRow]| -> Vec<AttributionRow> {
            rows.iter().filter(|r| r.place.layer == Some(layer) && r.place.pos == Some(pos)).cloned().collect()
        };
        let mut want = at(&all);
        want.retain(|r| r.strength > 0.0);
        want.sort_by(|a, b| b.strength.total_cmp(&a.strength));
        want.truncate(3);
        want.sort_by_key(|r| r.place.neuron);
        assert_eq!(at(&few), want);
        // The prompts part at position 2; in the last block only the last position is measured.
        assert_eq!(want.len(), if pos < 2 || (layer == 1 && pos < 8) { 0 } else { 3 });
    }
    Ok(())
}

#[test]
fn the_command_says_what_is_strongest_and_refuses_what_has_no_slope() {
    let (place, gpt2) = (Place::new(), model_arg("gpt2"));
    let pair = ["--clean", "#3,14,15,92,65", "--corrupt", "#3,14,27,18,65", "--answer", "#41", "--foil", "#7"];
    let args = |more: &[&str]| -> Vec<String> {
        ["attribute", "-m", &gpt2].iter().chain(&pair).chain(more).map(|s| s.to_string()).collect()
    };
    let done = place.ok(args(&["--confirm", "5", "--qk-fix", "--grad-drop", "--out", "run"]));
    assert!(done.stderr.contains("5 measured: rank correlation of strengths and sizes"), "{}", done.stderr);
    assert!(done.stdout.contains("layer 1 attn.z head 0 at 4 (#65)"), "{}", done.stdout);
    let (rows, _) = pellucid::table::read_rows::<AttributionRow>(place.path("run/attribution.parquet")).unwrap();
    assert_eq!(rows.iter().filter(|r| r.exact.is_some()).count(), 5);
    assert!(rows.iter().any(|r| r.place.site == "attn.q") && rows.iter().any(|r| r.place.neuron.is_some()));
    place.refused(args(&["--metric", "rank"]), 2, "has no gradient");
    place.refused(args(&["--metric", "kl", "--direction", "noise"]), 2, "slope is zero");
    place.refused(args(&["--qk-fix", "--at", "z"]), 2, "needs some");
    place.refused(args(&["--at", "logits"]), 2, "cannot be patched");
    place.refused(args(&["--at", "attn.hook_zz"]), 2, "attn.hook_zz");
    let alone: Vec<String> = args(&[]).into_iter().filter(|a| a != "--corrupt" && a != pair[3]).collect();
    place.refused(alone, 2, "no corrupt prompt");
    let experts = ["attribute", "-m", &model_arg("mixtral"), "--at", "experts.0.post"].map(String::from);
    place.refused(experts.into_iter().chain(pair.map(String::from)), 2, "one expert");
}
