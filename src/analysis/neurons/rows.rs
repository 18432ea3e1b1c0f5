//! The tables of neurons on prompts.

use crate::table;
use crate::table::TOKEN;

table! {
    /// One neuron at one position of a prompt: what it was, and how far its write pushes a token.
    NeuronRow = "neurons" version 1 keyed by prompt, prompt_id, pos, layer, expert, neuron:
    "The neurons whose writes push a token most. An MLP is a sum over its neurons, each of which adds its activation times its row of the \
     output map (Geva et al. 2021). A push is as in `residual`: logits less the mean logit, before any factor or cap, the scales of the final \
     norm and of a norm after the MLP held. One row is one neuron at one (prompt, position), the strongest first; `neuron_layers` has the \
     sums over all neurons. Of experts, what the router multiplies is in `write_norm`, `push` and `share_of_mlp`.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    pos: u32, "index", "position in the prompt, counted from 0";
    input_token: String, TOKEN, "the token read at this position";
    rank: u32, "rank", "its place among all neurons at this position by the size of `push`, 1 = strongest; of neurons that were asked for, \
        their place among those that are here";
    layer: u32, "index", "the block, counted from 0";
    expert: Option<u32>, "index", "the expert of that block, counted from 0; null where it has none";
    neuron: u32, "index", "which neuron of that MLP or expert, counted from 0";
    pre: f64, "", "its value before the nonlinearity";
    gate: Option<f64>, "", "in a gated MLP, what multiplies the value after the nonlinearity; null where nothing does";
    post: f64, "", "its activation: what the output map reads";
    write_norm: f64, "", "length of what it adds to the stream";
    target: String, TOKEN, "the token that is pushed: as asked, else the most probable one at this position";
    target_id: u32, "vocabulary id", "its id";
    push: f64, "logit", "how far it pushes the target, compared with the mean of all tokens";
    share_of_mlp: f64, "share", "its part of what the MLP adds to the stream: the component of its write along that, over the length of that. \
        All neurons and the bias come to 1; single ones may be negative, or over 1";
    promotes: String, TOKEN, "the three tokens that its write promotes most, with the sign that it has here";
    percentile: Option<f64>, "percent", "how many of the tokens of the corpus have a lower activation of it; null where no corpus was read";
}

table! {
    /// The MLP of one layer at one position: what all of its neurons come to.
    NeuronLayerRow = "neuron_layers" version 1:
    "What the neurons of `neurons` come to, layer by layer. One row is the MLP of one layer at one (prompt, position). All neurons and the \
     bias push as the MLP does, and `gap` says within what rounding.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    pos: u32, "index", "position in the prompt, counted from 0";
    layer: u32, "index", "the block, counted from 0";
    target: String, TOKEN, "the token that is pushed, as in `neurons`";
    target_id: u32, "vocabulary id", "its id";
    write_norm: f64, "", "length of what the MLP adds to the stream";
    push: f64, "logit", "how far that pushes the target";
    push_neurons: f64, "logit", "how far all neurons together push it";
    push_bias: f64, "logit", "how far the bias of the output map pushes it, and that of a norm after the MLP";
    gap: f64, "", "how far `push_neurons` and `push_bias` are from `push`, divided by the spread (largest less smallest logit of the model at \
        this position)";
    shown: u32, "neurons", "how many neurons of this layer are in `neurons`";
    shown_push: f64, "logit", "how far these push the target";
    shown_share: f64, "share", "their part of what the MLP adds to the stream: the sum of `share_of_mlp`";
}

table! {
    /// A token that a neuron promotes or suppresses.
    NeuronVocabRow = "neuron_vocab" version 1 keyed by layer, expert, neuron, sign, end, rank:
    "What a neuron says: the tokens whose logits its write raises and lowers most. Weights are effective ones: the neuron's row of the output \
     map, through the gain of a norm after the MLP, the gain of the final norm and the unembedding, means removed where a norm removes them. \
     One row is one token of one neuron with one sign.";
    layer: u32, "index", "the block, counted from 0";
    expert: Option<u32>, "index", "the expert of that block, counted from 0; null where it has none";
    neuron: u32, "index", "which neuron of that MLP or expert, counted from 0";
    sign: i64, "", "1 for what it says when its activation is positive, -1 when it is negative. In a gated MLP both happen: the one that it \
        had on a prompt is here";
    end: String, "", "`promoted` or `suppressed`";
    rank: u32, "rank", "its place at this end, 1 = furthest";
    token: String, TOKEN, "the token";
    token_id: u32, "vocabulary id", "its id";
    value: f64, "logit", "its logit less the mean logit for a write of activation 1, where norms divide by 1";
}
