//! The same word, further away: scores of a query and a key at every distance.

use candle_core::Tensor;

use super::rows::PositionDecayRow;
use super::scheme::{Product, Scores, kind, reach};
use crate::arch::Spec;
use crate::arch::spec::AddedTo;
use crate::error::{Error, Result};
use crate::hook::{Cache, HookPoint, Site};
use crate::model::{Batch, Model, Run, Unembed, clamp};
use crate::ops::numbers;
use crate::range::{Interval, positions_of};
use crate::sweep::budget::{Budget, Cut};
use crate::sweep::{Need, Watch, check_prompts};
use crate::text::Prompt;

/// What is asked of each prompt.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Heads, as (layer, head), in any order.
    pub heads: Vec<(usize, usize)>,
    /// Positions of queries; negative ones count from the end.
    pub queries: Vec<Interval>,
    /// How far keys are put away; where the model cannot place them so far, as far as it can.
    pub farthest: usize,
    /// What activations may take.
    pub budget: Budget,
}

impl Asked {
    /// Layers with their heads, in order.
    fn layers(&self) -> Vec<(usize, Vec<usize>)> {
        let mut heads = self.heads.clone();
        heads.sort_unstable();
        heads.dedup();
        let layers = heads.chunk_by(|a, b| a.0 == b.0);
        layers.map(|own| (own[0].0, own.iter().map(|(_, head)| *head).collect())).collect()
    }
}

/// Whether a model has learned positions, of which a key is made anew.
fn learned(spec: &Spec) -> Option<AddedTo> {
    spec.embedding.positions.map(|learned| learned.added_to)
}

/// What is recorded of a layer.
fn points(spec: &Spec, layer: usize) -> impl Iterator<Item = HookPoint> {
    let sites = [Site::Q, Site::K, Site::QNormed, Site::KNormed, Site::ResidPre];
    let wanted = move |site: &Site| *site != Site::ResidPre || learned(spec).is_some();
    let of_layer = sites.into_iter().filter(wanted).map(move |site| HookPoint::block(layer, site));
    let normed = learned(spec) == Some(AddedTo::Stream) && spec.embedding.norm.is_some();
    of_layer.filter(|at| at.site.exists(spec, at.layer)).chain(normed.then(|| HookPoint::global(Site::Embed)))
}

/// What [`decay`] needs of memory.
pub fn need(spec: &Spec, prompts: &[Prompt], asked: &Asked) -> Need {
    cut(spec, prompts, asked).need
}

/// Streams that are changed at once, before and after the norm, with the keys that are made of them.
fn at_once(spec: &Spec, asked: &Asked) -> usize {
    Budget(asked.budget.0 / 4).holds(key_bytes(spec)).min(4096)
}

/// Bytes of one of them.
fn key_bytes(spec: &Spec) -> usize {
    let keys = spec.blocks.iter().map(|block| &block.attention.inner).map(|a| a.n_kv_heads * a.d_head).max();
    4 * (5 * spec.d_model + 3 * keys.unwrap_or(0))
}

/// Which prompts run together, and what that needs.
fn cut(spec: &Spec, prompts: &[Prompt], asked: &Asked) -> Cut {
    let layers = asked.layers();
    let width = |(layer, _): &(usize, Vec<usize>)| {
        let a = &spec.blocks[*layer].attention.inner;
        2 * (a.n_heads + a.n_kv_heads) * a.d_head + spec.d_model
    };
    let kept = 4 * (layers.iter().map(width).sum::<usize>() + spec.d_model);
    let longest = prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
    let heads = layers.iter().map(|(_, heads)| heads.len()).max().unwrap_or(0);
    // The scores of one query in one layer, and what is recorded of the layer as numbers.
    let scores = 8 * longest * (asked.farthest + 2) * heads;
    let numbers = layers.iter().map(width).max().unwrap_or(0) * 4 * longest;
    let (one, all) = (key_bytes(spec), at_once(spec, asked) * key_bytes(spec));
    let anew = if learned(spec).is_some() { all } else { 0 };
    let mut cut = asked.budget.prompts(spec, prompts, kept, scores + numbers + anew);
    cut.need.least -= anew.saturating_sub(one);
    cut
}

/// The scores of the queries and keys that are asked for, at every distance.
///
/// # Errors
/// When a prompt lacks a position; whatever the run or `emit` says, and when a run is not finite.
pub fn decay(
    model: &Model,
    prompts: &[Prompt],
    asked: &Asked,
    watch: &dyn Watch,
    emit: &mut dyn FnMut(PositionDecayRow) -> Result<()>,
) -> Result<()> {
    let (spec, layers) = (model.spec(), asked.layers());
    let Some((last, _)) = layers.last() else { return Ok(()) };
    for prompt in prompts {
        positions_of("the prompt", &asked.queries, prompt.tokens.len())?;
    }
    for wave in cut(spec, prompts, asked).waves {
        watch.at(wave.start, prompts.len())?;
        let prompts = &prompts[wave];
        let mut seen = Cache::of(layers.iter().flat_map(|(layer, _)| points(spec, *layer)));
        let run = Run { until: Some(last + 1), unembed: Unembed::Nothing, ..Run::default() };
        let out = model.run(&Batch::of(prompts.iter().map(Prompt::ids)), &run, &mut [&mut seen])?;
        check_prompts(model, prompts, &out, "")?;
        for (prompt, sequence) in prompts.iter().zip(&out.rows.sequences) {
            let queries = positions_of("the prompt", &asked.queries, prompt.tokens.len())?;
            for (layer, heads) in &layers {
                let own = |at: HookPoint| of_sequence(&seen, at, |x| sequence.of(x));
                let block = Block::of(model, *layer, &own)?;
                for query in &queries {
                    block.query(prompt, *query, heads, asked, emit)?;
                }
            }
        }
    }
    watch.at(prompts.len(), prompts.len())
}

/// What was recorded at a point, of one sequence.
fn of_sequence(seen: &Cache, at: HookPoint, of: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Option<Tensor>> {
    let found = seen.iter().find(|(point, _)| *point == at).and_then(|(_, all)| all.first());
    found.map(of).transpose()
}

/// What one block of one prompt scores with.
struct Block<'a> {
    model: &'a Model,
    layer: usize,
    /// `[t, h, e]` and `[t, g, e]`, after their norms, before rotation.
    q: Vec<f32>,
    k: Vec<f32>,
    moved: Option<Moved>,
}

/// What keys are made anew of.
struct Moved {
    /// The stream before the block, `[t, d]`.
    resid: Tensor,
    /// Token embeddings `[t, d]`, where a norm comes after positions are added to them.
    embed: Option<Tensor>,
    added_to: AddedTo,
}

impl<'a> Block<'a> {
    fn of(model: &'a Model, layer: usize, own: &dyn Fn(HookPoint) -> Result<Option<Tensor>>) -> Result<Self> {
        let spec = &model.spec().blocks[layer].attention.inner;
        let at = |site| own(HookPoint::block(layer, site));
        let read = |normed, plain| {
            let x = at(normed)?.map_or_else(|| at(plain), |x| Ok(Some(x)))?;
            numbers(&clamp(spec, x.ok_or_else(|| unseen(plain))?)?)
        };
        let moved = learned(model.spec()).map(|added_to| {
            let resid = at(Site::ResidPre)?.ok_or_else(|| unseen(Site::ResidPre))?;
            Ok::<_, Error>(Moved { resid, embed: own(HookPoint::global(Site::Embed))?, added_to })
        });
        let (q, k) = (read(Site::QNormed, Site::Q)?, read(Site::KNormed, Site::K)?);
        Ok(Self { model, layer, q, k, moved: moved.transpose()? })
    }

    /// The rows of one query.
    fn query(
        &self,
        prompt: &Prompt,
        query: usize,
        heads: &[usize],
        asked: &Asked,
        emit: &mut dyn FnMut(PositionDecayRow) -> Result<()>,
    ) -> Result<()> {
        let (n, kind) = (prompt.tokens.len(), kind(self.model.spec(), self.layer));
        let scoring = &self.model.weights().blocks[self.layer].scoring;
        let visible = scoring.visible(query, n);
        let keys: Vec<usize> = (visible.start..visible.end.min(query + 1)).collect();
        let up_to = reach(self.model.spec(), self.layer, query, asked.farthest);
        // Each key and distance, in the order of the rows; the key's own distance is there however far it is.
        let places: Vec<(usize, usize)> = (keys.iter())
            .flat_map(|key| {
                let own = query - key;
                (0..=up_to).chain((own > up_to).then_some(own)).map(|distance| (*key, distance))
            })
            .collect();
        let scores = self.scores(query, heads, &places, (at_once(self.model.spec(), asked), up_to))?;
        for (head, scores) in heads.iter().zip(scores) {
            for ((key, distance), score) in places.iter().zip(scores) {
                emit(PositionDecayRow {
                    prompt: prompt.index,
                    prompt_id: prompt.id.clone(),
                    layer: self.layer as u32,
                    head: *head as u32,
                    kind: kind.to_owned(),
                    query_pos: query as u32,
                    query_token: prompt.label(query).to_owned(),
                    key_pos: *key as u32,
                    key_token: prompt.label(*key).to_owned(),
                    distance: *distance as u32,
                    score,
                    own: query - key == *distance,
                })?;
            }
        }
        Ok(())
    }

    /// For each head the score of each key at each distance, most of which are up to `often`. `some` keys are made anew at once.
    fn scores(
        &self,
        query: usize,
        heads: &[usize],
        places: &[(usize, usize)],
        (some, often): (usize, usize),
    ) -> Result<Vec<Vec<f64>>> {
        let spec = &self.model.spec().blocks[self.layer].attention.inner;
        let (e, h, g) = (spec.d_head, spec.n_heads, spec.n_kv_heads);
        let made = Scores::of(spec, &self.model.weights().blocks[self.layer].scoring, often);
        let mut scores = vec![Vec::with_capacity(places.len()); heads.len()];
        for places in places.chunks(some) {
            let anew = self.moved.as_ref().map(|moved| self.keys(moved, query, places)).transpose()?;
            for (head, scores) in heads.iter().zip(&mut scores) {
                let q = &self.q[(query * h + head) * e..][..e];
                // Row `i` of some keys, as this head reads it.
                let row =
                    |keys: &'_ [f32], i: usize| made.product(q, &keys[(i * g + head / spec.shared_by()) * e..][..e]);
                let mut known: Option<(usize, Product)> = None;
                for (i, (key, distance)) in places.iter().enumerate() {
                    // Where it stands, the key is the run's own.
                    if let Some(anew) = anew.as_ref().filter(|_| query - key != *distance) {
                        scores.push(made.at(*head, &row(anew, i), *distance));
                        continue;
                    }
                    if known.as_ref().is_some_and(|(of, _)| of != key) {
                        known = None;
                    }
                    let (_, product) = known.get_or_insert_with(|| (*key, row(&self.k, *key)));
                    scores.push(made.at(*head, product, *distance));
                }
            }
        }
        Ok(scores)
    }

    /// Keys `[places, g, e]` made anew, each as if its position were so far before the query.
    fn keys(&self, moved: &Moved, query: usize, places: &[(usize, usize)]) -> Result<Vec<f32>> {
        let (model, device) = (self.model, moved.resid.device());
        let table = model.weights().positions.as_ref().ok_or_else(|| unseen(Site::PosEmbed))?;
        let offset = model.spec().embedding.positions.map_or(0, |learned| learned.offset);
        let picked = |from: &Tensor, rows: &dyn Fn(&(usize, usize)) -> usize| {
            let rows: Vec<u32> = places.iter().map(|place| rows(place) as u32).collect();
            Ok::<_, Error>(from.index_select(&Tensor::new(rows, device)?, 0)?)
        };
        let (is, becomes) =
            (picked(table, &|(key, _)| key + offset)?, picked(table, &|(_, distance)| query - distance + offset)?);
        let resid = picked(&moved.resid, &|(key, _)| *key)?;
        let (resid, beside) = match moved.added_to {
            AddedTo::QueriesAndKeys => (resid, Some(becomes)),
            AddedTo::Stream => {
                let (from, to) = match &moved.embed {
                    None => (is, becomes),
                    Some(embed) => {
                        let embed = picked(embed, &|(key, _)| *key)?;
                        let written = |positions: Tensor| model.embedding_write(model.kernels(), (&embed + positions)?);
                        (written(is)?, written(becomes)?)
                    }
                };
                ((resid + (to - from)?)?, None)
            }
        };
        let spec = &model.spec().blocks[self.layer].attention.inner;
        let site = if spec.qk_norm.is_some() { Site::KNormed } else { Site::K };
        numbers(&clamp(spec, model.project(self.layer, site, &resid, beside.as_ref())?)?)
    }
}

fn unseen(site: Site) -> Error {
    Error::compute(format!("{} was not seen", site.short())).fault()
}
