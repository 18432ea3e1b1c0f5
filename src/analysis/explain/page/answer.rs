//! The answer first: the board of candidates, in one line; and later, explained.

use super::figure;
use super::write::{At, Writer, escape, token};
use crate::analysis::explain::facts::BOARD;
use crate::analysis::next::CandidateRow;

/// How sure the model is of its first candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sure {
    /// All others together have less than a tenth.
    Nearly,
    /// It has more than all others.
    More,
    /// All others together have more.
    Not,
}

impl Sure {
    /// Of a first candidate of this probability.
    pub fn of(prob: f64) -> Self {
        match prob {
            p if p >= 0.9 => Self::Nearly,
            p if p > 0.5 => Self::More,
            _ => Self::Not,
        }
    }
}

/// The token of a candidate; how many there are, of the row of all others.
pub fn candidate(w: &Writer<'_>, row: &CandidateRow, at: usize) -> String {
    match (&row.token, row.others) {
        (Some(text), _) => token(text),
        (None, n) => w.say("others", &[("n", At::of("candidates", at, "others").count(f64::from(n.unwrap_or(0))))]),
    }
}

/// What comes next, in one line with its board.
pub fn answer(w: &mut Writer<'_>) {
    w.section("answer");
    let Some(first) = w.facts.candidates.first() else {
        w.answers("8", "answer.none", &[]);
        w.raw("</section>");
        return;
    };
    let key = match Sure::of(first.prob) {
        Sure::Nearly => "answer.nearly",
        Sure::More => "answer.more",
        Sure::Not => "answer.not",
    };
    let put = [
        ("token", token(first.token.as_deref().unwrap_or_default())),
        ("p", At::of("candidates", 0, "prob").percent(first.prob)),
        ("rest", w.made("not_first", None, At::percent)),
    ];
    w.answers("8", key, &put);
    if first.token.as_deref().is_some_and(|text| !text.is_empty() && text.chars().all(|c| c == ' ')) {
        w.p("answer.space", &[]);
    }
    w.p("answer.truth", &[]);
    figure::begin(w);
    let rows: Vec<Vec<String>> = (w.facts.candidates.iter().take(BOARD + 1).enumerate())
        .map(|(i, row)| {
            let class = if row.token.is_some() { "one" } else { "many" };
            let logit =
                row.logit.map_or("–".into(), |logit| At::of("candidates", i, "logit").number(f64::from(logit)));
            vec![
                candidate(w, row, i),
                figure::bar(row.prob / first.prob.max(1e-12), class),
                At::of("candidates", i, "prob").percent(row.prob),
                logit,
            ]
        })
        .collect();
    let columns = ["col.candidate", "col.bar", "col.prob", "col.logit"].map(|key| w.plain(key).to_owned());
    let label = escape(w.plain("answer.figure"));
    figure::table(w, &label, &columns, &rows);
    let caption = w.say("answer.caption", &[("n", w.count("vocabulary"))]);
    figure::end(w, &caption);
    w.raw("</section>");
}

/// The board again, explained.
pub fn board(w: &mut Writer<'_>) {
    let [Some(first), Some(second)] = [0, 1].map(|i| w.facts.candidates.get(i)) else { return };
    let Some(whole) = w.facts.next.first() else { return };
    w.section("board");
    let tail = (w.facts.candidates.iter().enumerate()).take(BOARD + 1).find(|(_, row)| row.others.is_some());
    let token_of = |row: &CandidateRow| token(row.token.as_deref().unwrap_or_default());
    let put = [
        ("bits", At::of("next", 0, "entropy_bits").number(whole.entropy_bits)),
        ("n", At::of("next", 0, "undecided").number(whole.undecided)),
        ("rest", w.made("not_first", None, At::percent)),
        ("token", token_of(first)),
    ];
    w.answers("8", "board.undecided", &put);
    if let (Some((at, tail)), Some(_)) = (tail, &second.token) {
        let put = [
            ("token", token_of(second)),
            ("p", At::of("candidates", 1, "prob").percent(second.prob)),
            ("others", At::of("candidates", at, "others").count(f64::from(tail.others.unwrap_or(0)))),
            ("tail", At::of("candidates", at, "prob").percent(tail.prob)),
        ];
        w.answers("8", "board.second", &put);
    }
    let closer = match (first.logit, second.logit) {
        (Some(a), Some(b)) => {
            let put = [
                ("a", token_of(first)),
                ("b", token_of(second)),
                ("la", At::of("candidates", 0, "logit").number(f64::from(a))),
                ("lb", At::of("candidates", 1, "logit").number(f64::from(b))),
                ("pa", At::of("candidates", 0, "prob").percent(first.prob)),
                ("pb", At::of("candidates", 1, "prob").percent(second.prob)),
            ];
            format!("<p>{}</p>", w.say("board.closer", &put))
        }
        _ => String::new(),
    };
    let command = w.facts.command("next").to_vec();
    w.close("board", &closer, &command);
}
