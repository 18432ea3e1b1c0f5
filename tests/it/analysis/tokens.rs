//! Tokens and merges, against Hugging Face's and a plain byte-pair encoding; and as a person asks for them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use pellucid::analysis::{TokenCountRow, TokenLetterRow, TokenMergeRow, TokenRow, tokens};
use pellucid::error::Result;
use pellucid::table::read_rows;
use pellucid::text::{Bos, Merged, Merges, Prompt, PromptEntry, Tokenizer, build_prompts};
use serde_json::Value;

use crate::bin::{Place, fixture};

const TEXTS: [&str; 6] = [
    "strawberry",
    "漢字と 👩\u{200d}🚀 🇩🇪 👍🏽!",
    "Rindfleischetikettierungsüberwachung über naïve cafés",
    "banana bananas aaaaaaa lllllll",
    "  x =  3.14159;\r\n\r\n\tprint(x)",
    "Hello\u{a0}world … ﬁne, don't you'll <|endoftext|> end",
];

fn load(dir: &Path) -> Tokenizer {
    Tokenizer::load(dir).unwrap().unwrap()
}

fn prompt(tokenizer: &Tokenizer, text: &str) -> Prompt {
    let entries = [PromptEntry::text(text)];
    build_prompts(&entries, Some(tokenizer), tokenizer.vocab_size(), None, Bos::AsTokenizer).unwrap().remove(0)
}

fn folder(name: &str) -> PathBuf {
    fixture("tokenizers").join(name)
}

/// A merge as the reference has it.
fn merge(merged: &pellucid::text::Merge) -> [u32; 6] {
    let ((start, split), (left, right, rank)) = (merged.at.unwrap(), merged.pair.unwrap());
    [start, split, left, right, merged.merged, rank]
}

/// Invariant: Tokens, their bytes, the characters that they share and the merges that led to them are those of Hugging Face's tokenizers.
#[test]
fn tokens_and_merges_are_those_of_hugging_face() {
    let json = fs_err::read_to_string(fixture("tokenizers/merges.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    let texts: Vec<String> = serde_json::from_value(json["texts"].clone()).unwrap();
    let (mut merges, mut groups) = (0, 0);
    for (name, all) in json["folders"].as_object().unwrap() {
        let tokenizer = load(&folder(name));
        for (text, said) in texts.iter().zip(all.as_array().unwrap()) {
            let prompt = prompt(&tokenizer, text);
            let rows: Vec<TokenRow> = tokens(&prompt, name).collect();
            let own: Vec<&TokenRow> = rows.iter().filter(|row| row.byte_start.is_some()).collect();
            let of = |key: &str| said[key].clone();
            let ids: Vec<u32> = serde_json::from_value(of("ids")).unwrap();
            assert_eq!(own.iter().map(|row| row.token_id).collect::<Vec<_>>(), ids, "{name}: {text:?}");
            let bytes: Vec<String> = serde_json::from_value(of("bytes")).unwrap();
            assert_eq!(own.iter().map(|row| row.bytes.clone()).collect::<Vec<_>>(), bytes, "{name}: {text:?}");
            if let Some(expected) = serde_json::from_value::<Option<Vec<u32>>>(of("group")).unwrap() {
                assert_eq!(own.iter().map(|row| row.group.unwrap()).collect::<Vec<_>>(), expected, "{name}: {text:?}");
                let characters: u32 = own.iter().map(|row| row.chars).sum();
                assert_eq!(characters as usize, text.chars().count(), "{name}: {text:?}");
                groups += expected.len();
            }
            match Merges::of(&tokenizer) {
                Err(kind) => assert_eq!((kind, &name[..]), ("Unigram", "unigram")),
                Ok(mut all) => {
                    let words = all.words(text).unwrap();
                    let ours: Vec<(usize, Vec<[u32; 6]>)> =
                        words.iter().map(|word| (word.first, word.merges.iter().map(merge).collect())).collect();
                    if let Some(expected) = serde_json::from_value::<Option<Vec<_>>>(of("words")).unwrap() {
                        assert_eq!(ours, expected, "{name}: {text:?}");
                        merges += expected.iter().map(|(_, steps): &(usize, Vec<[u32; 6]>)| steps.len()).sum::<usize>();
                    }
                }
            }
        }
    }
    assert!(merges > 300 && groups > 500, "{merges} {groups}");
}

/// A tokenizer.json's merges, by the ids of the pair: their place in the list and what they become.
fn listed(dir: &Path) -> HashMap<(u32, u32), (u32, u32)> {
    let json: Value = serde_json::from_slice(&fs_err::read(dir.join("tokenizer.json")).unwrap()).unwrap();
    let id = |token: &str| json["model"]["vocab"][token].as_u64().unwrap() as u32;
    let all = json["model"]["merges"].as_array().unwrap().iter().enumerate();
    all.map(|(rank, pair)| {
        let (left, right) = match pair {
            Value::String(pair) => pair.split_once(' ').unwrap(),
            pair => (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
        };
        ((id(left), id(right)), (rank as u32, id(&format!("{left}{right}"))))
    })
    .collect()
}

/// The symbols that a word began as, each with its place: what its merges name, and its tokens of one symbol.
fn leaves(word: &Merged, ids: &[u32]) -> Vec<(u32, u32)> {
    let (mut leaves, mut made): (BTreeMap<u32, u32>, BTreeMap<u32, (u32, u32)>) = Default::default();
    for [start, split, left, right, merged, _] in word.merges.iter().map(merge) {
        for (at, id) in [(start, left), (split, right)] {
            match made.get(&at) {
                Some((_, known)) => assert_eq!(*known, id),
                None => drop(leaves.insert(at, id)),
            }
        }
        let end = made.remove(&split).map_or(split + 1, |(end, _)| end);
        made.insert(start, (end, merged));
    }
    let mut at = 0;
    for &id in ids {
        match made.get(&at) {
            Some((end, known)) => {
                assert_eq!(*known, id);
                at = *end;
            }
            None => {
                leaves.insert(at, id);
                at += 1;
            }
        }
    }
    leaves.into_iter().collect()
}

/// Invariant: The merges of a word are those of the tokenizer's own list, the lowest rank and of those the leftmost first, and end in its tokens.
#[test]
fn merges_replay_to_the_tokens() -> Result<()> {
    for rel in ["tokenizers/gpt2", "tokenizers/neox-20b", "tokenizers/llama2-32k"] {
        let dir = shared_or_skip!(rel);
        let (tokenizer, list) = (load(&dir), listed(&dir));
        let mut all = Merges::of(&tokenizer).unwrap();
        let cases = fs_err::read_to_string(shared_or_skip!("tokenizers/cases-gpt-2.inp"))?;
        let cases = cases.split("\n__ggml_vocab_test__\n").filter(|text| !text.is_empty());
        let mut steps = 0;
        for text in TEXTS.into_iter().chain(cases) {
            let prompt = prompt(&tokenizer, text);
            let ids: Vec<u32> =
                prompt.tokens.iter().filter(|token| token.bytes.is_some()).map(|token| token.id).collect();
            for word in all.words(text)? {
                let own = &ids[word.first..word.first + word.tokens];
                let mut now = leaves(&word, own);
                let mut plain = vec![];
                loop {
                    let pair = |i: usize| Some((list.get(&(now[i].1, now[i + 1].1))?, i));
                    let Some((&(rank, id), i)) = (0..now.len().saturating_sub(1)).filter_map(pair).min() else { break };
                    plain.push([now[i].0, now[i + 1].0, now[i].1, now[i + 1].1, id, rank]);
                    now[i].1 = id;
                    now.remove(i + 1);
                }
                assert_eq!(word.merges.iter().map(merge).collect::<Vec<_>>(), plain, "{rel}: {text:?}");
                assert_eq!(now.iter().map(|(_, id)| *id).collect::<Vec<_>>(), own, "{rel}: {text:?}");
                steps += plain.len();
            }
        }
        assert!(steps > 100, "{rel}: {steps}");
    }
    Ok(())
}

/// The table of merges has every word's, each with its rank in the list, at the position of the word's first token.
#[test]
fn merges_are_written_with_their_ranks_and_positions() -> Result<()> {
    let (dir, text) = (shared_or_skip!("tokenizers/gpt2"), "a strawberry<|endoftext|> Rindfleisch strawberry");
    let (tokenizer, list) = (load(&dir), listed(&dir));
    let place = Place::new();
    place.ok(["tokens", "-q", "-m", &dir.display().to_string(), text, "--out", "out"]);
    let rows = read_rows::<TokenMergeRow>(place.path("out/token_merges.parquet")).unwrap().0;
    let prompt = prompt(&tokenizer, text);
    let merged = rows.chunk_by(|a, b| a.word == b.word).collect::<Vec<_>>();
    assert_eq!(merged.len(), 3, "{rows:?}");
    for own in merged {
        // What the merges made begins with the token at that position.
        let made: String = own.iter().rfind(|row| row.start == Some(0)).unwrap().merged.clone();
        assert_eq!(made, prompt.tokens[own[0].pos as usize].text, "{own:?}");
        for (step, row) in own.iter().enumerate() {
            let (rank, id) = list[&(row.left_id.unwrap(), row.right_id.unwrap())];
            assert_eq!((row.rank, row.merged_id, row.step as usize), (Some(rank), id, step + 1), "{row:?}");
            assert_eq!((row.pos, row.prompt), (own[0].pos, 0));
            assert_eq!(row.merged, format!("{}{}", row.left.as_ref().unwrap(), row.right.as_ref().unwrap()));
        }
    }
    Ok(())
}

/// A word that is a token whatever the merges say is one row, without a pair.
#[test]
fn where_merges_are_ignored_for_whole_words_there_is_one_row() {
    let json = fs_err::read(folder("gpt2/tokenizer.json")).unwrap();
    let mut json: Value = serde_json::from_slice(&json).unwrap();
    json["model"]["ignore_merges"] = true.into();
    let place = Place::new();
    place.write("t/tokenizer.json", json.to_string());
    let (plain, whole) = (load(&folder("gpt2")), load(&place.path("t")));
    let text = "the cat sat, strawberry";
    let words = |tokenizer: &Tokenizer| Merges::of(tokenizer).unwrap().words(text).unwrap();
    let mut ignored = 0;
    for (a, b) in words(&plain).into_iter().zip(words(&whole)) {
        match b.tokens {
            1 if !a.merges.is_empty() => {
                ignored += 1;
                assert_eq!((b.merges.len(), b.merges[0].pair, b.merges[0].at), (1, None, None));
                assert_eq!(b.merges[0].merged, prompt(&whole, text).tokens[b.first].id);
            }
            _ => assert_eq!(a, b),
        }
    }
    assert!(ignored > 0);
    place.ok(["tokens", "-q", "-m", "t", " the", "--out", "out"]);
    let rows = read_rows::<TokenMergeRow>(place.path("out/token_merges.parquet")).unwrap().0;
    assert_eq!((rows.len(), &rows[0].left, &rows[0].rank, &rows[0].merged[..]), (1, &None, &None, " the"));
}

/// Where a word begins, and which tokens have parts of characters only.
#[test]
fn words_and_parts_of_characters_are_known() {
    let tokenizer = load(&folder("gpt2"));
    let rows: Vec<TokenRow> = tokens(&prompt(&tokenizer, "Mary sat 漢 é\u{301}x\r\n on"), "m").collect();
    for row in &rows {
        let whole = String::from_utf8(row.spelled());
        assert_eq!(row.is_partial, whole.is_err(), "{row:?}");
    }
    let starts = |row: &&TokenRow| row.starts_word == Some(true);
    let words = rows.iter().filter(starts).count();
    assert_eq!(words, "Mary sat 漢 é\u{301}x\r\n on".split_whitespace().count());
    // The Han character's bytes, three tokens or more, are of one group, and only the first of them begins a word.
    let han: Vec<&TokenRow> =
        rows.iter().filter(|row| row.byte_start.is_some_and(|at| (9..12).contains(&at))).collect();
    assert!(han.len() > 1 && han.iter().all(|row| row.group == han[0].group), "{han:?}");
    // A special token is no word, and what comes after it begins one.
    let rows: Vec<TokenRow> = tokens(&prompt(&tokenizer, "a<|endoftext|>b"), "m").collect();
    assert_eq!(rows.iter().map(|row| row.starts_word.unwrap()).collect::<Vec<_>>(), [true, false, true]);
}

/// Ids that are given are laid out as what they spell: the same groups as those of the text, and no merges.
#[test]
fn ids_are_grouped_as_their_text_is() {
    let (tokenizer, text) = (load(&folder("gpt2")), "漢字 👩\u{200d}🚀 cat");
    let of_text = prompt(&tokenizer, text);
    let of_ids = build_prompts(&[PromptEntry::ids(of_text.ids())], Some(&tokenizer), 9999, None, Bos::AsTokenizer);
    let of_ids = of_ids.unwrap().remove(0);
    let facts = |prompt: &Prompt| -> Vec<_> {
        tokens(prompt, "m").map(|row| (row.group, row.starts_word, row.bytes, row.chars)).collect()
    };
    assert_eq!(facts(&of_text), facts(&of_ids));
    // Parts of a character are of one group only where one follows another, and a later part begins no word.
    let [han, rest] = [0, 1].map(|i| of_text.tokens[i].id);
    let [cat] = prompt(&tokenizer, "a").ids()[..] else { panic!("one token") };
    let special = tokenizer.encode("<|endoftext|>", Bos::Never).unwrap()[0].id;
    for (ids, groups, starts) in [
        (vec![cat, han], vec![0, 1], vec![true, false]),
        (vec![rest, cat], vec![0, 1], vec![false, false]),
        (vec![han, special, rest], vec![0, 1, 2], vec![true, false, false]),
    ] {
        let of_ids = build_prompts(&[PromptEntry::ids(ids)], Some(&tokenizer), 9999, None, Bos::AsTokenizer).unwrap();
        let rows: Vec<TokenRow> = tokens(&of_ids[0], "m").collect();
        assert_eq!(rows.iter().map(|row| row.group.unwrap()).collect::<Vec<_>>(), groups, "{rows:?}");
        assert_eq!(rows.iter().map(|row| row.starts_word.unwrap()).collect::<Vec<_>>(), starts, "{rows:?}");
    }
    // Half of a character is written as its bytes.
    let ids = of_text.tokens[..2].iter().map(|token| token.id.to_string()).collect::<Vec<_>>().join(",");
    let folder = folder("gpt2").display().to_string();
    let done = Place::new().ok(["tokens", "-m", &folder, "--ids", &ids]);
    assert!(done.stdout.starts_with("\\xE6\\xBC\n") || done.stdout.starts_with("\\xE6\\xBC"), "{}", done.stdout);
    assert!(done.stderr.contains("so there are no merges of it"), "{}", done.stderr);
}

/// Invariant: Text that is not whole characters is grouped or written as bytes, and never shown as U+FFFD.
#[test]
fn no_token_is_shown_as_a_replacement_character() {
    let place = Place::new();
    for name in ["gpt2", "llama", "unigram"] {
        let folder = folder(name).display().to_string();
        let text = "漢字と 👩\u{200d}🚀 Überwachung";
        let done = place.ok(["tokens", "-m", &folder, text, "--out", name]);
        assert!(!done.stdout.contains('\u{fffd}') && !done.stderr.contains('\u{fffd}'), "{}", done.stdout);
        if name != "unigram" {
            let first = done.stdout.lines().next().unwrap();
            assert!(first.contains("漢×3") && first.contains("👩\u{200d}🚀×"), "{first}");
        }
        for entry in fs_err::read_dir(place.path(name)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "svg") {
                let svg = fs_err::read_to_string(&path).unwrap();
                assert!(!svg.contains('\u{fffd}'), "{path:?}");
                assert!(name == "unigram" || !path.ends_with("tokens.svg") || svg.contains(">漢<"), "{path:?}");
            }
        }
    }
}

/// Invariant: Letters of a text are counted, and so are tokens that are that letter; it is said what that means.
#[test]
fn letters_are_counted() -> Result<()> {
    let folder = shared_or_skip!("tokenizers/gpt2").display().to_string();
    let place = Place::new();
    let done = place.ok(["tokens", "-m", &folder, "strawberry", "--letter", "R", "--out", "one"]);
    let said = "gpt2: the letter r is 3 times in the text. Of its 3 tokens, 2 have it in them and 0 are it.";
    assert!(done.stdout.contains(said), "{}", done.stdout);
    for word in [
        "Letters are not given",
        "mostly the first letter",
        "Itzhak & Levy 2021",
        "hard for the architecture in itself",
    ] {
        assert!(done.stdout.contains(word), "{}", done.stdout);
    }
    assert!(done.stdout.lines().any(|line| line.contains("berry") && line.contains("8396")), "{}", done.stdout);
    let rows = read_rows::<TokenLetterRow>(place.path("one/token_letters.parquet")).unwrap().0;
    let facts = |row: &TokenLetterRow| (row.letter.clone(), row.in_text, row.tokens_with, row.tokens_that_are);
    assert_eq!(rows.iter().map(facts).collect::<Vec<_>>(), [("r".to_owned(), 3, 2, 0)]);
    // Without a letter, those of a text that is one word.
    place.ok(["tokens", "-q", "-m", &folder, "Straße", "two words", "--out", "each"]);
    let rows = read_rows::<TokenLetterRow>(place.path("each/token_letters.parquet")).unwrap().0;
    let letters: Vec<String> = rows.iter().map(|row| format!("{}{}", row.letter, row.in_text)).collect();
    assert_eq!((letters.join(" "), rows[0].prompt), ("s1 t1 r1 a1 ß1 e1".to_owned(), 0));
    // A token that is the letter, with a space.
    place.ok(["tokens", "-q", "-m", &folder, "a b r r", "--letter", "r", "--out", "own"]);
    let rows = read_rows::<TokenLetterRow>(place.path("own/token_letters.parquet")).unwrap().0;
    assert_eq!((rows[0].in_text, rows[0].tokens_with, rows[0].tokens_that_are), (2, 2, 2));
    // In capitals too.
    place.ok(["tokens", "-q", "-m", &folder, "R R r", "--letter", "r", "--out", "capitals"]);
    let rows = read_rows::<TokenLetterRow>(place.path("capitals/token_letters.parquet")).unwrap().0;
    assert_eq!((rows[0].in_text, rows[0].tokens_with, rows[0].tokens_that_are), (3, 3, 3));
    Ok(())
}

/// Tokenizers beside each other, one of them a folder with nothing but a vocabulary and its merges.
#[test]
fn tokenizers_are_compared() {
    let place = Place::new();
    for file in ["encoder.json", "vocab.bpe"] {
        place.write(&format!("old/{file}"), fs_err::read(folder("gpt2-pair-old-names").join(file)).unwrap());
    }
    let [llama, unigram] = ["llama", "unigram"].map(|name| folder(name).display().to_string());
    let texts = ["the cat sat on the mat", "漢字と仮名"];
    let models = ["-m", "old", "-m", &llama, "-m", &unigram];
    let done = place.ok(["tokens", "--out", "out"].iter().chain(&models).chain(&texts));
    let rows = read_rows::<TokenCountRow>(place.path("out/token_counts.parquet")).unwrap().0;
    assert_eq!(rows.len(), 6);
    for row in &rows {
        let (text, tokenizer) = (
            texts[row.prompt as usize],
            load(&match &row.model[..] {
                "old" => place.path("old"),
                name => folder(name),
            }),
        );
        let all = tokenizer.encode(text, Bos::AsTokenizer).unwrap();
        let own = all.iter().filter(|token| token.bytes.is_some()).count();
        assert_eq!((row.tokens as usize, row.added as usize), (own, all.len() - own), "{row:?}");
        assert_eq!((row.chars, row.bytes), (Some(text.chars().count() as u32), Some(text.len() as u32)));
        assert_eq!(row.tokens_per_char, Some(own as f64 / text.chars().count() as f64));
        assert_eq!(row.tokens_per_byte, Some(own as f64 / text.len() as f64));
    }
    let tokens = read_rows::<TokenRow>(place.path("out/tokens.parquet")).unwrap().0;
    for row in &rows {
        let own =
            |token: &&TokenRow| token.prompt == row.prompt && token.model == row.model && token.byte_start.is_some();
        assert_eq!(tokens.iter().filter(own).count(), row.tokens as usize);
    }
    let merges = read_rows::<TokenMergeRow>(place.path("out/token_merges.parquet")).unwrap().0;
    assert!(merges.iter().any(|row| row.model == "old") && merges.iter().all(|row| row.model != "unigram"));
    assert!(done.stderr.contains("the tokenizer of unigram is Unigram, which merges no pairs"), "{}", done.stderr);
    assert!(done.stdout.contains("Tokenizers compared") && done.stdout.contains("for each byte"), "{}", done.stdout);
    assert!(done.stderr.contains("old: "), "{}", done.stderr);
    assert!(place.path("out/token_counts-p1.svg").is_file() && place.path("out/tokens-p0.svg").is_file());
    // One tokenizer is compared with nothing.
    let done = place.ok(["tokens", "-m", "old", "the cat", "--out", "one"]);
    assert!(!done.stdout.contains("Tokenizers compared") && !place.path("one/token_counts.svg").exists());
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let place = Place::new();
    let [gpt2, llama] = ["gpt2", "llama"].map(|name| folder(name).display().to_string());
    let with = |more: &[&str]| ["tokens", "-m", &gpt2].iter().chain(more).map(|s| (*s).to_owned()).collect::<Vec<_>>();
    for (letter, says) in [("rr", "\"rr\" is 2 letters"), (" ", "white space is no letter"), ("", "\"\" is 0 letters")]
    {
        place.refused(with(&["strawberry", "--letter", letter, "--out", "out"]), 2, says);
    }
    place.refused(with(&["-m", &gpt2, "cat"]), 2, "is named twice");
    place.refused(with(&["-m", &llama, "--ids", "1,2"]), 2, "token ids mean something to one tokenizer only");
    place.write("half/encoder.json", "{}");
    place.refused(["tokens", "-m", "half", "cat"], 2, "half has encoder.json without vocab.bpe");
}

/// Invariant: as `rows_of_version_1_say_what_their_command_did`.
#[test]
fn tokens_of_version_1_are_read_and_drawn() {
    let file = fixture("version1/tokens.parquet");
    let (rows, how) = read_rows::<TokenRow>(&file).unwrap();
    assert_eq!(how.table_version, 1);
    let now: Vec<TokenRow> = tokens(&prompt(&load(&folder("gpt2")), "strawberry 漢 the"), "gpt2").collect();
    let forgotten = |row: TokenRow| TokenRow { group: None, starts_word: None, ..row };
    assert_eq!(rows, now.into_iter().map(forgotten).collect::<Vec<_>>());
    let place = Place::new();
    place.ok(["chart", &file.display().to_string(), "--out", "drawn"]);
    assert!(
        String::from_utf8(place.read("drawn/tokens.svg")).unwrap().contains("strawberry")
            || place.path("drawn/tokens.svg").is_file()
    );
}
