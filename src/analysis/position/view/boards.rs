//! Candidates of two runs side by side.

use crate::analysis::position::PositionBoardRow;
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Rows, visible, visible_prose};
use crate::view::extent::each_prompt;
use crate::view::kind::{Board, Body, Entry, Panel, View};
use crate::view::label::quoted;
use crate::view::{Emit, Options, Seen};

use super::panel;

/// Which runs stand beside each other, and what that shows.
const BESIDE: [(&str, &str, &str); 3] = [
    ("given", "swapped", "Two words swapped"),
    ("given", "unplaced", "Positions made equal"),
    ("unplaced", "swapped-unplaced", "Swapped, positions equal: what the mask leaks"),
];

/// What runs are called on a board.
fn called(run: &str) -> &str {
    match run {
        "given" => "as it is",
        "unplaced" => "positions equal",
        "swapped-unplaced" => "swapped, positions equal",
        other => other,
    }
}

impl Seen for PositionBoardRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let locale = how.locale;
        each_prompt(rows, from, how, |row| row.prompt, &mut |own, end, provenance| {
            let run = |name: &str| own.iter().filter(|row| row.run == name).collect::<Vec<&Self>>();
            let pairs = BESIDE.iter().map(|(a, b, heading)| (run(a), run(b), *heading));
            let pairs: Vec<_> = pairs.filter(|(a, b, _)| !a.is_empty() && !b.is_empty()).collect();
            let about = own.first().map_or(String::new(), |row| format!("prompt {}", visible_prose(&row.prompt_id)));
            emit(View {
                name: format!("position-boards{end}"),
                title: "What comes next without positions".to_owned(),
                subtitle: View::subtitle(&provenance, &about),
                caption: pairs.iter().map(|(a, b, _)| finding(a, b, locale)).chain(said(&own)).collect(),
                legend: vec![
                    "Made equal: learned vectors are zero, queries and keys do not turn, no distance costs. The model was never trained so."
                        .to_owned(),
                ],
                panels: pairs.iter().map(|(a, b, heading)| board(a, b, heading, locale)).collect(),
                more: vec![],
                provenance,
                locale,
            })
        })
    }
}

fn finding(a: &[&PositionBoardRow], b: &[&PositionBoardRow], locale: Locale) -> String {
    let first =
        |rows: &[&PositionBoardRow]| (quoted(&visible(&rows[0].token)), locale.probability(rows[0].prob as f32));
    let ((from, before), (to, after)) = (first(a), first(b));
    let bits = locale.number(b[0].kl_bits as f32);
    let says = if a[0].token_id == b[0].token_id { "still" } else { "now" };
    let (run, other) = (crate::view::label::capital(called(&b[0].run)), called(&a[0].run));
    format!("{run}: {says} {to} with {after} ({other}: {from} with {before}); the distribution moves by {bits} bits.")
}

/// The text with words swapped, where they are.
fn said(own: &[PositionBoardRow]) -> Option<String> {
    let row = own.iter().find(|row| row.run == "swapped")?;
    Some(format!("With the words swapped the text is {}.", quoted(&visible(&row.text))))
}

fn board(a: &[&PositionBoardRow], b: &[&PositionBoardRow], heading: &str, locale: Locale) -> Panel {
    let share = |p: f64| locale.probability(p as f32);
    let most = |row: &&&PositionBoardRow| {
        let other = b.iter().find(|other| other.token_id == row.token_id).map_or(0, |other| other.rank);
        row.rank.min(other)
    };
    let mut shown: Vec<&&PositionBoardRow> = a.iter().collect();
    shown.sort_by_key(|row| (most(row), row.rank));
    shown.truncate(a.iter().filter(|row| row.rank <= 10).count().clamp(4, 12));
    shown.sort_by_key(|row| row.rank);
    let entry = |row: &&&PositionBoardRow| {
        let other = b.iter().find(|other| other.token_id == row.token_id);
        let after = other.map_or(f64::NAN, |other| other.prob);
        let ranks = format!("rank {} → {}", row.rank, other.map_or(0, |other| other.rank));
        let label = quoted(&visible(&row.token));
        Entry {
            title: format!(
                "{label}, #{}: {} {}, {} {}; {ranks}",
                row.token_id,
                called(&row.run),
                share(row.prob),
                other.map_or("", |o| called(&o.run)),
                share(after)
            ),
            bars: vec![(row.prob, share(row.prob)), (after, share(after))],
            note: ranks,
            label,
            ..Entry::default()
        }
    };
    panel(
        heading,
        Body::Board(Board {
            name: "candidate".to_owned(),
            bars: vec![called(&a[0].run).to_owned(), called(&b[0].run).to_owned()],
            entries: shown.iter().map(entry).collect(),
            ends: None,
        }),
    )
}
