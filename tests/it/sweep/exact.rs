//! Every kind of patch in every family: each row is what one whole forward pass gives whose value was written over index by
//! index. Nothing here is shared with the engine but the forward pass on plain operations and what a hook is.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use pellucid::Result;
use pellucid::analysis::PatchRow;
use pellucid::analysis::patch::{
    Direction, Grid, Kind, Metric, Noised, NoisedAt, Only, Over, PatchOptions, Patching, patch,
};
use pellucid::arch::spec::Mask;
use pellucid::hook::site::{Axis, Scope};
use pellucid::hook::{Cache, Edit, Hook, HookPoint, Site};
use pellucid::model::{Batch, Model, Run};
use pellucid::ops;
use pellucid::sweep::Budget;
use pellucid::text::{Bos, Pair, Prompt, PromptEntry, build_prompts};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::bound::{PATCHES, drift};
use crate::help::fixtures::{every_model, load};

/// Prompts of several lengths, which run packed together.
const PAIRS: [(&[u32], &[u32]); 3] = [
    (&[3, 14, 15, 92, 65, 35, 89], &[3, 27, 15, 18, 65, 28, 18]),
    (&[31, 41, 59, 26, 53], &[31, 41, 27, 26, 82]),
    (&[2, 71, 82, 81, 82, 84, 59, 4, 52], &[2, 71, 82, 81, 82, 45, 9, 4, 5]),
];
const DATASET: [&[u32]; 3] = [&[5, 6, 7], &[50, 61, 72, 83, 94], &[9, 19, 29, 39, 49, 59, 69, 79, 89, 12]];
const ANSWERS: [u32; 2] = [7, 11];
const FOILS: [u32; 1] = [42];
/// Positions whose embeddings get noise in causal tracing.
const NOISED: [usize; 2] = [1, 2];
const SEED: u64 = 4;

/// What is asked, in the words of the command line.
#[derive(Clone, Copy)]
struct Case {
    kind: &'static str,
    /// Which sites of the model, by their axes.
    at: fn(Site) -> bool,
    over: &'static [Over],
    direction: Direction,
    traced: bool,
    window: usize,
    together: bool,
    positions: Option<&'static [isize]>,
    metrics: &'static [&'static str],
    measure_at: isize,
}

const BASIC: Case = Case {
    kind: "replace",
    at: any,
    over: &[Over::Layer, Over::Pos],
    direction: Direction::Denoise,
    traced: false,
    window: 1,
    together: false,
    positions: None,
    metrics: &["logit_diff"],
    measure_at: -1,
};

fn every(_: Site) -> bool {
    true
}
/// What is divided by, and what weighs experts and may be divided by its sum, cannot become anything.
fn any(site: Site) -> bool {
    let divides = site.info().name.ends_with(".hook_scale");
    !divides && !matches!(site, Site::ExpertWeights | Site::ChosenWeights)
}
fn of_heads(site: Site) -> bool {
    site.info().axes.iter().any(|a| matches!(a, Axis::H | Axis::G))
}
fn of_rows(site: Site) -> bool {
    !site.per_sequence()
}
fn of_neurons(site: Site) -> bool {
    site.info().axes.last() == Some(&Axis::M)
}
fn of_stream(site: Site) -> bool {
    site.info().axes == [Axis::T, Axis::D]
}
fn of_edges(site: Site) -> bool {
    site.per_sequence()
}
fn scores(site: Site) -> bool {
    site == Site::AttnScores
}
fn written(site: Site) -> bool {
    matches!(site, Site::AttnOut | Site::MlpOut)
}
fn restored(site: Site) -> bool {
    matches!(site, Site::Embed | Site::PosEmbed | Site::ResidPre | Site::K | Site::MlpOut)
}

const CASES: &[Case] = {
    use Direction::{Denoise, Noise};
    use Over::{Head, KeyPos, Layer, Neuron, Pos};
    &[
        Case { at: every, metrics: &["logit_diff", "logit", "kl"], measure_at: 3, ..BASIC },
        Case { direction: Noise, at: of_heads, over: &[Layer, Head], metrics: &["prob", "loss"], ..BASIC },
        Case { at: of_edges, over: &[Layer, Head, Pos, KeyPos], direction: Noise, ..BASIC },
        Case { at: of_neurons, over: &[Layer, Neuron], positions: Some(&[1, -1]), ..BASIC },
        Case { kind: "zero", direction: Noise, metrics: &["loss", "logit_diff"], ..BASIC },
        Case { kind: "zero", at: of_heads, over: &[Layer, Head, Pos], ..BASIC },
        Case { kind: "zero", at: of_edges, over: &[Layer], metrics: &["kl"], ..BASIC },
        Case { kind: "mean", at: of_rows, direction: Noise, over: &[Layer], metrics: &["log_prob"], ..BASIC },
        Case { kind: "mean-by-position", at: of_rows, direction: Noise, ..BASIC },
        Case { kind: "resample", direction: Noise, metrics: &["logit_diff", "kl"], ..BASIC },
        Case { kind: "resample", at: of_heads, over: &[Layer, Head], ..BASIC },
        Case { kind: "noise=0.7", metrics: &["logit_diff", "loss"], ..BASIC },
        Case { kind: "noise=0.7", at: of_edges, direction: Noise, over: &[Layer, Head, KeyPos], ..BASIC },
        Case { kind: "add=2", at: of_stream, direction: Noise, measure_at: 2, metrics: &["prob"], ..BASIC },
        Case { kind: "scale=-0.5", ..BASIC },
        Case { kind: "scale=-0.5", at: of_heads, over: &[Head], direction: Noise, ..BASIC },
        Case { kind: "knock-out", at: scores, over: &[Layer, Head, Pos, KeyPos], direction: Noise, ..BASIC },
        Case { kind: "knock-out", at: scores, over: &[Layer, KeyPos], ..BASIC },
        Case { at: written, window: 2, together: true, ..BASIC },
        Case { at: written, window: 3, kind: "zero", direction: Noise, metrics: &["loss"], ..BASIC },
        Case { at: of_stream, over: &[Layer], together: true, positions: Some(&[-2, 1]), ..BASIC },
        Case { at: restored, traced: true, window: 2, direction: Denoise, metrics: &["logit_diff", "kl"], ..BASIC },
        Case { at: restored, traced: true, direction: Noise, metrics: &["logit_diff", "loss"], ..BASIC },
        Case { kind: "zero", at: restored, traced: true, ..BASIC },
    ]
};

type Values = HashMap<HookPoint, Arc<Vec<f32>>>;

fn models() -> impl Iterator<Item = (&'static str, Model)> {
    every_model().map(|name| (name, load(name)))
}

fn prompt(ids: &[u32]) -> Prompt {
    build_prompts(&[PromptEntry::ids(ids)], None, 128, None, Bos::default()).unwrap().remove(0)
}

/// Every site that can be patched and that the case is about.
fn points(model: &Model, case: &Case) -> Vec<HookPoint> {
    let patchable = |p: &HookPoint| {
        p.expert.is_none() && !p.site.is_index() && p.site.info().scope != Scope::End && (case.at)(p.site)
    };
    HookPoint::all(model.spec()).into_iter().filter(patchable).collect()
}

/// One whole pass over `ids` in candle's own operations: logits `[n, v]`, and the values of `points`. The values of
/// `changed` go through `change` first.
fn pass(
    model: &Model,
    ids: &[u32],
    points: &[HookPoint],
    changed: &[HookPoint],
    change: impl Fn(HookPoint, &mut [f32], &[usize]) + 'static,
) -> Result<(Vec<Vec<f32>>, Values)> {
    let names = |points: &[HookPoint]| points.iter().map(HookPoint::to_string).collect::<Vec<_>>().join(",");
    let mut edit = match changed {
        [] => None,
        _ => Some(Edit::with(model.spec(), &names(changed), move |at, x| {
            let mut values = x.flatten_all()?.to_vec1::<f32>()?;
            change(at, &mut values, x.dims());
            Ok(Tensor::from_vec(values, x.shape(), &Device::Cpu)?)
        })?),
    };
    let mut cache = Cache::of(points.iter().copied());
    let mut hooks: Vec<&mut dyn Hook> = edit.iter_mut().map(|e| e as &mut dyn Hook).collect();
    hooks.push(&mut cache);
    let run = Run { kernels: Some(ops::Kernels::Plain), ..Run::default() };
    let logits = model.run(&Batch::one(ids), &run, &mut hooks)?.logits()?.to_vec2()?;
    let values = cache.iter().map(|(p, x)| Ok((p, Arc::new(x[0].flatten_all()?.to_vec1()?))));
    Ok((logits, values.collect::<Result<_>>()?))
}

/// The draws that provenance's seed stands for: a stream of ChaCha8 for each pair and point.
fn normal(pair: u64, point: HookPoint, n: usize, sigma: f64) -> Vec<f32> {
    let mut key = blake3::Hasher::new();
    key.update(&SEED.to_le_bytes()).update(&pair.to_le_bytes()).update(point.to_string().as_bytes());
    let mut rng = ChaCha8Rng::from_seed(*key.finalize().as_bytes());
    (0..n).map(|_| (sigma * Distribution::<f64>::sample(&StandardNormal, &mut rng)) as f32).collect()
}

fn deviation(x: impl Iterator<Item = f32> + Clone) -> f64 {
    let (n, mean) = (x.clone().count() as f64, x.clone().map(f64::from).sum::<f64>() / x.clone().count() as f64);
    (x.map(|v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// Whether query `q` of this layer sees key `k`.
fn sees(model: &Model, layer: usize, q: usize, k: usize) -> bool {
    match model.spec().blocks[layer].attention.inner.mask {
        Mask::Causal => k <= q,
        Mask::Window(n) => k <= q && q - k < n,
        Mask::Bidirectional => true,
    }
}

/// Where a number of a value is: position (of the query), head, place on the last axis, key.
fn coordinates(site: Site, dims: &[usize], i: usize) -> (usize, usize, usize, Option<usize>) {
    let (inner, last) = (dims[1..].iter().product::<usize>(), *dims.last().unwrap());
    let (a, b) = (i / inner, i % inner);
    match site.per_sequence() {
        true => (b / last, a, 0, Some(b % last)),
        false => (a, b / last, b % last, None),
    }
}

/// Metrics over the logits `[n, v]` of a run of `ids`, from the textbook, in f64.
fn measured(metric: &str, logits: &[Vec<f32>], ids: &[u32], clean: &[Vec<f32>], at: usize) -> f64 {
    let log_probs = |row: &[f32]| {
        let sum = row.iter().map(|v| f64::from(*v).exp()).sum::<f64>().ln();
        row.iter().map(|v| f64::from(*v) - sum).collect::<Vec<f64>>()
    };
    let mean =
        |tokens: &[u32]| tokens.iter().map(|t| f64::from(logits[at][*t as usize])).sum::<f64>() / tokens.len() as f64;
    let prob = || ANSWERS.iter().map(|t| log_probs(&logits[at])[*t as usize].exp()).sum::<f64>();
    match metric {
        "logit_diff" => mean(&ANSWERS) - mean(&FOILS),
        "logit" => mean(&ANSWERS),
        "prob" => prob(),
        "log_prob" => prob().ln(),
        "kl" => {
            let (p, q) = (log_probs(&clean[at]), log_probs(&logits[at]));
            p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum()
        }
        "loss" => {
            let n = ids.len() - 1;
            (0..n).map(|i| -log_probs(&logits[i])[ids[i + 1] as usize]).sum::<f64>() / n as f64
        }
        other => panic!("{other}"),
    }
}

/// Everything that is fixed before a row is looked at.
struct Reference<'a> {
    model: &'a Model,
    case: &'a Case,
    pair: usize,
    points: &'a [HookPoint],
    vector: &'a [f32],
    base_ids: &'a [u32],
    noise: Arc<Vec<f32>>,
    /// Whether the run that is patched has noise on its embeddings.
    noised: bool,
    base: Values,
    donor: Values,
    clean: Vec<Vec<f32>>,
}

impl<'a> Reference<'a> {
    fn new(model: &'a Model, case: &'a Case, pair: usize, points: &'a [HookPoint], vector: &'a [f32]) -> Result<Self> {
        let (clean_ids, corrupt_ids) = PAIRS[pair];
        let spec = model.spec();
        let embed = model.weights().embed.tensor()?.flatten_all()?.to_vec1::<f32>()?;
        let sigma = 3.0 * deviation(embed.iter().copied()) * spec.embedding.scale.unwrap_or(1.0);
        let (embed, d) = (HookPoint::global(Site::Embed), spec.d_model);
        let noise = Arc::new(normal(pair as u64, embed, clean_ids.len() * d, sigma));
        let plain = |ids: &[u32]| pass(model, ids, points, &[], |_, _, _| ());
        let (clean, clean_values) = plain(clean_ids)?;
        let corrupt_values = match case.traced {
            true => {
                let noise = noise.clone();
                pass(model, clean_ids, points, &[embed], move |_, x, _| add_noise(x, &noise, d))?.1
            }
            false => plain(corrupt_ids)?.1,
        };
        let other_ids = if case.traced { clean_ids } else { corrupt_ids };
        let (base_ids, base, other) = match case.direction {
            Direction::Denoise => (other_ids, corrupt_values, clean_values),
            Direction::Noise => (clean_ids, clean_values, corrupt_values),
        };
        let donor = match case.kind {
            // The only prompt of the dataset that is long enough for all pairs.
            "resample" => plain(&DATASET[2][..clean_ids.len()])?.1,
            "mean" | "mean-by-position" => means(model, points, case.kind == "mean-by-position")?,
            _ => other,
        };
        let noised = case.traced && case.direction == Direction::Denoise;
        Ok(Self { model, case, pair, points, vector, base_ids, noise, noised, base, donor, clean })
    }

    /// The row's metric, by a pass of its own.
    fn of(&self, row: &PatchRow, metric: &str) -> Result<f64> {
        let n = self.base_ids.len();
        let of_window = |p: &&HookPoint| match (row.place.layer, p.layer) {
            (Some(middle), Some(layer)) => {
                let (middle, before) = (middle as usize, self.case.window / 2);
                layer + before >= middle && layer + before < middle + self.case.window
            }
            (None, _) => true,
            (Some(_), None) => false,
        };
        let of_site = |p: &&HookPoint| row.place.site.split('+').any(|site| site == p.site.short());
        let points: Vec<HookPoint> = self.points.iter().filter(of_window).filter(of_site).copied().collect();
        let (embed, d) = (HookPoint::global(Site::Embed), self.model.spec().d_model);
        let mut reached = points.clone();
        if self.noised && !reached.contains(&embed) {
            reached.push(embed);
        }
        let values: HashMap<HookPoint, Arc<Vec<f32>>> =
            points.iter().map(|p| (*p, self.source(*p, n))).filter_map(|(p, v)| Some((p, v?))).collect();
        let (row, kind, vector) = (row.clone(), self.case.kind, self.vector.to_vec());
        let (noised, noise, positions) = (self.noised, self.noise.clone(), self.case.positions);
        let masks: Vec<Vec<Vec<bool>>> = (0..self.model.spec().n_layers())
            .map(|l| (0..n).map(|q| (0..n).map(|k| sees(self.model, l, q, k)).collect()).collect())
            .collect();
        let change = move |at: HookPoint, x: &mut [f32], dims: &[usize]| {
            if noised && at == embed {
                add_noise(x, &noise, d);
            }
            if !points.contains(&at) {
                return;
            }
            let is = |wanted: Option<u32>, is: usize| wanted.is_none_or(|w| w as usize == is);
            for i in 0..x.len() {
                let (pos, head, inner, key) = coordinates(at.site, dims, i);
                let (wanted_pos, wanted_head) = match at.site {
                    Site::K | Site::V | Site::KNormed | Site::RotK => (row.place.pos, row.place.kv_head),
                    site if site.per_sequence() => (row.place.query_pos, row.place.head),
                    _ => (row.place.pos, row.place.head),
                };
                let within = |p: &[isize]| p.iter().any(|p| if *p < 0 { n as isize + p } else { *p } as usize == pos);
                let mut chosen = is(wanted_pos, pos)
                    && is(wanted_head, head)
                    && is(row.place.neuron, inner)
                    && positions.is_none_or(within);
                if let Some(key) = key {
                    let seen = &masks[at.layer.unwrap()][pos];
                    // What a query does not see is no part of its scores and its pattern.
                    chosen &= is(row.place.key_pos, key) && seen[key];
                    // Somebody must be seen.
                    chosen &= kind != "knock-out" || seen.iter().filter(|seen| **seen).count() > 1;
                }
                if !chosen {
                    continue;
                }
                x[i] = match kind {
                    "zero" => 0.0,
                    "scale=-0.5" => x[i] * -0.5,
                    "knock-out" => f32::NEG_INFINITY,
                    "add=2" => x[i] + 2.0 * vector[inner],
                    "noise=0.7" => x[i] + values[&at][i],
                    _ => values[&at][i],
                };
            }
        };
        let (logits, _) = pass(self.model, self.base_ids, &[], &reached, change)?;
        let at = if self.case.measure_at < 0 { n as isize + self.case.measure_at } else { self.case.measure_at };
        Ok(measured(metric, &logits, self.base_ids, &self.clean, at as usize))
    }

    /// The numbers that are put or added there.
    fn source(&self, p: HookPoint, n: usize) -> Option<Arc<Vec<f32>>> {
        if self.case.kind != "noise=0.7" {
            return self.donor.get(&p).cloned();
        }
        let base = &self.base[&p];
        // Of scores and patterns, what is seen.
        let sees = |i: &usize| {
            let (q, k) = (i / n % n, i % n);
            !p.site.per_sequence() || sees(self.model, p.layer.unwrap(), q, k)
        };
        let own = (0..base.len()).filter(sees).map(|i| base[i]);
        Some(Arc::new(normal(self.pair as u64, p, base.len(), 0.7 * deviation(own))))
    }
}

fn add_noise(x: &mut [f32], noise: &[f32], d: usize) {
    for p in NOISED {
        (0..d).for_each(|i| x[p * d + i] += noise[p * d + i]);
    }
}

/// Over all positions of the dataset, or position by position; as large as the values of the longest pair.
fn means(model: &Model, points: &[HookPoint], by_position: bool) -> Result<Values> {
    let runs = DATASET.iter().map(|ids| pass(model, ids, points, &[], |_, _, _| ()));
    let runs = runs.map(|r| r.map(|(_, values)| values)).collect::<Result<Vec<_>>>()?;
    let of = |p: &HookPoint| {
        let width = runs[0][p].len() / DATASET[0].len();
        let rows: Vec<Vec<&[f32]>> = runs.iter().map(|values| values[p].chunks(width).collect()).collect();
        let mean = |of_row: &dyn Fn(usize) -> bool, i: usize| {
            let all = rows.iter().flat_map(|rows| rows.iter().enumerate()).filter(|(at, _)| of_row(*at));
            let (sum, n) = all.fold((0.0, 0), |(sum, n), (_, row)| (sum + f64::from(row[i]), n + 1));
            (sum / f64::from(n)) as f32
        };
        let longest = PAIRS.iter().map(|(ids, _)| ids.len()).max().unwrap();
        let all = (0..longest)
            .flat_map(|at| (0..width).map(move |i| (at, i)))
            .map(|(at, i)| if by_position { mean(&|row| row == at, i) } else { mean(&|_| true, i) });
        (*p, Arc::new(all.collect::<Vec<f32>>()))
    };
    Ok(points.iter().map(of).collect())
}

fn options(case: &Case, points: &[HookPoint], vector: &Tensor) -> Result<PatchOptions> {
    let mut names: Vec<String> = points.iter().map(HookPoint::to_string).collect();
    names.dedup();
    let dataset: Vec<Prompt> = DATASET.iter().map(|ids| prompt(ids)).collect();
    let neurons = case.over.contains(&Over::Neuron).then(|| pellucid::range::numbers([0, 5]));
    Ok(PatchOptions {
        grid: Grid {
            at: names.join(","),
            over: case.over.to_vec(),
            only: Only {
                pos: case.positions.map(|p| pellucid::range::numbers(p.iter().copied())),
                neurons,
                ..Only::default()
            },
            window: case.window,
            together: case.together,
            ..Grid::default()
        },
        how: Patching {
            direction: Some(case.direction),
            kind: Kind::parse(case.kind)?,
            metric: case.metrics.iter().map(|m| Metric::parse(m)).collect::<Result<_>>()?,
            measure_at: case.measure_at,
            seed: SEED,
            verify: 0,
        },
        dataset,
        vector: Some(vector.clone()),
        noised: case.traced.then(|| Noised {
            at: NoisedAt::Positions(pellucid::range::numbers(NOISED.iter().map(|p| *p as isize))),
            sigma: 3.0,
            samples: 1,
        }),
        ..PatchOptions::default()
    })
}

fn run(model: &Model, options: &PatchOptions, pairs: &[Pair]) -> Result<Vec<PatchRow>> {
    let mut rows = vec![];
    patch(model, pairs, options, &mut (), &(), &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

fn said(r: &PatchRow) -> String {
    let at =
        [r.place.layer, r.place.head, r.place.kv_head, r.place.neuron, r.place.pos, r.place.query_pos, r.place.key_pos];
    let at = at.map(|x| x.map_or("-".into(), |x| x.to_string())).join(" ");
    format!("pair {} {} [{at}] {} {:?}", r.pair, r.place.site, r.measured.metric, r.measured.patched)
}

/// Invariant: Every kind of patch equals a whole forward pass, in both directions, for packed pairs, with any metric, in every
/// family; a smaller `--memory` gives the same numbers.
#[test]
fn every_kind_of_patch_in_every_family_is_a_whole_forward_pass() -> Result<()> {
    let compared = whole_forward_passes(models().filter(|(name, _)| !ON_EVERY_LEVEL.contains(name)))?;
    assert!(compared > 9_500, "{compared}");
    Ok(())
}

/// Those of these families by themselves, so that `.ci/levels` can run them where everything is slow.
const ON_EVERY_LEVEL: [&str; 2] = ["gpt2", "llama"];

#[test]
fn every_kind_of_patch_in_two_families_is_a_whole_forward_pass() -> Result<()> {
    let compared = whole_forward_passes(models().filter(|(name, _)| ON_EVERY_LEVEL.contains(name)))?;
    assert!(compared > 400, "{compared}");
    Ok(())
}

/// Compares them, for each kind of patch in each of these models, and says how many.
fn whole_forward_passes(models: impl Iterator<Item = (&'static str, Model)>) -> Result<usize> {
    let mut failed = vec![];
    let mut compared = 0;
    for (name, model) in models {
        let prompts = PAIRS.iter().flat_map(|(clean, corrupt)| [clean.to_vec(), corrupt.to_vec()]);
        let rounding = drift(name, &model, &Batch::of(prompts)).metric() as f32;
        let d = model.spec().d_model;
        let vector: Vec<f32> = (0..d).map(|i| 0.02 * (i % 7) as f32 - 0.05).collect();
        let tensor = Tensor::from_vec(vector.clone(), d, &Device::Cpu)?;
        for (c, case) in CASES.iter().enumerate() {
            let points = points(&model, case);
            if points.is_empty() {
                continue;
            }
            let pairs: Vec<Pair> = (PAIRS.iter().enumerate())
                .map(|(i, (clean, corrupt))| {
                    let corrupt = (!case.traced).then(|| prompt(corrupt));
                    let (answers, foils) = (ANSWERS.to_vec(), FOILS.to_vec());
                    Pair::new(i as u32, i.to_string(), prompt(clean), corrupt, answers, foils).unwrap()
                })
                .collect();
            let options = options(case, &points, &tensor)?;
            let few = |bytes| run(&model, &PatchOptions { budget: Budget(bytes), ..options.clone() }, &pairs);
            let (rows, waves) = (few(1 << 28)?, few(150_000)?);
            assert_eq!(rows.len(), waves.len());
            let references = (0..PAIRS.len())
                .map(|pair| Reference::new(&model, case, pair, &points, &vector))
                .collect::<Result<Vec<_>>>()?;
            let all = references.iter().flat_map(|r| r.clean.iter().flatten());
            let largest = all.fold(0.0, |most: f32, v| most.max(v.abs()));
            for (a, b) in rows.iter().zip(&waves) {
                // Some patches, of noise and of vectors, make larger logits than the clean run has: their rounding grows with them.
                let far = (a.measured.patched.unwrap() - b.measured.patched.unwrap()).abs()
                    / (a.measured.patched.unwrap().abs() / largest).max(1.0);
                if far > rounding || far.is_nan() {
                    let more = format!("in waves {:?}", b.measured.patched);
                    failed.push((far, format!("{name}, case {c}, {}, {more}: {}", case.kind, said(a))));
                }
            }
            for (m, metric) in case.metrics.iter().enumerate() {
                let of_metric: Vec<&PatchRow> = rows.iter().skip(m).step_by(case.metrics.len()).collect();
                // Ten or so of each case, of all pairs, sites and layers in turn.
                let step = of_metric.len().div_ceil(10) | 1;
                let chosen: Vec<&PatchRow> = of_metric.into_iter().skip(c % step).step_by(step).collect();
                let wanted = (chosen.iter())
                    .map(|row| references[row.pair as usize].of(row, metric))
                    .collect::<Result<Vec<f64>>>()?;
                let patched =
                    rows.iter().skip(m).step_by(case.metrics.len()).map(|r| f64::from(r.measured.patched.unwrap()));
                let spread = patched.clone().fold(f64::MIN, f64::max) - patched.fold(f64::MAX, f64::min);
                for (row, want) in chosen.iter().zip(&wanted) {
                    compared += 1;
                    let far = (f64::from(row.measured.patched.unwrap()) - want).abs();
                    // What is promised.
                    if far.is_nan() || far > PATCHES * spread {
                        let more = format!("{far:.1e} of {spread:.1e} from {want}");
                        failed.push((f32::INFINITY, format!("{name}, case {c}, {}, {more}: {}", case.kind, said(row))));
                    }
                }
            }
        }
    }
    failed.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (n, first) = (failed.len(), &failed[..failed.len().min(40)]);
    assert!(failed.is_empty(), "{n} of {compared}: {first:#?}");
    Ok(compared)
}
