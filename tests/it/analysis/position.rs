//! Positions: scores at every distance against what the model itself scores there, against published formulas and against sums made by hand;
//! learned tables against numpy; what is left when positions are made equal.

use std::f64::consts::TAU;

use candle_core::{DType, Tensor};
use pellucid::Result;
use pellucid::analysis::position::boards::Unplaced;
use pellucid::analysis::position::decay::{Asked, decay};
use pellucid::analysis::position::kinds;
use pellucid::analysis::position::learned::Learned;
use pellucid::analysis::position::{PositionBoardRow, PositionDecayRow, PositionWaveRow};
use pellucid::arch::Spec;
use pellucid::arch::spec::{AddedTo, Attention, Gain, Mask, NormKind, Pairing, Position, RopeScaling, Rotary};
use pellucid::hook::{Cache, Edit, HookPoint, Site};
use pellucid::model::{Batch, Model};
use pellucid::ops::norm::NormWeights;
use pellucid::ops::rounding::unit;
use pellucid::sweep::Budget;
use pellucid::table::read_rows;
use pellucid::text::{Bos, Prompt, PromptEntry, build_prompts};

use crate::bin::{Place, fixture};
use crate::bound::{drift, gamma};
use crate::help::fixtures::load;
use crate::model::law::A;
use crate::reference::{max_diff, same_bits};

fn prompts(model: &Model, ids: &[u32]) -> Vec<Prompt> {
    build_prompts(&[PromptEntry::ids(ids)], None, model.spec().d_vocab, None, Bos::Never).unwrap()
}

/// Of every head and query.
fn rows(model: &Model, ids: &[u32], farthest: usize, memory: usize) -> Result<Vec<PositionDecayRow>> {
    let blocks = &model.spec().blocks;
    let heads = blocks.iter().enumerate().flat_map(|(l, b)| (0..b.attention.inner.n_heads).map(move |h| (l, h)));
    let queries = vec![pellucid::range::Interval::ALL];
    let asked = Asked { heads: heads.collect(), queries, farthest, budget: Budget(memory) };
    let mut rows = vec![];
    decay(model, &prompts(model, ids), &asked, &(), &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

/// What hooks see of one prompt, in f64.
struct Seen(Cache);

impl Seen {
    fn of(model: &Model, ids: &[u32]) -> Result<Self> {
        let mut cache = Cache::new(model.spec(), "*")?;
        model.forward(&Batch::one(ids), &mut [&mut cache])?;
        Ok(Self(cache))
    }

    fn get(&self, at: HookPoint) -> Option<&Tensor> {
        self.0.iter().find(|(point, _)| *point == at).map(|(_, all)| &all[0])
    }

    /// The vector at these places of the first axes.
    fn at(&self, layer: usize, site: Site, places: &[usize]) -> Option<Vec<f64>> {
        let x = self.get(HookPoint::block(layer, site))?;
        Some(flat(&places.iter().fold(x.clone(), |x, i| x.get(*i).unwrap())))
    }

    /// Queries or keys as rotation gets them.
    fn asked(&self, a: &Attention, layer: usize, [normed, plain]: [Site; 2], pos: usize, head: usize) -> Vec<f64> {
        let x = self.at(layer, normed, &[pos, head]).or_else(|| self.at(layer, plain, &[pos, head])).unwrap();
        x.into_iter().map(|x| a.clip_qkv.map_or(x, |clip| x.clamp(-clip, clip))).collect()
    }
}

const QUERY: [Site; 2] = [Site::QNormed, Site::Q];
const KEY: [Site; 2] = [Site::KNormed, Site::K];

fn flat(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Radians per position as they were published: Su et al. 2021, Chen et al. 2023, Llama 3.1's, Peng et al. 2023. In f64 throughout.
fn published(rotary: &Rotary) -> (Vec<f64>, f64) {
    let (d, theta) = (rotary.dims as f64, rotary.theta);
    let plain: Vec<f64> = (0..rotary.dims / 2).map(|i| theta.powf(-2.0 * i as f64 / d)).collect();
    match rotary.scaling {
        RopeScaling::None => (plain, 1.0),
        RopeScaling::Linear { factor } => (plain.iter().map(|w| w / factor).collect(), 1.0),
        RopeScaling::Llama3 { factor, low_freq, high_freq, original_ctx } => {
            let each = |w: &f64| {
                let turns = original_ctx * w / TAU;
                let kept = ((turns - low_freq) / (high_freq - low_freq)).clamp(0.0, 1.0);
                kept * w + (1.0 - kept) * w / factor
            };
            (plain.iter().map(each).collect(), 1.0)
        }
        RopeScaling::Yarn { factor, beta_fast, beta_slow, original_ctx, attention_factor, truncate } => {
            let at = |turns: f64| d * (original_ctx / (turns * TAU)).ln() / (2.0 * theta.ln());
            let (low, high) = (at(beta_fast), at(beta_slow));
            let (low, high) = if truncate { (low.floor(), high.ceil()) } else { (low, high) };
            let (low, high) = (low.max(0.0), high.min(d - 1.0));
            let width = if high == low { 0.001 } else { high - low };
            let each = |(i, w): (usize, &f64)| {
                let divided = ((i as f64 - low) / width).clamp(0.0, 1.0);
                w / factor * divided + w * (1.0 - divided)
            };
            (plain.iter().enumerate().map(each).collect(), attention_factor)
        }
    }
}

/// A vector turned by a position's angles.
fn turned(rotary: &Rotary, x: &[f64], position: f64) -> Vec<f64> {
    let (angles, factor) = published(rotary);
    let mut y = x.to_vec();
    for (i, angle) in angles.iter().enumerate() {
        let (a, b) = match rotary.pairing {
            Pairing::Halves => (i, i + rotary.dims / 2),
            Pairing::Adjacent => (2 * i, 2 * i + 1),
        };
        let (sin, cos) = (position * angle).sin_cos();
        (y[a], y[b]) = ((x[a] * cos - x[b] * sin) * factor, (x[b] * cos + x[a] * sin) * factor);
    }
    y
}

/// ALiBi's slopes as they were published (Press et al. 2021), of a power of two of heads.
fn slope(a: &Attention, head: usize) -> f64 {
    assert!(a.n_heads.is_power_of_two());
    if a.position == Position::Alibi { 2f64.powf(-8.0 * (head + 1) as f64 / a.n_heads as f64) } else { 0.0 }
}

/// What a score is of a query and a key in `a`, `distance` apart; and how far rounding to f32 may take it where the query is at `query`:
/// each number of a rotated vector is a sum of two products with a sine and a cosine, whose angle is rounded too; the score is a sum of as
/// many products as a head is wide.
fn score(a: &Attention, head: usize, q: &[f64], k: &[f64], query: usize, distance: usize) -> (f64, f64) {
    let size = |x: &[f64]| x.iter().map(|x| x.abs()).collect::<Vec<f64>>();
    let (plain, sizes, angle) = match &a.position {
        Position::Rotary(rotary) => {
            let at = |x: &[f64], position: usize| turned(rotary, x, position as f64);
            // Far enough away that the key's position is none below 0.
            let base = 64;
            let both = |x: &[f64]| {
                let (_, factor) = published(rotary);
                let mut y = size(x);
                for i in 0..rotary.dims / 2 {
                    let (a, b) = match rotary.pairing {
                        Pairing::Halves => (i, i + rotary.dims / 2),
                        Pairing::Adjacent => (2 * i, 2 * i + 1),
                    };
                    (y[a], y[b]) = ((x[a].abs() + x[b].abs()) * factor, (x[a].abs() + x[b].abs()) * factor);
                }
                y
            };
            // Frequencies are rounded six times at most, an angle once more.
            let angle = 8.0 * (query.max(distance) as f64 + base as f64) * unit(DType::F32);
            (dot(&at(q, base + distance), &at(k, base)), dot(&both(q), &both(k)), angle)
        }
        _ => (dot(q, k), dot(&size(q), &size(k)), 0.0),
    };
    let rounding = gamma(a.d_head + 8, DType::F32) + 2.0 * angle;
    let (score, off) = (a.scale * plain, a.scale.abs() * sizes * rounding);
    let (score, off) = match a.cap {
        // Steeper than one it is nowhere.
        Some(cap) => (cap * (score / cap).tanh(), off + cap * gamma(8, DType::F32)),
        None => (score, off),
    };
    let penalty = slope(a, head) * distance as f64;
    (score - penalty, off + (score.abs() + penalty) * gamma(3, DType::F32))
}

/// At the prompt's own distance the score is `hook_attn_scores`, of every head, query and key; what a query does not see has no row.
fn own_distances(name: &str) -> Result<()> {
    let (model, found) = (load(name), rows(&load(name), &A, 64, 1 << 30)?);
    let seen = Seen::of(&model, &A)?;
    let mut n = 0;
    for row in found.iter().filter(|row| row.own) {
        let (layer, head, query, key) =
            (row.layer as usize, row.head as usize, row.query_pos as usize, row.key_pos as usize);
        let a = &model.spec().blocks[layer].attention.inner;
        let want = seen.at(layer, Site::AttnScores, &[head, query]).unwrap()[key];
        let (q, k) = (seen.asked(a, layer, QUERY, query, head), seen.asked(a, layer, KEY, key, head / a.shared_by()));
        let (_, off) = score(a, head, &q, &k, query, query - key);
        assert!((row.score - want).abs() <= off, "{name} {row:?}: {want} is allowed to be {off:e} off");
        assert_eq!(row.distance, row.query_pos - row.key_pos);
        n += 1;
    }
    let visible = |a: &Attention, query: usize| match a.mask {
        Mask::Window(window) => window.min(query + 1),
        Mask::Causal | Mask::Bidirectional => query + 1,
    };
    let all = model.spec().blocks.iter().map(|b| &b.attention.inner);
    let want: usize = all.map(|a| a.n_heads * (0..A.len()).map(|query| visible(a, query)).sum::<usize>()).sum();
    assert_eq!(n, want, "{name}");
    // However little memory there is.
    for (row, small) in found.iter().zip(&rows(&model, &A, 64, 1)?) {
        assert!((row.score - small.score).abs() <= 1e-5 * row.score.abs().max(1.0), "{name} {row:?} {small:?}");
    }
    Ok(())
}

/// The word really moved: in a run in which the key's token stands `distance` before the query, layer 0 scores it as the row says.
fn moved_words(name: &str) -> Result<()> {
    let model = load(name);
    let query = A.len() - 1;
    let found = rows(&model, &A, 64, 1 << 30)?;
    for key in 0..query {
        let run = |distance: usize| {
            let mut ids = A;
            ids.swap(key, query - distance);
            ids.to_vec()
        };
        let batch = Batch::of((1..=query).map(run));
        let mut cache = Cache::new(model.spec(), "blocks.0.attn.hook_attn_scores")?;
        model.forward(&batch, &mut [&mut cache])?;
        let point = HookPoint::block(0, Site::AttnScores);
        let allowed = drift(name, &model, &batch).allowed(point);
        let own = |row: &&PositionDecayRow| {
            (row.layer, row.query_pos as usize, row.key_pos as usize) == (0, query, key)
                && (1..=query as u32).contains(&row.distance)
        };
        let mut n = 0;
        for row in found.iter().filter(own) {
            let (distance, head) = (row.distance as usize, row.head as usize);
            let scores = cache.sequence(&point.to_string(), distance - 1)?;
            let want = flat(&scores.get(head)?.get(query)?)[query - distance];
            assert!((row.score - want).abs() <= allowed, "{name} {row:?}: a run scores {want}, allowed {allowed:e}");
            n += 1;
        }
        // Hidden keys have no rows.
        let a = &model.spec().blocks[0].attention.inner;
        let within = if let Mask::Window(window) = a.mask { window - 1 } else { query };
        let seen = query - key <= within;
        assert_eq!(n, if seen { a.n_heads * within.min(query) } else { 0 }, "{name} {key}");
    }
    Ok(())
}

/// Rotary and ALiBi scores at all distances, in all layers, by the published formulas, and what is said of angles and penalties.
fn published_formulas(name: &str) -> Result<()> {
    let model = load(name);
    let spec = model.spec();
    let seen = Seen::of(&model, &A)?;
    for row in rows(&model, &A, 64, 1 << 30)?.iter().filter(|_| spec.embedding.positions.is_none()) {
        let (layer, head, query, key) =
            (row.layer as usize, row.head as usize, row.query_pos as usize, row.key_pos as usize);
        let a = &spec.blocks[layer].attention.inner;
        let (q, k) = (seen.asked(a, layer, QUERY, query, head), seen.asked(a, layer, KEY, key, head / a.shared_by()));
        let (want, off) = score(a, head, &q, &k, query, row.distance as usize);
        assert!((row.score - want).abs() <= off, "{name} {row:?}: {want} is allowed to be {off:e} off");
    }
    let prompt = &prompts(&model, &A)[0];
    let mut of_layers: Vec<usize> = vec![0; spec.n_layers()];
    for row in kinds::rotary(spec, prompt) {
        let Position::Rotary(rotary) = &spec.blocks[row.layer as usize].attention.inner.position else {
            panic!("{name} {row:?}")
        };
        let (angles, _) = published(rotary);
        let want = angles[row.pair as usize];
        assert!((row.angle / want - 1.0).abs() <= 8.0 * unit(DType::F32), "{name} {row:?}: {want}");
        let unscaled = rotary.theta.powf(-2.0 * f64::from(row.pair) / rotary.dims as f64);
        assert!((row.angle_unscaled / unscaled - 1.0).abs() < 1e-12, "{name} {row:?}");
        assert!((row.wavelength * row.angle / TAU - 1.0).abs() < 1e-12, "{name} {row:?}");
        let turns = (A.len() - 1) as f64 * row.angle / TAU;
        assert!((row.turns_prompt / turns - 1.0).abs() < 1e-12, "{name} {row:?}");
        let context = spec.n_ctx.map(|n| (n - 1) as f64 * row.angle / TAU);
        assert_eq!(row.turns_context.is_some(), context.is_some(), "{name}");
        assert!(row.turns_context.zip(context).is_none_or(|(a, b)| (a / b - 1.0).abs() < 1e-12), "{name} {row:?}");
        of_layers[row.layer as usize] += 1;
    }
    for (layer, (n, row)) in of_layers.into_iter().zip(kinds::layers(spec)).enumerate() {
        let a = &spec.blocks[layer].attention.inner;
        let want = match (&a.position, spec.embedding.positions.map(|p| p.added_to)) {
            (Position::Rotary(_), _) => "rotary",
            (Position::Alibi, _) => "alibi",
            (Position::None, Some(AddedTo::Stream)) => "learned",
            (Position::None, Some(AddedTo::QueriesAndKeys)) => "learned-qk",
            (Position::None, None) => "none",
        };
        assert_eq!(row.kind, want, "{name}");
        assert_eq!(n, if let Position::Rotary(rotary) = &a.position { rotary.dims / 2 } else { 0 }, "{name}");
        assert_eq!(row.rotated.is_some(), want == "rotary", "{name}");
    }
    for row in kinds::alibi(&model, 64) {
        let want = slope(&spec.blocks[row.layer as usize].attention.inner, row.head as usize);
        assert!((row.slope / want - 1.0).abs() <= unit(DType::F32), "{name} {row:?}: {want}");
        assert!((row.penalty - row.slope * f64::from(row.distance)).abs() < 1e-12, "{name}");
        assert!(
            (row.distance_e * row.slope - 1.0).abs() < 1e-12 && (row.tie.ln() + row.penalty).abs() < 1e-9,
            "{name}"
        );
    }
    Ok(())
}

/// A norm of one row, made here, of the weights.
fn through(norm: &Option<NormWeights>, x: &[f64]) -> Vec<f64> {
    let Some(norm) = norm else { return x.to_vec() };
    let n = x.len() as f64;
    let mean = if norm.kind == NormKind::Layer { x.iter().sum::<f64>() / n } else { 0.0 };
    let scale = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n + norm.eps).sqrt();
    let (gain, bias) = (norm.gain.as_ref().map(flat), norm.bias.as_ref().map(flat));
    let one = if norm.meaning == Gain::OnePlusWeight { 1.0 } else { 0.0 };
    let each = |(i, x): (usize, &f64)| {
        (x - mean) / scale * gain.as_ref().map_or(1.0, |g| g[i] + one) + bias.as_ref().map_or(0.0, |b| b[i])
    };
    x.iter().enumerate().map(each).collect()
}

/// Learned positions in all layers: a key made anew by hand, of its stream with another position in place of its own.
fn learned_keys(name: &str) -> Result<()> {
    let model = load(name);
    let Some(learned) = model.spec().embedding.positions else { return Ok(()) };
    let (seen, batch) = (Seen::of(&model, &A)?, Batch::one(A));
    let drifts = drift(name, &model, &batch);
    let table: Vec<Vec<f64>> = model.weights().positions.as_ref().unwrap().to_dtype(DType::F64)?.to_vec2()?;
    assert!(model.weights().embed_norm.is_none(), "{name}");
    let mut n = 0;
    for row in rows(&model, &A, 64, 1 << 30)? {
        let (layer, head, query, key) =
            (row.layer as usize, row.head as usize, row.query_pos as usize, row.key_pos as usize);
        let (a, w) = (&model.spec().blocks[layer].attention.inner, &model.weights().blocks[layer]);
        let [is, becomes] = [key, query - row.distance as usize].map(|pos| &table[pos + learned.offset]);
        let mut x = seen.at(layer, Site::ResidPre, &[key]).unwrap();
        if learned.added_to == AddedTo::Stream {
            x.iter_mut().zip(is.iter().zip(becomes)).for_each(|(x, (is, becomes))| *x += becomes - is);
        }
        let mut x = through(&w.ln1, &x);
        if learned.added_to == AddedTo::QueriesAndKeys {
            x.iter_mut().zip(becomes).for_each(|(x, p)| *x += p);
        }
        let map: Vec<Vec<f64>> = w.k.weight.tensor()?.to_dtype(DType::F64)?.to_vec2()?;
        let bias = w.k.bias.as_ref().map(flat);
        let first = head / a.shared_by() * a.d_head;
        let column =
            |i: usize| x.iter().zip(&map).map(|(x, row)| x * row[i]).sum::<f64>() + bias.as_ref().map_or(0.0, |b| b[i]);
        let k: Vec<f64> = (first..first + a.d_head).map(column).collect();
        let q = seen.asked(a, layer, QUERY, query, head);
        let want = a.scale * dot(&q, &k);
        let allowed = drifts.allowed(HookPoint::block(layer, Site::AttnScores));
        assert!((row.score - want).abs() <= allowed, "{name} {row:?}: {want}, allowed {allowed:e}");
        n += usize::from(!row.own);
    }
    assert!(n > 100, "{name}: {n}");
    Ok(())
}

/// With positions made equal, a first block does not know in which order the tokens before the last one came, and the hook does what an edit
/// or another configuration does.
fn equal_positions(name: &str) -> Result<()> {
    let model = load(name);
    let run = |model: &Model, ids: &[u32], edit: Option<&mut Edit>, unplaced: bool| -> Result<(Tensor, Tensor)> {
        let mut cache = Cache::new(model.spec(), "blocks.0.attn.hook_z")?;
        let mut hook = Unplaced::of(model);
        let batch = Batch::one(ids);
        let logits = match (edit, unplaced) {
            (Some(edit), _) => model.forward(&batch, &mut [edit, &mut cache])?,
            (None, true) => model.forward(&batch, &mut [&mut hook, &mut cache])?,
            (None, false) => model.forward(&batch, &mut [&mut cache])?,
        };
        Ok((logits, cache.get("blocks.0.attn.hook_z")?.get(ids.len() - 1)?))
    };
    let (logits, z) = run(&model, &A, None, true)?;
    let mut swapped = A;
    swapped.swap(1, 4);
    let (_, other) = run(&model, &swapped, None, true)?;
    let batch = Batch::one(A);
    let drifts = drift(name, &model, &batch);
    let allowed = drifts.allowed(HookPoint::block(0, Site::Z));
    let windowed = matches!(model.spec().blocks[0].attention.inner.mask, Mask::Window(n) if n < A.len());
    if !windowed {
        let apart = max_diff(&z, &other);
        assert!(apart <= allowed, "{name}: order changes z by {apart:e}, allowed {allowed:e}");
    }
    if Unplaced::exists(model.spec()) {
        let (_, placed) = run(&model, &swapped, None, false)?;
        assert!(max_diff(&z, &placed) > 10.0 * allowed, "{name}: positions do nothing");
    }
    // The same by other means.
    let mut spec: Spec = model.spec().clone();
    let factor = |a: &Attention| match &a.position {
        Position::Rotary(Rotary { scaling: RopeScaling::Yarn { attention_factor, .. }, dims, .. }) => {
            assert_eq!(*dims, a.d_head);
            attention_factor.powi(2)
        }
        _ => 1.0,
    };
    for block in &mut spec.blocks {
        let a = &mut block.attention.inner;
        a.scale *= factor(a);
        a.position = Position::None;
    }
    let mut weights = model.weights().clone();
    for (block, w) in spec.blocks.iter().zip(&mut weights.blocks) {
        w.scoring = pellucid::ops::attention::Scoring::new(&block.attention.inner);
    }
    let without = Model::new(spec, weights)?;
    let (want, _) = match model.spec().embedding.positions {
        Some(_) => run(&without, &A, Some(&mut Edit::zero(without.spec(), "hook_pos_embed")?), false)?,
        None => run(&without, &A, None, false)?,
    };
    let exact = model
        .spec()
        .blocks
        .iter()
        .all(|b| b.attention.inner.position != Position::Alibi && factor(&b.attention.inner) == 1.0);
    match exact {
        true => same_bits(name, &logits, &want),
        false => {
            let allowed = drifts.logits();
            assert!(max_diff(&logits, &want) <= allowed, "{name}: {:e} {allowed:e}", max_diff(&logits, &want));
        }
    }
    Ok(())
}

for_every_model! {
    /// Invariant: The score of a query and a key at the prompt's own distance is `hook_attn_scores`, within what rounding makes of its sum.
    fn own_distance_is_the_models_score = own_distances;
    /// Invariant: A score at another distance is what a run scores in its first layer in which the word stands there.
    fn a_word_that_moves_is_scored_so_by_a_run = moved_words;
    /// Invariant: Scores of rotary and ALiBi models at every distance, angles, wavelengths, slopes and penalties are those of the published formulas.
    fn scores_are_those_of_published_formulas = published_formulas;
    /// Invariant: With a learned position in place of another, a key is what its norm and its map make of the stream with the other vector.
    fn learned_keys_are_made_anew = learned_keys;
    /// Invariant: Where positions are made equal, the first block does not know the order of the tokens before the last.
    fn equal_positions_know_no_order = equal_positions;
}

/// What numpy says of a table.
#[derive(serde::Deserialize)]
struct Numpy {
    norms: Vec<f64>,
    cosines: Vec<f64>,
    explained: [f64; 2],
    x: Vec<f64>,
    y: Vec<f64>,
    shares: Vec<f64>,
}

/// Invariant: Norms, cosines, components and waves of learned positions are those that numpy computes of the same table.
#[test]
fn learned_tables_are_as_numpy_says() -> Result<()> {
    let said = fs_err::read(fixture("position.json")).unwrap();
    let all: std::collections::BTreeMap<String, Numpy> = serde_json::from_slice(&said).unwrap();
    assert_eq!(all.len(), 4);
    for (name, want) in &all {
        let model = match name.as_str() {
            "demo" => pellucid::session::Session::open("demo")?.model,
            name => load(name),
        };
        let learned = Learned::of(&model, 1024)?.unwrap();
        let found = learned.found()?;
        // Both are in f64, from the same f32: sums of some thousand terms, and eigenvalues that lie apart.
        let near = |what: &str, got: f64, want: f64| {
            assert!((got - want).abs() <= 1e-8 * want.abs().max(1.0), "{name} {what}: {got} is not {want}");
        };
        assert_eq!(found.vectors.len(), want.norms.len(), "{name}");
        for (row, norm) in found.vectors.iter().zip(&want.norms) {
            near("norm", row.norm, *norm);
            near("x", row.x.unwrap(), want.x[row.pos as usize]);
            near("y", row.y.unwrap(), want.y[row.pos as usize]);
            near("explained x", row.explained_x, want.explained[0]);
            near("explained y", row.explained_y, want.explained[1]);
            let offset = model.spec().embedding.positions.unwrap().offset as u32;
            assert_eq!(row.table_row, row.pos + offset);
        }
        let mut cosines = vec![];
        learned.cosines(&mut |row| {
            assert_eq!(row.distance, row.pos_b - row.pos_a);
            cosines.push(row.cosine.unwrap());
            Ok(())
        })?;
        let n = want.norms.len();
        assert_eq!(cosines.len(), n * (n - 1) / 2, "{name}");
        // Every seventh pair is in the file.
        cosines.iter().step_by(7).zip(&want.cosines).for_each(|(got, want)| near("cosine", *got, *want));
        assert_eq!(found.waves.len(), want.shares.len(), "{name}");
        found.waves.iter().zip(&want.shares).for_each(|(row, want)| near("wave", row.share, *want));
        let all: f64 = found.waves.iter().filter(|row| row.fourier).map(|row| row.share).sum();
        near("all waves", all, 1.0);
    }
    Ok(())
}

/// Invariant: The waves that the built-in model's learned positions began as are found in the trained table: the strongest peaks are theirs.
#[test]
fn the_demo_still_has_the_waves_it_began_with() -> Result<()> {
    use crate::train::{first, grammar::Random, shape};
    use rand::SeedableRng;
    // The table as it was before training: sine and cosine of each wave stand side by side.
    let begun = first::parameters(&mut Random::seed_from_u64(1), 16).unwrap();
    let table = &begun.all.iter().find(|p| p.name == "wpe.weight").unwrap().state[0];
    let second = &table[shape::D_MODEL..2 * shape::D_MODEL];
    let waves: Vec<f64> =
        second.chunks(2).take_while(|pair| pair[0] != 0.0).map(|pair| f64::from(pair[0].atan2(pair[1]))).collect();
    assert_eq!(waves.len(), 16);
    let model = pellucid::session::Session::open("demo")?.model;
    let found = Learned::of(&model, 1024)?.unwrap().found()?.waves;
    let step = TAU / (8.0 * shape::N_CTX as f64);
    // Waves that are slower than once in a quarter of the context are not told apart by so few positions.
    let fast: Vec<f64> = waves.into_iter().filter(|w| *w > 0.25).collect();
    assert_eq!(fast.len(), 11);
    let mut peaks: Vec<&PositionWaveRow> = found.iter().filter(|row| row.peak && row.frequency > 0.25).collect();
    peaks.sort_by(|a, b| b.share.total_cmp(&a.share));
    let (strongest, others) = peaks.split_at(fast.len());
    for wave in &fast {
        let near = strongest.iter().map(|row| (row.frequency - wave).abs()).fold(f64::MAX, f64::min);
        assert!(near <= step, "no peak at {wave}: the nearest is {near} away");
    }
    // And by far: the weakest of theirs is four times the strongest of any other.
    assert!(strongest.last().unwrap().share > 4.0 * others[0].share, "{:?} {:?}", strongest.last(), others[0]);
    Ok(())
}

const DOG: &str = "the dog bites the man";

fn boards(place: &Place, run: &str) -> Vec<PositionBoardRow> {
    read_rows::<PositionBoardRow>(place.path(&format!("{run}/position_boards.parquet"))).unwrap().0
}

/// Invariant: The board of a prompt as it is has the candidates of `next`, and that of swapped words those of `next` after the swapped text.
#[test]
fn boards_are_what_next_says_of_the_same_texts() -> Result<()> {
    let place = Place::new();
    let done = place.ok(["position", DOG, "--head", "1.1", "--swap", "dog,man", "--out", "run"]);
    assert!(done.stdout.contains("Swapped: "), "{}", done.stdout);
    // One is a token, the other two: what is between them moves.
    assert!(done.stderr.contains("1 and 2 tokens"), "{}", done.stderr);
    let all = boards(&place, "run");
    for (run, text) in [("given", DOG), ("swapped", "the man bites the dog")] {
        let own: Vec<&PositionBoardRow> = all.iter().filter(|row| row.run == run).collect();
        place.ok(["next", text, "--top", "2048", "--out", run]);
        let next = pellucid::table::read_rows::<pellucid::analysis::next::CandidateRow>(
            place.path(&format!("{run}/candidates.parquet")),
        )?
        .0;
        assert!(own.len() >= 8 && own[0].text.ends_with(text), "{run}: {}", own[0].text);
        for row in own {
            let same = next.iter().find(|other| other.token_id == Some(row.token_id)).unwrap();
            assert_eq!(
                (row.rank, row.logit, &row.token),
                (same.rank, same.logit.unwrap(), same.token.as_ref().unwrap()),
                "{run}"
            );
            assert!((row.prob - same.prob).abs() <= 1e-12, "{run} {row:?}");
        }
    }
    // A candidate that is shown in one run is there in all; divergences are not negative, and that of the prompt from itself is 0.
    for run in ["swapped", "unplaced", "swapped-unplaced"] {
        let of = |run: &str| all.iter().filter(|row| row.run == run).collect::<Vec<_>>();
        assert_eq!(of(run).len(), of("given").len());
        assert!(
            of(run).iter().all(|row| row.kl_bits > 0.0) && of("given").iter().all(|row| row.kl_bits == 0.0),
            "{run}"
        );
    }
    // Of the whole vocabulary the divergence can be summed by hand.
    place.ok(["position", DOG, "--swap", "dog,bites", "--top", "2048", "--out", "whole"]);
    let whole = boards(&place, "whole");
    let probs = |run: &str| {
        let own = whole.iter().filter(|row| row.run == run).map(|row| (row.token_id, row.prob));
        own.collect::<std::collections::BTreeMap<u32, f64>>()
    };
    for (run, from) in [("swapped", "given"), ("unplaced", "given"), ("swapped-unplaced", "unplaced")] {
        let (p, q) = (probs(run), probs(from));
        assert_eq!((p.len(), q.len()), (2048, 2048));
        let bits: f64 = p.iter().map(|(id, p)| p * (p / q[id]).log2()).sum();
        let said = whole.iter().find(|row| row.run == run).unwrap().kl_bits;
        assert!((said - bits).abs() <= 1e-9 * bits.max(1.0), "{run}: {said} is not {bits}");
    }
    let table = read_rows::<PositionDecayRow>(place.path("run/position_decay.parquet"))?.0;
    assert!(table.iter().all(|row| (row.layer, row.head, &*row.kind) == (1, 1, "learned")));
    assert_eq!(table.iter().filter(|row| row.own).count(), 10);
    // Each mark of a figure is a number of its table.
    let titles = |figure: &str| {
        let text = String::from_utf8(place.read(&format!("run/position-{figure}.svg"))).unwrap();
        let svg = roxmltree::Document::parse(&text).unwrap();
        let titles = svg.descendants().filter(|node| node.has_tag_name("title")).filter_map(|node| node.text());
        titles.map(str::to_owned).collect::<Vec<String>>()
    };
    let number = |x: f64| pellucid::view::Locale::EN.number(x as f32);
    let drawn = titles("decay");
    for distance in 0..10 {
        let title = drawn.iter().find(|title| title.starts_with(&format!("distance {distance}: "))).unwrap();
        let scores = table.iter().filter(|row| row.distance == distance).map(|row| number(row.score));
        let scores: Vec<String> = scores.collect();
        let said: Vec<&str> = title.split(", ").map(|part| part.rsplit_once(' ').unwrap().1).collect();
        assert!(
            said.len() == 4 && said.iter().all(|said| scores.iter().any(|score| score == said)),
            "{title} {scores:?}"
        );
    }
    let (cosines, _) =
        read_rows::<pellucid::analysis::position::PositionCosineRow>(place.path("run/position_cosines.parquet"))?;
    let drawn = titles("cosines");
    for row in cosines.iter().filter(|row| row.pos_a % 2 == 0 && row.pos_b % 2 == 0) {
        let title = format!("positions {} and {}: cosine {:.3}", row.pos_a, row.pos_b, row.cosine.unwrap());
        assert_eq!(drawn.iter().filter(|drawn| **drawn == title).count(), 2, "{title}");
    }
    let drawn = titles("boards").join("\n");
    for row in all.iter().filter(|row| row.run == "given" && row.rank <= 4) {
        let prob = pellucid::view::Locale::EN.probability(row.prob as f32);
        assert!(drawn.contains(&format!("#{}: as it is {prob}", row.token_id)), "{row:?}: {drawn}");
    }
    // Of a text whose first word has no space, the words are swapped and not the tokens.
    let done = place.ok(["position", "Mary and John", "--swap", "John,Mary", "--out", "names"]);
    assert!(boards(&place, "names").iter().any(|row| row.text.ends_with("John and Mary")), "{}", done.stderr);
    // By ids, as tokens.
    place.ok(["position", "--ids", "0,84,257,601", "--swap", "#84,#601", "--head", "0.0", "--out", "ids"]);
    assert!(boards(&place, "ids").iter().any(|row| row.run == "swapped" && row.tokens == 4));
    Ok(())
}

/// Invariant: Heads and positions that are not there, and words that cannot be swapped, are refused in one sentence with a hint.
#[test]
fn what_cannot_be_placed_is_refused() {
    let place = Place::new();
    for (args, says) in [
        (&["--head", "4.0"][..], "there is no head 4.0: the model has layers 0 to 3"),
        (&["--head", "1.4"], "there is no head 1.4: layer 1 has heads 0 to 3"),
        (&["--query", "10"], "the prompt has 10 positions, and 10 is not one of them"),
        (&["--swap", "dog"], "a swap is of two words, and here is 1"),
        (&["--swap", "dog,man,bites"], "a swap is of two words, and here are 3"),
        (&["--swap", "dog,dog"], "\"dog\" swapped with itself changes nothing"),
        (&["--swap", "dog,"], "one of the two words to swap is empty"),
        (&["--swap", "dog,cat"], "\"cat\" is not in prompt \"0\""),
        (&["--swap", "dog,the"], "\"the\" is in prompt \"0\" 2 times"),
        (&["--swap", "dog,do"], "\"do\" is not in prompt \"0\""),
        (&["--swap", "bites,bites the"], "share a token"),
    ] {
        place.refused([&["position", DOG][..], args, &["--out", "run"]].concat(), 2, says);
        assert!(!place.path("run").exists(), "{args:?}");
    }
    // A model that sees the whole text has no boards, and says so.
    let model = crate::bin::model("hooked_bidirectional");
    let args = ["position", "-m", &model, "--ids", "1,2,3,4"];
    let done = place.ok([&args[..], &["--out", "both"]].concat());
    assert!(done.stderr.contains("there are no boards"), "{}", done.stderr);
    assert!(!place.path("both/position_boards.parquet").exists());
    place.refused([&args[..], &["--swap", "#1,#2"]].concat(), 2, "sees the whole text at once");
}
