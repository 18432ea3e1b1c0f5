//! The tokenizers of real models: BOS, special tokens, and words that are one token.

use std::path::Path;

use pellucid::error::Result;
use pellucid::text::{Bos, PromptEntry, Tokenizer, build_prompts};
use safetensors::SafeTensors;

fn load(dir: &Path) -> Result<Tokenizer> {
    Ok(Tokenizer::load(dir)?.expect("this folder has a tokenizer"))
}

fn texts(tokenizer: &Tokenizer, text: &str, bos: Bos) -> Result<Vec<String>> {
    Ok(tokenizer.encode(text, bos)?.into_iter().map(|t| t.text.clone()).collect())
}

/// The ids of `p0`, `p1`, ... that the reference numbers of a model were computed for.
fn reference_ids(file: &Path) -> Result<Vec<Vec<u32>>> {
    let bytes = fs_err::read(file)?;
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut all = Vec::new();
    while let Ok(tensor) = tensors.tensor(&format!("p{}.input_ids", all.len())) {
        let width = tensor.data().len() / tensor.shape().iter().product::<usize>();
        let little_endian = |id: &[u8]| u32::from_le_bytes([id[0], id[1], id[2], id[3]]);
        all.push(tensor.data().chunks(width).map(little_endian).collect());
    }
    assert!(!all.is_empty());
    Ok(all)
}

#[test]
fn strawberry_is_plainly_seen_as_its_pieces() -> Result<()> {
    let gpt2 = load(&shared_or_skip!("tokenizers/gpt2"))?;
    assert_eq!(texts(&gpt2, "strawberry", Bos::AsTokenizer)?, ["st", "raw", "berry"]);
    assert_eq!(texts(&gpt2, " strawberry", Bos::AsTokenizer)?, [" strawberry"]);
    let tokens = gpt2.encode("strawberry", Bos::AsTokenizer)?;
    assert_eq!(tokens.iter().map(|t| t.bytes.clone()).collect::<Vec<_>>(), [Some(0..2), Some(2..5), Some(5..10)]);
    Ok(())
}

#[test]
fn gpt2_puts_its_end_of_text_first_only_if_asked() -> Result<()> {
    let gpt2 = load(&shared_or_skip!("tokenizers/gpt2"))?;
    assert_eq!(gpt2.vocab_size(), 50257);
    assert_eq!(gpt2.bos(), Some(50256));
    assert_eq!(texts(&gpt2, "Hi", Bos::AsTokenizer)?, ["Hi"]);
    assert_eq!(texts(&gpt2, "Hi", Bos::Always)?, ["<|endoftext|>", "Hi"]);
    let typed = gpt2.encode("<|endoftext|>Hi", Bos::Always)?;
    assert_eq!(typed.len(), 2, "it is there already");
    assert_eq!((typed[0].special, &typed[0].bytes), (true, &Some(0..13)));
    Ok(())
}

#[test]
fn one_token_answers_of_gpt2() -> Result<()> {
    let gpt2 = load(&shared_or_skip!("tokenizers/gpt2"))?;
    assert_eq!(gpt2.single_token(" Mary")?, 5335);
    assert_eq!(gpt2.piece(5335), "ĠMary");
    assert_eq!(gpt2.single_token("#5335")?, 5335);
    assert_ne!(gpt2.single_token("Mary")?, 5335);

    let error = gpt2.single_token(" Johnathan").unwrap_err();
    assert_eq!(error.to_string(), "\" Johnathan\" is 2 tokens: \" John\" + \"athan\"");
    let error = gpt2.single_token("strawberry").unwrap_err();
    assert_eq!(error.to_string(), "\"strawberry\" is 3 tokens: \"st\" + \"raw\" + \"berry\"");
    assert_eq!(error.hint_text(), Some("with a leading space, \" strawberry\" is one token"));
    let error = gpt2.single_token("#50257").unwrap_err();
    assert_eq!(error.to_string(), "there is no token #50257: there are 50257");
    assert!(gpt2.single_token("").unwrap_err().to_string().contains("no token at all"));
    Ok(())
}

#[test]
fn where_the_tokenizer_puts_a_space_first_a_word_is_its_initial_piece() -> Result<()> {
    // tinystories-656k has the spaces at the end of its pieces, and the one that is put first stays a token of its own.
    for (rel, word, piece) in [
        ("tokenizers/llama2-32k", "Mary", "▁Mary"),
        ("models/stories260k", "Lily", "▁Lily"),
        ("models/tinystories-656k", "Lily", "Lily"),
    ] {
        let tokenizer = load(&shared_or_skip!(rel))?;
        let id = tokenizer.single_token(word)?;
        assert_eq!(tokenizer.piece(id), piece, "{rel}");
        assert_eq!(tokenizer.single_token(&format!(" {word}"))?, id, "{rel}");
        assert!(tokenizer.single_token("Lily and Mary").is_err(), "{rel}");
    }
    Ok(())
}

#[test]
fn story_models_add_a_special_bos_and_their_reference_prompts_decode() -> Result<()> {
    for (rel, bos) in [("models/stories260k", "<s>"), ("models/tinystories-656k", "<|start_story|>")] {
        let dir = shared_or_skip!(rel);
        let tokenizer = load(&dir)?;
        let tokens = tokenizer.encode("Once upon a time", Bos::AsTokenizer)?;
        assert_eq!((&tokens[0].text[..], tokens[0].id, tokens[0].special, &tokens[0].bytes), (bos, 1, true, &None));
        assert_eq!(tokens[1].bytes.clone().map(|r| r.start), Some(0));
        assert_eq!(tokens.last().and_then(|t| t.bytes.clone()).map(|r| r.end), Some(16));
        assert_eq!(tokenizer.encode("Once upon a time", Bos::Never)?, tokens[1..]);

        for ids in reference_ids(&dir.join("expected.safetensors"))? {
            let text = tokenizer.decode(&ids)?;
            println!("{rel}: {text}");
            assert_eq!(ids[0], 1);
            let plain = text.strip_prefix(bos).expect("it begins with BOS");
            let again: Vec<u32> =
                tokenizer.encode(plain.trim_start(), Bos::AsTokenizer)?.iter().map(|t| t.id).collect();
            assert_eq!(again, ids, "{text:?}");
        }
    }
    Ok(())
}

#[test]
fn a_word_level_tokenizer_that_splits_letters_works() -> Result<()> {
    let dir = shared_or_skip!("models/nano-gpt-sort");
    let tokenizer = load(&dir)?;
    let prompts = build_prompts(&[PromptEntry::text("CBAABC")], Some(&tokenizer), 3, Some(11), Bos::AsTokenizer)?;
    assert_eq!(prompts[0].ids(), [2, 1, 0, 0, 1, 2]);
    assert_eq!((prompts[0].label(0), prompts[0].tokens[5].bytes.clone()), ("C", Some(5..6)));
    assert_eq!(tokenizer.single_token("B")?, 1);
    assert_eq!(
        tokenizer.single_token("Z").unwrap_err().to_string(),
        "\"Z\" is unknown to this tokenizer, which reads \"A\""
    );
    Ok(())
}
