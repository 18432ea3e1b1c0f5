//! Patching sweeps: both prompts recorded, every patch run, one logit difference each.

use anyhow::Result;
use pellucid::hook::{HookPoint, Site};
use pellucid::model::Model;
use pellucid::sweep::{Budget, Change, How, Patched, Readout, Recorded, plan, sweep, unchanged};
use serde_json::json;

use crate::Bench;
use crate::clock::take_turns;
use crate::models::Shape;
use crate::products::{LARGE, flop, product};

/// Activations of a wave, in bytes: what the default of `--memory` leaves for it.
pub const MEMORY: usize = 256_000_000;

/// The share of the machine's matmul rate that the project asks of the long sweep of the stream.
const NEEDED_SHARE: f64 = 0.75;

/// What is swept over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sweep {
    /// `resid_pre`, every layer and position.
    Stream,
    /// `z`, every head, all positions at once.
    Heads,
    /// `z`, every head and position.
    HeadsAndPositions,
}

impl Sweep {
    const ALL: [Sweep; 3] = [Sweep::Stream, Sweep::Heads, Sweep::HeadsAndPositions];

    pub fn name(self) -> &'static str {
        match self {
            Sweep::Stream => "resid_pre by position",
            Sweep::Heads => "z by head",
            Sweep::HeadsAndPositions => "z by head and position",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.name() == name)
    }
}

/// What is measured, with the length of the prompt.
pub fn cases(shape: &Shape) -> Vec<(Sweep, usize)> {
    let [short, long] = [shape.lengths[0], shape.lengths[1] / 2];
    Sweep::ALL.map(|s| (s, short)).into_iter().chain([(Sweep::Stream, long)]).collect()
}

/// A prompt and another in which every token is another one.
pub fn pair(clean: &[u32], d_vocab: usize) -> [Vec<u32>; 2] {
    [clean.to_vec(), clean.iter().map(|id| (id + 1) % d_vocab as u32).collect()]
}

pub fn measure(bench: &Bench) -> Result<()> {
    let model = bench.load()?;
    let of = |n: usize| pair(&bench.ids(n), bench.shape.d_vocab);
    for (what, n) in cases(bench.shape) {
        let (pair, mut n_patches) = ([of(n)], 0);
        let mut work = || -> Result<()> {
            n_patches = run(&model, what, &pair, MEMORY)?.len();
            Ok(())
        };
        let mut products = LARGE.iter().map(|dims| product(*dims, false)).collect::<Result<Vec<_>>>()?;
        let mut works: Vec<&mut dyn FnMut() -> Result<()>> = vec![&mut work];
        works.extend(products.iter_mut().map(|p| p as &mut dyn FnMut() -> Result<()>));
        let times = take_turns(bench.reps.div_ceil(3), &mut works)?;
        bench.say.times("sweep", what.name(), n, &times[0]);
        if what == Sweep::Stream {
            let gflop = stream_flop(&model, n) / 1e9;
            let rate = gflop / times[0].min();
            let of_large = LARGE.iter().zip(&times[1..]).map(|(dims, times)| flop(*dims) / 1e9 / times.min());
            let machine = of_large.fold(0.0, f64::max);
            let share = rate / machine;
            bench.say.fact(
                json!({
                    "case": "sweep", "what": what.name(), "tokens": n, "patches": n_patches, "gflop": gflop,
                    "gflop_per_s": rate, "matmul_gflop_per_s": machine, "share": share, "needed_share": NEEDED_SHARE,
                }),
                &format!(
                    "sweep    {n_patches} patches, {gflop:.1} GFLOP of rows that can change, {rate:.0} of {machine:.0} \
                     GFLOP/s: {:.0} %   needed at 64 tokens: {:.0} %",
                    100.0 * share,
                    100.0 * NEEDED_SHARE
                ),
            );
        }
    }
    growth(bench, &model)
}

/// How the cost grows with what is swept over: positions of the prompt, layers that are patched, pairs.
fn growth(bench: &Bench, model: &Model) -> Result<()> {
    let n_layers = model.spec().n_layers();
    let short = bench.shape.lengths[0];
    let of = |n: usize| pair(&bench.ids(n), bench.shape.d_vocab);
    let by_positions = [1, 2, 4].map(|k| (format!("{} positions", k * short), vec![of(k * short)], 0..n_layers));
    let by_layers = [4, 2, 1]
        .map(|k| (format!("last {} layers", n_layers / k), vec![of(short)], n_layers - n_layers / k..n_layers));
    let by_pairs = [1, 2, 4].map(|k| (format!("{k} pairs"), vec![of(short); k], 0..n_layers));
    for (what, pairs, layers) in by_positions.into_iter().chain(by_layers).chain(by_pairs) {
        let rows: usize =
            runs_of_stream(&pairs, &layers).map(|(_, layer, pos, n)| (n_layers - layer) * (n - pos)).sum();
        let mut work = || run_at(model, Sweep::Stream, &pairs, &layers, MEMORY).map(drop);
        let seconds = take_turns(bench.reps.div_ceil(5), &mut [&mut work])?[0].median();
        let per_row = seconds / rows as f64 * 1e6;
        bench.say.fact(
            json!({"case": "sweep growth", "what": what, "rows": rows, "seconds": seconds, "microseconds_per_row": per_row}),
            &format!("growth   resid_pre, {what:16} {rows:7} rows through a block   {seconds:8.4} s   {per_row:6.1} us a row"),
        );
    }
    Ok(())
}

fn runs_of_stream<'a>(
    pairs: &'a [[Vec<u32>; 2]],
    layers: &'a std::ops::Range<usize>,
) -> impl Iterator<Item = (usize, usize, usize, usize)> + 'a {
    pairs.iter().enumerate().flat_map(move |(pair, [clean, _])| {
        layers.clone().flat_map(move |layer| (0..clean.len()).map(move |pos| (pair, layer, pos, clean.len())))
    })
}

/// The logit difference of every patch.
pub fn run(model: &Model, what: Sweep, pairs: &[[Vec<u32>; 2]], memory: usize) -> Result<Vec<f32>> {
    run_at(model, what, pairs, &(0..model.spec().n_layers()), memory)
}

fn run_at(
    model: &Model,
    what: Sweep,
    pairs: &[[Vec<u32>; 2]],
    layers: &std::ops::Range<usize>,
    memory: usize,
) -> Result<Vec<f32>> {
    let spec = model.spec();
    let site = if what == Sweep::Stream { Site::ResidPre } else { Site::Z };
    let points: Vec<HookPoint> = layers.clone().map(|l| HookPoint::block(l, site)).collect();
    let sequences: Vec<Vec<u32>> = pairs.iter().flat_map(|[clean, corrupt]| [corrupt.clone(), clean.clone()]).collect();
    let recorded = Recorded::of(model, &sequences, &[], &points)?;
    let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
    let readouts: Vec<Readout> =
        lengths.iter().map(|n| Readout { positions: vec![n - 1], tokens: Some(vec![5, 6]) }).collect();
    let n_heads = spec.blocks[0].attention.inner.n_heads;
    let mut runs = vec![];
    for (pair, [clean, _]) in pairs.iter().enumerate() {
        let (base, other) = (2 * pair, &recorded[2 * pair + 1]);
        for point in &points {
            let value = other.value(*point)?;
            for head in 0..if what == Sweep::Stream { 1 } else { n_heads } {
                let positions = if what == Sweep::Heads { vec![None] } else { (0..clean.len()).map(Some).collect() };
                for pos in positions {
                    let mut change = Change::new(*point, How::Put(value.clone()));
                    change.positions = pos.map(|p| vec![p]);
                    change.head = (what != Sweep::Stream).then_some(head);
                    runs.push(Patched { base, changes: vec![change] });
                }
            }
        }
    }
    // What is in no wave cannot reach what is measured, and has the unchanged run's number.
    let bases = (recorded.iter().zip(&readouts))
        .map(|(base, readout)| unchanged(model, base, readout).map(|logits| logits[0] - logits[1]))
        .collect::<pellucid::Result<Vec<f32>>>()?;
    let mut found: Vec<f32> = runs.iter().map(|run| bases[run.base]).collect();
    for wave in plan(spec, &lengths, &runs, &readouts, Budget(memory))? {
        sweep(model, &recorded, &readouts, &runs, &wave, Budget(memory), |run, logits| {
            found[run] = logits[0] - logits[1];
            Ok(())
        })?;
    }
    Ok(found)
}

/// Multiplications and additions that patching the stream at every layer and position cannot do without: where a run
/// begins, one row makes new queries, keys and values; the rows after it read them; in the last block only the measured row
/// asks.
fn stream_flop(model: &Model, n: usize) -> f64 {
    let spec = model.spec();
    let (d, layers) = (spec.d_model as f64, spec.n_layers());
    let mut flop = 0.0;
    for start in 0..layers {
        for p in 0..n {
            for layer in start..layers {
                let rows = (n - p) as f64;
                let keys = if layer == start { 1.0 } else { rows };
                let asking = if layer + 1 == layers { 1.0 } else { rows };
                let queries = if layer + 1 == layers { 1.0 } else { keys };
                // Keys and values; queries; the output map and the MLP; scores and mixing.
                let linear = keys * 2.0 * d * d + queries * d * d + asking * 9.0 * d * d;
                let seen: f64 = if layer + 1 == layers { n as f64 } else { (p..n).map(|q| (q + 1) as f64).sum() };
                flop += 2.0 * (linear + 2.0 * seen * d);
            }
        }
    }
    flop
}
