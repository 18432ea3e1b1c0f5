//! What may happen to a run: it is killed or told to stop at any moment, the disk is full or may not be written, the system allows it
//! little. Files under final names are whole or not there, files of strangers are never touched, the program ends with a code and a
//! sentence, and the next run gives the bytes of one that nobody disturbed and leaves nothing else.
#![cfg(unix)]

mod disk;
mod kills;
mod limits;
mod merged;
pub mod run;
mod signals;
mod stopped;
pub mod writers;
