//! The tables of positions.

use crate::table;
use crate::table::TOKEN;

table! {
    /// One key of one query, at one distance.
    #[derive(Default)]
    PositionDecayRow = "position_decay" version 1 keyed by prompt, prompt_id, layer, head, query_pos, key_pos, distance:
    "The same word, further away: the score of a query and a key if they were `distance` positions apart, all else as it is. The query is \
     that of `query_pos` and the key that of `key_pos`, after their norms and before rotation. Rotary positions: s q R(-distance) k, where s is \
     the model's own factor on scores and R(-distance) turns each pair of dimensions; what YaRN multiplies angles' cosines and sines by is in \
     it. ALiBi: s q k - slope x distance. No positions in attention: s q k. Learned positions: the key is made anew of its stream with \
     the vector of `key_pos` replaced by that of `query_pos - distance`, through the norm; that is exact in layer 0, and in later layers \
     only the direct part, for what layers before made of the position stays. A cap on scores comes last (before ALiBi's penalty). Where `own` is \
     true the score is `hook_attn_scores`, within rounding. It need not fall with distance: that depends on query and key. In f64, from the \
     queries and keys of the run. Rows come by prompt, layer, query, head, key and distance.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    layer: u32, "index", "block, counted from 0";
    head: u32, "index", "query head, counted from 0";
    kind: String, "", "how the block knows positions, as in `position_layers`";
    query_pos: u32, "index", "position of the query, counted from 0";
    query_token: String, TOKEN, "the token there";
    key_pos: u32, "index", "position of the key in the prompt, at the query or before it";
    key_token: String, TOKEN, "the token there";
    distance: u32, "positions", "how far before the query the key is put; 0 is the query's own position";
    score: f64, "", "the score there, before softmax";
    own: bool, "", "whether this is the distance in the prompt itself: `query_pos - key_pos`";
}

table! {
    /// One block, and how it knows positions.
    #[derive(Default)]
    PositionLayerRow = "position_layers" version 1 keyed by layer:
    "How each block knows what came first, by the model's configuration.";
    layer: u32, "index", "block, counted from 0";
    kind: String, "", "`learned`: vectors added to the stream; `learned-qk`: vectors added to what queries and keys read, in every block; `rotary`; \
        `alibi`; `none`: the mask alone, which still leaks order: the first position sees one key, the second two";
    mask: String, "", "`causal`, `window` or `bidirectional`";
    window: Option<u32>, "keys", "how many keys a query sees, itself among them; null where that is all";
    context: Option<u32>, "positions", "the longest prompt that the model can position; null where nothing bounds it";
    d_head: u32, "dimensions", "width of a head";
    rotated: Option<u32>, "dimensions", "rotary: how many of them turn; null elsewhere, as all that follows";
    theta: Option<f64>, "", "rotary: base of the series of wavelengths";
    scaling: Option<String>, "", "rotary: how frequencies are changed for longer contexts: `none`, `linear`, `llama3` or `yarn`";
    attention_factor: Option<f64>, "", "rotary: what cosines and sines are multiplied by (YaRN); 1 elsewhere";
}

table! {
    /// One position of a learned table.
    #[derive(Default)]
    PositionVectorRow = "position_vectors" version 1 keyed by pos:
    "Learned positions: the length of each vector, and where it lies along the first two principal components of the vectors that are \
     compared (see --positions), their mean removed. The sign of a component is the one that makes its largest coordinate positive. In f64.";
    pos: u32, "index", "position, counted from 0";
    table_row: u32, "index", "the row of the table of weights; in some models the first position is not its first row";
    norm: f64, "", "length of the vector";
    cos_to_mean: Option<f64>, "cosine", "cosine to the mean vector: what all positions have in common; null where either is 0";
    x: Option<f64>, "", "along the first component; null beyond the positions that are compared";
    y: Option<f64>, "", "along the second";
    explained_x: f64, "share", "of the variation of these vectors, what the first component has";
    explained_y: f64, "share", "the same of the second";
}

table! {
    /// Two positions of a learned table.
    #[derive(Default)]
    PositionCosineRow = "position_cosines" version 1:
    "Learned positions: how alike the vectors of every two positions are (see --positions). One row is a pair, and a position with \
     itself is none. In f64.";
    pos_a: u32, "index", "the earlier position, counted from 0";
    pos_b: u32, "index", "the later one";
    distance: u32, "positions", "how far they are apart";
    cosine: Option<f64>, "cosine", "cosine of the two vectors; null where one is 0";
}

table! {
    /// One wave of a learned table.
    #[derive(Default)]
    PositionWaveRow = "position_waves" version 1:
    "Learned positions: which waves are in the table. For each frequency, the share of the variation of the vectors over positions (mean \
     removed, see --positions) that a sine and a cosine of it take: the periodogram, summed over dimensions. Every eighth frequency \
     is one of the discrete Fourier transform, and these come to 1; those between are for finding peaks. In f64.";
    step: u32, "index", "which frequency, in eighths of a turn over all positions that are compared";
    frequency: f64, "radians per position", "the frequency";
    period: f64, "positions", "after how many positions the wave comes again";
    share: f64, "share", "how much of the variation of the vectors it takes";
    fourier: bool, "", "whether it is one of the discrete Fourier transform";
    peak: bool, "", "whether it takes more than its neighbours on either side";
}

table! {
    /// One pair of dimensions that turn together.
    #[derive(Default)]
    PositionRotaryRow = "position_rotary" version 1 keyed by prompt, prompt_id, layer, pair:
    "Rotary positions: how fast each pair of dimensions of a head turns, with the model's scaling, in f32 as it runs. One row is a pair of \
     dimensions of a block for one prompt.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    layer: u32, "index", "block, counted from 0";
    pair: u32, "index", "which pair, the fastest first";
    dim_a: u32, "index", "the first dimension of the head";
    dim_b: u32, "index", "the other";
    angle: f64, "radians per position", "how far it turns from one token to the next";
    angle_unscaled: f64, "radians per position", "the same before the model's scaling: theta to the power of -2 pair / rotated";
    wavelength: f64, "positions", "after how many tokens it is back";
    turns_prompt: f64, "turns", "how often it turns from the first token of this prompt to the last";
    turns_context: Option<f64>, "turns", "how often it turns from the first position of the context to the last; null where nothing bounds it";
}

table! {
    /// One head's penalty at one distance.
    #[derive(Default)]
    PositionAlibiRow = "position_alibi" version 1 keyed by layer, head, distance:
    "ALiBi: what is taken away from a head's scores at each distance. One row is a head and a distance.";
    layer: u32, "index", "block, counted from 0";
    head: u32, "index", "query head, counted from 0";
    slope: f64, "per position", "what each position costs, in f32 as it runs";
    distance_e: f64, "positions", "the distance at which a key that ties without the penalty has a probability e times less: 1 / slope";
    distance: u32, "positions", "how far the key is before the query";
    penalty: f64, "", "what is taken away from the score: slope x distance";
    tie: f64, "share", "what is left of the weight of a key that ties without the penalty: e to the power of -penalty";
}

table! {
    /// One candidate in one run.
    #[derive(Default)]
    PositionBoardRow = "position_boards" version 1 keyed by prompt, prompt_id, run, token_id:
    "What comes next if positions are taken away, or two words swapped: the most probable tokens of each run, beside those of the prompt as it \
     is. A candidate that is shown in one run has a row in all. Sums are in f64, over the whole vocabulary.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    run: String, "", "`given`: the prompt as it is; `swapped`: two words swapped; `unplaced`: positions made equal: `hook_pos_embed` is zero, \
        queries and keys do not turn, no distance has a penalty, and the mask stays; `swapped-unplaced`: both";
    text: String, "", "the tokens of the run, joined";
    tokens: u32, "tokens", "how many they are";
    rank: u32, "rank", "the candidate's place among all tokens in this run, 1 = most probable, of equals the lower id first";
    token: String, TOKEN, "the candidate, after the last position";
    token_id: u32, "vocabulary id", "its id";
    logit: f32, "logits", "what the model says";
    prob: f64, "probability", "its probability";
    prob_given: f64, "probability", "its probability in the run `given`";
    kl_bits: f64, "bits", "KL divergence of this run from the one it is told from: of `swapped` and `unplaced` from `given`, of `swapped-unplaced` from `unplaced`; \
        0 of `given`";
}
