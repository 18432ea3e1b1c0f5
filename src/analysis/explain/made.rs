//! Numbers that are made of other tables' numbers, of the architecture and of logits: those that the page shows and no other table has.

use super::claims::{rests, unlike};
use super::facts::{BOARD, Facts, TEMPERATURES, TOP_P};
use super::rows::ExplainRow;
use crate::arch::Spec;
use crate::arch::spec::{Mask, Position};
use crate::text::Prompt;

/// Temperatures for which it is known what all tokens beyond the board come to: tenths, from 1 to this.
pub const TENTHS: u32 = 20;

/// A letter of a word, counted.
pub struct Letter {
    /// The word.
    pub word: String,
    /// The letter that it has most of.
    pub letter: String,
    /// How many of that letter it has.
    pub n: usize,
    /// Of which tokens the word is.
    pub tokens: std::ops::Range<usize>,
}

/// The word of a text that has most of one letter, of equals the longest, and the letter.
pub fn letter(prompt: &Prompt) -> Option<Letter> {
    let text = prompt.text.as_deref()?;
    let (mut best, mut start) = (None::<(usize, usize, usize, char)>, 0);
    for word in text.split(|c: char| !c.is_alphabetic()) {
        let at = start;
        start += word.len() + text[at + word.len()..].chars().next().map_or(0, char::len_utf8);
        let (lower, size) = (word.to_lowercase(), word.chars().count());
        let count = |c: char| lower.chars().filter(|other| *other == c).count();
        let Some(most) = lower.chars().reduce(|a, b| if count(b) > count(a) { b } else { a }) else { continue };
        let found = (count(most), size, at, most);
        if size > 1 && best.is_none_or(|(n, long, ..)| (found.0, size) > (n, long)) {
            best = Some(found);
        }
    }
    let (n, size, at, most) = best?;
    let word: String = text[at..].chars().take(size).collect();
    let range = at..at + word.len();
    let within = |pos: &usize| {
        prompt.tokens[*pos].bytes.as_ref().is_some_and(|own| own.start < range.end && own.end > range.start)
    };
    let places: Vec<usize> = (0..prompt.tokens.len()).filter(within).collect();
    let tokens = *places.first()?..*places.last()? + 1;
    Some(Letter { word, letter: most.to_string(), n, tokens })
}

/// Takes numbers of one model.
struct Taker<'a> {
    model: &'a str,
    rows: Vec<ExplainRow>,
}

impl Taker<'_> {
    fn all(&mut self, name: &str, place: Option<u32>, token: Option<(String, u32)>, value: f64, unit: &str, how: &str) {
        let (token, token_id) = token.unzip();
        let (model, name) = (self.model.to_owned(), name.to_owned());
        self.rows.push(ExplainRow {
            model,
            name,
            place,
            token,
            token_id,
            value,
            unit: unit.to_owned(),
            how: how.to_owned(),
        });
    }

    fn one(&mut self, name: &str, value: f64, unit: &str, how: &str) {
        self.all(name, None, None, value, unit, how);
    }

    fn at(&mut self, name: &str, place: u32, value: f64, unit: &str, how: &str) {
        self.all(name, Some(place), None, value, unit, how);
    }
}

/// Makes all of them. `logits` are those after the last position; `surprise` is the mean of the text's tokens, where it says whether the model
/// learnt such texts.
pub fn numbers(facts: &mut Facts, logits: &[f32], surprise: Option<f64>) {
    let model = facts.model.clone();
    let mut own = Taker { model: &model, rows: vec![] };
    sizes(&mut own, &facts.spec);
    own.one("tokens", facts.prompt.tokens.len() as f64, "tokens", "rows of `tokens`");
    words(&mut own, facts);
    board(&mut own, facts, logits);
    strokes(&mut own, facts, logits);
    looks(&mut own, facts);
    traces(&mut own, facts);
    foreseen(&mut own, facts.spec.unembedding.d_vocab_out, surprise);
    let mut rows = own.rows;
    if let Some(beside) = &facts.beside {
        let mut other = Taker { model: &beside.model, rows: vec![] };
        sizes(&mut other, &beside.spec);
        let n = facts.tokens.iter().filter(|row| row.model == beside.model).count();
        other.one("tokens", n as f64, "tokens", "rows of `tokens`");
        for row in &beside.candidates {
            let token = row.token.clone().zip(row.token_id);
            other.all("prob", Some(row.rank), token, row.prob, "probability", "the board of this model");
        }
        for row in beside.residual.iter() {
            let how = format!("push of {} on \"{}\"", row.kind, row.target);
            other.all("push", Some(row.step), Some((row.target.clone(), row.target_id)), row.push, "logit", &how);
        }
        rows.extend(other.rows);
    }
    facts.numbers = rows;
}

/// What the model is.
fn sizes(to: &mut Taker<'_>, spec: &Spec) {
    let how = "the model's configuration";
    let (first, unembedding) = (&spec.blocks[0], &spec.unembedding);
    let attention = &first.attention.inner;
    to.one("d_model", spec.d_model as f64, "numbers", how);
    to.one("vocabulary", spec.d_vocab as f64, "tokens", how);
    to.one("layers", spec.n_layers() as f64, "layers", how);
    to.one("heads", attention.n_heads as f64, "heads", how);
    to.one("kv_heads", attention.n_kv_heads as f64, "heads", how);
    to.one("shared_by", attention.shared_by() as f64, "heads", how);
    to.one("d_head", attention.d_head as f64, "numbers", how);
    to.one("all_heads", spec.blocks.iter().map(|b| b.attention.inner.n_heads).sum::<usize>() as f64, "heads", how);
    to.one("score_scale", attention.scale, "", how);
    to.one("parameters", spec.n_params() as f64, "parameters", how);
    let context = spec.n_ctx.map(|n| n as f64);
    let learned = spec.embedding.positions.map(|p| p.rows as f64);
    let window = spec.blocks.iter().find_map(|block| match block.attention.inner.mask {
        Mask::Window(n) => Some(n as f64),
        Mask::Causal | Mask::Bidirectional => None,
    });
    let windows = spec.blocks.iter().filter(|block| matches!(block.attention.inner.mask, Mask::Window(_))).count();
    let rotary = match &attention.position {
        Position::Rotary(rotary) => Some((rotary.theta, rotary.dims as f64)),
        Position::None | Position::Alibi => None,
    };
    let mlp = spec.blocks.iter().find_map(|block| block.mlp.as_ref());
    let experts = mlp.and_then(|mlp| mlp.inner.experts());
    let optional = [
        ("context", context, "positions"),
        ("learned_positions", learned, "positions"),
        ("window", window, "tokens"),
        ("windowed_layers", window.map(|_| windows as f64), "layers"),
        ("theta", rotary.map(|(theta, _)| theta), ""),
        ("rotated", rotary.map(|(_, dims)| dims), "numbers"),
        ("d_mlp", mlp.map(|mlp| mlp.inner.neurons().d_mlp as f64), "neurons"),
        ("experts", experts.map(|experts| experts.n_experts as f64), "experts"),
        ("experts_used", experts.map(|experts| experts.per_row as f64), "experts"),
        ("score_cap", attention.cap, ""),
        ("logit_cap", unembedding.cap, "logits"),
        ("logit_scale", unembedding.scale, ""),
        ("embedding_scale", spec.embedding.scale, ""),
    ];
    for (name, value, unit) in optional {
        if let Some(value) = value {
            to.one(name, value, unit, how);
        }
    }
}

/// The word whose letter is counted.
fn words(to: &mut Taker<'_>, facts: &Facts) {
    let Some(of) = letter(&facts.prompt) else { return };
    let letter = || Some((of.letter.clone(), 0));
    let places = || of.tokens.clone().map(|pos| &facts.prompt.tokens[pos]);
    let lower = |token: &crate::text::Token| token.text.trim().to_lowercase();
    let with = places().filter(|token| lower(token).contains(&of.letter)).count();
    let are = places().filter(|token| lower(token) == of.letter).count();
    let how = format!("the word \"{}\" of the prompt", of.word);
    to.all("letter_in_word", None, letter(), of.n as f64, "letters", &how);
    to.one("word_tokens", of.tokens.len() as f64, "tokens", &how);
    to.all("word_tokens_with", None, letter(), with as f64, "tokens", &how);
    to.all("word_tokens_that_are", None, letter(), are as f64, "tokens", &how);
}

/// What the board leaves open, and what is needed to compute others.
fn board(to: &mut Taker<'_>, facts: &Facts, logits: &[f32]) {
    let Some(first) = facts.candidates.first() else { return };
    to.one("not_first", 1.0 - first.prob, "probability", "1 - `prob` of the first of `candidates`");
    to.one("twenty", first.prob.powi(20), "probability", "`prob` of the first of `candidates` to the power of 20");
    for (i, t) in TEMPERATURES.iter().enumerate() {
        to.at("temperature", i as u32, *t, "", "chosen for the page");
    }
    for (i, p) in TOP_P.iter().enumerate() {
        to.at("top_p", i as u32, *p, "", "chosen for the page");
    }
    let own: Vec<u32> = facts.candidates.iter().take(BOARD).filter_map(|row| row.token_id).collect();
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let beyond: Vec<f64> = (logits.iter().enumerate())
        .filter(|(id, _)| !own.contains(&(*id as u32)))
        .map(|(_, logit)| f64::from(*logit) - f64::from(most))
        .collect();
    for tenth in 1..=TENTHS {
        let t = f64::from(tenth) / 10.0;
        let sum: f64 = beyond.iter().map(|logit| (logit / t).exp()).sum();
        let how = "logarithm of the sum over all tokens beyond the board of exp((logit - largest) / temperature), at this many tenths";
        to.at("beyond", tenth, sum.max(1e-300).ln(), "nats", how);
    }
}

/// What strokes come to.
fn strokes(to: &mut Taker<'_>, facts: &Facts, logits: &[f32]) {
    // Pushes are those before a factor or cap, and come to a difference of logits where there is none.
    let plain = facts.spec.unembedding.cap.is_none() && facts.spec.unembedding.scale.is_none();
    if let Some(logit) = facts.residual.first().and_then(|row| logits.get(row.target_id as usize)).filter(|_| plain) {
        to.one("target_logit", f64::from(*logit), "logit", "the logit of the target of `residual`");
        let sum: f64 = logits.iter().map(|logit| f64::from(*logit)).sum();
        to.one("mean_logit", sum / logits.len() as f64, "logit", "the mean of the logits of all tokens");
    }
    for kind in ["embed", "pos", "attn", "mlp", "bias"] {
        let own: Vec<f64> = facts.residual.iter().filter(|row| row.kind == kind).map(|row| row.push).collect();
        if !own.is_empty() {
            let how = format!("sum of `push` over the rows of kind {kind} in `residual`");
            to.one(&format!("push_{kind}"), own.iter().sum(), "logit", &how);
        }
    }
    let gap = facts.residual.iter().filter_map(|row| row.gap).fold(f64::NAN, f64::max);
    if gap.is_finite() {
        to.one("gap", gap, "of the spread", "largest `gap` of `residual`");
    }
    let strokes = facts.residual.iter().filter(|row| row.kind != "bias").count();
    to.one("strokes", strokes as f64, "strokes", "rows of `residual` but the bias");
    let against = facts.residual.iter().filter(|row| row.kind != "bias" && row.push < 0.0).count();
    to.one("against", against as f64, "strokes", "rows of `residual` but the bias whose `push` is below 0");
    if let Some(layer) = facts.decided() {
        to.one(
            "decided",
            f64::from(layer),
            "layers",
            "from which layer on the lens at the last position says the answer, in `logit_lens`",
        );
    }
    if !facts.neurons.is_empty() {
        to.one("neurons_shown", facts.neurons.len() as f64, "neurons", "rows of `neurons`");
    }
    for row in &facts.neuron_layers {
        let rest = 1.0 - row.shown_share;
        to.at("rest_of_mlp", row.layer, rest, "share", "1 - `shown_share` of `neuron_layers`");
    }
}

/// Where heads look from the last position.
fn looks(to: &mut Taker<'_>, facts: &Facts) {
    let sinks = facts.sinks();
    to.one(
        "sinks",
        sinks.len() as f64,
        "heads",
        "heads whose last position looks at the first token with more than a half, in `attention`",
    );
}

/// What continuations come to.
fn traces(to: &mut Taker<'_>, facts: &Facts) {
    if facts.generated.is_empty() {
        return;
    }
    let mut texts: Vec<&str> = facts.generated.iter().map(|row| &*row.text).collect();
    to.one("traces", texts.len() as f64, "traces", "rows of `generated`");
    texts.sort_unstable();
    texts.dedup();
    to.one("different", texts.len() as f64, "texts", "different `text` in `generated`");
    let greedy = facts.traces.iter().filter(|row| row.step == 0 && row.rank == 1).count();
    to.one("begin_first", greedy as f64, "traces", "rows of `traces` at step 0 with rank 1");
    for row in &facts.generated {
        to.at(
            "trace_prob",
            row.trace,
            row.log_prob.exp(),
            "probability",
            "e to the power of `log_prob` in `generated`",
        );
    }
}

/// How well the text was foreseen, and how well it would be by guessing.
fn foreseen(to: &mut Taker<'_>, vocabulary: usize, surprise: Option<f64>) {
    let Some(nats) = surprise else { return };
    to.one("surprise", nats, "nats", "mean surprise of the tokens of the prompt, as `pellucid loss` has it");
    let how = "e to the power of -`surprise`: the geometric mean of the probabilities of the prompt's tokens";
    to.one("foreseen", (-nats).exp(), "probability", how);
    to.one("guess", 1.0 / vocabulary as f64, "probability", "1 / tokens that the model can say");
}

impl Facts {
    /// Whether the text is unlike those that the model learnt from, as far as that is known.
    pub fn is_unlike(&self) -> bool {
        let vocabulary = self.spec.unembedding.d_vocab_out;
        self.number("surprise", None).is_some_and(|(_, row)| unlike(row.value, vocabulary))
    }

    /// From which layer on the lens at the last position has the answer first, and keeps it.
    pub fn decided(&self) -> Option<u32> {
        let last = self.prompt.tokens.len() as u32 - 1;
        let own: Vec<_> = self.lens.iter().filter(|row| row.pos == last && row.rank == 1).collect();
        let answer = own.last()?.token_id;
        let before = own.iter().rposition(|row| row.token_id != answer);
        own.get(before.map_or(0, |at| at + 1)).and_then(|row| row.layer)
    }

    /// Heads that look at the first token with more than a half from the last position: layer and head.
    pub fn sinks(&self) -> Vec<(u32, u32)> {
        let last = self.prompt.tokens.len() as u32 - 1;
        self.attention
            .iter()
            .filter(|row| row.query_pos == last && rests(row))
            .map(|row| (row.layer, row.head))
            .collect()
    }
}
