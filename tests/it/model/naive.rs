//! A second forward pass, written from the meaning of a `Spec` alone: f64, one number at a time, one sequence at a time, as
//! slow and as plain as the formulas. It shares nothing with the one that it judges but the names of slots and of hooks.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::f64::consts::{PI, TAU};

use pellucid::arch::Spec;
use pellucid::arch::spec::*;
use pellucid::arch::weights::{BlockSlot, Map, Part, Slot};
use pellucid::hook::{Cache, HookPoint};
use pellucid::model::Batch;

use crate::bound::Drifts;
use crate::specs::{Values, for_random, prompts, samples};

/// One vector for each position.
type Rows = Vec<Vec<f64>>;

struct Weights {
    of: Values,
    used: RefCell<HashSet<Slot>>,
}

impl Weights {
    fn vector(&self, slot: Slot) -> Vec<f64> {
        let (_, values) = self.of.get(&slot).unwrap_or_else(|| panic!("no values for {slot:?}"));
        self.used.borrow_mut().insert(slot);
        values.iter().map(|x| f64::from(*x)).collect()
    }

    fn matrix(&self, slot: Slot) -> Rows {
        let columns = self.of[&slot].0[1];
        self.vector(slot).chunks(columns).map(<[f64]>::to_vec).collect()
    }

    /// `x W + b`.
    fn affine(&self, slot: impl Fn(Part) -> Slot, bias: bool, x: &[f64]) -> Vec<f64> {
        let mut y = times(x, &self.matrix(slot(Part::Weight)));
        if bias {
            y = plus(&y, &self.vector(slot(Part::Bias)));
        }
        y
    }

    /// What a norm makes of one row.
    fn norm(&self, norm: &Norm, slot: impl Fn(Part) -> Slot, x: &[f64]) -> Normed {
        let n = x.len() as f64;
        let mean = match norm.kind {
            NormKind::Layer => x.iter().sum::<f64>() / n,
            NormKind::Rms => 0.0,
        };
        let square = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let scale = (square + norm.eps).sqrt();
        let normalized: Vec<f64> = x.iter().map(|x| (x - mean) / scale).collect();
        let mut y = normalized.clone();
        if norm.gain != Gain::None {
            let one = if norm.gain == Gain::OnePlusWeight { 1.0 } else { 0.0 };
            let gain = self.vector(slot(Part::Weight));
            for (y, gain) in y.iter_mut().zip(gain) {
                *y *= one + gain;
            }
        }
        if norm.bias {
            y = plus(&y, &self.vector(slot(Part::Bias)));
        }
        Normed { scale: vec![scale], normalized, out: y }
    }

    fn normed(&self, norm: &Option<Norm>, slot: impl Fn(Part) -> Slot, x: &[f64]) -> Vec<f64> {
        match norm {
            Some(norm) => self.norm(norm, slot, x).out,
            None => x.to_vec(),
        }
    }
}

/// What a norm divides by, what it divides gives, and that with gain and bias.
struct Normed {
    scale: Vec<f64>,
    normalized: Vec<f64>,
    out: Vec<f64>,
}

fn times(x: &[f64], matrix: &Rows) -> Vec<f64> {
    assert_eq!(x.len(), matrix.len());
    (0..matrix[0].len()).map(|j| x.iter().zip(matrix).map(|(x, row)| x * row[j]).sum()).collect()
}

fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = x.iter().map(|x| (x - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// The error function: exp(-x^2) 2/sqrt(pi) times the sum of 2^n x^(2n+1) / (2n+1)!!, whose terms are all of one sign.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, 0.0);
    for n in 0..300 {
        sum += term;
        term *= 2.0 * x * x / (2 * n + 3) as f64;
    }
    (2.0 / PI.sqrt() * sum * (-x * x).exp()).clamp(-1.0, 1.0)
}

fn activate(activation: Activation, x: &[f64]) -> Vec<f64> {
    let all = softmax(x);
    let one = |(x, share): (&f64, f64)| match activation {
        Activation::Relu => x.max(0.0),
        Activation::GeluErf => x * 0.5 * (1.0 + erf(x / 2f64.sqrt())),
        Activation::GeluTanh => 0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Solu => x * share,
    };
    x.iter().zip(all).map(one).collect()
}

/// Angle by which pair `i` turns from one position to the next.
fn turn(rotary: &Rotary, i: usize) -> f64 {
    let dims = rotary.dims as f64;
    let plain = rotary.theta.powf(-2.0 * i as f64 / dims);
    match rotary.scaling {
        RopeScaling::None => plain,
        RopeScaling::Linear { factor } => plain / factor,
        RopeScaling::Llama3 { factor, low_freq, high_freq, original_ctx } => {
            // How often it turns in the original context decides: rarely, it is slowed; often, it is left.
            let turns = original_ctx * plain / TAU;
            let kept = ((turns - low_freq) / (high_freq - low_freq)).clamp(0.0, 1.0);
            kept * plain + (1.0 - kept) * plain / factor
        }
        RopeScaling::Yarn { factor, beta_fast, beta_slow, original_ctx, truncate, .. } => {
            // The (real) number of the dimension pair that turns so often in the original context.
            let pair_of = |turns: f64| dims / 2.0 * (original_ctx / (TAU * turns)).ln() / rotary.theta.ln();
            let (mut first, mut last) = (pair_of(beta_fast), pair_of(beta_slow));
            if truncate {
                (first, last) = (first.floor(), last.ceil());
            }
            (first, last) = (first.max(0.0), last.min(dims - 1.0));
            if first == last {
                last += 0.001;
            }
            let slowed = ((i as f64 - first) / (last - first)).clamp(0.0, 1.0);
            slowed * plain / factor + (1.0 - slowed) * plain
        }
    }
}

fn rotate(rotary: &Rotary, position: usize, head: &mut [f64]) {
    let length = match rotary.scaling {
        RopeScaling::Yarn { attention_factor, .. } => attention_factor,
        _ => 1.0,
    };
    for i in 0..rotary.dims / 2 {
        let (a, b) = match rotary.pairing {
            Pairing::Halves => (i, i + rotary.dims / 2),
            Pairing::Adjacent => (2 * i, 2 * i + 1),
        };
        let angle = position as f64 * turn(rotary, i);
        let (x, y) = (head[a], head[b]);
        head[a] = length * (x * angle.cos() - y * angle.sin());
        head[b] = length * (y * angle.cos() + x * angle.sin());
    }
}

/// ALiBi's penalty for each step of distance in head `h` of `n`: 2^(-8/n), squared, cubed ... for a power of two; otherwise
/// those of the power of two below, then every second one of the power of two above.
fn penalty(n: usize, h: usize) -> f64 {
    let below = 1 << n.ilog2();
    match h < below {
        true => 2f64.powf(-8.0 * (h + 1) as f64 / below as f64),
        false => 2f64.powf(-8.0 * (2 * (h - below) + 1) as f64 / (2 * below) as f64),
    }
}

/// Everything that a pass makes, under the names of the hooks.
#[derive(Default)]
struct Made(BTreeMap<String, Vec<f64>>);

impl Made {
    fn keep(&mut self, name: impl Into<String>, rows: &Rows) {
        let old = self.0.insert(name.into(), rows.concat());
        assert!(old.is_none());
    }

    /// The parts of a norm called `name`; gives back what comes out of it, which is a hook if `read`.
    fn keep_norm(&mut self, name: &str, rows: impl Iterator<Item = Normed>, read: bool) -> Rows {
        let (mut scales, mut normalized, mut out) = (vec![], vec![], vec![]);
        for row in rows {
            scales.push(row.scale);
            normalized.push(row.normalized);
            out.push(row.out);
        }
        self.keep(format!("{name}.hook_scale"), &scales);
        self.keep(format!("{name}.hook_normalized"), &normalized);
        if read {
            self.keep(format!("{name}.hook_out"), &out);
        }
        out
    }
}

fn forward(spec: &Spec, weights: &Weights, ids: &[u32]) -> Made {
    let mut made = Made::default();
    let e = &spec.embedding;
    let table = weights.matrix(Slot::Embed);
    let scaled = |id: &u32| table[*id as usize].iter().map(|x| x * e.scale.unwrap_or(1.0)).collect();
    let mut stream: Rows = ids.iter().map(scaled).collect();
    made.keep("hook_embed", &stream);
    let positions = e.positions.map(|learned| {
        let table = weights.matrix(Slot::Positions);
        assert_eq!(table.len(), learned.rows);
        let rows: Rows = (0..ids.len()).map(|p| table[p + learned.offset].clone()).collect();
        made.keep("hook_pos_embed", &rows);
        (learned.added_to, rows)
    });
    if let Some((AddedTo::Stream, rows)) = &positions {
        stream = stream.iter().zip(rows).map(|(x, p)| plus(x, p)).collect();
    }
    stream = stream.iter().map(|x| weights.normed(&e.norm, Slot::EmbedNorm, x)).collect();
    let placed = positions.filter(|(to, _)| *to == AddedTo::QueriesAndKeys).map(|(_, rows)| rows);
    for l in 0..spec.blocks.len() {
        stream = block(spec, weights, l, &stream, placed.as_ref(), &mut made);
    }
    if let Some(norm) = &spec.final_norm {
        stream = made.keep_norm("ln_final", stream.iter().map(|x| weights.norm(norm, Slot::FinalNorm, x)), true);
    }
    let u = &spec.unembedding;
    let logits = stream.iter().map(|x| {
        let mut y: Vec<f64> = match u.tied {
            true => table.iter().map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect(),
            false => times(x, &weights.matrix(Slot::Unembed(Part::Weight))),
        };
        if u.bias {
            y = plus(&y, &weights.vector(Slot::Unembed(Part::Bias)));
        }
        let y = y.iter().map(|y| y * u.scale.unwrap_or(1.0));
        y.map(|y| u.cap.map_or(y, |cap| cap * (y / cap).tanh())).collect()
    });
    made.keep("logits", &logits.collect());
    made
}

fn block(spec: &Spec, weights: &Weights, l: usize, pre: &Rows, placed: Option<&Rows>, made: &mut Made) -> Rows {
    let block = &spec.blocks[l];
    let at = |slot: fn(Part) -> BlockSlot| move |part| Slot::Block(l, slot(part));
    let name = |site: &str| format!("blocks.{l}.{site}");
    let factor = block.residual_scale.unwrap_or(1.0);
    made.keep(name("hook_resid_pre"), pre);

    let read = |norm: &Option<Norm>, ln: &str, slot: fn(Part) -> BlockSlot, x: &Rows, made: &mut Made| -> Rows {
        let Some(norm) = norm else { return x.clone() };
        made.keep_norm(&name(ln), x.iter().map(|x| weights.norm(norm, at(slot), x)), true)
    };
    let added = |norm: &Option<Norm>, ln: &str, slot: fn(Part) -> BlockSlot, x: &Rows, made: &mut Made| -> Rows {
        let normed = match norm {
            Some(norm) => made.keep_norm(&name(ln), x.iter().map(|x| weights.norm(norm, at(slot), x)), false),
            None => x.clone(),
        };
        normed.iter().map(|x| x.iter().map(|x| factor * x).collect()).collect()
    };
    let sum = |a: &Rows, b: &Rows| -> Rows { a.iter().zip(b).map(|(a, b)| plus(a, b)).collect() };

    let attn_in = read(&block.attention.pre_norm, "ln1", BlockSlot::Ln1, pre, made);
    let attn = attention(&block.attention.inner, weights, l, &attn_in, placed, made);
    let attn_out = added(&block.attention.post_norm, "ln1_post", BlockSlot::Ln1Post, &attn, made);
    made.keep(name("hook_attn_out"), &attn_out);
    let mid = sum(pre, &attn_out);
    let Some(mlp) = &block.mlp else {
        made.keep(name("hook_resid_post"), &mid);
        return mid;
    };
    let mlp_in = match block.arrangement {
        Arrangement::Sequential => {
            made.keep(name("hook_resid_mid"), &mid);
            read(&mlp.pre_norm, "ln2", BlockSlot::Ln2, &mid, made)
        }
        Arrangement::Parallel => read(&mlp.pre_norm, "ln2", BlockSlot::Ln2, pre, made),
        Arrangement::ParallelSharedNorm => attn_in,
    };
    let inner = match &mlp.inner {
        FeedForward::Dense(mlp) => dense(mlp, weights, l, &mlp_in, made),
        FeedForward::Experts(mixture) => experts(mixture, weights, l, &mlp_in, made),
    };
    let mlp_out = added(&mlp.post_norm, "ln2_post", BlockSlot::Ln2Post, &inner, made);
    made.keep(name("hook_mlp_out"), &mlp_out);
    let post = sum(&mid, &mlp_out);
    made.keep(name("hook_resid_post"), &post);
    post
}

fn attention(a: &Attention, weights: &Weights, l: usize, x: &Rows, placed: Option<&Rows>, made: &mut Made) -> Rows {
    let n = x.len();
    let x_qk: Rows = match placed {
        Some(positions) => x.iter().zip(positions).map(|(x, p)| plus(x, p)).collect(),
        None => x.clone(),
    };
    // [position][head][dimension]
    let mut project = |letter: &str, map: fn(Part) -> BlockSlot, norm: Option<fn(Part) -> BlockSlot>, x: &Rows| {
        let at = |slot: fn(Part) -> BlockSlot| move |part| Slot::Block(l, slot(part));
        let mut rows: Rows = x.iter().map(|x| weights.affine(at(map), a.qkv_bias, x)).collect();
        made.keep(format!("blocks.{l}.attn.hook_{letter}"), &rows);
        if let (Some(slot), Some(qk)) = (norm, &a.qk_norm) {
            let width = if qk.per_head { a.d_head } else { rows[0].len() };
            let normed = |part: &[f64]| weights.norm(&qk.norm, at(slot), part).out;
            rows = rows.iter().map(|y| y.chunks(width).flat_map(normed).collect()).collect();
            made.keep(format!("blocks.{l}.attn.{letter}_norm.hook_out"), &rows);
        }
        if let Some(most) = a.clip_qkv {
            rows.iter_mut().flatten().for_each(|y| *y = y.max(-most).min(most));
        }
        rows.iter().map(|y| y.chunks(a.d_head).map(<[f64]>::to_vec).collect()).collect::<Vec<Rows>>()
    };
    let mut q = project("q", BlockSlot::Q, Some(BlockSlot::QNorm), &x_qk);
    let mut k = project("k", BlockSlot::K, Some(BlockSlot::KNorm), &x_qk);
    let v = project("v", BlockSlot::V, None, x);
    let name = |site: &str| format!("blocks.{l}.attn.hook_{site}");
    let flat = |x: &[Rows]| -> Rows { x.iter().map(|heads| heads.concat()).collect() };
    if let Position::Rotary(rotary) = &a.position {
        for p in 0..n {
            q[p].iter_mut().for_each(|head| rotate(rotary, p, head));
            k[p].iter_mut().for_each(|head| rotate(rotary, p, head));
        }
        made.keep(name("rot_q"), &flat(&q));
        made.keep(name("rot_k"), &flat(&k));
    }
    let (mut all_scores, mut patterns) = (vec![], vec![]);
    let mut z = vec![vec![vec![0.0; a.d_head]; a.n_heads]; n];
    for h in 0..a.n_heads {
        let g = h / (a.n_heads / a.n_kv_heads);
        for i in 0..n {
            let mut scores = vec![f64::NEG_INFINITY; n];
            for j in 0..n {
                let seen = match a.mask {
                    Mask::Causal => j <= i,
                    Mask::Window(width) => j <= i && i - j < width,
                    Mask::Bidirectional => true,
                };
                if !seen {
                    continue;
                }
                let mut score: f64 = (0..a.d_head).map(|e| q[i][h][e] * k[j][g][e]).sum::<f64>() * a.scale;
                if let Some(cap) = a.cap {
                    score = cap * (score / cap).tanh();
                }
                if a.position == Position::Alibi {
                    score -= penalty(a.n_heads, h) * i.abs_diff(j) as f64;
                }
                scores[j] = score;
            }
            let pattern = softmax(&scores);
            for j in 0..n {
                for e in 0..a.d_head {
                    z[i][h][e] += pattern[j] * v[j][g][e];
                }
            }
            all_scores.push(scores);
            patterns.push(pattern);
        }
    }
    made.keep(name("attn_scores"), &all_scores);
    made.keep(name("pattern"), &patterns);
    made.keep(name("z"), &flat(&z));
    let output = |part| Slot::Block(l, BlockSlot::O(part));
    let map = weights.matrix(output(Part::Weight));
    let result = |heads: &Rows| -> Vec<f64> {
        let rows_of = |h: usize| map[h * a.d_head..(h + 1) * a.d_head].to_vec();
        (heads.iter().enumerate()).flat_map(|(h, z)| times(z, &rows_of(h))).collect()
    };
    made.keep(name("result"), &z.iter().map(result).collect());
    flat(&z).iter().map(|z| weights.affine(output, a.out_bias, z)).collect()
}

fn dense(mlp: &Mlp, weights: &Weights, l: usize, x: &Rows, made: &mut Made) -> Rows {
    let at = |slot: fn(Part) -> BlockSlot| move |part| Slot::Block(l, slot(part));
    let name = |site: &str| format!("blocks.{l}.mlp.hook_{site}");
    let pre: Rows = x.iter().map(|x| weights.affine(at(BlockSlot::MlpIn), mlp.bias, x)).collect();
    made.keep(name("pre"), &pre);
    let mut post: Rows = pre.iter().map(|x| activate(mlp.activation, x)).collect();
    if mlp.gated {
        let linear: Rows = x.iter().map(|x| weights.affine(at(BlockSlot::MlpLinear), mlp.bias, x)).collect();
        made.keep(name("pre_linear"), &linear);
        let times = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a * b).collect();
        post = post.iter().zip(&linear).map(times).collect();
    }
    if mlp.post_bias {
        let bias = weights.vector(Slot::Block(l, BlockSlot::MlpPost));
        post = post.iter().map(|x| plus(x, &bias)).collect();
    }
    if let Some(norm) = &mlp.norm {
        made.keep(name("mid"), &post);
        let normed = post.iter().map(|x| weights.norm(norm, at(BlockSlot::MlpNorm), x));
        post = made.keep_norm(&format!("blocks.{l}.mlp.ln"), normed, true);
    }
    made.keep(name("post"), &post);
    post.iter().map(|x| weights.affine(at(BlockSlot::MlpOut), mlp.bias || mlp.post_bias, x)).collect()
}

fn experts(mixture: &Experts, weights: &Weights, l: usize, x: &Rows, made: &mut Made) -> Rows {
    let mlp = &mixture.expert;
    let name = |site: &str| format!("blocks.{l}.mlp.hook_{site}");
    let router = weights.matrix(Slot::Block(l, BlockSlot::Router));
    let logits: Rows = x.iter().map(|x| times(x, &router)).collect();
    let shares: Rows = logits.iter().map(|x| softmax(x)).collect();
    made.keep(name("router_logits"), &logits);
    made.keep(name("expert_weights"), &shares);
    let (mut indices, mut chosen, mut out) = (vec![], vec![], vec![]);
    for (x, shares) in x.iter().zip(&shares) {
        let mut order: Vec<usize> = (0..mixture.n_experts).collect();
        order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
        order.truncate(mixture.per_row);
        let sum: f64 = order.iter().map(|e| shares[*e]).sum();
        let counts: Vec<f64> =
            order.iter().map(|e| if mixture.renormalized { shares[*e] / sum } else { shares[*e] }).collect();
        let mut y = vec![0.0; x.len()];
        for (e, count) in order.iter().zip(&counts) {
            let map = |map| move |part| Slot::Block(l, BlockSlot::Expert(*e, map, part));
            let mut post: Vec<f64> = weights.affine(map(Map::In), mlp.bias, x);
            post = activate(mlp.activation, &post);
            if mlp.gated {
                let linear = weights.affine(map(Map::Linear), mlp.bias, x);
                post = post.iter().zip(linear).map(|(a, b)| a * b).collect();
            }
            let output = weights.affine(map(Map::Out), mlp.bias, &post);
            y = y.iter().zip(output).map(|(y, out)| y + count * out).collect();
        }
        indices.push(order.iter().map(|e| *e as f64).collect());
        chosen.push(counts);
        out.push(y);
    }
    made.keep(name("expert_indices"), &indices);
    made.keep(name("chosen_weights"), &chosen);
    out
}

/// Invariant: Every site agrees with a second implementation in f64, written from the formulas one number at a time.
#[test]
fn every_site_of_random_models_is_what_the_formulas_give() {
    for_random(192, (samples(), prompts()), |(sample, prompts)| {
        let model = sample.model();
        let mut cache = Cache::new(&sample.spec, "*")?;
        model.forward(&Batch::of(prompts.clone()), &mut [&mut cache])?;
        let rounding = Drifts::of(&model, &Batch::of(prompts.clone()))?;
        let weights = Weights { of: sample.values(), used: RefCell::default() };
        let mut start = 0;
        for (i, ids) in prompts.iter().enumerate() {
            let made = forward(&sample.spec, &weights, ids);
            for point in HookPoint::all(&sample.spec).iter().filter(|point| point.expert.is_none()) {
                let name = point.to_string();
                let got = match point.site.per_sequence() {
                    true => cache.sequence(&name, i)?.clone(),
                    false => cache.get(&name)?.narrow(0, start, ids.len())?,
                };
                let got = got.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
                let want = made.0.get(&name).unwrap_or_else(|| panic!("the formulas make no {name}"));
                assert_eq!(got.len(), want.len(), "{name}");
                let allowed = rounding.at(*point).allowed();
                for (got, want) in got.iter().zip(want) {
                    let near = got == want || (got - want).abs() <= allowed;
                    assert!(near, "sequence {i} {name}: {got}, and by the formulas {want}");
                }
            }
            assert_eq!(
                made.0.len(),
                HookPoint::all(&sample.spec).iter().filter(|point| point.expert.is_none()).count(),
                "the formulas make what has no site"
            );
            start += ids.len();
        }
        // What no formula reads, no model should have. Experts that nobody chose are read by none.
        for slot in weights.of.keys().filter(|slot| !matches!(slot, Slot::Block(_, BlockSlot::Expert(..)))) {
            assert!(weights.used.borrow().contains(slot), "the formulas do not read {slot:?}");
        }
        let parameters: usize = weights.of.values().map(|(_, values)| values.len()).sum();
        assert_eq!(sample.spec.n_params(), parameters);
        Ok(())
    });
}
