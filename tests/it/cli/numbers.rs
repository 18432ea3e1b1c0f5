//! What the commands write, recomputed from the files alone or compared with an independent source.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{D, DType, Device, Tensor};
use pellucid::Result;
use pellucid::analysis::{AttentionRow, LensRow};
use pellucid::hook::{Cache, HookPoint, Site};
use pellucid::model::{Batch, Model};
use pellucid::table::read_rows;
use serde_json::Value;

use crate::bin::{Place, fixture, model};
use crate::bound::drift;
use crate::reference::{Reference, close, same_bits};

const A: &str = "3,14,15,92,65,35";
const B: &str = "27,18,28";

fn tensors(path: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

/// `A` and `B` as rows of ids.
fn ids() -> Vec<Vec<u32>> {
    [A, B].map(|ids| ids.split(',').map(|id| id.parse().unwrap()).collect()).into()
}

#[test]
fn the_cache_is_what_the_library_sees_under_the_promised_names() -> Result<()> {
    for name in ["gpt2", "llama", "mixtral"] {
        let m = model(name);
        let place = Place::new();
        place.ok(["cache", "-q", "-m", &m, "--ids", A, "--ids", B, "--hooks", "*", "--out", "both"]);
        place.ok(["cache", "-q", "-m", &m, "--ids", A, "--hooks", "*", "--out", "one"]);
        let mut both = tensors(&place.path("both/activations.safetensors"));
        let mut one = tensors(&place.path("one/activations.safetensors"));

        let rows = both.remove("rows").unwrap().to_vec2::<u32>()?;
        let want: Vec<Vec<u32>> = (0..6).map(|p| vec![0, p]).chain((0..3).map(|p| vec![1, p])).collect();
        assert_eq!(rows, want);
        assert_eq!(both.remove("input_ids").unwrap().to_vec1::<u32>()?, ids().concat());
        assert_eq!(one.remove("rows").unwrap().to_vec2::<u32>()?, want[..6]);
        assert_eq!(one.remove("input_ids").unwrap().to_vec1::<u32>()?, ids()[0]);

        let loaded = Model::load(&fixture(name))?;
        let (mut cache, mut alone) = (Cache::new(loaded.spec(), "*")?, Cache::new(loaded.spec(), "*")?);
        loaded.forward(&Batch::of(ids()), &mut [&mut cache])?;
        loaded.forward(&Batch::of([ids()[0].clone()]), &mut [&mut alone])?;

        let hooks: Vec<Value> =
            serde_json::from_str(&place.ok(["hooks", "-m", &m, "--format", "json"]).stdout).unwrap();
        for hook in &hooks {
            let hook_name = hook["hook"].as_str().unwrap();
            let shape = |t: usize| -> Vec<usize> {
                let sizes = hook["shape"].as_str().unwrap().split(" x ");
                sizes.map(|size| size.parse().unwrap_or(t)).collect()
            };
            let lone = one.remove(hook_name).unwrap_or_else(|| panic!("no {hook_name}"));
            let dtype = if hook_name.ends_with("hook_expert_indices") { DType::U32 } else { DType::F32 };
            assert_eq!((lone.dtype(), lone.dims()), (dtype, &shape(6)[..]), "{hook_name}");
            // Numbers of experts are as exact in f32.
            let same_bits = |name: &str, a: &Tensor, b: &Tensor| {
                same_bits(name, &a.to_dtype(DType::F32).unwrap(), &b.to_dtype(DType::F32).unwrap());
            };
            same_bits(hook_name, &lone, alone.get(hook_name)?);
            if ["t", "q", "h"].contains(&hook["axes"].as_str().unwrap().split(' ').next().unwrap())
                && hook["axes"].as_str().unwrap().contains('k')
            {
                for (i, n) in [6, 3].into_iter().enumerate() {
                    let pattern = both.remove(&format!("{hook_name}.prompt{i}")).unwrap();
                    assert_eq!(pattern.dims(), shape(n), "{hook_name}");
                    same_bits(hook_name, &pattern, cache.sequence(hook_name, i)?);
                }
            } else {
                let packed = both.remove(hook_name).unwrap();
                assert_eq!(packed.dims(), shape(9), "{hook_name}");
                same_bits(hook_name, &packed, cache.get(hook_name)?);
            }
        }
        assert!(both.is_empty() && one.is_empty(), "{:?} {:?}", both.keys(), one.keys());
    }
    Ok(())
}

/// The final norm and the unembedding of a stored model, by hand, in f64.
fn unembed(name: &str, resid_td: &Tensor) -> Result<Tensor> {
    let weights = tensors(&fixture(name).join("model.safetensors"));
    let get = |n: &str| weights[n].to_dtype(DType::F64);
    let x = resid_td.to_dtype(DType::F64)?;
    let (normed, table) = if name == "gpt2" {
        let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let size = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
        let scaled = x.broadcast_div(&size)?.broadcast_mul(&get("transformer.ln_f.weight")?)?;
        (scaled.broadcast_add(&get("transformer.ln_f.bias")?)?, get("transformer.wte.weight")?)
    } else {
        let size = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-6)?.sqrt()?;
        (x.broadcast_div(&size)?.broadcast_mul(&get("model.norm.weight")?)?, get("lm_head.weight")?)
    };
    Ok(normed.matmul(&table.t()?)?)
}

/// Log probabilities in nats.
fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::MIN, f64::max);
    let total = most + logits.iter().map(|x| (x - most).exp()).sum::<f64>().ln();
    logits.iter().map(|x| x - total).collect()
}

#[test]
fn the_lens_is_the_naive_lens() -> Result<()> {
    for name in ["gpt2", "llama"] {
        let m = model(name);
        let place = Place::new();
        let prompts = ["--ids", A, "--ids", B];
        place.ok(["cache", "-q", "-m", &m, "--hooks", "*", "--out", "cache"].iter().chain(&prompts));
        let at = "hook_embed,resid_pre,resid_mid,resid_post,attn_out,mlp_out";
        let args = ["lens", "-q", "-m", &m, "--at", at, "--top", "7", "--target", "#17", "--out", "lens"];
        place.ok(args.iter().chain(&prompts));
        let (rows, _) = read_rows::<LensRow>(place.path("lens/logit_lens.parquet"))?;
        let cache = tensors(&place.path("cache/activations.safetensors"));
        let last = unembed(name, &cache["blocks.1.hook_resid_post"])?;
        // One norm and one unembedding in f32, and so less than the whole model.
        let rounding = drift(name, &Model::load(&fixture(name))?, &Batch::of(ids())).logits();
        close("the model's own logits", &cache["logits"], &last, rounding);
        // Of numbers in bits, sums over the vocabulary of what is p log p or less: as far as all logits move, times as many bits as
        // there are, and ln 2.
        let of_bits = 2.0 * rounding * (last.dim(1)? as f64).log2() / std::f64::consts::LN_2;
        let last = last.to_vec2::<f64>()?;

        assert_eq!(rows.len(), 9 * (1 + 2 * 5) * 7);
        let mut logits: HashMap<&str, Vec<Vec<f64>>> = HashMap::new();
        for row in &rows {
            if !logits.contains_key(row.hook.as_str()) {
                logits.insert(&row.hook, unembed(name, &cache[&row.hook])?.to_vec2()?);
            }
            let t = row.prompt as usize * 6 + row.pos as usize;
            let here = &logits[row.hook.as_str()][t];
            let (log_p, log_last) = (log_softmax(here), log_softmax(&last[t]));
            let mut sorted = here.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let what = format!("{name} {} {t} rank {}", row.hook, row.rank);
            let near = |quantity: &str, got: f32, want: f64, tolerance: f64| {
                assert!((f64::from(got) - want).abs() <= tolerance, "{what} {quantity}: {got} instead of {want}");
            };
            near("logit", row.logit, here[row.token_id as usize], rounding);
            near("logit of the rank", row.logit, sorted[row.rank as usize - 1], rounding);
            // A probability moves by no more than half as far as the logits do.
            near("prob", row.prob, log_p[row.token_id as usize].exp(), rounding);
            let bits = |nats: f64| nats / std::f64::consts::LN_2;
            let entropy: f64 = log_p.iter().map(|p| -p.exp() * p).sum();
            near("entropy", row.entropy_bits, bits(entropy), of_bits);
            let kl: f64 = log_last.iter().zip(&log_p).map(|(p, q)| p.exp() * (p - q)).sum();
            near("divergence", row.kl_to_final_bits, bits(kl), of_bits);
            assert_eq!(row.target_id, Some(17));
            near("target's logit", row.target_logit.unwrap(), here[17], rounding);
            near("target's prob", row.target_prob.unwrap(), log_p[17].exp(), rounding);
            let rank = 1 + here.iter().filter(|x| **x > here[17]).count() as u32;
            assert_eq!(row.target_rank, Some(rank), "{what}");
            let prompt = &ids()[row.prompt as usize];
            assert_eq!(row.input_token_id, prompt[row.pos as usize]);
            assert_eq!(row.next_token_id, prompt.get(row.pos as usize + 1).copied());
            assert_eq!(row.token, format!("#{}", row.token_id));
        }
    }
    Ok(())
}

#[test]
fn the_attention_table_is_hugging_faces() -> Result<()> {
    for name in ["gpt2", "llama", "llama3_rope"] {
        let want = Reference::open(&fixture(name).join("expected.safetensors"));
        let prompts = want.ids("input_ids");
        let text: Vec<String> =
            prompts.iter().map(|p| p.iter().map(u32::to_string).collect::<Vec<_>>().join(",")).collect();
        let m = model(name);
        let place = Place::new();
        let args = ["attention", "-q", "-m", &m, "--ids", &text[0], "--ids", &text[1], "--out", "all"];
        place.ok(args);
        let (rows, _) = read_rows::<AttentionRow>(place.path("all/attention.parquet"))?;
        let n = prompts[0].len();
        assert_eq!(rows.len(), prompts.len() * 2 * 4 * n * (n + 1) / 2);
        let kv_heads = if name == "gpt2" { 4 } else { 2 };
        let patterns: Vec<Vec<Vec<Vec<Vec<f32>>>>> = (0..2)
            .map(|layer| {
                let pattern = want.need(&format!("attentions.{layer}"));
                (0..prompts.len()).map(|b| pattern.get(b).unwrap().to_vec3().unwrap()).collect()
            })
            .collect();
        let rounding = drift(name, &Model::load(&fixture(name))?, &want.batch("input_ids"));
        let allowed = [0, 1].map(|l| rounding.allowed(HookPoint::block(l, Site::Pattern)));
        for row in &rows {
            let [prompt, layer, head, q, k] =
                [row.prompt, row.layer, row.head, row.query_pos, row.key_pos].map(|i| i as usize);
            let hf = patterns[layer][prompt][head][q][k];
            assert!(f64::from((row.prob - hf).abs()) <= allowed[layer], "{name} {row:?}: {hf}");
            assert_eq!(row.kv_head as usize, head * kv_heads / 4);
            assert_eq!(row.query_token, format!("#{}", prompts[prompt][q]));
            assert_eq!(row.key_token, format!("#{}", prompts[prompt][k]));
        }
        place.ok(args[..args.len() - 1].iter().copied().chain(["few", "--min-prob", "0.2"]));
        let (few, _) = read_rows::<AttentionRow>(place.path("few/attention.parquet"))?;
        let thick: Vec<AttentionRow> = rows.into_iter().filter(|r| r.prob >= 0.2).collect();
        assert!(!thick.is_empty() && few == thick, "{name}: {} of {}", few.len(), thick.len());
    }
    Ok(())
}

/// Prompts of many lengths, in one batch or in many: the same rows.
#[test]
fn memory_bounds_change_nothing_but_rounding() -> Result<()> {
    let prompts: Vec<Vec<u32>> =
        (0..150u32).map(|i| (0..1 + i * 7 % 40).map(|p| (i * 31 + p * 17) % 97).collect()).collect();
    let lines: Vec<String> = prompts.iter().map(|ids| format!("{{\"ids\": {ids:?}}}\n")).collect();
    // As in the test of the naive lens.
    let rounding = drift("llama", &Model::load(&fixture("llama"))?, &Batch::of(prompts)).logits();
    let of_bits = 2.0 * rounding * 97f64.log2() / std::f64::consts::LN_2;
    let m = model("llama");
    let place = Place::new();
    place.write("p.jsonl", lines.concat());
    let mut tables = vec![];
    for memory in ["512MB", "1MB", "250kB"] {
        place.ok(["lens", "-q", "-m", &m, "--prompts", "p.jsonl", "--top", "3", "--memory", memory, "--out", memory]);
        tables.push(read_rows::<LensRow>(place.path(memory).join("logit_lens.parquet"))?.0);
    }
    for table in &tables[1..] {
        assert_eq!(table.len(), tables[0].len());
        for (a, b) in tables[0].iter().zip(table) {
            let keys = |r: &LensRow| (r.prompt, r.hook.clone(), r.pos, r.rank, r.input_token_id);
            assert_eq!(keys(a), keys(b));
            let near = |x: f32, y: f32, allowed: f64| assert!(f64::from((x - y).abs()) <= allowed, "{a:?}\n{b:?}");
            near(a.logit, b.logit, rounding);
            near(a.prob, b.prob, rounding);
            near(a.entropy_bits, b.entropy_bits, of_bits);
        }
    }
    Ok(())
}
