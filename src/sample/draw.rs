//! The number by which a token is drawn.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The number from 0 to 1 by which trace `trace` draws at `step`: the same whatever else is drawn.
pub fn uniform(seed: u64, trace: u64, step: u64) -> f64 {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(trace);
    // A draw of f64 takes two words.
    random.set_word_pos(u128::from(step) * 2);
    random.random()
}
