//! What it would write: continuations that were drawn, as a tree.

use std::fmt::Write as _;

use super::figure;
use super::write::{At, Writer, token};
use crate::analysis::explain::claims::is_tiny;

/// A trace: its tokens with their rows in `traces`.
type Trace = Vec<(usize, u32)>;

/// What it would write.
pub fn traces(w: &mut Writer<'_>) {
    let facts = w.facts;
    if facts.generated.is_empty() {
        return;
    }
    w.section("traces");
    let first = facts.candidates.first().and_then(|row| row.token.as_deref()).unwrap_or_default();
    let put =
        [("n", w.count("traces")), ("m", w.count("different")), ("g", w.count("begin_first")), ("token", token(first))];
    w.p("traces.a", &put);
    let mut all: Vec<Trace> = vec![vec![]; facts.generated.len()];
    for (i, row) in facts.traces.iter().enumerate() {
        all[row.trace as usize].push((i, row.token_id));
    }
    figure::begin(w);
    let mut html = String::from("<ul class=\"tree\">");
    branch(w, &all.iter().enumerate().collect::<Vec<_>>(), 0, &mut html);
    html.push_str("</ul>");
    w.raw(&html);
    let caption = w.say("traces.caption", &[]);
    figure::end(w, &caption);
    let closer = facts.generated.first().map_or_else(String::new, |row| {
        let put = [
            ("log", At::of("generated", 0, "log_prob").number(row.log_prob)),
            ("p", w.made("trace_prob", Some(row.trace), At::percent)),
            ("n", At::of("generated", 0, "tokens").count(f64::from(row.tokens))),
        ];
        let key = if is_tiny(row.log_prob.exp()) { "traces.tiny" } else { "traces.closer" };
        format!("<p>{}</p>", w.say(key, &put))
    });
    w.close("traces", &closer, facts.command("generate"));
}

/// Writes what these traces have from `depth` on: what all have in common, and then each group of those that go on alike.
fn branch(w: &Writer<'_>, all: &[(usize, &Trace)], depth: usize, html: &mut String) {
    let mut heads: Vec<Option<u32>> = vec![];
    for (_, trace) in all {
        let head = trace.get(depth).map(|(_, id)| *id);
        if !heads.contains(&head) {
            heads.push(head);
        }
    }
    let n = |head: &Option<u32>| all.iter().filter(|(_, trace)| trace.get(depth).map(|(_, id)| *id) == *head).count();
    // The most traces first; of equals the one that was drawn first.
    heads.sort_by_key(|head| std::cmp::Reverse(n(head)));
    for head in heads.iter().filter(|head| head.is_some()) {
        let own: Vec<(usize, &Trace)> =
            all.iter().copied().filter(|(_, trace)| trace.get(depth).map(|(_, id)| *id) == *head).collect();
        let (mut end, first) = (depth, own[0].1);
        while own.iter().all(|(_, trace)| trace.get(end).map(|(_, id)| *id) == first.get(end).map(|(_, id)| *id))
            && end < first.len()
        {
            end += 1;
        }
        let text: String = first[depth..end].iter().map(|(i, _)| &*w.facts.traces[*i].token).collect();
        let (row, _) = first[depth];
        let prob = At::of("traces", row, "prob_raw").percent(w.facts.traces[row].prob_raw);
        let many = if own.len() > 1 {
            format!(" <span class=\"times\">({})</span>", times(w, own.len()))
        } else {
            String::new()
        };
        let _ = write!(html, "<li>{}{many} <span class=\"small\">{prob}</span>", token(&text));
        if own.iter().any(|(_, trace)| trace.len() > end) && own.len() > 1 {
            html.push_str("<ul>");
            branch(w, &own, end, html);
            html.push_str("</ul>");
        }
        html.push_str("</li>");
    }
}

/// How many traces a branch has, in words: it is counted by looking, and no number of a table.
fn times(w: &Writer<'_>, n: usize) -> &'static str {
    let words: Vec<&str> = w.plain("times").split('|').collect();
    words.get(n - 1).or(words.last()).copied().unwrap_or_default()
}
