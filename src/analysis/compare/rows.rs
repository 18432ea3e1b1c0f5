//! The tables of comparisons between models.

use crate::table;
use crate::table::TOKEN;

table! {
    /// One choice of architecture, in the reference and in another model.
    CompareSpecRow = "compare_spec" version 1 keyed by model, property:
    "Which choices of architecture differ. One row is one choice of one model beside the same choice of the reference, the first model that \
     was named.";
    model: String, "", "the model";
    property: String, "", "the choice, e.g. `norm` or `positions`";
    reference: String, "", "the model it is compared with";
    value_reference: String, "", "what the reference has";
    value: String, "", "what the model has";
    differs: bool, "", "whether that is not the same";
    changes: String, "", "what the choice changes, in one sentence";
}

table! {
    /// How many parameters a part has.
    CompareParametersRow = "compare_parameters" version 1:
    "How many parameters each part of each model has, counted from its configuration. One row is one part of one model, all layers together, \
     or `all`. The parts are those of the table `cost`; biases count with their linear layer, a tied unembedding with the embedding.";
    model: String, "", "the model";
    part: String, "", "`embed`, `qkv`, `out`, `mlp`, `router`, `experts`, `norms`, `unembed`, or `all`";
    parameters: u64, "parameters", "how many it has; 0 where the model has no such part";
    share: f64, "share", "of all of the model's parameters";
    reference: String, "", "the model it is compared with";
    parameters_reference: u64, "parameters", "how many that has; 0 where it has no such part";
    difference: i64, "parameters", "how many more the model has than the reference";
}

table! {
    /// One of the models that are compared.
    CompareModelsRow = "compare_models" version 1:
    "The models that are compared, and how far each is from the first, the reference. One row is one model. Means of \
     `compare_positions` count every position once. Bits per byte are sums of surprise over the bytes of text that both predict, those of \
     `compare_bytes`; for models with the reference's tokenizer, those of all tokens but the first.";
    model: String, "", "the model";
    step: Option<u64>, "steps", "of a checkpoint of training, the number in its name; else null";
    family: String, "", "its family, as its configuration says";
    revision: Option<String>, "", "the commit on the Hub; null for folders and the built-in model";
    weights_hash: Option<String>, "", "hash over its weights; null where they were not looked at";
    parameters: u64, "parameters", "weights, tied ones counted once";
    reference: String, "", "the model it is compared with; the reference itself in its own row";
    positions: u64, "positions", "at how many positions the distributions were compared: where both read the same tokens";
    kl_bits: Option<f64>, "bits", "mean of KL(reference || model) over them";
    js_bits: Option<f64>, "bits", "mean Jensen-Shannon divergence over them";
    delta_log_prob_bits: Option<f64>, "bits", "mean of how much more probable the model finds the token that came, in log2, over the positions that a token follows";
    same_first: Option<f64>, "share", "of them, where both find the same token most probable";
    bytes: u64, "bytes", "how many bytes of text both predict";
    bits_per_byte: Option<f64>, "bits per byte", "surprise of the model for each of them";
    bits_per_byte_reference: Option<f64>, "bits per byte", "surprise of the reference for the same bytes";
}

table! {
    /// One position, and how two models continue it.
    ComparePositionsRow = "compare_positions" version 1:
    "How differently two models continue a text at each position. One row is one position of one prompt and one model beside the reference, where \
     both read the same tokens. Distributions are over the tokens that both can say, and sums in f64.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    model: String, "", "the model";
    pos: u32, "index", "the position after which both predict, counted from 0";
    reference: String, "", "the model it is compared with";
    token: String, TOKEN, "the token at the position";
    token_id: u32, "vocabulary id", "its id";
    next: Option<String>, TOKEN, "the token that came next; null at the last position";
    next_id: Option<u32>, "vocabulary id", "its id";
    kl_bits: f64, "bits", "KL(reference || model): the extra bits that the model takes to code what the reference expects; 0 where both are the same";
    js_bits: f64, "bits", "Jensen-Shannon divergence: symmetric, 0 where both are the same, 1 where they have nothing in common";
    loss_bits_reference: Option<f64>, "bits", "surprise of the reference at `next`: minus log2 of its probability";
    loss_bits: Option<f64>, "bits", "surprise of the model";
    delta_log_prob_bits: Option<f64>, "bits", "how much more probable the model finds `next`, in log2; negative where it finds it less probable";
    rank_reference: Option<u32>, "rank", "place of `next` for the reference, 1 = most probable";
    rank: Option<u32>, "rank", "its place for the model";
    rank_change: Option<i64>, "ranks", "by how many places the model puts it higher";
    first_reference: String, TOKEN, "the token that the reference finds most probable";
    first_reference_id: u32, "vocabulary id", "its id";
    first_reference_prob: f64, "probability", "its probability for the reference";
    first: String, TOKEN, "the token that the model finds most probable";
    first_id: u32, "vocabulary id", "its id";
    first_prob: f64, "probability", "its probability for the model";
    same_first: bool, "", "whether these are the same token";
}

table! {
    /// Bytes of a text between two boundaries that tokenizers share.
    CompareBytesRow = "compare_bytes" version 1 keyed by prompt, prompt_id, model, byte_start, byte_end:
    "How surprised two models with different tokenizers are by the same bytes. One row is one stretch of a text of one prompt and one model beside \
     the reference: the bytes between two neighbouring places where a token ends for both. Surprises of the tokens in it are added up. A \
     stretch in which a token of either has nothing before it is left out.";
    prompt: u32, "index", "which prompt of the request, counted from 0";
    prompt_id: String, "", "the prompt's id, as given; its index where none was";
    model: String, "", "the model";
    byte_start: u32, "bytes", "where the stretch starts in the prompt's UTF-8";
    byte_end: u32, "bytes", "where it ends, exclusive";
    reference: String, "", "the model it is compared with";
    text: String, TOKEN, "its text; bytes that are no whole character as `\\xF0`";
    tokens_reference: u32, "tokens", "how many tokens it is for the reference";
    tokens: u32, "tokens", "how many it is for the model";
    bits_reference: f64, "bits", "surprise of the reference at all of them";
    bits: f64, "bits", "surprise of the model at all of its own";
    bits_per_byte_reference: f64, "bits per byte", "the same for each byte";
    bits_per_byte: f64, "bits per byte", "the same for each byte";
    delta_bits_per_byte: f64, "bits per byte", "model less reference: negative where the model is less surprised";
}

table! {
    /// One number of one row, in two runs.
    CompareRunsRow = "compare_runs" version 1 keyed by table, keys, column:
    "Two runs of one analysis, joined on the keys of their tables. One row is one number of a row that both have; the first run is the \
     reference. Numbers that are null in either are left out.";
    table: String, "", "the table that both runs have";
    keys: String, "JSON", "which row of it: its keys by name, without those that are null";
    column: String, "", "the number's column";
    unit: String, "", "the unit of that column";
    value_reference: f64, "of the column", "the number in the first run";
    value: f64, "of the column", "the number in the second run";
    difference: f64, "of the column", "second less first";
}

table! {
    /// One column, in two runs.
    CompareColumnsRow = "compare_columns" version 1:
    "Two runs of one analysis, column by column: how many rows of a table have the same keys in both, and how far the numbers in them are \
     apart. One row is one column of one table. Means are in f64, over the rows where both have a number.";
    table: String, "", "the table that both runs have";
    column: String, "", "its column";
    unit: String, "", "the unit of the column";
    rows_reference: u64, "rows", "how many rows the table has in the first run";
    rows: u64, "rows", "how many it has in the second";
    matched: u64, "rows", "how many of them have the same keys in both";
    only_reference: u64, "rows", "how many are in the first run alone";
    only: u64, "rows", "how many are in the second alone";
    compared: u64, "rows", "of the matched, how many have a number in both";
    same: u64, "rows", "of these, where both numbers are the same, to the last bit but for the sign of 0";
    mean_reference: Option<f64>, "of the column", "mean in the first run";
    mean: Option<f64>, "of the column", "mean in the second";
    mean_difference: Option<f64>, "of the column", "mean of second less first";
    mean_size: Option<f64>, "of the column", "mean size of that difference";
    largest_difference: Option<f64>, "of the column", "the difference of the largest size, with its sign";
    largest_at: Option<String>, "JSON", "the keys of its row";
    correlation: Option<f64>, "", "Pearson's correlation of the two; null where either does not vary";
}
