//! The `pellucid` program. Everything it does is a call into the library; this is where it starts and ends.

use std::process::ExitCode;

use pellucid::limits::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    pellucid::cli::main()
}
