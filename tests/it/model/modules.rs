//! Which of our sites is which module of Hugging Face's, for every way in which it names them.

use candle_core::Tensor;
use pellucid::Result;
use pellucid::arch::Spec;
use pellucid::arch::spec::Arrangement;
use pellucid::hook::Cache;

use crate::bound::Drifts;
use crate::reference::{Reference, close};

/// A site, and the value that it must equal: a module's `.in` or `.out`.
type Row = (&'static str, &'static str);

/// Rows that hold wherever the fixture has such a module. Which norm is which also depends on the model's arrangement.
#[rustfmt::skip]
const SUBLAYERS: &[Row] = &[
    ("attn.hook_q", "self_attn.q_proj.out"), ("attn.hook_k", "self_attn.k_proj.out"), ("attn.hook_v", "self_attn.v_proj.out"),
    ("attn.hook_q", "attn.q_proj.out"), ("attn.hook_k", "attn.k_proj.out"), ("attn.hook_v", "attn.v_proj.out"),
    ("attn.hook_q", "attn.attention.q_proj.out"), ("attn.hook_k", "attn.attention.k_proj.out"), ("attn.hook_v", "attn.attention.v_proj.out"),
    ("attn.q_norm.hook_out", "self_attn.q_norm.out"), ("attn.k_norm.hook_out", "self_attn.k_norm.out"),
    ("qkv", "attn.c_attn.out"), ("qkv", "self_attn.qkv_proj.out"),
    ("qkv", "attention.query_key_value.out"), ("qkv", "self_attention.query_key_value.out"),
    ("attn.hook_z", "self_attn.o_proj.in"), ("attn.hook_z", "self_attn.dense.in"), ("attn.hook_z", "self_attn.out_proj.in"),
    ("attn.hook_z", "attn.c_proj.in"), ("attn.hook_z", "attn.out_proj.in"), ("attn.hook_z", "attn.attention.out_proj.in"),
    ("attn.hook_z", "attention.dense.in"), ("attn.hook_z", "self_attention.dense.in"),
    ("hook_attn_out", "self_attn.o_proj.out"), ("hook_attn_out", "self_attn.dense.out"), ("hook_attn_out", "self_attn.out_proj.out"),
    ("hook_attn_out", "attn.c_proj.out"), ("hook_attn_out", "attn.out_proj.out"), ("hook_attn_out", "attn.attention.out_proj.out"),
    ("hook_attn_out", "attention.dense.out"), ("hook_attn_out", "self_attention.dense.out"),
    ("mlp.hook_pre", "mlp.gate_proj.out"), ("mlp.hook_pre_linear", "mlp.up_proj.out"), ("gate and partner", "mlp.gate_up_proj.out"),
    ("mlp.hook_pre", "mlp.c_fc.out"), ("mlp.hook_pre", "mlp.fc_in.out"), ("mlp.hook_pre", "mlp.fc1.out"),
    ("mlp.hook_pre", "fc1.out"), ("mlp.hook_pre", "mlp.dense_h_to_4h.out"),
    ("mlp.hook_post", "mlp.down_proj.in"), ("mlp.hook_post", "mlp.c_proj.in"), ("mlp.hook_post", "mlp.fc_out.in"),
    ("mlp.hook_post", "mlp.fc2.in"), ("mlp.hook_post", "fc2.in"), ("mlp.hook_post", "mlp.dense_4h_to_h.in"),
    ("mlp.hook_router_logits", "mlp.gate.out"), ("experts", "mlp.experts.act_fn.in"),
    ("hook_mlp_out", "mlp.down_proj.out"), ("hook_mlp_out", "mlp.c_proj.out"), ("hook_mlp_out", "mlp.fc_out.out"),
    ("hook_mlp_out", "mlp.fc2.out"), ("hook_mlp_out", "fc2.out"), ("hook_mlp_out", "mlp.dense_4h_to_h.out"),
];

const FIRST_NORM: [&str; 4] = ["input_layernorm", "ln_1", "self_attn_layer_norm", "ln_attn"];
const SECOND_NORM: [&str; 5] =
    ["pre_feedforward_layernorm", "post_attention_layernorm", "ln_2", "final_layer_norm", "ln_mlp"];

/// Every module in `want` that is one of our sites.
pub fn compare(what: &str, spec: &Spec, cache: &Cache, want: &Reference, rounding: &Drifts) -> Result<()> {
    let prefixes = ["transformer.h", "model.layers", "model.decoder.layers", "gpt_neox.layers"];
    let Some(prefix) = prefixes.iter().find(|p| want.names().any(|n| n.starts_with(&format!("module.{p}.0.")))) else {
        return Ok(()); // A lean set.
    };
    for (l, block) in spec.blocks.iter().enumerate() {
        let find = |name: &str| want.get(&format!("module.{prefix}.{l}.{name}")).map(rows);
        let sites = std::cell::Cell::new(0);
        let check = |site: &str, want: &Tensor| -> Result<()> {
            sites.set(sites.get() + 1);
            let name = format!("blocks.{l}.{site}");
            let mut got = cache.get(&name)?.flatten_from(1)?;
            // The reference clamps what its last module gave in place, so there the clamped value is what was recorded.
            let last = if block.attention.inner.qk_norm.is_some() {
                ["attn.q_norm.hook_out", "attn.k_norm.hook_out", "attn.hook_v"]
            } else {
                ["attn.hook_q", "attn.hook_k", "attn.hook_v"]
            };
            if let (Some(clip), true) = (block.attention.inner.clip_qkv, last.contains(&site)) {
                got = got.clamp(-clip, clip)?;
            }
            close(&format!("{what} {name}"), &got, want, rounding.hook(&name));
            Ok(())
        };
        let at = |site: &str, module: &str| check(site, &find(module).unwrap());
        let a = &block.attention.inner;
        let posts = [&block.attention.post_norm, &block.mlp.as_ref().unwrap().post_norm].map(Option::is_some);
        for (site, module) in SUBLAYERS {
            let Some(value) = find(module) else { continue };
            match *site {
                "hook_attn_out" if posts[0] => continue,
                "hook_mlp_out" if posts[1] => continue,
                "attn.q_norm.hook_out" | "attn.k_norm.hook_out" => {
                    // [b, p, heads, e] or [b, heads, p, e] or, over all heads, [b, p, heads * e].
                    let heads = if *site == "attn.q_norm.hook_out" { a.n_heads } else { a.n_kv_heads };
                    let raw = want.need(&format!("module.{prefix}.{l}.{module}"));
                    let raw = if raw.rank() == 4 && raw.dim(1)? == heads {
                        raw.transpose(1, 2)?.contiguous()?
                    } else {
                        raw.clone()
                    };
                    check(site, &raw.flatten(0, 1)?.flatten_from(1)?)?;
                }
                "qkv" => {
                    // The same name means two things: GPT-2 joins all heads, GPT-BigCode keeps them apart.
                    let joined = module.ends_with("qkv_proj.out") || spec.family == "gpt2";
                    for (site, part) in
                        ["attn.hook_q", "attn.hook_k", "attn.hook_v"].iter().zip(split(&value, a, joined)?)
                    {
                        check(site, &part)?;
                    }
                }
                "gate and partner" => {
                    let m = value.dim(1)? / 2;
                    check("mlp.hook_pre", &value.narrow(1, 0, m)?)?;
                    check("mlp.hook_pre_linear", &value.narrow(1, m, m)?)?;
                }
                // The rows of expert 0, then those of expert 1, and so on; those of one expert in any order.
                "experts" => {
                    let mut first = 0;
                    let indices = cache.get(&format!("blocks.{l}.mlp.hook_expert_indices"))?.to_vec2::<u32>()?;
                    for e in 0..block.mlp.as_ref().and_then(|m| m.inner.experts()).expect("experts").n_experts {
                        let hook = format!("blocks.{l}.mlp.experts.{e}.hook_gate");
                        let gate = cache.get(&hook)?;
                        let rows: Vec<u32> = (0..indices.len() as u32)
                            .filter(|row| indices[*row as usize].contains(&(e as u32)))
                            .collect();
                        let theirs = value.narrow(0, first, rows.len())?;
                        first += rows.len();
                        let ours = gate.index_select(&Tensor::new(rows, gate.device())?, 0)?;
                        let what = format!("{what} expert {e} of block {l}");
                        close(&what, &in_order(&ours)?, &in_order(&theirs)?, rounding.hook(&hook));
                    }
                    assert_eq!(first, value.dim(0)?);
                    sites.set(sites.get() + 1);
                }
                // The reference adds to this value in place after its module gave it, so the sum is what was recorded.
                "hook_mlp_out"
                    if block.arrangement != Arrangement::Sequential && find("self_attention.dense.in").is_some() =>
                {
                    let attn_out = cache.get(&format!("blocks.{l}.hook_attn_out"))?;
                    check(site, &(value - attn_out)?)?;
                }
                "hook_attn_out" | "hook_mlp_out" => check(site, &(value * block.residual_scale.unwrap_or(1.0))?)?,
                site => check(site, &value)?,
            }
        }
        if block.attention.pre_norm.is_some() {
            let norm = FIRST_NORM.iter().find(|n| find(&format!("{n}.out")).is_some()).expect("a first norm");
            at("hook_resid_pre", &format!("{norm}.in"))?;
            at("ln1.hook_out", &format!("{norm}.out"))?;
        }
        if posts[0] {
            at("hook_attn_out", "post_attention_layernorm.out")?;
        }
        if posts[1] {
            at("hook_mlp_out", "post_feedforward_layernorm.out")?;
        }
        if cache.get(&format!("blocks.{l}.ln2.hook_out")).is_ok() {
            let norm = SECOND_NORM.iter().find(|n| find(&format!("{n}.out")).is_some()).expect("a second norm");
            let stream =
                if cache.get(&format!("blocks.{l}.hook_resid_mid")).is_ok() { "resid_mid" } else { "resid_pre" };
            at(&format!("hook_{stream}"), &format!("{norm}.in"))?;
            at("ln2.hook_out", &format!("{norm}.out"))?;
        }
        // Queries, keys, values, z, two writes and two sides of the neurons, and norms on queries and keys: no family may slip
        // past the table.
        assert!(
            sites.get() >= if a.qk_norm.is_some() { 10 } else { 8 },
            "{what}: only {} sites of block {l} were compared",
            sites.get()
        );
    }
    Ok(())
}

/// The rows sorted by what they begin with.
fn in_order(x: &Tensor) -> Result<Tensor> {
    let mut rows = x.to_vec2::<f32>()?;
    rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
    Ok(Tensor::new(rows, x.device())?)
}

/// `[b, p, ..]` to packed rows; some modules see rows already.
fn rows(x: &Tensor) -> Tensor {
    if x.rank() == 2 { x.clone() } else { x.flatten(0, 1).unwrap().flatten_from(1).unwrap() }
}

/// Queries, keys and values out of one fused value `[t, ..]`.
fn split(x: &Tensor, a: &pellucid::arch::spec::Attention, joined: bool) -> Result<[Tensor; 3]> {
    let groups = if joined { 1 } else { a.n_kv_heads };
    let (q, kv) = (a.n_heads * a.d_head / groups, a.n_kv_heads * a.d_head / groups);
    let x = x.reshape((x.dim(0)?, groups, q + 2 * kv))?;
    let part = |start, len| -> Result<Tensor> { Ok(x.narrow(2, start, len)?.flatten_from(1)?) };
    Ok([part(0, q)?, part(q, kv)?, part(q + kv, kv)?])
}
