//! Cost: what does one more token cost, and why do long contexts cost more?
//!
//! Counted exactly from the [`Spec`], without a weight. A linear layer of `n` weights takes `2 n` floating-point operations a row
//! (a multiplication and an addition each; Kaplan et al. 2020). Scores and mixing take `2 d_head` each for every head, query and key
//! that the query may see: `4 heads d_head min(T, window)` a layer for the `T`-th token, which grows with the context, while all the rest
//! stays the same. Norms, softmax, rotation, biases and look-ups count 0, as is usual.

pub mod measure;
mod options;
pub mod rows;
mod view;

use std::collections::BTreeMap;

use crate::arch::Spec;
use crate::arch::spec::{Attention, Mask};
use crate::arch::weights::{BlockSlot, Part as Half, Slot, slots};
use crate::error::{Error, Result};
pub use options::{Cost, Costed};
pub use rows::{CostMeasuredRow, CostRow, CostTotalRow};

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The last token of a context, over keys and values of those before it.
    Token,
    /// All tokens of a context at once, with the logits of the last.
    Prompt,
}

/// Bits of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bits {
    /// Of a weight.
    pub weights: u32,
    /// Of a key or value that is kept.
    pub cache: u32,
}

/// The parts of a pass, in its order within a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Embed,
    Qkv,
    Scores,
    Mix,
    Out,
    Mlp,
    Router,
    Experts,
    Norms,
    Unembed,
}

/// Every part with its name, in the order of the columns of a figure.
const PARTS: [(Part, &str); 10] = [
    (Part::Embed, "embed"),
    (Part::Qkv, "qkv"),
    (Part::Scores, "scores"),
    (Part::Mix, "mix"),
    (Part::Out, "out"),
    (Part::Mlp, "mlp"),
    (Part::Router, "router"),
    (Part::Experts, "experts"),
    (Part::Norms, "norms"),
    (Part::Unembed, "unembed"),
];

/// Whether a part's cost grows with the context.
fn is_attention(part: &str) -> bool {
    matches!(part, "scores" | "mix")
}

impl Pass {
    /// Every pass that there is of a model: of a bidirectional one, no token comes after others.
    pub fn all(spec: &Spec) -> &'static [Self] {
        if spec.is_causal() { &[Self::Token, Self::Prompt] } else { &[Self::Prompt] }
    }

    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Prompt => "prompt",
        }
    }
}

/// What a part takes; numbers of weights and of the cache, not yet bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    flops: u128,
    weights: u128,
    written: u128,
    read: u128,
}

/// Where a part stands: before all layers, in one, or after them.
type At = (usize, Part);

/// What `pass` takes in a context of `tokens`, by part.
fn taken(spec: &Spec, pass: Pass, tokens: u64) -> BTreeMap<At, Taken> {
    let n = u128::from(tokens);
    let rows = if pass == Pass::Token { 1 } else { n };
    let end = spec.n_layers() + 1;
    let mut all: BTreeMap<At, Taken> = BTreeMap::new();
    // A tied matrix is read a second time.
    let tied = (Slot::Unembed(Half::Weight), vec![spec.d_model, spec.unembedding.d_vocab_out]);
    for (slot, shape) in slots(spec).into_iter().chain(spec.unembedding.tied.then_some(tied)) {
        let (at, part) = place(slot, end);
        let size: u128 = shape.iter().map(|n| *n as u128).product();
        // The weights that are read, and the rows that go through each of them.
        let (weights, through) = match slot {
            // Look-ups: a row of the table for each token, no more than there are.
            Slot::Embed | Slot::Positions => (shape[1] as u128 * rows.min(shape[0] as u128), 0),
            // The first expert stands for those that are chosen: all have the same shapes.
            Slot::Block(_, BlockSlot::Expert(1.., ..)) => continue,
            Slot::Block(l, BlockSlot::Expert(..)) => {
                let experts = spec.blocks[l].mlp.as_ref().and_then(|mlp| mlp.inner.experts());
                let (n, chosen) = experts.map_or((1, 1), |e| (e.n_experts as u128, e.per_row as u128));
                (size * n.min(rows * chosen), rows * chosen)
            }
            Slot::Unembed(_) => (size, 1),
            Slot::Block(..) | Slot::EmbedNorm(_) | Slot::FinalNorm(_) => (size, rows),
        };
        let taken = all.entry((at, part)).or_default();
        taken.weights += weights;
        // Vectors, which are biases and norms, count 0.
        taken.flops += if shape.len() == 2 { 2 * size * through } else { 0 };
    }
    for (l, block) in spec.blocks.iter().enumerate() {
        let a = &block.attention.inner;
        let (heads, kv, e) = (a.n_heads as u128, a.n_kv_heads as u128, a.d_head as u128);
        let seen = seen(a.mask, n);
        let pairs = match (pass, a.mask) {
            (Pass::Token, _) => seen,
            (Pass::Prompt, Mask::Bidirectional) => n * n,
            // The first tokens see all before them, the others a whole window.
            (Pass::Prompt, _) => seen * (seen + 1) / 2 + (n - seen) * seen,
        };
        let read = if pass == Pass::Token { kv * e * seen } else { 0 };
        for part in [Part::Scores, Part::Mix] {
            all.insert((l + 1, part), Taken { flops: 2 * heads * e * pairs, read, ..Taken::default() });
        }
        if spec.is_causal() {
            let kept = if pass == Pass::Token { 1 } else { seen };
            all.entry((l + 1, Part::Qkv)).or_default().written = 2 * kv * e * kept;
        }
    }
    all
}

/// Keys that the last of so many tokens may see.
fn seen(mask: Mask, tokens: u128) -> u128 {
    match mask {
        Mask::Window(n) => tokens.min(n as u128),
        Mask::Causal | Mask::Bidirectional => tokens,
    }
}

/// Where a tensor stands, and which part it is of.
fn place(slot: Slot, end: usize) -> At {
    match slot {
        Slot::Embed | Slot::Positions => (0, Part::Embed),
        Slot::EmbedNorm(_) => (0, Part::Norms),
        Slot::FinalNorm(_) => (end, Part::Norms),
        Slot::Unembed(_) => (end, Part::Unembed),
        Slot::Block(l, slot) => (l + 1, part_of(slot)),
    }
}

/// The names of all parts, in their order.
pub fn parts() -> impl Iterator<Item = &'static str> {
    PARTS.iter().map(|(_, name)| *name)
}

/// How many parameters each part has, in all layers together: of the parts that have any, in their order. Biases count with the linear
/// layer that they belong to; a tied unembedding is the embedding, and counts there.
pub fn parameters(spec: &Spec) -> Vec<(&'static str, u64)> {
    let mut all: BTreeMap<Part, u64> = BTreeMap::new();
    for (slot, shape) in slots(spec) {
        *all.entry(place(slot, 0).1).or_default() += shape.iter().map(|n| *n as u64).product::<u64>();
    }
    all.into_iter().map(|(part, n)| (PARTS[part as usize].1, n)).collect()
}

fn part_of(slot: BlockSlot) -> Part {
    use BlockSlot::*;
    match slot {
        Q(_) | K(_) | V(_) => Part::Qkv,
        O(_) => Part::Out,
        MlpIn(_) | MlpLinear(_) | MlpPost | MlpOut(_) => Part::Mlp,
        Router => Part::Router,
        Expert(..) => Part::Experts,
        Ln1(_) | Ln1Post(_) | Ln2(_) | Ln2Post(_) | QNorm(_) | KNorm(_) | MlpNorm(_) => Part::Norms,
    }
}

/// What `pass` costs in a context of `tokens`: a row for each part of each layer, in the order of the pass.
///
/// # Errors
/// When a number does not fit into 64 bits.
pub fn cost(spec: &Spec, pass: Pass, tokens: u64, bits: Bits) -> Result<Vec<CostRow>> {
    let blocks = 1..=spec.n_layers();
    let row = |((at, part), taken): (At, Taken)| {
        Ok(CostRow {
            pass: pass.name().into(),
            tokens,
            part: PARTS[part as usize].1.into(),
            layer: blocks.contains(&at).then(|| at as u32 - 1),
            flops: small(taken.flops)?,
            weight_bytes: bytes(taken.weights, bits.weights)?,
            kv_bytes_written: bytes(taken.written, bits.cache)?,
            kv_bytes_read: bytes(taken.read, bits.cache)?,
        })
    };
    taken(spec, pass, tokens).into_iter().map(row).collect()
}

/// The sums of what [`cost`] says of one pass, with what the model costs at any length.
///
/// # Errors
/// As [`cost`].
pub fn total(spec: &Spec, rows: &[CostRow], bits: Bits) -> Result<CostTotalRow> {
    let sum = |of: &dyn Fn(&CostRow) -> u64| small(rows.iter().map(|row| u128::from(of(row))).sum());
    let (pass, tokens) = rows.first().map(|row| (row.pass.clone(), row.tokens)).unwrap_or_default();
    Ok(CostTotalRow {
        pass,
        tokens,
        flops: sum(&|row| row.flops)?,
        attention_flops: sum(&|row| if is_attention(&row.part) { row.flops } else { 0 })?,
        weight_bytes: sum(&|row| row.weight_bytes)?,
        kv_bytes_written: sum(&|row| row.kv_bytes_written)?,
        kv_bytes_read: sum(&|row| row.kv_bytes_read)?,
        kv_bytes: bytes(kept(spec, tokens), bits.cache)?,
        kv_bytes_per_token: bytes(kept(spec, 1), bits.cache)?,
        crossover_tokens: crossover(spec),
        context_limit: spec.n_ctx.map(|n| n as u64),
        parameters: spec.n_params() as u64,
        weight_bits: bits.weights,
        cache_bits: bits.cache,
    })
}

/// The shortest context in which scores and mixing of one more token take as many operations as all the rest of it. None where no context
/// is long enough, because windows end, and of bidirectional models.
pub fn crossover(spec: &Spec) -> Option<u64> {
    let rest = taken(spec, Pass::Token, 1).into_iter().filter(|((_, part), _)| !is_attention(PARTS[*part as usize].1));
    let rest: u128 = rest.map(|(_, taken)| taken.flops).sum();
    let reached = |tokens: u64| {
        let of_layer = |a: &Attention| 4 * (a.n_heads * a.d_head) as u128 * seen(a.mask, tokens.into());
        spec.blocks.iter().map(|block| of_layer(&block.attention.inner)).sum::<u128>() >= rest
    };
    let (mut least, mut most) = (1, LONGEST);
    if !spec.is_causal() || !reached(most) {
        return None;
    }
    // Attention grows with the context or stays as it is, and the rest stays.
    while least < most {
        let middle = (least + most) / 2;
        if reached(middle) { most = middle } else { least = middle + 1 }
    }
    Some(most)
}

/// Numbers of the cache that holds so many tokens.
fn kept(spec: &Spec, tokens: u64) -> u128 {
    let of_layer = |a: &Attention| 2 * (a.n_kv_heads * a.d_head) as u128 * seen(a.mask, tokens.into());
    match spec.is_causal() {
        true => spec.blocks.iter().map(|block| of_layer(&block.attention.inner)).sum(),
        false => 0,
    }
}

/// The longest context that is counted: no model is near it, and 128 bits hold all that it takes.
pub const LONGEST: u64 = 1 << 40;

/// The lengths that are counted where none is given: the longest that the model can position, and halves of it.
fn lengths(spec: &Spec) -> Vec<u64> {
    let longest = spec.n_ctx.unwrap_or(8192) as u64;
    let mut lengths: Vec<u64> = (0..7).map(|halved| (longest >> halved).max(1)).collect();
    lengths.dedup();
    lengths.reverse();
    lengths
}

fn bytes(numbers: u128, bits: u32) -> Result<u64> {
    small((numbers * u128::from(bits)).div_ceil(8))
}

fn small(n: u128) -> Result<u64> {
    u64::try_from(n).map_err(|_| {
        Error::bad_input("the operations of so long a context do not fit into 64 bits").hint("give shorter contexts")
    })
}
