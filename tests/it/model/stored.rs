//! The ways in which one model can be stored: dtypes, shards, prefixes, buffers. All are the same model.

use candle_core::Tensor;
use pellucid::Result;
use pellucid::model::{Batch, Model};
use safetensors::Dtype;
use serde_json::json;

use crate::bin::{Place, fixture};
use crate::forge;
use crate::reference::{close, max_diff, same_bits};

fn logits(dir: &std::path::Path) -> Result<Tensor> {
    Model::load(dir)?.forward(&Batch::one([3, 14, 15, 92, 65, 35, 89, 79, 32]), &mut [])
}

/// A half stored is read as exactly that number, so nothing is lost beside what storing it lost; and that is little.
#[test]
fn halves_are_read_as_they_are() -> Result<()> {
    // Of 11 and of 8 significant bits half of the last is lost of each weight, at most 2^-11 and 2^-8 of it. Logits of
    // size three are made by a dozen such maps one after the other, whose errors add up as a random walk's do.
    for (dtype, tolerance) in [(Dtype::F16, 0.5f64.powi(11) * 10.0), (Dtype::BF16, 0.5f64.powi(8) * 10.0)] {
        for of in ["gpt2", "llama", "llama_mha_tied"] {
            let place = Place::new();
            let half = forge::copy(&place, of, "half");
            forge::weights(&place, &half, |t| forge::rounded(t, dtype));
            let same = forge::copy(&place, of, "same");
            forge::weights(&place, &same, |t| {
                forge::rounded(t, dtype);
                forge::widened(t);
            });
            let half = logits(&place.path(&half))?;
            let what = format!("{of} {dtype:?}");
            same_bits(&what, &half, &logits(&place.path(&same))?);
            let exact = logits(&fixture(of))?;
            close(&what, &half, &exact, tolerance);
            assert!(max_diff(&half, &exact) > tolerance / 1000.0, "{what}: it must have been stored in halves");
        }
    }
    Ok(())
}

#[test]
fn doubles_are_read() -> Result<()> {
    let place = Place::new();
    let name = forge::copy(&place, "gpt2", "m");
    forge::weights(&place, &name, |tensors| {
        for (dtype, _, data) in tensors.values_mut() {
            let values = data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            let wide: Vec<[u8; 8]> = values.map(|x| f64::from(x).to_le_bytes()).collect();
            (*dtype, *data) = (Dtype::F64, wide.concat());
        }
    });
    same_bits("f64", &logits(&place.path(&name))?, &logits(&fixture("gpt2"))?);
    Ok(())
}

#[test]
fn shards_are_the_single_file() -> Result<()> {
    for of in ["gpt2", "llama"] {
        let place = Place::new();
        let name = forge::copy(&place, of, "m");
        let all = forge::tensors(&place, &name);
        fs_err::remove_file(place.path("m/model.safetensors")).unwrap();
        let shard = |i: usize| format!("model-0000{}-of-00003.safetensors", i % 3 + 1);
        for i in 0..3 {
            let part = all.iter().enumerate().filter(|(n, _)| n % 3 == i).map(|(_, (n, t))| (n.clone(), t.clone()));
            place.write(&format!("m/{}", shard(i)), forge::serialized(&part.collect()));
        }
        let map: serde_json::Map<_, _> = all.keys().enumerate().map(|(i, n)| (n.clone(), json!(shard(i)))).collect();
        let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
        place.write("m/model.safetensors.index.json", index.to_string());
        same_bits(of, &logits(&place.path(&name))?, &logits(&fixture(of))?);
    }
    Ok(())
}

#[test]
fn names_with_and_without_their_prefix_are_the_same_model() -> Result<()> {
    for (of, prefix) in [("gpt2", "transformer."), ("llama", "model.")] {
        let place = Place::new();
        let name = forge::copy(&place, of, "m");
        forge::weights(&place, &name, |tensors| {
            let short = |n: String| n.strip_prefix(prefix).map(str::to_owned).unwrap_or(n);
            *tensors = std::mem::take(tensors).into_iter().map(|(n, t)| (short(n), t)).collect();
        });
        same_bits(of, &logits(&place.path(&name))?, &logits(&fixture(of))?);
    }
    Ok(())
}

/// Old GPT-2 files carry the causal mask, old Llama files the rotary frequencies, in every block.
#[test]
fn buffers_are_ignored() -> Result<()> {
    for (of, buffers) in [
        ("gpt2", &["transformer.h.{}.attn.bias", "transformer.h.{}.attn.masked_bias"][..]),
        ("llama", &["model.layers.{}.self_attn.rotary_emb.inv_freq"]),
    ] {
        let place = Place::new();
        let name = forge::copy(&place, of, "m");
        forge::weights(&place, &name, |tensors| {
            for layer in ["0", "1"] {
                for buffer in buffers {
                    // In a dtype that no weight has.
                    tensors.insert(buffer.replace("{}", layer), (Dtype::U8, vec![1, 1, 4, 4], vec![1; 16]));
                }
            }
        });
        same_bits(of, &logits(&place.path(&name))?, &logits(&fixture(of))?);
    }
    Ok(())
}

#[test]
fn a_tied_pair_is_found_under_either_name_or_both() -> Result<()> {
    for (of, embed) in [("gpt2", "transformer.wte.weight"), ("llama_mha_tied", "model.embed_tokens.weight")] {
        for keep in [true, false] {
            let place = Place::new();
            let name = forge::copy(&place, of, "m");
            forge::weights(&place, &name, |tensors| {
                let table = tensors[embed].clone();
                tensors.insert("lm_head.weight".into(), table);
                if !keep {
                    tensors.remove(embed);
                }
            });
            same_bits(of, &logits(&place.path(&name))?, &logits(&fixture(of))?);
        }
    }
    Ok(())
}
