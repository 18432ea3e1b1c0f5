//! The logit lens: what would the model say if it stopped here?
//!
//! A value of the residual stream at some layer goes through the final norm and the unembedding as if it were the
//! last (nostalgebraist 2020, "interpreting GPT: the logit lens"). At the last `resid_post` that is the model itself.
//! For `attn_out` and `mlp_out`, one sublayer's write is decoded alone.

mod mean;
mod mean_view;
mod options;
pub mod rows;
pub(super) mod stream;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;
use rayon::prelude::*;

use super::{Need, Watch};
use crate::analysis::LensRow;
use crate::arch::Spec;
use crate::error::{Error, Result, said};
use crate::hook::site::{Axis, Role};
use crate::hook::{Cache, HookPoint, Site};
use crate::model::{Batch, Model, Output, Run, Unembed};
use crate::ops::{numbers, values};
use crate::range::{Interval, among, count, positions_of};
use crate::session::Target;
use crate::sweep::budget::{Budget, Cut};
use crate::sweep::{Shard, check_prompts, not_finite, row_bytes};
use crate::text::Prompt;
use stream::Reading;

pub use options::Lens;

/// What to decode, and how much of it to keep.
#[derive(Clone, Copy, Debug)]
pub struct Decoding<'a> {
    /// What was asked.
    pub options: &'a Lens,
    /// How many tokens to keep for each hook and position.
    pub top: usize,
    /// Of each prompt the token to report wherever it ranks, and the one that it is compared with; empty where there are none.
    pub targets: &'a [Target],
    /// What activations and logits may take.
    pub budget: Budget,
    /// Which blocks of prompts are decoded.
    pub shard: Shard,
}

impl<'a> Decoding<'a> {
    /// What `options` ask of a model, with the tokens that are followed after each prompt, if there are any.
    pub fn new(spec: &Spec, options: &'a Lens, targets: &'a [Target], budget: Budget) -> Self {
        let top = options.top.unwrap_or_else(|| TOP.min(spec.unembedding.d_vocab_out));
        Self { options, top, targets, budget, shard: Shard::default() }
    }
}

/// Tokens that are kept, where nobody says how many.
const TOP: usize = 5;

/// Rows that are decoded together: enough for the product with the unembedding to run at full speed.
pub(super) const ROWS: usize = 2048;
/// Bytes of the tile of logits that is held at once. It should stay in a cache.
const TILE_BYTES: usize = 8 << 20;
/// Tokens of a tile, at least.
const LEAST_TILE: usize = 256;

/// Bytes of a tile where the budget is small: it is made twice where logits have a factor or a cap.
fn tile_bytes(budget: Budget) -> usize {
    TILE_BYTES.min(budget.0 / 8)
}

/// Decodes every prompt at every chosen point and position. `spell` gives a token's text.
///
/// Rows go to `emit` in the order prompt, hook, position, rank. Logits exist for a tile of the vocabulary at a
/// time: layers x positions x vocabulary is never in memory, and the unembedding is read once for all layers.
///
/// # Errors
/// Sites that are not of the stream's width, positions that no prompt has, logits that are not finite.
pub fn lens(
    model: &Model,
    prompts: &[Prompt],
    spell: &dyn Fn(u32) -> String,
    options: &Decoding,
    watch: &dyn Watch,
    emit: &mut dyn FnMut(LensRow) -> Result<()>,
) -> Result<()> {
    let spec = model.spec();
    let points = options.options.points(spec)?;
    if let Some(point) =
        points.iter().find(|p| p.site.info().axes != [Axis::T, Axis::D] || p.site.info().role == Role::Normalized)
    {
        return Err(Error::bad_input(format!("the lens cannot decode {point}, which is not written to the stream"))
            .hint("it decodes resid_pre, resid_mid, resid_post, attn_out, mlp_out, hook_embed and hook_pos_embed"));
    }
    let d_vocab = spec.unembedding.d_vocab_out;
    if options.top == 0 || options.top > d_vocab {
        return Err(Error::bad_input(format!("the lens can keep 1 to {d_vocab} tokens, not {}", options.top))
            .hint(said("{top} takes the number of tokens to keep at each hook and position")));
    }
    check_positions(prompts, options.options.pos.as_deref().unwrap_or_default())?;
    let mut done = 0;
    let own = prompts.iter().enumerate().filter(|(i, _)| options.shard.measures(*i));
    let total: usize = own.map(|(_, prompt)| prompt.tokens.len()).sum();
    let waves = cut(spec, prompts, options, points.len()).waves;
    for wave in waves.into_iter().filter(|wave| options.shard.measures(wave.start)) {
        let targets = options.targets.get(wave.clone()).unwrap_or_default();
        let (prompts, options) = (&prompts[wave], &Decoding { targets, ..*options });
        let mut cache = Cache::of(points.iter().copied());
        let run = Run { unembed: Unembed::Nothing, ..Run::default() };
        let out = model.run(&Batch::of(prompts.iter().map(Prompt::ids)), &run, &mut [&mut cache])?;
        check_prompts(model, prompts, &out, "")?;
        let rows = chosen_rows(&out, options.options.pos.as_deref())?;
        let streams = Streams::new(model, &points, &cache, &out)?;
        let telling = Telling { points: &points, prompts, spell, options };
        let of_prompts = || rows.chunk_by(|a, b| a.prompt == b.prompt);
        if of_prompts().any(|own| tops_bytes(own.len() * points.len(), options) > found_bytes(options)) {
            // Rows come hook by hook, so that this much cannot be kept of all positions: it is read so often.
            for own in of_prompts() {
                let some = (found_bytes(options) / tops_bytes(2, options)).clamp(1, ROWS / 2);
                for (order, rows) in (0..points.len()).flat_map(|order| own.chunks(some).map(move |rows| (order, rows)))
                {
                    watch.at(done, total)?;
                    let found = streams.read(model, (prompts, &points), rows, order..order + 1, options)?;
                    found.iter().try_for_each(|found| telling.rows(found, emit))?;
                }
                done += own.len();
            }
            continue;
        }
        // All points of a position are decoded together, because each is compared with the model's own.
        let (mut found, together): (Vec<Decoded>, _) = (vec![], (ROWS / streams.decoded.len()).max(1));
        for (i, chunk) in rows.chunks(together).enumerate() {
            watch.at(done, total)?;
            found.extend(streams.read(model, (prompts, &points), chunk, 0..points.len(), options)?);
            done += chunk.len();
            // The next rows may be of the same prompt, and those of its first hook come before all others.
            let open = rows.get((i + 1) * together).map(|next| next.prompt);
            let (mut whole, rest): (Vec<_>, Vec<_>) = found.into_iter().partition(|f| Some(f.row.prompt) != open);
            whole.sort_by_key(|f| (f.row.prompt, f.order, f.row.pos));
            whole.iter().try_for_each(|found| telling.rows(found, emit))?;
            found = rest;
        }
    }
    watch.at(total, total)
}

/// What [`lens`] needs of memory. `figure` says what a figure of so many cells takes while it is drawn.
///
/// # Errors
/// Hooks or layers that the model does not have.
pub fn need(spec: &Spec, prompts: &[Prompt], options: &Decoding, figure: impl Fn(usize) -> usize) -> Result<Need> {
    let n = options.options.points(spec)?.len();
    Ok(Need { rows: figure(cells(prompts, options, n)), ..cut(spec, prompts, options, n).need })
}

/// Distributions of a prompt at `n` hooks: of the prompt that has most.
fn cells(prompts: &[Prompt], options: &Decoding, n: usize) -> usize {
    let positions = |p: &Prompt| count(options.options.pos.as_deref(), p.tokens.len());
    n * prompts.iter().map(positions).max().unwrap_or(0)
}

/// Which prompts run together where `n` hooks are decoded, and what that needs.
fn cut(spec: &Spec, prompts: &[Prompt], options: &Decoding, n: usize) -> Cut {
    // The rows that are decoded together, before and after the norm, and a tile of logits.
    let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
    let decoded = ((n + 1) * longest).min(ROWS.max(n + 1));
    let (tile, least_tile) = tiles_need(spec, decoded, options.budget);
    let cells = cells(prompts, options, n);
    // What was found of one prompt, and of the rows that are decoded together.
    let tops = tops_bytes(cells, options);
    let least_tops = tops.min(tops_bytes(2, options));
    let tops = tops.min(found_bytes(options).max(least_tops));
    let found = (cells + decoded) * size_of::<Decoded>() + 2 * tops;
    let beside = 2 * size_of::<f32>() * decoded * spec.d_model + tile + found;
    let row = 4 * spec.d_model * n + row_bytes(spec);
    let sizes: Vec<usize> = prompts.iter().map(|prompt| prompt.tokens.len() * row).collect();
    let mut cut = options.budget.cut_packs(&sizes, beside);
    cut.need.least -= (tile - least_tile) + 2 * (tops - least_tops);
    cut
}

/// Bytes for the most probable tokens that are kept of a prompt.
fn found_bytes(options: &Decoding) -> usize {
    options.budget.0 / 4
}

/// Bytes of the most probable tokens of so many distributions. While they are looked for, there are twice as many.
fn tops_bytes(distributions: usize, options: &Decoding) -> usize {
    distributions.saturating_mul(2 * options.top * size_of::<(u32, f32)>())
}

/// Refuses a position that some prompt does not have, before any of them is run.
pub(super) fn check_positions(prompts: &[Prompt], positions: &[Interval]) -> Result<()> {
    for prompt in prompts {
        let n = prompt.tokens.len();
        if let Err(p) = among(positions, n) {
            return Err(Error::no_such(format!("prompt {} has {n} tokens, and there is no position {p}", prompt.id))
                .hint("positions count from 0, or from the end with -1"));
        }
    }
    Ok(())
}

/// A row of the pack and what it is.
#[derive(Clone, Copy)]
pub(super) struct ChosenRow {
    pub row: u32,
    /// Index within the wave.
    pub prompt: usize,
    pub pos: usize,
}

pub(super) fn chosen_rows(out: &Output, positions: Option<&[Interval]>) -> Result<Vec<ChosenRow>> {
    let mut chosen = vec![];
    for s in &out.rows.sequences {
        let at = positions_of("the prompt", positions.unwrap_or(&[Interval::ALL]), s.rows.len())?;
        chosen.extend(at.into_iter().map(|pos| ChosenRow { row: (s.rows.start + pos) as u32, prompt: s.index, pos }));
    }
    Ok(chosen)
}

/// The streams `[t, d]` of a wave that are decoded, the model's own output first.
struct Streams<'a> {
    decoded: Vec<&'a Tensor>,
    /// For each point its place in `decoded`. The last `resid_post` is the model's own output.
    place: Vec<usize>,
}

/// What the lens found at one hook and row.
struct Decoded {
    order: usize,
    row: ChosenRow,
    reading: Reading,
    kl_to_final_bits: f32,
}

impl<'a> Streams<'a> {
    fn new(model: &Model, points: &[HookPoint], cache: &'a Cache, out: &'a Output) -> Result<Self> {
        let last = HookPoint::block(model.spec().n_layers() - 1, Site::ResidPost);
        let mut decoded = vec![&out.resid];
        let mut place = vec![];
        for point in points {
            if *point == last {
                place.push(0);
            } else {
                place.push(decoded.len());
                decoded.push(cache.get(&point.to_string())?);
            }
        }
        Ok(Self { decoded, place })
    }

    /// Reads the distributions of `rows` at the points `wanted`, tile by tile of the vocabulary.
    fn read(
        &self,
        model: &Model,
        (prompts, points): (&[Prompt], &[HookPoint]),
        rows: &[ChosenRow],
        wanted: Range<usize>,
        options: &Decoding,
    ) -> Result<Vec<Decoded>> {
        let ids = Tensor::new(rows.iter().map(|r| r.row).collect::<Vec<_>>(), model.device())?;
        // The model's own first, with which all others are compared.
        let others = wanted.clone().map(|order| self.place[order]).filter(|place| *place != 0);
        let decoded: Vec<usize> = std::iter::once(0).chain(others).collect();
        let own_is_wanted = wanted.clone().any(|order| self.place[order] == 0);
        let picked = decoded.iter().map(|i| self.decoded[*i].index_select(&ids, 0)).collect::<Result<Vec<_>, _>>()?;
        let top = |place: usize| if place > 0 || own_is_wanted { options.top } else { 0 };
        let of = |row: &ChosenRow| options.targets.get(row.prompt).copied().unwrap_or_default();
        let targets: Vec<Target> = rows.iter().map(of).collect();
        let readings = readings(model, &picked, top, &targets, options.budget)?;
        let mut found = vec![];
        for (row, mut readings) in rows.iter().zip(readings) {
            // The last first, so that each can be taken away from the others.
            for order in wanted.clone().rev() {
                let own = self.place[order] == 0;
                let reading = match own {
                    true => readings[0].clone(),
                    false => readings.pop().ok_or_else(|| Error::compute("a distribution was not read").fault())?,
                };
                if !reading.log_total().is_finite() {
                    let (id, point) = (&prompts[row.prompt].id, points[order]);
                    let what = format!("the lens at {point}, position {} of prompt \"{id}\",", row.pos);
                    return Err(not_finite(&what, None));
                }
                let kl_to_final_bits = if own { 0.0 } else { reading.kl_bits(&readings[0]) };
                found.push(Decoded { order, row: *row, reading: reading.finished(), kl_to_final_bits });
            }
        }
        found.sort_by_key(|f| (f.row.prompt, f.order, f.row.pos));
        Ok(found)
    }
}

/// Reads the distributions of streams `[rows, d]`, the model's own first, tile by tile of the vocabulary: for each row those of all
/// streams. `top` says how many tokens are kept of a stream, `targets` of which token of a row the rank is wanted, and beside which other.
///
/// # Errors
/// Whatever the model says.
pub(super) fn readings(
    model: &Model,
    streams: &[Tensor],
    top: impl Fn(usize) -> usize,
    targets: &[Target],
    budget: Budget,
) -> Result<Vec<Vec<Reading>>> {
    let x = model.normalize(&Tensor::cat(streams, 0)?)?;
    let (n, n_rows) = (streams.len(), targets.len());
    let wanted = targets.iter().flat_map(|words| [words.target, words.foil]).flatten();
    let mut logits: BTreeMap<u32, Vec<f32>> = wanted.map(|id| (id, vec![])).collect();
    for (id, logits) in &mut logits {
        *logits = numbers(&model.decode_tokens(&x, *id as usize..*id as usize + 1)?)?;
    }
    // readings[row][place], so that one task has all of a row.
    let mut readings: Vec<Vec<Reading>> = (targets.iter().enumerate())
        .map(|(r, words)| {
            let logit = |id: u32, p: usize| logits[&id][p * n_rows + r];
            let target = |p: usize| words.target.map(|id| (id, logit(id, p)));
            let foil = |p: usize| words.foil.map(|id| logit(id, p));
            (0..n).map(|p| Reading::new(top(p), target(p)).beside(foil(p))).collect()
        })
        .collect();
    in_tiles(model, &x, budget, &mut |first, width, logits| {
        readings.par_iter_mut().enumerate().for_each(|(r, readings)| {
            let of = |place: usize| &logits[(place * n_rows + r) * width..][..width];
            let own = readings[0].own(of(0));
            for (place, reading) in readings.iter_mut().enumerate() {
                reading.take(first, of(place), &own);
            }
        });
    })?;
    Ok(readings)
}

/// Gives the logits of normalized rows `[rows, d]` to `take`, tile by tile of the vocabulary: the tile's first token, its width, and the
/// logits `[rows, width]`.
///
/// # Errors
/// Whatever the model says.
pub(super) fn in_tiles(
    model: &Model,
    x: &Tensor,
    budget: Budget,
    take: &mut dyn FnMut(usize, usize, &[f32]),
) -> Result<()> {
    for tile in tiles(model.spec().unembedding.d_vocab_out, x.dim(0)?, budget) {
        let first = tile.start;
        let tile = model.decode_tokens(x, tile)?;
        let tile = tile.to_device(&candle_core::Device::Cpu)?.to_dtype(candle_core::DType::F32)?;
        take(first, tile.dim(1)?, &values(&tile)?);
    }
    Ok(())
}

/// Tiles of the vocabulary, of which so many rows of logits are held at once.
pub(super) fn tiles(d_vocab: usize, rows: usize, budget: Budget) -> impl Iterator<Item = Range<usize>> {
    let width = (tile_bytes(budget) / (4 * rows)).clamp(LEAST_TILE, d_vocab.max(LEAST_TILE)) / 64 * 64;
    (0..d_vocab).step_by(width).map(move |first| first..(first + width).min(d_vocab))
}

/// Bytes of a tile of logits of so many rows, and the least that they can be. It is made twice where logits have a factor or a cap.
pub(super) fn tiles_need(spec: &Spec, rows: usize, budget: Budget) -> (usize, usize) {
    let d_vocab = spec.unembedding.d_vocab_out;
    let least = 2 * 4 * rows * d_vocab.min(LEAST_TILE);
    ((2 * tile_bytes(budget).min(4 * rows * d_vocab)).max(least), least)
}

/// Makes rows of what was found.
struct Telling<'a> {
    points: &'a [HookPoint],
    prompts: &'a [Prompt],
    spell: &'a dyn Fn(u32) -> String,
    options: &'a Decoding<'a>,
}

impl Telling<'_> {
    fn rows(&self, found: &Decoded, emit: &mut dyn FnMut(LensRow) -> Result<()>) -> Result<()> {
        let Decoded { order, row, reading, kl_to_final_bits } = found;
        let (prompt, target, foil) = (&self.prompts[row.prompt], reading.target(), reading.foil());
        let Target { target: target_id, foil: foil_id } =
            self.options.targets.get(row.prompt).copied().unwrap_or_default();
        let (pos, point) = (row.pos, self.points[*order]);
        let next = prompt.tokens.get(pos + 1);
        let log_total = reading.log_total();
        let prob = |logit: f32| (logit - log_total).exp();
        for (i, (id, logit)) in reading.top().iter().enumerate() {
            emit(LensRow {
                prompt: prompt.index,
                prompt_id: prompt.id.clone(),
                hook: point.to_string(),
                layer: point.layer.map(|l| l as u32),
                pos: pos as u32,
                input_token: prompt.tokens[pos].text.clone(),
                input_token_id: prompt.tokens[pos].id,
                next_token: next.map(|t| t.text.clone()),
                next_token_id: next.map(|t| t.id),
                rank: i as u32 + 1,
                token: (self.spell)(*id),
                token_id: *id,
                logit: *logit,
                prob: prob(*logit),
                entropy_bits: reading.entropy_bits(),
                kl_to_final_bits: *kl_to_final_bits,
                target: target_id.map(self.spell),
                target_id,
                target_rank: target.map(|(rank, _)| rank),
                target_logit: target.map(|(_, logit)| logit),
                target_prob: target.map(|(_, logit)| prob(logit)),
                foil: foil_id.map(self.spell),
                foil_id,
                foil_logit: foil,
                foil_prob: foil.map(prob),
                logit_diff: target.zip(foil).map(|((_, logit), foil)| logit - foil),
            })?;
        }
        Ok(())
    }
}
