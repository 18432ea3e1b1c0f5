//! The question with its options.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::rows::{GeneratedRow, TraceRow};
use super::{Asked, Ended, Recorded, Trace, generate};
use crate::analysis::cache::{FORMAT, FORMAT_VERSION};
use crate::analysis::next::chain;
use crate::error::{Error, Result};
use crate::hook::{Edit, Hook};
use crate::sample::{GenerationConfig, Sampling};
use crate::session::{Analysis, Session, Sink, Steered};
use crate::sweep::{Need, row_bytes};
use crate::table::METADATA_KEY;
use crate::text::Prompt;

/// What the file of activations is called.
const FILE: &str = "activations.safetensors";

/// Generate: how does the text go on, and from what was each token drawn?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(
    feature = "cli",
    command(
        after_help = "Writes traces.parquet, a row for each token (see `pellucid tables traces`), generated.parquet with the whole texts, with --hooks \
                        activations.safetensors (as `pellucid cache` does), and for each prompt an SVG of the tree of its traces."
    )
)]
pub struct Generate {
    /// How a token is drawn.
    #[serde(flatten)]
    #[cfg_attr(feature = "cli", command(flatten))]
    pub sampling: Sampling,
    /// How many continuations of each prompt
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Generate::default().traces, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..)))]
    pub traces: usize,
    /// How many tokens each has at most
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Generate::default().tokens, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..)))]
    pub tokens: usize,
    /// Seed for random draws
    #[cfg_attr(feature = "cli", arg(long, value_name = "SEED", default_value_t = 0))]
    pub seed: u64,
    /// Stop a trace when this text comes in it; may be repeated
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT"))]
    pub stop: Vec<String>,
    /// Go on after the token that ends a text
    #[cfg_attr(feature = "cli", arg(long))]
    pub ignore_eos: bool,
    /// Record these hooks at every step, such as 'blocks.*.hook_resid_post' (`pellucid hooks` lists them)
    #[cfg_attr(feature = "cli", arg(long, visible_alias = "at", value_name = "HOOKS"))]
    pub hooks: Option<String>,
    /// Say for each token after which layer the lens came to the most probable token: decodes the stream after every layer
    #[cfg_attr(feature = "cli", arg(long))]
    pub decided: bool,
    /// Where the steering vector is added, at every position and step, such as blocks.2.hook_resid_post
    #[cfg_attr(feature = "cli", arg(long, value_name = "HOOKS", requires = "steer"))]
    pub steer_at: Option<String>,
    /// How much of the steering vector is added
    #[cfg_attr(feature = "cli", arg(long, value_name = "FACTOR", default_value_t = 1.0, allow_hyphen_values = true))]
    pub strength: f64,
    /// Put zero in the place of the values of these hooks, at every position and step
    #[cfg_attr(feature = "cli", arg(long, value_name = "HOOKS"))]
    pub zero: Option<String>,
}

impl Default for Generate {
    fn default() -> Self {
        Self {
            sampling: Sampling::default(),
            traces: 1,
            tokens: 40,
            seed: 0,
            stop: vec![],
            ignore_eos: false,
            hooks: None,
            decided: false,
            steer_at: None,
            strength: 1.0,
            zero: None,
        }
    }
}

impl Analysis for Generate {
    const NAME: &'static str = "generate";
    const FILES: &'static [&'static str] = &[FILE];
    type Tables = (TraceRow, GeneratedRow);
    type On = Session;
    type Input = Steered;

    fn need(&self, on: &Session, input: &Steered) -> Result<Need> {
        let spec = on.model.spec();
        let longest = input.prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
        let kept = |block: &crate::arch::spec::Block| {
            let a = &block.attention.inner;
            2 * a.n_kv_heads * a.d_head * size_of::<f32>()
        };
        let kept: usize = spec.blocks.iter().map(kept).sum();
        let hooks = self.hooks.as_ref().map(|hooks| Recorded::row_bytes(spec, hooks)).transpose()?.unwrap_or(0);
        let texts = self.traces * (longest + self.tokens);
        // What samplers make of logits is in f64.
        let pools = self.traces * spec.unembedding.d_vocab_out * 8 * size_of::<f64>();
        let recorded = texts * hooks * input.prompts.len();
        let activations = texts * kept + recorded + pools + longest.max(self.traces) * row_bytes(spec);
        Ok(Need { activations, least: activations, rows: 0 })
    }

    fn run(&self, on: &Session, input: &Steered, out: &mut Sink<'_>) -> Result<()> {
        let (chain, config) = chain(&self.sampling, on, out)?;
        if chain.is_greedy() {
            let alike = if self.traces > 1 { ", and all traces are alike" } else { "" };
            out.note(format!("{chain}: each token is the most probable one, whatever the seed{alike}"));
        }
        let ends = if self.ignore_eos { vec![] } else { ends(on, config.as_ref())? };
        if ends.is_empty() && !self.ignore_eos {
            let n = self.tokens;
            out.note(format!("the model's files name no token that ends a text, so that traces have {n} tokens"));
        }
        for stop in &self.stop {
            on.continuation(stop).map_err(|e| e.at(format_args!("a text to stop at, \"{stop}\"")))?;
        }
        out.provenance().seed = Some(self.seed);
        let mut hooks = self.edits(on, input)?;
        let mut hooks: Vec<&mut dyn Hook> = hooks.iter_mut().map(|edit| edit as &mut dyn Hook).collect();
        let spec = on.model.spec();
        let mut recorded = self.hooks.as_ref().map(|hooks| Recorded::new(spec, hooks)).transpose()?;
        let asked =
            Asked { chain, traces: self.traces, tokens: self.tokens, seed: self.seed, ends, decided: self.decided };
        let watch = out.watch;
        for prompt in &input.prompts {
            let ids = prompt.ids();
            let stops = |new: &[u32]| -> Result<bool> {
                if self.stop.is_empty() {
                    return Ok(false);
                }
                let text = continued(on, &ids, new)?;
                Ok(self.stop.iter().any(|stop| text.contains(&**stop)))
            };
            let traces = generate(&on.model, prompt, &asked, &stops, &mut hooks, recorded.as_mut(), watch)?;
            for (t, trace) in traces.iter().enumerate() {
                for row in rows(on, prompt, t, trace) {
                    out.push(row)?;
                }
                out.push(whole(on, prompt, t, trace, &asked)?)?;
            }
            if traces.iter().any(|trace| trace.ended == Some(Ended::Context)) {
                let n_ctx = spec.n_ctx.unwrap_or(usize::MAX);
                out.note(format!(
                    "the context of {n_ctx} positions is full: a trace of prompt {} ended there",
                    prompt.id
                ));
            }
            recorded.iter_mut().for_each(|recorded| recorded.finish(prompt, &traces));
        }
        if let Some(recorded) = recorded {
            let path = out.file(FILE)?;
            let mut provenance = out.provenance().clone();
            provenance.stamp_as(FORMAT, FORMAT_VERSION);
            recorded.write(spec, HashMap::from([(METADATA_KEY.to_owned(), provenance.to_json())]), &path)?;
        }
        Ok(())
    }
}

impl Generate {
    /// What changes each run.
    fn edits(&self, on: &Session, input: &Steered) -> Result<Vec<Edit>> {
        let (spec, mut edits) = (on.model.spec(), vec![]);
        match (&input.steer, &self.steer_at) {
            (Some(vector), Some(at)) => {
                if !self.strength.is_finite() {
                    return Err(Error::bad_input(format!("a strength of {}", self.strength)).hint("give a number"));
                }
                for point in crate::hook::select(spec, at)? {
                    let [.., width] = point.shape(spec, 1)[..] else { continue };
                    if vector.elem_count() != width {
                        let has = vector.elem_count();
                        return Err(Error::bad_input(format!("the vector has {has} numbers, and {point} has {width}"))
                            .hint("give a vector of that width, or another hook"));
                    }
                }
                edits.push(Edit::add(spec, at, (vector * self.strength)?.to_dtype(on.model.dtype())?)?);
            }
            (Some(_), None) => {
                return Err(Error::bad_input("it is not said where the steering vector is added")
                    .hint("name a hook, such as blocks.2.hook_resid_post"));
            }
            (None, _) => {}
        }
        edits.extend(self.zero.as_ref().map(|zero| Edit::zero(spec, zero)).transpose()?);
        Ok(edits)
    }
}

/// The tokens that end a text: as `generation_config.json` says, else `config.json`.
fn ends(on: &Session, config: Option<&GenerationConfig>) -> Result<Vec<u32>> {
    let said = config.map(GenerationConfig::ends).unwrap_or_default();
    match said.is_empty() {
        true => Ok(GenerationConfig::of_config(&on.source.files)?.map(|config| config.ends()).unwrap_or_default()),
        false => Ok(said),
    }
}

/// What `new` tokens spell after these.
fn continued(on: &Session, before: &[u32], new: &[u32]) -> Result<String> {
    let Some(tokenizer) = &on.tokenizer else { return Ok(new.iter().map(|id| format!("#{id}")).collect()) };
    // Decoded alone, a text may lose the space that it begins with.
    let all = tokenizer.decode(&[before, new].concat())?;
    match all.strip_prefix(&tokenizer.decode(before)?) {
        Some(text) => Ok(text.to_owned()),
        None => tokenizer.decode(new),
    }
}

fn rows(on: &Session, prompt: &Prompt, trace: usize, of: &Trace) -> Vec<TraceRow> {
    let row = |(i, step): (usize, &super::Step)| TraceRow {
        prompt: prompt.index,
        prompt_id: prompt.id.clone(),
        trace: trace as u32,
        step: i as u32,
        pos: (prompt.tokens.len() + i) as u32,
        token: on.spell(step.id),
        token_id: step.id,
        prob_raw: step.prob_raw,
        prob_sampled: step.prob_sampled,
        rank: step.rank,
        pool_size: step.pool_size,
        entropy_bits: step.entropy_nats / std::f64::consts::LN_2,
        draw: step.draw,
        close: step.close,
        greedy_token: on.spell(step.greedy),
        greedy_id: step.greedy,
        decided_layer: step.decided,
    };
    of.steps.iter().enumerate().map(row).collect()
}

fn whole(on: &Session, prompt: &Prompt, trace: usize, of: &Trace, asked: &Asked) -> Result<GeneratedRow> {
    let (ids, ended) = (of.ids(), of.ended.unwrap_or(Ended::Tokens));
    let said = if ended == Ended::EndOfText { &ids[..ids.len() - 1] } else { &ids[..] };
    Ok(GeneratedRow {
        prompt: prompt.index,
        prompt_id: prompt.id.clone(),
        trace: trace as u32,
        text: continued(on, &prompt.ids(), said)?,
        tokens: ids.len() as u32,
        ended: ended.name().to_owned(),
        log_prob: of.steps.iter().map(|step| step.prob_raw.ln()).sum(),
        samplers: asked.chain.to_string(),
    })
}
