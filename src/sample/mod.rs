//! From logits to a next token: penalties, temperature, and samplers that cut the candidates, in any order; and the draw.
//!
//! There is one definition of each sampler. Candidates stand in the order of their logits, of equals the lower id first. **top-k**
//! (Fan et al. 2018) keeps the first k. **top-p** (Holtzman et al. 2020) keeps a token if the mass of those before it is less than p.
//! **min-p** (Nguyen et al. 2024) keeps it if its probability is at least p times the largest. **typical** (Meister et al. 2022) orders
//! tokens by how far their surprise is from the entropy, and keeps them through the first at which the mass reaches p. Each looks at the
//! distribution that it is handed, over the tokens that are left. All of it is computed in f64 over the whole vocabulary.

mod chain;
mod draw;
mod options;
mod pool;

pub use chain::{Chain, Context, Engine, Sampler, Step, Ties};
pub use draw::uniform;
pub use options::{Defaults, GenerationConfig, Sampling};
pub use pool::{Cut, Drawn, Pool};

/// The distance from a threshold within which another program, or another order of a sum, may decide otherwise.
pub const CLOSE: f64 = 1e-6;
