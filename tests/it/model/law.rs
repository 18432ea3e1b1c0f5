//! The laws of the design as functions of a model: what must hold whatever the weights are. `laws.rs` holds the fixtures of
//! every family to them, `random_specs.rs` models of every kind that a `Spec` can say.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use candle_core::{DType, Tensor, Var};
use pellucid::Result;
use pellucid::arch::Spec;
use pellucid::arch::spec::{Activation, AddedTo, Arrangement, Block, Mask};
use pellucid::error::{Error, ErrorKind};
use pellucid::hook::{Cache, Edit, Hook, HookPoint, Site, select};
use pellucid::model::weights::{ExpertWeights, FeedForwardWeights, NeuronWeights};
use pellucid::model::{Batch, Growing, Model, Run, Sequence, Unembed};
use pellucid::ops;
use pellucid::ops::loss::cross_entropy;
use pellucid::ops::norm::NormWeights;
use pellucid::ops::rows::Rows;

use crate::bound::{Drift, Drifts, gamma, products};
use crate::reference::{close, same_bits};

/// A model to be judged.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// What failures call it.
    pub name: &'a str,
    /// The model: ids up to 96 must be in both its vocabularies, 9 positions in its context.
    pub model: &'a Model,
    /// What rounding makes of its run on `A` and `B` packed.
    pub drift: &'a Drifts,
}

impl Case<'_> {
    /// How far rounding may take two runs apart at this site of block `l`.
    fn at(&self, l: usize, site: Site) -> f64 {
        self.drift.allowed(HookPoint::block(l, site))
    }
}

pub const A: [u32; 9] = [3, 14, 15, 92, 65, 35, 89, 79, 32];
pub const B: [u32; 5] = [27, 18, 28, 18, 28];

/// Gives back a copy of what it read.
struct WriteBack;

impl Hook for WriteBack {
    fn wants(&self, _: HookPoint) -> bool {
        true
    }
    fn on(&mut self, _: HookPoint, _: &Rows, x: Tensor) -> Result<Tensor> {
        Ok(x.copy()?)
    }
}

pub fn recording_and_writing_back_change_no_bit(case: &Case) -> Result<()> {
    let Case { name, model, .. } = *case;
    let batch = Batch::of([A.to_vec(), B.to_vec()]);
    for path in [ops::Kernels::Fused, ops::Kernels::Plain] {
        let run = Run { kernels: Some(path), ..Run::default() };
        let bare = model.run(&batch, &run, &mut [])?;
        let mut cache = Cache::new(model.spec(), "*")?;
        let recorded = model.run(&batch, &run, &mut [&mut cache])?;
        same_bits(&format!("{name} recorded"), bare.logits()?, recorded.logits()?);
        let rewritten = model.run(&batch, &run, &mut [&mut WriteBack])?;
        same_bits(&format!("{name} written back"), bare.logits()?, rewritten.logits()?);
        for point in HookPoint::all(model.spec()) {
            let mut one = Cache::of([point]);
            let again = model.run(&batch, &run, &mut [&mut one])?;
            same_bits(&format!("{name} recording {point}"), bare.logits()?, again.logits()?);
        }
    }
    Ok(())
}

/// What is added to the stream of a sublayer's output.
fn added(block: &Block, post_norm: Option<&NormWeights>, x: Tensor) -> Result<Tensor> {
    let x = post_norm.map(|norm| norm.apply(ops::Kernels::Plain, &x, None)).unwrap_or(Ok(x))?;
    Ok((x * block.residual_scale.unwrap_or(1.0))?)
}

pub fn the_stream_is_the_sum_of_its_writes(case: &Case) -> Result<()> {
    let Case { name, model, .. } = *case;
    let mut cache = Cache::new(model.spec(), "*")?;
    model.forward(&Batch::of([A.to_vec(), B.to_vec()]), &mut [&mut cache])?;
    for l in 0..model.spec().n_layers() {
        let get = |site: &str| cache.get(&format!("blocks.{l}.{site}"));
        let pre_and_attn = (get("hook_resid_pre")? + get("hook_attn_out")?)?;
        let post = match &model.spec().blocks[l].mlp {
            Some(_) => (&pre_and_attn + get("hook_mlp_out")?)?,
            None => pre_and_attn.clone(),
        };
        same_bits(&format!("{name} post {l}"), &post, get("hook_resid_post")?);
        let block = &model.spec().blocks[l];
        match block.arrangement {
            _ if block.mlp.is_none() => assert!(get("hook_resid_mid").is_err(), "{name}: there is nothing between"),
            Arrangement::Sequential => same_bits(&format!("{name} mid {l}"), &pre_and_attn, get("hook_resid_mid")?),
            _ => {
                assert!(get("hook_resid_mid").is_err(), "{name}: a parallel block has no stream between its sublayers")
            }
        }
        // Each head's write, and the bias that belongs to none, make up what attention gives.
        let w = &model.weights().blocks[l];
        let mut parts = get("attn.hook_result")?.sum(1)?;
        if let Some(bias) = &w.o.bias {
            parts = parts.broadcast_add(bias)?;
        }
        let parts = added(block, w.ln1_post.as_ref(), parts)?;
        // The same sum in another order, of what was recorded: less than what two whole runs may differ by there.
        close(&format!("{name} result {l}"), &parts, get("hook_attn_out")?, case.at(l, Site::AttnOut));
    }
    Ok(())
}

/// How much each expert counts in each row, `[t, x]`.
fn shares(indices: &Tensor, chosen: &Tensor, mlp: &ExpertWeights) -> Result<Tensor> {
    let mut shares = vec![vec![0f32; mlp.experts.len()]; indices.dim(0)?];
    for ((row, experts), weights) in shares.iter_mut().zip(indices.to_vec2::<u32>()?).zip(chosen.to_vec2::<f32>()?) {
        experts.iter().zip(weights).for_each(|(e, w)| row[*e as usize] += w);
    }
    Ok(Tensor::new(shares, indices.device())?)
}

pub fn mlp_post_is_what_the_output_map_reads_and_z_is_pattern_times_v(case: &Case) -> Result<()> {
    let Case { name, model, .. } = *case;
    let mut cache = Cache::new(model.spec(), "*")?;
    model.forward(&Batch::one(A), &mut [&mut cache])?;
    for l in 0..model.spec().n_layers() {
        let get = |site: &str| cache.get(&format!("blocks.{l}.{site}"));
        if let Some(weights) = &model.weights().blocks[l].mlp {
            let written = |out: &NeuronWeights, post: &Tensor| -> Result<Tensor> {
                let written = post.matmul(&out.output.weight.tensor()?)?;
                Ok(match &out.output.bias {
                    Some(bias) => written.broadcast_add(bias)?,
                    None => written,
                })
            };
            let mlp = match &weights.inner {
                FeedForwardWeights::Dense(mlp) => written(mlp, get("mlp.hook_post")?)?,
                FeedForwardWeights::Experts(mlp) => {
                    let shares = shares(get("mlp.hook_expert_indices")?, get("mlp.hook_chosen_weights")?, mlp)?;
                    let mut sum = get("hook_mlp_out")?.zeros_like()?;
                    for (e, expert) in mlp.experts.iter().enumerate() {
                        let post = get(&format!("mlp.experts.{e}.hook_post"))?;
                        let share = shares.narrow(1, e, 1)?;
                        // Zero where the row does not go through the expert, and only there; but all of a row's neurons
                        // may be on the side where this nonlinearity is zero.
                        let unseen = post.abs()?.sum_keepdim(1)?.eq(0.0)?.to_vec2::<u8>()?;
                        for (unseen, left_out) in unseen.iter().zip(share.eq(0.0)?.to_vec2::<u8>()?) {
                            let silent = expert.activation == Activation::Relu && unseen[0] > left_out[0];
                            assert!(silent || *unseen == left_out, "{name} {l} {e}");
                        }
                        sum = (sum + written(expert, post)?.broadcast_mul(&share)?)?;
                    }
                    sum
                }
            };
            let mlp = added(&model.spec().blocks[l], weights.ln2_post.as_ref(), mlp)?;
            // As for attention's output in law 2.
            close(&format!("{name} mlp {l}"), &mlp, get("hook_mlp_out")?, case.at(l, Site::MlpOut));
        }
        let (pattern, v, z) = (get("attn.hook_pattern")?, get("attn.hook_v")?, get("attn.hook_z")?);
        // What is mixed are the values after the clamp, where there is one.
        let clip = model.spec().blocks[l].attention.inner.clip_qkv;
        let v = &clip.map_or_else(|| Ok(v.clone()), |clip| v.clamp(-clip, clip))?;
        let group = z.dim(1)? / v.dim(1)?;
        for h in 0..z.dim(1)? {
            let values = v.narrow(1, h / group, 1)?.squeeze(1)?;
            let (pattern, values) = (pattern.get(h)?, values.contiguous()?);
            let allowed = products(A.len(), &pattern, &values)?;
            close(&format!("{name} z {l} {h}"), &pattern.matmul(&values)?, &z.narrow(1, h, 1)?.squeeze(1)?, allowed);
        }
    }
    Ok(())
}

pub fn patterns_are_distributions_and_nothing_sees_the_future(case: &Case) -> Result<()> {
    let Case { name, model, .. } = *case;
    let mut cache = Cache::new(model.spec(), "*")?;
    let logits = model.forward(&Batch::one(A), &mut [&mut cache])?;
    for (l, block) in model.spec().blocks.iter().enumerate() {
        let window = match block.attention.inner.mask {
            Mask::Window(n) => n,
            _ => A.len(),
        };
        let of = |site: &str| cache.get(&format!("blocks.{l}.attn.hook_{site}"))?.to_vec3::<f32>().map_err(Error::from);
        for (patterns, scores) in of("pattern")?.iter().zip(of("attn_scores")?) {
            for (q, (row, scores)) in patterns.iter().zip(&scores).enumerate() {
                assert!(sums_to_one(row), "{name} {l}");
                let seen = match block.attention.inner.mask {
                    Mask::Bidirectional => 0..A.len(),
                    _ => (q + 1).saturating_sub(window)..q + 1,
                };
                let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                for (k, (p, score)) in row.iter().zip(scores).enumerate() {
                    assert_eq!(seen.contains(&k), score.is_finite(), "{name} {l} {q} {k}");
                    // The exponential of less than -87 is zero in f32. That of -80, of which nine keys leave a ninth at
                    // least, is 2e-35.
                    assert_eq!(seen.contains(&k) && *score > top - 80.0, *p > 1e-36, "{name} {l} {q} {row:?}");
                }
            }
        }
    }
    for j in 0..A.len() {
        let mut changed = A;
        changed[j] = 1;
        let other = model.forward(&Batch::one(changed), &mut [])?;
        if j > 0 && model.spec().is_causal() {
            same_bits(&format!("{name} before {j}"), &logits.narrow(0, 0, j)?, &other.narrow(0, 0, j)?);
        }
        let after = (logits.narrow(0, j, 1)? - other.narrow(0, j, 1)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
        // More than rounding could.
        assert!(f64::from(after) > case.drift.logits(), "{name}: changing token {j} must change its own logits");
    }
    Ok(())
}

/// Whether these are the probabilities of a softmax: each is an exponential times the inverse of their sum, all rounded, so that
/// their sum is 1 but for the roundings of two sums of as many terms, of a division and of a product.
fn sums_to_one(row: &[f32]) -> bool {
    let sum: f64 = row.iter().map(|p| f64::from(*p)).sum();
    (sum - 1.0).abs() <= gamma(row.len() + 2, DType::F32)
}

pub fn the_lens_at_the_end_is_the_model(case: &Case) -> Result<()> {
    let Case { name, model, .. } = *case;
    let last = format!("blocks.{}.hook_resid_post", model.spec().n_layers() - 1);
    let mut cache = Cache::new(model.spec(), &last)?;
    let logits = model.forward(&Batch::one(A), &mut [&mut cache])?;
    same_bits(name, &model.decode(cache.get(&last)?)?, &logits);
    Ok(())
}

pub fn alone_packed_and_one_token_at_a_time_are_the_same(case: &Case) -> Result<()> {
    let Case { name, model, .. } = *case;
    let (a, b) = (model.forward(&Batch::one(A), &mut [])?, model.forward(&Batch::one(B), &mut [])?);
    let packed = model.forward(&Batch::of([A.to_vec(), B.to_vec(), A.to_vec()]), &mut [])?;
    close(name, &packed.narrow(0, 0, A.len())?, &a, case.drift.logits());
    close(name, &packed.narrow(0, A.len(), B.len())?, &b, case.drift.logits());
    close(name, &packed.narrow(0, A.len() + B.len(), A.len())?, &a, case.drift.logits());

    if !model.spec().is_causal() {
        return Ok(()); // What comes later would have changed the prefix.
    }
    for path in [ops::Kernels::Fused, ops::Kernels::Plain] {
        let keep = Run { kernels: Some(path), keep_prefixes: true, ..Run::default() };
        let begun = model.run(&Batch::one(&A[..3]), &keep, &mut [])?.prefixes.remove(0);
        let mut growing = Growing::after(model.spec(), &begun, A.len())?;
        for (i, id) in A.iter().enumerate().skip(3) {
            let next = Sequence::after(growing.prefix()?, [*id]);
            // Behind another sequence without a prefix, whose rows and keys must not be mixed up with it.
            let other = Sequence::new(B);
            let mut out = model.run(&Batch { sequences: vec![other, next] }, &keep, &mut [])?;
            let logits = out.logits()?.get(B.len())?;
            close(&format!("{name} {path:?} step {i}"), &logits, &a.get(i)?, case.drift.logits());
            growing.push(&out.prefixes.remove(1))?;
        }
    }
    Ok(())
}

pub fn a_run_in_two_halves_is_the_whole(case: &Case) -> Result<()> {
    let Case { name, model, .. } = *case;
    let batch = Batch::of([A.to_vec(), B.to_vec()]);
    let whole = model.forward(&batch, &mut [])?;
    let middle = model.spec().n_layers() / 2;
    let lower = model.run(&batch, &Run { until: Some(middle), ..Run::default() }, &mut [])?;
    assert!(lower.logits.is_none());
    let upper = Run { from: Some((middle, lower.resid)), ..Run::default() };
    same_bits(name, model.run(&batch, &upper, &mut [])?.logits()?, &whole);

    let some = Run { unembed: Unembed::Rows(vec![13, 2]), ..Run::default() };
    let rows = model.run(&batch, &some, &mut [])?;
    let want = whole.index_select(&Tensor::new(&[13u32, 2], model.device())?, 0)?;
    close(name, rows.logits()?, &want, case.drift.logits());
    let few = Run { unembed: Unembed::Tokens(vec![13, 2], vec![5, 0, 96]), ..Run::default() };
    let tokens = model.run(&batch, &few, &mut [])?;
    let want = want.index_select(&Tensor::new(&[5u32, 0, 96], model.device())?, 1)?;
    close(name, tokens.logits()?, &want, case.drift.logits());
    // With hooks that see every row, the same numbers.
    let sites = if model.spec().final_norm.is_some() { "ln_final.*,logits" } else { "logits" };
    let mut cache = Cache::new(model.spec(), sites)?;
    let seen = model.run(&batch, &few, &mut [&mut cache])?;
    close(name, seen.logits()?, &want, case.drift.logits());
    assert_eq!(cache.get("logits")?.dim(0)?, 14);
    let nothing = Run { unembed: Unembed::Nothing, ..Run::default() };
    assert!(model.run(&batch, &nothing, &mut [])?.logits.is_none());
    Ok(())
}

pub fn what_does_nothing_is_an_error(case: &Case) -> Result<()> {
    let Case { name, model, .. } = *case;
    let spec = model.spec();
    let batch = Batch::one(A);
    let missing = Cache::new(spec, "blocks.7.hook_resid_post").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NoSuch, "{name}");
    let typo = Edit::zero(spec, "blocks.0.hook_reisd_post").err().unwrap();
    assert!(typo.hint_text().unwrap().contains("blocks.0.hook_resid_post"), "{name}: {typo:?}");
    let mut nowhere = Edit::zero(spec, "z")?.positions([40]);
    assert!(model.forward(&batch, &mut [&mut nowhere]).unwrap_err().message().contains("selects no row"), "{name}");
    let last = spec.n_layers() - 1;
    let mut unreached = Edit::zero(spec, &format!("blocks.{last}.attn.hook_z"))?;
    let short = Run { until: Some(last), ..Run::default() };
    assert!(model.run(&batch, &short, &mut [&mut unreached]).unwrap_err().message().contains("never reached"));
    let mut cache = Cache::new(spec, &format!("blocks.{last}.hook_resid_post"))?;
    assert!(model.run(&batch, &short, &mut [&mut cache]).unwrap_err().message().contains("never reached"));
    let mut no_heads = Edit::zero(spec, "blocks.0.hook_resid_pre")?.heads([0]);
    assert!(model.forward(&batch, &mut [&mut no_heads]).unwrap_err().message().contains("no head axis"));
    let heads = spec.blocks[0].attention.inner.n_heads;
    let mut one_too_many = Edit::zero(spec, "blocks.0.attn.hook_z")?.heads([heads]);
    let error = model.forward(&batch, &mut [&mut one_too_many]).unwrap_err();
    assert!(error.message().contains(&format!("has {heads} heads")), "{name}: {error}");
    Ok(())
}

/// Whether the logits depend on a value at all.
fn matters(spec: &Spec, at: HookPoint) -> bool {
    let Some(block) = at.layer.map(|l| &spec.blocks[l]) else {
        // Where every query sees itself alone, what queries and keys read beside the stream changes nothing.
        let beside = spec.embedding.positions.is_some_and(|p| p.added_to == AddedTo::QueriesAndKeys);
        let alone = spec.blocks.iter().all(|b| b.attention.inner.mask == Mask::Window(1));
        return !(at.site == Site::PosEmbed && beside && alone);
    };
    let a = &block.attention.inner;
    match at.site {
        // A query that sees one key gives it all its weight, whatever the score.
        Site::Q | Site::K | Site::QNormed | Site::KNormed | Site::RotQ | Site::RotK | Site::AttnScores => {
            a.mask != Mask::Window(1)
        }
        // A norm takes away what neurons are divided by.
        Site::MlpLnScale => block.mlp.as_ref().unwrap().post_norm.is_none(),
        Site::RouterLogits | Site::ExpertWeights | Site::ExpertIndices | Site::ChosenWeights => {
            let mlp = block.mlp.as_ref().unwrap();
            let experts = mlp.inner.experts().unwrap();
            // One expert of weight 1, or of a weight that a norm takes away again.
            let (one, normed) = (experts.per_row == 1, mlp.post_norm.is_some());
            match at.site {
                // All of them, in another order.
                Site::ExpertIndices => experts.per_row < experts.n_experts,
                Site::ChosenWeights => !(one && normed),
                _ => !(one && (normed || experts.renormalized)),
            }
        }
        _ => true,
    }
}

/// Writing to a site changes everything that reads it, and nothing that does not.
pub fn every_site_can_be_written_to(case: &Case) -> Result<()> {
    let Case { name, model, .. } = *case;
    let spec = model.spec();
    let batch = Batch::one(A);
    let mut chosen = Cache::of(HookPoint::all(spec).into_iter().filter(|p| p.site == Site::ExpertIndices));
    let bare = model.forward(&batch, &mut [&mut chosen])?;
    for point in HookPoint::all(spec) {
        let n_experts: Vec<u32> = (spec.blocks.iter())
            .map(|b| b.mlp.as_ref().and_then(|m| m.inner.experts()).map_or(0, |e| e.n_experts as u32))
            .collect();
        // Neurons that are all silent stay so.
        let moved = Rc::new(Cell::new(false));
        let moves = Rc::clone(&moved);
        let mut edit = Edit::with(spec, &point.to_string(), move |point, x| {
            let new = match point.site {
                Site::AttnScores => (x * 0.5)?,
                Site::Pattern => x.zeros_like()?,
                // Other experts.
                Site::ExpertIndices => {
                    let next = |e: &u32| (e + 1) % n_experts[point.layer.unwrap()];
                    let next: Vec<u32> = x.flatten_all()?.to_vec1::<u32>()?.iter().map(next).collect();
                    Tensor::from_vec(next, x.shape(), x.device())?
                }
                // Not one factor for all, which a norm would not notice. Where a clamp may follow, with another sign: it
                // leaves the same of all that is larger than it lets through.
                _ => {
                    let n = *x.dims().last().unwrap();
                    let clamped = [Site::Q, Site::K, Site::V, Site::QNormed, Site::KNormed].contains(&point.site);
                    let sign = if clamped { -1.0 } else { 1.0 };
                    let factors: Vec<f32> = (0..n).map(|i| sign * (1.5 + i as f32 / n as f32)).collect();
                    x.broadcast_mul(&Tensor::from_vec(factors, n, x.device())?)?
                }
            };
            let row = |x: &Tensor| if point.site.per_sequence() { Ok(x.clone()) } else { x.narrow(0, 4, 1) };
            moves.set(row(&new)?.ne(&row(x)?)?.to_dtype(DType::F32)?.max_all()?.to_scalar::<f32>()? > 0.0);
            Ok(new)
        })?
        .positions([4]);
        let edited = model.forward(&batch, &mut [&mut edit]);
        if let (Some(expert), Some(layer)) = (point.expert, point.layer) {
            let chosen = chosen.get(&format!("blocks.{layer}.mlp.hook_expert_indices"))?.to_vec2::<u32>()?;
            if !chosen[4].contains(&(expert as u32)) {
                assert!(edited.unwrap_err().message().contains("selects no row"), "{name} {point}");
                continue;
            }
        }
        let edited = edited?;
        if !matters(spec, point) || !moved.get() {
            continue;
        }
        let change = (&edited - &bare)?.abs()?;
        let row = |i: usize| change.get(i).unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        let unseen = !spec.is_causal() || (0..4).all(|i| row(i) == 0.0);
        assert!(unseen, "{name} {point}: an edit at position 4 must not reach earlier ones");
        // Keys and values of the last block matter to later positions alone or too; all else to its own. An edit that nobody
        // reads would change no bit.
        let seen = case.drift.logits() as f32;
        assert!((4..A.len()).any(|i| row(i) > seen), "{name} {point}: the edit must change the logits");
    }
    // Exactly one head: its own write disappears from attn_out.
    let mut before = Cache::new(spec, "blocks.0.attn.hook_result,blocks.0.hook_attn_out")?;
    model.forward(&batch, &mut [&mut before])?;
    let head = spec.blocks[0].attention.inner.n_heads / 2;
    for site in ["z", "result"] {
        let mut silence = Edit::zero(spec, &format!("blocks.0.attn.hook_{site}"))?.heads([head]);
        let mut after = Cache::new(spec, "blocks.0.hook_attn_out")?;
        model.forward(&batch, &mut [&mut silence, &mut after])?;
        let lost = (before.get("blocks.0.hook_attn_out")? - after.get("blocks.0.hook_attn_out")?)?;
        let write = before.get("blocks.0.attn.hook_result")?.narrow(1, head, 1)?.squeeze(1)?;
        let block = &spec.blocks[0];
        if block.attention.post_norm.is_some() {
            continue; // The norm mixes what the heads wrote.
        }
        let write = (write * block.residual_scale.unwrap_or(1.0))?;
        close(&format!("{name} {site}"), &lost, &write, case.at(0, Site::AttnOut));
    }
    Ok(())
}

/// What hooks do to a mixture's choices is what is computed. Whether the model has one.
pub fn experts_do_what_hooks_make_of_their_choices(case: &Case) -> Result<bool> {
    let Case { name, model, .. } = *case;
    let spec = model.spec();
    let Some(l) = spec.blocks.iter().position(|b| b.mlp.as_ref().is_some_and(|m| m.inner.experts().is_some())) else {
        return Ok(false);
    };
    let block = &spec.blocks[l];
    let FeedForwardWeights::Experts(mlp) = &model.weights().blocks[l].mlp.as_ref().unwrap().inner else { panic!() };
    // What the block adds of what the experts give; a norm in between would mix them.
    let factor = block.residual_scale.unwrap_or(1.0);
    let plainly_added = block.mlp.as_ref().unwrap().post_norm.is_none();
    let batch = Batch::of([A.to_vec(), B.to_vec()]);
    let of = |site: &str| format!("blocks.{l}.{site}");
    let (indices, weights) = (of("mlp.hook_expert_indices"), of("mlp.hook_chosen_weights"));
    let keep = format!("{},{}", of("mlp.*"), of("hook_mlp_out"));
    let mut before = Cache::new(spec, &keep)?;
    model.forward(&batch, &mut [&mut before])?;

    // The router's distribution, its largest, and their order.
    let distribution = before.get(&of("mlp.hook_expert_weights"))?.to_vec2::<f32>()?;
    for (row, chosen) in distribution.iter().zip(before.get(&indices)?.to_vec2::<u32>()?) {
        assert!(sums_to_one(row), "{name}");
        let mut order: Vec<u32> = (0..row.len() as u32).collect();
        order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
        assert_eq!(chosen, order[..chosen.len()], "{name}");
    }

    // Twice the weights are twice the write.
    let mut after = Cache::new(spec, &of("hook_mlp_out"))?;
    model.forward(&batch, &mut [&mut Edit::scale(spec, &weights, 2.0)?, &mut after])?;
    let twice = (before.get(&of("hook_mlp_out"))? * 2.0)?;
    if plainly_added {
        same_bits(&format!("{name} twice"), &twice, after.get(&of("hook_mlp_out"))?);
    }

    // All to expert 1: every row goes through it, and through no other.
    let mut send = Edit::with(spec, &indices, |_, x| Ok(x.ones_like()?))?;
    let mut after = Cache::new(spec, &of("mlp.experts.*"))?;
    model.forward(&batch, &mut [&mut send, &mut after])?;
    for (point, values) in after.iter() {
        let seen = values[0].abs()?.sum(1)?.ne(0.0)?.to_vec1::<u8>()?;
        let goes = (point.expert == Some(1)) as u8;
        let silent =
            |s: u8| point.site == Site::ExpertPost && mlp.experts[1].activation == Activation::Relu && s < goes;
        assert!(seen.iter().all(|s| *s == goes || silent(*s)), "{name} {point}");
    }
    // Where one is sent that is not an expert.
    let mut nowhere = Edit::with(spec, &indices, |_, x| Ok((x.ones_like()? * 99.0)?))?;
    let error = model.forward(&batch, &mut [&mut nowhere]).unwrap_err();
    assert!(error.message().contains("sent to expert 99"), "{name}: {error}");

    // A silent expert is missing from the sum, in the rows that go through it.
    let e = before.get(&indices)?.to_vec2::<u32>()?[0][0] as usize;
    let site = of(&format!("mlp.experts.{e}.hook_post"));
    let mut silence = Edit::zero(spec, &site)?;
    let mut after = Cache::new(spec, &of("hook_mlp_out"))?;
    model.forward(&batch, &mut [&mut silence, &mut after])?;
    let out = &mlp.experts[e].output.weight.tensor()?;
    let share = (shares(before.get(&indices)?, before.get(&weights)?, mlp)?.narrow(1, e, 1)? * factor)?;
    let write = before.get(&site)?.matmul(out)?;
    let lost = (before.get(&of("hook_mlp_out"))? - after.get(&of("hook_mlp_out"))?)?;
    if plainly_added {
        close(&format!("{name} silence"), &lost, &write.broadcast_mul(&share)?, case.at(l, Site::MlpOut));
    }

    // Gradients reach the neurons of the rows that go through the expert: a row's share of what they write.
    let (ones, width) = (Tensor::ones((spec.d_model, 1), candle_core::DType::F32, model.device())?, write.dim(0)?);
    let writes = out.matmul(&ones)?.t()?;
    let want = share.broadcast_mul(&writes.broadcast_as((width, writes.dim(1)?))?)?;
    // A sum over the stream's width, times a share of one at most and the block's factor.
    let allowed = products(spec.d_model + 2, out, &ones)? * factor.abs();
    for path in [ops::Kernels::Fused, ops::Kernels::Plain].into_iter().filter(|_| plainly_added) {
        let post = Var::from_tensor(before.get(&site)?)?;
        let mut put = Edit::set(spec, &site, post.as_tensor().clone())?;
        let mut out = Cache::new(spec, &of("hook_mlp_out"))?;
        model.run(&batch, &Run { kernels: Some(path), ..Run::default() }, &mut [&mut put, &mut out])?;
        let gradients = out.get(&of("hook_mlp_out"))?.sum_all()?.backward()?;
        close(&format!("{name} {path:?} gradient"), gradients.get(&post).unwrap(), &want, allowed);
    }

    // And through what a hook leaves in an expert: an edit that multiplies by one changes no gradient.
    let mid = of(if block.arrangement == Arrangement::Sequential { "hook_resid_mid" } else { "hook_resid_pre" });
    let gradient = |model: &Model, edited: bool| -> Result<Tensor> {
        let mut stream = Cache::new(spec, &mid)?;
        model.forward(&batch, &mut [&mut stream])?;
        let resid = Var::from_tensor(stream.get(&mid)?)?;
        let mut put = Edit::set(spec, &mid, resid.as_tensor().clone())?;
        let mut same = Edit::scale(spec, &of("mlp.experts.*"), 1.0)?;
        let mut out = Cache::new(spec, &of("hook_mlp_out"))?;
        let mut hooks: Vec<&mut dyn Hook> = vec![&mut put, &mut out];
        if edited {
            hooks.push(&mut same);
        }
        model.forward(&batch, &mut hooks)?;
        let gradients = out.get(&of("hook_mlp_out"))?.sum_all()?.backward()?;
        Ok(gradients.get(&resid).unwrap().clone())
    };
    let bare = gradient(model, false)?;
    let allowed = Drift::of(&bare, &gradient(&model.to_dtype(DType::F64)?, false)?)?.allowed();
    close(&format!("{name} gradient through an edit"), &gradient(model, true)?, &bare, allowed);

    // A hook that writes where nobody reads is told so.
    if share.eq(0.0)?.max_all()?.to_scalar::<u8>()? == 1 {
        let at = HookPoint::parse(spec, &of(&format!("mlp.experts.{e}.hook_pre")))?;
        let error = model.forward(&batch, &mut [&mut Everywhere(at)]).unwrap_err();
        assert!(error.message().contains("do not go through this expert"), "{name}: {error}");
    }
    Ok(true)
}

/// Adds one to all rows, whoever reads them.
struct Everywhere(HookPoint);

impl Hook for Everywhere {
    fn wants(&self, at: HookPoint) -> bool {
        at == self.0
    }
    fn on(&mut self, _: HookPoint, _: &Rows, x: Tensor) -> Result<Tensor> {
        Ok((x + 1.0)?)
    }
}

pub fn names_parse_and_values_have_the_promised_axes(case: &Case) -> Result<()> {
    let Case { name, model, .. } = *case;
    let spec = model.spec();
    let mut cache = Cache::new(spec, "*")?;
    let batch = Batch::of([A.to_vec(), B.to_vec()]);
    model.forward(&batch, &mut [&mut cache])?;
    let all = HookPoint::all(spec);
    assert_eq!(cache.iter().count(), all.len());
    // In the order of the forward pass; what stands outside the blocks comes first.
    let (outside, inside): (Vec<_>, Vec<_>) = all.iter().copied().partition(|p| p.layer.is_none());
    assert_eq!(cache.iter().map(|(p, _)| p).collect::<Vec<_>>(), [outside, inside].concat(), "{name}");
    for (point, values) in cache.iter() {
        assert_eq!(HookPoint::parse(spec, &point.to_string())?, point, "{name}");
        assert!(select(spec, &point.site.short())?.contains(&point), "{name} {}", point.site.short());
        assert_eq!(values.len(), if point.site.per_sequence() { 2 } else { 1 }, "{name} {point}");
        for (i, x) in values.iter().enumerate() {
            let t = if point.site.per_sequence() { [A.len(), B.len()][i] } else { A.len() + B.len() };
            let want: Vec<usize> =
                point.site.info().axes.iter().map(|a| Site::axis_len(spec, point.layer, *a).unwrap_or(t)).collect();
            assert_eq!(x.dims(), want, "{name} {point}");
        }
    }
    Ok(())
}

pub fn both_paths_agree(case: &Case) -> Result<()> {
    let Case { name, model, .. } = *case;
    let batch = Batch::of([A.to_vec(), B.to_vec()]);
    let caches = [ops::Kernels::Fused, ops::Kernels::Plain].map(|path| {
        let mut cache = Cache::new(model.spec(), "*").unwrap();
        let run = Run { kernels: Some(path), ..Run::default() };
        model.run(&batch, &run, &mut [&mut cache]).unwrap();
        cache
    });
    for ((point, fused), (_, plain)) in caches[0].iter().zip(caches[1].iter()) {
        for (fused, plain) in fused.iter().zip(plain) {
            close(&format!("{name} {point}"), fused, plain, case.drift.allowed(point));
        }
    }
    Ok(())
}

/// Candle's own backward pass, through nothing but its own operations, against ours: every one of `variables`, of which the
/// model is made. How many of them a gradient reaches.
pub fn gradients_are_the_same_on_both_paths(case: &Case, variables: &BTreeMap<String, Var>) -> Result<usize> {
    let Case { name, model, .. } = *case;
    let batch = Batch::of([A.to_vec(), B.to_vec()]);
    let targets: Vec<u32> =
        A.iter().chain(&B).map(|id| (id + 7) % model.spec().unembedding.d_vocab_out as u32).collect();
    let gradients = |model: &Model, path| {
        let run = Run { kernels: Some(path), ..Run::default() };
        let output = model.run(&batch, &run, &mut []).unwrap();
        let loss = cross_entropy(path, output.logits().unwrap(), &targets).unwrap();
        loss.sum_all().unwrap().backward().unwrap()
    };
    let [fused, plain] = [ops::Kernels::Fused, ops::Kernels::Plain].map(|path| gradients(model, path));
    // Through the same variables, which are upcast on the way.
    let exact = gradients(&model.to_dtype(DType::F64)?, ops::Kernels::Plain);
    let mut reached = 0;
    for (weight, variable) in variables {
        let Some(want) = plain.get(variable) else {
            assert!(fused.get(variable).is_none(), "{name}: only one path reaches {weight}");
            continue;
        };
        let got = fused.get(variable).unwrap_or_else(|| panic!("{name}: no gradient reaches {weight}"));
        let allowed = Drift::of(want, exact.get(variable).unwrap())?.allowed();
        close(&format!("{name} gradient of {weight}"), got, want, allowed);
        reached += 1;
    }
    Ok(reached)
}
