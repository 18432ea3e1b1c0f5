//! Mistral (Jiang et al. 2023): Llama with a sliding window.

use super::decoder::slide_everywhere;
use super::{Family, llama};
use crate::arch::config::Config;
use crate::arch::spec::Spec;
use crate::error::Result;

pub(super) const FAMILY: Family = Family { model_type: "mistral", spec, ..llama::FAMILY };

fn spec(c: &Config) -> Result<Spec> {
    let mut spec = llama::spec(c)?;
    slide_everywhere(c, &mut spec)?;
    Ok(spec)
}
