//! The page of one prompt: its structure, the truth of each number, the ten questions, both languages, every family.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, UInt32Type, UInt64Type};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pellucid::Result;
use pellucid::analysis::explain::page::words::{Tongue, WORDS, text};
use pellucid::analysis::explain::page::{SCRIPT, STYLE};
use pellucid::analysis::explain::{Explain, Facts, Lang};
use pellucid::session::Session;
use pellucid::text::{Bos, ModelSource, PromptEntry};
use roxmltree::{Document, Node};

use crate::bin::Place;

pub(super) const STRAWBERRY: &str = "How many r's are in strawberry? The model sees";
pub(super) const NAMES: &str = "When Mary and John went to the store, John gave a drink to";

/// The page of a prompt on `model`, made in memory.
pub(super) fn page(model: &str, entry: &PromptEntry, lang: Lang) -> Result<(String, Facts)> {
    let source =
        if model == "demo" { ModelSource::resolve("demo")? } else { ModelSource::resolve(&crate::bin::model(model))? };
    let session = Session::from_source(source, &[])?;
    let prompt = session.prompts(std::slice::from_ref(entry), Bos::AsTokenizer)?.remove(0);
    let how = Explain { lang, traces: 3, tokens: 4, ..Explain::default() };
    how.page(&session, None, &prompt, session.provenance(vec![]), &())
}

/// The page as a tree: it is well-formed, which is more than HTML asks.
fn parsed(html: &str) -> Document<'_> {
    let body = html.strip_prefix("<!DOCTYPE html>\n").unwrap();
    Document::parse(body).unwrap_or_else(|e| panic!("{e}"))
}

fn named<'a, 'd>(of: Node<'a, 'd>, name: &'a str) -> impl Iterator<Item = Node<'a, 'd>> {
    of.descendants().filter(move |node| node.has_tag_name(name))
}

/// The base64 of the SHA-256 of a text, as a content security policy has it.
fn sha256(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut out = String::new();
    for chunk in hash.as_ref().chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let letter = |i: usize| char::from(LETTERS[(bits >> (18 - 6 * i)) as usize & 63]);
        (0..=chunk.len()).for_each(|i| out.push(letter(i)));
        (chunk.len()..3).for_each(|_| out.push('='));
    }
    out
}

/// What every page has, whatever it is of.
#[track_caller]
fn check_structure(html: &str, of: &str) {
    let tree = parsed(html);
    let root = tree.root_element();
    let mut ids = BTreeSet::new();
    for node in root.descendants().filter(Node::is_element) {
        if let Some(id) = node.attribute("id") {
            assert!(ids.insert(id), "{of}: two elements are called {id}");
        }
        assert!(!node.has_attribute("style"), "{of}: the policy forbids the attribute `style`");
        assert!(node.attributes().all(|a| !a.name().starts_with("on")), "{of}: a handler in an attribute");
    }
    for node in root.descendants().filter(Node::is_element) {
        for (name, value) in node.attributes().map(|a| (a.name(), a.value())) {
            match name {
                "for" | "aria-labelledby" | "aria-describedby" | "popovertarget" => {
                    assert!(ids.contains(value), "{of}: {name}={value}")
                }
                "href" => match value.strip_prefix('#') {
                    Some(id) => assert!(ids.contains(id), "{of}: {value}"),
                    None => assert_eq!(value, "data:,", "{of}: an address"),
                },
                "src" => panic!("{of}: something is loaded: {value}"),
                _ => {}
            }
        }
    }
    for figure in named(root, "figure") {
        let caption: Vec<_> = named(figure, "figcaption").collect();
        assert_eq!(caption.len(), 1, "{of}: a figure has one caption");
        let said: String = caption[0].descendants().filter_map(|node| node.text()).collect();
        assert!(said.trim().chars().count() > 5, "{of}: {said}");
        let told = ["table", "ol", "ul"].into_iter().any(|list| named(figure, list).next().is_some());
        assert!(told, "{of}: a figure without its table: {said}");
    }
    for table in named(root, "table") {
        let columns = named(table, "th").filter(|th| th.attribute("scope") == Some("col")).count();
        for row in named(table, "tr") {
            assert_eq!(row.children().filter(Node::is_element).count(), columns, "{of}");
        }
    }
    let heads = named(root, "meta").find(|meta| meta.attribute("http-equiv").is_some()).unwrap();
    let policy = heads.attribute("content").unwrap();
    let (style, script) = (named(root, "style").next().unwrap(), named(root, "script").next().unwrap());
    assert_eq!(named(root, "script").count() + named(root, "style").count(), 2, "{of}");
    for (kind, element, source) in [("style", style, STYLE), ("script", script, SCRIPT)] {
        assert_eq!(element.text(), Some(source), "{of}");
        assert!(policy.contains(&format!("{kind}-src 'sha256-{}'", sha256(source))), "{kind}: {}", sha256(source));
    }
    assert!(policy.starts_with("default-src 'none'") && SCRIPT.len() < 2048);
}

/// Text nodes that people read, without those of numbers, tokens, commands, formulas and sources.
fn prose<'a>(of: Node<'a, 'a>, into: &mut Vec<&'a str>) {
    for node in of.children() {
        match node.tag_name().name() {
            "data" | "bdi" | "code" | "cite" | "svg" | "output" => {}
            _ if node.is_text() => into.push(node.text().unwrap_or_default()),
            _ => prose(node, into),
        }
    }
}

/// Numbers of tables beside a page: of each file its columns.
struct Tables<'a> {
    folder: &'a Path,
    read: BTreeMap<String, BTreeMap<String, Vec<Option<f64>>>>,
}

impl Tables<'_> {
    fn cell(&mut self, table: &str, row: usize, column: &str) -> Option<f64> {
        let folder = self.folder;
        let read = self.read.entry(table.to_owned()).or_insert_with(|| {
            let file = fs_err::File::open(folder.join(format!("{table}.parquet"))).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(file.into_parts().0).unwrap().build().unwrap();
            let mut columns: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
            for batch in reader.map(Result::unwrap) {
                for (field, values) in batch.schema().fields().iter().zip(batch.columns()) {
                    let numbers: Vec<Option<f64>> = match field.data_type() {
                        DataType::UInt32 => {
                            values.as_primitive::<UInt32Type>().iter().map(|x| x.map(f64::from)).collect()
                        }
                        DataType::UInt64 => {
                            values.as_primitive::<UInt64Type>().iter().map(|x| x.map(|x| x as f64)).collect()
                        }
                        DataType::Int64 => {
                            values.as_primitive::<Int64Type>().iter().map(|x| x.map(|x| x as f64)).collect()
                        }
                        DataType::Float32 => {
                            values.as_primitive::<Float32Type>().iter().map(|x| x.map(f64::from)).collect()
                        }
                        DataType::Float64 => values.as_primitive::<Float64Type>().iter().collect(),
                        _ => continue,
                    };
                    columns.entry(field.name().clone()).or_default().extend(numbers);
                }
            }
            columns
        });
        read.get(column).unwrap_or_else(|| panic!("{table}.{column}"))[row]
    }
}

/// The number that is shown, as a reader takes it.
fn shown(text: &str) -> (f64, f64) {
    let text = text.replace(',', "").replace('−', "-");
    let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
    let value: f64 = number.trim_start_matches('+').parse().unwrap_or_else(|_| panic!("{text}"));
    let prefix = ["", "k", "M", "G", "T", "P", "E"]
        .iter()
        .position(|p| unit.trim_end_matches("FLOP") == *p && unit.ends_with("FLOP"));
    let factor = match unit {
        "%" => 0.01,
        "" => 1.0,
        "B" => 1.0,
        _ if unit.ends_with("iB") => {
            1024f64.powi(["", "Ki", "Mi", "Gi", "Ti"].iter().position(|p| unit == format!("{p}B")).unwrap() as i32)
        }
        _ => 1000f64.powi(prefix.unwrap_or_else(|| panic!("{unit}")) as i32),
    };
    // Half of the last digit.
    let decimals = number.split_once('.').map_or(0, |(_, d)| d.len() as i32);
    (value * factor, 0.5001 * 10f64.powi(-decimals) * factor)
}

/// Every number of a page, looked up in the table, row and column that it names; and no number that names none.
#[track_caller]
fn check_truth(html: &str, folder: &Path) -> usize {
    let tree = parsed(html);
    let mut tables = Tables { folder, read: BTreeMap::new() };
    let mut n = 0;
    for data in named(tree.root_element(), "data") {
        let [table, row, column] = ["data-table", "data-row", "data-column"].map(|name| data.attribute(name).unwrap());
        let is = tables
            .cell(table, row.parse().unwrap(), column)
            .unwrap_or_else(|| panic!("{table} {row} {column} is null"));
        let value: f64 = data.attribute("value").unwrap().parse().unwrap();
        assert_eq!(value, is, "{table} {row} {column}");
        let text = data.text().unwrap();
        let (read, half) = shown(text);
        assert!((read - is).abs() <= half.max(is.abs() * 1e-9), "{table} {row} {column}: {is} is shown as {text}");
        n += 1;
    }
    let mut words = vec![];
    for body in named(tree.root_element(), "body") {
        body.children().filter(|node| !node.has_tag_name("script")).for_each(|node| prose(node, &mut words));
    }
    for words in words {
        assert!(!words.contains(|c: char| c.is_ascii_digit()), "a number of no table: {words}");
    }
    n
}

/// Invariant: Every number on the page of a prompt is one of the tables beside it, to the last bit as its value and rounded as its text, in both
/// languages; no other number stands there.
#[test]
fn every_number_is_in_the_table_that_it_names() {
    let place = Place::new();
    for (prompt, more) in
        [(STRAWBERRY, vec![]), (NAMES, vec![]), ("巴黎的首都是", vec![]), ("The", vec!["--traces", "2"])]
    {
        place.ok([&["explain", prompt, "--lang", "both", "--out", "run", "--force"], &more[..]].concat());
        let html = fs_err::read_to_string(place.path("run/explain.html")).unwrap();
        check_structure(&html, prompt);
        assert!(check_truth(&html, &place.path("run")) > 300, "{prompt}");
        assert!(html.len() <= 400_000, "{prompt}: {}", html.len());
    }
}

/// Invariant: Each of the ten questions has a place on the page, in both languages, with a number of a table in it.
#[test]
fn the_ten_questions_are_answered() -> Result<()> {
    for prompt in [STRAWBERRY, NAMES] {
        let (html, _) = page("demo", &PromptEntry::text(prompt), Lang::Both)?;
        let tree = parsed(&html);
        let languages: Vec<_> = named(tree.root_element(), "main").collect();
        assert_eq!(languages.iter().map(|main| main.attribute("lang").unwrap()).collect::<Vec<_>>(), ["en", "zh-Hans"]);
        for main in languages {
            for question in 1..=10 {
                let asked = main.descendants().filter(|node| {
                    let of = node.attribute("data-answers").unwrap_or_default();
                    of.split(' ').any(|n| n == question.to_string())
                });
                let numbers: usize = asked.map(|node| named(node, "data").count()).sum();
                assert!(numbers > 0, "question {question} in {:?}", main.attribute("lang"));
            }
        }
    }
    Ok(())
}

/// Invariant: Both languages have the same strings with the same places, and none is empty or has a number that no table has.
#[test]
fn both_languages_say_the_same() {
    let places = |text: &str| -> BTreeSet<String> {
        let named = text.split('{').skip(1).map(|rest| rest.split_once('}').unwrap().0);
        // The form of a word by a number is English's own matter.
        named.map(|name| name.split_once('?').map_or(name, |(name, _)| name).to_owned()).collect()
    };
    let links = |text: &str| -> BTreeSet<String> {
        text.split('[').skip(1).map(|rest| rest.split_once(':').unwrap().0.to_owned()).collect()
    };
    let mut keys = BTreeSet::new();
    for (key, en, zh) in WORDS.into_iter().flatten() {
        assert!(keys.insert(*key), "{key} is there twice");
        assert!(!en.is_empty() && !zh.is_empty(), "{key}");
        assert_eq!(places(en), places(zh), "{key}");
        assert_eq!(links(en), links(zh), "{key}");
        assert!(en.is_ascii() || !en.contains(|c| ('\u{4e00}'..'\u{9fff}').contains(&c)) || *key == "tongue", "{key}");
    }
    assert!(keys.len() > 250);
}

/// What a sentence begins with, between its places.
fn beginning(key: &str, tongue: Tongue) -> &'static str {
    text(key, tongue)
        .split(['{', '}'])
        .step_by(2)
        .find(|part| !part.contains('[') && part.chars().count() >= 5)
        .unwrap()
}

/// Invariant: The same request has the same page, byte for byte, whatever the number of threads.
#[test]
fn the_same_prompt_has_the_same_page() {
    let place = Place::new();
    for threads in ["1", "2"] {
        let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
        command.env("RAYON_NUM_THREADS", threads);
        let done = command.args(["explain", "-q", NAMES, "--lang", "both", "--out", threads]).output().unwrap();
        assert!(done.status.success());
    }
    assert_eq!(place.read("1/explain.html"), place.read("2/explain.html"));
}

/// Invariant: Text of a prompt stays text: markup, overrides of direction and lone bytes do nothing.
#[test]
fn tokens_stay_text() -> Result<()> {
    let nasty = "</bdi><script>alert(1)</script> a\u{202e}b \u{2066}c & \"d\" {p} <!--";
    let (html, _) = page("demo", &PromptEntry::text(nasty), Lang::Both)?;
    check_structure(&html, "nasty");
    assert!(!html.contains('\u{202e}') && !html.contains('\u{2066}') && !html.contains("alert(1)</script>"));
    // Bytes that are no character: three tokens of one byte each.
    let session = Session::open("demo")?;
    let bytes: Vec<u32> = (0..2048).filter(|id| session.spell(*id).starts_with("\\x")).take(3).collect();
    assert_eq!(bytes.len(), 3);
    let (html, _) = page("demo", &PromptEntry::ids(bytes), Lang::En)?;
    check_structure(&html, "bytes");
    assert!(!html.contains(char::REPLACEMENT_CHARACTER) && html.contains("\\x"));
    Ok(())
}

#[test]
fn a_prompt_that_is_too_long_is_refused_in_one_sentence() {
    let place = Place::new();
    place.refused(["explain", &"x ".repeat(5000), "--out", "run"], 2, "128");
    assert!(!place.path("run/explain.html").exists());
    place.refused(["explain", "one", "two", "--out", "run"], 2, "one prompt");
    place.refused(["explain", "one", "--lang", "de", "--out", "run"], 2, "de");
    place.refused(
        ["explain", "--ids", "5,6", "--compare", &crate::bin::model("gpt2"), "--out", "run"],
        2,
        "another model",
    );
}

/// Invariant: A page replaces the page of the same request, and nobody else's file.
#[test]
fn a_page_is_known_by_what_it_says_of_itself() {
    let place = Place::new();
    let asked = ["explain", "-q", "Mary and John", "--traces", "2", "--tokens", "2", "--out", "run"];
    place.ok(asked);
    place.ok(asked);
    place.write("run/explain.html", "<p>mine</p>");
    place.refused(asked, 2, "explain.html");
    assert_eq!(place.read("run/explain.html"), b"<p>mine</p>");
}

/// Invariant: Beside a second model, its board, tokens and strokes are on the page too, and every number is in a table.
#[test]
fn a_second_model_stands_beside() {
    let place = Place::new();
    // The built-in model by another name will do.
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo").join(file);
        if from.exists() {
            place.write(&format!("other/{file}"), fs_err::read(from).unwrap());
        }
    }
    let other = "./other";
    place.ok([
        "explain", "-q", NAMES, "--compare", other, "--lang", "both", "--traces", "2", "--tokens", "3", "--out", "run",
    ]);
    let html = fs_err::read_to_string(place.path("run/explain.html")).unwrap();
    check_structure(&html, "compare");
    check_truth(&html, &place.path("run"));
    assert!(html.contains("id=\"en-compare\"") && html.contains("id=\"zh-compare\""));
}

fn of_family(model: &str) -> Result<()> {
    let (html, facts) = page(model, &PromptEntry::ids(vec![7, 3, 11, 3, 7, 5]), Lang::Both)?;
    check_structure(&html, model);
    let says = |key: &str| [Tongue::En, Tongue::Zh].into_iter().all(|tongue| html.contains(beginning(key, tongue)));
    let spec = &facts.spec;
    // Each layer has its name beside the pattern of all heads, also where its window hides the first token.
    let grid = html.split("<svg class=\"strips\"").next().unwrap().rsplit("<ol class=\"down\"").next().unwrap();
    assert_eq!(grid.matches("data-column=\"layer\"").count(), spec.n_layers(), "{model}: {grid}");
    assert_eq!(says("answer.none"), !spec.is_causal(), "{model}");
    assert_eq!(says("ffn.none"), spec.blocks.iter().all(|block| block.mlp.is_none()), "{model}");
    let experts = spec.blocks.iter().filter_map(|block| block.mlp.as_ref()).any(|mlp| mlp.inner.experts().is_some());
    assert_eq!(says("ffn.experts"), experts, "{model}");
    assert_eq!(says("position.bidirectional"), !spec.is_causal(), "{model}");
    assert_eq!(says("position.alibi"), !facts.alibi.is_empty(), "{model}");
    Ok(())
}

for_every_model! {
    /// Invariant: There is a page of every family, and what a family lacks is said.
    fn family = of_family;
}
