//! How long each token's vectors are, and which tokens look as if they had hardly been trained (Land & Bartolo 2024).

use super::vocabulary::{Vocabulary, cosine, length};
use super::{EmbedNormRow, Embeddings, Spell, Unused};
use crate::error::Result;
use crate::ops::simd::{self, vectorise};

/// The indicators of one token.
struct Indicators {
    l2: f64,
    cos: f64,
    no_mean: f64,
    no_component: f64,
}

/// Indicators are distances to this.
struct Reference<'a> {
    space: &'a Vocabulary,
    /// The mean of unused rows; the same less the mean row; the same without what lies along the component.
    unused: [Vec<f64>; 3],
    /// The first principal component; nothing of rows that do not differ.
    component: Vec<f64>,
}

impl<'a> Reference<'a> {
    /// None where no token is known to be unused.
    fn new(space: &'a Vocabulary, unused: &Unused, seed: u64) -> Result<Option<Self>> {
        let ids: Vec<u32> = unused.ids.iter().copied().filter(|id| (*id as usize) < space.n).collect();
        if ids.is_empty() {
            return Ok(None);
        }
        let mut mean = vec![0.0; space.d];
        for some in ids.chunks(crate::ops::algebra::principal::TILE) {
            for row in space.of(some)?.chunks_exact(space.d) {
                mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += f64::from(*x) / ids.len() as f64);
            }
        }
        let component = space.centered().components(1, seed)?.pop().map_or_else(|| vec![0.0; space.d], |c| c.axis);
        let no_mean = mean.iter().zip(&space.mean).map(|(x, mean)| x - mean).collect();
        let along: f64 = mean.iter().zip(&component).map(|(x, c)| x * c).sum();
        let no_component = mean.iter().zip(&component).map(|(x, c)| x - along * c).collect();
        Ok(Some(Self { space, unused: [mean, no_mean, no_component], component }))
    }

    fn of(&self, row: &[f32]) -> Indicators {
        let ([unused, no_mean, no_component], mean, component) = (&self.unused, &self.space.mean, &self.component);
        let along = vectorise!(simd::wide_sum(component, row, |c, x| c * x));
        // In f64: what is left of a row may be much less than the row.
        let left = |from: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
            row.iter().zip(from).map(|(x, y)| f64::from(*x) - y).collect()
        };
        let plain = left(&mut std::iter::repeat(0.0));
        let from_unused = left(&mut unused.iter().copied());
        let from_mean = left(&mut mean.iter().copied());
        let from_component = left(&mut component.iter().map(|c| along * c));
        let apart = |a: &[f64], b: &[f64]| {
            let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            1.0 - cosine(product, length(a), length(b))
        };
        Indicators {
            l2: length(&from_unused),
            cos: apart(&plain, unused),
            no_mean: apart(&from_mean, no_mean),
            no_component: apart(&from_component, no_component),
        }
    }
}

/// A row for each token, in the order of ids.
///
/// # Errors
/// When weights cannot be read; what `emit` says.
pub fn norms(
    of: &Embeddings,
    unused: &Unused,
    seed: u64,
    spell: Spell<'_>,
    emit: &mut dyn FnMut(EmbedNormRow) -> Result<()>,
) -> Result<()> {
    let said = of.said();
    let indicators = match Reference::new(said, unused, seed)? {
        Some(reference) => said.each(|row, found| found.push(reference.of(row)))?,
        None => vec![],
    };
    let to_mean: Vec<f64> = of.embed.to_mean().collect();
    for id in 0..of.embed.n.max(said.n) {
        let own = indicators.get(id);
        emit(EmbedNormRow {
            token_id: id as u32,
            token: spell(id as u32),
            norm_in: of.embed.lengths().get(id).copied(),
            norm_out: said.lengths().get(id).copied(),
            cos_to_mean: to_mean.get(id).copied(),
            known_unused: unused.ids.binary_search(&(id as u32)).is_ok(),
            unused_l2: own.map(|own| own.l2),
            unused_cos: own.map(|own| own.cos),
            unused_cos_no_mean: own.map(|own| own.no_mean),
            unused_cos_no_component: own.map(|own| own.no_component),
        })?;
    }
    Ok(())
}
