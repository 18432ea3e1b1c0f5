//! Texts with common beginnings, each below the one it parts from.

use super::styled;
use crate::view::kind::Tree;
use crate::view::label::wrapped;
use anstyle::Style;

/// The narrowest that a text becomes, however deep it lies.
const NARROWEST: usize = 24;

/// Lines of text, with branches drawn before them.
pub(super) fn tree(tree: &Tree, columns: usize) -> String {
    let mut out = String::new();
    for (i, branch) in tree.branches.iter().enumerate() {
        // Whether a branch of this depth comes again before one that is less deep.
        let goes_on = |depth: usize| {
            let after = tree.branches.iter().skip(i + 1).take_while(|b| b.depth >= depth);
            after.into_iter().any(|b| b.depth == depth)
        };
        let before: String = (1..branch.depth).map(|depth| if goes_on(depth) { "│  " } else { "   " }).collect();
        let (fork, below) = match (branch.depth, goes_on(branch.depth)) {
            (0, _) => ("", ""),
            (_, true) => ("├─ ", "│  "),
            (_, false) => ("└─ ", "   "),
        };
        let room = columns.saturating_sub(3 * branch.depth).max(NARROWEST);
        let note = styled(Style::new().dimmed(), &branch.note);
        let texts = wrapped(&branch.text, room);
        let lines = Some(note).filter(|_| !branch.note.is_empty()).into_iter().chain(texts);
        for (at, line) in lines.enumerate() {
            out += format!("{before}{}{line}", if at == 0 { fork } else { below }).trim_end();
            out.push('\n');
        }
    }
    out
}
