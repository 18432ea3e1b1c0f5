//! Token ids as people write them: `1,2,3`, `1 2 3`, `[1, 2, 3]`.

use super::tokenizer::quoted;
use crate::error::{Error, Result};
use crate::visible::shortened;

/// The token ids in `text`: whole numbers with a comma, white space or both between them, in one pair of brackets or none.
///
/// # Errors
/// Names what is no number, and the place where one is missing: an empty place is a number that got lost, and without it
/// the others would be shifted.
pub fn parse_ids(text: &str) -> Result<Vec<u32>> {
    let bad = |what: String| Error::bad_input(what).hint("token ids are whole numbers, such as 1,2,3");
    let trimmed = text.trim();
    let inside = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(trimmed);
    if inside.trim().is_empty() {
        return Ok(vec![]);
    }
    let mut ids = vec![];
    for group in inside.split(',') {
        if group.trim().is_empty() {
            let place = ids.len() + 1;
            return Err(bad(format!("{} has no token id in its place {place}", quoted(&shortened(text, 40)))));
        }
        for part in group.split_whitespace() {
            ids.push(part.parse().map_err(|_| bad(format!("`{part}` is not a token id")))?);
        }
    }
    Ok(ids)
}

/// The ids that a text which begins with `#` stands for where a prompt is wanted: `#1,2,3`. None where it is text, as
/// everything is that holds more than digits, commas and spaces; a second `#` says that it is, see [`literal`].
///
/// # Errors
/// As [`parse_ids`].
pub fn ids_of(text: &str) -> Option<Result<Vec<u32>>> {
    let rest = text.strip_prefix('#').filter(|rest| is_list(rest))?;
    Some(parse_ids(rest))
}

/// A text as it is meant: where it is a `#`, another and ids, which is how a text is written that would else be ids, the
/// first `#` goes. `##1` is the text `#1`, `###1` the text `##1`.
pub fn literal(text: &str) -> &str {
    match text.strip_prefix('#') {
        Some(rest) if rest.starts_with('#') && is_list(rest.trim_start_matches('#')) => rest,
        _ => text,
    }
}

/// Whether there are digits, and nothing else that a list of ids has not.
fn is_list(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b',' || b == b' ')
}
