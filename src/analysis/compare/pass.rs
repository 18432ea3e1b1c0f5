//! Models run one after another on the same prompts: of the reference, logits of as many positions are kept as memory holds.

use std::ops::Range;

use candle_core::{DType, Device};
use rayon::prelude::*;

use super::positions::{Divergence, Says, divergence};
use crate::arch::Spec;
use crate::error::Result;
use crate::model::{Batch, Run, Unembed};
use crate::session::{Member, Models, Prompts};
use crate::sweep::{Budget, Need, Watch, check_finite, row_bytes};
use crate::text::Prompt;

/// Positions of a prompt, by its index among the prompts.
type Span = (usize, Range<usize>);

/// What one model says of a prompt.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// After each position.
    pub says: Vec<Says>,
    /// How far that is from what the reference says there; empty where both read other tokens.
    pub divergences: Vec<Divergence>,
}

/// Bytes of a position's numbers and rows of one model, until they are written.
const HELD: usize = 512;

/// Bytes of the logits of a position.
fn logit_bytes(spec: &Spec) -> usize {
    size_of::<f32>() * spec.unembedding.d_vocab_out
}

/// What runs may take, beside the logits that are kept, which may take half; and what logits may take while they are made.
fn quarter(budget: Budget) -> Budget {
    Budget(budget.0 / 4)
}

/// Rows of logits that are decoded at once.
fn at_once(spec: &Spec, budget: Budget) -> usize {
    // A row while it is made is there twice.
    quarter(budget).holds(2 * logit_bytes(spec))
}

/// The positions of which the reference's logits are kept at one time, prompt by prompt.
fn waves(reference: &Spec, prompts: &[Prompt], budget: Budget) -> Vec<Vec<Span>> {
    let most = budget.half().holds(logit_bytes(reference));
    let (mut waves, mut wave, mut room): (Vec<Vec<Span>>, Vec<Span>, usize) = (vec![], vec![], most);
    for (i, prompt) in prompts.iter().enumerate() {
        let (mut from, n) = (0, prompt.tokens.len());
        // A prompt that fits into a wave of its own is in one.
        if n > room && n <= most {
            waves.extend((!wave.is_empty()).then(|| std::mem::take(&mut wave)));
            room = most;
        }
        while from < n {
            let to = n.min(from + room);
            wave.push((i, from..to));
            (from, room) = (to, room - (to - from));
            if room == 0 {
                waves.push(std::mem::take(&mut wave));
                room = most;
            }
        }
    }
    waves.extend((!wave.is_empty()).then_some(wave));
    waves
}

/// What [`run`] needs of memory.
pub fn need(models: &Models, prompts: &[Prompts]) -> Need {
    let (Some(reference), Some(first)) = (models.all.first(), prompts.first()) else { return Need::default() };
    let budget = Budget(models.memory_bytes);
    let tokens: usize = first.prompts.iter().map(|prompt| prompt.tokens.len()).sum();
    let row = logit_bytes(&reference.spec);
    let kept = tokens.min(budget.half().holds(row));
    let runs = models.all.iter().zip(prompts).map(|(member, prompts)| {
        let sizes = sizes(&member.spec, &prompts.prompts);
        let logits = 2 * logit_bytes(&member.spec);
        let mut cut = quarter(budget).cut(&sizes, logits * at_once(&member.spec, budget).min(tokens.max(1)));
        cut.need.least = sizes.iter().copied().max().unwrap_or(0) + logits;
        cut.need
    });
    let runs = runs.reduce(Need::or).unwrap_or_default();
    let longest = first.prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(0);
    Need {
        activations: runs.activations + kept * row,
        least: runs.least + row,
        rows: (kept + longest).min(tokens) * HELD * models.all.len(),
    }
}

fn sizes<'p>(spec: &Spec, prompts: impl IntoIterator<Item = &'p Prompt>) -> Vec<usize> {
    prompts.into_iter().map(|prompt| prompt.tokens.len() * row_bytes(spec)).collect()
}

/// Runs all models on `prompts`, which are those of each model, and gives what they say of a prompt to `done`: its index, and what each model
/// says. `alike` says whether a model reads the same tokens as the reference in a prompt.
///
/// # Errors
/// Whatever loading, the runs or `done` say, and when a run is not finite.
pub fn run(
    models: &Models,
    prompts: &[Prompts],
    alike: &dyn Fn(usize, usize) -> bool,
    watch: &dyn Watch,
    done: &mut dyn FnMut(usize, &[Said]) -> Result<()>,
) -> Result<()> {
    let (Some(reference), Some(first)) = (models.all.first(), prompts.first()) else { return Ok(()) };
    let (first, budget) = (&first.prompts, Budget(models.memory_bytes));
    let waves = waves(&reference.spec, first, budget);
    // What is known of a prompt of which not all positions were seen.
    let mut begun: Vec<Said> = vec![];
    let total = waves.len() * models.all.len();
    for (w, wave) in waves.iter().enumerate() {
        let mut found: Vec<Vec<Said>> = vec![];
        let wide = reference.spec.unembedding.d_vocab_out;
        let compared = |i: usize| (1..models.all.len()).any(|m| alike(m, i));
        let room = |(i, range): &Span| if compared(*i) { range.len() * wide } else { 0 };
        let mut kept: Vec<Vec<f32>> = wave.iter().map(|span| Vec::with_capacity(room(span))).collect();
        for (m, (member, prompts)) in models.all.iter().zip(prompts).enumerate() {
            watch.at(w * models.all.len() + m, total)?;
            let prompts = &prompts.prompts;
            // Where tokens differ there are no positions in common: the whole prompt, when its first is due.
            let span = |(i, range): &Span| match alike(m, *i) {
                true => (*i, range.clone()),
                false if range.start == 0 => (*i, 0..prompts[*i].tokens.len()),
                false => (*i, 0..0),
            };
            let spans: Vec<Span> = wave.iter().map(span).collect();
            let mut said = vec![Said::default(); wave.len()];
            visit(models, member, prompts, &spans, &mut |at, says, logits, width| {
                said[at].says.extend(says);
                let i = spans[at].0;
                if m == 0 && compared(i) {
                    kept[at].extend_from_slice(logits);
                } else if m > 0 && alike(m, i) {
                    let (from, own) = (said[at].divergences.len(), logits.len() / width);
                    let theirs = &kept[at][from * wide..(from + own) * wide];
                    let each = theirs.par_chunks_exact(wide).zip(logits.par_chunks_exact(width));
                    said[at].divergences.extend(each.map(|(p, q)| divergence(p, q)).collect::<Vec<_>>());
                }
            })?;
            found.push(said);
        }
        drop(kept);
        for (at, (i, range)) in wave.iter().enumerate() {
            let parts = found.iter_mut().map(|said| std::mem::take(&mut said[at]));
            if range.start == 0 {
                begun = parts.collect();
            } else {
                for (whole, part) in begun.iter_mut().zip(parts) {
                    whole.says.extend(part.says);
                    whole.divergences.extend(part.divergences);
                }
            }
            if range.end == first[*i].tokens.len() {
                done(*i, &begun)?;
            }
        }
    }
    watch.at(total, total)
}

/// Takes what a model says at some positions of a span: which span it is, what is said, the logits, and how many there are at a position.
type See<'a> = dyn FnMut(usize, Vec<Says>, &[f32], usize) + 'a;

/// Loads a model and runs it on the prompts of `spans`; gives what it says at these positions, and its logits, some of a span at a time.
fn visit(models: &Models, member: &Member, prompts: &[Prompt], spans: &[Span], see: &mut See<'_>) -> Result<()> {
    let wanted: Vec<usize> = (0..spans.len()).filter(|at| !spans[*at].1.is_empty()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let (model, budget) = (models.load(member)?, Budget(models.memory_bytes));
    let some = at_once(model.spec(), budget);
    let own = |at: &usize| &prompts[spans[*at].0];
    for group in quarter(budget).groups(sizes(model.spec(), wanted.iter().map(own))) {
        let group = &wanted[group];
        let batch = Batch::of(group.iter().map(own).map(Prompt::ids));
        let out = model.run(&batch, &Run { unembed: Unembed::Nothing, ..Run::default() }, &mut [])?;
        let named = |i: usize| format!("the run of prompt \"{}\" in {}", own(&group[i]).id, member.name);
        check_finite(&model, &out, |i| (own(&group[i]).ids(), &[], named(i)))?;
        for (at, sequence) in group.iter().zip(&out.rows.sequences) {
            let (prompt, range) = (own(at), &spans[*at].1);
            for from in range.clone().step_by(some) {
                let n = some.min(range.end - from);
                let logits = model.decode(&out.resid.narrow(0, sequence.rows.start + from, n)?)?;
                let width = logits.dim(1)?;
                let next = |pos: usize| prompt.tokens.get(pos + 1).map(|token| token.id);
                let ids: Vec<u32> = (from..from + n).filter_map(next).collect();
                model.can_say(&ids).map_err(|e| e.hint("give a text of tokens that the model can say"))?;
                // Wherever it computes, and in whatever.
                let logits = logits.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                let rows = logits.par_chunks_exact(width).enumerate();
                let says = rows.map(|(i, logits)| Says::of(logits, next(from + i))).collect();
                see(*at, says, &logits, width);
            }
        }
    }
    Ok(())
}
