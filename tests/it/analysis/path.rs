//! Path patching: every path is what forward passes give in which everything but the sender is frozen.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;
use pellucid::Result;
use pellucid::analysis::PathRow;
use pellucid::analysis::patch::{Direction, Grid, Kind, Metric, Only, Over, PatchOptions, Patching, Summary};
use pellucid::analysis::path::rows::Receiver;
use pellucid::analysis::path::{Reading, Through, path};
use pellucid::hook::{Cache, Edit, HookPoint, Site};
use pellucid::model::{Batch, Model, Run};
use pellucid::ops;
use pellucid::range::{among, numbers};
use pellucid::sweep::Budget;
use pellucid::text::{Bos, Pair, Prompt, PromptEntry, build_prompts};

use crate::bound::{Drifts, PATCHES, drift};
use crate::help::fixtures::every_model;
use crate::sweep::patch::goes_on;

const CLEAN: [u32; 7] = [3, 14, 15, 92, 65, 35, 89];
const CORRUPT: [u32; 7] = [3, 27, 15, 18, 65, 28, 18];

fn model(name: &str) -> Model {
    Model::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

/// What rounding makes of the runs that are patched here.
fn rounding(name: &str) -> Arc<Drifts> {
    drift(name, &model(name), &Batch::of([CLEAN.to_vec(), CORRUPT.to_vec()]))
}

/// From the least of these to the largest.
fn spread(values: impl Iterator<Item = f32> + Clone) -> f64 {
    f64::from(values.clone().fold(f32::MIN, f32::max) - values.fold(f32::MAX, f32::min))
}

fn prompt(ids: &[u32]) -> Prompt {
    build_prompts(&[PromptEntry::ids(ids)], None, 128, None, Bos::default()).unwrap().remove(0)
}

fn pair(index: u32, clean: &[u32], corrupt: Option<&[u32]>) -> Pair {
    Pair::new(index, index.to_string(), prompt(clean), corrupt.map(prompt), vec![7], vec![42]).unwrap()
}

/// Which paths, and what to do on them.
#[derive(Clone)]
struct Asked {
    patch: PatchOptions,
    reading: Reading,
}

fn options(at: &str, over: &[Over], to: &str) -> Asked {
    let grid = Grid { at: at.into(), over: over.to_vec(), ..Grid::default() };
    let how = Patching { direction: Some(Direction::Denoise), ..Patching::default() };
    let patch = PatchOptions { grid, how, budget: Budget(1 << 24), ..PatchOptions::default() };
    Asked { patch, reading: Reading { to: to.into(), ..Reading::default() } }
}

fn run(model: &Model, pairs: &[Pair], options: &Asked) -> Result<(Vec<PathRow>, Summary)> {
    let mut rows = vec![];
    let summary = path(model, pairs, &options.patch, &options.reading, &mut (), &(), &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok((rows, summary))
}

fn metric(logits: &[f32]) -> f32 {
    logits[7] - logits[42]
}

/// Logits of every position, and values.
type Seen = (Vec<Vec<f32>>, HashMap<HookPoint, Tensor>);

/// Logits of every position of one plain forward pass in which `edit` says what each value becomes; and the values at `seen` as
/// they were before.
fn plain(
    model: &Model,
    ids: &[u32],
    seen: &[HookPoint],
    edit: impl Fn(HookPoint, &Tensor) -> Result<Tensor> + 'static,
) -> Result<Seen> {
    let mut cache = Cache::of(seen.iter().copied());
    let writable: Vec<String> =
        HookPoint::all(model.spec()).iter().filter(|p| !p.site.is_index()).map(HookPoint::to_string).collect();
    let mut edit = Edit::with(model.spec(), &writable.join(","), edit)?;
    let run = Run { kernels: Some(ops::Kernels::Plain), ..Run::default() };
    let logits = model.run(&Batch::one(ids), &run, &mut [&mut cache, &mut edit])?.logits()?.to_vec2()?;
    Ok((logits, cache.iter().map(|(p, x)| (p, x[0].clone())).collect()))
}

/// `base` with the numbers of `other` at some positions, a head and a neuron, or at all.
fn mixed(
    base: &Tensor,
    other: &Tensor,
    positions: Option<&[u32]>,
    head: Option<u32>,
    neuron: Option<u32>,
) -> Result<Tensor> {
    let dims = base.dims().to_vec();
    let (mut x, other) = (base.flatten_all()?.to_vec1::<f32>()?, other.flatten_all()?.to_vec1::<f32>()?);
    let (inner, last) = (dims[1..].iter().product::<usize>(), *dims.last().unwrap());
    for i in 0..x.len() {
        let is = |wanted: Option<u32>, at: usize| wanted.is_none_or(|w| w as usize == at);
        let at = positions.is_none_or(|p| p.contains(&((i / inner) as u32)));
        if at && is(head, i % inner / last) && is(neuron, i % last) {
            x[i] = other[i];
        }
    }
    Ok(Tensor::from_vec(x, dims, base.device())?)
}

fn sender_point(row: &PathRow) -> HookPoint {
    let sites = [Site::Embed, Site::PosEmbed, Site::Z, Site::AttnOut, Site::MlpPost, Site::MlpOut];
    let site = *sites.iter().find(|site| site.short() == row.from.sender).unwrap();
    HookPoint { layer: row.from.sender_layer.map(|l| l as usize), expert: None, site }
}

/// The papers' definition, for one model, base run and other run.
struct Reference<'a> {
    model: &'a Model,
    ids: [u32; 7],
    base: HashMap<HookPoint, Tensor>,
    other: HashMap<HookPoint, Tensor>,
    through: Through,
    /// What was frozen and seen for a sender, which does not depend on the receiver.
    frozen: HashMap<String, Seen>,
}

impl<'a> Reference<'a> {
    fn new(model: &'a Model, ids: [u32; 7], other: [u32; 7], through: Through) -> Result<Self> {
        let points: Vec<HookPoint> =
            HookPoint::all(model.spec()).into_iter().filter(|p| !p.site.per_sequence()).collect();
        let record = |ids: &[u32]| Ok::<_, pellucid::Error>(plain(model, ids, &points, |_, x| Ok(x.clone()))?.1);
        Ok(Self { model, ids, base: record(&ids)?, other: record(&other)?, through, frozen: HashMap::new() })
    }

    /// The metric of the run in which `row`'s receiver reads what `row`'s sender writes, where that is changed at its position, or
    /// at `positions`.
    fn value(&mut self, row: &PathRow, positions: Option<&[u32]>) -> Result<f32> {
        let spec = self.model.spec();
        let sender = sender_point(row);
        let own = row.from.pos.map(|p| [p]);
        let (positions, head, neuron) =
            (own.as_ref().map_or(positions, |p| Some(p)), row.from.sender_head, row.from.sender_neuron);
        let key = format!("{sender} {positions:?} {head:?} {neuron:?}");
        if !self.frozen.contains_key(&key) {
            let changed = mixed(&self.base[&sender], &self.other[&sender], positions, head, neuron)?;
            let (base, through) = (self.base.clone(), self.through);
            let receivers: Vec<HookPoint> = (HookPoint::all(spec).into_iter())
                .filter(|p| {
                    matches!(p.site, Site::Q | Site::K | Site::V | Site::QNormed | Site::KNormed | Site::MlpOut)
                })
                .collect();
            let found = plain(self.model, &self.ids, &receivers, move |at, x| {
                let is_write = matches!(at.site, Site::Embed | Site::PosEmbed | Site::AttnOut | Site::MlpOut);
                let of_sender = at.layer == sender.layer
                    && matches!((sender.site, at.site), (Site::Z, Site::AttnOut) | (Site::MlpPost, Site::MlpOut));
                let recomputed = through == Through::Mlps && at.site == Site::MlpOut;
                Ok(match at {
                    at if at == sender => changed.clone(),
                    _ if is_write && !of_sender && !recomputed => base[&at].clone(),
                    _ => x.clone(),
                })
            })?;
            self.frozen.insert(key.clone(), found);
        }
        let (logits, seen) = &self.frozen[&key];
        let layer = row.to.receiver_layer.map(|l| l as usize);
        // A head's own query or key is the one after the norm, where there is one.
        let site = match row.to.receiver.as_str() {
            "q" if Site::QNormed.exists(spec, layer) => Site::QNormed,
            "q" => Site::Q,
            "k" if Site::KNormed.exists(spec, layer) => Site::KNormed,
            "k" => Site::K,
            "v" => Site::V,
            "mlp" => Site::MlpOut,
            _ => return Ok(metric(&logits[6])),
        };
        let point = HookPoint::block(row.to.receiver_layer.unwrap() as usize, site);
        let head = row.to.receiver_head.or(row.to.receiver_kv_head);
        let given = mixed(&self.base[&point], &seen[&point], None, head, None)?;
        let (logits, _) =
            plain(self.model, &self.ids, &[], move |at, x| Ok(if at == point { given.clone() } else { x.clone() }))?;
        Ok(metric(&logits[6]))
    }
}

/// Senders of every kind, and what they go over.
fn senders(model: &Model) -> Vec<Grid> {
    use Over::{Head, Layer, Neuron, Pos};
    let grid = |at: &str, over: &[Over]| Grid { at: at.into(), over: over.to_vec(), ..Grid::default() };
    let at = |pos: Option<Vec<isize>>| Only { pos: pos.map(numbers), ..Only::default() };
    let mut grids = vec![
        grid("z", &[Layer, Head]),
        Grid { only: at(Some(vec![3, -1])), ..grid("z", &[Layer, Head, Pos]) },
        grid("attn_out", &[Layer]),
        Grid { only: at(Some(vec![1, 5, -1])), ..grid("attn_out", &[Layer]) },
        grid("hook_embed", &[]),
        Grid { only: at(Some(vec![-1, 3])), ..grid("hook_embed", &[Pos]) },
    ];
    let has = |site: Site| (0..model.spec().n_layers()).any(|l| site.exists(model.spec(), Some(l)));
    if has(Site::MlpOut) {
        grids.push(grid("mlp_out", &[Layer]));
    }
    if has(Site::MlpPost) {
        grids.push(grid("mlp.post", &[Layer]));
        grids.push(Grid {
            only: Only { neurons: Some(vec![0.into(), 5.into()]), ..Only::default() },
            ..grid("mlp.post", &[Layer, Neuron])
        });
    }
    grids
}

/// Invariant: Path patching equals its definition: a run with everything but the sender frozen, then a run in which the receiver
/// reads the result; in every family, for every sender and receiver, with MLPs frozen or not.
#[test]
fn a_path_is_the_run_in_which_everything_else_is_frozen() -> Result<()> {
    let (mut paths, mut receivers) = (0, std::collections::BTreeSet::new());
    for name in every_model() {
        let (model, rounding) = (model(name), rounding(name));
        let mlps = model.spec().blocks.iter().any(|b| b.mlp.is_some());
        for (through, direction) in [(Through::Nothing, Direction::Denoise), (Through::Mlps, Direction::Noise)] {
            let (base, other) = if direction == Direction::Noise { (CLEAN, CORRUPT) } else { (CORRUPT, CLEAN) };
            let mut reference = Reference::new(&model, base, other, through)?;
            let mut rows = vec![];
            for (i, grid) in senders(&model).into_iter().enumerate() {
                let to = if mlps { "q,k,v,mlp,logits" } else { "q,k,v,logits" };
                let mut options = options("", &[], to);
                options.reading.through = through;
                (options.patch.grid, options.patch.how.direction) = (grid.clone(), Some(direction));
                // Many waves, or one.
                options.patch.budget = Budget(if i % 2 == 0 { 60_000 } else { 1 << 24 });
                options.patch.how.verify = 6;
                let embeds = grid.at == "hook_embed";
                if !embeds {
                    // What reads first has no other sender.
                    options.reading.to = to
                        .replace("q,k,v", "1-*.q,1-*.k,1-*.v")
                        .replace("1-*", &format!("1-{}", model.spec().n_layers() - 1));
                }
                if grid.at.starts_with("mlp") && mlps {
                    let last = model.spec().n_layers() - 1;
                    options.reading.to = options.reading.to.replace("mlp,", &format!("1-{last}.mlp,"));
                }
                let (found, summary) = run(&model, &[pair(0, &CLEAN, Some(&CORRUPT))], &options)?;
                assert_eq!(summary.patches, found.len(), "{name}");
                let ends = [found[0].measured.clean, found[0].measured.corrupt.unwrap()];
                let spread = spread(found.iter().map(|r| r.measured.patched.unwrap()).chain(ends));
                // Of one sweep's own spread, which can be small; below it is that of all of the model's.
                let allowed = rounding.patched(spread) / spread;
                assert!(summary.verified > 0 && summary.worst_difference <= allowed, "{name} {grid:?} {summary:?}");
                let positions: Option<Vec<u32>> =
                    grid.only.pos.map(|p| among(&p, 7).unwrap().into_iter().map(|p| p as u32).collect());
                rows.extend(found.into_iter().map(|row| (row, positions.clone())));
            }
            let spread = spread(rows.iter().map(|r| r.0.measured.patched.unwrap()));
            assert!(spread > 20.0 * rounding.metric(), "{name}: paths that change nothing show nothing ({spread})");
            for (row, positions) in &rows {
                // Where there are many heads that read, some of them.
                if row.to.receiver_layer.is_some()
                    && (row.to.receiver_kv_head.unwrap_or(0) + row.from.sender_head.unwrap_or(0)) % 2 == 1
                {
                    continue;
                }
                let want = reference.value(row, positions.as_deref())?;
                let far = f64::from((row.measured.patched.unwrap() - want).abs());
                assert!(far <= rounding.patched(spread), "{name} {through:?} {row:?}: {want}, {far:e} of {spread:e}");
                paths += 1;
                receivers.insert((row.from.sender.clone(), row.to.receiver.clone()));
            }
        }
    }
    assert!(paths > 5000 && receivers.len() == 25, "{paths} {receivers:?}");
    Ok(())
}

/// Where logits are linear in the stream, which is the sum of its writes.
///
/// Invariant: Without a final norm, direct effects on the logits add up to the difference between the prompts.
#[test]
fn direct_effects_on_the_logits_add_up_without_a_final_norm() -> Result<()> {
    for name in ["hooked_attn_only", "hooked_bidirectional"] {
        let (model, rounding) = (model(name), rounding(name).metric());
        assert!(model.spec().final_norm.is_none() && model.spec().unembedding.cap.is_none());
        for direction in [Direction::Denoise, Direction::Noise] {
            // With what rounding may make of it: each term is a difference of two metrics.
            let sum = |at: &str, over: &[Over]| -> Result<(f32, f32, f32)> {
                let mut options = options(at, over, "logits");
                options.patch.how.direction = Some(direction);
                let (rows, _) = run(&model, &[pair(0, &CLEAN, Some(&CORRUPT))], &options)?;
                let ends = [rows[0].measured.corrupt.unwrap(), rows[0].measured.clean];
                let [from, to] = if direction == Direction::Denoise { ends } else { [ends[1], ends[0]] };
                let changed = rows.iter().filter(|r| r.measured.patched.unwrap() != from).count();
                Ok((
                    rows.iter().map(|r| r.measured.patched.unwrap() - from).sum(),
                    to - from,
                    rounding as f32 * (changed as f32).sqrt(),
                ))
            };
            // Errors of several terms are of either sign, so that they grow with the root of their number.
            let same = |(a, _, of_a): (f32, f32, f32), (b, _, of_b): (f32, f32, f32)| (a - b).abs() <= of_a + of_b;
            let seen = |(a, _, of_a): (f32, f32, f32)| a.abs() > 10.0 * of_a;
            let embeds = sum("hook_embed", &[Over::Pos])?;
            let layers = sum("attn_out", &[Over::Layer])?;
            let heads = sum("z", &[Over::Layer, Over::Head, Over::Pos])?;
            let mut all = (embeds.0 + layers.0, embeds.1, embeds.2 + layers.2);
            if model.spec().blocks[0].mlp.is_some() {
                let mlps = sum("mlp_out", &[Over::Layer])?;
                let neurons = sum("mlp.post", &[Over::Layer, Over::Neuron])?;
                assert!(same(mlps, neurons) && seen(mlps), "{name} {mlps:?} {neurons:?}");
                all = (all.0 + mlps.0, all.1, all.2 + mlps.2);
            }
            assert!(same(layers, heads) && seen(layers), "{name} {layers:?} {heads:?}");
            let gap = (all.1, all.1, rounding as f32);
            assert!(same(all, gap) && seen(gap), "{name} {direction:?}: {all:?}");
        }
    }
    Ok(())
}

/// With one block and no norm at the end, a head's direct effect is all that it does: what `patch` measures.
#[test]
fn a_head_of_the_last_block_does_directly_all_that_it_does() -> Result<()> {
    use pellucid::analysis::patch::patch;
    for name in ["gpt2", "gemma2", "hooked_attn_only", "gptj"] {
        let (model, rounding) = (model(name), rounding(name));
        let last = model.spec().n_layers() - 1;
        let mut options = options("z", &[Over::Layer, Over::Head], "logits");
        options.reading.through = Through::Mlps;
        options.patch.grid.only.layers = Some(numbers([last as isize]));
        let (rows, _) = run(&model, &[pair(0, &CLEAN, Some(&CORRUPT))], &options)?;
        let mut whole = vec![];
        patch(&model, &[pair(0, &CLEAN, Some(&CORRUPT))], &options.patch, &mut (), &(), &mut |row| {
            whole.push(row);
            Ok(())
        })?;
        assert_eq!(rows.len(), whole.len());
        for (row, whole) in rows.iter().zip(&whole) {
            assert_eq!(row.from.sender_head, whole.place.head);
            let far = f64::from((row.measured.patched.unwrap() - whole.measured.patched.unwrap()).abs());
            assert!(far <= rounding.metric(), "{name} {row:?} {whole:?}");
            assert_ne!(row.measured.patched.unwrap(), row.measured.corrupt.unwrap(), "{name}");
        }
    }
    Ok(())
}

/// Invariant: as `what_has_no_path_is_left_out_or_refused`.
#[test]
fn a_path_on_which_nothing_changes_changes_nothing() -> Result<()> {
    let model = model("llama");
    // The prompts are the same up to position 0, and at position 2 what is embedded is.
    let mut options = options("hook_embed", &[Over::Pos], "q,k,v,mlp,logits");
    let (rows, summary) = run(&model, &[pair(0, &CLEAN, Some(&CORRUPT))], &options)?;
    let still: Vec<&PathRow> = rows.iter().filter(|r| [0, 2, 4].contains(&r.from.pos.unwrap())).collect();
    assert!(!still.is_empty() && still.iter().all(|r| r.measured.patched == r.measured.corrupt));
    // What is written at a position that is not measured reaches the logits by no direct path.
    let apart = rows.iter().filter(|r| r.to.receiver == "logits" && r.from.pos != Some(6));
    assert!(apart.clone().count() == 6 && apart.clone().all(|r| r.measured.patched == r.measured.corrupt));
    assert!(rows.iter().any(|r| r.measured.patched != r.measured.corrupt));
    let unmoved = rows.iter().filter(|r| r.measured.patched == r.measured.corrupt).count();
    assert_eq!(summary.without_effect, unmoved);
    options.patch.how.kind = Kind::parse("scale=1")?;
    let (rows, summary) = run(&model, &[pair(0, &CLEAN, Some(&CORRUPT))], &options)?;
    assert_eq!(summary.without_effect, rows.len());
    Ok(())
}

/// Kinds, metrics and lengths, each held to forward passes by the program's own check, which the test above holds to the papers.
///
/// Invariant: as `a_path_is_the_run_in_which_everything_else_is_frozen`.
#[test]
fn every_kind_and_metric_is_what_whole_forward_passes_give() -> Result<()> {
    let dataset: Vec<Prompt> =
        [[5, 6, 7, 50, 61, 72, 83, 9], [9, 8, 7, 6, 5, 4, 3, 2], [40, 41, 42, 43, 44, 45, 46, 47]]
            .iter()
            .map(|ids| prompt(ids))
            .collect();
    let pairs = [pair(0, &CLEAN, Some(&CORRUPT)), pair(1, &CLEAN[..5], Some(&CORRUPT[..5]))];
    let all = ["logit_diff", "logit", "prob", "log_prob", "kl", "loss"];
    for (name, through) in
        [("gemma2", Through::Mlps), ("bloom", Through::Nothing), ("hooked_shortformer", Through::Mlps)]
    {
        let model = model(name);
        let mlps = model.spec().blocks[0].mlp.is_some();
        for kind in ["replace", "zero", "mean", "mean-by-position", "resample", "noise=0.5", "scale=-1"] {
            for (at, over, to) in [
                ("z", &[Over::Layer, Over::Head][..], "1.q,1.k,logits"),
                ("hook_embed", &[Over::Pos], "0.v,logits"),
                ("mlp_out", &[Over::Layer], "1.v,1.mlp,logits"),
                // All layers at once.
                ("z", &[Over::Head], "1.q,logits"),
                ("mlp.post", &[], "1.q,1.mlp,logits"),
            ] {
                if at.starts_with("mlp") && !mlps {
                    continue;
                }
                let mut options = options(at, over, to);
                options.reading.through = through;
                if at == "mlp.post" {
                    options.patch.grid.only.neurons = Some(numbers([1, 2]));
                }
                options.patch.how.kind = Kind::parse(kind)?;
                options.patch.dataset = dataset.clone();
                options.patch.how.metric = all.iter().map(|m| Metric::parse(m).unwrap()).collect();
                (options.patch.how.measure_at, options.patch.how.verify) = (3, 100);
                options.patch.how.direction = Some(Direction::Noise);
                let (rows, summary) = run(&model, &pairs, &options)?;
                assert!(summary.verified > 2, "{name} {kind} {at}: {summary:?}");
                assert!(summary.worst_difference <= PATCHES, "{name} {kind} {at} {to}: {summary:?}");
                assert!(
                    rows.iter().any(|r| r.measured.patched.unwrap() != r.measured.clean && r.pair == 1),
                    "{name} {kind} {at}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn a_sweep_that_was_stopped_goes_on_to_the_same_rows_and_memory_changes_no_number() -> Result<()> {
    let model = model("llama");
    let pairs: Vec<Pair> = (0..3).map(|i| pair(i, &CLEAN, Some(&CORRUPT))).collect();
    let mut small = options("z", &[Over::Layer, Over::Head, Over::Pos], "1.q,1.k,1.mlp,logits");
    small.patch.budget = Budget(60_000);
    let whole = goes_on(7, |keep, watch, emit| path(&model, &pairs, &small.patch, &small.reading, keep, watch, emit))?;
    small.patch.budget = Budget(1 << 28);
    let (large, _) = run(&model, &pairs, &small)?;
    let far = large
        .iter()
        .zip(&whole)
        .map(|(a, b)| (a.measured.patched.unwrap() - b.measured.patched.unwrap()).abs())
        .fold(0f32, f32::max);
    // Other numbers of rows may take other kernels, which make the same sums in another order.
    assert!(f64::from(far) <= rounding("llama").metric() && large.len() == whole.len(), "{far}");
    Ok(())
}

/// Wang et al. patch the queries of several name movers at once.
///
/// Invariant: as `a_path_is_the_run_in_which_everything_else_is_frozen`.
#[test]
fn receivers_read_together() -> Result<()> {
    for name in ["gpt2", "llama", "gptj"] {
        let (model, rounding) = (model(name), rounding(name));
        for through in [Through::Nothing, Through::Mlps] {
            let mut options = options("z", &[Over::Layer, Over::Head], "1.0.q,1.2.q,1.1.v,1.mlp");
            (options.reading.together, options.reading.through) = (true, through);
            options.patch.how.verify = 100;
            let (rows, summary) = run(&model, &[pair(0, &CLEAN, Some(&CORRUPT))], &options)?;
            // Heads of block 1 have written before its MLP reads, where that comes after.
            let sequential = name != "gptj";
            assert_eq!(rows.len(), if sequential { 8 } else { 4 }, "{name}");
            assert!(rows.iter().all(|r| r.to.receiver == "1.0.q+1.2.q+1.1.v+1.mlp" && r.to.receiver_layer.is_none()));
            assert!(summary.verified == rows.len() && summary.worst_difference <= PATCHES, "{name} {summary:?}");
            let (base, other) = (CORRUPT, CLEAN);
            let mut reference = Reference::new(&model, base, other, through)?;
            for row in &rows {
                // What each reads is what it reads alone.
                let alone = PathRow { to: Receiver { receiver: "logits".into(), ..row.to.clone() }, ..row.clone() };
                reference.value(&alone, None)?;
                let key = format!("{} None {:?} None", sender_point(row), row.from.sender_head);
                let seen = reference.frozen[&key].1.clone();
                let (at, of_base) = (row.from.sender_layer.unwrap(), reference.base.clone());
                let (logits, _) = plain(&model, &base, &[], move |at_, x| {
                    let heads: &[u32] = match at_ {
                        p if p == HookPoint::block(1, Site::Q) && at == 0 => &[0, 2],
                        p if p == HookPoint::block(1, Site::V) && at == 0 => &[1],
                        p if p == HookPoint::block(1, Site::MlpOut) => return Ok(seen[&p].clone()),
                        _ => return Ok(x.clone()),
                    };
                    heads.iter().try_fold(of_base[&at_].clone(), |x, h| mixed(&x, &seen[&at_], None, Some(*h), None))
                })?;
                let far = f64::from((row.measured.patched.unwrap() - metric(&logits[6])).abs());
                assert!(far <= rounding.metric(), "{name} {row:?}");
            }
        }
    }
    Ok(())
}

/// Invariant: A path leads only to receivers that read after the sender writes; a path on which nothing changes has no effect.
#[test]
fn what_has_no_path_is_left_out_or_refused() -> Result<()> {
    let pairs = [pair(0, &CLEAN, Some(&CORRUPT))];
    let gpt2 = model("gpt2");
    let heads = [Over::Layer, Over::Head];
    let reached = |model: &Model, at: &str, over: &[Over], to: &str| -> Result<Vec<String>> {
        let (rows, _) = run(model, &pairs, &options(at, over, to))?;
        let name =
            |r: &PathRow| format!("{:?}-{:?}", r.from.sender_layer.unwrap_or(9), r.to.receiver_layer.unwrap_or(9));
        let mut names: Vec<String> = rows.iter().map(name).collect();
        names.dedup();
        Ok(names)
    };
    assert_eq!(reached(&gpt2, "attn_out", &[Over::Layer], "q")?, ["0-1"]);
    // Attention writes before the MLP of its own block reads, unless they read together.
    assert_eq!(reached(&gpt2, "attn_out", &[Over::Layer], "mlp")?, ["0-0", "0-1", "1-1"]);
    assert_eq!(reached(&model("gptj"), "attn_out", &[Over::Layer], "mlp")?, ["0-1"]);
    assert_eq!(reached(&model("gpt_neox"), "attn_out", &[Over::Layer], "mlp")?, ["0-1"]);
    assert_eq!(reached(&gpt2, "mlp_out", &[Over::Layer], "mlp,logits")?, ["0-1", "0-9", "1-9"]);
    assert_eq!(reached(&gpt2, "hook_embed", &[], "k,logits")?, ["9-0", "9-1", "9-9"]);

    let refused = |options: &Asked, words: &str| {
        let e = run(&gpt2, &pairs, options).unwrap_err();
        assert!(e.message().contains(words) && e.hint_text().is_some(), "{e:?}");
    };
    refused(&options("z", &heads, "0.1.q"), "no path leads to `0.1.q`");
    refused(&options("z", &heads, "1.1.q,0.mlp,0.0.v"), "no path leads to `0.0.v`");
    refused(&options("mlp_out", &[Over::Layer], "0.mlp"), "no path leads to `0.mlp`");
    let mut late = options("z", &heads, "1.1.q,1.0.v");
    late.patch.grid.only.layers = Some(numbers([0, 1]));
    refused(&late, "no path leads from `z` of layer 1");
    refused(&options("resid_pre", &[Over::Layer], "logits"), "not a part of what is written");
    refused(&options("pattern", &heads, "logits"), "not a part of what is written");
    refused(&options("z", &heads, "lgits"), "no receiver `lgits`");
    refused(&options("z", &heads, "1.0.mlp"), "`mlp` has no head");
    refused(&options("z", &heads, "1.logits"), "`logits` has no layer");
    refused(&options("z", &heads, ","), "no receiver was named");
    let mut together = options("z", &heads, "1.q,logits");
    together.reading.together = true;
    refused(&together, "what the logits read is the end");
    let shortformer = model("hooked_shortformer");
    let beside = run(&shortformer, &pairs, &options("hook_pos_embed", &[], "logits")).unwrap_err();
    assert!(beside.message().contains("not a part of what is written"), "{beside:?}");
    assert!(run(&shortformer, &pairs, &options("z", &heads, "mlp")).unwrap_err().message().contains("has an MLP"));
    for (to, words) in
        [("5.0.q", "5 is not one"), ("1.4.q", "4 is not one"), ("1.x.q", "is not a number"), ("1-0.q", "ends before")]
    {
        let e = run(&gpt2, &pairs, &options("z", &heads, to)).unwrap_err();
        assert!(e.message().contains(words), "{e:?}");
    }
    Ok(())
}
