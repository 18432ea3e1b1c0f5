//! The logit lens: what would the model say if it stopped here?
//!
//! A value of the residual stream at some layer goes through the final norm and the unembedding as if it were the
//! last (nostalgebraist 2020, "interpreting GPT: the logit lens"). At the last `resid_post` that is the model itself.
//! For `attn_out` and `mlp_out`, one sublayer's write is decoded alone.

use candle_core::Tensor;
use rayon::prelude::*;

use super::Watch;
use super::waves::waves;
use crate::error::{Error, Result};
use crate::hook::site::Axis;
use crate::hook::{Cache, HookPoint, Site, select};
use crate::model::{Batch, Model, Output, Run, Unembed};
use crate::ops::{simd, values};
use crate::table::LogitLens;
use crate::text::Prompt;

/// What to decode, and how much of it to keep.
#[derive(Clone, Debug)]
pub struct LensOptions {
    /// Pattern of residual sites.
    pub at: String,
    /// Positions of each prompt; negative ones count from the end. All, unless given.
    pub positions: Option<Vec<isize>>,
    /// How many tokens to keep for each hook and position.
    pub top: usize,
    /// A token to report wherever it ranks.
    pub target: Option<u32>,
    /// Bytes that activations and logits may take.
    pub memory_bytes: usize,
}

impl Default for LensOptions {
    fn default() -> Self {
        Self { at: "resid_post".into(), positions: None, top: 5, target: None, memory_bytes: 512 << 20 }
    }
}

/// Bytes of logits that are held at once, in two buffers. Enough rows for gemm to run at full speed.
const LOGITS_BYTES: usize = 64 << 20;

/// Decodes every prompt at every chosen point and position. `spell` gives a token's text.
///
/// Rows go to `emit` in the order prompt, hook, position, rank. Memory is bounded by a chunk of rows of logits:
/// layers x positions x vocabulary never exists.
///
/// # Errors
/// Sites that are not of the stream's width, positions that no prompt has, logits that are not finite.
pub fn lens(
    model: &Model,
    prompts: &[Prompt],
    spell: &dyn Fn(u32) -> String,
    options: &LensOptions,
    watch: &dyn Watch,
    emit: &mut dyn FnMut(LogitLens) -> Result<()>,
) -> Result<()> {
    let spec = model.spec();
    let points = select(spec, &options.at)?;
    if let Some(point) = points.iter().find(|p| p.site.info().axes != [Axis::T, Axis::D] || is_normalized(p.site)) {
        return Err(Error::bad_input(format!("the lens cannot decode {point}, which is not written to the stream"))
            .hint("it decodes resid_pre, resid_mid, resid_post, attn_out, mlp_out, hook_embed and hook_pos_embed"));
    }
    let d_vocab = spec.unembedding.d_vocab_out;
    if options.top == 0 || options.top > d_vocab {
        return Err(Error::bad_input(format!("the lens can keep 1 to {d_vocab} tokens, not {}", options.top)));
    }
    check_positions(prompts, options.positions.as_deref().unwrap_or_default())?;
    let waves = waves(spec, prompts, 4 * spec.d_model * points.len(), options.memory_bytes);
    let chunk = (LOGITS_BYTES.min(options.memory_bytes / 2) / (4 * d_vocab)).max(1);
    let total: usize = prompts.iter().map(|p| p.tokens.len()).sum::<usize>() * points.len();
    let mut done = 0;
    for wave in waves {
        let prompts = &prompts[wave];
        let mut cache = Cache::of(points.iter().copied());
        let run = Run { unembed: Unembed::Nothing, ..Run::default() };
        let out = model.run(&Batch::of(prompts.iter().map(Prompt::ids)), &run, &mut [&mut cache])?;
        let rows = chosen_rows(&out, options.positions.as_deref())?;
        let mut found: Vec<Reading> = Vec::with_capacity(rows.len() * points.len());
        for rows in rows.chunks(chunk) {
            let last = Decoded::of(model, &out.resid, rows)?;
            let finals = last.distributions()?;
            for (order, point) in points.iter().enumerate() {
                watch.at(done, total)?;
                // The model's own output was decoded already.
                let own = point.site == Site::ResidPost && point.layer == Some(spec.n_layers() - 1);
                let here = if own { last.clone() } else { Decoded::of(model, cache.get(&point.to_string())?, rows)? };
                found.extend(here.read(*point, order, rows, &finals, options)?);
                done += rows.len();
            }
        }
        found.sort_by_key(|r| (r.row.prompt, r.order, r.row.pos));
        for reading in &found {
            reading.rows(&prompts[reading.row.prompt], spell, options).into_iter().try_for_each(&mut *emit)?;
        }
    }
    watch.at(total, total)
}

/// Refuses a position that some prompt does not have, before any of them is run.
fn check_positions(prompts: &[Prompt], positions: &[isize]) -> Result<()> {
    for prompt in prompts {
        let n = prompt.tokens.len() as isize;
        if let Some(p) = positions.iter().find(|p| !(-n..n).contains(*p)) {
            return Err(Error::no_such(format!("prompt {} has {n} tokens, and there is no position {p}", prompt.id))
                .hint("positions count from 0, or from the end with -1"));
        }
    }
    Ok(())
}

fn is_normalized(site: Site) -> bool {
    matches!(site, Site::Ln1Normalized | Site::Ln2Normalized | Site::FinalNormalized)
}

/// A row of the pack and what it is.
#[derive(Clone, Copy)]
struct ChosenRow {
    row: u32,
    /// Index within the wave.
    prompt: usize,
    pos: usize,
}

fn chosen_rows(out: &Output, positions: Option<&[isize]>) -> Result<Vec<ChosenRow>> {
    let mut chosen = vec![];
    for s in &out.rows.sequences {
        let mut at: Vec<usize> = match positions {
            None => s.rows.clone().collect(),
            Some(positions) => positions.iter().map(|p| out.rows.row(s.index, *p)).collect::<Result<_>>()?,
        };
        at.sort_unstable();
        at.dedup();
        chosen.extend(at.into_iter().map(|row| ChosenRow { row: row as u32, prompt: s.index, pos: row - s.rows.start }));
    }
    Ok(chosen)
}

/// Logits of a chunk of rows, `[rows, v]`.
#[derive(Clone)]
struct Decoded {
    logits_rv: Tensor,
}

/// The model's own distribution in a row.
struct Final {
    prob_v: Vec<f32>,
    /// Sum of prob x log prob, in nats.
    neg_entropy_nats: f32,
}

/// What the lens found at one hook and row.
struct Reading {
    point: HookPoint,
    order: usize,
    row: ChosenRow,
    log_total: f32,
    entropy_bits: f32,
    kl_to_final_bits: f32,
    top: Vec<(u32, f32)>,
    target: Option<(u32, f32)>,
}

impl Decoded {
    fn of(model: &Model, resid: &Tensor, rows: &[ChosenRow]) -> Result<Self> {
        let ids: Vec<u32> = rows.iter().map(|r| r.row).collect();
        let resid = resid.index_select(&Tensor::new(ids, model.device())?, 0)?;
        Ok(Self { logits_rv: model.decode(&resid)?.to_device(&candle_core::Device::Cpu)? })
    }

    fn distributions(&self) -> Result<Vec<Final>> {
        let logits = values(&self.logits_rv)?;
        let logits = &*logits;
        Ok(logits
            .par_chunks_exact(self.logits_rv.dim(1)?)
            .map(|x| {
                simd::vectorised(|| {
                    let log_total = log_sum_exp(x);
                    let prob_v: Vec<f32> = x.iter().map(|x| simd::exp(x - log_total)).collect();
                    let neg_entropy_nats = dot(&prob_v, x, log_total);
                    Final { prob_v, neg_entropy_nats }
                })
            })
            .collect())
    }

    fn read(
        &self,
        point: HookPoint,
        order: usize,
        rows: &[ChosenRow],
        finals: &[Final],
        options: &LensOptions,
    ) -> Result<Vec<Reading>> {
        let logits = values(&self.logits_rv)?;
        let logits = &*logits;
        logits
            .par_chunks_exact(self.logits_rv.dim(1)?)
            .zip(rows.par_iter().zip(finals))
            .map(|(x, (row, last))| {
                let (log_total, entropy_nats, kl_nats) = simd::vectorised(|| {
                    let log_total = log_sum_exp(x);
                    let entropy = -weighted(x, log_total);
                    (log_total, entropy, last.neg_entropy_nats - dot(&last.prob_v, x, log_total))
                });
                if !log_total.is_finite() {
                    return Err(Error::compute(format!("the logits at {point}, position {}, are not finite", row.pos))
                        .hint("the weights may hold NaN or infinity"));
                }
                // Rounding may leave a divergence of zero just below it.
                let bits = |nats: f32| (nats / std::f32::consts::LN_2).max(0.0);
                Ok(Reading {
                    point,
                    order,
                    row: *row,
                    log_total,
                    entropy_bits: bits(entropy_nats),
                    kl_to_final_bits: bits(kl_nats),
                    top: top_k(x, options.top),
                    target: options.target.map(|id| (rank(x, id), x[id as usize])),
                })
            })
            .collect()
    }
}

#[inline(always)]
fn log_sum_exp(x: &[f32]) -> f32 {
    let top = simd::max(x);
    top + simd::sum(x, |v| simd::exp(v - top)).ln()
}

/// Sum of p(x) log p(x), with p the softmax of `x`.
#[inline(always)]
fn weighted(x: &[f32], log_total: f32) -> f32 {
    simd::sum(x, |v| {
        let log_p = v - log_total;
        simd::exp(log_p) * log_p
    })
}

/// Sum of `prob` x (`x` - `log_total`).
#[inline(always)]
fn dot(prob: &[f32], x: &[f32], log_total: f32) -> f32 {
    simd::sum2(prob, x, |p, x| p * (x - log_total))
}

/// The `k` largest values and their indices, largest first, the lower index first among equals.
fn top_k(x: &[f32], k: usize) -> Vec<(u32, f32)> {
    let mut top: Vec<(u32, f32)> = Vec::with_capacity(k + 1);
    let mut least = f32::NEG_INFINITY;
    // Sixteen at a time: once the best are known, hardly any chunk holds a better one.
    for (c, chunk) in x.chunks(16).enumerate() {
        if top.len() == k && !chunk.iter().fold(false, |any, v| any | (*v > least)) {
            continue;
        }
        for (i, v) in chunk.iter().enumerate() {
            if top.len() < k || *v > least {
                let at = top.partition_point(|(_, t)| *t >= *v);
                top.insert(at, ((c * 16 + i) as u32, *v));
                top.truncate(k);
                if top.len() == k {
                    least = top[k - 1].1;
                }
            }
        }
    }
    top
}

/// Rank of `id`, from 1; the lower index first among equals.
fn rank(x: &[f32], id: u32) -> u32 {
    let value = x[id as usize];
    let before = |(i, v): (usize, &f32)| *v > value || (*v == value && i < id as usize);
    1 + x.iter().enumerate().filter(|p| before(*p)).count() as u32
}

impl Reading {
    fn rows(&self, prompt: &Prompt, spell: &dyn Fn(u32) -> String, options: &LensOptions) -> Vec<LogitLens> {
        let pos = self.row.pos;
        let next = prompt.tokens.get(pos + 1);
        let prob = |logit: f32| (logit - self.log_total).exp();
        self.top
            .iter()
            .enumerate()
            .map(|(i, (id, logit))| LogitLens {
                prompt: prompt.index,
                prompt_id: prompt.id.clone(),
                hook: self.point.to_string(),
                layer: self.point.layer.map(|l| l as u32),
                pos: pos as u32,
                input_token: prompt.tokens[pos].text.clone(),
                input_token_id: prompt.tokens[pos].id,
                next_token: next.map(|t| t.text.clone()),
                next_token_id: next.map(|t| t.id),
                rank: i as u32 + 1,
                token: spell(*id),
                token_id: *id,
                logit: *logit,
                prob: prob(*logit),
                entropy_bits: self.entropy_bits,
                kl_to_final_bits: self.kl_to_final_bits,
                target: options.target.map(spell),
                target_id: options.target,
                target_rank: self.target.map(|(rank, _)| rank),
                target_logit: self.target.map(|(_, logit)| logit),
                target_prob: self.target.map(|(_, logit)| prob(logit)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_k_and_rank_agree_with_sorting() {
        let x: Vec<f32> = (0..1000).map(|i| ((i * 7919) % 501) as f32).collect();
        let mut want: Vec<(u32, f32)> = x.iter().enumerate().map(|(i, v)| (i as u32, *v)).collect();
        want.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for k in [1, 7, 1000] {
            assert_eq!(top_k(&x, k), want[..k]);
        }
        for (i, (id, _)) in want.iter().enumerate() {
            assert_eq!(rank(&x, *id), i as u32 + 1);
        }
    }
}
