//! The tables of features over corpora.

use super::read::Feature;
use super::summary::Column;
use crate::table::TOKEN;
use crate::{part, table};

part! {
    /// Which feature over which corpus.
    FeatureKey:
    corpus: String, "", "the corpus";
    hook: String, "hook name", "the value that it is a column of";
    layer: Option<u32>, "index", "the block, counted from 0; null outside the blocks";
    expert: Option<u32>, "index", "the expert of that block, counted from 0";
    head: Option<u32>, "index", "the head, of values that have heads";
    neuron: u32, "index", "which column, counted from 0: neuron, dimension or expert";
}

part! {
    /// How a feature behaves over a corpus.
    FeatureNumbers:
    tokens_seen: u64, "tokens", "how many tokens";
    frac_positive: f64, "share", "at how many of them it is over 0";
    mean: f64, "", "its mean";
    std: f64, "", "its standard deviation, as of the whole that the tokens are";
    min: f32, "", "its smallest value";
    max: f32, "", "its largest value";
}

impl FeatureKey {
    /// Of this feature, over the corpus of this name.
    pub(super) fn of(corpus: &str, feature: &Feature) -> Self {
        Self {
            corpus: corpus.to_owned(),
            hook: feature.point.to_string(),
            layer: feature.point.layer.map(|l| l as u32),
            expert: feature.point.expert.map(|e| e as u32),
            head: feature.head,
            neuron: feature.index,
        }
    }
}

impl FeatureNumbers {
    pub(super) fn of(column: &Column) -> Self {
        Self {
            tokens_seen: column.tokens,
            frac_positive: column.positive as f64 / column.tokens as f64,
            mean: column.mean,
            std: column.std,
            min: column.least,
            max: column.most,
        }
    }
}

table! {
    /// One feature over one corpus, in numbers.
    NeuronStatsRow = "neuron_stats" version 1:
    "How a feature behaves over a corpus: a neuron, or any other column of a hook. One row is one feature over one corpus. Counts, means and \
     deviations are of every token that is read, in f64; a neuron of an expert is 0 at tokens that do not go through it. Quantiles are those \
     of a sample of tokens, drawn without replacement: the least value with at least that share of the sample up to it.";
    ..feature: FeatureKey;
    ..numbers: FeatureNumbers;
    q01: f32, "", "the value with 1 % of the sample up to it";
    q05: f32, "", "with 5 %";
    q25: f32, "", "with 25 %";
    q50: f32, "", "with 50 %: its median";
    q75: f32, "", "with 75 %";
    q95: f32, "", "with 95 %";
    q99: f32, "", "with 99 %";
    sample_tokens: u64, "tokens", "how many tokens the sample has";
    quantile_error: f64, "share", "how far the share of all tokens up to a quantile may be from its name, at 95 % (Dvoretzky, Kiefer and \
        Wolfowitz): 0 where the sample is the whole corpus";
    token_only_r2: Option<f64>, "share", "how much of it the current token alone explains: adjusted R² of its means over the most frequent \
        tokens of the corpus, among these tokens. Of noise about 0, and below as often as above; null where it does not change";
    r2_tokens: u64, "tokens", "how many tokens of the corpus are one of the frequent ones";
}

table! {
    /// A token of a corpus at which a feature is worth looking at.
    NeuronExampleRow = "neuron_examples" version 1 keyed by corpus, hook, layer, expert, head, neuron, kind, group, rank:
    "Where a feature of `neuron_stats` is largest, smallest, and as it usually is. One row is one token of a corpus. `top` and `bottom` are \
     the furthest of all tokens, at most one of a document, of equals the one that comes first; `quantile` are drawn from each tenth of the \
     sample by value; `random` are drawn from all of it, the same tokens for every feature. What top examples alone suggest, another \
     corpus may refute (Bolukbasi et al. 2021).";
    ..feature: FeatureKey;
    kind: String, "", "`top`, `bottom`, `quantile` or `random`";
    group: Option<u32>, "index", "of `quantile`, which tenth, 0 = the smallest values";
    rank: u32, "rank", "its place among those of its kind and group, 1 = furthest; of `quantile` and `random`, in the order of the draw";
    doc: u64, "index", "the document, counted from 0";
    doc_id: String, "", "its id";
    pos: u32, "index", "the token's position in the document, counted from 0";
    value: f32, "", "the value there";
    left: String, "", "the text before the token";
    token: String, TOKEN, "the token";
    right: String, "", "the text after it";
}

table! {
    /// A token of the text of an example.
    NeuronCardRow = "neuron_cards" version 1 keyed by corpus, hook, layer, expert, head, neuron, kind, group, rank, offset:
    "Cards of the features that stand out most, or that were named: some examples of each with the value at every token of their text, the \
     feature's numbers of `neuron_stats`, and the tokens of `neuron_vocab`. One row is one token of one example. Values before the example's \
     token are of a run of its sequence up to the end of the text.";
    ..feature: FeatureKey;
    ..numbers: FeatureNumbers;
    token_only_r2: Option<f64>, "share", "as in `neuron_stats`";
    promotes: Option<String>, TOKEN, "of a neuron, the tokens that a positive activation promotes most, with commas between them";
    suppresses: Option<String>, TOKEN, "of a neuron, the tokens that it suppresses most";
    kind: String, "", "which example, as in `neuron_examples`";
    group: Option<u32>, "index", "as in `neuron_examples`";
    rank: u32, "rank", "as in `neuron_examples`";
    doc_id: String, "", "the document's id";
    pos: u32, "index", "the position of the example's token in the document";
    offset: i64, "tokens", "which token of the text this is, counted from the example's token, which is 0";
    token: String, TOKEN, "the token";
    value: f32, "", "the feature's value there";
}
