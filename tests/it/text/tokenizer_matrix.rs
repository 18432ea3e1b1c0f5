//! Tokenizers in every layout that model folders have, on awkward texts, against the ids that Hugging Face transformers gives,
//! versions 5 and 4. `tests/fixtures/make_tokenizers.py` makes the folders and records both.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use pellucid::error::Result;
use pellucid::text::{Bos, Token, Tokenizer};
use serde_json::Value;

use crate::bin::{Place, fixture};

/// Folders that transformers 4 and 5 disagree about. What tokenizer.json says is followed, which is one of the two.
const DISAGREED: [(&str, Follows); 6] = [
    ("distill-llama", Follows::Five),
    ("distill-qwen", Follows::Five),
    // Llama's class, which 4 takes for every llama without a class of its own, puts a BOS.
    ("json-map-only", Follows::Five),
    ("json-map-objects", Follows::Five),
    // 4 puts the space with every class, 5 with those of GPT-2's kind only.
    ("json-prefix-space-generic", Follows::Five),
    // 5 builds Llama's tokenizer anew without the space that tokenizer.json and SentencePiece put before spaces.
    ("llama-legacy", Follows::Four),
];
/// Of the pair of files, 4 heeds `add_bos_token` only, and 5 `add_eos_token` too.
const EOS: &str = "pair-bos-eos";

#[derive(Clone, Copy, PartialEq)]
enum Follows {
    Four,
    Five,
}

/// Folders that this version does not read: what only GPT-2's own release had, objects in special_tokens_map.json (5), and
/// lists of extra tokens (4).
const UNREAD: [(u32, &[&str]); 2] =
    [(4, &["gpt2-pair-old-names", "json-extra-list"]), (5, &["gpt2-pair-old-names", "json-map-objects"])];

fn root() -> PathBuf {
    fixture("tokenizers")
}

fn folders() -> BTreeSet<String> {
    let entries = fs_err::read_dir(root()).unwrap().map(|e| e.unwrap().path());
    entries.filter(|p| p.is_dir()).map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// What one version of transformers said.
struct Said {
    texts: Vec<String>,
    folders: BTreeMap<String, Value>,
}

fn said(major: u32) -> Said {
    let text = fs_err::read_to_string(root().join(format!("transformers-{major}.json"))).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert!(json["transformers"].as_str().unwrap().starts_with(&format!("{major}.")));
    Said {
        texts: serde_json::from_value(json["texts"].clone()).unwrap(),
        folders: serde_json::from_value(json["folders"].clone()).unwrap(),
    }
}

fn load(name: &str) -> Result<Tokenizer> {
    Ok(Tokenizer::load(&root().join(name))?.expect("this folder has a tokenizer"))
}

fn ids(tokens: &[Token]) -> Vec<u32> {
    tokens.iter().map(|t| t.id).collect()
}

/// Invariant: Token ids are those of Hugging Face transformers, in every layout of tokenizer files, wherever versions 4 and 5
/// agree; where they disagree it is known which is followed, and for BOS it is said.
#[test]
fn ids_are_those_of_transformers_in_every_layout() -> Result<()> {
    let mut compared = 0;
    for major in [4, 5] {
        let Said { texts, folders: all } = said(major);
        let unread = UNREAD.iter().find(|(m, _)| *m == major).unwrap().1;
        let read: BTreeSet<String> = folders().into_iter().filter(|name| !unread.contains(&name.as_str())).collect();
        assert_eq!(all.keys().cloned().collect::<BTreeSet<_>>(), read, "version {major}");
        for (name, says) in &all {
            let follows = DISAGREED.iter().find(|(n, _)| n == name).map(|(_, follows)| *follows);
            let followed = match follows {
                None => true,
                Some(Follows::Four) => major == 4,
                Some(Follows::Five) => major == 5,
            };
            let tokenizer = load(name)?;
            let mut differ = 0;
            for (i, text) in texts.iter().enumerate() {
                let expected: Vec<u32> = serde_json::from_value(says["ids"][i].clone()).unwrap();
                let mut ours = ids(&tokenizer.encode(text, Bos::AsTokenizer)?);
                if name == EOS && major == 4 {
                    ours.pop();
                }
                if followed {
                    assert_eq!(ours, expected, "{name}, transformers {major}: {text:?}");
                }
                differ += usize::from(ours != expected);
                compared += 1;
            }
            assert_eq!(differ > 0, !followed, "{name} under transformers {major}: is it still a disagreement?");
        }
    }
    assert!(compared > 3500, "{compared}");
    Ok(())
}

/// Without a class of its own, GPT-2's release under the names of 2019 is the pair of today's names.
#[test]
fn what_transformers_does_not_read_is_what_it_stands_for() -> Result<()> {
    let Said { texts, .. } = said(5);
    for (name, like) in [("gpt2-pair-old-names", "gpt2-pair"), ("json-map-objects", "json-map-only")] {
        let (ours, other) = (load(name)?, load(like)?);
        for text in texts.iter().filter(|text| !text.contains("<|im_end|>") && !text.contains("<pad>")) {
            assert_eq!(
                ids(&ours.encode(text, Bos::AsTokenizer)?),
                ids(&other.encode(text, Bos::AsTokenizer)?),
                "{name}: {text:?}"
            );
        }
    }
    Ok(())
}

/// A token's bytes lie where transformers says it is. Ours are exact where it can only say which characters, so they may be part
/// of that; and they take in the white space that some tokenizers leave out, and accents that were composed with their letter.
#[test]
fn bytes_are_where_transformers_says_the_tokens_are() -> Result<()> {
    let Said { texts, folders } = said(5);
    for (name, says) in folders.iter().filter(|(name, _)| *name != "llama-legacy") {
        let tokenizer = load(name)?;
        for (i, text) in texts.iter().enumerate() {
            let tokens = tokenizer.encode(text, Bos::AsTokenizer)?;
            let theirs: Vec<(usize, usize)> = serde_json::from_value(says["bytes"][i].clone()).unwrap();
            let mut end = 0;
            for (token, (from, to)) in tokens.iter().zip(theirs) {
                let Some(ours) = token.bytes.clone() else { continue };
                assert!(ours.start >= end && ours.end <= text.len(), "{name}: {text:?} {token:?}");
                end = ours.end;
                let about: Range<usize> = widened(text, from..to);
                assert!(
                    ours.is_empty() || (ours.start >= about.start && ours.end <= about.end),
                    "{name}: {text:?} has {token:?} at {from}..{to}"
                );
            }
        }
    }
    Ok(())
}

/// A range and the white space and combining marks beside it.
fn widened(text: &str, range: Range<usize>) -> Range<usize> {
    let mark = |c: &char| c.is_whitespace() || c.is_control() || ('\u{300}'..='\u{36f}').contains(c);
    let before: usize = text[..range.start].chars().rev().take_while(mark).map(char::len_utf8).sum();
    let after: usize = text[range.end..].chars().take_while(mark).map(char::len_utf8).sum();
    range.start - before..range.end + after
}

#[test]
fn added_tokens_are_special_as_their_files_say() -> Result<()> {
    for (folder, text, special) in [
        ("opt-pair", "</s>", true),
        ("opt-pair", "<pad>", true),
        ("opt-pair-map-only", "<pad>", true),
        ("pair-added-file", "<sep>", true),
        ("pair-added-file", "<tool>", false),
        ("json-decoder", "<|im_start|>", true),
        ("json-decoder", "<tool>", false),
        ("json-added-file", "<|im_end|>", true),
        ("json-added-file", "<tool>", false),
        ("json-map-objects", "<|im_end|>", true),
        ("json-extra-named", "<image>", true),
    ] {
        let tokens = load(folder)?.encode(text, Bos::Never)?;
        let last = tokens.last().unwrap();
        assert_eq!((&last.text[..], last.special), (text, special), "{folder}");
    }
    // OPT's own BOS is found and put, though its files come without a tokenizer.json.
    let opt = load("opt-pair")?;
    let tokens = opt.encode("the</s>", Bos::AsTokenizer)?;
    assert_eq!((tokens[0].id, tokens[0].special, &tokens[0].bytes), (2, true, &None));
    assert_eq!((tokens.last().unwrap().id, opt.bos()), (2, Some(2)));
    assert!(tokens.last().unwrap().special, "typed in the text, it is the same token");
    assert_eq!(ids(&opt.encode("the", Bos::Never)?).len(), tokens.len() - 2);
    Ok(())
}

/// Invariant: as `ids_are_those_of_transformers_in_every_layout`.
#[test]
fn where_versions_of_transformers_disagree_about_bos_it_is_said() -> Result<()> {
    let note = |name: &str| load(name).map(|t| t.note().map(ToString::to_string));
    for name in ["distill-llama", "distill-qwen"] {
        let said = note(name)?.expect(name);
        assert!(said.starts_with("no BOS is put before a text") && said.contains("`add_bos_token: true`"), "{said}");
        assert!(said.contains("transformers 4 puts \"") && said.ends_with("and so does `bos`"), "{said}");
    }
    for name in folders().iter().filter(|name| !name.starts_with("distill")) {
        assert_eq!(note(name)?, None, "{name}");
    }
    // On stderr, where `-q` silences it.
    let place = Place::new();
    let folder = root().join("distill-llama").display().to_string();
    let done = place.ok(["tokens", "-m", &folder, "Mary", "--format", "json"]);
    assert_eq!(done.stderr.matches("note: no BOS is put before a text").count(), 1, "{}", done.stderr);
    assert!(done.stderr.trim_end().ends_with("and so does --bos"), "{}", done.stderr);
    let first = |more: &[&str]| {
        let done = place.ok(["tokens", "-q", "-m", &folder, "Mary", "--format", "json"].iter().chain(more));
        assert!(done.stderr.is_empty(), "{}", done.stderr);
        let rows: Vec<Value> = serde_json::from_str(&done.stdout).unwrap();
        rows[0]["token_id"].as_u64().unwrap()
    };
    let begin = u64::from(load("distill-llama")?.bos().unwrap());
    assert!(first(&[]) != begin && first(&["--bos"]) == begin);
    Ok(())
}

/// A folder of tokenizer files alone will do for `tokens`.
#[test]
fn tokens_need_no_config() {
    let place = Place::new();
    place.write("t/tokenizer.json", fs_err::read(root().join("gpt2/tokenizer.json")).unwrap());
    assert!(place.ok(["tokens", "-m", "t", "the cat"]).stdout.contains("t|he|"));
    place.refused(["lens", "-m", "t", "the cat"], 2, "t has no config.json");
}
