//! Tokenizers that contradict themselves, or that make gigabytes of a few letters: each is refused with what is wrong.

use serde_json::{Value, json};

use crate::bin::Place;
use crate::forge;
use crate::hostile::bombs::{refused, run};

/// A place with the tiny GPT-2 and a tokenizer of two letters, with `parts` put into its tokenizer.json.
fn place(parts: Value) -> Place {
    let place = Place::new();
    forge::copy(&place, "gpt2", "m");
    let model = json!({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]});
    let mut json = json!({"model": model});
    json.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    place.write("m/tokenizer.json", json.to_string());
    place
}

fn sequence(key: &str, steps: Vec<Value>) -> Value {
    json!({"type": "Sequence", key: steps})
}

fn replace(pattern: Value, content: &str) -> Value {
    json!({"type": "Replace", "pattern": pattern, "content": content})
}

/// A tenfold `a`, `n` times: ten to the power of `n`.
fn tenfold(n: usize) -> Vec<Value> {
    vec![replace(json!({"String": "a"}), "aaaaaaaaaa"); n]
}

fn template(single: Value, special: Value) -> Value {
    let text = |which: &str| json!({"Sequence": {"id": which, "type_id": 0}});
    json!({"type": "TemplateProcessing", "single": single, "pair": [text("A"), text("B")], "special_tokens": special})
}

/// Invariant: A tokenizer file can neither cause a panic nor turn a few letters into gigabytes.
#[test]
fn tokenizers_that_contradict_themselves_are_refused() {
    let text = |which: &str| json!({"Sequence": {"id": which, "type_id": 0}});
    let token = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let ended = |single: Value, special: Value| json!({"post_processor": template(single, special)});
    let listed = json!({"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}});
    let many = json!({"<s>": {"id": "<s>", "ids": vec![0; 5000], "tokens": vec!["a"; 5000]}});
    let merge = |vocab: Value| json!({"model": {"type": "BPE", "vocab": vocab, "merges": ["a b"]}});
    for (parts, says) in [
        (
            ended(json!([token("<s>"), text("A")]), json!({})),
            "its template puts the token `<s>`, and does not say which that is",
        ),
        (ended(json!([text("A"), text("B")]), json!({})), "asks for a second text ($B)"),
        (ended(json!([token("<s>")]), listed.clone()), "puts the text in 0 places"),
        (ended(json!(vec![text("A"); 100_000]), json!({})), "puts the text in 100000 places"),
        (ended(json!([token("<s>"), text("A")]), many), "puts 5000 tokens around a text"),
        (
            json!({"post_processor": sequence("processors", vec![template(json!([token("<s>"), text("A")]), json!({}))])}),
            "does not say which that is",
        ),
        (json!({"normalizer": replace(json!({"String": ""}), "x")}), "it replaces an empty pattern"),
        (
            json!({"normalizer": sequence("normalizers", vec![replace(json!({"Regex": ""}), "x")])}),
            "it replaces an empty pattern",
        ),
        (json!({"decoder": replace(json!({"String": ""}), "x")}), "it replaces an empty pattern"),
        (merge(json!({"a": 0, "b": 1})), "a merge makes `ab`, which is not in its vocabulary"),
        (json!({"pre_tokenizer": {"type": "FixedLength", "length": 0}}), "its contents contradict each other"),
    ] {
        let place = place(parts);
        // As JSON values, of which there are three copies at most: a value of 9 bytes, `{"id":1},`, takes 200 in an object.
        let bytes = 3.0 * 200.0 / 9.0 * place.read("m/tokenizer.json").len() as f64;
        for command in ["lens", "tokens"] {
            refused(&place, &[command, "-m", "m", "ab"], 1, says, bytes);
        }
    }
    // The same of the older pair of files.
    let place = Place::new();
    forge::copy(&place, "gpt2", "m");
    place.write("m/vocab.json", r#"{"a": 0, "b": 1}"#);
    place.write("m/merges.txt", "a b\n");
    refused(
        &place,
        &["tokens", "-m", "m", "ab"],
        1,
        "the tokenizer in m/vocab.json cannot be used: a merge makes `ab`",
        0.0,
    );
}

/// Invariant: as `tokenizers_that_contradict_themselves_are_refused`.
#[test]
fn tokenizers_that_explode_are_refused() {
    let added = |content: &str, normalized: bool| {
        let token = json!({"id": 3, "content": content, "special": false, "normalized": normalized, "single_word": false, "lstrip": false, "rstrip": false});
        json!([token])
    };
    let normalizer = |steps: Vec<Value>| json!({"normalizer": sequence("normalizers", steps)});
    let nested = |n: usize| {
        (0..n).fold(json!({"type": "NFC"}), |inner, _| sequence("normalizers", [tenfold(1), vec![inner]].concat()))
    };
    // `a`, but not before a `Z`: which is there when the text is looked at whole, and is cut away before it is normalized.
    let ahead = vec![replace(json!({"Regex": "a(?!.*Z)"}), "aaaaaaaaaa"); 12];
    let long = "a".repeat(200_000);
    // A table of characters whose first four bytes claim four gigabytes.
    let table = json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////wAA"}});
    for (what, parts, says) in [
        ("one after another", normalizer(tenfold(20)), "its normalizer makes more than 65"),
        ("nested", json!({"normalizer": nested(20)}), "its normalizer makes more than 65"),
        (
            "an added token",
            json!({"normalizer": sequence("normalizers", tenfold(20)), "added_tokens": added("aaaa", true)}),
            "of 4",
        ),
        (
            "between added tokens",
            json!({"normalizer": sequence("normalizers", ahead), "added_tokens": added("Z", false)}),
            "its normalizer makes more than 65",
        ),
        (
            "everywhere",
            normalizer(vec![replace(json!({"Regex": "x*"}), "aaaaaaaaaa"); 20]),
            "its normalizer makes more than 65",
        ),
        (
            "before",
            normalizer([vec![json!({"type": "Prepend", "prepend": long})], tenfold(3)].concat()),
            "its normalizer makes more than 65",
        ),
        ("at once", normalizer(vec![replace(json!({"String": "a"}), &long)]), "its normalizer makes more than 65"),
        (
            "bytes of bytes",
            json!({"pre_tokenizer": sequence("pretokenizers", vec![json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}); 40])}),
            "its pre-tokenizer may make a text",
        ),
        ("what a token spells", json!({"decoder": sequence("decoders", tenfold(20))}), "its decoder may make a text"),
        ("a table of characters", table, "its table of characters (precompiled_charsmap) is damaged"),
    ] {
        println!("{what}");
        let place = place(parts);
        // What a step may make of so short a text, 64 kB and 64 bytes for each, with 40 bytes of places for each byte, twice.
        refused(&place, &["tokens", "-m", "m", "ababababaaaaaaaZaaaaaaé"], 1, says, 2.0 * 40.0 * 66_000.0);
    }
}

/// What models have: many spaces, each three bytes; characters that are taken apart; tokens in between.
///
/// Invariant: as `tokenizers_that_contradict_themselves_are_refused`.
#[test]
fn what_is_only_longer_is_read() {
    let steps = vec![
        json!({"type": "Prepend", "prepend": "▁"}),
        replace(json!({"String": " "}), "▁"),
        json!({"type": "NFKC"}),
        json!({"type": "NFKD"}),
    ];
    let place = place(json!({"normalizer": sequence("normalizers", steps)}));
    place.write("long.txt", format!("{}{}", "a b ".repeat(20_000), "\u{fdfa}".repeat(20_000)));
    let (most, done) = run(&place, &["tokens", "-m", "m", "--prompts", "long.txt", "--format", "ndjson"]);
    println!("{:.0} MB", most / 1e6);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    // What lies between an `a` and a `b` is not in the vocabulary, and left out.
    assert_eq!(done.stdout.lines().count(), 20_000);
}

/// A pattern that can be tried in more ways than there is time for is given up by the crate, which takes that for no match.
#[test]
fn patterns_that_never_end_are_given_up() {
    let pattern = json!({"Regex": r"(?:a|a|aa)+(?<!a)b\b|(a*)*\1c"});
    let split = json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
    let text = "a".repeat(60);
    for parts in [json!({"pre_tokenizer": split}), json!({"normalizer": replace(pattern, "b")})] {
        let begun = std::time::Instant::now();
        let (most, done) = run(&place(parts), &["tokens", "-m", "m", &text]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        assert!(begun.elapsed().as_secs() < 60 && most < 100e6, "{:?}, {most}", begun.elapsed());
    }
}
