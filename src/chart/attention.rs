//! Attention patterns: one head large, with its numbers; all heads small, side by side.

use super::axis::Axis;
use super::colour::{Rgb, viridis};
use super::frame::{self, BAR, Band, HEAD, MARGIN, NARROWEST, colour_bar, number_step};
use super::heads;
use super::label::{fit_mono, mono_width, probability, quoted, sans_width, short_probability};
use super::svg::{Anchor, Rect, Svg, Type};
use super::{Figure, Options, by_prompt, suffix};
use crate::error::{Error, Result};
use crate::table::{Attention, Provenance, visible};
use std::collections::BTreeMap;

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
pub fn attention(rows: &[Attention], provenance: &Provenance, head: Option<(u32, u32)>) -> Result<Vec<Figure>> {
    draw(rows, provenance, &Options { head, ..Options::default() })
}

pub(super) fn draw(rows: &[Attention], provenance: &Provenance, options: &Options) -> Result<Vec<Figure>> {
    let prompts = by_prompt(rows, |r| r.prompt, options.max_prompts)?;
    let only = prompts.len() == 1;
    let mut figures = Vec::new();
    for (prompt, rows) in &prompts {
        let patterns = Patterns::of(rows);
        let head = match options.head {
            Some(head) if patterns.heads.contains_key(&head) => head,
            Some((layer, head)) => return Err(no_such_head(layer, head, &patterns)),
            None => patterns.most_telling(),
        };
        let end = suffix(*prompt, only);
        let svg = large(&patterns, head, provenance);
        figures.push(Figure { name: format!("attention-L{}H{}{end}", head.0, head.1), svg });
        if patterns.heads.len() > 1 {
            figures.push(Figure { name: format!("attention{end}"), svg: heads::figure(&patterns, provenance) });
        }
    }
    Ok(figures)
}

fn no_such_head(layer: u32, head: u32, patterns: &Patterns<'_>) -> Error {
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

/// One head's probabilities: (query, key) are places in [`Patterns::queries`] and [`Patterns::keys`].
pub(super) type Pattern = Vec<(usize, usize, f32)>;

/// Places (query, key), in order.
pub(super) type Cells = Vec<(usize, usize)>;

/// The patterns of one prompt.
pub(super) struct Patterns<'a> {
    pub prompt_id: &'a str,
    /// Position and token of each query, in order.
    pub queries: Vec<(u32, &'a str)>,
    /// Position and token of each key, in order.
    pub keys: Vec<(u32, &'a str)>,
    /// By (layer, head); entries in order of query, then key.
    pub heads: BTreeMap<(u32, u32), Pattern>,
    /// What the queries of each head can see, whether or not it has an entry.
    pub seen: BTreeMap<(u32, u32), Cells>,
}

impl<'a> Patterns<'a> {
    fn of(rows: &[&'a Attention]) -> Self {
        let (mut queries, mut keys) = (BTreeMap::new(), BTreeMap::new());
        for row in rows {
            queries.entry(row.query_pos).or_insert(row.query_token.as_str());
            keys.entry(row.key_pos).or_insert(row.key_token.as_str());
        }
        let place = |tokens: &BTreeMap<u32, &str>| -> BTreeMap<u32, usize> {
            tokens.keys().enumerate().map(|(i, pos)| (*pos, i)).collect()
        };
        let (query_at, key_at) = (place(&queries), place(&keys));
        let mut heads = BTreeMap::<_, Pattern>::new();
        let mut visible = BTreeMap::<(u32, u32), BTreeMap<usize, std::ops::RangeInclusive<u32>>>::new();
        for row in rows {
            if let (Some(q), Some(k)) = (query_at.get(&row.query_pos), key_at.get(&row.key_pos)) {
                heads.entry((row.layer, row.head)).or_default().push((*q, *k, row.prob));
                let of_head = visible.entry((row.layer, row.head)).or_default();
                // A file may say anything, and a range that ends before it begins is none.
                let (first, last) = (row.first_key.min(row.last_key), row.first_key.max(row.last_key));
                of_head.entry(*q).or_insert(first..=last);
            }
        }
        heads.values_mut().for_each(|p| p.sort_by_key(|(q, k, _)| (*q, *k)));
        let mut seen = BTreeMap::new();
        for (head, pattern) in &heads {
            let of_head = &visible[head];
            let all = of_head.iter().flat_map(|(q, keys)| key_at.range(keys.clone()).map(move |(_, k)| (*q, *k)));
            let mut cells: Cells = all.chain(pattern.iter().map(|(q, k, _)| (*q, *k))).collect();
            cells.sort_unstable();
            cells.dedup();
            seen.insert(*head, cells);
        }
        Self {
            prompt_id: rows.first().map_or("", |r| &r.prompt_id),
            queries: queries.into_iter().collect(),
            keys: keys.into_iter().collect(),
            heads,
            seen,
        }
    }

    /// How many keys the queries of a head can see that have no entry.
    pub fn left_out(&self, head: (u32, u32)) -> usize {
        self.seen[&head].len().saturating_sub(self.heads[&head].len())
    }

    /// The head whose queries look most, on average, at keys that are neither the first token nor the query itself:
    /// what is left when resting and self-attention are set aside. The first of equals.
    fn most_telling(&self) -> (u32, u32) {
        let first = self.keys.first().map_or(0, |k| k.0);
        let mut best: Option<((u32, u32), f64)> = None;
        for (head, pattern) in &self.heads {
            let told = |(q, k, p): &(usize, usize, f32)| {
                let (q, k) = (self.queries[*q].0, self.keys[*k].0);
                // A file may say anything, and infinities add up to NaN, which is larger than nothing.
                if k == first || k == q || !p.is_finite() { 0.0 } else { f64::from(*p) }
            };
            let score: f64 = pattern.iter().map(told).sum();
            if best.is_none_or(|(_, most)| score > most) {
                best = Some((*head, score));
            }
        }
        best.map_or((0, 0), |(head, _)| head)
    }

    /// The facts of one entry in one line.
    pub fn facts(&self, (q, k, p): (usize, usize, f32)) -> String {
        let ((q, query), (k, key)) = (self.queries[q], self.keys[k]);
        format!("query {q} {} → key {k} {}: {}", quoted(query), quoted(key), probability(p))
    }
}

fn large(patterns: &Patterns<'_>, head: (u32, u32), provenance: &Provenance) -> String {
    let pattern = &patterns.heads[&head];
    let (rows, columns) = (patterns.queries.len(), patterns.keys.len());
    let longest = rows.max(columns).max(1) as f64;
    let cell = (680.0 / longest).clamp(4.0, 34.0).floor();
    let labels = |tokens: &[(u32, &str)]| -> Vec<String> { tokens.iter().map(|(_, token)| visible(token)).collect() };
    let (query_labels, key_labels) = (labels(&patterns.queries), labels(&patterns.keys));
    let size = (cell - 1.0).clamp(8.0, 11.0);
    let room = query_labels.iter().map(|l| mono_width(l, size)).fold(0.0, f64::max).min(130.0).ceil();
    let last = patterns.queries.last().into_iter().chain(patterns.keys.last()).map(|t| t.0).max().unwrap_or(0);
    let numbers = sans_width(&last.to_string(), 9.0).ceil();
    let band = Band::plan(key_labels.iter().map(String::as_str), cell);
    let left = MARGIN + NAME + room + 6.0 + numbers + 6.0;
    let (w, h) = (columns as f64 * cell, rows as f64 * cell);
    let width = (left + w + BAR + MARGIN).max(NARROWEST);
    let least = threshold(pattern);
    let mut sentences = vec!["Row: the query that attends; column: the key it attends to; a row sums to 1.".to_owned()];
    if least > 0.0 {
        sentences.push(format!("Cells below {} are drawn as 0.", probability(least)));
    }
    let left_out = patterns.left_out(head);
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
        svg.path(&runs(patterns.seen[&head].iter().copied()), viridis(0.0));
    });
    for &(q, k, p) in pattern.iter().filter(|(_, _, p)| *p >= least || p.is_nan()) {
        let fill = viridis(f64::from(p));
        let (x, y) = (left + k as f64 * cell, HEAD + q as f64 * cell);
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
fn threshold(pattern: &Pattern) -> f32 {
    let mut probs: Vec<f32> = pattern.iter().map(|(_, _, p)| *p).collect();
    if probs.len() <= MOST_CELLS {
        return 0.0;
    }
    let (_, least, _) = probs.select_nth_unstable_by(MOST_CELLS - 1, |a, b| b.total_cmp(a));
    // A round number reads better in the caption.
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05].into_iter().find(|round| *round >= *least).unwrap_or(*least)
}

/// A path over unit cells, given in order of (row, column): neighbours in a row are one rectangle.
pub(super) fn runs(cells: impl Iterator<Item = (usize, usize)>) -> String {
    let mut out = String::new();
    let mut open: Option<(usize, usize, usize)> = None;
    let mut close = |run: Option<(usize, usize, usize)>| {
        if let Some((row, from, to)) = run {
            let n = to - from;
            out.push_str(&format!("M{from} {row}h{n}v1h-{n}z"));
        }
    };
    for (row, column) in cells {
        match &mut open {
            Some((r, _, to)) if *r == row && *to == column => *to += 1,
            _ => close(open.replace((row, column, column + 1))),
        }
    }
    close(open);
    out
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
        let pattern: Pattern = (0..MOST_CELLS + 10).map(|i| (i, 0, if i < 100 { 0.5 } else { 0.0001 })).collect();
        let least = threshold(&pattern);
        assert!(least > 0.0001 && least <= 0.001, "{least}");
        assert_eq!(threshold(&pattern[..50].to_vec()), 0.0);
    }
}
