//! The tables of cost.

use crate::table;

table! {
    /// What one part of one layer takes.
    CostRow = "cost" version 1 keyed by pass, tokens, part, layer:
    "What a model takes to compute, counted from its architecture. One row is one part of one layer in one pass over a context of so many \
     tokens. Norms, softmax, rotation, biases and look-ups count 0 operations.";
    pass: String, "", "`token`: the last token of the context, over keys and values of those before it; `prompt`: all tokens at once, with the logits of the last";
    tokens: u64, "tokens", "length of the context, the last token included";
    part: String, "", "`embed`, `qkv`, `scores` (query x key), `mix` (pattern x value), `out`, `mlp`, `router`, `experts`, `norms` or `unembed`";
    layer: Option<u32>, "index", "layer, counted from 0; null before and after the layers";
    flops: u64, "FLOP", "floating-point operations, a multiplication and an addition being two";
    weight_bytes: u64, "bytes", "weights that it reads, each once: of embeddings the rows that are looked up, of experts those that are chosen (in a prompt, as many as can be chosen)";
    kv_bytes_written: u64, "bytes", "keys and values that it adds to the cache; a layer with a window keeps no more than its window";
    kv_bytes_read: u64, "bytes", "keys (`scores`) or values (`mix`) of the cache that it reads, those of the token itself included; a prompt reads none";
}

table! {
    /// What a pass takes.
    CostTotalRow = "cost_total" version 1 keyed by pass, tokens:
    "What a model takes to compute: sums of `cost`. One row is one pass over a context of so many tokens. From `kv_bytes_per_token` on, the \
     columns are of the model and the same in every row.";
    pass: String, "", "`token`: the last token of the context, over keys and values of those before it; `prompt`: all tokens at once, with the logits of the last";
    tokens: u64, "tokens", "length of the context, the last token included";
    flops: u64, "FLOP", "floating-point operations";
    attention_flops: u64, "FLOP", "those of them that grow with the context: scores and mixing";
    weight_bytes: u64, "bytes", "weights that are read, each once; tied embeddings are read as rows and as the unembedding";
    kv_bytes_written: u64, "bytes", "keys and values that are added to the cache";
    kv_bytes_read: u64, "bytes", "keys and values of the cache that are read";
    kv_bytes: u64, "bytes", "what the cache takes when it holds the whole context";
    kv_bytes_per_token: u64, "bytes", "what each token adds to the cache as long as no window is full";
    crossover_tokens: Option<u64>, "tokens", "shortest context in which scores and mixing of a token take as many operations as all the rest of it; null where there is none";
    context_limit: Option<u64>, "tokens", "longest context that the model can position";
    parameters: u64, "parameters", "weights of the model, tied ones counted once";
    weight_bits: u32, "bits", "bits of a weight, as they were asked for";
    cache_bits: u32, "bits", "bits of a key or value in the cache, as they were asked for";
}

table! {
    /// How long a pass took.
    CostMeasuredRow = "cost_measured" version 1 keyed by pass, tokens:
    "How long passes took on this machine, beside how long they must take at least. One row is one pass over a context of so many tokens. \
     These numbers come from a clock: another run gives others. The prediction is the roofline (Williams et al. 2009): each part of each \
     layer takes the longer of its operations at `flop_rate` and its bytes at `byte_rate`, both measured here with one linear layer.";
    pass: String, "", "`token` or `prompt`, as in `cost`";
    tokens: u64, "tokens", "length of the context, the last token included";
    runs: u32, "runs", "how many times it ran";
    seconds: f64, "seconds", "median of them";
    seconds_least: f64, "seconds", "the shortest";
    seconds_most: f64, "seconds", "the longest";
    seconds_predicted: f64, "seconds", "what the roofline says";
    flops: u64, "FLOP", "floating-point operations, as in `cost_total`";
    bytes: u64, "bytes", "weights and cache that are read and written, as they are kept here";
    flop_rate: f64, "FLOP/s", "operations in a second, of a linear layer over many rows";
    byte_rate: f64, "bytes/s", "bytes in a second, of a linear layer over one row, as large as the model";
    threads: u32, "threads", "threads that computed";
}
