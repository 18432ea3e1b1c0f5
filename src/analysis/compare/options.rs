//! Comparison as a question: models, and what they are compared on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bytes::{Stretch, stretches, surprise};
use super::pass::{self, Said};
use super::positions::{Divergence, Says};
use super::{
    CompareBytesRow, CompareColumnsRow, CompareModelsRow, CompareParametersRow, ComparePositionsRow, CompareRunsRow,
    CompareSpecRow, Runs, parameters, specs,
};
use crate::analysis::model::family;
use crate::error::{Error, Result, said};
use crate::session::{Analysis, Input, Member, Models, Prompts, Sink};
use crate::sweep::Need;
use crate::table::Provenance;
use crate::text::{Around, Prompt, PromptEntry, PromptInput, Token, build_prompts};

/// Compare: what do models differ in, and what does that change?
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "The first -m is the reference, with which each other is compared. Writes compare_spec.parquet with the choices of architecture, and \
                        compare_parameters.parquet and compare_models.parquet (see `pellucid tables compare_models`). With prompts also \
                        compare_positions.parquet, where models read the same tokens; compare_bytes.parquet, where their tokenizers cut a text \
                        differently; and an SVG of each prompt. Without prompts no weights are read.

\
                        Without -m two runs are named, folders that one command has left with other models, prompts or options: their tables are joined on \
                        their keys, and compare_runs.parquet has the differences of all numbers, compare_columns.parquet what they come to."
    )
)]
pub struct Compare {}

/// What models are compared on.
#[derive(Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Their configurations alone.
    #[default]
    Nothing,
    /// Prompts, as the tokens of each model.
    Prompts(Split),
    /// Two runs of one analysis: no model.
    Runs(Runs),
}

/// Prompts as the tokens of each of several models.
#[derive(Serialize)]
pub struct Split {
    /// Of each model.
    prompts: Vec<Prompts>,
    /// Whether ids mean the same to a model as to the first.
    #[serde(skip)]
    alike: Vec<bool>,
}

impl Comparison {
    /// These prompts, as each of `models` reads them.
    ///
    /// # Errors
    /// As [`build_prompts`], with the name of the model; when prompts are ids and tokenizers differ, or a chat template writes another text.
    pub fn on(models: &Models, entries: &[PromptEntry], around: impl Into<Around>) -> Result<Self> {
        let around = around.into();
        let mut prompts = vec![];
        for member in &models.all {
            let (tokenizer, spec) = (member.tokenizer.as_ref(), &member.spec);
            let text = entries.iter().position(|entry| matches!(entry.input, PromptInput::Text(_)));
            if let (None, Some(index)) = (tokenizer, text) {
                let (why, id) = (member.source.no_tokenizer(), index.to_string());
                let id = entries[index].id.as_ref().unwrap_or(&id);
                let error = Error::bad_input(format!("prompt \"{id}\" is text, but {}", why.message()));
                return Err(error.hint(why.remedy().clone()));
            }
            let built = build_prompts(entries, tokenizer, spec.d_vocab, spec.n_ctx, around.clone());
            prompts.push(Prompts { prompts: built.map_err(|e| e.at(&member.name))? });
        }
        let Some(first) = models.all.first() else { return Ok(Self::Nothing) };
        let alike: Vec<bool> = models.all.iter().map(|member| same_vocabulary(first, member)).collect();
        for ((member, own), alike) in models.all.iter().zip(&prompts).zip(&alike) {
            if !alike && entries.iter().any(|entry| matches!(entry.input, PromptInput::Ids(_))) {
                return Err(Error::bad_input(format!(
                    "token ids mean other tokens to {} than to {}, whose tokenizers differ",
                    member.name, first.name
                ))
                .hint("give texts"));
            }
            if let Some((prompt, _)) = own.prompts.iter().zip(&prompts[0].prompts).find(|(a, b)| a.text != b.text) {
                return Err(Error::bad_input(format!(
                    "the chat templates of {} and {} write different texts for prompt \"{}\"",
                    first.name, member.name, prompt.id
                ))
                .hint(said("leave out {!chat}, so that both read the same text")));
            }
        }
        Ok(Self::Prompts(Split { prompts, alike }))
    }
}

/// Whether an id means the same to both. A vocabulary that goes on where the other ends is the same as far as that goes.
fn same_vocabulary(a: &Member, b: &Member) -> bool {
    match (&a.tokenizer, &b.tokenizer) {
        (Some(x), Some(y)) => {
            let n = x.vocab_size().min(y.vocab_size()) as u32;
            (0..n).all(|id| x.piece(id) == y.piece(id))
        }
        // Nobody says what ids mean.
        _ => a.spec.d_vocab == b.spec.d_vocab && a.spec.unembedding.d_vocab_out == b.spec.unembedding.d_vocab_out,
    }
}

impl Split {
    /// Whether a model reads the same tokens as the first in a prompt.
    fn alike(&self, model: usize, prompt: usize) -> bool {
        let ids = |model: usize| self.prompts[model].prompts[prompt].tokens.iter().map(|token| token.id);
        model == 0 || self.alike[model] && ids(0).eq(ids(model))
    }
}

impl Input for Comparison {
    fn len(&self) -> usize {
        self.prompts().len()
    }

    fn prompts(&self) -> &[Prompt] {
        match self {
            Self::Prompts(split) => split.prompts.first().map_or(&[], |first| &first.prompts),
            Self::Nothing | Self::Runs(_) => &[],
        }
    }
}

/// What positions and bytes come to for one model.
#[derive(Clone, Debug, Default)]
struct Sums {
    positions: u64,
    same_first: u64,
    kl: f64,
    js: f64,
    followed: u64,
    delta: f64,
    bytes: u64,
    bits: f64,
    bits_reference: f64,
}

impl Analysis for Compare {
    const NAME: &'static str = "compare";
    const SHOWS_ALL: bool = true;
    type Tables = (
        CompareSpecRow,
        CompareParametersRow,
        CompareModelsRow,
        ComparePositionsRow,
        CompareBytesRow,
        CompareRunsRow,
        CompareColumnsRow,
    );
    type On = Models;
    type Input = Comparison;

    fn need(&self, on: &Models, input: &Comparison) -> Result<Need> {
        Ok(match input {
            Comparison::Prompts(split) => {
                check(on)?;
                pass::need(on, &split.prompts)
            }
            Comparison::Nothing => {
                check(on)?;
                Need::default()
            }
            Comparison::Runs(runs) => runs.need(),
        })
    }

    fn run(&self, on: &Models, input: &Comparison, out: &mut Sink<'_>) -> Result<()> {
        if let Comparison::Runs(runs) = input {
            let made = runs.made().map(Clone::clone);
            let both = |of: fn(&Provenance) -> &str| [of(&made[0]), of(&made[1])].join(", ");
            let provenance = out.provenance();
            provenance.model = both(|made| &made.model);
            provenance.weights_hash = both(|made| &made.weights_hash);
            return runs.run(out);
        }
        check(on)?;
        let Some((reference, others)) = on.all.split_first() else { return Ok(()) };
        for model in others {
            specs(reference, model).into_iter().try_for_each(|row| out.push(row))?;
        }
        for model in others {
            parameters(reference, model).into_iter().try_for_each(|row| out.push(row))?;
        }
        let mut sums = vec![Sums::default(); on.all.len()];
        if let Comparison::Prompts(split) = input {
            // Tables of positions come after the table of models, which is known last: it is held, as it is short.
            let watch = out.watch;
            pass::run(on, &split.prompts, &|m, i| split.alike(m, i), watch, &mut |i, found| {
                let first = &split.prompts[0].prompts[i];
                for (m, (model, said)) in on.all.iter().zip(found).enumerate() {
                    let (own, alike) = (&split.prompts[m].prompts[i], split.alike(m, i));
                    if m > 0 && alike {
                        let rows = positions(reference, model, own, [&found[0], said], &mut sums[m]);
                        rows.into_iter().try_for_each(|row| out.push(row))?;
                    }
                    let rows = bytes(reference, model, [first, own], [&found[0], said], &mut sums[m]);
                    if !alike {
                        rows.into_iter().try_for_each(|row| out.push(row))?;
                    }
                }
                Ok(())
            })?;
        }
        for (model, sums) in on.all.iter().zip(&sums) {
            out.push(compared(reference, model, sums))?;
        }
        Ok(())
    }
}

/// Refuses one model alone, and equal weights as two points.
fn check(on: &Models) -> Result<()> {
    if let [only] = &on.all[..] {
        return Err(Error::bad_input(format!(
            "one model was named, {}, and there is nothing to compare it with",
            only.name
        ))
        .hint(said("name another with {model}")));
    }
    let mut known: BTreeMap<&str, &Member> = BTreeMap::new();
    for member in &on.all {
        let Some(weights) = member.weights() else { continue };
        match known.get(&*weights.hash) {
            // The same weights in another architecture are another model; and what stands beside a curve of checkpoints is no point of it.
            Some(other) if other.spec == member.spec && other.step.is_some() == member.step.is_some() => {
                return Err(Error::bad_input(format!(
                    "{} and {} have the same weights ({}), and would be shown as two points",
                    other.name,
                    member.name,
                    weights.hash.chars().take(19).collect::<String>()
                ))
                .hint("leave one of them out; a branch of a repository may hold the weights of another"));
            }
            _ => known.insert(&weights.hash, member),
        };
    }
    Ok(())
}

/// The rows of a prompt in which a model reads the tokens that the reference reads.
fn positions(
    reference: &Member,
    model: &Member,
    prompt: &Prompt,
    [theirs, own]: [&Said; 2],
    sums: &mut Sums,
) -> Vec<ComparePositionsRow> {
    let each = theirs.says.iter().zip(&own.says).zip(&own.divergences).enumerate();
    let row = |(pos, ((theirs, says), Divergence { kl_bits, js_bits })): (usize, ((&Says, &Says), &Divergence))| {
        let (token, next) = (&prompt.tokens[pos], prompt.tokens.get(pos + 1));
        let delta = theirs.bits().zip(says.bits()).map(|(theirs, own)| theirs - own);
        let rank = |says: &Says| says.next.map(|next| next.rank);
        let same = theirs.first.0 == says.first.0;
        sums.positions += 1;
        sums.same_first += u64::from(same);
        sums.kl += kl_bits;
        sums.js += js_bits;
        sums.followed += u64::from(delta.is_some());
        sums.delta += delta.unwrap_or(0.0);
        ComparePositionsRow {
            prompt: prompt.index,
            prompt_id: prompt.id.clone(),
            model: model.name.clone(),
            pos: pos as u32,
            reference: reference.name.clone(),
            token: token.text.clone(),
            token_id: token.id,
            next: next.map(|token| token.text.clone()),
            next_id: next.map(|token| token.id),
            kl_bits: *kl_bits,
            js_bits: *js_bits,
            loss_bits_reference: theirs.bits(),
            loss_bits: says.bits(),
            delta_log_prob_bits: delta,
            rank_reference: rank(theirs),
            rank: rank(says),
            rank_change: rank(theirs).zip(rank(says)).map(|(theirs, own)| i64::from(theirs) - i64::from(own)),
            first_reference: reference.spell(theirs.first.0),
            first_reference_id: theirs.first.0,
            first_reference_prob: theirs.first.1,
            first: model.spell(says.first.0),
            first_id: says.first.0,
            first_prob: says.first.1,
            same_first: same,
        }
    };
    each.map(row).collect()
}

/// The rows of the bytes of a prompt that both models predict.
fn bytes(
    reference: &Member,
    model: &Member,
    prompts: [&Prompt; 2],
    said: [&Said; 2],
    sums: &mut Sums,
) -> Vec<CompareBytesRow> {
    let Some(text) = prompts[1].text.as_deref() else { return vec![] };
    // What is said after one position is about the next.
    let bits = said.map(|said| [None].into_iter().chain(said.says.iter().map(Says::bits)).collect::<Vec<_>>());
    let tokens: [&[Token]; 2] = prompts.map(|prompt| &prompt.tokens[..]);
    let mut rows = vec![];
    for Stretch { bytes, positions } in stretches(tokens[0], tokens[1]) {
        let [theirs, own] = [0, 1].map(|i| surprise(tokens[i], &bits[i], positions[i].clone()));
        let (Some((bits_reference, tokens_reference)), Some((bits, tokens))) = (theirs, own) else { continue };
        let (n, of) = (bytes.len() as f64, bytes.clone());
        sums.bytes += bytes.len() as u64;
        sums.bits += bits;
        sums.bits_reference += bits_reference;
        rows.push(CompareBytesRow {
            prompt: prompts[1].index,
            prompt_id: prompts[1].id.clone(),
            model: model.name.clone(),
            byte_start: of.start as u32,
            byte_end: of.end as u32,
            reference: reference.name.clone(),
            text: crate::text::legible(&text.as_bytes()[of]),
            tokens_reference,
            tokens,
            bits_reference,
            bits,
            bits_per_byte_reference: bits_reference / n,
            bits_per_byte: bits / n,
            delta_bits_per_byte: (bits - bits_reference) / n,
        });
    }
    rows
}

/// The row of a model.
fn compared(reference: &Member, model: &Member, sums: &Sums) -> CompareModelsRow {
    let mean = |sum: f64, n: u64| (n > 0).then(|| sum / n as f64);
    CompareModelsRow {
        model: model.name.clone(),
        step: model.step,
        family: family(&model.spec),
        revision: model.source.revision.clone(),
        weights_hash: model.weights().map(|weights| weights.hash.clone()),
        parameters: model.spec.n_params() as u64,
        reference: reference.name.clone(),
        positions: sums.positions,
        kl_bits: mean(sums.kl, sums.positions),
        js_bits: mean(sums.js, sums.positions),
        delta_log_prob_bits: mean(sums.delta, sums.followed),
        same_first: mean(sums.same_first as f64, sums.positions),
        bytes: sums.bytes,
        bits_per_byte: mean(sums.bits, sums.bytes),
        bits_per_byte_reference: mean(sums.bits_reference, sums.bytes),
    }
}
