//! Tables: written, read back, streamed, and what their rows say.

pub mod files;
pub mod memory;
pub mod older;
pub mod order;
pub mod says;
pub mod text;
