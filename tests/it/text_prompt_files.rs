//! Prompt files of each kind, and what is said about bad ones.

use std::path::Path;

use pellucid::error::Result;
use pellucid::run::prompts::from_file;
use pellucid::text::{PromptEntry, read_prompts};

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

#[test]
fn parquet_is_read_by_whoever_knows_it() -> Result<()> {
    let entries = read_prompts(Path::new("p.parquet"), |_| Ok(vec![PromptEntry::text("a"), PromptEntry::ids([1])]))?;
    assert_eq!(entries.len(), 2);
    let error = read_prompts(Path::new("p.parquet"), |_| Ok(vec![PromptEntry::ids([])])).expect_err("it is empty");
    assert_eq!(error.to_string(), "p.parquet: row 0: this prompt is empty");
    Ok(())
}

#[test]
fn bad_files_are_refused_with_the_line() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("p.txt", b"ok\nok\n\xFFbad", "p.txt:3: this line is not UTF-8"),
        ("p.txt", b"\n \n", "p.txt: there are no prompts in this file"),
        ("p.txt", b"", "p.txt: there are no prompts in this file"),
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
        ("p.csv", b"ids\n1 2\n3 x\n", "p.csv:3: \"x\" is not a token id"),
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
