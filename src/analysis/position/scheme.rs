//! How a block knows positions, and what a score is at a distance.

use crate::arch::Spec;
use crate::arch::spec::{AddedTo, Attention, LearnedPositions, Mask, Pairing, Position, RopeScaling, Rotary};
use crate::ops::attention::Scoring;
use crate::ops::rotary::frequencies;

/// What cosines and sines are multiplied by.
pub(super) fn attention_factor(rotary: &Rotary) -> f64 {
    match rotary.scaling {
        RopeScaling::Yarn { attention_factor, .. } => attention_factor,
        RopeScaling::None | RopeScaling::Linear { .. } | RopeScaling::Llama3 { .. } => 1.0,
    }
}

/// The name of a scaling.
pub(super) fn scaling_name(scaling: &RopeScaling) -> &'static str {
    match scaling {
        RopeScaling::None => "none",
        RopeScaling::Linear { .. } => "linear",
        RopeScaling::Llama3 { .. } => "llama3",
        RopeScaling::Yarn { .. } => "yarn",
    }
}

/// The two dimensions of pair `i`.
pub(super) fn dimensions(rotary: &Rotary, i: usize) -> (usize, usize) {
    match rotary.pairing {
        Pairing::Halves => (i, i + rotary.dims / 2),
        Pairing::Adjacent => (2 * i, 2 * i + 1),
    }
}

/// How a block knows positions: from its own attention, or from vectors that are learned.
pub(super) fn kind(spec: &Spec, layer: usize) -> &'static str {
    match (&spec.blocks[layer].attention.inner.position, spec.embedding.positions) {
        (Position::Rotary(_), _) => "rotary",
        (Position::Alibi, _) => "alibi",
        (Position::None, Some(LearnedPositions { added_to: AddedTo::Stream, .. })) => "learned",
        (Position::None, Some(LearnedPositions { added_to: AddedTo::QueriesAndKeys, .. })) => "learned-qk",
        (Position::None, None) => "none",
    }
}

/// Positions that a model can tell apart, where there is a limit.
pub(super) fn context(spec: &Spec) -> Option<usize> {
    let learned = spec.embedding.positions.map(|learned| learned.rows - learned.offset);
    [spec.n_ctx, learned].into_iter().flatten().min()
}

/// The farthest distance at which a query's scores are asked for: as far as the block and the model go, and no more than `farthest`.
pub(super) fn reach(spec: &Spec, layer: usize, query: usize, farthest: usize) -> usize {
    let window = match spec.blocks[layer].attention.inner.mask {
        Mask::Window(n) => n.saturating_sub(1),
        Mask::Causal | Mask::Bidirectional => usize::MAX,
    };
    // A learned vector is that of a place before the query, and there are as many as the query has before it.
    let learned = spec.embedding.positions.map_or(usize::MAX, |_| query);
    let within = context(spec).map_or(usize::MAX, |n| n - 1);
    farthest.min(window).min(learned).min(within)
}

/// What of a score depends on query and key, before their distance is known.
pub(super) struct Product {
    /// Dimensions that do not turn.
    still: f64,
    /// Of each pair what goes with the cosine of the angle between the two, and with its sine.
    turning: Vec<(f64, f64)>,
}

/// What makes scores of products and distances in one block.
pub(super) struct Scores<'a> {
    spec: &'a Attention,
    slopes: Option<&'a [f32]>,
    /// Radians per position of each pair.
    angles: Vec<f64>,
    /// What two rotated vectors are multiplied by together.
    factor: f64,
    /// Sine and cosine of each pair at each distance from 0 on.
    turns: Vec<(f64, f64)>,
}

impl<'a> Scores<'a> {
    /// Those of a block. Distances up to `often` are asked for again and again.
    pub fn of(spec: &'a Attention, scoring: &'a Scoring, often: usize) -> Self {
        let (angles, factor): (Vec<f64>, f64) = match &spec.position {
            Position::Rotary(rotary) => {
                (frequencies(rotary).into_iter().map(f64::from).collect(), attention_factor(rotary).powi(2))
            }
            Position::Alibi | Position::None => (vec![], 1.0),
        };
        let turns = (0..=often).flat_map(|distance| angles.iter().map(move |angle| turn(*angle, distance))).collect();
        Self { spec, slopes: scoring.slopes.as_deref(), angles, factor, turns }
    }

    /// Of a query and a key `[e]`.
    pub fn product(&self, q: &[f32], k: &[f32]) -> Product {
        let wide = |x: &[f32], i: usize| f64::from(x[i]);
        let of = |i: usize| wide(q, i) * wide(k, i);
        let Position::Rotary(rotary) = &self.spec.position else {
            return Product { still: (0..q.len()).map(of).sum(), turning: vec![] };
        };
        // Turned by their positions, a query (a, b) and a key (c, d) differ by the angle of their distance alone.
        let turning = (0..self.angles.len()).map(|i| {
            let (first, second) = dimensions(rotary, i);
            let (a, b, c, d) = (wide(q, first), wide(q, second), wide(k, first), wide(k, second));
            (a * c + b * d, b * c - a * d)
        });
        Product { turning: turning.collect(), still: (rotary.dims..q.len()).map(of).sum() }
    }

    /// The score of a product at a distance in one head.
    pub fn at(&self, head: usize, product: &Product, distance: usize) -> f64 {
        let pairs = self.angles.len();
        let sum = |turns: &mut dyn Iterator<Item = (f64, f64)>| -> f64 {
            product.turning.iter().zip(turns).map(|((along, across), (sin, cos))| along * cos - across * sin).sum()
        };
        let turned = match self.turns.get(distance * pairs..(distance + 1) * pairs) {
            Some(known) => sum(&mut known.iter().copied()),
            None => sum(&mut self.angles.iter().map(|angle| turn(*angle, distance))),
        };
        let score = self.spec.scale * (product.still + self.factor * turned);
        let capped = self.spec.cap.map_or(score, |cap| cap * (score / cap).tanh());
        capped - self.slopes.map_or(0.0, |slopes| f64::from(slopes[head]) * distance as f64)
    }
}

/// Sine and cosine of the angle at a distance.
fn turn(angle: f64, distance: usize) -> (f64, f64) {
    (distance as f64 * angle).sin_cos()
}
