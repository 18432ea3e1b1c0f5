//! What the model can do, measured on combinations of words that it was never trained on.

use anyhow::{Context, Result};
use pellucid::model::{Batch, Model, Run, Unembed};
use pellucid::ops::Kernels;
use pellucid::ops::loss::cross_entropy;
use pellucid::session::Session;
use pellucid::text::Bos;

use super::corpus::{Sequence, random, repeated, streams, to_learn};
use super::grammar::greater_than::{YEARS, written};
use super::grammar::{Random, Split, Task, agreement, brackets, facts, greater_than, ioi};
use super::statistics::Mean;

/// Prompts in one pack.
const PACK: usize = 100;

/// One number about the model, and what it must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The skill, or the mechanism.
    pub name: String,
    /// How it is measured.
    pub measure: String,
    /// The number, a mean over a sample of questions.
    pub value: Mean,
    /// What it must reach.
    pub bound: Bound,
}

/// What a number must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// At least this.
    AtLeast(f64),
    /// Less than this.
    Under(f64),
    /// Whatever it is: it is only told, with this in place of a bound.
    Nothing(&'static str),
}

impl Measured {
    /// What `measure` says in words was measured of `name`, and what it must be.
    pub fn new(name: &str, measure: impl Into<String>, value: Mean, bound: Bound) -> Self {
        Self { name: name.into(), measure: measure.into(), value, bound }
    }

    /// Whether it is what it must be, by two standard errors: a claim about the model, and not about these questions.
    pub fn holds(&self) -> bool {
        let Mean { mean, error, .. } = self.value;
        match self.bound {
            Bound::AtLeast(least) => mean - 2.0 * error >= least,
            Bound::Under(most) => mean + 2.0 * error < most,
            Bound::Nothing(_) => true,
        }
    }
}

/// Every skill.
pub fn measure(loaded: &Session, seed: u64) -> Result<Vec<Measured>> {
    let mut random = random(seed, streams::QUESTIONS);
    let random = &mut random;
    let mut skills = vec![indirect_objects(loaded, random)?];
    for kind in facts::KINDS {
        skills.push(known_facts(loaded, random, kind)?);
    }
    let capitals = &facts::KINDS[0];
    let roundabout: Vec<&str> = capitals.roundabout().collect();
    let value = guessed(loaded, random, capitals, &roundabout)?;
    // Trained on, but this model is too small or was trained too shortly: who looks for it should know.
    let how = "most probable token is the capital of the country of one of two people, who are told apart by name; \
               guessing one of the two countries is half; 1,000 prompts";
    skills.push(Measured::new("facts: in two steps", how, value, Bound::Nothing("nothing: it did not learn this")));
    skills.push(induction(&loaded.model, random)?);
    let tasks: Vec<Task> = (0..1000).map(|_| agreement::misleading(random, Split::HeldOut)).collect();
    let value = preferred(loaded, &tasks)?;
    let how = "right verb form beats the wrong one; the noun between has the other number; 1,000 prompts";
    skills.push(Measured::new("agreement", how, value, Bound::AtLeast(0.95)));
    skills.push(greater(loaded, random)?);
    skills.extend(closed_brackets(loaded, random)?);
    Ok(skills)
}

fn indirect_objects(loaded: &Session, random: &mut Random) -> Result<Measured> {
    let tasks: Vec<Task> = (0..1000).map(|_| ioi::task(random, Split::HeldOut)).collect();
    let how = format!(
        "right name beats the repeated one; 1,000 prompts, {} frames, giver named first or second",
        ioi::FRAMES.len()
    );
    Ok(Measured::new("indirect object", how, preferred(loaded, &tasks)?, Bound::AtLeast(0.97)))
}

/// Facts of a kind in phrasings that they were not trained in.
fn known_facts(loaded: &Session, random: &mut Random, kind: &facts::Kind) -> Result<Measured> {
    let phrasings: Vec<&str> = kind.direct().collect();
    let value = guessed(loaded, random, kind, &phrasings)?;
    let how =
        format!("most probable token is the {}, in a phrasing not trained for that fact; 1,000 prompts", kind.name);
    Ok(Measured::new(&format!("facts: {}", kind.name), how, value, Bound::AtLeast(0.95)))
}

/// How often the answer is the most probable of all tokens.
fn guessed(loaded: &Session, random: &mut Random, kind: &facts::Kind, phrasings: &[&'static str]) -> Result<Mean> {
    let tasks: Vec<Task> = (0..1000).map(|_| facts::phrased(random, kind, Split::HeldOut, phrasings)).collect();
    let logits = last_logits(loaded, &tasks)?;
    let right = tasks.iter().zip(&logits).map(|(task, logits)| {
        let answer = logits[token(loaded, &task.answer)?];
        Ok(logits.iter().all(|&other| other <= answer))
    });
    Ok(Mean::share(&right.collect::<Result<Vec<_>>>()?))
}

fn induction(model: &Model, random: &mut Random) -> Result<Measured> {
    const LENGTH: usize = 20;
    let all = model.spec().d_vocab as u32 - 1;
    let sequences: Vec<Sequence> =
        (0..100).map(|_| Sequence { ids: repeated(random, all, LENGTH, 2), unknowable: 0 }).collect();
    let (batch, rows, targets) = to_learn(&sequences);
    let run = Run { unembed: Unembed::Rows(rows), ..Run::default() };
    let losses = cross_entropy(Kernels::Fused, model.run(&batch, &run, &mut [])?.logits()?, &targets)?;
    let losses = losses.reshape((sequences.len(), 2, LENGTH))?.mean(2)?.to_vec2::<f32>()?;
    let half = |i: usize| Mean::of(&losses.iter().map(|of| f64::from(of[i])).collect::<Vec<_>>());
    let [first, second] = [half(0), half(1)];
    let how = format!(
        "loss of the second half over that of the first, random tokens 2 x {LENGTH}; 100 sequences ({:.2} of {:.2} nats)",
        second.mean, first.mean
    );
    // The loss of the first half hardly differs between sequences: its error is nothing beside that of the second.
    let ratio = Mean { mean: second.mean / first.mean, error: second.error / first.mean, answer: 0.0 };
    Ok(Measured::new("induction", how, ratio, Bound::Under(0.25)))
}

fn greater(loaded: &Session, random: &mut Random) -> Result<Measured> {
    let tasks: Vec<(Task, u32)> = (0..1000).map(|_| greater_than::with_year(random, Split::HeldOut)).collect();
    let prompts: Vec<Task> = tasks.iter().map(|(task, _)| task.clone()).collect();
    let years = YEARS.map(|year| token(loaded, &written(year))).collect::<Result<Vec<_>>>()?;
    let mut differences = vec![];
    for ((_, begin), logits) in tasks.iter().zip(last_logits(loaded, &prompts)?) {
        let probs = softmax(&logits);
        let mass = |years: &[usize]| years.iter().map(|&y| probs[y]).sum::<f64>();
        let (below, above) = years.split_at((begin + 1 - YEARS.start()) as usize);
        differences.push(mass(above) - mass(below));
    }
    let how = "probability of later years minus that of the same or earlier ones; 1,000 prompts";
    Ok(Measured::new("greater-than", how, Mean::of(&differences), Bound::AtLeast(0.8)))
}

fn closed_brackets(loaded: &Session, random: &mut Random) -> Result<Vec<Measured>> {
    let tasks: Vec<(Task, usize)> = (0..3000).map(|_| brackets::task(random, Split::HeldOut)).collect();
    (1..=brackets::DEEPEST)
        .map(|deep| {
            let tasks: Vec<Task> = tasks.iter().filter(|(_, depth)| *depth == deep).map(|(t, _)| t.clone()).collect();
            let how = format!("right closer beats the other two at depth {deep}; {} prompts", tasks.len());
            let name = format!("brackets, depth {deep}");
            Ok(Measured::new(&name, how, preferred(loaded, &tasks)?, Bound::AtLeast(0.95)))
        })
        .collect()
}

/// How often the answer is more probable than every foil.
fn preferred(loaded: &Session, tasks: &[Task]) -> Result<Mean> {
    let right = tasks.iter().zip(last_logits(loaded, tasks)?).map(|(task, logits)| {
        let answer = logits[token(loaded, &task.answer)?];
        let foils = task.foils.iter().map(|foil| token(loaded, foil)).collect::<Result<Vec<_>>>()?;
        Ok(foils.iter().all(|&foil| logits[foil] < answer))
    });
    Ok(Mean::share(&right.collect::<Result<Vec<_>>>()?))
}

/// The logits after each prompt.
fn last_logits(loaded: &Session, tasks: &[Task]) -> Result<Vec<Vec<f32>>> {
    let mut all = vec![];
    for pack in tasks.chunks(PACK) {
        let prompts = pack.iter().map(|task| ids(loaded, &task.prompt)).collect::<Result<Vec<_>>>()?;
        let ends = prompts.iter().scan(0, |end, ids| {
            *end += ids.len() as u32;
            Some(*end - 1)
        });
        let run = Run { unembed: Unembed::Rows(ends.collect()), ..Run::default() };
        let output = loaded.model.run(&Batch::of(prompts), &run, &mut [])?;
        all.extend(output.logits()?.to_vec2::<f32>()?);
    }
    Ok(all)
}

/// The tokens of a prompt.
pub(super) fn ids(loaded: &Session, prompt: &str) -> Result<Vec<u32>> {
    let tokenizer = loaded.tokenizer.as_ref().context("the model has no tokenizer")?;
    Ok(tokenizer.encode(prompt, Bos::AsTokenizer)?.iter().map(|token| token.id).collect())
}

/// The one token that a word is.
pub(super) fn token(loaded: &Session, word: &str) -> Result<usize> {
    Ok(loaded.target(word)? as usize)
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|l| f64::from(l - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}
