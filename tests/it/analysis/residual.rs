//! Strokes against Hugging Face's and TransformerLens's numbers, their laws for every model, and as a person sees them.

use candle_core::{DType, Tensor};
use pellucid::Result;
use pellucid::analysis::residual::{Asked, ResidualHeadRow, ResidualMeanRow, ResidualRow, residual};
use pellucid::hook::Cache;
use pellucid::model::{Batch, Model, Processing, Run};
use pellucid::session::Target;
use pellucid::sweep::Budget;
use pellucid::table::read_rows;
use pellucid::text::{Bos, Prompt, PromptEntry, build_prompts};

use crate::bin::{Place, fixture};
use crate::help::fixtures::{HOOKED, load};
use crate::reference::Reference;

/// What the sums may be off, as a share of the spread of the logits.
const OFF: f64 = 1e-4;

fn asked(target: Option<u32>, foil: Option<u32>) -> Asked {
    // Of more prompts than there are.
    Asked { targets: vec![Target { target, foil }; 16], rest: vec![], positions: None, budget: Budget(1 << 30) }
}

fn prompts(model: &Model, ids: Vec<Vec<u32>>) -> Result<Vec<Prompt>> {
    let entries: Vec<PromptEntry> = ids.into_iter().map(PromptEntry::ids).collect();
    build_prompts(&entries, None, model.spec().d_vocab, None, Bos::Never)
}

fn rows(model: &Model, prompts: &[Prompt], asked: &Asked) -> Result<(Vec<ResidualRow>, Vec<ResidualHeadRow>)> {
    let (mut all, mut of_heads) = (vec![], vec![]);
    residual(model, prompts, &|id| format!("#{id}"), asked, &(), &mut |rows, heads| {
        all.extend(rows);
        of_heads.extend(heads);
        Ok(())
    })?;
    Ok((all, of_heads))
}

/// Logits `[rows][v]` before factor and cap, which are `expected` after them.
fn raw(model: &Model, expected: &Tensor) -> Result<Vec<Vec<f64>>> {
    let unembedding = &model.spec().unembedding;
    let before = |x: f64| {
        let x = unembedding.cap.map_or(x, |cap| (x / cap).atanh() * cap);
        unembedding.scale.map_or(x, |scale| x / scale)
    };
    let logits = expected.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    Ok(logits.into_iter().map(|row| row.into_iter().map(before).collect()).collect())
}

fn laws(name: &str) -> Result<()> {
    let model = load(name);
    let path = fixture(name).join("expected.safetensors");
    let want = path.exists().then(|| Reference::open(&path));
    let ids = want.as_ref().map_or_else(|| vec![vec![3, 1, 4, 1, 5, 9, 2], vec![6, 5]], |want| want.ids("input_ids"));
    let prompts = prompts(&model, ids)?;
    let foil = 7;
    let (found, heads) = rows(&model, &prompts, &asked(None, Some(foil)))?;
    // Every stream has its gap, every position its sum, every layer its heads.
    for row in &found {
        assert_eq!(row.gap.is_some(), row.hook.is_some() || row.kind == "bias", "{name}");
        assert_eq!(row.hook.is_some(), row.lens_token_id.is_some() && row.kl_to_final_bits.is_some(), "{name}");
    }
    let gaps = found.iter().filter_map(|row| row.gap).chain(heads.iter().filter_map(|row| row.gap));
    for gap in gaps {
        assert!(gap < OFF, "{name}: off by {gap:e} of the spread");
    }
    let positions: Vec<&[ResidualRow]> = found.chunk_by(|a, b| (a.prompt, a.pos) == (b.prompt, b.pos)).collect();
    assert_eq!(positions.len(), prompts.iter().map(|p| p.tokens.len()).sum::<usize>(), "{name}");
    let per_position = heads.len() / positions.len();
    let logits = want.as_ref().map(|want| raw(&model, &want.packed("logits"))).transpose()?;
    for (r, own) in positions.iter().enumerate() {
        let last = own.last().unwrap();
        let sum = |f: &dyn Fn(&ResidualRow) -> f64| own.iter().map(f).sum::<f64>();
        assert!(
            (sum(&|row| row.push) - last.push_cumulative).abs() <= 1e-9 * last.push_cumulative.abs().max(1.0),
            "{name}"
        );
        // The heads and the bias of a layer come to the stroke of its attention.
        for stroke in own.iter().filter(|row| row.kind == "attn") {
            let of_layer =
                || heads[r * per_position..(r + 1) * per_position].iter().filter(|h| Some(h.layer) == stroke.layer);
            let n_heads = model.spec().blocks[stroke.layer.unwrap() as usize].attention.inner.n_heads;
            assert_eq!(of_layer().count(), n_heads + 1, "{name}");
        }
        let Some(logits) = &logits else { continue };
        // Against the reference's logits, which nothing here has seen.
        let logits = &logits[r];
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (least, mean) =
            (logits.iter().copied().fold(f64::INFINITY, f64::min), logits.iter().sum::<f64>() / logits.len() as f64);
        let (target, spread) = (logits[last.target_id as usize], most - least);
        let near = |got: f64, want: f64, what: &str| {
            assert!(
                (got - want).abs() < OFF * spread,
                "{name} {r} {what}: {got} is not {want} within {spread} x {OFF}"
            );
        };
        near(target, most, "the most probable token");
        near(last.push_cumulative, target - mean, "the sum of pushes");
        near(sum(&|row| row.push_foil.unwrap()), target - logits[foil as usize], "the sum of pushes against the foil");
        let end = own.iter().rev().find(|row| row.hook.is_some()).unwrap();
        assert_eq!((end.kl_to_final_bits, end.lens_token_id), (Some(0.0), Some(last.target_id)), "{name}");
        assert!((end.cos_final.unwrap() - 1.0).abs() < 1e-12, "{name}");
        assert_eq!(end.lens_rank_of_target, Some(1), "{name}");
    }
    lengths(&model, &prompts, &found, &heads)?;
    // A foil is a difference of two targets, and what is given as target is what would be taken.
    let (of_foil, heads_of_foil) = rows(&model, &prompts, &asked(Some(foil), None))?;
    for (row, foil) in found.iter().zip(&of_foil) {
        assert!((row.push_foil.unwrap() - (row.push - foil.push)).abs() < 1e-9 * row.push.abs().max(1.0), "{name}");
    }
    for (row, foil) in heads.iter().zip(&heads_of_foil) {
        assert!((row.push_foil.unwrap() - (row.push - foil.push)).abs() < 1e-9 * row.push.abs().max(1.0), "{name}");
    }
    Ok(())
}

/// Lengths and angles against the streams and the heads' own writes, as they are recorded: a stroke is the difference of the streams
/// around it. What is written is rounded to the stream's f32, and so is the difference.
fn lengths(model: &Model, prompts: &[Prompt], found: &[ResidualRow], heads: &[ResidualHeadRow]) -> Result<()> {
    let mut cache = Cache::new(model.spec(), "*")?;
    model.run(&Batch::of(prompts.iter().map(Prompt::ids)), &Run::default(), &mut [&mut cache])?;
    let stored = |hook: &str| -> Result<Vec<Vec<f64>>> {
        Ok(cache.get(hook)?.to_dtype(DType::F64)?.flatten_from(1)?.to_vec2()?)
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let length = |a: &[f64]| dot(a, a).sqrt();
    let positions = found.chunk_by(|a, b| (a.prompt, a.pos) == (b.prompt, b.pos));
    let of_heads = heads.chunk_by(|a, b| (a.prompt, a.pos) == (b.prompt, b.pos));
    for (r, (own, heads)) in positions.zip(of_heads).enumerate() {
        let last = stored(own.iter().rev().find_map(|row| row.hook.as_deref()).unwrap())?.swap_remove(r);
        // A stream, how many strokes came since, and what they may be rounded by.
        let (mut before, mut since): (Option<Vec<f64>>, usize) = (None, 0);
        for row in own {
            since += 1;
            let Some(hook) = &row.hook else { continue };
            let x = stored(hook)?.swap_remove(r);
            let near = |got: f64, want: f64, size: f64| {
                assert!((got - want).abs() <= 1e-6 * size, "{row:?}: {got} is not {want}");
            };
            near(row.stream_norm.unwrap(), length(&x), length(&x));
            let cosine = |a: &[f64]| dot(a, &x) / (length(a) * length(&x));
            near(row.cos_final.unwrap(), cosine(&last), 1.0);
            assert_eq!(row.cos_previous.is_some(), before.is_some(), "{row:?}");
            if let Some(before) = &before {
                near(row.cos_previous.unwrap(), cosine(before), 1.0);
                if since == 1 {
                    let stroke: Vec<f64> = x.iter().zip(before).map(|(x, before)| x - before).collect();
                    near(row.write_norm.unwrap(), length(&stroke), length(&x).max(length(before)));
                }
            }
            (before, since) = (Some(x), 0);
        }
        for row in heads.iter().filter(|row| row.head.is_some()) {
            let block = &model.spec().blocks[row.layer as usize];
            // A norm behind the heads changes what they write.
            if model.weights().blocks[row.layer as usize].ln1_post.is_some() {
                continue;
            }
            let d = model.spec().d_model;
            let all = stored(&format!("blocks.{}.attn.hook_result", row.layer))?.swap_remove(r);
            let write = &all[row.head.unwrap() as usize * d..][..d];
            let want = length(write) * block.residual_scale.map_or(1.0, f64::from);
            assert!((row.write_norm - want).abs() <= 1e-5 * want, "{row:?}: {} is not {want}", row.write_norm);
        }
    }
    Ok(())
}

for_every_model! {
    /// Invariant: What sublayers push comes to the logit less the mean logit, the lens and the cumulative push are one curve but for the
    /// final norm's scale, and heads come to their attention: within 1e-4 of the logits' spread, for every model.
    fn strokes_come_to_the_logits_of_the_reference = laws;
}

/// The strokes of a processed HookedTransformer against TransformerLens.
///
/// Invariant: With processed weights the cumulative push is TransformerLens's `logit_attrs` of `accumulated_resid`.
#[test]
fn pushes_are_those_of_transformer_lens() -> Result<()> {
    let mut compared = 0;
    for name in HOOKED {
        let path = fixture(name).join("logit_attrs.safetensors");
        if !path.exists() {
            continue;
        }
        let want = Reference::open(&path);
        let model =
            load(name).processed(&[Processing::FoldLn, Processing::CenterUnembed, Processing::FoldValueBiases])?;
        let prompts = prompts(&model, want.ids("input_ids"))?;
        let (target, foil) = (want.ids("targets")[0][0], want.ids("targets")[0][1]);
        let (found, heads) = rows(&model, &prompts, &asked(Some(target), Some(foil)))?;
        let attrs = |of: &str| want.need(of).to_dtype(DType::F64).and_then(|x| x.flatten_all()?.to_vec1::<f64>());
        let names = |of: &str| want.need(of).dims()[0];
        let n_rows = prompts.iter().map(|p| p.tokens.len()).sum::<usize>();
        let near = |got: f64, want: f64, what: &str| {
            assert!(
                (got - want).abs() < 1e-4 * want.abs().max(1.0),
                "{name}: {what} is {got}, TransformerLens says {want}"
            );
        };
        // One row of the reference for each stream: before each block, after attention, and the last.
        let (accumulated, foils) = (attrs("accumulated")?, attrs("accumulated_foil")?);
        let streams: Vec<&ResidualRow> = found.iter().filter(|row| row.hook.is_some()).collect();
        assert_eq!(names("accumulated") * n_rows, streams.len(), "{name}");
        for (r, of_row) in streams.chunk_by(|a, b| (a.prompt, a.pos) == (b.prompt, b.pos)).enumerate() {
            for (i, row) in of_row.iter().enumerate() {
                near(row.push_cumulative, accumulated[i * n_rows + r], "a cumulative push");
            }
            // The same of the difference.
            let mut total = 0.0;
            let own = found.iter().filter(|row| (row.prompt, row.pos) == (of_row[0].prompt, of_row[0].pos));
            for (i, row) in own
                .filter(|row| row.kind != "bias")
                .scan((), |(), row| {
                    total += row.push_foil.unwrap();
                    Some((row, total))
                })
                .filter(|(row, _)| row.hook.is_some())
                .enumerate()
                .map(|(i, (_, total))| (i, total))
            {
                near(row, foils[i * n_rows + r], "a cumulative push against the foil");
            }
        }
        let of_heads = attrs("heads")?;
        let only: Vec<&ResidualHeadRow> = heads.iter().filter(|row| row.head.is_some()).collect();
        for (r, of_row) in only.chunk_by(|a, b| (a.prompt, a.pos) == (b.prompt, b.pos)).enumerate() {
            for (i, row) in of_row.iter().enumerate() {
                near(row.push, of_heads[i * n_rows + r], "the push of a head");
            }
        }
        compared += 1;
    }
    assert!(compared > 0, "no fixture has what TransformerLens computes: tests/fixtures/make_logit_attrs.py");
    Ok(())
}

/// Invariant: The figure and the terminal show the rows of the table; means over prompts count each once.
#[test]
fn strokes_are_seen_as_they_are_in_the_table() -> Result<()> {
    let place = Place::new();
    let text = "When Mary and John went to the store, John gave a drink to";
    let done = place.ok(["residual", text, "--target", " Mary", "--foil", " John", "--out", "one"]);
    assert!(done.stdout.contains("is the most probable token under the lens"), "{}", done.stdout);
    assert!(!place.path("one/residual_mean.parquet").exists());
    let (found, _) = read_rows::<ResidualRow>(place.path("one/residual.parquet"))?;
    let figure = String::from_utf8(place.read("one/residual.svg")).unwrap();
    let svg = roxmltree::Document::parse(&figure).unwrap();
    let written: Vec<&str> =
        svg.descendants().filter(|node| node.has_tag_name("text")).filter_map(|n| n.text()).collect();
    let last_pos = found.last().unwrap().pos;
    assert!(found.iter().all(|row| row.pos == last_pos));
    for row in found.iter().filter(|row| row.lens_token.is_some()) {
        let token = row.lens_token.as_deref().unwrap().replace(' ', "·");
        assert!(written.contains(&token.as_str()), "{token} is not in {written:?}");
    }
    // All positions, and two prompts of which each counts once.
    let other = "When Tom met Sara, Tom gave a drink to";
    place.ok(["residual", text, other, "--pos", "all", "--out", "two"]);
    let (found, _) = read_rows::<ResidualRow>(place.path("two/residual.parquet"))?;
    assert_eq!(found.iter().filter(|row| row.prompt == 0).map(|row| row.pos).max(), Some(last_pos));
    let (means, _) = read_rows::<ResidualMeanRow>(place.path("two/residual_mean.parquet"))?;
    for mean in &means {
        let of = |prompt: u32| {
            let pushes: Vec<f64> =
                found.iter().filter(|row| (row.prompt, row.step) == (prompt, mean.step)).map(|row| row.push).collect();
            assert!(pushes.len() > 5);
            pushes.iter().sum::<f64>() / pushes.len() as f64
        };
        let (a, b) = (of(0), of(1));
        assert!((mean.push - (a + b) / 2.0).abs() < 1e-12 && (mean.push_se - (a - b).abs() / 2.0).abs() < 1e-12);
        assert_eq!((mean.prompts, mean.push_foil), (2, None));
    }
    assert_eq!(means.len() as u32, found.last().unwrap().step + 1);
    place.refused(["residual", text, "--pos", "1,x"], 2, "\"x\" is no number and no range");
    Ok(())
}
