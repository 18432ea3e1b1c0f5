//! The mechanisms in which models differ, with this model's entries and what each choice changes; and, where there is one, a second model's.

use super::figure;
use super::write::{At, Writer, escape, token};
use crate::arch::Spec;
use crate::arch::spec::{AddedTo, Gain, Mask, NormKind, Position};

/// The mechanisms, from the input to the output.
pub const MECHANISMS: [&str; 10] =
    ["vocabulary", "positions", "grouping", "norm", "place", "mlp", "experts", "window", "caps", "tying"];

/// Numbers and strings of one model.
struct Of<'a, 'b> {
    w: &'a Writer<'b>,
    model: &'a str,
    spec: &'a Spec,
}

impl Of<'_, '_> {
    fn made(&self, name: &str, how: fn(At, f64) -> String) -> String {
        let own = |row: &crate::analysis::explain::ExplainRow| {
            row.model == self.model && row.name == name && row.place.is_none()
        };
        let found = self.w.facts.numbers.iter().enumerate().find(|(_, row)| own(row));
        found.map_or_else(|| "–".to_owned(), |(i, row)| how(At::of("explain", i, "value"), row.value))
    }

    fn count(&self, name: &str) -> String {
        self.made(name, At::count)
    }

    /// The model's entry for one mechanism.
    fn entry(&self, mechanism: &str) -> String {
        let (w, spec, block) = (self.w, self.spec, &self.spec.blocks[0]);
        let attention = &block.attention.inner;
        let say = |key: &str, put: &[(&str, String)]| w.say(key, put);
        match mechanism {
            "vocabulary" => say("m.vocabulary.is", &[("n", self.count("vocabulary"))]),
            "positions" => {
                let learned = spec.embedding.positions.map(|of| match of.added_to {
                    AddedTo::Stream => "m.positions.learned",
                    AddedTo::QueriesAndKeys => "m.positions.learned-qk",
                });
                let own = match attention.position {
                    Position::Rotary(_) => Some("m.positions.rotary"),
                    Position::Alibi => Some("m.positions.alibi"),
                    Position::None => None,
                };
                let key = own.or(learned).unwrap_or("m.positions.none");
                let put = [("rows", self.count("learned_positions")), ("theta", self.made("theta", At::number))];
                say(key, &put)
            }
            "grouping" => {
                let key = if attention.shared_by() > 1 { "m.grouping.shared" } else { "m.grouping.own" };
                let put = [("n", self.count("heads")), ("kv", self.count("kv_heads")), ("e", self.count("d_head"))];
                say(key, &put)
            }
            "norm" => {
                let norm = block.attention.pre_norm.or(block.attention.post_norm).or(spec.final_norm);
                let key = match norm.map(|norm| (norm.kind, norm.gain)) {
                    None => "m.norm.none",
                    Some((NormKind::Layer, _)) => "m.norm.layer",
                    Some((NormKind::Rms, Gain::OnePlusWeight)) => "m.norm.rms1",
                    Some((NormKind::Rms, _)) => "m.norm.rms",
                };
                say(key, &[])
            }
            "place" => {
                let key = match (block.attention.pre_norm.is_some(), block.attention.post_norm.is_some()) {
                    (true, true) => "m.place.both",
                    (true, false) => "m.place.before",
                    (false, true) => "m.place.after",
                    (false, false) => "m.place.none",
                };
                say(key, &[])
            }
            "mlp" => match spec.blocks.iter().find_map(|block| block.mlp.as_ref()) {
                None => say("m.mlp.none", &[]),
                Some(mlp) => {
                    let key = if mlp.inner.neurons().gated { "m.mlp.gated" } else { "m.mlp.plain" };
                    say(key, &[("n", self.count("d_mlp"))])
                }
            },
            "experts" => {
                let any =
                    spec.blocks.iter().filter_map(|block| block.mlp.as_ref()).any(|mlp| mlp.inner.experts().is_some());
                let put = [("n", self.count("experts")), ("k", self.count("experts_used"))];
                say(if any { "m.experts.some" } else { "m.experts.none" }, &put)
            }
            "window" => {
                let masks = || spec.blocks.iter().map(|block| block.attention.inner.mask);
                let key = match masks().find(|mask| matches!(mask, Mask::Window(_))) {
                    Some(_) => "m.window.some",
                    None if masks().any(|mask| mask == Mask::Bidirectional) => "m.window.both",
                    None => "m.window.none",
                };
                say(key, &[("n", self.count("window")), ("k", self.count("windowed_layers"))])
            }
            "caps" => {
                let key = match (attention.cap.is_some(), spec.unembedding.cap.is_some()) {
                    (true, true) => "m.caps.both",
                    (true, false) => "m.caps.score",
                    (false, true) => "m.caps.logit",
                    (false, false) => "m.caps.none",
                };
                let put = [("s", self.made("score_cap", At::number)), ("l", self.made("logit_cap", At::number))];
                say(key, &put)
            }
            _ => say(if spec.unembedding.tied { "m.tying.tied" } else { "m.tying.own" }, &[]),
        }
    }
}

/// The section.
pub fn mechanisms(w: &mut Writer<'_>) {
    w.section("mechanisms");
    let facts = w.facts;
    let put = [("layers", w.count("layers")), ("d", w.count("d_model")), ("n", w.count("parameters"))];
    w.p("mechanisms.a", &put);
    let own = Of { w, model: &facts.model, spec: &facts.spec };
    let beside = facts.beside.as_ref().map(|of| Of { w, model: &of.model, spec: &of.spec });
    let lines: Vec<Vec<String>> = MECHANISMS
        .iter()
        .map(|name| {
            let mut line = vec![w.plain(&format!("m.{name}")).to_owned(), own.entry(name)];
            line.extend(beside.as_ref().map(|of| of.entry(name)));
            line.push(w.plain(&format!("m.{name}.changes")).to_owned());
            line
        })
        .collect();
    let mut columns = vec![w.plain("col.mechanism").to_owned(), token(&facts.model)];
    columns.extend(facts.beside.as_ref().map(|of| token(&of.model)));
    columns.push(w.plain("col.changes").to_owned());
    figure::begin(w);
    figure::table(w, &escape(w.plain("mechanisms.figure")), &columns, &lines);
    let caption = w.say("mechanisms.caption", &[]);
    figure::end(w, &caption);
    w.close("mechanisms", "", facts.command("model"));
    compare(w);
}

/// What a second model says of the same text.
fn compare(w: &mut Writer<'_>) {
    let facts = w.facts;
    let Some(beside) = &facts.beside else { return };
    w.section("compare");
    let at = |i: usize| At::of("explain", i, "value");
    let rows = |name: &str| -> Vec<usize> {
        let own = |row: &crate::analysis::explain::ExplainRow| row.model == beside.model && row.name == name;
        facts.numbers.iter().enumerate().filter(|(_, row)| own(row)).map(|(i, _)| i).collect()
    };
    let other = Of { w, model: &beside.model, spec: &beside.spec };
    let put = [
        ("a", token(&facts.model)),
        ("n", w.count("tokens")),
        ("b", token(&beside.model)),
        ("m", other.count("tokens")),
    ];
    w.p("compare.a", &put);
    figure::begin(w);
    w.raw("<ol class=\"toks\">");
    for (i, row) in facts.tokens.iter().enumerate().filter(|(_, row)| row.model == beside.model) {
        let id = At::of("tokens", i, "token_id").shows(f64::from(row.token_id), &row.token_id.to_string());
        w.raw(&format!("<li>{}{id}</li>", token(&row.text)));
    }
    w.raw("</ol>");
    let caption = w.say("compare.tokens", &[("b", token(&beside.model))]);
    figure::end(w, &caption);
    let probs = rows("prob");
    let lines: Vec<Vec<String>> = (facts.candidates.iter().take(10).enumerate())
        .map(|(i, row)| {
            let own = At::of("candidates", i, "prob").percent(row.prob);
            let (name, theirs) = probs.get(i).map_or_else(
                || ("–".to_owned(), "–".to_owned()),
                |at_row| {
                    let of = &facts.numbers[*at_row];
                    (of.token.as_deref().map_or_else(|| "–".to_owned(), token), at(*at_row).percent(of.value))
                },
            );
            let rank = At::of("candidates", i, "rank").count(f64::from(row.rank));
            vec![rank, row.token.as_deref().map_or("–".to_owned(), token), own, name, theirs]
        })
        .collect();
    if !lines.is_empty() {
        figure::begin(w);
        let (a, b) = (token(&facts.model), token(&beside.model));
        let columns =
            [w.plain("col.rank").to_owned(), a, w.plain("col.prob").to_owned(), b, w.plain("col.prob").to_owned()];
        figure::table(w, &escape(w.plain("compare.board")), &columns, &lines);
        let caption = w.say("compare.board.caption", &[]);
        figure::end(w, &caption);
    }
    let pushes = rows("push");
    let most = pushes.iter().map(|i| facts.numbers[*i].value.abs()).fold(1e-12, f64::max);
    let lines: Vec<Vec<String>> = (pushes.iter().zip(&beside.residual))
        .map(|(i, row)| {
            let layer = row.layer.map_or_else(String::new, |layer| format!("<code>{layer}</code> "));
            let value = facts.numbers[*i].value;
            vec![
                format!("{layer}{}", w.plain(&format!("stroke.{}", row.kind))),
                format!("{}{}", figure::signed(value, most), at(*i).signed(value)),
            ]
        })
        .collect();
    figure::begin(w);
    let columns = ["col.stroke", "col.pushed"].map(|key| w.plain(key).to_owned());
    figure::table(w, &escape(w.plain("compare.strokes")), &columns, &lines);
    let target = beside.residual.first().map_or_else(String::new, |row| token(&row.target));
    let caption = w.say("compare.strokes.caption", &[("b", token(&beside.model)), ("target", target)]);
    figure::end(w, &caption);
    w.close("compare", "", &[]);
}
