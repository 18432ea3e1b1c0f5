//! Tokens: what does the model see of a text?

mod options;
pub mod rows;

use crate::analysis::TokenRow;
use crate::text::Prompt;
pub use options::{Splitting, Tokens};

/// One row for each token of a prompt.
pub fn tokens(prompt: &Prompt) -> impl Iterator<Item = TokenRow> + '_ {
    prompt.tokens.iter().enumerate().map(|(pos, token)| TokenRow {
        prompt: prompt.index,
        prompt_id: prompt.id.clone(),
        pos: pos as u32,
        token_id: token.id,
        piece: token.piece.clone(),
        text: token.text.clone(),
        byte_start: token.bytes.as_ref().map(|b| b.start as u32),
        byte_end: token.bytes.as_ref().map(|b| b.end as u32),
        special: token.special,
    })
}
