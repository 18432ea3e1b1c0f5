//! Position: how does the model know what came first?
//!
//! By what it is: learned vectors, of which it is shown how alike they are, along which components they lie and which waves are in them;
//! rotary angles (Su et al. 2021) with the model's own scaling; ALiBi's slopes (Press et al. 2021); or the mask alone. And for all kinds
//! one picture: the score of a query and a key if the key's word stood further away ([`decay`]); and one experiment: what comes next if
//! positions are made equal, or two words swapped ([`boards`]).

pub mod boards;
pub mod decay;
pub mod kinds;
pub mod learned;
mod options;
pub mod rows;
mod scheme;
mod swap;
mod view;

pub use boards::Unplaced;
pub use decay::Asked;
pub use options::Position;
pub use rows::*;
