//! What keys carry to queries: against sums made by hand of what hooks see, and against the model's own runs with all else held.

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use pellucid::Result;
use pellucid::analysis::attention::{AttentionOptions, Parts, attention};
use pellucid::analysis::attribute::{Attribute, attribute};
use pellucid::analysis::patch::Align;
use pellucid::analysis::{AttentionRow, AttributionRow};
use pellucid::arch::spec::{Gain, NormKind};
use pellucid::hook::{Cache, Edit, Hook, HookPoint, Site};
use pellucid::model::{Batch, Model, Run};
use pellucid::ops::norm::NormWeights;
use pellucid::ops::rows::Rows;
use pellucid::sweep::{Budget, Shard};
use pellucid::text::{Bos, Pair, Prompt, PromptEntry, build_prompts};

use crate::help::fixtures::load;
use crate::model::law::A;

const TARGET: u32 = 41;
const FOIL: u32 = 7;
/// Of the sum of the sizes of what is added, what rounding to f32 may come to here.
const ROUNDING: f64 = 2e-5;

fn prompts(ids: &[u32]) -> Vec<Prompt> {
    build_prompts(&[PromptEntry::ids(ids)], None, 100, None, Bos::Never).unwrap()
}

fn rows(model: &Model, ids: &[u32], parts: Option<Parts>) -> Result<Vec<AttentionRow>> {
    let mut rows = vec![];
    let parts = parts.into_iter().collect();
    let options = AttentionOptions { parts, budget: Budget(1 << 30), ..AttentionOptions::default() };
    attention(model, &prompts(ids), &options, &(), &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

fn of_both() -> Option<Parts> {
    Some(Parts::of(Some((TARGET, "target".into())), Some((FOIL, "foil".into()))))
}

/// A norm of one row, its scale given; made here, of the weights.
fn through(norm: &NormWeights, x: &[f64], scale: f64, biased: bool) -> Vec<f64> {
    let mean = if norm.kind == NormKind::Layer { x.iter().sum::<f64>() / x.len() as f64 } else { 0.0 };
    let read = |t: &Option<Tensor>| t.as_ref().map(flat);
    let (gain, bias) = (read(&norm.gain), read(&norm.bias).filter(|_| biased));
    let one = if norm.meaning == Gain::OnePlusWeight { 1.0 } else { 0.0 };
    let each = |(i, x): (usize, &f64)| {
        (x - mean) / scale * gain.as_ref().map_or(1.0, |g| g[i] + one) + bias.as_ref().map_or(0.0, |b| b[i])
    };
    x.iter().enumerate().map(each).collect()
}

fn flat(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Asserts that two numbers are the same but for rounding of terms of these sizes together.
fn near(what: &str, got: f64, want: f64, sizes: f64) {
    assert!((got - want).abs() <= ROUNDING * sizes + 1e-9, "{what}: {got} is not {want} ({sizes} in all)");
}

/// What the logit of the target is told by: its column of the unembedding less the mean column, and less the foil's.
fn columns(model: &Model) -> Result<[Vec<f64>; 2]> {
    let map = model.weights().unembed.weight.tensor()?;
    let (d, v) = map.dims2()?;
    let map = flat(&map);
    let column = |id: u32| (0..d).map(|i| map[i * v + id as usize]).collect::<Vec<f64>>();
    let mean = (0..d).map(|i| map[i * v..(i + 1) * v].iter().sum::<f64>() / v as f64).collect::<Vec<f64>>();
    let less = |of: Vec<f64>| column(TARGET).iter().zip(of).map(|(x, y)| x - y).collect();
    Ok([less(mean), less(column(FOIL))])
}

/// Everything that hooks see.
struct Seen(HashMap<HookPoint, Tensor>);

impl Seen {
    fn of(model: &Model) -> Result<Self> {
        let mut cache = Cache::new(model.spec(), "*")?;
        model.forward(&Batch::one(A), &mut [&mut cache])?;
        Ok(Self(cache.iter().map(|(point, x)| (point, x[0].clone())).collect()))
    }

    /// The vector at these places of the first axes.
    fn at(&self, layer: usize, site: Site, places: &[usize]) -> Vec<f64> {
        let x = &self.0[&HookPoint::block(layer, site)];
        flat(&places.iter().fold(x.clone(), |x, i| x.get(*i).unwrap()))
    }
}

/// Rows add up, by hand: probabilities to 1, what keys carry to `hook_result`, shares to 1; lengths are those of the same vectors;
/// scores are `hook_attn_scores`, and without a cap they are queries times keys.
fn parts_add_up(name: &str) -> Result<()> {
    let model = load(name);
    let seen = Seen::of(&model)?;
    let all = rows(&model, &A, of_both())?;
    // The other columns are those of a run without.
    for (with, without) in all.iter().zip(&rows(&model, &A, None)?) {
        assert_eq!((without.score, without.value_norm, without.share, without.push), (None, None, None, None));
        assert_eq!((without.target.as_ref(), without.prob.to_bits()), (None, with.prob.to_bits()), "{name}");
    }
    let per_query =
        |a: &AttentionRow, b: &AttentionRow| (a.layer, a.head, a.query_pos) == (b.layer, b.head, b.query_pos);
    for keys in all.chunk_by(per_query) {
        let (layer, head, query) = (keys[0].layer as usize, keys[0].head as usize, keys[0].query_pos as usize);
        let what = format!("{name} L{layer}H{head} query {query}");
        let (spec, w) = (&model.spec().blocks[layer].attention.inner, &model.weights().blocks[layer]);
        let (e, group) = (spec.d_head, spec.n_heads / spec.n_kv_heads);
        let out: Vec<Vec<f64>> = w.o.weight.narrow(0, head * e, e)?.tensor()?.to_dtype(DType::F64)?.to_vec2()?;
        let result = seen.at(layer, Site::Result, &[query, head]);
        let length = dot(&result, &result).sqrt();
        let scores = seen.at(layer, Site::AttnScores, &[head, query]);
        let (mut probs, mut carried, mut shares, mut sizes) = (0.0, vec![0.0; result.len()], 0.0, (0.0, 0.0));
        for row in keys {
            let key = row.key_pos as usize;
            let prob = f64::from(row.prob);
            assert_eq!(row.kv_head as usize, head / group, "{what}");
            assert_eq!(
                (f64::from(row.score.unwrap()), &row.target),
                (scores[key], &Some("target".to_owned())),
                "{what}"
            );
            assert_eq!(row.score_uncapped.is_some(), spec.cap.is_some(), "{what}");
            if let (Some(cap), Some(uncapped)) = (spec.cap, row.score_uncapped.map(f64::from)) {
                near(&format!("{what} capped"), cap * (uncapped / cap).tanh(), scores[key], scores[key].abs());
                let q = seen.at(layer, Site::RotQ, &[query, head]);
                let k = seen.at(layer, Site::RotK, &[key, head / group]);
                let sizes: f64 = q.iter().zip(&k).map(|(q, k)| (q * k).abs()).sum();
                near(&format!("{what} uncapped"), uncapped, spec.scale * dot(&q, &k), spec.scale * sizes);
            }
            let value = seen.at(layer, Site::V, &[key, head / group]);
            let value: Vec<f64> =
                value.into_iter().map(|v| spec.clip_qkv.map_or(v, |clip| v.clamp(-clip, clip))).collect();
            let write: Vec<f64> =
                (0..result.len()).map(|i| prob * value.iter().zip(&out).map(|(v, o)| v * o[i]).sum::<f64>()).collect();
            let norm = |x: &[f64]| dot(x, x).sqrt();
            near(&format!("{what} value"), f64::from(row.value_norm.unwrap()), norm(&value), norm(&value));
            near(&format!("{what} out"), f64::from(row.out_norm.unwrap()), norm(&write), norm(&write));
            let share = dot(&write, &result) / length.powi(2);
            near(&format!("{what} share"), f64::from(row.share.unwrap()), share, norm(&write) / length);
            probs += prob;
            carried.iter_mut().zip(&write).for_each(|(sum, x)| *sum += x);
            shares += f64::from(row.share.unwrap());
            sizes = (sizes.0 + norm(&write), sizes.1 + norm(&write) / length);
        }
        near(&format!("{what} probabilities"), probs, 1.0, 1.0);
        carried.iter().zip(&result).for_each(|(got, want)| near(&format!("{what} result"), *got, *want, sizes.0));
        near(&format!("{what} shares"), shares, 1.0, sizes.1);
    }
    Ok(())
}

/// Puts back what another run had.
struct Hold(HashMap<HookPoint, Tensor>);

impl Hook for Hold {
    fn wants(&self, at: HookPoint) -> bool {
        self.0.contains_key(&at)
    }
    fn on(&mut self, at: HookPoint, _: &Rows, _: Tensor) -> Result<Tensor> {
        Ok(self.0[&at].clone())
    }
}

/// Pushes of a head's keys add up to what the target's logit loses where the model runs without the head's write, and everything else, the
/// scales of norms included, is held as it was; pushes of all heads and of the bias add up to that of `attn_out`.
fn pushes_add_up(name: &str) -> Result<()> {
    let model = load(name);
    let seen = Seen::of(&model)?;
    let columns = columns(&model)?;
    let all = rows(&model, &A, of_both())?;
    let pushed = |layer: usize, head: Option<usize>, query: usize, foil: bool| {
        let own = all.iter().filter(|row| (row.layer as usize, row.query_pos as usize) == (layer, query));
        let own = own.filter(|row| head.is_none_or(|head| row.head as usize == head));
        let pushes = own.map(|row| f64::from(if foil { row.push_foil } else { row.push }.unwrap()));
        pushes.fold((0.0, 0.0), |(sum, sizes), push| (sum + push, sizes + push.abs()))
    };
    let n_layers = model.spec().n_layers();
    let end = HookPoint::global(Site::FinalOut);
    let scale = HookPoint::global(Site::FinalScale);
    let whole = model.run(&Batch::one(A), &Run::default(), &mut [])?.resid;
    let last = |resid: &Tensor, found: Option<&Tensor>| found.unwrap_or(resid).to_dtype(DType::F64)?.to_vec2::<f64>();
    let with = last(&whole, seen.0.get(&end))?;
    for layer in 0..n_layers {
        // What is held: all that is written after this head's write, and what it is divided by on its way.
        let mut held = HashMap::from([(scale, seen.0.get(&scale).cloned())]);
        held.insert(HookPoint::block(layer, Site::Ln1PostScale), None);
        held.insert(HookPoint::block(layer, Site::MlpOut), None);
        for later in layer + 1..n_layers {
            held.extend([Site::AttnOut, Site::MlpOut].map(|site| (HookPoint::block(later, site), None)));
        }
        let held: HashMap<HookPoint, Tensor> =
            held.into_keys().filter_map(|point| Some((point, seen.0.get(&point)?.clone()))).collect();
        let spec = &model.spec().blocks[layer].attention.inner;
        for head in 0..spec.n_heads {
            let name_of = HookPoint::block(layer, Site::Result).to_string();
            let mut cut = Edit::zero(model.spec(), &name_of)?.heads([head]);
            let mut hold = Hold(held.clone());
            let mut ends = Cache::of([end].into_iter().filter(|point| seen.0.contains_key(point)));
            let run = model.run(&Batch::one(A), &Run::default(), &mut [&mut cut, &mut hold, &mut ends])?;
            let found = ends.iter().next().map(|(_, x)| x[0].clone());
            let without = last(&run.resid, found.as_ref())?;
            for (query, (with, without)) in with.iter().zip(&without).enumerate() {
                for (foil, column) in columns.iter().enumerate() {
                    let lost: Vec<f64> = with.iter().zip(without).map(|(a, b)| a - b).collect();
                    let (sum, sizes) = pushed(layer, Some(head), query, foil == 1);
                    // The two runs' ends are rounded.
                    let rounded: f64 = with.iter().zip(column).map(|(x, u)| (x * u).abs()).sum();
                    let what = format!("{name} L{layer}H{head} query {query} against {foil}");
                    near(&what, sum, dot(&lost, column), sizes + 0.2 * rounded);
                }
            }
        }
        for query in 0..A.len() {
            let w = &model.weights().blocks[layer];
            let final_scale = seen.0.get(&scale).map_or(1.0, |s| flat(s)[query]);
            let end = |x: &[f64]| match &model.weights().final_norm {
                Some(norm) => dot(&through(norm, x, final_scale, false), &columns[0]),
                None => dot(x, &columns[0]),
            };
            let bias = w.o.bias.as_ref().map_or(vec![0.0; model.spec().d_model], flat);
            let bias = match &w.ln1_post {
                Some(norm) => through(norm, &bias, seen.at(layer, Site::Ln1PostScale, &[query])[0], true),
                None => bias,
            };
            let factor = model.spec().blocks[layer].residual_scale.unwrap_or(1.0);
            let bias: Vec<f64> = bias.into_iter().map(|x| x * factor).collect();
            let (sum, sizes) = pushed(layer, None, query, false);
            let want = end(&seen.at(layer, Site::AttnOut, &[query]));
            near(&format!("{name} layer {layer} query {query}"), sum + end(&bias), want, sizes + end(&bias).abs());
        }
    }
    Ok(())
}

for_every_model! {
    /// Invariant: The probabilities of a query sum to 1; what its keys carry, `prob` x value x output map, sums to `hook_result`, and their
    /// shares to 1; scores are `hook_attn_scores`, and before a cap they are queries times keys.
    fn what_keys_carry_is_what_the_head_writes = parts_add_up;

    /// Invariant: Pushes of a head's keys sum to what the model's own run loses of the target's logit without the head, all else held; pushes of
    /// all heads and of the bias sum to that of `attn_out`, through a norm whose scale is held.
    fn pushes_are_what_a_run_without_the_head_loses = pushes_add_up;
}

/// Invariant: Where nothing but the unembedding follows a head, attribution patching estimates the difference of its pushes.
#[test]
fn attribution_of_the_last_heads_is_the_difference_of_their_pushes() -> Result<()> {
    let model = load("hooked_attn_only");
    assert!(model.spec().final_norm.is_none());
    let mut corrupt_ids = A;
    corrupt_ids[2] = 27;
    let both = [rows(&model, &A, of_both())?, rows(&model, &corrupt_ids, of_both())?];
    let [clean, corrupt] = [&A, &corrupt_ids].map(|ids| prompts(ids).remove(0));
    let pair = Pair::new(0, "0".into(), clean, Some(corrupt), vec![TARGET], vec![FOIL])?;
    let options = Attribute { at: Some("z".into()), top: 0, ..Attribute::default() };
    let mut estimates: Vec<AttributionRow> = vec![];
    attribute(&model, &[pair], &options, (Align::default(), Budget(1 << 30), Shard::default()), &(), &mut |row| {
        estimates.push(row);
        Ok(())
    })?;
    let (layer, last) = (model.spec().n_layers() as u32 - 1, A.len() as u32 - 1);
    let mut compared = 0;
    for row in estimates.iter().filter(|row| row.place.layer == Some(layer) && row.place.pos == Some(last)) {
        let own = |rows: &[AttentionRow]| {
            let own = rows.iter().filter(|a| (a.layer, Some(a.head), a.query_pos) == (layer, row.place.head, last));
            own.map(|row| f64::from(row.push_foil.unwrap())).sum::<f64>()
        };
        let [clean, corrupt] = [own(&both[0]), own(&both[1])];
        near(
            &format!("head {:?}", row.place.head),
            f64::from(row.estimate),
            clean - corrupt,
            clean.abs() + corrupt.abs(),
        );
        compared += usize::from((clean - corrupt).abs() > 1e-3);
    }
    assert!(compared >= 3, "{compared} heads differ");
    Ok(())
}
