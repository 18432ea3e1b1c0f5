//! Generate: the text goes on, token by token, as often as is asked for, and everything about each draw is written down.
//!
//! Keys and values of earlier positions are kept, and all traces of a step run in one pack. Hooks see every step, so that what is
//! recorded or changed is what a run of the finished text records and changes.

mod options;
mod record;
pub mod rows;
mod view;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::hook::{Cache, Hook, HookPoint, Site};
use crate::model::{Batch, Growing, Model, Run, Sequence, Unembed};
use crate::ops::numbers;
use crate::sample::{Chain, Context, Pool, uniform};
use crate::sweep::{Watch, check_prompts};
use crate::text::Prompt;
pub use options::Generate;
pub use record::Recorded;
pub use rows::{GeneratedRow, TraceRow};

/// How a text goes on.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is done to logits before a draw.
    pub chain: Chain,
    /// How many continuations of each prompt.
    pub traces: usize,
    /// How many tokens each has at most.
    pub tokens: usize,
    /// What draws depend on, beside trace and step.
    pub seed: u64,
    /// Tokens that end a text.
    pub ends: Vec<u32>,
    /// Whether to say when each token was decided: the lens, a decoding of the stream after every layer.
    pub decided: bool,
}

/// Why a trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The model said so.
    EndOfText,
    /// A text came at which it was to stop.
    Stop,
    /// It has as many tokens as were asked for.
    Tokens,
    /// The model sees no more.
    Context,
}

impl Ended {
    /// As tables have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EndOfText => "end of text",
            Self::Stop => "stop",
            Self::Tokens => "tokens",
            Self::Context => "context",
        }
    }
}

/// One drawn token.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The token.
    pub id: u32,
    /// What the model gave it.
    pub prob_raw: f64,
    /// With what it was drawn.
    pub prob_sampled: f64,
    /// Its place, from 1.
    pub rank: u32,
    /// How many could be drawn.
    pub pool_size: u32,
    /// Of what the model said, in nats.
    pub entropy_nats: f64,
    /// By which number it was drawn.
    pub draw: f64,
    /// Whether rounding may decide.
    pub close: bool,
    /// The most probable token.
    pub greedy: u32,
    /// After how many layers the lens says so, and goes on to.
    pub decided: Option<u32>,
}

/// A continuation.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Its tokens.
    pub steps: Vec<Step>,
    /// Why it ended.
    pub ended: Option<Ended>,
}

impl Trace {
    /// The ids of its tokens.
    pub fn ids(&self) -> Vec<u32> {
        self.steps.iter().map(|step| step.id).collect()
    }
}

/// Continues `prompt`. `stops` is asked of the ids of each trace whether its text ends there. Hooks see the run of the prompt, which is one for
/// all traces, and that of each step, whose sequences are the traces that go on; what they leave is recorded.
///
/// # Errors
/// A model that is not causal; a run that is not finite; whatever hooks or `watch` say.
pub fn generate(
    model: &Model,
    prompt: &Prompt,
    asked: &Asked,
    stops: &dyn Fn(&[u32]) -> Result<bool>,
    hooks: &mut [&mut dyn Hook],
    mut recorded: Option<&mut Recorded>,
    watch: &dyn Watch,
) -> Result<Vec<Trace>> {
    super::next::causal(model)?;
    let (ids, n_ctx) = (prompt.ids(), model.spec().n_ctx.unwrap_or(usize::MAX));
    let most = asked.tokens.min(n_ctx.saturating_add(1).saturating_sub(ids.len()));
    let mut traces = vec![Trace::default(); asked.traces];
    let mut alive: Vec<usize> = (0..asked.traces).collect();
    let mut growing: Vec<Growing> = vec![];
    for step in 0..most {
        watch.at(step, most)?;
        let first = step == 0;
        let sequences = match first {
            true => vec![Sequence::new(ids.clone())],
            false => {
                let next = |(g, t): (&Growing, &usize)| {
                    let last = traces[*t].steps.last().map_or(0, |step| step.id);
                    Ok(Sequence::after(g.prefix()?, [last]))
                };
                growing.iter().zip(&alive).map(next).collect::<Result<_>>()?
            }
        };
        let batch = Batch { sequences };
        let rows: Vec<u32> = batch.rows().sequences.iter().map(|s| s.rows.end as u32 - 1).collect();
        let run = Run { unembed: Unembed::Rows(rows.clone()), keep_prefixes: true, ..Run::default() };
        let mut lens = Lens::new(model, asked.decided);
        let out = {
            let mut all: Vec<&mut dyn Hook> = hooks.iter_mut().map(|hook| &mut **hook as &mut dyn Hook).collect();
            all.extend(recorded.as_mut().map(|recorded| &mut recorded.cache as &mut dyn Hook));
            all.extend(lens.cache.as_mut().map(|cache| cache as &mut dyn Hook));
            model.run(&batch, &run, &mut all)?
        };
        if first {
            check_prompts(model, std::slice::from_ref(prompt), &out, "")?;
        }
        if let Some(recorded) = recorded.as_mut() {
            if first { recorded.begin(asked.traces)? } else { recorded.step(&alive)? }
        }
        let logits = numbers(out.logits()?)?;
        let width = logits.len() / rows.len();
        let firsts = lens.firsts(model, &rows)?;
        // The prompt's row is every trace's.
        let row = |i: usize| if first { 0 } else { i };
        let drawn = |(i, t): (usize, &usize)| {
            let says = &logits[row(i) * width..][..width];
            let before: Vec<u32> = traces[*t].ids();
            let at = uniform(asked.seed, *t as u64, step as u64);
            let decided = firsts.as_ref().map(|firsts| &firsts[row(i)][..]);
            one(says, &asked.chain, Context { prompt: &ids, output: &before }, at, decided)
        };
        let steps = alive.par_iter().enumerate().map(drawn).collect::<Result<Vec<Step>>>()?;
        for (t, step) in alive.iter().zip(steps) {
            traces[*t].steps.push(step);
        }
        match first {
            true => {
                let room = ids.len() + most;
                let begin = |_: &usize| Growing::after(model.spec(), &out.prefixes[0], room);
                growing = alive.iter().map(begin).collect::<Result<_>>()?;
            }
            false => growing.iter_mut().zip(&out.prefixes).try_for_each(|(g, more)| g.push(more))?,
        }
        for t in &alive {
            traces[*t].ended = ended(&traces[*t], asked, stops, step + 1 == most)?;
        }
        let mut goes_on = alive.iter().map(|t| traces[*t].ended.is_none());
        growing.retain(|_| goes_on.next().unwrap_or_default());
        alive.retain(|t| traces[*t].ended.is_none());
        if alive.is_empty() {
            break;
        }
    }
    traces.iter_mut().for_each(|trace| trace.ended = trace.ended.or(Some(Ended::Context)));
    watch.at(most, most)?;
    Ok(traces)
}

/// Whether a trace ends with the token that it has now.
fn ended(trace: &Trace, asked: &Asked, stops: &dyn Fn(&[u32]) -> Result<bool>, last: bool) -> Result<Option<Ended>> {
    let ids = trace.ids();
    Ok(if ids.last().is_some_and(|id| asked.ends.contains(id)) {
        Some(Ended::EndOfText)
    } else if stops(&ids)? {
        Some(Ended::Stop)
    } else if ids.len() == asked.tokens {
        Some(Ended::Tokens)
    } else {
        last.then_some(Ended::Context)
    })
}

/// A token drawn by `at`. `firsts` is the lens's first token after each layer.
fn one(logits: &[f32], chain: &Chain, context: Context<'_>, at: f64, firsts: Option<&[u32]>) -> Result<Step> {
    let mut pool = Pool::to_draw(logits, chain, context)?;
    let (drawn, greedy) = (pool.draw(at), pool.first());
    let decided = firsts.map(|firsts| {
        let others = firsts.iter().rposition(|first| *first != greedy);
        others.map_or(0, |last| last as u32 + 1)
    });
    Ok(Step {
        id: drawn.id,
        prob_raw: pool.prob(drawn.id),
        prob_sampled: drawn.prob,
        rank: pool.rank(drawn.id),
        pool_size: pool.size() as u32,
        entropy_nats: pool.entropy_nats(),
        draw: at,
        close: drawn.close || pool.is_close(),
        greedy,
        decided,
    })
}

/// What the stream says after each layer.
struct Lens {
    cache: Option<Cache>,
}

impl Lens {
    fn new(model: &Model, wanted: bool) -> Self {
        let after = |layer| HookPoint { layer: Some(layer), expert: None, site: Site::ResidPost };
        Self { cache: wanted.then(|| Cache::of((0..model.spec().n_layers()).map(after))) }
    }

    /// For each of these rows of the pack, the most probable token before the first layer's end, after it, and so on.
    fn firsts(&self, model: &Model, rows: &[u32]) -> Result<Option<Vec<Vec<u32>>>> {
        let Some(cache) = &self.cache else { return Ok(None) };
        let mut firsts = vec![vec![]; rows.len()];
        for (_, streams) in cache.iter() {
            let stream = streams.first().ok_or_else(|| Error::compute("a block has no stream").fault())?;
            let picked = stream.index_select(&candle_core::Tensor::new(rows, stream.device())?, 0)?;
            let first = model.decode(&picked)?.argmax(1)?.to_vec1::<u32>()?;
            firsts.iter_mut().zip(first).for_each(|(of, first)| of.push(first));
        }
        Ok(Some(firsts))
    }
}
