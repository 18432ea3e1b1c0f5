//! Rows in another order: documents of the whole corpus, or tokens inside of windows. The order depends on the seed alone, never on
//! who makes which part.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::choose::mix;
use crate::dataset::{Layout, Rows, Values};
use crate::error::Result;
use crate::sweep::Watch;
use crate::text::corpus::{Corpus, Document, Documents, Index};

/// What is shuffled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Shuffle {
    /// Nothing.
    #[default]
    None,
    /// Documents, in the whole corpus.
    Documents,
    /// Rows, inside of windows of so many.
    Tokens(usize),
}

impl FromStr for Shuffle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("tokens:").map(str::parse)) {
            ("none", _) => Ok(Self::None),
            ("documents", _) => Ok(Self::Documents),
            (_, Some(Ok(window @ 2..))) => Ok(Self::Tokens(window)),
            _ => {
                Err("write none, documents, or tokens: and the rows of a window, 2 or more, as in tokens:65536".into())
            }
        }
    }
}

impl fmt::Display for Shuffle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Documents => f.write_str("documents"),
            Self::Tokens(window) => write!(f, "tokens:{window}"),
        }
    }
}

/// An order of the numbers `0..n`, of which no table is held.
///
/// A balanced Feistel network permutes the numbers below the next power of four, and steps outside of `0..n` are taken again until
/// one is inside (cycle walking: Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). Its keys are BLAKE3 of the seed
/// and of what is ordered.
#[derive(Clone, Debug)]
pub struct Permutation {
    n: u64,
    /// The bits of each half.
    bits: u32,
    keys: [u64; ROUNDS],
    /// Whether the numbers 0 and 1 change places.
    swaps: bool,
}

/// Luby and Rackoff 1988 need four where halves are long. Of short ones more are taken, so that every order of few numbers is as
/// likely as another.
const ROUNDS: usize = 16;

impl Permutation {
    /// The order of `n` numbers for a seed; those of other `what` are others.
    pub fn new(n: u64, seed: u64, what: &[u64]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("pellucid: order of an export");
        hasher.update(&seed.to_le_bytes());
        what.iter().for_each(|x| _ = hasher.update(&x.to_le_bytes()));
        let mut reader = hasher.finalize_xof();
        let key = |_| {
            let mut key = [0; 8];
            reader.fill(&mut key);
            u64::from_le_bytes(key)
        };
        let bits = (u64::BITS - n.saturating_sub(1).leading_zeros()).div_ceil(2).max(1);
        let keys = [0; ROUNDS + 1].map(key);
        // Rounds of halves of two bits or more are even permutations all: without a swap, half of the orders would never come.
        Self { n, bits, keys: std::array::from_fn(|i| keys[i]), swaps: n > 1 && keys[ROUNDS] & 1 == 1 }
    }

    /// Which number stands at place `at`, which is below `n`.
    pub fn at(&self, at: u64) -> u64 {
        let mask = (1 << self.bits) - 1;
        let mut x = at;
        loop {
            let halves = (x >> self.bits, x & mask);
            let step = |(left, right): (u64, u64), key: &u64| (right, left ^ (mix(key ^ right) & mask));
            let (left, right) = self.keys.iter().fold(halves, step);
            x = left << self.bits | right;
            // Whoever begins inside comes back inside: the walk is a circle.
            if x < self.n || at >= self.n {
                return if self.swaps && x < 2 { x ^ 1 } else { x };
            }
        }
    }
}

/// The documents of a corpus, each at its place in the order in which they are exported.
pub(super) enum Ordered {
    /// As they come.
    Corpus(Documents),
    /// Shuffled; and the next place.
    Shuffled(Box<Index>, Permutation, u64),
}

impl Ordered {
    /// The documents of `corpus`. Where they are shuffled, a file without a name in `folder` says where each begins.
    pub fn of(corpus: &Corpus, shuffle: Shuffle, seed: u64, folder: &Path, watch: &dyn Watch) -> Result<Self> {
        if shuffle != Shuffle::Documents {
            return Ok(Self::Corpus(corpus.documents()));
        }
        let index = Index::of(corpus, folder, &|| watch.at(0, 1))?;
        let order = Permutation::new(index.len(), seed, &[]);
        Ok(Self::Shuffled(Box::new(index), order, 0))
    }

    /// The next document and its place.
    pub fn next(&mut self) -> Result<Option<(u64, Document)>> {
        match self {
            Self::Corpus(documents) => Ok(documents.next().transpose()?.map(|document| (document.index, document))),
            Self::Shuffled(index, _, place) if *place >= index.len() => Ok(None),
            Self::Shuffled(index, order, place) => {
                *place += 1;
                Ok(Some((*place - 1, index.read(order.at(*place - 1))?)))
            }
        }
    }

    /// Goes on at `place` where that can be done without reading what is before it.
    pub fn skip_to(&mut self, to: u64) {
        if let Self::Shuffled(.., place) = self {
            *place = to;
        }
    }

    /// What there is to say of the corpus.
    pub fn notes(&self) -> Value {
        let documents = match self {
            Self::Corpus(documents) => documents,
            Self::Shuffled(index, ..) => index.pass(),
        };
        json!({"skipped": documents.skips(), "first_skipped": documents.skipped()})
    }
}

/// Rows of a block that wait until their window is full, and then leave in another order.
pub(super) struct Window<'a> {
    layout: &'a Layout,
    seed: u64,
    block: u64,
    /// How many windows are over.
    over: u64,
    rows: Rows,
}

/// Rows that leave a window together.
const TOGETHER: usize = 1024;

/// Bytes of a row while it waits: numbers in f32, places, and texts, each of which is an allocation.
pub(super) fn row_bytes(layout: &Layout) -> usize {
    4 * layout.hooks.iter().map(|hook| hook.width()).sum::<usize>() + 8 * layout.scalars.len() + 160
}

impl<'a> Window<'a> {
    /// No rows of `block`.
    pub fn of(layout: &'a Layout, seed: u64, block: u64) -> Self {
        Self { layout, seed, block, over: 0, rows: Rows::none(layout) }
    }

    /// Adds rows, and gives those away whose window is full: at once where there are no windows.
    pub fn push(&mut self, mut rows: Rows, take: &mut dyn FnMut(Rows) -> Result<()>) -> Result<()> {
        let Some(window) = self.layout.window else { return take(rows) };
        let mut from = 0;
        while from < rows.len() {
            if self.rows.is_empty() {
                // Once, so that they are not copied as they become more.
                for (values, hook) in self.rows.hooks.iter_mut().zip(&self.layout.hooks) {
                    match values {
                        Values::F32(values) => values.reserve_exact(window * hook.width()),
                        Values::U32(values) => values.reserve_exact(window * hook.width()),
                    }
                }
            }
            let to = rows.len().min(from + window - self.rows.len());
            self.rows.take(self.layout, &mut rows, from..to);
            from = to;
            if self.rows.len() == window {
                self.leave(take)?;
            }
        }
        Ok(())
    }

    /// Gives away what waits.
    pub fn leave(&mut self, take: &mut dyn FnMut(Rows) -> Result<()>) -> Result<()> {
        let mut rows = std::mem::replace(&mut self.rows, Rows::none(self.layout));
        let order = Permutation::new(rows.len() as u64, self.seed, &[self.block, self.over]);
        self.over += 1;
        for from in (0..rows.len()).step_by(TOGETHER) {
            let mut some = Rows::none(self.layout);
            for place in from..rows.len().min(from + TOGETHER) {
                let row = order.at(place as u64) as usize;
                some.take(self.layout, &mut rows, row..row + 1);
            }
            take(some)?;
        }
        Ok(())
    }
}
