//! Mixtral (Jiang et al. 2024): Mistral with eight experts in the place of each MLP, of which every token goes through two.

use super::decoder::slide_everywhere;
use super::experts::{Mixture, mix};
use super::names::{self, Names};
use super::{Family, llama};
use crate::arch::config::Config;
use crate::arch::spec::Spec;
use crate::error::Result;

const NAMES: Names = Names {
    router: "block_sparse_moe.gate",
    experts: "block_sparse_moe.experts",
    expert_maps: ["w1", "w3", "w2"],
    ..names::EXPERTS
};

pub(super) const FAMILY: Family =
    Family { model_type: "mixtral", spec, source: |spec, slot| NAMES.source(spec, slot), ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = llama::spec(c)?;
    slide_everywhere(c, &mut spec)?;
    mix(c, &mut spec, &Mixture { d_mlp: None, renormalized: true }, |_| true)?;
    Ok(spec)
}
