//! The forward pass, and the files that weights come from: against Hugging Face, against formulas, against laws.

pub mod dtypes;
pub mod law;
pub mod laws;
pub mod maps;
pub mod modules;
pub mod naive;
pub mod oracle;
pub mod parity;
pub mod process;
pub mod random_specs;
pub mod smollm2;
pub mod stored;
pub mod torch;
