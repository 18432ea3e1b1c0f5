//! What an estimate is made for: one position, head or neuron of one value.

use crate::arch::Spec;
use crate::hook::HookPoint;
use crate::hook::site::{Axis, Site};
use crate::sweep::Spot;

/// The nodes of one value of a whole sequence: so many neighbouring numbers each, in the order of the value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nodes {
    pub point: HookPoint,
    /// Positions of the sequence, of which the first are the prompt's.
    n: usize,
    of_prompt: usize,
    /// Heads at each position; 1 where there are none.
    heads: usize,
    has_heads: bool,
    /// Nodes within a head at one position: neurons, or keys.
    within: usize,
    /// Numbers of a node.
    width: usize,
}

impl Nodes {
    /// Those of `point` in a sequence of `n` positions, of which the first `of_prompt` are a prompt and the others an answer's.
    pub fn of(spec: &Spec, point: HookPoint, n: usize, of_prompt: usize) -> Self {
        let axes = point.site.info().axes;
        let len = |axis| Site::axis_len(spec, point.layer, axis).unwrap_or(n);
        let heads = axes.iter().copied().find(|a| matches!(a, Axis::H | Axis::G));
        let last = axes.last().copied().unwrap_or(Axis::One);
        let (within, width) = if matches!(last, Axis::M | Axis::K) { (len(last), 1) } else { (1, len(last)) };
        Self { point, n, of_prompt, heads: heads.map_or(1, len), has_heads: heads.is_some(), within, width }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.n * self.heads * self.within
    }

    /// Whether they are neurons: so many that only the strongest have rows.
    pub fn are_neurons(&self) -> bool {
        self.within > 1 && !self.point.site.per_sequence()
    }

    /// Nodes that lie together in one position, where they are neurons.
    pub fn per_position(&self) -> usize {
        self.heads * self.within
    }

    /// Position and head of node `i`.
    fn place(&self, i: usize) -> (usize, usize) {
        let outer = i / self.within;
        // A pattern is made head by head, everything else position by position.
        match self.point.site.per_sequence() {
            true => (outer % self.n, outer / self.n),
            false => (outer / self.heads, outer % self.heads),
        }
    }

    /// Whether node `i` is of the prompt: of a pattern, query and key.
    pub fn is_of_prompt(&self, i: usize) -> bool {
        self.place(i).0 < self.of_prompt && (!self.point.site.per_sequence() || i % self.within < self.of_prompt)
    }

    /// The patch that node `i` stands for.
    pub fn spot(&self, i: usize) -> Spot {
        let ((pos, head), inner) = (self.place(i), i % self.within);
        let per_sequence = self.point.site.per_sequence();
        let mut spot = Spot::of(self.point, pos);
        spot.head = self.has_heads.then_some(head);
        spot.neuron = self.are_neurons().then_some(inner);
        spot.key_pos = per_sequence.then_some(inner);
        spot
    }

    /// For each node whether a bit of it differs between two runs' values of the sequence, flat.
    pub fn differ(&self, base: &[f32], donor: &[f32]) -> Vec<bool> {
        let each = |(b, d): (&[f32], &[f32])| b.iter().zip(d).any(|(b, d)| b.to_bits() != d.to_bits());
        base.chunks_exact(self.width).zip(donor.chunks_exact(self.width)).map(each).collect()
    }

    /// For each node the sum over its numbers of `(donor - base) gradient`, from the values of the sequence, flat.
    pub fn linear(&self, base: &[f32], donor: &[f32], gradient: &[f32]) -> Vec<f64> {
        let each = |(b, (d, g)): (&[f32], (&[f32], &[f32]))| {
            let terms = b.iter().zip(d).zip(g).filter(|((b, d), _)| b != d);
            terms.map(|((b, d), g)| f64::from(d - b) * f64::from(*g)).sum()
        };
        let numbers = base.chunks_exact(self.width);
        numbers.zip(donor.chunks_exact(self.width).zip(gradient.chunks_exact(self.width))).map(each).collect()
    }
}
