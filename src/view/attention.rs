//! Attention patterns: one head large, with its numbers; all heads small, side by side.

use super::axis::Axis;
use super::colour::{Rgb, viridis};
use super::extent::{Extents, Positions};
use super::frame::{self, BAR, Band, HEAD, MARGIN, NARROWEST, colour_bar, number_step};
use super::heads::Tiles;
use super::label::{fit_mono, mono_width, probability, quoted, sans_width, short_probability};
use super::svg::{Anchor, Rect, Svg, Type};
use super::{Emit, Figure, Options, collected, suffix};
use crate::analysis::AttentionRow;
use crate::error::{Error, Result};
use crate::table::{Cell, Held, Provenance, Rows, visible};
use std::collections::BTreeMap;
use std::ops::Range;

/// A figure draws at most this many cells one by one; of more, the weakest are left blank.
const MOST_CELLS: usize = 12_000;
/// Line with the name of an axis.
const NAME: f64 = 20.0;
/// Line with position numbers.
const NUMBERS: f64 = 14.0;

/// For each prompt (the first 20): one head large (queries down, keys along, probabilities written in), and, if the
/// table has several, all heads as small multiples. Without `head` (layer, head) the one is shown that looks most at
/// tokens other than the first and itself.
///
/// # Errors
/// There are no rows, or none of that head.
pub fn attention(rows: &[AttentionRow], provenance: &Provenance, head: Option<(u32, u32)>) -> Result<Vec<Figure>> {
    collected(|emit| {
        let rows = &mut Held(rows);
        let extents = Extents::of::<AttentionRow>(rows, "prompt", Options::default().max_prompts)?;
        draw(rows, &extents, provenance, head, emit)
    })
}

/// What figures of patterns with so many entries each take while they are drawn: the pattern that is drawn large, the next, and the
/// numbers by which entries are chosen.
pub(crate) fn bytes(entries: usize) -> usize {
    entries * (2 * size_of::<Entry>() + size_of::<f32>()) + MOST_CELLS * 600
}

/// Draws the prompts of `extents`, one after another. Of a pattern of many heads, one is held, and the one that is drawn large.
pub(crate) fn draw(
    rows: &mut dyn Rows<AttentionRow>,
    extents: &Extents,
    provenance: &Provenance,
    head: Option<(u32, u32)>,
    emit: &mut Emit<'_>,
) -> Result<()> {
    for (prompt, range) in extents.each::<AttentionRow>()? {
        let patterns = Patterns::of(rows, prompt, range)?;
        if let Some((layer, head)) = head.filter(|head| !patterns.heads.contains_key(head)) {
            return Err(no_such_head(layer, head, &patterns));
        }
        let tiles = Tiles::of(&patterns);
        let (mut small, mut best): (_, Option<(Pattern, f64)>) = (vec![], None);
        for at in patterns.heads.keys() {
            let pattern = patterns.read(rows, *at)?;
            if patterns.heads.len() > 1 {
                small.push(tiles.tile(&patterns, &pattern));
            }
            let telling = patterns.telling(&pattern);
            // Of equals the first stays.
            let better = best.as_ref().is_none_or(|(_, most)| telling > *most);
            if head.map_or(better, |head| head == *at) {
                best = Some((pattern, telling));
            }
        }
        let end = suffix(prompt, extents.only());
        if let Some((pattern, _)) = best {
            let (layer, head) = pattern.head;
            let svg = large(&patterns, &pattern, provenance);
            emit(Figure { name: format!("attention-L{layer}H{head}{end}"), svg })?;
        }
        if !small.is_empty() {
            let svg = tiles.figure(&patterns, &small, provenance);
            emit(Figure { name: format!("attention{end}"), svg })?;
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
pub(super) type Entry = (u32, u32, f32);

/// Neighbouring cells of a row: the row, the first column, and the first that is no longer one of them.
pub(super) type Run = (u32, u32, u32);

/// One head's probabilities.
pub(super) struct Pattern {
    /// Layer and head.
    pub head: (u32, u32),
    /// In order of query, then key.
    pub entries: Vec<Entry>,
    /// What the queries can see, whether or not it has an entry, in the same order.
    pub seen: Vec<Run>,
}

impl Pattern {
    /// How many keys the queries can see that have no entry.
    pub fn left_out(&self) -> usize {
        let seen: usize = self.seen.iter().map(|(_, from, to)| (to - from) as usize).sum();
        seen.saturating_sub(self.entries.len())
    }
}

/// Whose patterns one prompt's are, and where they are in the table.
pub(super) struct Patterns {
    pub prompt_id: String,
    prompt: u32,
    /// Position and token of each query, in order.
    pub queries: Vec<(u32, String)>,
    /// Position and token of each key, in order.
    pub keys: Vec<(u32, String)>,
    /// By (layer, head) the rows between which its own are.
    pub heads: BTreeMap<(u32, u32), Range<usize>>,
}

impl Patterns {
    /// Those of `prompt`, which are among the rows of `range`.
    fn of(rows: &mut dyn Rows<AttentionRow>, prompt: u32, range: Range<usize>) -> Result<Self> {
        let (mut queries, mut keys) = (Positions::default(), Positions::default());
        let mut heads: BTreeMap<(u32, u32), Range<usize>> = BTreeMap::new();
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
        let columns = ["prompt", "layer", "head", "query_pos", "key_pos", "prob", "first_key", "last_key"];
        rows.cells(range, &columns, &mut |cells| {
            use Cell::{F32, U32};
            let [U32(prompt), U32(layer), U32(head), U32(query), U32(key), F32(p), U32(first), U32(last)] = *cells
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
        Ok(Pattern { head: at, entries, seen })
    }

    /// How much the queries of a head look, on average, at keys that are neither the first token nor the query itself:
    /// what is left when resting and self-attention are set aside.
    fn telling(&self, pattern: &Pattern) -> f64 {
        let first = self.keys.first().map_or(0, |k| k.0);
        let told = |(q, k, p): &Entry| {
            let (q, k) = (self.queries[*q as usize].0, self.keys[*k as usize].0);
            // A file may say anything, and infinities add up to NaN, which is larger than nothing.
            if k == first || k == q || !p.is_finite() { 0.0 } else { f64::from(*p) }
        };
        pattern.entries.iter().map(told).sum()
    }

    /// The facts of one entry in one line.
    pub fn facts(&self, (q, k, p): Entry) -> String {
        let ((q, query), (k, key)) = (&self.queries[q as usize], &self.keys[k as usize]);
        format!("query {q} {} → key {k} {}: {}", quoted(query), quoted(key), probability(p))
    }
}

fn large(patterns: &Patterns, pattern: &Pattern, provenance: &Provenance) -> String {
    let head = pattern.head;
    let (rows, columns) = (patterns.queries.len(), patterns.keys.len());
    let longest = rows.max(columns).max(1) as f64;
    let cell = (680.0 / longest).clamp(4.0, 34.0).floor();
    let labels = |tokens: &[(u32, String)]| -> Vec<String> { tokens.iter().map(|(_, token)| visible(token)).collect() };
    let (query_labels, key_labels) = (labels(&patterns.queries), labels(&patterns.keys));
    let size = (cell - 1.0).clamp(8.0, 11.0);
    let room = query_labels.iter().map(|l| mono_width(l, size)).fold(0.0, f64::max).min(130.0).ceil();
    let last = patterns.queries.last().into_iter().chain(patterns.keys.last()).map(|t| t.0).max().unwrap_or(0);
    let numbers = sans_width(&last.to_string(), 9.0).ceil();
    let band = Band::plan(key_labels.iter().map(String::as_str), cell);
    let left = MARGIN + NAME + room + 6.0 + numbers + 6.0;
    let (w, h) = (columns as f64 * cell, rows as f64 * cell);
    let width = (left + w + BAR + MARGIN).max(NARROWEST);
    let least = threshold(&pattern.entries);
    let mut sentences = vec!["Row: the query that attends; column: the key it attends to; a row sums to 1.".to_owned()];
    if least > 0.0 {
        sentences.push(format!("Cells below {} are drawn as 0.", probability(least)));
    }
    let left_out = pattern.left_out();
    if left_out > 0 {
        let keys = if left_out == 1 { "key that can be seen is" } else { "keys that can be seen are" };
        let why = "not in the table, which leaves small probabilities out; drawn as 0.";
        sentences.push(format!("{left_out} {keys} {why}"));
    }
    let caption = frame::caption_lines(&sentences, width);
    let height = HEAD + h + NUMBERS + band.depth + NAME + frame::caption_height(caption.len());
    let mut svg = Svg::new(width, height);
    let subtitle = frame::subtitle(provenance, &format!("prompt {}", patterns.prompt_id));
    let title = format!("Attention of layer {}, head {}", head.0, head.1);
    frame::head(&mut svg, &title, &subtitle);

    // What can be seen is drawn as zero first; what cannot stays paper.
    svg.group(left, HEAD, cell, &format!("L{}H{}: what the queries can see", head.0, head.1), |svg| {
        svg.path(&path(pattern.seen.iter().copied()), viridis(0.0));
    });
    for &(q, k, p) in pattern.entries.iter().filter(|(_, _, p)| *p >= least || p.is_nan()) {
        let fill = viridis(f64::from(p));
        let (x, y) = (left + f64::from(k) * cell, HEAD + f64::from(q) * cell);
        let r = Rect { x, y, w: cell, h: cell };
        svg.rect(r, fill, Some(&patterns.facts((q, k, p))));
        if cell >= 22.0 && p >= 0.005 {
            let t = Type::new(9.0).at(Anchor::Middle).ink(fill.ink_on());
            svg.text(x + cell / 2.0, y + cell / 2.0, &short_probability(p), t);
        }
    }
    let number = Type::new(9.0).ink(Rgb::SOFT);
    let every = ((size + 1.0) / cell).ceil().max(1.0) as usize;
    for (i, label) in query_labels.iter().enumerate().step_by(every) {
        let y = HEAD + (i as f64 + 0.5) * cell;
        svg.text(left - 5.0, y, &patterns.queries[i].0.to_string(), number.at(Anchor::End));
        let label = fit_mono(label, room + 1.0, size);
        svg.text(left - numbers - 11.0, y, &label, Type::new(size).mono().at(Anchor::End));
    }
    let every = number_step(last, cell, 9.0);
    for (i, label) in key_labels.iter().enumerate() {
        let x = left + (i as f64 + 0.5) * cell;
        if i.is_multiple_of(every) {
            svg.text(x, HEAD + h + 8.0, &patterns.keys[i].0.to_string(), number.at(Anchor::Middle));
        }
        band.draw(&mut svg, i, x, HEAD + h + NUMBERS, false, label);
    }
    let name = Type::new(11.0).at(Anchor::Middle);
    svg.text(MARGIN + 7.0, HEAD + h / 2.0, if h >= 130.0 { "query (attends)" } else { "query" }, name.upwards());
    let key = if w >= 110.0 { "key (attended to)" } else { "key" };
    svg.text(left + w / 2.0, HEAD + h + NUMBERS + band.depth + NAME / 2.0, key, name);
    colour_bar(&mut svg, left + w + 16.0, HEAD, h.min(240.0), &Axis::quarters("attention probability"), viridis);
    frame::caption(&mut svg, &caption);
    svg.finish(&format!("{title}, {subtitle}"), &frame::desc(provenance))
}

/// The least probability that is drawn, so that at most [`MOST_CELLS`] are; 0 if all are.
fn threshold(entries: &[Entry]) -> f32 {
    let mut probs: Vec<f32> = entries.iter().map(|(_, _, p)| *p).collect();
    if probs.len() <= MOST_CELLS {
        return 0.0;
    }
    let (_, least, _) = probs.select_nth_unstable_by(MOST_CELLS - 1, |a, b| b.total_cmp(a));
    // A round number reads better in the caption.
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05].into_iter().find(|round| *round >= *least).unwrap_or(*least)
}

/// A path over runs of unit cells, each one rectangle.
pub(super) fn path(runs: impl Iterator<Item = Run>) -> String {
    let mut out = String::new();
    for (row, from, to) in runs {
        let n = to - from;
        out.push_str(&format!("M{from} {row}h{n}v1h-{n}z"));
    }
    out
}

/// A path over unit cells, given in order of (row, column): neighbours in a row are one rectangle.
pub(super) fn runs(cells: impl Iterator<Item = (usize, usize)>) -> String {
    let mut runs: Vec<Run> = vec![];
    for (row, column) in cells.map(|(row, column)| (row as u32, column as u32)) {
        match runs.last_mut() {
            Some((r, _, to)) if *r == row && *to == column => *to += 1,
            _ => runs.push((row, column, column + 1)),
        }
    }
    path(runs.into_iter())
}

/// The colour of nothing, for cells that no query can see.
pub(super) const UNSEEN: Rgb = Rgb::FAINT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_rectangle() {
        assert_eq!(runs([(0, 0), (0, 1), (0, 3), (1, 3)].into_iter()), "M0 0h2v1h-2zM3 0h1v1h-1zM3 1h1v1h-1z");
        assert_eq!(runs(std::iter::empty()), "");
    }

    #[test]
    fn many_cells_have_a_threshold() {
        let pattern: Vec<Entry> =
            (0..MOST_CELLS as u32 + 10).map(|i| (i, 0, if i < 100 { 0.5 } else { 0.0001 })).collect();
        let least = threshold(&pattern);
        assert!(least > 0.0001 && least <= 0.001, "{least}");
        assert_eq!(threshold(&pattern[..50]), 0.0);
    }
}
