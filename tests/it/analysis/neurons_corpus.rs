//! Features over corpora against everything kept and sorted, and the built-in model's neurons against the grammar that it learned.

use std::collections::{BTreeMap, HashMap};

use candle_core::DType;
use pellucid::Result;
use pellucid::analysis::{NeuronCardRow, NeuronExampleRow, NeuronRow, NeuronStatsRow, NeuronVocabRow};
use pellucid::hook::Cache;
use pellucid::model::{Batch, Run};
use pellucid::session::Session;
use pellucid::table::read_rows;
use pellucid::text::Bos;
use rand::SeedableRng;

use crate::bin::{Place, model};
use crate::train::grammar::{Random, Split, Task, agreement, brackets, facts, greater_than, ioi, stories};

/// Texts of one skill each, with its name.
pub(super) fn texts(n: usize, seed: u64) -> Vec<(&'static str, String)> {
    let mut random = Random::seed_from_u64(seed);
    let written = |task: Task| task.prompt + &task.answer + &task.rest;
    let one = |i: usize, random: &mut Random| match i % 6 {
        0 => ("ioi", written(ioi::task(random, Split::Train))),
        1 => ("facts", facts::document(random, Split::Train)),
        2 => ("agreement", written(agreement::task(random, Split::Train))),
        3 => ("greater_than", written(greater_than::task(random, Split::Train))),
        4 => ("brackets", brackets::document(random, Split::Train)),
        _ => ("stories", stories::document(random)),
    };
    (0..n).map(|i| one(i, &mut random)).collect()
}

pub(super) fn jsonl(texts: &[(&str, String)]) -> String {
    let line = |(i, (skill, text)): (usize, &(&str, String))| {
        serde_json::json!({"id": format!("{skill}-{i}"), "text": text}).to_string()
    };
    texts.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// A token of the corpus as the hook has it.
pub(super) struct Seen {
    doc: u32,
    pos: u32,
    id: u32,
    pub values: Vec<f32>,
}

impl Seen {
    /// Whether it is the token there.
    pub fn is_at(&self, doc: u64, pos: u32) -> bool {
        (u64::from(self.doc), self.pos) == (doc, pos)
    }
}

/// Every token, each sequence run by itself.
pub(super) fn everything(texts: &[(&str, String)], hook: &str, context: usize, skip: bool) -> Result<Vec<Seen>> {
    let session = Session::open("demo")?;
    let tokenizer = session.tokenizer.as_ref().unwrap();
    let mut all = vec![];
    for (doc, (_, text)) in texts.iter().enumerate() {
        let tokens = tokenizer.encode(text, Bos::AsTokenizer)?;
        for (seq, own) in tokens.chunks(context).enumerate() {
            let ids: Vec<u32> = own.iter().map(|token| token.id).collect();
            let mut cache = Cache::new(session.model.spec(), hook)?;
            session.model.run(&Batch::one(ids.clone()), &Run::default(), &mut [&mut cache])?;
            let values = cache.get(hook)?.flatten_from(1)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
            for (i, values) in values.into_iter().enumerate().filter(|(i, _)| !(skip && *i == 0)) {
                all.push(Seen { doc: doc as u32, pos: (seq * context + i) as u32, id: ids[i], values });
            }
        }
    }
    Ok(all)
}

/// The same of `pellucid export`, whose runs are packed as those of `neurons`: near what each sequence has by itself, whose kernels may round
/// otherwise where it ends.
fn exported(
    place: &Place,
    texts: &[(&str, String)],
    hook: &str,
    skips: &[&str],
    context: usize,
    skip: bool,
) -> Result<Vec<Seen>> {
    let mut all = everything(texts, hook, context, skip)?;
    let args = ["export", "--hooks", hook, "--corpus", "c.jsonl", "--context", "16", "--out", "exported"];
    place.ok([&args[..], skips].concat());
    let rows = super::export::rows(&place.path("exported"));
    assert_eq!(rows.len(), all.len());
    for (seen, row) in all.iter_mut().zip(rows) {
        assert_eq!(
            (u64::from(seen.doc), seen.id, seen.pos as usize % context),
            (row.doc, row.token_id, row.pos as usize)
        );
        let values = &row.hooks[hook];
        for (alone, value) in seen.values.iter().zip(values) {
            assert!((alone - value).abs() <= 1e-4 * alone.abs().max(1.0), "{alone} {value}");
        }
        seen.values.clone_from(values);
    }
    Ok(all)
}

/// Adjusted R² of a regression on which token it is, over the most frequent tokens.
pub(super) fn explained(all: &[Seen], column: usize, frequent: usize) -> f64 {
    let mut counts: HashMap<u32, u64> = HashMap::new();
    all.iter().for_each(|seen| *counts.entry(seen.id).or_default() += 1);
    let mut ids: Vec<(u32, u64)> = counts.into_iter().collect();
    ids.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    ids.truncate(frequent);
    let groups: Vec<Vec<f64>> = ids
        .iter()
        .map(|(id, _)| all.iter().filter(|s| s.id == *id).map(|s| f64::from(s.values[column])).collect())
        .collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let about = |values: &[f64], mean: f64| values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    let flat: Vec<f64> = groups.iter().flatten().copied().collect();
    let total = about(&flat, mean(&flat)) / (flat.len() as f64 - 1.0);
    let within = groups.iter().map(|g| about(g, mean(g))).sum::<f64>() / (flat.len() - groups.len()) as f64;
    1.0 - within / total
}

/// What a corpus of the test comes to, against everything kept.
fn compared(hook: &str, skip: bool, more: &[&str]) -> Result<()> {
    let (place, texts, context) = (Place::new(), texts(60, 1), 16);
    place.write("c.jsonl", jsonl(&texts));
    let args =
        ["neurons", "--corpus", "c.jsonl", "--context", "16", "--examples", "4", "--frequent", "20", "--out", "out"];
    let skips: &[&str] = if skip { &["--skip-pos", "0"] } else { &[] };
    let all = exported(&place, &texts, hook, skips, context, skip)?;
    place.ok([&args[..], skips, more, &["--draws", "4000"]].concat());
    let (stats, _) = read_rows::<NeuronStatsRow>(place.path("out/neuron_stats.parquet"))?;
    let (examples, _) = read_rows::<NeuronExampleRow>(place.path("out/neuron_examples.parquet"))?;
    let width = all[0].values.len();
    assert_eq!(stats.len(), width);
    let n = all.len() as f64;
    for (column, row) in stats.iter().enumerate().step_by(13) {
        assert_eq!(
            (row.feature.hook.as_str(), row.numbers.tokens_seen, row.sample_tokens),
            (hook, all.len() as u64, all.len() as u64)
        );
        let of = || all.iter().map(|seen| f64::from(seen.values[column]));
        let mean = of().sum::<f64>() / n;
        let squares = of().map(|x| (x - mean).powi(2)).sum::<f64>();
        // A few roundings of sums of some thousand terms in f64.
        let near = |got: f64, want: f64, size: f64| {
            assert!((got - want).abs() <= 1e-11 * size, "{hook} {column}: {got} is not {want}")
        };
        near(row.numbers.mean, mean, of().map(f64::abs).sum::<f64>() / n);
        near(row.numbers.std, (squares / n).sqrt(), (squares / n).sqrt());
        assert_eq!(row.numbers.frac_positive, of().filter(|x| *x > 0.0).count() as f64 / n);
        let mut sorted: Vec<f32> = all.iter().map(|seen| seen.values[column]).collect();
        sorted.sort_by(f32::total_cmp);
        assert_eq!((row.numbers.min, row.numbers.max), (sorted[0], sorted[sorted.len() - 1]));
        let q = |q: f64| sorted[((q * n).ceil() as usize).max(1) - 1];
        let found = [row.q01, row.q05, row.q25, row.q50, row.q75, row.q95, row.q99];
        assert_eq!(found, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99].map(q), "{hook} {column}");
        assert_eq!(row.quantile_error, 0.0);
        let r2 = explained(&all, column, 20);
        assert!((row.token_only_r2.unwrap() - r2).abs() < 1e-9, "{hook} {column}: {:?} is not {r2}", row.token_only_r2);
        for (kind, sign) in [("top", 1.0), ("bottom", -1.0)] {
            let mut order: Vec<&Seen> = all.iter().collect();
            order.sort_by(|a, b| {
                let further = (sign * b.values[column]).total_cmp(&(sign * a.values[column]));
                further.then((a.doc, a.pos).cmp(&(b.doc, b.pos)))
            });
            let mut want: Vec<(u64, u32, f32)> = vec![];
            for seen in order {
                if want.len() < 4 && want.iter().all(|(doc, ..)| *doc != u64::from(seen.doc)) {
                    want.push((u64::from(seen.doc), seen.pos, seen.values[column]));
                }
            }
            let own = examples.iter().filter(|e| {
                (e.feature.neuron as usize % width.max(1), &*e.kind) == (row.feature.neuron as usize, kind)
            });
            let own = own.filter(|e| e.feature.head == row.feature.head);
            let found: Vec<(u64, u32, f32)> = own.map(|e| (e.doc, e.pos, e.value)).collect();
            assert_eq!(found, want, "{hook} {column} {kind}");
        }
    }
    // Every example has the text of its document, and its tenth.
    for e in examples.iter().step_by(7) {
        let (skill, text) = &texts[e.doc as usize];
        assert_eq!(e.doc_id, format!("{skill}-{}", e.doc));
        if e.token != "<|endoftext|>" {
            assert!(text.contains(&format!("{}{}{}", e.left, e.token, e.right)), "{e:?} is not in {text}");
        }
        let column = stats
            .iter()
            .position(|r| (r.feature.head, r.feature.neuron) == (e.feature.head, e.feature.neuron))
            .unwrap();
        let seen = all.iter().find(|s| (u64::from(s.doc), s.pos) == (e.doc, e.pos)).unwrap();
        assert_eq!(seen.values[column], e.value);
        if let Some(group) = e.group {
            let below = all.iter().filter(|s| s.values[column] < e.value).count() as f64 / n;
            let up_to = all.iter().filter(|s| s.values[column] <= e.value).count() as f64 / n;
            let (from, to) = (f64::from(group) / 10.0, f64::from(group + 1) / 10.0);
            assert!(below < to + 1.0 / n && up_to > from - 1.0 / n, "{e:?}: {below} to {up_to}");
        }
    }
    // A sample: quantiles are as near as is said (the seed is fixed), random examples are the same tokens for all.
    place.ok([&args[..], skips, more, &["--draws", "60", "--force"]].concat());
    let (stats, _) = read_rows::<NeuronStatsRow>(place.path("out/neuron_stats.parquet"))?;
    let (examples, _) = read_rows::<NeuronExampleRow>(place.path("out/neuron_examples.parquet"))?;
    for (column, row) in stats.iter().enumerate().step_by(13) {
        assert_eq!((row.sample_tokens, row.numbers.tokens_seen), (60, all.len() as u64));
        assert!((row.quantile_error - (40f64.ln() / 120.0).sqrt()).abs() < 1e-12);
        let of = |x: f32| all.iter().filter(|s| s.values[column] <= x).count() as f64 / n;
        let found = [(0.25, row.q25), (0.5, row.q50), (0.75, row.q75)];
        for (q, x) in found {
            // Ties hold a share of their own, and so does the sample's own step.
            let ties = all.iter().filter(|s| s.values[column] == x).count() as f64 / n;
            assert!(
                (of(x) - q).abs() <= 1.2 * row.quantile_error + ties + 1.0 / 60.0,
                "{column}: {} of the tokens, not {q}",
                of(x)
            );
        }
    }
    let mut random: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for e in examples.iter().filter(|e| e.kind == "random") {
        random.entry((e.feature.head, e.feature.neuron)).or_default().push((e.doc, e.pos));
    }
    assert_eq!(random.len(), width);
    let first = random.values().next().unwrap().clone();
    assert!(first.len() == 3 && random.values().all(|own| *own == first));
    Ok(())
}

/// Invariant: Statistics, quantiles and examples of features over a corpus are those of all of its tokens kept and sorted; what the token
/// alone explains is the adjusted R² of a regression.
#[test]
fn neurons_over_a_corpus_are_those_of_everything_kept() -> Result<()> {
    compared("blocks.1.mlp.hook_post", false, &["--layers", "1"])
}

/// Invariant: as `neurons_over_a_corpus_are_those_of_everything_kept`.
#[test]
fn columns_of_any_hook_are_those_of_everything_kept() -> Result<()> {
    compared("blocks.2.attn.hook_z", true, &["--hook", "z", "--layers", "2"])?;
    compared("blocks.3.hook_resid_post", true, &["--hook", "blocks.3.hook_resid_post"])
}

/// Invariant: Neurons of the built-in model have top examples of one skill of its grammar, far more often than chance has it, for every skill.
#[test]
fn neurons_of_the_built_in_model_know_one_skill_each() -> Result<()> {
    let (place, texts) = (Place::new(), texts(900, 2));
    place.write("c.jsonl", jsonl(&texts));
    place.ok(["neurons", "--corpus", "c.jsonl", "--skip-pos", "0", "--examples", "12", "--out", "out"]);
    let (examples, _) = read_rows::<NeuronExampleRow>(place.path("out/neuron_examples.parquet"))?;
    let mut skills: BTreeMap<&str, usize> = BTreeMap::new();
    let of = |e: &NeuronExampleRow| (e.feature.layer, e.feature.neuron);
    let top: Vec<&NeuronExampleRow> = examples.iter().filter(|e| e.kind == "top").collect();
    for own in top.chunk_by(|a, b| of(a) == of(b)) {
        let skill = |e: &NeuronExampleRow| texts[e.doc as usize].0;
        assert_eq!(own.len(), 12);
        if own.iter().all(|e| skill(e) == skill(own[0])) {
            *skills.entry(skill(own[0])).or_default() += 1;
        }
    }
    // By chance one neuron in 6^11 would: of 2048, none.
    let least = skills.values().copied().min().unwrap_or(0);
    assert!(skills.len() == 6 && least >= 5, "neurons of one skill: {skills:?}");
    let (cards, _) = read_rows::<NeuronCardRow>(place.path("out/neuron_cards.parquet"))?;
    let (vocab, _) = read_rows::<NeuronVocabRow>(place.path("out/neuron_vocab.parquet"))?;
    let mut shown: Vec<(Option<u32>, u32)> = cards.iter().map(|c| (c.feature.layer, c.feature.neuron)).collect();
    shown.dedup();
    assert_eq!(shown.len(), 8);
    for (layer, neuron) in shown {
        assert!(vocab.iter().any(|v| (Some(v.layer), v.neuron) == (layer, neuron)));
        let figure = place.read(&format!("out/neuron-{}.{neuron}.svg", layer.unwrap()));
        roxmltree::Document::parse(std::str::from_utf8(&figure).unwrap()).unwrap();
    }
    // On a card, the example's own token has the value of the example.
    for card in cards.iter().filter(|c| c.offset == 0) {
        let e = examples.iter().find(|e| {
            (e.feature.layer, e.feature.neuron, &e.kind, e.group, e.rank)
                == (card.feature.layer, card.feature.neuron, &card.kind, card.group, card.rank)
        });
        let e = e.unwrap();
        assert_eq!((&e.token, e.pos, &e.doc_id), (&card.token, card.pos, &card.doc_id));
        // A run of another length has other tiles.
        assert!((e.value - card.value).abs() <= 1e-4 * e.value.abs().max(0.1), "{e:?} {card:?}");
    }
    Ok(())
}

/// Invariant: Each of several corpora has the rows that it has alone, however many threads there are; prompts say how many tokens of the first
/// have a lower activation.
#[test]
fn several_corpora_are_those_of_each_alone() -> Result<()> {
    let place = Place::new();
    place.write("a.jsonl", jsonl(&texts(30, 3)));
    place.write("b.jsonl", jsonl(&texts(30, 4)));
    let how = ["--layers", "1", "--examples", "3", "--cards", "2"];
    place.ok([&["neurons", "--corpus", "a.jsonl", "--corpus", "b.jsonl", "--out", "both"], &how[..]].concat());
    let mut one = place.command(env!("CARGO_BIN_EXE_pellucid"));
    one.env("RAYON_NUM_THREADS", "1").args(["neurons", "--corpus", "a.jsonl", "--out", "one"]).args(how);
    assert!(one.output().unwrap().status.success());
    place.ok([&["neurons", "--corpus", "b.jsonl", "--out", "b"], &how[..]].concat());
    let stats = |folder: &str| {
        read_rows::<NeuronStatsRow>(place.path(&format!("{folder}/neuron_stats.parquet"))).map(|(rows, _)| rows)
    };
    let examples = |folder: &str| {
        read_rows::<NeuronExampleRow>(place.path(&format!("{folder}/neuron_examples.parquet"))).map(|(rows, _)| rows)
    };
    assert_eq!(stats("both")?, [stats("one")?, stats("b")?].concat());
    assert_eq!(examples("both")?, [examples("one")?, examples("b")?].concat());
    let text = "Mary and John went to the store";
    place.ok([&["neurons", text, "--corpus", "a.jsonl", "--draws", "4000", "--out", "p"], &how[..]].concat());
    let (found, _) = read_rows::<NeuronRow>(place.path("p/neurons.parquet"))?;
    let all = everything(&texts(30, 3), "blocks.1.mlp.hook_post", 1024, false)?;
    for row in &found {
        // One token may be on the other side: the prompt's own text is in no document, but rounding is its own.
        let lower = all.iter().filter(|s| f64::from(s.values[row.neuron as usize]) < row.post).count() as f64;
        assert!(
            (row.percentile.unwrap() - 100.0 * lower / all.len() as f64).abs() <= 100.0 / all.len() as f64,
            "{row:?}"
        );
    }
    Ok(())
}

/// Invariant: The file for Neuronpedia has the values and tokens of the cards, and the logits of what their neurons say.
#[test]
fn cards_are_written_with_the_keys_of_neuronpedia() -> Result<()> {
    let place = Place::new();
    place.write("c.jsonl", jsonl(&texts(30, 6)));
    place.ok(["neurons", "--corpus", "c.jsonl", "--neuron", "2.7,3.9", "--neuronpedia", "--out", "out"]);
    let features: serde_json::Value = serde_json::from_slice(&place.read("out/neuronpedia.json")).unwrap();
    let (cards, _) = read_rows::<NeuronCardRow>(place.path("out/neuron_cards.parquet"))?;
    let (vocab, _) = read_rows::<NeuronVocabRow>(place.path("out/neuron_vocab.parquet"))?;
    let (stats, _) = read_rows::<NeuronStatsRow>(place.path("out/neuron_stats.parquet"))?;
    assert_eq!((features.as_array().unwrap().len(), stats.len()), (2, 2));
    for (feature, (layer, neuron)) in features.as_array().unwrap().iter().zip([(2, 7), (3, 9)]) {
        assert_eq!(feature["hookName"], format!("blocks.{layer}.mlp.hook_post"));
        assert_eq!((&feature["index"], &feature["modelId"]), (&neuron.to_string().into(), &"demo".into()));
        let own: Vec<&NeuronCardRow> =
            cards.iter().filter(|c| (c.feature.layer, c.feature.neuron) == (Some(layer), neuron)).collect();
        assert_eq!(feature["maxActApprox"].as_f64(), Some(f64::from(own[0].numbers.max)));
        let activations = feature["activations"].as_array().unwrap();
        let all = |key: &str| activations.iter().flat_map(|a| a[key].as_array().unwrap().clone()).collect::<Vec<_>>();
        let values: Vec<f32> = all("values").iter().map(|x| x.as_f64().unwrap() as f32).collect();
        assert_eq!(values, own.iter().map(|c| c.value).collect::<Vec<_>>());
        assert_eq!(all("tokens"), own.iter().map(|c| serde_json::json!(c.token)).collect::<Vec<_>>());
        for activation in activations {
            let at = activation["maxValueTokenIndex"].as_u64().unwrap() as usize;
            assert_eq!(activation["values"][at], activation["maxValue"]);
        }
        for (end, words, sizes) in [("promoted", "pos_str", "pos_values"), ("suppressed", "neg_str", "neg_values")] {
            let said: Vec<&NeuronVocabRow> =
                vocab.iter().filter(|v| (v.layer, v.neuron, &*v.end) == (layer, neuron, end)).collect();
            assert_eq!(said.len(), 10);
            for (i, v) in said.into_iter().enumerate() {
                assert_eq!((feature[words][i].as_str(), feature[sizes][i].as_f64()), (Some(&*v.token), Some(v.value)));
            }
        }
    }
    Ok(())
}

/// Invariant: What a corpus cannot give, or memory cannot hold, is refused with what would do, or said.
#[test]
fn corpora_that_do_not_do_are_refused_or_said() {
    let place = Place::new();
    place.write("c.jsonl", jsonl(&texts(5, 5)));
    place.write("empty.jsonl", "");
    let of = |more: &[&'static str]| -> Vec<&'static str> { [&["neurons", "--corpus", "c.jsonl"], more].concat() };
    let done = place.ok(of(&["--layers", "0", "--out", "few"]));
    assert!(done.stderr.contains("c.jsonl has 5 documents, and so at most as many top examples"), "{}", done.stderr);
    place.refused(of(&["--neuron", "0.99999"]), 2, "has 512 neurons (0-511), and 99999 is not one");
    place.refused(of(&["--layers", "4"]), 2, "there are 4 layers (0-3), and 4 is not one");
    place.refused(of(&["--hook", "pattern"]), 2, "is a number for each query and key");
    place.refused(of(&["--hook", "mlp.pst"]), 2, "this model has no hook `mlp.pst`");
    place.refused(of(&["--hook", "resid_post", "--neuron", "1.2"]), 2, "none of the neurons that are named");
    place.refused(of(&["--memory", "150MB", "--draws", "100000"]), 2, "what is kept of 2048 columns of 1 corpus takes");
    place.refused(of(&["--skip-pos", "0..1024"]), 2, "no token of c.jsonl is read");
    place.refused(["neurons", "--corpus", "empty.jsonl"], 2, "the corpus is empty");
    place.refused(["neurons", "Mary", "--hook", "z"], 2, "--corpus");
    place.refused(of(&["--target", " Mary"]), 2, "are of prompts, and there are none");
    place.refused(["neurons"], 2, "there is no prompt");
    let fixture = model("gpt2");
    place.refused(["neurons", "-m", &fixture, "--corpus", "c.jsonl"], 2, "tokenizer");
}
