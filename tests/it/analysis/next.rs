//! What may come next, against Hugging Face's logits, and as a person sees it.

use candle_core::DType;
use pellucid::Result;
use pellucid::analysis::next::{Asked, CandidateRow, ChoiceRow, Continuation, NextRow, choices, next};
use pellucid::model::Model;
use pellucid::sample::{Chain, Step, Ties};
use pellucid::sweep::Budget;
use pellucid::table::read_rows;
use pellucid::text::{Bos, Prompt, PromptEntry, build_prompts};

use crate::bin::{Place, fixture};
use crate::bound::drift;
use crate::reference::Reference;

/// A fixture's model, its prompts, and for each the log-softmax of Hugging Face's logits at every position; how far ours may be from one.
struct Known {
    model: Model,
    prompts: Vec<Prompt>,
    logs: Vec<Vec<Vec<f64>>>,
    allowed: f64,
}

fn known(name: &str) -> Result<Known> {
    let dir = fixture(name);
    let (model, want) = (Model::load(&dir)?, Reference::open(&dir.join("expected.safetensors")));
    let allowed = drift(name, &model, &want.batch("input_ids")).metric();
    let ids = want.ids("input_ids");
    let mut logits = want.packed("logits").to_dtype(DType::F64)?.to_vec2::<f64>()?.into_iter();
    let log_softmax = |row: Vec<f64>| {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total = top + row.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
        row.into_iter().map(|x| x - total).collect::<Vec<f64>>()
    };
    let logs = ids.iter().map(|ids| logits.by_ref().take(ids.len()).map(log_softmax).collect()).collect();
    let entries: Vec<PromptEntry> = ids.into_iter().map(PromptEntry::ids).collect();
    let prompts = build_prompts(&entries, None, model.spec().d_vocab, None, Bos::Never)?;
    Ok(Known { model, prompts, logs, allowed })
}

fn spell(id: u32) -> String {
    format!("#{id}")
}

fn candidates_of(name: &str) -> Result<()> {
    let Known { model, prompts, logs, allowed } = known(name)?;
    let chain = Chain { steps: vec![Step::Temperature(0.7), Step::TopP(0.8)], ties: Ties::Lower };
    for (chain, memory) in [(Chain::default(), 1), (chain, 1 << 30)] {
        let asked = Asked { top: 5, positions: vec![0.into(), (-1).into()], chain: chain.clone() };
        let mut wholes: Vec<NextRow> = vec![];
        next(&model, &prompts, &asked, &spell, Budget(memory), &(), &mut |rows, whole| {
            let says = &logs[whole.prompt as usize][whole.pos as usize];
            let mut mass = 0.0;
            for row in &rows {
                assert_eq!(
                    (row.prompt, row.pos, row.rank),
                    (whole.prompt, whole.pos, 1 + (mass > 0.0) as u32 * (row.rank - 1))
                );
                mass += row.prob;
                let Some(id) = row.token_id else { continue };
                let want = says[id as usize].exp();
                assert!((row.prob - want).abs() <= allowed, "{name}: {} is not {want}", row.prob);
                // Where two are nearer than rounding, either may come first.
                let before = |by: f64| says.iter().filter(|x| **x > says[id as usize] + by).count() as u32;
                assert!(
                    before(2.0 * allowed) < row.rank && row.rank <= 1 + before(-2.0 * allowed),
                    "{name}: {}",
                    row.rank
                );
            }
            assert!((mass - 1.0).abs() < 1e-12, "{name}: all of them come to {mass}");
            assert_eq!(rows.last().and_then(|row| row.others), Some(says.len() as u32 - 5));
            wholes.push(whole);
            Ok(())
        })?;
        assert_eq!(wholes.len(), 2 * prompts.len());
        for whole in wholes {
            let says = &logs[whole.prompt as usize][whole.pos as usize];
            let entropy: f64 = says.iter().map(|log| -log.exp() * log).sum::<f64>() / 2f64.ln();
            // The slope in a logit is -p (log p + entropy): its sizes come to twice the largest surprise at most.
            let steepest = says.iter().fold(0.0, |most: f64, log| most.max(-log.exp() * log)) * says.len() as f64 + 1.0;
            assert!((whole.entropy_bits - entropy).abs() <= allowed * steepest / 2f64.ln(), "{name}");
            assert!((whole.undecided.log2() - whole.entropy_bits).abs() < 1e-9);
            match chain.steps.is_empty() {
                true => assert_eq!((whole.kept as usize, whole.nearest_sampler), (says.len(), None)),
                false => {
                    assert!((whole.kept as usize) < says.len() && whole.nearest_sampler.as_deref() == Some("top-p"))
                }
            }
        }
    }
    Ok(())
}

fn choices_of(name: &str) -> Result<()> {
    let Known { model, prompts, logs, allowed } = known(name)?;
    // What stands in each prompt from some position on is a continuation of what stands before it.
    for (prompt, logs) in prompts.iter().zip(&logs).filter(|(prompt, _)| prompt.tokens.len() > 3) {
        let ids = prompt.ids();
        let (before, after) = ids.split_at(2);
        // Some models read tokens that they cannot say.
        let said = after.iter().take_while(|id| (**id as usize) < model.spec().unembedding.d_vocab_out).count();
        let after = &after[..said];
        let begun = build_prompts(&[PromptEntry::ids(before)], None, model.spec().d_vocab, None, Bos::Never)?;
        let of = |n: usize| Continuation { text: format!("{n}"), ids: after[..n].to_vec() };
        let several: Vec<Continuation> = (1..=after.len()).map(of).collect();
        for memory in [1, 1 << 30] {
            let mut rows: Vec<ChoiceRow> = vec![];
            choices(&model, &begun, &several, &spell, Budget(memory), &mut |found| {
                rows.extend(found);
                Ok(())
            })?;
            let mut want = 0.0;
            for (n, row) in rows.iter().enumerate() {
                want += logs[1 + n][after[n] as usize];
                let allowed = allowed * (n + 1) as f64;
                assert!(
                    (row.log_prob - want).abs() <= allowed,
                    "{name}, {} tokens: {} is not {want}",
                    n + 1,
                    row.log_prob
                );
                assert_eq!(row.n_tokens, n as u32 + 1);
            }
            assert!((rows.iter().map(|row| row.share).sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
    Ok(())
}

for_every_model! {
    /// Invariant: What may come next has the probabilities, the order and the entropy of Hugging Face's logits, and the candidates and
    /// the row of all others come to 1.
    fn candidates = (|name| if name == "hooked_bidirectional" { Ok(()) } else { candidates_of(name) });
    /// Invariant: The log-probability of a continuation of several tokens is the sum of those that Hugging Face's logits give its tokens one
    /// after another.
    fn continuations = (|name| if name == "hooked_bidirectional" { Ok(()) } else { choices_of(name) });
}

#[test]
fn a_board_says_what_its_tables_say() -> Result<()> {
    let place = Place::new();
    let text = "When Mary met";
    let done = place
        .ok(["next", text, "--temperature", "0.8", "--top-k", "3", "--choices", " Mary, John went", "--out", "run"]);
    let (rows, from) = read_rows::<CandidateRow>(place.path("run/candidates.parquet"))?;
    let (whole, _) = read_rows::<NextRow>(place.path("run/next.parquet"))?;
    let (choices, _) = read_rows::<ChoiceRow>(place.path("run/choices.parquet"))?;
    assert_eq!((rows.len(), whole.len(), choices.len()), (11, 1, 2));
    assert_eq!(whole[0].samplers, "temperature 0.8, then top-k 3");
    assert_eq!((choices[0].n_tokens, choices[1].n_tokens), (1, 2));
    assert!(from.command.contains(&"--temperature".to_owned()));
    assert_eq!(rows.iter().filter(|row| row.kept).count(), 3);
    // Each candidate stands on the board with its probability, and a line where the pool ends.
    for figure in ["candidates", "choices"] {
        let svg = String::from_utf8(place.read(&format!("run/{figure}.svg"))).unwrap();
        let svg = roxmltree::Document::parse(&svg).unwrap();
        let written: Vec<&str> =
            svg.descendants().filter(|node| node.has_tag_name("text")).filter_map(|n| n.text()).collect();
        let labels: Vec<String> = match figure {
            "candidates" => rows.iter().filter_map(|row| row.token.clone()).collect(),
            _ => choices.iter().map(|row| row.text.clone()).collect(),
        };
        for label in labels {
            let shown = format!("\"{}\"", label.replace(' ', "·"));
            assert!(written.contains(&shown.as_str()), "{shown} is not in {written:?}");
        }
        assert_eq!(written.contains(&"the pool ends: 3 candidates"), figure == "candidates");
    }
    assert!(done.stdout.contains("log-probability"), "{}", done.stdout);
    let again = place.ok(["next", text, "--temperature", "0.8", "--top-k", "3", "--out", "alone"]);
    assert!(again.stdout.contains("the pool ends: 3 candidates"), "{}", again.stdout);
    assert!(again.stdout.contains("cut by top-k"), "{}", again.stdout);
    place.ok(["chart", "run/candidates.parquet", "--out", "again"]);
    assert!(place.read("again/candidates.svg") == place.read("run/candidates.svg"));
    Ok(())
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let place = Place::new();
    for (options, says) in [
        (vec!["--temperature", "-1"], "temperature is -1"),
        (vec!["--temperature", "nan"], "temperature is NaN"),
        (vec!["--top-p", "1.5"], "top-p is 1.5"),
        (vec!["--order", "top_p"], "there is no sampler `top_p`"),
        (vec!["--defaults", "model"], "has no generation_config.json"),
        (vec!["--choices", ""], "an empty text"),
        (vec!["--pos", "99"], "99"),
    ] {
        place.refused([&["next", "Mary"][..], &options, &["--out", "run"]].concat(), 2, says);
        assert!(!place.path("run").exists());
    }
    let dir = fixture("hooked_bidirectional");
    place.refused(["next", "--ids", "1,2", "-m", dir.to_str().unwrap()], 2, "sees the whole text at once");
}
