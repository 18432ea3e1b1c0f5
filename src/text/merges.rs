//! How byte-pair encoding came to the tokens of a text: which two neighbours were merged, one step after another.
//!
//! A word begins as single symbols (bytes or characters). Of all pairs of neighbours the one that training merged first, of the lowest
//! rank, is merged, the leftmost of several; and so on until no pair is known (Sennrich et al. 2016). The merges and the symbols
//! are the tokenizer's own, and each word ends in the tokens that the tokenizer itself gives, or it is an error.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::guarded::Pairs;
use super::tokenizer::{Tokenizer, unusable};
use crate::error::Result;

/// Two neighbours of a word that became one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// Of the symbols that the word begins as, the first of the left one and the first of the right one; none where the merges
    /// were ignored for a whole word.
    pub at: Option<(u32, u32)>,
    /// The token on the left and that on the right, and the rank of their merge.
    pub pair: Option<(u32, u32, u32)>,
    /// What they became.
    pub merged: u32,
}

/// A word of a text: what the tokenizer reads by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// How many tokens of the text stand before it.
    pub first: usize,
    /// How many tokens it is.
    pub tokens: usize,
    /// Its merges, in order; none where it is one symbol, or no two are merged.
    pub merges: Vec<Merge>,
}

/// The merges of a tokenizer.
pub struct Merges<'a> {
    tokenizer: &'a Tokenizer,
    pairs: Pairs,
    /// Words are merged once.
    known: HashMap<String, Vec<Merge>>,
}

impl<'a> Merges<'a> {
    /// The merges of `tokenizer`.
    ///
    /// # Errors
    /// With what its model is called, which merges nothing (`Unigram`, `WordPiece`, `WordLevel`).
    pub fn of(tokenizer: &'a Tokenizer) -> Result<Self, &'static str> {
        Ok(Self { tokenizer, pairs: tokenizer.inner().pairs()?, known: HashMap::new() })
    }

    /// The words of a text, in order. Tokens that were added to the vocabulary are found whole, and are no words; neither are those that the
    /// tokenizer puts around a text.
    ///
    /// # Errors
    /// When the tokenizer fails, or its own merges do not give its tokens.
    pub fn words(&mut self, text: &str) -> Result<Vec<Merged>> {
        let failed = |e: String| unusable("this model's files", e);
        let (mut first, mut words) = (0, vec![]);
        for (word, ids) in self.tokenizer.inner().words(text).map_err(failed)? {
            let tokens = ids.len();
            if let Some(word) = word {
                let merges = match self.known.get(&word) {
                    Some(known) => known.clone(),
                    None => {
                        let made = self.of_word(&word, &ids).map_err(failed)?;
                        self.known.insert(word, made.clone());
                        made
                    }
                };
                words.push(Merged { first, tokens, merges });
            }
            first += tokens;
        }
        Ok(words)
    }

    fn of_word(&self, word: &str, ids: &[u32]) -> Result<Vec<Merge>, String> {
        let symbols = self.pairs.symbols(word)?;
        if let (true, &[id], false) = (self.pairs.ignored_for_whole_words, ids, symbols.len() < 2)
            && self.tokenizer.inner().entry(id).as_deref() == Some(word)
        {
            return Ok(vec![Merge { at: None, pair: None, merged: id }]);
        }
        let (merges, left) = merge(&symbols, &self.pairs.merges);
        if left != ids {
            return Err(format!("its merges make {left:?} of a word that it says is {ids:?}"));
        }
        Ok(merges)
    }
}

/// What becomes of `symbols`, as the tokenizers crate does it: a pair waits at the place of its left symbol, with the rank it had
/// when both became neighbours.
fn merge(symbols: &[u32], pairs: &HashMap<(u32, u32), (u32, u32)>) -> (Vec<Merge>, Vec<u32>) {
    let n = symbols.len();
    let mut ids: Vec<Option<u32>> = symbols.iter().copied().map(Some).collect();
    // Of each symbol that is left, the next one; of its neighbour before, the last one.
    let mut next: Vec<usize> = (1..=n).collect();
    let mut before: Vec<Option<usize>> = (0..n).map(|i| i.checked_sub(1)).collect();
    let waiting = |ids: &[Option<u32>], left: usize, right: usize| {
        let pair = (ids[left]?, ids.get(right).copied().flatten()?);
        pairs.get(&pair).map(|(rank, id)| Reverse((*rank, left, *id)))
    };
    let mut queue: BinaryHeap<_> = (1..n).filter_map(|right| waiting(&ids, right - 1, right)).collect();
    let mut merges = vec![];
    while let Some(Reverse((_, left, becomes))) = queue.pop() {
        let right = next[left];
        let (Some(a), Some(b)) = (ids[left], ids.get(right).copied().flatten()) else { continue };
        // Whatever waited here may have been merged with somebody else.
        let Some((rank, id)) = pairs.get(&(a, b)).filter(|(_, id)| *id == becomes) else { continue };
        merges.push(Merge { at: Some((left as u32, right as u32)), pair: Some((a, b, *rank)), merged: *id });
        (ids[left], ids[right], next[left]) = (Some(*id), None, next[right]);
        if let Some(after) = before.get_mut(next[left]) {
            *after = Some(left);
        }
        queue.extend(before[left].and_then(|first| waiting(&ids, first, left)));
        queue.extend(waiting(&ids, left, next[left]));
    }
    (merges, ids.into_iter().flatten().collect())
}
