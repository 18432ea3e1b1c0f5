//! Candidates as they are seen: a board with bars, the row of all others, and the line where the pool ends.

use std::sync::Arc;

use super::rows::{CandidateRow, ChoiceRow, NextRow};
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Rows, visible, visible_prose};
use crate::view::extent::each_prompt;
use crate::view::kind::{Board, Body, Entry, Panel, View};
use crate::view::label::quoted;
use crate::view::{Emit, Options, Seen};

impl Seen for NextRow {
    const DRAWN: bool = false;
}

impl Seen for ChoiceRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        each_prompt(rows, from, how, |row| row.prompt, &mut |mut own, end, provenance| {
            own.sort_by_key(|row| row.rank);
            let name = format!("choices{}", end);
            emit(of_choices(name, &own, provenance, how.locale))
        })
    }
}

impl Seen for CandidateRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        each_prompt(rows, from, how, |row| row.prompt, &mut |own, end, provenance| {
            let name = format!("candidates{}", end);
            let positions: Vec<&[Self]> = own.chunk_by(|a, b| a.pos == b.pos).collect();
            emit(of_candidates(name, &positions, provenance, how.locale))
        })
    }
}

/// Whether something was done to what the model says.
fn sampled(rows: &[CandidateRow]) -> bool {
    rows.iter().any(|row| (row.prob - row.prob_sampled).abs() > 0.0)
}

fn of_candidates(name: String, positions: &[&[CandidateRow]], provenance: Arc<Provenance>, locale: Locale) -> View {
    let last = positions.last().copied().unwrap_or_default();
    let share = |p: f64| locale.probability(p as f32);
    let mut caption = vec![];
    if let Some(first) = last.first() {
        let token = quoted(&visible(first.token.as_deref().unwrap_or_default()));
        let others = 1.0 - first.prob;
        caption.push(format!(
            "Most probable: {token} with {}; the model gives {} to something else.",
            share(first.prob),
            share(others)
        ));
        caption.push(format!(
            "Entropy {} bits: as undecided as a choice among {} equally probable tokens.",
            locale.fixed(first.entropy_bits, 2),
            locale.number(first.entropy_bits.exp2() as f32)
        ));
        if sampled(last) && first.prob_sampled != 1.0 {
            let kept = last.iter().map(|row| match row.others {
                Some(_) => 0,
                None => usize::from(row.kept),
            });
            let more =
                if last.iter().any(|row| row.others.is_some() && row.kept) { " and some of the others" } else { "" };
            let (kept, with): (usize, _) = (kept.sum(), &first.samplers);
            let drawn = share(first.prob_sampled);
            caption.push(format!(
                "With {with}, {kept} of those shown{more} can be drawn, {token} with probability {drawn}."
            ));
        }
        if first.prob_sampled == 1.0 {
            caption.push(format!("With {}, nothing is left to chance: the next token is {token}.", first.samplers));
        }
    }
    let legend = vec!["A probability says how usual a continuation is, not whether it is true.".to_owned()];
    let panels = positions.iter().map(|rows| Panel {
        heading: match (positions.len(), rows.first()) {
            (2.., Some(row)) => format!("after position {}", row.pos),
            _ => String::new(),
        },
        body: Body::Board(board(rows, locale)),
    });
    let prompt = last.first().map_or(String::new(), |row| format!("prompt {}", visible_prose(&row.prompt_id)));
    View {
        name,
        title: "Next token".to_owned(),
        subtitle: View::subtitle(&provenance, &prompt),
        caption,
        legend,
        panels: panels.collect(),
        more: vec![],
        provenance,
        locale,
    }
}

fn board(rows: &[CandidateRow], locale: Locale) -> Board {
    let two = sampled(rows);
    let share = |p: f64| if p == 0.0 { "-".to_owned() } else { locale.probability(p as f32) };
    let entry = |row: &CandidateRow| {
        let mut bars = vec![(row.prob, share(row.prob))];
        bars.extend(two.then(|| (row.prob_sampled, share(row.prob_sampled))));
        let label = match (&row.token, row.others) {
            (Some(token), _) => quoted(&visible(token)),
            (None, others) => format!("{} others", locale.count(u64::from(others.unwrap_or_default()))),
        };
        let cut = row.cut_by.as_ref().map(|by| format!("cut by {by}"));
        let title = match row.token_id {
            Some(id) => format!(
                "{label}, #{id}, rank {}: logit {}, probability {}{}{}",
                row.rank,
                locale.number(row.logit.unwrap_or(f32::NAN)),
                share(row.prob),
                if two { format!(", drawn with {}", share(row.prob_sampled)) } else { String::new() },
                cut.as_ref().map(|cut| format!(", {cut}")).unwrap_or_default()
            ),
            None => format!("{label}: together {}", share(row.prob)),
        };
        let note = match (cut, row.tied) {
            (Some(cut), _) => cut,
            (None, true) => "tied".to_owned(),
            (None, false) => String::new(),
        };
        Entry { label, bars, note, title, out: !row.kept, others: row.others.is_some() }
    };
    // A line can show the end only where what is kept comes first.
    let kept = rows.iter().take_while(|row| row.kept).count();
    let plain = rows.iter().skip(kept).all(|row| !row.kept);
    let ends = (two && plain && kept > 0 && kept < rows.len()).then(|| {
        let noun = if kept == 1 { "candidate" } else { "candidates" };
        (kept - 1, format!("the pool ends: {kept} {noun}"))
    });
    let bars = ["the model's probability", "probability of being drawn"];
    Board {
        name: "candidate".to_owned(),
        bars: bars[..if two { 2 } else { 1 }].iter().map(|name| (*name).to_owned()).collect(),
        entries: rows.iter().map(entry).collect(),
        ends,
    }
}

fn of_choices(name: String, rows: &[ChoiceRow], provenance: Arc<Provenance>, locale: Locale) -> View {
    let entry = |row: &ChoiceRow| {
        let label = quoted(&visible(&row.text));
        let log = locale.number(row.log_prob as f32);
        Entry {
            note: format!("log-probability {log}, {} token{}", row.n_tokens, if row.n_tokens == 1 { "" } else { "s" }),
            title: format!(
                "{label}: tokens {}, log-probability {log}, probability {}",
                visible(&row.tokens),
                locale.probability(row.prob as f32)
            ),
            bars: vec![(row.share, locale.probability(row.share as f32))],
            label,
            ..Entry::default()
        }
    };
    let mut caption = vec![];
    if let [first, second, ..] = rows {
        let odds = locale.number((first.log_prob - second.log_prob).exp() as f32);
        let (a, b) = (quoted(&visible(&first.text)), quoted(&visible(&second.text)));
        caption.push(format!("Most probable: {a}, {odds} times as probable as {b}."));
        if rows.iter().any(|row| row.n_tokens != first.n_tokens) {
            caption
                .push("They are of different numbers of tokens: a longer one is less probable in itself.".to_owned());
        }
    }
    let prompt = rows.first().map_or(String::new(), |row| format!("prompt {}", visible_prose(&row.prompt_id)));
    View {
        name,
        title: "Choices".to_owned(),
        subtitle: View::subtitle(&provenance, &prompt),
        caption,
        legend: vec![],
        panels: View::panel(Body::Board(Board {
            name: "continuation".to_owned(),
            bars: vec!["share among these".to_owned()],
            entries: rows.iter().map(entry).collect(),
            ends: None,
        })),
        more: vec![],
        provenance,
        locale,
    }
}
