//! Generated texts: the same as whole runs of them say, and as transformers goes on.

use std::path::PathBuf;

use candle_core::{DType, Tensor};
use pellucid::Result;
use pellucid::analysis::generate::{Asked, Ended, GeneratedRow, Recorded, Trace, TraceRow, generate};
use pellucid::hook::{Cache, Edit, Hook};
use pellucid::model::{Batch, Growing, Model, Run};
use pellucid::sample::{Chain, Step, Ties};
use pellucid::table::read_rows;
use pellucid::text::{Bos, Prompt, PromptEntry, build_prompts};
use serde_json::Value;

use crate::bin::{Place, fixture};
use crate::bound::Drifts;
use crate::reference::max_diff;

const BEFORE: [u32; 5] = [3, 1, 4, 1, 5];

fn prompt(ids: &[u32], model: &Model) -> Result<Prompt> {
    Ok(build_prompts(&[PromptEntry::ids(ids)], None, model.spec().d_vocab, None, Bos::Never)?.remove(0))
}

fn asked(traces: usize, tokens: usize) -> Asked {
    let steps = vec![Step::Temperature(1.3), Step::TopP(0.95)];
    let chain = Chain { steps, ties: Ties::Lower };
    Asked { chain, traces, tokens, seed: 5, ends: vec![], decided: true }
}

fn run(
    model: &Model,
    asked: &Asked,
    hooks: &mut [&mut dyn Hook],
    recorded: Option<&mut Recorded>,
) -> Result<Vec<Trace>> {
    generate(model, &prompt(&BEFORE, model)?, asked, &|_| Ok(false), hooks, recorded, &())
}

/// The whole text of a trace, without its last token, which never ran.
fn text(trace: &Trace) -> Vec<u32> {
    let ids = trace.ids();
    [&BEFORE, &ids[..ids.len() - 1]].concat()
}

fn traces_of(name: &str) -> Result<()> {
    let model = Model::load(&fixture(name))?;
    if !model.spec().is_causal() {
        assert!(run(&model, &asked(1, 2), &mut [], None).is_err());
        return Ok(());
    }
    // As many tokens as leave every window behind, several times.
    let tokens = 24.min(model.spec().n_ctx.unwrap_or(24) + 1 - BEFORE.len());
    let point = format!("blocks.{}.hook_resid_post", model.spec().n_layers() - 1);
    let width = model.spec().d_model;
    // An edit that every step must see, and that changes what comes.
    let vector = Tensor::new((0..width).map(|i| (i % 3) as f32 - 1.0).collect::<Vec<_>>(), model.device())?;
    for steered in [false, true] {
        let edit = || Edit::add(model.spec(), "blocks.0.hook_resid_post", vector.clone());
        let (mut first, mut again) = (edit()?, edit()?);
        let mut hooks: Vec<&mut dyn Hook> = if steered { vec![&mut first] } else { vec![] };
        let mut recorded = Recorded::new(model.spec(), &point)?;
        let traces = run(&model, &asked(3, tokens), &mut hooks, Some(&mut recorded))?;
        recorded.finish(&prompt(&BEFORE, &model)?, &traces);
        let dir = tempfile::tempdir().unwrap();
        recorded.write(model.spec(), Default::default(), &dir.path().join("a.safetensors"))?;
        let file = candle_core::safetensors::load(dir.path().join("a.safetensors"), model.device())?;
        // Each as one whole run of the text that came of it.
        let texts: Vec<Vec<u32>> = traces.iter().map(text).collect();
        let batch = Batch::of(texts.clone());
        let drifts = Drifts::of(&model, &batch)?;
        let mut cache = Cache::new(model.spec(), "resid_post,logits")?;
        let mut hooks: Vec<&mut dyn Hook> = if steered { vec![&mut again] } else { vec![] };
        hooks.push(&mut cache);
        let out = model.run(&batch, &Run::default(), &mut hooks)?;
        let streams = cache.get(&point)?;
        let allowed = drifts.hook(&point);
        // An edit makes the stream larger by its own size at most, and rounding with it.
        let allowed = if steered {
            allowed * (1.0 + 8.0 * drifts.chain() / allowed.max(drifts.chain())) + 16.0 * f64::from(f32::EPSILON)
        } else {
            allowed
        };
        let apart = max_diff(&file[&point], streams);
        assert!(apart <= allowed, "{name}: what was recorded is {apart:e} from a whole run, allowed {allowed:e}");
        let logits = out.logits()?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        let allowed = if steered { 4.0 * drifts.metric() } else { drifts.metric() };
        for (trace, rows) in traces.iter().zip(&out.rows.sequences) {
            assert_eq!(trace.ended, Some(Ended::Tokens), "{name}");
            for (i, step) in trace.steps.iter().enumerate() {
                let says = &logits[rows.rows.start + BEFORE.len() - 1 + i];
                let top = says.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = says.iter().map(|x| (x - top).exp()).sum();
                let want = (says[step.id as usize] - top).exp() / total;
                assert!((step.prob_raw - want).abs() <= allowed, "{name} step {i}: {} is not {want}", step.prob_raw);
                assert!(top - says[step.greedy as usize] <= allowed, "{name} step {i}: not the most probable");
                assert!(step.pool_size as usize <= says.len() && step.prob_sampled > 0.0);
                // After the last layer the lens is the model.
                assert!(step.decided.is_some_and(|layer| layer as usize <= model.spec().n_layers()));
            }
        }
        // A trace draws the same alone.
        let mut third = edit()?;
        let mut hooks: Vec<&mut dyn Hook> = if steered { vec![&mut third] } else { vec![] };
        let alone = run(&model, &asked(1, tokens), &mut hooks, None)?;
        if traces[0].steps.iter().all(|step| !step.close) {
            assert_eq!(alone[0].ids(), traces[0].ids(), "{name}");
        }
    }
    Ok(())
}

/// The folder of a model of `greedy.json`, where it is there.
fn folder(name: &str) -> Option<PathBuf> {
    match name {
        "demo" => Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo")),
        "SmolLM2" => crate::model::smollm2::smollm2(),
        "stories260k" | "tinystories-656k" | "nano-gpt-sort" => crate::shared::shared(&format!("models/{name}")),
        name => Some(fixture(name)),
    }
}

/// Invariant: Without chance, a text goes on as in transformers, for 200 tokens or to the end of the text or the context.
#[test]
fn the_most_probable_tokens_are_those_of_transformers() -> Result<()> {
    let reference: Value = serde_json::from_str(include_str!("../../fixtures/greedy.json")).unwrap();
    for (name, want) in reference.as_object().unwrap() {
        let Some(folder) = folder(name) else { continue };
        let ids = |key: &str| -> Vec<u32> { serde_json::from_value(want[key].clone()).unwrap() };
        let gaps: Vec<f64> = serde_json::from_value(want["gaps"].clone()).unwrap();
        let (before, want) = (ids("prompt"), ids("ids"));
        let model = Model::load(&folder)?;
        let asked =
            Asked { chain: Chain::greedy(), tokens: want.len(), traces: 1, seed: 0, ends: vec![], decided: false };
        let traces = generate(&model, &prompt(&before, &model)?, &asked, &|_| Ok(false), &mut [], None, &())?;
        let got = traces[0].ids();
        let Some(parts) = got.iter().zip(&want).position(|(a, b)| a != b) else {
            assert_eq!(got.len(), want.len(), "{name}");
            continue;
        };
        // Where two tokens are nearer than f32 is to f64, either may come, and another text follows.
        let whole = Batch::one([&before[..], &want[..parts]].concat());
        let allowed = Drifts::of(&model, &whole)?.metric();
        assert!(
            gaps[parts] <= allowed,
            "{name} step {parts}: {} is not {}, {} apart",
            got[parts],
            want[parts],
            gaps[parts]
        );
    }
    Ok(())
}

for_every_model! {
    /// Invariant: What is generated, recorded and changed step by step is what one run of the finished text says, in every family; and a
    /// trace draws the same tokens alone and beside others.
    fn traces = (traces_of);
}

/// Invariant: Keys and values of a layer with a window are kept for that window alone.
#[test]
fn a_window_keeps_its_window() -> Result<()> {
    let model = Model::load(&fixture("mistral"))?;
    let run = Run { keep_prefixes: true, ..Run::default() };
    let out = model.run(&Batch::one([1; 30]), &run, &mut [])?;
    let growing = Growing::after(model.spec(), &out.prefixes[0], 40)?;
    let a = &model.spec().blocks[0].attention.inner;
    // A query sees itself and the four before it.
    let row = 2 * a.n_kv_heads * a.d_head * size_of::<f32>();
    assert_eq!(growing.bytes(), model.spec().n_layers() * 4 * row);
    assert_eq!(growing.prefix()?.layer(0)?.keys.dims()[0], 4);
    Ok(())
}

#[test]
fn texts_end_where_they_are_to() -> Result<()> {
    let place = Place::new();
    let text = "When Mary and John went to the store, John gave a drink to";
    let row = |folder: &str| -> Result<GeneratedRow> {
        Ok(read_rows::<GeneratedRow>(place.path(&format!("{folder}/generated.parquet")))?.0.remove(0))
    };
    let greedy = "note: temperature 0 (greedy): each token is the most probable one, whatever the seed\n";
    let five = place.ok(["generate", text, "--temperature", "0", "--tokens", "5", "--out", "five"]);
    assert!(five.stderr.contains(greedy), "{}", five.stderr);
    let drawn = place.ok(["generate", text, "--temperature", "0.5", "--tokens", "5", "--out", "drawn"]);
    assert!(!drawn.stderr.contains("greedy"), "{}", drawn.stderr);
    assert_eq!((row("five")?.tokens, &*row("five")?.ended), (5, "tokens"));
    assert!(row("five")?.text.starts_with(" Mary"), "{}", row("five")?.text);
    place.ok(["generate", text, "--temperature", "0", "--stop", "ary", "--out", "stop"]);
    assert_eq!((row("stop")?.tokens, &*row("stop")?.ended, &*row("stop")?.text), (1, "stop", " Mary"));
    let full = place.ok(["generate", text, "--temperature", "0", "--tokens", "999", "--ignore-eos", "--out", "full"]);
    assert_eq!(&*row("full")?.ended, "context");
    assert!(full.stderr.contains("the context of 128 positions is full"), "{}", full.stderr);
    // The built-in model's texts end with token 0.
    let config = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo/config.json")).unwrap();
    assert!(config.contains("\"eos_token_id\": 0"));
    let (rows, from) = read_rows::<TraceRow>(place.path("five/traces.parquet"))?;
    assert_eq!((rows.len(), from.seed), (5, Some(0)));
    assert!(rows.iter().all(|row| row.token_id == row.greedy_id && row.rank == 1 && row.decided_layer.is_none()));
    let sum: f64 = rows.iter().map(|row| row.prob_raw.ln()).sum();
    assert!((row("five")?.log_prob - sum).abs() < 1e-12);
    Ok(())
}

#[test]
fn traces_are_seen_as_a_tree() -> Result<()> {
    let place = Place::new();
    let done = place.ok([
        "generate", "When Mary met", "--traces", "8", "--tokens", "6", "--seed", "1", "--hooks", "resid_post", "--out",
        "run",
    ]);
    let (rows, _) = read_rows::<TraceRow>(place.path("run/traces.parquet"))?;
    assert_eq!(rows.iter().map(|row| row.trace).max(), Some(7));
    let svg = String::from_utf8(place.read("run/traces.svg")).unwrap();
    let svg = roxmltree::Document::parse(&svg).unwrap();
    let written: String = svg.descendants().filter(|node| node.has_tag_name("text")).filter_map(|n| n.text()).collect();
    // What each first token stands for, and how many traces took it, is on the figure and in the terminal.
    let mut firsts: Vec<u32> = rows.iter().filter(|row| row.step == 0).map(|row| row.token_id).collect();
    firsts.sort_unstable();
    for same in firsts.chunk_by(|a, b| a == b) {
        let row = rows.iter().find(|row| row.step == 0 && row.token_id == same[0]).unwrap();
        let says = format!("\"{}\" ({} of them, ", row.token.replace(' ', "·"), same.len());
        assert!(written.contains(&says), "{says} is not in {written}");
        assert!(done.stdout.contains(&says), "{says} is not in {}", done.stdout);
    }
    let file = candle_core::safetensors::load(place.path("run/activations.safetensors"), &candle_core::Device::Cpu)?;
    let t = file["rows"].dims()[0];
    assert_eq!(file["blocks.0.hook_resid_post"].dims(), [t, 128]);
    place.ok(["chart", "run/traces.parquet", "--out", "again"]);
    assert!(place.read("again/traces.svg") == place.read("run/traces.svg"));
    Ok(())
}

#[test]
fn what_cannot_be_generated_is_refused() {
    let place = Place::new();
    for (options, says) in [
        (vec!["--stop", ""], "an empty text"),
        (vec!["--hooks", "pattern"], "has an axis of keys"),
        (vec!["--hooks", "resid_pots"], "resid_pots"),
        (vec!["--temperature", "-1"], "temperature is -1"),
        (vec!["--steer", "missing.safetensors", "--steer-at", "blocks.0.hook_resid_post"], "there is no file"),
    ] {
        place.refused([&["generate", "Mary"][..], &options, &["--out", "run"]].concat(), 2, says);
    }
    let dir = fixture("hooked_bidirectional");
    place.refused(["generate", "--ids", "1,2", "-m", dir.to_str().unwrap()], 2, "sees the whole text at once");
}
