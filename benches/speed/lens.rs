//! The logit lens over all layers and positions, against the rate at which this machine multiplies large matrices.

use anyhow::Result;
use pellucid::analysis::residual::{Asked, residual};
use pellucid::analysis::{Decoding, Lens, lens};
use pellucid::model::Model;
use pellucid::sweep::Budget;
use pellucid::text::{Bos, Prompt, PromptEntry, build_prompts};
use serde_json::json;

use crate::Bench;
use crate::clock::{Times, take_turns};
use crate::models::Shape;
use crate::products::{LARGE, flop, product};

pub fn measure(bench: &Bench) -> Result<()> {
    let model = bench.load()?;
    let n = bench.shape.lengths[1];
    let prompts = prompts(bench, n)?;
    let mut work = || run(&model, &prompts);

    // A product of the shape of one unembedding, weights as the model holds them: not part of the yardstick, but it
    // says how much of what is missing is gemm's own.
    let unembed = [n, bench.shape.d_model, bench.shape.d_vocab];
    let mut products = LARGE.iter().map(|dims| product(*dims, false)).collect::<Result<Vec<_>>>()?;
    products.push(product(unembed, true)?);

    let mut works: Vec<&mut dyn FnMut() -> Result<()>> = vec![&mut work];
    works.extend(products.iter_mut().map(|p| p as &mut dyn FnMut() -> Result<()>));
    let times = take_turns(bench.reps, &mut works)?;

    let gflop = lens_flop(bench.shape, n) / 1e9;
    bench.say.times("lens", "every layer and position", n, &times[0]);
    let achieved = rate(bench, &format!("lens, {gflop:.1} GFLOP"), gflop, &times[0]);
    let mut best = [0f64; 2];
    for (dims, times) in LARGE.iter().zip(&times[1..]) {
        let rate = rate(bench, &format!("matmul {dims:?}"), flop(*dims) / 1e9, times);
        best = [best[0].max(rate[0]), best[1].max(rate[1])];
    }
    rate(bench, &format!("matmul {unembed:?}, not counted"), flop(unembed) / 1e9, &times[LARGE.len() + 1]);
    let [of_medians, of_best] = [0, 1].map(|i| 100.0 * achieved[i] / best[i]);
    bench.say.fact(
        json!({
            "case": "lens", "what": "share of the large-matmul rate", "tokens": n,
            "percent_of_medians": of_medians, "percent_of_minima": of_best, "needed_at_least": 75,
        }),
        &format!(
            "lens     share of the large-matmul rate: {of_medians:.1} % of medians, {of_best:.1} % of minima   \
             needed: at least 75 %"
        ),
    );
    strokes(bench, &model, &prompts)
}

/// Strokes and heads at every position, beside the lens on the same streams, which takes turns with it.
fn strokes(bench: &Bench, model: &Model, prompts: &[Prompt]) -> Result<()> {
    let n = prompts[0].tokens.len();
    let streams = Lens { at: "resid_mid,resid_post".into(), ..Lens::default() };
    let asked = Asked { targets: vec![], rest: vec![], positions: None, budget: Budget::default() };
    let mut base = || run_at(model, prompts, &streams);
    let mut work = || -> Result<()> {
        let mut strokes = 0;
        residual(model, prompts, &|id| format!("#{id}"), &asked, &(), &mut |rows, heads| {
            strokes += rows.len().min(heads.len());
            Ok(())
        })?;
        anyhow::ensure!(strokes > 0, "there are no strokes");
        Ok(())
    };
    let times = take_turns(bench.reps, &mut [&mut base, &mut work])?;
    bench.say.times("residual", "lens on the same streams", n, &times[0]);
    bench.say.times("residual", "every stroke and head", n, &times[1]);
    bench.say.ratio("residual", "over that lens", n, &times[1].over(&times[0]), Some(1.2));
    Ok(())
}

/// The prompt of `n` tokens that the lens is measured on.
pub fn prompts(bench: &Bench, n: usize) -> Result<Vec<Prompt>> {
    let shape = bench.shape;
    let entries = [PromptEntry::ids(bench.ids(n))];
    Ok(build_prompts(&entries, None, shape.d_vocab, Some(shape.n_ctx), Bos::default())?)
}

/// The lens with its usual options; the rows of the table are made and dropped.
pub fn run(model: &Model, prompts: &[Prompt]) -> Result<()> {
    run_at(model, prompts, &Lens::default())
}

fn run_at(model: &Model, prompts: &[Prompt], options: &Lens) -> Result<()> {
    let spell = |id: u32| format!("#{id}");
    let mut rows = 0;
    lens(model, prompts, &spell, &Decoding::new(model.spec(), options, &[], Budget::default()), &(), &mut |_| {
        rows += 1;
        Ok(())
    })?;
    anyhow::ensure!(rows > 0, "the lens found nothing");
    Ok(())
}

/// Says and gives GFLOP/s: of the median, and of the fastest.
fn rate(bench: &Bench, what: &str, gflop: f64, times: &Times) -> [f64; 2] {
    let [median, best] = [gflop / times.median(), gflop / times.min()];
    bench.say.fact(
        json!({"case": "lens", "what": what, "gflop": gflop, "median_gflop_s": median, "best_gflop_s": best}),
        &format!("lens     {what:44}   median {median:6.1} GFLOP/s   best {best:6.1} GFLOP/s"),
    );
    [median, best]
}

/// What the lens cannot do without: the matrix products of one forward pass (attention's only where the mask lets it
/// look) and one unembedding for each layer, the last of which is the model's own.
fn lens_flop(shape: &Shape, t: usize) -> f64 {
    let d = shape.d_model;
    let maps = [[t, d, 3 * d], [t, d, d], [t, d, 4 * d], [t, 4 * d, d]].into_iter().map(flop).sum::<f64>();
    let seen = t * (t + 1) / 2;
    // Scores and mix: d multiplications each for every pair of positions, over all heads.
    let attention = 2.0 * flop([seen, d, 1]);
    shape.n_layers as f64 * (maps + attention + flop([t, d, shape.d_vocab]))
}
