//! Data sets on disk: written, cut, resumed, shared out and joined, with rows that no model made.

mod made;
mod merged;
mod readers;
mod resumed;
mod rounded;
mod written;
