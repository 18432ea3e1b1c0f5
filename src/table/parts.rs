//! Columns that several tables share: where a value is, what was measured when it was changed, and what was done to it.

use super::row::TOKEN;
use crate::part;

part! {
    /// Where a value is. A coordinate that is null was not swept: all of its values were changed at once.
    #[derive(Default)]
    Place:
    site: String, "site", "which value, e.g. `resid_pre`, `attn.z`";
    layer: Option<u32>, "index", "in which block, counted from 0; the middle where several were changed around it; null outside the blocks";
    head: Option<u32>, "index", "in which query head";
    kv_head: Option<u32>, "index", "in which key/value head; for a query head, the one that it reads";
    neuron: Option<u32>, "index", "which neuron";
    pos: Option<u32>, "index", "at which position; of a mean, null where pairs have it at different ones";
    query_pos: Option<u32>, "index", "of scores and patterns: for which query; of a mean as `pos`";
    key_pos: Option<u32>, "index", "of scores and patterns: for which key; of a mean as `pos`";
    position_name: Option<String>, "", "what the position is called: by the name it was given, or `-1`, `-2`, ... where positions are \
        counted from the end; null where they are counted from the beginning", since 2;
    key_position_name: Option<String>, "", "the same for `key_pos`", since 2;
    token: Option<String>, TOKEN, "the clean prompt's token at `pos` or `query_pos`; of a mean, where all pairs have the same";
    key_token: Option<String>, TOKEN, "the clean prompt's token at `key_pos`; of a mean, where all pairs have the same";
}

part! {
    /// What a changed run was measured to do, beside the runs with nothing changed.
    Measured:
    metric: String, "", "what was measured; its unit is the last part of its name, logits where there is none";
    clean: f32, "of the metric", "the metric of the clean run";
    corrupt: Option<f32>, "of the metric", "the metric of the corrupt run; null where there is no corrupt prompt";
    patched: Option<f32>, "of the metric", "the metric of the patched run; null where that is not finite";
    recovered: Option<f32>, "share", "(patched - corrupt) / (clean - corrupt): 0 as corrupt, 1 as clean; null where these do not differ, \
        or `patched` is null";
}

part! {
    /// The same on the mean over pairs.
    MeasuredMean:
    metric: String, "", "what was measured; its unit is the last part of its name, logits where there is none";
    pairs: u32, "pairs", "over how many pairs `patched`, `change` and `recovered` are means: those whose patched run is finite";
    clean: f32, "of the metric", "mean of the clean runs, of all pairs";
    corrupt: Option<f32>, "of the metric", "mean of the corrupt runs, of all pairs";
    patched: Option<f32>, "of the metric", "mean of the patched runs; null where none is finite";
    patched_se: Option<f32>, "of the metric", "its standard error; null for a single pair";
    change: Option<f32>, "of the metric", "mean of patched - clean; null where none is finite";
    change_se: Option<f32>, "of the metric", "its standard error; null for a single pair";
    recovered: Option<f32>, "share", "mean of what each pair recovered: 0 as corrupt, 1 as clean";
    recovered_se: Option<f32>, "share", "its standard error; null for a single pair";
}

part! {
    /// What was done to a value, and in which run.
    #[derive(Default)]
    Done:
    kind: String, "", "what became of the value, as it was asked for: `replace`, `zero`, `mean`, `mean-by-position`, `resample`, \
        `noise=3`, `scale=0.5`, `add=2`, `knock-out`", since 2;
    direction: Option<String>, "", "which run was changed: `denoise` for the corrupt run, `noise` for the clean one; null where there \
        is no corrupt run", since 2;
    at_once: Option<String>, "", "of what was not gone over, what was changed at once where that is some and not all, as it was asked \
        for: `layers 0-2`, `positions io, s2`, or both; null where it is all, and in files of versions 1 and 2", since 3;
}

part! {
    /// In how many layers it was done, and what made the corrupt run where that is not another prompt (causal tracing).
    #[derive(Default)]
    Around:
    window: u32, "layers", "how many neighbouring layers are patched at once, around `layer`", since 2;
    noise: Option<f32>, "deviations", "causal tracing: how strong the noise is that makes the clean prompt the corrupt one; null where \
        the corrupt one is another prompt", since 2;
    noise_at: Option<String>, "", "at which positions that noise is, e.g. `1,2`; null where there is none, where pairs have it at \
        different ones, and in files of version 1", since 2;
    noise_tokens: Option<String>, TOKEN, "the clean prompt's tokens there, joined; null where there is no noise, where pairs have \
        different ones, and in files of version 1", since 2;
}

part! {
    /// Whether a change took place and could be measured.
    #[derive(Default)]
    Outcome:
    changed: bool, "", "whether what was put there, or what the sender then writes, differs, bit for bit, from what was there; where it \
        does not, nothing was run and `patched` is the metric of the run as it was", since 2;
    reached: bool, "", "whether a change could reach what is measured, so that a run was made; where it could not, `patched` is the \
        metric of the run as it was", since 2;
    not_finite: Option<String>, "", "where the patched run stopped being numbers: the hook and position of its first value that is NaN \
        or infinite, e.g. `blocks.2.hook_mlp_out at position 3`; null where all is finite", since 2;
}

part! {
    /// In how many pairs it did.
    #[derive(Default)]
    OutcomeMean:
    changed: u32, "pairs", "in how many pairs what was put there differs, bit for bit, from what was there", since 2;
    reached: u32, "pairs", "in how many pairs a change could reach what is measured", since 2;
    not_finite: u32, "pairs", "how many more pairs there are, left out because their patched run is not finite", since 2;
}
