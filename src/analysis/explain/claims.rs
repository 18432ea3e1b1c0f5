//! When something may be claimed: each claim of the page is one of these, and false on a model where it is not so.

use crate::analysis::loss::unlike::is_unlike;
use crate::analysis::position::PositionBoardRow;
use crate::analysis::{AttentionRow, EmbedNeighborRow};

/// A first neighbour stands out where this many of a hundred random pairs are less alike.
const OUTSTANDING: f64 = 99.0;
/// Boards that are less far apart, in bits, have changed little: a tenth of what a fair coin decides.
const LITTLE: f64 = 0.1;

/// The largest of some numbers, where it is half as large again as any other: what is less does not stand out.
pub fn stands_out(of: &[f64]) -> Option<usize> {
    let most = (0..of.len()).reduce(|a, b| if of[b].abs() > of[a].abs() { b } else { a })?;
    let others = of.iter().enumerate().filter(|(i, _)| *i != most).map(|(_, x)| x.abs()).fold(0.0, f64::max);
    (of[most].abs() > 1.5 * others && of[most] != 0.0).then_some(most)
}

/// Whether an answer that stands from this layer on, counted from 0, stands before the last of `n`.
pub fn decided(layer: u32, n: usize) -> bool {
    (layer as usize) + 1 < n
}

/// What is said of a token's nearest neighbour: nothing stands out, it is the same word in another spelling, or another that is near.
pub fn nearest(row: &EmbedNeighborRow) -> &'static str {
    match (row.percentile >= OUTSTANDING, row.same_word) {
        (false, _) => "embed.nothing",
        (true, true) => "embed.same",
        (true, false) => "embed.near",
    }
}

/// Whether another candidate comes first in a run than in the prompt as it is.
pub fn another_first(rows: &[PositionBoardRow], run: &str) -> bool {
    let first = |run: &str| rows.iter().find(|row| row.run == run && row.rank == 1).map(|row| row.token_id);
    first(run).is_some() && first(run) != first("given")
}

/// Whether two boards that are so far apart differ little.
pub fn changes_little(kl_bits: f64) -> bool {
    kl_bits < LITTLE
}

/// What is said of the position that a head looks at most, and of the one from which it pushes most, of `keys` positions.
pub fn looking(looked: &AttentionRow, pushed: &AttentionRow, keys: usize) -> &'static str {
    match looked.key_pos == pushed.key_pos {
        _ if keys < 2 => "attention.only",
        true => "attention.alike",
        false => "attention.differ",
    }
}

/// Whether a head rests on the first token: it gives it more than a half of what it has, and could look elsewhere.
pub fn rests(row: &AttentionRow) -> bool {
    row.key_pos == 0 && row.query_pos > 0 && row.prob > 0.5
}

/// What of all that heads took from earlier positions for the position `last` pushes the target furthest towards it; none where nothing does.
pub fn earlier(rows: &[AttentionRow], last: u32) -> Option<(usize, &AttentionRow)> {
    let own =
        |row: &AttentionRow| row.query_pos == last && row.key_pos < last && row.push.is_some_and(|push| push > 0.0);
    let own = rows.iter().enumerate().filter(|(_, row)| own(row));
    own.reduce(|a, b| if b.1.push > a.1.push { b } else { a })
}

/// Whether a text that surprises the model so much, of `vocabulary` tokens, is unlike those that it learnt from.
pub fn unlike(nats: f64, vocabulary: usize) -> bool {
    is_unlike(nats, vocabulary)
}

/// Whether a probability is so small that it is not written.
pub fn is_tiny(prob: f64) -> bool {
    prob < 1e-12
}

/// The strokes that push furthest towards the target, at most three of them, and the one that pushes furthest away: by their places in `pushes`.
pub fn furthest(pushes: &[f64]) -> (Vec<usize>, Option<usize>) {
    let mut order: Vec<usize> = (0..pushes.len()).collect();
    order.sort_by(|a, b| pushes[*b].total_cmp(&pushes[*a]).then(a.cmp(b)));
    let towards = order.iter().copied().filter(|i| pushes[*i] > 0.0).take(3).collect();
    (towards, order.last().copied().filter(|i| pushes[*i] < 0.0))
}
