//! Names of hooks mean one tensor each: what is put at a norm's hook goes through the rest of that norm, and files in which a
//! name meant another tensor are not read as if it meant this one.

use candle_core::{D, DType, Device, Tensor};
use pellucid::Result;
use pellucid::analysis::{AttributionRow, LensRow, PatchRow};
use pellucid::arch::spec::{Gain, NormKind};
use pellucid::hook::{Cache, Edit, HookPoint, Site};
use pellucid::model::{Batch, Model, Run};
use pellucid::ops;
use pellucid::ops::norm::NormWeights;
use pellucid::table::{Provenance, Row, TableWriter, read_rows};

use crate::bin::{Place, fixture};
use crate::bound::{Drift, drift};
use crate::reference::close;

const IDS: [u32; 9] = [3, 14, 15, 92, 65, 35, 89, 79, 32];

/// Rows through a norm, in textbook order, with the scale that is given.
fn textbook(norm: &NormWeights, x: &Tensor, scale: Option<&Tensor>) -> Result<[Tensor; 2]> {
    let x = match norm.kind {
        NormKind::Layer => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
        NormKind::Rms => x.clone(),
    };
    let scale = match scale {
        Some(scale) => scale.clone(),
        None => (x.sqr()?.mean_keepdim(D::Minus1)? + norm.eps)?.sqrt()?,
    };
    let normalized = x.broadcast_div(&scale)?;
    Ok([normalized.clone(), with_gain(norm, &normalized)?])
}

fn with_gain(norm: &NormWeights, x: &Tensor) -> Result<Tensor> {
    let mut x = x.clone();
    if let Some(gain) = &norm.gain {
        let gain = if norm.meaning == Gain::OnePlusWeight { (gain + 1.0)? } else { gain.clone() };
        x = x.broadcast_mul(&gain)?;
    }
    match &norm.bias {
        Some(bias) => Ok(x.broadcast_add(bias)?),
        None => Ok(x),
    }
}

/// Runs with `x` put at `at`, and gives back what `seen` was.
fn put(model: &Model, path: ops::Kernels, at: HookPoint, x: &Tensor, seen: HookPoint) -> Result<Tensor> {
    let mut put = Edit::set(model.spec(), &at.to_string(), x.clone())?;
    let mut cache = Cache::of([seen]);
    let run = Run { kernels: Some(path), ..Run::default() };
    model.run(&Batch::one(IDS), &run, &mut [&mut put, &mut cache])?;
    Ok(cache.get(&seen.to_string())?.clone())
}

fn random(dims: &[usize]) -> Result<Tensor> {
    Ok(Tensor::rand(0.5f32, 2.0, dims, &Device::Cpu)?)
}

/// Invariant: An edit inside a norm goes through the rest of that norm, and an edit of a query goes through its norm.
#[test]
fn what_is_put_into_a_norm_goes_through_what_is_left_of_it() -> Result<()> {
    let (mut norms, mut of_queries) = (0, 0);
    for name in [
        "gpt2", "gptj", "gemma2", "gemma3_text", "olmo2", "olmoe_clipped", "qwen3", "hooked_solu_ln", "hooked_rms_post",
    ] {
        let model = Model::load(&fixture(name))?;
        let (spec, weights) = (model.spec(), model.weights());
        let rounding = drift(name, &model, &Batch::one(IDS));
        let wide = |x: &Tensor| Ok(x.to_dtype(DType::F64)?);
        let mut cache = Cache::new(spec, "*")?;
        model.forward(&Batch::one(IDS), &mut [&mut cache])?;
        for path in [ops::Kernels::Fused, ops::Kernels::Plain] {
            let l = spec.n_layers() - 1;
            let (w, at) = (&weights.blocks[l], |site| HookPoint::block(l, site));
            let mlp = w.mlp.as_ref().unwrap();
            let neurons = mlp.inner.dense().and_then(|n| n.norm.as_ref());
            let end = HookPoint::global;
            // Each norm with its hooks and what comes after it.
            for (norm, scale, normalized, out) in [
                (&w.ln1, at(Site::Ln1Scale), at(Site::Ln1Normalized), at(Site::Ln1Out)),
                (&mlp.ln2, at(Site::Ln2Scale), at(Site::Ln2Normalized), at(Site::Ln2Out)),
                (&neurons.cloned(), at(Site::MlpLnScale), at(Site::MlpLnNormalized), at(Site::MlpPost)),
                (&w.ln1_post, at(Site::Ln1PostScale), at(Site::Ln1PostNormalized), at(Site::AttnOut)),
                (&mlp.ln2_post, at(Site::Ln2PostScale), at(Site::Ln2PostNormalized), at(Site::MlpOut)),
                (&weights.final_norm, end(Site::FinalScale), end(Site::FinalNormalized), end(Site::FinalOut)),
            ] {
                let Some(norm) = norm else { continue };
                norms += 1;
                let what = |part: &str| format!("{name} {path:?} {out} after a put {part}");
                let old = cache.get(&normalized.to_string())?;
                let x = random(old.dims())?;
                let (exact, want) = (norm.map(&wide)?, with_gain(norm, &x)?);
                let allowed = Drift::of(&want, &with_gain(&exact, &wide(&x)?)?)?.allowed();
                close(&what("value"), &put(&model, path, normalized, &x, out)?, &want, allowed);
                // Another scale: the old value, times the old scale, divided by the new one.
                let new = random(&[IDS.len(), 1])?;
                let scaled = old.broadcast_mul(cache.get(&scale.to_string())?)?.broadcast_div(&new)?;
                // It brings the rounding that the old value has in such a run, as much larger as it is itself.
                let largest = |x: &Tensor| Ok::<_, pellucid::Error>(Drift::of(x, x)?.size);
                let allowed = rounding.allowed(normalized) * (largest(&scaled)? / largest(old)?).max(1.0);
                close(&what("scale"), &put(&model, path, scale, &new, normalized)?, &scaled, allowed);
                let whole = with_gain(norm, &scaled)?;
                let gain = largest(&with_gain(norm, &scaled.ones_like()?)?)?.max(1.0);
                close(&what("scale"), &put(&model, path, scale, &new, out)?, &whole, allowed * gain);
            }
            let a = &spec.blocks[l].attention.inner;
            let Some(qk) = a.qk_norm else { continue };
            for (norm, site, normed) in [(&w.q_norm, Site::Q, Site::QNormed), (&w.k_norm, Site::K, Site::KNormed)] {
                of_queries += 1;
                let x = random(cache.get(&at(site).to_string())?.dims())?;
                let (t, heads, e) = x.dims3()?;
                let width = if qk.per_head { e } else { heads * e };
                let (norm, rows) = (norm.as_ref().unwrap(), x.reshape(((), width))?);
                let [_, want] = textbook(norm, &rows, None)?;
                let [_, exact] = textbook(&norm.map(&wide)?, &wide(&rows)?, None)?;
                let allowed = Drift::of(&want, &exact)?.allowed();
                let got = put(&model, path, at(site), &x, at(normed))?;
                close(&format!("{name} {path:?} {normed:?}"), &got, &want.reshape((t, heads, e))?, allowed);
            }
        }
    }
    assert!(norms >= 2 * 20 && of_queries >= 2 * 8, "{norms} {of_queries}");
    Ok(())
}

/// A table as this program writes it, but of the first version of the names.
fn of_first_names<R: Row>(place: &Place, name: &str, spec: serde_json::Value, row: &R) -> Result<()> {
    let mut table =
        TableWriter::create(place.path(name), Provenance { spec, complete: true, ..Provenance::default() })?;
    table.extend(std::slice::from_ref(row))?;
    table.finish()?;
    let mut bytes = fs_err::read(place.path(name)).unwrap();
    let (now, then) = (br#""hook_names":2"#, br#""hook_names":1"#);
    let at = bytes.windows(now.len()).position(|w| w == now).expect("the metadata is text");
    bytes[at..at + then.len()].copy_from_slice(then);
    place.write(name, bytes);
    Ok(())
}

/// Invariant: A table written when a hook's name meant another value is refused, not misread.
#[test]
fn a_table_whose_names_meant_something_else_is_not_read() -> Result<()> {
    let place = Place::new();
    let spec = |qk_norm: bool, clip: bool| {
        let qk = if qk_norm { serde_json::json!({"per_head": true}) } else { serde_json::Value::Null };
        let clip = if clip { serde_json::json!(8.0) } else { serde_json::Value::Null };
        serde_json::json!({"blocks": [{"attention": {"inner": {"qk_norm": qk, "clip_qkv": clip}}}]})
    };
    let patch = |site: &str| -> PatchRow {
        serde_json::from_value(serde_json::json!({
            "pair": 0, "pair_id": "0", "site": site, "layer": 0, "metric": "logit", "clean": 1.0, "patched": 2.0,
            "kind": "replace", "window": 1, "changed": true, "reached": true,
        }))
        .unwrap()
    };
    for (site, qk_norm, clip, refused) in [
        ("ln1.normalized", false, false, true),
        ("attn_out+mlp.ln.normalized", false, false, true),
        ("attn.q", false, false, false),
        ("attn.q", true, false, true),
        ("attn.q+attn.k+attn.v", true, false, true),
        ("attn.k", false, true, true),
        ("attn.v", true, false, false),
        ("attn.v", false, true, true),
        ("attn.rot_q", true, true, false),
        ("ln1.scale", true, true, false),
        ("resid_pre", true, true, false),
    ] {
        of_first_names(&place, "old.parquet", spec(qk_norm, clip), &patch(site))?;
        match (read_rows::<PatchRow>(place.path("old.parquet")), refused) {
            (Ok((rows, provenance)), false) => assert_eq!((&*rows[0].place.site, provenance.hook_names), (site, 1)),
            (Err(e), true) => {
                assert!(e.message().contains("meant another value than it does now"), "{e}");
                assert!(e.hint_text().is_some_and(|hint| hint.contains("docs/hooks.md")), "{e:?}");
                assert_eq!(e.exit_code(), 2);
            }
            (got, _) => panic!("{site} {qk_norm} {clip}: {got:?}"),
        }
    }
    // What this program writes, it reads.
    let now = place.path("now.parquet");
    let mut table =
        TableWriter::create(&now, Provenance { spec: spec(true, true), complete: true, ..Provenance::default() })?;
    table.extend(&[patch("ln1.normalized"), patch("attn.q")])?;
    table.finish()?;
    let (rows, provenance) = read_rows::<PatchRow>(&now)?;
    assert_eq!((rows.len(), provenance.hook_names), (2, 2));
    // A program that reads it says so.
    of_first_names(&place, "old.parquet", spec(false, false), &patch("ln1.normalized"))?;
    place.refused(["chart", "old.parquet"], 2, "was written when `ln1.normalized` meant another value");
    // Every table with names of hooks says so of its column, or nobody would look.
    for (table, column) in [(PatchRow::TABLE, "site"), (AttributionRow::TABLE, "site"), (LensRow::TABLE, "hook")] {
        let unit = table.columns.iter().find(|c| c.name == column).unwrap().unit;
        assert!(matches!(unit, "site" | "hook name"), "{} {column}", table.name);
    }
    Ok(())
}
