//! A token drawn from a pool.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{CLOSE, Pool};

/// What was drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// The token.
    pub id: u32,
    /// Whether the draw is so near the end of its share that the last bits of a sum decide.
    pub close: bool,
}

/// The number from 0 to 1 by which trace `trace` draws at `step`: the same whatever else is drawn.
pub fn uniform(seed: u64, trace: u64, step: u64) -> f64 {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(trace);
    // A draw of f64 takes two words.
    random.set_word_pos(u128::from(step) * 2);
    random.random()
}

/// The candidate in whose share of 0 to 1 `at` lies; shares stand in the order of candidates.
pub fn draw(pool: &Pool, at: f64) -> Drawn {
    let mut before = 0.0;
    for (i, id) in pool.kept.iter().enumerate() {
        let end = before + pool.sampled[*id as usize];
        let last = i + 1 == pool.kept.len();
        if at < end || last {
            let close = (i > 0 && at - before < CLOSE) || (!last && (end - at).abs() < CLOSE);
            return Drawn { id: *id, close };
        }
        before = end;
    }
    Drawn { id: 0, close: true }
}
