//! Pools and probabilities against other people's code and by hand.

use pellucid::sample::{Chain, Context, Engine, Pool, Sampler, Sampling, Step, Ties};
use serde_json::Value;

const REFERENCE: &str = include_str!("../../fixtures/sampling.json");

fn options(case: &Value) -> Sampling {
    let mut options = case["options"].clone();
    let engine = case["engine"].as_str().unwrap();
    options["engine"] = engine.into();
    // Where the engine has defaults that the case does not name, they are off.
    for (name, off) in [("temperature", 1.0), ("top_p", 1.0), ("min_p", 0.0), ("repetition_penalty", 1.0)] {
        if options.get(name).is_none() {
            options[name] = off.into();
        }
    }
    if options.get("top_k").is_none() {
        options["top_k"] = 0.into();
    }
    serde_json::from_value(options).unwrap()
}

fn ids(of: &Value) -> Vec<u32> {
    of.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Invariant: samplers keep the tokens that Hugging Face transformers' logits processors keep, with the same probabilities, in the
/// orders of transformers, vLLM and llama.cpp, with ties, at the ends of every range and with penalties.
#[test]
fn pools_are_those_of_transformers() {
    let reference: Value = serde_json::from_str(REFERENCE).unwrap();
    let logits: Vec<Vec<f32>> = serde_json::from_value(reference["logits"].clone()).unwrap();
    let cases = reference["cases"].as_array().unwrap();
    assert!(cases.len() > 1000);
    for case in cases {
        let logits = &logits[case["logits"].as_u64().unwrap() as usize];
        let (prompt, output) = (ids(&case["prompt"]), ids(&case["output"]));
        let chain = options(case).chain(None).unwrap();
        let context = Context { prompt: &prompt, output: &output };
        let mut pool = Pool::of(logits, &chain, context).unwrap();
        let mut kept = pool.kept().to_vec();
        let sampled = pool.sampled();
        kept.sort_unstable();
        let expected = match &case["kept"] {
            Value::Null => (0..logits.len() as u32).collect(),
            some => ids(some),
        };
        let what = format!("{} on {:?}: {chain}", case["engine"], case["options"]);
        assert_eq!(kept, expected, "{what}");
        for (id, prob) in expected.iter().zip(case["prob"].as_array().unwrap()) {
            // Both are f64; the reference has twelve digits, of sums in another order.
            let (prob, ours) = (prob.as_f64().unwrap(), sampled[*id as usize]);
            assert!((prob - ours).abs() <= 1e-11 * prob + 1e-15, "{what}, token {id}: {ours} is not {prob}");
        }
        assert!((0..logits.len() as u32).all(|id| pool.cut(id).is_none() == kept.contains(&id)));
        // What puts candidates in order only as far as a draw needs them keeps and draws the same.
        let mut quick = Pool::to_draw(logits, &chain, context).unwrap();
        assert_eq!((quick.size(), quick.is_close()), (kept.len(), pool.is_close()), "{what}");
        for at in [0.0, 0.3, 0.77, 0.999_999] {
            let (own, all) = (quick.draw(at), pool.draw(at));
            assert!(own.id == all.id || own.close || all.close, "{what}: {own:?} and {all:?} by {at}");
        }
    }
}

fn logits_of(probs: &[f64]) -> Vec<f32> {
    probs.iter().map(|p| p.ln() as f32).collect()
}

fn kept(probs: &[f64], sampling: &Sampling) -> usize {
    Pool::of(&logits_of(probs), &sampling.chain(None).unwrap(), Context::default()).unwrap().size()
}

/// Temperature flattens what top-p sees if it comes first, and nothing if it comes last.
#[test]
fn where_temperature_stands_decides_what_top_p_keeps() {
    let probs = [0.6, 0.25, 0.1, 0.05];
    let order = |names: [&str; 2]| Sampling {
        temperature: Some(2.0),
        top_p: Some(0.8),
        order: Some(names.map(str::to_owned).to_vec()),
        ..Sampling::default()
    };
    assert_eq!(kept(&probs, &order(["temperature", "top-p"])), 3);
    assert_eq!(kept(&probs, &order(["top-p", "temperature"])), 2);
}

/// transformers cuts by top-p before min-p, vLLM after it.
#[test]
fn transformers_and_vllm_keep_different_pools() {
    let probs = [0.5, 0.2, 0.1, 0.05, 0.05, 0.05, 0.05];
    let of = |engine| Sampling {
        engine: Some(engine),
        top_k: Some(0),
        top_p: Some(0.79),
        min_p: Some(0.15),
        ..Sampling::default()
    };
    assert_eq!(kept(&probs, &of(Engine::Transformers)), 3);
    assert_eq!(kept(&probs, &of(Engine::Vllm)), 2);
}

#[test]
fn of_equals_the_lower_id_comes_first_unless_transformers_is_asked_for() {
    let logits = [1.0, 3.0, 3.0, 3.0, 0.0];
    let keep =
        |step, ties| Pool::of(&logits, &Chain { steps: vec![step], ties }, Context::default()).unwrap().kept().to_vec();
    assert_eq!(keep(Step::TopK(2), Ties::Lower), [1, 2]);
    assert_eq!(keep(Step::TopK(2), Ties::Transformers), [1, 2, 3]);
    assert_eq!(keep(Step::TopP(0.4), Ties::Lower), [1, 2]);
    assert_eq!(keep(Step::TopP(0.4), Ties::Transformers), [2, 3]);
    assert_eq!(keep(Step::Temperature(0.0), Ties::Transformers), [1]);
}

#[test]
fn what_is_cut_says_by_what_and_how_far() {
    let logits = logits_of(&[0.5, 0.25, 0.125, 0.0625, 0.0625]);
    let pool = |steps: &[Step]| {
        Pool::of(&logits, &Chain { steps: steps.to_vec(), ties: Ties::Lower }, Context::default()).unwrap()
    };
    let cut = |pool: &Pool<'_>, id: u32| {
        pool.cut(id).map(|cut| (cut.by, (cut.mass_above * 1e4).round(), (cut.margin * 1e4).round()))
    };
    let top_p = pool(&[Step::TopP(0.7)]);
    assert_eq!(cut(&top_p, 1), None);
    assert_eq!(cut(&top_p, 2), Some((Sampler::TopP, 7500.0, 500.0)));
    assert_eq!(top_p.nearest().map(|(sampler, near)| (sampler, (near * 1e4).round())), Some((Sampler::TopP, 500.0)));
    let top_k = pool(&[Step::TopK(2)]);
    assert_eq!(cut(&top_k, 4), Some((Sampler::TopK, 9375.0, 30000.0)));
    // The second sampler sees what the first has left: 2/3 and 1/3.
    let both = pool(&[Step::TopK(2), Step::MinP(0.6)]);
    assert_eq!(cut(&both, 1), Some((Sampler::MinP, 6667.0, 667.0)));
    assert_eq!(cut(&both, 2), Some((Sampler::TopK, 7500.0, 10000.0)));
    assert_eq!(both.sampled(), [1.0, 0.0, 0.0, 0.0, 0.0]);
    let close = pool(&[Step::TopP(0.75)]);
    assert!(close.is_close(), "another order of the sum 0.5 + 0.25 may keep a third token");
    assert!(!top_p.is_close());
}

#[test]
fn probabilities_are_of_the_whole_vocabulary() {
    // Thousands of tokens that are nothing each have much together.
    let mut logits = vec![0.0; 50_000];
    logits[7] = 10.0;
    let pool = Pool::of(&logits, &Chain::default(), Context::default()).unwrap();
    let expected = 10f64.exp() / (10f64.exp() + 49_999.0);
    assert!((pool.prob(7) - expected).abs() < 1e-12);
    // A sum of n numbers that come to 1 is off by n x 2^-53 at most, and the sum by which they were divided too.
    assert!((pool.sampled().iter().sum::<f64>() - 1.0).abs() < 2.0 * 50_000.0 * 2f64.powi(-53));
    // -p ln p, of one token and of the others, in closed form.
    let rest = (1.0 - expected) / 49_999.0;
    let entropy = -expected * expected.ln() - 49_999.0 * rest * rest.ln();
    assert!((pool.entropy_nats() - entropy).abs() < 1e-9);
}

#[test]
fn logits_that_are_not_numbers_are_refused() {
    for bad in [vec![0.0, f32::NAN], vec![f32::NEG_INFINITY; 3], vec![f32::INFINITY, 0.0], vec![]] {
        assert!(Pool::of(&bad, &Chain::default(), Context::default()).is_err());
    }
    let pool = Pool::of(&[0.0, f32::NEG_INFINITY], &Chain::greedy(), Context::default()).unwrap();
    assert_eq!((pool.kept(), pool.sampled()), (&[0][..], vec![1.0, 0.0]));
}
