//! Embed: which tokens are near each other, before the model has read anything?
//!
//! A token enters the model as a row of the embedding W_E, and is said by a column of the unembedding W_U: vectors whose directions
//! were trained, so that those of tokens which are used alike lie near each other. No forward pass is needed to see them; only what
//! becomes of a token in a prompt takes one.

mod analogy;
mod map;
mod map_view;
mod norms;
mod options;
pub mod rows;
mod stream;
mod unused;
mod view;
mod vocabulary;

use crate::arch::Spec;
use crate::error::Result;
use crate::model::Model;
pub use analogy::analogy;
pub use map::{Mapped, map};
pub use norms::norms;
pub use options::{Embed, Embedded, Word};
pub use rows::{EmbedAnalogyRow, EmbedMapRow, EmbedNeighborRow, EmbedNormRow};
pub use stream::streams;
pub use unused::Unused;
use vocabulary::{Beside, Query, Vocabulary, largest, percentile};

/// What gives a token's text.
pub type Spell<'a> = &'a dyn Fn(u32) -> String;

/// The vectors of all tokens of a model: those that it reads, and those that it says where they are others.
pub struct Embeddings {
    embed: Vocabulary,
    unembed: Option<Vocabulary>,
}

impl Embeddings {
    /// Those of a model, read once.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of(model: &Model) -> Result<Self> {
        Ok(Self { embed: Vocabulary::embed(model)?, unembed: Vocabulary::unembed(model)? })
    }

    /// Bytes that they and what is asked of so many vectors at once take.
    fn need(model: &Model, queries: usize) -> usize {
        let spec = model.spec();
        let one = |n| Vocabulary::need(n, spec.d_model, queries);
        one(spec.d_vocab) + if spec.unembedding.tied { 0 } else { one(spec.unembedding.d_vocab_out) }
    }

    fn spaces(&self) -> impl Iterator<Item = &Vocabulary> {
        [&self.embed].into_iter().chain(&self.unembed)
    }

    /// What the model says with: the unembedding, or the embedding where it is both.
    fn said(&self) -> &Vocabulary {
        self.unembed.as_ref().unwrap_or(&self.embed)
    }
}

/// How many vectors are compared with a vocabulary at one time, with so much memory for them.
fn at_once(n: usize, bytes: usize) -> usize {
    (bytes / (8 * 4 * n.max(1))).clamp(1, 64)
}

/// The `n` nearest neighbours of each token among the vectors of each matrix, a matrix after the other for each token. `memory` is
/// what numbers may take.
///
/// # Errors
/// When weights cannot be read; what `emit` says.
pub fn neighbors(
    of: &Embeddings,
    tokens: &[u32],
    (n, seed): (usize, u64),
    spell: Spell<'_>,
    memory: usize,
    emit: &mut dyn FnMut(Vec<EmbedNeighborRow>) -> Result<()>,
) -> Result<()> {
    let pairs = of.spaces().map(|space| space.pairs(seed)).collect::<Result<Vec<_>>>()?;
    for some in tokens.chunks(at_once(of.embed.n, memory)) {
        let mut found: Vec<Vec<EmbedNeighborRow>> = vec![vec![]; some.len()];
        for (space, pairs) in of.spaces().zip(&pairs) {
            // Not every token that is read can be said.
            let own: Vec<usize> = (0..some.len()).filter(|i| (some[*i] as usize) < space.n).collect();
            let query = |i: &usize| Ok(Query { vector: space.row(some[*i])?, own: true });
            let queries = own.iter().map(query).collect::<Result<Vec<_>>>()?;
            for (i, beside) in own.into_iter().zip(space.beside(&queries)?) {
                let near = nearest(space, &beside, n, Some(some[i]));
                found[i].extend(near.into_iter().enumerate().map(|(rank, at)| EmbedNeighborRow {
                    space: space.space.to_owned(),
                    ..row(space, (some[i], rank, at), &beside, pairs, spell)
                }));
            }
        }
        found.into_iter().try_for_each(&mut *emit)?;
    }
    Ok(())
}

/// The tokens whose vectors are nearest, but for one.
fn nearest(space: &Vocabulary, beside: &Beside, n: usize, but: Option<u32>) -> Vec<usize> {
    debug_assert_eq!(beside.cosine.len(), space.n);
    largest(&beside.cosine, n, |i| but.is_some_and(|own| own as usize == i))
}

/// A neighbour's row, of a stream but for its place.
fn row(
    space: &Vocabulary,
    (token, rank, at): (u32, usize, usize),
    beside: &Beside,
    random: &[f64],
    spell: Spell<'_>,
) -> EmbedNeighborRow {
    let (text, neighbor) = (spell(token), spell(at as u32));
    EmbedNeighborRow {
        same_word: is_same_word(&text, &neighbor),
        token: text,
        token_id: token,
        space: "stream".to_owned(),
        layer: None,
        pos: None,
        among: space.space.to_owned(),
        rank: rank as u32 + 1,
        neighbor,
        neighbor_id: at as u32,
        cosine: beside.cosine[at],
        cosine_centered: beside.centered[at],
        percentile: percentile(beside.cosine[at], random),
    }
}

/// Whether two texts differ in white space and case only.
fn is_same_word(a: &str, b: &str) -> bool {
    let plain =
        |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect() };
    plain(a) == plain(b)
}

/// Whether what is read and what is said are one matrix, and what the embedding is multiplied by.
fn about(spec: &Spec) -> String {
    let (d, n) = (spec.d_model, spec.d_vocab);
    let matrices = match spec.unembedding.tied {
        true => format!("the embedding and the unembedding are one matrix (tied), {n} vectors of {d} numbers"),
        false => format!(
            "the embedding and the unembedding are two matrices, {n} and {} vectors of {d} numbers",
            spec.unembedding.d_vocab_out
        ),
    };
    match spec.embedding.scale {
        Some(scale) => format!("{matrices}; the model multiplies what it reads by {scale}, which changes no cosine"),
        None => format!("{matrices}; what is read is not scaled"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_and_case_make_no_other_word() {
        assert!(is_same_word(" Paris", "paris") && is_same_word("PARIS", " Paris") && is_same_word("\n", " "));
        assert!(!is_same_word(" Paris", " Pari") && !is_same_word("#1", "#2"));
    }

    #[test]
    fn the_largest_are_in_order_and_equals_by_place() {
        let of = [0.5, 0.9, 0.5, -1.0, 0.9];
        assert_eq!(largest(&of, 3, |i| i == 1), [4, 0, 2]);
        assert_eq!(largest(&of, 9, |_| false), [1, 4, 0, 2, 3]);
        assert_eq!(largest(&of, 0, |_| false), [0usize; 0]);
        assert_eq!((percentile(0.9, &[0.1, 0.5, 0.9, 0.95]), percentile(-1.0, &[0.0])), (50.0, 0.0));
    }
}
