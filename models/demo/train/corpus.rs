//! The text as tokens: the tokenizer that is trained on it, and the batches that a step trains on.

use anyhow::{Result, anyhow};
use pellucid::model::Batch;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rayon::prelude::*;
use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

use super::grammar::{self, Random, Split};
use super::shape::{BOS, N_CTX};

/// Texts that the tokenizer learns from.
const TOKENIZER_TEXTS: usize = 40_000;
/// At most this many entries; a text of so few words needs fewer, and then every word has one.
const VOCABULARY: usize = 2048;
/// Sequences of one step.
pub const SEQUENCES: usize = 24;
/// One sequence in so many has as many positions as the model; the others have half of them.
const LONG: u32 = 4;
/// Percentages of sequences that repeat random tokens, and of those that repeat random words of the text. The others are
/// text.
const REPETITIONS: [u32; 2] = [25, 10];

/// The random numbers of one purpose: a step of training, or one of the uses below.
pub fn random(seed: u64, stream: u64) -> Random {
    let mut random = Random::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

/// Streams of random numbers that no step uses.
pub mod streams {
    /// For the tokenizer's texts.
    pub const TOKENIZER: u64 = u64::MAX;
    /// For the first weights.
    pub const WEIGHTS: u64 = u64::MAX - 1;
    /// For the held-out batch.
    pub const HELD_OUT: u64 = u64::MAX - 2;
    /// For questions.
    pub const QUESTIONS: u64 = u64::MAX - 3;
}

/// Trains the byte-level BPE tokenizer on texts of training.
pub fn train_tokenizer(seed: u64) -> Result<Tokenizer> {
    let mut random = random(seed, streams::TOKENIZER);
    let texts = (0..TOKENIZER_TEXTS).map(|_| grammar::document(&mut random, Split::Train)).collect::<Vec<_>>();
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer
        .with_pre_tokenizer(Some(ByteLevel::new(false, true, true)))
        .with_decoder(Some(ByteLevelDecoder::default()));
    let mut trainer = TrainerWrapper::BpeTrainer(
        BpeTrainer::builder()
            .vocab_size(VOCABULARY)
            .min_frequency(2)
            .show_progress(false)
            .special_tokens(vec![AddedToken::from(BOS, true)])
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build(),
    );
    // A text begins with a capital or after a line break in training; both spellings are learned from the texts.
    tokenizer.train(&mut trainer, texts.into_iter()).map_err(|e| anyhow!("the tokenizer cannot be trained: {e}"))?;
    let bos = tokenizer.token_to_id(BOS).ok_or_else(|| anyhow!("the tokenizer has no {BOS}"))?;
    let begin = TemplateProcessing::builder()
        .try_single(format!("{BOS} $A"))
        .map_err(|e| anyhow!("{e}"))?
        .special_tokens(vec![(BOS, bos)])
        .build()?;
    tokenizer.with_post_processor(Some(begin));
    Ok(tokenizer)
}

/// Makes batches from a seed.
pub struct Corpus {
    tokenizer: Tokenizer,
    seed: u64,
}

impl Corpus {
    /// Batches of `tokenizer`'s tokens.
    pub fn new(tokenizer: Tokenizer, seed: u64) -> Self {
        Self { tokenizer, seed }
    }

    /// Entries of the vocabulary.
    pub fn d_vocab(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// BLAKE3 over the tokens of the first `steps` steps: over their hashes in order, each over its sequences, and of each
    /// its length and tokens as 32-bit little-endian numbers.
    pub fn hash(&self, steps: u64) -> Result<String> {
        let hashes = (0..steps)
            .into_par_iter()
            .map(|step| {
                let mut hasher = blake3::Hasher::new();
                for ids in self.step(step)? {
                    hasher.update(&(ids.len() as u32).to_le_bytes());
                    for id in ids {
                        hasher.update(&id.to_le_bytes());
                    }
                }
                Ok(hasher.finalize())
            })
            .collect::<Result<Vec<_>>>()?;
        let mut hasher = blake3::Hasher::new();
        for hash in hashes {
            hasher.update(hash.as_bytes());
        }
        Ok(format!("blake3:{}", hasher.finalize().to_hex()))
    }

    /// The sequences of one step.
    pub fn step(&self, step: u64) -> Result<Vec<Vec<u32>>> {
        self.sequences(step, Split::Train, SEQUENCES)
    }

    /// Sequences of held-out combinations, always the same.
    pub fn held_out(&self) -> Result<Vec<Vec<u32>>> {
        self.sequences(streams::HELD_OUT, Split::HeldOut, 64)
    }

    fn sequences(&self, stream: u64, split: Split, n: usize) -> Result<Vec<Vec<u32>>> {
        let mut random = random(self.seed, stream);
        (0..n)
            .map(|_| {
                let most = if random.random_ratio(1, LONG) { N_CTX } else { N_CTX / 2 };
                let (kind, [tokens, words]) = (random.random_range(0..100), REPETITIONS);
                let (len, repeats) = (random.random_range(4..=28), random.random_range(2..=4));
                let mut sequence = if kind < tokens {
                    repeated(&mut random, self.d_vocab(), len, repeats)
                } else if kind < tokens + words {
                    let mut words = self.texts(&mut random, split)?;
                    words.remove(0);
                    words.shuffle(&mut random);
                    words.truncate(len);
                    again(words, repeats)
                } else {
                    self.texts(&mut random, split)?
                };
                sequence.truncate(most);
                Ok(sequence)
            })
            .collect()
    }

    /// The beginning token and texts, one on each line, as many as fit.
    fn texts(&self, random: &mut Random, split: Split) -> Result<Vec<u32>> {
        let mut ids = vec![0];
        while ids.len() < N_CTX {
            let line = if ids.len() == 1 { "" } else { "\n" };
            let text = format!("{line}{}", grammar::document(random, split));
            let encoding = self.tokenizer.encode_fast(text, false).map_err(|e| anyhow!("{e}"))?;
            ids.extend_from_slice(encoding.get_ids());
        }
        ids.truncate(N_CTX);
        Ok(ids)
    }
}

/// The beginning token and `len` random tokens, `repeats` times over, as far as there are positions.
pub fn repeated(random: &mut Random, d_vocab: usize, len: usize, repeats: usize) -> Vec<u32> {
    let once: Vec<u32> = (0..len).map(|_| random.random_range(1..d_vocab as u32)).collect();
    again(once, repeats)
}

/// The beginning token and `once`, `repeats` times over, as far as there are positions.
fn again(once: Vec<u32>, repeats: usize) -> Vec<u32> {
    let n = once.len() * repeats;
    std::iter::once(0).chain(once.into_iter().cycle().take(n)).take(N_CTX).collect()
}

/// A pack of sequences, the rows that predict, and what they should predict.
pub fn to_learn(sequences: &[Vec<u32>]) -> (Batch, Vec<u32>, Vec<u32>) {
    let (mut rows, mut targets, mut first) = (vec![], vec![], 0u32);
    for ids in sequences {
        let last = ids.len() as u32 - 1;
        rows.extend(first..first + last);
        targets.extend_from_slice(&ids[1..]);
        first += last + 1;
    }
    (Batch::of(sequences.iter().cloned()), rows, targets)
}
