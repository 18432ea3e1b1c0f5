//! What a token has become in a prompt, and which tokens are near that.

use candle_core::Tensor;

use super::{EmbedNeighborRow, Embeddings, Query, Spell, nearest, row};
use crate::arch::Spec;
use crate::error::{Error, Result};
use crate::hook::{Cache, HookPoint, Site};
use crate::model::{Batch, Model, Run, Unembed};
use crate::ops::numbers;
use crate::sweep::{check_prompts, row_bytes};
use crate::table::visible;
use crate::text::Prompt;

/// Bytes that the run of the prompt takes.
pub(super) fn need(spec: &Spec, prompt: &Prompt) -> usize {
    prompt.tokens.len() * (row_bytes(spec) + 2 * 4 * spec.d_model)
}

/// Where tokens stand in a prompt, each with all of its places.
///
/// # Errors
/// When one is nowhere.
pub(super) fn places(prompt: &Prompt, tokens: &[u32], spell: Spell<'_>) -> Result<Vec<(u32, Vec<usize>)>> {
    let place = |token: &u32| {
        let at: Vec<usize> = (0..prompt.tokens.len()).filter(|i| prompt.tokens[*i].id == *token).collect();
        if !at.is_empty() {
            return Ok((*token, at));
        }
        let shown: Vec<String> = prompt.tokens.iter().take(12).map(|t| format!("\"{}\"", visible(&t.text))).collect();
        let more = if prompt.tokens.len() > shown.len() { " ..." } else { "" };
        let word = visible(&spell(*token));
        Err(Error::bad_input(format!("\"{word}\" is not in the context, whose tokens are {}{more}", shown.join(" ")))
            .hint("give a word as it stands there, with its space and case, or a context that has it"))
    };
    tokens.iter().map(place).collect()
}

/// The `n` nearest neighbours of the stream at each place of each token of a prompt, before the first block and after the last.
///
/// # Errors
/// When a token is not in the prompt, or the run is not finite; what `emit` says.
pub fn streams(
    model: &Model,
    of: &Embeddings,
    (prompt, tokens): (&Prompt, &[u32]),
    (n, seed): (usize, u64),
    spell: Spell<'_>,
    emit: &mut dyn FnMut(Vec<EmbedNeighborRow>) -> Result<()>,
) -> Result<()> {
    let places = places(prompt, tokens, spell)?;
    let first = HookPoint::block(0, Site::ResidPre);
    let mut cache = Cache::of([first]);
    let run = Run { unembed: Unembed::Nothing, ..Run::default() };
    let out = model.run(&Batch::one(prompt.ids()), &run, &mut [&mut cache])?;
    check_prompts(model, std::slice::from_ref(prompt), &out, "")?;
    // What is read before the first block is a row of the embedding but for its factor, unless a norm comes between.
    let spec = model.spec();
    let factor = spec.embedding.scale.filter(|scale| *scale != 0.0).unwrap_or(1.0);
    let streams = [(0, cache.get(&first.to_string())?), (spec.n_layers(), &out.resid)];
    for (token, places) in places {
        for pos in places {
            let mut found = vec![];
            for (layer, stream) in streams {
                let is_row = layer == 0 && spec.embedding.norm.is_none();
                let mut vector = at(stream, pos)?;
                if is_row {
                    vector.iter_mut().for_each(|x| *x /= factor);
                }
                for space in of.spaces() {
                    let query = [Query { vector: vector.clone(), own: is_row && space.space == "embed" }];
                    let random = space.draws(&vector, seed)?;
                    for beside in space.beside(&query)? {
                        let near = nearest(space, &beside, n, None).into_iter().enumerate();
                        found.extend(near.map(|(rank, i)| EmbedNeighborRow {
                            layer: Some(layer as u32),
                            pos: Some(pos as u32),
                            ..row(space, (token, rank, i), &beside, &random, spell)
                        }));
                    }
                }
            }
            emit(found)?;
        }
    }
    Ok(())
}

fn at(stream: &Tensor, pos: usize) -> Result<Vec<f64>> {
    Ok(numbers(&stream.narrow(0, pos, 1)?)?.into_iter().map(f64::from).collect())
}
