//! How the model knows what came first.

use std::fmt::Write as _;

use super::figure;
use super::write::{At, Writer, escape, token};
use crate::analysis::explain::claims::{another_first, changes_little};
use crate::analysis::position::PositionBoardRow;

/// The runs of the experiment that there are.
const RUNS: [&str; 3] = ["given", "swapped", "unplaced"];

/// What tells the model where words stand.
pub fn position(w: &mut Writer<'_>) {
    w.section("position");
    let facts = w.facts;
    let kinds = ["learned", "learned-qk", "rotary", "alibi", "none"];
    for kind in kinds.into_iter().filter(|kind| facts.layers.iter().any(|row| row.kind == *kind)) {
        let slope =
            facts.alibi.first().map_or_else(String::new, |row| At::of("position_alibi", 0, "slope").number(row.slope));
        let put = [
            ("rows", w.count("learned_positions")),
            ("theta", w.made("theta", None, At::number)),
            ("dims", w.count("rotated")),
            ("e", w.count("d_head")),
            ("slope", slope),
        ];
        w.answers("4", &format!("position.{kind}"), &put);
    }
    if facts.layers.iter().any(|row| row.mask == "bidirectional") {
        w.p("position.bidirectional", &[]);
    }
    experiment(w);
    let closer = decay(w);
    let command = facts.command("position").to_vec();
    w.close("position", &closer, &command);
}

/// Two words swapped, and positions taken away.
fn experiment(w: &mut Writer<'_>) {
    let rows = &w.facts.swapped;
    let of = |run: &str, id: u32| rows.iter().enumerate().find(|(_, row)| row.run == run && row.token_id == id);
    let first = rows.iter().enumerate().find(|(_, row)| row.run == "given" && row.rank == 1);
    let Some((at, top)) = first else { return };
    let prob = |(i, row): (usize, &PositionBoardRow)| At::of("position_boards", i, "prob").percent(row.prob);
    let label = |pos: usize| token(&w.facts.prompt.tokens[pos].text);
    if let (Some((a, b)), Some(swapped)) = (w.facts.swap, of("swapped", top.token_id)) {
        let key = match another_first(rows, "swapped") {
            true => "position.another",
            false if changes_little(swapped.1.kl_bits) => "position.little",
            false => "position.same",
        };
        let other = rows.iter().position(|row| row.run == "swapped" && row.rank == 1).unwrap_or(rows.len());
        let kl = At::of("position_boards", swapped.0, "kl_bits").number(swapped.1.kl_bits);
        let put = [
            ("a", label(a)),
            ("b", label(b)),
            ("token", token(&top.token)),
            ("p", prob((at, top))),
            ("q", prob(swapped)),
            ("kl", kl),
            ("other", rows.get(other).map_or_else(String::new, |row| token(&row.token))),
            ("po", rows.get(other).map_or_else(String::new, |row| prob((other, row)))),
        ];
        w.answers("4", key, &put);
        let mut order: Vec<usize> = (0..w.facts.prompt.tokens.len()).collect();
        order.swap(a, b);
        let text: String = order.iter().map(|pos| &*w.facts.prompt.tokens[*pos].text).collect();
        w.p("position.reads", &[("text", token(&text))]);
    }
    if let Some(unplaced) = of("unplaced", top.token_id) {
        let put = [("token", token(&top.token)), ("p", prob((at, top))), ("q", prob(unplaced))];
        w.p("position.unplaced", &put);
    }
    let runs: Vec<&str> = RUNS.into_iter().filter(|run| rows.iter().any(|row| row.run == *run)).collect();
    let shown: Vec<&PositionBoardRow> = rows.iter().filter(|row| row.run == "given").take(6).collect();
    figure::begin(w);
    let lines: Vec<Vec<String>> =
        (shown.iter())
            .map(|row| {
                let mut line = vec![token(&row.token)];
                for run in &runs {
                    let found = of(run, row.token_id);
                    line.push(found.map_or_else(String::new, |found| {
                        format!("{}{}", figure::bar(found.1.prob, "one"), prob(found))
                    }));
                }
                line
            })
            .collect();
    let mut columns = vec![w.plain("col.candidate").to_owned()];
    columns.extend(runs.iter().map(|run| w.plain(&format!("position.run.{run}")).to_owned()));
    figure::table(w, &escape(w.plain("position.figure")), &columns, &lines);
    let caption = w.say("position.caption", &[]);
    figure::end(w, &caption);
}

/// The same word, further away.
fn decay(w: &Writer<'_>) -> String {
    let rows = &w.facts.decay;
    let Some((i, own)) = rows.iter().enumerate().find(|(_, row)| row.own) else {
        return format!("<p>{}</p>", w.plain("position.alone"));
    };
    let at = |i: usize, column| At::of("position_decay", i, column);
    let (first, last) = (&rows[0], &rows[rows.len() - 1]);
    let put = [
        ("query", token(&own.query_token)),
        ("key", token(&own.key_token)),
        ("layer", at(i, "layer").count(f64::from(own.layer))),
        ("head", at(i, "head").count(f64::from(own.head))),
        ("d", at(i, "distance").count(f64::from(own.distance))),
        ("s", at(i, "score").number(own.score)),
        ("far", at(rows.len() - 1, "distance").count(f64::from(last.distance))),
        ("sf", at(rows.len() - 1, "score").number(last.score)),
    ];
    let mut out = format!("<p>{}</p>", w.say("position.closer", &put));
    let scores = || rows.iter().map(|row| row.score);
    let (least, most) = (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
    let spread = (most - least).max(1e-12);
    let x = |distance: u32| {
        10.0 + 580.0 * f64::from(distance - first.distance) / f64::from((last.distance - first.distance).max(1))
    };
    let y = |score: f64| 10.0 + 100.0 * (most - score) / spread;
    let points: Vec<String> = rows.iter().map(|row| format!("{:.0},{:.1}", x(row.distance), y(row.score))).collect();
    let _ = write!(
        out,
        "<figure><svg class=\"line\" viewBox=\"0 0 600 120\" role=\"img\" aria-label=\"{}\"><polyline points=\"{}\"/><circle cx=\"{:.0}\" cy=\"{:.1}\" r=\"5\"/></svg><figcaption>{}</figcaption>",
        escape(w.plain("position.line")),
        points.join(" "),
        x(own.distance),
        y(own.score),
        w.plain("position.line.caption"),
    );
    let lines: Vec<Vec<String>> = (rows.iter().enumerate())
        .map(|(i, row)| vec![at(i, "distance").count(f64::from(row.distance)), at(i, "score").number(row.score)])
        .collect();
    let columns = ["col.distance", "col.score"].map(|key| w.plain(key).to_owned());
    out += &figure::opens(w.plain("astable"), &figure::table_html(&escape(w.plain("position.line")), &columns, &lines));
    out + "</figure>"
}
