//! The tokenizers of GPT-2 and Llama 2 on 47 awkward strings each, against the ids expected for them.

use std::path::Path;

use pellucid::error::Result;
use pellucid::text::{Bos, Token, Tokenizer};
use proptest::prelude::*;

const CASES: usize = 47;

fn load(dir: &Path) -> Result<Tokenizer> {
    Ok(Tokenizer::load(dir)?.expect("this folder has a tokenizer"))
}

/// The strings and the ids expected for each, without BOS.
fn cases(input: &Path) -> Result<Vec<(String, Vec<u32>)>> {
    let text = fs_err::read_to_string(input)?;
    let expected = fs_err::read_to_string(input.with_extension("out"))?;
    let ids = expected.lines().map(|line| line.split_whitespace().map(|id| id.parse().expect("an id")).collect());
    // The last case is the empty string, whose line of ids is not there when the file does not end in a newline twice.
    let ids = ids.chain([Vec::new()]);
    let cases: Vec<_> = text.split("\n__ggml_vocab_test__\n").map(str::to_owned).zip(ids).collect();
    assert_eq!(cases.len(), CASES);
    Ok(cases)
}

fn ids(tokens: &[Token]) -> Vec<u32> {
    tokens.iter().map(|t| t.id).collect()
}

/// The prompt put together again from the bytes of its tokens, which must be in order and must not overlap.
fn covered(text: &str, tokens: &[Token]) -> Vec<u8> {
    let mut end = 0;
    let mut bytes = Vec::new();
    for range in tokens.iter().filter_map(|t| t.bytes.clone()) {
        assert!(range.start >= end && range.end >= range.start, "{range:?} after {end} in {text:?}");
        end = range.end;
        bytes.extend_from_slice(&text.as_bytes()[range]);
    }
    bytes
}

/// GPT-2's tokenizer.json, and in a folder of its own the older pair of files.
fn gpt2_both_ways(dir: &Path) -> Result<(Tokenizer, Tokenizer)> {
    let older = tempfile::tempdir()?;
    for file in ["encoder.json", "vocab.bpe"] {
        fs_err::copy(dir.join(file), older.path().join(file))?;
    }
    Ok((load(dir)?, load(older.path())?))
}

#[test]
fn gpt2_encodes_every_case_from_either_kind_of_file() -> Result<()> {
    let (json, older) = gpt2_both_ways(&shared_or_skip!("tokenizers/gpt2"))?;
    for (text, expected) in cases(&shared_or_skip!("tokenizers/cases-gpt-2.inp"))? {
        for tokenizer in [&json, &older] {
            let tokens = tokenizer.encode(&text, Bos::AsTokenizer)?;
            assert_eq!(ids(&tokens), expected, "{text:?}");
            assert_eq!(covered(&text, &tokens), text.as_bytes(), "{text:?}");
            assert_eq!(tokenizer.decode(&expected)?, text);
        }
    }
    Ok(())
}

#[test]
fn llama_encodes_every_case() -> Result<()> {
    let llama = load(&shared_or_skip!("tokenizers/llama2-32k"))?;
    for (text, expected) in cases(&shared_or_skip!("tokenizers/cases-llama-spm.inp"))? {
        let plain = llama.encode(&text, Bos::Never)?;
        assert_eq!(ids(&plain), expected, "{text:?}");
        assert_eq!(covered(&text, &plain), text.as_bytes(), "{text:?}");

        let with_bos = llama.encode(&text, Bos::AsTokenizer)?;
        let (bos, rest) = with_bos.split_first().expect("BOS at least");
        assert_eq!((bos.id, &bos.text[..], &bos.bytes, bos.special), (1, "<s>", &None, true));
        assert_eq!(rest, plain);
        assert_eq!(llama.encode(&text, Bos::Always)?, with_bos, "BOS is there already");
    }
    Ok(())
}

#[test]
fn gpt2_takes_any_text_apart_and_puts_it_together() -> Result<()> {
    let (json, older) = gpt2_both_ways(&shared_or_skip!("tokenizers/gpt2"))?;
    let awkward = prop::collection::vec(
        prop_oneof![
            any::<char>(),
            prop::sample::select(" \n\t\r'aZ0éß漢🚀\u{301}\u{200d}\u{1f3fd}<|>_".chars().collect::<Vec<_>>())
        ],
        0..40,
    );
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }, |(chars in awkward)| {
        let text: String = chars.into_iter().collect();
        let tokens = json.encode(&text, Bos::AsTokenizer)?;
        prop_assert_eq!(covered(&text, &tokens), text.as_bytes());
        prop_assert_eq!(json.decode(&ids(&tokens))?, &text[..]);
        prop_assert_eq!(older.encode(&text, Bos::AsTokenizer)?, tokens);
    });
    Ok(())
}

/// Invariant: Every token knows which bytes of the prompt it covers.
#[test]
fn byte_ranges_are_in_order_whatever_the_tokenizer_did_to_the_text() -> Result<()> {
    // Pythia's normalises to NFC and leaves spaces out of its offsets; stories260k's collapses them.
    for rel in ["tokenizers/neox-20b", "tokenizers/llama2-32k", "models/stories260k", "models/nano-gpt-sort"] {
        let tokenizer = load(&shared_or_skip!(rel))?;
        let awkward = prop::collection::vec(
            prop_oneof![any::<char>(), prop::sample::select("  \nabcABC</s>e\u{301}漢🚀".chars().collect::<Vec<_>>())],
            0..30,
        );
        proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }, |(chars in awkward)| {
            let text: String = chars.into_iter().collect();
            let tokens = tokenizer.encode(&text, Bos::AsTokenizer)?;
            prop_assert!(covered(&text, &tokens).len() <= text.len());
        });
    }
    Ok(())
}

#[test]
fn pythia_covers_spaces_that_its_offsets_leave_out() -> Result<()> {
    let pythia = load(&shared_or_skip!("tokenizers/neox-20b"))?;
    // The combining accent is normalised away, so the text as a whole does not match what the tokens spell.
    for text in ["Hello  world,   \n it is 🚀", "cafe\u{301} and  more 🚀"] {
        let tokens = pythia.encode(text, Bos::AsTokenizer)?;
        assert_eq!(covered(text, &tokens), text.as_bytes(), "{tokens:?}");
    }
    Ok(())
}

#[test]
fn a_split_emoji_is_legible_and_its_bytes_are_shared_out() -> Result<()> {
    for rel in ["tokenizers/gpt2", "tokenizers/llama2-32k"] {
        let tokenizer = load(&shared_or_skip!(rel))?;
        let tokens = tokenizer.encode("a🚀", Bos::Never)?;
        let rocket = &tokens[1..];
        assert!(rocket.len() > 1 && rocket.iter().all(|t| t.text.starts_with(r"\x")), "{rocket:?}");
        assert_eq!(rocket.iter().map(|t| &t.text[..]).collect::<String>(), r"\xF0\x9F\x9A\x80");
        assert_eq!(rocket[0].bytes.clone().map(|r| r.start), Some(1));
        assert_eq!(rocket.last().and_then(|t| t.bytes.clone()).map(|r| r.end), Some(5));
    }
    Ok(())
}
