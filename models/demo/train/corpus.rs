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
/// Random tokens are drawn from so many at first.
const FEWEST: f64 = 24.0;
/// One sequence in so many has as many positions as the model; the others have half of them.
const LONG: u32 = 4;
/// Percentage of sequences that repeat random tokens: at first, when a quarter of the first cycle is over, and in the second.
const REPETITIONS: [f64; 3] = [85.0, 22.0, 10.0];
/// Percentage of the other sequences that repeat random words of the text; what is left is text.
const WORDS: u32 = 12;

/// Of so many steps, those of the first cycle: there the learning rate has fallen to nothing for the first time.
pub fn first_cycle(steps: u64) -> u64 {
    steps * 4 / 5
}

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
    /// For questions about who receives, in both orders of the names.
    pub const ORDERS: u64 = u64::MAX - 4;
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

/// What a step's sequences are.
#[derive(Clone, Copy)]
struct Mix {
    /// Percentage of those that repeat random tokens.
    repetitions: u32,
    /// How many different tokens these have.
    alphabet: u32,
}

/// Makes batches from a seed.
pub struct Corpus {
    tokenizer: Tokenizer,
    seed: u64,
    steps: u64,
}

impl Corpus {
    /// Batches of `tokenizer`'s tokens, for a training of so many steps.
    pub fn new(tokenizer: Tokenizer, seed: u64, steps: u64) -> Self {
        Self { tokenizer, seed, steps }
    }

    /// Entries of the vocabulary.
    pub fn d_vocab(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// BLAKE3 over the tokens of all steps: over their hashes in order, each over its sequences, and of each
    /// its length and tokens as 32-bit little-endian numbers.
    pub fn hash(&self) -> Result<String> {
        let hashes = (0..self.steps)
            .into_par_iter()
            .map(|step| {
                let mut hasher = blake3::Hasher::new();
                for Sequence { ids, .. } in self.step(step)? {
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

    /// The sequences of one step. In the first quarter of the first cycle, repetitions are many and of few different tokens, and
    /// become fewer and of all: a head learns what to look for on the few, and then for every token. Mixed with as much
    /// text from the start, it did not learn it within a thousand steps, and with these it takes some hundred.
    pub fn step(&self, step: u64) -> Result<Vec<Sequence>> {
        let first_cycle = first_cycle(self.steps);
        let over = (4.0 * step as f64 / first_cycle.max(1) as f64).min(1.0);
        let all = self.d_vocab() as f64 - 1.0;
        let [first, then, last] = REPETITIONS;
        let repetitions = if step < first_cycle { first + (then - first) * over } else { last };
        let alphabet = (FEWEST * (all / FEWEST).powf(over)) as u32;
        let mix = Mix { repetitions: repetitions as u32, alphabet };
        self.sequences(step, Split::Train, SEQUENCES, mix)
    }

    /// Sequences of held-out combinations, always the same.
    pub fn held_out(&self) -> Result<Vec<Sequence>> {
        let mix = Mix { repetitions: REPETITIONS[1] as u32, alphabet: self.d_vocab() as u32 - 1 };
        self.sequences(streams::HELD_OUT, Split::HeldOut, 64, mix)
    }

    fn sequences(&self, stream: u64, split: Split, n: usize, mix: Mix) -> Result<Vec<Sequence>> {
        let mut random = random(self.seed, stream);
        (0..n)
            .map(|_| {
                let most = if random.random_ratio(1, LONG) { N_CTX } else { N_CTX / 2 };
                let (len, repeats) = (random.random_range(4..=28), random.random_range(2..=4));
                let (mut ids, unknowable) = if random.random_range(0..100) < mix.repetitions {
                    (repeated(&mut random, mix.alphabet, len, repeats), len)
                } else if random.random_range(0..100) < WORDS {
                    let mut words = self.texts(&mut random, split)?;
                    words.remove(0);
                    words.shuffle(&mut random);
                    words.truncate(len);
                    (again(words, repeats), len)
                } else {
                    (self.texts(&mut random, split)?, 0)
                };
                ids.truncate(most);
                Ok(Sequence { ids, unknowable })
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

/// What a model is trained on in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The tokens, the beginning token first.
    pub ids: Vec<u32>,
    /// So many after the first were drawn at random: nobody could guess them, and nothing is learned from failing to.
    pub unknowable: usize,
}

/// The beginning token and `len` of the first `alphabet` tokens after it, drawn at random, `repeats` times over, as far as
/// there are positions.
pub fn repeated(random: &mut Random, alphabet: u32, len: usize, repeats: usize) -> Vec<u32> {
    let once: Vec<u32> = (0..len).map(|_| random.random_range(1..=alphabet)).collect();
    again(once, repeats)
}

/// The beginning token and `once`, `repeats` times over, as far as there are positions.
fn again(once: Vec<u32>, repeats: usize) -> Vec<u32> {
    let n = once.len() * repeats;
    std::iter::once(0).chain(once.into_iter().cycle().take(n)).take(N_CTX).collect()
}

/// A pack of sequences, the rows that predict, and what they should predict.
pub fn to_learn(sequences: &[Sequence]) -> (Batch, Vec<u32>, Vec<u32>) {
    let (mut rows, mut targets, mut first) = (vec![], vec![], 0u32);
    for Sequence { ids, unknowable } in sequences {
        let last = ids.len() as u32 - 1;
        rows.extend((first..first + last).skip(*unknowable));
        targets.extend(ids[1..].iter().skip(*unknowable));
        first += last + 1;
    }
    (Batch::of(sequences.iter().map(|s| s.ids.clone())), rows, targets)
}
