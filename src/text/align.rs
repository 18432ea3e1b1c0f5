//! Which bytes of the prompt each token stands for.

use std::ops::Range;

use unicode_width::UnicodeWidthChar;

/// A token before its place in the prompt is known.
pub(super) struct Spelled {
    /// The bytes it spells.
    pub bytes: Vec<u8>,
    /// Where the tokenizer says it came from: whole characters, possibly without the spaces around it.
    pub reported: Range<usize>,
}

/// The half-open byte range of `text` for each token: in order, and never overlapping.
///
/// The tokenizer's own offsets are in whole characters, so the four tokens of one emoji all report the whole emoji, and
/// some tokenizers leave spaces out of them. So what the tokens spell comes first: when that is the prompt, or the prompt
/// after a space that the tokenizer put before it, the ranges follow exactly. Only a tokenizer that changed the text
/// (Unicode normalisation, collapsed spaces, unknown characters) leaves a token to its reported range, less what earlier
/// tokens already cover; that may leave nothing.
pub(super) fn align(text: &str, tokens: &[Spelled]) -> Vec<Range<usize>> {
    let spelled: Vec<u8> = tokens.iter().flat_map(|t| &t.bytes).copied().collect();
    if spelled == text.as_bytes() {
        return cumulative(tokens, 0);
    }
    if spelled.strip_prefix(b" ") == Some(text.as_bytes()) {
        return cumulative(tokens, 1);
    }
    let mut cursor = 0;
    let mut ranges = Vec::with_capacity(tokens.len());
    for (i, token) in tokens.iter().enumerate() {
        let next = tokens.get(i + 1).map_or(text.len(), |t| t.reported.start);
        let range = find(text, cursor, token, next);
        cursor = range.end;
        ranges.push(range);
    }
    ranges
}

/// One token after the other, the first `unseen` bytes of which are not in the prompt.
fn cumulative(tokens: &[Spelled], unseen: usize) -> Vec<Range<usize>> {
    let mut end = 0;
    tokens
        .iter()
        .map(|token| {
            let start = end;
            end += token.bytes.len();
            start.saturating_sub(unseen)..end.saturating_sub(unseen)
        })
        .collect()
}

/// The token's place at or after `cursor`: where its bytes stand if that agrees with what was reported, else the latter.
/// `next` is where the token after it is reported to start.
fn find(text: &str, cursor: usize, token: &Spelled, next: usize) -> Range<usize> {
    let reported = token.reported.start.min(text.len())..token.reported.end.min(text.len());
    let length = token.bytes.len();
    // Where the last token ended; where this one is said to start; where it must start to end as it is said to.
    for start in [cursor, reported.start, reported.end.saturating_sub(length)] {
        let end = start + length;
        let agrees = start >= cursor && end >= reported.start && end <= reported.end;
        if agrees && length > 0 && text.as_bytes().get(start..end) == Some(&token.bytes[..]) {
            return start..end;
        }
    }
    let start = reported.start.max(cursor);
    let mut end = reported.end.max(start);
    // An accent that was composed with its letter is reported by no token: it belongs to the letter's.
    let rest = text.get(end..).unwrap_or_default().chars();
    for mark in rest.take_while(|c| c.width() == Some(0)) {
        if end + mark.len_utf8() > next {
            break;
        }
        end += mark.len_utf8();
    }
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &str, tokens: &[(&[u8], Range<usize>)]) -> Vec<Range<usize>> {
        let tokens: Vec<Spelled> =
            tokens.iter().map(|(b, r)| Spelled { bytes: b.to_vec(), reported: r.clone() }).collect();
        align(text, &tokens)
    }

    #[test]
    fn a_character_split_over_tokens_is_split_between_them() {
        assert_eq!(ranges("🚀!", &[(&[0xF0, 0x9F], 0..4), (&[0x9A, 0x80], 0..4), (b"!", 4..5)]), [0..2, 2..4, 4..5]);
    }

    #[test]
    fn a_space_that_the_tokenizer_put_first_has_no_bytes() {
        assert_eq!(ranges("a b", &[(b" a", 0..1), (b" b", 1..3)]), [0..1, 1..3]);
        assert_eq!(ranges(" a", &[(b" ", 0..1), (b" a", 0..2)]), [0..0, 0..2]);
    }

    #[test]
    fn spaces_left_out_of_the_report_are_put_back() {
        // The first token was normalised, so the text as a whole does not match.
        let combined = "e\u{301} b";
        assert_eq!(ranges(combined, &[("é".as_bytes(), 0..1), (b" b", 4..5)]), [0..3, 3..5]);
    }

    #[test]
    fn ranges_never_overlap_and_stay_inside() {
        let combined = "e\u{301}";
        assert_eq!(ranges(combined, &[(&[0xC3], 0..1), (&[0xA9], 0..1)]), [0..1, 1..3]);
        assert_eq!(ranges(combined, &[(b"?", 0..1), (b"?", 1..3)]), [0..1, 1..3], "the mark has a token of its own");
        assert_eq!(ranges("ab", &[(b"?", 0..9), (b"?", 7..9)]), [0..2, 2..2]);
    }
}
