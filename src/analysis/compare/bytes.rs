//! Two ways to cut one text into tokens, and the bytes on which their surprises can be compared.
//!
//! Let `E_A` and `E_B` be the places of a text at which a token of A, and of B, ends. The *shared boundaries* are those in both, and the
//! text's beginning. Between two neighbouring shared boundaries lie whole tokens of both, whose surprises are added up: the
//! probability of these bytes after the bytes before them, as far as each model's tokens spell them that way. Over the length of the
//! stretch that is *bits per byte*. Bytes that no token is of (spaces that a tokenizer drops) count with the token after them.

use std::ops::Range;

use crate::text::Token;

/// Bytes between two shared boundaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Which bytes of the text.
    pub bytes: Range<usize>,
    /// The positions of each one's tokens in them. Tokens that are not of the text may be among them.
    pub positions: [Range<usize>; 2],
}

/// The stretches of a text that two tokenizers cut into these tokens, in order: all of the text up to the last shared boundary.
pub fn stretches(a: &[Token], b: &[Token]) -> Vec<Stretch> {
    // Where a token ends, and the position after it. Of tokens that end at one place the last counts: an empty one has no bytes.
    let ends = |tokens: &[Token]| {
        let mut ends: Vec<(usize, usize)> = vec![];
        for (pos, token) in tokens.iter().enumerate() {
            let Some(bytes) = &token.bytes else { continue };
            match ends.last_mut() {
                Some(last) if last.0 == bytes.end => last.1 = pos + 1,
                _ => ends.push((bytes.end, pos + 1)),
            }
        }
        ends
    };
    let (of_a, of_b) = (ends(a), ends(b));
    let (mut i, mut j) = (0, 0);
    let (mut from, mut before, mut found) = (0, [0, 0], vec![]);
    while let (Some((end_a, after_a)), Some((end_b, after_b))) = (of_a.get(i), of_b.get(j)) {
        if end_a == end_b && *end_a > from {
            let positions = [before[0]..*after_a, before[1]..*after_b];
            found.push(Stretch { bytes: from..*end_a, positions });
            (from, before) = (*end_a, [*after_a, *after_b]);
        }
        if end_a <= end_b {
            i += 1;
        }
        if end_b <= end_a {
            j += 1;
        }
    }
    found
}

/// The surprise at the tokens of `range`, together, and how many they are; none where one of them has nothing before it. `bits` are those
/// of each position; tokens that are not of the text do not count.
pub fn surprise(tokens: &[Token], bits: &[Option<f64>], range: Range<usize>) -> Option<(f64, u32)> {
    let (mut sum, mut n) = (0.0, 0);
    for pos in range {
        if tokens[pos].bytes.is_some() {
            sum += bits[pos]?;
            n += 1;
        }
    }
    Some((sum, n))
}
