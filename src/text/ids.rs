//! Token ids as people write them: `1,2,3`, `1 2 3`, `[1, 2, 3]`.

use super::tokenizer::quoted;
use crate::error::{Error, Result};

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
            return Err(bad(format!("{} has no token id in its place {place}", quoted(&shortened(text)))));
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

fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_every_way_that_they_are_written() {
        for text in ["1,2,3", "1 2 3", " 1, 2,\t3 ", "[1, 2, 3]", "[1 2\n 3]", "1 ,2 , 3", "[1,2,3]\n"] {
            assert_eq!(parse_ids(text).unwrap(), [1, 2, 3], "{text:?}");
        }
        assert_eq!(
            (parse_ids("").unwrap(), parse_ids("[]").unwrap(), parse_ids("7").unwrap()),
            (vec![], vec![], vec![7])
        );
    }

    #[test]
    fn a_missing_id_is_named_by_its_place() {
        for (text, place) in
            [("1,,2", 2), (",", 1), (",1", 1), ("1,2,", 3), ("1, ,2", 2), ("1 2,,3", 3), ("[,]", 1), ("[1,2,]", 3)]
        {
            let e = parse_ids(text).unwrap_err().to_string();
            assert!(e.ends_with(&format!("no token id in its place {place}")), "{text:?}: {e}");
        }
        for (text, part) in [("1,x", "x"), ("-1", "-1"), ("4294967296", "4294967296"), ("1.5", "1.5"), ("[[1]]", "[1]")]
        {
            assert_eq!(parse_ids(text).unwrap_err().to_string(), format!("`{part}` is not a token id"));
        }
    }

    #[test]
    fn a_second_hash_makes_text_of_ids() {
        assert!(
            ids_of("#1 thing").is_none() && ids_of("#").is_none() && ids_of("##1").is_none() && ids_of("1").is_none()
        );
        assert_eq!(ids_of("#1,2").unwrap().unwrap(), [1, 2]);
        assert!(ids_of("#1,,2").unwrap().is_err());
        assert_eq!(
            (literal("##1"), literal("###1"), literal("##"), literal("##a"), literal("#1")),
            ("#1", "##1", "##", "##a", "#1")
        );
    }
}
