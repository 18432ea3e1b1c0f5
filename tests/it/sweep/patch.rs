//! Patching sweeps: every row is what a whole forward pass with one value written over gives.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use pellucid::Result;
use pellucid::analysis::PatchRow;
use pellucid::analysis::Watch;
use pellucid::analysis::patch::{
    Direction, Grid, Keep, Kind, Measured, Metric, Noised, NoisedAt, Over, PatchOptions, Patching, Summary, patch,
};
use pellucid::error::{Error, ErrorKind};
use pellucid::hook::{Cache, Edit, HookPoint, Site};
use pellucid::model::{Batch, Model, Run};
use pellucid::ops;
use pellucid::ops::rounding::unit;
use pellucid::sweep::Budget;
use pellucid::text::{Bos, Pair, Prompt, PromptEntry, build_prompts};

use crate::bound::{Drifts, PATCHES, drift};

const CLEAN: [u32; 7] = [3, 14, 15, 92, 65, 35, 89];
const CORRUPT: [u32; 7] = [3, 27, 15, 18, 65, 28, 18];
const ANSWERS: [u32; 2] = [7, 11];
const FOILS: [u32; 1] = [42];

fn model(name: &str) -> Model {
    Model::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

/// What rounding makes of the runs that are patched here.
fn rounding(name: &str) -> Arc<Drifts> {
    drift(name, &model(name), &Batch::of([CLEAN.to_vec(), CORRUPT.to_vec()]))
}

fn prompt(ids: &[u32]) -> Prompt {
    build_prompts(&[PromptEntry::ids(ids)], None, 128, None, Bos::default()).unwrap().remove(0)
}

fn pair(index: u32, clean: &[u32], corrupt: Option<&[u32]>) -> Pair {
    let (id, answers, foils) = (index.to_string(), ANSWERS.to_vec(), FOILS.to_vec());
    Pair::new(index, id, prompt(clean), corrupt.map(prompt), answers, foils).unwrap()
}

fn options(at: &str, over: &[Over]) -> PatchOptions {
    let over = over.to_vec();
    PatchOptions {
        grid: Grid { at: at.into(), over, ..Grid::default() },
        how: Patching { direction: Some(Direction::Denoise), ..Patching::default() },
        budget: Budget(1 << 24),
        ..PatchOptions::default()
    }
}

/// The same, with something else done.
fn doing(how: Patching, options: PatchOptions) -> PatchOptions {
    let direction = how.direction.or(Some(Direction::Denoise));
    PatchOptions { how: Patching { direction, ..how }, ..options }
}

fn run(model: &Model, pairs: &[Pair], options: &PatchOptions) -> Result<(Vec<PatchRow>, Summary)> {
    let mut rows = vec![];
    let summary = patch(model, pairs, options, &mut (), &(), &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok((rows, summary))
}

/// Logits of every position of one plain forward pass in which `change` is made at `points`.
fn changed(
    model: &Model,
    ids: &[u32],
    points: &[HookPoint],
    change: impl Fn(HookPoint, &mut [f32], &[usize]) + Clone + 'static,
) -> Result<Vec<Vec<f32>>> {
    let names = points.iter().map(HookPoint::to_string).collect::<Vec<_>>().join(",");
    let mut edit = Edit::with(model.spec(), &names, move |at, x| {
        let mut values = x.flatten_all()?.to_vec1::<f32>()?;
        change(at, &mut values, x.dims());
        Ok(Tensor::from_vec(values, x.shape(), &Device::Cpu)?)
    })?;
    let run = Run { kernels: Some(ops::Kernels::Plain), ..Run::default() };
    Ok(model.run(&Batch::one(ids), &run, &mut [&mut edit])?.logits()?.to_vec2()?)
}

fn logit_diff(logits: &[f32]) -> f32 {
    let mean = |tokens: &[u32]| tokens.iter().map(|t| logits[*t as usize]).sum::<f32>() / tokens.len() as f32;
    mean(&ANSWERS) - mean(&FOILS)
}

/// What TransformerLens's functions are called, and which flags do the same.
const GET_ACT_PATCH: [(&str, &str, &[Over]); 18] = {
    use Over::{Head, KeyPos, Layer, Pos};
    [
        ("get_act_patch_resid_pre", "resid_pre", &[Layer, Pos]),
        ("get_act_patch_resid_mid", "resid_mid", &[Layer, Pos]),
        ("get_act_patch_attn_out", "attn_out", &[Layer, Pos]),
        ("get_act_patch_mlp_out", "mlp_out", &[Layer, Pos]),
        ("get_act_patch_attn_head_out_by_pos", "z", &[Layer, Pos, Head]),
        ("get_act_patch_attn_head_q_by_pos", "q", &[Layer, Pos, Head]),
        ("get_act_patch_attn_head_k_by_pos", "k", &[Layer, Pos, Head]),
        ("get_act_patch_attn_head_v_by_pos", "v", &[Layer, Pos, Head]),
        ("get_act_patch_attn_head_pattern_by_pos", "pattern", &[Layer, Head, Pos]),
        ("get_act_patch_attn_head_pattern_dest_src_pos", "pattern", &[Layer, Head, Pos, KeyPos]),
        ("get_act_patch_attn_head_out_all_pos", "z", &[Layer, Head]),
        ("get_act_patch_attn_head_q_all_pos", "q", &[Layer, Head]),
        ("get_act_patch_attn_head_k_all_pos", "k", &[Layer, Head]),
        ("get_act_patch_attn_head_v_all_pos", "v", &[Layer, Head]),
        ("get_act_patch_attn_head_pattern_all_pos", "pattern", &[Layer, Head]),
        ("get_act_patch_attn_head_all_pos_every", "z,q,k,v,pattern", &[Layer, Head]),
        ("get_act_patch_attn_head_by_pos_every", "z,q,k,v,pattern", &[Layer, Head, Pos]),
        ("get_act_patch_block_every", "resid_pre,attn_out,mlp_out", &[Layer, Pos]),
    ]
};

#[test]
fn every_get_act_patch_of_transformer_lens_is_one_choice_of_flags() -> Result<()> {
    let page = fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/patching.md")).unwrap();
    for name in ["gpt2", "llama", "gemma2"] {
        let (model, rounding) = (model(name), rounding(name));
        let mut clean = Cache::of(HookPoint::all(model.spec()));
        model.forward(&Batch::one(CLEAN), &mut [&mut clean])?;
        for (function, at, over) in GET_ACT_PATCH {
            let words: Vec<&str> = over.iter().map(|o| o.name()).collect();
            let line = format!("| `{function}` | `--at {at} --over {}` |", words.join(","));
            assert!(page.contains(&line), "docs/patching.md lacks: {line}");
            let (rows, summary) = run(&model, &[pair(0, &CLEAN, Some(&CORRUPT))], &options(at, over))?;
            assert!(summary.without_effect < summary.patches, "{function}");
            let spread = rows.iter().map(|r| r.measured.patched.unwrap()).fold(f32::MIN, f32::max)
                - rows.iter().map(|r| r.measured.patched.unwrap()).fold(f32::MAX, f32::min);
            // More than rounding could, by far.
            assert!(f64::from(spread) > 20.0 * rounding.metric(), "{name} {function}: {spread}");
            // Every third: what is gone over has sizes that three does not divide.
            for row in rows.iter().step_by(3) {
                let site = *[
                    Site::ResidPre,
                    Site::ResidMid,
                    Site::AttnOut,
                    Site::MlpOut,
                    Site::Z,
                    Site::Q,
                    Site::K,
                    Site::V,
                    Site::Pattern,
                ]
                .iter()
                .find(|site| site.short() == row.place.site)
                .unwrap();
                let point = HookPoint::block(row.place.layer.unwrap() as usize, site);
                let from = clean.get(&point.to_string())?.flatten_all()?.to_vec1::<f32>()?;
                let row_ = row.clone();
                let logits = changed(&model, &CORRUPT, &[point], move |at, x, dims| {
                    let inner: usize = dims[1..].iter().product();
                    let last = *dims.last().unwrap();
                    let chosen = |wanted: Option<u32>, is: usize| wanted.is_none_or(|w| w as usize == is);
                    let keys_or_values = matches!(at.site, Site::K | Site::V);
                    let head = if keys_or_values { row_.place.kv_head } else { row_.place.head };
                    for i in 0..x.len() {
                        let (a, b) = (i / inner, i % inner);
                        let (pos, h, key) = match at.site {
                            Site::Pattern => (b / last, Some(a), b % last),
                            Site::Z | Site::Q | Site::K | Site::V => (a, Some(b / last), 0),
                            _ => (a, None, 0),
                        };
                        let pos_wanted = if at.site == Site::Pattern { row_.place.query_pos } else { row_.place.pos };
                        let key_wanted = if at.site == Site::Pattern { row_.place.key_pos } else { None };
                        if chosen(pos_wanted, pos) && h.is_none_or(|h| chosen(head, h)) && chosen(key_wanted, key) {
                            x[i] = from[i];
                        }
                    }
                })?;
                let want = logit_diff(&logits[6]);
                let far = f64::from((row.measured.patched.unwrap() - want).abs());
                assert!(far <= rounding.patched(f64::from(spread)), "{name} {function} {row:?} {want}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_recovered_is_counted_from_corrupt_to_clean_in_both_directions() -> Result<()> {
    let (model, rounding) = (model("gpt2"), rounding("gpt2"));
    let plain = |ids: &[u32]| {
        Ok::<_, Error>(logit_diff(&changed(&model, ids, &[HookPoint::block(0, Site::ResidPre)], |_, _, _| ())?[6]))
    };
    let (clean, corrupt) = (plain(&CLEAN)?, plain(&CORRUPT)?);
    for direction in [Direction::Denoise, Direction::Noise] {
        let how = Patching { direction: Some(direction), ..Patching::default() };
        let all = doing(how, options("resid_pre", &[]));
        let (rows, _) = run(&model, &[pair(0, &CLEAN, Some(&CORRUPT))], &all)?;
        let [row] = &rows[..] else { panic!("{rows:?}") };
        let near = |a: f32, b: f32| f64::from((a - b).abs()) <= rounding.metric();
        assert!(near(row.measured.clean, clean) && near(row.measured.corrupt.unwrap(), corrupt));
        // The whole stream of the other run: all the way there, but for the rounding of two metrics, in units of their gap.
        let want = if direction == Direction::Denoise { 1.0 } else { 0.0 };
        let allowed = 2.0 * rounding.metric() / f64::from((clean - corrupt).abs());
        assert!(f64::from((row.measured.recovered.unwrap() - want).abs()) <= allowed, "{direction:?} {row:?}");
    }
    Ok(())
}

#[test]
fn metrics_are_those_of_the_textbook() -> Result<()> {
    let (model, rounding) = (model("llama"), rounding("llama"));
    let metrics = ["logit_diff", "logit", "prob", "log_prob", "rank", "kl", "loss"];
    let metrics: Vec<Metric> = metrics.iter().map(|m| Metric::parse(m).unwrap()).collect();
    let how = Patching { metric: metrics.clone(), measure_at: 4, ..Patching::default() };
    let measured = doing(how, options("mlp_out", &[Over::Layer]));
    let (rows, _) = run(&model, &[pair(0, &CLEAN, Some(&CORRUPT))], &measured)?;
    let point = HookPoint::block(1, Site::MlpOut);
    let mut cache = Cache::of([point]);
    let clean = model.forward(&Batch::one(CLEAN), &mut [&mut cache])?.to_vec2::<f32>()?;
    let from = cache.get(&point.to_string())?.flatten_all()?.to_vec1::<f32>()?;
    let logits = changed(&model, &CORRUPT, &[point], move |_, x, _| x.copy_from_slice(&from))?;
    let probs = |row: &[f32]| {
        let all: Vec<f64> = row.iter().map(|v| f64::from(*v).exp()).collect();
        let sum: f64 = all.iter().sum();
        all.into_iter().map(|p| p / sum).collect::<Vec<f64>>()
    };
    let (p, q) = (probs(&clean[4]), probs(&logits[4]));
    let prob: f64 = ANSWERS.iter().map(|t| q[*t as usize]).sum();
    let best = ANSWERS.iter().map(|t| q[*t as usize]).fold(0.0, f64::max);
    let loss = (0..6).map(|i| -probs(&logits[i])[CORRUPT[i + 1] as usize].ln()).sum::<f64>() / 6.0;
    let want = [
        f64::from(logit_diff(&logits[4])),
        f64::from((logits[4][7] + logits[4][11]) / 2.0),
        prob,
        prob.ln(),
        1.0 + q.iter().filter(|x| **x > best).count() as f64,
        p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum(),
        loss,
    ];
    for (metric, want) in metrics.iter().zip(want) {
        let row = rows.iter().find(|r| r.place.layer == Some(1) && r.measured.metric == metric.name()).unwrap();
        // f32 logits, sums in f64, and the result in f32.
        let allowed = rounding.metric() + unit(DType::F32) * want.abs();
        assert!(
            (f64::from(row.measured.patched.unwrap()) - want).abs() <= allowed,
            "{metric:?}: {} {want}",
            row.measured.patched.unwrap()
        );
    }
    Ok(())
}

#[test]
fn means_noise_vectors_and_cut_edges_are_what_they_say() -> Result<()> {
    let (model, rounding) = (model("llama"), rounding("llama"));
    let near = |a: f32, b: f32| f64::from((a - b).abs()) <= rounding.metric();
    let at_last = |rows: &[PatchRow], layer: u32, head: u32| {
        rows.iter()
            .find(|r| r.place.layer == Some(layer) && r.place.head == Some(head))
            .unwrap()
            .measured
            .patched
            .unwrap()
    };
    // The mean of z over all positions of two prompts.
    let dataset = vec![prompt(&[5, 6, 7]), prompt(&[50, 61, 72, 83, 94])];
    let kind = |kind| Patching { kind, ..Patching::default() };
    let heads = PatchOptions { dataset: dataset.clone(), ..options("z", &[Over::Layer, Over::Head]) };
    let mean = doing(kind(Kind::parse("mean")?), heads);
    let (rows, _) = run(&model, &[pair(0, &CLEAN, None)], &mean)?;
    let point = HookPoint::block(1, Site::Z);
    let mut sums = vec![0f64; 0];
    let mut n = 0;
    for p in &dataset {
        let mut cache = Cache::of([point]);
        model.forward(&Batch::one(p.ids()), &mut [&mut cache])?;
        for row in cache.get(&point.to_string())?.flatten_from(1)?.to_vec2::<f32>()? {
            sums.resize(row.len(), 0.0);
            sums.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(v));
            n += 1;
        }
    }
    let means: Vec<f32> = sums.iter().map(|s| (s / f64::from(n)) as f32).collect();
    let logits = changed(&model, &CLEAN, &[point], move |_, x, dims| {
        for i in 0..x.len() {
            let (inner, e) = (dims[1] * dims[2], dims[2]);
            if i % inner / e == 2 {
                x[i] = means[i % inner];
            }
        }
    })?;
    assert!(near(at_last(&rows, 1, 2), logit_diff(&logits[6])));

    // An edge that is cut: the other keys share what it had.
    let cut = doing(kind(Kind::KnockOut), options("attn_scores", &[Over::Layer, Over::Head, Over::Pos, Over::KeyPos]));
    let (rows, _) = run(&model, &[pair(0, &CLEAN, None)], &cut)?;
    let row = rows
        .iter()
        .find(|r| {
            (r.place.layer, r.place.head, r.place.query_pos, r.place.key_pos) == (Some(0), Some(1), Some(6), Some(3))
        })
        .unwrap();
    let logits = changed(&model, &CLEAN, &[HookPoint::block(0, Site::Pattern)], |_, x, dims| {
        let row = &mut x[(dims[1] + 6) * dims[2]..][..dims[2]];
        let rest = 1.0 - row[3];
        row[3] = 0.0;
        row.iter_mut().for_each(|p| *p /= rest);
    })?;
    assert!(near(row.measured.patched.unwrap(), logit_diff(&logits[6])));
    assert!(rows.iter().all(|r| r.measured.patched.unwrap().is_finite()));
    let none_left = doing(kind(Kind::KnockOut), options("attn_scores", &[Over::Layer]));
    assert!(run(&model, &[pair(0, &CLEAN, None)], &none_left).unwrap_err().message().contains("no key at all"));

    // A vector, twice, at one position.
    let d = model.spec().d_model;
    let vector = Tensor::arange(0f32, d as f32, &Device::Cpu)?.affine(0.01, 0.0)?;
    let steered = PatchOptions { vector: Some(vector), ..options("resid_post", &[Over::Layer, Over::Pos]) };
    let steered = doing(kind(Kind::parse("add=2")?), steered);
    let (rows, _) = run(&model, &[pair(0, &CLEAN, None)], &steered)?;
    let row = rows.iter().find(|r| (r.place.layer, r.place.pos) == (Some(0), Some(5))).unwrap();
    let logits = changed(&model, &CLEAN, &[HookPoint::block(0, Site::ResidPost)], move |_, x, _| {
        x[5 * d..6 * d].iter_mut().enumerate().for_each(|(i, v)| *v += 0.02 * i as f32);
    })?;
    assert!(near(row.measured.patched.unwrap(), logit_diff(&logits[6])));

    // Noise depends on the seed and on nothing else, and is as strong as was said.
    let noise = |seed| Patching { kind: Kind::Noise(0.5), seed, ..Patching::default() };
    let noisy = |seed, at: &str| doing(noise(seed), options(at, &[Over::Layer]));
    let of = |o: &PatchOptions| Ok::<_, Error>(run(&model, &[pair(0, &CLEAN, None)], o)?.0);
    assert_eq!(of(&noisy(1, "attn_out"))?, of(&noisy(1, "attn_out"))?);
    assert_ne!(of(&noisy(1, "attn_out"))?, of(&noisy(2, "attn_out"))?);
    let both = of(&noisy(1, "attn_out,mlp_out"))?;
    assert_eq!(both[..2], of(&noisy(1, "attn_out"))?[..]);
    Ok(())
}

/// ROME's causal tracing: a run with noise on the embeddings, and clean values put back.
#[test]
fn causal_tracing_restores_what_noise_destroyed() -> Result<()> {
    let model = model("gpt2");
    let noised = Some(Noised { at: NoisedAt::Positions(pellucid::range::numbers([1, 2])), sigma: 3.0, samples: 1 });
    let how = Patching { seed: 4, verify: 9, ..Patching::default() };
    let traced =
        |at: &str, over: &[Over]| PatchOptions { noised: noised.clone(), ..doing(how.clone(), options(at, over)) };
    let pairs = [pair(0, &CLEAN, None)];
    let (rows, summary) = run(&model, &pairs, &traced("hook_embed,resid_pre", &[Over::Layer, Over::Pos]))?;
    assert!(summary.verified >= 9 && summary.worst_difference <= PATCHES, "{summary:?}");
    let (clean, corrupt) = (rows[0].measured.clean, rows[0].measured.corrupt.unwrap());
    assert!((clean - corrupt).abs() > 0.01, "{clean} {corrupt}");
    // Both embeddings put back are the clean run again; one of them is not.
    let together = |positions: &[isize]| -> Result<f32> {
        let mut o = traced("hook_embed", &[]);
        o.grid.only.pos = Some(pellucid::range::numbers(positions.iter().copied()));
        Ok(run(&model, &pairs, &o)?.0[0].measured.recovered.unwrap())
    };
    let allowed = 2.0 * rounding("gpt2").metric() / f64::from((clean - corrupt).abs());
    assert!(f64::from((together(&[1, 2])? - 1.0).abs()) <= allowed);
    assert!(f64::from((together(&[1])? - 1.0).abs()) > 10.0 * allowed);
    // Where nothing was disturbed, nothing is put back.
    for row in rows.iter().filter(|r| r.place.site == "resid_pre" && r.place.pos == Some(0)) {
        assert_eq!(row.measured.patched.unwrap(), corrupt);
    }
    // The noise is three deviations of the embedding, another for each pair.
    let (other, _) = run(&model, &[pair(1, &CLEAN, None)], &traced("hook_embed", &[Over::Pos]))?;
    assert_ne!(other[0].measured.corrupt, Some(corrupt));
    Ok(())
}

/// Keeps waves in memory, and stops after so many.
#[derive(Default)]
struct Stops {
    kept: Vec<((usize, usize), Vec<Measured>)>,
    used: usize,
}

impl Keep for Stops {
    fn kept(&mut self, group: usize, wave: usize) -> Result<Option<Vec<Measured>>> {
        let known = self.kept.iter().find(|(at, _)| *at == (group, wave)).map(|(_, m)| m.clone());
        self.used += usize::from(known.is_some());
        Ok(known)
    }

    fn keep(&mut self, group: usize, wave: usize, measured: &[Measured]) -> Result<()> {
        self.kept.push(((group, wave), measured.to_vec()));
        Ok(())
    }
}

/// Stops a sweep that has been asked so often.
struct After(RefCell<usize>);

impl Watch for After {
    fn at(&self, _: usize, _: usize) -> Result<()> {
        let left = self.0.borrow().checked_sub(1);
        *self.0.borrow_mut() = left.ok_or_else(|| Error::of_kind(ErrorKind::Interrupted, "enough").hint("go on"))?;
        Ok(())
    }
}

/// Where a sweep's rows go.
type Emit<'e, R> = &'e mut dyn FnMut(R) -> Result<()>;

/// Runs a sweep, runs it again and stops it when it has been asked so often, and lets it go on: to the same rows. These.
pub(crate) fn goes_on<R: PartialEq + std::fmt::Debug>(
    asked: usize,
    sweep: impl Fn(&mut dyn Keep, &dyn Watch, Emit<R>) -> Result<Summary>,
) -> Result<Vec<R>> {
    let rows = |keep: &mut dyn Keep, watch: &dyn Watch| {
        let mut rows = vec![];
        let ended = sweep(keep, watch, &mut |row| {
            rows.push(row);
            Ok(())
        });
        (rows, ended)
    };
    let (whole, ended) = rows(&mut (), &());
    ended?;
    let mut keep = Stops::default();
    let (first, stopped) = rows(&mut keep, &After(RefCell::new(asked)));
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Interrupted);
    let done = keep.kept.len();
    assert!(done > 1 && !first.is_empty() && first.len() < whole.len(), "{done} waves, {} rows", first.len());
    assert!(first.iter().all(|row| whole.contains(row)), "what was kept is what it would have been");
    let (again, ended) = rows(&mut keep, &());
    ended?;
    assert_eq!(again, whole);
    assert_eq!(keep.used, done, "what was done is not done again");
    Ok(whole)
}

#[test]
fn a_sweep_that_was_stopped_goes_on_to_the_same_rows_and_memory_changes_no_number() -> Result<()> {
    let model = model("llama");
    let pairs: Vec<Pair> = (0..3).map(|i| pair(i, &CLEAN, Some(&CORRUPT))).collect();
    let small = PatchOptions { budget: Budget(60_000), ..options("z", &[Over::Layer, Over::Head, Over::Pos]) };
    let whole = goes_on(3, |keep, watch, emit| patch(&model, &pairs, &small, keep, watch, emit))?;
    let (large, _) = run(&model, &pairs, &PatchOptions { budget: Budget(1 << 28), ..small.clone() })?;
    let far = large
        .iter()
        .zip(&whole)
        .map(|(a, b)| (a.measured.patched.unwrap() - b.measured.patched.unwrap()).abs())
        .fold(0f32, f32::max);
    // Other numbers of rows may take other kernels, which make the same sums in another order.
    assert!(f64::from(far) <= rounding("llama").metric() && large.len() == whole.len(), "{far}");
    Ok(())
}
