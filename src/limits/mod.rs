//! What the system lets this process have: address space, stack, threads. A library only asks; the program arranges itself with what
//! there is, and says in a sentence what there is too little of.

pub mod allocator;
pub mod disk;
pub mod room;
pub mod stack;
pub mod starved;
pub mod threads;

pub use allocator::Allocator;
pub use disk::free_bytes;
pub use room::{Room, room};
