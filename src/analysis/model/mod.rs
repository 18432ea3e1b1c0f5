//! A model: what is it?

mod options;
pub mod rows;

use crate::arch::Spec;
use crate::arch::spec::{
    Activation, AddedTo, Arrangement, FeedForward, Gain, Mask, Norm, NormKind, Position, RopeScaling,
};
use crate::number::Locale;
pub use options::{Described, Model};
pub use rows::ModelRow;

/// The spec in words, one property a row.
pub fn facts(spec: &Spec) -> Vec<ModelRow> {
    let mut facts = vec![];
    let mut say = |property: &str, value: String| facts.push(ModelRow { property: property.into(), value });
    let first = &spec.blocks[0];
    let a = &first.attention.inner;
    say("family", family(spec));
    say("parameters", Locale::EN.count((spec.n_params()) as u64));
    say("layers", spec.n_layers().to_string());
    say("d_model", spec.d_model.to_string());
    say("d_vocab", vocabulary(spec));
    say("context", spec.n_ctx.map_or("no limit".into(), |n| format!("{n} positions")));
    say("heads", heads(a.n_heads, a.n_kv_heads, a.d_head));
    say("block", arrangement(first.arrangement, first.mlp.is_none()).into());
    say("norm", first.attention.pre_norm.or(first.attention.post_norm).map_or("none".into(), norm));
    say("positions", positions(spec, &a.position));
    say("attention", varied(spec, |b| mask(b.attention.inner.mask)));
    if spec.blocks.iter().any(|b| b.mlp.is_some()) {
        say("mlp", varied(spec, |b| b.mlp.as_ref().map_or("none".into(), |m| feed_forward(&m.inner))));
    }
    say("unembedding", if spec.unembedding.tied { "tied to the embedding" } else { "its own matrix" }.into());
    if !spec.processed.is_empty() {
        say("processed", spec.processed.iter().map(|p| p.name()).collect::<Vec<_>>().join(", "));
    }
    facts
}

/// The family, for people.
pub(super) fn family(spec: &Spec) -> String {
    spec.family.clone()
}

fn vocabulary(spec: &Spec) -> String {
    let (ins, outs) = (spec.d_vocab, spec.unembedding.d_vocab_out);
    if ins == outs { ins.to_string() } else { format!("{ins} in, {outs} out") }
}

fn heads(n: usize, kv: usize, e: usize) -> String {
    let shared = if n == kv { String::new() } else { format!(", sharing {kv} key/value heads") };
    format!("{n} of {e} dimensions{shared}")
}

pub(super) fn arrangement(arrangement: Arrangement, no_mlp: bool) -> &'static str {
    match arrangement {
        _ if no_mlp => "attention only",
        Arrangement::Sequential => "attention, then MLP",
        Arrangement::Parallel => "attention and MLP in parallel, a norm each",
        Arrangement::ParallelSharedNorm => "attention and MLP in parallel, one norm",
    }
}

fn norm(norm: Norm) -> String {
    let kind = match norm.kind {
        NormKind::Layer => "layer norm",
        NormKind::Rms => "RMS norm",
    };
    let gain = match norm.gain {
        Gain::None => ", no gain",
        Gain::Weight => "",
        Gain::OnePlusWeight => ", gain 1 + weight",
    };
    format!("{kind}{gain}, eps {}", norm.eps)
}

pub(super) fn positions(spec: &Spec, position: &Position) -> String {
    let learned = spec.embedding.positions.map(|p| match p.added_to {
        AddedTo::Stream => format!("learned, {} rows", p.rows),
        AddedTo::QueriesAndKeys => format!("learned, {} rows, added to what queries and keys read", p.rows),
    });
    match position {
        Position::None => learned.unwrap_or("none".into()),
        Position::Alibi => "ALiBi".into(),
        Position::Rotary(r) => {
            let scaling = match &r.scaling {
                RopeScaling::None => "".into(),
                RopeScaling::Linear { factor } => format!(", linear scaling by {factor}"),
                RopeScaling::Llama3 { factor, .. } => format!(", Llama 3 scaling by {factor}"),
                RopeScaling::Yarn { factor, .. } => format!(", YaRN scaling by {factor}"),
            };
            format!("rotary over {} dimensions, theta {}{scaling}", r.dims, r.theta)
        }
    }
}

fn mask(mask: Mask) -> String {
    match mask {
        Mask::Causal => "causal".into(),
        Mask::Window(n) => format!("causal, window of {n}"),
        Mask::Bidirectional => "bidirectional".into(),
    }
}

pub(super) fn activation(activation: Activation) -> &'static str {
    match activation {
        Activation::Relu => "ReLU",
        Activation::GeluErf => "GELU",
        Activation::GeluTanh => "GELU (tanh)",
        Activation::Silu => "SiLU",
        Activation::Solu => "SoLU",
    }
}

fn feed_forward(mlp: &FeedForward) -> String {
    let n = mlp.neurons();
    let gate = if n.gated { ", gated" } else { "" };
    let norm = if n.norm.is_some() { ", a norm after it" } else { "" };
    let neurons = format!("{} neurons, {}{norm}{gate}", n.d_mlp, activation(n.activation));
    mlp.experts().map_or(neurons.clone(), |e| format!("{} experts, {} a token, of {neurons}", e.n_experts, e.per_row))
}

/// What all layers have, or what they have in turn.
fn varied(spec: &Spec, of: impl Fn(&crate::arch::spec::Block) -> String) -> String {
    let each: Vec<String> = spec.blocks.iter().map(of).collect();
    match each.iter().all(|e| *e == each[0]) {
        true => each[0].clone(),
        false => each.join(" | "),
    }
}
