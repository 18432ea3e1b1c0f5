//! Why a longer prompt costs more, and why a good one can still yield a wrong answer.

use super::figure;
use super::write::{At, Writer, escape, token};
use crate::analysis::CostTotalRow;

/// Why it costs more, and why it can be wrong.
pub fn cost(w: &mut Writer<'_>) {
    w.section("cost");
    let facts = w.facts;
    let pass = if facts.spec.is_causal() { "token" } else { "prompt" };
    let rows: Vec<(usize, &CostTotalRow)> = facts.cost.iter().enumerate().filter(|(_, row)| row.pass == pass).collect();
    let at = |i: usize, column| At::of("cost_total", i, column);
    let flops = |i: usize, row: &CostTotalRow| at(i, "flops").amount(row.flops as f64, "FLOP");
    if let (Some((a, first)), Some((b, last))) = (rows.first(), rows.last()) {
        let put = [
            ("n", at(*a, "tokens").count(first.tokens as f64)),
            ("flops", flops(*a, first)),
            ("kv", at(*a, "kv_bytes").amount(first.kv_bytes as f64, "B")),
            ("each", at(*a, "kv_bytes_per_token").amount(first.kv_bytes_per_token as f64, "B")),
            ("m", at(*b, "tokens").count(last.tokens as f64)),
            ("flops2", flops(*b, last)),
            ("kv2", at(*b, "kv_bytes").amount(last.kv_bytes as f64, "B")),
        ];
        let key = if facts.spec.is_causal() { "cost.a" } else { "cost.whole" };
        w.answers("10", key, &put);
    }
    figure::begin(w);
    let most = rows.iter().map(|(_, row)| row.flops).max().unwrap_or(1).max(1) as f64;
    let lines: Vec<Vec<String>> = (rows.iter())
        .map(|(i, row)| {
            vec![
                at(*i, "tokens").count(row.tokens as f64),
                format!("{}{}", figure::bar(row.flops as f64 / most, "one"), flops(*i, row)),
                format!(
                    "{}{}",
                    figure::bar(row.attention_flops as f64 / most, "two"),
                    at(*i, "attention_flops").amount(row.attention_flops as f64, "FLOP")
                ),
                at(*i, "kv_bytes").amount(row.kv_bytes as f64, "B"),
            ]
        })
        .collect();
    let columns = ["col.context", "col.flops", "col.lookback", "col.cache"].map(|key| w.plain(key).to_owned());
    figure::table(w, &escape(w.plain("cost.figure")), &columns, &lines);
    let caption = w.say("cost.caption", &[]);
    figure::end(w, &caption);
    if let Some(first) = facts.candidates.first() {
        let put = [
            ("token", token(first.token.as_deref().unwrap_or_default())),
            ("p", At::of("candidates", 0, "prob").percent(first.prob)),
            ("rest", w.made("not_first", None, At::percent)),
            ("twenty", w.made("twenty", None, At::percent)),
        ];
        let name = w.plain("cost.wrong.q");
        w.raw(&format!("<h3>{name}</h3>"));
        w.answers("10", "cost.wrong", &put);
        w.p("cost.truth", &[]);
    }
    let closer = rows.first().map_or_else(String::new, |(i, row)| {
        let put = [
            ("parameters", w.count("parameters")),
            ("attention", at(*i, "attention_flops").amount(row.attention_flops as f64, "FLOP")),
            ("flops", flops(*i, row)),
        ];
        let crossover = row.crossover_tokens.map_or_else(
            || w.plain("cost.never").to_owned(),
            |n| w.say("cost.crossover", &[("n", at(*i, "crossover_tokens").count(n as f64))]),
        );
        format!("<p>{}</p><p>{crossover}</p>", w.say("cost.closer", &put))
    });
    w.close("cost", &closer, facts.command("cost"));
}
