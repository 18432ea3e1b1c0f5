//! Samplers as they are asked for: precedence, orders and what is refused.

use pellucid::sample::{Chain, Defaults, Engine, GenerationConfig, Sampling};
use pellucid::text::files::Files;

fn config(json: &str) -> GenerationConfig {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(GenerationConfig::FILE), json).unwrap();
    GenerationConfig::read(&Files::Folder(dir.path().to_owned())).unwrap().unwrap()
}

fn chain(sampling: &Sampling, model: Option<&GenerationConfig>) -> String {
    sampling.chain(model).unwrap().to_string()
}

fn refused(sampling: Sampling) -> String {
    let e = sampling.chain(None).unwrap_err();
    assert_eq!(e.exit_code(), 2, "{e:?}");
    assert!(e.hint_text().is_some_and(|hint| !hint.is_empty()));
    e.to_string()
}

#[test]
fn nothing_is_done_unless_it_is_asked_for() {
    assert_eq!(Sampling::default().chain(None).unwrap(), Chain::default());
    let llama = config(r#"{"do_sample": true, "temperature": 0.6, "top_p": 0.9}"#);
    assert_eq!(Sampling::default().chain(Some(&llama)).unwrap(), Chain::default());
    // What does nothing is no step.
    let off =
        Sampling { temperature: Some(1.0), top_k: Some(0), top_p: Some(1.0), min_p: Some(0.0), ..Sampling::default() };
    assert_eq!(off.chain(None).unwrap(), Chain::default());
}

#[test]
fn an_option_comes_before_the_model_and_that_before_the_engine() {
    let llama = config(r#"{"do_sample": true, "temperature": 0.6, "top_p": 0.9}"#);
    let model = Sampling { defaults: Some(Defaults::Model), ..Sampling::default() };
    assert_eq!(chain(&model, Some(&llama)), "temperature 0.6, then top-k 50, then top-p 0.9");
    let given = Sampling { temperature: Some(0.9), top_k: Some(0), ..model.clone() };
    assert_eq!(chain(&given, Some(&llama)), "temperature 0.9, then top-p 0.9");
    let engine = Sampling { engine: Some(Engine::LlamaCpp), ..model.clone() };
    assert_eq!(chain(&engine, Some(&llama)), "top-k 50, then top-p 0.9, then min-p 0.05, then temperature 0.6");
    let alone = Sampling { engine: Some(Engine::Ollama), ..Sampling::default() };
    assert_eq!(
        chain(&alone, None),
        "repetition penalty 1.1 over 64 tokens, then top-k 40, then temperature 0.8, then top-p 0.9"
    );
    // Without `do_sample` transformers takes the most probable token, whatever else the file says.
    let greedy = config(r#"{"temperature": 0.6, "repetition_penalty": 1.2}"#);
    assert_eq!(chain(&model, Some(&greedy)), "repetition penalty 1.2, then temperature 0 (greedy)");
    assert!(greedy.said().unwrap().contains("temperature 0.6"));
    assert_eq!(config(r#"{"eos_token_id": [1, 2]}"#).ends(), [1, 2]);
    assert_eq!(config(r#"{"eos_token_id": 3}"#).ends(), [3]);
    assert_eq!(config("{}").said(), None);
}

#[test]
fn what_is_outside_its_range_is_refused() {
    let none = Sampling::default;
    for t in [-1.0, f64::NAN, f64::INFINITY, 1e-12] {
        assert!(refused(Sampling { temperature: Some(t), ..none() }).starts_with("temperature is "));
    }
    for p in [-0.1, 1.1, f64::NAN] {
        assert!(refused(Sampling { top_p: Some(p), ..none() }).starts_with("top-p is "));
        assert!(refused(Sampling { min_p: Some(p), ..none() }).starts_with("min-p is "));
        assert!(refused(Sampling { typical: Some(p), ..none() }).starts_with("typical is "));
    }
    for x in [0.0, -1.0, f64::NAN] {
        refused(Sampling { repetition_penalty: Some(x), ..none() });
    }
    refused(Sampling { frequency_penalty: Some(f64::NAN), ..none() });
    let order = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let unknown = Sampling { order: order(&["top_k"]), ..none() }.chain(None).unwrap_err();
    assert!(unknown.hint_text().unwrap().contains("top-k"), "{unknown:?}");
    assert_eq!(refused(Sampling { order: order(&["top-k", "top-k"]), ..none() }), "top-k stands twice in the order");
    let left = Sampling { top_p: Some(0.5), order: order(&["top-k"]), ..none() };
    assert_eq!(refused(left), "top-p is given, but the order leaves it out");
    let engine = Sampling { typical: Some(0.5), engine: Some(Engine::Vllm), ..none() };
    assert_eq!(refused(engine), "typical is given, but the order of vLLM leaves it out");
    assert_eq!(
        refused(Sampling { defaults: Some(Defaults::Model), ..none() }),
        "the model has no generation_config.json"
    );
}

#[test]
fn a_file_that_is_no_object_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(GenerationConfig::FILE), "[1]").unwrap();
    let e = GenerationConfig::read(&Files::Folder(dir.path().to_owned())).unwrap_err();
    assert_eq!(e.exit_code(), 1);
}
