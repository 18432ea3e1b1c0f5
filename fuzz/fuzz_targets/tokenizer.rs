//! tokenizer.json, tokenizer_config.json and a text, with a byte 0xFF between them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pellucid::text::{Bos, Tokenizer};
use pellucid_fuzz::{Folder, check, ensure, fixture, three};

fuzz_target!(|bytes: &[u8]| {
    let [tokenizer, config, text] = three(bytes);
    let mut files = vec![("config.json", fixture("config.json")), ("tokenizer.json", tokenizer)];
    if !config.is_empty() {
        files.push(("tokenizer_config.json", config));
    }
    let folder = Folder::with(&files);
    let Some(Some(tokenizer)) = check(|| Tokenizer::load(folder.path())) else { return };
    for text in [&String::from_utf8_lossy(text), "Anna gave a book to"] {
        let Some(tokens) = check(|| tokenizer.encode(text, Bos::AsTokenizer)) else { continue };
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        check(|| tokenizer.decode(&ids));
        for token in tokens {
            let range = token.bytes.unwrap_or_default();
            ensure(text.as_bytes().get(range).is_some(), "a token stands for bytes that the text does not have");
        }
    }
    check(|| tokenizer.single_token(" Anna"));
    tokenizer.token(0);
    tokenizer.token(u32::MAX);
});
