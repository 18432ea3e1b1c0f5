//! The question with its options.

use serde::{Deserialize, Serialize};

use super::boards::Spelling;
use super::learned::Learned;
use super::rows::*;
use super::swap::{Swapped, Words};
use super::{Asked, Unplaced, boards, decay, kinds};
use crate::arch::Spec;
use crate::error::{Error, Result};
use crate::range::{self, Heads, Interval, positions_of};
use crate::session::{Analysis, Prompts, Session, Sink};
use crate::sweep::{Budget, Need};

/// Position: how does the model know what came first?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes position_decay.parquet (see `pellucid tables position_decay`) with scores at every distance and \
                        position_layers.parquet with how each block knows positions; by what the model has, position_vectors, position_cosines \
                        and position_waves (learned), position_rotary or position_alibi; position_boards.parquet with what comes next if \
                        positions are made equal and, with --swap, two words swapped; and an SVG of each."
    )
)]
pub struct Position {
    /// Heads whose scores are put at every distance, such as 1.1,2.0, L1H1 or 0-2.1; may be repeated [default: all heads of the first block, where a word that
    /// moves changes nothing else]
    #[serde(serialize_with = "range::heads")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "LAYER.HEAD", value_parser = Heads::parse))]
    pub head: Vec<Heads>,
    /// Positions of the queries, such as 0-3,-1; negative ones count from the end
    #[serde(serialize_with = "range::some")]
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "POSITIONS", value_delimiter = ',', value_parser = Interval::parse, default_value = "-1", allow_hyphen_values = true)
    )]
    pub query: Vec<Interval>,
    /// How far away from its query a key is put, in positions
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Position::default().distance))]
    pub distance: usize,
    /// How many positions of a learned table are compared, from the first
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Position::default().positions, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..)))]
    pub positions: usize,
    /// Two words of the prompt to swap, such as "dog,man": what comes next then?
    #[cfg_attr(feature = "cli", arg(long, value_name = "WORD,WORD", value_delimiter = ','))]
    pub swap: Vec<String>,
    /// How many candidates of each run are shown
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Position::default().top, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..)))]
    pub top: usize,
}

impl Default for Position {
    fn default() -> Self {
        Self { head: vec![], query: vec![(-1).into()], distance: 64, positions: 1024, swap: vec![], top: 8 }
    }
}

impl Position {
    fn asked(&self, on: &Session) -> Result<Asked> {
        let spec = on.model.spec();
        let heads = match self.head.is_empty() {
            true => (0..spec.blocks.first().map_or(0, |b| b.attention.inner.n_heads)).map(|head| (0, head)).collect(),
            false => Heads::all(&self.head).into_iter().map(|head| checked(spec, head)).collect::<Result<_>>()?,
        };
        let budget = Budget(on.memory_bytes);
        Ok(Asked { heads, queries: self.query.clone(), farthest: self.distance, budget })
    }

    /// The prompts with two words swapped, where that is asked for.
    fn swapped(&self, on: &Session, input: &Prompts) -> Result<Option<Vec<Swapped>>> {
        let Some(words) = Words::of(&self.swap)? else { return Ok(None) };
        if !on.model.spec().is_causal() {
            return Err(Error::bad_input("this model sees the whole text at once and says nothing of what comes next")
                .hint(crate::error::said("leave out {!swap}")));
        }
        input.prompts.iter().map(|prompt| words.swap(on, prompt)).collect::<Result<_>>().map(Some)
    }
}

fn checked(spec: &Spec, (layer, head): (usize, usize)) -> Result<(usize, usize)> {
    let n = spec.n_layers();
    let Some(block) = spec.blocks.get(layer) else {
        return Err(Error::no_such(format!("there is no head {layer}.{head}: the model has layers 0 to {}", n - 1))
            .hint(format!("choose a layer from 0 to {}", n - 1)));
    };
    let heads = block.attention.inner.n_heads;
    if head >= heads {
        let says = format!("there is no head {layer}.{head}: layer {layer} has heads 0 to {}", heads - 1);
        return Err(Error::no_such(says).hint(format!("choose a head from 0 to {}", heads - 1)));
    }
    Ok((layer, head))
}

impl Analysis for Position {
    const NAME: &'static str = "position";
    type Tables = (
        PositionDecayRow,
        PositionLayerRow,
        PositionVectorRow,
        PositionCosineRow,
        PositionWaveRow,
        PositionRotaryRow,
        PositionAlibiRow,
        PositionBoardRow,
    );
    type On = Session;
    type Input = Prompts;

    fn need(&self, on: &Session, input: &Prompts) -> Result<Need> {
        let (asked, spec) = (self.asked(on)?, on.model.spec());
        for prompt in &input.prompts {
            positions_of("the prompt", &self.query, prompt.tokens.len())?;
        }
        let swapped = self.swapped(on, input)?.is_some();
        let learned = kinds::learned_positions(spec).map_or(0, |n| Learned::bytes(n, spec.d_model, self.positions));
        let table = Need { activations: learned, least: learned, rows: 0 };
        let runs = if spec.is_causal() { boards::need(&on.model, &input.prompts, swapped) } else { Need::default() };
        Ok(decay::need(spec, &input.prompts, &asked).or(table).or(runs))
    }

    fn run(&self, on: &Session, input: &Prompts, out: &mut Sink<'_>) -> Result<()> {
        let (asked, model, watch) = (self.asked(on)?, &on.model, out.watch);
        let swapped = self.swapped(on, input)?;
        out.say(kinds::said(model.spec()));
        out.begin::<PositionDecayRow>()?;
        decay::decay(model, &input.prompts, &asked, watch, &mut |row| out.push(row))?;
        kinds::layers(model.spec()).into_iter().try_for_each(|row| out.push(row))?;
        if let Some(learned) = Learned::of(model, self.positions)? {
            let (all, compared) = learned.positions();
            if compared < all {
                out.note(format!("of the {all} positions of the table the first {compared} are compared"));
            }
            let found = learned.found()?;
            found.vectors.into_iter().try_for_each(|row| out.push(row))?;
            learned.cosines(&mut |row| out.push(row))?;
            found.waves.into_iter().try_for_each(|row| out.push(row))?;
        }
        for prompt in &input.prompts {
            kinds::rotary(model.spec(), prompt).into_iter().try_for_each(|row| out.push(row))?;
        }
        kinds::alibi(model, self.distance).into_iter().try_for_each(|row| out.push(row))?;
        if !model.spec().is_causal() {
            out.note(
                "this model sees the whole text at once: scores here are of keys up to the query alone, and there are no boards of what comes next",
            );
            return Ok(());
        }
        if !Unplaced::exists(model.spec()) && swapped.is_none() {
            return Ok(());
        }
        let words = Spelling { token: &|id| on.spell(id), text: &|ids| on.spelled(ids) };
        for (i, prompt) in input.prompts.iter().enumerate() {
            let swapped = swapped.as_ref().map(|swapped| &swapped[i]);
            if let Some(note) = swapped.and_then(|swapped| swapped.note.as_ref()) {
                out.note(note.as_str());
            }
            let swapped = swapped.map(|swapped| &swapped.prompt);
            boards::boards(model, prompt, swapped, self.top, words, &mut |row| out.push(row))?;
        }
        Ok(())
    }
}
