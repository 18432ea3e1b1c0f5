//! What a command says that it needs of memory is what it takes, and a budget that it cannot keep to is refused.
#![cfg(target_os = "linux")]

use pellucid::analysis::lens::need;
use std::collections::BTreeSet;

use pellucid::analysis::attention::{self, AttentionOptions};
use pellucid::analysis::{Decoding, Lens};
use pellucid::arch::family::read_config;
use pellucid::cli::analyses;
use pellucid::sweep::{Budget, row_bytes};
use pellucid::text::{Bos, PromptEntry, build_prompts};

use crate::bin::{Place, fixture};
use crate::forge::{self, Tensors};
use crate::session::patch_memory::measured;

/// How far the plan may be from what is measured, either way. A run holds less than the sum of all that one block makes, and the
/// allocator keeps more than is asked of it.
pub(crate) const FACTOR: f64 = 2.5;
/// What is in no plan: buffers of threads and of the writers of tables and figures.
pub(crate) const BESIDE: f64 = 16e6;

pub(crate) const LAYERS: usize = 4;
const D: usize = 128;
const VOCAB: usize = 1500;

/// A random GPT-2 of this width at `name`, with a context of 1,024 positions.
pub(crate) fn model(place: &Place, name: &str) {
    model_of(place, name, LAYERS, 8, D);
}

/// The same with other numbers of layers, heads and dimensions.
pub(crate) fn model_of(place: &Place, name: &str, layers: usize, heads: usize, d: usize) {
    let config = serde_json::json!({
        "model_type": "gpt2", "n_embd": d, "n_head": heads, "n_layer": layers, "n_positions": 1024, "vocab_size": VOCAB,
    });
    place.write(&format!("{name}/config.json"), config.to_string());
    let mut tensors = Tensors::new();
    let mut seed = 1u32;
    let mut add = |name: String, shape: &[usize], size: f32, middle: f32| {
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            middle + size * ((seed >> 8) as f32 / (1u32 << 23) as f32 - 1.0)
        };
        let n: usize = shape.iter().product();
        let data = (0..n).flat_map(|_| random().to_le_bytes()).collect();
        tensors.insert(format!("transformer.{name}"), (safetensors::Dtype::F32, shape.to_vec(), data));
    };
    add("wte.weight".into(), &[VOCAB, d], 0.1, 0.0);
    add("wpe.weight".into(), &[1024, d], 0.1, 0.0);
    let norm = |name: String| [(format!("{name}.weight"), 1.0), (format!("{name}.bias"), 0.0)];
    for l in 0..layers {
        let linear =
            [("attn.c_attn", d, 3 * d), ("attn.c_proj", d, d), ("mlp.c_fc", d, 4 * d), ("mlp.c_proj", 4 * d, d)];
        for (part, from, to) in linear {
            add(format!("h.{l}.{part}.weight"), &[from, to], 0.1, 0.0);
            add(format!("h.{l}.{part}.bias"), &[to], 0.1, 0.0);
        }
        for (name, middle) in norm(format!("h.{l}.ln_1")).into_iter().chain(norm(format!("h.{l}.ln_2"))) {
            add(name, &[d], 0.0, middle);
        }
    }
    norm("ln_f".into()).into_iter().for_each(|(name, middle)| add(name, &[d], 0.0, middle));
    place.write(&format!("{name}/model.safetensors"), forge::serialized(&tensors));
}

/// The bytes that the line of `-v` names beside the weights.
pub(crate) fn planned(said: &str) -> f64 {
    let line = said.lines().find(|l| l.starts_with("needs ")).unwrap_or_else(|| panic!("no plan in {said}"));
    let (_, beside) = line.split_once("of weights").unwrap();
    let words: Vec<&str> = beside.split_whitespace().collect();
    let size = |two: &[&str]| {
        let unit = match two[1] {
            "kB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            _ => return None,
        };
        Some(two[0].parse::<f64>().ok()? * unit)
    };
    words.windows(2).filter_map(size).sum()
}

pub(crate) fn ids(n: usize, from: usize) -> String {
    (0..n).map(|i| ((from + i * 7) % VOCAB).to_string()).collect::<Vec<_>>().join(",")
}

/// Invariant: A command takes the memory that it plans; a budget that cannot be kept is refused with one that can.
#[test]
fn what_a_command_says_that_it_needs_is_what_it_takes() {
    let place = Place::new();
    model(&place, "m");
    let lines = |n: usize, len: usize| (0..n).map(|i| format!("{{\"ids\": [{}]}}\n", ids(len, i))).collect::<String>();
    let pairs = |n: usize, len: usize| {
        let pair = |i: usize| (ids(len, i), ids(len - 1, i + 7));
        let line = |(clean, rest)| {
            format!("{{\"clean\": [{clean}], \"corrupt\": [900,{rest}], \"answer_id\": 5, \"foil_id\": 6}}\n")
        };
        (0..n).map(pair).map(line).collect::<String>()
    };
    place.write("many.jsonl", lines(12, 300));
    place.write("some.jsonl", lines(3, 150));
    place.write("one.jsonl", lines(1, 3));
    place.write("pairs.jsonl", pairs(6, 120));
    place.write("pair.jsonl", pairs(1, 3));
    let large: [(&str, &str, &[&str]); 12] = [
        ("lens", "many.jsonl", &["--top", "1"]),
        ("lens", "many.jsonl", &["--top", "1", "--memory", "30MB"]),
        ("loss", "many.jsonl", &["--memory", "40MB"]),
        ("attention", "some.jsonl", &[]),
        ("attention", "some.jsonl", &["--target", "#5", "--foil", "#6"]),
        ("position", "some.jsonl", &[]),
        ("cache", "many.jsonl", &["--hooks", "logits,resid_post"]),
        ("ablate", "many.jsonl", &["--kind", "mean", "--metric", "kl"]),
        ("patch", "pairs.jsonl", &["--at", "resid_pre", "--memory", "60MB"]),
        ("patch", "pairs.jsonl", &["--at", "mlp.post", "--over", "layer,pos", "--memory", "150MB", "--metric", "loss"]),
        ("path", "pairs.jsonl", &["--from", "z", "--over", "layer,head", "--to", "logits,3.q", "--memory", "80MB"]),
        ("attribute", "pairs.jsonl", &["--memory", "200MB"]),
    ];
    let mut failed = vec![];
    for (name, file, more) in large {
        let of_pairs = file == "pairs.jsonl";
        let run = |file: &str| {
            let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
            let input = if of_pairs { "--pairs" } else { "--prompts" };
            let (most, said) =
                measured(command.args([name, "-v", "-m", "m", input, file, "--out", "run", "--force"]).args(more));
            (planned(&said), most)
        };
        let ((nothing, least), (plan, most)) = (run(if of_pairs { "pair.jsonl" } else { "one.jsonl" }), run(file));
        let (plan, taken) = (plan - nothing, most - least);
        println!("{name} {more:?}: {:.1} MB planned, {:.1} MB taken", plan / 1e6, taken / 1e6);
        if taken > plan * FACTOR + BESIDE || plan > taken * FACTOR + BESIDE {
            failed.push(format!("{name} {more:?}: {:.1} MB planned, {:.1} MB taken", plan / 1e6, taken / 1e6));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Invariant: as `what_a_command_says_that_it_needs_is_what_it_takes`.
#[test]
fn a_budget_that_cannot_be_kept_is_refused_before_anything_runs() {
    let place = Place::new();
    model(&place, "m");
    let prompt = ["--ids", &ids(300, 1)];
    let (clean, corrupt) = (format!("#{}", ids(300, 1)), format!("#9,{}", ids(299, 8)));
    let pair = ["--clean", &clean, "--corrupt", &corrupt, "--answer", "#5", "--foil", "#6"];
    place.write("texts.jsonl", "{\"text\": \"Mary and John went\"}\n");
    model_of(&place, "other", 1, 8, D);
    let commands: [(&[&str], &[&str]); 18] = [
        (&["lens"], &prompt),
        (&["loss"], &prompt),
        (&["next"], &prompt),
        (&["generate", "--tokens", "2"], &prompt),
        (&["explain", "--traces", "2", "--tokens", "2"], &prompt),
        (&["residual"], &prompt),
        (&["neurons"], &prompt),
        (&["attention"], &prompt),
        (&["position"], &prompt),
        (&["cache", "--hooks", "resid_post"], &prompt),
        (&["export", "--hooks", "resid_post"], &["--corpus", "texts.jsonl"]),
        (&["heads", "--texts", "2", "--tokens", "#1"], &[]),
        (&["embed"], &["#5"]),
        (&["compare", "-m", "other"], &prompt),
        (&["ablate"], &prompt),
        (&["patch"], &pair),
        (&["path"], &pair),
        (&["attribute"], &pair),
    ];
    // Every command that takes a budget is here.
    let takes_memory = |command: &clap::Command| command.get_arguments().any(|arg| arg.get_id() == "memory");
    let with_budget: BTreeSet<String> = analyses().filter(takes_memory).map(|c| c.get_name().to_owned()).collect();
    assert_eq!(with_budget, commands.iter().map(|(command, _)| command[0].to_owned()).collect());
    for (command, input) in commands {
        let run = |memory: &str| {
            // A corpus is texts, and that model has no tokenizer.
            let model = if command[0] == "export" { "demo" } else { "m" };
            let more = ["-m", model, "--memory", memory, "--out", command[0]];
            place.pellucid(command.iter().chain(input).chain(&more))
        };
        let refused = run("1KB");
        assert_eq!(refused.code, Some(2), "{command:?}: {}", refused.stderr);
        assert!(
            refused.stderr.contains("1.0 kB of memory are not enough: the least that this needs is "),
            "{}",
            refused.stderr
        );
        assert!(!place.path(command[0]).exists(), "{command:?} left a folder");
        // What it says would do, does, and a little less does not.
        let (_, would) = refused.stderr.split_once("--memory ").unwrap();
        let would = would.split_whitespace().next().unwrap().to_owned();
        let (number, unit) = would.split_at(would.len() - 2);
        let less = format!("{}{unit}", number.parse::<usize>().unwrap() - 1);
        assert_eq!(run(&less).code, Some(2), "{command:?} {less}");
        let done = run(&would);
        assert_eq!(done.code, Some(0), "{command:?} {would}: {}", done.stderr);
    }
}

/// The block that holds most decides, wherever it stands: in a model of mixed layers the first says little.
///
/// Invariant: as `what_a_command_says_that_it_needs_is_what_it_takes`.
#[test]
fn plans_look_at_every_block() {
    let config = fs_err::read_to_string(fixture("qwen3_moe_mixed").join("config.json")).unwrap();
    let spec = |dense: usize| {
        let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
        config["mlp_only_layers"] = serde_json::json!([dense]);
        // Far more neurons than the three experts of a row have together.
        config["intermediate_size"] = 3200.into();
        read_config(&config.to_string()).unwrap().1
    };
    let prompts = build_prompts(&[PromptEntry::ids([1, 2, 3, 4, 5])], None, 97, None, Bos::default()).unwrap();
    let options = Lens { at: "blocks.0.hook_resid_post".into(), ..Lens::default() };
    let of = |dense: usize| {
        let spec = spec(dense);
        need(&spec, &prompts, &Decoding::new(&spec, &options, &[], Budget(512 << 20)), |_| 0).unwrap()
    };
    assert_eq!(of(0), of(3));
    assert!(of(3).least > 5 * 3 * 3200 * 4, "{:?}", of(3));
    // Likewise what a sweep counts of a row.
    assert_eq!(row_bytes(&spec(0)), row_bytes(&spec(3)));
    assert!(row_bytes(&spec(3)) > 3 * 3200 * 4);
}

/// Prompts that run together keep the patterns of every layer until their rows are made.
///
/// Invariant: as `what_a_command_says_that_it_needs_is_what_it_takes`.
#[test]
fn attention_plans_the_patterns_of_all_layers() {
    let (_, spec) = read_config(&fs_err::read_to_string(fixture("gpt2").join("config.json")).unwrap()).unwrap();
    let entries = [PromptEntry::ids(vec![1; 20]), PromptEntry::ids(vec![2; 20])];
    let prompts = build_prompts(&entries, None, 97, None, Bos::default()).unwrap();
    let options = AttentionOptions { budget: Budget(1 << 30), ..AttentionOptions::default() };
    let need = attention::need(&spec, &prompts, &options, |_| 0);
    let alone = attention::need(&spec, &prompts[..1], &options, |_| 0);
    let heads: usize = spec.blocks.iter().map(|block| block.attention.inner.n_heads).sum();
    // Two prompts of 20 queries and keys, in f32, beside two runs where there was one.
    let patterns = 2 * heads * 20 * 20 * 4;
    assert_eq!(need.activations - alone.activations, patterns + 20 * row_bytes(&spec));
}
