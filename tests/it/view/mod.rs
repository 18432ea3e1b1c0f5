//! Figures of tables, and their words.

pub mod any;
pub mod attribution;
pub mod chart;
pub mod facts;
pub mod patch;
pub mod scale;
pub mod strongest;
pub mod training;
