//! Text coloured by a value: each token on its colour, and below it the value.

use super::{on_colour, styled};
use crate::view::kind::Text;
use crate::view::label::fit;
use anstyle::Style;
use unicode_width::UnicodeWidthStr;

/// The longest token.
const LONGEST: usize = 40;

/// Lines of tokens, each line with a line of values below it.
pub(super) fn flow(text: &Text, columns: usize) -> String {
    let (mut out, mut tokens, mut values, mut used) = (String::new(), String::new(), String::new(), 0);
    let mut flush = |tokens: &mut String, values: &mut String, used: &mut usize| {
        for line in [std::mem::take(tokens), std::mem::take(values)] {
            out += line.trim_end();
            out.push('\n');
        }
        *used = 0;
    };
    for (cell, ends) in text.tokens.iter().zip(text.ends()) {
        let token = fit(&cell.label, LONGEST.min(columns.max(1)));
        let wide = token.width().max(cell.below.width());
        if used > 0 && used + wide > columns {
            flush(&mut tokens, &mut values, &mut used);
        }
        let pad = |text: &str| " ".repeat(wide + 1 - text.width());
        let on = on_colour(cell, &text.colours);
        tokens += &format!("{on}{token}{on:#}{}", pad(&token));
        values += &format!("{}{}", styled(Style::new().dimmed(), &cell.below), pad(&cell.below));
        used += wide + 1;
        if ends {
            flush(&mut tokens, &mut values, &mut used);
        }
    }
    if used > 0 {
        flush(&mut tokens, &mut values, &mut used);
    }
    out
}
