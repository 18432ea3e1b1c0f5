//! Each analysis against an independent reference, and as a person runs it.

pub mod answers;
pub mod attention;
pub mod attribute;
pub mod cost;
pub mod export;
pub mod export_memory;
pub mod export_python;
pub mod export_shuffle;
pub mod finite;
pub mod generate;
pub mod loss;
pub mod neurons;
pub mod neurons_corpus;
pub mod next;
pub mod packing;
pub mod patch_cli;
pub mod patch_pairs;
pub mod path;
pub mod path_cli;
pub mod positions;
pub mod residual;
pub mod tokens;
pub mod verify;
pub mod verify_degenerate;
