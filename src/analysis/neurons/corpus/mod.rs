//! Features over corpora: how they behave, and at which tokens.
//!
//! - `read.rs`: one pass over a corpus, part by part; `summary.rs` what is kept of it, made of `moments.rs`, `heap.rs`, `sample.rs` and `words.rs`, and
//!   `piece.rs` the same as a file;
//! - `examples.rs`: which tokens are shown, and the text around them;
//! - `cards.rs`: a few features with the value at every token of some examples; `neuronpedia.rs` the same for another program.
//!
//! A feature is a column of any hook: `summary.rs` knows nothing of neurons.

mod cards;
mod examples;
mod heap;
mod moments;
mod neuronpedia;
mod piece;
mod read;
pub mod rows;
mod sample;
mod summary;
mod view;
mod words;

use std::collections::BTreeMap;

use super::banks::{Bank, Unit};
use super::options::Neurons;
use crate::analysis::export::Export;
use crate::analysis::export::options::Asked;
use crate::analysis::export::run::need as run_need;
use crate::error::{Error, Result};
use crate::hook::Site;
use crate::session::{Corpora, Session, Sink};
use crate::sweep::{Need, Watch};
use crate::table::visible;
pub(super) use cards::Ends;
use cards::{Shown, cards, standing_out};
use examples::{Around, Example, bytes_of_feature, examples, visit};
use read::{Columns, Feature, Read, Reading};
use rows::{FeatureKey, FeatureNumbers, NeuronCardRow, NeuronExampleRow, NeuronStatsRow};
use sample::{Drawn, quantile};
use summary::{Column, Kept, column_bytes};

/// The most cards of features that are named.
const MOST_CARDS: usize = 20;

/// What is read of corpora.
pub(super) struct Over {
    asked: Asked,
    columns: Columns,
    kept: Kept,
    cards: usize,
    named: bool,
    neuronpedia: bool,
}

/// The file for Neuronpedia's viewers.
pub(super) const NEURONPEDIA: &str = "neuronpedia.json";

/// What is known of corpora after they were read.
pub(super) struct Known {
    reads: Vec<Read>,
    /// Which column a neuron is.
    places: BTreeMap<Unit, usize>,
    drawn: Vec<Vec<Drawn>>,
}

/// Gives the tokens at both ends of what neurons say, and tells them.
type Says<'a> = &'a mut dyn FnMut(&[Unit], &mut Sink<'_>) -> Result<Vec<Ends>>;

/// The neuron that a feature is, where it is one.
fn unit(of: &Feature) -> Option<Unit> {
    let neuron = matches!(of.point.site, Site::MlpPost | Site::ExpertPost);
    let unit = |layer| Unit { layer, expert: of.point.expert, neuron: of.index as usize };
    of.point.layer.filter(|_| neuron).map(unit)
}

impl Over {
    /// What `how` asks for.
    pub fn of(how: &Neurons, on: &Session, banks: &[Bank<'_>]) -> Result<Self> {
        let neurons = || banks.iter().map(|bank| bank.points().post.to_string()).collect::<Vec<_>>().join(",");
        let export = Export {
            hooks: how.hook.clone().unwrap_or_else(neurons),
            context: how.context,
            skip_special: how.skip_special,
            skip_pos: how.skip_pos.clone(),
            ..Export::default()
        };
        let mut asked = export.asked(on)?;
        if let Some(layers) = how.layers.as_ref().filter(|_| how.hook.is_some()) {
            let has = |layer: usize| crate::range::has(Some(layers), layer);
            let mut keep = asked.points.iter().map(|point| point.layer.is_none_or(has));
            asked.layout.hooks.retain(|_| keep.next().unwrap_or(false));
            asked.points.retain(|point| point.layer.is_none_or(has));
            if asked.points.is_empty() {
                return Err(Error::bad_input("no layer that was chosen has these hooks").hint("choose other layers"));
            }
        }
        if let Some(point) = asked.points.iter().find(|point| point.site.is_index()) {
            return Err(Error::bad_input(format!("{point} has numbers of experts, of which there is no mean"))
                .hint("choose hooks with activations, such as `mlp.expert_weights`"));
        }
        let units = how.units();
        let is_named =
            |feature: &Feature| units.is_empty() || unit(feature).is_some_and(|u| units.binary_search(&u).is_ok());
        let columns = Columns::of(on.model.spec(), &asked.points, &is_named);
        if columns.features.is_empty() {
            return Err(Error::bad_input("the hooks that are read have none of the neurons that are named")
                .hint("leave out one of the two"));
        }
        let named = !how.neuron.is_empty();
        let kept = Kept { examples: how.examples, sample: how.draws, words: how.frequent, seed: how.seed };
        let cards = if named { columns.features.len().min(MOST_CARDS) } else { how.cards };
        Ok(Self { asked, columns, kept, cards, named, neuronpedia: how.neuronpedia })
    }

    /// What it needs of memory to read so many corpora.
    pub fn need(&self, on: &Session, corpora: usize) -> Result<Need> {
        read::need(on, &self.asked, self.columns.features.len(), &self.kept, corpora)
    }

    /// Bytes of what stays of so many corpora.
    pub fn known_bytes(&self, corpora: usize) -> usize {
        self.columns.features.len() * column_bytes(&self.kept) * corpora
    }

    /// Reads the corpora, and gives their tables to `out`, if that is not left to whoever joins shards. `says` gives the tokens at both ends of what neurons say.
    pub fn tell(&self, on: &Session, corpora: &[Corpora], says: Says<'_>, out: &mut Sink<'_>) -> Result<Option<Known>> {
        let (mut reads, watch): (Vec<Read>, &dyn Watch) = (vec![], out.watch);
        let reading =
            Reading { on, asked: &self.asked, columns: &self.columns, kept: &self.kept, shard: out.shard, watch };
        for (number, one) in corpora.iter().enumerate() {
            let own = one.name();
            let same =
                reads.iter().filter(|read| read.name == own || read.name.starts_with(&format!("{own} ("))).count();
            let name = if same == 0 { own } else { format!("{own} ({})", same + 1) };
            let Some(of) = reading.read(one, name, number, &mut out.pieces)? else { continue };
            if of.tokens == 0 {
                return Err(Error::bad_input(format!("no token of {} is read", visible(&of.name)))
                    .hint("give a corpus with texts, or leave out fewer tokens"));
            }
            if of.documents < self.kept.examples as u64 {
                out.note(format!(
                    "{} has {} documents, and so at most as many top examples of each feature, not {}: of each document there is one",
                    visible(&of.name),
                    of.documents,
                    self.kept.examples
                ));
            }
            reads.push(of);
        }
        if out.shard.is_some() {
            return Ok(None);
        }
        let drawn: Vec<Vec<Drawn>> = reads.iter().map(|read| read.summary.sample.drawn()).collect();
        for (read, drawn) in reads.iter().zip(&drawn) {
            for (i, feature) in self.columns.features.iter().enumerate() {
                out.push(stats(read, feature, &read.summary.column(i), &read.summary.sample.column(drawn, i)))?;
            }
        }
        for ((one, read), drawn) in corpora.iter().zip(&reads).zip(&drawn) {
            self.examples(on, (one, read, drawn), out)?;
        }
        let of_cards = match self.named {
            true => (0..self.cards).collect(),
            false => standing_out(&reads, &self.columns, self.cards),
        };
        let features = || of_cards.iter().map(|column| self.columns.features[*column]);
        let units: Vec<Unit> = features().filter_map(|feature| unit(&feature)).collect();
        let mut told: Vec<NeuronCardRow> = vec![];
        let mut said: BTreeMap<Unit, Ends> = BTreeMap::new();
        if !units.is_empty() {
            said = units.iter().copied().zip(says(&units, out)?).collect();
        }
        for ((one, read), drawn) in corpora.iter().zip(&reads).zip(&drawn) {
            let of = |(column, feature): (&usize, Feature)| {
                let of = read.summary.column(*column);
                let examples = examples(&of, &read.summary.sample.column(drawn, *column));
                let ends = unit(&feature).and_then(|unit| said.get(&unit).cloned());
                Shown { feature, of, examples, ends }
            };
            let all: Vec<Shown> = of_cards.iter().zip(features()).map(of).collect();
            cards(on, (one, read), (self.asked.cutting.context, &all), watch, &mut |row| {
                told.extend(self.neuronpedia.then(|| row.clone()));
                out.push(row)
            })?;
        }
        if self.neuronpedia {
            let ends = |row: &NeuronCardRow| {
                let of = |feature: &&Feature| {
                    feature.point.to_string() == row.feature.hook && feature.index == row.feature.neuron
                };
                said.get(&unit(self.columns.features.iter().find(of)?)?).cloned()
            };
            let mut made = out.provenance().clone();
            made.stamp_as("neuronpedia", 1);
            neuronpedia::write(&out.file(NEURONPEDIA)?, neuronpedia::features(&on.source.id, &told, &ends), &made)?;
        }
        let places = self.columns.features.iter().enumerate().filter_map(|(i, feature)| Some((unit(feature)?, i)));
        Ok(Some(Known { places: places.collect(), reads, drawn }))
    }

    /// The examples of all features of a corpus. The corpus is read again for their texts, as often as their texts fit.
    fn examples(
        &self,
        on: &Session,
        (one, read, drawn): (&Corpora, &Read, &[Drawn]),
        out: &mut Sink<'_>,
    ) -> Result<()> {
        let tokenizer = on.tokenizer.as_ref().ok_or_else(|| on.source.no_tokenizer())?;
        let (features, watch) = (&self.columns.features, out.watch);
        // What a run took is free by now.
        let room = run_need(on.model.spec(), &self.asked, &[]).activations;
        let together = (room / bytes_of_feature(self.kept.examples)).max(1);
        let all: Vec<usize> = (0..features.len()).collect();
        for some in all.chunks(together) {
            let of = |column: &usize| {
                let own = read.summary.sample.column(drawn, *column);
                (features[*column], examples(&read.summary.column(*column), &own))
            };
            let own: Vec<(Feature, Vec<Example>)> = some.iter().map(of).collect();
            let mut wanted: Vec<(u32, u32)> =
                own.iter().flat_map(|(_, all)| all.iter().map(|e| (e.at.doc, e.at.pos))).collect();
            wanted.sort_unstable();
            wanted.dedup();
            let mut texts = vec![Around::default(); wanted.len()];
            visit(one, tokenizer, &wanted, watch, &mut |i, document, tokens| {
                texts[i] = Around::of(document, tokens, wanted[i].1 as usize);
                Ok(())
            })?;
            for (feature, examples) in own {
                for example in examples {
                    let at = wanted.binary_search(&(example.at.doc, example.at.pos)).unwrap_or(0);
                    out.push(example_row(read, &feature, example, &texts[at]))?;
                }
            }
        }
        Ok(())
    }
}

impl Known {
    /// What percentage of the tokens of the first corpus, as far as its sample says, have a lower activation.
    pub fn percentile(&self, unit: Unit, value: f32) -> Option<f64> {
        let (column, read) = (*self.places.get(&unit)?, self.reads.first()?);
        let sample = read.summary.sample.column(&self.drawn[0], column);
        let lower = sample.iter().filter(|(x, _)| *x < value).count();
        (!sample.is_empty()).then(|| 100.0 * lower as f64 / sample.len() as f64)
    }
}

fn stats(read: &Read, feature: &Feature, of: &Column, sample: &[(f32, Drawn)]) -> NeuronStatsRow {
    let mut sorted: Vec<f32> = sample.iter().map(|(x, _)| *x).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let q = |q: f64| quantile(&sorted, q).unwrap_or(f32::NAN);
    NeuronStatsRow {
        feature: FeatureKey::of(&read.name, feature),
        numbers: FeatureNumbers::of(of),
        q01: q(0.01),
        q05: q(0.05),
        q25: q(0.25),
        q50: q(0.5),
        q75: q(0.75),
        q95: q(0.95),
        q99: q(0.99),
        sample_tokens: sorted.len() as u64,
        quantile_error: read.summary.sample.error(),
        token_only_r2: of.token_only_r2,
        r2_tokens: read.summary.frequent.tokens(),
    }
}

fn example_row(read: &Read, feature: &Feature, of: Example, text: &Around) -> NeuronExampleRow {
    NeuronExampleRow {
        feature: FeatureKey::of(&read.name, feature),
        kind: of.kind.to_owned(),
        group: of.group,
        rank: of.rank,
        doc: u64::from(of.at.doc),
        doc_id: text.doc_id.clone(),
        pos: of.at.pos,
        value: of.at.value,
        left: text.left.clone(),
        token: text.token.clone(),
        right: text.right.clone(),
    }
}
