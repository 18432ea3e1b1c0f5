//! Chat templates: what transformers makes of them, and what of them is refused.

use std::path::Path;

use pellucid::Result;
use pellucid::text::chat::{InChat, Role};
use pellucid::text::{Chat, PromptEntry, Tokenizer, build_prompts};
use serde_json::{Value, json};

use crate::bin::{Place, fixture};
use crate::model::smollm2::smollm2;

/// A folder with the tokenizer `of` and this chat template, in the file of its own or in tokenizer_config.json.
fn tokenizer(of: &str, place: &str, template: &str) -> (Place, Tokenizer) {
    let folder = Place::new();
    let from = fixture("tokenizers").join(of);
    for file in fs_err::read_dir(&from).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        folder.write(&name, fs_err::read(from.join(&name)).unwrap());
    }
    let config = folder.path("tokenizer_config.json");
    let mut says: Value = fs_err::read(config).map_or(json!({}), |bytes| serde_json::from_slice(&bytes).unwrap());
    let other = "{{ raise_exception('not this one') }}";
    says["chat_template"] = match place {
        "config" => json!(template),
        "list" => json!([{"name": "tool_use", "template": other}, {"name": "default", "template": template}]),
        _ => json!(other),
    };
    folder.write("tokenizer_config.json", says.to_string());
    if place == "jinja" {
        folder.write("chat_template.jinja", template);
    }
    let loaded = load(&folder.path(""));
    (folder, loaded)
}

fn load(folder: &Path) -> Tokenizer {
    Tokenizer::load(folder).unwrap().expect("there is a tokenizer")
}

/// What is made of a chat: its text and its ids.
fn made(tokenizer: &Tokenizer, system: Option<&str>, user: &str) -> Result<(String, Vec<u32>)> {
    let chat = Chat { system: system.map(str::to_owned), date: Some("2026-11-26".parse()?) };
    let prompt = build_prompts(&[PromptEntry::text(user)], Some(tokenizer), usize::MAX, None, chat)?.remove(0);
    Ok((prompt.text.clone().unwrap(), prompt.ids()))
}

/// Compares with what transformers made of the same chats, and says how many there were.
fn compare(name: &str, tokenizer: &Tokenizer, cases: &Value) -> usize {
    let cases = cases.as_array().unwrap();
    for case in cases {
        let (system, user) = (case[0].as_str(), case[1].as_str().unwrap());
        match (made(tokenizer, system, user), case[2].as_str()) {
            (Ok((text, ids)), Some(expected)) => {
                assert_eq!(text, expected, "{name}: {system:?} {user:?}");
                assert_eq!(json!(ids), case[3], "{name}: {system:?} {user:?}");
            }
            (Err(e), None) => {
                let said = e.message();
                assert!(
                    said.contains("refuses this chat in its line") && said.ends_with(case[3].as_str().unwrap()),
                    "{said}"
                );
            }
            (ours, theirs) => panic!("{name}: {system:?} {user:?}: {ours:?}, and transformers {theirs:?}"),
        }
    }
    cases.len()
}

/// Invariant: A chat is the text and the ids that transformers' `apply_chat_template` makes of it, by templates of every known manner.
#[test]
fn chats_are_what_transformers_makes_of_them() {
    let said: Value = serde_json::from_slice(&fs_err::read(fixture("chats.json")).unwrap()).unwrap();
    let mut n = 0;
    for (name, of) in said["templates"].as_object().unwrap() {
        let text = |key: &str| of[key].as_str().unwrap();
        let (_folder, tokenizer) = tokenizer(text("tokenizer"), text("place"), text("template"));
        n += compare(name, &tokenizer, &of["cases"]);
    }
    assert!(n > 500, "{n}");
    if let Some(folder) = smollm2() {
        assert!(compare("SmolLM2", &load(&folder), &said["smollm2"]) > 40);
    }
}

fn said(template: &str, chat: Chat) -> (String, String, i32) {
    let (_folder, tokenizer) = tokenizer("gpt2", "jinja", template);
    let e = build_prompts(&[PromptEntry::text("a")], Some(&tokenizer), usize::MAX, None, chat).unwrap_err();
    (e.message().to_owned(), e.hint_text().unwrap_or_default().to_owned(), i32::from(e.exit_code()))
}

#[test]
fn a_template_that_fails_is_named_with_its_line() {
    let with = |system: &str| Chat { system: Some(system.into()), date: None };
    for (template, chat, says, hint, code) in [
        (
            "a\n{% for m in messages %}\n{{ m.foo.bar }}{% endfor %}",
            Chat::default(),
            "fails in its line 3: undefined value",
            "mend that line",
            1,
        ),
        (
            "\n{{ messages|nothing }}",
            Chat::default(),
            "fails in its line 2: unknown filter: filter nothing is unknown",
            "mend",
            1,
        ),
        ("\n\n{% if %}", Chat::default(), "fails in its line 3: syntax error: ", "mend", 1),
        (
            "{% include 'x' %}",
            Chat::default(),
            "fails in its line 1: syntax error: unknown statement include",
            "mend",
            1,
        ),
        (
            "\n{% macro f() %}\n{{ 1 + 'a' }}{% endmacro %}{{ f() }}",
            Chat::default(),
            "fails in its line 3: invalid operation: ",
            "mend",
            1,
        ),
        ("{{ messages[0].content.explode() }}", Chat::default(), "fails in its line 1: unknown method: ", "mend", 1),
        (
            "{% if 1 %}\n{{ raise_exception('only users speak') }}{% endif %}",
            Chat::default(),
            "refuses this chat in its line 2: only users speak",
            "change the prompt",
            2,
        ),
        (
            "{% macro no() %}\n{{ raise_exception('no ' ~ messages[0].role) }}{% endmacro %}{{ no() }}",
            with("x"),
            "refuses this chat in its line 2: no system",
            "leave out `system`",
            2,
        ),
        (
            "\n{{ strftime_now('%d') }}",
            Chat::default(),
            "writes which day it is in its line 2, so the same command would give other tokens tomorrow",
            "`date = YYYY-MM-DD`",
            2,
        ),
        (
            "{{ strftime_now('%Q') }}",
            Chat { date: "2026-11-26".parse().ok(), system: None },
            "strftime_now does not know %Q",
            "mend",
            1,
        ),
        ("{{ messages|tojson(what=1) }}", Chat::default(), "fails in its line 1: too many arguments", "mend", 1),
    ] {
        let (message, own, exit) = said(template, chat);
        assert!(message.contains("chat_template.jinja ") && message.contains(says), "{template}: {message}");
        assert!(own.contains(hint) && exit == code, "{template}: {own} {exit}");
    }
    let (_folder, tokenizer) = tokenizer("gpt2", "config", "\n{{ 1 + 'a' }}");
    let e = tokenizer.in_chat("a", &Chat::default().into()).unwrap_err();
    assert!(e.message().contains("tokenizer_config.json fails in its line 2"), "{}", e.message());
}

#[test]
fn a_chat_needs_a_template_and_a_text() {
    let plain = load(&fixture("tokenizers/gpt2"));
    let e = plain.in_chat("a", &Chat::default().into()).unwrap_err();
    assert!(
        e.message().contains("this model has no chat template: there is no ") && e.exit_code() == 2,
        "{}",
        e.message()
    );
    assert!(e.hint_text().unwrap().contains("leave out `chat`"));
    let (folder, _) = tokenizer("gpt2", "config", "");
    folder.write("tokenizer_config.json", r#"{"chat_template": [{"name": "rag", "template": "x"}]}"#);
    let e = load(&folder.path("")).in_chat("a", &Chat::default().into()).unwrap_err();
    assert!(e.message().ends_with("has chat templates, but no `default`: rag"), "{}", e.message());
    folder.write("chat_template.jinja", b"\xff");
    let e = load(&folder.path("")).in_chat("a", &Chat::default().into()).unwrap_err();
    assert!(e.message().contains("is not UTF-8"), "{}", e.message());
    let e = build_prompts(&[PromptEntry::ids([1])], Some(&plain), 9, None, Chat::default()).unwrap_err();
    assert!(e.message().contains("is token ids, and a chat template is put around texts"), "{}", e.message());
    let e = build_prompts(&[PromptEntry::text("")], Some(&plain), 9, None, Chat::default()).unwrap_err();
    assert_eq!(e.message(), "prompt \"0\" is empty");
}

/// Who says what in a text, and where it stands.
type Words = Vec<(Role, String, usize)>;

/// What is found of what is said in a chat, in the words of its text.
fn found(template: &str, system: &str, user: &str) -> Option<(String, Words)> {
    let (_folder, tokenizer) = tokenizer("gpt2", "jinja", template);
    let chat = Chat { system: Some(system.into()), date: None };
    let (text, InChat { said, .. }) = tokenizer.in_chat(user, &chat.into()).unwrap();
    let words: Words =
        said?.into_iter().map(|(role, range)| (role, text[range.clone()].to_owned(), range.start)).collect();
    Some((text, words))
}

#[test]
fn what_is_said_is_found_where_the_template_put_it() {
    use Role::{System, User};
    let plain = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}";
    let words = |template: &str, system: &str, user: &str| found(template, system, user).unwrap().1;
    let of = |role, text: &str, at| (role, text.to_owned(), at);
    // The words of the template itself are not those of the user.
    assert_eq!(words(plain, "system", "user"), [of(System, "system", 8), of(User, "user", 29)]);
    assert_eq!(words(plain, "", " a\n"), [of(System, "", 8), of(User, " a\n", 23)]);
    let trims = "{% for m in messages %}[{{ m.content | trim }}] {% endfor %}";
    assert_eq!(words(trims, " x ", "\n] \n"), [of(System, "x", 1), of(User, "]", 5)]);
    assert_eq!(
        words("{{ messages[1].content }}{{ messages[1].content }}", "  ", "a"),
        [of(User, "a", 0), of(User, "a", 1)]
    );
    // Looked for by its words, where the template looks at how long it is.
    let long = "{{ messages[1].content | length }} {{ messages[1].content }}{{ messages[0].content }}";
    assert_eq!(words(long, "s", "word"), [of(System, "s", 6), of(User, "word", 2)]);
    assert_eq!(words("{{ messages[1].content | upper }}", "", "aa"), [of(User, "AA", 0)]);
    for changed in
        ["{{ messages[1].content | length }}", "{{ messages[1].content | length }}aa{{ messages[1].content }}"]
    {
        assert_eq!(found(changed, "", "aa"), None, "{changed}");
    }
}

#[test]
fn a_token_is_of_all_who_have_bytes_in_it() {
    let said = Some(vec![(Role::System, 2..4), (Role::User, 4..6)]);
    let chat = InChat { user: String::new(), chat: Chat::default().into(), said };
    let part = |bytes: std::ops::Range<usize>| chat.part(&bytes).unwrap();
    assert_eq!([part(0..2), part(2..4), part(5..6)], ["template", "system", "user"]);
    assert_eq!(
        [part(1..3), part(3..5), part(5..7), part(0..9)],
        ["template+system", "system+user", "template+user", "template+system+user"]
    );
    let unknown = InChat { said: None, ..chat };
    assert_eq!(unknown.part(&(0..1)), None);
}

#[test]
fn tokens_show_whose_they_are() {
    let template = "{% for m in messages %}<{{ m.role }}> {{ m.content }}\n\n{% endfor %}<bot>";
    let (place, _) = tokenizer("gpt2", "jinja", template);
    let done = place.ok(["tokens", "-q", "-m", ".", "--chat", "strawberry", "--format", "ndjson"]);
    let rows: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |part: &str| -> String {
        rows.iter().filter(|row| row["part"] == part).map(|row| row["text"].as_str().unwrap()).collect()
    };
    // A space of the template's is in the user's first token.
    assert_eq!(of("template+user") + &of("user"), " strawberry");
    assert_eq!(of("template"), "<user>\n\n<bot>");
    // Without a chat nobody is said, and letters and counts are of the user's words alone.
    let plain = place.ok(["tokens", "-q", "-m", ".", "strawberry", "--format", "ndjson"]);
    assert!(plain.stdout.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["part"].is_null()));
    let done = place.ok(["tokens", "-m", ".", "--chat", "strawberry", "--letter", "e"]);
    assert!(done.stdout.contains("the letter e is 1 times in the text"), "{}", done.stdout);
    assert!(done.stdout.contains("of the chat around the user's words"), "{}", done.stdout);
    place.write("chat_template.jinja", "{{ messages[0].content | length }}");
    let done = place.ok(["tokens", "-m", ".", "--chat", "strawberry"]);
    assert!(done.stderr.contains("the chat template changed what prompt 0 says"), "{}", done.stderr);
}
