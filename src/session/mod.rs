//! A request from beginning to end: the model it names, the prompts it gives, the folder its results go to.

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
pub mod request;
pub mod run;
pub mod sink;
pub mod spaces;
mod vector;
pub(crate) mod words;

pub use analysis::{Analysis, Input, On, Results};
pub use claim::{Claim, Claiming, Waiting};
pub use folder::RunFolder;
pub use open::Session;
pub use parts::Parts;
pub use plan::Plan;
pub use request::{Pairs, Prompts, Request, Swept, WithDataset, chosen, options};
pub use run::Tables;
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
