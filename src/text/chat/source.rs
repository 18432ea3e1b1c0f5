//! The text of a chat template, before it is compiled: what Python's Jinja reads otherwise is rewritten, and what could exhaust the stack or
//! take minutes is refused. A template is a program that came with a model.
//!
//! MiniJinja bounds the work and the memory of a run (its fuel), but not how deeply values and expressions are nested, which is as deep as its
//! own calls are. Without a namespace a value can be nested no deeper than the template has brackets; what a namespace keeps is made plain by
//! the filter [`PLAIN`].

use std::ops::Range;

/// The largest template. The largest that is known has 30 kB.
const LARGEST: usize = 64 << 10;
/// Tags of one template, and bytes of one tag that are in no string.
const MOST_TAGS: usize = 2000;
const LONGEST_TAG: usize = 4096;

/// The filter through which goes whatever a namespace keeps.
pub(super) const PLAIN: &str = "plain_in_namespace";

/// The template that is compiled for `source`, line by line.
///
/// # Errors
/// With what is too large.
pub(super) fn prepared(source: &str) -> Result<String, String> {
    if source.len() > LARGEST {
        return Err(format!("has {} bytes, and at most {LARGEST} are read", source.len()));
    }
    // As Python's Jinja reads it.
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let (mut out, mut rest, mut tags) = (String::with_capacity(source.len()), &source[..], 0);
    while let Some(at) = rest.find("{{").into_iter().chain(rest.find("{%")).chain(rest.find("{#")).min() {
        let (text, tag) = rest.split_at(at);
        out.push_str(text);
        let line = || 1 + source[..source.len() - tag.len()].matches('\n').count();
        let end = match tag.as_bytes()[1] {
            b'#' => tag.find("#}").map_or(tag.len(), |end| end + 2),
            kind => {
                let (end, plain) = end_of(tag, kind);
                if plain > LONGEST_TAG {
                    return Err(format!(
                        "has {plain} bytes in the tag of line {}, and at most {LONGEST_TAG} are read",
                        line()
                    ));
                }
                end
            }
        };
        tags += 1;
        if tags > MOST_TAGS {
            return Err(format!("has more than the {MOST_TAGS} tags that are read"));
        }
        let (tag, after) = tag.split_at(end);
        rest = after;
        match tag.strip_prefix("{%").and_then(|inner| inner.strip_suffix("%}")) {
            Some(inner) => {
                let end_of_raw = (inner.trim_matches(['-', '+']).trim() == "raw").then(|| end_raw(rest)).flatten();
                out.push_str(&rewritten(inner));
                let (raw, after) = rest.split_at(end_of_raw.unwrap_or(0));
                out.push_str(raw);
                rest = after;
            }
            None => out.push_str(tag),
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the tag at the beginning of `text` ends, and how many of its bytes are in no string.
fn end_of(text: &str, kind: u8) -> (usize, usize) {
    let bytes = text.as_bytes();
    let close = if kind == b'{' { b'}' } else { b'%' };
    let (mut plain, mut open) = (0, 0usize);
    for (at, byte) in code(text, 2) {
        plain += 1;
        match byte {
            _ if open == 0 && byte == close && bytes.get(at + 1) == Some(&b'}') => return (at + 2, plain),
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    (text.len(), plain)
}

/// The bytes of `text` from `from` on that are in no string, with where they are.
fn code(text: &str, from: usize) -> impl Iterator<Item = (usize, u8)> {
    let (mut quote, mut escaped) = (None, false);
    text.bytes().enumerate().skip(from).filter(move |(_, byte)| {
        let inside = quote.is_some();
        match (quote, byte) {
            _ if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(q), _) if q == *byte => quote = None,
            (None, b'"' | b'\'') => quote = Some(*byte),
            _ => {}
        }
        !inside && quote.is_none()
    })
}

/// Where the text ends that is between `{% raw %}` and `{% endraw %}`.
fn end_raw(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].find("{%").map(|at| from + at) {
        if text[at + 2..].trim_start_matches(['-', '+']).trim_start().starts_with("endraw") {
            return Some(at);
        }
        from = at + 2;
    }
    None
}

/// A statement as it is compiled, of which `inner` stands between `{%` and `%}`.
fn rewritten(inner: &str) -> String {
    let start = inner.len() - inner.trim_start_matches(['-', '+']).trim_start().len();
    let end = inner.trim_end_matches(['-', '+']).trim_end().len().max(start);
    let body = &inner[start..end];
    let put = |range: Range<usize>, new: &str| {
        format!("{{%{}{new}{}%}}", &inner[..start + range.start], &inner[start + range.end..])
    };
    match body {
        // Where what the assistant says is, for whoever trains on it: nothing is printed for it.
        "generation" => put(0..body.len(), "with"),
        "endgeneration" => put(0..body.len(), "endwith"),
        _ if body.strip_prefix("set").is_some_and(|rest| rest.starts_with(char::is_whitespace)) => {
            let is = |at: usize, c: u8| body.as_bytes().get(at) == Some(&c);
            let mut open = 0i32;
            let equals = code(body, 0).find(|&(at, byte)| {
                open += i32::from(b"([{".contains(&byte)) - i32::from(b")]}".contains(&byte));
                open == 0 && byte == b'=' && !is(at + 1, b'=')
            });
            let equals = equals.map(|(at, _)| at);
            let target = &body[..equals.or_else(|| body.find('|')).unwrap_or(body.len())];
            match equals {
                _ if !target.contains('.') => put(0..0, ""),
                Some(at) => put(at + 1..body.len(), &format!(" ({})|{PLAIN}", &body[at + 1..])),
                None => put(body.len()..body.len(), &format!(" |{PLAIN}")),
            }
        }
        _ => put(0..0, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_rewritten_where_they_are_and_texts_stay() {
        for (source, becomes) in [
            ("{%- generation -%}a{% endgeneration %}", "{%- with -%}a{% endwith %}"),
            ("{% set ns.x = 1, 2 -%}", "{% set ns.x = ( 1, 2)|plain_in_namespace -%}"),
            ("{% set ns.x %}a{% endset %}", "{% set ns.x |plain_in_namespace %}a{% endset %}"),
            ("{% set ns.x|join(d='.') %}", "{% set ns.x|join(d='.') |plain_in_namespace %}"),
            ("{% set (a, ns.x) = b %}", "{% set (a, ns.x) = ( b)|plain_in_namespace %}"),
            ("{% set x = a.b == '=.' %}", "{% set x = a.b == '=.' %}"),
            ("{% set x %}a.b{% endset %}", "{% set x %}a.b{% endset %}"),
            ("{{ '{% generation %}' }}{# {% set a.b = 1 %} #}", "{{ '{% generation %}' }}{# {% set a.b = 1 %} #}"),
            ("{% raw %}{% set a.b = 1 %}{% endraw %}", "{% raw %}{% set a.b = 1 %}{% endraw %}"),
            ("{{ {'a': {'}}': 1}} }}{%- if '%}' -%}\r\nx", "{{ {'a': {'}}': 1}} }}{%- if '%}' -%}\nx"),
            ("{{ 'it\\'s' }} 'set {{ a", "{{ 'it\\'s' }} 'set {{ a"),
            ("{%%}{%-%}{%", "{%%}{%-%}{%"),
        ] {
            assert_eq!(prepared(source), Ok(becomes.to_owned()));
        }
    }

    #[test]
    fn what_could_be_nested_too_deeply_is_refused() {
        let long = |n| prepared(&format!("\n{{{{ {}x }}}}", "-".repeat(n)));
        assert!(long(4000).is_ok() && long(5000).unwrap_err().contains("line 2"));
        assert!(prepared(&format!("{{{{ '{}' }}}}", "-".repeat(5000))).is_ok());
        assert!(prepared(&"{% if x %}".repeat(2001)).unwrap_err().contains("2000 tags"));
        assert!(prepared(&" ".repeat(70_000)).unwrap_err().contains("70000 bytes"));
    }
}
