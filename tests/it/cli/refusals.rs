//! Thousands of requests that are wrong, each in one way: every refusal has a hint, is short, holds nothing that a terminal would
//! obey, and does not send its reader where the cause is not.
//!
//! `PELLUCID_REFUSALS=all` asks for every value of every option, which takes minutes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pellucid::Error;
use pellucid::arch::family::read_config;
use pellucid::session::read_vector;
use pellucid::text::prompt_file::read_bytes;
use pellucid::text::{Files, Tokenizer};
use serde_json::{Value, json};

use crate::bin::{Place, fixture, is_unprintable};

/// The longest line of a refusal. In characters.
const LONGEST: usize = 620;

/// What is wrong with a refusal, if anything.
fn faults(message: &str, hint: &str) -> Vec<String> {
    let mut found = vec![];
    let mut must = |is: bool, what: &str| {
        if !is {
            found.push(what.to_owned());
        }
    };
    must(!message.trim().is_empty(), "no sentence");
    must(hint.trim().len() > 3, "no hint");
    for line in [message, hint] {
        must(line.chars().count() <= LONGEST, "too long");
        must(!line.chars().any(is_unprintable), "raw control characters");
        must(!line.contains("panicked") && !line.contains("RUST_BACKTRACE"), "a panic");
        let word = line.split(' ').map(|word| word.chars().count()).max().unwrap_or_default();
        must(word <= 260, "a word of hundreds of characters");
    }
    // A cause, as the system or we say it, and words that a hint for another cause would have.
    let contradictions: [(&str, &[&str]); 8] = [
        ("No such file", &["permission", "you may", "disk space"]),
        ("there is no file", &["permission", "you may", "disk space"]),
        ("is a folder, not", &["permission", "disk space", "copy or write it again"]),
        ("Is a directory", &["permission", "you may", "disk space"]),
        ("Not a directory", &["permission", "you may", "disk space"]),
        ("No space left", &["permission", "you may", "check the path"]),
        ("File name too long", &["permission", "you may", "disk space"]),
        ("Permission denied", &["disk space", "check the path", "copy or write it again"]),
    ];
    for (cause, others) in contradictions {
        let wrong = message.contains(cause) && others.iter().any(|other| hint.contains(other));
        must(!wrong, &format!("a hint against `{cause}`"));
    }
    found
}

/// Refusals, counted, and what is wrong with any of them.
#[derive(Default)]
struct Tally {
    refused: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn error(&mut self, what: &str, e: &Error) {
        self.refused += 1;
        let hint = e.hint_text().unwrap_or_default();
        for fault in faults(e.message(), hint) {
            self.wrong.push(format!("{fault}: {what}\n    {}\n    {hint}", e.message()));
        }
    }

    #[track_caller]
    fn end(self, least: usize) {
        let shown = self.wrong.iter().take(12).cloned().collect::<Vec<_>>().join("\n  ");
        assert!(self.wrong.is_empty(), "{} of {} refusals:\n  {shown}", self.wrong.len(), self.refused);
        assert!(self.refused >= least, "{} refusals are no test", self.refused);
        println!("{} refusals", self.refused);
    }
}

fn long(text: &str) -> String {
    text.repeat(5000 / text.len())
}

/// Values of every type, most of which no key takes.
fn values() -> Vec<Value> {
    let texts = ["", "x", "\u{1b}[31mred\u{9b}2J", "line\nline\ttab\u{202e}"].map(String::from);
    let mut all: Vec<Value> = texts.into_iter().chain([long("y"), long("a b "), long("é`")]).map(Value::from).collect();
    all.extend([json!(null), json!(true), json!(0), json!(1), json!(-1), json!(3), json!(1.5), json!(-1e300)]);
    all.extend([json!(u64::MAX), json!([]), json!([1, "x"]), json!(vec![0; 3000]), json!({}), json!({"a": {"b": 1}})]);
    all.push(json!({ long("k"): long("v") }));
    all
}

/// Invariant: Every error has a hint, or it does not compile (doctest of `Sentence` in `src/error/mod.rs`); thousands of wrong
/// requests get one short, printable sentence and one hint that fits the cause.
#[test]
fn every_wrong_config_says_what_to_do() {
    let mut tally = Tally::default();
    let folders = fs_err::read_dir(fixture("")).unwrap().map(|e| e.unwrap().path());
    let configs: Vec<_> = folders.filter(|f| f.join("config.json").is_file()).collect();
    assert!(configs.len() > 30, "{}", configs.len());
    for folder in &configs {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs_err::read_to_string(folder.join("config.json")).unwrap();
        let whole: Value = serde_json::from_str(&text).unwrap();
        let mut read = |what: String, config: &Value| {
            if let Err(e) = read_config(&config.to_string()) {
                tally.error(&what, &e);
            }
        };
        let keys: Vec<&String> = whole.as_object().unwrap().keys().collect();
        for key in keys {
            for value in values() {
                let mut config = whole.clone();
                let what = format!("{name}: {key} = {}", value.to_string().chars().take(60).collect::<String>());
                config[key] = value;
                read(what, &config);
            }
            let mut config = whole.clone();
            config.as_object_mut().unwrap().remove(key);
            read(format!("{name} without {key}"), &config);
        }
        for unknown in ["mystery", "\u{1b}[2J", &long("z"), &long("a b"), &long("`"), ""] {
            let mut config = whole.clone();
            config[unknown] = json!(long("v"));
            read(format!("{name} with a key of {} bytes", unknown.len()), &config);
        }
    }
    for text in ["", "[]", "{", "null", "3", "\"x\"", &long("["), "{\"a\": \"\u{7}\"}", &format!("{{\"{}", long("q"))] {
        if let Err(e) = read_config(text) {
            tally.error(&text.chars().take(40).collect::<String>(), &e);
        }
    }
    tally.end(4000);
}

/// Invariant: as `every_wrong_config_says_what_to_do`.
#[test]
fn every_wrong_tokenizer_says_what_to_do() {
    let place = Place::new();
    let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    let whole: Value = serde_json::from_slice(&fs_err::read(demo.join("tokenizer.json")).unwrap()).unwrap();
    let mut tally = Tally::default();
    let mut read = |what: String, file: &str, bytes: &[u8]| {
        place.write(&format!("m/{file}"), bytes);
        match Tokenizer::from_files(&Files::Folder(place.path("m"))) {
            Err(e) => tally.error(&what, &e),
            Ok(Some(t)) => {
                let texts = ["Mary gave it", "é", "", "\u{0}"];
                if let Some(e) = texts.iter().find_map(|text| t.encode(text, pellucid::text::Bos::AsTokenizer).err()) {
                    tally.error(&format!("{what}, a text"), &e);
                }
            }
            Ok(None) => {}
        }
    };
    // Every part, and every part of a part.
    let mut paths: Vec<Vec<String>> = vec![];
    for (key, part) in whole.as_object().unwrap() {
        paths.push(vec![key.clone()]);
        let inner = part.as_object().into_iter().flatten().map(|(inner, _)| vec![key.clone(), inner.clone()]);
        paths.extend(inner);
    }
    for path in &paths {
        for value in values() {
            let mut config = whole.clone();
            let place = path.iter().fold(&mut config, |at, key| &mut at[key]);
            let what = format!("{path:?} = {}", value.to_string().chars().take(60).collect::<String>());
            *place = value;
            read(what, "tokenizer.json", config.to_string().as_bytes());
        }
    }
    let good = whole.to_string();
    for file in ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"] {
        read("whole".into(), "tokenizer.json", good.as_bytes());
        for text in ["", "[", "3", "{\"bos_token\": 3}", "{\"added_tokens_decoder\": {\"x\": {}}}", "{\"<a>\": \"x\"}"]
        {
            read(format!("{file}: {text}"), file, text.as_bytes());
        }
        read("whole".into(), file, b"{}");
    }
    for cut in (0..good.len()).step_by(good.len() / 50) {
        let at = (cut..).find(|i| good.is_char_boundary(*i)).unwrap();
        read(format!("cut at {at}"), "tokenizer.json", &good.as_bytes()[..at]);
    }
    tally.end(300);
}

/// Invariant: as `every_wrong_config_says_what_to_do`.
#[test]
fn every_wrong_path_says_what_to_do() {
    let place = Place::new();
    place.write("file", "x");
    place.write("folder/inside", "x");
    #[cfg(unix)]
    std::os::unix::fs::symlink("circle", place.path("circle")).unwrap();
    let at = |name: &str| place.path(name).display().to_string();
    let mut tally = Tally::default();
    let names = ["missing", "folder", "file/below", "circle", "", "missing/below", "\u{1b}[31m", "a\nb", "a`b`c"];
    for name in names.map(at).into_iter().chain([at(&long("n")), at(&long("m/")), long("é"), "\u{0}".into()]) {
        let mut tried = |what: &str, error: Option<Error>| {
            let what = format!("{what} {}", name.chars().take(60).collect::<String>());
            let error = error.unwrap_or_else(|| panic!("{what} was taken"));
            tally.error(&what, &error);
        };
        let path = std::path::Path::new(&name);
        tried("reading", read_bytes(path, usize::MAX).err());
        tried("a vector", read_vector(&name).err());
        tried("a chart", pellucid::analysis::seen::render(path).err());
        tried("a table", pellucid::table::read_provenance(path).err());
        let below = path.join("x").join("y");
        tried("writing", pellucid::whole::write_whole(&below, b"x").err());
    }
    tally.end(60);
}

/// A command that works, to which one thing is added or in which one is replaced.
const COMMANDS: [&[&str]; 9] = [
    &["lens", "Mary gave it"],
    &["attention", "Mary gave it"],
    &["patch", "--clean", "Mary gave it", "--corrupt", "John gave it", "--answer", " Mary", "--foil", " John"],
    &[
        "path", "--clean", "Mary gave it", "--corrupt", "John gave it", "--answer", " Mary", "--from", "z", "--to",
        "logits",
    ],
    &["ablate", "Mary gave it"],
    &["attribute", "--clean", "Mary gave it", "--corrupt", "John gave it", "--answer", " Mary", "--foil", " John"],
    &["cache", "Mary gave it", "--hooks", "resid_post"],
    &["tokens", "Mary gave it"],
    &["verify", "demo"],
];

/// The options of a command that take a value, as its `--help` has them.
fn options(place: &Place, command: &str) -> Vec<String> {
    let help = place.ok([command, "--help"]).stdout;
    let names = help.lines().filter_map(|line| {
        let line = line.trim_start();
        let from = line.find("--").filter(|_| line.starts_with('-'))?;
        let (name, rest) = line[from..].split_once(' ')?;
        rest.trim_start().starts_with('<').then(|| name.to_owned())
    });
    names.collect()
}

/// Invariant: as `every_wrong_config_says_what_to_do`.
#[test]
fn every_wrong_option_says_what_to_do() {
    let place = Place::new();
    place.write("garbage", [0xA5; 64]);
    place.write("text.txt", "one\ntwo\n");
    place.write("cut.parquet", b"PAR1xxxx");
    place.write("list.json", "[1, 2");
    fs_err::create_dir_all(place.path("empty")).unwrap();
    // An address at which nothing is, so that an id of a model goes nowhere.
    let texts = ["", "x", "-1", "nan", "1e999", "99999999999999999999999", "\u{1b}[31m", "a,b,,", "0-", "9.9.9"];
    let files = ["missing", "garbage", "text.txt", "cut.parquet", "list.json", "empty", "text.txt/below", "/dev/null"];
    let mut values: Vec<String> = texts.into_iter().chain(files).map(String::from).collect();
    values.extend([long("n"), long("a b "), long("`"), long("1,")]);

    let all = std::env::var_os("PELLUCID_REFUSALS").is_some();
    let mut asked: Vec<Vec<String>> = vec![];
    for (c, command) in COMMANDS.iter().enumerate() {
        for (o, option) in options(&place, command[0]).iter().enumerate() {
            for (v, value) in values.iter().enumerate() {
                // Each option of each command meets some of the values, and each value some option.
                if all || (c * 5 + o * 3 + v) % values.len() < 3 {
                    let mut args: Vec<String> = command.iter().map(|a| (*a).to_owned()).collect();
                    // Once only, where the command has it already.
                    match args.iter().position(|a| a == option) {
                        Some(at) => args[at + 1] = value.clone(),
                        None => args.extend([option.clone(), value.clone()]),
                    }
                    asked.push(args);
                }
            }
        }
    }
    for command in ["man", "completions", "tables", "chart", "hooks", "model", "nonsense"] {
        asked.extend(values.iter().map(|value| vec![command.to_owned(), value.clone()]));
    }

    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(args) = asked.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let one = Place::new();
                    for name in ["garbage", "text.txt", "cut.parquet", "list.json"] {
                        one.write(name, place.read(name));
                    }
                    fs_err::create_dir_all(one.path("empty")).unwrap();
                    let done = one.pellucid(args);
                    if done.code == Some(0) {
                        continue;
                    }
                    let shown: Vec<String> = args.iter().map(|a| a.chars().take(40).collect()).collect();
                    let shown = shown.join(" ");
                    let mut tally = tally.lock().unwrap();
                    tally.refused += 1;
                    // Notes and warnings may come before.
                    let is_refusal = |line: &&str| line.starts_with("error: ") || line.starts_with("hint: ");
                    let (lines, notes): (Vec<&str>, Vec<&str>) = done.stderr.lines().partition(is_refusal);
                    for note in notes {
                        if !(note.starts_with("note: ") || note.starts_with("warning: ")) {
                            tally.wrong.push(format!("not a note: {shown}\n    {note}"));
                        }
                        tally
                            .wrong
                            .extend(faults(note, "a note").into_iter().map(|f| format!("{f}: {shown}\n    {note}")));
                    }
                    let said = match lines[..] {
                        [error, hint] => error.strip_prefix("error: ").zip(hint.strip_prefix("hint: ")),
                        _ => None,
                    };
                    match said {
                        Some((message, hint)) => {
                            for fault in faults(message, hint) {
                                tally.wrong.push(format!("{fault}: {shown}\n    {message}\n    {hint}"));
                            }
                        }
                        None => tally.wrong.push(format!("not an error and a hint: {shown}\n    {:?}", done.stderr)),
                    }
                    if !matches!(done.code, Some(1 | 2)) {
                        tally.wrong.push(format!("code {:?}: {shown}", done.code));
                    }
                }
            });
        }
    });
    tally.into_inner().unwrap().end(300);
}
