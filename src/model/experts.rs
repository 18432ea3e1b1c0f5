//! A mixture of experts: the router chooses, each expert computes the rows that go through it and no others.

use candle_core::Tensor;

use super::weights::{ExpertWeights, NeuronWeights};
use crate::error::Result;
use crate::hook::{Site, Tap};
use crate::ops::Kernels;
use crate::ops::activation::activate;
use crate::ops::routing::{Routing, chosen_weights, largest, softmax};

impl ExpertWeights {
    /// `[t, d]` to `[t, d]`, through the experts that the router chooses for each row.
    pub(super) fn apply(&self, kernels: Kernels, tap: &mut Tap, x: &Tensor) -> Result<Tensor> {
        let logits = tap.at(Site::RouterLogits, self.router.apply(kernels, x)?)?;
        let weights = tap.at(Site::ExpertWeights, softmax(&logits)?)?;
        let indices = tap.at(Site::ExpertIndices, largest(&weights, self.per_row)?)?;
        let routing = Routing::new(&indices, self.experts.len())?;
        let chosen = chosen_weights(&weights, &indices, self.renormalized)?;
        let chosen = tap.at(Site::ChosenWeights, chosen)?;
        let outputs = (self.experts.iter().enumerate())
            .map(|(e, expert)| TappedExpert { tap, routing: &routing, expert: e }.run(kernels, expert, x))
            .collect::<Result<Vec<_>>>()?;
        routing.combine(&outputs.into_iter().flatten().collect::<Vec<_>>(), &chosen)
    }
}

/// One expert, as hooks see it: they are shown all rows of the pack, of which those that do not go through it are zero.
struct TappedExpert<'s, 'a, 'h> {
    tap: &'s mut Tap<'a, 'h>,
    routing: &'s Routing,
    expert: usize,
}

impl TappedExpert<'_, '_, '_> {
    /// What the expert gives for its rows, `[rows, d]`; nothing where it has none.
    fn run(mut self, kernels: Kernels, w: &NeuronWeights, x: &Tensor) -> Result<Option<Tensor>> {
        let gated = w.linear.is_some();
        if self.routing.rows(self.expert).is_empty() {
            // A hook has been reached even where there is nothing to see.
            let nothing = Tensor::zeros((0, w.input.weight.dim(1)?), x.dtype(), x.device())?;
            for site in [Site::ExpertGate, Site::ExpertPre, Site::ExpertPost] {
                if gated || site != Site::ExpertGate {
                    self.at(site, nothing.clone())?;
                }
            }
            return Ok(None);
        }
        let x = self.routing.gather(self.expert, x)?;
        let first = self.at(if gated { Site::ExpertGate } else { Site::ExpertPre }, w.input.apply(kernels, &x)?)?;
        let partner = match &w.linear {
            Some(map) => Some(self.at(Site::ExpertPre, map.apply(kernels, &x)?)?),
            None => None,
        };
        let post = self.at(Site::ExpertPost, activate(kernels, w.activation, &first, partner.as_ref())?)?;
        Ok(Some(w.output.apply(kernels, &post)?))
    }

    /// Offers `y [rows, m]` to the hooks that want it.
    fn at(&mut self, site: Site, y: Tensor) -> Result<Tensor> {
        if !self.tap.wants_expert(site, self.expert) {
            return Ok(y);
        }
        let all = self.routing.spread(self.expert, &y)?;
        let id = all.id();
        let seen = self.tap.at_expert(site, self.expert, self.routing.rows(self.expert), all)?;
        if seen.id() == id { Ok(y) } else { self.routing.gather(self.expert, &seen) }
    }
}
