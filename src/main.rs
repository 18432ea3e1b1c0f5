//! The `pellucid` program. Everything it does is a call into the library; this is where it starts and ends.

use std::process::ExitCode;

fn main() -> ExitCode {
    pellucid::cli::main()
}
