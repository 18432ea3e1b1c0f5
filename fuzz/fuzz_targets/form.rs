//! What a client sends to `explain --serve`: a request with a form, to port 7. It is refused, or gives a prompt of some length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid_fuzz::{check, ensure};

fuzz_target!(|bytes: &[u8]| {
    let form = check(|| Ok(pellucid::cli::form(bytes, 7))).flatten();
    if let Some((prompt, language)) = form {
        ensure(!prompt.is_empty() && prompt.len() <= 4096, "a prompt of this length is not taken");
        ensure(["en", "zh", "both"].contains(&language), "a language that there is not");
        // Empty lines may come before a request (RFC 9112, 2.2).
        let begins = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(0);
        ensure(bytes[begins..].starts_with(b"POST / "), "only a form that is sent has a prompt");
    }
});
