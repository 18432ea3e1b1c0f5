//! Hooks: the table of sites, their names, and what can be done at them.

pub mod cache;
pub mod change;
pub mod edit;
pub mod finite;
pub mod gradients;
pub mod point;
pub mod site;
pub mod tap;

pub use crate::ops::rows::Rows;
pub use cache::Cache;
pub use change::{Change, Changed, How};
pub use edit::Edit;
pub use finite::{FirstNotFinite, NotFinite};
pub use gradients::Gradients;
pub use point::{HookPoint, select, select_in};
pub use site::Site;
pub use tap::{Hook, Tap};
