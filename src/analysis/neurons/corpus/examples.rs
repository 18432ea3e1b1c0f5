//! Examples: at which tokens a feature is shown, and the text around them.

use super::heap::Entry;
use super::sample::Drawn;
use super::summary::Column;
use crate::error::Result;
use crate::session::Corpora;
use crate::sweep::Watch;
use crate::text::corpus::Document;
use crate::text::{Bos, Token, Tokenizer};

/// Groups by value that quantile examples are drawn from.
pub(super) const GROUPS: usize = 10;
/// Examples of each.
const OF_GROUP: usize = 5;
/// Random examples.
const RANDOM: usize = 3;
/// Tokens of text before and after an example's token.
pub(super) const LEFT: usize = 16;
pub(super) const RIGHT: usize = 8;
/// Bytes of an example's text, about.
const TEXT: usize = 400;

/// A token at which a feature is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Example {
    pub kind: &'static str,
    pub group: Option<u32>,
    pub rank: u32,
    pub at: Entry,
}

/// The most examples of a feature, and the bytes that their texts take at most.
pub(super) fn bytes_of_feature(examples: usize) -> usize {
    (2 * examples + GROUPS * OF_GROUP + RANDOM) * TEXT
}

/// The examples of a feature with this sample, which is in the order of its draws.
pub(super) fn examples(of: &Column, sample: &[(f32, Drawn)]) -> Vec<Example> {
    let ends = [("top", &of.top), ("bottom", &of.bottom)];
    let ranked = |entries: &[Entry], kind, group| -> Vec<Example> {
        (1..).zip(entries).map(|(rank, at)| Example { kind, group, rank, at: *at }).collect()
    };
    let mut all: Vec<Example> = ends.into_iter().flat_map(|(kind, entries)| ranked(entries, kind, None)).collect();
    let entry = |(value, drawn): &(f32, Drawn)| Entry { value: *value, doc: drawn.doc, pos: drawn.pos };
    let mut by_value: Vec<usize> = (0..sample.len()).collect();
    // Of equals, as they were drawn.
    by_value.sort_by(|a, b| sample[*a].0.total_cmp(&sample[*b].0));
    for group in 0..GROUPS {
        let [from, to] = [group, group + 1].map(|g| g * sample.len() / GROUPS);
        let mut own = by_value[from..to].to_vec();
        own.sort_unstable();
        let entries: Vec<Entry> = own.into_iter().take(OF_GROUP).map(|i| entry(&sample[i])).collect();
        all.extend(ranked(&entries, "quantile", Some(group as u32)));
    }
    let random: Vec<Entry> = sample.iter().take(RANDOM).map(entry).collect();
    all.extend(ranked(&random, "random", None));
    all
}

/// The text around a token.
#[derive(Clone, Debug, Default)]
pub(super) struct Around {
    pub doc_id: String,
    pub left: String,
    pub token: String,
    pub right: String,
}

impl Around {
    /// Around token `at` of a document.
    pub fn of(document: &Document, tokens: &[Token], at: usize) -> Self {
        let text = &document.text;
        // Tokens may begin or end inside a character, which then is whole on the side where it begins.
        let floor = |mut at: usize| {
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let bytes = |i: usize| tokens[i].bytes.clone();
        let (first, last) = (at.saturating_sub(LEFT), (at + RIGHT).min(tokens.len() - 1));
        let begins = (first..=at).find_map(bytes).map_or(0, |b| floor(b.start));
        let ends = (at..=last).rev().find_map(bytes).map_or(0, |b| floor(b.end));
        // A token that is not in the text, such as BOS, stands before it.
        let own = bytes(at).map_or(begins..begins, |b| floor(b.start)..floor(b.end));
        let part = |from: usize, to: usize| text.get(from..to.max(from)).unwrap_or_default().to_owned();
        Self {
            doc_id: document.id.clone(),
            left: part(begins, own.start),
            token: tokens[at].text.clone(),
            right: part(own.end, ends),
        }
    }
}

/// Takes a token that is looked for by its number, with its document and the tokens of that.
type See<'a> = &'a mut dyn FnMut(usize, &Document, &[Token]) -> Result<()>;

/// Reads the documents of some tokens, which are sorted, and gives each with its number, its document and the tokens of that to `see`.
///
/// # Errors
/// A document that cannot be read; what `watch` or `see` says.
pub(super) fn visit(
    corpora: &Corpora,
    tokenizer: &Tokenizer,
    wanted: &[(u32, u32)],
    watch: &dyn Watch,
    see: See<'_>,
) -> Result<()> {
    let (mut next, mut documents) = (0, corpora.corpus.documents());
    while next < wanted.len() {
        watch.at(next, wanted.len())?;
        let Some(document) = documents.next().transpose()? else { break };
        if document.index != u64::from(wanted[next].0) {
            continue;
        }
        let tokens = tokenizer.encode(&document.text, Bos::AsTokenizer).map_err(|e| e.at(&document.id))?;
        while let Some((_, pos)) = wanted.get(next).filter(|(doc, _)| u64::from(*doc) == document.index) {
            if (*pos as usize) < tokens.len() {
                see(next, &document, &tokens)?;
            }
            next += 1;
        }
    }
    Ok(())
}
