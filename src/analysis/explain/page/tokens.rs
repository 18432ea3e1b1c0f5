//! The model reads integers.

use std::fmt::Write as _;

use super::figure;
use super::write::{At, Writer, escape, token};
use crate::analysis::explain::word;

/// More merges are not shown.
const MERGES: usize = 40;

/// What the model received.
pub fn tokens(w: &mut Writer<'_>) {
    w.section("tokens");
    let facts = w.facts;
    let own: Vec<_> = facts.tokens.iter().enumerate().filter(|(_, row)| row.model == facts.model).collect();
    let first = own
        .first()
        .map_or_else(String::new, |(at, row)| At::of("tokens", *at, "token_id").count(f64::from(row.token_id)));
    let first_token = own.first().map_or_else(String::new, |(_, row)| token(&row.text));
    w.answers("1", "tokens.a", &[("n", w.count("tokens")), ("first", first_token), ("id", first)]);
    if let Some(counts) = facts.counts.first() {
        let at = |column| At::of("token_counts", 0, column);
        if let Some(chars) = counts.chars {
            let put = [
                ("chars", at("chars").count(f64::from(chars))),
                ("n", at("tokens").count(f64::from(counts.tokens))),
                ("v", at("vocabulary").count(f64::from(counts.vocabulary))),
            ];
            w.p("tokens.counts", &put);
        }
        if counts.added > 0 {
            w.p("tokens.added", &[("n", at("added").count(f64::from(counts.added)))]);
        }
    } else {
        w.p("tokens.none", &[]);
    }
    if own.iter().any(|(_, row)| row.is_partial && !row.special) {
        w.p("tokens.partial", &[]);
    }
    figure::begin(w);
    w.raw("<ol class=\"toks\">");
    for (at, row) in &own {
        let id = At::of("tokens", *at, "token_id").shows(f64::from(row.token_id), &row.token_id.to_string());
        let class = if row.special { " class=\"added\"" } else { "" };
        let _ = write!(w.out, "<li{class}>{}{id}</li>", token(&row.text));
    }
    w.raw("</ol>");
    let caption = w.say("tokens.caption", &[]);
    figure::end(w, &caption);
    let of = word(&facts.prompt);
    if let Some(of) = &of {
        let (letter, text) = (token(&of.letter), token(&of.word));
        let put = [
            ("word", text),
            ("letter", letter),
            ("k", w.count("letter_in_word")),
            ("m", w.count("word_tokens")),
            ("with", w.count("word_tokens_with")),
            ("are", w.count("word_tokens_that_are")),
        ];
        w.answers("2", "tokens.letters", &put);
        w.answers("2", "tokens.honest", &[("k", w.count("letter_in_word")), ("layers", w.count("layers"))]);
    } else {
        w.answers("2", "tokens.ids", &[("n", w.count("tokens")), ("layers", w.count("layers"))]);
    }
    let merges = match (&facts.unmerged, facts.merges.is_empty()) {
        (Some(kind), _) => format!("<p>{}</p>", w.say("tokens.unmerged", &[("kind", escape(kind))])),
        (None, true) => String::new(),
        (None, false) => {
            let places = of.map_or(0..u32::MAX, |of| of.tokens.start as u32..of.tokens.end as u32);
            let within = |pos: u32| places.contains(&pos);
            let rows: Vec<Vec<String>> = (facts.merges.iter().enumerate())
                .filter(|(_, row)| within(row.pos))
                .take(MERGES)
                .map(|(i, row)| {
                    let part = |text: &Option<String>| text.as_deref().map_or("–".into(), token);
                    let rank = |rank| At::of("token_merges", i, "rank").count(f64::from(rank));
                    vec![part(&row.left), part(&row.right), token(&row.merged), row.rank.map_or("–".into(), rank)]
                })
                .collect();
            let columns = ["col.left", "col.right", "col.merged", "col.rank"].map(|key| w.plain(key).to_owned());
            let table = figure::table_html(&escape(w.plain("tokens.merges")), &columns, &rows);
            let said = if rows.is_empty() { String::new() } else { table };
            format!("<p>{}</p>{said}", w.say("tokens.closer", &[]))
        }
    };
    let command = facts.command("tokens").to_vec();
    w.close("tokens", &merges, &command);
}
