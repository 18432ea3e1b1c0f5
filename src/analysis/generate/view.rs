//! Traces as they are seen: one as a text, several as a tree whose common beginnings are one.

use std::sync::Arc;

use super::rows::{GeneratedRow, TraceRow};
use crate::error::Result;
use crate::number::Locale;
use crate::table::{Provenance, Rows, visible, visible_prose};
use crate::view::colour::Colours;
use crate::view::extent::each_prompt;
use crate::view::kind::{Body, Branch, Cell, Mark, Text, Tree, View};
use crate::view::label::quoted;
use crate::view::{Emit, Options, Seen};

impl Seen for GeneratedRow {
    const DRAWN: bool = false;
}

impl Seen for TraceRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        each_prompt(rows, from, how, |row| row.prompt, &mut |own, end, provenance| {
            let name = format!("traces{}", end);
            let traces: Vec<&[Self]> = own.chunk_by(|a, b| a.trace == b.trace).collect();
            emit(view(name, &traces, provenance, how.locale))
        })
    }
}

fn view(name: String, traces: &[&[TraceRow]], provenance: Arc<Provenance>, locale: Locale) -> View {
    let share = |p: f64| locale.probability(p as f32);
    let first = traces.first().copied().unwrap_or_default();
    let prompt = first.first().map_or(String::new(), |row| format!("prompt {}", visible_prose(&row.prompt_id)));
    let (mut caption, legend, body) = match traces {
        [one] => (
            of_one(one, locale),
            "Under each token the probability that the model gave it; framed where it was not the most probable.",
            {
                let colours = Colours::rising("surprise (bits)", 16.0);
                Body::Text(Text { colours, tokens: one.iter().map(|row| cell(row, locale)).collect() })
            },
        ),
        _ => {
            let mut branches = vec![];
            grow(traces, 0, 0, locale, &mut branches);
            let widest = branches.iter().filter(|branch| branch.depth == 1);
            let widest = widest.clone().find(|a| widest.clone().all(|b| b.weight <= a.weight));
            let said = widest.map_or_else(
                || format!("All {} traces are the same.", traces.len()),
                |branch| {
                    format!(
                        "{} traces part after {}; the widest branch is {}.",
                        traces.len(),
                        after(&branches),
                        branch.note
                    )
                },
            );
            (
                vec![said],
                "A branch is as thick as many traces take it. At each fork: of how many, and the probability that the model gave the \
             first token there.",
                Body::Tree(Tree { total: traces.len() as f64, branches }),
            )
        }
    };
    let tokens = traces.iter().flat_map(|trace| trace.iter());
    let (mut n, mut unusual) = (0, 0);
    tokens.for_each(|row| {
        n += 1;
        unusual += usize::from(row.token_id != row.greedy_id);
    });
    if n > 0 {
        caption.push(format!("{unusual} of {n} tokens were not the most probable ones."));
    }
    let long = first.iter().map(|row| row.prob_raw).product::<f64>();
    if first.len() > 1 {
        caption.push(format!("The first trace as a whole had probability {}: probabilities multiply.", share(long)));
    }
    View {
        name,
        title: "Generated text".to_owned(),
        subtitle: View::subtitle(&provenance, &prompt),
        caption,
        legend: vec![legend.to_owned()],
        panels: View::panel(body),
        more: vec![],
        provenance,
        locale,
    }
}

/// How many tokens all traces share.
fn after(branches: &[Branch]) -> String {
    match branches.first().filter(|first| !first.text.is_empty()) {
        Some(first) => quoted(&first.text),
        None => "the prompt".to_owned(),
    }
}

fn of_one(rows: &[TraceRow], locale: Locale) -> Vec<String> {
    let least = rows.iter().min_by(|a, b| a.prob_raw.total_cmp(&b.prob_raw));
    least
        .into_iter()
        .map(|row| {
            let (token, greedy) = (quoted(&visible(&row.token)), quoted(&visible(&row.greedy_token)));
            let expected =
                if row.token_id == row.greedy_id { String::new() } else { format!("; most probable was {greedy}") };
            format!(
                "Least probable: {token} at position {} with {}{expected}.",
                row.pos,
                locale.probability(row.prob_raw as f32)
            )
        })
        .collect()
}

fn cell(row: &TraceRow, locale: Locale) -> Cell {
    let share = |p: f64| locale.probability(p as f32);
    let decided = row.decided_layer.map(|layer| format!(", decided after {layer} layers")).unwrap_or_default();
    Cell {
        value: -row.prob_raw.log2(),
        label: visible(&row.token),
        below: share(row.prob_raw),
        title: format!(
            "position {}, {}: probability {}, drawn with {}, rank {}, of {} that could be drawn; most probable {}{decided}",
            row.pos,
            quoted(&visible(&row.token)),
            share(row.prob_raw),
            share(row.prob_sampled),
            row.rank,
            locale.count(u64::from(row.pool_size)),
            quoted(&visible(&row.greedy_token)),
        ),
        mark: if row.token_id == row.greedy_id { Mark::Plain } else { Mark::Hit },
        ..Cell::default()
    }
}

/// The branch of these traces from token `at` on, and those into which it parts.
fn grow(traces: &[&[TraceRow]], at: usize, depth: usize, locale: Locale, branches: &mut Vec<Branch>) {
    let same = |at: usize| {
        let first = traces[0].get(at).map(|row| row.token_id);
        first.filter(|_| traces.iter().all(|trace| trace.get(at).map(|row| row.token_id) == first))
    };
    let mut end = at;
    while same(end).is_some() {
        end += 1;
    }
    let own = &traces[0][at..end];
    let (n, first) = (traces.len(), own.first());
    let share = first.map(|row| locale.probability(row.prob_raw as f32));
    let token = first.map(|row| quoted(&visible(&row.token))).unwrap_or_default();
    let many = format!("{n} of them");
    branches.push(Branch {
        depth,
        weight: n as f64,
        text: own.iter().map(|row| visible(&row.token)).collect(),
        note: match share {
            Some(share) if depth > 0 => format!("{token} ({many}, probability {share})"),
            Some(_) => String::new(),
            None if depth > 0 => format!("the end ({many})"),
            None => String::new(),
        },
        title: format!(
            "{n} traces from position {}",
            first.map_or_else(|| "the end".into(), |row| row.pos.to_string())
        ),
    });
    let mut groups: Vec<Vec<&[TraceRow]>> = vec![];
    for trace in traces {
        let next = trace.get(end).map(|row| row.token_id);
        match groups.iter_mut().find(|group| group[0].get(end).map(|row| row.token_id) == next) {
            Some(group) => group.push(trace),
            None => groups.push(vec![trace]),
        }
    }
    // Where all end together, nothing comes after.
    if groups.len() == 1 {
        return;
    }
    let prob = |group: &Vec<&[TraceRow]>| group[0].get(end).map_or(0.0, |row| row.prob_raw);
    groups.sort_by(|a, b| b.len().cmp(&a.len()).then(prob(b).total_cmp(&prob(a))));
    groups.iter().for_each(|group| grow(group, end, depth + 1, locale, branches));
}
