//! Surprise as it is seen: the text, each token coloured by its surprise; and the question with its options.

use std::f64::consts::LN_2;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{LossMeanRow, LossPromptRow, LossRow, loss, mean, need};
use crate::error::Result;
use crate::number::Locale;
use crate::session::{Analysis, Prompts, Session, Sink};
use crate::sweep::{Budget, Need};
use crate::table::{Provenance, Rows, visible, visible_prose};
use crate::view::colour::Colours;
use crate::view::extent::each_prompt;
use crate::view::kind::{Body, Cell, Panel, Text, View};
use crate::view::{Emit, Options, Seen};

/// Loss: how surprised is the model by each token of a text?
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes loss.parquet (see `pellucid tables loss`), loss_prompt.parquet with perplexity and bits per byte of each prompt, of several \
                        prompts also loss_mean.parquet, and for each prompt an SVG of its text, coloured by surprise."
    )
)]
pub struct Loss {}

impl Analysis for Loss {
    const NAME: &'static str = "loss";
    type Tables = (LossRow, LossPromptRow, LossMeanRow);
    type On = Session;
    type Input = Prompts;

    fn need(&self, on: &Session, input: &Prompts) -> Result<Need> {
        Ok(need(&on.model, &input.prompts, Budget(on.memory_bytes)))
    }

    fn run(&self, on: &Session, input: &Prompts, out: &mut Sink<'_>) -> Result<()> {
        let (watch, mut prompts) = (out.watch, vec![]);
        loss(&on.model, &input.prompts, &|id| on.spell(id), Budget(on.memory_bytes), watch, &mut |rows, whole| {
            rows.into_iter().try_for_each(|row| out.push(row))?;
            prompts.extend(whole.clone());
            whole.map_or(Ok(()), |row| out.push(row))
        })?;
        if prompts.len() > 1 {
            let mean = mean(&prompts);
            let nats = Locale::EN.fixed(mean.loss_nats, 3);
            out.say(format_args!(
                "{} prompts: mean surprise {nats} nats (standard error {}), which is {:.3} bits, perplexity {:.2}",
                mean.prompts,
                Locale::EN.error(&nats, mean.loss_nats_se),
                mean.loss_nats / LN_2,
                mean.perplexity
            ));
            out.push(mean)?;
        }
        Ok(())
    }
}

impl Seen for LossPromptRow {
    const DRAWN: bool = false;
}

impl Seen for LossMeanRow {
    const DRAWN: bool = false;
}

impl Seen for LossRow {
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        each_prompt(rows, from, how, |row| row.prompt, &mut |own, end, provenance| {
            let name = format!("loss{}", end);
            emit(view(name, &own, provenance, how))
        })
    }
}

fn view(name: String, rows: &[LossRow], provenance: Arc<Provenance>, how: &Options) -> View {
    let locale = how.locale;
    let bits = |x: f64| locale.fixed(x, 1);
    let losses: Vec<f64> = rows.iter().filter_map(|row| row.loss_nats).collect();
    let mean = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
    let most = rows.iter().filter_map(|row| row.loss_bits).fold(0.0, f64::max);
    let worst = rows.iter().find(|row| row.loss_bits == Some(most));
    let found = match (worst, worst.and_then(|row| row.expected.as_deref())) {
        (Some(row), Some(expected)) => format!(
            "Most surprising: \"{}\" at position {}, {} bits; the model expected \"{}\".",
            visible(&row.token),
            row.pos,
            bits(most),
            visible(expected)
        ),
        _ => "There is nothing to predict: a prompt of one token.".to_owned(),
    };
    let mut caption = vec![found];
    if !losses.is_empty() {
        let (nats, perplexity) = (locale.loss(mean as f32), locale.any(mean.exp() as f32));
        let bits = locale.loss((mean / LN_2) as f32);
        caption.push(format!("Mean surprise {nats} nats ({bits} bits) for each token, perplexity {perplexity}."));
    }
    let cell = |row: &LossRow| {
        let known = row.loss_bits.zip(row.rank).zip(row.expected.as_deref().zip(row.expected_prob));
        Cell {
            value: row.loss_bits.unwrap_or(f64::NAN),
            label: visible(&row.token),
            below: row.loss_bits.map(bits).unwrap_or_default(),
            title: known.map_or_else(
                || format!("position {}, \"{}\": nothing before it", row.pos, visible(&row.token)),
                |((loss, rank), (expected, prob))| {
                    format!(
                        "position {}, \"{}\": {} bits, rank {rank}; expected \"{}\" with probability {}",
                        row.pos,
                        visible(&row.token),
                        bits(loss),
                        visible(expected),
                        locale.probability(prob as f32)
                    )
                },
            ),
            ..Cell::default()
        }
    };
    let prompt = rows.first().map_or(String::new(), |row| format!("prompt {}", visible_prose(&row.prompt_id)));
    // Colours mean the same in all figures: nobody is much more surprised than by a token of a million.
    let colours = Colours::rising("surprise (bits)", 16.0);
    let tokens = rows.iter().map(cell).collect();
    View {
        name,
        title: "Surprise".to_owned(),
        subtitle: View::subtitle(&provenance, &prompt),
        caption,
        legend: vec!["Under each token its surprise in bits; the first has nothing before it.".to_owned()],
        panels: vec![Panel { heading: String::new(), body: Body::Text(Text { colours, tokens }) }],
        more: vec![],
        provenance,
        locale,
    }
}
