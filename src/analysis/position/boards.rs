//! What comes next if positions are made equal, or two words swapped.

use candle_core::{Device, Tensor};

use super::rows::PositionBoardRow;
use crate::arch::Spec;
use crate::arch::spec::Position;
use crate::error::{Error, Result};
use crate::hook::{Hook, HookPoint, Site};
use crate::model::{Batch, Model, Run, Unembed, clamp};
use crate::ops::numbers;
use crate::ops::rows::Rows;
use crate::ops::softmax::log_sum_exp;
use crate::sample::{Chain, Context, Pool};
use crate::sweep::{Need, check_prompts, row_bytes};
use crate::text::Prompt;

/// Makes all positions equal: learned vectors are zero, queries and keys do not turn, no distance has a penalty. The mask stays.
pub struct Unplaced<'a> {
    model: &'a Model,
    /// Queries and keys of the layer that runs, as rotation gets them.
    q: Option<Tensor>,
    k: Option<Tensor>,
}

impl<'a> Unplaced<'a> {
    /// For runs of this model.
    pub fn of(model: &'a Model) -> Self {
        Self { model, q: None, k: None }
    }

    /// Whether there is anything to make equal.
    pub fn exists(spec: &Spec) -> bool {
        let placed = |position: &Position| *position != Position::None;
        spec.embedding.positions.is_some() || spec.blocks.iter().any(|b| placed(&b.attention.inner.position))
    }

    /// What rotation by the angle 0 makes of queries or keys.
    fn still(&self, layer: usize, x: Option<Tensor>) -> Result<Tensor> {
        let spec = &self.model.spec().blocks[layer].attention.inner;
        let x = clamp(spec, x.ok_or_else(|| Error::compute("what turns was not seen").fault())?)?;
        let Position::Rotary(rotary) = &spec.position else { return Ok(x) };
        match super::scheme::attention_factor(rotary) {
            1.0 => Ok(x),
            factor => {
                let rest = x.dim(2)? - rotary.dims;
                let turning = (x.narrow(2, 0, rotary.dims)? * factor)?;
                Ok(if rest == 0 { turning } else { Tensor::cat(&[turning, x.narrow(2, rotary.dims, rest)?], 2)? })
            }
        }
    }
}

impl Hook for Unplaced<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        use Site::*;
        let position = at.layer.map(|layer| &self.model.spec().blocks[layer].attention.inner.position);
        match position {
            None => at.site == PosEmbed,
            Some(Position::Rotary(_)) => matches!(at.site, Q | K | QNormed | KNormed | RotQ | RotK),
            Some(Position::Alibi) => at.site == AttnScores,
            Some(Position::None) => false,
        }
    }

    fn on(&mut self, at: HookPoint, rows: &Rows, x: Tensor) -> Result<Tensor> {
        let layer = at.layer.unwrap_or(0);
        match at.site {
            Site::PosEmbed => return Ok(x.zeros_like()?),
            Site::Q | Site::QNormed => self.q = Some(x.clone()),
            Site::K | Site::KNormed => self.k = Some(x.clone()),
            Site::RotQ => {
                let q = self.q.take();
                return self.still(layer, q);
            }
            Site::RotK => {
                let k = self.k.take();
                return self.still(layer, k);
            }
            Site::AttnScores => {
                let slopes = &self.model.weights().blocks[layer].scoring.slopes;
                let (h, queries, keys) = x.dims3()?;
                let start = rows.sequences[0].start;
                let apart: Vec<f32> =
                    (0..queries).flat_map(|q| (0..keys).map(move |k| k.abs_diff(start + q) as f32)).collect();
                let apart = Tensor::from_vec(apart, (1, queries, keys), &Device::Cpu)?;
                let slopes =
                    Tensor::new(slopes.as_deref().unwrap_or(&vec![0.0; h]), &Device::Cpu)?.reshape((h, 1, 1))?;
                let penalty = slopes.broadcast_mul(&apart)?.to_device(x.device())?.to_dtype(x.dtype())?;
                // A hidden key's score is minus infinity, and stays so.
                return Ok((x + penalty)?);
            }
            _ => {}
        }
        Ok(x)
    }
}

/// A run of a prompt.
struct Variant {
    name: &'static str,
    prompt: Prompt,
    logits: Vec<f32>,
    /// Which one it is told from.
    from: usize,
}

/// What [`boards`] needs of memory.
pub fn need(model: &Model, prompts: &[Prompt], swapped: bool) -> Need {
    let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
    let runs = if swapped { 2 } else { 1 };
    // Of four runs the logits, and in f64 what is made of two.
    let logits = (4 * size_of::<f32>() + 12 * size_of::<f64>()) * model.spec().unembedding.d_vocab_out;
    // Queries and keys that are kept, and penalties beside scores.
    let kept =
        model.spec().blocks.iter().map(|b| &b.attention.inner).map(|a| 8 * a.n_heads * (a.d_head + longest)).max();
    let bytes = runs * longest * (row_bytes(model.spec()) + kept.unwrap_or(0)) + logits;
    Need { activations: bytes, least: bytes, rows: 0 }
}

/// What tokens spell.
#[derive(Clone, Copy)]
pub struct Spelling<'a> {
    /// One.
    pub token: &'a dyn Fn(u32) -> String,
    /// Several together.
    pub text: &'a dyn Fn(&[u32]) -> String,
}

/// The candidates after a prompt as it is, swapped, and with positions made equal. `top` of each run are shown.
///
/// # Errors
/// Whatever the runs or `emit` say, and when one is not finite.
pub fn boards(
    model: &Model,
    prompt: &Prompt,
    swapped: Option<&Prompt>,
    top: usize,
    words: Spelling<'_>,
    emit: &mut dyn FnMut(PositionBoardRow) -> Result<()>,
) -> Result<()> {
    let mut variants = vec![];
    for (names, hooked) in [(["given", "swapped"], false), (["unplaced", "swapped-unplaced"], true)] {
        if hooked && !Unplaced::exists(model.spec()) {
            continue;
        }
        let prompts: Vec<Prompt> = [Some(prompt), swapped].into_iter().flatten().cloned().collect();
        let first = variants.len();
        for (i, (logits, prompt)) in last_logits(model, &prompts, hooked)?.into_iter().zip(prompts).enumerate() {
            // Swapping is told from what was not swapped, and making equal from the prompt as it is.
            let from = if i == 1 { first } else { 0 };
            variants.push(Variant { name: names[i], prompt, logits, from });
        }
    }
    let chain = Chain::default();
    let pools = (variants.iter())
        .map(|variant| Pool::of(&variant.logits, &chain, Context::default()))
        .collect::<Result<Vec<_>>>()?;
    let mut shown: Vec<u32> = pools.iter().flat_map(|pool| pool.by_rank().into_iter().take(top)).collect();
    shown.sort_unstable();
    shown.dedup();
    for (variant, pool) in variants.iter().zip(&pools) {
        let kl_bits = divergence_bits(&variant.logits, &variants[variant.from].logits);
        let ids = variant.prompt.ids();
        let text = (words.text)(&ids);
        let mut rows: Vec<PositionBoardRow> = (shown.iter())
            .map(|id| PositionBoardRow {
                prompt: prompt.index,
                prompt_id: prompt.id.clone(),
                run: variant.name.to_owned(),
                text: text.clone(),
                tokens: ids.len() as u32,
                rank: pool.rank(*id),
                token: (words.token)(*id),
                token_id: *id,
                logit: variant.logits[*id as usize],
                prob: pool.prob(*id),
                prob_given: pools[0].prob(*id),
                kl_bits,
            })
            .collect();
        rows.sort_by_key(|row| row.rank);
        rows.into_iter().try_for_each(&mut *emit)?;
    }
    Ok(())
}

/// The logits after the last position of each prompt, which run together.
fn last_logits(model: &Model, prompts: &[Prompt], unplaced: bool) -> Result<Vec<Vec<f32>>> {
    let batch = Batch::of(prompts.iter().map(Prompt::ids));
    let last: Vec<u32> = batch.rows().sequences.iter().map(|s| s.rows.end as u32 - 1).collect();
    let run = Run { unembed: Unembed::Rows(last), ..Run::default() };
    let mut hook = Unplaced::of(model);
    let out = match unplaced {
        true => model.run(&batch, &run, &mut [&mut hook])?,
        false => model.run(&batch, &run, &mut [])?,
    };
    let what = if unplaced { " with its positions made equal" } else { "" };
    check_prompts(model, prompts, &out, what)?;
    let all = numbers(out.logits()?)?;
    Ok(all.chunks_exact(all.len() / prompts.len().max(1)).map(<[f32]>::to_vec).collect())
}

/// The KL divergence of the distribution of logits `p` from that of `q`, in f64.
fn divergence_bits(p: &[f32], q: &[f32]) -> f64 {
    let wide = |x: &[f32]| x.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let (p, q) = (wide(p), wide(q));
    let (of_p, of_q) = (log_sum_exp(&p), log_sum_exp(&q));
    let terms = p.iter().zip(&q).map(|(p, q)| (p - of_p, q - of_q)).filter(|(p, _)| *p > f64::NEG_INFINITY);
    let nats: f64 = terms.map(|(p, q)| p.exp() * (p - q)).sum();
    nats.max(0.0) / std::f64::consts::LN_2
}
