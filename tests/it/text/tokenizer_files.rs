//! Tokenizer files made by hand: what is read from them, and what is refused. These need nothing from outside.

use std::path::Path;

use pellucid::error::{ErrorKind, Result};
use pellucid::text::{Bos, PromptEntry, Token, Tokenizer, build_prompts};
use serde_json::{Value, json};
use tempfile::TempDir;

fn folder(files: &[(&str, String)]) -> Result<TempDir> {
    let dir = tempfile::tempdir()?;
    for (name, content) in files {
        fs_err::write(dir.path().join(name), content)?;
    }
    Ok(dir)
}

fn load(dir: &Path) -> Result<Tokenizer> {
    Ok(Tokenizer::load(dir)?.expect("this folder has a tokenizer"))
}

fn texts(tokens: &[Token]) -> Vec<&str> {
    tokens.iter().map(|t| &t.text[..]).collect()
}

/// Llama's kind: a space is put first, bytes are the fallback, `<s>` begins a text.
fn llama_like() -> Value {
    let vocab = json!({"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, "h": 4, "i": 5, "▁h": 6, "▁hi": 7,
        "<0xC3>": 8, "<0xA9>": 9});
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 2,
            "pad_type_id": 0, "pad_token": "</s>"},
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
                "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": 0.5, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "vocab": vocab,
            "merges": [["▁", "h"], ["▁h", "i"]]}
    })
}

fn special(id: u32, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": true})
}

/// GPT-2's pair of files, with six letters' worth of vocabulary.
fn gpt2_like(vocab: &str, merges: &str) -> Result<TempDir> {
    let entries = json!({"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4, "<|endoftext|>": 5, "ð": 6, "Ł": 7});
    folder(&[(vocab, entries.to_string()), (merges, "#version: 0.2\na b\nĠ ab\n".into())])
}

#[test]
fn a_folder_without_a_tokenizer_has_none() -> Result<()> {
    assert!(Tokenizer::load(tempfile::tempdir()?.path())?.is_none());
    assert!(Tokenizer::load(folder(&[("vocab.json", "{}".into())])?.path())?.is_none());
    Ok(())
}

#[test]
fn added_tokens_are_special_and_have_no_bytes() -> Result<()> {
    let dir = folder(&[("tokenizer.json", llama_like().to_string())])?;
    let tokenizer = load(dir.path())?;
    let tokens = tokenizer.encode("hi é hi", Bos::AsTokenizer)?;
    assert_eq!(texts(&tokens), ["<s>", " hi", " ", r"\xC3", r"\xA9", " hi", "</s>"]);
    let bytes: Vec<_> = tokens.iter().map(|t| t.bytes.clone()).collect();
    assert_eq!(bytes, [None, Some(0..2), Some(2..3), Some(3..4), Some(4..5), Some(5..8), None]);
    let is_special: Vec<bool> = tokens.iter().map(|t| t.special).collect();
    assert_eq!(is_special, [true, false, false, false, false, false, true]);
    assert_eq!((tokens[1].piece.as_str(), tokens[3].piece.as_str()), ("▁hi", "<0xC3>"));
    Ok(())
}

#[test]
fn bos_is_put_left_or_taken_away() -> Result<()> {
    let dir = folder(&[("tokenizer.json", llama_like().to_string())])?;
    let tokenizer = load(dir.path())?;
    assert_eq!(tokenizer.bos(), Some(1));
    assert_eq!(texts(&tokenizer.encode("hi", Bos::AsTokenizer)?), ["<s>", " hi", "</s>"]);
    assert_eq!(texts(&tokenizer.encode("hi", Bos::Always)?), ["<s>", " hi", "</s>"]);
    assert_eq!(texts(&tokenizer.encode("hi", Bos::Never)?), [" hi", "</s>"]);

    let mut bare = llama_like();
    bare["post_processor"] = Value::Null;
    let dir = folder(&[("tokenizer.json", bare.to_string())])?;
    assert_eq!(texts(&load(dir.path())?.encode("hi", Bos::AsTokenizer)?), [" hi"]);
    let error = load(dir.path())?.encode("hi", Bos::Always).expect_err("nothing says which token");
    assert!(error.hint_text().is_some() && error.kind() == ErrorKind::BadInput, "{error:?}");
    for (file, says) in [
        ("tokenizer_config.json", json!({"bos_token": "<s>"})),
        ("tokenizer_config.json", json!({"bos_token": {"content": "<s>", "lstrip": false}})),
        ("special_tokens_map.json", json!({"bos_token": {"content": "<s>"}})),
        ("config.json", json!({"bos_token_id": 1})),
    ] {
        let dir = folder(&[("tokenizer.json", bare.to_string()), (file, says.to_string())])?;
        assert_eq!(texts(&load(dir.path())?.encode("hi", Bos::Always)?), ["<s>", " hi"], "{file}: {says}");
    }
    let null = json!({"bos_token": null}).to_string();
    let id = json!({"bos_token_id": 1}).to_string();
    let dir = folder(&[("tokenizer.json", bare.to_string()), ("tokenizer_config.json", null), ("config.json", id)])?;
    assert_eq!(load(dir.path())?.bos(), None, "the tokenizer itself says that it has none");
    Ok(())
}

#[test]
fn truncation_padding_and_dropout_are_off() -> Result<()> {
    let dir = folder(&[("tokenizer.json", llama_like().to_string())])?;
    let tokenizer = load(dir.path())?;
    let text = "hi hi hi hi hi hi hi hi";
    assert_eq!(tokenizer.encode(text, Bos::AsTokenizer)?.len(), 10);
    for _ in 0..20 {
        assert_eq!(texts(&tokenizer.encode("hi", Bos::Never)?), [" hi", "</s>"], "dropout would split it at times");
    }
    Ok(())
}

#[test]
fn the_older_pair_of_files_is_gpt2s() -> Result<()> {
    for (vocab, merges) in [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")] {
        let dir = gpt2_like(vocab, merges)?;
        let tokenizer = load(dir.path())?;
        let tokens = tokenizer.encode("ab abb<|endoftext|>a", Bos::AsTokenizer)?;
        assert_eq!(texts(&tokens), ["ab", " ab", "b", "<|endoftext|>", "a"]);
        assert_eq!(tokens.iter().map(|t| t.special).collect::<Vec<_>>(), [false, false, false, true, false]);
        assert_eq!(tokens[1].piece, "Ġab");
        assert_eq!(tokenizer.decode(&[3, 4, 5])?, "ab ab<|endoftext|>");
        assert_eq!((tokenizer.token_text(6), tokenizer.token_text(9)), (r"\xF0".into(), "#9".into()));
        assert_eq!(texts(&tokenizer.encode("a", Bos::Always)?), ["<|endoftext|>", "a"]);
    }
    Ok(())
}

#[test]
fn the_older_pair_heeds_its_tokenizer_config() -> Result<()> {
    let dir = gpt2_like("vocab.json", "merges.txt")?;
    fs_err::write(dir.path().join("tokenizer_config.json"), json!({"add_bos_token": true}).to_string())?;
    let tokens = load(dir.path())?.encode("ab", Bos::AsTokenizer)?;
    assert_eq!((texts(&tokens), &tokens[0].bytes), (vec!["<|endoftext|>", "ab"], &None));

    let other = json!({"tokenizer_class": "RobertaTokenizer"}).to_string();
    fs_err::write(dir.path().join("tokenizer_config.json"), other)?;
    let error = Tokenizer::load(dir.path()).expect_err("it would need other special tokens");
    assert!(error.message().contains("RobertaTokenizer") && error.hint_text().is_some(), "{error:?}");
    Ok(())
}

#[test]
fn broken_files_are_named() -> Result<()> {
    for (file, content) in
        [("tokenizer.json", "{"), ("tokenizer.json", "{\"model\": 3}"), ("tokenizer_config.json", "{")]
    {
        let good = ("tokenizer.json", llama_like().to_string());
        let dir = folder(&[good, (file, content.to_owned())])?;
        let error = Tokenizer::load(dir.path()).expect_err("this file is broken");
        assert!(error.kind() == ErrorKind::BadModel && error.message().contains(file), "{error}");
    }
    Ok(())
}

#[test]
fn a_target_must_be_one_token() -> Result<()> {
    let tokenizer = load(gpt2_like("vocab.json", "merges.txt")?.path())?;
    assert_eq!(
        (tokenizer.single_token(" ab")?, tokenizer.single_token("ab")?, tokenizer.single_token("#7")?),
        (4, 3, 7)
    );
    let error = tokenizer.single_token(" abb\n").expect_err("two tokens and more");
    assert_eq!(error.to_string(), "\" abb\\n\" is 2 tokens: \" ab\" + \"b\"", "{error:?}");
    let error = tokenizer.single_token("#8").expect_err("there are eight");
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::NoSuch, "there is no token #8: there are 8".into()));
    assert!(tokenizer.single_token("#99999999999999999999").is_err());

    let llama = load(folder(&[("tokenizer.json", llama_like().to_string())])?.path())?;
    assert_eq!((llama.single_token("hi")?, llama.single_token(" hi")?, llama.single_token("i")?), (7, 7, 5));
    Ok(())
}

#[test]
fn prompts_from_text_know_their_tokens() -> Result<()> {
    let tokenizer = load(gpt2_like("vocab.json", "merges.txt")?.path())?;
    let entries = [PromptEntry::text("ab ab").named("x"), PromptEntry::ids([5, 9])];
    let prompts = build_prompts(&entries, Some(&tokenizer), 10, Some(4), Bos::Always)?;
    assert_eq!((prompts[0].ids(), prompts[0].label(2)), (vec![5, 3, 4], " ab"));
    assert_eq!(prompts[0].text.as_deref(), Some("ab ab"));
    assert_eq!((prompts[1].ids(), prompts[1].label(0), prompts[1].label(1)), (vec![5, 9], "<|endoftext|>", "#9"));
    assert_eq!(prompts[1].text, None);

    let error = build_prompts(&entries, Some(&tokenizer), 4, None, Bos::AsTokenizer).expect_err("Ġab is 4");
    assert!(error.message().starts_with("prompt \"x\" has token id 4 at position 1"), "{error}");
    Ok(())
}
