//! Cards: features that stand out, with the value at every token of the text of some of their examples.

use super::examples::{Example, GROUPS, LEFT, RIGHT, visit};
use super::read::{Columns, Feature, Read};
use super::rows::{FeatureKey, FeatureNumbers, NeuronCardRow};
use super::summary::Column;
use crate::analysis::export::options::column;
use crate::analysis::export::run::Copied;
use crate::dataset::Values;
use crate::error::{Error, Result};
use crate::hook::Site;
use crate::model::{Batch, Run, Unembed};
use crate::session::{Corpora, Session};
use crate::sweep::Watch;
use crate::text::Token;

/// Top examples of a card.
const TOP: u32 = 6;
/// Bottom ones.
const BOTTOM: u32 = 2;
/// Tenths of which a card has one example.
const TENTHS: [usize; 3] = [GROUPS - 2, GROUPS / 2, 2];

/// Which features stand out most: by how many deviations the mean of their top examples is over their mean.
pub(super) fn standing_out(reads: &[Read], columns: &Columns, most: usize) -> Vec<usize> {
    let of = |column: usize| {
        let out = reads.iter().map(|read| {
            let of = read.summary.column(column);
            let top = of.top.iter().map(|e| f64::from(e.value)).sum::<f64>() / of.top.len().max(1) as f64;
            if of.std > 0.0 { (top - of.mean) / of.std } else { 0.0 }
        });
        out.fold(f64::NEG_INFINITY, f64::max)
    };
    let mut all: Vec<(usize, f64)> = (0..columns.features.len()).map(|i| (i, of(i))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(most);
    all.into_iter().map(|(column, _)| column).collect()
}

/// Whether an example of `neuron_examples` is on the card.
fn is_on_it(example: &Example) -> bool {
    match example.kind {
        "top" => example.rank <= TOP,
        "bottom" => example.rank <= BOTTOM,
        "quantile" => example.rank == 1 && TENTHS.iter().any(|tenth| Some(*tenth as u32) == example.group),
        _ => false,
    }
}

/// What a card says of a neuron's write: the tokens at both ends, furthest first.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// Those that a positive activation promotes.
    pub promoted: Vec<(String, f64)>,
    /// Those that it suppresses.
    pub suppressed: Vec<(String, f64)>,
}

/// A feature that has a card.
pub(super) struct Shown {
    pub feature: Feature,
    pub of: Column,
    pub examples: Vec<Example>,
    /// What a neuron says.
    pub ends: Option<Ends>,
}

/// Tokens of each end that a card names.
const WORDS: usize = 6;

fn words(end: &[(String, f64)]) -> String {
    end.iter().take(WORDS).map(|(word, _)| word.as_str()).collect::<Vec<_>>().join(",")
}

/// The cards of some features over one corpus, with their examples.
pub(super) fn cards(
    on: &Session,
    (corpora, read): (&Corpora, &Read),
    (context, features): (usize, &[Shown]),
    watch: &dyn Watch,
    emit: &mut dyn FnMut(NeuronCardRow) -> Result<()>,
) -> Result<()> {
    let tokenizer = on.tokenizer.as_ref().ok_or_else(|| on.source.no_tokenizer())?;
    let shown = || features.iter().flat_map(|shown| shown.examples.iter().filter(|e| is_on_it(e)));
    let mut wanted: Vec<(u32, u32)> = shown().map(|e| (e.at.doc, e.at.pos)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    // Of each its document's id, and its sequence up to the end of the text.
    let mut texts: Vec<(String, Vec<Token>)> = vec![];
    visit(corpora, tokenizer, &wanted, watch, &mut |i, document, tokens| {
        let pos = wanted[i].1 as usize;
        let begins = pos / context * context;
        let ends = (pos + RIGHT + 1).min(begins + context).min(tokens.len());
        texts.push((document.id.clone(), tokens[begins..ends].to_vec()));
        Ok(())
    })?;
    for Shown { feature, of, examples, ends } in features {
        for example in examples.iter().filter(|e| is_on_it(e)) {
            watch.at(0, 1)?;
            let Ok(place) = wanted.binary_search(&(example.at.doc, example.at.pos)) else { continue };
            let (doc_id, tokens) = &texts[place];
            let at = example.at.pos as usize % context;
            let shown = at.saturating_sub(LEFT)..tokens.len();
            let values = values(on, feature, tokens, shown.clone().collect())?;
            for (i, value) in shown.zip(values) {
                emit(NeuronCardRow {
                    feature: FeatureKey::of(&read.name, feature),
                    numbers: FeatureNumbers::of(of),
                    token_only_r2: of.token_only_r2,
                    promotes: ends.as_ref().map(|ends| words(&ends.promoted)),
                    suppresses: ends.as_ref().map(|ends| words(&ends.suppressed)),
                    kind: example.kind.to_owned(),
                    group: example.group,
                    rank: example.rank,
                    doc_id: doc_id.clone(),
                    pos: example.at.pos,
                    offset: i as i64 - at as i64,
                    token: tokens[i].text.clone(),
                    value,
                })?;
            }
        }
    }
    Ok(())
}

/// A feature's values at some tokens of a sequence.
fn values(on: &Session, feature: &Feature, tokens: &[Token], rows: Vec<usize>) -> Result<Vec<f32>> {
    let (points, spec) = ([feature.point], on.model.spec());
    let layout = [column(spec, &feature.point)];
    let mut copied = Copied::new(&points, &layout, rows);
    let until = feature.point.layer.map(|layer| layer + 1);
    let unembed = if feature.point.site == Site::Logits { Unembed::All } else { Unembed::Nothing };
    let run = Run { until, unembed, ..Run::default() };
    on.model.run(&Batch::of([tokens.iter().map(|token| token.id).collect::<Vec<_>>()]), &run, &mut [&mut copied])?;
    let width = layout[0].width();
    let last = layout[0].shape.last().copied().unwrap_or(1);
    let at = feature.head.unwrap_or(0) as usize * last + feature.index as usize;
    match &copied.values[0] {
        Values::F32(values) => Ok(values.chunks_exact(width).map(|row| row[at]).collect()),
        Values::U32(_) => Err(Error::compute("numbers of experts are no activations").fault()),
    }
}
