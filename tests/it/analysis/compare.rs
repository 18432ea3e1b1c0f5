//! Comparisons of models: architectures against specs and files, divergences against Hugging Face's logits, bytes by hand.

use std::collections::BTreeSet;
use std::ops::Range;

use candle_core::DType;
use pellucid::Result;
use pellucid::analysis::compare::bytes::{Stretch, stretches};
use pellucid::analysis::compare::positions::divergence;
use pellucid::analysis::compare::{Compare, Comparison};
use pellucid::analysis::loss::LossRow;
use pellucid::analysis::{
    CompareBytesRow, CompareModelsRow, CompareParametersRow, ComparePositionsRow, CompareSpecRow,
};
use pellucid::model::Model;
use pellucid::session::Models;
use pellucid::table::{Row, read_rows};
use pellucid::text::{Bos, PromptEntry, Token, Tokenizer};

use crate::bin::{Place, fixture, model};
use crate::bound::drift;
use crate::forge;
use crate::help::fixtures::{FIXTURES, every_model};
use crate::reference::Reference;

/// The prompts that Hugging Face ran the fixtures on.
fn entries() -> Vec<PromptEntry> {
    let want = Reference::open(&fixture("gpt2").join("expected.safetensors"));
    want.ids("input_ids").into_iter().map(PromptEntry::ids).collect()
}

fn open(names: &[String], memory: Option<usize>) -> Models {
    let mut models = Models::open(names).unwrap();
    models.memory_bytes = memory.unwrap_or(models.memory_bytes);
    models
}

type Found = (
    Vec<CompareSpecRow>,
    Vec<CompareParametersRow>,
    Vec<CompareModelsRow>,
    Vec<ComparePositionsRow>,
    Vec<CompareBytesRow>,
);

fn compared(models: &Models, entries: &[PromptEntry]) -> Found {
    let (spec, parameters, of_models, positions, bytes, ..) =
        models.run(&Compare::default(), Comparison::on(models, entries, Bos::AsTokenizer).unwrap()).unwrap();
    let (spec, parameters) = (spec.rows().to_vec(), parameters.rows().to_vec());
    (spec, parameters, of_models.rows().to_vec(), positions.rows().to_vec(), bytes.rows().to_vec())
}

fn logits_of(name: &str) -> Vec<Vec<f64>> {
    let want = Reference::open(&fixture(name).join("expected.safetensors"));
    want.packed("logits").to_dtype(DType::F64).unwrap().to_vec2().unwrap()
}

/// The logarithms of probabilities, naively.
fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total = top + logits.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
    logits.iter().map(|x| x - total).collect()
}

fn kl(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum()
}

/// Invariant: Divergences, log-probabilities, ranks and first tokens of two models are those of Hugging Face's logits, within what rounding
/// makes of them, whatever the memory.
#[test]
fn divergences_are_those_of_hugging_faces_logits() -> Result<()> {
    let entries = entries();
    let names: Vec<String> = FIXTURES.iter().map(|name| model(name)).collect();
    let whole = open(&names, None);
    let (_, _, of_models, rows, bytes) = compared(&whole, &entries);
    assert!(bytes.is_empty(), "ids have no bytes");
    let reference = logits_of(FIXTURES[0]);
    assert_eq!(rows.len(), reference.len() * (FIXTURES.len() - 1));
    let drifts = |name: &str| {
        let model = Model::load(&fixture(name)).unwrap();
        drift(name, &model, &Reference::open(&fixture(name).join("expected.safetensors")).batch("input_ids"))
    };
    let of_reference = drifts(FIXTURES[0]).logits();
    for name in &FIXTURES[1..] {
        let (own, allowed) = (logits_of(name), drifts(name).logits() + of_reference);
        let mut sums = [0.0, 0.0];
        for (t, row) in rows.iter().filter(|row| row.model == *name).enumerate() {
            assert_eq!((row.prompt, row.pos), ((t / 12) as u32, (t % 12) as u32), "{name}");
            let (p, q) = (log_softmax(&reference[t]), log_softmax(&own[t]));
            let middle: Vec<f64> = p.iter().zip(&q).map(|(p, q)| ((p.exp() + q.exp()) / 2.0).ln()).collect();
            // The slope of KL in a logit of p is p (log(p / q) - KL), in one of q it is q - p.
            let steepest = p.iter().zip(&q).map(|(p, q)| (p - q).abs()).fold(1.0, f64::max);
            let near = |got: f64, nats: f64, steep: f64, what: &str| {
                let (bits, allowed) = (nats / 2f64.ln(), 2.0 * allowed * steep / 2f64.ln());
                assert!((got - bits).abs() <= allowed, "{name} {t} {what}: {got} is not {bits} within {allowed:e}");
            };
            near(row.kl_bits, kl(&p, &q), steepest, "KL");
            near(row.js_bits, (kl(&p, &middle) + kl(&q, &middle)) / 2.0, 1.0, "JS");
            sums = [sums[0] + row.kl_bits, sums[1] + row.js_bits];
            let first = |logits: &[f64], id: u32| {
                let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                assert!(top - logits[id as usize] <= 2.0 * allowed, "{name} {t}: {id} is not the most probable");
            };
            first(&p, row.first_reference_id);
            first(&q, row.first_id);
            assert_eq!(row.same_first, row.first_id == row.first_reference_id);
            assert!((row.first_prob - q[row.first_id as usize].exp()).abs() <= 2.0 * allowed);
            assert!((row.first_reference_prob - p[row.first_reference_id as usize].exp()).abs() <= 2.0 * allowed);
            let Some(next) = row.next_id else {
                assert_eq!(row.pos, 11);
                assert_eq!((row.loss_bits, row.delta_log_prob_bits, row.rank_change), (None, None, None));
                continue;
            };
            near(row.loss_bits.unwrap(), -q[next as usize], 1.0, "loss");
            near(row.loss_bits_reference.unwrap(), -p[next as usize], 1.0, "loss of the reference");
            near(row.delta_log_prob_bits.unwrap(), q[next as usize] - p[next as usize], 1.0, "delta");
            let rank =
                |logits: &[f64], by: f64| 1 + logits.iter().filter(|x| **x > logits[next as usize] + by).count() as u32;
            for (got, logits) in [(row.rank, &q), (row.rank_reference, &p)] {
                let got = got.unwrap();
                assert!((rank(logits, 2.0 * allowed)..=rank(logits, -2.0 * allowed)).contains(&got), "{name} {t}");
            }
            let change = i64::from(row.rank_reference.unwrap()) - i64::from(row.rank.unwrap());
            assert_eq!(row.rank_change, Some(change));
        }
        let of_model = of_models.iter().find(|row| row.model == *name).unwrap();
        let n = reference.len() as f64;
        assert_eq!(of_model.positions, reference.len() as u64);
        assert!((of_model.kl_bits.unwrap() - sums[0] / n).abs() <= 1e-12 * sums[0].max(1.0));
        assert!((of_model.js_bits.unwrap() - sums[1] / n).abs() <= 1e-12 * sums[1].max(1.0));
    }
    // Memory for logits of seven positions: prompts are cut, and rows are the same in the same order.
    let need = 97 * 4 * 7 * 2;
    let cut = open(&names[..3], Some(need));
    let comparison = Comparison::on(&cut, &entries, Bos::Never)?;
    let mut again: Vec<ComparePositionsRow> = vec![];
    let mut sink = pellucid::session::Sink::new(
        pellucid::session::To::Memory,
        pellucid::session::On::provenance(&cut, vec![]),
        &(),
        &|_| {},
    );
    pellucid::session::Analysis::run(&Compare::default(), &cut, &comparison, &mut sink)?;
    let mut found = sink.finish(true)?;
    for table in &mut found.tables {
        if let Some(table) = table.any().downcast_mut::<pellucid::table::Table<ComparePositionsRow>>() {
            again.extend_from_slice(table.rows());
        }
    }
    let few: Vec<&ComparePositionsRow> = rows.iter().filter(|row| FIXTURES[1..3].contains(&&*row.model)).collect();
    assert_eq!(again.len(), few.len());
    for (a, b) in again.iter().zip(few) {
        assert_eq!((&a.model, a.prompt, a.pos, a.rank, a.first_id), (&b.model, b.prompt, b.pos, b.rank, b.first_id));
        let allowed = 2.0 * (drifts(&a.model).logits() + of_reference) * 30.0;
        assert!((a.kl_bits - b.kl_bits).abs() <= allowed, "{} is not {}", a.kl_bits, b.kl_bits);
    }
    Ok(())
}

/// Divergences by hand: of (1/2, 1/2) and (1/4, 3/4), of what is the same, of what has nothing in common; a token that only one has is
/// left out.
#[test]
fn divergences_by_hand() {
    let logits = |probabilities: &[f64]| probabilities.iter().map(|p| p.ln() as f32).collect::<Vec<f32>>();
    let found = divergence(&logits(&[0.5, 0.5]), &logits(&[0.25, 0.75]));
    // Logits are f32: of each, an error of 2^-24 of its size.
    let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-6, "{got} is not {want}");
    near(found.kl_bits, 0.5 + 0.5 * (2f64 / 3.0).log2());
    let entropy = |p: f64| -p * p.log2() - (1.0 - p) * (1.0 - p).log2();
    near(found.js_bits, entropy(0.375) - (1.0 + entropy(0.25)) / 2.0);
    let same = logits(&[0.2, 0.3, 0.5]);
    let shifted: Vec<f32> = same.iter().map(|x| x + 8.0).collect();
    assert_eq!(divergence(&same, &same), divergence(&[1.0, 1.0], &[1.0, 1.0]));
    assert_eq!((divergence(&same, &same).kl_bits, divergence(&same, &same).js_bits), (0.0, 0.0));
    near(divergence(&same, &shifted).kl_bits, 0.0);
    let apart = divergence(&[0.0, -2000.0], &[-2000.0, 0.0]);
    near(apart.js_bits, 1.0);
    assert!((apart.kl_bits - 2000.0 / 2f64.ln()).abs() < 1e-3, "{apart:?}");
    // Of (1/4, 1/4, 1/2) the two that both have are (1/2, 1/2).
    near(divergence(&logits(&[0.25, 0.25, 0.5]), &logits(&[0.25, 0.75])).kl_bits, found.kl_bits);
}

/// Invariant: A model beside itself differs nowhere; two models with the same weights are refused as two points.
#[test]
fn a_model_beside_itself_differs_nowhere() -> Result<()> {
    let place = Place::new();
    for name in every_model() {
        // The same tensors in another file: its hash is another.
        let copy = forge::copy(&place, name, &format!("copy-{name}"));
        let bytes = place.read(&format!("{copy}/model.safetensors"));
        place.write(
            &format!("{copy}/model.safetensors"),
            forge::header(&bytes, |header| {
                header.insert("__metadata__".into(), serde_json::json!({ "written": "again" }));
            }),
        );
        let names = [model(name), place.path(&copy).display().to_string()];
        let (spec, parameters, models, rows, _) =
            compared(&open(&names, None), &[PromptEntry::ids(vec![3, 1, 4, 1, 5, 9, 2, 6])]);
        assert!(spec.iter().all(|row| !row.differs && row.value == row.value_reference), "{name}");
        assert!(parameters.iter().all(|row| row.difference == 0), "{name}");
        assert_eq!(rows.len(), 8, "{name}");
        for row in &rows {
            assert_eq!((row.kl_bits, row.js_bits, row.same_first), (0.0, 0.0, true), "{name} {}", row.pos);
            assert!(row.delta_log_prob_bits.is_none_or(|x| x == 0.0) && row.rank_change.is_none_or(|x| x == 0));
        }
        assert_ne!(models[0].weights_hash, models[1].weights_hash);
        assert_eq!((models[1].kl_bits, models[1].same_first), (Some(0.0), Some(1.0)));
    }
    // The very same file.
    let twin = forge::copy(&place, "gpt2", "twin");
    let gpt2 = model("gpt2");
    place.refused(
        ["compare", "-m", &gpt2, "-m", &twin, "--ids", "1,2,3"],
        2,
        "gpt2 and twin have the same weights (blake3:",
    );
    place.refused(["compare", "-m", &gpt2, "-m", &gpt2, "--ids", "1,2"], 2, "is named twice");
    place.refused(["compare", "-m", &gpt2], 2, "one model was named, gpt2");
    place.refused(["compare", "-m", &gpt2, "--ids", "1,2"], 2, "one model was named, gpt2");
    // In another architecture the same weights are another model.
    forge::config(&place, "twin", |config| {
        config.insert("layer_norm_epsilon".into(), serde_json::json!(0.25));
    });
    let done = place.ok(["compare", "-m", &gpt2, "-m", &twin, "--ids", "1,2,3", "--out", "run"]);
    assert!(done.stdout.contains("details"), "{}", done.stdout);
    let (rows, _) = read_rows::<CompareSpecRow>(place.path("run/compare_spec.parquet"))?;
    let details = rows.iter().find(|row| row.differs).unwrap();
    assert!(details.value.contains("eps = 0.25") && details.property == "details", "{details:?}");
    Ok(())
}

/// Invariant: A choice is said to differ exactly where something in the specs does, and each difference has its sentence; parameters of parts
/// sum to the model's.
#[test]
fn what_differs_is_what_the_specs_say() -> Result<()> {
    let names: Vec<String> = every_model().map(model).collect();
    let models = open(&names, None);
    let (spec, parameters, ..) =
        models.run(&Compare::default(), Comparison::Nothing).map(|f| (f.0.rows().to_vec(), f.1.rows().to_vec()))?;
    let without_family = |i: usize| {
        let mut spec = serde_json::to_value(&models.all[i].spec).unwrap();
        spec.as_object_mut().unwrap().remove("family");
        spec
    };
    for (i, member) in models.all.iter().enumerate().skip(1) {
        let own: Vec<&CompareSpecRow> = spec.iter().filter(|row| row.model == member.name).collect();
        assert_eq!(own.iter().any(|row| row.differs), without_family(i) != without_family(0), "{}", member.name);
        assert!(own.iter().all(|row| row.changes.ends_with('.') && row.differs == (row.value != row.value_reference)));
        let parts: Vec<&CompareParametersRow> = parameters.iter().filter(|row| row.model == member.name).collect();
        let (all, parts) = parts.split_last().unwrap();
        assert_eq!((&*all.part, all.parameters), ("all", member.spec.n_params() as u64), "{}", member.name);
        assert_eq!(parts.iter().map(|row| row.parameters).sum::<u64>(), all.parameters, "{}", member.name);
        assert_eq!(parts.iter().map(|row| row.difference).sum::<i64>(), all.difference, "{}", member.name);
        assert!((parts.iter().map(|row| row.share).sum::<f64>() - 1.0).abs() < 1e-12);
    }
    let differ = |model: &str| {
        let own = spec.iter().filter(|row| row.model == model && row.differs);
        own.map(|row| (&*row.property, &*row.value_reference, &*row.value)).collect::<Vec<_>>()
    };
    assert_eq!(models.all[0].name, "gpt2");
    // GPT-2 beside a Llama: by hand, from their configurations.
    let llama = differ("llama");
    for wanted in [
        ("positions", "learned, 64 rows", "rotary over 4 dimensions, theta 10000"),
        ("norm", "layer norm, gain and bias", "RMS norm, gain"),
        ("MLP", "GELU (tanh)", "SiLU, gated"),
        ("attention biases", "on queries, keys, values and output", "none"),
        ("MLP biases", "yes", "no"),
        ("unembedding", "tied to the embedding", "its own matrix"),
        ("key/value heads", "one for each query head", "2, each shared by 2 query heads"),
    ] {
        assert!(llama.contains(&wanted), "{wanted:?} is not in {llama:?}");
    }
    let gemma: Vec<&str> = differ("gemma2").iter().map(|(property, ..)| *property).collect();
    for wanted in ["norm place", "embedding scale", "attention window", "score cap", "logit cap", "score scale"] {
        assert!(gemma.contains(&wanted), "{wanted} is not in {gemma:?}");
    }
    assert!(
        differ("gpt_neox").iter().any(|(property, _, value)| *property == "blocks" && value.contains("in parallel"))
    );
    assert!(differ("mixtral").iter().any(|(property, ..)| *property == "experts"));
    assert!(
        differ("olmo2").iter().any(|(property, _, value)| *property == "norm place" && *value == "after sublayers")
    );
    assert!(differ("granite").iter().any(|(property, ..)| *property == "residual scale"));
    // Parts, from the names and sizes of the tensors in the files.
    for (name, of) in [
        ("gpt2", part_of_gpt2 as fn(&str) -> Option<&'static str>),
        ("llama", part_of_llama),
        ("mixtral", part_of_mixtral),
    ] {
        let bytes = fs_err::read(fixture(name).join("model.safetensors"))?;
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for part in ["embed", "qkv", "out", "mlp", "router", "experts", "norms", "unembed"] {
            let tensors = file.tensors();
            let own = tensors.iter().filter(|(name, _)| of(name) == Some(part));
            let counted: u64 = own.map(|(_, view)| view.shape().iter().product::<usize>() as u64).sum();
            let said = parameters.iter().find(|row| row.part == part && row.model == name);
            let of_reference = parameters.iter().find(|row| row.part == part).map(|row| row.parameters_reference);
            let said = if name == "gpt2" { of_reference } else { said.map(|row| row.parameters) };
            assert_eq!(said.unwrap_or(0), counted, "{name}: {part}");
        }
    }
    Ok(())
}

fn part_of_gpt2(tensor: &str) -> Option<&'static str> {
    Some(match tensor {
        _ if tensor.contains(".attn.bias") || tensor.contains("masked_bias") || tensor.contains("lm_head") => {
            return None;
        }
        _ if tensor.contains("wte") || tensor.contains("wpe") => "embed",
        _ if tensor.contains("c_attn") => "qkv",
        _ if tensor.contains("attn.c_proj") => "out",
        _ if tensor.contains("mlp") => "mlp",
        _ => "norms",
    })
}

fn part_of_llama(tensor: &str) -> Option<&'static str> {
    Some(match tensor {
        _ if tensor.contains("rotary") => return None,
        _ if tensor.contains("embed_tokens") => "embed",
        _ if ["q_proj", "k_proj", "v_proj"].iter().any(|name| tensor.contains(name)) => "qkv",
        _ if tensor.contains("o_proj") => "out",
        _ if tensor.contains("lm_head") => "unembed",
        _ if tensor.contains("mlp") => "mlp",
        _ => "norms",
    })
}

fn part_of_mixtral(tensor: &str) -> Option<&'static str> {
    match part_of_llama(tensor) {
        _ if tensor.contains("experts") => Some("experts"),
        _ if tensor.contains("gate.weight") => Some("router"),
        other => other,
    }
}

/// A token of these bytes of a text; none of one that is not of it.
fn token(tokenizer: &Tokenizer, bytes: Option<Range<usize>>) -> Token {
    let mut token = tokenizer.token(0);
    token.bytes = bytes;
    token
}

/// Shared boundaries by hand: tokens that end at the same places, tokens that straddle, a beginning token, spaces that belong to no token,
/// tokens without bytes.
#[test]
fn stretches_by_hand() {
    let tokenizer = Tokenizer::load(&fixture("tokenizers/gpt2")).unwrap().unwrap();
    let cut = |places: &[Option<Range<usize>>]| places.iter().map(|p| token(&tokenizer, p.clone())).collect::<Vec<_>>();
    let found = |a: &[Option<Range<usize>>], b: &[Option<Range<usize>>]| {
        let each = stretches(&cut(a), &cut(b)).into_iter();
        each.map(|Stretch { bytes, positions: [a, b] }| (bytes, a, b)).collect::<Vec<_>>()
    };
    let some = |places: &[Range<usize>]| places.iter().cloned().map(Some).collect::<Vec<_>>();
    // "un|believ|able" and "unb|eliev|able": they meet before "able".
    let (a, b) = (some(&[0..2, 2..8, 8..12]), some(&[0..3, 3..8, 8..12]));
    assert_eq!(found(&a, &b), [(0..8, 0..2, 0..2), (8..12, 2..3, 2..3)]);
    assert_eq!(found(&b, &a), [(0..8, 0..2, 0..2), (8..12, 2..3, 2..3)]);
    // One begins with a token of its own, and ends with one.
    let around = [&[None][..], &b, &[None]].concat();
    assert_eq!(found(&a, &around), [(0..8, 0..2, 0..3), (8..12, 2..3, 3..4)]);
    // The space is of "b" for one and of nobody for the other: it goes with what comes after it.
    assert_eq!(found(&some(&[0..1, 1..3]), &some(&[0..1, 2..3])), [(0..1, 0..1, 0..1), (1..3, 1..2, 1..2)]);
    // An empty token has no bytes of its own: it goes with what it stands behind; at the beginning, with the first.
    assert_eq!(found(&some(&[0..2, 2..2, 2..4]), &some(&[0..2, 2..4])), [(0..2, 0..2, 0..1), (2..4, 2..3, 1..2)]);
    assert_eq!(found(&some(&[0..0, 0..2, 2..3]), &some(&[0..2, 2..3])), [(0..2, 0..2, 0..1), (2..3, 2..3, 1..2)]);
    // Where they never meet again there is nothing.
    assert_eq!(found(&some(&[0..3, 3..7]), &some(&[0..2, 2..6])), []);
    assert_eq!(found(&[], &a), []);
}

/// Invariant: Between tokenizers, surprise is compared on the bytes between places where tokens of both end, and is the sum of `loss` over the
/// tokens there.
#[test]
fn tokenizers_are_compared_on_bytes() -> Result<()> {
    let place = Place::new();
    for (name, tokenizer, vocab) in [("a", "gpt2", 331), ("b", "llama", 400), ("c", "gpt2", 340)] {
        forge::vocabulary(&place, name, vocab);
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            if let Ok(bytes) = fs_err::read(fixture("tokenizers").join(tokenizer).join(file)) {
                place.write(&format!("{name}/{file}"), bytes);
            }
        }
    }
    let texts = ["the cat sat on the mat.", "Mary and  John, café 漢字 12345", "x"];
    let names = ["a", "b", "c"].map(|name| place.path(name).display().to_string());
    let entries = texts.map(PromptEntry::text);
    let (spec, _, models, rows, bytes) = compared(&open(&names, None), &entries);
    let differs = |model: &str, property: &str| {
        spec.iter().any(|row| row.model == model && row.property == property && row.differs)
    };
    assert!(differs("b", "tokenizer") && !differs("c", "tokenizer") && differs("c", "vocabulary"));
    // The same tokenizer with more rows in the embedding: positions; another tokenizer: bytes.
    assert!(rows.iter().all(|row| row.model == "c") && bytes.iter().all(|row| row.model == "b"));
    assert!(rows.len() > 10 && bytes.len() > 10, "{} {}", rows.len(), bytes.len());
    // `loss` of each, and where its tokens are.
    let (mut losses, mut ends) = (vec![], vec![]);
    for name in ["a", "b"] {
        place.ok([&["loss", "-m", &format!("./{name}")], &texts[..], &["--out", &format!("loss-{name}")]].concat());
        let (rows, _) = read_rows::<LossRow>(place.path(&format!("loss-{name}/loss.parquet")))?;
        let tokenizer = Tokenizer::load(&place.path(name))?.unwrap();
        let tokens: Vec<Vec<Token>> =
            texts.iter().map(|text| tokenizer.encode(text, Bos::AsTokenizer).unwrap()).collect();
        losses.push(rows);
        ends.push(tokens);
    }
    let (mut sums, mut counted) = ([0.0, 0.0], 0);
    for (prompt, text) in texts.iter().enumerate() {
        let place_of = |model: usize| {
            ends[model][prompt].iter().filter_map(|t| Some(t.bytes.clone()?.end)).collect::<BTreeSet<_>>()
        };
        let shared: Vec<usize> = place_of(0).intersection(&place_of(1)).copied().filter(|end| *end > 0).collect();
        let mut from = 0;
        let mut own = bytes.iter().filter(|row| row.prompt as usize == prompt);
        for to in shared {
            // What of `loss` lies in these bytes; none where the first token is among them and has none.
            let sum = |model: usize| -> Option<(f64, u32)> {
                let tokens = ends[model][prompt].iter().enumerate();
                let within = tokens.filter(|(_, t)| {
                    t.bytes.as_ref().is_some_and(|b| b.end > from && b.end <= to || b.end == 0 && from == 0)
                });
                let bits: Option<Vec<f64>> = within
                    .map(|(pos, _)| {
                        losses[model]
                            .iter()
                            .find(|row| row.prompt as usize == prompt && row.pos as usize == pos)?
                            .loss_bits
                    })
                    .collect();
                bits.map(|bits| (bits.iter().sum(), bits.len() as u32))
            };
            if let (Some((a, tokens_a)), Some((b, tokens_b))) = (sum(0), sum(1)) {
                let row = own.next().unwrap();
                assert_eq!((row.byte_start as usize, row.byte_end as usize), (from, to), "{text}");
                assert_eq!((row.tokens_reference, row.tokens), (tokens_a, tokens_b), "{text}");
                // The same sums of the same runs: f64 in another order.
                assert!(
                    (row.bits_reference - a).abs() < 1e-3 && (row.bits - b).abs() < 1e-3,
                    "{text}: {row:?} {a} {b}"
                );
                let n = (to - from) as f64;
                assert_eq!(row.bits_per_byte, row.bits / n);
                assert!((row.delta_bits_per_byte - (row.bits_per_byte - row.bits_per_byte_reference)).abs() < 1e-12);
                sums = [sums[0] + row.bits_reference, sums[1] + row.bits];
                counted += to - from;
            }
            from = to;
        }
        assert!(own.next().is_none(), "{text}");
    }
    assert_eq!(models[1].bytes, counted as u64);
    assert!((models[1].bits_per_byte.unwrap() - sums[1] / counted as f64).abs() < 1e-12);
    assert!((models[1].bits_per_byte_reference.unwrap() - sums[0] / counted as f64).abs() < 1e-12);
    assert_eq!((models[1].positions, models[1].kl_bits), (0, None));
    // Ids mean nothing to both.
    place.refused(
        ["compare", "-m", "./a", "-m", "./b", "--ids", "1,2"],
        2,
        "token ids mean other tokens to b than to a",
    );
    let done = place.ok(["compare", "-m", "./a", "-m", "./b", "-m", "./c", texts[0], texts[1], "--out", "run"]);
    assert!(done.stdout.contains("b has") || done.stdout.contains("surprised"), "{}", done.stdout);
    for figure in ["compare_spec", "compare_parameters", "compare_positions-p0", "compare_bytes-p1"] {
        let svg = String::from_utf8(place.read(&format!("run/{figure}.svg"))).unwrap();
        roxmltree::Document::parse(&svg).unwrap();
    }
    // Figures from the files are those of the run.
    place.ok(["chart", &format!("run/{}.parquet", CompareBytesRow::TABLE.name), "--out", "again"]);
    assert!(place.read("run/compare_bytes-p0.svg") == place.read("again/compare_bytes-p0.svg"));
    Ok(())
}
