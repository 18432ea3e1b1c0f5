//! What mixtures of experts share: how their files say how many experts there are, and which blocks have them.

use crate::arch::config::Config;
use crate::arch::spec::{Experts, FeedForward, Spec};
use crate::error::Result;

/// What a family's files leave unsaid, or say under a name of their own.
pub(super) struct Mixture {
    /// Neurons of an expert, where not as many as the MLP that [`super::decoder::decoder`] read.
    pub d_mlp: Option<usize>,
    /// Whether the weights of a row's experts are divided by their sum.
    pub renormalized: bool,
}

/// Puts experts in the place of the MLP in every block for which `sparse` holds.
pub(super) fn mix(c: &Config, spec: &mut Spec, mixture: &Mixture, sparse: impl Fn(usize) -> bool) -> Result<()> {
    let n_experts = c.size("num_experts")?;
    let per_row = c.size("num_experts_per_tok")?;
    for (_, block) in spec.blocks.iter_mut().enumerate().filter(|(l, _)| sparse(*l)) {
        let Some(mlp) = &mut block.mlp else { continue };
        let mut expert = mlp.inner.neurons().clone();
        expert.d_mlp = mixture.d_mlp.unwrap_or(expert.d_mlp);
        mlp.inner = FeedForward::Experts(Experts { n_experts, per_row, renormalized: mixture.renormalized, expert });
    }
    Ok(())
}
