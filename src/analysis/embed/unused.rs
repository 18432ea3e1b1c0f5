//! Which tokens are known to be unused, so that no training can have moved them but by accident.

use crate::text::Tokenizer;

/// Tokens that no text has, and how that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unused {
    /// Their ids, in order.
    pub ids: Vec<u32>,
    /// How many of them have no entry in the tokenizer; the others are bytes that no UTF-8 text has.
    pub without_entry: usize,
}

impl Unused {
    /// Those among `n` tokens. Without a tokenizer none is known.
    pub fn of(tokenizer: Option<&Tokenizer>, n: usize) -> Self {
        let Some(tokenizer) = tokenizer else { return Self::default() };
        let mut found = Self::default();
        for id in 0..n as u32 {
            let token = tokenizer.token(id);
            let without_entry = token.spells.is_empty() && token.piece == format!("#{id}");
            // A text in UTF-8 has neither the bytes of overlong forms nor those beyond U+10FFFF.
            let impossible = matches!(token.spells[..], [0xc0 | 0xc1 | 0xf5..]);
            if without_entry || impossible {
                found.ids.push(id);
                found.without_entry += usize::from(without_entry);
            }
        }
        found
    }

    /// How they are known, in words.
    pub fn said(&self) -> String {
        let (rows, bytes) = (self.without_entry, self.ids.len() - self.without_entry);
        let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        let rows_said = count(rows, "row without an entry in the tokenizer", "rows without an entry in the tokenizer");
        let bytes_said =
            count(bytes, "token of a byte that no UTF-8 text has", "tokens of bytes that no UTF-8 text has");
        match (rows, bytes) {
            (0, 0) => {
                "no token is known to be unused, so nothing can be said of how near others are to those".to_owned()
            }
            (_, 0) => format!("known to be unused: {rows_said}"),
            (0, _) => format!("known to be unused: {bytes_said}"),
            _ => format!("known to be unused: {rows_said}, and {bytes_said}"),
        }
    }
}
