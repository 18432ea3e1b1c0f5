//! What the configuration alone says of positions: of each block its kind, of each pair of dimensions how fast it turns, of each head what
//! distance costs.

use std::f64::consts::TAU;

use super::rows::{PositionAlibiRow, PositionLayerRow, PositionRotaryRow};
use super::scheme::{attention_factor, context, dimensions, kind, scaling_name};
use crate::arch::Spec;
use crate::arch::spec::{Mask, Position};
use crate::model::Model;
use crate::ops::rotary::frequencies;
use crate::text::Prompt;

/// How many positions a learned table has, where there is one.
pub(super) fn learned_positions(spec: &Spec) -> Option<usize> {
    spec.embedding.positions.and_then(|_| context(spec))
}

/// How each block knows positions.
pub fn layers(spec: &Spec) -> Vec<PositionLayerRow> {
    let row = |layer: usize| {
        let a = &spec.blocks[layer].attention.inner;
        let (mask, window) = match a.mask {
            Mask::Causal => ("causal", None),
            Mask::Window(n) => ("window", Some(n as u32)),
            Mask::Bidirectional => ("bidirectional", None),
        };
        let rotary = match &a.position {
            Position::Rotary(rotary) => Some(rotary),
            Position::Alibi | Position::None => None,
        };
        PositionLayerRow {
            layer: layer as u32,
            kind: kind(spec, layer).to_owned(),
            mask: mask.to_owned(),
            window,
            context: context(spec).map(|n| n as u32),
            d_head: a.d_head as u32,
            rotated: rotary.map(|rotary| rotary.dims as u32),
            theta: rotary.map(|rotary| rotary.theta),
            scaling: rotary.map(|rotary| scaling_name(&rotary.scaling).to_owned()),
            attention_factor: rotary.map(attention_factor),
        }
    };
    (0..spec.n_layers()).map(row).collect()
}

/// The same in a sentence: each kind with how many blocks have it.
pub fn said(spec: &Spec) -> String {
    let mut kinds: Vec<(&str, usize)> = vec![];
    for layer in 0..spec.n_layers() {
        let kind = kind(spec, layer);
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, n)) => *n += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let one = kinds.len() == 1;
    let words = |(kind, n): &(&str, usize)| {
        let what = match *kind {
            "learned" => "a learned vector for each position is added to the stream, once",
            "learned-qk" => "a learned vector for each position is added to what queries and keys read, in every block",
            "rotary" => "queries and keys turn by an angle for each position (rotary)",
            "alibi" => "scores lose a slope for each position of distance (ALiBi)",
            _ => {
                "attention knows no positions: what is left is the mask, by which the first position sees one key and the second two"
            }
        };
        if one { what.to_owned() } else { format!("in {n} blocks {what}") }
    };
    format!("positions: {}", kinds.iter().map(words).collect::<Vec<_>>().join("; "))
}

/// How fast each pair of dimensions of each block turns, and how far over a prompt.
pub fn rotary(spec: &Spec, prompt: &Prompt) -> Vec<PositionRotaryRow> {
    let mut rows = vec![];
    for (layer, block) in spec.blocks.iter().enumerate() {
        let Position::Rotary(rotary) = &block.attention.inner.position else { continue };
        for (pair, angle) in frequencies(rotary).into_iter().map(f64::from).enumerate() {
            let (dim_a, dim_b) = dimensions(rotary, pair);
            let turns = |positions: usize| positions.saturating_sub(1) as f64 * angle / TAU;
            rows.push(PositionRotaryRow {
                prompt: prompt.index,
                prompt_id: prompt.id.clone(),
                layer: layer as u32,
                pair: pair as u32,
                dim_a: dim_a as u32,
                dim_b: dim_b as u32,
                angle,
                angle_unscaled: rotary.theta.powf(-((2 * pair) as f64) / rotary.dims as f64),
                wavelength: TAU / angle,
                turns_prompt: turns(prompt.tokens.len()),
                turns_context: context(spec).map(turns),
            });
        }
    }
    rows
}

/// What each head of each block loses at each distance up to `farthest`.
pub fn alibi(model: &Model, farthest: usize) -> Vec<PositionAlibiRow> {
    let within = context(model.spec()).map_or(farthest, |n| farthest.min(n - 1));
    let mut rows = vec![];
    for (layer, block) in model.weights().blocks.iter().enumerate() {
        for (head, slope) in block.scoring.slopes.iter().flatten().map(|slope| f64::from(*slope)).enumerate() {
            rows.extend((0..=within).map(|distance| {
                let penalty = slope * distance as f64;
                PositionAlibiRow {
                    layer: layer as u32,
                    head: head as u32,
                    slope,
                    distance_e: 1.0 / slope,
                    distance: distance as u32,
                    penalty,
                    tie: (-penalty).exp(),
                }
            }));
        }
    }
    rows
}
