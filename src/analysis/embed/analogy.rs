//! Analogies by 3CosAdd: Paris is to France as London is to what?

use super::vocabulary::{cosine, length};
use super::{Beside, EmbedAnalogyRow, Embeddings, Query, Spell, largest};
use crate::error::Result;

/// What is to `c` as `b` is to `a`: the `n` best candidates in each matrix, and a, b and c where they would stand.
///
/// # Errors
/// When weights cannot be read; what `emit` says.
pub fn analogy(
    of: &Embeddings,
    [a, b, c]: [u32; 3],
    n: usize,
    spell: Spell<'_>,
    emit: &mut dyn FnMut(Vec<EmbedAnalogyRow>) -> Result<()>,
) -> Result<()> {
    for space in of.spaces().filter(|space| [a, b, c].iter().all(|id| (*id as usize) < space.n)) {
        let vectors = [a, b, c].map(|id| space.row(id));
        let [va, vb, vc] = vectors;
        let vectors = [va?, vb?, vc?];
        let queries = vectors.clone().map(|vector| Query { vector, own: true });
        let beside = space.beside(&queries)?;
        let [to_a, to_b, to_c] = [0, 1, 2].map(|i: usize| -> &Beside { &beside[i] });
        let scores: Vec<f64> = (0..space.n).map(|i| to_b.cosine[i] - to_a.cosine[i] + to_c.cosine[i]).collect();
        let is_given = |i: usize| [a, b, c].contains(&(i as u32));
        let best = largest(&scores, n, is_given);
        let given = largest(&scores, 3, |i| !is_given(i));
        let mut shown: Vec<(Option<u32>, usize)> =
            (1..).map(Some).zip(best).chain(given.into_iter().map(|i| (None, i))).collect();
        let place = |i: usize| {
            let before = |(j, score): (usize, &f64)| *score > scores[i] || (*score == scores[i] && j < i);
            1 + scores.iter().enumerate().filter(|each| before(*each)).count() as u32
        };
        shown.sort_by_key(|(_, i)| place(*i));
        let offset: Vec<f64> = vectors[1].iter().zip(&vectors[0]).map(|(b, a)| b - a).collect();
        let row = |(rank, i): (Option<u32>, usize)| {
            let x = space.row(i as u32)?;
            let own: Vec<f64> = x.iter().zip(&vectors[2]).map(|(x, c)| x - c).collect();
            let product = own.iter().zip(&offset).map(|(x, y)| x * y).sum::<f64>();
            Ok(EmbedAnalogyRow {
                space: space.space.to_owned(),
                a: spell(a),
                a_id: a,
                b: spell(b),
                b_id: b,
                c: spell(c),
                c_id: c,
                rank,
                token: spell(i as u32),
                token_id: i as u32,
                score: scores[i],
                rank_with_inputs: place(i),
                offset_cos: cosine(product, length(&own), length(&offset)),
            })
        };
        emit(shown.into_iter().map(row).collect::<Result<_>>()?)?;
    }
    Ok(())
}
