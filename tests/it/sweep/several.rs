//! Answers of several tokens: each token after the prompt and those before it, in runs that are patched like any other.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use pellucid::Result;
use pellucid::analysis::attribute::{Attribute, attribute};
use pellucid::analysis::patch::{Direction, Grid, Kind, Metric, Over, PatchOptions, Patching, Summary, patch};
use pellucid::analysis::path::{Reading, path};
use pellucid::analysis::residual::{Asked, ResidualRow, residual};
use pellucid::analysis::{AttributionRow, PatchRow};
use pellucid::hook::{Cache, Edit, HookPoint, Site};
use pellucid::model::{Batch, Model, Run};
use pellucid::ops;
use pellucid::ops::rounding::unit;
use pellucid::range::Interval;
use pellucid::session::Target;
use pellucid::sweep::{Align, Budget, Only, Shard};
use pellucid::table::read_rows;
use pellucid::text::{Bos, Pair, Prompt, PromptEntry, build_prompts};

use crate::bin::{Place, fixture, model as model_arg};
use crate::bound::{Drifts, PATCHES, drift};
use crate::help::fixtures::load;
use crate::reference::Reference;

const CLEAN: [u32; 5] = [3, 14, 15, 92, 65];
const CORRUPT: [u32; 5] = [3, 27, 15, 18, 65];
const ANSWER: [u32; 3] = [41, 7, 11];

fn is_bidirectional(name: &str) -> bool {
    name == "hooked_bidirectional"
}

fn prompt(ids: &[u32]) -> Prompt {
    build_prompts(&[PromptEntry::ids(ids)], None, 1 << 20, None, Bos::Never).unwrap().remove(0)
}

fn pair(clean: &[u32], corrupt: Option<&[u32]>, answer: &[u32]) -> Pair {
    let first = answer[..1].to_vec();
    let mut pair = Pair::new(0, "0".into(), prompt(clean), corrupt.map(prompt), first, vec![]).unwrap();
    pair.rest = answer[1..].to_vec();
    pair
}

fn the_pair() -> Pair {
    pair(&CLEAN, Some(&CORRUPT), &ANSWER)
}

fn text(prompt: &[u32], answer: &[u32]) -> Vec<u32> {
    [prompt, answer].concat()
}

/// What rounding makes of the runs that are patched here.
fn rounding(name: &str, model: &Model) -> Arc<Drifts> {
    drift(name, model, &Batch::of([CLEAN, CORRUPT].map(|prompt| text(&prompt, &ANSWER[..2]))))
}

/// How far apart two of these metrics may be, where a sweep's are `spread` apart: each token's is one metric of a run.
fn allowed(rounding: &Drifts, spread: f64) -> f64 {
    (PATCHES * spread).max(ANSWER.len() as f64 * rounding.metric())
}

fn options(at: &str, over: &[Over], how: Patching) -> PatchOptions {
    let grid = Grid { at: at.into(), over: over.to_vec(), ..Grid::default() };
    let how = Patching { metric: vec![Metric::LogProb], ..how };
    PatchOptions { grid, how, budget: Budget(1 << 30), ..PatchOptions::default() }
}

fn run(model: &Model, pair: &Pair, options: &PatchOptions) -> Result<(Vec<PatchRow>, Summary)> {
    let mut rows = vec![];
    let summary = patch(model, std::slice::from_ref(pair), options, &mut (), &(), &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok((rows, summary))
}

fn log_softmax(row: &[f64]) -> Vec<f64> {
    let total = row.iter().map(|x| x.exp()).sum::<f64>().ln();
    row.iter().map(|x| x - total).collect()
}

/// The log-probability of the last position of one whole forward pass for token `next`, in which `change` is made at `point`: of the
/// place of each number (its position and, of a value of heads, its head) and what is there, what becomes of it.
fn changed(
    model: &Model,
    ids: &[u32],
    next: u32,
    point: HookPoint,
    change: impl Fn(usize, usize, usize) -> Option<f32> + 'static,
) -> Result<f64> {
    let mut edit = Edit::with(model.spec(), &point.to_string(), move |_, x| {
        let (dims, mut values) = (x.dims(), x.flatten_all()?.to_vec1::<f32>()?);
        let inner: usize = dims[1..].iter().product();
        for (i, value) in values.iter_mut().enumerate() {
            let (pos, head) = (i / inner, i % inner / dims[dims.len() - 1]);
            *value = change(i, pos, head).unwrap_or(*value);
        }
        Ok(Tensor::from_vec(values, x.shape(), &Device::Cpu)?)
    })?;
    let run = Run { kernels: Some(ops::Kernels::Plain), ..Run::default() };
    let logits = model.run(&Batch::one(ids), &run, &mut [&mut edit])?.logits()?.to_dtype(DType::F64)?.to_vec2()?;
    Ok(log_softmax(&logits[ids.len() - 1])[next as usize])
}

/// The same for all of the answer: a pass for each of its tokens. What is put there is the value that `donor` has, with as much of the
/// answer after it; zero where there is none.
fn one_by_one(
    model: &Model,
    base: &[u32],
    donor: Option<&[u32]>,
    point: HookPoint,
    chosen: impl Fn(usize, usize) -> bool + Clone + 'static,
) -> Result<f64> {
    let mut sum = 0.0;
    for (i, next) in ANSWER.iter().enumerate() {
        let given = match donor {
            None => None,
            Some(donor) => {
                let mut cache = Cache::of([point]);
                model.forward(&Batch::one(text(donor, &ANSWER[..i])), &mut [&mut cache])?;
                Some(cache.get(&point.to_string())?.flatten_all()?.to_vec1::<f32>()?)
            }
        };
        let chosen = chosen.clone();
        let change = move |i: usize, pos, head| chosen(pos, head).then(|| given.as_ref().map_or(0.0, |given| given[i]));
        sum += changed(model, &text(base, &ANSWER[..i]), *next, point, change)?;
    }
    Ok(sum)
}

fn unpatched(name: &str) -> Result<()> {
    if is_bidirectional(name) {
        return Ok(());
    }
    let (model, want) = (load(name), Reference::open(&fixture(name).join("expected.safetensors")));
    let metric = drift(name, &model, &want.batch("input_ids")).metric();
    let mut logits = want.packed("logits").to_dtype(DType::F64)?.to_vec2::<f64>()?.into_iter();
    let mut seen = 0;
    for ids in want.ids("input_ids") {
        let logs: Vec<Vec<f64>> = logits.by_ref().take(ids.len()).map(|row| log_softmax(&row)).collect();
        // What stands in a prompt from some position on is an answer to what stands before it.
        let (before, after) = ids.split_at(2.min(ids.len()));
        // Some models read tokens that they cannot say.
        let after: Vec<u32> =
            after.iter().copied().take_while(|id| (*id as usize) < model.spec().unembedding.d_vocab_out).collect();
        for n in 2..=after.len() {
            let zero = Patching { kind: Kind::Zero, direction: Some(Direction::Noise), ..Patching::default() };
            let (rows, _) = run(&model, &pair(before, None, &after[..n]), &options("attn_out", &[], zero))?;
            let want: f64 = (0..n).map(|i| logs[1 + i][after[i] as usize]).sum();
            let far = (f64::from(rows[0].measured.clean) - want).abs();
            // And one rounding of the sum to f32.
            let allowed = metric * n as f64 + 1e-7 * want.abs();
            assert!(far <= allowed, "{name}, {n} tokens: {} is not {want}", rows[0].measured.clean);
            seen += 1;
        }
    }
    assert!(seen > 0, "{name}: nothing to see");
    Ok(())
}

fn patched(name: &str) -> Result<()> {
    if is_bidirectional(name) {
        return Ok(());
    }
    let model = load(name);
    let (rounding, pair) = (rounding(name, &model), the_pair());
    let replace = Patching { direction: Some(Direction::Denoise), ..Patching::default() };
    let zero = Patching { kind: Kind::Zero, direction: Some(Direction::Noise), ..Patching::default() };
    let sweeps: [(&str, Site, &[Over], Patching); 3] = [
        ("resid_pre", Site::ResidPre, &[Over::Layer, Over::Pos], replace.clone()),
        ("z", Site::Z, &[Over::Layer, Over::Head], replace),
        ("z", Site::Z, &[Over::Layer, Over::Head], zero),
    ];
    for (at, site, over, how) in sweeps {
        let replaces = how.kind == Kind::Replace;
        let (rows, _) = run(&model, &pair, &options(at, over, how))?;
        let positions = rows.iter().filter_map(|r| r.place.pos).max();
        assert!(
            positions.is_none_or(|last| last as usize == CLEAN.len() - 1),
            "{name}: the prompt's positions are swept"
        );
        let patched = || rows.iter().map(|r| f64::from(r.measured.patched.unwrap()));
        let spread = patched().fold(f64::MIN, f64::max) - patched().fold(f64::MAX, f64::min);
        let allowed = allowed(&rounding, spread);
        assert!(spread > 10.0 * allowed, "{name} {at}: nothing to see, {spread}");
        for row in &rows {
            let point = HookPoint::block(row.place.layer.unwrap() as usize, site);
            let (pos, head) = (row.place.pos, row.place.head);
            let chosen = move |p: usize, h: usize| {
                pos.is_none_or(|pos| pos as usize == p) && head.is_none_or(|head| head as usize == h)
            };
            let (base, donor) = if replaces { (&CORRUPT, Some(&CLEAN[..])) } else { (&CLEAN, None) };
            let want = one_by_one(&model, base, donor, point, chosen)?;
            let far = (f64::from(row.measured.patched.unwrap()) - want).abs();
            assert!(far <= allowed, "{name} {row:?}: not {want}, allowed {allowed:e}");
        }
        // Waves of one run each.
        let tight = PatchOptions { budget: Budget(1), ..options(at, over, Patching::default()) };
        let wide = PatchOptions { budget: Budget(1 << 30), ..tight.clone() };
        let ([tight, wide], n) = ([run(&model, &pair, &tight)?.0, run(&model, &pair, &wide)?.0], rows.len());
        assert_eq!((tight.len(), wide.len()), (n, n));
        for (tight, wide) in tight.iter().zip(&wide) {
            let far = f64::from((tight.measured.patched.unwrap() - wide.measured.patched.unwrap()).abs());
            assert!(far <= allowed, "{name}: {tight:?} {wide:?}");
        }
    }
    Ok(())
}

fn paths(name: &str) -> Result<()> {
    if is_bidirectional(name) {
        return Ok(());
    }
    let model = load(name);
    let rounding = rounding(name, &model);
    for to in ["logits", "1.*.v"] {
        let how = Patching { direction: Some(Direction::Denoise), verify: usize::MAX, ..Patching::default() };
        let options = options("z", &[Over::Layer, Over::Head], how);
        let reading = Reading { to: to.into(), ..Reading::default() };
        let mut rows = vec![];
        let summary = path(&model, &[the_pair()], &options, &reading, &mut (), &(), &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        assert_eq!(summary.verified, rows.len(), "{name} {to}");
        let values =
            || rows.iter().flat_map(|r| [r.measured.patched.unwrap(), r.measured.clean, r.measured.corrupt.unwrap()]);
        let spread = f64::from(values().fold(f32::MIN, f32::max) - values().fold(f32::MAX, f32::min));
        let far = summary.worst_difference * spread;
        assert!(far <= allowed(&rounding, spread), "{name} {to}: {far:e} of {spread}");
        assert!(rows.iter().any(|r| r.measured.patched != r.measured.corrupt), "{name} {to}: nothing to see");
    }
    Ok(())
}

fn estimates(name: &str) -> Result<()> {
    if is_bidirectional(name) {
        return Ok(());
    }
    let model = load(name);
    let pair = the_pair();
    let asked = Attribute { at: Some("resid_pre".into()), metric: Metric::LogProb, ..Attribute::default() };
    let mut rows: Vec<AttributionRow> = vec![];
    attribute(
        &model,
        std::slice::from_ref(&pair),
        &asked,
        (Align::default(), Budget(1 << 30), Shard::default()),
        &(),
        &mut |row| {
            rows.push(row);
            Ok(())
        },
    )?;
    assert_eq!(rows.len(), model.spec().n_layers() * CLEAN.len(), "{name}: the prompt's positions have rows");
    let mut known = 0;
    for layer in 0..model.spec().n_layers() {
        let estimate: f64 =
            rows.iter().filter(|r| r.place.layer == Some(layer as u32)).map(|r| f64::from(r.estimate)).sum();
        let size = rows.iter().map(|r| f64::from(r.strength)).fold(0.0, f64::max);
        // A prompt whose stream lies a little on the way.
        let point = HookPoint::block(layer, Site::ResidPre);
        let [base, donor] = [CORRUPT, CLEAN].map(|prompt| {
            let mut cache = Cache::of([point]);
            model.forward(&Batch::one(text(&prompt, &ANSWER[..2])), &mut [&mut cache]).unwrap();
            cache.get(&point.to_string()).unwrap().clone()
        });
        let away = (donor - base)?;
        let at = |step: f64| -> Result<f64> {
            let how = Patching { kind: Kind::Add(step), direction: Some(Direction::Denoise), ..Patching::default() };
            let mut options = PatchOptions { vector: Some(away.clone()), ..options("resid_pre", &[], how) };
            let positions = Some(vec![Interval::from(0..=CLEAN.len() as isize - 1)]);
            options.grid.only = Only { layers: Some(vec![(layer as isize).into()]), pos: positions, ..Only::default() };
            Ok(f64::from(run(&model, &pair, &options)?.0[0].measured.patched.unwrap()))
        };
        let central = |h: f64| Ok::<_, pellucid::Error>((at(h)? - at(-h)?) / (2.0 * h));
        let by_step =
            [0.01, 0.005, 0.0025, 0.00125, 0.000625].map(central).into_iter().collect::<Result<Vec<f64>>>()?;
        // Richardson's: what grows with the square of the step goes. Where two such agree best, neither the step's own error nor that of
        // rounding is large.
        let better: Vec<f64> = by_step.windows(2).map(|w| (4.0 * w[1] - w[0]) / 3.0).collect();
        let ends = better.windows(2).map(|w| (w[1], (w[1] - w[0]).abs()));
        let (slope, error) = ends.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        // Two roundings of the metric over the smallest step; what more there is makes the slopes of different steps differ. Steps that
        // differ from the line by a thousandth are still small.
        let metric = f64::from(rows[0].corrupt.abs());
        let allowed = 2.0 * unit(DType::F32) * metric / 0.000625 + 1e-3 * size + 2.0 * error;
        known += usize::from(slope.abs() > 2.0 * allowed);
        assert!((slope - estimate).abs() <= allowed, "{name} {layer}: {slope} {estimate}, allowed {allowed:e}");
    }
    assert!(known > 0, "{name}: nothing to see");
    Ok(())
}

/// The strokes that push each token of an answer where it is said.
fn strokes(name: &str) -> Result<()> {
    if is_bidirectional(name) {
        return Ok(());
    }
    let (model, want) = (load(name), Reference::open(&fixture(name).join("expected.safetensors")));
    let ids = want.ids("input_ids");
    let can_say = |id: &u32| (*id as usize) < model.spec().unembedding.d_vocab_out;
    let long = |ids: &[u32]| ids.len() > 3 && ids[2..4].iter().all(can_say);
    let Some((i, ids)) = ids.iter().enumerate().find(|(_, ids)| long(ids)) else { panic!("{name}: no text") };
    let first: usize = want.ids("input_ids")[..i].iter().map(Vec::len).sum();
    let unembedding = &model.spec().unembedding;
    // Before factor and cap.
    let raw = |x: f64| {
        let x = unembedding.cap.map_or(x, |cap| (x / cap).atanh() * cap);
        unembedding.scale.map_or(x, |scale| x / scale)
    };
    let logits = want.packed("logits").to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let logits: Vec<Vec<f64>> = logits[first..].iter().map(|row| row.iter().map(|x| raw(*x)).collect()).collect();
    let said = ids[2..].iter().take_while(|id| can_say(id)).count();
    let answer = &ids[2..2 + said];
    let positions = Some(vec![Interval::from(-(said as isize)..=-1)]);
    let (target, rest) = (Some(answer[0]), answer[1..].to_vec());
    let targets = vec![Target { target, foil: None }];
    let asked = Asked { targets, rest, positions, budget: Budget(1 << 30) };
    let mut rows = vec![];
    let texts = [prompt(&ids[..1 + said])];
    residual(&model, &texts, &|id| format!("#{id}"), &asked, &(), &mut |found, _| {
        rows.extend(found);
        Ok(())
    })?;
    let by_position: Vec<&[ResidualRow]> = rows.chunk_by(|a, b| a.pos == b.pos).collect();
    assert_eq!(by_position.len(), said, "{name}");
    for (i, own) in by_position.iter().enumerate() {
        let (logits, last) = (&logits[1 + i], own.last().unwrap());
        assert_eq!((last.pos as usize, last.target_id), (1 + i, answer[i]), "{name}");
        let mean = logits.iter().sum::<f64>() / logits.len() as f64;
        let (least, most) = logits.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
        let want = logits[answer[i] as usize] - mean;
        // What README promises of strokes.
        let allowed = 1e-4 * (most - least);
        assert!((last.push_cumulative - want).abs() < allowed, "{name} {i}: {} is not {want}", last.push_cumulative);
        assert!(own.iter().filter_map(|row| row.gap).all(|gap| gap < 1e-4), "{name} {i}");
    }
    Ok(())
}

for_every_model! {
    /// Invariant: Each token of a target of several is pushed where it is said: what sublayers push comes to its logit there less the mean
    /// logit, which are Hugging Face's.
    fn strokes_of_an_answer = strokes;
    /// Invariant: What an answer of several tokens measures is the sum of the log-probabilities that Hugging Face's logits give its tokens
    /// one after another.
    fn an_unpatched_run = unpatched;
    /// Invariant: A run that is patched, or has a head ablated, gives an answer of several tokens the log-probability that as many whole
    /// passes give, each of which reads one token more of it and is changed in the same way.
    fn patched_runs = patched;
    /// Invariant: as `patched_runs`.
    fn paths_to_an_answer = paths;
    /// Invariant: Estimates for an answer of several tokens are the slopes of its log-probability.
    fn slopes = estimates;
}

const FRAME: [&str; 4] = [
    "--clean",
    "When Mary and John went to the store, John gave a drink to",
    "--corrupt",
    "When Mary and John went to the store, Mary gave a drink to",
];

/// Invariant: An answer of several tokens is no error, but is measured by its log-probability, and the output says so.
#[test]
fn an_answer_of_several_tokens_is_measured_by_its_log_probability() -> Result<()> {
    let place = Place::new();
    let says = "the answer \"·Mary.\" is 2 tokens: `log_prob` is that of all of them";
    for (command, file) in [("patch", "patch"), ("path", "path"), ("attribute", "attribution")] {
        let done = place.ok([&[command][..], &FRAME, &["--answer", " Mary.", "--out", command]].concat());
        assert!(done.stderr.contains(says), "{command}: {}", done.stderr);
        let (first, svgs) = (done.stdout.lines().next().unwrap_or_default(), place.path(command));
        assert!(first.contains("log_prob"), "{command}: {first}");
        let figures = fs_err::read_dir(svgs).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let figures: Vec<String> = figures.filter(|name| name.ends_with(".svg")).collect();
        assert!(!figures.is_empty() && figures.iter().all(|name| name.contains("log_prob")), "{figures:?}");
        let table = place.path(&format!("{command}/{file}.parquet"));
        let from = match command {
            "patch" => {
                let (rows, from) = read_rows::<PatchRow>(&table)?;
                assert!(rows.iter().all(|r| r.measured.metric == "log_prob"));
                from
            }
            "path" => read_rows::<pellucid::analysis::PathRow>(&table)?.1,
            _ => read_rows::<AttributionRow>(&table)?.1,
        };
        // The command that the table names asks the same.
        assert!(from.command.windows(2).any(|w| w == ["--answer", " Mary."]), "{:?}", from.command);
        let again: Vec<&str> =
            from.command[1..].iter().map(String::as_str).chain(["--out", "again", "--force"]).collect();
        place.ok(again);
        assert!(place.read(&format!("again/{file}.parquet")) == fs_err::read(&table).unwrap(), "{command}");
    }
    let prompt = FRAME[1];
    let done = place.ok(["ablate", prompt, "--answer", " Mary.", "--metric", "log_prob", "--out", "ablate"]);
    assert!(done.stderr.contains(says), "{}", done.stderr);
    // As `next` has it, which computes it in another way.
    place.ok(["next", prompt, "--choices", " Mary.", "--out", "next"]);
    let (choices, _) = read_rows::<pellucid::analysis::next::ChoiceRow>(place.path("next/choices.parquet"))?;
    let (rows, _) = read_rows::<PatchRow>(place.path("ablate/patch.parquet"))?;
    // Two metrics of runs of the same model, in f32.
    assert!((choices[0].log_prob - f64::from(rows[0].measured.clean)).abs() < 1e-4, "{choices:?} {:?}", rows[0]);
    // From a file of pairs, beside answers of one token.
    let [_, clean, _, corrupt] = FRAME;
    let row = |answer: &str| format!("\"{clean}\",\"{corrupt}\",{answer}, John\n");
    place.write("pairs.csv", format!("clean,corrupt,answer,foil\n{}{}", row(" Mary."), row(" Mary")));
    let done = place.ok(["patch", "--pairs", "pairs.csv", "--at", "resid_pre", "--out", "pairs"]);
    assert!(done.stderr.contains("1 of 2 answers are several tokens, such as \"·Mary.\" with 2"), "{}", done.stderr);
    assert!(done.stderr.contains("foils are not read"), "{}", done.stderr);
    let (pairs, _) = read_rows::<PatchRow>(place.path("pairs/patch.parquet"))?;
    let (alone, _) = read_rows::<PatchRow>(place.path("patch/patch.parquet"))?;
    let of = |rows: &[PatchRow], pair: u32| {
        rows.iter().filter(|r| r.pair == pair).map(|r| r.measured.clean).collect::<Vec<_>>()
    };
    assert_eq!(of(&pairs, 0), of(&alone, 0));
    assert!(of(&pairs, 0)[0] < of(&pairs, 1)[0], "two tokens are less probable than the first of them");
    Ok(())
}

/// Invariant: as `an_answer_of_several_tokens_is_measured_by_its_log_probability`.
#[test]
fn what_has_no_meaning_for_several_tokens_is_refused() {
    let place = Place::new();
    let ask = |more: &[&'static str], says: &str| {
        let command = [&["patch"][..], &FRAME, &["--answer", " Mary.", "--out", "run"], more].concat();
        place.refused(command, 2, says);
        assert!(!place.path("run").exists());
    };
    for metric in ["logit", "rank", "logit_diff,prob"] {
        let name = metric.split(',').next().unwrap();
        ask(&["--metric", metric], &format!("`{name}` has no meaning for several"));
    }
    ask(&["--measure-at", "3"], "which follow the prompt's last position and not position 3");
    ask(&["--answer", " John"], "one of several answers, \"·Mary.\", is 2 tokens");
    ask(&["--foil", " John."], "\" John.\" is 2 tokens");
    let (bidirectional, gpt2) = (model_arg("hooked_bidirectional"), model_arg("gpt2"));
    let ids = ["patch", "--clean", "#3,14,15", "--corrupt", "#3,27,15", "--answer", "#7,11"];
    place.refused([&ids[..], &["-m", &bidirectional]].concat(), 2, "this model would see each before it says it");
    let long = format!("#{}", vec!["7"; 200].join(","));
    let ids = ["patch", "-m", &gpt2, "--clean", "#3,14,15", "--corrupt", "#3,27,15", "--answer", &long];
    place.refused(ids, 2, "with its answer is 202 tokens, and the model sees");
}

/// Invariant: as `an_answer_of_several_tokens_is_measured_by_its_log_probability`.
#[test]
fn a_target_of_several_tokens_is_explained_where_each_is_said() -> Result<()> {
    let place = Place::new();
    let text = FRAME[1];
    let done = place.ok(["residual", text, "--target", " Mary.", "--out", "two"]);
    assert!(done.stderr.contains("note: the target \"·Mary.\" is 2 tokens: each is explained"), "{}", done.stderr);
    let (rows, _) = read_rows::<ResidualRow>(place.path("two/residual.parquet"))?;
    place.ok(["residual", text, "--target", " Mary", "--out", "first"]);
    let (first, _) = read_rows::<ResidualRow>(place.path("first/residual.parquet"))?;
    place.ok(["residual", &format!("{text} Mary"), "--target", ".", "--out", "second"]);
    let (second, _) = read_rows::<ResidualRow>(place.path("second/residual.parquet"))?;
    // Each as if it were asked for alone.
    assert_eq!(rows.len(), first.len() + second.len());
    for (row, alone) in rows.iter().zip(first.iter().chain(&second)) {
        let what = |row: &ResidualRow| (row.pos, row.input_token.clone(), row.step, row.target.clone(), row.target_id);
        assert_eq!(what(row), what(alone));
        // The same sums of one run and another, in f32.
        assert!((row.push - alone.push).abs() < 1e-4, "{row:?} {alone:?}");
    }
    let refused = |more: &[&str], says: &str| {
        place.refused([&["residual", text, "--target", " Mary.", "--out", "run"][..], more].concat(), 2, says);
        assert!(!place.path("run").exists());
    };
    refused(&["--foil", " John"], "the target is 2 tokens, and a foil is compared with one");
    refused(&["--pos", "all"], "which are explained where each is said and not at \"all\"");
    let bidirectional = model_arg("hooked_bidirectional");
    let ids = ["residual", "--ids", "3,14", "--target", "#7,11", "-m", &bidirectional];
    place.refused(ids, 2, "this model would see each before it says it");
    Ok(())
}
