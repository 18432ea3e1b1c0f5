//! Each layer adds a stroke.

use super::figure;
use super::write::{At, Writer, escape, token};
use crate::analysis::LensRow;
use crate::analysis::explain::claims::{decided, furthest, stands_out};
use crate::analysis::residual::rows::ResidualRow;

fn at(i: usize, column: &'static str) -> At {
    At::of("residual", i, column)
}

/// What a stroke is called: its kind and its layer.
fn name(w: &Writer<'_>, i: usize, row: &ResidualRow) -> String {
    let kind = w.plain(&format!("stroke.{}", row.kind));
    row.layer.map_or_else(|| kind.to_owned(), |layer| format!("{} {kind}", at(i, "layer").count(f64::from(layer))))
}

/// In which layer the answer came first, and which strokes pushed it.
pub fn stream(w: &mut Writer<'_>) {
    w.section("stream");
    let facts = w.facts;
    let Some(top) = facts.residual.first() else { return };
    let target = token(&top.target);
    if let Some(layer) = facts.decided() {
        let key = match decided(layer, facts.spec.n_layers()) {
            true => "stream.early",
            false => "stream.last",
        };
        let put = [("layer", w.count("decided")), ("n", w.count("layers")), ("target", target.clone())];
        w.answers("7", key, &put);
    }
    let strokes: Vec<(usize, &ResidualRow)> =
        facts.residual.iter().enumerate().filter(|(_, row)| row.kind != "bias").collect();
    let pushes: Vec<f64> = strokes.iter().map(|(_, row)| row.push).collect();
    let strongest = (0..pushes.len()).reduce(|a, b| if pushes[b].abs() > pushes[a].abs() { b } else { a });
    let all = facts.residual.len() - 1;
    if let Some((i, row)) = strongest.map(|i| strokes[i]) {
        let key = if stands_out(&pushes).is_some() { "stream.strongest" } else { "stream.nothing" };
        let put = [
            ("stroke", name(w, i, row)),
            ("push", at(i, "push").signed(row.push)),
            ("all", at(all, "push_cumulative").signed(facts.residual[all].push_cumulative)),
            ("target", target.clone()),
            ("n", w.count("strokes")),
        ];
        w.answers("7", key, &put);
    }
    let (towards, away) = furthest(&pushes);
    let named = |i: usize| {
        let (row, of) = strokes[i];
        format!("{} ({})", name(w, row, of), at(row, "push").signed(of.push))
    };
    if !towards.is_empty() {
        let list = towards.into_iter().map(named).collect::<Vec<_>>().join(w.plain("list"));
        let put = [("list", list), ("target", target.clone()), ("away", away.map_or_else(String::new, named))];
        w.answers("7", if away.is_some() { "stream.furthest" } else { "stream.towards" }, &put);
    }
    w.p("stream.strokes", &[("n", w.count("strokes")), ("against", w.count("against")), ("target", target.clone())]);
    let most = pushes.iter().map(|push| push.abs()).fold(1e-12, f64::max);
    let lines: Vec<Vec<String>> = (facts.residual.iter().enumerate())
        .map(|(i, row)| {
            let lens = row.lens_token.as_deref().zip(row.lens_prob).map_or("–".to_owned(), |(text, prob)| {
                format!("{} {}", token(text), at(i, "lens_prob").percent(prob))
            });
            vec![
                name(w, i, row),
                format!("{}{}", figure::signed(row.push, most), at(i, "push").signed(row.push)),
                at(i, "push_cumulative").signed(row.push_cumulative),
                lens,
                row.write_norm.map_or("–".into(), |norm| at(i, "write_norm").number(norm)),
            ]
        })
        .collect();
    figure::begin(w);
    let columns =
        ["col.stroke", "col.pushed", "col.together", "col.lens", "col.length"].map(|key| w.plain(key).to_owned());
    figure::table(w, &escape(w.plain("stream.figure")), &columns, &lines);
    let caption = w.say("stream.caption", &[("target", target.clone())]);
    figure::end(w, &caption);
    ranks(w, &target);
    let bias = at(all, "push_cumulative").signed(facts.residual[all].push_cumulative);
    let put = [
        ("embed", w.made("push_embed", None, At::signed)),
        ("attn", w.made("push_attn", None, At::signed)),
        ("mlp", w.made("push_mlp", None, At::signed)),
        ("pos", w.made("push_pos", None, At::signed)),
        ("bias", w.made("push_bias", None, At::signed)),
        ("all", bias.clone()),
        ("gap", w.made("gap", None, At::percent)),
        ("target", target.clone()),
    ];
    let mean = facts.number("mean_logit", None).map_or_else(String::new, |_| {
        let put = [
            ("logit", w.made("target_logit", None, At::number)),
            ("mean", w.made("mean_logit", None, At::number)),
            ("target", target),
        ];
        format!("<p>{}</p>", w.say("stream.mean", &put))
    });
    let closer = format!("<p>{}</p>{mean}", w.say("stream.closer", &put));
    w.close("stream", &closer, facts.command("residual"));
}

/// Layers by positions: the place of the token that was chosen in the end.
fn ranks(w: &mut Writer<'_>, target: &str) {
    let facts = w.facts;
    let n = facts.prompt.tokens.len() as u32;
    // As many as are seen beside one another: the last is the one that decides.
    let from = n.saturating_sub(8);
    let mut layers: Vec<u32> = facts.lens.iter().filter_map(|row| row.layer).collect();
    layers.dedup();
    layers.sort_unstable();
    layers.dedup();
    let cell = |layer: u32, pos: u32| -> Option<(usize, &LensRow)> {
        let own = |row: &LensRow| row.layer == Some(layer) && row.pos == pos && row.rank == 1;
        facts.lens.iter().enumerate().find(|(_, row)| own(row))
    };
    let mut columns = vec![w.plain("col.layer").to_owned()];
    columns.extend((from..n).map(|pos| token(&facts.prompt.tokens[pos as usize].text)));
    let lines: Vec<Vec<String>> = (layers.iter().rev())
        .map(|layer| {
            let mut line = vec![
                cell(*layer, n - 1)
                    .map_or_else(String::new, |(i, _)| At::of("logit_lens", i, "layer").count(f64::from(*layer))),
            ];
            for pos in from..n {
                line.push(cell(*layer, pos).map_or("–".to_owned(), |(i, row)| {
                    let Some(rank) = row.target_rank else { return "–".to_owned() };
                    let shown = At::of("logit_lens", i, "target_rank").count(f64::from(rank));
                    let shade = match rank {
                        1 => 9,
                        2..=9 => 6,
                        10..=99 => 3,
                        _ => 0,
                    };
                    format!("<span class=\"cell c{shade}\">{shown}</span>")
                }));
            }
            line
        })
        .collect();
    figure::begin(w);
    figure::table(w, &escape(w.plain("stream.ranks")), &columns, &lines);
    let caption = w.say("stream.ranks.caption", &[("target", target.to_owned())]);
    figure::end(w, &caption);
}
