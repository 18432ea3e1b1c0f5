//! Surprise against Hugging Face's logits, and as a person sees it.

use candle_core::DType;
use pellucid::Result;
use pellucid::analysis::loss::{LossMeanRow, LossPromptRow, LossRow, loss};
use pellucid::model::Model;
use pellucid::sweep::Budget;
use pellucid::table::read_rows;
use pellucid::text::{Bos, Prompt, PromptEntry, build_prompts};

use crate::bin::Place;
use crate::bound::drift;
use crate::model::parity::fixture_dirs;
use crate::reference::Reference;

fn rows(model: &Model, prompts: &[Prompt], memory_bytes: usize) -> Result<(Vec<LossRow>, Vec<LossPromptRow>)> {
    let (mut all, mut whole) = (vec![], vec![]);
    loss(model, prompts, &|id| format!("#{id}"), Budget(memory_bytes), &(), &mut |rows, sum| {
        all.extend(rows);
        whole.extend(sum);
        Ok(())
    })?;
    Ok((all, whole))
}

/// Invariant: The surprise of a token is minus the log-softmax of Hugging Face's logits, its rank and the model's entropy are of the same
/// logits, within what rounding makes of them, whatever the memory.
#[test]
fn surprise_is_that_of_hugging_faces_logits() -> Result<()> {
    for dir in fixture_dirs() {
        let what = dir.display().to_string();
        let (model, want) = (Model::load(&dir)?, Reference::open(&dir.join("expected.safetensors")));
        let drifts = drift(&what, &model, &want.batch("input_ids"));
        // A metric whose slopes come to two at most; the entropy's are those, times the spread of the logits.
        let allowed = drifts.metric();
        let ids = want.ids("input_ids");
        let entries: Vec<PromptEntry> = ids.iter().cloned().map(PromptEntry::ids).collect();
        let prompts = build_prompts(&entries, None, model.spec().d_vocab, None, Bos::Never)?;
        let logits = want.packed("logits").to_dtype(DType::F64)?.to_vec2::<f64>()?;
        for memory in [1, 1 << 30] {
            let (found, whole) = rows(&model, &prompts, memory)?;
            assert_eq!((found.len(), whole.len()), (logits.len(), prompts.len()), "{what}");
            for (t, row) in found.iter().enumerate() {
                if row.pos == 0 {
                    assert_eq!((row.loss_nats, row.rank, row.expected_id), (None, None, None));
                    continue;
                }
                let (says, id) = (&logits[t - 1], row.token_id as usize);
                let top = says.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let log_total = top + says.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
                let near = |got: Option<f64>, want: f64, allowed: f64, name: &str| {
                    let got = got.unwrap();
                    assert!((got - want).abs() <= allowed, "{what} {t} {name}: {got} is not {want} within {allowed:e}");
                };
                near(row.loss_nats, log_total - says[id], allowed, "loss");
                near(row.loss_bits, (log_total - says[id]) / 2f64.ln(), allowed / 2f64.ln(), "bits");
                near(row.prob, (says[id] - log_total).exp(), allowed, "probability");
                let logs = says.iter().map(|x| x - log_total);
                let entropy: f64 = logs.clone().map(|log| -log.exp() * log).sum::<f64>() / 2f64.ln();
                // The slope in a logit is -p (log p + entropy): its sizes come to twice the largest surprise at most.
                let steepest = logs.fold(0.0, |most: f64, log| most.max(-log.exp() * log)) * says.len() as f64 + 1.0;
                near(row.entropy_bits, entropy, allowed * steepest / 2f64.ln(), "entropy");
                // Where two are nearer than rounding, either may come first.
                let before = |by: f64| says.iter().filter(|x| **x > says[id] + by).count() as u32;
                let rank = row.rank.unwrap();
                assert!(before(allowed) < rank && rank <= 1 + before(-allowed), "{what} {t}: rank {rank}");
                assert!(top - says[row.expected_id.unwrap() as usize] <= allowed, "{what} {t}: expected");
                near(row.expected_prob, (top - log_total).exp(), allowed, "expected");
            }
            for (sum, prompt) in whole.iter().zip(&prompts) {
                let own = found.iter().filter(|row| row.prompt == prompt.index).filter_map(|row| row.loss_nats);
                let mean = own.clone().sum::<f64>() / own.count() as f64;
                assert!((sum.loss_nats - mean).abs() <= 1e-12 * mean, "{what}");
                assert!((sum.perplexity.ln() - mean).abs() <= 1e-12 * mean.max(1.0) && sum.bytes.is_none(), "{what}");
            }
        }
    }
    Ok(())
}

/// Invariant: Perplexity and bits per byte are those of the rows; means over prompts have their standard errors; what is seen says the
/// same.
#[test]
fn a_text_is_seen_with_its_surprise() -> Result<()> {
    let place = Place::new();
    let texts = [
        "When Mary and John went to the store, John gave a drink to Mary.",
        "When Tom met Sara",
        "Mary and John went home",
    ];
    let done = place.ok([&["loss"], &texts[..], &["--out", "run"]].concat());
    assert!(done.stdout.contains("Most surprising: "), "{}", done.stdout);
    assert!(done.stderr.contains("3 prompts: mean surprise "), "{}", done.stderr);
    let (all, _) = read_rows::<LossRow>(place.path("run/loss.parquet"))?;
    let (each, _) = read_rows::<LossPromptRow>(place.path("run/loss_prompt.parquet"))?;
    let (mean, _) = read_rows::<LossMeanRow>(place.path("run/loss_mean.parquet"))?;
    for (sum, text) in each.iter().zip(texts) {
        let own: Vec<&LossRow> = all.iter().filter(|row| row.prompt == sum.prompt).collect();
        let bits: f64 = own.iter().filter_map(|row| row.loss_bits).sum();
        // The demo's texts begin with a token of their own, so that all of their bytes are predicted.
        assert_eq!(sum.bytes, Some(text.len() as u32));
        assert!((sum.bits_per_byte.unwrap() - bits / text.len() as f64).abs() < 1e-12, "{text}");
    }
    let nats: Vec<f64> = each.iter().map(|sum| sum.loss_nats).collect();
    let average = nats.iter().sum::<f64>() / 3.0;
    let error = (nats.iter().map(|x| (x - average).powi(2)).sum::<f64>() / 2.0 / 3.0).sqrt();
    assert!((mean[0].loss_nats - average).abs() < 1e-12 && (mean[0].loss_nats_se - error).abs() < 1e-12);
    assert_eq!((mean[0].prompts, mean[0].tokens), (3, each.iter().map(|sum| u64::from(sum.tokens)).sum()));
    // Each token stands in the figure with its surprise under it.
    let figure = String::from_utf8(place.read("run/loss-p0.svg")).unwrap();
    let svg = roxmltree::Document::parse(&figure).unwrap();
    let written: Vec<&str> =
        svg.descendants().filter(|node| node.has_tag_name("text")).filter_map(|n| n.text()).collect();
    for row in all.iter().filter(|row| row.prompt == 0 && row.pos > 0) {
        let bits = format!("{:.1}", row.loss_bits.unwrap());
        assert!(written.contains(&bits.as_str()), "{bits} is not in {written:?}");
    }
    // Alone, a prompt has no means; the same figure is drawn again from the file.
    place.ok(["loss", texts[0], "--out", "one"]);
    assert!(!place.path("one/loss_mean.parquet").exists());
    place.ok(["chart", "one/loss.parquet", "--out", "again"]);
    assert!(place.read("one/loss.svg") == place.read("again/loss.svg"));
    Ok(())
}
