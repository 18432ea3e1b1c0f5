//! What two architectures can differ in: each choice with its value in a model, and one sentence on what it changes.

use crate::analysis::model::{activation, arrangement, positions};
use crate::arch::Spec;
use crate::arch::spec::{Attention, Block, FeedForward, Gain, Mask, Norm, NormKind};
use crate::number::Locale;

/// A choice that an architecture makes.
pub struct Trait {
    /// What it is called.
    pub name: &'static str,
    /// What a model has.
    pub of: fn(&Spec) -> String,
    /// What the choice changes.
    pub changes: &'static str,
}

/// Every choice that is compared, from the input to the output.
pub const TRAITS: &[Trait] = &[
    Trait {
        name: "layers",
        of: |spec| spec.n_layers().to_string(),
        changes: "A layer can only read what earlier ones wrote: more layers allow more steps one after another, and take time in proportion.",
    },
    Trait {
        name: "width",
        of: |spec| Locale::EN.count(spec.d_model as u64),
        changes: "The residual stream is all that layers share: a wider one holds more at once, and linear layers grow with it.",
    },
    Trait {
        name: "vocabulary",
        of: vocabulary,
        changes: "With more tokens a text is fewer of them; embedding and unembedding have a row for each.",
    },
    Trait {
        name: "context",
        of: |spec| spec.n_ctx.map_or("no limit".into(), |n| format!("{} positions", Locale::EN.count(n as u64))),
        changes: "Nothing further back than the context can be read at all.",
    },
    Trait {
        name: "positions",
        of: |spec| by_layer(spec, |block| positions(spec, &block.attention.inner.position)),
        changes: "Learned positions are vectors in the stream, known up to their last row; rotary ones turn queries and keys, so that scores \
                  see distances; ALiBi lowers scores with the distance; without any, the mask alone tells what came first.",
    },
    Trait {
        name: "embedding scale",
        of: |spec| spec.embedding.scale.map_or("none".into(), short),
        changes: "A factor on the embedding says how much the input counts beside what layers add.",
    },
    Trait {
        name: "embedding norm",
        of: |spec| spec.embedding.norm.as_ref().map_or("none".into(), kind),
        changes: "A norm on the embedding gives every token the same size at the start.",
    },
    Trait {
        name: "blocks",
        of: |spec| by_layer(spec, |block| arrangement(block.arrangement, block.mlp.is_none()).to_owned()),
        changes: "In a parallel block the MLP does not see what attention of the same layer adds, and both can be computed at once.",
    },
    Trait {
        name: "norm",
        of: |spec| by_layer(spec, |block| first_norm(block).map_or("none".into(), |norm| kind(&norm))),
        changes: "Layer norm takes the mean of the stream away and divides by its deviation; RMS norm divides by the size alone, so that the \
                  mean is read too.",
    },
    Trait {
        name: "norm place",
        of: |spec| by_layer(spec, place),
        changes: "A norm before a sublayer scales what it reads; one after it scales what it adds, which then has a size of its own \
                  whatever the sublayer writes.",
    },
    Trait {
        name: "final norm",
        of: |spec| spec.final_norm.as_ref().map_or("none".into(), kind),
        changes: "A final norm divides the stream by its size before it is read, so that each logit depends on all of it; without one logits are linear in the stream.",
    },
    Trait {
        name: "residual scale",
        of: |spec| by_layer(spec, |block| block.residual_scale.map_or("none".into(), short)),
        changes: "A factor on what sublayers add says how fast they outweigh the embedding.",
    },
    Trait {
        name: "heads",
        of: |spec| by_layer(spec, |b| of_attention(b, |a| format!("{} of {} dimensions", a.n_heads, a.d_head))),
        changes: "Every head chooses for itself where to look; the dimensions of a head bound how finely it can tell keys apart.",
    },
    Trait {
        name: "key/value heads",
        of: |spec| by_layer(spec, |block| of_attention(block, grouping)),
        changes: "Query heads that share keys and values make the cache of a context smaller, and look by the same keys.",
    },
    Trait {
        name: "attention window",
        of: |spec| by_layer(spec, |block| of_attention(block, |a| mask(a.mask))),
        changes: "A layer with a window looks no further back than that: what lies beyond must pass through several layers.",
    },
    Trait {
        name: "score scale",
        of: |spec| by_layer(spec, |block| of_attention(block, scale)),
        changes: "The factor on query times key sets how sharp attention is.",
    },
    Trait {
        name: "query/key norm",
        of: |spec| by_layer(spec, |block| of_attention(block, qk_norm)),
        changes: "Normalised queries and keys bound scores by their gains, whatever the size of the stream.",
    },
    Trait {
        name: "query/key/value clip",
        of: |spec| by_layer(spec, |block| of_attention(block, |a| a.clip_qkv.map_or("none".into(), short))),
        changes: "Queries, keys and values beyond the bound are cut off there.",
    },
    Trait {
        name: "score cap",
        of: |spec| by_layer(spec, |block| of_attention(block, |a| a.cap.map_or("none".into(), short))),
        changes: "A cap bends large scores down, so that no key can take all of the attention.",
    },
    Trait {
        name: "attention biases",
        of: |spec| by_layer(spec, |block| of_attention(block, biases)),
        changes: "With biases a head has queries, keys and values of its own even where the stream says nothing.",
    },
    Trait {
        name: "MLP",
        of: |spec| by_layer(spec, |block| of_mlp(block, mlp)),
        changes: "A gated MLP multiplies two readings of the stream, for which it has a third matrix; the nonlinearity says which neurons can be \
                  negative.",
    },
    Trait {
        name: "neurons",
        of: |spec| by_layer(spec, |block| of_mlp(block, |m| Locale::EN.count(m.neurons().d_mlp as u64))),
        changes: "Neurons are what an MLP can look for, each with one thing to write: most parameters are theirs.",
    },
    Trait {
        name: "experts",
        of: |spec| by_layer(spec, |block| of_mlp(block, experts)),
        changes: "A token goes through a few of the experts only: parameters grow with their number, operations with how many are used.",
    },
    Trait {
        name: "MLP biases",
        of: |spec| by_layer(spec, |block| of_mlp(block, |m| yes(m.neurons().bias || m.neurons().post_bias))),
        changes: "With biases neurons have thresholds of their own, and the MLP adds something that does not depend on the text.",
    },
    Trait {
        name: "MLP norm",
        of: |spec| by_layer(spec, |block| of_mlp(block, |m| m.neurons().norm.as_ref().map_or("none".into(), kind))),
        changes: "A norm on the neurons rescales them together, so that one neuron's write depends on all others.",
    },
    Trait {
        name: "unembedding",
        of: |spec| if spec.unembedding.tied { "tied to the embedding" } else { "its own matrix" }.into(),
        changes: "A tied unembedding writes tokens in the directions that embed them, and saves a matrix.",
    },
    Trait {
        name: "unembedding bias",
        of: |spec| yes(spec.unembedding.bias),
        changes: "A bias on logits makes some tokens more probable whatever the text.",
    },
    Trait {
        name: "logit scale",
        of: |spec| spec.unembedding.scale.map_or("none".into(), short),
        changes: "A factor on logits sets how sure the model is, and not what comes first.",
    },
    Trait {
        name: "logit cap",
        of: |spec| spec.unembedding.cap.map_or("none".into(), short),
        changes: "A cap bends large logits down: the model cannot be surer than it allows, and pushes on logits no longer add up exactly.",
    },
];

/// What all layers have; else each value with its layers.
fn by_layer(spec: &Spec, of: impl Fn(&Block) -> String) -> String {
    let mut values: Vec<(String, Vec<usize>)> = vec![];
    for (layer, block) in spec.blocks.iter().enumerate() {
        let value = of(block);
        match values.iter_mut().find(|(known, _)| *known == value) {
            Some((_, layers)) => layers.push(layer),
            None => values.push((value, vec![layer])),
        }
    }
    match &values[..] {
        [(one, _)] => one.clone(),
        several => {
            several.iter().map(|(value, layers)| format!("{value} ({})", ranges(layers))).collect::<Vec<_>>().join("; ")
        }
    }
}

/// `layers 0-2, 5`; where they are many apart, how many they are.
fn ranges(layers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = vec![];
    for layer in layers {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == *layer => *end = *layer,
            _ => runs.push((*layer, *layer)),
        }
    }
    if runs.len() > 4 {
        return format!("{} layers, the first {}", layers.len(), layers[0]);
    }
    let run = |(from, to): &(usize, usize)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    let word = if layers.len() == 1 { "layer" } else { "layers" };
    format!("{word} {}", runs.iter().map(run).collect::<Vec<_>>().join(", "))
}

fn of_attention(block: &Block, of: impl Fn(&Attention) -> String) -> String {
    of(&block.attention.inner)
}

fn of_mlp(block: &Block, of: impl Fn(&FeedForward) -> String) -> String {
    block.mlp.as_ref().map_or("none".into(), |mlp| of(&mlp.inner))
}

fn short(x: f64) -> String {
    Locale::EN.number(x as f32)
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

fn vocabulary(spec: &Spec) -> String {
    let (ins, outs) = (spec.d_vocab as u64, spec.unembedding.d_vocab_out as u64);
    let count = |n| Locale::EN.count(n);
    if ins == outs { format!("{} tokens", count(ins)) } else { format!("{} read, {} said", count(ins), count(outs)) }
}

fn first_norm(block: &Block) -> Option<Norm> {
    block.attention.pre_norm.or(block.attention.post_norm)
}

fn kind(norm: &Norm) -> String {
    let name = match norm.kind {
        NormKind::Layer => "layer norm",
        NormKind::Rms => "RMS norm",
    };
    let gain = match (norm.gain, norm.bias) {
        (Gain::None, _) => ", no gain",
        (Gain::Weight, true) => ", gain and bias",
        (Gain::Weight, false) => ", gain",
        (Gain::OnePlusWeight, _) => ", gain 1 + weight",
    };
    format!("{name}{gain}")
}

fn place(block: &Block) -> String {
    let (before, after) = (block.attention.pre_norm.is_some(), block.attention.post_norm.is_some());
    match (before, after) {
        (true, true) => "before and after sublayers",
        (true, false) => "before sublayers",
        (false, true) => "after sublayers",
        (false, false) => "none",
    }
    .to_owned()
}

fn grouping(a: &Attention) -> String {
    match a.shared_by() {
        1 => "one for each query head".to_owned(),
        n => format!("{}, each shared by {n} query heads", a.n_kv_heads),
    }
}

fn mask(mask: Mask) -> String {
    match mask {
        Mask::Causal => "none".into(),
        Mask::Window(n) => format!("{} tokens", Locale::EN.count(n as u64)),
        Mask::Bidirectional => "none, and later tokens are seen".into(),
    }
}

fn scale(a: &Attention) -> String {
    let usual = 1.0 / (a.d_head as f64).sqrt();
    // A configuration may give it as a rounded number.
    match (a.scale / usual - 1.0).abs() < 1e-6 {
        true => "1/√(dimensions of a head)".to_owned(),
        false => short(a.scale),
    }
}

fn qk_norm(a: &Attention) -> String {
    a.qk_norm.as_ref().map_or("none".into(), |of| {
        let over = if of.per_head { "of each head" } else { "over all heads" };
        format!("{} {over}", kind(&of.norm))
    })
}

fn biases(a: &Attention) -> String {
    match (a.qkv_bias, a.out_bias) {
        (true, true) => "on queries, keys, values and output",
        (true, false) => "on queries, keys and values",
        (false, true) => "on the output",
        (false, false) => "none",
    }
    .to_owned()
}

fn mlp(mlp: &FeedForward) -> String {
    let gate = if mlp.neurons().gated { ", gated" } else { "" };
    format!("{}{gate}", activation(mlp.neurons().activation))
}

fn experts(mlp: &FeedForward) -> String {
    mlp.experts().map_or("none".into(), |e| format!("{} a token of {}", e.per_row, e.n_experts))
}
