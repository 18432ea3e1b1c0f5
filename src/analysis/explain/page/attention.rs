//! Whose words it took: looking, carrying, pushing.

use super::figure;
use super::write::{At, Writer, escape, token};
use crate::analysis::AttentionRow;
use crate::analysis::explain::claims::{earlier, looking};

/// More keys of a head are not in its table; those that are looked at most are.
const KEYS: usize = 32;

/// A row with its place in the table.
pub type Placed<'a> = (usize, &'a AttentionRow);

/// What one head took for the last position.
pub fn of_head<'a>(rows: &'a [AttentionRow], head: (u32, u32), last: u32) -> Vec<Placed<'a>> {
    let own = |row: &AttentionRow| (row.layer, row.head) == head && row.query_pos == last;
    rows.iter().enumerate().filter(|(_, row)| own(row)).collect()
}

/// The key with the largest of something.
pub fn largest<'a>(rows: &[Placed<'a>], of: impl Fn(&AttentionRow) -> f64) -> Option<Placed<'a>> {
    rows.iter().copied().reduce(|a, b| if of(b.1) > of(a.1) { b } else { a })
}

fn at(i: usize, column: &'static str) -> At {
    At::of("attention", i, column)
}

fn push(row: &AttentionRow) -> f64 {
    f64::from(row.push.unwrap_or(0.0))
}

/// From which words the last position took something.
pub fn attention(w: &mut Writer<'_>) {
    w.section("attention");
    let facts = w.facts;
    let last = facts.prompt.tokens.len() as u32 - 1;
    let Some(head) = facts.head else {
        w.p("nothing", &[]);
        w.close("attention", "", facts.command("attention"));
        return;
    };
    w.p("attention.a", &[("heads", w.count("all_heads"))]);
    let rows = of_head(&facts.attention, head, last);
    let (looked, pushed) = (largest(&rows, |row| f64::from(row.prob)), largest(&rows, |row| push(row).abs()));
    if let (Some((l, looked)), Some((p, pushed))) = (looked, pushed) {
        let key = looking(looked, pushed, rows.len());
        let put = [
            ("layer", at(l, "layer").count(f64::from(looked.layer))),
            ("head", at(l, "head").count(f64::from(looked.head))),
            ("looked", token(&looked.key_token)),
            ("lp", at(l, "key_pos").count(f64::from(looked.key_pos))),
            ("prob", at(l, "prob").percent(f64::from(looked.prob))),
            ("lpush", at(l, "push").signed(push(looked))),
            ("pushed", token(&pushed.key_token)),
            ("pp", at(p, "key_pos").count(f64::from(pushed.key_pos))),
            ("pprob", at(p, "prob").percent(f64::from(pushed.prob))),
            ("push", at(p, "push").signed(push(pushed))),
            ("target", token(looked.target.as_deref().unwrap_or_default())),
        ];
        w.answers("5", key, &put);
    }
    if let Some((i, row)) = earlier(&facts.attention, last) {
        let put = [
            ("key", token(&row.key_token)),
            ("pos", at(i, "key_pos").count(f64::from(row.key_pos))),
            ("layer", at(i, "layer").count(f64::from(row.layer))),
            ("head", at(i, "head").count(f64::from(row.head))),
            ("push", at(i, "push").signed(push(row))),
            ("prob", at(i, "prob").percent(f64::from(row.prob))),
            ("target", token(row.target.as_deref().unwrap_or_default())),
        ];
        w.answers("5", "attention.earlier", &put);
    }
    let sinks = facts.sinks();
    let key = if sinks.is_empty() { "attention.nosinks" } else { "attention.sinks" };
    let first = token(&facts.prompt.tokens[0].text);
    let put = [("n", w.count("sinks")), ("all", w.count("all_heads")), ("first", first)];
    w.answers("5", key, &put);
    if sinks.contains(&head) && pushed.is_some_and(|(_, row)| row.key_pos == 0) {
        w.p("attention.carries", &[]);
    }
    if facts.spec.blocks[0].attention.inner.shared_by() > 1 {
        w.p("attention.grouped", &[("n", w.count("shared_by")), ("kv", w.count("kv_heads"))]);
    }
    keys(w, &rows);
    strips(w, last);
    square(w, head);
    let closer = closer(w, &rows);
    w.close("attention", &closer, facts.command("attention"));
}

/// Three bars for each key: looked at, carried, pushed.
fn keys(w: &mut Writer<'_>, rows: &[Placed<'_>]) {
    let mut shown = rows.to_vec();
    shown.sort_by(|a, b| b.1.prob.total_cmp(&a.1.prob));
    shown.truncate(KEYS);
    shown.sort_by_key(|(_, row)| row.key_pos);
    let carried = |row: &AttentionRow| f64::from(row.out_norm.unwrap_or(0.0));
    let most = |of: &dyn Fn(&AttentionRow) -> f64| shown.iter().map(|(_, row)| of(row).abs()).fold(1e-12, f64::max);
    let (most_carried, most_pushed) = (most(&carried), most(&push));
    let lines: Vec<Vec<String>> = (shown.iter())
        .map(|(i, row)| {
            vec![
                format!("{} {}", at(*i, "key_pos").count(f64::from(row.key_pos)), token(&row.key_token)),
                format!("{}{}", figure::bar(f64::from(row.prob), "one"), at(*i, "prob").percent(f64::from(row.prob))),
                format!(
                    "{}{}",
                    figure::bar(carried(row) / most_carried, "two"),
                    at(*i, "out_norm").number(carried(row))
                ),
                format!("{}{}", figure::signed(push(row), most_pushed), at(*i, "push").signed(push(row))),
            ]
        })
        .collect();
    figure::begin(w);
    let columns = ["col.key", "col.looked", "col.carried", "col.pushed"].map(|key| w.plain(key).to_owned());
    figure::table(w, &escape(w.plain("attention.figure")), &columns, &lines);
    let caption = w.say("attention.caption", &[]);
    figure::end(w, &caption);
}

/// The last row of every head: which words each looks at.
fn strips(w: &mut Writer<'_>, last: u32) {
    let facts = w.facts;
    let own: Vec<Placed<'_>> = facts.attention.iter().enumerate().filter(|(_, row)| row.query_pos == last).collect();
    let mut heads: Vec<(u32, u32)> = own.iter().map(|(_, row)| (row.layer, row.head)).collect();
    heads.dedup();
    let (n, keys) = (heads.len(), facts.prompt.tokens.len());
    let line = |row: &AttentionRow| heads.iter().position(|head| *head == (row.layer, row.head)).unwrap_or(0);
    let cells = own.iter().map(|(_, row)| (row.key_pos as usize, line(row), f64::from(row.prob)));
    let label = escape(w.plain("attention.strips"));
    let svg = figure::shades("strips", (keys, n), "preserveAspectRatio=\"none\" ", &label, cells);
    let whole = |head: (u32, u32)| {
        let found = facts.heads.iter().enumerate().find(|(_, row)| (row.layer, row.head) == (head.0, Some(head.1)));
        found.map_or("–".into(), |(i, row)| At::of("residual_heads", i, "push").signed(row.push))
    };
    let lines: Vec<Vec<String>> = (heads.iter())
        .filter_map(|head| {
            let rows: Vec<Placed<'_>> = own.iter().copied().filter(|(_, row)| (row.layer, row.head) == *head).collect();
            let (i, row) = largest(&rows, |row| f64::from(row.prob))?;
            Some(vec![
                format!("{}.{}", at(i, "layer").count(f64::from(row.layer)), at(i, "head").count(f64::from(row.head))),
                token(&row.key_token),
                at(i, "prob").percent(f64::from(row.prob)),
                row.push.map_or("–".into(), |push| at(i, "push").signed(f64::from(push))),
                whole(*head),
            ])
        })
        .collect();
    figure::begin(w);
    // Layers as names where they have equally many heads, so that the names stand where the heads do.
    let layers: Vec<&[(u32, u32)]> = heads.chunk_by(|a, b| a.0 == b.0).collect();
    let even = layers.iter().all(|heads| heads.len() == layers[0].len());
    let named = layers.iter().filter(|_| even).filter_map(|heads| {
        let (i, row) = own.iter().find(|(_, row)| row.layer == heads[0].0)?;
        Some(at(*i, "layer").count(f64::from(row.layer)))
    });
    w.raw(&figure::framed(&svg, &named.collect::<Vec<_>>(), &words(w)));
    let columns = ["col.head", "col.most", "col.looked", "col.pushed.there", "col.pushed.whole"]
        .map(|key| w.plain(key).to_owned());
    let table = figure::table_html(&escape(w.plain("attention.strips")), &columns, &lines);
    w.raw(&figure::opens(w.plain("astable"), &table));
    let caption = w.say("attention.strips.caption", &[("n", w.count("all_heads"))]);
    figure::end(w, &caption);
}

/// The tokens of the prompt.
fn words(w: &Writer<'_>) -> Vec<String> {
    w.facts.prompt.tokens.iter().map(|own| token(&own.text)).collect()
}

/// All queries and keys of one head.
fn square(w: &mut Writer<'_>, head: (u32, u32)) {
    let facts = w.facts;
    let n = facts.prompt.tokens.len();
    let own: Vec<Placed<'_>> =
        facts.attention.iter().enumerate().filter(|(_, row)| (row.layer, row.head) == head).collect();
    if own.iter().all(|(_, row)| row.query_pos as usize == n - 1) {
        return;
    }
    let cells = own.iter().map(|(_, row)| (row.key_pos as usize, row.query_pos as usize, f64::from(row.prob)));
    let svg = figure::shades("square", (n, n), "", &escape(w.plain("attention.square")), cells);
    let lines: Vec<Vec<String>> = (0..n as u32)
        .filter_map(|query| {
            let rows: Vec<Placed<'_>> = own.iter().copied().filter(|(_, row)| row.query_pos == query).collect();
            let (i, row) = largest(&rows, |row| f64::from(row.prob))?;
            Some(vec![
                format!("{} {}", at(i, "query_pos").count(f64::from(query)), token(&row.query_token)),
                format!("{} {}", at(i, "key_pos").count(f64::from(row.key_pos)), token(&row.key_token)),
                at(i, "prob").percent(f64::from(row.prob)),
            ])
        })
        .collect();
    figure::begin(w);
    w.raw(&figure::framed(&svg, &words(w), &words(w)));
    let columns = ["col.query", "col.most", "col.looked"].map(|key| w.plain(key).to_owned());
    let table = figure::table_html(&escape(w.plain("attention.square")), &columns, &lines);
    w.raw(&figure::opens(w.plain("astable"), &table));
    let put = own.first().map_or_else(Vec::new, |(i, row)| {
        vec![
            ("layer", at(*i, "layer").count(f64::from(row.layer))),
            ("head", at(*i, "head").count(f64::from(row.head))),
        ]
    });
    let caption = w.say("attention.square.caption", &put);
    figure::end(w, &caption);
}

/// The formula with the numbers of the key that is looked at most.
fn closer(w: &Writer<'_>, rows: &[Placed<'_>]) -> String {
    let Some((i, row)) = largest(rows, |row| f64::from(row.prob)) else { return String::new() };
    let f = |x: Option<f32>| f64::from(x.unwrap_or(0.0));
    let put = [
        ("key", token(&row.key_token)),
        ("query", token(&row.query_token)),
        ("score", at(i, "score").number(f(row.score))),
        ("prob", at(i, "prob").percent(f64::from(row.prob))),
        ("value", at(i, "value_norm").number(f(row.value_norm))),
        ("out", at(i, "out_norm").number(f(row.out_norm))),
        ("scale", w.made("score_scale", None, At::number)),
        ("share", row.share.map_or("–".into(), |share| at(i, "share").percent(f64::from(share)))),
    ];
    let capped = row.score_uncapped.map_or_else(String::new, |raw| {
        let put =
            [("raw", at(i, "score_uncapped").number(f64::from(raw))), ("score", at(i, "score").number(f(row.score)))];
        format!("<p>{}</p>", w.say("attention.capped", &put))
    });
    format!("<p>{}</p>{capped}", w.say("attention.closer", &put))
}
