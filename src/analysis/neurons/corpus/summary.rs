//! What is known of many columns of activations after some tokens of a corpus.
//!
//! Columns are worked on in chunks that stay in cache, each by one thread and in the order of the tokens, so that no sum depends on the
//! number of threads. Sums are kept for each part of a corpus and added in the parts' order, heaps and samples depend on no order: so
//! whoever reads which parts, what they come to is the same.

use std::ops::Range;

use rayon::prelude::*;

use super::heap::{Entry, Furthest};
use super::moments::Moments;
use super::sample::Sample;
use super::words::Frequent;
use crate::ops::simd::vectorise;

/// Columns of a chunk.
const CHUNK: usize = 128;

/// What is kept of a corpus.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// Examples at each end.
    pub examples: usize,
    /// Tokens of the sample.
    pub sample: usize,
    /// Frequent tokens of which means are taken.
    pub words: usize,
    pub seed: u64,
}

/// Values of some tokens, which come in the order of the corpus.
pub(super) struct Batch<'a> {
    /// Of each hook its values, `[tokens][width]`.
    pub hooks: Vec<&'a [f32]>,
    pub doc: &'a [u32],
    /// Positions in their document.
    pub pos: &'a [u32],
    /// Their numbers among the frequent ones.
    pub word: &'a [Option<u32>],
}

/// Sums over some tokens.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    /// Of all tokens.
    pub all: Moments,
    /// Of the frequent ones.
    pub frequent: Moments,
    /// Of each frequent one its sum, column by column.
    pub words: Vec<f64>,
}

impl Sums {
    fn none(columns: usize, words: usize) -> Self {
        Self { all: Moments::none(columns), frequent: Moments::none(columns), words: vec![0.0; words * columns] }
    }

    pub fn add(&mut self, other: &Self) {
        self.all.add(&other.all);
        self.frequent.add(&other.frequent);
        self.words.iter_mut().zip(&other.words).for_each(|(sum, x)| *sum += x);
    }
}

/// Neighbouring columns of one hook.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    hook: usize,
    columns: Range<usize>,
    pub sums: Sums,
    pub positive: Vec<u64>,
    pub least: Vec<f32>,
    pub most: Vec<f32>,
    pub top: Furthest,
    pub bottom: Furthest,
}

/// What is known of all columns.
pub(super) struct Summary {
    pub chunks: Vec<Chunk>,
    /// Of each column its chunk and its place there.
    places: Vec<(usize, usize)>,
    pub sample: Sample,
    pub frequent: Frequent,
}

/// What is known of one column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub tokens: u64,
    pub positive: u64,
    pub mean: f64,
    /// The deviation of all tokens, as of the whole that they are.
    pub std: f64,
    pub least: f32,
    pub most: f32,
    pub token_only_r2: Option<f64>,
    pub top: Vec<Entry>,
    pub bottom: Vec<Entry>,
}

/// Bytes of a column.
pub(super) fn column_bytes(kept: &Kept) -> usize {
    let sums = 8 * (4 + kept.words);
    sums + 16 + 2 * Furthest::bytes(kept.examples) + 4 * kept.sample
}

impl Summary {
    /// Of nothing yet. `columns` are those of each hook, in their order.
    pub fn none(columns: &[(usize, Range<usize>)], kept: &Kept, frequent: Frequent) -> Self {
        let (mut chunks, mut places, words) = (vec![], vec![], frequent.len());
        for (hook, columns) in columns {
            for from in columns.clone().step_by(CHUNK) {
                let to = (from + CHUNK).min(columns.end);
                let n = to - from;
                places.extend((0..n).map(|i| (chunks.len(), i)));
                chunks.push(Chunk {
                    hook: *hook,
                    columns: from..to,
                    sums: Sums::none(n, words),
                    positive: vec![0; n],
                    least: vec![f32::INFINITY; n],
                    most: vec![f32::NEG_INFINITY; n],
                    top: Furthest::none(n, kept.examples, 1.0),
                    bottom: Furthest::none(n, kept.examples, -1.0),
                });
            }
        }
        let sample = Sample::none(places.len(), kept.sample, kept.seed);
        Self { chunks, places, sample, frequent }
    }

    /// Takes further tokens.
    pub fn take(&mut self, batch: &Batch<'_>) {
        let (n, words) = (batch.doc.len(), self.frequent.len());
        if n == 0 {
            return;
        }
        self.chunks.par_iter_mut().for_each(|chunk| chunk.take(batch, words));
        let chunks = &self.chunks;
        for t in 0..n {
            self.sample.take(batch.doc[t], batch.pos[t], |to| {
                let mut at = 0;
                for chunk in chunks {
                    let (x, own) = (batch.hooks[chunk.hook], chunk.columns.clone());
                    let row = &x[t * (x.len() / n)..][own];
                    to[at..at + row.len()].copy_from_slice(row);
                    at += row.len();
                }
            });
        }
    }

    /// What is known of a column.
    pub fn column(&self, column: usize) -> Column {
        let (chunk, i) = self.places[column];
        let chunk = &self.chunks[chunk];
        let (all, frequent, width) = (&chunk.sums.all, &chunk.sums.frequent, chunk.columns.len());
        let sums = (0..self.frequent.len()).map(|word| chunk.sums.words[word * width + i]);
        Column {
            tokens: all.n,
            positive: chunk.positive[i],
            mean: all.mean[i],
            std: (all.squares[i] / all.n as f64).sqrt(),
            least: chunk.least[i],
            most: chunk.most[i],
            token_only_r2: self.frequent.explained(sums, frequent.squares[i]),
            top: chunk.top.of(i),
            bottom: chunk.bottom.of(i),
        }
    }
}

/// The furthest values of a document's tokens in each column, and where they are.
struct Ends {
    most: [f32; CHUNK],
    least: [f32; CHUNK],
    at_most: [u32; CHUNK],
    at_least: [u32; CHUNK],
    positive: [u32; CHUNK],
}

impl Ends {
    /// Of these rows, which are counted from 0.
    fn of<'x>(rows: impl Iterator<Item = &'x [f32]>) -> Self {
        let mut ends = Self {
            most: [f32::NEG_INFINITY; CHUNK],
            least: [f32::INFINITY; CHUNK],
            at_most: [0; CHUNK],
            at_least: [0; CHUNK],
            positive: [0; CHUNK],
        };
        vectorise!(for (at, row) in rows.enumerate() {
            let at = at as u32;
            let most = ends.most.iter_mut().zip(&mut ends.at_most);
            let least = ends.least.iter_mut().zip(&mut ends.at_least);
            for (((x, (most, at_most)), (least, at_least)), positive) in
                row.iter().zip(most).zip(least).zip(&mut ends.positive)
            {
                // The first of equals stays.
                let (more, less) = (*x > *most, *x < *least);
                *most = if more { *x } else { *most };
                *at_most = if more { at } else { *at_most };
                *least = if less { *x } else { *least };
                *at_least = if less { at } else { *at_least };
                *positive += u32::from(*x > 0.0);
            }
        });
        ends
    }
}

impl Chunk {
    fn take(&mut self, batch: &Batch<'_>, words: usize) {
        let (n, x, own) = (batch.doc.len(), batch.hooks[self.hook], self.columns.clone());
        let (stride, width) = (x.len() / n, own.len());
        let row = |t: usize| &x[t * stride..][own.clone()];
        self.sums.all.add(&Moments::of(width, (0..n).map(row)));
        if words > 0 {
            let frequent = (0..n).filter(|t| batch.word[*t].is_some());
            self.sums.frequent.add(&Moments::of(width, frequent.map(row)));
            vectorise!(for (t, word) in batch.word.iter().enumerate() {
                if let Some(word) = word {
                    let sums = &mut self.sums.words[*word as usize * width..][..width];
                    for (sum, x) in sums.iter_mut().zip(row(t)) {
                        *sum += f64::from(*x);
                    }
                }
            });
        }
        let mut from = 0;
        for own in batch.doc.chunk_by(|a, b| a == b) {
            let ends = Ends::of((from..from + own.len()).map(row));
            for i in 0..width {
                self.positive[i] += u64::from(ends.positive[i]);
                self.least[i] = self.least[i].min(ends.least[i]);
                self.most[i] = self.most[i].max(ends.most[i]);
                let entry = |value: f32, at: u32| Entry { value, doc: own[0], pos: batch.pos[from + at as usize] };
                self.top.take(i, entry(ends.most[i], ends.at_most[i]));
                self.bottom.take(i, entry(ends.least[i], ends.at_least[i]));
            }
            from += own.len();
        }
    }
}
