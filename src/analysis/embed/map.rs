//! A map of tokens: the plane in which their vectors differ most.

use super::vocabulary::{Vocabulary, cosine, largest, length};
use super::{EmbedMapRow, Embeddings, Query, Spell};
use crate::error::Result;
use crate::ops::algebra::principal::Rows;

/// Neighbours whose classes are counted.
const NEAREST: usize = 10;

/// Which tokens are on a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// The tokens, each once, those that matter most first.
    pub ids: Vec<u32>,
    /// Of each the class that it is of, by number, where there are classes.
    pub classes: Vec<Option<usize>>,
    /// What the classes are called.
    pub names: Vec<String>,
    /// How many of the tokens, the first, are words of the request.
    pub asked: usize,
}

impl Mapped {
    /// The tokens nearest to some words, by the cosine without the mean row, these first; without words the first of the vocabulary, where tokenizers put what is common. At most
    /// `n`; `leaves` leaves out tokens.
    ///
    /// # Errors
    /// When weights cannot be read.
    pub fn chosen(of: &Embeddings, words: &[u32], n: usize, leaves: impl Fn(u32) -> bool) -> Result<Self> {
        let space = &of.embed;
        let mut ids = words.to_vec();
        ids.truncate(n);
        let asked = ids.len();
        let leaves = |i: usize| words.contains(&(i as u32)) || leaves(i as u32);
        if words.is_empty() {
            ids.extend((0..space.n).filter(|i| !leaves(*i)).take(n).map(|i| i as u32));
        } else {
            // Of several words, the nearer one counts.
            let mut nearest = vec![f64::NEG_INFINITY; space.n];
            for word in words {
                let query = [Query { vector: space.row(*word)?, own: true }];
                for beside in space.beside(&query)? {
                    nearest.iter_mut().zip(beside.centered).for_each(|(most, x)| *most = most.max(x));
                }
            }
            ids.extend(largest(&nearest, n - asked, leaves).into_iter().map(|i| i as u32));
        }
        Ok(Self { classes: vec![None; ids.len()], ids, names: vec![], asked })
    }

    /// Tokens of classes, after the words of the request.
    pub fn of_classes(words: &[u32], classes: Vec<(String, Vec<u32>)>) -> Self {
        let class_of = |id: &u32| classes.iter().position(|(_, ids)| ids.contains(id));
        let mut mapped = Self { asked: words.len(), ..Self::default() };
        mapped.ids = words.to_vec();
        let longest = classes.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0);
        // One of each class after the other, so that no class has all the labels.
        let others = (0..longest).flat_map(|i| classes.iter().filter_map(move |(_, ids)| ids.get(i)));
        mapped.ids.extend(others.filter(|id| !words.contains(id)));
        mapped.classes = mapped.ids.iter().map(class_of).collect();
        mapped.names = classes.into_iter().map(|(name, _)| name).collect();
        mapped
    }
}

/// Where each token is on the map, in their order.
///
/// # Errors
/// When weights cannot be read.
pub fn map(of: &Embeddings, mapped: &Mapped, seed: u64, spell: Spell<'_>) -> Result<Vec<EmbedMapRow>> {
    let (space, ids) = (&of.embed, &mapped.ids[..]);
    let (n, d) = (ids.len(), space.d);
    let zero = vec![0.0; d];
    let rows = |mean| Rows { n, d, mean, read: Box::new(|range, f| space.of(&ids[range]).map(|rows| f(&rows))) };
    let mean = rows(&zero).mean_row()?;
    let rows = rows(&mean);
    let (total, components) = (rows.squares()?, rows.components(2, seed)?);
    let share = |i: usize| components.get(i).map_or(0.0, |c| if total > 0.0 { c.squares / total } else { 0.0 });
    let same = same_class(space, mapped)?;
    let mut found = Vec::with_capacity(n);
    for first in (0..n).step_by(crate::ops::algebra::principal::TILE) {
        let range = first..n.min(first + crate::ops::algebra::principal::TILE);
        for (i, row) in range.clone().zip(space.of(&ids[range])?.chunks_exact(d)) {
            let along = |c: usize| {
                let axis = components.get(c).map_or(&zero, |component| &component.axis);
                row.iter().zip(&mean).zip(axis).map(|((x, mean), axis)| (f64::from(*x) - mean) * axis).sum::<f64>()
            };
            found.push(EmbedMapRow {
                token_id: ids[i],
                token: spell(ids[i]),
                class: mapped.classes[i].map(|class| mapped.names[class].clone()),
                asked: i < mapped.asked,
                x: along(0),
                y: along(1),
                explained_x: share(0),
                explained_y: share(1),
                same_class_of_10: same[i],
            });
        }
    }
    Ok(found)
}

/// Of each token of a class, how many of its nearest among all that are of a class are of its own: precision at 10.
fn same_class(space: &Vocabulary, mapped: &Mapped) -> Result<Vec<Option<f64>>> {
    let of_class: Vec<usize> = (0..mapped.ids.len()).filter(|i| mapped.classes[*i].is_some()).collect();
    let mut same = vec![None; mapped.ids.len()];
    if mapped.names.len() < 2 {
        return Ok(same);
    }
    let vectors = of_class.iter().map(|i| space.row(mapped.ids[*i])).collect::<Result<Vec<_>>>()?;
    let lengths: Vec<f64> = vectors.iter().map(|vector| length(vector)).collect();
    for (a, i) in of_class.iter().enumerate() {
        let with = |b: usize| {
            let product = vectors[a].iter().zip(&vectors[b]).map(|(x, y)| x * y).sum();
            cosine(product, lengths[a], lengths[b])
        };
        let cosines: Vec<f64> = (0..of_class.len()).map(with).collect();
        let near = largest(&cosines, NEAREST, |b| b == a);
        let own = near.iter().filter(|b| mapped.classes[of_class[**b]] == mapped.classes[*i]).count();
        same[*i] = Some(own as f64 / near.len().max(1) as f64);
    }
    Ok(same)
}
