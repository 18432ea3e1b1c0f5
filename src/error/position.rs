//! Positions as people write them: counted from 0, or, negative, from the end.

use super::{Error, Result};

/// Which of `n` positions `pos` is, where -1 is the last; none where it is none of them.
pub fn counted(pos: isize, n: usize) -> Option<usize> {
    let at = if pos < 0 { pos + n as isize } else { pos };
    (0..n as isize).contains(&at).then_some(at as usize)
}

/// Which of the `n` positions of `whose`, such as `the prompt`, `pos` is.
///
/// # Errors
/// When it is none of them.
pub fn position(whose: &str, n: usize, pos: isize) -> Result<usize> {
    counted(pos, n).ok_or_else(|| {
        Error::no_such(format!("{whose} has {n} positions, and {pos} is not one of them"))
            .hint("`pellucid tokens` shows the position of each token; -1 is the last")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_either_end() {
        let all: Vec<Option<usize>> = (-4..4).map(|pos| counted(pos, 3)).collect();
        assert_eq!(all, [None, Some(0), Some(1), Some(2), Some(0), Some(1), Some(2), None]);
        assert_eq!(counted(0, 0), None);
        assert_eq!(position("x", 3, 3).unwrap_err().message(), "x has 3 positions, and 3 is not one of them");
    }
}
