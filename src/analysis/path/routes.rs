//! Which paths there are: from every sender to every receiver that reads after it has written.

use super::receiver::{Reads, Receiver, Receivers, written};
use crate::arch::Spec;
use crate::error::{Error, Result, said};
use crate::range::{self, Interval};
use crate::sweep::{Grid, Spot};
use crate::text::Pair;

/// The paths of prompts of one length.
pub(super) struct Routes {
    /// The senders.
    pub senders: Vec<Spot>,
    /// The paths, those of a sender one after another.
    pub routes: Vec<Route>,
    /// What receivers are called where all read at once.
    pub together: Option<String>,
}

/// A sender, and what reads the change of it in one run.
pub(super) struct Route {
    /// By number.
    pub sender: usize,
    pub receivers: Vec<Receiver>,
}

impl Routes {
    /// Those of a pair's prompts. A receiver that reads before a sender has written is left out.
    ///
    /// # Errors
    /// When the grid does not fit the model or the prompt; when no path leads to a part of `receivers`, or from a layer that the
    /// grid names; when the logits are asked for together with others.
    pub fn of(spec: &Spec, grid: &Grid, pair: &Pair, receivers: &Receivers, together: bool) -> Result<Self> {
        if together && receivers.all().count() > 1 && receivers.all().any(|r| r.reads == Reads::Logits) {
            return Err(Error::bad_input(
                "what the logits read is the end: nothing else that is changed would be seen",
            )
            .hint(said("leave logits out of {to}, or give {to=logits} alone")));
        }
        let senders = grid.spots_of(spec, pair)?;
        let reach = |s: &Spot, r: &Receiver| {
            s.points.iter().any(|p| written(*p).is_some_and(|written| written <= r.reads_at(spec)))
        };
        for (part, of_part) in &receivers.parts {
            if !senders.iter().any(|s| of_part.iter().any(|r| reach(s, r))) {
                return Err(Error::bad_input(format!(
                    "no path leads to `{part}`: it reads before anything that was chosen of `{}` is written",
                    grid.at
                ))
                .hint("choose senders in earlier layers, or receivers in later ones"));
            }
        }
        let named = grid.only.layers.as_deref().filter(|layers| !layers.contains(&Interval::ALL));
        for layer in range::layers_of(named.unwrap_or_default(), spec.n_layers())? {
            let of_layer = |s: &&Spot| s.points.iter().any(|p| p.layer == Some(layer));
            if !senders.iter().filter(of_layer).any(|s| receivers.all().any(|r| reach(s, &r))) {
                return Err(Error::bad_input(format!(
                    "no path leads from `{}` of layer {layer}: every receiver has read before",
                    grid.at
                ))
                .hint("choose senders in earlier layers, or receivers in later ones"));
            }
        }
        let mut routes = vec![];
        for (sender, s) in senders.iter().enumerate() {
            let reached: Vec<Receiver> = receivers.all().filter(|r| reach(s, r)).collect();
            match together {
                true if reached.is_empty() => {}
                true => routes.push(Route { sender, receivers: reached }),
                false => routes.extend(reached.into_iter().map(|r| Route { sender, receivers: vec![r] })),
            }
        }
        Ok(Self { senders, routes, together: together.then(|| receivers.name()) })
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.routes.len()
    }
}
