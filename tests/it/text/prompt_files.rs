//! Prompt files of each kind, and what is said about bad ones.

use std::path::Path;

use pellucid::error::Result;
use pellucid::session::prompts::from_input;
use pellucid::session::records::Input;
use pellucid::text::PromptEntry;
use pellucid::text::bounds::Bounds;
use pellucid::text::prompt_file::read_bytes;
use pellucid::text::records::Written;

fn from_file(path: &Path) -> Result<Vec<PromptEntry>> {
    from_input(&Input::file(path), &[])
}

fn read(name: &str, content: impl AsRef<[u8]>) -> Result<Vec<PromptEntry>> {
    let root = tempfile::tempdir()?;
    let path = root.path().join(name);
    fs_err::write(&path, content)?;
    from_file(&path)
}

/// The error for a file, from its name on.
fn refused(name: &str, content: impl AsRef<[u8]>) -> String {
    let error = read(name, content).expect_err("this file must be refused");
    assert!(error.hint_text().is_some(), "{error} has no hint");
    let message = error.to_string();
    let start = message.find(name).expect("the file is named");
    message[start..].to_owned()
}

#[test]
fn a_text_file_has_one_prompt_on_each_line() -> Result<()> {
    let entries = read("p.txt", "\u{feff}The cat\r\n\n  \t\r\n sat \u{2028}down\n\n")?;
    assert_eq!(entries, [PromptEntry::text("The cat"), PromptEntry::text(" sat \u{2028}down")]);
    assert_eq!(read("P.TXT", "no newline at the end")?.len(), 1);
    Ok(())
}

#[test]
fn json_lines_have_text_or_ids() -> Result<()> {
    let lines = r#"{"text": "a\nb", "id": "first", "note": 1}

{"ids": [1, 2], "id": 7}
{"ids": [3]}"#;
    let expected =
        [PromptEntry::text("a\nb").named("first"), PromptEntry::ids([1, 2]).named("7"), PromptEntry::ids([3])];
    assert_eq!(read("p.jsonl", lines)?, expected);
    assert_eq!(read("p.ndjson", lines)?, expected);
    Ok(())
}

#[test]
fn a_csv_has_text_or_ids() -> Result<()> {
    let entries = read("p.csv", "id,text,note\na,\"Hello, \"\"you\"\"\nthere\",x\n,plain,\n")?;
    assert_eq!(entries, [PromptEntry::text("Hello, \"you\"\nthere").named("a"), PromptEntry::text("plain")]);
    assert_eq!(
        read("p.csv", "ids\r\n1 2  3\r\n\"4, 5\"\r\n")?,
        [PromptEntry::ids([1, 2, 3]), PromptEntry::ids([4, 5])]
    );
    Ok(())
}

/// The prompts of a file in which our fields are called `columns`.
fn mapped(name: &str, content: &str, columns: &[(&str, &str)]) -> Result<Vec<PromptEntry>> {
    let root = tempfile::tempdir()?;
    let path = root.path().join(name);
    fs_err::write(&path, content)?;
    let columns: Vec<(String, String)> = columns.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
    from_input(&Input::file(&path), &columns)
}

#[test]
fn json_is_a_list_of_strings_of_objects_or_of_ids_and_lines_under_that_name() -> Result<()> {
    let three = [PromptEntry::text("a").named("x"), PromptEntry::ids([1, 2]), PromptEntry::text("b\nc")];
    let objects = r#"{"text": "a", "id": "x"} {"ids": [1, 2]} {"text": "b\nc"}"#;
    let list = format!("[\n{}\n]\n", objects.replace("} {", "},\n{"));
    assert_eq!(read("p.json", &list)?, three);
    assert_eq!(read("p.json", list.replace('\n', " "))?, three, "on one line");
    assert_eq!(read("p.json", objects.replace("} {", "}\n\n{"))?, three, "JSON lines");
    assert_eq!(read("p.json", r#"["a", "b c"]"#)?, [PromptEntry::text("a"), PromptEntry::text("b c")]);
    assert_eq!(read("p.json", "[[1, 2], [3]]")?, [PromptEntry::ids([1, 2]), PromptEntry::ids([3])]);
    assert_eq!(read("p.json", r#"{"text": "a"}"#)?, [PromptEntry::text("a")], "one record");
    let inside = r#"{"name": "n", "templates": ["{} is"], "samples": [{"text": "a"}, {"text": "b"}]}"#;
    assert_eq!(read("p.json", inside)?, [PromptEntry::text("a"), PromptEntry::text("b")], "its one list of objects");
    Ok(())
}

#[test]
fn tsv_is_csv_with_tabs() -> Result<()> {
    let entries = read("p.tsv", "id\ttext\na\tHello, you\n\t\"two\nlines\"\n")?;
    assert_eq!(entries, [PromptEntry::text("Hello, you").named("a"), PromptEntry::text("two\nlines")]);
    Ok(())
}

#[test]
fn columns_are_called_as_the_file_calls_them() -> Result<()> {
    let json = r#"{"prompt": "{} is in", "known_id": 7, "of": {"subject": "Rome", "ids": [4, 5]}, "text": "no"}"#;
    let a = PromptEntry::text("{} is in");
    assert_eq!(mapped("p.jsonl", json, &[("text", "prompt")])?, std::slice::from_ref(&a));
    assert_eq!(mapped("p.jsonl", json, &[("text", "prompt"), ("id", "known_id")])?, [a.named("7")]);
    assert_eq!(mapped("p.jsonl", json, &[("ids", "of.ids")])?, [PromptEntry::ids([4, 5])]);
    let filled = [("text", "prompt"), ("subject", "of.subject")];
    assert_eq!(mapped("p.jsonl", json, &filled)?, [PromptEntry::text("Rome is in")]);
    let made = [("text", "Where is {of.subject}? ({known_id})")];
    assert_eq!(mapped("p.jsonl", json, &made)?, [PromptEntry::text("Where is Rome? (7)")]);
    assert_eq!(
        mapped("p.csv", "statement,label\nRome is,1\n", &[("text", "statement")])?,
        [PromptEntry::text("Rome is")]
    );
    assert_eq!(mapped("p.csv", "id,text\n1,a\n1,b\n", &[("id", "")])?.len(), 2, "no ids are wanted");
    Ok(())
}

#[test]
fn columns_that_are_not_there_are_refused() {
    let json = "{\"prompt\": \"a\", \"n\": {\"x\": 1}}\n{\"prompt\": 3}\n";
    for (columns, says) in [
        (&[("text", "promt")][..], "p.jsonl has no column `promt`; it has `prompt`, `n`"),
        (&[("text", "n.y")], "p.jsonl has no column `n.y`"),
        (&[("text", "In {prompt} {nope}")], "p.jsonl has no column `nope`"),
        (&[("txt", "prompt")], "prompts have no column `txt`"),
        (&[("text", "prompt"), ("text", "n")], "`columns` says twice what `text` is called"),
        (&[("text", "n")], "p.jsonl:1: `n` is not a string: {\"x\":1}"),
        (&[("text", "prompt")], "p.jsonl:2: `prompt` is not a string: 3"),
        (&[("text", "prompt"), ("subject", "n.x")], "p.jsonl:1: there is no text in `n.x`, the subject"),
        (&[("text", "prompt"), ("subject", "prompt")], "p.jsonl:1: there is no {} for the subject in \"a\""),
        (&[("text", "prompt {n.x}")], "p.jsonl:2: this object has no `prompt {n.x}`, but `prompt`"),
    ] {
        let error = mapped("p.jsonl", json, columns).expect_err(says);
        assert!(error.to_string().contains(says), "{error}\ninstead of\n{says}");
        assert!(error.hint_text().is_some(), "{error}");
    }
}

#[test]
fn a_name_that_says_nothing_can_be_told() -> Result<()> {
    let root = tempfile::tempdir()?;
    let path = root.path().join("prompts");
    fs_err::write(&path, "id\ttext\na\tb\n")?;
    let read = |written| from_input(&Input { path: &path, written, read: read_bytes, bounds: Bounds::default() }, &[]);
    let error = read(None).expect_err("nothing says how it is written");
    assert!(error.hint_text().unwrap_or_default().contains("prompts_format"), "{error:?}");
    assert_eq!(read(Some(Written::Tsv))?, [PromptEntry::text("b").named("a")]);
    assert_eq!(read(Some(Written::Lines))?.len(), 2);
    Ok(())
}

#[test]
fn bad_files_are_refused_with_the_line() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("p.txt", b"ok\nok\n\xFFbad", "p.txt:3: this line is not UTF-8"),
        ("p.txt", b"\n \n", "p.txt: there are no prompts in this file"),
        ("p.txt", b"", "p.txt: there are no prompts in this file"),
        ("p.json", b"", "p.json: there are no prompts in this file"),
        ("p.json", b"[]", "p.json: there are no prompts in this file"),
        ("p.json", b"[\n\"a\",\n3]", "p.json:3: this is neither a string, a list of token ids nor an object: 3"),
        ("p.json", b"[\n\n{\"text\": \"a\"}, {}]", "p.json:3: this object has neither `text` nor `ids`, but nothing"),
        ("p.json", b"[[1], [-1]]", "p.json:1: this is not a list of token ids: [-1]"),
        ("p.json", b"[\"a\",\n\n\"b]", "p.json:3: this is not JSON"),
        ("p.json", b"{\"text\": \"a\"}\n{\"text\"\n", "p.json:2: this is not JSON"),
        ("p.json", b"3", "p.json:1: this is neither a list nor an object: 3"),
        ("p.json", b"{\"a\": [{}], \"b\": [{}]}", "p.json:1: this object has several lists of records: `a`, `b`"),
        ("p.jsonl", b"{\"text\": null}", "p.jsonl:1: there is no prompt"),
        ("p.csv", b"ids\n\"1,,2\"\n", "p.csv:2: \"1,,2\" has no token id in its place 2"),
        ("p.tsv", b"ids\n1\t2\n", "p.tsv:2: this row has 2 columns, but the header has 1"),
        ("p.doc", b"ok", "p.doc: this is not a kind of prompt file that is known"),
        ("prompts", b"ok", "prompts: this is not a kind of prompt file that is known"),
        ("p.jsonl", b"{\"text\": \"a\"}\n{\"text\": ", "p.jsonl:2: this is not JSON"),
        ("p.jsonl", b"\"a\"", "p.jsonl:1: this is not an object: \"a\""),
        ("p.jsonl", b"{\"text\": \"a\", \"ids\": [1]}", "p.jsonl:1: this object has both `text` and `ids`"),
        (
            "p.jsonl",
            b"\n{\"prompt\": \"a\", \"n\": 1}",
            "p.jsonl:2: this object has neither `text` nor `ids`, but `prompt`, `n`",
        ),
        ("p.jsonl", b"{\"text\": 3}", "p.jsonl:1: `text` is not a string: 3"),
        ("p.jsonl", b"{\"ids\": [1, -2]}", "p.jsonl:1: `ids` is not a list of token ids: [1,-2]"),
        ("p.jsonl", b"{\"ids\": [4294967296]}", "p.jsonl:1: `ids` is not a list of token ids"),
        ("p.jsonl", b"{\"ids\": [1], \"id\": [1]}", "p.jsonl:1: `id` is neither a string nor a whole number: [1]"),
        ("p.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"\"}", "p.jsonl:2: this prompt is empty"),
        ("p.jsonl", b"{\"ids\": []}", "p.jsonl:1: this prompt is empty"),
        (
            "p.jsonl",
            b"{\"ids\": [1], \"id\": 1}\n\n{\"ids\": [2]}",
            "p.jsonl:3: the id \"1\" is already that of line 1",
        ),
        ("p.csv", b"id,txt\n1,a\n", "p.csv:1: the header has neither `text` nor `ids`, but `id`, `txt`"),
        ("p.csv", b"text,ids\na,1\n", "p.csv:1: the header has both `text` and `ids`"),
        ("p.csv", b"text\n", "p.csv: there are no prompts in this file"),
        ("p.csv", b"id,text\n1,a\n2,b,c\n", "p.csv:3: this row has 3 columns, but the header has 2"),
        ("p.csv", b"ids\n1 2\n3 x\n", "p.csv:3: `x` is not a token id"),
        ("p.csv", b"id,text\n\n1,a\n\n1,b\n", "p.csv:5: the id \"1\" is already that of line 3"),
        ("p.csv", b"id,text\r\n1,a\r\n\r\n\r\n2,b,c\r\n", "p.csv:5: this row has 3 columns"),
        ("p.csv", b"id,text\n1,\"a\nb\"\n1,c\n", "p.csv:4: the id \"1\" is already that of line 2"),
        ("p.csv", b"id,text\n1,\n", "p.csv:2: this prompt is empty"),
        ("p.csv", b"text\n\xFF\n", "p.csv:2: this line is not UTF-8"),
    ];
    for (name, content, says) in cases {
        let message = refused(name, content);
        assert!(message.starts_with(says), "{message}\ninstead of\n{says}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = from_file(Path::new("no/such/prompts.txt")).expect_err("it is not there");
    assert!(error.to_string().contains("no/such/prompts.txt"), "{error}");
}
