//! A request from beginning to end: the model it names, the prompts it gives, the folder its results go to.

#[cfg(feature = "charts")]
pub mod analysis;
pub mod claim;
pub mod folder;
mod lock;
pub mod open;
pub mod owned;
pub mod pairs;
pub mod parts;
pub mod plan;
pub mod prompts;
pub mod records;
#[cfg(feature = "charts")]
pub mod request;
#[cfg(feature = "charts")]
pub mod sink;
pub mod spaces;
mod vector;

#[cfg(feature = "charts")]
pub use analysis::{Analysis, Input, On, Results};
pub use claim::{Claim, Claiming, Waiting};
pub use folder::RunFolder;
pub use open::Session;
pub use parts::Parts;
pub use plan::Plan;
#[cfg(feature = "charts")]
pub use request::{Pairs, Prompts, Request, Swept, WithDataset, chosen, options};
#[cfg(feature = "charts")]
pub use sink::{Found, Sink, To};
pub use vector::read_vector;

/// A number that cannot be 0, as an option.
///
/// # Errors
/// When it is 0, or none.
pub fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("0 is not in 1..".into()),
        Ok(n) => Ok(n),
        Err(e) => Err(e.to_string()),
    }
}
