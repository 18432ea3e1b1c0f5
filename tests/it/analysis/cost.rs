//! Cost against the shapes of real runs, loaded weights, real prefixes, and what is published of known models.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;
use pellucid::Result;
use pellucid::analysis::cost::{Bits, Pass, cost, crossover, total};
use pellucid::analysis::{CostMeasuredRow, CostRow, CostTotalRow};
use pellucid::arch::Spec;
use pellucid::arch::family::read_config;
use pellucid::hook::{Cache, HookPoint};
use pellucid::model::weights::{FeedForwardWeights, NeuronWeights};
use pellucid::model::{Batch, Model, Prefix, Run, Sequence};
use pellucid::ops::linear::Linear;
use pellucid::ops::norm::NormWeights;
use pellucid::table::read_rows;

use crate::bin::{Place, fixture, model};
use crate::help::fixtures::load;

/// Longer than the windows of the fixtures, and no longer than their contexts.
const T: usize = 19;
/// One byte a number.
const BYTE: Bits = Bits { weights: 8, cache: 8 };

/// Numbers by layer and part; a layer of none is before or after the layers.
type By = BTreeMap<(Option<u32>, String), u64>;

fn by(rows: &[CostRow], of: impl Fn(&CostRow) -> u64) -> By {
    let mut all = By::new();
    for row in rows.iter().filter(|row| of(row) > 0) {
        *all.entry((row.layer, row.part.clone())).or_default() += of(row);
    }
    all
}

fn ids(model: &Model, n: usize) -> Vec<u32> {
    (0..n).map(|i| (i * 7 % model.spec().d_vocab) as u32).collect()
}

/// Keys and values of so many positions.
fn prefix(model: &Model, n: usize) -> Result<Prefix> {
    let run = Run { keep_prefixes: true, ..Run::default() };
    Ok(model.run(&Batch::one(ids(model, n)), &run, &mut [])?.prefixes.swap_remove(0))
}

/// A run of `pass`, with everything that hooks can see of it.
fn seen(model: &Model, pass: Pass) -> Result<Cache> {
    let mut cache = Cache::of(HookPoint::all(model.spec()));
    let ids = ids(model, T);
    let batch = match pass {
        Pass::Prompt => Batch::one(ids),
        Pass::Token => Batch { sequences: vec![Sequence::after(Arc::new(prefix(model, T - 1)?), [ids[T - 1]])] },
    };
    model.forward(&batch, &mut [&mut cache])?;
    Ok(cache)
}

/// How many scores are not hidden, of all queries and of the last query of one head.
fn not_hidden(scores: &Tensor) -> Result<(u64, u64)> {
    let scores = scores.to_vec3::<f32>()?;
    let count = |row: &Vec<f32>| row.iter().filter(|x| x.is_finite()).count() as u64;
    Ok((scores.iter().flatten().map(count).sum(), count(scores[0].last().unwrap())))
}

/// Operations of every matrix product of a run, from the shapes of what hooks see: rows x in x out, twice.
fn products(cache: &Cache, layers: usize) -> Result<By> {
    let mut all = By::new();
    for l in 0..layers {
        let find = |name: &str| cache.get(&format!("blocks.{l}.{name}")).ok();
        let of = |name: &str| find(name).unwrap_or_else(|| panic!("blocks.{l}.{name} was not seen"));
        let size = |x: &Tensor| x.elem_count() as u64;
        let (t, d) = of("hook_resid_pre").dims2()?;
        let mut add = |part: &str, flops: u64| *all.entry((Some(l as u32), part.to_owned())).or_default() += flops;
        // Each number of an output is a sum over what goes in.
        let outs = size(of("attn.hook_q")) + size(of("attn.hook_k")) + size(of("attn.hook_v"));
        add("qkv", 2 * outs * d as u64);
        let (scores, e) = (not_hidden(of("attn.hook_attn_scores"))?.0, of("attn.hook_q").dim(2)? as u64);
        add("scores", 2 * scores * e);
        add("mix", 2 * scores * of("attn.hook_v").dim(2)? as u64);
        add("out", 2 * size(of("hook_attn_out")) * (size(of("attn.hook_z")) / t as u64));
        if let Some(post) = find("mlp.hook_post") {
            let ins = size(of("mlp.hook_pre")) + find("mlp.hook_pre_linear").map_or(0, size);
            add("mlp", 2 * ins * d as u64 + 2 * size(of("hook_mlp_out")) * post.dim(1)? as u64);
        }
        let Some(logits) = find("mlp.hook_router_logits") else { continue };
        add("router", 2 * size(logits) * d as u64);
        for e in of("mlp.hook_expert_indices").to_vec2::<u32>()?.into_iter().flatten() {
            let width = |name: &str| find(&format!("mlp.experts.{e}.{name}")).map_or(0, |x| x.dims()[1] as u64);
            let ins = width("hook_gate") + width("hook_pre");
            add("experts", 2 * ins * d as u64 + 2 * width("hook_post") * d as u64);
        }
    }
    // The logits of one row alone.
    let d = cache.get("blocks.0.hook_resid_pre")?.dim(1)?;
    all.insert((None, "unembed".to_owned()), 2 * (cache.get("logits")?.dim(1)? * d) as u64);
    Ok(all)
}

fn operations_are_those_of_the_products(name: &str) -> Result<()> {
    let model = load(name);
    let spec = model.spec();
    for pass in Pass::all(spec) {
        let found = by(&cost(spec, *pass, T as u64, BYTE)?, |row| row.flops);
        assert_eq!(found, products(&seen(&model, *pass)?, spec.n_layers())?, "{name} {pass:?}");
    }
    assert_eq!(Pass::all(spec).contains(&Pass::Token), name != "hooked_bidirectional", "{name}");
    Ok(())
}

fn linear(map: &Linear) -> u64 {
    (map.weight.dims().iter().product::<usize>() + map.bias.as_ref().map_or(0, Tensor::elem_count)) as u64
}

fn norm(norm: &Option<NormWeights>) -> u64 {
    let sizes = norm.iter().flat_map(|norm| [&norm.gain, &norm.bias]);
    sizes.flatten().map(|x| x.elem_count() as u64).sum()
}

fn neurons(w: &NeuronWeights) -> u64 {
    let post = w.post_bias.as_ref().map_or(0, Tensor::elem_count) as u64;
    linear(&w.input) + w.linear.as_ref().map_or(0, linear) + post + linear(&w.output)
}

/// Numbers of the loaded weights, of experts those of so many.
fn loaded(model: &Model, experts: usize) -> By {
    let (w, mut all) = (model.weights(), By::new());
    let mut add = |l: Option<usize>, part: &str, n: u64| {
        if n > 0 {
            *all.entry((l.map(|l| l as u32), part.to_owned())).or_default() += n;
        }
    };
    add(None, "norms", norm(&w.embed_norm) + norm(&w.final_norm));
    add(None, "unembed", linear(&w.unembed));
    for (l, b) in w.blocks.iter().enumerate() {
        let l = Some(l);
        add(l, "qkv", linear(&b.q) + linear(&b.k) + linear(&b.v));
        add(l, "out", linear(&b.o));
        add(l, "norms", [&b.ln1, &b.q_norm, &b.k_norm, &b.ln1_post].into_iter().map(norm).sum());
        let Some(mlp) = &b.mlp else { continue };
        add(l, "norms", norm(&mlp.ln2) + norm(&mlp.ln2_post));
        match &mlp.inner {
            FeedForwardWeights::Dense(w) => {
                add(l, "mlp", neurons(w));
                add(l, "norms", norm(&w.norm));
            }
            FeedForwardWeights::Experts(w) => {
                add(l, "router", linear(&w.router));
                add(l, "experts", w.experts.iter().take(experts).map(neurons).sum());
            }
        }
    }
    all
}

fn weights_are_those_of_the_loaded_model(name: &str) -> Result<()> {
    let model = load(name);
    let (spec, w) = (model.spec(), model.weights());
    let table = |rows: Option<usize>| {
        let of = |x: &[usize]| x[1] * rows.unwrap_or(x[0]);
        (of(w.embed.dims()) + w.positions.as_ref().map_or(0, |p| of(p.dims()))) as u64
    };
    // A prompt of as many tokens as could be needed looks up every row and goes through every expert.
    let mut all = loaded(&model, usize::MAX);
    all.insert((None, "embed".to_owned()), table(None));
    let rows = cost(spec, Pass::Prompt, 1 << 20, BYTE)?;
    assert_eq!(by(&rows, |row| row.weight_bytes), all, "{name}");
    // A tied matrix is counted in both places.
    let twice = if spec.unembedding.tied { (w.embed.dims()[0] * w.embed.dims()[1]) as u64 } else { 0 };
    assert_eq!(all.values().sum::<u64>() - twice, spec.n_params() as u64, "{name}");
    // One token looks up a row of each table, and goes through the experts that are chosen for it.
    let experts = spec.blocks.iter().filter_map(|b| b.mlp.as_ref()?.inner.experts()).map(|e| e.per_row).max();
    let mut all = loaded(&model, experts.unwrap_or(0));
    all.insert((None, "embed".to_owned()), table(Some(1)));
    let rows = cost(spec, Pass::Token, T as u64, BYTE)?;
    assert_eq!(by(&rows, |row| row.weight_bytes), all, "{name}");
    Ok(())
}

fn the_cache_takes_what_a_prefix_takes(name: &str) -> Result<()> {
    let model = load(name);
    let spec = model.spec();
    let bits = Bits { weights: 8, cache: 8 * model.dtype().size_in_bytes() as u32 };
    let written = |pass, n| Ok::<_, pellucid::Error>(by(&cost(spec, pass, n, bits)?, |row| row.kv_bytes_written));
    if !spec.is_causal() {
        assert_eq!(written(Pass::Prompt, T as u64)?, By::new(), "{name}");
        return Ok(());
    }
    let (prefix, seen) = (prefix(&model, T)?, seen(&model, Pass::Token)?);
    let (mut kept, mut read, mut one) = (By::new(), By::new(), By::new());
    for l in 0..spec.n_layers() {
        let kv = prefix.layer(l)?;
        let of_position = |x: &Tensor| (x.elem_count() / x.dims()[0] * model.dtype().size_in_bytes()) as u64;
        let each = [of_position(&kv.keys), of_position(&kv.values)];
        // As many positions as the last query may see; a window cuts them short.
        let n = not_hidden(seen.get(&format!("blocks.{l}.attn.hook_attn_scores"))?)?.1;
        assert!(n == T as u64 || n < T as u64 && prefix.layer(l)?.keys.dims()[0] >= n as usize, "{name}");
        let at = |part: &str| (Some(l as u32), part.to_owned());
        kept.insert(at("qkv"), n * each.iter().sum::<u64>());
        one.insert(at("qkv"), each.iter().sum());
        read.extend([(at("scores"), n * each[0]), (at("mix"), n * each[1])]);
    }
    assert_eq!(written(Pass::Prompt, T as u64)?, kept, "{name}");
    assert_eq!(written(Pass::Token, T as u64)?, one, "{name}");
    let rows = cost(spec, Pass::Token, T as u64, bits)?;
    assert_eq!(by(&rows, |row| row.kv_bytes_read), read, "{name}");
    let total = total(spec, &rows, bits)?;
    let sums = [kept.values().sum::<u64>(), one.values().sum()];
    assert_eq!([total.kv_bytes, total.kv_bytes_per_token], sums, "{name}");
    Ok(())
}

/// A prompt costs what its tokens cost one after the other, but for the logits; the crossover is where a count of each length finds it.
fn a_prompt_is_its_tokens_and_the_crossover_is_the_first(name: &str) -> Result<()> {
    let spec = load(name).spec().clone();
    if !spec.is_causal() {
        assert_eq!(crossover(&spec), None);
        return Ok(());
    }
    let of = |pass, n| total(&spec, &cost(&spec, pass, n, BYTE)?, BYTE);
    let mut sum = 0;
    let mut first = None;
    for n in 1..=600 {
        let token = of(Pass::Token, n)?;
        let logits = 2 * (spec.d_model * spec.unembedding.d_vocab_out) as u64;
        sum += token.flops - logits;
        assert_eq!(of(Pass::Prompt, n)?.flops, sum + logits, "{name} {n}");
        if first.is_none() && 2 * token.attention_flops >= token.flops {
            first = Some(n);
        }
    }
    match (first, crossover(&spec)) {
        (None, Some(later)) => {
            assert!(later > 600, "{name}: {later}");
            let around = [of(Pass::Token, later - 1)?, of(Pass::Token, later)?];
            assert_eq!(around.map(|total| 2 * total.attention_flops >= total.flops), [false, true], "{name}");
        }
        (first, found) => assert_eq!(first, found, "{name}"),
    }
    Ok(())
}

for_every_model! {
    /// Invariant: The operations that `cost` counts are those of the matrix products of a real run, counted from the shapes of what hooks
    /// see, in every part of every layer.
    fn cost_is_that_of_the_products_of_a_run = operations_are_those_of_the_products;

    /// Invariant: The weights that `cost` counts are the loaded model's, of experts those that are chosen.
    fn cost_counts_the_loaded_weights = weights_are_those_of_the_loaded_model;

    /// Invariant: The cache that `cost` counts is what prefixes take, of layers with a window what the last query sees.
    fn cost_counts_the_cache_of_prefixes = the_cache_takes_what_a_prefix_takes;

    /// Invariant: A prompt costs what its tokens cost one after the other, but for logits; the crossover is the first length at which
    /// attention costs as much as the rest.
    fn cost_of_a_prompt_is_that_of_its_tokens = a_prompt_is_its_tokens_and_the_crossover_is_the_first;
}

/// Configurations as they are published, with what is said of the models: parameters, and bytes of cache for each token at 16 bits.
const KNOWN: [(&str, &str, u64, u64); 6] = [
    (
        "GPT-2 XL",
        r#"{"model_type": "gpt2", "n_embd": 1600, "n_head": 25, "n_layer": 48, "n_positions": 1024, "vocab_size": 50257}"#,
        1_557_611_200,
        300 << 10,
    ),
    (
        "Llama 3 8B",
        r#"{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
            "num_hidden_layers": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
            "rope_theta": 500000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "hidden_act": "silu"}"#,
        8_030_261_248,
        128 << 10,
    ),
    (
        "Llama 3.2 1B",
        r#"{"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32, "head_dim": 64,
            "num_hidden_layers": 16, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
            "rope_theta": 500000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "hidden_act": "silu",
            "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"}}"#,
        1_235_814_400,
        32 << 10,
    ),
    (
        "OLMo 2 7B",
        r#"{"model_type": "olmo2", "hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32,
            "num_hidden_layers": 32, "num_key_value_heads": 32, "vocab_size": 100352, "max_position_embeddings": 4096,
            "rope_theta": 500000, "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "hidden_act": "silu"}"#,
        7_298_617_344,
        512 << 10,
    ),
    // Heads of another width than the stream divided by their number.
    ("Gemma 2 9B", GEMMA_2_9B, 9_241_705_984, 336 << 10),
    ("Mixtral 8x7B", MIXTRAL, 46_702_792_704, 128 << 10),
];

const GEMMA_2_9B: &str = r#"{"model_type": "gemma2", "hidden_size": 3584, "intermediate_size": 14336, "num_attention_heads": 16,
    "num_hidden_layers": 42, "num_key_value_heads": 8, "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 4096,
    "vocab_size": 256000, "max_position_embeddings": 8192, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_activation": "gelu_pytorch_tanh"}"#;

const MIXTRAL: &str = r#"{"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 32768,
    "num_local_experts": 8, "num_experts_per_tok": 2, "rope_theta": 1000000.0, "rms_norm_eps": 1e-5, "sliding_window": null,
    "tie_word_embeddings": false, "hidden_act": "silu"}"#;

const HALF: Bits = Bits { weights: 16, cache: 16 };

fn known(name: &str) -> Spec {
    let (_, config, ..) = KNOWN.into_iter().find(|(known, ..)| *known == name).unwrap();
    read_config(config).unwrap().1
}

/// Invariant: Parameters and cache of models that everyone knows are what is published of them.
#[test]
fn known_models_take_what_is_known_of_them() -> Result<()> {
    for (name, config, parameters, kv_bytes) in KNOWN {
        let (_, spec) = read_config(config)?;
        let total = total(&spec, &cost(&spec, Pass::Token, 1000, HALF)?, HALF)?;
        assert_eq!((total.parameters, total.kv_bytes_per_token), (parameters, kv_bytes), "{name}");
        assert_eq!(total.kv_bytes, 1000 * kv_bytes, "{name}");
    }
    // Every other layer of Gemma 2 keeps 4096 positions of 8 heads x 256 x 2, at two bytes.
    let spec = known("Gemma 2 9B");
    let full = total(&spec, &cost(&spec, Pass::Token, 8192, HALF)?, HALF)?;
    assert_eq!(full.kv_bytes, 21 * (8192 + 4096) * 8 * 256 * 2 * 2);
    assert_eq!(full.kv_bytes_read, full.kv_bytes);
    // Of Mixtral, a token uses 12.9 of 46.7 billion parameters: all but the rows of other tokens and six of eight experts.
    let spec = known("Mixtral 8x7B");
    let used = total(&spec, &cost(&spec, Pass::Token, 1, BYTE)?, BYTE)?.weight_bytes;
    assert_eq!(used + (32_000 - 1) * 4096, 12_879_925_248);
    Ok(())
}

/// Invariant: as `known_models_take_what_is_known_of_them`.
#[test]
fn crossovers_are_those_of_a_calculation_by_hand() -> Result<()> {
    let small = r#"{"model_type": "gpt2", "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "vocab_size": 50257}"#;
    // 2 (12 x 12 x 768 x 768 + 50257 x 768) = 247,064,064 against 4 x 12 x 768 = 36,864 for each token seen: 6702.04.
    assert_eq!(crossover(&read_config(small)?.1), Some(6703));
    // 2 (8,030,261,248 - 128256 x 4096 - 65 norms x 4096) = 15,009,316,864 against 4 x 32 x 4096 = 524,288: 28,628.
    assert_eq!(crossover(&known("Llama 3 8B")), Some(28_628));
    // Windows of 4096 in all layers end attention before it comes so far.
    let windowed = MIXTRAL.replace("\"sliding_window\": null", "\"sliding_window\": 4096");
    assert_eq!(crossover(&read_config(&windowed)?.1), None);
    Ok(())
}

/// Invariant: Cost needs a configuration alone; the same request gives the same bytes; lines of the figures are numbers of the table.
#[test]
fn cost_is_counted_from_a_configuration() -> Result<()> {
    let place = Place::new();
    place.write("alone/config.json", fs_err::read(fixture("gemma2").join("config.json"))?);
    let run = |out: &str| place.ok(["cost", "-m", "alone", "--context", "64,4,16,4,256", "--out", out]);
    let done = run("one");
    assert!(done.stdout.contains("attention takes"), "{}", done.stdout);
    run("two");
    for name in ["cost.parquet", "cost_total.parquet", "cost.svg", "cost_total.svg"] {
        assert!(place.read(&format!("one/{name}")) == place.read(&format!("two/{name}")), "{name}");
    }
    let (rows, _) = read_rows::<CostRow>(place.path("one/cost.parquet"))?;
    let (totals, _) = read_rows::<CostTotalRow>(place.path("one/cost_total.parquet"))?;
    let asked: Vec<(String, u64)> = totals.iter().map(|row| (row.pass.clone(), row.tokens)).collect();
    let each = |pass: &str| [4, 16, 64, 256].map(|n| (pass.to_owned(), n));
    assert_eq!(asked, [each("token"), each("prompt")].concat());
    for total in &totals {
        let own = || rows.iter().filter(|row| row.pass == total.pass && row.tokens == total.tokens);
        let attention = own().filter(|row| ["scores", "mix"].contains(&row.part.as_str())).map(|row| row.flops);
        assert_eq!((total.flops, total.attention_flops), (own().map(|row| row.flops).sum(), attention.sum()));
        assert_eq!(total.weight_bytes, own().map(|row| row.weight_bytes).sum::<u64>());
    }
    // Each length can be pointed at with its numbers, and the longest stand at the ends of the lines.
    let figure = String::from_utf8(place.read("one/cost_total.svg")).unwrap();
    let svg = roxmltree::Document::parse(&figure).unwrap();
    let texts = |tag: &str| {
        let nodes = svg.descendants().filter(|node| node.has_tag_name(tag));
        nodes.filter_map(|node| node.text().map(str::to_owned)).collect::<Vec<_>>()
    };
    let (titles, words) = (texts("title"), texts("text"));
    let flop = |n: u64| pellucid::number::Locale::EN.amount(n as f64, "FLOP");
    for row in &totals {
        let [rest, attention] = [row.flops - row.attention_flops, row.attention_flops].map(flop);
        let facts = format!("all the rest {rest}, attention {attention}");
        let what = if row.pass == "token" { "One more token, the last of" } else { "A prompt of" };
        let title = format!("{what} {}: {facts}", row.tokens);
        assert!(titles.contains(&title), "{title} is not in {titles:?}");
        assert!(row.tokens < 256 || words.contains(&attention), "{attention} is not in {words:?}");
    }
    place.ok(["chart", "one/cost_total.parquet", "--out", "again"]);
    assert!(place.read("again/cost_total.svg") == place.read("one/cost_total.svg"));
    // Without lengths: the longest that the model can position, and halves of it. At other bits, other bytes.
    place.ok(["cost", "-m", "alone", "--bits", "32", "--cache-bits", "8", "--out", "bits"]);
    let (other, _) = read_rows::<CostTotalRow>(place.path("bits/cost_total.parquet"))?;
    assert_eq!(other.iter().take(7).map(|row| row.tokens).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 64]);
    let last = [&totals[2], &other[6]];
    assert_eq!(last.map(|row| row.tokens), [64, 64]);
    assert_eq!((2 * last[0].weight_bytes, last[0].kv_bytes), (last[1].weight_bytes, 2 * last[1].kv_bytes));
    Ok(())
}

/// Invariant: A measurement is a file of its own, beside files that no clock changes; what cannot be run is not measured, and said.
#[test]
fn a_measurement_is_a_file_of_its_own() -> Result<()> {
    let place = Place::new();
    let llama = model("mistral");
    let cost = |more: &[&str]| place.ok([&["cost", "-m", &llama, "--context", "8,32,128"], more].concat());
    let done = cost(&["--measure", "--out", "measured"]);
    assert!(done.stderr.contains("cannot position so many tokens: 128"), "{}", done.stderr);
    assert!(done.stdout.contains("times as long as the roofline says"), "{}", done.stdout);
    let (rows, _) = read_rows::<CostMeasuredRow>(place.path("measured/cost_measured.parquet"))?;
    let passes: Vec<(&str, u64)> = rows.iter().map(|row| (row.pass.as_str(), row.tokens)).collect();
    assert_eq!(passes, [("token", 8), ("token", 32), ("prompt", 8), ("prompt", 32)]);
    let (totals, _) = read_rows::<CostTotalRow>(place.path("measured/cost_total.parquet"))?;
    for row in &rows {
        assert!(0.0 < row.seconds_least && row.seconds_least <= row.seconds && row.seconds <= row.seconds_most);
        assert!(row.runs >= 3 && row.flop_rate > 0.0 && row.byte_rate > 0.0);
        let total = totals.iter().find(|total| total.pass == row.pass && total.tokens == row.tokens).unwrap();
        assert_eq!(row.flops, total.flops);
        // A roofline is no less than either bound of the whole.
        let bound = f64::max(row.flops as f64 / row.flop_rate, row.bytes as f64 / row.byte_rate);
        assert!(row.seconds_predicted >= 0.999 * bound, "{row:?}");
    }
    assert!(place.path("measured/cost_measured.svg").exists());
    cost(&["--out", "counted"]);
    assert!(!place.path("counted/cost_measured.parquet").exists());
    let (counted, _) = read_rows::<CostTotalRow>(place.path("counted/cost_total.parquet"))?;
    assert_eq!(counted, totals);
    Ok(())
}

/// What is no length is refused, and a bidirectional model has prompts alone.
#[test]
fn what_cannot_be_counted_is_said() -> Result<()> {
    let place = Place::new();
    place.refused(["cost", "--context", "0"], 2, "0");
    place.refused(["cost", "--context", "8,many"], 2, "many");
    place.refused(["cost", "--bits", "0"], 2, "0");
    let bidirectional = model("hooked_bidirectional");
    let done = place.ok(["cost", "-m", &bidirectional, "--out", "both"]);
    assert!(done.stdout.contains("there is no cache"), "{}", done.stdout);
    let (totals, _) = read_rows::<CostTotalRow>(place.path("both/cost_total.parquet"))?;
    assert!(totals.iter().all(|row| row.pass == "prompt" && row.kv_bytes == 0 && row.crossover_tokens.is_none()));
    Ok(())
}
