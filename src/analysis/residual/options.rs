//! The question with its options.

use serde::{Deserialize, Serialize};

use super::rows::{ResidualHeadRow, ResidualMeanRow, ResidualRow};
use super::{Asked, need, residual};
use crate::analysis::loss::mean_and_error;
use crate::error::{Error, Result};
use crate::range::{self, Interval};
use crate::session::targets::Options as Words;
use crate::session::{Analysis, Session, Sink, Target, Targeted};
use crate::sweep::Need;
use crate::sweep::budget::Budget;
use crate::table::visible;
use crate::text::{Bos, Prompt, PromptEntry};

/// Residual: each sublayer adds to the stream. Which of them push the answer, and when is it decided?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes residual.parquet (see `pellucid tables residual`), residual_heads.parquet with the part of each head, of several prompts \
                        also residual_mean.parquet, and for each prompt an SVG of the pushes, the logit lens and the stream over depth."
    )
)]
pub struct Residual {
    /// The token whose logit is explained, such as " Paris", or a token id, such as #17 [default: of each prompt in a file, its field
    /// `target`, or `target_id`; else the most probable one]; or a word of several tokens, each of which is explained where it is said, after
    /// the prompt and those before it
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN"))]
    pub target: Option<String>,
    /// A token that the target is compared with [default: of each prompt in a file, `foil` or `foil_id`]
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN"))]
    pub foil: Option<String>,
    /// Positions, such as 0,3-5,-1; negative ones count from the end; or all
    #[serde(serialize_with = "range::text")]
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "POSITIONS", default_value_t = Residual::default().pos, allow_hyphen_values = true)
    )]
    pub pos: String,
}

impl Default for Residual {
    fn default() -> Self {
        Self { target: None, foil: None, pos: "-1".into() }
    }
}

/// `0,3-5,-1`, or `all`, of which there is no list.
///
/// # Errors
/// When it is neither.
pub(in crate::analysis) fn positions(text: &str) -> Result<Option<Vec<Interval>>> {
    let chosen = range::intervals(text)?;
    Ok(Some(chosen).filter(|chosen| !chosen.contains(&Interval::ALL)))
}

impl Residual {
    /// What options say of the words after all prompts.
    fn words(&self) -> Words<'_> {
        Words { target: self.target.as_deref(), foil: self.foil.as_deref(), alone: true }
    }

    /// The prompts with what is read after them, and what is asked of them.
    fn asked(&self, on: &Session, input: &Targeted) -> Result<(Vec<Prompt>, Asked)> {
        let target = self.target.as_deref().map(|text| on.answer(text)).transpose()?.unwrap_or_default();
        if let [first, rest @ ..] = &target[..]
            && !rest.is_empty()
        {
            return self.one_after_another(on, input, (*first, rest));
        }
        let (targets, budget) = (input.followed(on, self.words())?, Budget(on.memory_bytes));
        Ok((input.prompts.clone(), Asked { targets, rest: vec![], positions: positions(&self.pos)?, budget }))
    }

    /// The same of a target of several tokens.
    fn one_after_another(
        &self,
        on: &Session,
        input: &Targeted,
        (first, rest): (u32, &[u32]),
    ) -> Result<(Vec<Prompt>, Asked)> {
        let n = 1 + rest.len();
        let refused =
            |why: &str, hint: &str| Err(Error::bad_input(format!("the target is {n} tokens{why}")).hint(hint));
        if self.foil.is_some() || input.targets.iter().any(|own| own.foil.is_some()) {
            return refused(", and a foil is compared with one", "leave the foil out, or choose a target of one token");
        }
        if self.pos != Self::default().pos {
            let why = format!(", which are explained where each is said and not at \"{}\"", visible(&self.pos));
            return refused(&why, "leave the positions out");
        }
        if !on.model.spec().is_causal() {
            return refused(", and this model would see each before it says it", "choose a target of one token");
        }
        let read = [&[first], &rest[..rest.len() - 1]].concat();
        let followed = |prompt: &Prompt| -> Result<Prompt> {
            let ids = [prompt.ids(), read.clone()].concat();
            let text = on.prompts(&[PromptEntry::ids(ids).named(&prompt.id)], Bos::AsTokenizer)?;
            let more = text.into_iter().flat_map(|text| text.tokens).skip(prompt.tokens.len());
            Ok(Prompt { tokens: prompt.tokens.iter().cloned().chain(more).collect(), ..prompt.clone() })
        };
        let positions = Some(vec![Interval::from(-(n as isize)..=-1)]);
        let (rest, budget) = (rest.to_vec(), Budget(on.memory_bytes));
        let prompts = input.prompts.iter().map(followed).collect::<Result<Vec<_>>>()?;
        let targets = vec![Target { target: Some(first), foil: None }; prompts.len()];
        Ok((prompts, Asked { targets, rest, positions, budget }))
    }
}

impl Analysis for Residual {
    const NAME: &'static str = "residual";
    type Tables = (ResidualRow, ResidualHeadRow, ResidualMeanRow);
    type On = Session;
    type Input = Targeted;

    fn need(&self, on: &Session, input: &Targeted) -> Result<Need> {
        let (prompts, asked) = self.asked(on, input)?;
        Ok(need(on.model.spec(), &prompts, &asked))
    }

    fn run(&self, on: &Session, input: &Targeted, out: &mut Sink<'_>) -> Result<()> {
        let (prompts, asked) = self.asked(on, input)?;
        input.note_replaced(self.words(), out);
        match asked.rest.is_empty() {
            true => input.note_spaces(on, &asked.targets, asked.positions.as_deref(), out)?,
            false => {
                let first = asked.targets.first().and_then(|own| own.target);
                let target: Vec<u32> = first.into_iter().chain(asked.rest.iter().copied()).collect();
                let (text, n) = (visible(&on.spelled(&target)), target.len());
                out.note(format!(
                    "the target \"{text}\" is {n} tokens: each is explained where it is said, after the prompt and the tokens before it"
                ));
            }
        }
        let (watch, mut means) = (out.watch, Means::default());
        residual(&on.model, &prompts, &|id| on.spell(id), &asked, watch, &mut |rows, heads| {
            rows.into_iter().try_for_each(|row| {
                means.take(&row);
                out.push(row)
            })?;
            heads.into_iter().try_for_each(|row| out.push(row))
        })?;
        if input.prompts.len() > 1 {
            means.rows().try_for_each(|row| out.push(row))?;
        }
        Ok(())
    }
}

/// Of a stroke how many positions, and the sums of three pushes.
type Sums = (f64, [f64; 3]);

/// The pushes of each stroke: of each prompt their sums over its positions.
#[derive(Default)]
struct Means {
    strokes: Vec<(String, Option<u32>)>,
    /// Of each prompt its number, and its strokes.
    prompts: Vec<(u32, Vec<Sums>)>,
}

impl Means {
    fn take(&mut self, row: &ResidualRow) {
        let step = row.step as usize;
        if self.strokes.len() <= step {
            self.strokes.push((row.kind.clone(), row.layer));
        }
        if self.prompts.last().is_none_or(|(prompt, _)| *prompt != row.prompt) {
            self.prompts.push((row.prompt, vec![]));
        }
        let Some((_, strokes)) = self.prompts.last_mut() else { return };
        if strokes.len() <= step {
            strokes.push((0.0, [0.0; 3]));
        }
        let (n, sums) = &mut strokes[step];
        *n += 1.0;
        let pushes = [row.push, row.push_cumulative, row.push_foil.unwrap_or(f64::NAN)];
        sums.iter_mut().zip(pushes).for_each(|(sum, push)| *sum += push);
    }

    fn rows(&self) -> impl Iterator<Item = ResidualMeanRow> {
        self.strokes.iter().enumerate().map(|(step, (kind, layer))| {
            let of = |i: usize| {
                let each = self.prompts.iter().map(|(_, strokes)| strokes[step].1[i] / strokes[step].0);
                mean_and_error(&each.collect::<Vec<_>>())
            };
            let [(push, push_se), (push_cumulative, push_cumulative_se), (foil, foil_se)] = [0, 1, 2].map(of);
            let known = |x: f64| (!foil.is_nan()).then_some(x);
            ResidualMeanRow {
                step: step as u32,
                kind: kind.clone(),
                layer: *layer,
                prompts: self.prompts.len() as u32,
                push,
                push_se,
                push_cumulative,
                push_cumulative_se,
                push_foil: known(foil),
                push_foil_se: known(foil_se),
            }
        })
    }
}
