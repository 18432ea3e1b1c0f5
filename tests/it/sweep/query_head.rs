//! Keys and values patched as one query head sees them: the patch of that head's own key or value in the same model with
//! nothing shared.

use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;
use pellucid::Result;
use pellucid::analysis::PatchRow;
use pellucid::analysis::patch::{Direction, Grid, Only, Over, PatchOptions, Patching, Summary, patch};
use pellucid::hook::{Cache, Edit, HookPoint, Site};
use pellucid::model::{Batch, Model, Run, Unembed};
use pellucid::ops;
use pellucid::ops::attention::Scoring;
use pellucid::ops::linear::Linear;
use pellucid::text::{Bos, Pair, Prompt, PromptEntry, build_prompts};

use crate::bound::{Drifts, drift};
use crate::help::fixtures::every_model;

const CLEAN: [u32; 7] = [3, 14, 15, 92, 65, 35, 89];
const CORRUPT: [u32; 7] = [3, 27, 15, 18, 65, 28, 18];

fn model(name: &str) -> Model {
    Model::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

/// What rounding makes of the runs that are patched here.
fn rounding(name: &str) -> Arc<Drifts> {
    drift(name, &model(name), &Batch::of([CLEAN.to_vec(), CORRUPT.to_vec()]))
}

fn pair() -> Pair {
    let prompt = |ids: &[u32]| -> Prompt {
        build_prompts(&[PromptEntry::ids(ids)], None, 128, None, Bos::default()).unwrap().remove(0)
    };
    Pair::new(0, "0".into(), prompt(&CLEAN), Some(prompt(&CORRUPT)), vec![7], vec![42]).unwrap()
}

fn run(model: &Model, grid: Grid, verify: usize) -> Result<(Vec<PatchRow>, Summary)> {
    let how = Patching { direction: Some(Direction::Denoise), verify, ..Patching::default() };
    let options = PatchOptions { grid, how, ..PatchOptions::default() };
    let mut rows = vec![];
    let summary = patch(model, &[pair()], &options, &mut (), &(), &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok((rows, summary))
}

fn grid(at: &str, over: &[Over]) -> Grid {
    Grid { at: at.into(), over: over.to_vec(), per_query_head: true, ..Grid::default() }
}

/// The same model, in which every query head has a key/value head of its own: copies of the one that it shared.
fn unshared(model: &Model) -> Result<Model> {
    let (mut spec, mut weights) = (model.spec().clone(), model.weights().clone());
    for (block, w) in spec.blocks.iter_mut().zip(&mut weights.blocks) {
        let a = &mut block.attention.inner;
        let (g, h, e) = (a.n_kv_heads, a.n_heads, a.d_head);
        // The last axis, `[.., g e]` to `[.., h e]`.
        let copied = |x: &Tensor| -> Result<Tensor> {
            let heads: Vec<Tensor> =
                (0..h).map(|i| Ok(x.narrow(x.rank() - 1, i / (h / g) * e, e)?)).collect::<Result<_>>()?;
            Ok(Tensor::cat(&heads, x.rank() - 1)?)
        };
        for map in [&mut w.k, &mut w.v] {
            let bias = map.bias.as_ref().map(copied).transpose()?;
            *map = Linear::new(copied(&map.weight.tensor()?)?, bias);
        }
        if let (Some(norm), false) = (&mut w.k_norm, a.qk_norm.is_some_and(|qk| qk.per_head)) {
            // The mean square over all heads is that over all copies.
            norm.gain = norm.gain.as_ref().map(copied).transpose()?;
            norm.bias = norm.bias.as_ref().map(copied).transpose()?;
        }
        a.n_kv_heads = h;
        w.scoring = Scoring::new(a);
    }
    Model::new(spec, weights)
}

/// Answer's logit minus the foil's after a whole plain forward pass in which `point` becomes `value` at one head.
fn changed(model: &Model, point: HookPoint, head: usize, pos: Option<u32>, value: &Tensor) -> Result<f32> {
    let value = value.clone();
    let mut edit = Edit::with(model.spec(), &point.to_string(), move |_, _| Ok(value.clone()))?.heads([head]);
    if let Some(pos) = pos {
        edit = edit.positions([pos as isize]);
    }
    let run = Run { kernels: Some(ops::Kernels::Plain), unembed: Unembed::Rows(vec![6]), ..Run::default() };
    let logits = model.run(&Batch::one(CORRUPT), &run, &mut [&mut edit])?.logits()?.to_vec2::<f32>()?;
    Ok(logits[0][7] - logits[0][42])
}

/// Invariant: Patching a key or value as one query head sees it equals patching that head's own key or value in the same model
/// with nothing shared.
#[test]
fn what_one_query_head_sees_is_its_own_key_where_nothing_is_shared() -> Result<()> {
    let (mut seen, mut together) = (0, 0);
    for name in every_model() {
        let model = model(name);
        let a = &model.spec().blocks[0].attention.inner;
        if a.n_heads == a.n_kv_heads {
            continue;
        }
        seen += 1;
        let rounding = rounding(name);
        let alone = unshared(&model)?;
        let mut clean = Cache::of(HookPoint::all(alone.spec()));
        alone.forward(&Batch::one(CLEAN), &mut [&mut clean])?;
        for site in [Site::K, Site::V, Site::KNormed, Site::RotK] {
            if !site.exists(model.spec(), Some(0)) {
                continue;
            }
            if site == Site::K && a.qk_norm.is_some_and(|qk| !qk.per_head) {
                let e = run(&model, grid("k", &[Over::Layer, Over::Head]), 0).unwrap_err();
                assert!(e.message().contains("every head would see another key"), "{name}: {e:?}");
                assert!(e.hint_text().is_some_and(|hint| hint.contains("k_norm.out")), "{name}: {e:?}");
                together += 1;
                continue;
            }
            for over in [&[Over::Layer, Over::Head][..], &[Over::Layer, Over::Head, Over::Pos]] {
                let (rows, summary) = run(&model, grid(&site.short(), over), 5)?;
                let of = |f: fn(f32, f32) -> f32| rows.iter().map(|r| r.measured.patched.unwrap()).reduce(f).unwrap();
                let spread = f64::from(of(f32::max) - of(f32::min));
                assert!(
                    spread > 10.0 * rounding.metric(),
                    "{name} {site:?}: patches that change nothing show nothing ({spread})"
                );
                let allowed = rounding.patched(spread);
                let worst = summary.worst_difference;
                assert!(summary.verified > 0 && worst <= allowed / spread, "{name} {site:?} {summary:?}");
                // Not every layer of every model rotates.
                let layers = (0..model.spec().n_layers()).filter(|l| site.exists(model.spec(), Some(*l))).count();
                let heads = a.n_heads * layers;
                assert_eq!(rows.len(), if over.len() == 2 { heads } else { 7 * heads }, "{name} {site:?}");
                for row in &rows {
                    let (layer, head) = (row.place.layer.unwrap() as usize, row.place.head.unwrap() as usize);
                    assert_eq!(row.place.kv_head, Some((head / (a.n_heads / a.n_kv_heads)) as u32));
                    let point = HookPoint::block(layer, site);
                    let want = changed(&alone, point, head, row.place.pos, clean.get(&point.to_string())?)?;
                    let far = f64::from((row.measured.patched.unwrap() - want).abs());
                    assert!(far <= allowed, "{name} {site:?} {row:?}: {want}, {far:e} of {spread:e}");
                }
            }
        }
    }
    assert!(seen >= 12 && together > 0, "{seen} models share keys and values, {together} norm them together");
    Ok(())
}

/// Keys and values of a head together with its query: what one head reads, all at once.
#[test]
fn what_belongs_to_one_query_head_is_patched_together() -> Result<()> {
    let model = model("llama");
    let alone = unshared(&model)?;
    let mut clean = Cache::of(HookPoint::all(alone.spec()));
    alone.forward(&Batch::one(CLEAN), &mut [&mut clean])?;
    let (rows, _) = run(&model, Grid { together: true, ..grid("q,k,v", &[Over::Layer, Over::Head]) }, 0)?;
    assert!(rows.iter().all(|r| r.place.site == "attn.q+attn.k+attn.v"));
    for row in rows {
        let (layer, head) = (row.place.layer.unwrap() as usize, row.place.head.unwrap() as usize);
        let names = ["q", "k", "v"].map(|s| format!("blocks.{layer}.attn.hook_{s}"));
        let values = names.clone().map(|name| clean.get(&name).unwrap().clone());
        let mut edit = Edit::with(alone.spec(), &names.join(","), move |at, _| {
            Ok(values[[Site::Q, Site::K, Site::V].iter().position(|s| *s == at.site).unwrap()].clone())
        })?
        .heads([head]);
        let run = Run { kernels: Some(ops::Kernels::Plain), ..Run::default() };
        let logits = alone.run(&Batch::one(CORRUPT), &run, &mut [&mut edit])?.logits()?.to_vec2::<f32>()?;
        let far = f64::from((row.measured.patched.unwrap() - (logits[6][7] - logits[6][42])).abs());
        assert!(far <= rounding("llama").metric(), "{row:?}");
    }
    Ok(())
}

/// Invariant: as `what_one_query_head_sees_is_its_own_key_where_nothing_is_shared`.
#[test]
fn where_nothing_is_shared_it_is_the_ordinary_patch() -> Result<()> {
    for name in ["gpt2", "gpt_neox", "hooked_bidirectional"] {
        let model = model(name);
        for at in ["k", "v"] {
            let ours = grid(at, &[Over::Layer, Over::Head, Over::Pos]);
            let (plain, _) = run(&model, Grid { per_query_head: false, ..ours.clone() }, 0)?;
            let (rows, _) = run(&model, ours, 0)?;
            assert_eq!(plain.len(), rows.len());
            for (row, plain) in rows.iter().zip(&plain) {
                assert_eq!(
                    (row.place.head, row.place.kv_head, row.measured.patched),
                    (plain.place.kv_head, plain.place.kv_head, plain.measured.patched)
                );
                assert_eq!(plain.place.head, None);
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_not_exact_is_refused() {
    let model = model("llama");
    let over = [Over::Layer, Over::Head];
    let refused = |grid: Grid, words: &str| {
        let e = run(&model, grid, 0).unwrap_err();
        assert!(e.message().contains(words) && e.hint_text().is_some(), "{e:?}");
    };
    refused(grid("z", &over), "`z` is neither");
    refused(grid("k", &[Over::Layer]), "no query head to choose");
    refused(grid("k", &[Over::Head]), "one layer at a time");
    refused(Grid { window: 2, ..grid("v", &over) }, "one layer at a time");
    refused(Grid { together: true, ..grid("k,resid_pre", &over) }, "read by every head");
    let absent =
        run(&model, Grid { only: Only { heads: Some(vec![4.into()]), ..Only::default() }, ..grid("k", &over) }, 0)
            .unwrap_err();
    assert!(absent.message().contains("4 heads (0-3), and 4 is not one"), "{absent:?}");
    // One layer that is chosen is one layer.
    let only = Only { layers: Some(vec![1.into()]), heads: Some(vec![3.into()]), ..Only::default() };
    let chosen = Grid { only, ..grid("k", &[]) };
    let (rows, _) = run(&model, chosen, 0).unwrap();
    assert_eq!(rows.iter().map(|r| (r.place.head, r.place.kv_head)).collect::<Vec<_>>(), [(Some(3), Some(1))]);
}
