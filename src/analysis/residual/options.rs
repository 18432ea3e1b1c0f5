//! The question with its options.

use serde::{Deserialize, Serialize};

use super::rows::{ResidualHeadRow, ResidualMeanRow, ResidualRow};
use super::{Asked, need, residual};
use crate::analysis::loss::mean_and_error;
use crate::error::{Error, Result};
use crate::session::spaces::Words;
use crate::session::{Analysis, Prompts, Session, Sink};
use crate::sweep::Need;
use crate::sweep::budget::Budget;
use crate::text::positions::position_at;

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
    /// The token whose logit is explained, such as " Paris", or a token id, such as #17 [default: the most probable one]
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN"))]
    pub target: Option<String>,
    /// A token that the target is compared with
    #[cfg_attr(feature = "cli", arg(long, value_name = "TOKEN"))]
    pub foil: Option<String>,
    /// Positions, such as 0,3,-1; negative ones count from the end; or all
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

impl Residual {
    fn asked(&self, on: &Session) -> Result<Asked> {
        let token = |text: &Option<String>| text.as_deref().map(|text| on.target(text)).transpose();
        let number = |text: &str| {
            text.trim().parse::<isize>().map_err(|_| {
                Error::bad_input(format!("\"{}\" is no position", crate::table::visible(text)))
                    .hint("write numbers such as 0,3,-1, or all")
            })
        };
        Ok(Asked {
            target: token(&self.target)?,
            foil: token(&self.foil)?,
            positions: match self.pos.trim() {
                "all" => None,
                list => Some(list.split(',').map(number).collect::<Result<_>>()?),
            },
            budget: Budget(on.memory_bytes),
        })
    }
}

impl Analysis for Residual {
    const NAME: &'static str = "residual";
    type Tables = (ResidualRow, ResidualHeadRow, ResidualMeanRow);
    type On = Session;
    type Input = Prompts;

    fn need(&self, on: &Session, input: &Prompts) -> Result<Need> {
        Ok(need(on.model.spec(), &input.prompts, &self.asked(on)?))
    }

    fn run(&self, on: &Session, input: &Prompts, out: &mut Sink<'_>) -> Result<()> {
        let asked = self.asked(on)?;
        if let Some(target) = asked.target {
            let last = asked.positions.as_ref().and_then(|positions| positions.last()).copied().unwrap_or(-1);
            let tokens: Vec<u32> = [target].into_iter().chain(asked.foil).collect();
            let after = |p| Some(Words { prompt: p, at: position_at(last, p).ok()?, tokens: tokens.clone() });
            let words: Vec<Words<'_>> = input.prompts.iter().filter_map(after).collect();
            if let Some(said) = on.doubtful_spaces(["target", "prompts"], &words)? {
                out.note(said);
            }
        }
        let (watch, mut means) = (out.watch, Means::default());
        residual(&on.model, &input.prompts, &|id| on.spell(id), &asked, watch, &mut |rows, heads| {
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
