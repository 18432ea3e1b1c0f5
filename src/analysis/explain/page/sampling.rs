//! Temperature is the risk, top-p the size of the pool: boards that are computed beforehand, and a script that computes others.

use std::fmt::Write as _;

use super::answer::candidate;
use super::figure;
use super::write::{At, Writer, escape, token};
use crate::analysis::explain::TENTHS;
use crate::analysis::explain::facts::{BOARD, TEMPERATURES, TOP_P};

/// The boards: for each temperature and top-p the first row of `candidates`, and the row of `next`.
fn boards(w: &Writer<'_>) -> Vec<(usize, usize, usize, usize)> {
    let mut found = vec![];
    let mut next = 0;
    let starts: Vec<usize> =
        (w.facts.candidates.iter().enumerate()).filter(|(_, row)| row.rank == 1).map(|(i, _)| i).collect();
    for (t, temperature) in TEMPERATURES.iter().enumerate() {
        for (p, top_p) in TOP_P.iter().enumerate() {
            // The first board is the one in which nothing is done.
            let board = if (*temperature, *top_p) == (1.0, 1.0) {
                0
            } else {
                next += 1;
                next
            };
            if let Some(start) = starts.get(board) {
                found.push((t, p, *start, board));
            }
        }
    }
    found
}

/// What temperature and top-p change, and what they leave alone.
pub fn sampling(w: &mut Writer<'_>) {
    let Some(first) = w.facts.candidates.first() else { return };
    w.section("sampling");
    let boards = boards(w);
    let at = |i: usize, column| At::of("candidates", i, column);
    let of = |t: usize, p: usize| boards.iter().find(|(a, b, ..)| (*a, *b) == (t, p)).copied();
    if let (Some((.., cold, _)), Some((.., hot, _)), Some((.., pool))) = (of(0, 0), of(2, 0), of(1, 1)) {
        let tempered = |i: usize| at(i, "prob_tempered").percent(w.facts.candidates[i].prob_tempered);
        let put = [
            ("token", token(first.token.as_deref().unwrap_or_default())),
            ("t0", w.made("temperature", Some(0), At::number)),
            ("t2", w.made("temperature", Some(2), At::number)),
            ("p0", tempered(cold)),
            ("p1", at(0, "prob").percent(first.prob)),
            ("p2", tempered(hot)),
        ];
        w.answers("9", "sampling.temperature", &put);
        let put = [
            ("p", w.made("top_p", Some(1), At::number)),
            ("kept", At::of("next", pool, "kept").count(f64::from(w.facts.next[pool].kept))),
            ("v", w.count("vocabulary")),
        ];
        w.answers("9", "sampling.top_p", &put);
        if let (1, Some((.., hot))) = (w.facts.next[pool].kept, of(2, 1)) {
            let put = [
                ("token", token(first.token.as_deref().unwrap_or_default())),
                ("p1", at(0, "prob").percent(first.prob)),
                ("p", w.made("top_p", Some(1), At::number)),
                ("t", w.made("temperature", Some(2), At::number)),
                ("kept", At::of("next", hot, "kept").count(f64::from(w.facts.next[hot].kept))),
            ];
            w.p("sampling.single", &put);
        }
    }
    w.answers(
        "9",
        "sampling.alone",
        &[
            ("token", token(first.token.as_deref().unwrap_or_default())),
            ("logit", at(0, "logit").number(f64::from(first.logit.unwrap_or(0.0)))),
        ],
    );
    figure::begin(w);
    let name = w.id("board");
    let _ = write!(w.out, "<fieldset class=\"boards\"><legend>{}</legend>", w.plain("sampling.choose"));
    for (n, (t, p, ..)) in boards.iter().enumerate() {
        let id = w.id(&format!("b{n}"));
        let checked = if (*t, *p) == (1, 0) { " checked=\"\"" } else { "" };
        let put = [
            ("t", w.made("temperature", Some(*t as u32), At::number)),
            ("p", w.made("top_p", Some(*p as u32), At::number)),
        ];
        let label = w.say("sampling.label", &put);
        let _ = write!(
            w.out,
            "<input type=\"radio\" name=\"{name}\" id=\"{id}\" class=\"r r{n}\"{checked}/><label for=\"{id}\">{label}</label>"
        );
    }
    for (n, board) in boards.iter().enumerate() {
        let html = panel(w, *board);
        let _ = write!(w.out, "<div class=\"panel p{n}\">{html}</div>");
    }
    w.raw("</fieldset>");
    sliders(w);
    let caption = w.say("sampling.caption", &[]);
    figure::end(w, &caption);
    let logit = at(0, "logit").number(f64::from(first.logit.unwrap_or(0.0)));
    let after = of(2, 0).map_or_else(String::new, |(.., i, _)| {
        at(i, "logit_after").number(w.facts.candidates[i].logit_after.unwrap_or(0.0))
    });
    let put = [("logit", logit), ("t", w.made("temperature", Some(2), At::number)), ("after", after)];
    let closer = format!("<p>{}</p>", w.say("sampling.closer", &put));
    w.close("sampling", &closer, w.facts.command("sampling"));
}

/// One board: what can be drawn, and with which probability.
fn panel(w: &Writer<'_>, (t, p, start, board): (usize, usize, usize, usize)) -> String {
    let rows = &w.facts.candidates[start..(start + BOARD + 1).min(w.facts.candidates.len())];
    let rows: Vec<_> = rows.iter().enumerate().take_while(|(i, row)| *i == 0 || row.rank != 1).collect();
    let at = |i: usize, column| At::of("candidates", start + i, column);
    let lines: Vec<Vec<String>> = (rows.iter())
        .map(|(i, row)| {
            let drawn = match row.kept {
                true => at(*i, "prob_sampled").percent(row.prob_sampled),
                false => w.plain("sampling.cut").to_owned(),
            };
            vec![candidate(w, row, start + i), figure::bar(row.prob_sampled, "one"), drawn]
        })
        .collect();
    let put = [
        ("t", w.made("temperature", Some(t as u32), At::number)),
        ("p", w.made("top_p", Some(p as u32), At::number)),
        ("kept", At::of("next", board, "kept").count(f64::from(w.facts.next[board].kept))),
    ];
    let columns = ["col.candidate", "col.bar", "col.drawn"].map(|key| w.plain(key).to_owned());
    let table = figure::table_html(&escape(w.plain("sampling.figure")), &columns, &lines);
    format!("<p>{}</p>{table}", w.say("sampling.panel", &put))
}

/// Two sliders for a script. Its numbers are those of the tables: logits of the board, and what all others come to at each temperature.
fn sliders(w: &mut Writer<'_>) {
    let facts = w.facts;
    let own: Vec<_> = facts.candidates.iter().take(BOARD).filter(|row| row.logit.is_some()).collect();
    let most = own.first().and_then(|row| row.logit).unwrap_or(0.0);
    let logits: Vec<String> = own.iter().map(|row| format!("{:.4}", row.logit.unwrap_or(0.0) - most)).collect();
    let beyond: Vec<String> = (1..=TENTHS)
        .map(|tenth| facts.number("beyond", Some(tenth)).map_or("-700".into(), |(_, row)| format!("{:.4}", row.value)))
        .collect();
    let (t, p) = (w.id("t"), w.id("p"));
    let _ = write!(
        w.out,
        "<div class=\"try\" hidden=\"\" data-logits=\"{}\" data-beyond=\"{}\"><p><label for=\"{t}\">{}</label> <input id=\"{t}\" type=\"range\" min=\"0.1\" max=\"2\" step=\"0.05\" value=\"1\"/> <output for=\"{t}\"></output></p><p><label for=\"{p}\">{}</label> <input id=\"{p}\" type=\"range\" min=\"0.05\" max=\"1\" step=\"0.01\" value=\"1\"/> <output for=\"{p}\"></output></p>",
        logits.join(" "),
        beyond.join(" "),
        w.plain("sampling.slide.t"),
        w.plain("sampling.slide.p"),
    );
    let lines: Vec<Vec<String>> = (own.iter())
        .map(|row| {
            vec![
                token(row.token.as_deref().unwrap_or_default()),
                figure::bar(0.0, "one"),
                "<span class=\"q\"></span>".to_owned(),
            ]
        })
        .chain([vec![
            w.plain("sampling.rest").to_owned(),
            figure::bar(0.0, "many"),
            "<span class=\"q\"></span>".to_owned(),
        ]])
        .collect();
    let columns = ["col.candidate", "col.bar", "col.drawn"].map(|key| w.plain(key).to_owned());
    let table = figure::table_html(&escape(w.plain("sampling.live")), &columns, &lines);
    w.raw(&table);
    w.raw("</div>");
}
