//! Attention as it is seen: what the last position took, on the text itself; one head large, with its numbers; all heads small, side
//! by side.

mod heads;
mod took;

use crate::analysis::AttentionRow;
use crate::error::{Error, Result};
use crate::number::Locale;
use crate::table::{Cell, Provenance, Rows, visible};
use crate::view::colour::Colours;
use crate::view::extent::{Extents, Positions};
use crate::view::kind::{self, Area, Body, Heat, Item, Run, Shape, Side, View};
use crate::view::label::{capital, quoted};
use crate::view::{Emit, Options, Seen, suffix};
use heads::{AllHeads, STRIPS, name, summary};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use took::{MOST_TOKENS, Took};

/// What a place of a pattern is that has no probability.
const HIDDEN: &str = "what a query cannot see";

impl Seen for AttentionRow {
    const OF_HEADS: bool = true;

    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        let extents = Extents::of::<Self>(rows, "prompt", how)?;
        views(rows, &extents, from, how, emit)
    }
}

/// What figures of patterns with so many entries each take while they are drawn: the pattern that is drawn large, the next, what is
/// drawn of one and of the last row of all, and a few numbers for each token.
pub(crate) fn bytes(entries: usize) -> usize {
    let cells = MOST_TOKENS * MOST_TOKENS + STRIPS.0 * (1.0 / STRIPS.1) as usize;
    entries * 2 * (size_of::<Entry>() + size_of::<Taken>()) + cells * (600 + size_of::<kind::Cell>())
}

/// For each prompt of `extents`: one head large (queries down, keys along, probabilities written in, of up to 64 tokens); where the table
/// says it, what each key carried and pushed; and, if the table has several heads, what the last position took from the text, its row in all
/// heads, and all heads as small multiples. Without a head that was asked for, the one is shown that looks most at tokens other than the
/// first and itself, or, with a target, that pushes it most. Of a pattern of many heads, one is held, and the one that is drawn large.
///
/// # Errors
/// There are no rows, or none of that head.
pub(crate) fn views(
    rows: &mut dyn Rows<AttentionRow>,
    extents: &Extents,
    provenance: &Provenance,
    how: &Options,
    emit: &mut Emit<'_>,
) -> Result<()> {
    let provenance = Arc::new(provenance.clone());
    for (prompt, range) in extents.each::<AttentionRow>()? {
        let patterns = Patterns::of(rows, prompt, range, how.locale)?;
        if let Some((layer, head)) = how.heads.iter().find(|head| !patterns.heads.contains_key(head)) {
            return Err(no_such_head(*layer, *head, &patterns));
        }
        let several = patterns.heads.len() > 1;
        let mut all = AllHeads::of(&patterns);
        let mut best: Option<(Pattern, f64)> = None;
        for at in patterns.heads.keys() {
            let pattern = patterns.read(rows, *at)?;
            all.add(&pattern, several);
            let telling = patterns.telling(&pattern);
            // Of equals the first stays.
            let better = best.as_ref().is_none_or(|(_, most)| telling > *most);
            if how.heads.is_empty() && better {
                best = Some((pattern, telling));
            }
        }
        let end = suffix(prompt, extents.only());
        let looks = all.looks();
        let mut large = |pattern: Pattern| {
            let mut view = patterns.large(&pattern, &end, provenance.clone());
            if !several {
                view.more = looks.clone().into_iter().collect();
            }
            emit(view)
        };
        best.map_or(Ok(()), |(pattern, _)| large(pattern))?;
        // Those that were asked for are read again, one at a time: many may be.
        how.heads.iter().try_for_each(|at| large(patterns.read(rows, *at)?))?;
        if several {
            if patterns.parts {
                emit(patterns.parts(&all.took, &end, provenance.clone()))?;
            }
            let mut view = all.view(&end, provenance.clone());
            view.more = looks.into_iter().collect();
            emit(view)?;
        }
    }
    Ok(())
}

fn no_such_head(layer: u32, head: u32, patterns: &Patterns) -> Error {
    let list = |mut numbers: Vec<u32>| {
        numbers.sort_unstable();
        numbers.dedup();
        match numbers[..] {
            [first, .., last] if (last - first) as usize == numbers.len() - 1 => format!("{first} to {last}"),
            _ => numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
        }
    };
    let layers = list(patterns.heads.keys().map(|h| h.0).collect());
    let heads = list(patterns.heads.keys().map(|h| h.1).collect());
    Error::no_such(format!("the table has no head {head} of layer {layer}"))
        .hint(format!("it has layers {layers} and heads {heads}"))
}

/// A probability with its query and key, as places in [`Patterns::queries`] and [`Patterns::keys`].
type Entry = (u32, u32, f32);

/// What one key gave to the last query.
struct Taken {
    /// Its place in [`Patterns::keys`].
    key: u32,
    /// The probability.
    looked: f32,
    /// The length of what it carried.
    carried: Option<f32>,
    /// How far that pushed the target.
    pushed: Option<f32>,
}

/// One head's probabilities.
struct Pattern {
    /// Layer and head.
    head: (u32, u32),
    /// In order of query, then key.
    entries: Vec<Entry>,
    /// What the queries can see, whether or not it has an entry, in the same order.
    seen: Vec<Run>,
    /// What each key gave to the last query, in their order.
    taken: Vec<Taken>,
}

impl Pattern {
    /// The tokens that the last query took from, with what it took.
    fn took(&self, patterns: &Patterns) -> Took {
        let mut took = Took::default();
        took.add(patterns.keys.len(), &self.taken);
        took
    }

    /// How many keys the queries can see that have no entry.
    fn left_out(&self) -> usize {
        let seen: usize = self.seen.iter().map(|(_, from, to)| (to - from) as usize).sum();
        seen.saturating_sub(self.entries.len())
    }
}

/// Whose patterns one prompt's are, and where they are in the table.
struct Patterns {
    prompt_id: String,
    prompt: u32,
    /// Position and token of each query, in order.
    queries: Vec<(u32, String)>,
    /// Position and token of each key, in order.
    keys: Vec<(u32, String)>,
    /// By (layer, head) the rows between which its own are.
    heads: BTreeMap<(u32, u32), Range<usize>>,
    /// Whether the table says what keys carried.
    parts: bool,
    /// What they pushed, where it says that.
    target: Option<String>,
    locale: Locale,
}

impl Patterns {
    /// Those of `prompt`, which are among the rows of `range`.
    fn of(rows: &mut dyn Rows<AttentionRow>, prompt: u32, range: Range<usize>, locale: Locale) -> Result<Self> {
        let (mut queries, mut keys) = (Positions::default(), Positions::default());
        let mut heads: BTreeMap<(u32, u32), Range<usize>> = BTreeMap::new();
        let (mut parts, mut target) = (false, None);
        rows.cells(range.start..range.end.min(range.start + 1), &["out_norm", "target"], &mut |cells| {
            parts = !matches!(cells[0], Cell::Null);
            target = if let Cell::Str(target) = cells[1] { Some(target.to_owned()) } else { None };
            Ok(())
        })?;
        let (mut prompt_id, mut at) = (None, range.start);
        // The rows of a head follow one another.
        let mut open: Option<((u32, u32), Range<usize>)> = None;
        let mut close = |head: Option<((u32, u32), Range<usize>)>| {
            if let Some((head, rows)) = head {
                heads.entry(head).or_insert(rows.clone()).end = rows.end;
            }
        };
        let columns = ["prompt", "prompt_id", "layer", "head", "query_pos", "key_pos", "query_token", "key_token"];
        rows.cells(range, &columns, &mut |cells| {
            use Cell::{Str, U32};
            let [U32(of), Str(id), U32(layer), U32(head), U32(query), U32(key), Str(query_token), Str(key_token)] =
                *cells
            else {
                return Ok(());
            };
            at += 1;
            if of != prompt {
                return Ok(());
            }
            prompt_id.get_or_insert_with(|| id.to_owned());
            queries.add_with(query, || query_token.to_owned());
            keys.add_with(key, || key_token.to_owned());
            match &mut open {
                Some((open, rows)) if *open == (layer, head) => rows.end = at,
                _ => close(open.replace(((layer, head), at - 1..at))),
            }
            Ok(())
        })?;
        close(open);
        Ok(Self {
            prompt_id: prompt_id.unwrap_or_default(),
            prompt,
            queries: queries.into_pairs().collect(),
            keys: keys.into_pairs().collect(),
            heads,
            parts,
            target,
            locale,
        })
    }

    /// The pattern of one head.
    fn read(&self, rows: &mut dyn Rows<AttentionRow>, at: (u32, u32)) -> Result<Pattern> {
        let place = |tokens: &[(u32, String)], pos: u32| match tokens.get(pos as usize) {
            // Mostly there are all positions from 0 on.
            Some((own, _)) if *own == pos => Some(pos),
            _ => tokens.binary_search_by_key(&pos, |(pos, _)| *pos).ok().map(|i| i as u32),
        };
        let range = self.heads.get(&at).cloned().unwrap_or_default();
        let mut entries: Vec<Entry> = vec![];
        let mut visible: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        let mut taken: Vec<Taken> = vec![];
        let last_query = self.queries.len().saturating_sub(1) as u32;
        let columns =
            ["prompt", "layer", "head", "query_pos", "key_pos", "prob", "first_key", "last_key", "out_norm", "push"];
        let columns = if self.parts { &columns[..] } else { &columns[..8] };
        rows.cells(range, columns, &mut |cells| {
            use Cell::{F32, U32};
            let [
                U32(prompt),
                U32(layer),
                U32(head),
                U32(query),
                U32(key),
                F32(p),
                U32(first),
                U32(last),
                ref more @ ..,
            ] = *cells
            else {
                return Ok(());
            };
            if prompt != self.prompt || (layer, head) != at {
                return Ok(());
            }
            if let (Some(q), Some(k)) = (place(&self.queries, query), place(&self.keys, key)) {
                if entries.last().is_none_or(|(before, _, _)| *before != q) {
                    // A file may say anything, and a range that ends before it begins is none.
                    visible.entry(q).or_insert((first.min(last), first.max(last)));
                }
                entries.push((q, k, p));
                if q == last_query {
                    let number = |i: usize| if let Some(F32(x)) = more.get(i) { Some(*x) } else { None };
                    taken.push(Taken { key: k, looked: p, carried: number(0), pushed: number(1) });
                }
            }
            Ok(())
        })?;
        entries.sort_by_key(|(q, k, _)| (*q, *k));
        let mut seen: Vec<Run> = vec![];
        let mut rest = &entries[..];
        for (q, (first, last)) in visible {
            let from = self.keys.partition_point(|(pos, _)| *pos < first) as u32;
            let to = self.keys.partition_point(|(pos, _)| *pos <= last) as u32;
            let (own, others) = rest.split_at(rest.partition_point(|(query, _, _)| *query <= q));
            rest = others;
            let (before, after): (Vec<&Entry>, Vec<&Entry>) =
                own.iter().filter(|(_, k, _)| !(from..to).contains(k)).partition(|(_, k, _)| *k < from);
            let one = |(_, k, _): &&Entry| (*k, k + 1);
            let start = seen.len();
            for (from, to) in before.iter().map(one).chain([(from, to)]).chain(after.iter().map(one)) {
                match seen[start..].last_mut() {
                    Some((_, _, end)) if from <= *end => *end = to.max(*end),
                    _ if from < to => seen.push((q, from, to)),
                    _ => {}
                }
            }
        }
        taken.sort_by_key(|taken| taken.key);
        Ok(Pattern { head: at, entries, seen, taken })
    }

    /// How much the queries of a head look, on average, at keys that are neither the first token nor the query itself nor the token before:
    /// what is left when resting, self-attention and what many heads of early layers do are set aside. With a target, how far it pushes that at the last position.
    fn telling(&self, pattern: &Pattern) -> f64 {
        if self.target.is_some() {
            let pushes = pattern.taken.iter().filter_map(|taken| taken.pushed).filter(|push| push.is_finite());
            return pushes.map(f64::from).sum::<f64>().abs();
        }
        let first = self.keys.first().map_or(0, |k| k.0);
        let told = |(q, k, p): &Entry| {
            let (q, k) = (self.queries[*q as usize].0, self.keys[*k as usize].0);
            // A file may say anything, and infinities add up to NaN, which is larger than nothing.
            if k == first || k == q || k.checked_add(1) == Some(q) || !p.is_finite() { 0.0 } else { f64::from(*p) }
        };
        pattern.entries.iter().map(told).sum()
    }

    /// The facts of one entry in one line.
    fn facts(&self, (q, k, p): Entry) -> String {
        let ((q, query), (k, key)) = (&self.queries[q as usize], &self.keys[k as usize]);
        format!("query {q} {} → key {k} {}: {}", quoted(query), quoted(key), self.locale.probability(p))
    }

    fn subtitle(&self, provenance: &Provenance) -> String {
        View::subtitle(provenance, &format!("prompt {}", self.prompt_id))
    }

    /// Whether there are so few tokens that each has its row, column or bar.
    fn few(&self) -> bool {
        self.queries.len().max(self.keys.len()) <= MOST_TOKENS
    }

    /// What the last position took in all heads together.
    fn parts(&self, took: &Took, end: &str, provenance: Arc<Provenance>) -> View {
        let mut legend = vec![
            "Looked at and carried are means over heads; what is carried counts by its length before any norm on what attention writes."
                .to_owned(),
        ];
        if self.target.is_some() {
            legend.push(
                "Pushes are sums over heads, of the direct path to the logits with the scales of norms held."
                    .to_owned(),
            );
        }
        legend.extend(took.legend(if self.few() { "an arrow" } else { "a corner" }));
        View {
            name: format!("attention-parts{end}"),
            title: "What the last position took".to_owned(),
            subtitle: self.subtitle(&provenance),
            caption: took.says(self),
            legend,
            panels: if self.few() { took.bars(self) } else { took.text(self, true) },
            more: vec![],
            provenance,
            locale: self.locale,
        }
    }

    /// The figure of one head.
    fn large(&self, pattern: &Pattern, end: &str, provenance: Arc<Provenance>) -> View {
        let (layer, head) = pattern.head;
        let took = pattern.took(self);
        let mut legend = vec![];
        let mut panels = if self.few() {
            legend.push("Row: the query that attends; column: the key it attends to; a row sums to 1.".to_owned());
            View::panel(self.grid(pattern))
        } else {
            let text = "On the text: what the last position took in this head. In the square: query down, key across";
            legend.push(format!("{text}, the first token at the upper left."));
            legend.extend(took.legend("a corner"));
            took.text(self, true).into_iter().chain([AllHeads::alone(self, pattern)]).collect()
        };
        if self.few() && self.parts {
            panels.extend(took.bars(self));
            legend.extend(took.legend("an arrow"));
        }
        let left_out = pattern.left_out();
        if left_out > 0 {
            let keys = if left_out == 1 { "key that can be seen is" } else { "keys that can be seen are" };
            let why = "not in the table, which leaves small probabilities out; drawn as 0.";
            legend.push(format!("{left_out} {keys} {why}"));
        }
        View {
            name: format!("attention-L{layer}H{head}{end}"),
            title: format!("Attention of layer {layer}, head {head}"),
            subtitle: self.subtitle(&provenance),
            caption: vec![capital(&summary("", self, &pattern.entries)) + "."],
            legend,
            panels,
            more: vec![],
            provenance,
            locale: self.locale,
        }
    }

    /// Queries down, keys along.
    fn grid(&self, pattern: &Pattern) -> Body {
        let side = |names: [&str; 2], tokens: &[(u32, String)]| Side {
            names: names.map(str::to_owned).to_vec(),
            items: tokens.iter().map(|(pos, token)| Item { label: visible(token), number: Some(*pos) }).collect(),
        };
        let cell = |entry: &Entry| {
            let (q, k, p) = *entry;
            let label = if p >= 0.005 { self.locale.short_probability(p) } else { String::new() };
            let cell = kind::Cell { value: f64::from(p), label, title: self.facts(*entry), ..kind::Cell::default() };
            ((q as usize, k as usize), cell)
        };
        Body::Heat(Heat {
            rows: side(["query (attends)", "query"], &self.queries),
            columns: side(["key (attended to)", "key"], &self.keys),
            above: Side::default(),
            cells: pattern.entries.iter().map(cell).collect(),
            // What can be seen is drawn as zero first.
            areas: vec![Area {
                runs: pattern.seen.clone(),
                value: Some(0.0),
                title: format!("{}: what the queries can see", name(pattern.head)),
            }],
            colours: Colours::probability("attention probability"),
            shape: Shape::Square,
            absent: HIDDEN,
        })
    }
}
