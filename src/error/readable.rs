//! Sentences that stay readable whatever names are in them: a file name, a token or a key of config.json may be thousands of
//! characters long, and may hold escape sequences.

use crate::visible::visible_prose;

/// The longest name between backticks. In characters.
const LONGEST_NAME: usize = 100;
/// The longest word that is not between backticks: a path into the Hub's cache, copied to be used, has 150 and more.
const LONGEST_WORD: usize = 240;
/// The longest sentence, whatever it lists. In characters.
const LONGEST: usize = 600;

/// `text` on one line, with what does not print escaped, long names cut in their middle, and all of it at most some 600
/// characters.
///
/// ```
/// let long = "x".repeat(5000);
/// let e = pellucid::Error::no_such(format!("there is no hook `{long}`")).hint("check the name");
/// assert_eq!(e.message(), format!("there is no hook `{0}[...]{0}`", &long[..47]));
/// ```
pub fn readable(text: &str) -> String {
    cut(&with_short_names(text), LONGEST)
}

/// As [`readable`], for what may be a long list: names alone are cut.
pub fn with_short_names(text: &str) -> String {
    let text = visible_prose(text);
    // Every second part is between backticks. After the last, unpaired one nothing is.
    let parts: Vec<&str> = text.split('`').collect();
    let quoted = |i: usize| i % 2 == 1 && i + 1 < parts.len();
    let name = |(i, part): (usize, &&str)| if quoted(i) { cut(part, LONGEST_NAME) } else { (*part).to_owned() };
    let text = parts.iter().enumerate().map(name).collect::<Vec<_>>().join("`");
    // A name may have backticks of its own.
    text.split(' ').map(|word| cut(word, LONGEST_WORD)).collect::<Vec<_>>().join(" ")
}

/// `text` without its middle if it is longer than `longest` characters.
fn cut(text: &str, longest: usize) -> String {
    const GAP: &str = "[...]";
    let n = text.chars().count();
    if n <= longest {
        return text.to_owned();
    }
    let kept = (longest - GAP.len()) / 2;
    let chars = || text.chars();
    chars().take(kept).chain(GAP.chars()).chain(chars().skip(n - kept)).collect()
}

/// A number of bytes: `86.4 MB`.
pub fn bytes(n: usize) -> String {
    match n as f64 {
        n if n >= 1e9 => format!("{:.1} GB", n * 1e-9),
        n if n >= 1e6 => format!("{:.1} MB", n * 1e-6),
        n => format!("{:.1} kB", n * 1e-3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_sentences_are_left_alone() {
        for text in ["", "there is no `x`: it has `a`, `b` and `c`", "an odd ` one", "` two ` three `", "``"] {
            assert_eq!(readable(text), text);
        }
        let path = format!("cannot read {}", "folder/".repeat(30));
        assert_eq!(readable(&path), path);
    }

    #[test]
    fn names_of_any_length_in_any_place_are_short() {
        let long = "é".repeat(3000);
        let many = format!("it has {}", "a name, ".repeat(3000));
        let spaced = "a name ".repeat(3000);
        for text in [
            format!("no `{long}` here"),
            format!("no {long} here"),
            format!("no `{long} here"),
            format!("`{long}` ` {long}"),
            format!("'{spaced}'"),
            many,
            format!("no `{spaced}`, but `{spaced}`"),
            format!("no `{}` here", "é`".repeat(3000)),
        ] {
            let short = readable(&text);
            assert!(short.chars().count() <= LONGEST && short.contains("[...]"), "{short}");
        }
        assert!(readable(&format!("no `{long}` here, but `b`")).ends_with("é` here, but `b`"));
    }

    #[test]
    fn controls_are_escaped_before_names_are_cut() {
        assert_eq!(readable("no `\u{1b}[31m`\n"), "no `\\u{1b}[31m`↵");
        let controls = readable(&format!("`{}`", "\u{1b}".repeat(1000)));
        assert!(controls.chars().count() <= LONGEST_NAME + 2, "{controls}");
    }
}
