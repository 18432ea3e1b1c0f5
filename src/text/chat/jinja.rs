//! Jinja as transformers has it for chat templates (`_compile_jinja_template` of 5.24), by MiniJinja: `tojson` without HTML escapes,
//! `raise_exception`, `strftime_now`, loop controls, Python's methods of strings, and blocks that leave no line behind.

use std::fmt::Write;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::Date;
use super::source::PLAIN;

/// Work for a text of no length: one for each step, and for each 64 bytes that are written or read. What is usual takes hundreds.
const FUEL: u64 = 200_000;
/// How often a macro may call itself.
const RECURSION: usize = 100;
/// How deeply what `tojson` writes, and what a namespace keeps, may be nested.
const DEPTH: usize = 32;

/// A role, and what is said in it.
pub(super) type Message = (&'static str, String);

/// What a template said, or could not be told.
#[derive(Debug)]
pub(super) enum Stopped {
    /// By `raise_exception`.
    Refused(String),
    /// It asks which day it is.
    NoDate,
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Refused(said) => said,
            Self::NoDate => "no date",
        })
    }
}

impl std::error::Error for Stopped {}

/// `template` compiled.
///
/// # Errors
/// When it is none.
pub(super) fn compiled(template: String) -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    env.set_recursion_limit(RECURSION);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_unknown_method_callback(method);
    env.add_filter("tojson", to_json);
    env.add_filter("trim", |text: &str, chars: Option<&str>| strip(text, chars, true, true).to_owned());
    env.add_filter(PLAIN, |state: &State, value: &Value| plain(state, value, DEPTH));
    // To Python a text is a sequence, and so is a part of a list.
    env.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Iterable)
    });
    env.add_function("raise_exception", |said: &Value| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, "").with_source(Stopped::Refused(said.to_string())))
    });
    for name in ["debug", "lipsum"] {
        env.remove_global(name);
    }
    env.add_template_owned("", template)?;
    Ok(env)
}

/// What the template makes of `messages`, each a role and a content, with these special tokens. `bytes` is how long they are.
///
/// # Errors
/// When the template fails, with its line; or says that it takes no such messages, with a [`Stopped`] as cause.
pub(super) fn rendered(
    env: &Environment<'static>,
    messages: &[Message],
    tokens: &[(String, String)],
    date: Option<Date>,
) -> Result<String, Error> {
    let mut env = env.clone();
    let bytes: usize = messages.iter().map(|(_, content)| content.len()).sum();
    env.set_fuel(Some(FUEL.saturating_add(bytes as u64 / 4)));
    env.add_function("strftime_now", move |format: &str| {
        let unknown = |said: String| Error::new(ErrorKind::InvalidOperation, said);
        let none = || Error::new(ErrorKind::InvalidOperation, "").with_source(Stopped::NoDate);
        date.ok_or_else(none)?.written(format).map_err(unknown)
    });
    let message = |(role, content): &Message| -> Value { Value::from_pairs([("role", *role), ("content", content)]) };
    let given = [
        ("messages", Value::from(messages.iter().map(message).collect::<Vec<_>>())),
        ("tools", Value::from(())),
        ("documents", Value::from(())),
        ("add_generation_prompt", Value::from(true)),
    ];
    let special = tokens.iter().map(|(name, text)| (&**name, Value::from(&**text)));
    env.get_template("")?.render(Value::from_pairs(special.chain(given)))
}

/// Whether Python takes `c` for white space.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Python's `strip`, at the start, the end, or both.
pub(super) fn strip<'a>(text: &'a str, chars: Option<&str>, start: bool, end: bool) -> &'a str {
    let goes = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if start { text.trim_start_matches(goes) } else { text };
    if end { text.trim_end_matches(goes) } else { text }
}

/// Python's methods.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if let (Some(text), "strip" | "lstrip" | "rstrip") = (value.as_str(), name) {
        let (chars,): (Option<&str>,) = from_args(args)?;
        return Ok(strip(text, chars, name != "rstrip", name != "lstrip").into());
    }
    unknown_method_callback(state, value, name, args)
}

/// `value` as a namespace keeps it: lists and mappings that hold no more than texts, numbers and such. What is nested deeper with each step of
/// a loop, or holds itself, would be too deep for the stack.
fn plain(state: &State, value: &Value, depth: usize) -> Result<Value, Error> {
    let no = |said: &'static str| Err(Error::new(ErrorKind::InvalidOperation, said));
    state.consume_fuel(1)?;
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map if depth == 0 => {
            no("a namespace keeps too deep a nest of lists")
        }
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter()?.map(|item| plain(state, &item, depth - 1)).collect::<Result<Vec<_>, _>>().map(Value::from)
        }
        ValueKind::Map => {
            let item = |key: Value| Ok((key.clone(), plain(state, &value.get_item(&key)?, depth - 1)?));
            Ok(Value::from_pairs(value.try_iter()?.map(item).collect::<Result<Vec<_>, Error>>()?))
        }
        ValueKind::Plain => no("a namespace keeps texts, numbers, lists and mappings, and nothing else"),
        _ => Ok(value.clone()),
    }
}

/// Python's `json.dumps`.
fn to_json(state: &State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<Value> = options.get("indent")?;
    let indent = match indent.filter(|indent| !indent.is_none()) {
        Some(indent) => match (indent.as_str(), indent.as_usize()) {
            (Some(text), _) => Some(text.to_owned()),
            (None, Some(n)) if n <= 64 => Some(" ".repeat(n)),
            _ => return Err(Error::new(ErrorKind::InvalidOperation, "tojson takes no such indent")),
        },
        None => None,
    };
    let separators: Option<Vec<String>> = options.get("separators")?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "tojson takes two separators")),
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    let sorted: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let json = Json { state, indent, item, key, ascii: ascii == Some(true), sorted: sorted == Some(true) };
    let mut out = String::new();
    json.write(value, 0, &mut out)?;
    Ok(out)
}

/// How JSON is written.
struct Json<'a> {
    state: &'a State<'a, 'a>,
    indent: Option<String>,
    item: String,
    key: String,
    ascii: bool,
    sorted: bool,
}

impl Json<'_> {
    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        let no = |said: String| Err(Error::new(ErrorKind::InvalidOperation, said));
        self.state.consume_fuel(1)?;
        if depth > DEPTH {
            return no("what tojson is given is nested too deeply".into());
        }
        let line = |depth: usize, out: &mut String| {
            if let Some(indent) = &self.indent {
                out.push('\n');
                (0..depth).for_each(|_| out.push_str(indent));
            }
        };
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&value.to_string()),
            ValueKind::String => self.text(value.as_str().unwrap_or_default(), out)?,
            ValueKind::Seq | ValueKind::Iterable => {
                let mut n = 0;
                out.push('[');
                for item in value.try_iter()? {
                    out.push_str(if n > 0 { &self.item } else { "" });
                    line(depth + 1, out);
                    self.write(&item, depth + 1, out)?;
                    n += 1;
                }
                if n > 0 {
                    line(depth, out);
                }
                out.push(']');
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sorted {
                    keys.sort();
                }
                out.push('{');
                for (n, key) in keys.iter().enumerate() {
                    out.push_str(if n > 0 { &self.item } else { "" });
                    line(depth + 1, out);
                    self.text(&key.to_string(), out)?;
                    out.push_str(&self.key);
                    self.write(&value.get_item(key)?, depth + 1, out)?;
                }
                if !keys.is_empty() {
                    line(depth, out);
                }
                out.push('}');
            }
            kind => return no(format!("tojson cannot write a value of type {kind}")),
        }
        Ok(())
    }

    fn text(&self, text: &str, out: &mut String) -> Result<(), Error> {
        self.state.consume_fuel(text.len() as u64 / 8)?;
        out.push('"');
        for c in text.chars() {
            let _ = match c {
                '"' => write!(out, "\\\""),
                '\\' => write!(out, "\\\\"),
                '\n' => write!(out, "\\n"),
                '\r' => write!(out, "\\r"),
                '\t' => write!(out, "\\t"),
                '\x08' => write!(out, "\\b"),
                '\x0c' => write!(out, "\\f"),
                c if c < ' ' || self.ascii && c > '~' => {
                    c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))
                }
                c => write!(out, "{c}"),
            };
        }
        out.push('"');
        Ok(())
    }
}
