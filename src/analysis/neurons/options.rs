//! The question with its options.

use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use super::banks::{Bank, Unit, Units, banks, check_unit};
use super::corpus::rows::{NeuronCardRow, NeuronExampleRow, NeuronStatsRow};
use super::corpus::{Ends, Known, NEURONPEDIA, Over};
use super::prompt::{Asked, cut, neurons};
use super::rows::{NeuronLayerRow, NeuronRow, NeuronVocabRow};
use super::vocab::{self, Signed};
use crate::analysis::residual::options::positions;
use crate::analysis::residual::reader::Reader;
use crate::arch::Spec;
use crate::error::{Error, Result, said};
use crate::range::{self, Interval};
use crate::session::targets::Options as Words;
use crate::session::{Analysis, PromptsAndCorpora, Session, Sink, Targeted};
use crate::sweep::Need;
use crate::sweep::budget::Budget;

/// Neurons: which of them push the answer, what do they say, and at which tokens of a corpus are they active?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Of prompts writes neurons.parquet (see `pellucid tables neurons`) with the strongest neurons of each position, \
                        neuron_layers.parquet with what all neurons of a layer come to, neuron_vocab.parquet with the tokens that each of them \
                        promotes and suppresses, and for each prompt an SVG of the strongest. Of corpora writes neuron_stats.parquet, \
                        neuron_examples.parquet, neuron_cards.parquet and an SVG for each card. See docs/neurons.md."
    )
)]
pub struct Neurons {
    /// The token whose logit is explained, such as " Paris", or a token id, such as #17 [default: of each prompt in a file, its field
    /// `target`, or `target_id`; else the most probable one]
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN"))]
    pub target: Option<String>,
    /// Positions, such as 0,3-5,-1; negative ones count from the end; or all
    #[serde(serialize_with = "range::text")]
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "POSITIONS", default_value_t = Neurons::default().pos, allow_hyphen_values = true)
    )]
    pub pos: String,
    /// Only these layers, such as 0-2,5
    #[serde(serialize_with = "range::any")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "LAYERS", value_delimiter = ',', value_parser = Interval::from_zero))]
    pub layers: Option<Vec<Interval>>,
    /// These neurons, LAYER.NEURON, such as 3.17 or 3.0-9; of experts LAYER.EXPERT.NEURON [default: the strongest]
    #[serde(serialize_with = "super::banks::units")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "LAYER.NEURON", value_delimiter = ','))]
    pub neuron: Vec<Units>,
    /// How many of the strongest neurons to keep for each position
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "K", default_value_t = Neurons::default().top, value_parser = crate::sweep::at_least_one)
    )]
    pub top: usize,
    /// How many tokens to keep at each end of what a neuron says
    #[cfg_attr(feature = "cli", arg(long, value_name = "K", default_value_t = Neurons::default().tokens))]
    pub tokens: usize,
    /// Over a corpus: columns of these hooks in place of neurons, such as z, resid_post or mlp.expert_weights
    #[cfg_attr(feature = "cli", arg(long, visible_aliases = ["hooks", "at"], value_name = "HOOKS", requires = "corpus"))]
    pub hook: Option<String>,
    /// Over a corpus: how many examples to keep at each end
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "K", default_value_t = Neurons::default().examples, requires = "corpus", value_parser = crate::sweep::at_least_one)
    )]
    pub examples: usize,
    /// Over a corpus: how many cards to draw, of the neurons that stand out most; those that are named have one each
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "N", default_value_t = Neurons::default().cards, requires = "corpus", value_parser = crate::sweep::at_least_one)
    )]
    pub cards: usize,
    /// Over a corpus: how many tokens to draw for quantiles, and for examples of them
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "N", default_value_t = Neurons::default().draws, requires = "corpus", value_parser = crate::sweep::at_least_one)
    )]
    pub draws: usize,
    /// Over a corpus: how many of its most frequent tokens to take means of, for what the token alone explains; 0 for none
    #[cfg_attr(feature = "cli", arg(long, value_name = "K", default_value_t = Neurons::default().frequent, requires = "corpus"))]
    pub frequent: usize,
    /// Over a corpus: the most tokens of a sequence; longer documents are cut [default: 1024, or the model's context where that is shorter]
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", requires = "corpus", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..)))]
    pub context: Option<usize>,
    /// Over a corpus: leave out control tokens, such as BOS
    #[cfg_attr(feature = "cli", arg(long, requires = "corpus"))]
    pub skip_special: bool,
    /// Over a corpus: leave out these positions of each sequence, such as 0 for the first, where attention sinks are, or 0-3
    #[serde(serialize_with = "range::half_open")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "POSITIONS", value_delimiter = ',', value_parser = Interval::from_zero, requires = "corpus"))]
    pub skip_pos: Vec<Interval>,
    /// Over a corpus: also write the cards as neuronpedia.json, with the keys of Neuronpedia's exports (version 1)
    #[cfg_attr(feature = "cli", arg(long, requires = "corpus"))]
    pub neuronpedia: bool,
    /// Over a corpus: seed for random draws
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t, requires = "corpus"))]
    pub seed: u64,
}

impl Default for Neurons {
    fn default() -> Self {
        Self {
            target: None,
            pos: "-1".into(),
            layers: None,
            neuron: vec![],
            top: 20,
            tokens: 10,
            hook: None,
            examples: 20,
            cards: 8,
            draws: 500,
            frequent: 256,
            context: None,
            skip_special: false,
            skip_pos: vec![],
            neuronpedia: false,
            seed: 0,
        }
    }
}

impl Neurons {
    /// The layers that are chosen, where some are.
    fn layers(&self, spec: &Spec) -> Result<Option<Vec<usize>>> {
        self.layers.as_deref().map(|layers| range::layers_of(layers, spec.n_layers())).transpose()
    }

    /// The neurons that are named, in order.
    pub(super) fn units(&self) -> Vec<Unit> {
        Units::all(&self.neuron)
    }

    /// The layers that are looked at: those of the neurons that are named, where some are.
    fn banks<'a>(&self, on: &'a Session) -> Result<Vec<Bank<'a>>> {
        let spec = on.model.spec();
        let (chosen, units) = (self.layers(spec)?, self.units());
        units.iter().try_for_each(|unit| check_unit(spec, *unit))?;
        let named: Vec<usize> = units.iter().map(|unit| unit.layer).collect();
        banks(&on.model, chosen.as_deref().or(Some(&named[..]).filter(|named| !named.is_empty())))
    }

    /// What options say of the words after all prompts.
    fn words(&self) -> Words<'_> {
        Words { target: self.target.as_deref(), ..Words::default() }
    }

    fn asked<'a>(
        &'a self,
        on: &Session,
        banks: &'a [Bank<'a>],
        percentile: &'a dyn Fn(Unit, f32) -> Option<f64>,
        taken: usize,
        input: &Targeted,
    ) -> Result<Asked<'a>> {
        Ok(Asked {
            banks,
            targets: input.followed(on, self.words())?,
            positions: positions(&self.pos)?,
            units: self.units(),
            top: self.top,
            tokens: self.tokens,
            percentile,
            budget: Budget(on.memory_bytes.saturating_sub(taken)),
        })
    }

    /// What is read of corpora, and the neurons that prompts are asked about: none where nothing asks about neurons.
    fn parts<'a>(&self, on: &'a Session, input: &PromptsAndCorpora) -> Result<(Vec<Bank<'a>>, Option<Over>)> {
        if input.corpora.is_empty() && self.hook.is_some() {
            return Err(Error::bad_input("hooks are read over a corpus, and there is none")
                .hint(said("give one with {corpus=FILE}, or leave {!hook} out")));
        }
        let (prompted, default) = (!input.prompts.prompts.is_empty(), Self::default());
        if !prompted && (self.target.is_some() || self.pos != default.pos || self.top != default.top) {
            return Err(Error::bad_input(
                "a target, positions and how many are the strongest are of prompts, and there are none",
            )
            .hint(said("give a prompt, or leave {!target}, {!pos} and {!top} out")));
        }
        self.layers(on.model.spec())?;
        let banks =
            if prompted || self.hook.is_none() { self.banks(on)? } else { banks(&on.model, None).unwrap_or_default() };
        let over = (!input.corpora.is_empty()).then(|| Over::of(self, on, &banks)).transpose()?;
        Ok((banks, over))
    }

    /// Tells what neurons say, and gives the tokens at both ends of each.
    fn say(
        &self,
        on: &Session,
        banks: &[Bank<'_>],
        units: &[Unit],
        known: &mut BTreeMap<Signed, String>,
        out: &mut Sink<'_>,
    ) -> Result<Vec<Ends>> {
        let wanted: Vec<Signed> = units.iter().map(|unit| (*unit, 1)).collect();
        let (most, budget) = (self.tokens.max(vocab::WORDS), Budget(on.memory_bytes));
        let (reader, spell) = (Reader::new(&on.model)?, |id| on.spell(id));
        let mut words = vec![];
        for (signed, mut said) in wanted.iter().zip(vocab::say(&on.model, &reader, banks, &wanted, most, budget)?) {
            known.insert(*signed, said.promotes(&spell));
            let spelled = |end: &[(u32, f64)]| end.iter().map(|(id, value)| (spell(*id), *value)).collect();
            words.push(Ends { promoted: spelled(&said.promoted), suppressed: spelled(&said.suppressed) });
            said.cut(self.tokens);
            said.rows(*signed, &spell).into_iter().try_for_each(|row| out.push(row))?;
        }
        Ok(words)
    }
}

impl Analysis for Neurons {
    const NAME: &'static str = "neurons";
    const FILES: &'static [&'static str] = &[NEURONPEDIA];
    const RESUMES: bool = true;
    const PIECES: bool = true;
    type Tables = (NeuronRow, NeuronLayerRow, NeuronVocabRow, NeuronStatsRow, NeuronExampleRow, NeuronCardRow);
    type On = Session;
    type Input = PromptsAndCorpora;

    fn need(&self, on: &Session, input: &PromptsAndCorpora) -> Result<Need> {
        let (banks, over) = self.parts(on, input)?;
        let read = over.as_ref().map(|over| over.need(on, input.corpora.len())).transpose()?;
        if input.prompts.prompts.is_empty() {
            return Ok(read.unwrap_or_default());
        }
        let known = over.as_ref().map_or(0, |over| over.known_bytes(input.corpora.len()));
        let own =
            cut(&on.model, &input.prompts.prompts, &self.asked(on, &banks, &|_, _| None, known, &input.prompts)?).need;
        let own = Need { activations: own.activations + known, least: own.least + known, ..own };
        Ok(read.map_or(own, |read| read.or(own)))
    }

    fn run(&self, on: &Session, input: &PromptsAndCorpora, out: &mut Sink<'_>) -> Result<()> {
        let ((banks, over), prompts) = (self.parts(on, input)?, &input.prompts.prompts);
        if over.is_none() && out.shard.is_some() {
            return Err(Error::bad_input("parts are of a corpus, and there is none")
                .hint(said("give one with {corpus=FILE}, or leave {!shard} out")));
        }
        let mut known = BTreeMap::new();
        let read: Option<Known> = match &over {
            None => None,
            Some(over) => {
                let mut says = |units: &[Unit], out: &mut Sink<'_>| self.say(on, &banks, units, &mut known, out);
                over.tell(on, &input.corpora, &mut says, out)?
            }
        };
        // What is found in prompts is told by whoever joins shards.
        if prompts.is_empty() || out.shard.is_some() {
            return Ok(());
        }
        let taken = over.as_ref().map_or(0, |over| over.known_bytes(input.corpora.len()));
        let percentile = |unit: Unit, value: f32| read.as_ref()?.percentile(unit, value);
        let asked = self.asked(on, &banks, &percentile, taken, &input.prompts)?;
        input.prompts.note_replaced(self.words(), out);
        input.prompts.note_spaces(on, &asked.targets, asked.positions.as_deref(), out)?;
        let watch = out.watch;
        neurons(&on.model, prompts, &|id| on.spell(id), &asked, &mut known, watch, &mut |found| {
            found.neurons.into_iter().try_for_each(|row| out.push(row))?;
            found.layers.into_iter().try_for_each(|row| out.push(row))?;
            found.vocab.into_iter().try_for_each(|row| out.push(row))
        })
    }
}
