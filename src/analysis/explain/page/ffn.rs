//! What the feed-forward network added.

use super::figure;
use super::write::{At, Writer, escape, token};
use crate::analysis::explain::claims::stands_out;

/// What the neurons did.
pub fn ffn(w: &mut Writer<'_>) {
    w.section("ffn");
    let facts = w.facts;
    if facts.neurons.is_empty() {
        w.answers("6", "ffn.none", &[("layers", w.count("layers"))]);
        w.close("ffn", "", &[]);
        return;
    }
    if facts.spec.blocks.iter().filter_map(|block| block.mlp.as_ref()).any(|mlp| mlp.inner.experts().is_some()) {
        w.p("ffn.experts", &[("n", w.count("experts")), ("k", w.count("experts_used"))]);
    }
    let layer = |i: usize, column| At::of("neuron_layers", i, column);
    let at = |i: usize, column| At::of("neurons", i, column);
    let pushes: Vec<f64> = facts.neuron_layers.iter().map(|row| row.push).collect();
    let strongest = (0..pushes.len()).reduce(|a, b| if pushes[b].abs() > pushes[a].abs() { b } else { a });
    if let Some(i) = strongest {
        let row = &facts.neuron_layers[i];
        let key = if stands_out(&pushes).is_some() { "ffn.a" } else { "ffn.nothing" };
        let put = [
            ("layer", layer(i, "layer").count(f64::from(row.layer))),
            ("push", layer(i, "push").signed(row.push)),
            ("target", token(&row.target)),
            ("n", w.count("d_mlp")),
        ];
        w.answers("6", key, &put);
        let put = [
            ("layer", layer(i, "layer").count(f64::from(row.layer))),
            ("of", w.count("neurons_shown")),
            ("shown", layer(i, "shown").count(f64::from(row.shown))),
            ("share", layer(i, "shown_share").percent(row.shown_share)),
            ("rest", w.made("rest_of_mlp", Some(row.layer), At::percent)),
        ];
        w.answers("6", "ffn.spread", &put);
    }
    w.p("ffn.fact", &[]);
    let most = facts.neurons.iter().map(|row| row.push.abs()).fold(1e-12, f64::max);
    let lines: Vec<Vec<String>> = (facts.neurons.iter().enumerate())
        .map(|(i, row)| {
            let expert = row.expert.map_or_else(String::new, |e| format!("{}.", at(i, "expert").count(f64::from(e))));
            let number = at(i, "neuron").shows(f64::from(row.neuron), &row.neuron.to_string());
            vec![
                format!("{}.{expert}{number}", at(i, "layer").count(f64::from(row.layer))),
                at(i, "post").number(row.post),
                format!("{}{}", figure::signed(row.push, most), at(i, "push").signed(row.push)),
                at(i, "share_of_mlp").percent(row.share_of_mlp),
                token(&row.promotes),
            ]
        })
        .collect();
    figure::begin(w);
    let columns =
        ["col.neuron", "col.active", "col.pushed", "col.share", "col.promotes"].map(|key| w.plain(key).to_owned());
    figure::table(w, &escape(w.plain("ffn.figure")), &columns, &lines);
    let caption = w.say("ffn.caption", &[("n", w.count("d_mlp"))]);
    figure::end(w, &caption);
    let row = &facts.neurons[0];
    let put = [
        ("layer", at(0, "layer").count(f64::from(row.layer))),
        ("neuron", at(0, "neuron").shows(f64::from(row.neuron), &row.neuron.to_string())),
        ("pre", at(0, "pre").number(row.pre)),
        ("post", at(0, "post").number(row.post)),
        ("gate", row.gate.map_or_else(String::new, |gate| at(0, "gate").number(gate))),
        ("length", at(0, "write_norm").number(row.write_norm)),
        ("push", at(0, "push").signed(row.push)),
    ];
    let key = if row.gate.is_some() { "ffn.closer.gated" } else { "ffn.closer" };
    let closer = format!("<p>{}</p>", w.say(key, &put));
    w.close("ffn", &closer, facts.command("neurons"));
}
